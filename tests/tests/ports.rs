//! Allocation is exact to the last port, and quota and rate hold.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddrV4,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use tests::{
    frame::Ends,
    plan::Plan,
    tap::{Tap, Watch},
    topology::{NOBODY, RESOURCE_MAC, eni},
    wait::{self, PATIENCE},
    world::{World, outbound},
};
use vpc_common::{
    drop::DropReason,
    layout::POOL_PORTS,
    state::tcp_flags::{ACK, RST, SYN},
};

/// The server that everyone asks: nobody's address, answered for by the test, so
/// that no TCP stack resets what it did not open.
const SERVER: SocketAddrV4 = SocketAddrV4::new(NOBODY, 443);
const ENVIRONMENTS: u16 = 4;
const FIRST_SOURCE: u16 = 1_024;

/// Outside ports by the sequence number of the SYN, which names who sent it.
type Seen = Arc<Mutex<HashMap<u32, u16>>>;

fn answer_for_the_server(world: &World) -> (Seen, Watch<()>) {
    let seen = Seen::default();
    let writing = Arc::clone(&seen);
    let watch = Tap::open(world.tenant(0)).watch((), move |tap, (), frame| {
        if let Some(arp) = frame.arp().filter(|arp| arp.target_ipv4 == NOBODY.octets()) {
            let answer = Ends {
                source_mac: RESOURCE_MAC,
                destination_mac: arp.sender_mac,
                source: SocketAddrV4::new(NOBODY, 0),
                destination: SocketAddrV4::new(arp.sender_ipv4.into(), 0),
            };
            tap.send(&answer.arp_reply());
        }
        let Some(packet) = frame.packet() else { return };
        let Some(tcp) = packet
            .tcp()
            .filter(|tcp| tcp.destination_port == SERVER.port())
        else {
            return;
        };
        let mut seen = writing.lock().unwrap_or_else(PoisonError::into_inner);
        let known = seen.insert(tcp.sequence_number, tcp.source_port);
        // Sent twice, a SYN keeps its port.
        assert!(
            known.is_none_or(|port| port == tcp.source_port),
            "{tcp:?} was {known:?}"
        );
    });
    (seen, watch)
}

fn port_of(seen: &Seen, sequence: u32) -> Option<u16> {
    seen.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get(&sequence)
        .copied()
}

fn syn(source_port: u16, sequence: u32) -> Vec<u8> {
    let ends = Ends {
        destination: SERVER,
        ..outbound(source_port, 0)
    };
    ends.tcp(SYN, sequence, 0, b"")
}

fn sequence(environment: u16, source_port: u16) -> u32 {
    u32::from(environment) << 16 | u32::from(source_port)
}

