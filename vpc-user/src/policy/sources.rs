//! From the configuration to the source of a group's policy: names become prefixes
//! and next hops.

use std::{cmp::Reverse, net::Ipv4Addr};

use ipnet::Ipv4Net;

use super::{
    directory::{Directory, Members, find},
    source::{AclRule, Hop, RouteName, RouteRule, RuleName, SgRule, Source},
};
use crate::model::{
    AclEntry, Config, Destination, GroupConfig, LocalDelivery, Network, NetworkAcl,
    NetworkInterface, ObjectName, Peer, Peering, Route, SecurityGroup, Subnet, Target, Vpc,
};

/// Services that every subnet offers by link-local addresses, which neither security
/// groups nor ACLs filter: DNS (twice), time, licence activation (twice), instance
/// and task metadata.
/// <https://docs.aws.amazon.com/vpc/latest/userguide/vpc-security-groups.html>
const SERVICES: [Ipv4Addr; 6] = [
    Ipv4Addr::new(169, 254, 169, 253),
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(169, 254, 169, 123),
    Ipv4Addr::new(169, 254, 169, 250),
    Ipv4Addr::new(169, 254, 169, 251),
    Ipv4Addr::new(169, 254, 170, 2),
];

/// Never forwarded, whatever a route table says.
/// <https://docs.aws.amazon.com/vpc/latest/userguide/subnet-route-tables.html>
const RESERVED: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(169, 254, 168, 0), 22);

/// Every address.
const EVERYWHERE: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0);

/// The source of one group's policy. For many groups, keep a [`Directory`].
pub fn source(config: &Config, group: &GroupConfig) -> Source {
    Sources::new(config, &Directory::new(config)).source(group)
}

/// A configuration with the names that its policies use looked up, from which the
/// sources of all groups are made.
pub struct Sources<'c> {
    network: &'c Network,
    directory: &'c Directory,
}

/// The place of a group of ENIs in its VPC.
struct Place<'c> {
    vpc: &'c Vpc,
    subnet: &'c Subnet,
}

impl<'c> Sources<'c> {
    /// Sources of a configuration; the directory is of this one, or of another with the
    /// same names at the same places and the same interfaces.
    pub const fn new(config: &'c Config, directory: &'c Directory) -> Self {
        Self {
            network: &config.network,
            directory,
        }
    }

    /// The source of a group's policy.
    pub fn source(&self, group: &GroupConfig) -> Source {
        let own = net(group.subnet, group.prefix_len);
        let Some(name) = &group.subnet_name else {
            return without_vpc(group, own);
        };
        let mut source = Source {
            out: Vec::new(),
            acl_out: Vec::new(),
            acl_in: Vec::new(),
            routes: Vec::new(),
            subnet: own,
            unfiltered: Vec::new(),
            reserved: vec![RESERVED],
        };
        // A validated configuration has both; without them nothing passes.
        let Some(subnet) = find(&self.directory.subnets, &self.network.subnets, name) else {
            return source;
        };
        let Some(vpc) = self.vpc(&subnet.vpc) else {
            return source;
        };
        let place = Place { vpc, subnet };
        source.subnet = subnet.cidr;
        source.out = self.sg_rules(&place, group);
        let acls = &self.network.network_acls;
        if let Some(acl) = find(&self.directory.network_acls, acls, &subnet.network_acl) {
            source.acl_out = acl_rules(acl, &acl.egress);
            source.acl_in = acl_rules(acl, &acl.ingress);
        }
        source.routes = self.routes(&place);
        source.unfiltered = unfiltered(&place);
        source
    }

