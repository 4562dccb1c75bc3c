//! Out by the uplink of a peered VPC, and back by it, and by no other way.

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream, UdpSocket},
    time::Duration,
};

use tests::{
    echo::{UdpEcho, tcp_exchange},
    frame::Ends,
    http,
    plan::{Plan, TenantPlan, uplink_interface},
    tap::Tap,
    topology::{INTERFACE, RESOURCE, RESOURCE_MAC, eni, mac_of},
    vpc::{ASK, FAR, Rules, SHORT, Vpc, asks, gets_nothing},
    world::{ECHO, HTTP},
};
use vpc_common::{drop::DropReason, state::tcp_flags};

/// The resource of the VPC *green*.
const GREEN: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 100);
const ROUTE: &str = "{ destination = \"10.1.0.0/16\", peering = \"blue-green\" }";
const GREEN_VPC: &str = "\n[[vpc]]\nname = \"green\"\ncidr = [\"10.1.0.0/16\"]\nuplink = \"green\"\n\
                         local = \"on-link\"\n\
                         \n[[subnet]]\nname = \"green\"\nvpc = \"green\"\ncidr = \"10.1.0.0/24\"\n\
                         \n[[security_group]]\nname = \"db\"\nvpc = \"green\"\n\
                         \n[[interface]]\nname = \"db\"\nsubnet = \"green\"\naddress = \"10.1.0.100\"\n\
                         security_groups = [\"db\"]\n";
const PEERING: &str = "\n[[peering]]\nname = \"blue-green\"\nvpcs = [\"blue\", \"green\"]\n";

/// The VPC *blue* with its environment, peered with *green*, which has none.
fn peered(change: impl FnOnce(&mut Rules)) -> (Vpc, UdpEcho) {
    let mut rules = Rules::with(|rules| {
        rules.routes = ROUTE.to_owned();
        rules.more = format!("{GREEN_VPC}{PEERING}");
    });
    change(&mut rules);
    let vpc = Vpc::start_as(rules, |plan: &mut Plan| {
        let mut green = TenantPlan::new("green");
        (green.enis, green.hook) = (0, plan.tenants[0].hook);
        plan.tenants.push(green);
    });
    let green = vpc.world.tenant(1);
    green.ip_batch(&format!(
        "addr del {RESOURCE}/24 dev {INTERFACE}\naddr add {GREEN}/16 dev {INTERFACE}\n\
         route add 10.0.0.0/16 dev {INTERFACE}\n"
    ));
    let echo = UdpEcho::start_at(green, SocketAddrV4::new(GREEN, ASK), "green");
    (vpc, echo)
}

#[test]
fn a_peered_vpc_is_reached_by_its_own_uplink_and_answers_by_it() {
    let (mut vpc, _echo) = peered(|_| {});
    let seen = vpc.world.env(0).run(|| http::whoami((GREEN, HTTP.port())));
    let seen = seen.expect("fetch");
    assert_eq!((seen.tenant.as_str(), *seen.peer.ip()), ("green", eni(0)));
    let socket = vpc.socket(GREEN);
    assert_eq!(asks(&socket).tenant, "green");
    let mut stream = vpc.connect_to_echo(GREEN);
    tcp_exchange(&mut stream, &[3; 100_000]).expect("both ways");
    assert_eq!(vpc.ask(FAR).tenant, "blue");
    assert_eq!(vpc.world.drop_totals(), [].into());
    // Without the route the connection is cut, with it it goes on.
    vpc.put(|rules| rules.routes.clear());
    gets_nothing(&socket);
    vpc.world
        .assert_dropped(&[].into(), &[(DropReason::NoRoute, 1)]);
    vpc.put(|rules| rules.routes = ROUTE.to_owned());
    assert_eq!(asks(&socket).tenant, "green");
    tcp_exchange(&mut stream, b"still there").expect("no reset");
}

#[test]
fn a_reference_to_a_group_of_a_peered_vpc_means_its_members_there() {
    let (mut vpc, _echo) = peered(|rules| {
        let rule = "{ protocol = \"udp\", ports = \"53\", security_group = \"db\" }";
        rules.egress = Some(rule.to_owned());
    });
    let socket = vpc.socket(GREEN);
    asks(&socket);
    vpc.asks_not(FAR);
    // Without the peering the reference is stale: it matches nothing.
    vpc.put(|rules| {
        rules.routes = "{ destination = \"10.1.0.0/16\", interface = \"nat\" }".to_owned();
        rules.more = GREEN_VPC.to_owned();
    });
    vpc.asks_not(GREEN);
    vpc.world
        .assert_dropped(&[].into(), &[(DropReason::SgEgress, 2)]);
}

#[test]
fn a_peered_vpc_opens_nothing_and_answers_only_what_went_out_to_it() {
    let (vpc, _echo) = peered(|_| {});
    let (abroad, at_home) = (vpc.socket(GREEN), vpc.socket(FAR));
    let out = asks(&abroad).peer.port();
    let home = asks(&at_home).peer.port();
    let green = vpc.world.tenant(1);
    let inside = Tap::open(vpc.world.env(0));
    let mut expected = 0;
    let mut refused = |count: u64| {
        expected += count;
        vpc.world
            .assert_dropped(&[].into(), &[(DropReason::Unsolicited, expected)]);
    };
    // Connections and datagrams of its own.
    let to = SocketAddr::from((eni(0), HTTP.port()));
    let tried = green.run(|| TcpStream::connect_timeout(&to, SHORT));
    assert_eq!(tried.expect_err("refused").kind(), ErrorKind::TimedOut);
    refused(1);
    green.run(|| {
        let socket = UdpSocket::bind((GREEN, 0)).expect("bind");
        for port in [out, home, 30_000] {
            socket.send_to(b"stranger", (eni(0), port)).expect("send");
        }
    });
    refused(3);
    // Answers for somebody of the other VPC.
    let tap = Tap::open(green);
    let ends = Ends {
        source_mac: RESOURCE_MAC,
        destination_mac: mac_of(vpc.world.host(), &uplink_interface("green")),
        source: SocketAddrV4::new(FAR, ASK),
        destination: SocketAddrV4::new(eni(0), home),
    };
    tap.send(&ends.udp(b"blue 0.0.0.0:0\nforged"));
    refused(1);
    let server = SocketAddrV4::new(GREEN, ECHO.port());
    let syn = Ends {
        source: server,
        ..ends
    };
    tap.send(&syn.tcp(tcp_flags::SYN | tcp_flags::ACK, 1, 1, b""));
    refused(1);
    let strangers = inside.collect(Duration::from_millis(100));
    assert!(
        strangers.iter().all(|frame| frame.packet().is_none()),
        "{strangers:?}"
    );
    asks(&abroad);
    asks(&at_home);
    refused(0);
}
