//! Recycled environments, changed verdicts, and the end of flows.

use crate::{
    drop::DropReason,
    expiry::SweepOptions,
    layout::{NextHopKey, Owner, Stat},
    packet_table::{Conn, Counter, Run, build::Built, world::*},
    state::{Phase, UDP},
    verdict::Awaited,
};

/// The flow lives for this long and no longer.
fn lives(run: &mut Run<'_>, conn: &Conn, seconds: u32) {
    run.age(seconds - 1);
    run.sweep(0, &[]);
    let moves = run.ending(conn);
    run.age(1);
    run.sweep(0, &moves);
    assert_eq!(run.phase(conn), None);
    assert_eq!(run.take_records().len(), 1);
}

/// The first environment goes, and these flows, all that it has, with it.
fn goes(run: &mut Run<'_>, flows: &[Conn]) {
    let mut moves: Vec<_> = flows.iter().flat_map(|conn| run.ending(conn)).collect();
    // The former environment's count is nobody's.
    moves.retain(|(counter, _)| *counter != Counter::Flows(0));
    run.recycle(0);
    run.sweep(SweepOptions::PURGE, &moves);
}

/// The port that a new flow would take rests for its peer.
fn rests(run: &mut Run<'_>, conn: &Conn) {
    let packet = match conn.protocol {
        UDP => conn.udp(b"whose answer?"),
        _ => conn.tcp("S", 1, 0, b""),
    };
    run.drops(
        conn.link(),
        &packet.frame(),
        conn.owner(),
        DropReason::PortsContended,
    );
}

