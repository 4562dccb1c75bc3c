//! Figures by program test run.
//!
//! A program that restores its packet before each run costs more than the data
//! path; what the restoring alone costs is measured too and taken off, and the
//! floor of an empty program is left in. So a figure reads as the cost of the data
//! path's program on a packet that was there.

use std::{net::IpAddr, time::Instant};

use aya::programs::{RawTracePoint, RawTracePointRunOptions, TestRun as _, TestRunOptions, Xdp};

use vpc_user::model::FlowInfo;

use super::{
    Figures,
    rig::{INSIDE, KERNEL_MAC, KERNEL_RESOURCE, RESOURCE, ReplyTuple, Rig, Setting},
};

/// The flag of a first segment.
pub const SYN: u32 = 0x02;
const SYN_ACK: u32 = 0x12;
/// The flag of every later segment.
pub const ACK: u32 = 0x10;
/// Flows of the random figures.
pub const FLOWS: u32 = 65_536;
/// The TCP pool of the third ENI, the only one of the full group.
const FULL_POOL: u32 = 4;
/// Packets of a sample.
pub const REPEAT: u32 = 500_000;
/// Draw from all [`FLOWS`].
pub const RANDOM: u32 = FLOWS - 1;
/// Count up.
pub const UP: u32 = u32::MAX;

/// The checksum of a packet's IPv4 header, as in memory.
pub fn checksum(source: [u8; 4], destination: [u8; 4], protocol: u8) -> u16 {
    let mut header = header(source, destination, protocol);
    header[10..12].fill(0);
    let sum: u32 = header
        .chunks(2)
        .map(|word| u32::from(u16::from_ne_bytes([word[0], word[1]])))
        .sum();
    !vpc_common::checksum::fold(sum)
}

fn header(source: [u8; 4], destination: [u8; 4], protocol: u8) -> [u8; 20] {
    let mut header = [0; 20];
    header[..10].copy_from_slice(&[0x45, 0, 0, 50, 0, 0, 0x40, 0, 64, protocol]);
    header[12..16].copy_from_slice(&source);
    header[16..20].copy_from_slice(&destination);
    header
}

/// Packets from the environment to the resource.
pub fn ours(mask: u32, next: u64, protocol: u8, tcp_flags: u32) -> Setting {
    setting(RESOURCE.octets(), mask, next, protocol, tcp_flags)
}

/// The same for the kernel's way.
pub fn kernels(mask: u32, next: u64) -> Setting {
    setting(KERNEL_RESOURCE.octets(), mask, next, 17, 0)
}

fn setting(to: [u8; 4], mask: u32, next: u64, protocol: u8, tcp_flags: u32) -> Setting {
    Setting {
        mask,
        tcp_flags,
        next,
        source: INSIDE.octets(),
        destination: to,
        checksum: u32::from(checksum(INSIDE.octets(), to, protocol)),
        protocol: u32::from(protocol),
        macs: [KERNEL_MAC, [2, 0, 0, 0, 0, 0x22]],
        pool: FULL_POOL,
        spread: 0,
        reserved: 0,
    }
}

/// A frame of 64 bytes whose variable fields the programs fill in.
pub fn frame(protocol: u8) -> [u8; 64] {
    let mut frame = [0; 64];
    frame[..6].copy_from_slice(&KERNEL_MAC);
    frame[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 0x22]);
    frame[12..14].copy_from_slice(&[8, 0]);
    frame[14..34].copy_from_slice(&header(INSIDE.octets(), RESOURCE.octets(), protocol));
    if protocol == 6 {
        // What answers a SYN whose sequence number is 0.
        frame[42..46].copy_from_slice(&1u32.to_be_bytes());
    }
    if protocol == 17 {
        frame[38..40].copy_from_slice(&30u16.to_be_bytes());
    }
    frame
}

/// `xdp_md` with the interface a frame arrives on.
pub fn context(ifindex: u32) -> [u8; 24] {
    let mut context = [0; 24];
    context[4..8].copy_from_slice(&64u32.to_ne_bytes());
    context[12..16].copy_from_slice(&ifindex.to_ne_bytes());
    context
}

/// What the kernel says that a run of a program took.
pub fn cost(program: &Xdp, ifindex: u32, repeat: u32) -> f64 {
    let (frame, context) = (frame(6), context(ifindex));
    let result = program.test_run(TestRunOptions {
        data_in: Some(&frame),
        ctx_in: Some(&context),
        repeat,
        ..Default::default()
    });
    result.expect("the program runs").duration.as_nanos() as f64
}

/// Runs a raw tracepoint program with arguments.
pub fn call(program: &RawTracePoint, arguments: &[u64]) {
    let mut options = RawTracePointRunOptions::new();
    options.args[..arguments.len()].copy_from_slice(arguments);
    program.test_run(options).expect("the program runs");
}

/// The cost of a program, less what restoring its packet costs, plus the floor.
pub fn net(rig: &mut Rig, program: &str, restore: &str, setting: Setting, repeat: u32) -> f64 {
    let ifindex = if program == "bench_reply" {
        Rig::uplink()
    } else {
        Rig::environment()
    };
    let floor = cost(rig.xdp("empty"), ifindex, REPEAT);
    rig.set(setting);
    let restoring = cost(rig.xdp(restore), ifindex, REPEAT);
    rig.set(setting);
    let whole = cost(rig.xdp(program), ifindex, repeat);
    whole - restoring + floor
}

