//! Attach, detach and recycle at run time, and what is refused.

use std::{io::Write as _, net::SocketAddr};

use tests::{
    agent::{self, Agent},
    echo::{TcpHold, tcp_exchange, udp_exchange, udp_socket},
    folder::Folder,
    http,
    netns::Namespace,
    plan::{EnvironmentPlan, Plan},
    tap::Tap,
    topology::{RESOURCE, Station, eni},
    wait::{PATIENCE, eventually},
    world::{ECHO, HTTP, World},
};
use vpc_common::drop::DropReason;
use vpc_user::model::{AttachRequest, HookWish, ObjectName, Request, Response};

fn guest(name: &str) -> EnvironmentPlan {
    let mut plan = Plan::blue(1).environments.remove(0);
    plan.name = name.to_owned();
    plan
}

#[test]
fn an_environment_is_connected_from_attach_to_detach() {
    let mut world = World::start(Plan::blue(1));
    let index = world.add_environment(&guest("late"));
    let info = world.attach(world.attach_request(index)).expect("attach");
    assert_eq!((info.name.as_str(), info.group.as_str()), ("late", "blue"));
    assert_eq!(info.interface, world.environments()[index].interface);
    assert_eq!(world.list().len(), 2);
    assert_eq!(
        *world
            .env(index)
            .run(|| http::whoami(HTTP))
            .expect("fetch")
            .peer
            .ip(),
        eni(0)
    );
    let last = world.detach("late").expect("detach");
    assert_eq!((last.name, last.index), (info.name, info.index));
    assert_eq!(world.list().len(), 1);
    let outcome = world.env(index).run(|| {
        let socket = udp_socket(ECHO).expect("socket");
        socket
            .set_read_timeout(Some(std::time::Duration::from_millis(300)))
            .expect("timeout");
        udp_exchange(&socket, b"anyone?")
    });
    assert!(outcome.is_err(), "a detached environment is cut off");
    world
        .env(0)
        .run(|| http::whoami(HTTP))
        .expect("others are not touched");
    assert!(
        world
            .detach("late")
            .expect_err("not attached")
            .contains("late")
    );
}

#[test]
fn a_recycled_environment_inherits_no_flow() {
    let world = World::start(Plan::blue(2));
    let mut stream = world.env(0).run(|| http::connect(ECHO)).expect("connect");
    tcp_exchange(&mut stream, b"hello").expect("echo");
    let socket = world.env(0).run(|| udp_socket(ECHO)).expect("socket");
    let seen = udp_exchange(&socket, b"old").expect("echo");
    let old = world
        .flows()
        .into_iter()
        .find(|flow| flow.protocol == "udp")
        .expect("its flow");
    let first = world
        .list()
        .into_iter()
        .find(|info| info.name == "blue-0")
        .expect("listed");

    world.detach("blue-0").expect("detach");
    let before = world.drop_totals();
    let resource = Tap::open(world.tenant(0));
    resource.send(
        &world
            .inbound(0, ECHO.port(), seen.peer.port())
            .udp(b"late reply"),
    );
    world.assert_dropped(&before, &[(DropReason::EnvironmentGone, 1)]);

    let second = world.attach(world.attach_request(0)).expect("attach again");
    assert!(second.index != first.index || second.generation > first.generation);
    resource.send(
        &world
            .inbound(0, ECHO.port(), seen.peer.port())
            .udp(b"later reply"),
    );
    world.assert_dropped(&before, &[(DropReason::EnvironmentGone, 2)]);
    // The same socket, so the same inside tuple, opens a flow of its own.
    udp_exchange(&socket, b"new").expect("echo");
    let new = world
        .flows()
        .into_iter()
        .find(|flow| flow.protocol == "udp" && (flow.slot, flow.epoch) != (old.slot, old.epoch));
    assert_eq!(new.expect("a new flow").inside, old.inside);

    let before = world.drop_totals();
    stream
        .write_all(b"mid-stream")
        .expect("the socket does not know yet");
    let told = eventually(PATIENCE, || stream.write_all(b"again").is_err());
    assert!(told, "a connection of the former environment is reset");
    let middle = world.drop_count(DropReason::TcpMidStream);
    assert!(
        middle
            > before
                .get(DropReason::TcpMidStream.label())
                .copied()
                .unwrap_or(0)
    );
}

#[test]
fn neighbours_notice_nothing_of_attach_and_detach() {
    let mut world = World::start(Plan::blue(2));
    let late = world.add_environment(&guest("late"));
    let mut stream = world.env(1).run(|| http::connect(ECHO)).expect("connect");
    for round in 0..20_u8 {
        world.attach(world.attach_request(late)).expect("attach");
        tcp_exchange(&mut stream, &[round; 500]).expect("echo");
        world.env(late).run(|| http::whoami(HTTP)).expect("fetch");
        world.detach("late").expect("detach");
        tcp_exchange(&mut stream, &[round; 500]).expect("echo");
    }
    assert_eq!(world.env(1).counter("Tcp", "RetransSegs"), 0);
}

#[test]
fn a_far_end_is_prepared_when_its_namespace_can_be_found() {
    let mut world = World::start(Plan::blue(0));
    let index = world.add_environment(&guest("found"));
    let mut request = world.attach_request(index);
    request.netns = None;
    match world.attach(request) {
        // Without GRO at the far end nothing would come back.
        Ok(_) => drop(world.env(index).run(|| http::whoami(HTTP)).expect("fetch")),
        Err(sentence) => {
            assert!(sentence.contains("env0"), "{sentence}");
            assert!(world.list().is_empty(), "nothing changed");
        }
    }
}

