//! TC programs as filters of the ingress qdisc, as on kernels without TCX.

use std::{
    fs,
    process::Output,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use aya::maps::{Array, Map, MapData};
use nix::sys::signal::Signal;
use tests::{
    agent::binary,
    content::expected_digest,
    echo::udp_socket,
    http,
    netns::Namespace,
    plan::Plan,
    sequence,
    topology::{INTERFACE, RESOURCE},
    wait,
    world::{HTTP, World},
};
use vpc_common::layout::{Meta, name};
use vpc_user::model::{HookWish, ObjectName, TcAttachment};

const BULK: u64 = 3_000_001;
const LINKS: [&str; 2] = ["up-blue", "env0"];

fn plan(environments: usize) -> Plan {
    let mut plan = Plan::blue(environments).with_hooks(HookWish::Tc, HookWish::Tc);
    plan.tc = TcAttachment::Filter;
    plan
}

fn has_qdisc(host: &Namespace, interface: &str) -> bool {
    let shown = host.says("tc", &["qdisc", "show", "dev", interface]);
    shown.contains("ingress") || shown.contains("clsact")
}

fn bulk_passes(namespace: &Namespace) {
    let content = (BULK, expected_digest(BULK));
    namespace.run(|| {
        assert_eq!(http::upload(HTTP, BULK).expect("upload"), content);
        assert_eq!(http::download(HTTP, BULK).expect("download"), content);
    });
}

fn teardown(world: &World) -> Output {
    let mut command = world.host().command(binary());
    command.args(["teardown", "--config"]).arg(world.config());
    command.output().expect("run `vpc teardown`")
}

#[test]
fn filters_carry_the_data_path_and_detach_leaves_none() {
    let mut world = World::start(plan(2));
    // This one had a qdisc before.
    let index = world.add_environment(&Plan::blue(1).environments[0]);
    let host = world.host();
    host.says("tc", &["qdisc", "add", "dev", "env2", "clsact"]);
    let mut request = world.attach_request(index);
    request.name = ObjectName::new("late").expect("a name");
    world.attach(request).expect("attach");
    for (index, interface) in ["env0", "env1", "env2"].into_iter().enumerate() {
        assert_eq!(host.filters(interface).len(), 1);
        bulk_passes(world.env(index));
    }
    // XDP comes in front of a filter as well.
    world
        .set_hook("blue-0", HookWish::Xdp)
        .expect("set the hook");
    bulk_passes(world.env(0));
    world
        .set_hook("blue-0", HookWish::Tc)
        .expect("set the hook");
    bulk_passes(world.env(0));
    // Somebody else's filter keeps the qdisc.
    let other = "filter add dev env1 ingress prio 7 protocol all u32 match u32 0 0 classid 1:1";
    host.says("tc", &other.split(' ').collect::<Vec<_>>());
    for name in ["blue-0", "blue-1", "late"] {
        world.detach(name).expect("detach");
    }
    let left = ["env0", "env1", "env2"].map(|interface| {
        assert!(host.filters(interface).is_empty(), "{interface}");
        has_qdisc(host, interface)
    });
    assert_eq!(left, [false, true, true]);
    assert!(world.drop_totals().is_empty(), "{:?}", world.drop_totals());
}

#[test]
fn a_restart_replaces_filters_under_traffic_and_mends_them() {
    const PORT: u16 = 9_995;
    let mut world = World::start(plan(1));
    let outside = world
        .tenant(0)
        .run(|| std::net::UdpSocket::bind((RESOURCE, PORT)))
        .expect("bind");
    let inside = world
        .env(0)
        .run(|| udp_socket((RESOURCE, PORT)))
        .expect("socket");
    inside.send(b"who I am").expect("send");
    outside.recv(&mut [0; 16]).expect("the first one");
    let stop = AtomicBool::new(false);
    let arrived = thread::scope(|scope| {
        let sequence = scope.spawn(|| sequence::run(&inside, &outside, &stop));
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            let before = LINKS.map(|interface| world.host().filters(interface));
            world.stop_agent(signal);
            world.start_agent();
            let after = LINKS.map(|interface| world.host().filters(interface));
            for (before, after) in before.iter().zip(&after) {
                assert_eq!((before.len(), after.len()), (1, 1));
                assert_ne!(before, after, "the program of the new agent");
            }
        }
        stop.store(true, Ordering::Relaxed);
        sequence.join().expect("the sequence")
    });
    eprintln!("{} sent, {} missing", arrived.sent, arrived.missing.len());
    assert!(arrived.missing.is_empty(), "{:?}", arrived.missing);
    // A filter has no owner: while no agent runs anybody may delete it, and the next one
    // makes it anew.
    for gone in ["filter", "qdisc"] {
        let line = match gone {
            "filter" => "filter del dev env0 ingress prio 1",
            _ => "qdisc del dev env0 ingress",
        };
        world.stop_agent(Signal::SIGTERM);
        world
            .host()
            .says("tc", &line.split(' ').collect::<Vec<_>>());
        assert!(world.host().filters("env0").is_empty());
        world.start_agent();
        assert_eq!(world.host().filters("env0").len(), 1);
        bulk_passes(world.env(0));
    }
    assert_eq!(world.list().len(), 1);
    let pins = fs::read_dir(world.pins().join("links")).expect("the folder");
    assert_eq!(pins.count(), 2);
}

