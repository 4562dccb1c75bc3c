//! Who found nothing left: no port, no slot, no room in a quota. From the drop counters, once
//! a period; a single packet of each is enough to be told of.

use std::{collections::HashMap, path::Path};

use aya::maps::MapError;
use vpc_common::{
    drop::DropReason,
    layout::{DropKey, Environment, Group, OwnerKind, POOLS_PER_ENI, name},
    state::{TCP, UDP},
};

use super::{
    object::pinned,
    start_error::StartError,
    step::members,
    tables::{Hash, SharedTables, Values},
};

/// Drops that say that something is used up.
const REASONS: [DropReason; 3] = [
    DropReason::PortsExhausted,
    DropReason::SlabExhausted,
    DropReason::EnvironmentQuota,
];

/// An environment that could not open flows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exhaustion {
    /// Its index.
    pub environment: u32,
    /// Its generation.
    pub generation: u32,
    /// Index of its group of ENIs.
    pub group: u32,
    /// The open flows that it, or the host, may have.
    pub limit: u32,
    /// What was used up.
    pub reason: DropReason,
    /// Packets that were dropped for it since the last time.
    pub packets: u64,
    /// Pools of the group that are full now: ENI index and IP protocol number.
    pub full: Vec<(u32, u8)>,
}

/// The tables that tell.
pub struct Exhaustions {
    drops: Hash<DropKey, u64>,
    environments: Values<Environment>,
    groups: Values<Group>,
    /// What was told of, once it was looked at.
    told: Option<HashMap<DropKey, u64>>,
}

impl Exhaustions {
    /// Opens the tables under a folder.
    pub fn open(maps: &Path) -> Result<Self, StartError> {
        Ok(Self {
            drops: pinned(maps, name::DROPS)?,
            environments: pinned(maps, name::ENVIRONMENTS)?,
            groups: pinned(maps, name::GROUPS)?,
            told: None,
        })
    }

    /// What was used up since this was asked last; nothing the first time.
    pub fn take(&mut self, shared: &SharedTables) -> Result<Vec<Exhaustion>, MapError> {
        let mut now = HashMap::new();
        for entry in self.drops.iter() {
            let (key, packets) = entry?;
            if matches!(key.owner.parts(), (OwnerKind::Environment, _)) {
                now.insert(key, packets);
            }
        }
        let mut found = Vec::new();
        if let Some(told) = &self.told {
            for (key, packets) in &now {
                // A counter that fell is another environment's.
                let before = told.get(key).filter(|before| *before <= packets);
                let more = packets - before.copied().unwrap_or_default();
                let reason = REASONS.into_iter().find(|it| *it as u32 == key.reason);
                if let Some(reason) = reason.filter(|_| more != 0) {
                    let (_, index) = key.owner.parts();
                    found.push(self.exhaustion(index, reason, more, shared)?);
                }
            }
        }
        self.told = Some(now);
        Ok(found)
    }

    fn exhaustion(
        &self,
        index: u32,
        reason: DropReason,
        packets: u64,
        shared: &SharedTables,
    ) -> Result<Exhaustion, MapError> {
        let environment = self.environments.get(&index, 0)?;
        let group = self.groups.get(&environment.group, 0)?;
        let full = match reason {
            DropReason::PortsExhausted => full(&group, shared),
            _ => Vec::new(),
        };
        Ok(Exhaustion {
            environment: index,
            generation: environment.generation,
            group: environment.group,
            limit: match reason {
                DropReason::SlabExhausted => shared.limits.slots(),
                _ => environment.flow_quota,
            },
            reason,
            packets,
            full,
        })
    }
}

/// The pools of a group that have no port left.
fn full(group: &Group, shared: &SharedTables) -> Vec<(u32, u8)> {
    let mut full = Vec::new();
    for eni in members(group) {
        for (number, protocol) in (0..POOLS_PER_ENI).zip([TCP, UDP]) {
            let pool = shared.pools.get((eni * POOLS_PER_ENI + number) as usize);
            if pool.is_some_and(|pool| pool.used.load() >= pool.capacity.load()) {
                full.push((*eni, protocol));
            }
        }
    }
    full
}
