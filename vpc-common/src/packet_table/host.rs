//! The data path as host functions over the double.

use std::{
    collections::{BTreeMap, HashMap},
    sync::atomic::Ordering::Relaxed,
};

use super::{
    Action, BLOCKS, ENIS, ENVIRONMENTS, Handed, In, Machine, NEXT_HOPS, Ran, Told, World, world,
};
use crate::{
    audit::Seen,
    double::{Buffer, Double, Marks},
    expiry::{self, SweepOptions},
    flow::Moment,
    forward, judge,
    layout::{DropKey, FlowKey, FlowRef, NextHop, Stat, SweepResult},
    reply,
    tables::Tables as _,
    time::Tick,
    verdict::{Kind, Verdict},
};

/// A clock reading long after the start, so that ages do not reach below zero.
const NOW_NS: u64 = 1_000_000_000_000;

/// The host's machine.
pub struct Host {
    /// Whether it is TC: the hook sees what a stack notes beside a packet's bytes,
    /// and reaches every link.
    pub tc: bool,
    tables: Double,
    drops: BTreeMap<DropKey, u64>,
    handed: Vec<Handed>,
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl Host {
    /// A machine with empty tables.
    pub fn new() -> Self {
        let mut tables = Double::new(ENIS, ENVIRONMENTS, BLOCKS);
        tables.next_hops = vec![NextHop::default(); NEXT_HOPS as usize];
        Self {
            tc: false,
            tables,
            drops: BTreeMap::new(),
            handed: Vec::new(),
        }
    }

    /// Its tables.
    pub const fn tables(&mut self) -> &mut Double {
        &mut self.tables
    }

    /// Runs the program of a link on a packet, with its marks.
    pub fn run_packet(&mut self, link: In, packet: &mut Buffer) -> Ran {
        let (ifindex, moment) = (self.ifindex(link), Moment::from_ns(NOW_NS));
        let verdict = match link {
            In::Uplink(_) => reply::from_uplink(&self.tables, packet, ifindex, moment),
            In::Environment(_) | In::Stranger => {
                forward::from_environment(&self.tables, packet, ifindex, moment)
            }
        };
        if let Some((owner, awaited)) = packet.handed_over.take() {
            assert_eq!(verdict.kind(), Kind::HandedOver);
            let frame = packet.frame().to_vec();
            self.handed.push(Handed {
                owner,
                awaited,
                frame,
            });
        }
        let sent = verdict.kind() == Kind::Send;
        Ran {
            action: self.perform(verdict),
            frame: packet.frame().to_vec(),
            port: sent.then(|| verdict.port()),
        }
    }

    /// The verdict's effect on the counters: what the kernel's entry points do.
    fn perform(&mut self, verdict: Verdict) -> Action {
        let reason = verdict.reason();
        match verdict.kind() {
            Kind::Send => return Action::Redirect,
            Kind::Pass => return Action::Pass,
            Kind::HandedOver => return Action::Drop,
            Kind::Answer => self.tables.count(Stat::Answers),
            Kind::Drop => assert!(reason.is_some(), "a drop has a reason"),
            Kind::Open | Kind::Aside => panic!("{verdict:?} leaves the forward path"),
        }
        if let Some(reason) = reason {
            let key = DropKey::new(verdict.owner(), reason);
            *self.drops.entry(key).or_default() += 1;
            judge::count_refusal(&self.tables, verdict);
        }
        match verdict.kind() {
            Kind::Answer => Action::Redirect,
            _ => Action::Drop,
        }
    }
}

impl Machine for Host {
    fn ifindex(&self, link: In) -> u32 {
        match link {
            In::Environment(index) => 10 + index as u32,
            In::Uplink(index) => 20 + index as u32,
            In::Stranger => 30,
        }
    }

    fn clear(&mut self) {
        *self = Self {
            tc: self.tc,
            ..Self::new()
        };
    }

    fn configure(&mut self, world: &World) {
        let tables = &mut self.tables;
        tables.environments = world.environments.to_vec();
        tables.uplinks = world.uplinks.to_vec();
        tables.groups = world.groups.to_vec();
        tables.enis = world.enis.to_vec();
        for (generation, value) in tables.generations.iter().zip(world.generations) {
            generation.store(value, Relaxed);
        }
        tables.links = world.links().into_iter().collect();
        tables.eni_by_address = world.eni_keys().into_iter().collect();
        let (words, places) = world.policies();
        tables.policy_words = words;
        for (policy, place) in tables.policies.iter().zip(places) {
            policy.store(place, Relaxed);
        }
        tables.next_hop_by_address = world
            .next_hops
            .iter()
            .map(|(index, key, _)| (*key, *index))
            .collect();
    }

    fn run(&mut self, link: In, frame: &[u8]) -> Ran {
        let mut packet = Buffer::new(frame);
        packet.marks = self.tc.then_some(Marks::NONE);
        packet.xdp = !self.tc;
        self.run_packet(link, &mut packet)
    }

    fn seen(&self) -> Seen<'_> {
        self.tables.seen()
    }

    fn flows(&self) -> HashMap<FlowKey, FlowRef> {
        self.tables.flow_entries()
    }

    fn age_fragments(&mut self, ticks: u32) {
        let fragments = self.tables.fragments.get_mut();
        for fragment in fragments.expect("no thread panicked").values_mut() {
            fragment.created = fragment.created.wrapping_sub(ticks);
        }
    }

    fn drops(&self) -> BTreeMap<DropKey, u64> {
        self.drops.clone()
    }

    fn stat(&self, stat: Stat) -> u64 {
        self.tables.stat(stat)
    }

    fn told(&mut self) -> Told {
        let records = self.tables.records.get_mut().expect("no thread panicked");
        let events = self.tables.events.get_mut().expect("no thread panicked");
        Told {
            events: std::mem::take(events),
            records: std::mem::take(records),
            handed: std::mem::take(&mut self.handed),
        }
    }

    fn sweep(&mut self, options: SweepOptions) -> SweepResult {
        let mut result = SweepResult::default();
        for block in 0..BLOCKS {
            expiry::sweep_block(&self.tables, block, self.now(), options, &mut result);
        }
        result
    }

    fn now(&self) -> Tick {
        Tick::from_ns(NOW_NS)
    }
}

const _: () = assert!(world::ENI.len() == ENIS as usize);
