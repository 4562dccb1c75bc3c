//! Keys and values of the maps: the contract between the kernel programs and the
//! agent, byte for byte.
//!
//! Every type is `repr(C)` without padding (the kernel hashes bytes), holds no
//! enum and no `bool`, and has its size asserted. Each table has one writer: the
//! *agent* writes what it decided, the *kernel* writes what it observed; a value
//! that both would write is split in two. Changing anything here means raising
//! [`LAYOUT`], which the agent compares with what is pinned before it adopts it.

use crate::{
    addr::{Addr, Mac, Port},
    atomic::{Shared32, Shared64},
    drop::DropReason,
    state::{State, Timeouts},
    time::Tick,
};

/// Raised with every change of this file that changes a byte.
pub const LAYOUT: u32 = 1;

/// Ports of a block; slots of a block.
pub const BLOCK_PORTS: u32 = 256;
/// Blocks of the 16-bit port space.
pub const POOL_BLOCKS: usize = 256;
/// The first block of ports an ENI may use: 1024 and up, because tenants open
/// 1024-65535 in their network ACLs (RFC 6056 §3.2).
pub const FIRST_BLOCK: usize = 4;
/// Ports of a pool: 64,512.
pub const POOL_PORTS: u32 = (POOL_BLOCKS - FIRST_BLOCK) as u32 * BLOCK_PORTS;
/// Blocks a pool takes before it first reuses one, so that ports stay hard to
/// guess while few are in use (RFC 6056).
pub const POOL_INITIAL_BLOCKS: u32 = 4;
/// Connections over both protocols that one ENI carries (AWS: 65,000).
pub const ENI_CONNECTIONS: u32 = 65_000;
/// ENIs of one group at most.
pub const GROUP_ENIS: usize = 16;
/// Blocks of the slab at most: 4,194,304 flows.
pub const SLAB_BLOCKS_MAX: usize = 64 * 64 * 4;
/// Bytes of a frame that can be handed to the agent.
pub const PUNT_FRAME: usize = 3_584;

/// Names of the maps, as declared in the kernel object and as pinned.
pub mod name {
    /// `Array<Meta>`, one entry.
    pub const META: &str = "META";
    /// `HashMap<u32 ifindex, Link>`, written by the agent.
    pub const LINK_BY_IFINDEX: &str = "LINK_BY_IFINDEX";
    /// `Array<Environment>`, written by the agent.
    pub const ENVIRONMENTS: &str = "ENVIRONMENTS";
    /// `Array<EnvironmentState>`, written by the kernel.
    pub const ENVIRONMENT_STATES: &str = "ENVIRONMENT_STATES";
    /// `Array<Uplink>`, written by the agent.
    pub const UPLINKS: &str = "UPLINKS";
    /// `Array<Group>`, written by the agent.
    pub const GROUPS: &str = "GROUPS";
    /// `Array<Eni>`, written by the agent.
    pub const ENIS: &str = "ENIS";
    /// `Array<u64>`: the verdict generation of each ENI, written by the agent
    /// after what it stands for.
    pub const GENERATIONS: &str = "GENERATIONS";
    /// `Array<EniState>`, written by the kernel.
    pub const ENI_STATES: &str = "ENI_STATES";
    /// `HashMap<EniKey, u32 ENI index>`, written by the agent.
    pub const ENI_BY_ADDRESS: &str = "ENI_BY_ADDRESS";
    /// `Array<Pool>`, two per ENI, written by the kernel.
    pub const POOLS: &str = "POOLS";
    /// `Array<Slab>`, one entry; the agent frees its blocks once, at creation.
    pub const SLAB: &str = "SLAB";
    /// `Array<Block>`, written by the kernel.
    pub const BLOCKS: &str = "BLOCKS";
    /// `Array<Slot>`, 256 per block, written by the kernel.
    pub const SLOTS: &str = "SLOTS";
    /// `HashMap<FlowKey, FlowRef>`, written by the kernel.
    pub const FLOW_BY_TUPLE: &str = "FLOW_BY_TUPLE";
    /// `LruHashMap<FragmentKey, Fragment>`, written by the kernel; may be lost.
    pub const FRAGMENTS: &str = "FRAGMENTS";
    /// `HashMap<NextHopKey, u32 next hop index>`, written by the agent.
    pub const NEXT_HOP_BY_ADDRESS: &str = "NEXT_HOP_BY_ADDRESS";
    /// `Array<NextHop>`: the kernel learns, the agent forgets.
    pub const NEXT_HOPS: &str = "NEXT_HOPS";
    /// `HashMap<DropKey, u64>`: packets, written by the kernel.
    pub const DROPS: &str = "DROPS";
    /// `PerCpuArray<u64>`, indexed by [`Stat`](super::Stat).
    pub const STATS: &str = "STATS";
    /// `DevMap`: environment index → interface.
    pub const ENVIRONMENT_PORTS: &str = "ENVIRONMENT_PORTS";
    /// `DevMap`: uplink index → interface.
    pub const UPLINK_PORTS: &str = "UPLINK_PORTS";
    /// `RingBuf` of [`Event`](super::Event).
    pub const EVENTS: &str = "EVENTS";
    /// `RingBuf` of [`Punt`](super::Punt).
    pub const PUNTS: &str = "PUNTS";
    /// `RingBuf` of [`FlowRecord`](super::FlowRecord).
    pub const FLOW_RECORDS: &str = "FLOW_RECORDS";
    /// `Array<SweepResult>`, one entry, of the last run of the sweep.
    pub const SWEEP_RESULT: &str = "SWEEP_RESULT";
    /// `HashMap<NameKey, Name>`: what people call the things behind the indices.
    /// Made, pinned, written and read by the agent alone.
    pub const NAMES: &str = "NAMES";
}

