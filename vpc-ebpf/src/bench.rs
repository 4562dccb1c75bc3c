//! Programs for measuring only: they put a packet into a known state and run the
//! very decisions of the data path on it, over the same maps, because a program
//! test run gives the program the packet that its last run left behind.

#![no_std]
#![no_main]
#![feature(core_intrinsics)]
#![expect(
    internal_features,
    reason = "BPF atomics are reached through intrinsics only"
)]

use core::intrinsics::{AtomicOrdering::AcqRel, atomic_xadd};

use aya_ebpf::{
    bindings::xdp_action::{XDP_ABORTED, XDP_DROP},
    macros::{map, raw_tracepoint, xdp},
    maps::{Array, DevMap, PerCpuArray},
    programs::{RawTracePointContext, XdpContext},
};
use vpc_common::{
    expiry::SweepOptions,
    forward,
    packet::{Header, Packet as _},
    pool::{Peer, Purpose},
    reply,
    tables::Tables as _,
};
use vpc_ebpf::{clock, entry, hook::Hook as _, maps::Maps, packet::KernelPacket, sweep, xdp::Xdp};

/// What the programs do, set from user space between runs.
#[repr(C)]
struct Setting {
    /// Flow numbers are drawn from `0..=mask`; all ones = count up instead.
    mask: u32,
    /// Flags byte of TCP packets.
    tcp_flags: u32,
    /// The next flow number when counting up.
    next: u64,
    /// Words 1 to 4 of the forward packet's addresses: see [`Frame`].
    source: [u16; 2],
    destination: [u16; 2],
    /// IPv4 header checksum of the forward packet.
    checksum: u32,
    /// 6 or 17.
    protocol: u32,
    /// Receiver and sender of the forward packet's frame.
    macs: [u16; 6],
    /// The pool that `bench_claim` claims from.
    pool: u32,
    /// Not 0: forward packets go to [`DESTINATIONS`].
    spread: u32,
    reserved: u32,
}

/// Where the forward packets of some flows go; wire order.
#[repr(C)]
struct Destination {
    address: [u16; 2],
    port: u16,
    checksum: u16,
}

/// A reply packet's variable words, one per flow number; wire order.
#[repr(C)]
struct ReplyTuple {
    address: [u16; 2],
    ports: [u16; 2],
    checksum: u16,
    remote: [u16; 2],
    reserved: u16,
}

/// Places of [`DESTINATIONS`], as a number of bits.
const DESTINATION_BITS: u32 = 12;

#[map]
static SETTING: Array<Setting> = Array::with_max_entries(1, 0);
#[map]
static REPLY_TUPLES: Array<ReplyTuple> = Array::with_max_entries(65_536, 0);
#[map]
static DESTINATIONS: Array<Destination> = Array::with_max_entries(1 << DESTINATION_BITS, 0);
#[map]
static GENERATOR: DevMap = DevMap::with_max_entries(1, 0);
#[map]
static SUNK: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// Ethernet, IPv4 without options and the first words of TCP or UDP.
#[repr(C)]
#[derive(Clone, Copy)]
struct Frame {
    macs: [u16; 6],
    ethertype: u16,
    version_tos: u16,
    total_len: u16,
    id: u16,
    fragment: u16,
    ttl_protocol: [u8; 2],
    checksum: u16,
    source: [u16; 2],
    destination: [u16; 2],
    ports: [u16; 2],
    sequence: [u16; 2],
    acknowledgment: [u16; 2],
    offset_flags: [u8; 2],
    window: u16,
    l4_checksum: u16,
}

// SAFETY: 16-bit words and bytes, no padding.
unsafe impl Header for Frame {}

fn number(setting: &mut Setting) -> u32 {
    if setting.mask == u32::MAX {
        // SAFETY: an aligned word of a map value.
        return unsafe { atomic_xadd::<u64, u64, { AcqRel }>(&raw mut setting.next, 1) } as u32;
    }
    if setting.mask == 0 {
        return 0;
    }
    Maps.random() & setting.mask
}

#[inline(always)]
fn packet_of(context: &XdpContext) -> KernelPacket<Xdp> {
    KernelPacket::new(Xdp::new(context.ctx))
}

/// Makes the packet the forward packet of some flow.
#[inline(always)]
fn restore_forward(packet: &mut KernelPacket<Xdp>) -> Option<()> {
    let setting = SETTING.get_ptr_mut(0)?;
    // SAFETY: valid until the program ends; written from user space only while
    // no program runs.
    let setting = unsafe { &mut *setting };
    let number = number(setting);
    let frame = packet.header_mut::<Frame>(0)?;
    frame.macs = setting.macs;
    frame.ttl_protocol = [64, setting.protocol as u8];
    frame.checksum = setting.checksum as u16;
    frame.source = setting.source;
    frame.destination = setting.destination;
    // 32,768 source ports for each of the destination's ports from 8,080 on.
    frame.ports = [
        (0x4000 + (number & 0x7fff) as u16).to_be(),
        (8_080 + (number >> 15) as u16).to_be(),
    ];
    if setting.spread != 0 {
        // Neighbouring numbers lie far apart, so that no two packets in a row go the
        // same way through the rules.
        let place = number.wrapping_mul(0x9e37_79b1) >> (32 - DESTINATION_BITS);
        let to = DESTINATIONS.get(place)?;
        frame.destination = to.address;
        frame.ports[1] = to.port;
        frame.checksum = to.checksum;
    }
    frame.offset_flags = [0x50, setting.tcp_flags as u8];
    frame.l4_checksum = 0x1234;
    Some(())
}

