//! What rules and routes refuse, and what a change of them does to open flows.

use crate::{
    drop::DropReason,
    layout::Owner,
    packet_table::{Conn, In, Run, build::Built, world::*},
    policy::Verdict,
    state::Phase,
    verdict::Port,
};

const ENI_0: Owner = Owner::eni(0);
const SG: u32 = Verdict::SG_DENIES;
const ACL: u32 = Verdict::ACL_DENIES;

/// Puts other rules in force on the first ENI, as the agent does: the rules, then the
/// generation.
fn change(run: &mut Run<'_>, rules: impl FnOnce(&mut Rules)) {
    rules(&mut run.world.rules[0]);
    run.world.generations[0] += 1;
    run.configure();
}

fn out(rules: &mut Rules, ports: &[(u16, u32)]) {
    rules.out = ports.to_vec();
}

fn into(rules: &mut Rules, ports: &[(u16, u32)]) {
    rules.into = ports.to_vec();
}

/// A router's word about a datagram that left by an ENI.
fn about(sent: &Built, conn: &Conn, run: &Run<'_>) -> Vec<u8> {
    let outside = run.outward(conn, sent, 0);
    let quote = &outside.frame()[14..14 + 28];
    Built::new(ROUTER_MAC, UPLINK_MAC[0], [10, 9, 8, 7], outside.ip.source)
        .icmp(3, 4, [0, 0, 5, 0], quote)
        .frame()
}

