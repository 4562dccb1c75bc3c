//! What is where in a configuration, by name. Looking every name of a large one up
//! takes longer than compiling a policy, so that this is kept as long as it holds.

use std::{cell::OnceCell, collections::HashMap};

use ipnet::Ipv4Net;

use crate::model::{Config, ObjectName};

/// Places in a list by name.
type Places = HashMap<ObjectName, usize>;

/// Where the objects of a configuration are, and who carries which security group.
pub struct Directory {
    pub(super) vpcs: Places,
    pub(super) subnets: Places,
    pub(super) security_groups: Places,
    pub(super) network_acls: Places,
    pub(super) route_tables: Places,
    pub(super) prefix_lists: Places,
    pub(super) interfaces: Places,
    pub(super) members: HashMap<ObjectName, Members>,
}

impl Directory {
    /// Looks the names of a configuration up.
    pub fn new(config: &Config) -> Self {
        let network = &config.network;
        Self {
            vpcs: places(&network.vpcs, |vpc| &vpc.name),
            subnets: places(&network.subnets, |subnet| &subnet.name),
            security_groups: places(&network.security_groups, |group| &group.name),
            network_acls: places(&network.network_acls, |acl| &acl.name),
            route_tables: places(&network.route_tables, |table| &table.name),
            prefix_lists: places(&network.prefix_lists, |list| &list.name),
            interfaces: places(&network.interfaces, |interface| &interface.name),
            members: members(config),
        }
    }
}

/// The addresses of the interfaces that carry a security group.
#[derive(Default)]
pub(super) struct Members {
    addresses: Vec<Ipv4Net>,
    /// The same as few prefixes, once a rule asks for them.
    prefixes: OnceCell<Vec<Ipv4Net>>,
}

impl Members {
    /// As few prefixes.
    pub fn prefixes(&self) -> &[Ipv4Net] {
        self.prefixes
            .get_or_init(|| Ipv4Net::aggregate(&self.addresses))
    }
}

/// What a name stands for.
pub(super) fn find<'c, T>(places: &Places, all: &'c [T], name: &ObjectName) -> Option<&'c T> {
    all.get(*places.get(name)?)
}

fn places<T>(all: &[T], name: fn(&T) -> &ObjectName) -> Places {
    all.iter().map(|it| name(it).clone()).zip(0..).collect()
}

fn members(config: &Config) -> HashMap<ObjectName, Members> {
    let mut members: HashMap<ObjectName, Members> = HashMap::new();
    for group in &config.groups {
        for name in &group.security_groups {
            let members = members.entry(name.clone()).or_default();
            let addresses = group.enis.iter().map(|eni| Ipv4Net::from(eni.address));
            members.addresses.extend(addresses);
        }
    }
    for interface in &config.network.interfaces {
        for name in &interface.security_groups {
            let members = members.entry(name.clone()).or_default();
            members.addresses.push(interface.address.into());
        }
    }
    members
}
