//! Floods from either side, and attaching without end: who has nothing to do with it notices
//! nothing.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddrV4, TcpStream},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use tests::{
    echo::tcp_exchange,
    frame::Ends,
    http,
    plan::{EnvironmentPlan, Plan},
    rules::Dice,
    tap::Tap,
    topology::{RESOURCE, eni},
    wait::{PATIENCE, eventually},
    world::{ECHO, World, outbound},
};
use vpc_common::{drop::DropReason, state::tcp_flags::SYN};

/// Connections of the neighbour.
const CONNECTIONS: usize = 50;
/// How long a flood lasts.
const FLOOD: Duration = Duration::from_secs(5);
/// Open flows that the flooding environment may have.
const QUOTA: u32 = 1_000;
/// Attaches, and as many detaches: a thousand of both a second would take a minute.
/// `VPC_TEST_CHURN` if set.
const CHURN: u64 = 30_000;
const CLIENTS: usize = 4;
/// Links that each client has.
const LINKS: usize = 8;
/// Nobody sends from or to it but a flood.
const FLOODED: u16 = 9_999;

/// A world where the first environment's flows are few and the second's are open.
fn world() -> (World, Vec<TcpStream>) {
    let mut plan = Plan::blue(2).with_tenant(|tenant| {
        tenant.timeouts = vec![("udp_new", 900)];
    });
    plan.environments[0].flow_quota = QUOTA;
    let world = World::start(plan);
    let open = || (0..CONNECTIONS).map(|_| http::connect(ECHO).expect("connect"));
    let streams = world.env(1).run(|| open().collect());
    (world, streams)
}

/// The neighbour talks on all its connections and opens new ones while `flood` goes on.
/// Returns how many rounds it talked, and what the flood returned.
fn beside<T: Send>(
    world: &World,
    streams: &mut [TcpStream],
    flood: impl FnOnce(&AtomicBool) -> T + Send,
) -> (u64, T) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let flooding = scope.spawn(|| flood(&stop));
        let (end, mut rounds) = (Instant::now() + FLOOD, 0_u64);
        while Instant::now() < end || rounds < 3 {
            for stream in &mut *streams {
                tcp_exchange(stream, &[rounds as u8; 700]).expect("no connection breaks");
            }
            let mut another = world.env(1).run(|| http::connect(ECHO)).expect("connect");
            tcp_exchange(&mut another, b"hello").expect("a new connection works");
            rounds += 1;
        }
        stop.store(true, Ordering::Relaxed);
        let flooded = flooding.join().expect("the flood");
        (rounds, flooded)
    })
}

/// Drop counters of an owner.
fn drops_of(world: &World, owner: &str) -> BTreeMap<String, u64> {
    let drops = world.drops().into_iter().filter(|drop| drop.owner == owner);
    drops.map(|drop| (drop.reason, drop.packets)).collect()
}

#[test]
fn an_environment_that_floods_with_new_flows_takes_nothing_from_its_neighbours() {
    let (world, mut streams) = world();
    let tap = Tap::open(world.env(0));
    let (rounds, sent) = beside(&world, &mut streams, |stop| {
        let mut sent = 0_u64;
        while !stop.load(Ordering::Relaxed) {
            let mut ends = outbound(1_024 + (sent % 60_000) as u16, FLOODED);
            // Further on other tuples than before.
            ends.destination
                .set_port(FLOODED + (sent / 60_000 % 1_000) as u16);
            tap.send(&ends.udp(b"one more"));
            sent += 1;
        }
        sent
    });
    let refused = DropReason::EnvironmentQuota.label();
    let mut drops = BTreeMap::new();
    let all_counted = || {
        drops = drops_of(&world, "blue-0");
        drops.get(refused).copied().unwrap_or(0) + u64::from(QUOTA) >= sent
    };
    let counted = eventually(PATIENCE, all_counted);
    let flows = world.flows();
    let open = flows.iter().filter(|flow| flow.environment == "blue-0");
    let open = open.count() as u64;
    eprintln!("{sent} frames, {open} flows, {rounds} rounds of the neighbour, {drops:?}");
    assert!(counted, "of {sent} frames: {drops:?}");
    assert!(sent > 10 * u64::from(QUOTA), "not a flood: {sent}");
    assert_eq!(open, u64::from(QUOTA));
    assert_eq!(drops, BTreeMap::from([(refused.to_owned(), sent - open)]));
    assert_eq!(drops_of(&world, "blue-1"), BTreeMap::new());
}

