//! Whole configurations.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use vpc_common::{layout::Limits, state::Timeouts};
use vpc_user::model::{
    AclEntry, Config, Destination, GroupConfig, HookWish, LocalDelivery, Network, NetworkAcl,
    ObjectName, Peer, PrefixList, Quotas, Route, RouteTable, SecurityGroup, SecurityRule, Subnet,
    Target, TcAttachment, Traffic, UplinkConfig, Vpc,
};

use super::{
    Dice,
    places::{self, name, prefix},
    traffic::traffic,
};
use crate::oracle::{broadcast, contains, network};

/// How many rules there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Size {
    /// Up to 20 rules of a security group.
    Usual,
    /// Up to 300.
    Large,
}

impl Size {
    fn rules(self, dice: &mut Dice) -> usize {
        match self {
            // Nothing but the refusals that come of having no rule would be seen if
            // every group were full.
            Self::Usual => match dice.roll(4) {
                0 => dice.between(0, 2),
                _ => dice.between(0, 20),
            },
            Self::Large => dice.between(100, 300),
        }
    }
}

/// Prefixes that everything else is about.
const WORLD: [&str; 16] = [
    "0.0.0.0/0",
    "0.0.0.0/0",
    "0.0.0.0/1",
    "128.0.0.0/1",
    "0.0.0.0/32",
    "255.255.255.255/32",
    "10.0.0.0/8",
    "10.0.0.0/15",
    "169.254.0.0/16",
    "169.254.164.0/22",
    "169.254.172.0/22",
    "169.254.169.253/32",
    "203.0.113.0/24",
    "203.0.113.0/25",
    "203.0.113.128/25",
    "203.0.113.128/32",
];

/// A valid configuration out of a number: what validation promises in the model holds.
pub fn config(seed: u64, size: Size) -> Config {
    let mut dice = Dice::new(seed);
    let dice = &mut dice;
    let mut made = Network {
        vpcs: places::vpcs(dice),
        ..Network::default()
    };
    made.peerings = places::peerings(dice, &made.vpcs);
    let mut groups = Vec::new();
    for vpc in &made.vpcs.clone() {
        populate(dice, vpc, &mut made, &mut groups);
    }
    let pool = prefixes(dice, &made, &groups);
    made.prefix_lists = prefix_lists(dice, &pool);
    security_rules(dice, &mut made, &pool, size);
    for vpc in &made.vpcs.clone() {
        acls(dice, vpc, &mut made, &pool);
        route_tables(dice, vpc, &mut made, &pool);
    }
    for group in &mut groups {
        let subnets = &mut made.subnets.iter();
        let subnet = subnets.find(|s| group.subnet_name.as_ref() == Some(&s.name));
        group.router = subnet.and_then(|subnet| subnet.router);
    }
    if dice.one_in(3) {
        groups.push(group_without_vpc(dice, &made));
    }
    made.quotas = Quotas {
        rules_per_security_group: 1_000,
        rules_per_interface: 10_000,
        ..Quotas::default()
    };
    Config {
        pin_dir: "/sys/fs/bpf/vpc".into(),
        socket: "/run/vpc.sock".into(),
        limits: Limits::DEFAULT,
        tc: TcAttachment::Auto,
        uplinks: made.vpcs.iter().map(uplink).collect(),
        groups,
        network: made,
        control: None,
        flow_logs: None,
    }
}

fn uplink(vpc: &Vpc) -> UplinkConfig {
    UplinkConfig {
        name: vpc.uplink.clone(),
        interface: vpc.uplink.to_string(),
        shared: false,
        hook: HookWish::Auto,
        peer_netns: None,
    }
}