/// Names of the programs in the kernel object.
pub mod program {
    /// XDP, on an environment link.
    pub const FROM_ENVIRONMENT: &str = "from_environment";
    /// XDP, on an uplink.
    pub const FROM_UPLINK: &str = "from_uplink";
    /// Raw tracepoint, run by test run only: args = now (ns, coarse monotonic),
    /// first block, blocks, [`crate::expiry::SweepOptions`].
    pub const SWEEP: &str = "sweep";
    /// Raw tracepoint, run by test run only: args = owner, reason. Counts a packet
    /// that the agent had to give up.
    pub const COUNT_DROP: &str = "count_drop";
}

/// How many entries each table gets, fixed when the tables are created.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Environments attached at a time, at most 65,536.
    pub environments: u32,
    /// Uplinks, at most 65,536.
    pub uplinks: u32,
    /// ENIs and groups, at most 65,536 each.
    pub enis: u32,
    /// Neighbours on all uplinks, at most 65,536.
    pub next_hops: u32,
    /// Flows at a time, in blocks of 256; at most [`SLAB_BLOCKS_MAX`] blocks.
    pub blocks: u32,
    /// Fragmented datagrams in flight.
    pub fragments: u32,
}

impl Limits {
    /// A middling host: 16,384 environments, 524,288 flows (64 MiB of slots and about
    /// as much again for the forward hash). Both pools of each ENI find their first
    /// blocks even when every ENI is busy.
    pub const DEFAULT: Self = Self {
        environments: 16_384,
        uplinks: 256,
        enis: 256,
        next_hops: 4_096,
        blocks: 2_048,
        fragments: 4_096,
    };

    /// Slots in all.
    pub const fn slots(&self) -> u32 {
        self.blocks * BLOCK_PORTS
    }

    /// Entries of the forward hash: one for each slot. It is never full before the
    /// slab is, because an entry goes before its slot does; and it is no larger,
    /// because its buckets are what misses the cache.
    pub const fn flows(&self) -> u32 {
        self.slots()
    }
}

/// What the pinned tables were created for.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Meta {
    /// [`LAYOUT`] of the agent that created the tables.
    pub layout: u32,
    /// 1 once the agent has filled the slab's bitmap.
    pub ready: u32,
    /// What the tables were created with.
    pub limits: Limits,
}

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
    pub mtu: u32,
    /// Open flows it may have.
    pub flow_quota: u32,
    /// Nanoseconds between new flows at its sustained rate; 0 = unlimited.
    pub flow_interval_ns: u32,
    /// How far ahead of that rate it may run, nanoseconds: burst × interval.
    pub flow_burst_ns: u64,
}

