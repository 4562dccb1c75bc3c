//! Packets that the kernel programs could not finish: those whose neighbour is
//! not known and those whose first fragment is missing. They wait here, within
//! bounds, and then go through the same program again, in order.

use std::{io, path::Path};

use aya::maps::{HashMap, MapData, RingBuf};
use vpc_common::{
    drop::DropReason,
    layout::{Fragment, FragmentKey, Link, NextHopKey, Owner, Punt, name, program},
    time::Tick,
};

use super::{
    OpenError,
    bpf::Runnable,
    clock,
    events::{read, wait},
    holding::{Bounds, Held, Holding, MS},
    neighbours::{self, Neighbours},
    object::pinned,
    programs::{Hook, Programs},
    tables::Hash,
    workers::WorkerContext,
};

/// How long to wait for packets while none is held, milliseconds.
const IDLE_MS: u16 = 200;
/// How often to look for what held packets wait for, milliseconds.
const BUSY_MS: u16 = 1;
/// How often neighbours are looked after.
const REFRESH_NS: u64 = 1_000 * MS;
/// Packets taken from the ring before looking at those that wait.
const BATCH: usize = 256;

/// The thread that serves punted packets.
pub struct Punts {
    context: WorkerContext,
    ring: RingBuf<MapData>,
    fragments: HashMap<MapData, FragmentKey, Fragment>,
    links: Hash<u32, Link>,
    neighbours: Neighbours,
    waiting: Holding<NextHopKey>,
    incomplete: Holding<FragmentKey>,
    from_environment: Runnable,
    from_uplink: Runnable,
    count_drop: Runnable,
}

impl Punts {
    /// Opens the ring and the tables behind it.
    pub fn open(
        context: &WorkerContext,
        programs: &Programs,
        maps: &Path,
    ) -> Result<Self, OpenError> {
        Ok(Self {
            context: context.clone(),
            ring: pinned(maps, name::PUNTS)?,
            fragments: pinned(maps, name::FRAGMENTS)?,
            links: pinned(maps, name::LINK_BY_IFINDEX)?,
            neighbours: Neighbours::open(context, maps)?,
            waiting: Holding::new(Bounds::NEXT_HOP),
            incomplete: Holding::new(Bounds::FRAGMENT),
            from_environment: programs.runnable(Hook::Environment.program())?,
            from_uplink: programs.runnable(Hook::Uplink.program())?,
            count_drop: programs.runnable(program::COUNT_DROP)?,
        })
    }

    /// Serves until told to stop.
    pub fn run(mut self) {
        let mut refreshed = clock::now_ns();
        while !self.context.stopping() {
            let busy = !self.waiting.is_empty() || !self.incomplete.is_empty();
            wait(&[&self.ring], if busy { BUSY_MS } else { IDLE_MS });
            let now = clock::now_ns();
            self.receive(now);
            self.resolve(now);
            self.reassemble(now);
            if now.saturating_sub(refreshed) >= REFRESH_NS {
                refreshed = now;
                self.neighbours.refresh(Tick::from_ns(now));
            }
        }
        self.hand_back();
    }

    fn receive(&mut self, now: u64) {
        for _ in 0..BATCH {
            let Some(item) = self.ring.next() else { return };
            let punt = read::<Punt>(&item);
            drop(item);
            self.context.counters.punts.one();
            let Some((punt, held)) = punt.and_then(|punt| {
                let frame = punt.frame.get(..punt.len as usize)?.into();
                Some((
                    punt,
                    Held {
                        ifindex: punt.ifindex,
                        owner: punt.owner,
                        frame,
                    },
                ))
            }) else {
                self.context.counters.records_malformed.one();
                continue;
            };
            match punt.kind {
                Punt::NEXT_HOP => self.hold_for_neighbour(&punt, held, now),
                Punt::FRAGMENT => {
                    if let Err(held) = self.incomplete.hold(punt.fragment, held, now) {
                        self.give_up(&held, DropReason::FragmentUnknown);
                    }
                }
                _ => self.context.counters.records_malformed.one(),
            }
        }
    }

    fn hold_for_neighbour(&mut self, punt: &Punt, held: Held, now: u64) {
        let source = neighbours::source(punt.source);
        let known = self
            .neighbours
            .ensure(punt.next_hop, source, now, Tick::from_ns(now));
        let refused = match known {
            Some(()) => self.waiting.hold(punt.next_hop, held, now).err(),
            None => Some(held),
        };
        if let Some(held) = refused {
            self.give_up(&held, DropReason::NextHopUnresolved);
        }
    }

    fn resolve(&mut self, now: u64) {
        let resolved: Vec<NextHopKey> = self
            .waiting
            .keys()
            .filter(|key| self.neighbours.is_resolved(key))
            .collect();
        for key in resolved {
            for held in self.waiting.release(&key) {
                self.inject(&self.from_environment, &held, DropReason::NextHopUnresolved);
            }
        }
        for key in self.waiting.due(now) {
            self.neighbours.ask(&key);
        }
        for key in self.waiting.overdue(now) {
            for held in self.waiting.release(&key) {
                self.give_up(&held, DropReason::NextHopUnresolved);
            }
        }
    }

    fn reassemble(&mut self, now: u64) {
        let found: Vec<FragmentKey> = self
            .incomplete
            .keys()
            .filter(|key| self.fragments.get(key, 0).is_ok())
            .collect();
        for key in found {
            for held in self.incomplete.release(&key) {
                self.inject_fragment(&held);
            }
        }
        for key in self.incomplete.overdue(now) {
            for held in self.incomplete.release(&key) {
                self.give_up(&held, DropReason::FragmentUnknown);
            }
        }
    }

    /// Through the program of the link it came from, if that is still one of ours.
    fn inject_fragment(&self, held: &Held) {
        match self.links.get(&held.ifindex, 0) {
            Ok(link) if link.kind == Link::UPLINK => {
                self.inject(&self.from_uplink, held, DropReason::FragmentUnknown);
            }
            Ok(_) => self.inject(&self.from_environment, held, DropReason::FragmentUnknown),
            Err(_) => self.give_up(held, DropReason::FragmentUnknown),
        }
    }

    fn inject(&self, program: &Runnable, held: &Held, otherwise: DropReason) {
        match program.inject(&held.frame, held.ifindex) {
            Ok(()) => self.context.counters.reinjected.one(),
            Err(error) => {
                // The interface went away, or the kernel has no memory.
                self.context.counters.reinjections_failed.one();
                tracing::debug!(%error, ifindex = held.ifindex, "a packet was not re-injected");
                self.give_up(held, otherwise);
            }
        }
    }

    fn give_up(&self, held: &Held, reason: DropReason) {
        self.context.counters.punts_dropped.one();
        if let Err(error) = self.count(held.owner, reason) {
            tracing::debug!(%error, ?reason, "a drop was not counted");
        }
    }

    fn count(&self, owner: Owner, reason: DropReason) -> io::Result<()> {
        self.count_drop.call(&[u64::from(owner.0), reason as u64])
    }

    /// Sends everything that still waits through its program once more: what is
    /// still not known comes back to the ring, which is pinned, and waits there for
    /// the next agent.
    fn hand_back(&mut self) {
        let waiting: Vec<NextHopKey> = self.waiting.keys().collect();
        for key in waiting {
            for held in self.waiting.release(&key) {
                self.inject(&self.from_environment, &held, DropReason::NextHopUnresolved);
            }
        }
        let incomplete: Vec<FragmentKey> = self.incomplete.keys().collect();
        for key in incomplete {
            for held in self.incomplete.release(&key) {
                self.inject_fragment(&held);
            }
        }
    }
}