/// Subnets, interfaces, groups of ENIs and empty security groups of a VPC.
fn populate(dice: &mut Dice, vpc: &Vpc, made: &mut Network, groups: &mut Vec<GroupConfig>) {
    let subnets = places::subnets(dice, vpc);
    let mut names = vec![name(format!("{}-default", vpc.name))];
    names.extend((0..dice.between(0, 4)).map(|n| name(format!("{}-sg{n}", vpc.name))));
    let mut taken = Vec::new();
    for number in 0..dice.between(1, 3) {
        let subnet = dice.pick(&subnets);
        let mut addresses = Vec::new();
        for _ in 0..dice.between(1, 3) {
            if let Some(address) = places::free_address(dice, subnet, &taken) {
                taken.push(address);
                addresses.push(address);
            }
        }
        if addresses.is_empty() {
            continue;
        }
        let mut security_groups = dice.some(&names, 5);
        if security_groups.is_empty() {
            security_groups.push(names[0].clone());
        }
        security_groups.sort();
        groups.push(GroupConfig {
            name: name(format!("{}-eni{number}", vpc.name)),
            uplink: vpc.uplink.clone(),
            subnet_name: Some(subnet.name.clone()),
            security_groups,
            subnet: subnet.cidr.addr(),
            prefix_len: subnet.cidr.prefix_len(),
            router: subnet.router,
            enis: addresses.into_iter().map(Into::into).collect(),
            timeouts: Timeouts::AWS,
            connections: 65_000,
        });
    }
    let interfaces = places::interfaces(dice, vpc, &subnets, &names, &mut taken);
    made.interfaces.extend(interfaces);
    made.subnets.extend(subnets);
    let group = |name: ObjectName| SecurityGroup {
        name,
        vpc: vpc.name.clone(),
        ingress: Vec::new(),
        egress: Vec::new(),
    };
    made.security_groups.extend(names.into_iter().map(group));
}

fn group_without_vpc(dice: &mut Dice, made: &Network) -> GroupConfig {
    GroupConfig {
        name: name("bare"),
        uplink: made.vpcs[0].uplink.clone(),
        subnet_name: None,
        security_groups: Vec::new(),
        subnet: Ipv4Addr::new(192, 0, 2, 0),
        prefix_len: 24,
        router: dice.one_in(2).then_some(Ipv4Addr::new(192, 0, 2, 1)),
        enis: vec![Ipv4Addr::new(192, 0, 2, 10).into()],
        timeouts: Timeouts::AWS,
        connections: 65_000,
    }
}

/// What rules are written about: the blocks and members of the network, what lies
/// beside, around and inside them, and the rest of the world.
fn prefixes(dice: &mut Dice, made: &Network, groups: &[GroupConfig]) -> Vec<Ipv4Net> {
    let mut pool: Vec<Ipv4Net> = made.vpcs.iter().flat_map(|vpc| vpc.cidrs.clone()).collect();
    pool.extend(made.subnets.iter().map(|subnet| subnet.cidr));
    let members = made.interfaces.iter().map(|i| i.address);
    let enis = groups
        .iter()
        .flat_map(|group| &group.enis)
        .map(|eni| eni.address);
    pool.extend(
        members
            .chain(enis)
            .map(|address| prefix(address.into(), 32)),
    );
    for base in pool.clone() {
        let length = base.prefix_len();
        let mut add = |address: u32, length: u8| pool.push(prefix(address, length));
        match dice.roll(4) {
            0 => add(network(base), length - 1),
            1 => add(broadcast(base), (length + 1).min(32)),
            2 => add(broadcast(base).wrapping_add(1), length),
            _ => add(network(base).wrapping_sub(1), length),
        }
    }
    pool.extend(
        WORLD
            .iter()
            .map(|text| text.parse::<Ipv4Net>().expect("a prefix")),
    );
    pool
}

fn prefix_lists(dice: &mut Dice, pool: &[Ipv4Net]) -> Vec<PrefixList> {
    let list = |number: usize| {
        let mut entries: Vec<Ipv4Net> = Vec::new();
        for _ in 0..dice.between(0, 6) {
            let entry = *dice.pick(pool);
            if !entries.contains(&entry) {
                entries.push(entry);
            }
        }
        PrefixList {
            name: name(format!("pl{number}")),
            max_entries: 10,
            entries,
        }
    };
    let count = 3;
    (0..count).map(list).collect()
}

