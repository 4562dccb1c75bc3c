//! What the parts of a configuration come to.

use std::net::Ipv4Addr;

use vpc_common::{
    layout::Limits,
    policy::icmp_port,
    state::{ICMP, TCP, Timeouts, UDP},
};

use super::{super::*, build::*};
use crate::model::{
    AclEntry, Config, Destination, GroupConfig, LocalDelivery, Network, NetworkAcl,
    NetworkInterface, ObjectName, Peer, Peering, PrefixList, Route, RouteTable, SecurityGroup,
    SecurityRule, Subnet, Target, TcAttachment, Traffic, Vpc,
};

fn vpc(vpc: &str, cidr: &str, uplink: &str) -> Vpc {
    Vpc {
        name: name(vpc),
        cidrs: vec![net(cidr)],
        uplink: name(uplink),
        local: LocalDelivery::Router,
    }
}

fn subnet(own: &str, vpc: &str, cidr: &str) -> Subnet {
    let cidr = net(cidr);
    Subnet {
        name: name(own),
        vpc: name(vpc),
        cidr,
        router: Some(Ipv4Addr::from(u32::from(cidr.network()) + 1)),
        route_table: name(&format!("{vpc}-main")),
        network_acl: name(&format!("{vpc}-default")),
    }
}

fn security_group(own: &str, vpc: &str, egress: Vec<(Traffic, Peer)>) -> SecurityGroup {
    SecurityGroup {
        name: name(own),
        vpc: name(vpc),
        ingress: Vec::new(),
        egress: egress
            .into_iter()
            .map(|(traffic, peer)| SecurityRule { traffic, peer })
            .collect(),
    }
}

fn allow_all(vpc: &str) -> NetworkAcl {
    let entry = AclEntry {
        number: 100,
        allow: true,
        traffic: Traffic::All,
        cidr: net("0.0.0.0/0"),
    };
    NetworkAcl {
        name: name(&format!("{vpc}-default")),
        vpc: name(vpc),
        ingress: vec![entry.clone()],
        egress: vec![entry],
    }
}

fn interface(own: &str, subnet: &str, address: [u8; 4], groups: &[&str]) -> NetworkInterface {
    NetworkInterface {
        name: name(own),
        subnet: name(subnet),
        address: address.into(),
        security_groups: groups.iter().map(|group| name(group)).collect(),
    }
}

fn group(own: &str, subnet: &Subnet, security_groups: &[&str]) -> GroupConfig {
    GroupConfig {
        name: name(own),
        uplink: name("up1"),
        subnet_name: Some(subnet.name.clone()),
        security_groups: security_groups.iter().map(|group| name(group)).collect(),
        subnet: subnet.cidr.network(),
        prefix_len: subnet.cidr.prefix_len(),
        router: subnet.router,
        enis: vec![Ipv4Addr::from(u32::from(subnet.cidr.network()) + 10).into()],
        timeouts: Timeouts::AWS,
        connections: 65_000,
    }
}

fn config(network: Network, groups: Vec<GroupConfig>) -> Config {
    Config {
        pin_dir: "/sys/fs/bpf/vpc".into(),
        socket: "/run/vpc.sock".into(),
        limits: Limits::DEFAULT,
        tc: TcAttachment::Auto,
        uplinks: Vec::new(),
        groups,
        network,
        control: None,
        flow_logs: None,
    }
}

