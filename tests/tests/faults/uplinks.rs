//! Interfaces of uplinks that are deleted, made anew, given another's number, renamed or taken
//! down, and neighbours that go.

use std::thread;

use nix::sys::signal::Signal;
use tests::{
    echo::{tcp_exchange, udp_exchange, udp_socket},
    frame::Frame,
    netns::Namespace,
    plan::Plan,
    tap::Tap,
    topology::{INTERFACE, Station, mac_of, mac_text},
    wait::{PATIENCE, eventually},
    world::{ECHO, World},
};
use vpc_common::drop::DropReason;
use vpc_user::model::TcAttachment;

use crate::{Frozen, connect, connect_as, counter, fetches, index_of, pins};

/// What only an environment of this world sends, and what only a stranger does.
const OURS: &[u8] = b"for the tenant's eyes";
const STRANGE: &[u8] = b"from a stranger";

fn has(frame: &Frame, words: &[u8]) -> bool {
    let mut parts = frame.bytes.windows(words.len());
    parts.any(|part| part == words)
}

fn count(frames: &[Frame], words: &[u8]) -> usize {
    frames.iter().filter(|frame| has(frame, words)).count()
}

fn delete(world: &World, interface: &str) {
    world.host().ip(&["link", "del", interface]);
}

fn two_tenants(tc: TcAttachment) -> World {
    let mut plan = Plan::new(&["blue", "red"], 1);
    plan.tc = tc;
    World::start(plan)
}

/// A datagram of the first environment that opens a flow.
fn send(world: &World) {
    let socket = world.env(0).run(|| udp_socket(ECHO)).expect("socket");
    socket.send(OURS).expect("send");
}

fn uplink_is_up(world: &World) -> bool {
    let host = world.host();
    let runs = || !host.filters("up-blue").is_empty() || host.tcx("up-blue").len() == 1;
    eventually(PATIENCE, runs)
}

fn made_anew(world: &World) {
    Station::resource(1_500).connect(world.host(), "up-blue", world.tenant(0));
    assert!(uplink_is_up(world), "{}", world.log_tail(20));
}

#[test]
fn flows_go_on_after_their_uplink_was_deleted_and_made_anew() {
    let mut world = two_tenants(TcAttachment::Auto);
    let (mut stream, mut red) = (connect(&world, 0), connect(&world, 1));
    let elsewhere = Tap::open(world.tenant(1)).record();
    for round in 0..3 {
        let outside = world.flows().iter().map(|flow| flow.outside).max();
        match round {
            0 => delete(&world, "up-blue"),
            // The agent sees the new one and the old one's end at once.
            1 => {
                let _frozen = Frozen::new(&world);
                delete(&world, "up-blue");
                Station::resource(1_500).connect(world.host(), "up-blue", world.tenant(0));
            }
            _ => {
                world.stop_agent(Signal::SIGKILL);
                delete(&world, "up-blue");
            }
        }
        send(&world);
        match round {
            0 => made_anew(&world),
            1 => assert!(uplink_is_up(&world)),
            _ => {
                Station::resource(1_500).connect(world.host(), "up-blue", world.tenant(0));
                world.start_agent();
                assert!(world.status().adopted && uplink_is_up(&world));
            }
        }
        tcp_exchange(&mut stream, b"by the new one").expect("the connection goes on");
        assert!(
            world
                .flows()
                .iter()
                .any(|flow| Some(flow.outside) == outside)
        );
        fetches(&world, 0);
        tcp_exchange(&mut red, b"not touched").expect("echo");
    }
    assert_eq!(pins(&world).len(), 4, "{:?}", pins(&world));
    let seen = elsewhere.stop();
    assert_eq!(count(&seen, OURS), 0, "red got what was blue's");
}

/// A stranger's interface gets the number of an uplink: `name`'s, under an agent that is not
/// looking or none.
fn a_stranger_gets_the_number(tc: TcAttachment, name: &str, agent: bool) {
    let mut world = two_tenants(tc);
    let mut stream = connect(&world, 0);
    let port = world.flows()[0].outside.port();
    let stranger = Namespace::new("stranger");
    let inside = Tap::open(world.env(0)).record();
    let number = index_of(world.host(), "up-blue");
    let frozen = agent.then(|| Frozen::new(&world));
    if !agent {
        world.stop_agent(Signal::SIGKILL);
    }
    delete(&world, "up-blue");
    connect_as(
        Station::resource(1_500),
        world.host(),
        name,
        &stranger,
        number,
    );
    let (strange, seen) = (Tap::open(&stranger), Tap::open(&stranger).record());
    let mut ends = world.inbound(1, ECHO.port(), port);
    ends.destination_mac = mac_of(world.host(), name);
    let frame = ends.tcp(0x18, 1, 1, STRANGE);
    let exchange = |world: &World| {
        for _ in 0..50 {
            send(world);
            strange.send(&frame);
        }
    };
    exchange(&world);
    drop(frozen);
    if agent {
        let gone = || {
            world
                .log_tail(50)
                .contains("the uplink waits for a new one")
        };
        assert!(eventually(PATIENCE, gone), "{}", world.log_tail(50));
    } else {
        world.start_agent();
    }
    let reloaded = world.reload().expect("a full pass");
    assert!(reloaded.problems[0].contains("up-blue"), "{reloaded:?}");
    exchange(&world);
    let host = world.host();
    assert!(host.filters(name).is_empty() && host.tcx(name).is_empty());
    assert_eq!(
        count(&seen.stop(), OURS),
        0,
        "the stranger got what was blue's"
    );
    assert_eq!(count(&inside.stop(), STRANGE), 0);
    delete(&world, name);
    made_anew(&world);
    tcp_exchange(&mut stream, b"by the new one").expect("the connection goes on");
    fetches(&world, 1);
}

