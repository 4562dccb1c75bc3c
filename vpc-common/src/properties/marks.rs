//! What TC sees beside a packet's bytes: checksums left to a device come out right
//! when the device is done, sums it took stay true, and super-packets count as
//! what they become.

use proptest::prelude::*;

use crate::{
    double::{Buffer, Marks},
    drop::DropReason,
    layout::{DropKey, Environment, Owner, Uplink},
    offload::{Partial, Segments},
    packet_table::{
        Action, Conn, Host, In, Machine as _, Ran, Run,
        build::{Built, Sum, payload},
        world::*,
    },
    state::{TCP, UDP},
};

/// A machine with the hook under test, and the little world in it. One connection
/// and one exchange are open in it.
fn machine() -> (Host, Conn, Conn) {
    let mut host = Host::new();
    host.tc = true;
    let (tcp, udp) = (Conn::new_tcp(0, 40_000), Conn::new_udp(0, 40_001));
    let mut run = Run::new(&mut host, "marks");
    run.establish(&tcp);
    run.open(&udp);
    // No link has XDP: TC reaches them all the same.
    run.world.uplinks[0].flags &= !Uplink::XDP;
    run.world.environments[0].flags &= !Environment::XDP;
    run.configure();
    drop(run);
    (host, tcp, udp)
}

/// Sum of big-endian words, folded.
fn sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2);
    let sum: u64 = words
        .map(|pair| u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0)))
        .sum();
    (0..4).fold(sum, |sum, _| (sum & 0xffff) + (sum >> 16)) as u16
}

fn l4(frame: &[u8]) -> usize {
    14 + usize::from(frame[14] & 15) * 4
}

/// The mark that a stack sets on this packet.
fn mark(frame: &[u8]) -> Partial {
    let offset = if frame[23] == TCP { 16 } else { 6 };
    Partial::new(l4(frame) as u16, offset)
}

/// What a device makes of a marked packet.
fn finish(frame: &mut [u8], partial: Partial, moved: usize) {
    let (start, offset) = (
        (partial.to_word() & 0xffff) as usize + moved,
        (partial.to_word() >> 16) as usize,
    );
    let sum = !sum(&frame[start..]);
    let sum = if sum == 0 && offset == 6 { 0xffff } else { sum };
    frame[start + offset..start + offset + 2].copy_from_slice(&sum.to_be_bytes());
}