/// VPC `a` with two subnets and three groups of ENIs; VPC `b`, peered; VPC `c`, not.
fn example() -> Config {
    let functions = subnet("functions", "a", "10.0.0.0/24");
    let data = subnet("data", "a", "10.0.1.0/24");
    let all = || vec![(Traffic::All, Peer::Cidr(net("0.0.0.0/0")))];
    let https = |peer| (Traffic::Tcp(443..=443), peer);
    let web = vec![
        https(Peer::Group(name("database"))),
        https(Peer::Group(name("far"))),
        https(Peer::Group(name("foreign"))),
        (Traffic::Udp(53..=53), Peer::PrefixList(name("resolvers"))),
    ];
    let groups = vec![
        group("web", &functions, &["web"]),
        group("open", &functions, &["open"]),
        group("both", &data, &["database", "web"]),
    ];
    let network = Network {
        vpcs: vec![
            vpc("a", "10.0.0.0/16", "up1"),
            vpc("b", "10.1.0.0/16", "up2"),
            vpc("c", "10.2.0.0/16", "up3"),
        ],
        prefix_lists: vec![PrefixList {
            name: name("resolvers"),
            max_entries: 10,
            entries: vec![net("9.9.9.0/24"), net("8.8.8.8/32")],
        }],
        security_groups: vec![
            security_group("web", "a", web),
            security_group("open", "a", all()),
            security_group("database", "a", Vec::new()),
            security_group("far", "b", all()),
            security_group("foreign", "c", all()),
        ],
        network_acls: vec![allow_all("a"), allow_all("b"), allow_all("c")],
        route_tables: vec![RouteTable {
            name: name("a-main"),
            vpc: name("a"),
            routes: Vec::new(),
        }],
        subnets: vec![
            functions,
            data,
            subnet("far", "b", "10.1.0.0/24"),
            subnet("foreign", "c", "10.2.0.0/24"),
        ],
        interfaces: vec![
            interface("near", "functions", [10, 0, 0, 77], &["database"]),
            interface("db", "data", [10, 0, 1, 77], &["database"]),
            interface("far", "far", [10, 1, 0, 77], &["far"]),
            interface("foreign", "foreign", [10, 2, 0, 77], &["foreign"]),
        ],
        peerings: vec![Peering {
            name: name("a-b"),
            vpcs: [name("b"), name("a")],
            routers: [Some([192, 0, 2, 1].into()), None],
        }],
        ..Network::default()
    };
    config(network, groups)
}

fn with_routes(routes: Vec<(Destination, Target)>) -> Config {
    let mut config = example();
    config.network.route_tables[0].routes = routes
        .into_iter()
        .map(|(destination, target)| Route {
            destination,
            target,
        })
        .collect();
    config
}

fn to(cidr: &str) -> Destination {
    Destination::Cidr(net(cidr))
}

fn compiled(config: &Config, group: &str) -> Vec<u64> {
    let group = config
        .groups
        .iter()
        .find(|g| g.name == name(group))
        .unwrap();
    image(&source(config, group))
}

fn denials(words: &[u64], remote: [u8; 4], protocol: u8, port: u16) -> u32 {
    evaluate(words, remote.into(), protocol, port).denials
}

/// Where packets to an address go: uplink and next hop.
fn way(words: &[u64], remote: [u8; 4]) -> (u32, Option<(u32, String)>) {
    let egress = evaluate(words, remote.into(), TCP, 443).egress;
    let somewhere = egress.kind >= Egress::ON_LINK;
    (
        egress.kind,
        somewhere.then(|| (egress.uplink, egress.next_hop.to_string())),
    )
}

fn via_of(uplink: u32, address: &str) -> (u32, Option<(u32, String)>) {
    (Egress::VIA, Some((uplink, address.to_owned())))
}

fn on_link(uplink: u32, address: &str) -> (u32, Option<(u32, String)>) {
    (Egress::ON_LINK, Some((uplink, address.to_owned())))
}

const NO_ROUTE: (u32, Option<(u32, String)>) = (Egress::NO_ROUTE, None);
const BLACKHOLE: (u32, Option<(u32, String)>) = (Egress::BLACKHOLE, None);

#[test]
fn a_group_reference_means_the_addresses_that_carry_it() {
    let words = compiled(&example(), "web");
    for remote in [[10, 0, 0, 77], [10, 0, 1, 77], [10, 0, 1, 10]] {
        assert_eq!(denials(&words, remote, TCP, 443), 0, "{remote:?}");
        assert_eq!(denials(&words, remote, TCP, 444), Verdict::SG_DENIES);
    }
    for remote in [[10, 0, 0, 76], [10, 0, 0, 10], [10, 0, 1, 11]] {
        let denied = denials(&words, remote, TCP, 443);
        assert_eq!(denied, Verdict::SG_DENIES, "{remote:?}");
    }
}

#[test]
fn a_group_reference_follows_a_member() {
    let mut config = example();
    config.network.interfaces[1].address = [10, 0, 1, 78].into();
    let words = compiled(&config, "web");
    assert_eq!(denials(&words, [10, 0, 1, 78], TCP, 443), 0);
    assert_eq!(
        denials(&words, [10, 0, 1, 77], TCP, 443),
        Verdict::SG_DENIES
    );
}

