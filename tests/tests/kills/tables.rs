//! The pinned tables, read past the agent.

use std::{
    collections::BTreeMap,
    mem::{size_of, transmute_copy},
    path::PathBuf,
};

use aya::{
    Pod,
    maps::{Array, DevMap, HashMap, Map, MapData, MapError, PerCpuArray},
};
use vpc_common::layout::{Block, Bucket, EniState, EnvironmentState, Pool, Slab, Slot, name};

/// The folder of tables.
#[derive(Clone, Debug)]
pub struct Tables(pub PathBuf);

/// What the kernel writes: not `Copy`, because it changes.
///
/// # Safety
/// Every bit pattern is a value, and there is no padding.
pub unsafe trait Observed: Sized {}

// SAFETY: whole words without padding, as the sizes in `layout` have it.
unsafe impl Observed for Slot {}
// SAFETY: as above.
unsafe impl Observed for Pool {}
// SAFETY: as above.
unsafe impl Observed for Block {}
// SAFETY: as above.
unsafe impl Observed for Slab {}
// SAFETY: as above.
unsafe impl Observed for Bucket {}
// SAFETY: as above.
unsafe impl Observed for EniState {}
// SAFETY: as above.
unsafe impl Observed for EnvironmentState {}

impl Tables {
    /// A handle on a table.
    pub fn open<T: TryFrom<Map, Error = MapError>>(&self, table: &str) -> T {
        let data = MapData::from_pin(self.0.join(table));
        let data = data.unwrap_or_else(|error| panic!("{table}: {error}"));
        let map = Map::from_map_data(data).expect("a kind that is known");
        T::try_from(map).unwrap_or_else(|error| panic!("{table}: {error}"))
    }

    /// Values of an array.
    pub fn array<T: Pod>(&self, table: &str) -> Vec<T> {
        let array: Array<MapData, T> = self.open(table);
        array.iter().collect::<Result<_, _>>().expect("readable")
    }

    /// Values of an array that the kernel writes, `N` words each.
    pub fn observed<T: Observed, const N: usize>(&self, table: &str) -> Vec<T> {
        const { assert!(size_of::<T>() == 8 * N) };
        let words: Vec<[u64; N]> = self.array(table);
        // SAFETY: of the same size, and every bit pattern is a value.
        words
            .iter()
            .map(|words| unsafe { transmute_copy(words) })
            .collect()
    }

    /// Entries of a hash.
    pub fn hash<K: Pod, V: Pod>(&self, table: &str) -> Vec<(K, V)> {
        let hash: HashMap<MapData, K, V> = self.open(table);
        hash.iter().collect::<Result<_, _>>().expect("readable")
    }

    /// A number of each CPU.
    pub fn counts(&self, index: u32) -> Vec<u64> {
        let table: PerCpuArray<MapData, u64> = self.open(name::STATS);
        table.get(&index, 0).expect("readable").to_vec()
    }

    /// Interfaces by index, those that are entered.
    pub fn ports(&self, table: &str) -> BTreeMap<u32, u32> {
        let ports: DevMap<MapData> = self.open(table);
        let port = |index| Some((index, ports.get(index, 0).ok()?.if_index));
        let entered = (0..ports.len()).filter_map(port);
        entered.filter(|(_, ifindex)| *ifindex != 0).collect()
    }
}
