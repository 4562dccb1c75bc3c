//! What the kernel saw of environments, ENIs and neighbours.

use crate::{
    addr::Addr,
    atomic::{Shared32, Shared64},
    drop::DropReason,
};

/// One execution environment, as the kernel saw it.
#[repr(C)]
#[derive(Clone, Debug, Default)]
pub struct EnvironmentState {
    /// Open flows.
    pub flows: Shared64,
    /// Its MAC as [`Mac::to_word`](crate::addr::Mac::to_word): set at attach, learnt
    /// since; 0 = not known.
    pub mac: Shared64,
    /// Theoretical arrival time of the new-flow rate (GCRA), nanoseconds.
    pub next_flow_ns: Shared64,
    /// Replies that the network ACL kept out. What rules and routes refuse of the
    /// environment's own packets is in its drop counters.
    pub refused_replies: Shared64,
    /// Fills the line.
    pub reserved: [u64; 4],
}

/// One Hyperplane ENI, as the kernel saw it.
#[repr(C)]
#[derive(Clone, Debug, Default)]
pub struct EniState {
    /// Open connections over both protocols.
    pub connections: Shared64,
    /// 1 while the high-water event is out and not answered by a fall below.
    pub high_water_told: Shared64,
    /// The next IPv4 identification for packets that may be fragmented.
    pub ip_id: Shared64,
    /// Packets that no record tells of: nobody took the last record of a flow whose port
    /// was needed, or what was refused found no room.
    pub unrecorded: Shared64,
    /// Fills the line.
    pub reserved: [u64; 4],
    /// What was refused. A line of its own: a flood of refusals is not felt by the
    /// flows.
    pub refused: RefusalCounts,
}

/// Packets that rules or routes refused, both ways, by reason.
#[repr(C)]
#[derive(Clone, Debug, Default)]
pub struct RefusalCounts {
    /// By [`DropReason::refusal_index`].
    pub packets: [Shared64; Self::ROOM],
}

impl RefusalCounts {
    const ROOM: usize = 8;

    /// Counts one for a reason that is a refusal.
    #[inline(always)]
    pub fn count(&self, index: u32) {
        self.packets[index as usize & (Self::ROOM - 1)].add(1);
    }

    /// Begins anew.
    pub fn clear(&self) {
        for packets in &self.packets {
            packets.store(0);
        }
    }

    /// Each reason with its packets.
    pub fn each(&self) -> impl Iterator<Item = (DropReason, u64)> {
        DropReason::ALL.iter().filter_map(|reason| {
            let index = DropReason::refusal_index(*reason as u32)?;
            let packets = self.packets.get(index as usize)?.load();
            Some((*reason, packets))
        })
    }
}

/// A neighbour on an uplink.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct NextHopKey {
    /// Uplink index.
    pub uplink: u32,
    /// Its address.
    pub address: Addr,
}

/// A neighbour's MAC, in an array of its own so that a change of MAC needs no
/// change of any flow. Index 0 is never used.
#[repr(C)]
#[derive(Clone, Debug, Default)]
pub struct NextHop {
    /// [`Mac::to_word`](crate::addr::Mac::to_word); 0 while unresolved.
    pub mac: Shared64,
    /// [`Tick`](crate::time::Tick) at which the neighbour was heard last.
    pub confirmed: Shared32,
    /// Uplink index.
    pub uplink: Shared32,
}
