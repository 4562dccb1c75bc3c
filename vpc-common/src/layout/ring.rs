//! What the kernel tells the agent: the entries of the rings, and what a sweep did.

use super::{FlowKey, FragmentKey, NextHopKey, Owner};
use crate::addr::{Addr, Port};

/// Bytes of a frame that can be handed to the agent.
pub const PUNT_FRAME: usize = 3_584;

/// Something the agent should know now.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    /// One of the constants.
    pub kind: u32,
    /// ENI index.
    pub eni: u32,
    /// Connections at that moment.
    pub value: u64,
}

impl Event {
    /// An ENI reached its high-water mark.
    pub const HIGH_WATER: u32 = 1;
}

/// A packet the kernel could not finish: the agent does what is missing and
/// sends it through the same program again.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Punt {
    /// One of the constants.
    pub kind: u32,
    /// Interface it arrived on.
    pub ifindex: u32,
    /// Whom a drop is counted for, should the agent give up.
    pub owner: Owner,
    /// Bytes of `frame` in use.
    pub len: u32,
    /// What is left to do about the transport checksum: [`Punt::WHOLE`],
    /// [`Punt::BY_VALUE`], or [`Partial::to_word`](crate::offload::Partial::to_word).
    pub checksum: u32,
    /// [`Punt::NEXT_HOP`]: who is to be resolved.
    pub next_hop: NextHopKey,
    /// [`Punt::FRAGMENT`]: which datagram's first fragment is missing.
    pub fragment: FragmentKey,
    /// [`Punt::NEXT_HOP`]: the ENI address to ask from.
    pub source: Addr,
    /// The frame as it arrived.
    pub frame: [u8; PUNT_FRAME],
}

impl Punt {
    /// The next hop's MAC is not known.
    pub const NEXT_HOP: u32 = 1;
    /// A later fragment came before the first.
    pub const FRAGMENT: u32 = 2;

    /// Nothing, it is whole.
    pub const WHOLE: u32 = u32::MAX;
    /// It is half made if the field equals the pseudo-header's sum.
    pub const BY_VALUE: u32 = u32::MAX - 1;
}

/// What happened on a flow since the last record of it.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlowRecord {
    /// [`State`](crate::state::State) at the time; of the phase before it ended if `ended`.
    pub state: u64,
    /// Bytes into the VPC.
    pub forward_bytes: u64,
    /// Bytes to the environment.
    pub reply_bytes: u64,
    /// Packets into the VPC.
    pub forward_packets: u32,
    /// Packets to the environment.
    pub reply_packets: u32,
    /// What identifies the flow.
    pub key: FlowKey,
    /// ENI index.
    pub eni: u16,
    /// Source port on the ENI.
    pub outside_port: Port,
    /// [`Tick`](crate::time::Tick)s: opened, last packet either way.
    pub created: u32,
    /// See `created`.
    pub last: u32,
    /// 1 with the last record of a flow.
    pub ended: u32,
    /// TCP flags that were not seen before the last record, forward << 8 | reply.
    pub tcp_flags: u32,
    /// Of the constants.
    pub flags: u32,
}

impl FlowRecord {
    /// In `flags`: it leaves by the uplink of a peered VPC.
    pub const PEERED: u32 = 1;
    /// In `flags`: it is the first record of the connection.
    pub const FIRST: u32 = 2;
}

/// What one run of the sweep did.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SweepResult {
    /// Slots looked at.
    pub slots: u64,
    /// Slots in use that were left as they are.
    pub open: u64,
    /// Flows taken down.
    pub expired: u64,
    /// Blocks given back.
    pub returned: u64,
}
