//! Real sockets through the NAT: HTTP and UDP from clones, bulk, many connections.

use std::{collections::HashSet, net::SocketAddr, thread};

use tests::{
    content::expected_digest,
    echo::{udp_exchange, udp_socket},
    http,
    plan::Plan,
    topology::{INSIDE, eni},
    world::{ECHO, HTTP, World},
};

const FIRST_PORT: u16 = 1024;

#[test]
fn clones_with_one_address_reach_each_their_own_tenant() {
    let world = World::start(Plan::new(&["blue", "green"], 2));
    for (index, environment) in world.environments().iter().enumerate() {
        let seen = world.env(index).run(|| http::whoami(HTTP)).expect("fetch");
        assert_eq!(seen.tenant, world.tenants()[environment.tenant].name);
        assert_eq!(*seen.peer.ip(), eni(0));
        assert!(seen.peer.port() >= FIRST_PORT, "{}", seen.peer);
        let flows = world.flows();
        let flow = flows
            .iter()
            .find(|flow| {
                flow.environment == environment.name && flow.outside == SocketAddr::V4(seen.peer)
            })
            .unwrap_or_else(|| panic!("no flow of {}: {flows:?}", environment.name));
        assert_eq!(
            (flow.protocol.as_str(), flow.remote),
            ("tcp", SocketAddr::V4(HTTP))
        );
        assert_eq!(flow.inside.ip(), INSIDE);
        assert!(
            flow.forward_packets >= 4 && flow.reply_packets >= 3,
            "{flow:?}"
        );
    }
}

#[test]
fn udp_is_answered_and_its_flow_becomes_a_stream() {
    let world = World::start(Plan::new(&["blue", "green"], 2));
    for (index, environment) in world.environments().iter().enumerate() {
        let (seen, port) = world.env(index).run(|| {
            let socket = udp_socket(ECHO).expect("socket");
            let seen = udp_exchange(&socket, b"ping").expect("echo");
            (seen, socket.local_addr().expect("address").port())
        });
        assert_eq!(seen.tenant, world.tenants()[environment.tenant].name);
        assert_eq!(
            (*seen.peer.ip(), seen.payload.as_slice()),
            (eni(0), &b"ping"[..])
        );
        let flows = world.flows();
        let flow = flows
            .iter()
            .find(|flow| flow.environment == environment.name && flow.inside.port() == port)
            .unwrap_or_else(|| panic!("no flow of {}: {flows:?}", environment.name));
        assert_eq!(
            (flow.protocol.as_str(), flow.state.as_str()),
            ("udp", "udp_stream")
        );
        assert_eq!(flow.outside, SocketAddr::V4(seen.peer));
        assert_eq!((flow.forward_packets, flow.forward_bytes), (1, 32));
        assert_eq!(flow.reply_packets, 1);
    }
}

#[test]
fn a_source_port_shared_by_clones_stays_apart() {
    let world = World::start(Plan::blue(3));
    let mut outside = HashSet::new();
    let sockets: Vec<_> = (0..3)
        .map(|index| {
            world.env(index).run(|| {
                let socket = std::net::UdpSocket::bind((INSIDE, 5353)).expect("bind");
                socket.connect(ECHO).expect("connect");
                socket
                    .set_read_timeout(Some(tests::wait::PATIENCE))
                    .expect("timeout");
                socket
            })
        })
        .collect();
    for round in 0..3_u8 {
        for (index, socket) in sockets.iter().enumerate() {
            let payload = [round, index as u8];
            let seen = udp_exchange(socket, &payload).expect("echo");
            assert_eq!(seen.payload, payload);
            outside.insert(seen.peer);
        }
    }
    assert_eq!(outside.len(), 3, "one outside port per flow: {outside:?}");
}

#[test]
fn a_file_of_100_mb_arrives_unchanged_each_way() {
    const LEN: u64 = 100_000_000;
    let world = World::start(Plan::blue(1));
    let expected = (LEN, expected_digest(LEN));
    assert_eq!(
        world
            .env(0)
            .run(|| http::download(HTTP, LEN))
            .expect("download"),
        expected
    );
    assert_eq!(
        world
            .env(0)
            .run(|| http::upload(HTTP, LEN))
            .expect("upload"),
        expected
    );
    for namespace in [world.env(0), world.tenant(0)] {
        assert_eq!(namespace.counter("Tcp", "InCsumErrors"), 0);
    }
}

#[test]
fn twenty_thousand_short_connections_do_not_fail() {
    const ENVIRONMENTS: usize = 4;
    let world = World::start(Plan::blue(ENVIRONMENTS));
    let failures: Vec<String> = thread::scope(|scope| {
        let clients: Vec<_> = (0..ENVIRONMENTS)
            .map(|index| {
                let netns = world.env(index);
                scope.spawn(move || {
                    netns.run(|| {
                        (0..20_000 / ENVIRONMENTS)
                            .filter_map(|n| {
                                let outcome = http::whoami(HTTP);
                                outcome.err().map(|error| format!("{index}, {n}: {error}"))
                            })
                            .collect::<Vec<_>>()
                    })
                })
            })
            .collect();
        clients
            .into_iter()
            .flat_map(|client| client.join().expect("client"))
            .collect()
    });
    assert!(
        failures.is_empty(),
        "{} failed: {:?}",
        failures.len(),
        failures.first()
    );
    assert!(world.drop_totals().is_empty(), "{:?}", world.drop_totals());
}
