//! Whether the tables agree with each other, looked at while nothing else runs.
//!
//! Works on the double's memory and on maps mapped into a test alike.

use std::collections::{HashMap, HashSet};

use crate::{layout::*, state::Phase};

/// The tables that the kernel programs write, wherever they lie.
#[derive(Clone, Copy)]
pub struct Seen<'t> {
    /// By index.
    pub environment_states: &'t [EnvironmentState],
    /// By index.
    pub eni_states: &'t [EniState],
    /// By index: two per ENI.
    pub pools: &'t [Pool],
    /// The slab's bitmap.
    pub slab: &'t Slab,
    /// By index.
    pub blocks: &'t [Block],
    /// By index.
    pub slots: &'t [Slot],
    /// By index.
    pub next_hops: &'t [NextHop],
}

/// Everything in which the tables contradict each other; nothing, if all is well.
pub fn faults(
    seen: &Seen<'_>,
    environments: &[Environment],
    flows: &HashMap<FlowKey, FlowRef>,
) -> Vec<String> {
    let mut audit = Audit {
        seen: *seen,
        faults: Vec::new(),
    };
    audit.blocks();
    audit.pools();
    audit.slots(flows);
    audit.entries(flows);
    audit.counts(environments);
    audit.faults
}

struct Audit<'t> {
    seen: Seen<'t>,
    faults: Vec<String>,
}

