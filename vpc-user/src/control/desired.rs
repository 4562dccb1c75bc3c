//! From the state to what the data plane is to hold: a [`Config`] whose names are ids.
//! Pure, and total: whatever this host cannot serve, because a VPC has no uplink here or
//! a target's data path is yet to come, is left out, and nothing passes where it would
//! have been asked.

#[cfg(test)]
pub(super) mod tests;

use std::{
    collections::{BTreeSet, HashMap},
    net::Ipv4Addr,
};

use super::{
    Change, Id, Key, Record, Settings, State,
    resource::{
        EniGroup, EniPhase, IcmpTypeCode, Interface, NetworkAcl, NetworkAclEntry, Peering,
        PeeringStatus, PeeringVpc, PrefixList, Route, RouteDestination, RouteTable, RouteTarget,
        RuleAction, RulePeer, RuleTraffic, SecurityGroup, SecurityGroupRule, Subnet, Vpc,
    },
};
use crate::model::{self, Config, EniConfig, GroupConfig, LocalDelivery, Network, Target, Traffic};

/// Whether an interface is none of this host's ENIs.
fn is_foreign(interface: &Interface) -> bool {
    interface.hyperplane.is_none()
}

/// What the data plane is to hold of a state, kept up to date with its changes: among a
/// thousand tenants, a change costs what it concerns.
pub struct Desired {
    config: Config,
    /// The uplinks of this host.
    uplinks: BTreeSet<Id>,
    places: Places,
    settings: Settings,
}

/// Where each part is in its list.
type Places = HashMap<Part, usize>;

/// A part of the configuration, by the id that is its name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
enum Part {
    Vpc(Id),
    Subnet(Id),
    SecurityGroup(Id),
    NetworkAcl(Id),
    RouteTable(Id),
    PrefixList(Id),
    Interface(Id),
    Peering(Id),
    /// A group, and its subnet.
    Group(Id, Id),
}

impl Desired {
    /// Of a state. `host` has what does not come from it: uplinks, limits, where things
    /// are.
    pub fn new(state: &State, host: &Config, settings: Settings) -> Self {
        let mut config = host.clone();
        config.groups.clear();
        config.network = Network {
            quotas: settings.quotas,
            ..Network::default()
        };
        let uplinks = host.uplinks.iter().map(|uplink| uplink.name.clone());
        let mut desired = Self {
            config,
            uplinks: uplinks.collect(),
            places: Places::new(),
            settings,
        };
        let parts = state
            .records()
            .flat_map(|record| own_part(&record.key(), record));
        let parts: BTreeSet<Part> = parts.collect();
        desired.renew(state, parts);
        desired
    }

    /// The configuration.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The subnet of a group.
    pub fn subnet_of(&self, group: &str) -> Option<&Id> {
        let mut groups = self.config.groups.iter();
        let group = groups.find(|one| one.name.as_str() == group)?;
        group.subnet_name.as_ref()
    }

    /// Brings the configuration up to date with changes that the state has seen.
    pub fn update(&mut self, state: &State, changes: &[Change]) {
        let parts = changes.iter().flat_map(|change| concerned(state, change));
        let parts: BTreeSet<Part> = parts.collect();
        self.renew(state, parts);
    }

