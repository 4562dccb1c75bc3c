//! What environments may open connections to.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddrV4, TcpStream},
};

use socket2::{Domain, Socket, Type};
use tests::{
    echo::{TcpHold, tcp_exchange},
    netns::Namespace,
    topology::RESOURCE,
    vpc::{ASK, FAR, FARTHER, Rules, SHORT, Vpc, asks, gets_nothing},
    wait::{PATIENCE, eventually},
    world::{ECHO, HTTP},
};
use vpc_common::{drop::DropReason, state::Phase};

/// Echoes of both protocols, everywhere.
const ECHOES: &str = "{ protocol = \"tcp\", ports = \"7\", cidr = \"0.0.0.0/0\" }, \
                      { protocol = \"udp\", ports = \"53\", cidr = \"0.0.0.0/0\" }";

fn egress(text: &str) -> Rules {
    Rules::with(|rules| rules.egress = Some(text.to_owned()))
}

#[test]
fn without_an_egress_rule_nothing_new_leaves_not_even_into_the_own_subnet() {
    let vpc = Vpc::start(egress(""));
    let before = vpc.world.drop_totals();
    for host in [RESOURCE, FAR] {
        vpc.connects_not(host, HTTP.port());
        vpc.asks_not(host);
    }
    vpc.world
        .assert_dropped(&before, &[(DropReason::SgEgress, 4)]);
    assert!(vpc.world.flows().is_empty(), "{:?}", vpc.world.flows());
}

#[test]
fn the_default_security_group_and_a_new_one_let_everything_out() {
    for groups in [vec![], vec!["app".to_owned()]] {
        let vpc = Vpc::start_as(Rules::default(), |plan| {
            plan.tenants[0].security_groups = groups;
        });
        for host in [RESOURCE, FAR] {
            vpc.connect_to_echo(host);
            vpc.ask(host);
        }
        assert_eq!(vpc.world.drop_totals(), [].into());
    }
}

#[test]
fn a_rule_allows_its_protocol_its_ports_and_its_prefix_and_nothing_beside_them() {
    let rule = "{ protocol = \"tcp\", ports = \"8080-8089\", cidr = \"10.0.1.100/30\" }";
    let vpc = Vpc::start(egress(rule));
    let resource = vpc.world.tenant(0);
    let _servers = [8_079, 8_080, 8_089, 8_090].map(|port| TcpHold::echo(resource, port));
    let neighbour = |last| Ipv4Addr::new(10, 0, 1, last);
    for (host, port) in [
        (FAR, 8_080),
        (FAR, 8_089),
        (neighbour(103), 8_080),
        (neighbour(103), 8_089),
    ] {
        vpc.connect(host, port);
    }
    let before = vpc.world.drop_totals();
    vpc.asks_not(FAR);
    for (host, port) in [
        (FAR, 8_079),
        (FAR, 8_090),
        (neighbour(99), 8_080),
        (neighbour(104), 8_089),
    ] {
        vpc.connects_not(host, port);
    }
    vpc.world
        .assert_dropped(&before, &[(DropReason::SgEgress, 5)]);
}

#[test]
fn the_rules_of_all_groups_are_pooled_and_a_group_taken_away_takes_its_rules() {
    let mut rules = egress("{ protocol = \"tcp\", ports = \"7\", cidr = \"0.0.0.0/0\" }");
    rules.more = "\n[[security_group]]\nname = \"dns\"\nvpc = \"blue\"\negress = [\
                  { protocol = \"udp\", ports = \"53\", cidr = \"10.0.1.0/24\" }]\n"
        .to_owned();
    let groups = ["app", "dns"].map(str::to_owned).to_vec();
    let mut vpc = Vpc::start_as(rules, |plan| plan.tenants[0].security_groups = groups);
    vpc.connect_to_echo(FAR);
    vpc.ask(FAR);
    assert_eq!(vpc.world.drop_totals(), [].into());
    vpc.world.plan_mut().tenants[0].security_groups.pop();
    vpc.put(|_| {});
    let before = vpc.world.drop_totals();
    vpc.asks_not(FAR);
    vpc.connect_to_echo(FAR);
    vpc.world
        .assert_dropped(&before, &[(DropReason::SgEgress, 1)]);
}

#[test]
fn what_was_allowed_when_it_opened_goes_on_after_its_rule_is_revoked() {
    let mut vpc = Vpc::start(egress(ECHOES));
    let mut streams = [FAR, RESOURCE].map(|host| vpc.connect_to_echo(host));
    let socket = vpc.socket(FAR);
    let seen = asks(&socket);
    let before = vpc.world.drop_totals();
    for _ in 0..2 {
        vpc.put(|rules| rules.egress = Some(String::new()));
        for stream in &mut streams {
            tcp_exchange(stream, &[7; 20_000]).expect("a tracked connection goes on");
        }
        assert_eq!(asks(&socket).peer, seen.peer, "on the port it had");
    }
    vpc.world.assert_dropped(&before, &[]);
    vpc.connects_not(FAR, ECHO.port());
    vpc.asks_not(FAR);
    vpc.world
        .assert_dropped(&before, &[(DropReason::SgEgress, 2)]);
    vpc.put(|rules| rules.egress = Some(ECHOES.to_owned()));
    vpc.connect_to_echo(FAR);
    vpc.ask(FAR);
    vpc.world
        .assert_dropped(&before, &[(DropReason::SgEgress, 2)]);
}

/// Connects from a given port.
fn connect_from(namespace: &Namespace, port: u16, to: SocketAddrV4) -> std::io::Result<TcpStream> {
    namespace.run(|| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port).into())?;
        socket.connect_timeout(&SocketAddrV4::into(to), SHORT)?;
        Ok(socket.into())
    })
}