/// Runs a packet whose checksum is left to a device, and what the device makes of
/// what comes out.
fn finished(host: &mut Host, link: In, frame: &[u8]) -> Ran {
    let mut packet = Buffer::new(frame);
    let partial = mark(frame);
    packet.marks = Some(Marks {
        partial,
        ..Marks::NONE
    });
    let mut ran = host.run_packet(link, &mut packet);
    finish(&mut ran.frame, partial, packet.grown());
    ran
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Left half made and finished behind, a packet is the one that came whole.
    #[test]
    fn a_checksum_left_to_a_device_is_right_when_it_is_finished(
        len in 0usize..1_200,
        ip_options in (0usize..=10).prop_map(|words| vec![1u8; words * 4]),
        is_tcp in any::<bool>(),
        syn in any::<bool>(),
        padding in 0usize..4,
    ) {
        let (mut host, tcp, udp) = machine();
        let run = Run::over(&mut host, "left to a device");
        let conn = if is_tcp { tcp } else { udp };
        let mut header = conn.header(if syn { "SP" } else { "PA" }, 1_001, 5_001);
        header.set_options_raw(&[2, 4, 5, 180, 1, 1, 1, 0]).expect("eight bytes");
        let out = match is_tcp {
            true => conn.out().tcp(header, &payload(len)),
            false => conn.udp(&payload(len)),
        };
        let out = out.options(&ip_options);
        let back = match is_tcp {
            true => conn.tcp_back(&run, "PA", 5_001, 1_001, &payload(len)),
            false => conn.udp_back(&run, &payload(len)),
        };
        drop(run);
        for (link, packet) in [(conn.link(), out), (conn.uplink(), back.options(&ip_options))] {
            let whole = host.run(link, &packet.frame());
            let left = packet.clone().sum(Sum::HalfMade);
            // A stack that leaves the sum to a device pads nothing behind.
            let found = finished(&mut host, link, &left.frame());
            prop_assert_eq!(whole.action, Action::Redirect);
            prop_assert_eq!(&found.frame, &whole.frame);
            let padded = packet.padded(padding).frame();
            prop_assert_eq!(host.run(link, &padded).frame.len(), padded.len());
        }
    }

    /// A device's own sum of the packet stays that of its bytes.
    #[test]
    fn a_sum_that_a_device_took_stays_that_of_the_bytes(
        len in 0usize..1_200,
        which in 0usize..6,
        zero in any::<bool>(),
    ) {
        let (mut host, tcp, udp) = machine();
        let run = Run::over(&mut host, "sums");
        let absent = if zero { Sum::Absent } else { Sum::Right };
        let quoted = run.outward(&tcp, &tcp.tcp("A", 1_001, 5_001, b"abc"), 0);
        let (link, packet) = match which {
            0 => (tcp.link(), tcp.tcp("PA", 1_001, 5_001, &payload(len))),
            1 => (tcp.link(), tcp.tcp("S", 1_001, 0, b"")),
            2 => (udp.link(), udp.udp(&payload(len)).sum(absent).may_fragment()),
            3 => (tcp.uplink(), tcp.tcp_back(&run, "PA", 5_001, 1_001, &payload(len))),
            4 => (udp.uplink(), udp.udp_back(&run, &payload(len)).sum(absent)),
            _ => (tcp.uplink(), tcp.back(&run).icmp(11, 0, [0; 4], &quoted.packet())),
        };
        drop(run);
        let frame = packet.frame();
        let mut packet = Buffer::new(&frame);
        let sum_of = |frame: &[u8]| sum(&frame[14..]).to_be();
        packet.marks = Some(Marks { sum: sum_of(&frame), ..Marks::NONE });
        let ran = host.run_packet(link, &mut packet);
        prop_assert_eq!(ran.action, Action::Redirect);
        // Zero has two forms.
        let same = |sum: u16| if sum == 0xffff { 0 } else { sum };
        let noted = packet.marks.expect("as set").sum;
        prop_assert_eq!(same(noted), same(sum_of(&ran.frame)));
    }

    /// A super-packet moves every counter as its segments would.
    #[test]
    fn a_super_packet_is_counted_as_its_segments(
        size in 200usize..1_300,
        segments in 2usize..8,
        last in 1usize..200,
        counted in any::<bool>(),
        reply in any::<bool>(),
    ) {
        let len = (size * (segments - 1) + last).min(3_400);
        let data = payload(len);
        let packets = len.div_ceil(size) as u32;
        let totals = |host: &Host, id: u64| {
            let seen = host.seen();
            let slot = host.flows().into_values().map(|flow| &seen.slots[flow.slot as usize])
                .find(|slot| slot.state().protocol() == TCP).expect("the connection");
            (
                [&slot.forward_packets, &slot.reply_packets].map(|count| count.load()),
                [&slot.forward_bytes, &slot.reply_bytes].map(|count| count.load()),
                seen.eni_states[0].ip_id.load() - id,
            )
        };
        let packet = |host: &mut Host, tcp: &Conn, data: &[u8]| {
            let run = Run::over(host, "segments");
            let packet = match reply {
                true => tcp.tcp_back(&run, "PA", 5_001, 1_001, data),
                false => tcp.tcp("PA", 1_001, 5_001, data).may_fragment(),
            };
            packet.frame()
        };
        let (mut one, tcp, _) = machine();
        let (mut many, _, _) = machine();
        let link = if reply { tcp.uplink() } else { tcp.link() };
        let frame = packet(&mut one, &tcp, &data);
        let mut whole = Buffer::new(&frame);
        let count = if counted { packets } else { 0 };
        whole.marks = Some(Marks {
            segments: Segments { size: size as u32, count },
            ..Marks::NONE
        });
        let id = one.seen().eni_states[0].ip_id.load();
        prop_assert_eq!(one.run_packet(link, &mut whole).action, Action::Redirect);
        for piece in data.chunks(size) {
            let frame = packet(&mut many, &tcp, piece);
            prop_assert_eq!(many.run(link, &frame).action, Action::Redirect);
        }
        prop_assert_eq!(totals(&one, id), totals(&many, id));
    }
}