/// Asks for what must be refused: the sentence holds every given word and
/// nothing is attached.
fn refused(world: &World, words: &[&str], change: impl FnOnce(&mut AttachRequest)) {
    let attached = world.list();
    let mut request = world.attach_request(0);
    change(&mut request);
    let sentence = world
        .attach(request)
        .expect_err("the request must be refused");
    eprintln!("{sentence}");
    for word in words {
        assert!(sentence.contains(word), "says {word:?}: {sentence}");
    }
    assert!(!sentence.contains('\n'), "one sentence: {sentence}");
    assert_eq!(world.list(), attached, "nothing changed");
}

#[test]
fn a_bad_attach_gets_one_sentence_and_changes_nothing() {
    let mut world = World::start(Plan::blue(1));
    let other = world.add_environment(&guest("other"));
    let interface = world.environments()[other].interface.clone();
    let host = world.host();
    host.ip(&[
        "link", "add", "big0", "mtu", "65535", "type", "veth", "peer", "name", "big1",
    ]);
    let as_other = |request: &mut AttachRequest| request.name = world.attach_request(other).name;
    refused(&world, &["nosuch0"], |request| {
        as_other(request);
        request.interface = "nosuch0".to_owned();
    });
    refused(&world, &["env0", "blue-0"], as_other);
    refused(&world, &["blue-0", "env0"], |request| {
        request.interface.clone_from(&interface)
    });
    // Neither a veth nor a tap, and without native XDP.
    refused(&world, &["lo is", "veth"], |request| {
        as_other(request);
        request.interface = "lo".to_owned();
        request.netns = None;
    });
    refused(&world, &["big0", "MTU"], |request| {
        as_other(request);
        request.interface = "big0".to_owned();
        request.netns = None;
        request.hook = HookWish::Xdp;
    });
    refused(&world, &["up-blue"], |request| {
        as_other(request);
        request.interface = "up-blue".to_owned();
    });
    refused(&world, &["purple", "group"], |request| {
        as_other(request);
        request.interface.clone_from(&interface);
        request.group = ObjectName::new("purple").expect("a name");
    });
    refused(&world, &["gateway"], |request| {
        as_other(request);
        request.interface.clone_from(&interface);
        request.gateway = request.address;
    });
    // After all these the right request works.
    world.attach(world.attach_request(other)).expect("attach");
    world.env(other).run(|| http::whoami(HTTP)).expect("fetch");
}

#[test]
fn an_interface_that_runs_a_program_of_someone_else_is_left_alone() {
    let mut world = World::start(Plan::blue(1));
    let index = world.add_environment(&guest("other"));
    // Another agent on the same host, with tables and an uplink of its own.
    let (theirs, red) = (Folder::make(), Namespace::new("red"));
    Station::resource(1_500).connect(world.host(), "up-red", &red);
    let plan = Plan::new(&["red"], 0);
    let config = plan.config(&theirs.pins(), &theirs.socket(), &[red.name().to_owned()]);
    std::fs::write(theirs.config(), config).expect("write the configuration");
    let mut agent = Agent::spawn(world.host(), &theirs.config(), &theirs.log(), &[]);
    agent
        .wait_ready(&theirs.socket())
        .expect("a second agent runs beside the first");
    let mut request = world.attach_request(index);
    request.group = ObjectName::new("red").expect("a name");
    request.hook = HookWish::Xdp;
    let attached = agent::request(&theirs.socket(), &Request::Attach(request.clone()));
    assert!(
        matches!(attached, Ok(Response::Environment(_))),
        "{attached:?}"
    );
    let refuses = |hook, words: &[&str]| {
        refused(&world, words, |ours| {
            ours.name = request.name.clone();
            ours.interface = request.interface.clone();
            ours.netns = request.netns.clone();
            ours.hook = hook;
        });
    };
    refuses(HookWish::Xdp, &["XDP program", &request.interface]);
    refuses(HookWish::Auto, &["another agent", &request.interface]);
    let listed = agent::request(&theirs.socket(), &Request::Environments);
    let Ok(Response::Environments(listed)) = listed else {
        panic!("{listed:?}")
    };
    assert_eq!(listed.len(), 1, "theirs is still theirs");
}

#[test]
fn a_reset_of_the_resource_reaches_the_environment_and_frees_the_port() {
    let world =
        World::start(Plan::blue(1).with_tenant(|tenant| tenant.timeouts = vec![("reset", 1)]));
    let server = TcpHold::sink(world.tenant(0), 9_000);
    let address = SocketAddr::from((RESOURCE, 9_000));
    let mut stream = world
        .env(0)
        .run(|| http::connect(address))
        .expect("connect");
    stream.write_all(b"never read").expect("write");
    assert!(eventually(PATIENCE, || server.peers().len() == 1));
    assert_eq!(world.flows().len(), 1);
    server.reset_all();
    drop(server);
    assert!(
        eventually(PATIENCE, || stream.write_all(b"x").is_err()),
        "the reset arrives"
    );
    assert!(
        eventually(PATIENCE, || world.flows().is_empty()),
        "{:?}",
        world.flows()
    );
}