fn security_rules(dice: &mut Dice, made: &mut Network, pool: &[Ipv4Net], size: Size) {
    let names: Vec<_> = made
        .security_groups
        .iter()
        .map(|g| g.name.clone())
        .collect();
    let lists: Vec<_> = made.prefix_lists.iter().map(|l| l.name.clone()).collect();
    for group in &mut made.security_groups {
        let everywhere = Peer::Cidr(prefix(0, 0));
        if dice.one_in(6) {
            group.egress.push(SecurityRule {
                traffic: Traffic::All,
                peer: everywhere,
            });
            continue;
        }
        let mut last = 0;
        for _ in 0..size.rules(dice) {
            let peer = match dice.roll(8) {
                0 => Peer::PrefixList(dice.pick(&lists).clone()),
                1..=2 => Peer::Group(dice.pick(&names).clone()),
                _ => Peer::Cidr(*dice.pick(pool)),
            };
            let traffic = traffic(dice, &mut last);
            let rule = SecurityRule { traffic, peer };
            if !group.egress.contains(&rule) {
                group.egress.push(rule);
            }
        }
    }
}

fn acls(dice: &mut Dice, vpc: &Vpc, made: &mut Network, pool: &[Ipv4Net]) {
    let own = |number: usize| match number {
        0 => name(format!("{}-default", vpc.name)),
        _ => name(format!("{}-acl{number}", vpc.name)),
    };
    let names: Vec<_> = (0..=dice.between(0, 2)).map(own).collect();
    for (number, name) in names.iter().enumerate() {
        let untouched = number == 0 && dice.one_in(2);
        made.network_acls.push(NetworkAcl {
            name: name.clone(),
            vpc: vpc.name.clone(),
            ingress: entries(dice, pool, untouched),
            egress: entries(dice, pool, untouched),
        });
    }
    for subnet in made.subnets.iter_mut().filter(|s| s.vpc == vpc.name) {
        subnet.network_acl = dice.pick(&names).clone();
    }
}

/// Entries of one direction; `untouched` as AWS makes the default ACL.
fn entries(dice: &mut Dice, pool: &[Ipv4Net], untouched: bool) -> Vec<AclEntry> {
    let allow_all = |number: u16| AclEntry {
        number,
        allow: true,
        traffic: Traffic::All,
        cidr: prefix(0, 0),
    };
    if untouched {
        return vec![allow_all(100)];
    }
    let mut entries = Vec::new();
    let (mut number, mut last) = (0, 0);
    for _ in 0..dice.between(0, 10) {
        number += *dice.pick(&[1, 1, 10, 100, 3_000]);
        entries.push(AclEntry {
            number,
            allow: !dice.one_in(3),
            traffic: traffic(dice, &mut last),
            cidr: *dice.pick(pool),
        });
    }
    if dice.one_in(2) {
        entries.push(allow_all(32_766));
    }
    entries
}

fn route_tables(dice: &mut Dice, vpc: &Vpc, made: &mut Network, pool: &[Ipv4Net]) {
    let own = |number: usize| match number {
        0 => name(format!("{}-main", vpc.name)),
        _ => name(format!("{}-table{number}", vpc.name)),
    };
    let names: Vec<_> = (0..=dice.between(0, 2)).map(own).collect();
    for name in &names {
        let mut routes: Vec<Route> = Vec::new();
        for _ in 0..dice.between(0, 8) {
            let Some(route) = route(dice, vpc, made, pool) else {
                continue;
            };
            if !routes.iter().any(|r| r.destination == route.destination) {
                routes.push(route);
            }
        }
        made.route_tables.push(RouteTable {
            name: name.clone(),
            vpc: vpc.name.clone(),
            routes,
        });
    }
    for subnet in made.subnets.iter_mut().filter(|s| s.vpc == vpc.name) {
        subnet.route_table = dice.pick(&names).clone();
        let table = made
            .route_tables
            .iter()
            .find(|t| t.name == subnet.route_table);
        let routes = table.map_or(&[][..], |table| &table.routes);
        let leads_to_interface = routes
            .iter()
            .any(|r| matches!(r.target, Target::Interface(_)));
        // An interface in another subnet is reached by the router, which must exist.
        if leads_to_interface && vpc.local == LocalDelivery::Router && subnet.router.is_none() {
            subnet.router = Some(Ipv4Addr::from(network(subnet.cidr) + 1));
        }
    }
}

