//! Time to live, MTU and MSS.

use crate::{
    drop::DropReason,
    layout::Owner,
    packet_table::{
        Conn, In,
        build::{Body, Built, Sum, payload},
        world::*,
    },
};

/// The ICMP error that a station sends about a packet.
fn error(
    (from, to): ([u8; 6], [u8; 6]),
    source: [u8; 4],
    about: &Built,
    (kind, code): (u8, u8),
    mtu: u32,
) -> Vec<u8> {
    // The header and up to 20 bytes after it.
    let quote_len = about.packet().len().min(about.ip.header_len() + 20);
    let [.., high, low] = mtu.to_be_bytes();
    let mut packet = Built::new(from, to, source, about.ip.source).icmp(
        kind,
        code,
        [0, 0, high, low],
        &about.packet()[..quote_len],
    );
    packet.ip.identification = 0;
    packet.frame()
}

/// What the environment gets from its gateway.
fn to_environment(about: &Built, kind: (u8, u8), mtu: u32) -> Vec<u8> {
    error((GATEWAY_MAC, INSIDE_MAC), GATEWAY, about, kind, mtu)
}

fn with_options(conn: &Conn, flags: &str, options: &[u8]) -> Built {
    let mut header = conn.header(flags, 1_000, 0);
    header.set_options_raw(options).expect("at most 40 bytes");
    conn.out().tcp(header, b"")
}

/// Opens by a SYN with these options; they leave as those.
fn clamps(run: &mut crate::packet_table::Run<'_>, options: &[u8], clamped: &[u8]) {
    let port = 40_000 + run.machine().flows().len() as u16;
    let conn = Conn::new_tcp(0, port);
    let moves = run.opening(&conn, 0);
    run.forwards_as(
        &conn,
        &with_options(&conn, "S", options),
        &moves,
        |mut expected| {
            if let Body::Tcp(header, _) = &mut expected.body {
                header.set_options_raw(clamped).expect("at most 40 bytes");
            }
            expected
        },
    );
    // The other way, on the SYN/ACK.
    let mut header = conn.header_back(run, "SA", 5_000, 1_001);
    header.set_options_raw(options).expect("at most 40 bytes");
    let answer = conn.back(run).tcp(header, b"");
    run.replies_as(&conn, &answer, &[], |mut expected| {
        if let Body::Tcp(header, _) = &mut expected.body {
            header.set_options_raw(clamped).expect("at most 40 bytes");
        }
        expected
    });
}

