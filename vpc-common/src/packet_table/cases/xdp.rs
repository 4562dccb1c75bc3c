//! XDP alone. Half-made checksums are told by their value, and completed where they
//! can arrive. What must leave by a link without XDP is left to TC.

use super::checksums::data_for_zero;
use crate::{
    drop::DropReason,
    layout::{Environment, Stat, Uplink},
    packet_table::{
        Action, Conn, Counter, In,
        build::{Sum, payload, segment},
    },
};

const COMPLETED: [(Counter, i64); 1] = [(Counter::Stat(Stat::ChecksumsCompleted), 1)];

cases! {
    fn half_made_tcp_is_completed_both_ways_at_every_length(run) {
        let conn = Conn::new_tcp(0, 40_000);
        run.establish(&conn);
        let lengths = (0..40).chain((40..1_360).step_by(53)).chain(1_350..=1_360);
        for len in lengths {
            let out = conn.tcp("PA", 1_001, 5_001, &payload(len)).sum(Sum::HalfMade);
            run.forwards(&conn, &out, &COMPLETED);
            let back = conn.tcp_back(run, "PA", 5_001, 1_001, &payload(len));
            run.replies(&conn, &back.sum(Sum::HalfMade), &COMPLETED);
        }
    }

    fn half_made_udp_is_completed_both_ways_at_every_length(run) {
        let conn = Conn::new_udp(0, 40_000);
        run.open(&conn);
        let lengths = (0..40).chain((40..1_372).step_by(59)).chain(1_362..=1_372);
        for len in lengths {
            let out = conn.udp(&payload(len)).sum(Sum::HalfMade);
            run.forwards(&conn, &out, &COMPLETED);
            let back = conn.udp_back(run, &payload(len)).sum(Sum::HalfMade);
            run.replies(&conn, &back, &COMPLETED);
        }
    }

    fn a_half_made_syn_with_options_is_completed_and_clamped(run) {
        let conn = Conn::new_tcp(0, 40_000);
        let mut header = conn.header("S", 1_000, 0);
        header.set_options_raw(&[1, 2, 4, 5, 180, 1, 1, 0]).expect("eight bytes");
        let syn = conn.out().tcp(header.clone(), b"").sum(Sum::HalfMade);
        let moves = [&run.opening(&conn, 0)[..], &COMPLETED].concat();
        run.forwards_as(&conn, &syn, &moves, |expected| {
            let mut header = header.clone();
            header.set_options_raw(&[1, 2, 4, 5, 80, 1, 1, 0]).expect("eight bytes");
            header.source_port = match &expected.body {
                crate::packet_table::build::Body::Tcp(header, _) => header.source_port,
                _ => 0,
            };
            expected.tcp(header, b"")
        });
    }

    fn a_half_made_checksum_with_ip_options_is_completed(run) {
        let conn = Conn::new_udp(0, 40_000);
        let packet = conn.udp(&payload(99)).options(&[1; 40]).sum(Sum::HalfMade);
        run.opens(&conn, &packet, &COMPLETED);
    }

    fn a_half_made_checksum_with_padding_is_completed(run) {
        let conn = Conn::new_udp(0, 40_000);
        run.opens(&conn, &conn.udp(b"odd").sum(Sum::HalfMade).padded(15), &COMPLETED);
    }

    fn on_a_card_a_half_made_checksum_is_a_wrong_one(run) {
        let conn = Conn::new_tcp(2, 40_000);
        run.establish(&conn);
        let back = conn.tcp_back(run, "PA", 5_001, 1_001, &payload(10)).sum(Sum::HalfMade);
        let mut expected = run.inward(&conn, &back);
        expected.sum = Sum::HalfMade;
        // Updated for the new address and port, it stays as wrong as it was.
        let frame = expected.frame();
        let completed = run.inward(&conn, &back).frame();
        assert_ne!(frame, completed);
        let (ran, moved) = run.send(conn.uplink(), &back.frame());
        assert_eq!(ran.action, crate::packet_table::Action::Redirect);
        assert!(!moved.contains_key(&COMPLETED[0].0));
        assert_ne!(ran.frame, completed);
        // The environment's own link may hand over half-made ones all the same.
        let out = conn.tcp("PA", 1_001, 5_001, b"x").sum(Sum::HalfMade);
        run.forwards(&conn, &out, &COMPLETED);
    }

    fn a_completed_udp_checksum_of_zero_is_sent_as_all_ones(run) {
        let conn = Conn::new_udp(0, 40_000);
        run.open(&conn);
        let out = data_for_zero(|data| run.outward(&conn, &conn.udp(data), 0));
        run.forwards(&conn, &conn.udp(&out).sum(Sum::HalfMade), &COMPLETED);
        let back = data_for_zero(|data| run.inward(&conn, &conn.udp_back(run, data)));
        run.replies(&conn, &conn.udp_back(run, &back).sum(Sum::HalfMade), &COMPLETED);
    }

    fn a_super_packet_that_was_on_its_way_before_xdp_is_left_to_tc(run) {
        let conn = Conn::new_tcp(0, 40_000);
        run.establish(&conn);
        for len in [1_461, 2_900] {
            let out = conn.tcp("PA", 1_001, 5_001, &payload(len)).frame();
            let back = conn.tcp_back(run, "PA", 5_001, 1_001, &payload(len)).frame();
            for (link, frame) in [(conn.link(), out), (conn.uplink(), back)] {
                run.passes(link, &frame);
                // As if its end were out of sight.
                run.passes(link, &frame[..frame.len().min(2_000)]);
            }
        }
        // No longer than a frame, it is what it is.
        let about = conn.tcp("PA", 1_001, 5_001, &payload(1_460)).frame();
        let (ran, _) = run.send(conn.link(), &about);
        assert_eq!(ran.action, Action::Redirect, "told that it is too long");
        let cut = &about[..about.len() - 1];
        run.drops(conn.link(), cut, conn.owner(), DropReason::Ipv4Malformed);
        let stray = Conn::new_tcp(0, 40_001).tcp("S", 1, 0, &payload(2_900)).frame();
        let opening = run.opening(&Conn::new_tcp(0, 40_001), 0);
        let (ran, moved) = run.send(conn.link(), &stray);
        assert_eq!((ran.action, moved), (Action::Pass, opening.into_iter().collect()));
    }

    fn what_leaves_by_an_uplink_without_xdp_is_left_to_tc(run) {
        let (tcp, udp) = (Conn::new_tcp(0, 40_000), Conn::new_udp(0, 40_000));
        run.establish(&tcp);
        run.open(&udp);
        let quoted = run.inward(&tcp, &tcp.tcp_back(run, "A", 5_001, 1_001, b"abc"));
        let (first, last) = udp.udp(&payload(600)).may_fragment().cut(64);
        assert_eq!(run.send(udp.link(), &first.frame()).0.action, Action::Redirect);
        run.world.uplinks[0].flags &= !Uplink::XDP;
        run.configure();
        for packet in [
            tcp.tcp("PA", 1_001, 5_001, b"data"),
            udp.udp(b"data"),
            tcp.out().icmp(3, 3, [0; 4], &quoted.packet()),
            last,
        ] {
            run.passes(tcp.link(), &packet.frame());
        }
        // What is answered on the spot still is.
        let stray = Conn::new_tcp(0, 40_001).tcp("A", 1, 2, b"");
        let (ran, _) = run.send(tcp.link(), &stray.frame());
        assert_eq!(ran.action, Action::Redirect);
    }

    fn a_flow_that_xdp_opens_is_left_to_tc_from_its_first_packet_on(run) {
        let conn = Conn::new_udp(0, 40_000);
        run.world.uplinks[0].flags &= !Uplink::XDP;
        run.configure();
        let opening = run.opening(&conn, 0);
        let frame = conn.udp(b"first").frame();
        let (ran, moved) = run.send(conn.link(), &frame);
        assert_eq!((ran.action, ran.frame), (Action::Pass, frame));
        assert_eq!(moved, opening.into_iter().collect());
    }

    fn replies_to_an_environment_without_xdp_are_left_to_tc(run) {
        let (tcp, udp) = (Conn::new_tcp(0, 40_000), Conn::new_udp(0, 40_000));
        run.establish(&tcp);
        run.open(&udp);
        let quoted = run.outward(&tcp, &tcp.tcp("A", 1_001, 5_001, b"abc"), 0);
        let (first, last) = udp.udp_back(run, &payload(600)).may_fragment().cut(64);
        assert_eq!(run.send(udp.uplink(), &first.frame()).0.action, Action::Redirect);
        run.world.environments[0].flags &= !Environment::XDP;
        run.configure();
        for packet in [
            tcp.tcp_back(run, "PA", 5_001, 1_001, b"data"),
            udp.udp_back(run, b"data"),
            tcp.back(run).icmp(11, 0, [0; 4], &quoted.packet()),
            last,
        ] {
            run.passes(In::Uplink(0), &packet.frame());
        }
        // What answers no flow is still dropped where it arrives.
        let port = run.outside(&tcp).1;
        let stray = tcp.back(run).tcp(segment(444, port, "SA", 1, 2), b"");
        let (ran, _) = run.send(In::Uplink(0), &stray.frame());
        assert_eq!(ran.action, Action::Drop);
    }
}
