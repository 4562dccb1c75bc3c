//! What the control plane asks of single ENIs, by their names.

use std::collections::BTreeMap;

use aya::maps::MapError;
use vpc_common::{
    layout::{BLOCK_PORTS, Eni, EniKey, EniRef},
    state::Timeouts,
};

use super::{Dataplane, step::members};
use crate::model::EnvironmentFlows;

/// How much an ENI carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EniLoad<'a> {
    /// Its name.
    pub name: &'a str,
    /// Open connections.
    pub connections: u64,
    /// Connections from which on it is nearly full.
    pub high_water: u32,
}

impl Dataplane {
    fn eni_named(&self, name: &str) -> Option<(u32, Eni)> {
        let mut enis = self.mirror.enis.iter();
        let (index, eni) = enis.find(|(_, eni)| eni.name == name)?;
        Some((*index, eni.value))
    }

    /// Whether the tables know an ENI, in whatever state.
    pub fn knows_eni(&self, name: &str) -> bool {
        self.eni_named(name).is_some()
    }

    /// Whether an ENI takes flows of a group: everything that they need is in the tables,
    /// and its uplink is up.
    pub fn serves(&self, group: &str, eni: &str) -> bool {
        let serves = || {
            let (index, value) = self.eni_named(eni)?;
            let group = self.mirror.groups.get(&self.mirror.group(group)?)?;
            let is_member = members(&group.value).contains(&index);
            let is_up = self.mirror.attached_uplinks.contains(&value.uplink);
            let key = EniKey::new(value.uplink, value.address);
            let is_reached = self.mirror.eni_by_address.get(&key) == Some(&EniRef::home(index));
            Some(is_member && is_up && is_reached && self.mirror.policies.contains_key(&index))
        };
        serves().unwrap_or(false)
    }

    /// The load of every ENI.
    pub fn eni_loads(&self) -> impl Iterator<Item = EniLoad<'_>> {
        let states = &self.tables.shared.eni_states;
        self.mirror.enis.iter().filter_map(move |(index, eni)| {
            Some(EniLoad {
                name: &eni.name,
                connections: states.get(*index as usize)?.connections.load(),
                high_water: eni.value.high_water,
            })
        })
    }

    /// Open flows on an ENI, by environment.
    pub fn flows_on(&self, name: &str) -> Vec<EnvironmentFlows> {
        let Some((index, _)) = self.eni_named(name) else {
            return Vec::new();
        };
        let shared = &self.tables.shared;
        let blocks = shared.blocks_in_use();
        let slots = blocks.flat_map(|block| block * BLOCK_PORTS..(block + 1) * BLOCK_PORTS);
        let mut counts: BTreeMap<u32, u64> = BTreeMap::new();
        for slot in slots.filter_map(|slot| shared.slots.get(slot as usize)) {
            if slot.state().is_open() && u32::from(slot.eni()) == index {
                *counts.entry(slot.environment().into()).or_default() += 1;
            }
        }
        let named = |index: u32| match self.environments.get(index) {
            Some(attached) => attached.name.clone(),
            None => index.to_string(),
        };
        let counts = counts.into_iter();
        counts
            .map(|(index, flows)| EnvironmentFlows {
                environment: named(index),
                flows,
            })
            .collect()
    }

    /// Ends the flows of an ENI, whatever they still carry: the next sweep takes them down,
    /// and an environment that goes on in one is answered with RST.
    pub fn end_flows(&mut self, name: &str) -> Result<(), MapError> {
        let Some((index, mut value)) = self.eni_named(name) else {
            return Ok(());
        };
        if value.timeouts == Timeouts([0; 16]) {
            return Ok(());
        }
        value.timeouts = Timeouts([0; 16]);
        self.tables.enis.set(index, value, 0)?;
        if let Some(eni) = self.mirror.enis.get_mut(&index) {
            eni.value = value;
        }
        Ok(())
    }

    /// Environments that were detached because their interface went away, since this was
    /// asked last.
    pub fn take_lost(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lost)
    }

    /// Names of the environments that are attached.
    pub fn environment_names(&self) -> impl Iterator<Item = &str> {
        self.environments
            .iter()
            .map(|(_, attached)| attached.name.as_str())
    }

    /// Whether an environment is attached.
    pub fn knows_environment(&self, name: &str) -> bool {
        self.environments.by_name(name).is_some()
    }

    /// The group that an environment's new flows go by.
    pub fn group_of(&self, environment: &str) -> Option<&str> {
        let index = self.environments.by_name(environment)?;
        let group = self.environments.get(index)?.value.group;
        Some(&self.mirror.groups.get(&group)?.name)
    }
}
