//! The programs of the data path.

#![no_std]
#![no_main]

use aya_ebpf::{
    macros::{classifier, raw_tracepoint, xdp},
    programs::{RawTracePointContext, TcContext, XdpContext},
};
use vpc_common::{expiry::SweepOptions, forward, reply};
use vpc_ebpf::{
    clock, entry,
    hook::Hook as _,
    maps::{Maps, TC_ENVIRONMENT_PORTS, TC_UPLINK_PORTS, count_dropped},
    packet::KernelPacket,
    skb::Skb,
    sweep as sweeping, trace,
    xdp::Xdp,
};

/// On an environment's link.
#[xdp]
pub fn from_environment(context: XdpContext) -> u32 {
    let hook = Xdp::new(context.ctx);
    let (ifindex, packet) = (hook.ifindex(), &mut KernelPacket::new(hook));
    let verdict = forward::from_environment(&Maps, packet, ifindex, clock::now());
    trace::verdict(&context, ifindex, verdict);
    entry::xdp(verdict, ifindex, &entry::FORWARD)
}

/// On an uplink.
#[xdp]
pub fn from_uplink(context: XdpContext) -> u32 {
    let hook = Xdp::new(context.ctx);
    let (ifindex, packet) = (hook.ifindex(), &mut KernelPacket::new(hook));
    let verdict = reply::from_uplink(&Maps, packet, ifindex, clock::now());
    trace::verdict(&context, ifindex, verdict);
    entry::xdp(verdict, ifindex, &entry::REPLY)
}

/// On every environment's link, behind XDP where that is there too.
#[classifier]
pub fn tc_from_environment(context: TcContext) -> i32 {
    let hook = Skb::new(context.skb.skb);
    hook.pull_headers();
    let (ifindex, packet) = (hook.ifindex(), &mut KernelPacket::new(hook));
    let verdict = forward::from_environment(&Maps, packet, ifindex, clock::now());
    trace::verdict(&context, ifindex, verdict);
    entry::tc(verdict, hook, &TC_UPLINK_PORTS)
}

/// On every uplink, behind XDP where that is there too.
#[classifier]
pub fn tc_from_uplink(context: TcContext) -> i32 {
    let hook = Skb::new(context.skb.skb);
    hook.pull_headers();
    let (ifindex, packet) = (hook.ifindex(), &mut KernelPacket::new(hook));
    let verdict = reply::from_uplink(&Maps, packet, ifindex, clock::now());
    trace::verdict(&context, ifindex, verdict);
    entry::tc(verdict, hook, &TC_ENVIRONMENT_PORTS)
}

/// Ends what is idle: arguments are now (ns), first block, blocks, options.
#[raw_tracepoint(tracepoint = "sys_enter")]
pub fn sweep(context: RawTracePointContext) -> i32 {
    let (now, first, count, options): (u64, u64, u64, u64) = (
        context.arg(0),
        context.arg(1),
        context.arg(2),
        context.arg(3),
    );
    sweeping::run(now, first as u32, count as u32, SweepOptions(options));
    0
}

/// Counts a packet that the agent gave up: arguments are owner and reason.
#[raw_tracepoint(tracepoint = "sys_enter")]
pub fn count_drop(context: RawTracePointContext) -> i32 {
    let (owner, reason): (u64, u64) = (context.arg(0), context.arg(1));
    count_dropped(owner as u32, reason as u32);
    0
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    // Unreachable: the build refuses an object with a panic in it.
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
