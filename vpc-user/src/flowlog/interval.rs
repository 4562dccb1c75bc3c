//! Sums over the intervals of a flow log.

use std::{collections::HashMap, net::Ipv4Addr};

use vpc_common::drop::DropReason;

use super::{FlowDirection, record::Action};

/// What has one record in an interval: one direction of a flow, let through or refused for
/// one reason.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FlowId {
    /// Index of the ENI.
    pub eni: u32,
    /// Index of the environment.
    pub environment: u32,
    /// Its generation, which another environment of that index does not have; 0: it is not
    /// known.
    pub generation: u32,
    /// Which way.
    pub direction: FlowDirection,
    /// IP protocol number.
    pub protocol: u8,
    /// The other end.
    pub remote: Ipv4Addr,
    /// The other end's port.
    pub remote_port: u16,
    /// The port on the ENI; of what was refused before it had one, the environment's own.
    pub local_port: u16,
    /// The environment's own port; 0: it is not known.
    pub inside_port: u16,
    /// Why it was refused, by number; 0: it was not.
    pub reason: u32,
}

impl FlowId {
    /// Whether it was let through.
    pub fn action(&self) -> Action {
        DropReason::from_number(self.reason).map_or(Action::Accept, Action::Reject)
    }
}

/// What has crossed since the last delta of the same id.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Delta {
    /// Packets.
    pub packets: u64,
    /// Bytes of IP packets.
    pub bytes: u64,
    /// The first of them, Unix seconds; the earliest that it can have been.
    pub first: u64,
    /// The last of them, Unix seconds.
    pub last: u64,
    /// TCP flags that were not there before, as AWS folds them.
    pub tcp_flags: u8,
}

impl Delta {
    fn add(&mut self, other: &Self) {
        self.packets = self.packets.saturating_add(other.packets);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.tcp_flags |= other.tcp_flags;
    }
}

/// The interval that is under way, of one length. Intervals begin at multiples of it.
#[derive(Debug)]
pub struct Intervals {
    seconds: u64,
    begun: u64,
    open: HashMap<FlowId, Delta>,
}

impl Intervals {
    /// Begins with the interval that a moment (Unix seconds) is in. An interval of no
    /// length is one of a second.
    pub fn new(seconds: u32, now: u64) -> Self {
        let seconds = u64::from(seconds.max(1));
        Self {
            seconds,
            begun: now - now % seconds,
            open: HashMap::new(),
        }
    }

    /// Takes a delta into the interval that is under way: also one that comes late, of
    /// which nothing is lost that way.
    pub fn add(&mut self, id: FlowId, delta: &Delta) {
        let delta = Delta {
            first: delta.first.clamp(self.begun, delta.last.max(self.begun)),
            last: delta.last.max(self.begun),
            ..*delta
        };
        let sum = self.open.entry(id);
        sum.and_modify(|sum| sum.add(&delta)).or_insert(delta);
    }

    /// When the interval that is under way ends, Unix seconds.
    pub const fn ends(&self) -> u64 {
        self.begun + self.seconds
    }

    /// When it began.
    pub const fn begun(&self) -> u64 {
        self.begun
    }

    /// Ends the interval, if its time has come: its sums.
    pub fn close(&mut self, now: u64) -> Option<HashMap<FlowId, Delta>> {
        if now < self.ends() {
            return None;
        }
        self.begun = now - now % self.seconds;
        Some(std::mem::take(&mut self.open))
    }
}
