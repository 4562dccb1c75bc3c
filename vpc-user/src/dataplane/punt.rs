//! Packets that the kernel programs could not finish: those whose neighbour is
//! not known and those whose first fragment is missing. They wait here, within
//! bounds, and then go through the same program again, in order.

use std::{io, os::fd::AsFd as _, path::Path};

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
    events::read,
    holding::{Bounds, Held, Holding, MS},
    neighbours::{self, Neighbours},
    object::pinned,
    offload,
    packet::FrameSocket,
    programs::{LinkKind, Programs, program_of},
    ring::wait,
    tables::Hash,
    workers::WorkerContext,
};
use crate::model::Hook;

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
    frames: FrameSocket,
    from_environment: Runnable,
    from_uplink: Runnable,
    count_drop: Runnable,
}

/// What a TC program returns for a packet that it sends on, and for one that it
/// dropped or handed over (linux/pkt_cls.h).
const REDIRECT: i32 = 7;
const SHOT: i32 = 2;

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
            frames: FrameSocket::open().map_err(|source| OpenError::Socket {
                what: "packet",
                source,
            })?,
            from_environment: programs.runnable(program_of(LinkKind::Environment, Hook::Tc))?,
            from_uplink: programs.runnable(program_of(LinkKind::Uplink, Hook::Tc))?,
            count_drop: programs.runnable(program::COUNT_DROP)?,
        })
    }

    /// Serves until told to stop.
    pub fn run(mut self) {
        let mut refreshed = clock::now_ns();
        while !self.context.stopping() {
            let busy = !self.waiting.is_empty() || !self.incomplete.is_empty();
            wait(&[self.ring.as_fd()], if busy { BUSY_MS } else { IDLE_MS });
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
                let mut frame: Box<[u8]> = punt.frame.get(..punt.len as usize)?.into();
                offload::finish(&mut frame, punt.checksum);
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
        let counters = &self.context.counters;
        let decided = match program.decide(&held.frame, held.ifindex) {
            Ok(decided) => decided,
            Err(error) => {
                // The interface went away, or the kernel has no memory.
                counters.reinjections_failed.one();
                tracing::debug!(%error, ifindex = held.ifindex, "a packet was not re-injected");
                return self.give_up(held, otherwise);
            }
        };
        counters.reinjected.one();
        match decided.action {
            REDIRECT => {
                if let Err(error) = self.frames.send(decided.target, &decided.frame) {
                    counters.reinjections_failed.one();
                    tracing::debug!(%error, ifindex = decided.target, "a packet was not sent");
                    self.give_up(held, DropReason::RedirectFailed);
                }
            }
            // Counted by the program, or in the ring once more.
            SHOT => {}
            // What waited was for the data path, and nobody else: it goes nowhere.
            action => tracing::debug!(action, ifindex = held.ifindex, "a packet fell through"),
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
