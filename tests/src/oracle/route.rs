//! Route tables:
//! <https://docs.aws.amazon.com/vpc/latest/userguide/VPC_Route_Tables.html>,
//! <https://docs.aws.amazon.com/vpc/latest/userguide/subnet-route-tables.html>,
//! <https://docs.aws.amazon.com/vpc/latest/userguide/route-tables-priority.html>.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use vpc_user::model::{Destination, LocalDelivery, ObjectName, RouteTable, Target};

use super::{Hop, Oracle, Place, Refusal, contains, find};

/// What decided where a packet goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum By {
    /// The group is in no VPC: its prefix and its router.
    NoVpc,
    /// The destination is in 169.254.168.0/22.
    NeverForwarded,
    /// The local route of a CIDR block of the VPC.
    Local(Ipv4Net),
    /// A static route.
    Static {
        /// Its place in the table.
        index: usize,
        /// Its destination.
        prefix: Ipv4Net,
    },
    /// A prefix of a prefix list.
    PrefixList {
        /// The place of the route in the table.
        index: usize,
        /// The list.
        list: ObjectName,
        /// The prefix.
        prefix: Ipv4Net,
    },
    /// No route matches.
    Nothing,
}

/// Where a packet goes, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RouteDecision {
    /// The hop, or what there is in its place.
    pub outcome: Result<Hop, Refusal>,
    /// What decided.
    pub by: By,
}

/// A route of a table as it is looked up.
struct Candidate<'c> {
    prefix: Ipv4Net,
    /// Among equal prefixes the lowest goes first.
    rank: u8,
    by: By,
    /// `None`: the local target.
    target: Option<&'c Target>,
}

/// The target of a local route can be replaced: a static route for exactly its prefix
/// stands in its place
/// (<https://docs.aws.amazon.com/vpc/latest/userguide/replace-local-route-target.html>).
const STATIC: u8 = 0;
const LOCAL: u8 = 1;
/// A static route goes before a prefix of a prefix list. Where two lists have the same
/// prefix AWS picks one and stays with it: the first of the table.
const PREFIX_LIST: u8 = 2;

impl<'c> Oracle<'c> {
    /// Where a packet for a remote address goes.
    pub fn route(&self, remote: Ipv4Addr) -> RouteDecision {
        let Some(place) = self.place else {
            let outcome = self.route_without_vpc(remote);
            return RouteDecision {
                outcome,
                by: By::NoVpc,
            };
        };
        // 169.254.168.0/22 is reserved for services: packets to it are not forwarded
        // even where the destination of a route covers it.
        if u32::from(remote) & 0xffff_fc00 == u32::from(Ipv4Addr::new(169, 254, 168, 0)) {
            return RouteDecision {
                outcome: Err(Refusal::NoRoute),
                by: By::NeverForwarded,
            };
        }
        let mut best: Option<Candidate<'_>> = None;
        for candidate in self.candidates(place) {
            if !contains(candidate.prefix, remote) {
                continue;
            }
            let is_better = best.as_ref().is_none_or(|best| {
                let (length, longest) = (candidate.prefix.prefix_len(), best.prefix.prefix_len());
                length > longest || length == longest && candidate.rank < best.rank
            });
            if is_better {
                best = Some(candidate);
            }
        }
        let Some(best) = best else {
            return RouteDecision {
                outcome: Err(Refusal::NoRoute),
                by: By::Nothing,
            };
        };
        let outcome = match best.target {
            None => neighbour(place, remote),
            Some(target) => self.target(place, target, remote),
        };
        RouteDecision {
            outcome,
            by: best.by,
        }
    }

    fn route_without_vpc(&self, remote: Ipv4Addr) -> Result<Hop, Refusal> {
        let prefix = Ipv4Net::new(self.group.subnet, self.group.prefix_len);
        let address = if contains(prefix.expect("a valid length"), remote) {
            remote
        } else {
            self.group.router.ok_or(Refusal::NoRoute)?
        };
        let uplink = self.group.uplink.clone();
        Ok(Hop { uplink, address })
    }

    /// Every route of the subnet's table. It has a local route for each CIDR block of
    /// the VPC.
    fn candidates(&self, place: Place<'c>) -> Vec<Candidate<'c>> {
        let tables: &'c [RouteTable] = &self.config.network.route_tables;
        let table = find(tables, |table| table.name == place.subnet.route_table);
        let mut candidates = Vec::new();
        for cidr in &place.vpc.cidrs {
            candidates.push(Candidate {
                prefix: *cidr,
                rank: LOCAL,
                by: By::Local(*cidr),
                target: None,
            });
        }
        for (index, route) in table.routes.iter().enumerate() {
            let target = Some(&route.target);
            match &route.destination {
                Destination::Cidr(prefix) => candidates.push(Candidate {
                    prefix: *prefix,
                    rank: STATIC,
                    by: By::Static {
                        index,
                        prefix: *prefix,
                    },
                    target,
                }),
                Destination::PrefixList(name) => {
                    let list = find(&self.config.network.prefix_lists, |l| l.name == *name);
                    candidates.extend(list.entries.iter().map(|entry| Candidate {
                        prefix: *entry,
                        rank: PREFIX_LIST,
                        by: By::PrefixList {
                            index,
                            list: name.clone(),
                            prefix: *entry,
                        },
                        target,
                    }));
                }
            }
        }
        candidates
    }

    fn target(&self, place: Place<'_>, target: &Target, remote: Ipv4Addr) -> Result<Hop, Refusal> {
        let network = &self.config.network;
        match target {
            // Gateways have no data path yet.
            Target::Blackhole | Target::InternetGateway(_) | Target::NatGateway(_) => {
                Err(Refusal::Blackhole)
            }
            Target::Interface(name) => {
                let interface = find(&network.interfaces, |i| i.name == *name);
                neighbour(place, interface.address)
            }
            Target::Peering(name) => {
                let peering = find(&network.peerings, |p| p.name == *name);
                let far = usize::from(peering.vpcs[0] == place.vpc.name);
                let vpc = find(&network.vpcs, |v| v.name == peering.vpcs[far]);
                // Peering has no edge-to-edge routing: it leads to the addresses of
                // the other VPC and not through it
                // (<https://docs.aws.amazon.com/vpc/latest/peering/vpc-peering-basics.html>).
                if !vpc.cidrs.iter().any(|cidr| contains(*cidr, remote)) {
                    return Err(Refusal::NoRoute);
                }
                Ok(Hop {
                    uplink: vpc.uplink.clone(),
                    address: peering.routers[far].unwrap_or(remote),
                })
            }
        }
    }
}

/// How a packet gets to an address of the VPC: within the subnet it is a neighbour,
/// beyond it as the VPC says. A subnet of AWS always has its router; where this host
/// has none to send to, the target is as good as gone.
fn neighbour(place: Place<'_>, address: Ipv4Addr) -> Result<Hop, Refusal> {
    let uplink = place.vpc.uplink.clone();
    let address = match place.vpc.local {
        _ if contains(place.subnet.cidr, address) => address,
        LocalDelivery::OnLink => address,
        LocalDelivery::Router => place.subnet.router.ok_or(Refusal::Blackhole)?,
    };
    Ok(Hop { uplink, address })
}