#[test]
fn a_syn_flood_and_a_port_scan_from_the_vpc_open_nothing_and_touch_no_flow() {
    let (world, mut streams) = world();
    let (tap, inbound) = (Tap::open(world.tenant(0)), world.inbound(0, 0, 0));
    let flows = world.flows().len();
    let (rounds, sent) = beside(&world, &mut streams, |stop| {
        let (mut sent, mut dice) = (0_u64, Dice::new(3));
        while !stop.load(Ordering::Relaxed) {
            // Hosts of the VPC and beyond, and by turns the resource itself from a port
            // that nobody talks to; every port of the ENI in its turn.
            let anyone = Ipv4Addr::from_bits(0x0a00_8000 + dice.roll(0x7000) as u32);
            let source = *dice.pick(&[anyone, RESOURCE]);
            let frame = Ends {
                source: SocketAddrV4::new(source, FLOODED),
                destination: SocketAddrV4::new(eni(0), 1 + (sent % 65_535) as u16),
                ..inbound
            };
            tap.send(&frame.tcp(SYN, dice.word() as u32, 0, b""));
            sent += 1;
        }
        sent
    });
    world.assert_dropped(&BTreeMap::new(), &[(DropReason::Unsolicited, sent)]);
    eprintln!("{sent} segments, {rounds} rounds of the neighbour");
    assert!(sent > 65_536, "not every port was asked: {sent}");
    let open = world.flows().len() as u64;
    assert!(open <= flows as u64 + rounds, "{open} flows are open");
}

fn churned(plan: &EnvironmentPlan, number: usize) -> EnvironmentPlan {
    let mut plan = plan.clone();
    plan.name = format!("churned-{number}");
    plan
}

#[test]
fn attaching_and_detaching_without_end_leaves_nothing_and_disturbs_nobody() {
    let wanted = std::env::var("VPC_TEST_CHURN").ok();
    let churn = wanted.map_or(CHURN, |text| text.parse().expect("a number"));
    let (mut world, mut streams) = world();
    let plan = Plan::blue(1).environments.remove(0);
    let links = (0..CLIENTS * LINKS).map(|number| world.add_environment(&churned(&plan, number)));
    let links: Vec<usize> = links.collect();
    let pins = |world: &World| {
        let pins = std::fs::read_dir(world.pins().join("links")).expect("the folder");
        pins.count()
    };
    let (before, pinned) = (world.status(), pins(&world));
    let (left, done) = (AtomicU64::new(churn), AtomicU64::new(0));
    let start = Instant::now();
    thread::scope(|scope| {
        let (world, left, done) = (&world, &left, &done);
        for links in links.chunks(LINKS) {
            scope.spawn(move || {
                for link in links.iter().cycle() {
                    let one_less = |left: u64| left.checked_sub(1);
                    if left
                        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less)
                        .is_err()
                    {
                        break;
                    }
                    world.attach(world.attach_request(*link)).expect("attach");
                    let name = &world.environments()[*link].name;
                    world.detach(name).expect("detach");
                    done.fetch_add(2, Ordering::Relaxed);
                }
            });
        }
        while done.load(Ordering::Relaxed) < 2 * churn {
            for stream in &mut streams {
                tcp_exchange(stream, b"still here").expect("no connection breaks");
            }
            thread::sleep(Duration::from_millis(10));
        }
    });
    let rate = 2.0 * churn as f64 / start.elapsed().as_secs_f64();
    eprintln!("{} attaches and detaches, {rate:.0} a second", 2 * churn);
    let after = world.status();
    assert_eq!(world.list().len(), 2);
    assert_eq!((after.flows, pins(&world)), (before.flows, pinned));
    for link in links {
        let interface = &world.environments()[link].interface;
        assert!(world.host().filters(interface).is_empty(), "{interface}");
    }
    assert_eq!(world.env(1).counter("Tcp", "RetransSegs"), 0);
    assert!(world.drop_totals().is_empty(), "{:?}", world.drop_totals());
    // Every index that was used serves again.
    world.attach(world.attach_request(2)).expect("attach");
    world
        .env(2)
        .run(|| http::whoami(tests::world::HTTP))
        .expect("fetch");
}