    fn renew(&mut self, state: &State, parts: BTreeSet<Part>) {
        let uplinks = &self.uplinks;
        let view = View { state, uplinks };
        let settings = &self.settings;
        let network = &mut self.config.network;
        let places = &mut self.places;
        for part in parts {
            match &part {
                Part::Vpc(id) => {
                    let vpc = state.get(id.as_str()).and_then(|vpc| view.vpc(vpc));
                    place(places, &mut network.vpcs, part, vpc);
                }
                Part::Subnet(id) => {
                    let subnet = state
                        .get(id.as_str())
                        .and_then(|subnet| view.subnet(subnet));
                    place(places, &mut network.subnets, part, subnet);
                }
                Part::SecurityGroup(id) => {
                    let group = state.get::<SecurityGroup>(id.as_str());
                    let group = group.filter(|group| view.serves(&group.vpc_id));
                    let group = group.map(security_group);
                    place(places, &mut network.security_groups, part, group);
                }
                Part::NetworkAcl(id) => {
                    let acl = state.get::<NetworkAcl>(id.as_str());
                    let acl = acl.filter(|acl| view.serves(&acl.vpc_id)).map(network_acl);
                    place(places, &mut network.network_acls, part, acl);
                }
                Part::RouteTable(id) => {
                    let table = state.get::<RouteTable>(id.as_str());
                    let table = table.filter(|table| view.serves(&table.vpc_id));
                    let table = table.map(|table| view.route_table(table));
                    place(places, &mut network.route_tables, part, table);
                }
                Part::PrefixList(id) => {
                    let list = state.get(id.as_str()).map(prefix_list);
                    place(places, &mut network.prefix_lists, part, list);
                }
                Part::Interface(id) => {
                    let one = state.get::<Interface>(id.as_str());
                    let one = one.filter(|one| is_foreign(one) && view.serves(&one.vpc_id));
                    place(places, &mut network.interfaces, part, one.map(interface));
                }
                Part::Peering(id) => {
                    let peering = state.get(id.as_str()).and_then(|it| view.peering(it));
                    place(places, &mut network.peerings, part, peering);
                }
                Part::Group(id, subnet) => {
                    let group = view.group(id, subnet, settings);
                    place(places, &mut self.config.groups, part, group);
                }
            }
        }
    }
}

/// Puts a part where it was, or at the end; or takes it out, whereupon the last one moves
/// to where it was.
fn place<T: Named>(places: &mut Places, list: &mut Vec<T>, part: Part, value: Option<T>) {
    match (places.get(&part).copied(), value) {
        (Some(at), Some(value)) => {
            if let Some(old) = list.get_mut(at) {
                *old = value;
            }
        }
        (None, Some(value)) => {
            places.insert(part, list.len());
            list.push(value);
        }
        (Some(at), None) => {
            places.remove(&part);
            list.swap_remove(at);
            if let Some(moved) = list.get(at) {
                places.insert(moved.part(), at);
            }
        }
        (None, None) => {}
    }
}

/// What a list of the configuration holds.
trait Named {
    fn part(&self) -> Part;
}

macro_rules! named {
    ($($type:ident),+) => {
        $(impl Named for model::$type {
            fn part(&self) -> Part {
                Part::$type(self.name.clone())
            }
        })+
    };
}

named! { Vpc, Subnet, SecurityGroup, NetworkAcl, RouteTable, PrefixList, Peering }

impl Named for model::NetworkInterface {
    fn part(&self) -> Part {
        Part::Interface(self.name.clone())
    }
}

impl Named for GroupConfig {
    fn part(&self) -> Part {
        let subnet = self.subnet_name.clone();
        Part::Group(
            self.name.clone(),
            subnet.unwrap_or_else(|| self.name.clone()),
        )
    }
}

/// The part that a resource is, or is part of.
fn own_part(key: &Key, record: &Record) -> Option<Part> {
    let id = || Id::new(key.id.clone()).ok();
    Some(match record {
        Record::Vpc(_) => Part::Vpc(id()?),
        Record::Subnet(_) => Part::Subnet(id()?),
        Record::SecurityGroup(_) => Part::SecurityGroup(id()?),
        Record::NetworkAcl(_) => Part::NetworkAcl(id()?),
        Record::RouteTable(_) => Part::RouteTable(id()?),
        Record::PrefixList(_) => Part::PrefixList(id()?),
        Record::Peering(_) => Part::Peering(id()?),
        Record::EniGroup(group) => Part::Group(group.eni_group_id.clone(), group.subnet_id.clone()),
        Record::Interface(one) => match &one.hyperplane {
            Some(hyperplane) => Part::Group(hyperplane.eni_group.clone(), one.subnet_id.clone()),
            None => Part::Interface(id()?),
        },
        _ => return None,
    })
}