#[test]
fn a_deleted_filter_is_made_anew_at_once() {
    let world = World::start(plan(1));
    let host = world.host();
    let mended = || world.status().counters["agent_filters_mended"];
    for (before, link) in (0..).zip(LINKS) {
        host.says("tc", &["qdisc", "del", "dev", link, "ingress"]);
        assert!(wait::eventually(wait::PATIENCE, || mended() == before * 2 + 1));
        assert_eq!(host.filters(link).len(), 1);
        host.says(
            "tc",
            &["filter", "del", "dev", link, "ingress", "prio", "1"],
        );
        assert!(wait::eventually(wait::PATIENCE, || mended() == before * 2 + 2));
        assert_eq!(host.filters(link).len(), 1);
    }
    bulk_passes(world.env(0));
    assert!(world.drop_totals().is_empty(), "{:?}", world.drop_totals());
}

#[test]
fn teardown_removes_filters_of_tables_of_another_layout() {
    let mut world = World::start(plan(1));
    world
        .set_hook("blue-0", HookWish::Xdp)
        .expect("set the hook");
    world.stop_agent(Signal::SIGTERM);
    let meta = MapData::from_pin(world.pins().join("maps").join(name::META)).expect("the pin");
    let mut meta: Array<_, Meta> = Array::try_from(Map::Array(meta)).expect("an array of Meta");
    let mut value = meta.get(&0, 0).expect("read");
    value.layout += 41;
    meta.set(0, value, 0).expect("write");
    drop(meta);
    // And a link by a name of layout 1.
    let links = world.pins().join("links");
    fs::rename(links.join("environment-0-xdp"), links.join("environment-0")).expect("rename");
    let output = teardown(&world);
    assert!(output.status.success(), "{output:?}");
    for interface in LINKS {
        assert!(world.host().filters(interface).is_empty());
        assert!(!has_qdisc(world.host(), interface));
    }
    let shown = world.host().says("ip", &["link", "show"]);
    assert!(!shown.contains("xdp"), "{shown}");
    assert!(!world.pins().exists());
    assert!(!world.env(0).gro(INTERFACE));
}

#[test]
fn a_place_that_is_taken_is_left_to_its_owner() {
    let mut world = World::start(plan(1));
    let index = world.add_environment(&Plan::blue(1).environments[0]);
    let host = world.host();
    host.says("tc", &["qdisc", "add", "dev", "env1", "clsact"]);
    let theirs = "filter add dev env1 ingress prio 1 protocol all u32 match u32 0 0 classid 1:1";
    host.says("tc", &theirs.split(' ').collect::<Vec<_>>());
    let mut request = world.attach_request(index);
    request.name = ObjectName::new("other").expect("a name");
    assert_eq!(
        world.attach(request).expect_err("refused"),
        "env1 has a filter of another kind at priority 1, where the agent's must be: remove it \
         with `tc filter del dev env1 ingress prio 1`"
    );
    assert!(
        host.says("tc", &["filter", "show", "dev", "env1", "ingress"])
            .contains("u32")
    );
    assert_eq!(world.list().len(), 1);
}
