//! What each pinned table must look like. aya opens whatever sits at a pin's
//! path without a look at it, so the agent looks first.

use std::mem::size_of;

use aya::maps::{MapInfo, MapType};
use vpc_common::{
    drop::DropReason,
    layout::{
        Block, Bucket, DropKey, Eni, EniKey, EniRef, EniState, Environment, EnvironmentState,
        FlowHash, Fragment, FragmentKey, Group, InForce, Limits, Link, Meta, Name, NameKey,
        NextHop, NextHopKey, POOLS_PER_ENI, Pool, Refusal, RefusalKey, Slab, Slot, Stat,
        SweepResult, Uplink, name,
    },
};

/// Counters kept at most: reasons times those who can have them.
pub const DROP_COUNTERS: u32 = 65_536;

/// Type and sizes of a table.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Shape {
    /// Kind of map.
    pub kind: MapType,
    /// Bytes of a key.
    pub key: u32,
    /// Bytes of a value.
    pub value: u32,
    /// How many entries; `None` where the kernel object decides.
    pub entries: Option<u32>,
}

impl Shape {
    /// What an existing map is.
    pub fn of(info: &MapInfo) -> Self {
        Self {
            kind: info.map_type().unwrap_or(MapType::Unspecified),
            key: info.key_size(),
            value: info.value_size(),
            entries: Some(info.max_entries()),
        }
    }

    /// Whether a map of shape `found` can serve as one of this.
    pub fn accepts(&self, found: &Self) -> bool {
        (self.kind, self.key, self.value) == (found.kind, found.key, found.value)
            && (self.entries.is_none() || self.entries == found.entries)
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} of {} + {} bytes", self.kind, self.key, self.value)?;
        match self.entries {
            Some(entries) => write!(f, " with {entries} entries"),
            None => Ok(()),
        }
    }
}

/// A table by name.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct TableSpec {
    /// Name in the object and of the pin.
    pub name: &'static str,
    /// What it must look like.
    pub shape: Shape,
}

const fn table<K, V>(name: &'static str, kind: MapType, entries: u32) -> TableSpec {
    let (key, value) = (size_of::<K>() as u32, size_of::<V>() as u32);
    TableSpec {
        name,
        shape: Shape {
            kind,
            key,
            value,
            entries: Some(entries),
        },
    }
}

const fn ring(name: &'static str) -> TableSpec {
    TableSpec {
        name,
        shape: Shape {
            kind: MapType::RingBuf,
            key: 0,
            value: 0,
            entries: None,
        },
    }
}