/// The parts that may be others after a change.
fn concerned(state: &State, change: &Change) -> BTreeSet<Part> {
    let Change { key, before, after } = change;
    let mut parts = BTreeSet::new();
    // Whatever refers to one of these asks for what the change is about.
    let mut bears_on = BTreeSet::new();
    for record in before.iter().chain(after) {
        parts.extend(own_part(key, record));
        match record {
            // Whether it is served here, and how: that of everything in it.
            Record::Vpc(vpc) => {
                bears_on.insert(key.clone());
                let subnets = state.referring::<Subnet>(key);
                bears_on.extend(subnets.map(|it| Key::of::<Subnet>(it.subnet_id.as_str())));
                let mine = |it: &&Peering| ends(it).iter().any(|end| end.vpc_id == vpc.vpc_id);
                for peering in state.all::<Peering>().filter(mine) {
                    parts.insert(Part::Peering(peering.vpc_peering_connection_id.clone()));
                    bears_on.extend(ends(peering).map(|end| of_vpc(&end.vpc_id)));
                }
            }
            Record::Subnet(_) => {
                bears_on.insert(key.clone());
            }
            // Subnets name their table; routes name the rest.
            Record::RouteTable(table) => {
                bears_on.insert(of_vpc(&table.vpc_id));
            }
            Record::Interface(one) if is_foreign(one) => {
                bears_on.insert(of_vpc(&one.vpc_id));
            }
            Record::Peering(peering) => {
                bears_on.extend(ends(peering).map(|end| of_vpc(&end.vpc_id)));
            }
            _ => {}
        }
    }
    let users = bears_on.iter().flat_map(|to| state.referrers_of(to));
    let users = users.filter_map(|user| own_part(user, state.record(user)?));
    parts.extend(users);
    parts
}

fn of_vpc(id: &Id) -> Key {
    Key::of::<Vpc>(id.as_str())
}

const fn ends(peering: &Peering) -> [&PeeringVpc; 2] {
    [&peering.requester_vpc, &peering.accepter_vpc]
}

/// A state as this host sees it.
struct View<'s> {
    state: &'s State,
    /// The uplinks of this host.
    uplinks: &'s BTreeSet<Id>,
}

