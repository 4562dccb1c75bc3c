//! A tenant's network of a given size, as realistic as numbers make it: rules for
//! prefixes of many lengths and their own ports, routes to several appliances, ACLs
//! that deny before they allow.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use vpc_common::state::Timeouts;
use vpc_user::model::{
    AclEntry, Config, Destination, GroupConfig, LocalDelivery, Network, NetworkAcl,
    NetworkInterface, ObjectName, Peer, Route, RouteTable, SecurityGroup, SecurityRule, Subnet,
    Target, Traffic, UplinkConfig, Vpc,
};

use crate::bench::rig::{RESOURCES, object_name, resource};

/// Security groups of an ENI.
const GROUPS: u32 = 5;
/// Rules that go to AWS's quota of a group.
const GROUP_RULES: u32 = 60;

/// The prefix of a rule; every one lies in a /16 of its own.
pub fn cidr(rule: u32) -> Ipv4Net {
    const LENGTHS: [u8; 7] = [32, 24, 28, 16, 20, 32, 26];
    let block = 20 << 24 | (rule % 25_000) << 16;
    let within = scatter(rule) & 0xffff;
    net(block | within, LENGTHS[rule as usize % LENGTHS.len()])
}

/// The first port of a rule; it has 100 or more.
pub fn first_port(rule: u32) -> u16 {
    (8_000 + rule * 37 % 40_000) as u16
}

/// A number that has little to do with the one it is made from.
pub const fn scatter(number: u32) -> u32 {
    number.wrapping_mul(0x85eb_ca6b).rotate_left(13) ^ number.wrapping_mul(0xc2b2_ae35)
}

/// Whether a rule is one for TCP; one in five is for UDP.
const fn is_tcp(rule: u32) -> bool {
    rule % 5 != 4
}

/// Whether a rule is one for the members of its own group; one in 60 is, for UDP.
const fn is_reference(rule: u32) -> bool {
    rule % GROUP_RULES == GROUP_RULES - 1
}

/// The `n`th rule for TCP.
pub const fn tcp_rule(n: u32) -> u32 {
    n / 4 * 5 + n % 4
}

/// How many of so many rules are for TCP.
pub const fn tcp_rules(rules: u32) -> u32 {
    rules / 5 * 4
}

/// The bench's configuration with the group that packets come from in a subnet with
/// so many egress rules, as many routes, and an ACL entry each way for every 25 of
/// them; without any, with the subnet's router only.
pub fn with_rules(base: &Config, rules: u32) -> Config {
    let mut config = base.clone();
    let roomy = &mut config.groups[0];
    if rules == 0 {
        roomy.router = Some(resource(0));
        return config;
    }
    let security_groups = if rules <= GROUP_RULES { 1 } else { GROUPS };
    let names: Vec<ObjectName> = (0..security_groups).map(group_name).collect();
    let vpc = object_name("tenant");
    let subnet = net(roomy.subnet.into(), roomy.prefix_len);
    roomy.subnet_name = Some(object_name("subnet"));
    roomy.security_groups.clone_from(&names);
    let each = rules / security_groups;
    config.network = Network {
        vpcs: vec![Vpc {
            name: vpc.clone(),
            cidrs: vec![net(subnet.network().into(), 16)],
            uplink: roomy.uplink.clone(),
            local: LocalDelivery::OnLink,
        }],
        security_groups: (0..security_groups)
            .map(|group| security_group(group, &vpc, group * each..(group + 1) * each))
            .collect(),
        network_acls: vec![acl(&vpc, rules / 25)],
        route_tables: vec![route_table(&vpc, rules)],
        subnets: vec![in_vpc(&vpc, "subnet", subnet)],
        interfaces: (0..RESOURCES).map(|n| appliance(n, "subnet")).collect(),
        ..Network::default()
    };
    config
}

/// A configuration of so many groups of ENIs, each in a subnet of its own and with
/// five security groups of its own, of 60 rules each.
pub fn with_groups(base: &Config, groups: u32) -> Config {
    const SUBNETS: u32 = 200;
    let mut config = base.clone();
    let (uplink, network) = (config.uplinks[0].clone(), &mut config.network);
    (config.groups, config.uplinks) = (Vec::new(), Vec::new());
    for number in 0..groups.div_ceil(SUBNETS) {
        let vpc = object_name(&format!("vpc-{number}"));
        config.uplinks.push(UplinkConfig {
            name: vpc.clone(),
            ..uplink.clone()
        });
        network.vpcs.push(Vpc {
            name: vpc.clone(),
            cidrs: vec![net(10 << 24 | number << 16, 16)],
            uplink: vpc.clone(),
            local: LocalDelivery::Router,
        });
        network.network_acls.push(acl(&vpc, 20));
        network.route_tables.push(route_table(&vpc, 50));
    }
    for number in 0..groups {
        let vpc = object_name(&format!("vpc-{}", number / SUBNETS));
        let subnet = net(
            10 << 24 | (number / SUBNETS) << 16 | (number % SUBNETS) << 8,
            24,
        );
        let own = in_vpc(&vpc, &format!("subnet-{number}"), subnet);
        let security_groups = number * GROUPS..(number + 1) * GROUPS;
        config
            .groups
            .push(eni_group(&own, number, security_groups.clone()));
        network.subnets.push(own);
        network.security_groups.extend(security_groups.map(|group| {
            security_group(group, &vpc, group * GROUP_RULES..(group + 1) * GROUP_RULES)
        }));
    }
    network.interfaces = (0..RESOURCES).map(|n| appliance(n, "subnet-0")).collect();
    config
}

