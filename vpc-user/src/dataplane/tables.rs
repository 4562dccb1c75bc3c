//! Handles on the pinned tables. The agent is the only writer of those it writes;
//! the others are mapped and only read, but for the words that the contract names.

use std::{collections::BTreeSet, io, path::Path, sync::Arc};

use aya::maps::{Array, DevMap, HashMap, MapData, MapError, PerCpuArray, xdp::XdpMapError};
use vpc_common::{
    atomic::Shared64,
    layout::{
        DropKey, Eni, EniKey, EniRef, EniState, Environment, EnvironmentState, Group, Limits, Link,
        Name, NameKey, NextHop, NextHopKey, POOLS_PER_ENI, Pool, RefusalKey, Slab, Slot, Uplink,
        name,
    },
};

use super::{
    mapped::{Mapped, SharedValue},
    object::pinned,
    refusals::Counted,
    start_error::StartError,
};

/// A pinned hash table.
pub type Hash<K, V> = HashMap<MapData, K, V>;
/// A pinned array.
pub type Values<V> = Array<MapData, V>;

/// Tables that the kernel writes and every thread of the agent reads.
pub struct SharedTables {
    /// What the tables were made for.
    pub limits: Limits,
    /// By environment index.
    pub environment_states: Mapped<EnvironmentState>,
    /// By ENI index.
    pub eni_states: Mapped<EniState>,
    /// Two per ENI.
    pub pools: Mapped<Pool>,
    /// One.
    pub slab: Mapped<Slab>,
    /// 256 per block.
    pub slots: Mapped<Slot>,
    /// By next hop index.
    pub next_hops: Mapped<NextHop>,
    /// By ENI index: an [`InForce`](vpc_common::layout::InForce); written by the owner of
    /// the data plane.
    pub policies: Mapped<Shared64>,
    /// The words of all policies; written by the owner of the data plane.
    pub policy_words: Mapped<Shared64>,
}

impl SharedTables {
    fn open(maps: &Path, limits: &Limits) -> Result<Self, StartError> {
        Ok(Self {
            limits: *limits,
            environment_states: mapped(maps, name::ENVIRONMENT_STATES, limits.environments)?,
            eni_states: mapped(maps, name::ENI_STATES, limits.enis)?,
            pools: mapped(maps, name::POOLS, limits.enis * POOLS_PER_ENI)?,
            slab: mapped(maps, name::SLAB, 1)?,
            slots: mapped(maps, name::SLOTS, limits.slots())?,
            next_hops: mapped(maps, name::NEXT_HOPS, limits.next_hops)?,
            policies: mapped(maps, name::POLICIES, limits.enis)?,
            policy_words: mapped(maps, name::POLICY_WORDS, limits.policy_words)?,
        })
    }

    /// ENIs with open connections.
    pub fn busy_enis(&self) -> BTreeSet<u32> {
        let states = self.eni_states.iter().enumerate();
        let busy = states.filter(|(_, state)| state.connections.load() != 0);
        busy.map(|(index, _)| index as u32).collect()
    }

    /// The blocks of the slab that a pool holds.
    pub fn blocks_in_use(&self) -> impl Iterator<Item = u32> + '_ {
        let words = self.slab[0]
            .words
            .iter()
            .take(self.limits.blocks.div_ceil(64) as usize);
        words.enumerate().flat_map(|(number, word)| {
            let first = number as u32 * 64;
            let used = !word.load();
            (0..64)
                .filter(move |bit| used >> bit & 1 == 1)
                .map(move |bit| first + bit)
                .filter(|block| *block < self.limits.blocks)
        })
    }
}

fn mapped<T: SharedValue>(
    maps: &Path,
    table: &'static str,
    len: u32,
) -> Result<Mapped<T>, StartError> {
    let failed =
        |source: Box<dyn std::error::Error + Send + Sync>| StartError::Map { table, source };
    let map = MapData::from_pin(maps.join(table)).map_err(|error| failed(Box::new(error)))?;
    Mapped::new(map.fd(), len).map_err(|error: io::Error| failed(Box::new(error)))
}

