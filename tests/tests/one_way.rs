//! Nothing in the VPC opens a connection to an environment.

use std::{
    io::ErrorKind,
    net::{SocketAddr, SocketAddrV4, TcpStream, UdpSocket},
    time::Duration,
};

use tests::{
    echo::{udp_exchange, udp_socket},
    frame::Ends,
    plan::Plan,
    tap::Tap,
    topology::eni,
    world::{ECHO, World},
};
use vpc_common::{drop::DropReason, state::tcp_flags};

/// Shorter than the first retransmission of a SYN.
const SHORT: Duration = Duration::from_millis(700);

#[test]
fn a_connection_attempt_from_the_vpc_gets_nothing_and_is_counted() {
    let world = World::start(Plan::blue(1));
    let inside = Tap::open(world.env(0));
    let before = world.drop_totals();
    for port in [80, 30_000] {
        let to = SocketAddr::V4(SocketAddrV4::new(eni(0), port));
        let outcome = world
            .tenant(0)
            .run(|| TcpStream::connect_timeout(&to, SHORT));
        assert_eq!(
            outcome.expect_err("no connection").kind(),
            ErrorKind::TimedOut
        );
    }
    world.tenant(0).run(|| {
        let socket = UdpSocket::bind(("0.0.0.0", 0)).expect("bind");
        socket.send_to(b"hello", (eni(0), 30_000)).expect("send");
    });
    world.assert_dropped(&before, &[(DropReason::Unsolicited, 3)]);
    let strangers = inside.collect(Duration::from_millis(100));
    assert!(
        strangers.iter().all(|frame| frame.packet().is_none()),
        "{strangers:?}"
    );
}

#[test]
fn only_the_peer_of_a_flow_may_answer_it() {
    let world = World::start(Plan::blue(1));
    let socket = world.env(0).run(|| udp_socket(ECHO)).expect("socket");
    let seen = udp_exchange(&socket, b"ping").expect("echo");
    let inside = Tap::open(world.env(0));
    let before = world.drop_totals();
    world.tenant(0).run(|| {
        let other_port = UdpSocket::bind(("0.0.0.0", 0)).expect("bind");
        other_port.send_to(b"stranger", seen.peer).expect("send");
    });
    world.assert_dropped(&before, &[(DropReason::Unsolicited, 1)]);
    // The port is that of a UDP flow: TCP has a pool of its own.
    let resource = Tap::open(world.tenant(0));
    let ends = world.inbound(0, ECHO.port(), seen.peer.port());
    resource.send(&ends.tcp(tcp_flags::SYN, 1, 0, b""));
    let source = SocketAddrV4::new([10, 0, 0, 101].into(), ECHO.port());
    resource.send(&Ends { source, ..ends }.udp(b"other address"));
    world.assert_dropped(&before, &[(DropReason::Unsolicited, 3)]);
    let strangers = inside.collect(Duration::from_millis(100));
    assert!(
        strangers.iter().all(|frame| frame.packet().is_none()),
        "{strangers:?}"
    );
    assert_eq!(
        udp_exchange(&socket, b"again").expect("echo").peer,
        seen.peer
    );
}
