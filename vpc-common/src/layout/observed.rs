//! What the kernel saw of environments, ENIs and neighbours.

use crate::{
    addr::Addr,
    atomic::{Shared32, Shared64},
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
    /// Fills the line.
    pub reserved: [u64; 5],
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
    /// Fills the line.
    pub reserved: [u64; 5],
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