cases! {
    fn a_recycled_environment_inherits_no_flow(run) {
        let conn = Conn::new_tcp(0, 40_000);
        run.establish(&conn);
        let answer = conn.tcp_back(run, "PA", 5_001, 1_001, b"late").frame();
        run.recycle(0);
        run.drops(conn.uplink(), &answer, Owner::eni(0), DropReason::EnvironmentGone);
        // The same tuple is a new flow of the new environment.
        run.open(&conn);
        run.replies(&conn, &conn.tcp_back(run, "SA", 1, 1_001, b""), &[]);
        run.drops(conn.uplink(), &answer, Owner::eni(0), DropReason::EnvironmentGone);
    }

    fn a_purge_ends_the_flows_of_former_environments_only(run) {
        let (old, other) = (Conn::new_udp(0, 40_000), Conn::new_udp(1, 40_000));
        run.open(&old);
        run.open(&other);
        run.sweep(SweepOptions::PURGE, &[]);
        let mut moves = run.ending(&old);
        // The former environment's count is nobody's.
        moves.retain(|(counter, _)| *counter != Counter::Flows(0));
        run.recycle(0);
        run.sweep(0, &[]);
        let result = run.sweep(SweepOptions::PURGE, &moves);
        assert_eq!((result.expired, result.open), (1, 1));
    }

    fn a_port_rests_for_its_peer_when_its_environment_is_gone(run) {
        let old = [Conn::new_udp(0, 40_000), Conn::new_tcp(0, 40_000)];
        for conn in &old {
            run.restrict(0, conn.protocol, &[50_000]);
            run.open(conn);
        }
        goes(run, &old);
        let (udp, tcp) = (Conn::new_udp(1, 40_000), Conn::new_tcp(1, 40_000));
        rests(run, &udp);
        rests(run, &tcp);
        // A late answer is nobody's, and does not make the rest longer.
        run.age(60);
        let back = Built::new(SERVER_MAC, UPLINK_MAC[0], udp.remote, ENI[0]);
        let late = back.udp(udp.remote_port, 50_000, b"late").frame();
        run.drops(udp.uplink(), &late, Owner::eni(0), DropReason::Unsolicited);
        run.age(50);
        rests(run, &udp);
        // Another port of the peer is another peer.
        let other = Conn { remote_port: 54, ..tcp };
        run.open(&other);
        run.age(10);
        run.open(&udp);
    }

    fn a_port_that_was_idle_for_its_time_has_rested(run) {
        run.restrict(0, UDP, &[50_000]);
        let old = Conn::new_udp(0, 40_000);
        run.open(&old);
        run.age(121);
        let moves = run.ending(&old);
        run.sweep(0, &moves);
        run.open(&Conn::new_udp(1, 40_000));
    }

    fn a_port_that_rests_is_passed_over_while_there_are_others(run) {
        let ports: Vec<u16> = (0xc300..=0xc3ff).collect();
        run.restrict(0, UDP, &ports);
        let old = Conn::new_udp(0, 40_000);
        run.open(&old);
        let rested = run.outside(&old).1;
        goes(run, &[old]);
        for port in 0..20 {
            let conn = Conn::new_udp(1, 40_000 + port);
            run.open(&conn);
            assert_ne!(run.outside(&conn).1, rested);
        }
    }

    fn a_changed_generation_has_flows_judged_again(run) {
        let conn = Conn::new_udp(0, 40_000).to(FAR);
        run.open(&conn);
        // A new router: the flow goes by it once the generation says so.
        run.world.rules[0].router = addr(SERVER);
        run.configure();
        run.forwards(&conn, &conn.udp(b"old way"), &[]);
        run.world.generations[0] += 1;
        run.configure();
        run.forwards_as(&conn, &conn.udp(b"new way"), &[], |mut expected| {
            expected.to = SERVER_MAC;
            expected
        });
        // No route at all.
        run.world.rules[0].router = crate::addr::Addr::UNSPECIFIED;
        run.world.generations[0] += 1;
        run.configure();
        let packet = conn.udp(b"no way").frame();
        run.drops(conn.link(), &packet, conn.owner(), DropReason::NoRoute);
        // A router that is not known yet.
        run.world.rules[0].router = addr(SILENT);
        run.configure();
        let key = NextHopKey { uplink: 0, address: addr(SILENT) };
        run.hands_over(conn.link(), &packet, conn.owner(), Awaited::NextHop(key, addr(ENI[0])));
    }

    fn a_flow_on_the_second_eni_is_judged_by_its_own_generation(run) {
        run.world.groups[0].count = 2;
        run.world.groups[0].enis[1] = 1;
        run.world.generations = [1, 9, 1];
        run.configure();
        run.restrict(0, UDP, &[50_000]);
        run.open(&Conn::new_udp(0, 40_000));
        let conn = Conn::new_udp(0, 40_001);
        let moves = run.opening(&conn, 1);
        run.forwards(&conn, &conn.udp(b"spilt"), &moves);
        run.forwards(&conn, &conn.udp(b"again"), &[]);
    }

    fn udp_lives_as_long_as_its_phase(run) {
        let conn = Conn::new_udp(0, 40_000);
        run.open(&conn);
        lives(run, &conn, 120);
        run.open(&conn);
        run.replies(&conn, &conn.udp_back(run, b"x"), &[]);
        lives(run, &conn, 180);
    }

    fn tcp_lives_as_long_as_its_phase(run) {
        let conn = Conn::new_tcp(0, 40_000);
        run.open(&conn);
        lives(run, &conn, 60);
        run.establish(&conn);
        lives(run, &conn, 350);
        run.establish(&conn);
        run.forwards(&conn, &conn.tcp("R", 1_001, 0, b""), &[]);
        lives(run, &conn, 10);
    }

    fn a_reply_keeps_a_flow_alive(run) {
        let conn = Conn::new_udp(0, 40_000);
        run.open(&conn);
        run.age(119);
        run.replies(&conn, &conn.udp_back(run, b"x"), &[]);
        run.age(179);
        run.sweep(0, &[]);
        assert_eq!(run.phase(&conn), Some(Phase::UdpStream));
    }

    fn a_packet_out_keeps_a_flow_alive(run) {
        let conn = Conn::new_udp(0, 40_000);
        run.open(&conn);
        for _ in 0..2 {
            run.age(119);
            run.forwards(&conn, &conn.udp(b"still here"), &[]);
        }
        run.age(119);
        run.sweep(0, &[]);
        assert_eq!(run.phase(&conn), Some(Phase::UdpNew));
    }

    fn an_export_tells_what_is_new_and_no_more(run) {
        let conn = Conn::new_udp(0, 40_000);
        run.open(&conn);
        run.replies(&conn, &conn.udp_back(run, b"answer"), &[]);
        run.sweep(SweepOptions::EXPORT, &[]);
        let records = run.take_records();
        assert_eq!(records.len(), 1);
        assert_eq!((records[0].forward_packets, records[0].forward_bytes), (1, 33));
        assert_eq!((records[0].reply_packets, records[0].reply_bytes), (1, 34));
        assert_eq!((records[0].ended, records[0].key), (0, run.key(&conn)));
        run.sweep(SweepOptions::EXPORT, &[]);
        assert!(run.take_records().is_empty());
        run.forwards(&conn, &conn.udp(b"more"), &[]);
        run.sweep(SweepOptions::EXPORT, &[]);
        let records = run.take_records();
        assert_eq!((records[0].forward_packets, records[0].forward_bytes), (1, 32));
        assert_eq!((records[0].reply_packets, records[0].reply_bytes), (0, 0));
    }

    fn a_sweep_gives_back_blocks_that_emptied(run) {
        for port in 0..800 {
            let conn = Conn::new_udp(0, 10_000 + port);
            run.send(conn.link(), &conn.udp(b"x").frame());
        }
        let granted = run.machine().stat(Stat::BlocksGranted);
        assert!(granted >= 6, "{granted}");
        run.age(121);
        let result = run.machine().sweep(SweepOptions(0));
        assert_eq!((result.expired, result.open), (800, 0));
        run.machine().sweep(SweepOptions(0));
        let kept = run.machine().seen().pools[1].blocks.load();
        assert_eq!(kept, 4);
        assert_eq!(run.machine().stat(Stat::BlocksReturned), granted - 4);
        assert_eq!(run.machine().told().records.len(), 800);
    }
}