impl<'s> View<'s> {
    /// The uplink of this host that a VPC is reachable by.
    fn uplink(&self, vpc: &Id) -> Option<&'s Id> {
        let vpc = self.state.get::<Vpc>(vpc.as_str())?;
        vpc.uplink
            .as_ref()
            .filter(|uplink| self.uplinks.contains(*uplink))
    }

    fn serves(&self, vpc: &Id) -> bool {
        self.uplink(vpc).is_some()
    }

    fn vpc(&self, vpc: &Vpc) -> Option<model::Vpc> {
        let uplink = self.uplink(&vpc.vpc_id)?;
        Some(model::Vpc {
            name: vpc.vpc_id.clone(),
            cidrs: vpc.cidrs().collect(),
            uplink: uplink.clone(),
            local: if vpc.on_link {
                LocalDelivery::OnLink
            } else {
                LocalDelivery::Router
            },
        })
    }

    fn subnet(&self, subnet: &Subnet) -> Option<model::Subnet> {
        let vpc = self.state.get::<Vpc>(subnet.vpc_id.as_str())?;
        let uplink = self.serves(&subnet.vpc_id);
        Some(model::Subnet {
            name: subnet.subnet_id.clone(),
            vpc: subnet.vpc_id.clone(),
            cidr: subnet.cidr_block,
            router: router(vpc, subnet),
            route_table: self.table_of(subnet)?,
            network_acl: subnet.network_acl_id.clone(),
        })
        .filter(|_| uplink)
    }

    /// The table of a subnet's own choice, or else the main one of its VPC.
    fn table_of(&self, subnet: &Subnet) -> Option<Id> {
        let key = Key::of::<Subnet>(subnet.subnet_id.as_str());
        let own = self.state.referring::<RouteTable>(&key).next();
        let main = || {
            let vpc = Key::of::<Vpc>(subnet.vpc_id.as_str());
            let mut tables = self.state.referring::<RouteTable>(&vpc);
            tables.find(|table| table.main_association_id.is_some())
        };
        own.or_else(main).map(|table| table.route_table_id.clone())
    }

    fn route_table(&self, table: &RouteTable) -> model::RouteTable {
        model::RouteTable {
            name: table.route_table_id.clone(),
            vpc: table.vpc_id.clone(),
            routes: table.routes.iter().map(|route| self.route(route)).collect(),
        }
    }

    fn route(&self, route: &Route) -> model::Route {
        let destination = match &route.destination {
            RouteDestination::Cidr(cidr) => model::Destination::Cidr(*cidr),
            RouteDestination::PrefixList(id) => model::Destination::PrefixList(id.clone()),
        };
        let target = self.target(&route.target).unwrap_or(Target::Blackhole);
        model::Route {
            destination,
            target,
        }
    }

    /// Gateways and endpoints have no data path yet: what goes there goes nowhere.
    fn target(&self, target: &RouteTarget) -> Option<Target> {
        match target {
            RouteTarget::NetworkInterfaceId(id) => {
                let interface = self.state.get::<Interface>(id.as_str())?;
                let is_known = is_foreign(interface) && self.serves(&interface.vpc_id);
                is_known.then(|| Target::Interface(id.clone()))
            }
            RouteTarget::VpcPeeringConnectionId(id) => {
                let peering = self.state.get::<Peering>(id.as_str())?;
                self.peering(peering)
                    .map(|peering| Target::Peering(peering.name))
            }
            RouteTarget::GatewayId(_)
            | RouteTarget::NatGatewayId(_)
            | RouteTarget::Blackhole(_) => None,
        }
    }

    fn peering(&self, peering: &Peering) -> Option<model::Peering> {
        let ends = ends(peering);
        let is_served = ends.iter().all(|end| self.serves(&end.vpc_id));
        (peering.status == PeeringStatus::Active && is_served).then(|| model::Peering {
            name: peering.vpc_peering_connection_id.clone(),
            vpcs: ends.map(|end| end.vpc_id.clone()),
            routers: ends.map(|end| end.router),
        })
    }

    /// A group with its ENIs: also one that is gone but has ENIs that still carry flows.
    fn group(&self, id: &Id, subnet: &Id, settings: &Settings) -> Option<GroupConfig> {
        let key = Key::of::<Subnet>(subnet.as_str());
        let draining = self.state.referring::<Interface>(&key).filter(|eni| {
            let hyperplane = eni.hyperplane.iter();
            let mut own = hyperplane.filter(|hyperplane| hyperplane.eni_group == *id);
            own.any(|hyperplane| hyperplane.phase == EniPhase::Draining)
        });
        let draining: Vec<&Interface> = draining.collect();
        let group = self.state.get::<EniGroup>(id.as_str());
        let carried = || draining.first().map(|eni| &eni.groups);
        let security_groups = group
            .map(|group| &group.security_group_ids)
            .or_else(carried)?;
        let serving = group
            .into_iter()
            .flat_map(|group| &group.network_interface_ids);
        let serving = serving.filter_map(|id| self.state.get::<Interface>(id.as_str()));
        let enis = serving.map(|eni| eni_config(eni, false));
        let enis = enis.chain(draining.iter().map(|eni| eni_config(eni, true)));
        let subnet = self.state.get::<Subnet>(subnet.as_str())?;
        let vpc = self.state.get::<Vpc>(subnet.vpc_id.as_str())?;
        Some(GroupConfig {
            name: id.clone(),
            uplink: self.uplink(&subnet.vpc_id)?.clone(),
            subnet_name: Some(subnet.subnet_id.clone()),
            security_groups: security_groups.clone(),
            subnet: subnet.cidr_block.network(),
            prefix_len: subnet.cidr_block.prefix_len(),
            router: router(vpc, subnet),
            enis: enis.collect(),
            timeouts: settings.timeouts,
            connections: settings.connections_per_eni,
        })
    }
}

/// The router of a subnet: the one that was named, or the first host address, which is
/// the router's on AWS.
fn router(vpc: &Vpc, subnet: &Subnet) -> Option<Ipv4Addr> {
    let first = || {
        let network = u32::from(subnet.cidr_block.network());
        (!vpc.on_link).then(|| Ipv4Addr::from(network.saturating_add(1)))
    };
    subnet.router.or_else(first)
}

fn eni_config(eni: &Interface, draining: bool) -> EniConfig {
    EniConfig {
        address: eni.private_ip_address,
        name: Some(eni.network_interface_id.clone()),
        draining,
    }
}

