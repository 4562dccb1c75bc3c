//! Makes a configuration smaller while it still fails.

use std::{collections::BTreeSet, ops::Range};

use vpc_user::model::{Config, Destination, Network, ObjectName, Peer, Target};

/// The least of a configuration that still fails: nothing more of it can be left out.
pub fn shrink(config: &Config, fails: &dyn Fn(&Config) -> bool) -> Config {
    let mut least = config.clone();
    loop {
        let before = weight(&least);
        for part in parts(&least) {
            drop_chunks(&mut least, part, fails);
        }
        if weight(&least) == before {
            return least;
        }
    }
}

/// A list of which entries can be left out, by the index of its owner.
#[derive(Clone, Copy, Debug)]
enum Part {
    Groups,
    GroupsOf(usize),
    AddressesOf(usize),
    Vpcs,
    CidrsOf(usize),
    Subnets,
    SecurityGroups,
    RulesOf(usize),
    Acls,
    OutOf(usize),
    InOf(usize),
    Tables,
    RoutesOf(usize),
    Lists,
    EntriesOf(usize),
    Interfaces,
    GroupsOfInterface(usize),
    Peerings,
}

/// Every list, those of owners before those of what they own.
fn parts(config: &Config) -> Vec<Part> {
    use Part::*;
    let made = &config.network;
    let mut parts = vec![Groups, Tables, Acls, SecurityGroups, Lists];
    parts.extend([Interfaces, Peerings, Subnets, Vpcs]);
    parts.extend((0..config.groups.len()).flat_map(|n| [GroupsOf(n), AddressesOf(n)]));
    parts.extend((0..made.security_groups.len()).map(RulesOf));
    parts.extend((0..made.network_acls.len()).flat_map(|n| [OutOf(n), InOf(n)]));
    parts.extend((0..made.route_tables.len()).map(RoutesOf));
    parts.extend((0..made.prefix_lists.len()).map(EntriesOf));
    parts.extend((0..made.interfaces.len()).map(GroupsOfInterface));
    parts.extend((0..made.vpcs.len()).map(CidrsOf));
    parts
}

/// Leaves a range of a list out, as far as there is one; gives the list's length.
fn cut(config: &mut Config, part: Part, range: Option<Range<usize>>) -> usize {
    fn cut<T>(list: Option<&mut Vec<T>>, range: Option<Range<usize>>) -> usize {
        let Some(list) = list else { return 0 };
        if let Some(range) = range {
            list.drain(range);
        }
        list.len()
    }
    let made = &mut config.network;
    match part {
        Part::Groups => cut(Some(&mut config.groups), range),
        Part::GroupsOf(n) => cut(
            config.groups.get_mut(n).map(|g| &mut g.security_groups),
            range,
        ),
        Part::AddressesOf(n) => cut(config.groups.get_mut(n).map(|g| &mut g.enis), range),
        Part::Vpcs => cut(Some(&mut made.vpcs), range),
        Part::CidrsOf(n) => cut(made.vpcs.get_mut(n).map(|v| &mut v.cidrs), range),
        Part::Subnets => cut(Some(&mut made.subnets), range),
        Part::SecurityGroups => cut(Some(&mut made.security_groups), range),
        Part::RulesOf(n) => cut(
            made.security_groups.get_mut(n).map(|g| &mut g.egress),
            range,
        ),
        Part::Acls => cut(Some(&mut made.network_acls), range),
        Part::OutOf(n) => cut(made.network_acls.get_mut(n).map(|a| &mut a.egress), range),
        Part::InOf(n) => cut(made.network_acls.get_mut(n).map(|a| &mut a.ingress), range),
        Part::Tables => cut(Some(&mut made.route_tables), range),
        Part::RoutesOf(n) => cut(made.route_tables.get_mut(n).map(|t| &mut t.routes), range),
        Part::Lists => cut(Some(&mut made.prefix_lists), range),
        Part::EntriesOf(n) => cut(made.prefix_lists.get_mut(n).map(|l| &mut l.entries), range),
        Part::Interfaces => cut(Some(&mut made.interfaces), range),
        Part::GroupsOfInterface(n) => cut(
            made.interfaces.get_mut(n).map(|i| &mut i.security_groups),
            range,
        ),
        Part::Peerings => cut(Some(&mut made.peerings), range),
    }
}

