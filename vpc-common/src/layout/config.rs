//! What the agent decided: links, environments, uplinks, ENIs and their names.

use super::{GROUP_ENIS, pair};
use crate::{
    addr::{Addr, Mac},
    state::Timeouts,
};

/// What an interface is, by ifindex.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link {
    /// [`Link::ENVIRONMENT`] or [`Link::UPLINK`].
    pub kind: u32,
    /// Index into the table of that kind.
    pub index: u32,
}

impl Link {
    /// An environment's veth or tap.
    pub const ENVIRONMENT: u32 = 1;
    /// The interface on which a VPC is reachable.
    pub const UPLINK: u32 = 2;
}

/// One execution environment, as the agent decided.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Environment {
    /// Raised when the index is given to another environment and when this one
    /// is detached, so that no flow outlives its environment.
    pub generation: u32,
    /// Its interface; 0 while nothing is attached.
    pub ifindex: u32,
    /// The only source address it may use.
    pub address: Addr,
    /// The address the program answers for on the link.
    pub gateway: Addr,
    /// Index into the groups.
    pub group: u32,
    /// IP MTU of the link, bytes.
    pub mtu: u16,
    /// [`Environment::XDP`] and the constants after it.
    pub flags: u16,
    /// Open flows it may have.
    pub flow_quota: u32,
    /// Nanoseconds between new flows at its sustained rate; 0 = unlimited.
    pub flow_interval_ns: u32,
    /// How far ahead of that rate it may run, nanoseconds: burst × interval.
    pub flow_burst_ns: u64,
}

impl Environment {
    /// Its hook is XDP, with TC behind it: XDP programs may redirect into its
    /// interface.
    pub const XDP: u16 = 1;
    /// Its far end is in another namespace: TC may deliver there directly.
    pub const PEER: u16 = 2;
    /// Its hook was asked to be XDP. Neither this nor the next: the agent chooses.
    pub const WANTS_XDP: u16 = 4;
    /// Its hook was asked to be TC.
    pub const WANTS_TC: u16 = 8;

    /// Whether XDP programs may redirect into its interface.
    #[inline(always)]
    pub const fn has_xdp(&self) -> bool {
        self.flags & Self::XDP != 0
    }
}

/// The interface on which one tenant VPC is reachable.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Uplink {
    /// Its interface; 0 while unused.
    pub ifindex: u32,
    /// IP MTU, bytes.
    pub mtu: u32,
    /// Its MAC: source of what leaves, answer to ARP for every ENI on it.
    pub mac: Mac,
    /// [`Uplink::SHARED`] and the constants after it.
    pub flags: u16,
}

impl Uplink {
    /// The host uses the interface too: what is not for an ENI is passed to its
    /// stack rather than dropped.
    pub const SHARED: u16 = 1;
    /// Frames may arrive with half-made checksums: a veth or tap, never a NIC.
    pub const PARTIAL_CHECKSUMS: u16 = 2;
    /// As [`Environment::XDP`].
    pub const XDP: u16 = 4;
    /// As [`Environment::WANTS_XDP`].
    pub const WANTS_XDP: u16 = 8;
    /// As [`Environment::WANTS_TC`].
    pub const WANTS_TC: u16 = 16;

    /// Whether XDP programs may redirect into it.
    #[inline(always)]
    pub const fn has_xdp(&self) -> bool {
        self.flags & Self::XDP != 0
    }
}

/// The ENIs that serve one (subnet, security-group set).
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Group {
    /// How many of `enis` are in use.
    pub count: u32,
    /// Fills the word.
    pub reserved: u32,
    /// ENI indices in order of preference: the next is used when one is full.
    pub enis: [u32; GROUP_ENIS],
}

/// One Hyperplane ENI, as the agent decided.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Eni {
    /// Its address in the VPC; unspecified while the index is unused.
    pub address: Addr,
    /// Index of its uplink.
    pub uplink: u32,
    /// Fills the word.
    pub reserved: u32,
    /// Connections over both protocols, at most [`ENI_CONNECTIONS`](super::ENI_CONNECTIONS).
    pub connection_limit: u32,
    /// Connections at which the agent is told once: 80 % of the limit.
    pub high_water: u32,
    /// Idle timeouts of its flows.
    pub timeouts: Timeouts,
}

/// An ENI's address on its uplink.
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct EniKey {
    /// Uplink index.
    pub uplink: u32,
    reserved: u32,
    /// The address.
    pub address: Addr,
}

impl EniKey {
    /// A key; of whole words, as [`FlowKey::new`](super::FlowKey::new).
    #[inline(always)]
    pub const fn new(uplink: u32, address: Addr) -> Self {
        let address = address.words();
        let words: [u64; 3] = [
            uplink as u64,
            pair(address[0], address[1]),
            pair(address[2], address[3]),
        ];
        // SAFETY: as for `FlowKey::new`.
        unsafe { core::mem::transmute::<[u64; 3], Self>(words) }
    }
}

/// The ENI behind an address on an uplink.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct EniRef(pub u32);

impl EniRef {
    const PEERED: u32 = 1 << 31;

    /// An ENI on its own uplink.
    pub const fn home(index: u32) -> Self {
        Self(index)
    }

    /// An ENI that is reached by the uplink of a peered VPC: only by flows that went
    /// out there.
    pub const fn peered(index: u32) -> Self {
        Self(index | Self::PEERED)
    }

    /// Its index.
    #[inline(always)]
    pub const fn index(self) -> u32 {
        self.0 & !Self::PEERED
    }

    /// Whether the uplink is that of a peered VPC.
    #[inline(always)]
    pub const fn is_peered(self) -> bool {
        self.0 & Self::PEERED != 0
    }
}

/// What a [`Name`] belongs to.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct NameKey {
    /// One of the constants.
    pub kind: u32,
    /// Index into the table of that kind.
    pub index: u32,
}

impl NameKey {
    /// An environment.
    pub const ENVIRONMENT: u32 = 1;
    /// An uplink.
    pub const UPLINK: u32 = 2;
    /// An ENI.
    pub const ENI: u32 = 3;
    /// A group of ENIs.
    pub const GROUP: u32 = 4;
    /// Not a name: the far end of an environment's veth that the agent prepared.
    pub const ENVIRONMENT_PEER: u32 = 5;
    /// Not a name: the far end of an uplink's veth that the agent prepared.
    pub const UPLINK_PEER: u32 = 6;
}

/// Bytes of a name at most.
pub const NAME_LEN: usize = 64;

/// A name in UTF-8, padded with zero bytes.
pub type Name = [u8; NAME_LEN];

/// Which policy an ENI goes by, and how many there have been: one word, so that both
/// change at once, and with them what every flow of the ENI goes by.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct InForce(pub u64);

impl InForce {
    /// The policy that begins at a word, and its generation.
    pub const fn new(generation: u32, begins: u32) -> Self {
        let place = begins as u64 + 1;
        Self(place | (generation as u64) << 32)
    }

    /// The generation after this one of the same policy.
    #[must_use]
    pub const fn again(self) -> Self {
        Self(self.0.wrapping_add(1 << 32))
    }

    /// No policy, with the generation as it is.
    #[must_use]
    pub const fn without(self) -> Self {
        Self(self.0 & !(u32::MAX as u64))
    }

    /// The generation.
    #[inline(always)]
    pub const fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Where the policy begins among the words.
    #[inline(always)]
    pub const fn begins(self) -> Option<u32> {
        match self.0 as u32 {
            0 => None,
            place => Some(place - 1),
        }
    }
}