    fn vpc(&self, name: &ObjectName) -> Option<&'c Vpc> {
        find(&self.directory.vpcs, &self.network.vpcs, name)
    }

    fn peering(&self, name: &ObjectName) -> Option<&'c Peering> {
        let mut peerings = self.network.peerings.iter();
        peerings.find(|peering| peering.name == *name)
    }

    fn security_group(&self, name: &ObjectName) -> Option<&'c SecurityGroup> {
        let groups = &self.network.security_groups;
        find(&self.directory.security_groups, groups, name)
    }

    /// The egress rules of a group's security groups, pooled.
    fn sg_rules(&self, place: &Place<'c>, group: &GroupConfig) -> Vec<SgRule> {
        let mut rules = Vec::new();
        for name in &group.security_groups {
            let Some(security_group) = self.security_group(name) else {
                continue;
            };
            for (number, rule) in (1..).zip(&security_group.egress) {
                let cidrs = self.peer(place.vpc, &rule.peer);
                rules.extend(cidrs.iter().map(|&cidr| SgRule {
                    traffic: rule.traffic.clone(),
                    cidr,
                    rule: RuleName {
                        group: name.clone(),
                        number,
                    },
                }));
            }
        }
        rules
    }

    /// The prefixes that the peer of a rule stands for now.
    fn peer<'s>(&'s self, vpc: &Vpc, peer: &'s Peer) -> &'s [Ipv4Net] {
        match peer {
            Peer::Cidr(cidr) => std::slice::from_ref(cidr),
            Peer::PrefixList(name) => self.prefix_list(name),
            Peer::Group(name) => {
                let group = self.security_group(name);
                if group.is_some_and(|group| self.reaches(vpc, &group.vpc)) {
                    let members = self.directory.members.get(name);
                    members.map_or(&[], Members::prefixes)
                } else {
                    &[]
                }
            }
        }
    }

    fn prefix_list(&self, name: &ObjectName) -> &'c [Ipv4Net] {
        let lists = &self.network.prefix_lists;
        find(&self.directory.prefix_lists, lists, name).map_or(&[], |list| &list.entries)
    }

    /// Whether a VPC is this one or has a peering connection with it.
    fn reaches(&self, vpc: &Vpc, other: &ObjectName) -> bool {
        let joins =
            |peering: &&Peering| peering.vpcs.contains(&vpc.name) && peering.vpcs.contains(other);
        vpc.name == *other || self.network.peerings.iter().any(|it| joins(&it))
    }

    /// The routes of a subnet, the most specific first. Of equal ones the local route
    /// goes first and one by a prefix list last.
    fn routes(&self, place: &Place<'c>) -> Vec<RouteRule> {
        let mut ranked: Vec<(u8, Rank, RouteRule)> = Vec::new();
        for cidr in &place.vpc.cidrs {
            let local = local_routes(place, *cidr);
            ranked.extend(local.map(|rule| (cidr.prefix_len(), Rank::Local, rule)));
        }
        let (tables, name) = (&self.network.route_tables, &place.subnet.route_table);
        if let Some(table) = find(&self.directory.route_tables, tables, name) {
            for (number, route) in (1..).zip(&table.routes) {
                self.add_route(&mut ranked, place, &table.name, number, route);
            }
        }
        ranked.sort_by_key(|(prefix_len, rank, _)| (Reverse(*prefix_len), *rank));
        ranked.into_iter().map(|(_, _, rule)| rule).collect()
    }

    fn add_route(
        &self,
        ranked: &mut Vec<(u8, Rank, RouteRule)>,
        place: &Place<'c>,
        table: &ObjectName,
        number: u32,
        route: &Route,
    ) {
        let (rank, cidrs, prefix_list) = match &route.destination {
            Destination::Cidr(cidr) => (Rank::Static, std::slice::from_ref(cidr), None),
            Destination::PrefixList(name) => (Rank::PrefixList, self.prefix_list(name), Some(name)),
        };
        let hop = self.hop(place, &route.target);
        let rule = |destination, cidr, hop| RouteRule {
            cidr,
            destination,
            hop,
            name: RouteName::Route {
                table: table.clone(),
                number,
                prefix_list: prefix_list.cloned(),
            },
        };
        for &cidr in cidrs {
            let mut add = |rule| ranked.push((cidr.prefix_len(), rank, rule));
            let Some(peer) = self.peer_of(place, &route.target) else {
                add(rule(cidr, cidr, hop.clone()));
                continue;
            };
            // They count by the length of the route, so that the order of the routes
            // is not theirs to change.
            let shared = peer.cidrs.iter().filter_map(|other| overlap(cidr, *other));
            shared.for_each(|part| add(rule(cidr, part, hop.clone())));
            add(rule(cidr, cidr, Hop::BeyondPeer));
        }
    }

    /// The VPC that a route by a peering connection leads to.
    fn peer_of(&self, place: &Place<'c>, target: &Target) -> Option<&'c Vpc> {
        let Target::Peering(name) = target else {
            return None;
        };
        let peering = self.peering(name)?;
        let own = peering.vpcs.iter().position(|vpc| *vpc == place.vpc.name)?;
        self.vpc(&peering.vpcs[1 - own])
    }

    /// Where a target is. One that is not there is a target that is gone.
    fn hop(&self, place: &Place<'c>, target: &Target) -> Hop {
        let found = match target {
            Target::Blackhole | Target::InternetGateway(_) | Target::NatGateway(_) => None,
            Target::Interface(name) => {
                find(&self.directory.interfaces, &self.network.interfaces, name)
                    .and_then(|interface| interface_hop(place, interface))
            }
            Target::Peering(name) => {
                let peering = self.peering(name);
                peering.and_then(|peering| self.peering_hop(place, peering))
            }
        };
        found.unwrap_or(Hop::Blackhole)
    }

    fn peering_hop(&self, place: &Place<'c>, peering: &Peering) -> Option<Hop> {
        let own = peering.vpcs.iter().position(|vpc| *vpc == place.vpc.name)?;
        let other = 1 - own;
        let uplink = self.vpc(&peering.vpcs[other])?.uplink.clone();
        Some(match peering.routers[other] {
            Some(address) => Hop::Via { uplink, address },
            None => Hop::OnLink { uplink },
        })
    }
}