fn net(address: u32, prefix_len: u8) -> Ipv4Net {
    let net = Ipv4Net::new(address.into(), prefix_len);
    net.expect("a constant that is a length").trunc()
}

fn group_name(number: u32) -> ObjectName {
    object_name(&format!("group-{number}"))
}

/// A group with rules of these numbers.
fn security_group(number: u32, vpc: &ObjectName, rules: std::ops::Range<u32>) -> SecurityGroup {
    let rule = |rule| {
        let first = first_port(rule);
        let ports = first..=first + 99 + (rule % 400) as u16;
        SecurityRule {
            traffic: if is_tcp(rule) {
                Traffic::Tcp(ports)
            } else {
                Traffic::Udp(ports)
            },
            peer: if is_reference(rule) {
                Peer::Group(group_name(number))
            } else {
                Peer::Cidr(cidr(rule))
            },
        }
    };
    SecurityGroup {
        name: group_name(number),
        vpc: vpc.clone(),
        ingress: Vec::new(),
        egress: rules.map(rule).collect(),
    }
}

/// An ACL of so many entries each way: denials of low ports, and one that allows the
/// rest.
fn acl(vpc: &ObjectName, entries: u32) -> NetworkAcl {
    let entry = |number: u32| AclEntry {
        number: number as u16 * 10,
        allow: false,
        traffic: Traffic::Tcp(number as u16 * 20..=number as u16 * 20 + 10),
        cidr: net(20 << 24 | number << 20, 8 + (number % 9) as u8),
    };
    let last = AclEntry {
        number: 32_000,
        allow: true,
        traffic: Traffic::All,
        cidr: net(0, 0),
    };
    let all: Vec<AclEntry> = (1..entries).map(entry).chain([last]).collect();
    NetworkAcl {
        name: object_name(&format!("{vpc}-acl")),
        vpc: vpc.clone(),
        ingress: all.clone(),
        egress: all,
    }
}

/// A table of so many routes: one for every rule's prefix or what lies around it.
fn route_table(vpc: &ObjectName, routes: u32) -> RouteTable {
    let route = |number: u32| {
        let cidr = cidr(number);
        let length = [16, 20, 24, 18][number as usize % 4];
        Route {
            destination: Destination::Cidr(net(
                cidr.network().into(),
                cidr.prefix_len().min(length),
            )),
            target: Target::Interface(appliance_name((number % u32::from(RESOURCES)) as u8)),
        }
    };
    RouteTable {
        name: object_name(&format!("{vpc}-main")),
        vpc: vpc.clone(),
        routes: (0..routes).map(route).collect(),
    }
}

fn appliance_name(number: u8) -> ObjectName {
    object_name(&format!("appliance-{number}"))
}

fn appliance(number: u8, subnet: &str) -> NetworkInterface {
    NetworkInterface {
        name: appliance_name(number),
        subnet: object_name(subnet),
        address: resource(number),
        security_groups: Vec::new(),
    }
}

fn in_vpc(vpc: &ObjectName, name: &str, cidr: Ipv4Net) -> Subnet {
    Subnet {
        name: object_name(name),
        vpc: vpc.clone(),
        cidr,
        router: Some(Ipv4Addr::from(u32::from(cidr.network()) + 1)),
        route_table: object_name(&format!("{vpc}-main")),
        network_acl: object_name(&format!("{vpc}-acl")),
    }
}

fn eni_group(subnet: &Subnet, number: u32, security_groups: std::ops::Range<u32>) -> GroupConfig {
    GroupConfig {
        name: object_name(&format!("enis-{number}")),
        uplink: subnet.vpc.clone(),
        subnet_name: Some(subnet.name.clone()),
        security_groups: security_groups.map(group_name).collect(),
        subnet: subnet.cidr.network(),
        prefix_len: subnet.cidr.prefix_len(),
        router: subnet.router,
        enis: vec![Ipv4Addr::from(u32::from(subnet.cidr.network()) + 10).into()],
        timeouts: Timeouts::AWS,
        connections: 65_000,
    }
}
