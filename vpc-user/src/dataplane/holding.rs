//! Packets that wait for a neighbour's MAC or for a datagram's first fragment.
//! Pure: time is an argument, in nanoseconds, and sending is the caller's.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    hash::Hash,
};

use vpc_common::layout::Owner;

/// Nanoseconds of a millisecond.
pub const MS: u64 = 1_000_000;

/// How much may wait, how long, and when to ask.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Packets that wait for one thing.
    pub per_key: usize,
    /// Packets that wait in all.
    pub packets: usize,
    /// Bytes that wait in all.
    pub bytes: usize,
    /// When to ask, after the first packet began to wait.
    pub asks: &'static [u64],
    /// When to give up, after the first packet began to wait.
    pub give_up: u64,
}

impl Bounds {
    /// A neighbour's MAC: asked for at once and five times more.
    pub const NEXT_HOP: Self = Self {
        per_key: 64,
        packets: 4_096,
        bytes: 8 << 20,
        asks: &[0, 50 * MS, 200 * MS, 500 * MS, 1_000 * MS, 2_000 * MS],
        give_up: 3_000 * MS,
    };

    /// A first fragment: nobody to ask. The bounds are for the host, so that a
    /// flood of later fragments costs at most a quarter of a megabyte.
    pub const FRAGMENT: Self = Self {
        per_key: 64,
        packets: 1_024,
        bytes: 256 << 10,
        asks: &[],
        give_up: vpc_common::layout::FRAGMENT_SECS as u64 * 1_000 * MS,
    };
}

/// A packet that waits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    /// Interface it arrived on.
    pub ifindex: u32,
    /// Whom a drop is counted for.
    pub owner: Owner,
    /// The frame.
    pub frame: Box<[u8]>,
}

struct Queue {
    since: u64,
    asked: usize,
    held: VecDeque<Held>,
}

/// Packets that wait, by what they wait for.
pub struct Holding<K> {
    bounds: Bounds,
    queues: HashMap<K, Queue>,
    packets: usize,
    bytes: usize,
}

impl<K: Copy + Eq + Hash> Holding<K> {
    /// Nothing waits.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            queues: HashMap::new(),
            packets: 0,
            bytes: 0,
        }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    /// Packets that wait.
    #[cfg(test)]
    fn packets(&self) -> usize {
        self.packets
    }

    /// Lets a packet wait; gives it back if there is no room.
    pub fn hold(&mut self, key: K, held: Held, now: u64) -> Result<(), Held> {
        let bounds = &self.bounds;
        if self.packets >= bounds.packets || self.bytes + held.frame.len() > bounds.bytes {
            return Err(held);
        }
        let queue = match self.queues.entry(key) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Queue {
                since: now,
                asked: 0,
                held: VecDeque::new(),
            }),
        };
        if queue.held.len() >= bounds.per_key {
            return Err(held);
        }
        self.packets += 1;
        self.bytes += held.frame.len();
        queue.held.push_back(held);
        Ok(())
    }

    /// Whom to ask for now. A caller that comes late asks once, not for every
    /// time it missed.
    pub fn due(&mut self, now: u64) -> Vec<K> {
        let asks = self.bounds.asks;
        let mut due = Vec::new();
        for (key, queue) in &mut self.queues {
            let waited = now.saturating_sub(queue.since);
            let times = asks.iter().filter(|at| **at <= waited).count();
            if times > queue.asked {
                queue.asked = times;
                due.push(*key);
            }
        }
        due
    }

    /// What is waited for.
    pub fn keys(&self) -> impl Iterator<Item = K> + '_ {
        self.queues.keys().copied()
    }

    /// The wait for `key` is over: its packets in the order of their arrival.
    pub fn release(&mut self, key: &K) -> VecDeque<Held> {
        let held = self
            .queues
            .remove(key)
            .map(|queue| queue.held)
            .unwrap_or_default();
        self.packets -= held.len();
        self.bytes -= held.iter().map(|held| held.frame.len()).sum::<usize>();
        held
    }

    /// What has waited too long.
    pub fn overdue(&self, now: u64) -> Vec<K> {
        let late = |queue: &Queue| now.saturating_sub(queue.since) >= self.bounds.give_up;
        self.queues
            .iter()
            .filter(|(_, queue)| late(queue))
            .map(|(key, _)| *key)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Bounds = Bounds {
        per_key: 2,
        packets: 3,
        bytes: 100,
        asks: &[0, 50 * MS, 200 * MS],
        give_up: 300 * MS,
    };

    fn packet(first: u8, len: usize) -> Held {
        let mut frame = vec![0; len].into_boxed_slice();
        frame[0] = first;
        Held {
            ifindex: 1,
            owner: Owner::HOST,
            frame,
        }
    }

    #[test]
    fn packets_come_out_in_the_order_they_went_in() {
        let mut holding = Holding::new(SMALL);
        holding.hold("a", packet(1, 10), 0).expect("room");
        holding.hold("b", packet(2, 10), 0).expect("room");
        holding.hold("a", packet(3, 10), 0).expect("room");
        let order: Vec<u8> = holding
            .release(&"a")
            .iter()
            .map(|held| held.frame[0])
            .collect();
        assert_eq!(order, [1, 3]);
        assert_eq!(holding.packets(), 1);
        assert!(holding.release(&"a").is_empty());
    }

    #[test]
    fn every_bound_holds_and_gives_the_packet_back() {
        let mut holding = Holding::new(SMALL);
        holding.hold("a", packet(1, 10), 0).expect("room");
        holding.hold("a", packet(2, 10), 0).expect("room");
        assert_eq!(
            holding.hold("a", packet(3, 10), 0),
            Err(packet(3, 10)),
            "per key"
        );
        assert_eq!(
            holding.hold("b", packet(4, 81), 0),
            Err(packet(4, 81)),
            "bytes"
        );
        holding.hold("b", packet(5, 80), 0).expect("room");
        assert_eq!(
            holding.hold("c", packet(6, 1), 0),
            Err(packet(6, 1)),
            "packets"
        );
        holding.release(&"b");
        holding.hold("c", packet(6, 1), 0).expect("room again");
    }

    #[test]
    fn a_refused_packet_leaves_no_empty_queue() {
        let mut holding = Holding::new(SMALL);
        holding.hold("a", packet(1, 101), 0).expect_err("no room");
        assert!(holding.is_empty());
    }

    #[test]
    fn asks_follow_the_schedule_and_lateness_asks_once() {
        let mut holding = Holding::new(SMALL);
        holding.hold("a", packet(1, 1), 1_000 * MS).expect("room");
        assert_eq!(holding.due(1_000 * MS), ["a"]);
        assert!(holding.due(1_049 * MS).is_empty());
        assert_eq!(holding.due(1_250 * MS), ["a"]);
        assert!(holding.due(1_299 * MS).is_empty());
    }

    #[test]
    fn giving_up_comes_on_time_and_not_before() {
        let mut holding = Holding::new(SMALL);
        holding.hold("a", packet(1, 1), 0).expect("room");
        holding.hold("a", packet(1, 1), 299 * MS).expect("room");
        assert!(holding.overdue(300 * MS - 1).is_empty());
        assert_eq!(holding.overdue(300 * MS), ["a"]);
        assert_eq!(holding.release(&"a").len(), 2);
        assert!(holding.is_empty() && holding.packets() == 0);
    }
}
