//! Interfaces of environments that are deleted, made anew, given another's number or renamed,
//! under an agent that runs and under none.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use nix::sys::signal::Signal;
use tests::{
    agent,
    echo::tcp_exchange,
    frame::Frame,
    netns::Namespace,
    plan::Plan,
    tap::Tap,
    topology::{RESOURCE, Station, eni},
    wait::{PATIENCE, eventually},
    world::{ECHO, World, outbound},
};
use vpc_common::drop::DropReason;
use vpc_user::model::{Request, TcAttachment};

use crate::{Frozen, await_detached, connect, connect_as, counter, fetches, index_of, pins};

/// What only a stranger sends.
const STRANGE: &[u8] = b"from a stranger";

/// A plan of both kinds of attachment.
fn plan(tc: TcAttachment) -> Plan {
    let mut plan = Plan::blue(2);
    plan.tc = tc;
    plan
}

fn delete(world: &World, interface: &str) {
    world.host().ip(&["link", "del", interface]);
}

/// Sends as the environment would whose interface this was: to a port that is open and to
/// one that no flow ever had.
fn send_as_environment(tap: &Tap) {
    for port in [40_000, 40_001] {
        tap.send(&outbound(port, ECHO.port()).udp(STRANGE));
    }
}

fn is_strange(frame: &Frame) -> bool {
    frame
        .bytes
        .windows(STRANGE.len())
        .any(|part| part == STRANGE)
}

#[test]
fn an_environment_whose_interface_is_deleted_is_detached_and_leaves_nothing() {
    let world = World::start(plan(TcAttachment::Auto));
    let others = connect(&world, 1);
    let _own = connect(&world, 0);
    assert_eq!((world.flows().len(), pins(&world).len()), (2, 3));
    delete(&world, "env0");
    await_detached(&world, "blue-0");
    let ended = || {
        world
            .flows()
            .iter()
            .all(|flow| flow.environment == "blue-1")
    };
    assert!(eventually(PATIENCE, ended), "{:?}", world.flows());
    assert_eq!(pins(&world).len(), 2, "{:?}", pins(&world));
    assert_eq!(counter(&world, "agent_environments_lost"), 1);
    let status = world.status();
    assert_eq!(status.enis[0].connections, 1, "ports are given back");
    let owned = world.drops().into_iter();
    let owned = owned.filter(|drop| drop.owner_kind == "environment");
    assert_eq!(owned.count(), 0, "{:?}", world.drops());
    // Another interface of the name, and the environment is back.
    Station::environment().connect(world.host(), "env0", world.env(0));
    world.attach(world.attach_request(0)).expect("attach");
    fetches(&world, 0);
    let mut others = others;
    tcp_exchange(&mut others, b"not touched").expect("echo");
}

/// Whoever makes the interface anew and asks for it does not have to wait until the agent has
/// noticed, and what it notices late is not held against the new one.
#[test]
fn an_interface_that_was_made_anew_can_be_attached_at_once() {
    let world = World::start(plan(TcAttachment::Auto));
    let number = index_of(world.host(), "env0");
    for round in 0..12 {
        let frozen = (round % 2 == 0).then(|| Frozen::new(&world));
        delete(&world, "env0");
        let host = world.host();
        match round % 3 {
            0 => Station::environment().connect(host, "env0", world.env(0)),
            _ => connect_as(Station::environment(), host, "env0", world.env(0), number),
        }
        let request = Request::Attach(world.attach_request(0));
        let socket = world.socket();
        let asked = thread::spawn(move || agent::request(&socket, &request));
        drop(frozen);
        let answer = asked.join().expect("no panic").expect("an answer");
        let attached = format!("{answer:?}");
        assert!(attached.starts_with("Environment("), "{attached}");
        fetches(&world, 0);
    }
    // All that the kernel had to say of the old ones has been heard.
    let known = || counter(&world, "agent_environments_lost") == 12;
    assert!(eventually(PATIENCE, known));
    world.reload().expect("a full pass");
    assert_eq!(world.list().len(), 2);
    fetches(&world, 0);
}

/// The interface is deleted and a stranger's gets its number while the agent does not look;
/// with so many changes meanwhile, if wanted, that the kernel gives up telling of them.
fn a_stranger_gets_the_number(tc: TcAttachment, overwhelmed: bool) {
    let world = World::start(plan(tc));
    let mut stream = connect(&world, 0);
    let port = world.flows()[0].outside.port();
    let resource = Tap::open(world.tenant(0)).record();
    let stranger = Namespace::new("stranger");
    let number = index_of(world.host(), "env0");
    let frozen = Frozen::new(&world);
    delete(&world, "env0");
    connect_as(
        Station::environment(),
        world.host(),
        "other0",
        &stranger,
        number,
    );
    if overwhelmed {
        let mut lines = String::from("link add dull0 type veth peer name dull1\n");
        for _ in 0..1_000 {
            let _ = write!(lines, "link set dull0 up\nlink set dull0 down\n");
        }
        world.host().ip_batch(&lines);
    }
    let (strange, seen) = (Tap::open(&stranger), Tap::open(&stranger).record());
    let answers = Tap::open(world.tenant(0));
    let answer =
        |world: &World| answers.send(&world.inbound(0, ECHO.port(), port).tcp(0x18, 1, 1, STRANGE));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                send_as_environment(&strange);
            }
        });
        // Before the agent noticed, while it does, and after.
        (0..100).for_each(|_| answer(&world));
        drop(frozen);
        await_detached(&world, "blue-0");
        world.reload().expect("a full pass");
        (0..100).for_each(|_| answer(&world));
        stop.store(true, Ordering::Relaxed);
    });
    let host = world.host();
    assert!(host.filters("other0").is_empty() && host.tcx("other0").is_empty());
    assert_eq!(
        resource.stop().iter().filter(|it| is_strange(it)).count(),
        0
    );
    assert_eq!(seen.stop().iter().filter(|it| is_strange(it)).count(), 0);
    let ended = || {
        world
            .flows()
            .iter()
            .all(|flow| flow.environment != "blue-0")
    };
    assert!(eventually(PATIENCE, ended), "{:?}", world.flows());
    let gone = world.drop_count(DropReason::RedirectFailed)
        + world.drop_count(DropReason::EnvironmentGone)
        + world.drop_count(DropReason::Unsolicited);
    assert!(gone >= 200, "{:?}", world.drop_totals());
    // What is left of the connection breaks no later one.
    let _ = tcp_exchange(&mut stream, b"nobody hears this");
    fetches(&world, 1);
}