/// One execution environment, as the kernel saw it.
#[repr(C)]
#[derive(Clone, Debug, Default)]
pub struct EnvironmentState {
    /// Open flows.
    pub flows: Shared64,
    /// Its MAC as [`Mac::to_word`]: set at attach, learnt since; 0 = not known.
    pub mac: Shared64,
    /// Theoretical arrival time of the new-flow rate (GCRA), nanoseconds.
    pub next_flow_ns: Shared64,
    /// Fills the line.
    pub reserved: [u64; 5],
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
    /// [`Uplink::SHARED`] and [`Uplink::PARTIAL_CHECKSUMS`].
    pub flags: u16,
}

impl Uplink {
    /// The host uses the interface too: what is not for an ENI is passed to its
    /// stack rather than dropped.
    pub const SHARED: u16 = 1;
    /// Frames may arrive with half-made checksums: a veth or tap, never a NIC.
    pub const PARTIAL_CHECKSUMS: u16 = 2;
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
    /// First address of its subnet.
    pub subnet: Addr,
    /// Where destinations outside the subnet go; unspecified = nowhere.
    pub router: Addr,
    /// Prefix length of the subnet within the IPv4-mapped address: 96 + n.
    pub prefix_len: u32,
    /// Index of its uplink.
    pub uplink: u32,
    /// Connections over both protocols, at most [`ENI_CONNECTIONS`].
    pub connection_limit: u32,
    /// Connections at which the agent is told once: 80 % of the limit.
    pub high_water: u32,
    /// Idle timeouts of its flows.
    pub timeouts: Timeouts,
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
    /// A key; of whole words, as [`FlowKey::new`].
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

/// The protocols that have a pool of their own in each ENI.
pub const POOLS_PER_ENI: u32 = 2;

/// The ports of one (ENI, protocol): which blocks it holds and which of them
/// have a free port. Bit sets are indexed by block number, port >> 8.
#[repr(C)]
#[derive(Debug)]
pub struct Pool {
    /// Hint: blocks in which a port may be free. See [`crate::pool`].
    pub has_free: [Shared64; 4],
    /// Blocks that are being granted or are granted.
    pub granted: [Shared64; 4],
    /// Blocks this host may use; written by the agent at creation, later leases.
    pub leased: [Shared64; 4],
    /// Ports in use: the ticket that makes allocation exact.
    pub used: Shared64,
    /// How many blocks are granted.
    pub blocks: Shared64,
    /// Where the search for an expired slot goes on when no port is free.
    pub reclaim_cursor: Shared64,
    /// Ports this host may use: 256 for each leased block; written by the agent
    /// with `leased`.
    pub capacity: Shared64,
    /// Slab block + 1 of each block number; 0 = none.
    pub block: [Shared32; POOL_BLOCKS],
}

/// 256 ports of one pool and the owner of 256 slots.
#[repr(C)]
#[derive(Clone, Debug, Default)]
pub struct Block {
    /// 1 = free.
    pub words: [Shared64; 4],
    /// Index of the pool it is granted to.
    pub pool: Shared32,
    /// Its number in that pool: the high byte of its ports.
    pub number: Shared32,
    /// Fills the line.
    pub reserved: [u64; 3],
}

/// Which blocks of the host's slab are free: a bit each, under a hint per word.
#[repr(C)]
#[derive(Debug)]
pub struct Slab {
    /// Hint: words of `words` in which a bit may be set.
    pub summary: [Shared64; SLAB_BLOCKS_MAX / 64 / 64],
    /// 1 = free.
    pub words: [Shared64; SLAB_BLOCKS_MAX / 64],
}

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
}

const _: () = assert!(
    cfg!(target_endian = "little"),
    "keys are put together for little endian"
);

