//! Whether what the kernel counts is what there is: slots, ports, blocks, connections.

use std::collections::BTreeMap;

use vpc_common::{
    layout::{
        BLOCK_PORTS, Block, Bucket, EniState, EnvironmentState, POOLS_PER_ENI, Pool, Slab, Slot,
        name,
    },
    state::Phase,
};
use vpc_user::model::EnvironmentInfo;

use crate::{audit::Complaints, tables::Tables};

/// What the kernel wrote.
struct Kernel {
    slots: Vec<Slot>,
    blocks: Vec<Block>,
    pools: Vec<Pool>,
    /// 1 = free.
    slab: Vec<u64>,
}

impl Kernel {
    fn read(tables: &Tables) -> Self {
        let slab: Vec<Slab> = tables.observed::<_, { (32 + 2_048) / 8 }>(name::SLAB);
        Self {
            slots: tables.observed::<_, 16>(name::SLOTS),
            blocks: tables.observed::<_, 8>(name::BLOCKS),
            pools: tables.observed::<_, { (128 + 1_024) / 8 }>(name::POOLS),
            slab: slab[0].words.iter().map(|word| word.load()).collect(),
        }
    }

    /// Slots in use, by index.
    fn in_use(&self) -> impl Iterator<Item = (usize, &Slot)> {
        let slots = self.slots.iter().enumerate();
        slots.filter(|(_, slot)| slot.state().phase() != Phase::Free)
    }

    fn is_granted(&self, block: usize) -> bool {
        self.slab[block / 64] >> (block % 64) & 1 == 0
    }
}

/// Slots in use.
pub fn flows(tables: &Tables) -> usize {
    Kernel::read(tables).in_use().count()
}

/// Compares everything with everything.
pub fn complain(tables: &Tables, list: &[EnvironmentInfo], found: &mut Complaints) {
    let kernel = Kernel::read(tables);
    ports(&kernel, found);
    pools(&kernel, found);
    owners(&kernel, tables, list, found);
    let buckets: Vec<Bucket> = tables.observed::<_, 8>(name::FLOW_BY_TUPLE);
    let entries = buckets.iter().flat_map(|bucket| &bucket.entries);
    let entries = entries.filter(|entry| entry.load() != 0).count();
    found.same("forward entries", &entries, &kernel.in_use().count());
}

/// A port is taken where its slot is in use, and free where that is free.
fn ports(kernel: &Kernel, found: &mut Complaints) {
    for (number, block) in kernel.blocks.iter().enumerate() {
        if !kernel.is_granted(number) {
            continue;
        }
        let first = number * BLOCK_PORTS as usize;
        let slots = &kernel.slots[first..first + BLOCK_PORTS as usize];
        for (port, slot) in slots.iter().enumerate() {
            let is_free = block.words[port / 64].load() >> (port % 64) & 1 == 1;
            let is_used = slot.state().phase() != Phase::Free;
            found.unless(is_free != is_used, || {
                format!("port {port} of block {number}: free {is_free}, used {is_used}")
            });
            let pool = u32::from(slot.eni()) * POOLS_PER_ENI;
            let is_of = (pool..pool + POOLS_PER_ENI).contains(&block.pool.load());
            found.unless(!is_used || is_of, || {
                format!("slot {} is of ENI {}", first + port, slot.eni())
            });
        }
    }
    let outside = |(index, _): &(usize, &Slot)| !kernel.is_granted(index / BLOCK_PORTS as usize);
    let outside = kernel.in_use().filter(outside).count();
    found.same("slots in use of blocks that are not", &outside, &0);
}

/// A block that the slab has given away is in one pool, which counts it and its ports.
fn pools(kernel: &Kernel, found: &mut Complaints) {
    let mut holders = vec![0; kernel.blocks.len()];
    for (index, pool) in (0_u32..).zip(&kernel.pools) {
        let (mut held, mut used) = (0, 0);
        for (number, place) in (0_u32..).zip(&pool.block) {
            let granted = pool.granted[number as usize / 64].load() >> (number % 64) & 1 == 1;
            let place = place.load();
            found.same("a block is granted", &granted, &(place != 0));
            let Some(block) = place.checked_sub(1) else {
                continue;
            };
            held += 1;
            holders[block as usize] += 1;
            let header = &kernel.blocks[block as usize];
            let is = (header.pool.load(), header.number.load());
            found.same(&format!("block {block}"), &is, &(index, number));
            let free: u32 = header
                .words
                .iter()
                .map(|word| word.load().count_ones())
                .sum();
            used += u64::from(BLOCK_PORTS - free);
        }
        found.same(
            &format!("blocks of pool {index}"),
            &pool.blocks.load(),
            &held,
        );
        found.same(&format!("ports of pool {index}"), &pool.used.load(), &used);
    }
    for (block, holders) in holders.into_iter().enumerate() {
        let given = u32::from(kernel.is_granted(block));
        found.same(&format!("pools of block {block}"), &holders, &given);
    }
}

/// Every flow is of an environment and of an ENI, which count it.
fn owners(kernel: &Kernel, tables: &Tables, list: &[EnvironmentInfo], found: &mut Complaints) {
    let generations: BTreeMap<u32, u32> =
        list.iter().map(|one| (one.index, one.generation)).collect();
    let (mut flows, mut connections) = (BTreeMap::new(), BTreeMap::new());
    for (index, slot) in kernel.in_use() {
        let (environment, eni) = (u32::from(slot.environment()), u32::from(slot.eni()));
        let generation = generations.get(&environment);
        let is_there = generation == Some(&slot.generation.load());
        found.unless(is_there, || {
            format!("slot {index} of environment {environment} that is gone")
        });
        *flows.entry(environment).or_insert(0_u64) += 1;
        *connections.entry(eni).or_insert(0_u64) += 1;
    }
    let states: Vec<EnvironmentState> = tables.observed::<_, 8>(name::ENVIRONMENT_STATES);
    for one in list {
        let wanted = flows.get(&one.index).copied().unwrap_or_default();
        let counted = states[one.index as usize].flows.load();
        found.same(&format!("flows of {}", one.name), &counted, &wanted);
    }
    let states: Vec<EniState> = tables.observed::<_, 16>(name::ENI_STATES);
    for (eni, state) in (0_u32..).zip(&states) {
        let wanted = connections.get(&eni).copied().unwrap_or_default();
        found.same(
            &format!("connections of ENI {eni}"),
            &state.connections.load(),
            &wanted,
        );
    }
}