/// Rules that name a group of a VPC that is not served here, or one that is gone, are kept:
/// they match nothing.
fn security_group(group: &SecurityGroup) -> model::SecurityGroup {
    let rules = |egress: bool| {
        let rules = group.rules.iter().filter(|rule| rule.is_egress == egress);
        rules.filter_map(security_rule).collect()
    };
    model::SecurityGroup {
        name: group.group_id.clone(),
        vpc: group.vpc_id.clone(),
        ingress: rules(false),
        egress: rules(true),
    }
}

fn security_rule(rule: &SecurityGroupRule) -> Option<model::SecurityRule> {
    let peer = match &rule.peer {
        RulePeer::CidrIpv4(cidr) => model::Peer::Cidr(*cidr),
        RulePeer::PrefixListId(id) => model::Peer::PrefixList(id.clone()),
        RulePeer::ReferencedGroupId(id) => model::Peer::Group(id.clone()),
    };
    let traffic = rule_traffic(&rule.traffic)?;
    Some(model::SecurityRule { traffic, peer })
}

fn prefix_list(list: &PrefixList) -> model::PrefixList {
    model::PrefixList {
        name: list.prefix_list_id.clone(),
        max_entries: list.max_entries,
        entries: list.entries.iter().map(|entry| entry.cidr).collect(),
    }
}

fn interface(interface: &Interface) -> model::NetworkInterface {
    model::NetworkInterface {
        name: interface.network_interface_id.clone(),
        subnet: interface.subnet_id.clone(),
        address: interface.private_ip_address,
        security_groups: interface.groups.clone(),
    }
}

fn network_acl(acl: &NetworkAcl) -> model::NetworkAcl {
    let entries = |egress: bool| {
        let entries = acl.entries.iter().filter(|entry| entry.egress == egress);
        let mut entries: Vec<_> = entries.map(acl_entry).collect();
        entries.sort_by_key(|entry| entry.number);
        entries
    };
    model::NetworkAcl {
        name: acl.network_acl_id.clone(),
        vpc: acl.vpc_id.clone(),
        ingress: entries(false),
        egress: entries(true),
    }
}

/// What cannot be read denies everything.
pub(super) fn acl_entry(entry: &NetworkAclEntry) -> model::AclEntry {
    let traffic = acl_traffic(entry);
    model::AclEntry {
        number: entry.rule_number,
        allow: entry.rule_action == RuleAction::Allow && traffic.is_some(),
        traffic: traffic.unwrap_or(Traffic::All),
        cidr: entry.cidr_block,
    }
}

/// ICMP type or code: -1, or nothing that fits, is all.
fn icmp(number: i32) -> Option<u8> {
    u8::try_from(number).ok()
}

/// Protocol and ports of an entry of an ACL. `-1`, and whatever has no ports, ignores
/// them.
fn acl_traffic(entry: &NetworkAclEntry) -> Option<Traffic> {
    let ports = entry
        .port_range
        .map_or(0..=u16::MAX, |range| range.from..=range.to);
    Some(match entry.protocol.as_str() {
        "-1" => Traffic::All,
        "6" => Traffic::Tcp(ports),
        "17" => Traffic::Udp(ports),
        "1" => match entry.icmp_type_code {
            Some(IcmpTypeCode { r#type, code }) => Traffic::Icmp(icmp(r#type), icmp(code)),
            None => Traffic::Icmp(None, None),
        },
        number => Traffic::Other(number.parse().ok()?),
    })
}

/// Protocol and ports of a rule of a security group.
pub(super) fn rule_traffic(traffic: &RuleTraffic) -> Option<Traffic> {
    let port = |port: i32, all: u16| u16::try_from(port).unwrap_or(all);
    let ports = port(traffic.from_port, 0)..=port(traffic.to_port, u16::MAX);
    Some(match traffic.ip_protocol.as_str() {
        "-1" => Traffic::All,
        "tcp" => Traffic::Tcp(ports),
        "udp" => Traffic::Udp(ports),
        "icmp" => Traffic::Icmp(icmp(traffic.from_port), icmp(traffic.to_port)),
        number => Traffic::Other(number.parse().ok()?),
    })
}
