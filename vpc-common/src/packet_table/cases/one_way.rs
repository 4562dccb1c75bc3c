//! From the VPC comes only what answers a flow.

use crate::{
    drop::DropReason,
    layout::{NextHopKey, Owner},
    packet_table::{
        Conn, In,
        build::{Built, segment},
        world::*,
    },
    policy::Verdict,
    verdict::Awaited,
};

const ENI_0: Owner = Owner::eni(0);

fn to_eni() -> Built {
    Built::new(SERVER_MAC, UPLINK_MAC[0], SERVER, ENI[0])
}

cases! {
    fn what_answers_nothing_is_dropped_in_silence(run) {
        for port in [1, 1_023, 1_024, 40_000, 65_535] {
            for flags in ["S", "SA", "A", "R", "FA"] {
                let packet = to_eni().tcp(segment(443, port, flags, 1, 2), b"").frame();
                run.drops(In::Uplink(0), &packet, ENI_0, DropReason::Unsolicited);
            }
            let packet = to_eni().udp(53, port, b"x").frame();
            run.drops(In::Uplink(0), &packet, ENI_0, DropReason::Unsolicited);
        }
        for kind in [0, 4, 5, 8, 13, 17, 40] {
            let packet = to_eni().icmp(kind, 0, [0; 4], b"ping").frame();
            run.drops(In::Uplink(0), &packet, ENI_0, DropReason::Unsolicited);
        }
    }

    fn a_free_port_in_a_granted_block_is_nobody_s(run) {
        let conn = Conn::new_udp(0, 40_000);
        run.open(&conn);
        let used = run.outside(&conn).1;
        for low in 0..=255 {
            let port = used & 0xff00 | low;
            if port != used {
                let packet = to_eni().udp(53, port, b"x").frame();
                run.drops(In::Uplink(0), &packet, ENI_0, DropReason::Unsolicited);
            }
        }
    }

    fn a_peered_uplink_answers_only_for_flows_that_leave_by_it(run) {
        run.world.rules[2].peered = Some(0);
        run.configure();
        let conn = Conn::new_udp(2, 40_000);
        run.open(&conn);
        let (address, port) = run.outside(&conn);
        let forged = Built::new(SERVER_MAC, UPLINK_MAC[0], OTHER_SERVER, address);
        let forged = forged.udp(53, port, b"forged").frame();
        let eni = Owner::eni(2);
        run.drops(In::Uplink(0), &forged, eni, DropReason::Unsolicited);
        // Nor for one that leaves by none, as none is not the first uplink.
        run.world.rules[2].out = vec![(0, Verdict::ACL_DENIES)];
        run.world.generations[2] += 1;
        run.configure();
        let out = conn.udp(b"out").frame();
        run.drops(conn.link(), &out, conn.owner(), DropReason::NaclOut);
        run.drops(In::Uplink(0), &forged, eni, DropReason::Unsolicited);
    }

    fn another_peer_than_the_flow_s_gets_nothing_in(run) {
        for conn in [Conn::new_udp(0, 40_000), Conn::new_tcp(0, 40_000)] {
            run.open(&conn);
            let (_, port) = run.outside(&conn);
            let good = match conn.protocol {
                6 => conn.tcp_back(run, "SA", 1, 1_001, b""),
                _ => conn.udp_back(run, b"x"),
            };
            let mut wrong_address = good.clone();
            wrong_address.ip.source = FAR;
            let wrong_port = match conn.protocol {
                6 => conn.back(run).tcp(segment(444, port, "SA", 1, 1_001), b""),
                _ => conn.back(run).udp(54, port, b"x"),
            };
            let wrong_protocol = match conn.protocol {
                6 => conn.back(run).udp(443, port, b"x"),
                _ => conn.back(run).tcp(segment(53, port, "S", 1, 0), b""),
            };
            let mut wrong_eni = good.clone();
            wrong_eni.ip.destination = ENI[1];
            for (wrong, eni) in
                [(wrong_address, 0), (wrong_port, 0), (wrong_protocol, 0), (wrong_eni, 1)]
            {
                let owner = Owner::eni(eni);
                run.drops(In::Uplink(0), &wrong.frame(), owner, DropReason::Unsolicited);
            }
            run.replies(&conn, &good, &[]);
        }
    }

    fn nothing_turns_back_to_an_environment_by_its_eni(run) {
        let conn = Conn::new_udp(0, 40_000);
        run.open(&conn);
        let (eni, port) = run.outside(&conn);
        // From its neighbour, to the very port that it may be answered at.
        let hairpin = Conn { remote_port: port, ..Conn::new_udp(1, 40_001).to(eni) };
        let key = NextHopKey { uplink: 0, address: addr(eni) };
        let awaited = Awaited::NextHop(key, addr(ENI[0]));
        run.hands_over(hairpin.link(), &hairpin.udp(b"hello").frame(), hairpin.owner(), awaited);
        assert_eq!(run.phase(&hairpin), None);
    }

    fn an_eni_is_known_on_its_own_uplink_only(run) {
        let conn = Conn::new_udp(0, 40_000);
        run.open(&conn);
        let mut packet = conn.udp_back(run, b"x");
        packet.to = UPLINK_MAC[1];
        run.passes(In::Uplink(1), &packet.frame());
    }

    fn a_dedicated_uplink_drops_what_is_not_an_eni_s(run) {
        let mut packet = to_eni().udp(53, 53, b"x");
        packet.ip.destination = [10, 0, 1, 77];
        run.drops(In::Uplink(0), &packet.frame(), Owner::uplink(0), DropReason::NotAnEni);
        for to in [[0xff; 6], [1, 0, 0x5e, 0, 0, 1], [2, 7, 7, 7, 7, 7]] {
            let mut packet = to_eni().udp(53, 53, b"x");
            packet.to = to;
            run.drops(In::Uplink(0), &packet.frame(), Owner::uplink(0), DropReason::NotForLink);
        }
    }

    fn a_shared_uplink_passes_what_is_not_an_eni_s(run) {
        let to_host = Built::new(OTHER_SERVER_MAC, UPLINK_MAC[1], OTHER_SERVER, [10, 0, 2, 99]);
        run.passes(In::Uplink(1), &to_host.clone().udp(53, 53, b"x").frame());
        run.passes(In::Uplink(1), &to_host.clone().icmp(8, 0, [0; 4], b"x").frame());
        run.passes(In::Uplink(1), &to_host.clone().raw(89, b"x").frame());
        let (first, last) = to_host.clone().udp(53, 53, &[1; 64]).cut(32);
        run.passes(In::Uplink(1), &first.frame());
        run.passes(In::Uplink(1), &last.frame());
        let mut broadcast = to_host.udp(67, 68, b"dhcp");
        broadcast.to = [0xff; 6];
        run.passes(In::Uplink(1), &broadcast.frame());
        // What is for the ENI is not the host's.
        let packet = Built::new(OTHER_SERVER_MAC, UPLINK_MAC[1], OTHER_SERVER, ENI[2]);
        let packet = packet.tcp(segment(1, 22, "S", 1, 0), b"").frame();
        run.drops(In::Uplink(1), &packet, Owner::eni(2), DropReason::Unsolicited);
    }

    fn an_interface_that_is_no_uplink_any_more_is_dropped(run) {
        run.world.uplinks[0].ifindex = 0;
        run.configure();
        let packet = to_eni().udp(53, 53, b"x").frame();
        run.drops(In::Uplink(0), &packet, Owner::HOST, DropReason::LinkUnknown);
    }
}
