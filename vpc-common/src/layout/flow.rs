//! Flows: how they are found, what is known of them, where their fragments go.

use super::pair;
use crate::{
    addr::{Addr, Port},
    atomic::{Shared32, Shared64},
    pool::{self, Peer},
    state::State,
    time::Tick,
};

/// What identifies a flow on its way into the VPC. The inside address is not part
/// of it: an environment has one, and its link proves it.
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FlowKey {
    /// Environment index.
    pub environment: u16,
    /// IP protocol number.
    pub protocol: u8,
    reserved: u8,
    /// Generation of the environment.
    pub generation: u32,
    /// Destination address.
    pub remote: Addr,
    /// Source port of the environment.
    pub inside_port: Port,
    /// Destination port.
    pub remote_port: Port,
    reserved_too: u32,
}

impl FlowKey {
    /// A key.
    ///
    /// Made of whole words: the kernel hashes and compares it in pieces of four and
    /// eight bytes, and a load that spans several smaller stores waits for all of
    /// them to leave the store buffer.
    #[inline(always)]
    pub const fn new(
        environment: u16,
        protocol: u8,
        generation: u32,
        remote: Addr,
        inside_port: Port,
        remote_port: Port,
    ) -> Self {
        let remote = remote.words();
        let words: [u64; 4] = [
            pair(environment as u32 | (protocol as u32) << 16, generation),
            pair(remote[0], remote[1]),
            pair(remote[2], remote[3]),
            pair(
                inside_port.to_wire() as u32 | (remote_port.to_wire() as u32) << 16,
                0,
            ),
        ];
        // SAFETY: both are 32 bytes without padding, and every bit pattern is a
        // value. On a little-endian machine the words are the fields.
        unsafe { core::mem::transmute::<[u64; 4], Self>(words) }
    }

    /// The key in four words.
    #[inline(always)]
    pub const fn words(&self) -> [u64; 4] {
        // SAFETY: as for `new`.
        unsafe { core::mem::transmute::<Self, [u64; 4]>(*self) }
    }
}

/// One line of the index of flows: see [`crate::flow_index`].
#[repr(C, align(64))]
#[derive(Clone, Debug, Default)]
pub struct Bucket {
    /// Slot index + 1 in 24 bits, 8 bits of the key's hash, and the epoch; 0 = free.
    pub entries: [Shared64; Self::ENTRIES],
    /// Entries of keys of this bucket that are in their second one.
    pub overflowed: Shared64,
}

impl Bucket {
    /// Entries of a bucket.
    pub const ENTRIES: usize = 7;
}

/// How keys are hashed, drawn by the agent when it makes the tables.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlowHash {
    /// Secret: seven multipliers and an addend.
    pub multipliers: [u64; 8],
    /// Number of buckets, a power of two, less one.
    pub mask: u32,
    /// Zero.
    pub reserved: u32,
}

/// Where a flow's slot is, and which use of the slot is meant.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlowRef {
    /// Slot index.
    pub slot: u32,
    /// [`State::epoch`] of the slot while the flow lives.
    pub epoch: u32,
}

/// The neighbour that a flow's packets are sent to, and on whose uplink it is.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hop(pub u32);

impl Hop {
    const INDEX: u32 = Self::COUNT - 1;
    const PEERED: u32 = Self::COUNT;

    /// How many there can be, index 0 included, which is never used.
    pub const COUNT: u32 = 1 << 16;

    /// A neighbour by index, and whether it is on the uplink of a peered VPC.
    #[inline(always)]
    pub const fn new(index: u32, is_peered: bool) -> Self {
        let peered = if is_peered { Self::PEERED } else { 0 };
        Self(index & Self::INDEX | peered)
    }

    /// Its index.
    #[inline(always)]
    pub const fn index(self) -> u32 {
        self.0 & Self::INDEX
    }

    /// Whether it is on the uplink of a peered VPC.
    #[inline(always)]
    pub const fn is_peered(self) -> bool {
        self.0 & Self::PEERED != 0
    }
}

/// What rules and routes said of a flow, the generation that this is of, and the
/// flow's port, in one word: whoever reads it never sees the verdict of one
/// generation under the label of another.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decision(pub u64);

impl Decision {
    const HOP: u32 = 16;
    const STOPPED: u64 = 1 << 33;
    const REPLY_DENIED: u64 = 1 << 34;
    const GENERATION: u32 = 36;