/// Sends until every one of the SYNs has been seen outside: a link may lose
/// frames, the NAT may not.
fn open_all(taps: &[Tap], seen: &Seen, per_environment: u16) {
    let end = Instant::now() + Duration::from_secs(120);
    loop {
        let mut missing = 0;
        for source_port in FIRST_SOURCE..FIRST_SOURCE + per_environment {
            for (environment, tap) in taps.iter().enumerate() {
                let sequence = sequence(environment as u16, source_port);
                if port_of(seen, sequence).is_none() {
                    missing += 1;
                    tap.send(&syn(source_port, sequence));
                }
            }
        }
        if missing == 0 {
            return;
        }
        assert!(Instant::now() < end, "{missing} SYNs did not come out");
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn patient(plan: Plan) -> Plan {
    plan.with_tenant(|tenant| tenant.timeouts = vec![("syn_sent", 600), ("reset", 1)])
}

#[test]
fn all_64512_ports_to_one_destination_are_in_use_at_once_and_a_freed_one_is_found() {
    let world = World::start(patient(Plan::blue(usize::from(ENVIRONMENTS))));
    let (seen, watch) = answer_for_the_server(&world);
    let taps: Vec<_> = (0..ENVIRONMENTS)
        .map(|n| Tap::open(world.env(n.into())))
        .collect();
    // The first one waits for the neighbour.
    taps[0].send(&syn(FIRST_SOURCE, sequence(0, FIRST_SOURCE)));
    let first = || port_of(&seen, sequence(0, FIRST_SOURCE)).is_some();
    assert!(wait::eventually(PATIENCE, first), "the first SYN comes out");
    open_all(&taps, &seen, (POOL_PORTS / u32::from(ENVIRONMENTS)) as u16);
    let ports: HashSet<u16> = seen.lock().expect("no panic").values().copied().collect();
    assert_eq!(
        ports.len() as u32,
        POOL_PORTS,
        "each flow has a port of its own"
    );
    assert!(ports.iter().all(|port| *port >= 1_024));
    assert_eq!(u64::from(POOL_PORTS), world.status().enis[0].tcp_ports);

    let before = world.drop_totals();
    let (late_port, late) = (60_000, sequence(9, 60_000));
    taps[0].send(&syn(late_port, late));
    world.assert_dropped(&before, &[(DropReason::PortsExhausted, 1)]);

    let freed_sequence = sequence(2, FIRST_SOURCE + 77);
    let freed = port_of(&seen, freed_sequence).expect("it is open");
    let reset = Ends {
        source: SERVER,
        ..world.inbound(0, 0, freed)
    };
    Tap::open(world.tenant(0)).send(&reset.tcp(RST | ACK, 0, freed_sequence + 1, b""));
    let found = wait::find(PATIENCE, || {
        taps[0].send(&syn(late_port, late));
        port_of(&seen, late)
    });
    assert_eq!(found, Some(freed), "the one port that is free");
    let counters = world.status().counters;
    assert_eq!(
        (counters["double_frees"], counters["slot_conflicts"]),
        (0, 0)
    );
    watch.stop();
}

#[test]
fn a_full_eni_spills_to_the_next_of_the_group() {
    const CONNECTIONS: u16 = 300;
    let world = World::start(patient(Plan::blue(2).with_tenant(|tenant| {
        tenant.enis = 2;
        tenant.connections = Some(u32::from(CONNECTIONS));
    })));
    let (seen, watch) = answer_for_the_server(&world);
    let taps = [Tap::open(world.env(0)), Tap::open(world.env(1))];
    open_all(&taps, &seen, CONNECTIONS);
    let flows = world.flows();
    for index in 0..2 {
        let on_it = flows
            .iter()
            .filter(|flow| flow.outside.ip() == eni(index))
            .count();
        assert_eq!(on_it, usize::from(CONNECTIONS), "flows on ENI {index}");
    }
    let before = world.drop_totals();
    taps[0].send(&syn(60_000, sequence(9, 60_000)));
    world.assert_dropped(&before, &[(DropReason::PortsExhausted, 1)]);
    watch.stop();
}

#[test]
fn an_environment_stays_within_its_quota_and_others_are_not_touched() {
    let mut plan = patient(Plan::blue(2));
    plan.environments[0].flow_quota = 100;
    let world = World::start(plan);
    let (seen, watch) = answer_for_the_server(&world);
    let taps = [Tap::open(world.env(0)), Tap::open(world.env(1))];
    open_all(&taps, &seen, 100);
    let before = world.drop_totals();
    taps[0].send(&syn(60_000, sequence(9, 60_000)));
    world.assert_dropped(&before, &[(DropReason::EnvironmentQuota, 1)]);
    taps[1].send(&syn(60_001, sequence(9, 60_001)));
    assert!(wait::eventually(PATIENCE, || port_of(
        &seen,
        sequence(9, 60_001)
    )
    .is_some()));
    watch.stop();
}

#[test]
fn new_flows_beyond_the_burst_are_refused_until_the_rate_allows_them() {
    let mut plan = patient(Plan::blue(1));
    plan.environments[0].flow_rate = 1;
    plan.environments[0].flow_burst = 5;
    let world = World::start(plan);
    let (seen, watch) = answer_for_the_server(&world);
    let tap = Tap::open(world.env(0));
    for n in 0..20 {
        tap.send(&syn(FIRST_SOURCE + n, sequence(0, FIRST_SOURCE + n)));
    }
    let refused = || world.drop_count(DropReason::NewFlowRate);
    assert!(
        wait::eventually(PATIENCE, || refused() >= 10),
        "{}",
        refused()
    );
    let last = sequence(0, FIRST_SOURCE + 19);
    let passed = wait::eventually(PATIENCE, || {
        tap.send(&syn(FIRST_SOURCE + 19, last));
        port_of(&seen, last).is_some()
    });
    assert!(passed, "the rate allows one flow a second");
    watch.stop();
}

#[test]
fn an_eni_that_is_nearly_full_tells_once() {
    let world = World::start(patient(
        Plan::blue(1).with_tenant(|tenant| tenant.connections = Some(100)),
    ));
    let (seen, watch) = answer_for_the_server(&world);
    let taps = [Tap::open(world.env(0))];
    let told = || world.status().counters["agent_high_water_events"];
    open_all(&taps, &seen, 79);
    assert_eq!(told(), 0);
    open_all(&taps, &seen, 100);
    assert!(wait::eventually(PATIENCE, || told() == 1), "{}", told());
    assert!(world.status().enis[0].high_water);
    let log = world.log_tail(200);
    assert!(log.contains("blue") && log.contains("ENI"), "{log}");
    assert_eq!(told(), 1);
    watch.stop();
}

#[test]
fn without_an_agent_a_full_eni_gives_the_ports_of_expired_flows_to_new_ones() {
    const CONNECTIONS: u16 = 60;
    let mut world = World::start(Plan::blue(1).with_tenant(|tenant| {
        tenant.connections = Some(u32::from(CONNECTIONS));
        tenant.timeouts = vec![("syn_sent", 3), ("established", 3)];
    }));
    let (seen, watch) = answer_for_the_server(&world);
    let taps = [Tap::open(world.env(0))];
    open_all(&taps, &seen, CONNECTIONS);
    world.stop_agent(Signal::SIGKILL);
    // The new one is refused while the others live, and passes once one is over.
    let late = sequence(9, 60_000);
    let found = wait::find(PATIENCE, || {
        taps[0].send(&syn(60_000, late));
        port_of(&seen, late)
    });
    assert!(found.is_some(), "no port in all that time");
    watch.stop();
}
