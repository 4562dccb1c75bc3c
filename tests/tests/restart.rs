//! The data path outlives its agent, and nothing is lost or counted twice.

use std::{
    net::TcpStream,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use aya::maps::{Array, Map, MapData};
use nix::sys::signal::Signal;
use tests::{
    echo::{tcp_exchange, udp_exchange, udp_socket},
    http,
    plan::Plan,
    tap::Tap,
    topology::{GATEWAY, GATEWAY_MAC, INTERFACE, eni, mac_of, pin_neighbour},
    world::{ECHO, HTTP, World},
};
use vpc_common::layout::{LAYOUT, Meta, name};
use vpc_user::model::{FlowInfo, HookWish};

fn sum(flows: &[FlowInfo], environment: &str, part: impl Fn(&FlowInfo) -> u64) -> u64 {
    flows
        .iter()
        .filter(|flow| flow.environment == environment)
        .map(part)
        .sum()
}

/// Exchanges on every connection until told to stop; panics when one breaks.
fn keep_talking(streams: &mut [TcpStream], stop: &AtomicBool, rounds: &AtomicU64) {
    let mut round = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        for stream in &mut *streams {
            let payload = vec![round as u8; 200 + (round % 5_000) as usize];
            tcp_exchange(stream, &payload).expect("no connection breaks");
        }
        round += 1;
        rounds.fetch_add(1, Ordering::Relaxed);
    }
}

fn wait_for_rounds(rounds: &AtomicU64, more: u64) {
    let goal = rounds.load(Ordering::Relaxed) + more;
    let reached = || rounds.load(Ordering::Relaxed) >= goal;
    assert!(
        tests::wait::eventually(tests::wait::PATIENCE, reached),
        "traffic goes on"
    );
}

fn long_lived(environments: usize) -> Plan {
    Plan::blue(environments).with_tenant(|tenant| {
        tenant.timeouts = vec![("closed", 900), ("udp_new", 900), ("udp_stream", 900)];
    })
}

#[test]
fn connections_survive_a_killed_agent_and_every_packet_is_on_the_books() {
    connections_survive_a_killed_agent(long_lived(2));
}

#[test]
fn connections_over_xdp_survive_a_killed_agent_and_every_packet_is_on_the_books() {
    connections_survive_a_killed_agent(long_lived(2).with_hooks(HookWish::Xdp, HookWish::Xdp));
}

fn connections_survive_a_killed_agent(plan: Plan) {
    const CONNECTIONS: usize = 8;
    // A veth counts Ethernet headers unless its other end runs XDP.
    let headers = match plan.tenants[0].hook {
        HookWish::Xdp => 0,
        HookWish::Auto | HookWish::Tc => 14,
    };
    let mut world = World::start(plan);
    // The books are of packets on the wire, the interfaces' counters of what the stack
    // hands over: without segmentation by a device these are the same.
    for namespace in [world.tenant(0), world.env(0), world.env(1)] {
        namespace.says("ethtool", &["-K", INTERFACE, "tso", "off"]);
    }
    let uplink = mac_of(world.host(), "up-blue");
    pin_neighbour(world.tenant(0), eni(0), uplink);
    for index in 0..2 {
        pin_neighbour(world.env(index), GATEWAY, GATEWAY_MAC);
    }
    let sent_before = [0, 1].map(|index| world.env(index).transmitted(INTERFACE));
    let answered_before = world.tenant(0).transmitted(INTERFACE);
    let noise = Tap::open_on(world.tenant(0), INTERFACE, true).watch(0, |_, count, frame| {
        *count += u64::from(
            frame
                .arp()
                .is_some_and(|arp| arp.sender_ipv4 == [10, 0, 0, 100]),
        );
    });
    let mut streams: Vec<Vec<_>> = (0..2)
        .map(|index| {
            let open = || {
                (0..CONNECTIONS)
                    .map(|_| http::connect(ECHO).expect("connect"))
                    .collect()
            };
            world.env(index).run(open)
        })
        .collect();
    let (stop, rounds) = (AtomicBool::new(false), AtomicU64::new(0));
    let before = world.flows();
    thread::scope(|scope| {
        let (stop, rounds) = (&stop, &rounds);
        for streams in &mut streams {
            scope.spawn(move || keep_talking(streams, stop, rounds));
        }
        wait_for_rounds(rounds, 20);
        world.stop_agent(Signal::SIGKILL);
        wait_for_rounds(rounds, 50);
        // New flows need no agent either.
        world
            .env(0)
            .run(|| http::whoami(HTTP))
            .expect("fetch without an agent");
        world.start_agent();
        assert!(world.status().adopted);
        wait_for_rounds(rounds, 20);
        stop.store(true, Ordering::Relaxed);
    });
    drop(streams);
    // The last segments of the closing connections are on their way.
    thread::sleep(Duration::from_secs(1));
    let flows = world.flows();
    for old in &before {
        let kept = flows
            .iter()
            .find(|flow| (flow.slot, flow.epoch) == (old.slot, old.epoch));
        assert_eq!(
            kept.map(|flow| flow.outside),
            Some(old.outside),
            "a flow was lost: {old:?}"
        );
    }
    for (index, sent_before) in sent_before.into_iter().enumerate() {
        let name = &world.environments()[index].name;
        let sent = world.env(index).transmitted(INTERFACE);
        let packets = sum(&flows, name, |flow| flow.forward_packets);
        assert_eq!(packets, sent.0 - sent_before.0, "packets {name} sent");
        let bytes = sum(&flows, name, |flow| flow.forward_bytes) + headers * packets;
        assert_eq!(bytes, sent.1 - sent_before.1, "bytes {name} sent");
    }
    let answered = world.tenant(0).transmitted(INTERFACE);
    let arp = noise.stop();
    let replies: u64 = flows.iter().map(|flow| flow.reply_packets).sum();
    assert_eq!(
        replies,
        answered.0 - answered_before.0 - arp,
        "packets the resource sent"
    );
    assert_eq!(world.env(0).counter("Tcp", "InCsumErrors"), 0);
    assert!(world.drop_totals().is_empty(), "{:?}", world.drop_totals());
}

