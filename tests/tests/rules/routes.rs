//! Where packets go, and how open connections follow.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::Ipv4Addr,
};

use tests::{
    echo::tcp_exchange,
    topology::INTERFACE,
    vpc::{BEYOND, FAR, Rules, SHORT, Vpc, asks, gets_nothing},
    wait::PATIENCE,
    world::ECHO,
};
use vpc_common::drop::DropReason;

/// Another interface that routes may lead to, with a MAC of its own.
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 202);
/// Its name in the resource's namespace.
const OTHER_INTERFACE: &str = "eth1";

fn routes(text: &str) -> Rules {
    Rules::with(|rules| rules.routes = text.to_owned())
}

#[test]
fn the_longest_prefix_decides_and_without_a_route_nothing_leaves_the_vpc() {
    let mut vpc = Vpc::start(routes(
        "{ destination = \"203.0.113.128/25\", blackhole = true }, \
         { destination = \"203.0.113.0/24\", interface = \"nat\" }, \
         { destination = \"203.0.113.201/32\", interface = \"nat\" }",
    ));
    let before = vpc.world.drop_totals();
    for host in [BEYOND, Ipv4Addr::new(203, 0, 113, 201), FAR] {
        vpc.ask(host);
        vpc.connect_to_echo(host);
    }
    vpc.world.assert_dropped(&before, &[]);
    vpc.asks_not(Ipv4Addr::new(203, 0, 113, 200));
    vpc.connects_not(Ipv4Addr::new(203, 0, 113, 200), ECHO.port());
    vpc.asks_not(Ipv4Addr::new(198, 51, 100, 1));
    let moved = [(DropReason::Blackhole, 2), (DropReason::NoRoute, 1)];
    vpc.world.assert_dropped(&before, &moved);
    vpc.put(|rules| rules.routes.clear());
    vpc.asks_not(BEYOND);
    vpc.ask(FAR);
    let moved = [(DropReason::Blackhole, 2), (DropReason::NoRoute, 2)];
    vpc.world.assert_dropped(&before, &moved);
}

#[test]
fn link_local_addresses_that_aws_reserves_are_not_forwarded_by_a_default_route() {
    let vpc = Vpc::start(routes(
        "{ destination = \"0.0.0.0/0\", interface = \"nat\" }",
    ));
    let before = vpc.world.drop_totals();
    vpc.ask(BEYOND);
    vpc.asks_not(Ipv4Addr::new(169, 254, 169, 1));
    vpc.world
        .assert_dropped(&before, &[(DropReason::NoRoute, 1)]);
}

#[test]
fn a_blackhole_or_a_missing_route_cuts_open_connections_until_there_is_a_way_again() {
    let way = "{ destination = \"203.0.113.0/24\", interface = \"nat\" }";
    let hole = "{ destination = \"203.0.113.0/24\", blackhole = true }";
    let mut vpc = Vpc::start(routes(way));
    let mut stream = vpc.connect_to_echo(BEYOND);
    let socket = vpc.socket(BEYOND);
    let seen = asks(&socket);
    for (routes, reason) in [(hole, DropReason::Blackhole), ("", DropReason::NoRoute)] {
        let before = vpc.world.drop_totals();
        vpc.put(|rules| rules.routes = routes.to_owned());
        gets_nothing(&socket);
        vpc.world.assert_dropped(&before, &[(reason, 1)]);
        stream.set_read_timeout(Some(SHORT)).expect("timeout");
        stream.write_all(b"wait!").expect("write");
        let mut answer = [0; 5];
        let error = stream.read_exact(&mut answer).expect_err("cut");
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        vpc.put(|rules| rules.routes = way.to_owned());
        stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
        stream.read_exact(&mut answer).expect("it goes on");
        assert_eq!(&answer, b"wait!");
        assert_eq!(asks(&socket).peer, seen.peer);
        vpc.world.assert_only_dropped(&before, &[reason]);
    }
}

fn other_interface() -> String {
    format!("\n[[interface]]\nname = \"other\"\nsubnet = \"app\"\naddress = \"{OTHER}\"\n")
}

/// Gives the resource another interface on the same wire.
fn add_other_interface(vpc: &Vpc) {
    let resource = vpc.world.tenant(0);
    for (key, value) in [("arp_ignore", "1"), ("rp_filter", "0")] {
        resource.write_sysctl(&format!("net/ipv4/conf/all/{key}"), value);
    }
    resource.ip_batch(&format!(
        "link add link {INTERFACE} name {OTHER_INTERFACE} type macvlan mode bridge\n\
         link set {OTHER_INTERFACE} up\naddr add {OTHER}/32 dev {OTHER_INTERFACE}\n"
    ));
    resource.write_sysctl(&format!("net/ipv4/conf/{OTHER_INTERFACE}/rp_filter"), "0");
}

#[test]
fn an_open_connection_follows_its_route_to_another_interface_without_a_reset() {
    const ROUNDS: u64 = 40;
    let route = |to: &str| format!("{{ destination = \"203.0.113.0/24\", interface = \"{to}\" }}");
    let mut vpc = Vpc::start(Rules::with(|rules| {
        rules.routes = route("nat");
        rules.more =
            format!("\n[[interface]]\nname = \"other\"\nsubnet = \"app\"\naddress = \"{OTHER}\"\n");
    }));
    add_other_interface(&vpc);
    let mut stream = vpc.connect_to_echo(BEYOND);
    let socket = vpc.socket(BEYOND);
    let seen = asks(&socket);
    let before = vpc.world.drop_totals();
    for (to, is_other) in [("nat", false), ("other", true), ("nat", false)] {
        vpc.put(|rules| rules.routes = route(to));
        let count = || vpc.world.tenant(0).received(OTHER_INTERFACE).0;
        let start = count();
        for round in 0..ROUNDS {
            tcp_exchange(&mut stream, &[round as u8; 700]).expect("no reset, no loss");
            assert_eq!(asks(&socket).peer, seen.peer);
        }
        let came = count() - start;
        assert_eq!(came >= 2 * ROUNDS, is_other, "{to}: {came} by {OTHER}");
        assert!(is_other || came < ROUNDS, "{to}: {came} by {OTHER}");
    }
    vpc.world.assert_dropped(&before, &[]);
}

#[test]
fn a_route_for_a_whole_subnet_goes_before_the_local_one() {
    const ROUNDS: u64 = 20;
    let mut vpc = Vpc::start(Rules::with(|rules| rules.more = other_interface()));
    add_other_interface(&vpc);
    let socket = vpc.socket(FAR);
    let came = |vpc: &Vpc| {
        let start = vpc.world.tenant(0).received(OTHER_INTERFACE).0;
        (0..ROUNDS).for_each(|_| drop(asks(&socket)));
        vpc.world.tenant(0).received(OTHER_INTERFACE).0 - start
    };
    let local = came(&vpc);
    assert!(local < ROUNDS, "{local} by {OTHER}");
    vpc.put(|rules| {
        rules.routes = "{ destination = \"10.0.1.0/24\", interface = \"other\" }".to_owned();
    });
    let routed = came(&vpc);
    assert!(routed >= ROUNDS, "{routed} by {OTHER}");
    assert_eq!(vpc.world.drop_totals(), [].into());
}