#[test]
fn a_group_of_another_vpc_counts_only_across_peering() {
    let mut config = example();
    let words = compiled(&config, "web");
    assert_eq!(denials(&words, [10, 1, 0, 77], TCP, 443), 0);
    assert_eq!(
        denials(&words, [10, 2, 0, 77], TCP, 443),
        Verdict::SG_DENIES
    );
    config.network.peerings.clear();
    let words = compiled(&config, "web");
    assert_eq!(
        denials(&words, [10, 1, 0, 77], TCP, 443),
        Verdict::SG_DENIES
    );
}

#[test]
fn a_prefix_list_means_its_entries() {
    let words = compiled(&example(), "web");
    for (remote, denied) in [
        ([9, 9, 9, 0], 0),
        ([9, 9, 9, 255], 0),
        ([9, 9, 10, 0], Verdict::SG_DENIES),
        ([8, 8, 8, 8], 0),
        ([8, 8, 8, 9], Verdict::SG_DENIES),
    ] {
        assert_eq!(denials(&words, remote, UDP, 53), denied, "{remote:?}");
    }
}

#[test]
fn the_rules_of_all_groups_of_an_interface_are_pooled() {
    let mut config = example();
    assert_ne!(denials(&compiled(&config, "web"), [1, 1, 1, 1], TCP, 80), 0);
    config.groups[0].security_groups = vec![name("open"), name("web")];
    assert_eq!(denials(&compiled(&config, "web"), [1, 1, 1, 1], TCP, 80), 0);
    let group = &config.groups[0];
    let source = source(&config, group);
    let attributed = attribute_out(&source, TCP, [1, 1, 1, 1].into(), 80);
    let SgDecision::Allowed(rule) = attributed.security_groups else {
        panic!("{attributed:?}");
    };
    assert_eq!(rule.rule.to_string(), "egress rule 1 of open");
}

#[test]
fn a_group_without_rules_lets_only_the_unfiltered_out() {
    let mut config = example();
    config.network.security_groups[0].egress.clear();
    config.network.network_acls[0].egress.clear();
    config.network.network_acls[0].ingress.clear();
    let words = compiled(&config, "web");
    for remote in [
        [10, 0, 0, 2],
        [10, 0, 0, 1],
        [169, 254, 169, 253],
        [169, 254, 169, 254],
        [169, 254, 169, 123],
        [169, 254, 169, 250],
        [169, 254, 169, 251],
        [169, 254, 170, 2],
    ] {
        assert_eq!(denials(&words, remote, UDP, 53), 0, "{remote:?}");
        assert_eq!(evaluate_in(&words, remote.into(), UDP, 40_000), 0);
    }
    // Neither the other subnet's third address nor its router.
    for remote in [[10, 0, 1, 2], [10, 0, 1, 1], [169, 254, 169, 252]] {
        let all = Verdict::SG_DENIES | Verdict::ACL_DENIES;
        assert_eq!(denials(&words, remote, UDP, 53), all, "{remote:?}");
    }
}

#[test]
fn an_acl_stands_at_the_border_of_the_subnet_only() {
    let mut config = example();
    config.network.network_acls[0].egress.clear();
    config.network.network_acls[0].ingress.clear();
    let words = compiled(&config, "open");
    for (remote, denied) in [
        ([10, 0, 0, 255], 0),
        ([10, 0, 1, 0], Verdict::ACL_DENIES),
        ([9, 255, 255, 255], Verdict::ACL_DENIES),
    ] {
        assert_eq!(denials(&words, remote, TCP, 443), denied, "{remote:?}");
        assert_eq!(evaluate_in(&words, remote.into(), TCP, 40_000), denied);
    }
}