/// The tables of the thread that owns the data plane.
pub struct Tables {
    /// What each interface is.
    pub links: Hash<u32, Link>,
    /// By index.
    pub environments: Values<Environment>,
    /// By index.
    pub uplinks: Values<Uplink>,
    /// By index.
    pub groups: Values<Group>,
    /// By index.
    pub enis: Values<Eni>,
    /// By an ENI's address on an uplink.
    pub eni_by_address: Hash<EniKey, EniRef>,
    /// What people call things.
    pub names: Hash<NameKey, Name>,
    /// Dropped packets.
    pub drops: Hash<DropKey, u64>,
    /// Index of a neighbour by its address on an uplink.
    pub next_hop_by_address: Hash<NextHopKey, u32>,
    /// What rules and routes refused.
    pub refusals: Hash<RefusalKey, Counted>,
    /// What the kernel counts besides.
    pub stats: PerCpuArray<MapData, u64>,
    /// Where the environments are.
    pub environment_ports: Ports,
    /// Where the uplinks are.
    pub uplink_ports: Ports,
    /// What the kernel writes.
    pub shared: Arc<SharedTables>,
}

impl Tables {
    /// Opens the tables under a folder.
    pub fn open(maps: &Path, limits: &Limits) -> Result<Self, StartError> {
        Ok(Self {
            links: pinned(maps, name::LINK_BY_IFINDEX)?,
            environments: pinned(maps, name::ENVIRONMENTS)?,
            uplinks: pinned(maps, name::UPLINKS)?,
            groups: pinned(maps, name::GROUPS)?,
            enis: pinned(maps, name::ENIS)?,
            eni_by_address: pinned(maps, name::ENI_BY_ADDRESS)?,
            names: pinned(maps, name::NAMES)?,
            drops: pinned(maps, name::DROPS)?,
            next_hop_by_address: pinned(maps, name::NEXT_HOP_BY_ADDRESS)?,
            refusals: pinned(maps, name::REFUSALS)?,
            stats: pinned(maps, name::STATS)?,
            environment_ports: Ports {
                xdp: pinned(maps, name::ENVIRONMENT_PORTS)?,
                tc: pinned(maps, name::TC_ENVIRONMENT_PORTS)?,
            },
            uplink_ports: Ports {
                xdp: pinned(maps, name::UPLINK_PORTS)?,
                tc: pinned(maps, name::TC_UPLINK_PORTS)?,
            },
            shared: Arc::new(SharedTables::open(maps, limits)?),
        })
    }
}

/// Where the links of one kind are: one table for the programs of each hook.
pub struct Ports {
    xdp: DevMap<MapData>,
    tc: DevMap<MapData>,
}

impl Ports {
    /// Whether an interface is entered for both hooks.
    pub fn are(&self, index: u32, ifindex: u32) -> bool {
        let holds = |table: &DevMap<MapData>| {
            table
                .get(index, 0)
                .is_ok_and(|entry| entry.if_index == ifindex)
        };
        holds(&self.tc) && holds(&self.xdp)
    }

    /// Whether an interface is entered for either hook: it is still there then.
    pub fn hold(&self, index: u32, ifindex: u32) -> bool {
        let holds = |table: &DevMap<MapData>| {
            let entry = table.get(index, 0);
            entry.is_ok_and(|entry| entry.if_index == ifindex)
        };
        holds(&self.tc) || holds(&self.xdp)
    }

    /// Enters an interface; 0 = none.
    pub fn set(&mut self, index: u32, ifindex: u32) -> Result<(), XdpMapError> {
        self.tc.set(index, ifindex, None, 0)?;
        self.xdp.set(index, ifindex, None, 0)
    }
}

/// Removing what is not there is no failure.
pub fn absent_is_fine(result: Result<(), MapError>) -> Result<(), MapError> {
    match result {
        Err(MapError::SyscallError(error))
            if error.io_error.raw_os_error() == Some(libc::ENOENT) =>
        {
            Ok(())
        }
        Err(MapError::KeyNotFound) => Ok(()),
        other => other,
    }
}
