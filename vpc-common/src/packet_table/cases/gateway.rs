//! What a link's own stations answer: ARP and ping.

use crate::{
    drop::DropReason,
    layout::Owner,
    packet_table::{
        Conn, In,
        build::{Built, arp, payload},
        world::*,
    },
    wire::arp as wire,
};

const REQUEST: u16 = wire::REQUEST.to_be();
const REPLY: u16 = wire::REPLY.to_be();
const BROADCAST: [u8; 6] = [0xff; 6];
const NOBODY: [u8; 6] = [0; 6];
const LINK: In = In::Environment(0);
const OWNER: Owner = Owner::environment(0);

cases! {
    fn the_gateway_answers_arp(run) {
        for to in [BROADCAST, GATEWAY_MAC] {
            let asks = arp(to, INSIDE_MAC, REQUEST, (INSIDE_MAC, INSIDE), (NOBODY, GATEWAY));
            let answer = arp(
                INSIDE_MAC, GATEWAY_MAC, REPLY, (GATEWAY_MAC, GATEWAY), (INSIDE_MAC, INSIDE),
            );
            run.answers(LINK, &asks, &answer, None);
        }
    }

    fn arp_padding_stays_in_the_answer(run) {
        let pad = |mut frame: Vec<u8>| { frame.extend([0; 18]); frame };
        let asks = arp(BROADCAST, INSIDE_MAC, REQUEST, (INSIDE_MAC, INSIDE), (NOBODY, GATEWAY));
        let answer = arp(
            INSIDE_MAC, GATEWAY_MAC, REPLY, (GATEWAY_MAC, GATEWAY), (INSIDE_MAC, INSIDE),
        );
        run.answers(LINK, &pad(asks), &pad(answer), None);
    }

    fn arp_for_anybody_else_is_ignored(run) {
        for target in [INSIDE, SERVER, [169, 254, 100, 3], [0; 4]] {
            let asks = arp(BROADCAST, INSIDE_MAC, REQUEST, (INSIDE_MAC, INSIDE), (NOBODY, target));
            run.drops(LINK, &asks, OWNER, DropReason::ArpIgnored);
        }
        let says = arp(
            GATEWAY_MAC, INSIDE_MAC, REPLY, (INSIDE_MAC, INSIDE), (GATEWAY_MAC, GATEWAY),
        );
        run.drops(LINK, &says, OWNER, DropReason::ArpIgnored);
    }

    fn malformed_arp_is_ignored(run) {
        let asks = arp(BROADCAST, INSIDE_MAC, REQUEST, (INSIDE_MAC, INSIDE), (NOBODY, GATEWAY));
        for (at, value) in [(15, 6), (16, 0x86), (18, 8), (19, 16), (21, 3), (21, 0)] {
            let mut wrong = asks.clone();
            wrong[at] = value;
            run.drops(LINK, &wrong, OWNER, DropReason::ArpIgnored);
            let mut wrong = arp(
                BROADCAST, SERVER_MAC, REQUEST, (SERVER_MAC, SERVER), (NOBODY, [10, 0, 1, 99]),
            );
            wrong[at] = value;
            run.drops(In::Uplink(0), &wrong, Owner::uplink(0), DropReason::ArpIgnored);
            run.passes(In::Uplink(1), &wrong);
        }
        for len in 14..42 {
            run.drops(LINK, &asks[..len], OWNER, DropReason::FrameTruncated);
            run.drops(In::Uplink(0), &asks[..len], Owner::uplink(0), DropReason::FrameTruncated);
        }
    }

    fn arp_shows_an_environment_s_new_mac(run) {
        let conn = Conn::new_udp(0, 40_000);
        run.open(&conn);
        let mac = [2, 0, 0, 0, 0, 0x55];
        let asks = arp(BROADCAST, mac, REQUEST, (mac, INSIDE), (NOBODY, GATEWAY));
        let answer = arp(mac, GATEWAY_MAC, REPLY, (GATEWAY_MAC, GATEWAY), (mac, INSIDE));
        run.answers(LINK, &asks, &answer, None);
        let packet = conn.udp_back(run, b"back");
        run.replies_as(&conn, &packet, &[], |mut expected| {
            expected.to = mac;
            expected
        });
    }

    fn a_group_address_is_nobody_s_mac(run) {
        let conn = Conn::new_udp(0, 40_000);
        run.open(&conn);
        let mac = [3, 0, 0, 0, 0, 0x55];
        let asks = arp(BROADCAST, mac, REQUEST, (mac, INSIDE), (NOBODY, GATEWAY));
        let answer = arp(mac, GATEWAY_MAC, REPLY, (GATEWAY_MAC, GATEWAY), (mac, INSIDE));
        run.answers(LINK, &asks, &answer, None);
        run.replies(&conn, &conn.udp_back(run, b"back"), &[]);
    }

    fn an_eni_answers_arp_on_its_own_uplink(run) {
        for (uplink, eni, mac, who) in [
            (0, 0, SERVER_MAC, SERVER),
            (0, 1, [2, 9, 9, 9, 9, 9], [10, 0, 1, 99]),
            (1, 2, OTHER_SERVER_MAC, OTHER_SERVER),
        ] {
            let asks = arp(BROADCAST, mac, REQUEST, (mac, who), (NOBODY, ENI[eni]));
            let own = UPLINK_MAC[uplink];
            let answer = arp(mac, own, REPLY, (own, ENI[eni]), (mac, who));
            run.answers(In::Uplink(uplink), &asks, &answer, None);
        }
        let asks = arp(BROADCAST, SERVER_MAC, REQUEST, (SERVER_MAC, SERVER), (NOBODY, ENI[2]));
        run.drops(In::Uplink(0), &asks, Owner::uplink(0), DropReason::ArpIgnored);
        let asks = arp(BROADCAST, SERVER_MAC, REQUEST, (SERVER_MAC, SERVER), (NOBODY, ENI[0]));
        run.passes(In::Uplink(1), &asks);
    }

    fn a_neighbour_that_answers_is_learnt(run) {
        let conn = Conn::new_udp(0, 40_000).to(SILENT);
        let mac = [2, 0, 0, 0, 2, 30];
        let own = UPLINK_MAC[0];
        let says = arp(own, mac, REPLY, (mac, SILENT), (own, ENI[0]));
        run.passes(In::Uplink(0), &says);
        let now = run.machine().now();
        let confirmed = run.machine().seen().next_hops[3].confirmed.load();
        assert!(now.since(crate::time::Tick(confirmed)) < 16);
        let udp = conn.udp(b"x");
        let moves = run.opening(&conn, 0);
        run.forwards_as(&conn, &udp, &moves, |mut expected| {
            expected.to = mac;
            expected
        });
    }

    fn a_neighbour_that_asks_is_learnt(run) {
        let mac = [2, 0, 0, 0, 2, 31];
        let asks = arp(BROADCAST, mac, REQUEST, (mac, SERVER), (NOBODY, [10, 0, 1, 99]));
        run.drops(In::Uplink(0), &asks, Owner::uplink(0), DropReason::ArpIgnored);
        let conn = Conn::new_udp(0, 40_000);
        let moves = run.opening(&conn, 0);
        run.forwards_as(&conn, &conn.udp(b"x"), &moves, |mut expected| {
            expected.to = mac;
            expected
        });
    }

    fn a_stranger_is_not_learnt(run) {
        let before: Vec<_> = macs(run);
        let mac = [2, 0, 0, 0, 2, 40];
        let own = UPLINK_MAC[0];
        run.passes(In::Uplink(0), &arp(own, mac, REPLY, (mac, UNHEARD), (own, ENI[0])));
        // A known address on the other uplink is another neighbour's.
        run.passes(In::Uplink(1), &arp(own, mac, REPLY, (mac, SERVER), (own, ENI[2])));
        // And a group address is no neighbour's.
        let group = [3, 0, 0, 0, 2, 40];
        run.passes(In::Uplink(0), &arp(own, group, REPLY, (group, SERVER), (own, ENI[0])));
        assert_eq!(macs(run), before);
    }

    fn the_gateway_answers_pings_of_every_length(run) {
        for len in [0, 1, 55, 56, 57, 1_400, 1_472] {
            let ping = Built::new(INSIDE_MAC, GATEWAY_MAC, INSIDE, GATEWAY)
                .icmp(8, 0, [1, 2, 3, 4], &payload(len));
            let mut pong = ping.clone().icmp(0, 0, [1, 2, 3, 4], &payload(len));
            (pong.from, pong.to) = (GATEWAY_MAC, INSIDE_MAC);
            (pong.ip.source, pong.ip.destination) = (GATEWAY, INSIDE);
            run.answers(LINK, &ping.frame(), &pong.frame(), None);
        }
    }

    fn a_ping_with_the_last_ttl_reaches_the_gateway(run) {
        for ttl in [1, 0, 255] {
            let ping = Built::new(INSIDE_MAC, GATEWAY_MAC, INSIDE, GATEWAY)
                .icmp(8, 0, [1, 2, 3, 4], b"abc")
                .options(&[1, 1, 1, 0]);
            let mut pong = ping.clone().icmp(0, 0, [1, 2, 3, 4], b"abc");
            (pong.from, pong.to) = (GATEWAY_MAC, INSIDE_MAC);
            (pong.ip.source, pong.ip.destination) = (GATEWAY, INSIDE);
            run.answers(LINK, &ping.ttl(ttl).frame(), &pong.frame(), None);
        }
    }

    fn other_icmp_queries_go_nowhere(run) {
        for (to, kind) in
            [(SERVER, 8), (SERVER, 0), (SERVER, 4), (GATEWAY, 0), (GATEWAY, 13), (FAR, 5)]
        {
            let query = Built::new(INSIDE_MAC, GATEWAY_MAC, INSIDE, to)
                .icmp(kind, 0, [1, 2, 3, 4], b"abc");
            run.drops(LINK, &query.frame(), OWNER, DropReason::IcmpQuery);
        }
    }

    fn the_gateway_offers_no_service(run) {
        let udp = Conn::new_udp(0, 40_000).to(GATEWAY).udp(b"dns?").frame();
        run.drops(LINK, &udp, OWNER, DropReason::ToGateway);
        let tcp = Conn::new_tcp(0, 40_000).to(GATEWAY).tcp("S", 1, 0, b"").frame();
        run.drops(LINK, &tcp, OWNER, DropReason::ToGateway);
    }
}

fn macs(run: &mut crate::packet_table::Run<'_>) -> Vec<u64> {
    let hops = run.machine().seen().next_hops;
    hops.iter().map(|hop| hop.mac.load()).collect()
}