    /// A decision that denies nothing. Of the generation it keeps the lower 28 bits: a
    /// flow would have to be idle through that many changes to miss one.
    #[inline(always)]
    pub const fn new(generation: u64, hop: Hop, outside: Port) -> Self {
        let generation = generation << Self::GENERATION;
        Self(outside.to_wire() as u64 | (hop.0 as u64) << Self::HOP | generation)
    }

    /// The same, but packets into the VPC do not leave, or the network ACL keeps replies
    /// out of the subnet.
    #[must_use]
    #[inline(always)]
    pub const fn stopping(self, forward: bool, reply: bool) -> Self {
        let forward = if forward { Self::STOPPED } else { 0 };
        let reply = if reply { Self::REPLY_DENIED } else { 0 };
        Self(self.0 | forward | reply)
    }

    /// Source port on the ENI.
    #[inline(always)]
    pub const fn outside_port(self) -> Port {
        Port::from_wire(self.0 as u16)
    }

    /// Where its packets go; of a flow that is stopped, where they would go or went last.
    #[inline(always)]
    pub const fn hop(self) -> Hop {
        Hop((self.0 >> Self::HOP) as u32 & (Hop::PEERED | Hop::INDEX))
    }

    /// Whether packets into the VPC do not leave: denied, without a route, or without a
    /// neighbour that is known.
    #[inline(always)]
    pub const fn is_stopped(self) -> bool {
        self.0 & Self::STOPPED != 0
    }

    /// Whether the network ACL keeps replies out of the subnet.
    #[inline(always)]
    pub const fn denies_replies(self) -> bool {
        self.0 & Self::REPLY_DENIED != 0
    }

    /// Whether it is of this generation of its ENI.
    #[inline(always)]
    pub const fn is_of(self, generation: u64) -> bool {
        self.0 >> Self::GENERATION == generation & (u64::MAX >> Self::GENERATION)
    }
}

/// One flow, and one port of an ENI: two cache lines. The forward path touches
/// the first only; the reply path reads the first and writes the second.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Slot {
    /// A [`State`]; moved by compare-and-swap only. Everything else is written
    /// between `Claiming` and open, except counters and stamps.
    pub state: Shared64,
    /// A [`Decision`].
    pub decision: Shared64,
    /// Bytes of IP packets into the VPC.
    pub forward_bytes: Shared64,
    /// Packets into the VPC.
    pub forward_packets: Shared64,
    /// The other end.
    pub remote: [Shared32; 4],
    /// Environment index << 16 | ENI index.
    pub owners: Shared32,
    /// Inside port << 16 | remote port, both as on the wire.
    pub ports: Shared32,
    /// Generation of the environment.
    pub generation: Shared32,
    /// [`Tick`] of the last packet into the VPC; of a slot that is free, [`Tick`] until
    /// which it rests, if that is to come.
    pub forward_last: Shared32,

    /// Bytes of IP packets to the environment.
    pub reply_bytes: Shared64,
    /// Packets to the environment.
    pub reply_packets: Shared64,
    /// `forward_bytes` as last exported by the sweep.
    pub exported_forward_bytes: Shared64,
    /// `reply_bytes` as last exported by the sweep.
    pub exported_reply_bytes: Shared64,
    /// `forward_packets` as last exported, modulo 2^32.
    pub exported_forward_packets: Shared32,
    /// `reply_packets` as last exported, modulo 2^32.
    pub exported_reply_packets: Shared32,
    /// [`Tick`] of the last packet to the environment.
    pub reply_last: Shared32,
    /// [`Tick`] at which the flow opened.
    pub created: Shared32,
    /// `tcp_flags` as last exported.
    pub exported_tcp_flags: Shared32,
    /// TCP: the next sequence number of the remote, as its segments tell.
    pub reply_next: Shared32,
    /// TCP: the acknowledgment that answers the opening SYN. Of a slot that rests: its
    /// [`Peer`].
    pub expected_ack: Shared32,
    /// TCP flags seen, forward << 8 | reply, in the low 16 bits.
    pub tcp_flags: Shared32,
}

/// Views of the packed words of a slot.
impl Slot {
    /// The state word.
    #[inline(always)]
    pub fn state(&self) -> State {
        State(self.state.load())
    }