/// Two words as they follow each other in memory.
#[inline(always)]
const fn pair(first: u32, second: u32) -> u64 {
    first as u64 | (second as u64) << 32
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

/// One flow, and one port of an ENI: two cache lines. The forward path touches
/// the first only; the reply path reads the first and writes the second.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Slot {
    /// A [`State`]; moved by compare-and-swap only. Everything else is written
    /// between `Claiming` and open, except counters and stamps.
    pub state: Shared64,
    /// The ENI's generation when the verdict was reached.
    pub verdict_generation: Shared64,
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
    /// Next hop index << 16 | outside port as on the wire.
    pub next_hop: Shared32,
    /// [`Tick`] of the last packet into the VPC.
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
    /// Generation of the environment.
    pub generation: Shared32,
    /// TCP: the next sequence number of the remote, as its segments tell.
    pub reply_next: Shared32,
    /// TCP: the acknowledgment that answers the opening SYN.
    pub expected_ack: Shared32,
    /// TCP flags seen, forward << 8 | reply, in the low 16 bits.
    pub tcp_flags: Shared32,
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
    /// [`Mac::to_word`]; 0 while unresolved.
    pub mac: Shared64,
    /// [`Tick`] at which the neighbour was heard last.
    pub confirmed: Shared32,
    /// Uplink index.
    pub uplink: Shared32,
}

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
    /// Forward entries that could not be removed at once and were left to the
    /// next sweep.
    RemovalsDeferred = 12,
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
        (Self::RemovalsDeferred, "removals_deferred"),
    ];
}

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
}

/// What happened on a flow since the last record of it.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlowRecord {
    /// [`State`] at the time; of the phase before it ended if `ended`.
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
    /// [`Tick`]s: opened, last packet either way.
    pub created: u32,
    /// See `created`.
    pub last: u32,
    /// 1 with the last record of a flow.
    pub ended: u32,
    /// TCP flags seen so far, forward << 8 | reply.
    pub tcp_flags: u32,
    /// Zero.
    pub reserved: u32,
}

/// What one run of the sweep did.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SweepResult {
    /// Slots looked at.
    pub slots: u64,
    /// Open flows seen and left open.
    pub open: u64,
    /// Flows taken down.
    pub expired: u64,
    /// Blocks given back.
    pub returned: u64,
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

    /// Source port on the ENI.
    #[inline(always)]
    pub fn outside_port(&self) -> Port {
        Port::from_wire(self.next_hop.load() as u16)
    }

    /// Next hop index.
    #[inline(always)]
    pub fn next_hop(&self) -> u16 {
        (self.next_hop.load() >> 16) as u16
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

macro_rules! assert_sizes {
    ($($type:ty = $size:expr),+ $(,)?) => {
        $(const _: () = assert!(size_of::<$type>() == $size, stringify!($type));)+
    };
}

assert_sizes! {
    Addr = 16, Mac = 6, Limits = 24, Meta = 32, Link = 8, Environment = 64, EnvironmentState = 64,
    Uplink = 16, Group = 72, Eni = 128, EniState = 64, EniKey = 24, Pool = 128 + 1024, Block = 64,
    Slab = 32 + 2048, FlowKey = 32, FlowRef = 8, Slot = 128, FragmentKey = 44, Fragment = 16,
    NextHopKey = 20, NextHop = 16, DropKey = 8, Event = 16, FlowRecord = 88, SweepResult = 32,
    NameKey = 8, Punt = 16 + 20 + 44 + 16 + PUNT_FRAME,
}

#[cfg(feature = "user")]
mod pod {
    //! `Pod` lets aya copy a value byte for byte to and from a map.
    macro_rules! pod {
        ($($type:ident),+ $(,)?) => {
            $(
                // SAFETY: `repr(C)`, no padding (the sizes above), no pointer, no
                // bit pattern that is not a value.
                unsafe impl aya::Pod for $crate::layout::$type {}
            )+
        };
    }
    pod! {
        Meta, Link, Environment, Uplink, Group, Eni, EniKey, FlowKey, FlowRef, FragmentKey,
        Fragment, NextHopKey, NameKey, DropKey, Event, FlowRecord, SweepResult, Punt,
    }
}
