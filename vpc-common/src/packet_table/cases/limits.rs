//! Quotas, rates, and what happens when nothing is left.

use crate::{
    drop::DropReason,
    layout::{Event, Owner, Stat},
    packet_table::{Conn, Counter, Run, world::*},
    state::{TCP, UDP},
};

/// Both ENIs of the first uplink serve the first group.
fn two_enis(run: &mut Run<'_>) {
    run.world.groups[0].count = 2;
    run.world.groups[0].enis[1] = 1;
    run.configure();
}

fn refused(run: &mut Run<'_>, conn: &Conn, reason: DropReason) {
    let packet = match conn.protocol {
        TCP => conn.tcp("S", 1, 0, b""),
        _ => conn.udp(b"x"),
    };
    run.drops(conn.link(), &packet.frame(), conn.owner(), reason);
}

cases! {
    fn an_environment_has_its_quota_of_flows(run) {
        run.world.environments[0].flow_quota = 3;
        run.configure();
        for port in 0..3 {
            run.open(&Conn::new_udp(0, 40_000 + port));
        }
        refused(run, &Conn::new_udp(0, 40_003), DropReason::EnvironmentQuota);
        refused(run, &Conn::new_tcp(0, 40_000), DropReason::EnvironmentQuota);
        // Open flows go on, and another environment has its own quota.
        let first = Conn::new_udp(0, 40_000);
        run.forwards(&first, &first.udp(b"on"), &[]);
        run.open(&Conn::new_udp(1, 40_000));
    }

    fn an_environment_opens_flows_at_its_rate(run) {
        let environment = &mut run.world.environments[0];
        environment.flow_interval_ns = 4_000_000_000;
        environment.flow_burst_ns = 8_000_000_000;
        run.configure();
        for port in 0..2 {
            run.open(&Conn::new_udp(0, 40_000 + port));
        }
        refused(run, &Conn::new_udp(0, 40_003), DropReason::NewFlowRate);
        let first = Conn::new_udp(0, 40_000);
        run.forwards(&first, &first.udp(b"on"), &[]);
        run.open(&Conn::new_udp(1, 40_003));
    }

    fn without_a_burst_one_flow_passes_at_a_time(run) {
        run.world.environments[0].flow_interval_ns = 4_000_000_000;
        run.configure();
        run.open(&Conn::new_udp(0, 40_000));
        refused(run, &Conn::new_udp(0, 40_001), DropReason::NewFlowRate);
    }

    fn an_emptied_group_has_no_way(run) {
        let conn = Conn::new_udp(0, 40_000);
        run.open(&conn);
        run.world.groups[0].count = 0;
        run.configure();
        refused(run, &Conn::new_udp(0, 40_001), DropReason::NoRoute);
        run.forwards(&conn, &conn.udp(b"on"), &[]);
    }

    fn the_last_port_is_used_and_then_none(run) {
        run.restrict(0, UDP, &[50_000, 50_001, 50_175]);
        for port in 0..3 {
            run.open(&Conn::new_udp(0, 40_000 + port));
        }
        refused(run, &Conn::new_udp(0, 40_003), DropReason::PortsExhausted);
        refused(run, &Conn::new_udp(1, 40_000), DropReason::PortsExhausted);
        // The other protocol has ports of its own.
        run.open(&Conn::new_tcp(0, 40_000));
    }

    fn a_full_eni_s_group_goes_on_with_the_next(run) {
        two_enis(run);
        run.restrict(0, UDP, &[50_000]);
        run.restrict(1, UDP, &[50_000, 50_001]);
        run.open(&Conn::new_udp(0, 40_000));
        for port in 1..3 {
            let conn = Conn::new_udp(0, 40_000 + port);
            let moves = run.opening(&conn, 1);
            run.forwards(&conn, &conn.udp(b"spilt"), &moves);
            assert_eq!(run.outside(&conn).0, ENI[1]);
            run.replies(&conn, &conn.udp_back(run, b"back"), &[]);
        }
        refused(run, &Conn::new_udp(0, 40_003), DropReason::PortsExhausted);
    }

    fn a_full_eni_counts_connections_of_both_protocols(run) {
        two_enis(run);
        run.world.enis[0].connection_limit = 2;
        run.world.enis[1].connection_limit = 1;
        run.configure();
        run.open(&Conn::new_udp(0, 40_000));
        run.open(&Conn::new_tcp(0, 40_000));
        let conn = Conn::new_tcp(0, 40_001);
        let moves = run.opening(&conn, 1);
        run.forwards(&conn, &conn.tcp("S", 1, 0, b""), &moves);
        refused(run, &Conn::new_udp(0, 40_002), DropReason::PortsExhausted);
    }

    fn the_agent_hears_of_a_filling_eni_once(run) {
        run.world.enis[0].high_water = 2;
        run.configure();
        for port in 0..4 {
            run.open(&Conn::new_udp(0, 40_000 + port));
        }
        let event = Event { kind: Event::HIGH_WATER, eni: 0, value: 2 };
        assert_eq!(run.take_events(), [event]);
    }

    fn an_expired_flow_gives_up_its_port_when_none_is_left(run) {
        run.restrict(0, UDP, &[50_000]);
        let (old, new) = (Conn::new_udp(0, 40_000), Conn::new_udp(0, 40_001));
        run.open(&old);
        run.age(119);
        refused(run, &new, DropReason::PortsExhausted);
        run.machine().seen().pools[1].reclaim_cursor.store(50_000);
        run.age(2);
        let ended = run.ending(&old);
        let reclaimed = [(Counter::Stat(Stat::FlowsReclaimed), 1)];
        let moves = [&ended[..], &reclaimed].concat();
        run.opens(&new, &new.udp(b"mine"), &moves);
        assert_eq!(run.phase(&old), None);
        assert_eq!(run.take_records().len(), 1);
    }

    fn without_a_block_no_pool_can_grow(run) {
        let slab = run.machine().seen().slab;
        for word in slab.words.iter().chain(&slab.summary) {
            word.store(0);
        }
        // The blocks are with nobody for as long as the packet takes.
        let syn = Conn::new_tcp(0, 40_000).tcp("S", 1, 0, b"").frame();
        let ran = run.machine().run(Conn::new_tcp(0, 40_000).link(), &syn);
        assert_eq!(ran.action, crate::packet_table::Action::Drop);
        let machine = run.machine();
        for block in 0..crate::packet_table::BLOCKS {
            crate::pool::put_block(machine.seen().slab, block);
        }
        let key = crate::layout::DropKey::new(Owner::environment(0), DropReason::SlabExhausted);
        assert_eq!(machine.drops().get(&key), Some(&1));
    }

    fn a_pool_grows_when_half_of_it_is_in_use(run) {
        for port in 0..513 {
            let conn = Conn::new_udp(0, 10_000 + port);
            let (ran, moved) = run.send(conn.link(), &conn.udp(b"x").frame());
            assert_eq!(ran.action, crate::packet_table::Action::Redirect);
            assert_eq!(moved[&Counter::Stat(Stat::FlowsOpened)], 1);
            let granted = run.machine().stat(Stat::BlocksGranted);
            assert_eq!(granted, if port == 512 { 5 } else { u64::from(port + 1).min(4) });
        }
    }
}