impl Audit<'_> {
    fn expect(&mut self, holds: bool, fault: impl FnOnce() -> String) {
        if !holds {
            self.faults.push(fault());
        }
    }

    /// The pool that a block is granted to, by the pool's own word.
    fn pool_of(&self, block: usize) -> Option<(usize, usize)> {
        let (pool, number) = (
            self.seen.blocks[block].pool.load() as usize,
            self.seen.blocks[block].number.load() as usize,
        );
        let listed = self.seen.pools.get(pool)?.block.get(number)?.load();
        (listed == block as u32 + 1).then_some((pool, number))
    }

    /// Every block is either in the slab or in one pool.
    fn blocks(&mut self) {
        let seen = self.seen;
        let mut owners = vec![0; seen.blocks.len() + 1];
        for entry in seen.pools.iter().flat_map(|pool| &pool.block) {
            let listed = entry.load() as usize;
            match owners.get_mut(listed) {
                Some(owners) => *owners += 1,
                None => self
                    .faults
                    .push(format!("a pool lists block {}", listed - 1)),
            }
        }
        for (block, owners) in owners.into_iter().skip(1).enumerate() {
            let (word, bit) = (block / 64, block % 64);
            let free = seen.slab.words[word].load() >> bit & 1 == 1;
            let hinted = seen.slab.summary[word / 64].load() >> (word % 64) & 1 == 1;
            self.expect(owners + usize::from(free) == 1, || {
                format!("block {block}: in {owners} pools, in the slab: {free}")
            });
            self.expect(!free || hinted, || {
                format!("block {block} is free but its word is not hinted")
            });
            self.expect(owners == 0 || self.pool_of(block).is_some(), || {
                format!("block {block} names another pool than the one that lists it")
            });
        }
    }

    fn pools(&mut self) {
        let seen = self.seen;
        for (index, pool) in seen.pools.iter().enumerate() {
            let (mut used, mut blocks) = (0, 0);
            for (number, entry) in pool.block.iter().enumerate() {
                let bit = |set: &[crate::atomic::Shared64; 4]| {
                    set[number / 64].load() >> (number % 64) & 1 == 1
                };
                let listed = entry.load();
                self.expect(bit(&pool.granted) == (listed != 0), || {
                    format!("pool {index}: number {number} granted without a block")
                });
                if listed == 0 {
                    continue;
                }
                self.expect(bit(&pool.leased), || {
                    format!("pool {index}: number {number} granted without a lease")
                });
                blocks += 1;
                let words = &seen.blocks[listed as usize - 1].words;
                let free: u32 = words.iter().map(|word| word.load().count_ones()).sum();
                used += u64::from(BLOCK_PORTS - free);
                self.expect(free == 0 || bit(&pool.has_free), || {
                    format!("pool {index}: {free} free ports of number {number} are hidden")
                });
            }
            self.expect(pool.blocks.load() == blocks, || {
                format!(
                    "pool {index}: {} blocks counted, {blocks} held",
                    pool.blocks.load()
                )
            });
            let withheld = used.checked_sub(pool.used.load());
            // A test may withhold ports by claiming their bits without a ticket.
            self.expect(withheld.is_some(), || {
                format!(
                    "pool {index}: {} ports counted, {used} claimed",
                    pool.used.load()
                )
            });
        }
    }

    fn slots(&mut self, flows: &HashMap<FlowKey, FlowRef>) {
        let seen = self.seen;
        let mut outside = HashSet::new();
        let mut open_in_pool = vec![0; seen.pools.len()];
        for (index, slot) in seen.slots.iter().enumerate() {
            let state = slot.state();
            if !state.is_open() {
                self.expect(state.phase() == Phase::Free, || {
                    format!("slot {index} is left in {:?}", state.phase())
                });
                continue;
            }
            let claimed = self.pool_of(index / 256).filter(|_| {
                seen.blocks[index / 256].words[index / 64 % 4].load() >> (index % 64) & 1 == 0
            });
            let Some((pool, number)) = claimed else {
                self.faults
                    .push(format!("slot {index} is open but its port is free"));
                continue;
            };
            open_in_pool[pool] += 1;
            let (eni, protocol) = (u32::from(slot.eni()), state.protocol());
            self.expect(
                crate::flow::pool_index(eni, protocol) as usize == pool,
                || format!("slot {index} of ENI {eni}, protocol {protocol} lies in pool {pool}"),
            );
            let port = number << 8 | index & 255;
            self.expect(usize::from(slot.outside_port().number()) == port, || {
                format!("slot {index} says port {}, is {port}", slot.outside_port())
            });
            self.expect(
                outside.insert((
                    eni,
                    protocol,
                    slot.outside_port(),
                    slot.remote(),
                    slot.remote_port(),
                )),
                || format!("slot {index} has the outside tuple of another"),
            );
            let found = flows.get(&slot.flow_key(protocol));
            let own = Some(&FlowRef {
                slot: index as u32,
                epoch: state.epoch(),
            });
            self.expect(found == own, || {
                format!("slot {index} ({state:?}) has the forward entry {found:?}")
            });
        }
        for (index, open) in open_in_pool.into_iter().enumerate() {
            let used = seen.pools[index].used.load();
            self.expect(used == open, || {
                format!("pool {index}: {used} ports in use, {open} flows")
            });
        }
    }

    fn entries(&mut self, flows: &HashMap<FlowKey, FlowRef>) {
        for (key, flow) in flows {
            let right = self.seen.slots.get(flow.slot as usize).is_some_and(|slot| {
                let state = slot.state();
                state.is_open()
                    && state.epoch() == flow.epoch
                    && slot.flow_key(state.protocol()) == *key
            });
            self.expect(right, || format!("{key:?} leads to no flow: {flow:?}"));
        }
    }

    fn counts(&mut self, environments: &[Environment]) {
        let seen = self.seen;
        let open: Vec<_> = seen
            .slots
            .iter()
            .filter(|slot| slot.state().is_open())
            .collect();
        for (index, state) in seen.eni_states.iter().enumerate() {
            let flows = open
                .iter()
                .filter(|slot| usize::from(slot.eni()) == index)
                .count();
            let counted = state.connections.load();
            self.expect(counted == flows as u64, || {
                format!("ENI {index}: {counted} connections counted, {flows} open")
            });
        }
        for (index, state) in seen.environment_states.iter().enumerate() {
            let generation = environments[index].generation;
            let flows = open
                .iter()
                .filter(|slot| usize::from(slot.environment()) == index)
                .filter(|slot| slot.generation.load() == generation)
                .count();
            let counted = state.flows.load();
            self.expect(counted == flows as u64, || {
                format!("environment {index}: {counted} flows counted, {flows} open")
            });
        }
    }
}

impl crate::double::Double {
    /// The tables that the kernel programs would write.
    pub fn seen(&self) -> Seen<'_> {
        Seen {
            environment_states: &self.environment_states,
            eni_states: &self.eni_states,
            pools: &self.pools,
            slab: &self.slab,
            blocks: &self.blocks,
            slots: &self.slots,
            next_hops: &self.next_hops,
        }
    }

    /// A copy of the forward entries.
    pub fn flow_entries(&self) -> HashMap<FlowKey, FlowRef> {
        self.flows
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }

    /// See [`faults`].
    pub fn faults(&self) -> Vec<String> {
        faults(&self.seen(), &self.environments, &self.flow_entries())
    }
}