/// The tables the kernel object declares.
pub fn kernel_tables(limits: &Limits) -> Vec<TableSpec> {
    use MapType::{Array, DevMap, Hash, LruHash, PerCpuArray};
    let Limits {
        environments,
        uplinks,
        enis,
        next_hops,
        blocks,
        fragments,
        policy_words,
        refusals,
    } = *limits;
    vec![
        table::<u32, Meta>(name::META, Array, 1),
        table::<u32, Link>(name::LINK_BY_IFINDEX, Hash, environments + uplinks),
        table::<u32, Environment>(name::ENVIRONMENTS, Array, environments),
        table::<u32, EnvironmentState>(name::ENVIRONMENT_STATES, Array, environments),
        table::<u32, Uplink>(name::UPLINKS, Array, uplinks),
        table::<u32, Group>(name::GROUPS, Array, enis),
        table::<u32, Eni>(name::ENIS, Array, enis),
        table::<u32, InForce>(name::POLICIES, Array, enis),
        table::<u32, u64>(name::POLICY_WORDS, Array, policy_words),
        table::<RefusalKey, Refusal>(name::REFUSALS, Hash, refusals),
        table::<u32, EniState>(name::ENI_STATES, Array, enis),
        // Each once on its own uplink, and on those of peered VPCs.
        table::<EniKey, EniRef>(name::ENI_BY_ADDRESS, Hash, 4 * enis),
        table::<u32, Pool>(name::POOLS, Array, enis * POOLS_PER_ENI),
        table::<u32, Slab>(name::SLAB, Array, 1),
        table::<u32, Block>(name::BLOCKS, Array, blocks),
        table::<u32, Slot>(name::SLOTS, Array, limits.slots()),
        table::<u32, Bucket>(name::FLOW_BY_TUPLE, Array, limits.buckets()),
        table::<u32, FlowHash>(name::FLOW_HASH, Array, 1),
        table::<FragmentKey, Fragment>(name::FRAGMENTS, LruHash, fragments),
        table::<NextHopKey, u32>(name::NEXT_HOP_BY_ADDRESS, Hash, next_hops),
        table::<u32, NextHop>(name::NEXT_HOPS, Array, next_hops),
        table::<DropKey, u64>(name::DROPS, Hash, DROP_COUNTERS),
        table::<u32, u64>(name::STATS, PerCpuArray, Stat::COUNT),
        // A device map's value is an interface and a program.
        table::<u32, [u32; 2]>(name::ENVIRONMENT_PORTS, DevMap, environments),
        table::<u32, [u32; 2]>(name::UPLINK_PORTS, DevMap, uplinks),
        table::<u32, [u32; 2]>(name::TC_ENVIRONMENT_PORTS, DevMap, environments),
        table::<u32, [u32; 2]>(name::TC_UPLINK_PORTS, DevMap, uplinks),
        ring(name::EVENTS),
        ring(name::PUNTS),
        ring(name::FLOW_RECORDS),
        table::<u32, SweepResult>(name::SWEEP_RESULT, Array, 1),
    ]
}

/// The table that only the agent knows: a name and a prepared far end for every
/// environment and uplink, a name for every ENI and group.
pub fn names_table(limits: &Limits) -> TableSpec {
    let entries = 2 * (limits.environments + limits.uplinks + limits.enis);
    table::<NameKey, Name>(name::NAMES, MapType::Hash, entries)
}

/// Limits that differ, as `environments 16384 (asked for 100)`.
pub fn differences(made: &Limits, asked: &Limits) -> String {
    let pairs = [
        ("environments", made.environments, asked.environments),
        ("uplinks", made.uplinks, asked.uplinks),
        ("enis", made.enis, asked.enis),
        ("next_hops", made.next_hops, asked.next_hops),
        ("blocks", made.blocks, asked.blocks),
        ("fragments", made.fragments, asked.fragments),
        ("policy_words", made.policy_words, asked.policy_words),
        ("refusals", made.refusals, asked.refusals),
    ];
    let differing = pairs.iter().filter(|(_, made, asked)| made != asked);
    let texts: Vec<String> = differing
        .map(|(name, made, asked)| format!("{name} = {made} (asked for {asked})"))
        .collect();
    texts.join(", ")
}

const _: () = assert!(DropReason::ALL.len() < 256);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_is_listed_once() {
        let mut names: Vec<_> = kernel_tables(&Limits::DEFAULT)
            .iter()
            .map(|table| table.name)
            .collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn a_shape_is_accepted_only_as_it_is() {
        let shape = kernel_tables(&Limits::DEFAULT)[1].shape;
        assert!(shape.accepts(&shape));
        assert!(!shape.accepts(&Shape {
            entries: Some(100),
            ..shape
        }));
        assert!(!shape.accepts(&Shape {
            kind: MapType::Array,
            ..shape
        }));
        assert!(
            Shape {
                entries: None,
                ..shape
            }
            .accepts(&shape)
        );
        assert_eq!(shape.to_string(), "Hash of 4 + 8 bytes with 16640 entries");
    }

    #[test]
    fn only_the_limits_that_differ_are_named() {
        let asked = Limits {
            enis: 2,
            ..Limits::DEFAULT
        };
        assert_eq!(
            differences(&Limits::DEFAULT, &asked),
            "enis = 256 (asked for 2)"
        );
    }
}
