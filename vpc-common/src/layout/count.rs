//! What is counted besides flows, and for whom.

use crate::{
    addr::Addr,
    atomic::{Shared32, Shared64},
    drop::DropReason,
};

/// Who a dropped packet is counted for.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Owner(pub u32);

impl Owner {
    /// Nobody in particular.
    pub const HOST: Self = Self(0);

    /// An environment.
    pub const fn environment(index: u32) -> Self {
        Self(1 << 24 | index & 0xff_ffff)
    }

    /// An uplink.
    pub const fn uplink(index: u32) -> Self {
        Self(2 << 24 | index & 0xff_ffff)
    }

    /// An ENI.
    pub const fn eni(index: u32) -> Self {
        Self(3 << 24 | index & 0xff_ffff)
    }

    /// What it is, and its index.
    pub const fn parts(self) -> (OwnerKind, u32) {
        let kind = match self.0 >> 24 {
            1 => OwnerKind::Environment,
            2 => OwnerKind::Uplink,
            3 => OwnerKind::Eni,
            _ => OwnerKind::Host,
        };
        (kind, self.0 & 0xff_ffff)
    }
}

/// What an [`Owner`] is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum OwnerKind {
    /// Nobody in particular.
    Host,
    /// An environment.
    Environment,
    /// An uplink.
    Uplink,
    /// An ENI.
    Eni,
}

/// A drop counter's key.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct DropKey {
    /// Whose packet it was.
    pub owner: Owner,
    /// [`DropReason`] as a number.
    pub reason: u32,
}

impl DropKey {
    /// A key.
    pub const fn new(owner: Owner, reason: DropReason) -> Self {
        Self {
            owner,
            reason: reason as u32,
        }
    }
}

/// Packets that rules or routes refused, by what a flow log tells of them: the ENI's
/// view, without the environment's address.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RefusalKey {
    /// The other end.
    pub remote: Addr,
    /// Environment index << 16 | ENI index.
    pub owners: u32,
    /// The ENI's port for a reply, the environment's own for a packet into the VPC,
    /// << 16 | the remote's; both as on the wire.
    pub ports: u32,
    /// IP protocol number | [`RefusalKey::REPLY`].
    pub protocol: u32,
    /// [`DropReason`] as a number.
    pub reason: u32,
}

impl RefusalKey {
    /// In `protocol`: the packet was on its way to the environment.
    pub const REPLY: u32 = 1 << 8;
}

/// How many packets of a [`RefusalKey`] there were, and when.
#[repr(C)]
#[derive(Clone, Debug, Default)]
pub struct Refusal {
    /// Packets.
    pub packets: Shared64,
    /// Bytes of IP packets.
    pub bytes: Shared64,
    /// [`Tick`](crate::time::Tick) of the first.
    pub first: Shared32,
    /// [`Tick`](crate::time::Tick) of the last.
    pub last: Shared32,
}

/// What the kernel counts besides drops.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
pub enum Stat {
    /// Flows opened.
    FlowsOpened = 0,
    /// Flows taken down, by the sweep or by an allocation that needed their port.
    FlowsExpired = 1,
    /// Flows taken down inline because no port was free.
    FlowsReclaimed = 2,
    /// Blocks granted to a pool.
    BlocksGranted = 3,
    /// Blocks given back to the slab.
    BlocksReturned = 4,
    /// Ports that were free already when they were released: a bug if not 0.
    DoubleFrees = 5,
    /// A claimed port whose slot was in use: a bug if not 0.
    SlotConflicts = 6,
    /// Packets handed to the agent.
    Punts = 7,
    /// Records that found their ring full and were kept for the next sweep.
    RecordsDeferred = 8,
    /// Events lost to a full ring.
    EventsLost = 9,
    /// Half-made checksums completed.
    ChecksumsCompleted = 10,
    /// Answers sent (ARP, ICMP, RST).
    Answers = 11,
    /// Refused packets that found no room among the refusals: in the drop counters and
    /// [`EniState::unrecorded`](super::EniState::unrecorded) alone.
    RefusalsOverflowed = 12,
}

impl Stat {
    /// How many there are.
    pub const COUNT: u32 = 13;
    /// Every one with its name in listings and metrics.
    pub const ALL: [(Self, &'static str); Self::COUNT as usize] = [
        (Self::FlowsOpened, "flows_opened"),
        (Self::FlowsExpired, "flows_expired"),
        (Self::FlowsReclaimed, "flows_reclaimed"),
        (Self::BlocksGranted, "blocks_granted"),
        (Self::BlocksReturned, "blocks_returned"),
        (Self::DoubleFrees, "double_frees"),
        (Self::SlotConflicts, "slot_conflicts"),
        (Self::Punts, "punts"),
        (Self::RecordsDeferred, "records_deferred"),
        (Self::EventsLost, "events_lost"),
        (Self::ChecksumsCompleted, "checksums_completed"),
        (Self::Answers, "answers"),
        (Self::RefusalsOverflowed, "refusals_overflowed"),
    ];
}