#[test]
fn a_new_connection_on_the_ports_of_a_closing_one_is_judged_as_new() {
    const PORT: u16 = 40_000;
    let mut vpc = Vpc::start_as(egress(ECHOES), |plan| {
        plan.tenants[0].timeouts = vec![("fin_both", 900), ("closed", 900)];
    });
    let to = SocketAddrV4::new(FAR, ECHO.port());
    let mut first = connect_from(vpc.world.env(0), PORT, to).expect("connect");
    tcp_exchange(&mut first, b"hello").expect("echo");
    let slot = |vpc: &Vpc| {
        let flows = vpc.world.flows();
        let mine = flows.iter().find(|flow| flow.inside.port() == PORT);
        mine.map(|flow| (flow.slot, flow.outside, flow.state.clone()))
    };
    let open = slot(&vpc).expect("its flow");
    // The server closes first, so that the client's port is free at once.
    for stream in vpc.world.tenants()[0].echo.lock().drain(..) {
        stream.shutdown(std::net::Shutdown::Write).expect("FIN");
    }
    assert_eq!(first.read(&mut [0; 8]).expect("FIN"), 0);
    drop(first);
    let closed = || slot(&vpc).is_some_and(|now| now.2 == Phase::TcpClosed.label());
    assert!(eventually(PATIENCE, closed), "{:?}", slot(&vpc));
    vpc.put(|rules| rules.egress = Some(String::new()));
    let before = vpc.world.drop_totals();
    let refused = connect_from(vpc.world.env(0), PORT, to).expect_err("refused");
    assert_eq!(refused.kind(), ErrorKind::TimedOut);
    vpc.world
        .assert_dropped(&before, &[(DropReason::SgEgress, 1)]);
    vpc.put(|rules| rules.egress = Some(ECHOES.to_owned()));
    let connected = || connect_from(vpc.world.env(0), PORT, to).ok();
    let mut again = tests::wait::find(PATIENCE, connected).expect("allowed again");
    again.write_all(b"hello").expect("write");
    assert_eq!(
        slot(&vpc).map(|now| now.1),
        Some(open.1),
        "on the outside port it had"
    );
    vpc.world
        .assert_dropped(&before, &[(DropReason::SgEgress, 1)]);
}

/// A database in another subnet, found by the group it carries.
fn database(address: Ipv4Addr) -> String {
    format!(
        "\n[[security_group]]\nname = \"db\"\nvpc = \"blue\"\negress = []\n\
         \n[[interface]]\nname = \"database\"\nsubnet = \"db\"\naddress = \"{address}\"\n\
         security_groups = [\"db\"]\n"
    )
}

#[test]
fn a_reference_to_a_group_follows_the_address_of_its_member() {
    let mut rules = egress("{ protocol = \"udp\", ports = \"53\", security_group = \"db\" }");
    rules.more = database(FAR);
    let mut vpc = Vpc::start(rules);
    let socket = vpc.socket(FAR);
    asks(&socket);
    vpc.asks_not(FARTHER);
    let before = vpc.world.drop_totals();
    vpc.put(|rules| rules.more = database(FARTHER));
    vpc.ask(FARTHER);
    asks(&socket);
    vpc.world.assert_dropped(&before, &[]);
    vpc.asks_not(FAR);
    vpc.put(|rules| rules.more = database(FARTHER).replace("[\"db\"]", "[\"blue-default\"]"));
    vpc.asks_not(FARTHER);
    vpc.world
        .assert_dropped(&before, &[(DropReason::SgEgress, 2)]);
}

#[test]
fn an_edit_of_a_prefix_list_holds_for_the_rules_that_name_it() {
    let list = |entries: &str| {
        format!("\n[[prefix_list]]\nname = \"db\"\nmax_entries = 5\nentries = [{entries}]\n")
    };
    let mut rules = egress("{ protocol = \"udp\", ports = \"53\", prefix_list = \"db\" }");
    rules.more = list("\"10.0.1.100/32\"");
    let mut vpc = Vpc::start(rules);
    let socket = vpc.socket(FAR);
    asks(&socket);
    let before = vpc.world.drop_totals();
    vpc.asks_not(FARTHER);
    vpc.put(|rules| rules.more = list("\"10.0.1.101/32\""));
    vpc.ask(FARTHER);
    vpc.asks_not(FAR);
    asks(&socket);
    vpc.put(|rules| rules.more = list(""));
    vpc.asks_not(FARTHER);
    vpc.world
        .assert_dropped(&before, &[(DropReason::SgEgress, 3)]);
}

#[test]
fn the_resolver_of_the_vpc_is_filtered_by_nothing() {
    let vpc = Vpc::start(Rules::with(|rules| {
        // The resolver lies in no subnet of the environment's.
        rules.cidrs = vec!["10.1.0.0/16", "10.0.0.0/16"];
        rules.egress = Some(String::new());
        rules.acl_out = String::new();
        rules.acl_in = String::new();
    }));
    let before = vpc.world.drop_totals();
    let seen = vpc.ask(Ipv4Addr::new(10, 1, 0, 2));
    assert_eq!(seen.tenant, "blue");
    vpc.connect_to_echo(Ipv4Addr::new(10, 1, 0, 2));
    vpc.world.assert_dropped(&before, &[]);
    let beside = vpc.socket(Ipv4Addr::new(10, 1, 0, 3));
    assert_eq!(beside.peer_addr().expect("a peer").port(), ASK);
    gets_nothing(&beside);
    vpc.world
        .assert_dropped(&before, &[(DropReason::SgEgress, 1)]);
}