/// Leaves out of one list what it can: halves of it, quarters, down to single entries.
fn drop_chunks(least: &mut Config, part: Part, fails: &dyn Fn(&Config) -> bool) {
    let mut chunk = cut(least, part, None);
    while chunk > 0 {
        let mut first = 0;
        loop {
            let length = cut(least, part, None);
            if first >= length {
                break;
            }
            let mut smaller = least.clone();
            cut(&mut smaller, part, Some(first..(first + chunk).min(length)));
            if is_closed(&smaller) && fails(&smaller) {
                *least = smaller;
            } else {
                first += chunk;
            }
        }
        chunk /= 2;
    }
}

fn weight(config: &Config) -> usize {
    let mut copy = config.clone();
    let parts = parts(config);
    parts
        .into_iter()
        .map(|part| cut(&mut copy, part, None))
        .sum()
}

/// Whether everything that is referred to is there, and nothing is empty that
/// validation leaves nowhere empty.
pub fn is_closed(config: &Config) -> bool {
    let made = &config.network;
    let owned = |owner: &ObjectName| made.vpcs.iter().any(|vpc| vpc.name == *owner);
    let group = |name: &ObjectName| made.security_groups.iter().any(|g| g.name == *name);
    let subnet = |name: &ObjectName| made.subnets.iter().any(|s| s.name == *name);
    let groups_are_closed = config.groups.iter().all(|g| match &g.subnet_name {
        None => !g.enis.is_empty(),
        Some(name) => {
            let is_empty = g.security_groups.is_empty() || g.enis.is_empty();
            subnet(name) && !is_empty && g.security_groups.iter().all(group)
        }
    });
    let interfaces_are_closed = made.interfaces.iter().all(|i| {
        let is_empty = i.security_groups.is_empty();
        subnet(&i.subnet) && !is_empty && i.security_groups.iter().all(group)
    });
    groups_are_closed
        && interfaces_are_closed
        && made.vpcs.iter().all(|vpc| !vpc.cidrs.is_empty())
        && made.security_groups.iter().all(|g| owned(&g.vpc))
        && made.network_acls.iter().all(|acl| owned(&acl.vpc))
        && made.route_tables.iter().all(|table| owned(&table.vpc))
        && made.peerings.iter().all(|p| p.vpcs.iter().all(owned))
        && subnets_are_closed(made)
        && rules_and_routes_are_closed(made)
}

fn subnets_are_closed(made: &Network) -> bool {
    made.subnets.iter().all(|subnet| {
        let vpc = made.vpcs.iter().find(|vpc| vpc.name == subnet.vpc);
        let covers = |cidr: &ipnet::Ipv4Net| crate::oracle::contains(*cidr, subnet.cidr.addr());
        vpc.is_some_and(|vpc| vpc.cidrs.iter().any(covers))
            && made
                .route_tables
                .iter()
                .any(|t| t.name == subnet.route_table)
            && made
                .network_acls
                .iter()
                .any(|a| a.name == subnet.network_acl)
    })
}

fn rules_and_routes_are_closed(made: &Network) -> bool {
    let names = |names: &mut dyn Iterator<Item = &ObjectName>| -> BTreeSet<String> {
        names.map(ToString::to_string).collect()
    };
    let groups = names(&mut made.security_groups.iter().map(|g| &g.name));
    let lists = names(&mut made.prefix_lists.iter().map(|l| &l.name));
    let interfaces = names(&mut made.interfaces.iter().map(|i| &i.name));
    let peerings = names(&mut made.peerings.iter().map(|p| &p.name));
    let rules = &mut made.security_groups.iter().flat_map(|g| &g.egress);
    let routes = &mut made.route_tables.iter().flat_map(|t| &t.routes);
    rules.all(|rule| match &rule.peer {
        Peer::Cidr(_) => true,
        Peer::Group(name) => groups.contains(name.as_str()),
        Peer::PrefixList(name) => lists.contains(name.as_str()),
    }) && routes.all(|route| {
        let destination = match &route.destination {
            Destination::Cidr(_) => true,
            Destination::PrefixList(name) => lists.contains(name.as_str()),
        };
        let target = match &route.target {
            Target::Blackhole | Target::InternetGateway(_) | Target::NatGateway(_) => true,
            Target::Interface(name) => interfaces.contains(name.as_str()),
            Target::Peering(name) => peerings.contains(name.as_str()),
        };
        destination && target
    })
}
