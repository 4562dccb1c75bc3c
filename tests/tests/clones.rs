//! Five hundred clones with one address, one MAC and one source port.

use std::{collections::HashSet, net::TcpStream};

use socket2::{Domain, Socket, Type};
use tests::{
    echo::tcp_exchange,
    plan::Plan,
    topology::INSIDE,
    wait::{PATIENCE, eventually},
    world::{ECHO, World},
};

const ENVIRONMENTS: usize = 500;
const SOURCE_PORT: u16 = 5_555;

#[test]
fn five_hundred_environments_with_one_source_port_talk_to_one_server_at_once() {
    let world = World::start(Plan::blue(ENVIRONMENTS));
    assert_eq!(world.list().len(), ENVIRONMENTS);
    let mut streams: Vec<_> = (0..ENVIRONMENTS)
        .map(|index| world.env(index).run(connect_from_the_port))
        .collect();
    for round in 0..2 {
        for (index, stream) in streams.iter_mut().enumerate() {
            let line = format!("environment {index}, round {round}");
            tcp_exchange(stream, line.as_bytes()).expect("echo");
        }
    }
    let server = &world.tenants()[0].echo;
    assert!(eventually(PATIENCE, || server.peers().len() == ENVIRONMENTS));
    let distinct: HashSet<_> = server.peers().into_iter().collect();
    assert_eq!(distinct.len(), ENVIRONMENTS);
    let mut flows = world.flows();
    flows.retain(|flow| flow.protocol == "tcp" && flow.inside.port() == SOURCE_PORT);
    assert!(
        flows.iter().all(|flow| flow.state == "established"),
        "{:?}",
        flows.first()
    );
    let names: HashSet<_> = flows.iter().map(|flow| flow.environment.as_str()).collect();
    assert_eq!((flows.len(), names.len()), (ENVIRONMENTS, ENVIRONMENTS));
    assert!(world.drop_totals().is_empty(), "{:?}", world.drop_totals());
}

fn connect_from_the_port() -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket");
    let from = std::net::SocketAddrV4::new(INSIDE, SOURCE_PORT);
    socket.bind(&from.into()).expect("bind");
    socket
        .connect_timeout(&ECHO.into(), PATIENCE)
        .expect("connect");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
    stream
}