cases! {
    fn a_new_flow_is_refused_by_the_first_who_denies(run) {
        let conn = Conn::new_udp(0, 40_000);
        let packet = conn.udp(b"x").frame();
        for (denied, reason) in [
            (SG, DropReason::SgEgress),
            (SG | ACL, DropReason::SgEgress),
            (ACL, DropReason::NaclOut),
        ] {
            change(run, |rules| out(rules, &[(0, denied)]));
            run.drops(conn.link(), &packet, conn.owner(), reason);
            change(run, |rules| out(rules, &[(0, 0)]));
        }
        run.open(&conn);
    }

    fn rules_come_before_routes(run) {
        let conn = Conn::new_udp(0, 40_000).to(FAR);
        let packet = conn.udp(b"x").frame();
        change(run, |rules| {
            rules.router = crate::addr::Addr::UNSPECIFIED;
            out(rules, &[(0, ACL)]);
        });
        run.drops(conn.link(), &packet, conn.owner(), DropReason::NaclOut);
        change(run, |rules| out(rules, &[(0, 0)]));
        run.drops(conn.link(), &packet, conn.owner(), DropReason::NoRoute);
        change(run, |rules| rules.blackhole = true);
        run.drops(conn.link(), &packet, conn.owner(), DropReason::Blackhole);
    }

    fn a_range_of_ports_ends_where_the_next_begins(run) {
        let port = Conn::new_udp(0, 40_000).remote_port;
        for (ports, allowed) in [
            (vec![(0, SG), (port, 0), (port + 1, SG)], true),
            (vec![(0, 0), (port, SG), (port + 1, 0)], false),
            (vec![(0, SG), (port + 1, 0)], false),
            (vec![(0, 0), (port + 1, SG)], true),
        ] {
            change(run, |rules| out(rules, &ports));
            let conn = Conn::new_udp(0, 40_000 + run.world.generations[0] as u16);
            if allowed {
                run.open(&conn);
            } else {
                run.drops(conn.link(), &conn.udp(b"x").frame(), conn.owner(), DropReason::SgEgress);
            }
        }
    }

    fn an_eni_without_policy_opens_nothing(run) {
        let conn = Conn::new_udp(0, 40_000);
        change(run, |rules| rules.unset = true);
        run.drops(conn.link(), &conn.udp(b"x").frame(), conn.owner(), DropReason::NoPolicy);
    }

    fn an_open_flow_outlives_the_rule_of_its_security_group(run) {
        let (udp, tcp) = (Conn::new_udp(0, 40_000), Conn::new_tcp(0, 40_001));
        run.open(&udp);
        run.establish(&tcp);
        change(run, |rules| out(rules, &[(0, SG)]));
        run.forwards(&udp, &udp.udp(b"on"), &[]);
        run.replies(&udp, &udp.udp_back(run, b"and on"), &[]);
        run.forwards(&tcp, &tcp.tcp("PA", 1_001, 5_001, b"on"), &[]);
        run.replies(&tcp, &tcp.tcp_back(run, "A", 5_001, 1_003, b""), &[]);
        let fresh = Conn::new_udp(0, 40_002);
        run.drops(fresh.link(), &fresh.udp(b"x").frame(), fresh.owner(), DropReason::SgEgress);
    }

    fn a_closing_flow_begins_anew_only_if_its_group_allows_it(run) {
        let conn = Conn::new_tcp(0, 40_000);
        run.establish(&conn);
        run.forwards(&conn, &conn.tcp("RA", 1_001, 5_001, b""), &[]);
        assert_eq!(run.phase(&conn), Some(Phase::TcpReset));
        let syn = conn.tcp("S", 90_000, 0, b"");
        change(run, |rules| out(rules, &[(0, SG)]));
        run.drops(conn.link(), &syn.frame(), conn.owner(), DropReason::SgEgress);
        change(run, |rules| out(rules, &[(0, ACL)]));
        run.drops(conn.link(), &syn.frame(), conn.owner(), DropReason::NaclOut);
        change(run, |rules| out(rules, &[(0, 0)]));
        run.reopens(&conn, &syn);
    }

    fn an_acl_cuts_an_open_flow_and_lets_it_go_on(run) {
        let conn = Conn::new_tcp(0, 40_000);
        run.establish(&conn);
        let packet = conn.tcp("PA", 1_001, 5_001, b"on");
        change(run, |rules| out(rules, &[(0, ACL)]));
        for _ in 0..2 {
            run.drops(conn.link(), &packet.frame(), conn.owner(), DropReason::NaclOut);
        }
        // It is stateless: the other direction has rules of its own.
        run.replies(&conn, &conn.tcp_back(run, "A", 5_001, 1_001, b""), &[]);
        change(run, |rules| out(rules, &[(0, 0)]));
        run.forwards(&conn, &packet, &[]);
    }

    fn what_is_refused_is_counted_for_the_eni_and_the_environment(run) {
        let conn = Conn::new_udp(0, 40_000);
        run.open(&conn);
        let reply = conn.udp_back(run, b"x").frame();
        change(run, |rules| {
            out(rules, &[(0, ACL)]);
            into(rules, &[(0, ACL)]);
        });
        for _ in 0..3 {
            run.drops(conn.link(), &conn.udp(b"x").frame(), conn.owner(), DropReason::NaclOut);
        }
        run.drops(conn.uplink(), &reply, ENI_0, DropReason::NaclIn);
        let seen = run.machine().seen();
        let counted: Vec<_> = seen.eni_states[0].refused.each().filter(|(_, n)| *n != 0).collect();
        assert_eq!(counted, [(DropReason::NaclOut, 3), (DropReason::NaclIn, 1)]);
        assert_eq!(seen.environment_states[0].refused_replies.load(), 1);
        assert_eq!(seen.environment_states[1].refused_replies.load(), 0);
    }

    fn a_blackhole_cuts_an_open_flow_and_its_end_lets_it_go_on(run) {
        let conn = Conn::new_udp(0, 40_000).to(FAR);
        run.open(&conn);
        change(run, |rules| rules.blackhole = true);
        run.drops(conn.link(), &conn.udp(b"x").frame(), conn.owner(), DropReason::Blackhole);
        change(run, |rules| rules.blackhole = false);
        run.forwards(&conn, &conn.udp(b"on"), &[]);
    }

    fn an_acl_keeps_replies_out_by_the_port_of_the_eni(run) {
        let conn = Conn::new_udp(0, 40_000);
        run.open(&conn);
        let port = run.outside(&conn).1;
        let reply = conn.udp_back(run, b"x");
        change(run, |rules| into(rules, &[(0, 0), (port, ACL), (port + 1, 0)]));
        run.drops(conn.uplink(), &reply.frame(), ENI_0, DropReason::NaclIn);
        run.forwards(&conn, &conn.udp(b"out it goes"), &[]);
        run.drops(conn.uplink(), &reply.frame(), ENI_0, DropReason::NaclIn);
        change(run, |rules| into(rules, &[(0, ACL), (port, 0), (port + 1, ACL)]));
        run.replies(&conn, &reply, &[]);
    }

    fn a_new_flow_leaves_although_its_replies_will_not_come_in(run) {
        let conn = Conn::new_udp(0, 40_000);
        change(run, |rules| into(rules, &[(0, ACL)]));
        run.open(&conn);
        let reply = conn.udp_back(run, b"x");
        run.drops(conn.uplink(), &reply.frame(), ENI_0, DropReason::NaclIn);
    }

    fn errors_need_an_entry_of_their_own_each_way(run) {
        let conn = Conn::new_udp(0, 40_000);
        run.open(&conn);
        let sent = conn.udp(b"long");
        run.forwards(&conn, &sent, &[]);
        change(run, |rules| rules.errors = [SG, ACL]);
        run.drops(conn.uplink(), &about(&sent, &conn, run), ENI_0, DropReason::NaclIn);
        let got = run.inward(&conn, &conn.udp_back(run, b"x"));
        let error = conn.out().icmp(3, 3, [0; 4], &got.frame()[14..14 + 28]).frame();
        // No group's business: it is about a flow that is tracked.
        let (ran, _) = run.send(conn.link(), &error);
        assert_eq!(ran.action, crate::packet_table::Action::Redirect);
        change(run, |rules| rules.errors = [ACL, 0]);
        run.drops(conn.link(), &error, conn.owner(), DropReason::NaclOut);
    }

    fn a_peered_vpc_answers_what_went_out_there_and_nothing_else(run) {
        let here = Conn::new_udp(0, 40_000);
        run.open(&here);
        change(run, |rules| rules.peered = Some(1));
        let there = Conn::new_udp(0, 40_001).to(OTHER_SERVER);
        let packet = there.udp(b"x");
        let (ran, _) = run.send(there.link(), &packet.frame());
        assert_eq!(ran.action, crate::packet_table::Action::Redirect);
        assert!(ran.port.is_none_or(|port| port == Port::uplink(1)));
        let (eni, port) = run.outside(&there);
        let from_peer = |remote, port, remote_port| {
            Built::new(OTHER_SERVER_MAC, UPLINK_MAC[1], remote, eni).udp(remote_port, port, b"y")
        };
        let reply = from_peer(OTHER_SERVER, port, there.remote_port).frame();
        let (ran, _) = run.send(In::Uplink(1), &reply);
        assert_eq!(ran.action, crate::packet_table::Action::Redirect);
        // A neighbour of the peer in the name of somebody of this VPC.
        let forged = from_peer(here.remote, run.outside(&here).1, here.remote_port).frame();
        run.drops(In::Uplink(1), &forged, ENI_0, DropReason::Unsolicited);
        // A neighbour at home in the name of somebody of the peer.
        let forged = Built::new(SERVER_MAC, UPLINK_MAC[0], OTHER_SERVER, eni);
        let forged = forged.udp(there.remote_port, port, b"y").frame();
        run.drops(In::Uplink(0), &forged, ENI_0, DropReason::Unsolicited);
        let unasked = from_peer(OTHER_SERVER, port ^ 1, there.remote_port).frame();
        run.drops(In::Uplink(1), &unasked, ENI_0, DropReason::Unsolicited);
    }

    fn a_peered_flow_that_is_stopped_is_answered_where_it_went(run) {
        change(run, |rules| rules.peered = Some(1));
        let conn = Conn::new_udp(0, 40_000).to(OTHER_SERVER);
        let packet = conn.udp(b"x").frame();
        run.send(conn.link(), &packet);
        let (eni, port) = run.outside(&conn);
        let reply = |uplink: usize| {
            Built::new(OTHER_SERVER_MAC, UPLINK_MAC[uplink], OTHER_SERVER, eni)
                .udp(conn.remote_port, port, b"y")
                .frame()
        };
        for stop in [
            &(|rules: &mut Rules| out(rules, &[(0, ACL)])) as &dyn Fn(&mut Rules),
            &|rules| {
                out(rules, &[(0, 0)]);
                rules.blackhole = true;
            },
        ] {
            change(run, stop);
            let (ran, _) = run.send(conn.link(), &packet);
            assert_eq!(ran.action, crate::packet_table::Action::Drop);
            let (ran, moved) = run.send(In::Uplink(1), &reply(1));
            assert_eq!(ran.action, crate::packet_table::Action::Redirect, "{moved:?}");
            run.drops(In::Uplink(0), &reply(0), ENI_0, DropReason::Unsolicited);
        }
    }

    fn a_damaged_policy_denies(run) {
        let conn = Conn::new_udp(0, 40_000);
        run.open(&conn);
        for image in [vec![0], vec![u64::MAX; 8], vec![1 << 32 | 1; 64]] {
            change(run, |rules| rules.compiled = Some(image));
            let (packet, fresh) = (conn.udp(b"x").frame(), Conn::new_udp(0, 40_009));
            for frame in [packet, fresh.udp(b"x").frame()] {
                let (ran, moved) = run.send(conn.link(), &frame);
                assert_eq!(ran.action, crate::packet_table::Action::Drop, "{moved:?}");
            }
        }
    }
}
