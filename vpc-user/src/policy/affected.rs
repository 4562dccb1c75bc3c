//! Which policies a change of the configuration concerns, without making any: among a
//! thousand groups, an edit of one rule costs one compilation.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::model::{
    Config, Destination, GroupConfig, Network, ObjectName, Peer, RouteTable, SecurityGroup, Subnet,
    Target,
};

/// The groups of `after` whose source may differ from what it was with `before`; those
/// that are new among them.
pub fn affected(before: &Config, after: &Config) -> BTreeSet<ObjectName> {
    Differences::between(before, after).affected(before, after)
}

/// Where two configurations differ: places in their lists. Comparing all rules of a
/// large one is most of what an edit costs, so that it is done once.
#[derive(Default)]
pub struct Differences {
    vpcs: Places,
    peerings: Places,
    groups: Places,
    subnets: Places,
    security_groups: Places,
    network_acls: Places,
    route_tables: Places,
    prefix_lists: Places,
    interfaces: Places,
}

/// Places at which two lists differ, ascending; those that only one has among them.
type Places = Vec<usize>;

impl Differences {
    /// Compares what policies are made of.
    pub fn between(before: &Config, after: &Config) -> Self {
        let (old, new) = (&before.network, &after.network);
        Self {
            vpcs: places(&old.vpcs, &new.vpcs),
            peerings: places(&old.peerings, &new.peerings),
            groups: places(&before.groups, &after.groups),
            subnets: places(&old.subnets, &new.subnets),
            security_groups: places(&old.security_groups, &new.security_groups),
            network_acls: places(&old.network_acls, &new.network_acls),
            route_tables: places(&old.route_tables, &new.route_tables),
            prefix_lists: places(&old.prefix_lists, &new.prefix_lists),
            interfaces: places(&old.interfaces, &new.interfaces),
        }
    }

    /// Whether the groups of ENIs are the same.
    pub const fn same_groups(&self) -> bool {
        self.groups.is_empty()
    }

    /// Whether a [`Directory`](super::Directory) of one is right for the other: the
    /// same names at the same places, and the same interfaces.
    pub fn same_directory(&self, before: &Config, after: &Config) -> bool {
        let (old, new) = (&before.network, &after.network);
        let named = |places: &[usize], same: &dyn Fn(usize) -> bool| {
            places.iter().all(|&place| same(place))
        };
        macro_rules! same_names {
            ($($list:ident),+) => {
                $(named(&self.$list, &|place| {
                    let old = old.$list.get(place).map(|it| &it.name);
                    old == new.$list.get(place).map(|it| &it.name)
                }))&&+
            };
        }
        self.groups.is_empty()
            && self.interfaces.is_empty()
            && same_names!(
                vpcs,
                subnets,
                security_groups,
                network_acls,
                route_tables,
                prefix_lists
            )
    }

    /// The groups of `after` whose source may differ; the configurations are those
    /// that were compared.
    pub fn affected(&self, before: &Config, after: &Config) -> BTreeSet<ObjectName> {
        let groups = after.groups.iter();
        let changes = Changes::between(self, before, after);
        let affected = groups.filter(|group| changes.concern(group));
        affected.map(|group| group.name.clone()).collect()
    }

    /// Makes what policies are made of in `before` as it is in `after`.
    pub fn bring(&self, before: &mut Config, after: &Config) {
        let (old, new) = (&mut before.network, &after.network);
        replace(&mut old.vpcs, &new.vpcs, &self.vpcs);
        replace(&mut old.peerings, &new.peerings, &self.peerings);
        replace(&mut before.groups, &after.groups, &self.groups);
        replace(&mut old.subnets, &new.subnets, &self.subnets);
        let groups = &self.security_groups;
        replace(&mut old.security_groups, &new.security_groups, groups);
        replace(&mut old.network_acls, &new.network_acls, &self.network_acls);
        replace(&mut old.route_tables, &new.route_tables, &self.route_tables);
        replace(&mut old.prefix_lists, &new.prefix_lists, &self.prefix_lists);
        replace(&mut old.interfaces, &new.interfaces, &self.interfaces);
    }
}

fn places<T: PartialEq>(before: &[T], after: &[T]) -> Places {
    let all = 0..before.len().max(after.len());
    all.filter(|&place| before.get(place) != after.get(place))
        .collect()
}

fn replace<T: Clone>(before: &mut Vec<T>, after: &[T], places: &[usize]) {
    before.truncate(after.len());
    let changed = places.iter().filter_map(|&place| after.get(place));
    for (&place, value) in places.iter().zip(changed) {
        match before.get_mut(place) {
            Some(old) => old.clone_from(value),
            None => before.push(value.clone()),
        }
    }
}

/// Names of what is not as it was, by kind.
struct Changes<'c> {
    /// With those that they are peered with, whose routes lead there.
    vpcs: HashSet<&'c ObjectName>,
    groups: HashSet<&'c ObjectName>,
    subnets: HashSet<&'c ObjectName>,
    security_groups: HashSet<&'c ObjectName>,
    network_acls: HashSet<&'c ObjectName>,
    route_tables: HashSet<&'c ObjectName>,
    /// Each subnet as it is.
    places: HashMap<&'c ObjectName, &'c Subnet>,
}