#[test]
fn acl_entries_go_by_their_numbers() {
    let mut config = example();
    let entry = |number, allow, traffic, cidr: &str| AclEntry {
        number,
        allow,
        traffic,
        cidr: net(cidr),
    };
    config.network.network_acls[0].egress = vec![
        entry(200, true, Traffic::All, "8.8.0.0/16"),
        entry(90, false, Traffic::Tcp(443..=443), "8.0.0.0/8"),
        entry(50, true, Traffic::Icmp(Some(8), None), "0.0.0.0/0"),
    ];
    config.network.network_acls[0].ingress =
        vec![entry(100, true, Traffic::Tcp(1024..=65535), "8.8.8.8/32")];
    let words = compiled(&config, "open");
    let acl = Verdict::ACL_DENIES;
    assert_eq!(denials(&words, [8, 8, 8, 8], TCP, 443), acl);
    assert_eq!(denials(&words, [8, 8, 8, 8], TCP, 444), 0);
    assert_eq!(denials(&words, [8, 9, 0, 0], TCP, 444), acl);
    assert_eq!(denials(&words, [1, 1, 1, 1], ICMP, icmp_port(8, 0)), 0);
    assert_eq!(denials(&words, [1, 1, 1, 1], ICMP, icmp_port(8, 255)), 0);
    assert_eq!(denials(&words, [1, 1, 1, 1], ICMP, icmp_port(9, 0)), acl);
    for (port, denied) in [(1023, acl), (1024, 0), (65_535, 0)] {
        assert_eq!(evaluate_in(&words, [8, 8, 8, 8].into(), TCP, port), denied);
        assert_eq!(evaluate_in(&words, [8, 8, 8, 9].into(), TCP, port), acl);
    }
}

#[test]
fn the_local_route_is_on_the_link_in_the_subnet_and_by_its_router_beyond() {
    let words = compiled(&example(), "web");
    assert_eq!(way(&words, [10, 0, 0, 9]), on_link(1, "10.0.0.9"));
    assert_eq!(way(&words, [10, 0, 1, 9]), via_of(1, "10.0.0.1"));
    assert_eq!(way(&words, [10, 1, 0, 9]), NO_ROUTE);
    assert_eq!(way(&words, [8, 8, 8, 8]), NO_ROUTE);
}

#[test]
fn a_vpc_on_one_link_has_no_routers() {
    let mut config = example();
    config.network.vpcs[0].local = LocalDelivery::OnLink;
    config.network.subnets[0].router = None;
    let words = compiled(&config, "web");
    assert_eq!(way(&words, [10, 0, 0, 9]), on_link(1, "10.0.0.9"));
    assert_eq!(way(&words, [10, 0, 255, 9]), on_link(1, "10.0.255.9"));
}

#[test]
fn a_target_is_an_interface_a_peering_or_gone() {
    let interface = |text| Target::Interface(name(text));
    let config = with_routes(vec![
        (to("1.0.0.0/8"), interface("near")),
        (to("2.0.0.0/8"), interface("db")),
        (to("10.1.0.0/16"), Target::Peering(name("a-b"))),
        (to("3.0.0.0/8"), Target::Blackhole),
        (to("10.0.1.0/24"), interface("near")),
    ]);
    let words = compiled(&config, "web");
    assert_eq!(way(&words, [1, 1, 1, 1]), via_of(1, "10.0.0.77"));
    assert_eq!(way(&words, [2, 1, 1, 1]), via_of(1, "10.0.0.1"));
    assert_eq!(way(&words, [10, 1, 3, 4]), via_of(2, "192.0.2.1"));
    assert_eq!(way(&words, [3, 1, 1, 1]), BLACKHOLE);
    // More specific than local, for a whole subnet.
    assert_eq!(way(&words, [10, 0, 1, 9]), via_of(1, "10.0.0.77"));
    assert_eq!(way(&words, [10, 0, 2, 9]), via_of(1, "10.0.0.1"));
}

#[test]
fn an_interface_is_its_own_next_hop_where_the_vpc_is_one_link() {
    let target = Target::Interface(name("db"));
    let mut config = with_routes(vec![(to("0.0.0.0/0"), target)]);
    config.network.vpcs[0].local = LocalDelivery::OnLink;
    let words = compiled(&config, "web");
    assert_eq!(way(&words, [2, 1, 1, 1]), via_of(1, "10.0.1.77"));
}

#[test]
fn a_peering_without_router_is_on_the_link_of_the_other_vpc() {
    let peering = Target::Peering(name("a-b"));
    let mut config = with_routes(vec![(to("10.1.0.0/16"), peering)]);
    config.network.peerings[0].routers = [None, Some([192, 0, 2, 9].into())];
    let words = compiled(&config, "web");
    assert_eq!(way(&words, [10, 1, 3, 4]), on_link(2, "10.1.3.4"));
}