/// Opens TCP connections, the setting's of the first numbers, and answers them.
pub fn establish(rig: &mut Rig, setting: Setting, count: u32) {
    let up = |tcp_flags| Setting {
        mask: UP,
        next: 0,
        tcp_flags,
        ..setting
    };
    rig.set(up(SYN));
    cost(rig.xdp("bench_forward"), Rig::environment(), count);
    let flows = rig.flows();
    assert_eq!(flows.len(), count as usize, "every flow opened");
    let replies: Vec<ReplyTuple> = flows.iter().map(reply_to).collect();
    rig.set_replies(&replies);
    rig.set(up(SYN_ACK));
    cost(rig.xdp("bench_reply"), Rig::uplink(), count);
    let established = rig
        .flows()
        .iter()
        .filter(|flow| flow.state == "established")
        .count();
    assert_eq!(established, count as usize, "every flow is answered");
}

/// What answers a flow.
fn reply_to(flow: &FlowInfo) -> ReplyTuple {
    let (IpAddr::V4(address), IpAddr::V4(remote)) = (flow.outside.ip(), flow.remote.ip()) else {
        panic!("IPv4 only")
    };
    ReplyTuple {
        address: address.octets(),
        ports: [flow.remote.port().to_be(), flow.outside.port().to_be()],
        checksum: checksum(remote.octets(), address.octets(), 6),
        remote: remote.octets(),
        reserved: 0,
    }
}

/// One sample of each figure.
pub fn measure(rig: &mut Rig, figures: &mut Figures) {
    let floor = cost(rig.xdp("empty"), Rig::environment(), REPEAT);
    figures.sample("test_run.empty_ns", floor);
    establish(rig, ours(UP, 0, 6, SYN), FLOWS);
    for (direction, program, restore) in [
        ("forward", "bench_forward", "bench_restore_forward"),
        ("reply", "bench_reply", "bench_restore_reply"),
    ] {
        for (kind, mask) in [("hot", 0), ("random", RANDOM)] {
            let before: u64 = packets(rig);
            let value = net(rig, program, restore, ours(mask, 0, 6, ACK), REPEAT);
            assert_eq!(
                packets(rig) - before,
                u64::from(REPEAT),
                "{direction} {kind}: all passed"
            );
            figures.sample(&format!("test_run.{direction}_{kind}_ns"), value);
        }
    }
    sweep(rig, figures);
    rig.end_all_flows();
    new_flow(rig, figures);
    rig.end_all_flows();
    refuse(rig, figures);
    rig.end_all_flows();
}

/// Packets counted on all flows.
pub fn packets(rig: &Rig) -> u64 {
    rig.flows()
        .iter()
        .map(|flow| flow.forward_packets + flow.reply_packets)
        .sum()
}

/// The first sweep finds slots that the cache has lost meanwhile, as one a second
/// does; the others run one after the other, as the other figures do.
fn sweep(rig: &mut Rig, figures: &mut Figures) {
    const TIMES: u32 = 10;
    let once = |rig: &mut Rig| {
        let start = Instant::now();
        let result = rig.sweep(0);
        let elapsed = start.elapsed().as_nanos() as f64;
        assert_eq!(result.open, u64::from(FLOWS), "every flow was seen");
        assert_eq!(result.expired, 0, "none was idle");
        elapsed / result.slots as f64
    };
    figures.sample("test_run.sweep_cold_per_slot_ns", once(rig));
    let sum: f64 = (0..TIMES).map(|_| once(rig)).sum();
    figures.sample("test_run.sweep_per_slot_ns", sum / f64::from(TIMES));
}

/// New flows into empty pools, each another tuple.
fn new_flow(rig: &mut Rig, figures: &mut Figures) {
    const NEW: u32 = 50_000;
    let value = net(
        rig,
        "bench_forward",
        "bench_restore_forward",
        ours(UP, 0, 6, SYN),
        NEW,
    );
    assert_eq!(rig.flows().len(), NEW as usize, "every flow opened");
    figures.sample("test_run.new_flow_ns", value);
}

/// New flows on an ENI without a free port: the whole way from parsing to the drop.
fn refuse(rig: &mut Rig, figures: &mut Figures) {
    const PORTS: u32 = 64_512;
    let ifindex = Rig::refused();
    rig.set(ours(UP, 0, 6, SYN));
    cost(rig.xdp("bench_forward"), ifindex, PORTS);
    assert_eq!(rig.flows().len(), PORTS as usize, "every port is in use");
    let floor = cost(rig.xdp("empty"), ifindex, REPEAT);
    let before = rig.drops("ports_exhausted");
    rig.set(ours(UP, 1 << 20, 6, SYN));
    let restoring = cost(rig.xdp("bench_restore_forward"), ifindex, REPEAT);
    rig.set(ours(UP, 1 << 20, 6, SYN));
    let whole = cost(rig.xdp("bench_forward"), ifindex, REPEAT);
    let refused = rig.drops("ports_exhausted") - before;
    assert_eq!(refused, u64::from(REPEAT), "every new flow was refused");
    figures.sample("test_run.refuse_ns", whole - restoring + floor);
    figures.sample(
        "test_run.refuse_claim_ns",
        cost(rig.xdp("bench_claim"), ifindex, REPEAT),
    );
    // One that succeeded would have left its port claimed.
    assert_eq!(rig.flows().len(), PORTS as usize, "every claim was refused");
}