impl<'c> Changes<'c> {
    fn between(at: &Differences, before: &'c Config, after: &'c Config) -> Self {
        let (old, new) = (&before.network, &after.network);
        let lists = (&*old.prefix_lists, &*new.prefix_lists);
        let lists = changed(&at.prefix_lists, lists, |list| &list.name);
        let interfaces = (&*old.interfaces, &*new.interfaces);
        let interfaces = changed(&at.interfaces, interfaces, |it| &it.name);
        let groups = (&*before.groups, &*after.groups);
        let groups = changed(&at.groups, groups, |group| &group.name);
        let members = members(before, &groups, &interfaces)
            .chain(members(after, &groups, &interfaces))
            .collect();
        let security_groups = (&*old.security_groups, &*new.security_groups);
        let mut security_groups = changed(&at.security_groups, security_groups, |it| &it.name);
        let route_tables = (&*old.route_tables, &*new.route_tables);
        let mut route_tables = changed(&at.route_tables, route_tables, |it| &it.name);
        let network_acls = (&*old.network_acls, &*new.network_acls);
        let network_acls = changed(&at.network_acls, network_acls, |it| &it.name);
        let subnets = (&*old.subnets, &*new.subnets);
        refer_to_changes(new, &lists, &members, &mut security_groups);
        for table in &new.route_tables {
            if leads_to_changes(table, &lists, &interfaces) {
                route_tables.insert(&table.name);
            }
        }
        let vpcs = changed(&at.vpcs, (&*old.vpcs, &*new.vpcs), |vpc| &vpc.name);
        let peerings = changed(&at.peerings, (&*old.peerings, &*new.peerings), |it| {
            &it.name
        });
        Self {
            vpcs: with_peers(&vpcs, &peerings, [old, new]),
            groups,
            subnets: changed(&at.subnets, subnets, |subnet| &subnet.name),
            security_groups,
            network_acls,
            route_tables,
            places: new.subnets.iter().map(|it| (&it.name, it)).collect(),
        }
    }

    fn concern(&self, group: &GroupConfig) -> bool {
        if self.groups.contains(&group.name) {
            return true;
        }
        let carried = group.security_groups.iter();
        if carried
            .clone()
            .any(|name| self.security_groups.contains(name))
        {
            return true;
        }
        let Some(subnet) = &group.subnet_name else {
            return false;
        };
        let Some(place) = self.places.get(subnet) else {
            return true;
        };
        self.subnets.contains(subnet)
            || self.vpcs.contains(&place.vpc)
            || self.network_acls.contains(&place.network_acl)
            || self.route_tables.contains(&place.route_table)
    }
}

/// The VPCs that changed, whose peering connections changed, or that are peered with one
/// that changed.
fn with_peers<'c>(
    vpcs: &HashSet<&'c ObjectName>,
    peerings: &HashSet<&'c ObjectName>,
    networks: [&'c Network; 2],
) -> HashSet<&'c ObjectName> {
    let mut all = vpcs.clone();
    for peering in networks.iter().flat_map(|network| &network.peerings) {
        let ends = &peering.vpcs;
        if peerings.contains(&peering.name) || ends.iter().any(|vpc| vpcs.contains(vpc)) {
            all.extend(ends);
        }
    }
    all
}

/// Names of what is in one list only, or differs. What was only moved does not count.
fn changed<'c, T: PartialEq>(
    places: &[usize],
    (before, after): (&'c [T], &'c [T]),
    name: impl Fn(&'c T) -> &'c ObjectName,
) -> HashSet<&'c ObjectName> {
    let at = |list: &'c [T]| places.iter().filter_map(move |&place| list.get(place));
    let known: HashMap<_, _> = at(before).map(|it| (name(it), it)).collect();
    let mut changed: HashSet<_> = known.keys().copied().collect();
    for it in at(after) {
        if known.get(name(it)).is_some_and(|old| *old == it) {
            changed.remove(name(it));
        } else {
            changed.insert(name(it));
        }
    }
    changed
}

/// The security groups whose members a change of these groups and interfaces concerns.
fn members<'c>(
    config: &'c Config,
    groups: &HashSet<&'c ObjectName>,
    interfaces: &HashSet<&'c ObjectName>,
) -> impl Iterator<Item = &'c ObjectName> {
    let of_groups = config
        .groups
        .iter()
        .filter(|group| groups.contains(&group.name));
    let of_interfaces = config.network.interfaces.iter();
    let of_interfaces = of_interfaces.filter(|it| interfaces.contains(&it.name));
    let of_groups: Vec<_> = of_groups.flat_map(|group| &group.security_groups).collect();
    let of_interfaces: Vec<_> = of_interfaces.flat_map(|it| &it.security_groups).collect();
    of_groups.into_iter().chain(of_interfaces)
}

/// Adds the security groups whose rules name a list or a group that changed.
fn refer_to_changes<'c>(
    network: &'c Network,
    lists: &HashSet<&ObjectName>,
    members: &HashSet<&ObjectName>,
    security_groups: &mut HashSet<&'c ObjectName>,
) {
    if lists.is_empty() && members.is_empty() {
        return;
    }
    let refers = |group: &SecurityGroup| {
        group.egress.iter().any(|rule| match &rule.peer {
            Peer::Cidr(_) => false,
            Peer::Group(name) => members.contains(name),
            Peer::PrefixList(name) => lists.contains(name),
        })
    };
    let groups = network.security_groups.iter();
    security_groups.extend(
        groups
            .filter(|group| refers(group))
            .map(|group| &group.name),
    );
}

fn leads_to_changes(
    table: &RouteTable,
    lists: &HashSet<&ObjectName>,
    interfaces: &HashSet<&ObjectName>,
) -> bool {
    table.routes.iter().any(|route| {
        let by_list = match &route.destination {
            Destination::PrefixList(name) => lists.contains(name),
            Destination::Cidr(_) => false,
        };
        let by_interface = match &route.target {
            Target::Interface(name) => interfaces.contains(name),
            Target::Peering(_)
            | Target::InternetGateway(_)
            | Target::NatGateway(_)
            | Target::Blackhole => false,
        };
        by_list || by_interface
    })
}
