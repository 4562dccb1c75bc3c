//! Everything that is counted and stamped, and what moved between two steps.

use std::collections::BTreeMap;

use super::Run;
use crate::{
    audit,
    drop::DropReason,
    layout::{DropKey, Owner, OwnerKind, Stat},
    packet_table::{ENIS, ENVIRONMENTS},
};

/// Something that is counted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Counter {
    /// Drops.
    Drop(Owner, DropReason),
    /// Another counter of the kernel's.
    Stat(Stat),
    /// Flows of an environment.
    Flows(usize),
    /// Connections of an ENI.
    Connections(usize),
    /// Ports of a pool.
    Used(usize),
    /// The next identification of an ENI.
    Id(usize),
    /// Refusals of an ENI.
    Refused(usize, DropReason),
    /// Refused replies of an environment.
    RefusedReplies(usize),
    /// Packets of all open flows into the VPC.
    ForwardPackets,
    /// Bytes of all open flows into the VPC.
    ForwardBytes,
    /// Packets of all open flows to the environments.
    ReplyPackets,
    /// Bytes of all open flows to the environments.
    ReplyBytes,
}

/// The counters and stamps at a moment.
#[derive(Clone, Default)]
pub(super) struct Snapshot {
    pub(super) counters: BTreeMap<Counter, i64>,
    /// By slot, epoch and moment of opening: a connection that begins anew in the place of
    /// another is another.
    stamps: BTreeMap<(u32, u32, u32), Stamps>,
}

#[derive(Clone, Copy)]
struct Stamps {
    packets: [u64; 2],
    last: [u32; 2],
}

/// Movements that a step names.
pub type Moves = [(Counter, i64)];

impl Run<'_> {
    pub(super) fn snapshot(&self) -> Snapshot {
        let seen = self.machine.seen();
        let mut counters = BTreeMap::new();
        for (DropKey { owner, reason }, count) in self.machine.drops() {
            let reason = DropReason::from_number(reason).expect("a known reason");
            counters.insert(Counter::Drop(owner, reason), count as i64);
        }
        for (stat, _) in Stat::ALL {
            counters.insert(Counter::Stat(stat), self.machine.stat(stat) as i64);
        }
        for index in 0..ENVIRONMENTS as usize {
            let flows = seen.environment_states[index].flows.load();
            counters.insert(Counter::Flows(index), flows as i64);
            let refused = seen.environment_states[index].refused_replies.load();
            counters.insert(Counter::RefusedReplies(index), refused as i64);
        }
        for index in 0..ENIS as usize {
            let state = &seen.eni_states[index];
            counters.insert(Counter::Connections(index), state.connections.load() as i64);
            counters.insert(Counter::Id(index), state.ip_id.load() as i64);
            for (reason, packets) in state.refused.each() {
                counters.insert(Counter::Refused(index, reason), packets as i64);
            }
        }
        for (index, pool) in seen.pools.iter().enumerate() {
            counters.insert(Counter::Used(index), pool.used.load() as i64);
        }
        let mut stamps = BTreeMap::new();
        let mut sums = [0; 4];
        for (index, slot) in seen.slots.iter().enumerate() {
            let state = slot.state();
            if !state.is_open() {
                continue;
            }
            let packets = [slot.forward_packets.load(), slot.reply_packets.load()];
            let last = [slot.forward_last.load(), slot.reply_last.load()];
            let flow = (index as u32, state.epoch(), slot.created.load());
            stamps.insert(flow, Stamps { packets, last });
            sums[0] += packets[0] as i64;
            sums[1] += slot.forward_bytes.load() as i64;
            sums[2] += packets[1] as i64;
            sums[3] += slot.reply_bytes.load() as i64;
        }
        let names = [
            Counter::ForwardPackets,
            Counter::ForwardBytes,
            Counter::ReplyPackets,
            Counter::ReplyBytes,
        ];
        counters.extend(names.into_iter().zip(sums));
        Snapshot { counters, stamps }
    }

    /// Takes what was told, checks what must always hold, and says what moved.
    pub(super) fn settle(&mut self) -> BTreeMap<Counter, i64> {
        let told = self.machine.told();
        self.events.extend(told.events);
        self.records.extend(told.records);
        self.handed.extend(told.handed);
        let after = self.snapshot();
        let mut moved = BTreeMap::new();
        for (counter, value) in &after.counters {
            let by = value - self.before.counters.get(counter).unwrap_or(&0);
            if by != 0 {
                moved.insert(*counter, by);
            }
        }
        let now = self.machine.now();
        for (flow, stamps) in &after.stamps {
            let Some(before) = self.before.stamps.get(flow) else {
                continue;
            };
            for direction in 0..2 {
                let counted = stamps.packets[direction] != before.packets[direction];
                let age = now.since(crate::time::Tick(stamps.last[direction]));
                let refreshed = stamps.last[direction] != before.last[direction];
                assert!(counted || !refreshed, "a stamp moved without a packet");
                assert!(
                    !counted || age < 16,
                    "a packet left a stamp {age} ticks old"
                );
            }
        }
        self.before = after;
        let faults = audit::faults(
            &self.machine.seen(),
            &self.world.environments,
            &self.machine.flows(),
        );
        assert!(faults.is_empty(), "{faults:#?}");
        self.settle_refusals(&mut moved);
        moved
    }

    /// Holds what ENIs and environments count of refusals against the drops, and takes
    /// it out: a packet that was refused is counted once for its ENI, and a reply once
    /// for its environment.
    fn settle_refusals(&self, moved: &mut BTreeMap<Counter, i64>) {
        let mut expected = Vec::new();
        for (counter, by) in &*moved {
            let Counter::Drop(owner, reason) = *counter else {
                continue;
            };
            let (kind, index) = owner.parts();
            let serves = |environment: usize, eni: u32| {
                let group = self.world.environments[environment].group as usize;
                let group = &self.world.groups[group];
                group.enis[..group.count as usize].contains(&eni)
            };
            match kind {
                _ if DropReason::refusal_index(reason as u32).is_none() => {}
                OwnerKind::Environment => expected.extend(
                    (0..ENIS)
                        .filter(|eni| serves(index as usize, *eni))
                        .map(|eni| (Counter::Refused(eni as usize, reason), *by)),
                ),
                _ => {
                    expected.push((Counter::Refused(index as usize, reason), *by));
                    expected.extend(
                        (0..ENVIRONMENTS as usize)
                            .filter(|environment| serves(*environment, index))
                            .map(|environment| (Counter::RefusedReplies(environment), *by)),
                    );
                }
            }
        }
        let is_refusal = |counter: &Counter| {
            matches!(counter, Counter::Refused(..) | Counter::RefusedReplies(_))
        };
        let counted: Vec<_> = moved
            .extract_if(.., |counter, _| is_refusal(counter))
            .collect();
        // Where several may be meant, one of them is.
        let right = counted.iter().all(|one| expected.contains(one));
        let sum = |counted: &[(Counter, i64)], is_eni: bool| {
            let of_kind = |one: &&(Counter, i64)| matches!(one.0, Counter::Refused(..)) == is_eni;
            let mut any = counted.iter().filter(of_kind).map(|(_, by)| *by);
            any.next().unwrap_or(0)
        };
        let once = [true, false].map(|is_eni| sum(&counted, is_eni) == sum(&expected, is_eni));
        assert!(
            right && once == [true; 2] && counted.len() <= 2,
            "refusals counted: {counted:?}, of {expected:?}"
        );
    }
}