    /// The other end.
    #[inline(always)]
    pub fn remote(&self) -> Addr {
        Addr::from_words([
            self.remote[0].load(),
            self.remote[1].load(),
            self.remote[2].load(),
            self.remote[3].load(),
        ])
    }

    /// Sets to nothing what a connection has carried, before its first packet.
    #[inline(always)]
    pub fn begin(&self, now: Tick, expected_ack: u32) {
        self.begin_uncounted(now, expected_ack);
        self.tcp_flags.store(0);
        self.exported_tcp_flags.store(0);
        self.created.store(now.0);
        for word in [
            &self.forward_bytes,
            &self.forward_packets,
            &self.reply_bytes,
            &self.reply_packets,
            &self.exported_forward_bytes,
            &self.exported_reply_bytes,
        ] {
            word.store(0);
        }
        self.exported_forward_packets.store(0);
        self.exported_reply_packets.store(0);
    }

    /// Begins a connection that is counted on from the one before it.
    #[inline(always)]
    pub fn begin_uncounted(&self, now: Tick, expected_ack: u32) {
        self.expected_ack.store(expected_ack);
        self.reply_next.store(0);
        self.forward_last.store(now.0);
        self.reply_last.store(now.0);
    }

    /// Has the slot, once it is free, carry nobody to the peer of its last flow before a
    /// moment.
    #[inline(always)]
    pub fn rest(&self, until: Tick) {
        self.forward_last.store(until.0);
        self.expected_ack
            .store(Peer::of(self.remote(), self.remote_port()).0);
    }

    /// Whether the free slot rests for a peer.
    #[inline(always)]
    pub fn rests(&self, peer: Peer, now: Tick) -> bool {
        pool::is_resting(Tick(self.forward_last.load()), now) && self.expected_ack.load() == peer.0
    }

    /// Sets the other end.
    #[inline(always)]
    pub fn set_remote(&self, remote: Addr) {
        for (word, value) in self.remote.iter().zip(remote.words()) {
            word.store(value);
        }
    }

    /// Environment index.
    #[inline(always)]
    pub fn environment(&self) -> u16 {
        (self.owners.load() >> 16) as u16
    }

    /// ENI index.
    #[inline(always)]
    pub fn eni(&self) -> u16 {
        self.owners.load() as u16
    }

    /// Source port of the environment.
    #[inline(always)]
    pub fn inside_port(&self) -> Port {
        Port::from_wire((self.ports.load() >> 16) as u16)
    }

    /// Port of the other end.
    #[inline(always)]
    pub fn remote_port(&self) -> Port {
        Port::from_wire(self.ports.load() as u16)
    }

    /// What was decided.
    #[inline(always)]
    pub fn decision(&self) -> Decision {
        Decision(self.decision.load())
    }

    /// Source port on the ENI.
    #[inline(always)]
    pub fn outside_port(&self) -> Port {
        self.decision().outside_port()
    }

    /// The last packet of either direction.
    #[inline(always)]
    pub fn last(&self) -> Tick {
        let (forward, reply) = (Tick(self.forward_last.load()), Tick(self.reply_last.load()));
        if forward.since(reply) > 0 {
            forward
        } else {
            reply
        }
    }

    /// The key of the flow's forward entry.
    #[inline(always)]
    pub fn flow_key(&self, protocol: u8) -> FlowKey {
        FlowKey::new(
            self.environment(),
            protocol,
            self.generation.load(),
            self.remote(),
            self.inside_port(),
            self.remote_port(),
        )
    }
}

/// A datagram of which the first fragment was seen.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FragmentKey {
    /// Interface it arrives on.
    pub ifindex: u32,
    /// Generation of the environment, 0 on an uplink.
    pub generation: u32,
    /// Source address.
    pub source: Addr,
    /// Destination address.
    pub destination: Addr,
    /// IPv4 identification, as on the wire.
    pub id: u16,
    /// IP protocol number.
    pub protocol: u16,
}

/// Where the other fragments of a datagram go.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fragment {
    /// The flow.
    pub flow: FlowRef,
    /// [`Tick`] of the first fragment.
    pub created: u32,
    /// Identification on the outside, as on the wire.
    pub outside_id: u16,
    /// Zero.
    pub reserved: u16,
}

/// How long fragments of a datagram are waited for, seconds.
pub const FRAGMENT_SECS: u32 = 2;