/// Answers are built in the buffer of the packet that caused them, with its marks.
#[test]
fn an_answer_to_a_marked_packet_is_right_when_it_is_finished() {
    let (mut host, tcp, udp) = machine();
    let stray = Conn::new_tcp(0, 50_000);
    let ending = |packet: Built| packet.ttl(1).sum(Sum::HalfMade).frame();
    for frame in [
        ending(tcp.tcp("PA", 1_001, 5_001, &payload(100))),
        ending(tcp.tcp("A", 1_001, 5_001, b"")),
        ending(udp.udp(&payload(100))),
        ending(udp.udp(b"")),
        ending(udp.udp(b"odd").options(&[1; 8])),
    ] {
        let ran = finished(&mut host, tcp.link(), &frame);
        assert_eq!(ran.action, Action::Redirect);
        let ip = 14 + 20;
        assert_eq!(sum(&ran.frame[14..ip]), 0xffff, "IPv4 header");
        assert_eq!(ran.frame[ip], 11, "time exceeded");
        assert_eq!(sum(&ran.frame[ip..]), 0xffff, "ICMP, with what it quotes");
    }
    let reset = finished(
        &mut host,
        stray.link(),
        &stray.tcp("PA", 7, 9, b"abc").sum(Sum::HalfMade).frame(),
    );
    let expected = host.run(stray.link(), &stray.tcp("PA", 7, 9, b"abc").frame());
    assert_eq!(
        (reset.action, reset.frame),
        (Action::Redirect, expected.frame)
    );
}

/// Wherever a device is told to write but into the checksum, the packet ends.
#[test]
fn a_checksum_to_be_written_elsewhere_drops_the_packet() {
    let (mut host, tcp, udp) = machine();
    let run = Run::over(&mut host, "misplaced");
    let (first, later) = udp.udp(&payload(64)).may_fragment().cut(32);
    let ping = Built::new(INSIDE_MAC, GATEWAY_MAC, INSIDE, GATEWAY).icmp(8, 0, [0; 4], b"ping");
    let frames = [
        (tcp.link(), tcp.tcp("PA", 1_001, 5_001, b"data").frame()),
        (udp.link(), udp.udp(b"data").frame()),
        (udp.link(), first.frame()),
        (udp.link(), later.frame()),
        (udp.link(), ping.frame()),
        (
            tcp.uplink(),
            tcp.tcp_back(&run, "PA", 5_001, 1_001, b"data").frame(),
        ),
        (udp.uplink(), udp.udp_back(&run, b"data").frame()),
    ];
    drop(run);
    for (link, frame) in frames {
        let is_whole = frame[20] & 0x3f == 0 && frame[21] == 0;
        for start in (0..frame.len() as u16).step_by(2) {
            for offset in [0, 2, 6, 12, 16] {
                let partial = Partial::new(start, offset);
                let protocol = frame[23];
                if is_whole && [TCP, UDP].contains(&protocol) && partial == mark(&frame) {
                    continue;
                }
                let mut packet = Buffer::new(&frame);
                packet.marks = Some(Marks {
                    partial,
                    ..Marks::NONE
                });
                let before = host.drops();
                let ran = host.run_packet(link, &mut packet);
                assert_eq!(ran.action, Action::Drop, "{partial:?} of {frame:02x?}");
                let owner = match link {
                    In::Uplink(_) => Owner::eni(0),
                    _ => Owner::environment(0),
                };
                let key = DropKey::new(owner, DropReason::ChecksumMisplaced);
                let count = |drops: &std::collections::BTreeMap<DropKey, u64>| {
                    drops.get(&key).copied().unwrap_or(0)
                };
                assert_eq!(count(&host.drops()), count(&before) + 1);
            }
        }
    }
}

/// A tag beside the bytes counts as one among them.
#[test]
fn a_tag_beside_the_bytes_is_a_vlan_tag() {
    let (mut host, tcp, _) = machine();
    let run = Run::over(&mut host, "tags");
    let out = tcp.tcp("PA", 1_001, 5_001, b"x").frame();
    let back = tcp.tcp_back(&run, "PA", 5_001, 1_001, b"x").frame();
    drop(run);
    for (link, frame, owner) in [
        (tcp.link(), out, Owner::environment(0)),
        (tcp.uplink(), back, Owner::uplink(0)),
    ] {
        let mut packet = Buffer::new(&frame);
        packet.marks = Some(Marks {
            tagged: true,
            ..Marks::NONE
        });
        assert_eq!(host.run_packet(link, &mut packet).action, Action::Drop);
        let key = DropKey::new(owner, DropReason::VlanTagged);
        assert_eq!(host.drops().get(&key), Some(&1));
    }
}
