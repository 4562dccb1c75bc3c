//! Idle timeouts: not early, not never, and what comes after.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    time::{Duration, Instant},
};

use socket2::{Domain, Socket, Type};
use tests::{
    echo::{tcp_exchange, udp_exchange, udp_socket},
    http,
    plan::Plan,
    tap::Tap,
    topology::INSIDE,
    wait::{PATIENCE, eventually, find},
    world::{ECHO, HTTP, World, outbound},
};
use vpc_common::drop::DropReason;

fn with_timeouts(timeouts: &[(&'static str, u32)]) -> World {
    World::start(Plan::blue(1).with_tenant(|tenant| tenant.timeouts = timeouts.to_vec()))
}

#[test]
fn a_connection_that_speaks_after_its_flow_expired_is_reset() {
    let world = with_timeouts(&[("established", 2)]);
    let mut stream = world.env(0).run(|| http::connect(ECHO)).expect("connect");
    tcp_exchange(&mut stream, b"hello").expect("echo");
    let last = Instant::now();
    assert_eq!(world.flows().len(), 1);
    assert!(
        eventually(PATIENCE, || world.flows().is_empty()),
        "the flow expires"
    );
    assert!(
        last.elapsed() >= Duration::from_secs(2),
        "early, after {:?}",
        last.elapsed()
    );
    let before = world.drop_totals();
    stream
        .write_all(b"still there?")
        .expect("the socket does not know yet");
    let error = stream
        .read(&mut [0; 16])
        .expect_err("the connection is gone");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    world.assert_dropped(&before, &[(DropReason::TcpMidStream, 1)]);
}

#[test]
fn a_connection_that_speaks_in_time_is_kept() {
    let world = with_timeouts(&[("established", 2)]);
    let mut stream = world.env(0).run(|| http::connect(ECHO)).expect("connect");
    for _ in 0..8 {
        tcp_exchange(&mut stream, b"hello").expect("echo");
        std::thread::sleep(Duration::from_millis(600));
    }
    assert_eq!(world.flows().len(), 1);
}

#[test]
fn an_unanswered_datagram_is_forgotten_before_a_stream_is() {
    let world = with_timeouts(&[("udp_new", 3), ("udp_stream", 6)]);
    let socket = world.env(0).run(|| udp_socket(ECHO)).expect("socket");
    // Nobody listens on that port, and an ICMP error does not refresh the flow.
    let silent = Tap::open(world.env(0));
    let start = Instant::now();
    silent.send(&outbound(4_000, 9_996).udp(b"anyone?"));
    let seen = udp_exchange(&socket, b"hello").expect("echo");
    let last = Instant::now();
    // The datagram waited for the neighbour and may come out after the exchange.
    assert!(
        eventually(PATIENCE, || world.flows().len() == 2),
        "{:?}",
        world.flows()
    );
    assert!(
        eventually(PATIENCE, || world.flows().len() == 1),
        "{:?}",
        world.flows()
    );
    assert!(
        start.elapsed() >= Duration::from_secs(3),
        "early, after {:?}",
        start.elapsed()
    );
    assert_eq!(world.flows()[0].state, "udp_stream");
    assert!(
        eventually(PATIENCE, || world.flows().is_empty()),
        "{:?}",
        world.flows()
    );
    assert!(
        last.elapsed() >= Duration::from_secs(6),
        "early, after {:?}",
        last.elapsed()
    );
    let again = udp_exchange(&socket, b"again").expect("a new flow opens at once");
    assert_eq!(again.peer.ip(), seen.peer.ip());
}

#[test]
fn a_closed_connection_gives_its_port_back() {
    let world = with_timeouts(&[("closed", 1)]);
    for _ in 0..50 {
        world.env(0).run(|| http::whoami(HTTP)).expect("fetch");
    }
    assert!(
        eventually(PATIENCE, || world.flows().is_empty()),
        "{:?}",
        world.flows().first()
    );
    let status = world.status();
    let ports: u64 = status
        .enis
        .iter()
        .map(|eni| eni.tcp_ports + eni.udp_ports)
        .sum();
    assert_eq!((ports, status.enis[0].connections, status.flows), (0, 0, 0));
    let environment = world.list().pop().expect("one environment");
    assert_eq!(environment.flows, 0);
    let counters = status.counters;
    assert_eq!(counters["flows_opened"], counters["flows_expired"]);
    assert_eq!(
        (counters["double_frees"], counters["slot_conflicts"]),
        (0, 0)
    );
}

#[test]
fn a_half_closed_connection_still_carries_the_answer() {
    let world = with_timeouts(&[("fin_out", 30)]);
    let mut stream = world.env(0).run(|| http::connect(ECHO)).expect("connect");
    stream.write_all(b"last words").expect("write");
    stream
        .shutdown(std::net::Shutdown::Write)
        .expect("shut down");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("read to the end");
    assert_eq!(answer, "last words");
    let closed = || world.flows().iter().all(|flow| flow.state == "closed");
    assert!(eventually(PATIENCE, closed), "{:?}", world.flows());
}

#[test]
fn a_new_connection_on_a_closed_tuple_keeps_its_outside_port() {
    let world = World::start(Plan::blue(1));
    let connect = || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket");
        socket.set_reuse_address(true).expect("reuse");
        let from = std::net::SocketAddrV4::new(INSIDE, 5_555);
        socket.bind(&from.into()).expect("bind");
        match socket.connect_timeout(&HTTP.into(), PATIENCE) {
            // The last acknowledgement for the socket before is on its way.
            Err(error) if error.kind() == ErrorKind::AddrNotAvailable => None,
            connected => Some(connected.map(|()| socket)),
        }
    };
    let fetch = || {
        world.env(0).run(|| {
            let socket = find(PATIENCE, connect).expect("the tuple is given back");
            let socket = socket.expect("connected");
            http::whoami_on(socket.into()).expect("fetch").peer
        })
    };
    // The server closes first, so the next SYN meets its TIME_WAIT: it is taken
    // for the same client's next connection only if it comes from the same port.
    let first = fetch();
    for _ in 0..10 {
        assert_eq!(fetch(), first);
    }
}
