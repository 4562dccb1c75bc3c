//! VPCs, subnets, and who is in them.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use vpc_user::model::{LocalDelivery, NetworkInterface, ObjectName, Peering, Subnet, Vpc};

use super::Dice;
use crate::oracle::{broadcast, contains, network, overlap};

/// Blocks that tenants choose from: few, so that they collide, nest and touch.
const BLOCKS: [&str; 9] = [
    "10.0.0.0/16",
    "10.0.0.0/20",
    "10.0.16.0/20",
    "10.0.128.0/17",
    "10.1.0.0/16",
    "172.16.0.0/24",
    "172.16.1.0/24",
    "192.168.0.0/28",
    "223.255.0.0/16",
];
/// Names of tenants.
const TENANTS: [&str; 3] = ["red", "green", "blue"];

/// A name.
pub fn name(text: impl Into<String>) -> ObjectName {
    ObjectName::new(text).expect("generated names are well formed")
}

/// A prefix out of an address of it and a length.
pub fn prefix(address: u32, length: u8) -> Ipv4Net {
    let prefix = Ipv4Net::new(Ipv4Addr::from(address), length);
    prefix.expect("a valid length").trunc()
}

/// One to three VPCs, each on an uplink of its own.
pub fn vpcs(dice: &mut Dice) -> Vec<Vpc> {
    let count = dice.between(1, TENANTS.len());
    let vpc = |tenant: &&str| {
        let mut cidrs: Vec<Ipv4Net> = Vec::new();
        for _ in 0..dice.between(1, 3) {
            let block: Ipv4Net = dice.pick(&BLOCKS).parse().expect("blocks are prefixes");
            if !cidrs.iter().any(|cidr| overlap(*cidr, block)) {
                cidrs.push(block);
            }
        }
        Vpc {
            name: name(*tenant),
            cidrs,
            uplink: name(format!("up-{tenant}")),
            local: match dice.roll(2) {
                0 => LocalDelivery::Router,
                _ => LocalDelivery::OnLink,
            },
        }
    };
    TENANTS[..count].iter().map(vpc).collect()
}

/// A VPC's subnets, on its default table and ACL.
pub fn subnets(dice: &mut Dice, vpc: &Vpc) -> Vec<Subnet> {
    let mut subnets: Vec<Subnet> = Vec::new();
    for _ in 0..dice.between(1, 4) {
        let block = *dice.pick(&vpc.cidrs);
        let length = match dice.roll(4) {
            0 => block.prefix_len(),
            1 => 28,
            _ => dice.between(block.prefix_len().into(), 28) as u8,
        };
        let address = match (dice.roll(3), subnets.last()) {
            (0, Some(last)) => broadcast(last.cidr).wrapping_add(1),
            (1, _) => broadcast(block),
            _ => network(block),
        };
        let cidr = prefix(address, length);
        let is_within = contains(block, cidr.addr());
        if !is_within || subnets.iter().any(|s| overlap(s.cidr, cidr)) {
            continue;
        }
        let router = match dice.roll(4) {
            0 => None,
            1 => Some(broadcast(cidr) - 1),
            _ => Some(network(cidr) + 1),
        };
        subnets.push(Subnet {
            name: name(format!("{}-{}", vpc.name, subnets.len())),
            vpc: vpc.name.clone(),
            cidr,
            router: router.map(Ipv4Addr::from),
            route_table: name(format!("{}-main", vpc.name)),
            network_acl: name(format!("{}-default", vpc.name)),
        });
    }
    subnets
}

/// An address that nobody in the VPC has yet and that interfaces may have: not one of
/// the first four of a subnet, not the last, not a router.
pub fn free_address(dice: &mut Dice, subnet: &Subnet, taken: &[Ipv4Addr]) -> Option<Ipv4Addr> {
    let (first, last) = (network(subnet.cidr) + 4, broadcast(subnet.cidr) - 1);
    for _ in 0..8 {
        let address = Ipv4Addr::from(match dice.roll(4) {
            0 => first,
            1 => last,
            2 => first + 1,
            _ => first + dice.roll((last - first + 1) as usize) as u32,
        });
        if !taken.contains(&address) && subnet.router != Some(address) {
            return Some(address);
        }
    }
    None
}

/// Interfaces of others in a VPC, with some of its security groups.
pub fn interfaces(
    dice: &mut Dice,
    vpc: &Vpc,
    subnets: &[Subnet],
    groups: &[ObjectName],
    taken: &mut Vec<Ipv4Addr>,
) -> Vec<NetworkInterface> {
    let mut interfaces = Vec::new();
    for number in 0..dice.between(0, 5) {
        let subnet = dice.pick(subnets);
        let Some(address) = free_address(dice, subnet, taken) else {
            continue;
        };
        taken.push(address);
        let mut security_groups = dice.some(groups, 3);
        if security_groups.is_empty() {
            security_groups.push(groups[0].clone());
        }
        security_groups.sort();
        interfaces.push(NetworkInterface {
            name: name(format!("{}-if{number}", vpc.name)),
            subnet: subnet.name.clone(),
            address,
            security_groups,
        });
    }
    interfaces
}

/// Peering connections between some VPCs whose blocks are disjoint.
pub fn peerings(dice: &mut Dice, vpcs: &[Vpc]) -> Vec<Peering> {
    let mut peerings = Vec::new();
    for (index, one) in vpcs.iter().enumerate() {
        for other in &vpcs[index + 1..] {
            let mut pairs = one
                .cidrs
                .iter()
                .flat_map(|a| other.cidrs.iter().map(move |b| (a, b)));
            let collide = pairs.any(|(a, b)| overlap(*a, *b));
            if collide || dice.one_in(4) {
                continue;
            }
            let mut router = |vpc: &Vpc| {
                let address = Ipv4Addr::from(network(vpc.cidrs[0]) + 1);
                (!dice.one_in(3)).then_some(address)
            };
            peerings.push(Peering {
                name: name(format!("{}-{}", one.name, other.name)),
                vpcs: [one.name.clone(), other.name.clone()],
                routers: [router(one), router(other)],
            });
        }
    }
    peerings
}
