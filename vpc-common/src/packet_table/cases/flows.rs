//! Flows that open and carry packets.

use crate::{
    drop::DropReason,
    layout::NextHopKey,
    packet_table::{Conn, build::payload, world::*},
    state::Phase,
    verdict::Awaited,
};

cases! {
    fn a_syn_opens_a_flow(run) {
        run.open(&Conn::new_tcp(0, 40_000));
    }

    fn a_connection_carries_data_both_ways(run) {
        let conn = Conn::new_tcp(0, 40_000);
        run.establish(&conn);
        run.forwards(&conn, &conn.tcp("PA", 1_001, 5_001, &payload(333)), &[]);
        let answer = conn.tcp_back(run, "PA", 5_001, 1_334, &payload(1_000));
        run.replies(&conn, &answer, &[]);
    }

    fn a_syn_sent_again_takes_the_same_flow(run) {
        let conn = Conn::new_tcp(0, 40_000);
        run.open(&conn);
        run.forwards(&conn, &conn.tcp("S", 1_000, 0, b""), &[]);
    }

    fn udp_goes_both_ways_and_becomes_a_stream(run) {
        let conn = Conn::new_udp(0, 40_000);
        run.open(&conn);
        run.replies(&conn, &conn.udp_back(run, b"answer"), &[]);
        assert_eq!(run.phase(&conn), Some(Phase::UdpStream));
        run.forwards(&conn, &conn.udp(b"again"), &[]);
    }

    fn clones_with_one_address_and_port_have_flows_of_their_own(run) {
        let (first, second) = (Conn::new_tcp(0, 40_000), Conn::new_tcp(1, 40_000));
        run.establish(&first);
        run.establish(&second);
        assert_ne!(run.outside(&first), run.outside(&second));
        run.replies(&first, &first.tcp_back(run, "PA", 5_001, 1_001, b"first"), &[]);
        run.replies(&second, &second.tcp_back(run, "PA", 5_001, 1_001, b"second"), &[]);
    }

    fn tcp_and_udp_from_one_port_are_two_flows(run) {
        run.open(&Conn::new_tcp(0, 40_000));
        run.open(&Conn::new_udp(0, 40_000));
    }

    fn another_remote_is_another_flow(run) {
        run.open(&Conn::new_udp(0, 40_000));
        run.open(&Conn::new_udp(0, 40_000).to(FAR));
    }

    fn what_lies_beyond_the_subnet_goes_by_the_router(run) {
        let conn = Conn::new_tcp(0, 40_000).to(FAR);
        run.establish(&conn);
    }

    fn a_destination_without_a_route_is_refused(run) {
        let conn = Conn::new_tcp(2, 40_000).to(FAR);
        let syn = conn.tcp("S", 1, 0, b"").frame();
        run.drops(conn.link(), &syn, conn.owner(), DropReason::NoRoute);
    }

    fn ip_options_are_carried(run) {
        let conn = Conn::new_udp(0, 40_000);
        for options in [&[1, 1, 1, 0][..], &[7, 39, 4, 0, 0, 0, 0, 0], &[1; 40]] {
            let packet = conn.udp(b"with options").options(options);
            if run.slot(&conn).is_none() {
                run.opens(&conn, &packet, &[]);
            } else {
                run.forwards(&conn, &packet, &[]);
            }
            run.replies(&conn, &conn.udp_back(run, b"back").options(options), &[]);
        }
        let conn = Conn::new_tcp(0, 40_000);
        run.opens(&conn, &conn.tcp("S", 1, 0, b"").options(&[1; 12]), &[]);
    }

    fn padding_of_short_frames_is_no_part_of_the_packet(run) {
        let conn = Conn::new_udp(0, 40_000);
        run.opens(&conn, &conn.udp(b"x").padded(17), &[]);
        run.replies(&conn, &conn.udp_back(run, b"y").padded(17), &[]);
        let conn = Conn::new_tcp(0, 40_000);
        run.opens(&conn, &conn.tcp("S", 1, 0, b"").padded(6), &[]);
        run.replies(&conn, &conn.tcp_back(run, "SA", 9, 2, b"").padded(6), &[]);
    }

    fn an_unknown_next_hop_makes_the_packet_wait(run) {
        for remote in [SILENT, UNHEARD] {
            let conn = Conn::new_udp(0, 40_000).to(remote);
            let key = NextHopKey { uplink: 0, address: addr(remote) };
            let awaited = Awaited::NextHop(key, addr(ENI[0]));
            run.hands_over(conn.link(), &conn.udp(b"wait").frame(), conn.owner(), awaited);
            assert_eq!(run.phase(&conn), None);
        }
    }

    fn a_neighbour_that_is_forgotten_makes_its_flows_wait(run) {
        let conn = Conn::new_udp(0, 40_000);
        run.open(&conn);
        run.machine().seen().next_hops[1].mac.store(0);
        let key = NextHopKey { uplink: 0, address: addr(SERVER) };
        let awaited = Awaited::NextHop(key, addr(ENI[0]));
        run.hands_over(conn.link(), &conn.udp(b"wait").frame(), conn.owner(), awaited);
    }

    fn the_router_is_asked_for_in_place_of_a_far_host(run) {
        run.machine().seen().next_hops[2].mac.store(0);
        let conn = Conn::new_udp(0, 40_000).to(FAR);
        let key = NextHopKey { uplink: 0, address: addr(ROUTER) };
        let awaited = Awaited::NextHop(key, addr(ENI[0]));
        run.hands_over(conn.link(), &conn.udp(b"wait").frame(), conn.owner(), awaited);
    }

    fn a_reply_finds_an_environment_that_changed_its_mac(run) {
        let conn = Conn::new_udp(0, 40_000);
        run.open(&conn);
        let mut packet = Conn::new_udp(0, 40_001).udp(b"other card");
        packet.from = [2, 0, 0, 0, 0, 0x77];
        run.opens(&Conn::new_udp(0, 40_001), &packet, &[]);
        let answer = conn.udp_back(run, b"back");
        run.replies_as(&conn, &answer, &[], |mut expected| {
            expected.to = [2, 0, 0, 0, 0, 0x77];
            expected
        });
    }

    fn an_environment_without_a_known_mac_gets_nothing(run) {
        let conn = Conn::new_udp(0, 40_000);
        run.open(&conn);
        run.machine().seen().environment_states[0].mac.store(0);
        let answer = conn.udp_back(run, b"back").frame();
        run.drops(conn.uplink(), &answer, ENI_0, DropReason::EnvironmentMacUnknown);
    }

    fn an_interface_in_no_table_is_dropped(run) {
        let syn = Conn::new_tcp(0, 40_000).tcp("S", 1, 0, b"").frame();
        let link = crate::packet_table::In::Stranger;
        run.drops(link, &syn, crate::layout::Owner::HOST, DropReason::LinkUnknown);
    }

    fn a_detached_environment_is_unknown(run) {
        run.world.environments[0].ifindex = 0;
        run.world.environments[0].generation += 1;
        run.configure();
        let conn = Conn::new_tcp(0, 40_000);
        let syn = conn.tcp("S", 1, 0, b"").frame();
        run.drops(conn.link(), &syn, crate::layout::Owner::HOST, DropReason::LinkUnknown);
    }
}

const ENI_0: crate::layout::Owner = crate::layout::Owner::eni(0);
