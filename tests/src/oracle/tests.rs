//! One test for each sentence of AWS's text.

mod routes;
mod rules;

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use vpc_common::{layout::Limits, state::Timeouts};
use vpc_user::model::{
    AclEntry, Config, Destination, GroupConfig, LocalDelivery, Network, NetworkAcl,
    NetworkInterface, ObjectName, Peer, Peering, PrefixList, Route, RouteTable, SecurityGroup,
    SecurityRule, Subnet, Target, TcAttachment, Traffic, Vpc,
};

use super::*;

fn name(text: &str) -> ObjectName {
    ObjectName::new(text).unwrap()
}

fn ip(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

fn net(text: &str) -> Ipv4Net {
    text.parse().unwrap()
}

fn vpc(vpc: &str, cidrs: &[&str]) -> Vpc {
    Vpc {
        name: name(vpc),
        cidrs: cidrs.iter().map(|cidr| net(cidr)).collect(),
        uplink: name(&format!("up-{vpc}")),
        local: LocalDelivery::Router,
    }
}

fn subnet(vpc: &str, subnet: &str, cidr: &str) -> Subnet {
    Subnet {
        name: name(subnet),
        vpc: name(vpc),
        cidr: net(cidr),
        router: Some(Ipv4Addr::from(u32::from(net(cidr).addr()) + 1)),
        route_table: name(&format!("{vpc}-main")),
        network_acl: name(&format!("{vpc}-default")),
    }
}

fn security_group(vpc: &str, group: &str) -> SecurityGroup {
    SecurityGroup {
        name: name(group),
        vpc: name(vpc),
        ingress: Vec::new(),
        egress: Vec::new(),
    }
}

fn interface(subnet: &str, interface: &str, address: &str, groups: &[&str]) -> NetworkInterface {
    NetworkInterface {
        name: name(interface),
        subnet: name(subnet),
        address: ip(address),
        security_groups: groups.iter().map(|group| name(group)).collect(),
    }
}

fn eni_group(group: &str, subnet: &Subnet, addresses: &[&str], groups: &[&str]) -> GroupConfig {
    GroupConfig {
        name: name(group),
        uplink: name(&format!("up-{}", subnet.vpc)),
        subnet_name: Some(subnet.name.clone()),
        security_groups: groups.iter().map(|group| name(group)).collect(),
        subnet: subnet.cidr.addr(),
        prefix_len: subnet.cidr.prefix_len(),
        router: subnet.router,
        enis: addresses.iter().map(|address| ip(address).into()).collect(),
        timeouts: Timeouts::AWS,
        connections: 65_000,
    }
}

fn allow_all(number: u16) -> AclEntry {
    AclEntry {
        number,
        allow: true,
        traffic: Traffic::All,
        cidr: net("0.0.0.0/0"),
    }
}

fn acl(vpc: &str) -> NetworkAcl {
    NetworkAcl {
        name: name(&format!("{vpc}-default")),
        vpc: name(vpc),
        ingress: vec![allow_all(100)],
        egress: vec![allow_all(100)],
    }
}

fn table(vpc: &str) -> RouteTable {
    RouteTable {
        name: name(&format!("{vpc}-main")),
        vpc: name(vpc),
        routes: Vec::new(),
    }
}

/// Red (10.0.0.0/16 and 10.1.0.0/16) with two subnets, ENIs in the first and a
/// database in the second; green (172.16.0.0/16), its peer; blue, which has red's
/// addresses and nothing to do with it.
fn world() -> Config {
    let near = subnet("red", "near", "10.0.1.0/24");
    let groups = vec![eni_group(
        "red-eni",
        &near,
        &["10.0.1.10", "10.0.1.11"],
        &["red-app"],
    )];
    let network = Network {
        vpcs: vec![
            vpc("red", &["10.0.0.0/16", "10.1.0.0/16"]),
            vpc("green", &["172.16.0.0/16"]),
            vpc("blue", &["10.0.0.0/16"]),
        ],
        subnets: vec![
            near,
            subnet("red", "far", "10.0.2.0/24"),
            subnet("green", "meadow", "172.16.1.0/24"),
            subnet("blue", "sea", "10.0.2.0/24"),
        ],
        security_groups: vec![
            security_group("red", "red-app"),
            security_group("red", "red-other"),
            security_group("red", "red-db"),
            security_group("green", "green-db"),
            security_group("blue", "blue-db"),
        ],
        interfaces: vec![
            interface("far", "db", "10.0.2.20", &["red-db"]),
            interface("meadow", "tree", "172.16.1.20", &["green-db"]),
            interface("sea", "fish", "10.0.2.30", &["blue-db"]),
        ],
        network_acls: ["red", "green", "blue"].map(acl).to_vec(),
        route_tables: ["red", "green", "blue"].map(table).to_vec(),
        prefix_lists: vec![PrefixList {
            name: name("offices"),
            max_entries: 10,
            entries: vec![net("203.0.113.0/24"), net("198.51.100.7/32")],
        }],
        peerings: vec![Peering {
            name: name("red-green"),
            vpcs: [name("red"), name("green")],
            routers: [None, Some(ip("172.16.0.1"))],
        }],
        ..Network::default()
    };
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

fn egress<'c>(config: &'c mut Config, group: &str) -> &'c mut Vec<SecurityRule> {
    let groups = &mut config.network.security_groups;
    let group = groups.iter_mut().find(|g| g.name.as_str() == group);
    &mut group.unwrap().egress
}

fn red_acl(config: &mut Config) -> &mut NetworkAcl {
    &mut config.network.network_acls[0]
}

fn red_routes(config: &mut Config) -> &mut Vec<Route> {
    &mut config.network.route_tables[0].routes
}

fn rule(traffic: Traffic, peer: Peer) -> SecurityRule {
    SecurityRule { traffic, peer }
}

fn cidr(text: &str) -> Peer {
    Peer::Cidr(net(text))
}

fn entry(number: u16, allow: bool, traffic: Traffic, cidr: &str) -> AclEntry {
    AclEntry {
        number,
        allow,
        traffic,
        cidr: net(cidr),
    }
}

fn route(destination: &str, target: Target) -> Route {
    Route {
        destination: Destination::Cidr(net(destination)),
        target,
    }
}

fn oracle(config: &Config) -> Oracle<'_> {
    Oracle::new(config, &name("red-eni"))
}

fn sg_allows(config: &Config, remote: &str, carried: Carried) -> bool {
    oracle(config).security_groups(ip(remote), carried).allows()
}

fn hop(config: &Config, remote: &str) -> Result<(String, Ipv4Addr), Refusal> {
    let outcome = oracle(config).route(ip(remote)).outcome;
    outcome.map(|hop| (hop.uplink.to_string(), hop.address))
}
