//! ICMP errors: translated with what they quote, and never more than a message.

use crate::{
    checksum,
    drop::DropReason,
    layout::{NextHopKey, Owner},
    packet_table::{
        Action, Conn, In, Run,
        build::{Built, Sum, payload},
        world::*,
    },
    verdict::{Awaited, Port},
};

/// Where an ICMP message begins behind an IPv4 header without options.
const ICMP: usize = 34;
/// And where its checksum is.
const ICMP_CHECKSUM: usize = ICMP + 2;

/// The first bytes of a packet.
fn head(packet: &Built, len: usize) -> Vec<u8> {
    let bytes = packet.packet();
    bytes[..len.min(bytes.len())].to_vec()
}

/// What becomes of a quote of `before`, which was `after` on the other side. Half
/// a TCP checksum cannot be translated and stays.
fn translated(before: &Built, after: &Built, len: usize) -> Vec<u8> {
    let mut quote = head(after, len);
    if after.ip.protocol.0 == 6 && len == after.ip.header_len() + 17 {
        quote[len - 1] = before.packet()[len - 1];
    }
    quote
}

/// A router of the VPC reports an error about a packet that left.
fn from_router(run: &mut Run<'_>, conn: &Conn, sent: &Built, quote_len: usize, kind: (u8, u8)) {
    let rest = [0, 0, 5, 0x14];
    let outside = run.outward(conn, sent, 0);
    let error = Built::new(ROUTER_MAC, UPLINK_MAC[0], [10, 9, 8, 7], outside.ip.source).icmp(
        kind.0,
        kind.1,
        rest,
        &head(&outside, quote_len),
    );
    // As it left: the time to live has been counted down.
    let mut inside = sent.clone();
    inside.ip.time_to_live -= 1;
    complete(&mut inside);
    let expected = run.inward(conn, &error).icmp(
        kind.0,
        kind.1,
        rest,
        &translated(&outside, &inside, quote_len),
    );
    run.leaves(
        In::Uplink(0),
        &error.frame(),
        Port::environment(0),
        |_| expected.frame(),
        &[],
    );
}

fn complete(packet: &mut Built) {
    if packet.sum == Sum::HalfMade {
        packet.sum = Sum::Right;
    }
}

/// The environment reports an error about a packet that it got.
fn from_environment(run: &mut Run<'_>, conn: &Conn, got: &Built, quote_len: usize) {
    let inside = run.inward(conn, got);
    let error = conn.out().icmp(3, 3, [0; 4], &head(&inside, quote_len));
    let mut outside = got.clone();
    outside.ip.time_to_live -= 1;
    let quote = translated(&inside, &outside, quote_len);
    let expected = run.outward(conn, &error, 0).icmp(3, 3, [0; 4], &quote);
    run.leaves(
        conn.link(),
        &error.frame(),
        Port::uplink(0),
        |_| expected.frame(),
        &[],
    );
}

