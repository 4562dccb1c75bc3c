//! Fragments of datagrams; what else is in pieces is not carried.

use crate::{
    drop::DropReason,
    layout::{FRAGMENT_SECS, FragmentKey, Owner},
    packet_table::{
        Conn, Counter, Run,
        build::{Built, Sum, payload},
        world::*,
    },
    verdict::{Awaited, Port},
};

/// A datagram of the environment's that may be fragmented.
fn large(conn: &Conn, len: usize) -> Built {
    conn.udp(&payload(len)).may_fragment()
}

fn key(run: &mut Run<'_>, conn: &Conn, packet: &Built) -> FragmentKey {
    FragmentKey {
        ifindex: run.machine().ifindex(conn.link()),
        generation: run.world.environments[conn.environment].generation,
        source: addr(packet.ip.source),
        destination: addr(packet.ip.destination),
        id: packet.ip.identification.to_be(),
        protocol: 17,
    }
}

/// Sends a fragment that belongs to a known datagram.
fn follows(run: &mut Run<'_>, conn: &Conn, piece: &Built, id: u16) {
    let len = i64::try_from(piece.packet().len()).expect("a packet is short");
    let expected = run.outward(conn, piece, id).frame();
    let moves = [(Counter::ForwardPackets, 1), (Counter::ForwardBytes, len)];
    run.leaves(
        conn.link(),
        &piece.frame(),
        Port::uplink(0),
        |_| expected,
        &moves,
    );
}

/// Sends the first fragment of a datagram that is right as a whole.
fn starts(run: &mut Run<'_>, conn: &Conn, whole: &Built, at: usize, id: u16, opens: bool) {
    let first = whole.cut(at).0;
    let len = i64::try_from(first.packet().len()).expect("a packet is short");
    let mut moves = vec![
        (Counter::ForwardPackets, 1),
        (Counter::ForwardBytes, len),
        (Counter::Id(0), 1),
    ];
    if opens {
        moves.extend(run.opening(conn, 0));
    }
    let expected = |run: &Run<'_>| run.outward(conn, whole, id).cut(at).0.frame();
    run.leaves(
        conn.link(),
        &first.frame(),
        Port::uplink(0),
        expected,
        &moves,
    );
}

