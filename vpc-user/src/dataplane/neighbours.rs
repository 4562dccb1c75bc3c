//! Neighbours on uplinks: which index each has, asking for their MACs, keeping
//! them fresh and forgetting those that do not answer. The kernel learns.

use std::{
    collections::{HashMap, VecDeque},
    io,
    path::Path,
    sync::Arc,
};

use vpc_common::{
    addr::{Addr, Mac, V4},
    layout::{BLOCK_PORTS, Eni, NextHopKey, Uplink, name},
    time::{Tick, ticks_from_secs},
};

use super::{
    cause::Cause,
    counters::Counters,
    holding::MS,
    object::pinned,
    packet::{self, FrameSocket},
    start_error::StartError,
    tables::{Hash, SharedTables, Values, absent_is_fine},
    workers::WorkerContext,
};

/// A neighbour that was not heard for so long is asked whether it is still there.
const FRESH_SECS: u32 = 30;
/// Unanswered questions after which a MAC is forgotten.
const TRIES: u32 = 3;
/// A neighbour that was not heard for so long may lose its index to another.
const IDLE_SECS: u32 = 600;
/// How long a freed index rests, so that no program still holds it.
const REST_NS: u64 = 2_000 * MS;

struct Neighbour {
    index: u32,
    /// The address to ask from: that of the ENI which needed it last.
    source: V4,
    unanswered: u32,
}

/// The table of neighbours. Its hash is written here alone.
pub struct Neighbours {
    shared: Arc<SharedTables>,
    counters: Arc<Counters>,
    by_address: Hash<NextHopKey, u32>,
    uplinks: Values<Uplink>,
    frames: FrameSocket,
    known: HashMap<NextHopKey, Neighbour>,
    free: Vec<u32>,
    resting: VecDeque<(u64, u32)>,
}

impl Neighbours {
    /// Opens the table and takes note of what is in it.
    pub fn open(context: &WorkerContext, maps: &Path) -> Result<Self, StartError> {
        let failed = |source: aya::maps::MapError| StartError::Map {
            table: name::NEXT_HOP_BY_ADDRESS,
            source: Box::new(source),
        };
        let by_address: Hash<NextHopKey, u32> = pinned(maps, name::NEXT_HOP_BY_ADDRESS)?;
        let enis: Values<Eni> = pinned(maps, name::ENIS)?;
        let mut sources = HashMap::new();
        for eni in enis.iter() {
            let eni = eni.map_err(failed)?;
            if !eni.address.is_unspecified() {
                sources.entry(eni.uplink).or_insert(eni.address.v4());
            }
        }
        let mut known = HashMap::new();
        for entry in by_address.iter() {
            let (key, index) = entry.map_err(failed)?;
            let source = sources.get(&key.uplink).copied().unwrap_or(V4::UNSPECIFIED);
            known.insert(
                key,
                Neighbour {
                    index,
                    source,
                    unanswered: 0,
                },
            );
        }
        let taken: std::collections::HashSet<u32> =
            known.values().map(|neighbour| neighbour.index).collect();
        // Index 0 is never used; the lowest is taken first.
        let free = (1..context.shared.limits.next_hops)
            .rev()
            .filter(|i| !taken.contains(i))
            .collect();
        Ok(Self {
            shared: Arc::clone(&context.shared),
            counters: Arc::clone(&context.counters),
            by_address,
            uplinks: pinned(maps, name::UPLINKS)?,
            frames: FrameSocket::open().map_err(|source| StartError::Io {
                path: "AF_PACKET".into(),
                source,
            })?,
            known,
            free,
            resting: VecDeque::new(),
        })
    }

    /// Gives a neighbour an index if it has none. `None`: the table is full of
    /// neighbours in use.
    pub fn ensure(&mut self, key: NextHopKey, source: V4, now: u64, tick: Tick) -> Option<()> {
        if let Some(neighbour) = self.known.get_mut(&key) {
            neighbour.source = source;
            return Some(());
        }
        let index = self.take_index(now, tick)?;
        let entry = &self.shared.next_hops[index as usize];
        entry.mac.store(0);
        entry.confirmed.store(tick.0);
        entry.uplink.store(key.uplink);
        if let Err(error) = self.by_address.insert(key, index, 0) {
            tracing::warn!(error = %Cause(&error), "a neighbour cannot be entered");
            self.free.push(index);
            return None;
        }
        self.known.insert(
            key,
            Neighbour {
                index,
                source,
                unanswered: 0,
            },
        );
        Some(())
    }