/// What goes first among routes of equal length.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Local,
    Static,
    PrefixList,
}

/// What two prefixes have in common: the longer one, or nothing.
fn overlap(a: Ipv4Net, b: Ipv4Net) -> Option<Ipv4Net> {
    if a.contains(&b) {
        Some(b)
    } else {
        b.contains(&a).then_some(a)
    }
}

/// Everything may leave, and there is nothing but the subnet and its router.
fn without_vpc(group: &GroupConfig, own: Ipv4Net) -> Source {
    let uplink = group.uplink.clone();
    let on_link = RouteRule {
        cidr: own,
        destination: own,
        hop: Hop::OnLink {
            uplink: uplink.clone(),
        },
        name: RouteName::Subnet,
    };
    let beyond = group.router.map(|address| RouteRule {
        cidr: EVERYWHERE,
        destination: EVERYWHERE,
        hop: Hop::Via { uplink, address },
        name: RouteName::Router,
    });
    Source {
        out: Vec::new(),
        acl_out: Vec::new(),
        acl_in: Vec::new(),
        routes: std::iter::once(on_link).chain(beyond).collect(),
        subnet: own,
        unfiltered: vec![EVERYWHERE],
        reserved: Vec::new(),
    }
}

fn acl_rules(acl: &NetworkAcl, entries: &[AclEntry]) -> Vec<AclRule> {
    let rule = |entry: &AclEntry| AclRule {
        traffic: entry.traffic.clone(),
        cidr: entry.cidr,
        allow: entry.allow,
        acl: acl.name.clone(),
        number: entry.number,
    };
    let mut rules: Vec<AclRule> = entries.iter().map(rule).collect();
    rules.sort_by_key(|rule| rule.number);
    rules
}

/// The resolver, the subnet's router and the link-local services.
fn unfiltered(place: &Place<'_>) -> Vec<Ipv4Net> {
    let nth = |cidr: Ipv4Net, n: u32| u32::from(cidr.network()).checked_add(n).map(Ipv4Addr::from);
    let resolver = place.vpc.cidrs.first().and_then(|&primary| nth(primary, 2));
    let router = nth(place.subnet.cidr, 1);
    let addresses = resolver.into_iter().chain(router).chain(SERVICES);
    addresses.map(Ipv4Net::from).collect()
}

/// The local route for one CIDR of the VPC. Inside the own subnet everything is on the
/// link; that part counts by the length of the CIDR all the same, so that a more
/// specific route for the whole subnet goes before it.
fn local_routes(place: &Place<'_>, cidr: Ipv4Net) -> impl Iterator<Item = RouteRule> {
    let rule = |part, hop| RouteRule {
        cidr: part,
        destination: cidr,
        hop,
        name: RouteName::Local {
            vpc: place.vpc.name.clone(),
        },
    };
    let uplink = || place.vpc.uplink.clone();
    let on_link = Hop::OnLink { uplink: uplink() };
    let elsewhere = match (place.vpc.local, place.subnet.router) {
        (LocalDelivery::OnLink, _) => on_link.clone(),
        (LocalDelivery::Router, Some(address)) => Hop::Via {
            uplink: uplink(),
            address,
        },
        // Validation asks for a router; without one the other subnets are cut off.
        (LocalDelivery::Router, None) => Hop::Blackhole,
    };
    let own = cidr
        .contains(&place.subnet.cidr)
        .then(|| rule(place.subnet.cidr, on_link));
    own.into_iter().chain([rule(cidr, elsewhere)])
}

/// Packets go to an interface itself where its address is a neighbour, else to the
/// router that knows the way to its subnet.
fn interface_hop(place: &Place<'_>, interface: &NetworkInterface) -> Option<Hop> {
    let on_link = place.vpc.local == LocalDelivery::OnLink;
    let address = if on_link || place.subnet.cidr.contains(&interface.address) {
        interface.address
    } else {
        place.subnet.router?
    };
    Some(Hop::Via {
        uplink: place.vpc.uplink.clone(),
        address,
    })
}

fn net(address: Ipv4Addr, prefix_len: u8) -> Ipv4Net {
    Ipv4Net::new(address, prefix_len.min(32)).map_or(address.into(), |net| net.trunc())
}