cases! {
    fn a_ttl_that_runs_out_is_reported_with_the_packet_s_head(run) {
        let (tcp, udp) = (Conn::new_tcp(0, 40_000), Conn::new_udp(0, 40_000));
        for about in [
            tcp.tcp("S", 1, 0, b"").ttl(1),
            tcp.tcp("A", 1, 2, &payload(900)).ttl(1),
            udp.udp(b"").ttl(1),
            udp.udp(&payload(1_472)).ttl(1),
            udp.udp(b"with options").ttl(0).options(&[1; 8]),
            udp.udp(b"all options").ttl(1).options(&[1; 40]),
            udp.udp(b"half made").ttl(1).sum(Sum::HalfMade),
        ] {
            let expected = to_environment(&about, (11, 0), 0);
            let dropped = Some((Owner::environment(0), DropReason::TtlExpired));
            run.answers(In::Environment(0), &about.frame(), &expected, dropped);
        }
    }

    fn a_ttl_that_runs_out_on_an_open_flow_does_not_count_on_it(run) {
        let conn = Conn::new_udp(0, 40_000);
        run.open(&conn);
        let about = conn.udp(b"last hop").ttl(1);
        let dropped = Some((conn.owner(), DropReason::TtlExpired));
        run.answers(conn.link(), &about.frame(), &to_environment(&about, (11, 0), 0), dropped);
        let back = conn.udp_back(run, b"back").ttl(1).frame();
        run.drops(conn.uplink(), &back, Owner::eni(0), DropReason::TtlExpired);
    }

    fn no_error_is_sent_about_a_multicast(run) {
        for to in [[224, 0, 0, 252], [239, 255, 255, 250], [255; 4]] {
            let conn = Conn::new_udp(0, 40_000).to(to);
            let packet = conn.udp(b"who is there").ttl(1).frame();
            run.drops(conn.link(), &packet, conn.owner(), DropReason::TtlExpired);
        }
    }

    fn no_error_is_sent_about_an_error_or_a_later_fragment(run) {
        let conn = Conn::new_udp(0, 40_000);
        let (_, last) = conn.udp(&payload(64)).may_fragment().ttl(1).cut(32);
        run.drops(conn.link(), &last.frame(), conn.owner(), DropReason::TtlExpired);
        let about = conn.udp(b"x").packet();
        let error = conn.out().icmp(3, 3, [0; 4], &about).ttl(1).frame();
        run.drops(conn.link(), &error, conn.owner(), DropReason::TtlExpired);
    }

    fn a_ttl_of_two_leaves_as_one(run) {
        let conn = Conn::new_udp(0, 40_000);
        run.opens(&conn, &conn.udp(b"x").ttl(2), &[]);
        run.replies(&conn, &conn.udp_back(run, b"x").ttl(2), &[]);
    }

    fn a_packet_over_the_uplink_s_mtu_is_answered_with_it(run) {
        let conn = Conn::new_udp(0, 40_000);
        run.opens(&conn, &conn.udp(&payload(1_372)), &[]);
        let dropped = Some((conn.owner(), DropReason::FragmentationNeeded));
        let about = conn.udp(&payload(1_373));
        run.answers(conn.link(), &about.frame(), &to_environment(&about, (3, 4), 1_400), dropped);
        let conn = Conn::new_tcp(0, 40_000);
        run.establish(&conn);
        let about = conn.tcp("PA", 1_001, 5_001, &payload(1_361));
        run.answers(conn.link(), &about.frame(), &to_environment(&about, (3, 4), 1_400), dropped);
    }

    fn what_may_be_fragmented_is_not_but_answered_with_the_mtu(run) {
        let conn = Conn::new_udp(0, 40_000);
        run.open(&conn);
        let dropped = Some((conn.owner(), DropReason::FragmentationNeeded));
        let about = conn.udp(&payload(1_373)).may_fragment();
        run.answers(conn.link(), &about.frame(), &to_environment(&about, (3, 4), 1_400), dropped);
    }

    fn a_reply_over_the_environment_s_mtu_is_answered_with_it(run) {
        let conn = Conn::new_udp(2, 40_000);
        run.open(&conn);
        run.replies(&conn, &conn.udp_back(run, &payload(1_372)), &[]);
        let about = conn.udp_back(run, &payload(1_373));
        let macs = (UPLINK_MAC[1], OTHER_SERVER_MAC);
        let expected = error(macs, ENI[2], &about, (3, 4), 1_400);
        let dropped = Some((Owner::eni(2), DropReason::FragmentationNeeded));
        run.answers(conn.uplink(), &about.frame(), &expected, dropped);
    }

    fn the_mss_is_clamped_at_even_and_odd_offsets(run) {
        clamps(run, &[2, 4, 5, 180], &[2, 4, 5, 80]);
        clamps(run, &[1, 2, 4, 5, 180, 1, 1, 0], &[1, 2, 4, 5, 80, 1, 1, 0]);
        clamps(run, &[1, 1, 2, 4, 255, 255, 1, 0], &[1, 1, 2, 4, 5, 80, 1, 0]);
        clamps(run, &[3, 3, 7, 2, 4, 35, 40, 0], &[3, 3, 7, 2, 4, 5, 80, 0]);
        let before = [&[1; 36][..], &[2, 4, 5, 180]].concat();
        let after = [&[1; 36][..], &[2, 4, 5, 80]].concat();
        clamps(run, &before, &after);
    }

    fn an_mss_that_fits_stays(run) {
        clamps(run, &[2, 4, 5, 80], &[2, 4, 5, 80]);
        clamps(run, &[2, 4, 2, 24], &[2, 4, 2, 24]);
        clamps(run, &[1, 2, 4, 5, 79, 1, 1, 0], &[1, 2, 4, 5, 79, 1, 1, 0]);
    }

    fn options_without_an_mss_stay(run) {
        for options in [
            &[4, 2, 1, 1][..],
            &[8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 1],
            &[0, 2, 4, 255, 255, 0, 0, 0],
        ] {
            clamps(run, options, options);
        }
    }

    fn malformed_options_stay(run) {
        for options in [
            &[2, 3, 255, 1][..],
            &[3, 0, 2, 4, 255, 255, 0, 0],
            &[8, 1, 2, 4, 255, 255, 0, 0],
            &[8, 66, 2, 4, 255, 255, 0, 0],
            &[8, 64, 2, 4, 255, 255, 0, 0],
            &[8, 255, 2, 4, 255, 255, 0, 0],
            &[1, 1, 2, 4],
            &[1, 1, 1, 2],
        ] {
            clamps(run, options, options);
        }
    }

    fn an_mss_outside_a_syn_stays(run) {
        let conn = Conn::new_tcp(0, 40_000);
        run.establish(&conn);
        let mut header = conn.header("A", 1_001, 5_001);
        header.set_options_raw(&[2, 4, 255, 255]).expect("four bytes");
        run.forwards(&conn, &conn.out().tcp(header, b""), &[]);
    }
}