    /// Whether the kernel has learnt the MAC.
    pub fn is_resolved(&self, key: &NextHopKey) -> bool {
        self.known
            .get(key)
            .is_some_and(|found| self.shared.next_hops[found.index as usize].mac.load() != 0)
    }

    /// Asks everybody on the uplink who has the address.
    pub fn ask(&self, key: &NextHopKey) {
        let Some(neighbour) = self.known.get(key) else {
            return;
        };
        if let Err(error) = self.send(key, neighbour.source, Mac::BROADCAST) {
            tracing::debug!(%error, address = %key.address, "an ARP request was not sent");
        }
    }

    fn send(&self, key: &NextHopKey, source: V4, to: Mac) -> io::Result<()> {
        let uplink = self.uplinks.get(&key.uplink, 0).map_err(io::Error::other)?;
        if uplink.ifindex == 0 {
            return Err(io::ErrorKind::NotFound.into());
        }
        let frame = packet::arp_request(to, uplink.mac, source, key.address.v4());
        self.counters.arp_requests.one();
        self.frames.send(uplink.ifindex, &frame)
    }

    /// Once a second: asks neighbours that have been silent, and forgets those
    /// that stay silent, so that the next packet for them starts anew.
    pub fn refresh(&mut self, tick: Tick) {
        let mut questions = Vec::new();
        for (key, neighbour) in &mut self.known {
            let entry = &self.shared.next_hops[neighbour.index as usize];
            let mac = entry.mac.load();
            let silent = tick.since(Tick(entry.confirmed.load())) >= ticks_from_secs(FRESH_SECS);
            if mac == 0 || !silent {
                neighbour.unanswered = 0;
            } else if neighbour.unanswered >= TRIES {
                neighbour.unanswered = 0;
                // Unless the kernel has learnt another one this very moment.
                if entry.mac.compare_exchange(mac, 0) {
                    self.counters.neighbours_forgotten.one();
                    tracing::info!(address = %key.address, uplink = key.uplink, "neighbour lost");
                }
            } else {
                neighbour.unanswered += 1;
                questions.push((*key, neighbour.source, Mac::from_word(mac)));
            }
        }
        for (key, source, mac) in questions {
            if let Err(error) = self.send(&key, source, mac) {
                tracing::debug!(%error, address = %key.address, "an ARP request was not sent");
            }
        }
    }

    fn take_index(&mut self, now: u64, tick: Tick) -> Option<u32> {
        let rested = |(since, _): &&(u64, u32)| now.saturating_sub(*since) >= REST_NS;
        if let Some((_, index)) = self.resting.front().filter(rested).copied() {
            self.resting.pop_front();
            // A flow may have been opened with it just before it was removed.
            if !self.indices_in_use()[index as usize] {
                self.free.push(index);
            } else {
                self.resting.push_back((now, index));
            }
        }
        if self.free.is_empty() && self.resting.is_empty() {
            self.retire_idle(now, tick);
        }
        self.free.pop()
    }

    /// Removes neighbours that no flow uses and that were silent for long.
    fn retire_idle(&mut self, now: u64, tick: Tick) {
        let used = self.indices_in_use();
        let shared = Arc::clone(&self.shared);
        let idle: Vec<(NextHopKey, u32)> = self
            .known
            .iter()
            .map(|(key, neighbour)| (*key, neighbour.index))
            .filter(|(_, index)| {
                let heard = Tick(shared.next_hops[*index as usize].confirmed.load());
                !used[*index as usize] && tick.since(heard) >= ticks_from_secs(IDLE_SECS)
            })
            .collect();
        for (key, index) in idle {
            if absent_is_fine(self.by_address.remove(&key)).is_ok() {
                shared.next_hops[index as usize].mac.store(0);
                self.known.remove(&key);
                self.resting.push_back((now, index));
            }
        }
    }

    fn indices_in_use(&self) -> Vec<bool> {
        let mut used = vec![false; self.shared.limits.next_hops as usize];
        for block in self.shared.blocks_in_use() {
            let first = (block * BLOCK_PORTS) as usize;
            for slot in &self.shared.slots[first..first + BLOCK_PORTS as usize] {
                if slot.state().phase_number() != 0
                    && let Some(used) = used.get_mut(slot.decision().hop().index() as usize)
                {
                    *used = true;
                }
            }
        }
        used
    }
}

/// An IPv4 address to ask from.
pub fn source(address: Addr) -> V4 {
    address.v4()
}