#[test]
fn a_strangers_interface_with_the_number_of_one_that_is_gone_is_never_taken_for_it() {
    a_stranger_gets_the_number(TcAttachment::Filter, false);
}

#[test]
fn a_strangers_interface_is_never_taken_for_one_that_had_a_tcx_link() {
    a_stranger_gets_the_number(TcAttachment::Tcx, false);
}

#[test]
fn a_strangers_interface_is_never_taken_for_another_though_the_kernel_told_too_much() {
    a_stranger_gets_the_number(TcAttachment::Filter, true);
}

/// An interface of the same name and the same number is there when the agent starts.
fn an_interface_is_made_anew_without_an_agent(tc: TcAttachment, same_number: bool) {
    let mut world = World::start(plan(tc));
    let _stream = connect(&world, 0);
    let resource = Tap::open(world.tenant(0)).record();
    let number = index_of(world.host(), "env0");
    world.stop_agent(Signal::SIGKILL);
    delete(&world, "env0");
    let (host, env) = (world.host(), world.env(0));
    if same_number {
        connect_as(Station::environment(), host, "env0", env, number);
    } else {
        Station::environment().connect(host, "env0", env);
    }
    let strange = Tap::open(env);
    send_as_environment(&strange);
    world.start_agent();
    send_as_environment(&strange);
    assert!(world.status().adopted);
    let names: Vec<String> = world.list().into_iter().map(|it| it.name).collect();
    assert_eq!(names, ["blue-1"], "nobody asked for what is there now");
    world.reload().expect("a full pass");
    send_as_environment(&strange);
    assert!(world.host().filters("env0").is_empty() && world.host().tcx("env0").is_empty());
    assert_eq!(pins(&world).len(), 2, "{:?}", pins(&world));
    assert_eq!(
        resource.stop().iter().filter(|it| is_strange(it)).count(),
        0
    );
    // Until somebody does.
    world.attach(world.attach_request(0)).expect("attach");
    fetches(&world, 0);
    fetches(&world, 1);
}

#[test]
fn an_interface_made_anew_while_no_agent_ran_is_not_the_environments() {
    an_interface_is_made_anew_without_an_agent(TcAttachment::Auto, false);
}

#[test]
fn not_even_with_the_same_number_and_a_filter() {
    an_interface_is_made_anew_without_an_agent(TcAttachment::Filter, true);
}

#[test]
fn not_even_with_the_same_number_and_a_tcx_link() {
    an_interface_is_made_anew_without_an_agent(TcAttachment::Tcx, true);
}

#[test]
fn a_renamed_interface_goes_on_and_is_listed_by_its_new_name() {
    let mut world = World::start(plan(TcAttachment::Auto));
    let mut stream = connect(&world, 0);
    let interface_of = |world: &World| {
        let listed = world.list().into_iter().find(|it| it.name == "blue-0");
        listed.expect("it is attached").interface
    };
    let rename = |world: &World, from: &str, to: &str| {
        world.host().ip(&["link", "set", from, "name", to]);
    };
    rename(&world, "env0", "guest0");
    assert!(eventually(PATIENCE, || interface_of(&world) == "guest0"));
    tcp_exchange(&mut stream, b"renamed").expect("echo");
    fetches(&world, 0);
    // While nobody looks, too.
    world.stop_agent(Signal::SIGKILL);
    rename(&world, "guest0", "guest1");
    tcp_exchange(&mut stream, b"renamed again").expect("echo");
    world.start_agent();
    assert_eq!(interface_of(&world), "guest1");
    tcp_exchange(&mut stream, b"adopted").expect("echo");
    assert!(world.drop_totals().is_empty(), "{:?}", world.drop_totals());
    // Another interface of the old name is another interface.
    let other = Namespace::new("other");
    Station::environment().connect(world.host(), "env0", &other);
    assert_eq!(interface_of(&world), "guest1");
    assert!(world.host().filters("env0").is_empty());
    world.detach("blue-0").expect("detach");
    assert!(world.host().filters("guest1").is_empty());
    assert_eq!(pins(&world).len(), 2, "{:?}", pins(&world));
    let seen = world.tenants()[0].echo.peers();
    let only = |peer: &std::net::SocketAddr| peer.ip() == eni(0);
    assert!(seen.iter().all(only), "{RESOURCE} saw {seen:?}");
}
