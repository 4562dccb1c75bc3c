//! A group of a configuration in the tables of a machine.

use std::net::Ipv4Addr;

use vpc_common::packet_table::{
    Machine,
    world::{World, addr},
};
use vpc_user::{
    model::{Config, ObjectName},
    policy,
};

/// What a configuration has become in a machine's tables.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Installed {
    /// The address of ENI 0, which environment 0 leaves by.
    pub eni: Ipv4Addr,
    /// Names of uplinks by their index.
    pub uplinks: Vec<ObjectName>,
}

/// Writes a group into an emptied machine: environment 0 leaves by ENI 0, which has
/// the group's first address; uplinks are by the order of the configuration; no
/// neighbour is known.
///
/// # Panics
///
/// If the group is not in the configuration.
pub fn install(
    machine: &mut dyn Machine,
    config: &Config,
    name: &ObjectName,
) -> (World, Installed) {
    let group = config.groups.iter().find(|g| g.name == *name);
    let group = group.expect("the group is in the configuration");
    let uplinks: Vec<_> = config.uplinks.iter().map(|u| u.name.clone()).collect();
    let uplink = uplinks.iter().position(|uplink| *uplink == group.uplink);
    let uplink = uplink.expect("validation leaves no dangling name") as u32;
    let mut world = World::new(machine);
    world.next_hops.clear();
    let eni = &mut world.enis[0];
    eni.address = addr(group.enis[0].address.octets());
    eni.uplink = uplink;
    let index = |name: &ObjectName| uplinks.iter().position(|uplink| uplink == name);
    let source = policy::source(config, group);
    let image = policy::compile(&source, &|name| index(name).map(|index| index as u32));
    let rules = &mut world.rules[0];
    rules.compiled = Some(image.expect("the rules of a test find room"));
    // A peered VPC, if the group has a route there, is on the other uplink.
    rules.peered = (uplinks.len() > 1).then_some(1 - uplink);
    machine.configure(&world);
    let eni = group.enis[0].address;
    (world, Installed { eni, uplinks })
}