#[test]
fn datagrams_are_counted_to_the_byte_across_a_restart() {
    let mut world = World::start(long_lived(1));
    let socket = world.env(0).run(|| udp_socket(ECHO)).expect("socket");
    let (mut forward, mut reply) = (0, 0);
    for round in 0..90_u64 {
        match round {
            30 => drop(world.stop_agent(Signal::SIGKILL)),
            60 => world.start_agent(),
            _ => {}
        }
        let payload = vec![7; 10 * round as usize];
        let seen = udp_exchange(&socket, &payload).expect("echo");
        let prefix = format!("{} {}\n", seen.tenant, seen.peer).len() as u64;
        forward += 28 + payload.len() as u64;
        reply += 28 + prefix + payload.len() as u64;
    }
    let flow = world.flows().pop().expect("the flow");
    assert_eq!((flow.forward_packets, flow.forward_bytes), (90, forward));
    assert_eq!((flow.reply_packets, flow.reply_bytes), (90, reply));
}

#[test]
fn sigterm_leaves_the_data_path_running_and_teardown_takes_it_down() {
    let mut world = World::start(Plan::blue(1));
    // To find a neighbour it has never heard of, the data path needs the agent.
    world.env(0).run(|| http::whoami(HTTP)).expect("fetch");
    let status = world.stop_agent(Signal::SIGTERM);
    assert!(status.success(), "{status}");
    world
        .env(0)
        .run(|| http::whoami(HTTP))
        .expect("fetch without an agent");
    let mut agent = world.spawn_agent(&["--teardown"]);
    agent.wait_ready(&world.socket()).expect("ready");
    assert_eq!(world.list().len(), 1, "what was attached is adopted");
    let status = agent.stop(Signal::SIGTERM);
    assert!(status.success(), "{status}");
    let pins = world.pins();
    let left = std::fs::read_dir(&pins)
        .map(|entries| entries.count())
        .unwrap_or(0);
    assert_eq!(left, 0, "pins under {}", pins.display());
    let output = world
        .host()
        .command("ip")
        .args(["link", "show"])
        .output()
        .expect("run `ip`");
    let links = String::from_utf8_lossy(&output.stdout);
    assert!(!links.contains("xdp"), "{links}");
    world.start_agent();
    assert!(!world.status().adopted);
    assert!(world.list().is_empty());
}

#[test]
fn tables_of_another_layout_are_refused_and_left_as_they_are() {
    let mut world = World::start(Plan::blue(1));
    world.env(0).run(|| http::whoami(HTTP)).expect("fetch");
    world.stop_agent(Signal::SIGTERM);
    let path = find_pin(&world.pins(), name::META).expect("the tables are pinned");
    let data = MapData::from_pin(&path).expect("open the pin");
    let mut meta: Array<_, Meta> = Array::try_from(Map::Array(data)).expect("an array of Meta");
    let mut value = meta.get(&0, 0).expect("read");
    assert_eq!(value.layout, LAYOUT);
    let kept = (programs(&world), pins(&world.pins()));
    // Of an older release, and of a newer one.
    for layout in [LAYOUT - 1, LAYOUT + 41] {
        value.layout = layout;
        meta.set(0, value, 0).expect("write");
        let status = world.spawn_agent(&[]).wait_end();
        assert!(!status.success());
        let log = world.log_tail(20);
        let told = log.contains(&LAYOUT.to_string()) && log.contains(&layout.to_string());
        assert!(told, "both numbers: {log}");
        assert_eq!((programs(&world), pins(&world.pins())), kept);
        assert_eq!(meta.get(&0, 0).expect("read"), value);
        let old = world.env(0).run(|| http::whoami(HTTP));
        old.expect("the old data path runs on");
    }
    value.layout = LAYOUT;
    meta.set(0, value, 0).expect("write");
    world.start_agent();
    assert!(world.status().adopted);
    assert_eq!(world.list().len(), 1);
}

/// Numbers of the programs on both links.
fn programs(world: &World) -> Vec<String> {
    let shown = ["up-blue", "env0"].map(|link| {
        let link = ["-d", "link", "show", "dev", link];
        world.host().says("ip", &link)
    });
    let filters = [world.host().filters("env0"), world.host().tcx("up-blue")];
    let numbers = filters.concat().into_iter().map(|id| id.to_string());
    let xdp = shown.into_iter().filter(|text| text.contains("prog/xdp"));
    numbers.chain(xdp).collect()
}

/// Every pin below a folder.
fn pins(folder: &std::path::Path) -> std::collections::BTreeSet<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").flatten();
    let below = entries.map(|entry| entry.path()).flat_map(|path| {
        let within = path.is_dir().then(|| pins(&path));
        within.unwrap_or_else(|| [path].into())
    });
    below.collect()
}

#[test]
fn a_second_agent_on_the_same_tables_is_refused() {
    let world = World::start(Plan::blue(1));
    let status = world.spawn_agent(&[]).wait_end();
    assert!(!status.success());
    world.env(0).run(|| http::whoami(HTTP)).expect("fetch");
    assert_eq!(world.list().len(), 1, "the first one goes on");
}

fn find_pin(folder: &std::path::Path, name: &str) -> Option<std::path::PathBuf> {
    let mut all = pins(folder).into_iter();
    all.find(|path| path.file_name().is_some_and(|file| file == name))
}
