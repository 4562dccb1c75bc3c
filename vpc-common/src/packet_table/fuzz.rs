//! Streams of damaged frames: no machine may stumble, and all must agree.

use super::{Action, Conn, In, Machine, Outcome, Run, build::*, fits_a_tc_run, world::*};
use crate::state::{TCP, UDP};

/// How many different streams there are to run.
pub const STREAMS: u64 = 24;
/// Frames of a stream.
const FRAMES: u32 = 400;

/// A sequence of numbers (splitmix64) that is the same everywhere.
#[derive(Debug)]
pub struct Dice(pub u64);

impl Dice {
    /// The next number below `sides`; 0 if there are none.
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % sides.max(1) as u64) as usize
    }
}

/// Good frames of many kinds, with the link that each belongs to.
fn stock(run: &Run<'_>) -> Vec<(In, Vec<u8>)> {
    let (tcp, udp) = (Conn::new_tcp(0, 40_000), Conn::new_udp(0, 40_000));
    let (inside, outside) = (tcp.link(), tcp.uplink());
    let whole = udp.udp(&payload(600)).may_fragment();
    let whole_back = udp.udp_back(run, &payload(600)).may_fragment();
    let mut syn = tcp.header("S", 1, 0);
    syn.set_options_raw(&[2, 4, 5, 180, 1, 3, 3, 7, 4, 2, 1, 0])
        .expect("twelve bytes");
    let quoted_out = run.outward(&udp, &udp.udp(&payload(40)).options(&[1; 4]), 0);
    let quoted_in = run.inward(&tcp, &tcp.tcp_back(run, "A", 5_001, 1_001, b"abc"));
    let macs = (INSIDE_MAC, [0; 6]);
    vec![
        (inside, tcp.tcp("PA", 1_001, 5_001, &payload(200)).frame()),
        (inside, tcp.tcp("FA", 1_001, 5_001, b"").frame()),
        (inside, tcp.out().tcp(syn, b"").frame()),
        (inside, tcp.tcp("A", 1, 1, b"x").sum(Sum::HalfMade).frame()),
        (inside, udp.udp(&payload(77)).frame()),
        (
            inside,
            udp.udp(&payload(78))
                .sum(Sum::HalfMade)
                .options(&[1; 8])
                .frame(),
        ),
        (inside, udp.udp(&payload(1_400)).frame()),
        (inside, udp.udp(b"x").ttl(1).frame()),
        (inside, whole.cut(64).0.frame()),
        (inside, whole.cut(64).1.frame()),
        (
            inside,
            tcp.to(GATEWAY).out().icmp(8, 0, [0; 4], b"ping").frame(),
        ),
        (
            inside,
            tcp.out().icmp(3, 3, [0; 4], &quoted_in.packet()).frame(),
        ),
        (
            inside,
            arp(
                [0xff; 6],
                INSIDE_MAC,
                1,
                (INSIDE_MAC, INSIDE),
                (macs.1, GATEWAY),
            ),
        ),
        (
            outside,
            tcp.tcp_back(run, "PA", 5_001, 1_001, &payload(99)).frame(),
        ),
        (outside, tcp.tcp_back(run, "R", 5_001, 0, b"").frame()),
        (outside, udp.udp_back(run, &payload(55)).frame()),
        (
            outside,
            udp.udp_back(run, &payload(56)).sum(Sum::HalfMade).frame(),
        ),
        (outside, whole_back.cut(128).0.frame()),
        (outside, whole_back.cut(128).1.frame()),
        (
            outside,
            udp.back(run)
                .icmp(11, 0, [0; 4], &quoted_out.packet())
                .frame(),
        ),
        (
            outside,
            arp(
                UPLINK_MAC[0],
                SERVER_MAC,
                2,
                (SERVER_MAC, SERVER),
                (UPLINK_MAC[0], ENI[0]),
            ),
        ),
    ]
}

/// Damages a frame, and mostly makes the IPv4 checksum right again, so that the
/// damage is seen by what comes after it.
fn damage(dice: &mut Dice, frame: &mut Vec<u8>) {
    for _ in 0..dice.roll(4) {
        // Headers more than data.
        let reach = if dice.roll(4) == 0 {
            frame.len()
        } else {
            frame.len().min(80)
        };
        let at = dice.roll(reach);
        frame[at] = match dice.roll(4) {
            0 => 0,
            1 => 0xff,
            2 => frame[at] ^ 1 << dice.roll(8),
            _ => dice.roll(256) as u8,
        };
    }
    if dice.roll(6) == 0 {
        let len = 14 + dice.roll(frame.len() - 13);
        frame.truncate(len);
    }
    let header_len = usize::from(frame.get(14).copied().unwrap_or(0) & 15) * 4;
    if dice.roll(5) != 0 && header_len >= 20 && frame.len() >= 14 + header_len {
        frame[24..26].fill(0);
        let header = frame[14..14 + header_len].chunks(2);
        let mut sum: u32 = header.map(|p| u32::from(p[0]) << 8 | u32::from(p[1])).sum();
        sum = (sum & 0xffff) + (sum >> 16);
        sum = (sum & 0xffff) + (sum >> 16);
        frame[24..26].copy_from_slice(&(!sum as u16).to_be_bytes());
    }
}

fn stream(number: u64, machine: &mut dyn Machine) -> Vec<Outcome> {
    let mut run = Run::new(machine, "stream");
    // One port each, so that chance in the allocator plays no part.
    for (pool, protocol) in [(0, TCP), (0, UDP), (2, TCP), (2, UDP)] {
        run.restrict(pool, protocol, &[50_000]);
    }
    let (tcp, udp) = (Conn::new_tcp(0, 40_000), Conn::new_udp(0, 40_000));
    run.establish(&tcp);
    run.open(&udp);
    let stock = stock(&run);
    let (mut dice, mut now) = (Dice(number), run.now());
    for _ in 0..FRAMES {
        now = run.hold_time(now);
        let (link, frame) = &stock[dice.roll(stock.len())];
        let (mut link, mut frame) = (*link, frame.clone());
        if dice.roll(8) == 0 {
            link = In::ALL[dice.roll(In::ALL.len())];
        }
        damage(&mut dice, &mut frame);
        if fits_a_tc_run(&frame) {
            run.send(link, &frame);
        }
    }
    run.into_log()
}

/// Runs a stream on every machine; they must do the same with every frame.
///
/// # Panics
///
/// Where they differ.
pub fn differential(number: u64, machines: &mut [&mut dyn Machine]) {
    let mut logs = machines.iter_mut().map(|machine| stream(number, *machine));
    let Some(first) = logs.next() else {
        return;
    };
    for other in logs {
        for (step, (mut a, mut b)) in first.iter().cloned().zip(other).enumerate() {
            for outcome in [&mut a, &mut b] {
                // What is left of a dropped frame is nobody's concern.
                if outcome.action == Action::Drop {
                    outcome.output.clear();
                }
            }
            assert_eq!(a, b, "stream {number}, frame {step}");
        }
    }
}