cases! {
    fn errors_about_tcp_reach_the_environment_at_every_quoted_length(run) {
        let conn = Conn::new_tcp(0, 40_000);
        run.establish(&conn);
        run.age(5);
        let sent = conn.tcp("PA", 1_001, 5_001, &payload(500));
        for len in (28..48).chain([100, 540]) {
            from_router(run, &conn, &sent, len, (3, 4));
        }
        for kind in [(3, 0), (3, 1), (3, 13), (11, 0), (12, 0)] {
            from_router(run, &conn, &sent, 28, kind);
        }
    }

    fn errors_about_udp_reach_the_environment_at_every_quoted_length(run) {
        let conn = Conn::new_udp(0, 40_000);
        run.open(&conn);
        run.age(5);
        let sent = conn.udp(&payload(300));
        for len in (28..36).chain([328]) {
            from_router(run, &conn, &sent, len, (3, 3));
        }
    }

    fn a_quoted_datagram_without_a_checksum_stays_without(run) {
        let conn = Conn::new_udp(0, 40_000);
        run.open(&conn);
        let sent = conn.udp(b"none").sum(Sum::Absent);
        from_router(run, &conn, &sent, 28, (3, 3));
        from_router(run, &conn, &sent, 60, (3, 3));
        let got = conn.udp_back(run, b"none").sum(Sum::Absent);
        from_environment(run, &conn, &got, 32);
    }

    fn an_error_with_a_wrong_checksum_stays_wrong(run) {
        let conn = Conn::new_udp(0, 40_000);
        run.open(&conn);
        let quote = head(&run.outward(&conn, &conn.udp(b"x"), 0), 28);
        let right = conn.back(run).icmp(3, 3, [0; 4], &quote).frame();
        for wrong in [0, 1, 0x80] {
            let mut frame = right.clone();
            frame[ICMP_CHECKSUM] ^= wrong;
            let (ran, _) = run.send(In::Uplink(0), &frame);
            assert_eq!(ran.action, Action::Redirect);
            let words = ran.frame[ICMP..].chunks_exact(2);
            let sum = words.map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
            assert_eq!(checksum::fold(sum) == 0xffff, wrong == 0);
        }
    }

    fn options_of_the_quoted_packet_are_walked(run) {
        let conn = Conn::new_udp(0, 40_000);
        run.open(&conn);
        for options in [&[1; 4][..], &[1; 8], &[1; 40]] {
            let sent = conn.udp(&payload(30)).options(options);
            let head = 28 + options.len();
            from_router(run, &conn, &sent, head, (11, 0));
            from_router(run, &conn, &sent, head + 20, (11, 0));
            let got = conn.udp_back(run, &payload(30)).options(options);
            from_environment(run, &conn, &got, head);
        }
    }

    fn extensions_behind_the_quote_stay_as_they_are(run) {
        // RFC 4884: the quote is padded to 128 bytes, and an extension follows.
        let behind = |quote: Vec<u8>| {
            let padding = vec![0; 128 - quote.len()];
            [&quote[..], &padding, &[0x20, 0, 0x12, 0x34, 0, 8, 1, 1, 0xca, 0xfe, 0xba, 0xbe]]
                .concat()
        };
        let rest = [0, 32, 0, 0];
        let (udp, tcp) = (Conn::new_udp(0, 40_000), Conn::new_tcp(0, 40_000));
        run.open(&udp);
        run.establish(&tcp);
        for (conn, sent) in [
            (&udp, udp.udp(b"short")),
            (&tcp, tcp.tcp("A", 1_001, 5_001, b"")),
        ] {
            let outside = run.outward(conn, &sent, 0);
            let error = conn.back(run).icmp(11, 0, rest, &behind(outside.packet()));
            let mut inside = sent.clone();
            inside.ip.time_to_live -= 1;
            let expected = run.inward(conn, &error).icmp(11, 0, rest, &behind(inside.packet()));
            let port = Port::environment(0);
            run.leaves(conn.uplink(), &error.frame(), port, |_| expected.frame(), &[]);
        }
    }

    fn errors_of_the_environment_reach_the_remote(run) {
        let conn = Conn::new_udp(0, 40_000);
        run.open(&conn);
        run.replies(&conn, &conn.udp_back(run, b"x"), &[]);
        run.age(5);
        for len in [28, 29, 36, 100, 128] {
            let got = conn.udp_back(run, &payload(100));
            from_environment(run, &conn, &got, len);
        }
        let conn = Conn::new_tcp(0, 40_000);
        run.establish(&conn);
        for len in [28, 37, 38, 39, 40, 100] {
            let got = conn.tcp_back(run, "PA", 5_001, 1_001, &payload(60));
            from_environment(run, &conn, &got, len);
        }
    }

    fn an_error_does_not_end_or_refresh_a_flow(run) {
        let conn = Conn::new_tcp(0, 40_000);
        run.open(&conn);
        run.age(40);
        from_router(run, &conn, &conn.tcp("S", 1_000, 0, b""), 28, (3, 1));
        assert_eq!(run.phase(&conn), Some(crate::state::Phase::TcpSynSent));
        run.age(20);
        let moves = run.ending(&conn);
        run.sweep(0, &moves);
        assert_eq!(run.phase(&conn), None);
    }

    fn an_error_about_no_flow_is_dropped(run) {
        let conn = Conn::new_udp(0, 40_000);
        run.open(&conn);
        let unmatched = DropReason::IcmpUnmatched;
        let (_, port) = run.outside(&conn);
        let other = Built::new(UPLINK_MAC[0], SERVER_MAC, ENI[0], SERVER);
        for quoted in [
            other.clone().udp(port ^ 1, 53, b"x"),
            other.clone().udp(port, 54, b"x"),
            other.clone().tcp(crate::packet_table::build::segment(port, 53, "S", 1, 0), b""),
            other.clone().raw(47, &payload(20)),
            other.clone().icmp(8, 0, [0; 4], b"ping"),
            other.udp(port, 53, &payload(64)).cut(32).1,
        ] {
            let error = conn.back(run).icmp(3, 3, [0; 4], &quoted.packet()).frame();
            run.drops(In::Uplink(0), &error, Owner::eni(0), unmatched);
        }
        let mut quoted = conn.udp_back(run, b"x");
        quoted.ip.destination = INSIDE;
        let error = conn.out().icmp(3, 3, [0; 4], &quoted.packet()).frame();
        run.drops(conn.link(), &error, conn.owner(), unmatched);
    }

    fn an_error_with_a_malformed_quote_is_dropped(run) {
        let conn = Conn::new_udp(0, 40_000);
        run.open(&conn);
        let malformed = DropReason::IcmpMalformed;
        let good = run.outward(&conn, &conn.udp(&payload(20)), 0).packet();
        let patched = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at] = value;
            bytes
        };
        for quote in [
            patched(0, 0x65),
            patched(0, 0x44),
            patched(10, !good[10]),
            patched(8, good[8] ^ 1),
            good[..27].to_vec(),
            good[..20].to_vec(),
            good[..19].to_vec(),
            Vec::new(),
        ] {
            let error = conn.back(run).icmp(3, 3, [0; 4], &quote).frame();
            run.drops(In::Uplink(0), &error, Owner::eni(0), malformed);
            let error = conn.out().icmp(3, 3, [0; 4], &quote).frame();
            run.drops(conn.link(), &error, conn.owner(), malformed);
        }
        // The quote must not reach into the frame's padding.
        let error = conn.back(run).icmp(3, 3, [0; 4], &good[..20]).padded(40).frame();
        run.drops(In::Uplink(0), &error, Owner::eni(0), malformed);
    }

    fn a_quote_of_somebody_else_s_packet_is_malformed(run) {
        let conn = Conn::new_udp(0, 40_000);
        run.open(&conn);
        let mut outside = run.outward(&conn, &conn.udp(b"x"), 0);
        outside.ip.source = ENI[1];
        let error = conn.back(run).icmp(3, 3, [0; 4], &outside.packet()).frame();
        run.drops(In::Uplink(0), &error, Owner::eni(0), DropReason::IcmpMalformed);
        let mut inside = run.inward(&conn, &conn.udp_back(run, b"x"));
        inside.ip.source = FAR;
        let error = conn.out().icmp(3, 3, [0; 4], &inside.packet()).frame();
        run.drops(conn.link(), &error, conn.owner(), DropReason::IcmpMalformed);
    }

    fn an_error_for_an_unknown_next_hop_waits(run) {
        let conn = Conn::new_udp(0, 40_000);
        run.open(&conn);
        run.machine().seen().next_hops[1].mac.store(0);
        let inside = run.inward(&conn, &conn.udp_back(run, b"x"));
        let error = conn.out().icmp(3, 3, [0; 4], &inside.packet()).frame();
        let key = NextHopKey { uplink: 0, address: addr(SERVER) };
        run.hands_over(conn.link(), &error, conn.owner(), Awaited::NextHop(key, addr(ENI[0])));
    }

    fn an_error_about_a_recycled_environment_s_flow_is_dropped(run) {
        let conn = Conn::new_udp(0, 40_000);
        run.open(&conn);
        let error = conn
            .back(run)
            .icmp(3, 3, [0; 4], &run.outward(&conn, &conn.udp(b"x"), 0).packet())
            .frame();
        run.recycle(0);
        run.drops(In::Uplink(0), &error, Owner::eni(0), DropReason::EnvironmentGone);
    }
}