#[test]
fn a_strangers_interface_with_an_uplinks_number_gets_nothing_of_it() {
    a_stranger_gets_the_number(TcAttachment::Auto, "other0", true);
}

#[test]
fn a_strangers_interface_with_an_uplinks_number_gets_nothing_though_it_had_a_filter() {
    a_stranger_gets_the_number(TcAttachment::Filter, "other0", true);
}

#[test]
fn an_agent_that_starts_gives_nothing_to_a_strangers_interface_with_an_uplinks_number() {
    a_stranger_gets_the_number(TcAttachment::Auto, "other0", false);
}

#[test]
fn an_agent_that_starts_makes_no_filter_of_an_uplink_on_a_strangers_interface() {
    a_stranger_gets_the_number(TcAttachment::Filter, "other0", false);
}

#[test]
fn a_renamed_uplink_goes_on_and_the_agent_says_what_it_misses() {
    let mut world = World::start(Plan::blue(1));
    let mut stream = connect(&world, 0);
    let rename = |world: &World, from: &str, to: &str| {
        world.host().ip(&["link", "set", from, "name", to]);
    };
    rename(&world, "up-blue", "wan0");
    let reloaded = world.reload().expect("a valid configuration");
    let [problem] = reloaded.problems.as_slice() else {
        panic!("{reloaded:?}")
    };
    assert!(
        problem.contains("uplink blue") && problem.contains("up-blue"),
        "{problem}"
    );
    tcp_exchange(&mut stream, b"renamed").expect("echo");
    fetches(&world, 0);
    assert_eq!(world.status().uplinks[0].interface, "wan0");
    world.stop_agent(Signal::SIGKILL);
    world.start_agent();
    tcp_exchange(&mut stream, b"adopted").expect("echo");
    fetches(&world, 0);
    rename(&world, "wan0", "up-blue");
    let reloaded = world.reload().expect("a valid configuration");
    assert!(reloaded.problems.is_empty(), "{reloaded:?}");
    tcp_exchange(&mut stream, b"named back").expect("echo");
    assert!(world.drop_totals().is_empty(), "{:?}", world.drop_totals());
}

#[test]
fn a_connection_outlives_an_uplink_that_goes_down_and_comes_up() {
    let world = World::start(Plan::blue(1));
    let mut stream = connect(&world, 0);
    let before = world.flows().remove(0);
    let set = |state: &str| world.host().ip(&["link", "set", "up-blue", state]);
    set("down");
    let exchange = thread::spawn(move || {
        tcp_exchange(&mut stream, b"through thick and thin").expect("the connection goes on");
        stream
    });
    // It is sent again and again, and not answered.
    let flow = || world.flows().remove(0);
    let tried = || flow().forward_packets > before.forward_packets + 1;
    assert!(eventually(PATIENCE, tried), "{:?}", flow());
    assert_eq!(flow().reply_packets, before.reply_packets);
    set("up");
    let _stream = exchange.join().expect("no panic");
    let after = flow();
    assert_eq!((after.slot, after.epoch), (before.slot, before.epoch));
    assert_eq!(after.outside, before.outside);
    assert!(after.reply_packets > before.reply_packets);
    assert!(world.reload().expect("a full pass").problems.is_empty());
    fetches(&world, 0);
}

/// The resource stops answering ARP and comes back with another MAC.
#[test]
fn what_a_neighbour_that_is_gone_does_not_get_is_counted_and_its_return_is_noticed() {
    let world = World::start(Plan::blue(1));
    let mut stream = connect(&world, 0);
    let resource = world.tenant(0);
    resource.ip(&["link", "set", INTERFACE, "arp", "off"]);
    let forgotten = || counter(&world, "agent_neighbours_forgotten") == 1;
    assert!(
        eventually(4 * PATIENCE, forgotten),
        "{}",
        world.log_tail(20)
    );
    let before = world.drop_totals();
    let socket = world.env(0).run(|| udp_socket(ECHO)).expect("socket");
    socket.send(b"is anybody there?").expect("send");
    world.assert_dropped(&before, &[(DropReason::NextHopUnresolved, 1)]);
    let mac = mac_text([0x02, 0, 0, 0, 0, 0x65]);
    resource.ip_batch(&format!(
        "link set {INTERFACE} down\nlink set {INTERFACE} address {mac} arp on up\n"
    ));
    tcp_exchange(&mut stream, b"another card").expect("the connection goes on");
    udp_exchange(&socket, b"somebody is").expect("echo");
    fetches(&world, 0);
    assert_eq!(counter(&world, "agent_neighbours_forgotten"), 1);
}