/// Makes the packet the reply of some flow.
#[inline(always)]
fn restore_reply(packet: &mut KernelPacket<Xdp>) -> Option<()> {
    let setting = SETTING.get_ptr_mut(0)?;
    // SAFETY: as for `restore_forward`.
    let setting = unsafe { &mut *setting };
    let tuple = REPLY_TUPLES.get(number(setting) & 0xffff)?;
    let frame = packet.header_mut::<Frame>(0)?;
    frame.ttl_protocol = [64, setting.protocol as u8];
    frame.checksum = tuple.checksum;
    frame.source = tuple.remote;
    frame.destination = tuple.address;
    frame.ports = tuple.ports;
    frame.offset_flags = [0x50, setting.tcp_flags as u8];
    frame.l4_checksum = 0x1234;
    // The uplink's MAC, by which the program knows that a frame is for it.
    let macs = &mut frame.macs;
    (macs[0], macs[1], macs[2]) = (UPLINK_MAC[0], UPLINK_MAC[1], UPLINK_MAC[2]);
    Some(())
}

/// `02:00:00:00:00:02`.
const UPLINK_MAC: [u16; 3] = [u16::from_ne_bytes([2, 0]), 0, u16::from_ne_bytes([0, 2])];

/// The floor: nothing at all.
#[xdp]
pub fn empty(_context: XdpContext) -> u32 {
    XDP_DROP
}

/// What restoring a forward packet costs.
#[xdp]
pub fn bench_restore_forward(context: XdpContext) -> u32 {
    restore_forward(&mut packet_of(&context)).map_or(XDP_ABORTED, |()| XDP_DROP)
}

/// What restoring a reply costs.
#[xdp]
pub fn bench_restore_reply(context: XdpContext) -> u32 {
    restore_reply(&mut packet_of(&context)).map_or(XDP_ABORTED, |()| XDP_DROP)
}

/// Restores a forward packet and runs the forward path on it.
#[xdp]
pub fn bench_forward(context: XdpContext) -> u32 {
    let mut packet = packet_of(&context);
    if restore_forward(&mut packet).is_none() {
        return XDP_ABORTED;
    }
    let ifindex = packet.hook().ifindex();
    let verdict = forward::from_environment(&Maps, &mut packet, ifindex, clock::now());
    entry::xdp(verdict, ifindex, &entry::FORWARD)
}

/// Restores a reply and runs the reply path on it.
#[xdp]
pub fn bench_reply(context: XdpContext) -> u32 {
    let mut packet = packet_of(&context);
    if restore_reply(&mut packet).is_none() {
        return XDP_ABORTED;
    }
    let ifindex = packet.hook().ifindex();
    let verdict = reply::from_uplink(&Maps, &mut packet, ifindex, clock::now());
    entry::xdp(verdict, ifindex, &entry::REPLY)
}

/// A claim from a pool, and nothing else.
#[xdp]
pub fn bench_claim(_context: XdpContext) -> u32 {
    let Some(setting) = SETTING.get_ptr(0) else {
        return XDP_ABORTED;
    };
    // SAFETY: as for `restore_forward`.
    let pool = unsafe { (*setting).pool };
    let purpose = Purpose::new(Peer(0), clock::now().tick);
    match Maps.claim(pool, Maps.random(), purpose) {
        Ok(_) => XDP_ABORTED,
        Err(_) => XDP_DROP,
    }
}

/// Makes a forward packet of some flow and sends it into the topology.
#[xdp]
pub fn bench_generate(context: XdpContext) -> u32 {
    if restore_forward(&mut packet_of(&context)).is_none() {
        return XDP_ABORTED;
    }
    GENERATOR.redirect(0, 0).unwrap_or(XDP_ABORTED)
}

/// A bare redirect to the uplink, for comparison.
#[xdp]
pub fn bench_redirect(_context: XdpContext) -> u32 {
    vpc_ebpf::maps::UPLINK_PORTS
        .redirect(0, 0)
        .unwrap_or(XDP_ABORTED)
}

/// The end of the topology: counts and drops.
#[xdp]
pub fn bench_sink(_context: XdpContext) -> u32 {
    if let Some(sunk) = SUNK.get_ptr_mut(0) {
        // SAFETY: this CPU's own word.
        unsafe { *sunk += 1 };
    }
    XDP_DROP
}

/// The sweep as it is: arguments are now (ns), first block, blocks, options.
#[raw_tracepoint(tracepoint = "sys_enter")]
pub fn bench_sweep(context: RawTracePointContext) -> i32 {
    let (now, first, count, options): (u64, u64, u64, u64) = (
        context.arg(0),
        context.arg(1),
        context.arg(2),
        context.arg(3),
    );
    sweep::run(now, first as u32, count as u32, SweepOptions(options));
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