cases! {
    fn fragments_in_order_leave_with_one_identification(run) {
        let conn = Conn::new_udp(0, 40_000);
        let whole = large(&conn, 2_000);
        starts(run, &conn, &whole, 1_024, 0, true);
        follows(run, &conn, &whole.cut(1_024).1, 0);
        let mut whole = large(&conn, 1_500);
        whole.ip.identification = 0x4321;
        let id = 1u16.to_be();
        starts(run, &conn, &whole, 512, id, false);
        follows(run, &conn, &whole.cut(512).1, id);
        // One more of the first datagram.
        follows(run, &conn, &large(&conn, 2_000).cut(1_024).1, 0);
    }

    fn a_whole_datagram_that_may_be_fragmented_takes_a_new_identification(run) {
        let conn = Conn::new_udp(0, 40_000);
        let whole = large(&conn, 10);
        run.opens(&conn, &whole, &[]);
        run.forwards(&conn, &whole, &[]);
        run.forwards(&conn, &conn.udp(b"atomic"), &[]);
    }

    fn clones_with_one_identification_do_not_mix(run) {
        let (a, b) = (Conn::new_udp(0, 40_000), Conn::new_udp(1, 40_000));
        let (whole_a, whole_b) = (large(&a, 900), large(&b, 900));
        starts(run, &a, &whole_a, 512, 0, true);
        starts(run, &b, &whole_b, 512, 1u16.to_be(), true);
        follows(run, &b, &whole_b.cut(512).1, 1u16.to_be());
        follows(run, &a, &whole_a.cut(512).1, 0);
    }

    fn a_later_fragment_that_comes_first_waits_with_the_agent(run) {
        let conn = Conn::new_udp(0, 40_000);
        let whole = large(&conn, 2_000);
        let last = whole.cut(1_024).1;
        let awaited = Awaited::Fragment(key(run, &conn, &whole));
        run.hands_over(conn.link(), &last.frame(), conn.owner(), awaited);
        starts(run, &conn, &whole, 1_024, 0, true);
        follows(run, &conn, &last, 0);
    }

    fn a_later_fragment_that_comes_too_late_waits_for_another_first(run) {
        let conn = Conn::new_udp(0, 40_000);
        let whole = large(&conn, 2_000);
        starts(run, &conn, &whole, 1_024, 0, true);
        run.age(FRAGMENT_SECS);
        let awaited = Awaited::Fragment(key(run, &conn, &whole));
        run.hands_over(conn.link(), &whole.cut(1_024).1.frame(), conn.owner(), awaited);
    }

    fn a_later_fragment_of_a_flow_that_ended_is_dropped(run) {
        let conn = Conn::new_udp(0, 40_000);
        let whole = large(&conn, 2_000);
        starts(run, &conn, &whole, 1_024, 0, true);
        run.recycle(0);
        run.recycle(0);
        run.sweep(crate::expiry::SweepOptions::PURGE, &gone(1_044));
        // The note is still there, under the old generation.
        run.world.environments[0].generation -= 2;
        run.configure();
        let last = whole.cut(1_024).1.frame();
        run.drops(conn.link(), &last, conn.owner(), DropReason::FragmentUnknown);
    }

    fn fragments_of_a_reply_reach_the_environment(run) {
        let conn = Conn::new_udp(0, 40_000);
        run.open(&conn);
        let whole = conn.udp_back(run, &payload(2_000)).may_fragment();
        let (first, last) = whole.cut(1_024);
        let expected = run.inward(&conn, &whole).cut(1_024);
        let port = Port::environment(0);
        for (piece, expected) in [(first, expected.0), (last, expected.1)] {
            let len = i64::try_from(piece.packet().len()).expect("a packet is short");
            let moves = [(Counter::ReplyPackets, 1), (Counter::ReplyBytes, len)];
            run.leaves(conn.uplink(), &piece.frame(), port, |_| expected.frame(), &moves);
        }
    }

    fn a_later_fragment_of_a_reply_that_comes_first_waits(run) {
        let conn = Conn::new_udp(0, 40_000);
        run.open(&conn);
        let whole = conn.udp_back(run, &payload(2_000)).may_fragment();
        let key = FragmentKey {
            ifindex: run.machine().ifindex(conn.uplink()),
            generation: 0,
            source: addr(SERVER),
            destination: addr(ENI[0]),
            id: whole.ip.identification.to_be(),
            protocol: 17,
        };
        let last = whole.cut(1_024).1.frame();
        run.hands_over(conn.uplink(), &last, Owner::uplink(0), Awaited::Fragment(key));
    }

    fn a_first_fragment_of_a_stranger_leaves_no_note(run) {
        let conn = Conn::new_udp(0, 40_000);
        run.open(&conn);
        let mut whole = conn.udp_back(run, &payload(2_000)).may_fragment();
        whole.ip.source = FAR;
        let (first, last) = whole.cut(1_024);
        run.drops(conn.uplink(), &first.frame(), Owner::eni(0), DropReason::Unsolicited);
        let key = FragmentKey {
            ifindex: run.machine().ifindex(conn.uplink()),
            generation: 0,
            source: addr(FAR),
            destination: addr(ENI[0]),
            id: whole.ip.identification.to_be(),
            protocol: 17,
        };
        run.hands_over(conn.uplink(), &last.frame(), Owner::uplink(0), Awaited::Fragment(key));
    }

    fn a_first_fragment_without_a_checksum_stays_without(run) {
        let conn = Conn::new_udp(0, 40_000);
        let whole = large(&conn, 900).sum(Sum::Absent);
        starts(run, &conn, &whole, 512, 0, true);
        follows(run, &conn, &whole.cut(512).1, 0);
    }

    fn fragments_of_tcp_and_icmp_are_not_carried(run) {
        let conn = Conn::new_tcp(0, 40_000);
        let (first, last) = conn.tcp("S", 1, 0, &payload(100)).may_fragment().cut(64);
        for piece in [first, last] {
            run.drops(conn.link(), &piece.frame(), conn.owner(), DropReason::TcpFragment);
        }
        let (first, last) = conn.out().icmp(8, 0, [0; 4], &payload(100)).cut(64);
        for piece in [first, last] {
            run.drops(conn.link(), &piece.frame(), conn.owner(), DropReason::IcmpFragment);
        }
        run.open(&conn);
        let whole = conn.tcp_back(run, "SA", 1, 2, &payload(100));
        let (first, last) = whole.cut(64);
        for piece in [first, last] {
            run.drops(conn.uplink(), &piece.frame(), Owner::eni(0), DropReason::TcpFragment);
        }
        let (first, last) = conn.back(run).icmp(3, 3, [0; 4], &payload(100)).cut(64);
        for piece in [first, last] {
            run.drops(conn.uplink(), &piece.frame(), Owner::eni(0), DropReason::IcmpFragment);
        }
    }

    fn fragments_of_other_protocols_are_not_carried(run) {
        let conn = Conn::new_udp(0, 40_000);
        let (first, last) = conn.out().raw(47, &payload(100)).cut(64);
        for piece in [first, last] {
            let reason = DropReason::ProtocolUnsupported;
            run.drops(conn.link(), &piece.frame(), conn.owner(), reason);
        }
    }
}

/// What moves when the only flow of a former environment is purged.
fn gone(bytes: i64) -> Vec<(Counter, i64)> {
    vec![
        (Counter::Stat(crate::layout::Stat::FlowsExpired), 1),
        (Counter::Connections(0), -1),
        (Counter::Used(1), -1),
        (Counter::ForwardPackets, -1),
        (Counter::ForwardBytes, -bytes),
    ]
}