/// A route that AWS accepts, if chance comes upon one.
fn route(dice: &mut Dice, vpc: &Vpc, made: &Network, pool: &[Ipv4Net]) -> Option<Route> {
    let target = target(dice, vpc, made);
    if let Target::Peering(name) = &target {
        return peering_route(dice, vpc, made, name, target.clone());
    }
    let fits = |prefix: Ipv4Net| is_routable(vpc, made, prefix, &target);
    if dice.one_in(4) {
        let all_fit = |list: &&PrefixList| list.entries.iter().all(|entry| fits(*entry));
        let lists: Vec<_> = made.prefix_lists.iter().filter(all_fit).collect();
        let list = lists.get(dice.roll(3))?;
        let destination = Destination::PrefixList(list.name.clone());
        return Some(Route {
            destination,
            target,
        });
    }
    let is_interface = matches!(target, Target::Interface(_));
    let destination = if is_interface && dice.one_in(2) {
        let subnets = made.subnets.iter().filter(|s| s.vpc == vpc.name);
        dice.pick(&subnets.collect::<Vec<_>>()).cidr
    } else {
        *dice.pick(pool)
    };
    fits(destination).then_some(Route {
        destination: Destination::Cidr(destination),
        target,
    })
}

/// Whether a route may have a destination: one in a block of the VPC must be a whole
/// subnet, less than the block, by an interface.
fn is_routable(vpc: &Vpc, made: &Network, destination: Ipv4Net, target: &Target) -> bool {
    let is_in = |outer: &Ipv4Net| {
        contains(*outer, destination.addr()) && destination.prefix_len() >= outer.prefix_len()
    };
    if is_in(&prefix(0xa9fe_a800, 22)) {
        return false;
    }
    let Some(block) = vpc.cidrs.iter().find(|cidr| is_in(cidr)) else {
        return true;
    };
    let mut subnets = made.subnets.iter().filter(|s| s.vpc == vpc.name);
    *block != destination
        && matches!(target, Target::Interface(_))
        && subnets.any(|subnet| subnet.cidr == destination)
}

fn target(dice: &mut Dice, vpc: &Vpc, made: &Network) -> Target {
    let of_vpc = |subnet: &ObjectName| {
        let is_it = |s: &&Subnet| s.name == *subnet && s.vpc == vpc.name;
        made.subnets.iter().any(|s| is_it(&s))
    };
    let interfaces: Vec<_> = made
        .interfaces
        .iter()
        .filter(|i| of_vpc(&i.subnet))
        .collect();
    let is_ours = |p: &&vpc_user::model::Peering| p.vpcs.contains(&vpc.name);
    let peerings: Vec<_> = made.peerings.iter().filter(is_ours).collect();
    match dice.roll(5) {
        0..=1 if !interfaces.is_empty() => Target::Interface(dice.pick(&interfaces).name.clone()),
        2..=3 if !peerings.is_empty() => Target::Peering(dice.pick(&peerings).name.clone()),
        _ => Target::Blackhole,
    }
}

/// A route to the other VPC: to a block of it or to part of one.
fn peering_route(
    dice: &mut Dice,
    vpc: &Vpc,
    made: &Network,
    peering: &ObjectName,
    target: Target,
) -> Option<Route> {
    let peering = made.peerings.iter().find(|p| p.name == *peering)?;
    let other = peering.vpcs.iter().find(|name| **name != vpc.name)?;
    let other = made.vpcs.iter().find(|vpc| vpc.name == *other)?;
    let block = *dice.pick(&other.cidrs);
    let destination = match dice.roll(4) {
        0 => prefix(network(block), (block.prefix_len() + 1).min(32)),
        1 => prefix(broadcast(block), 32),
        _ => block,
    };
    Some(Route {
        destination: Destination::Cidr(destination),
        target,
    })
}