#[test]
fn the_longest_prefix_wins_and_a_static_route_goes_before_a_list() {
    let near = || Target::Interface(name("near"));
    let mut config = with_routes(vec![
        (Destination::PrefixList(name("resolvers")), near()),
        (to("9.9.9.0/24"), Target::Blackhole),
        (to("8.0.0.0/8"), Target::Blackhole),
        (to("0.0.0.0/0"), near()),
    ]);
    config.network.prefix_lists[0]
        .entries
        .push(net("10.0.0.0/16"));
    let words = compiled(&config, "web");
    assert_eq!(way(&words, [9, 9, 9, 9]), BLACKHOLE);
    assert_eq!(way(&words, [8, 8, 8, 8]), via_of(1, "10.0.0.77"));
    assert_eq!(way(&words, [8, 8, 8, 9]), BLACKHOLE);
    assert_eq!(way(&words, [7, 8, 8, 9]), via_of(1, "10.0.0.77"));
    // The local route gives way to nothing of its own length.
    assert_eq!(way(&words, [10, 0, 1, 1]), via_of(1, "10.0.0.1"));
    let source = source(&config, &config.groups[0]);
    let RouteDecision::Route(route) = attribute_route(&source, [8, 8, 8, 8].into()) else {
        panic!("no route");
    };
    let said = route.name.to_string();
    assert_eq!(said, "route 1 of a-main (prefix list resolvers)");
}

#[test]
fn the_reserved_range_is_never_forwarded() {
    let near = Target::Interface(name("near"));
    let config = with_routes(vec![(to("0.0.0.0/0"), near)]);
    let words = compiled(&config, "web");
    let forwarded = via_of(1, "10.0.0.77");
    for (remote, expected) in [
        ([169, 254, 167, 255], forwarded.clone()),
        ([169, 254, 168, 0], NO_ROUTE),
        ([169, 254, 169, 254], NO_ROUTE),
        ([169, 254, 171, 255], NO_ROUTE),
        ([169, 254, 172, 0], forwarded),
    ] {
        assert_eq!(way(&words, remote), expected, "{remote:?}");
    }
}

#[test]
fn a_group_without_vpc_is_free_to_go_where_it_can() {
    let mut config = example();
    config.groups[0].subnet_name = None;
    config.groups[0].security_groups.clear();
    let words = compiled(&config, "web");
    for remote in [[10, 0, 0, 9], [8, 8, 8, 8], [169, 254, 169, 254]] {
        assert_eq!(denials(&words, remote, TCP, 1), 0);
        assert_eq!(denials(&words, remote, ICMP, 0), 0);
        assert_eq!(evaluate_in(&words, remote.into(), UDP, 40_000), 0);
    }
    assert_eq!(way(&words, [10, 0, 0, 9]), on_link(1, "10.0.0.9"));
    assert_eq!(way(&words, [8, 8, 8, 8]), via_of(1, "10.0.0.1"));
    config.groups[0].router = None;
    assert_eq!(way(&compiled(&config, "web"), [8, 8, 8, 8]), NO_ROUTE);
}

#[test]
fn a_group_whose_subnet_is_not_there_is_closed() {
    let mut config = example();
    config.groups[0].subnet_name = Some(name("gone"));
    let words = compiled(&config, "web");
    let all = Verdict::SG_DENIES | Verdict::ACL_DENIES;
    assert_eq!(denials(&words, [8, 8, 8, 8], TCP, 443), all);
    assert_eq!(way(&words, [10, 0, 0, 9]), NO_ROUTE);
}

#[test]
fn rules_of_protocols_that_are_not_carried_match_nothing() {
    let mut config = example();
    let anywhere = || Peer::Cidr(net("0.0.0.0/0"));
    config.network.security_groups[0].egress = [Traffic::Other(47), Traffic::Other(6)]
        .map(|traffic| SecurityRule {
            traffic,
            peer: anywhere(),
        })
        .to_vec();
    let words = compiled(&config, "web");
    assert_eq!(denials(&words, [8, 8, 8, 8], 47, 0), 3);
    // A number that has a name of its own means that protocol.
    assert_eq!(denials(&words, [8, 8, 8, 8], TCP, 443), 0);
    assert_eq!(denials(&words, [8, 8, 8, 8], UDP, 443), Verdict::SG_DENIES);
}

#[test]
fn names_do_not_matter_to_an_image() {
    let config = example();
    let mut renamed = config.clone();
    for group in &mut renamed.groups {
        group.name = ObjectName::new(format!("{}-2", group.name)).unwrap();
    }
    assert_eq!(compiled(&config, "web"), compiled(&renamed, "web-2"));
}
