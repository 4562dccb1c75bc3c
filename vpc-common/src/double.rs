//! Tables and packets in ordinary memory, so that every decision runs under
//! `cargo test`, on several threads where that matters.

use std::{
    cell::RefCell,
    collections::HashMap,
    sync::{
        Mutex, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use crate::{
    addr::Addr,
    checksum::Delta,
    layout::*,
    offload::{OnWire, Partial, Segments},
    packet::{Header, Packet},
    policy::Words,
    pool,
    state::Timeouts,
    tables::{Insertion, Tables},
    time::Tick,
    verdict::Awaited,
};

/// The double of the maps. Fields that the agent writes are public.
pub struct Double {
    /// By ifindex.
    pub links: HashMap<u32, Link>,
    /// By index.
    pub environments: Vec<Environment>,
    /// By index.
    pub environment_states: Vec<EnvironmentState>,
    /// By index.
    pub uplinks: Vec<Uplink>,
    /// By index.
    pub groups: Vec<Group>,
    /// By index.
    pub enis: Vec<Eni>,
    /// By index.
    pub eni_states: Vec<EniState>,
    /// By ENI index.
    pub generations: Vec<AtomicU64>,
    /// By address.
    pub eni_by_address: HashMap<EniKey, EniRef>,
    /// By ENI index: where its policy begins, + 1.
    pub policies: Vec<AtomicU64>,
    /// The words of all policies.
    pub policy_words: Vec<u64>,
    /// What rules and routes refused: packets and bytes.
    pub refusals: Mutex<HashMap<RefusalKey, (u64, u64)>>,
    /// How many refusals there is room for.
    pub refusal_capacity: usize,
    /// By index: two per ENI.
    pub pools: Vec<Pool>,
    /// The slab's bitmap.
    pub slab: Box<Slab>,
    /// By index.
    pub blocks: Vec<Block>,
    /// By index.
    pub slots: Vec<Slot>,
    /// The index of flows as the kernel has it. The double's own entries are in
    /// `flows`; [`crate::flow_index`] is held against a map in its tests.
    pub buckets: Vec<Bucket>,
    /// How keys are hashed.
    pub flow_hash: FlowHash,
    /// Forward entries.
    pub flows: RwLock<HashMap<FlowKey, FlowRef>>,
    /// How many forward entries there may be.
    pub flow_capacity: usize,
    /// Fragments.
    pub fragments: Mutex<HashMap<FragmentKey, Fragment>>,
    /// By address.
    pub next_hop_by_address: HashMap<NextHopKey, u32>,
    /// By index.
    pub next_hops: Vec<NextHop>,
    /// By [`Stat`].
    pub stats: Vec<AtomicU64>,
    /// Events told.
    pub events: Mutex<Vec<Event>>,
    /// Records handed over.
    pub records: Mutex<Vec<FlowRecord>>,
    /// How many records there is room for.
    pub record_capacity: usize,
    /// State of the random numbers.
    pub seed: AtomicU64,
}

impl Pool {
    /// A pool without blocks that may use every block from [`FIRST_BLOCK`] on.
    pub fn empty() -> Self {
        // SAFETY: zero is a value of every word.
        let pool: Self = unsafe { core::mem::zeroed() };
        for number in FIRST_BLOCK..POOL_BLOCKS {
            pool.leased[number / 64].fetch_or(1 << (number % 64));
        }
        pool.capacity.store(u64::from(POOL_PORTS));
        pool
    }
}

impl Double {
    /// Tables for `enis` ENIs and `environments` environments over a slab of
    /// `blocks` blocks; nothing is configured.
    pub fn new(enis: u32, environments: u32, blocks: u32) -> Self {
        // SAFETY: zero is a value of every word of these.
        let (slab, slots): (Box<Slab>, Vec<Slot>) = unsafe {
            let zeroed = (0..blocks * BLOCK_PORTS)
                .map(|_| core::mem::zeroed())
                .collect();
            (Box::new(core::mem::zeroed()), zeroed)
        };
        let buckets = (blocks * BLOCK_PORTS / 2).next_power_of_two();
        for block in 0..blocks {
            pool::put_block(&slab, block);
        }
        let unused_environment = Environment {
            generation: 0,
            ifindex: 0,
            address: Addr::UNSPECIFIED,
            gateway: Addr::UNSPECIFIED,
            group: 0,
            mtu: 1500,
            flags: 0,
            flow_quota: u32::MAX,
            flow_interval_ns: 0,
            flow_burst_ns: 0,
        };
        let unused_eni = Eni {
            address: Addr::UNSPECIFIED,
            uplink: 0,
            reserved: 0,
            connection_limit: ENI_CONNECTIONS,
            high_water: ENI_CONNECTIONS / 5 * 4,
            timeouts: Timeouts::AWS,
        };
        Self {
            links: HashMap::new(),
            environments: vec![unused_environment; environments as usize],
            environment_states: vec![EnvironmentState::default(); environments as usize],
            uplinks: Vec::new(),
            groups: Vec::new(),
            enis: vec![unused_eni; enis as usize],
            eni_states: vec![EniState::default(); enis as usize],
            generations: (0..enis).map(|_| AtomicU64::new(1)).collect(),
            eni_by_address: HashMap::new(),
            policies: (0..enis).map(|_| AtomicU64::new(0)).collect(),
            policy_words: Vec::new(),
            refusals: Mutex::default(),
            refusal_capacity: usize::MAX,
            pools: (0..enis * POOLS_PER_ENI).map(|_| Pool::empty()).collect(),
            slab,
            blocks: vec![Block::default(); blocks as usize],
            slots,
            buckets: vec![Bucket::default(); buckets as usize],
            flow_hash: FlowHash {
                multipliers: std::array::from_fn(|i| {
                    (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1
                }),
                mask: buckets - 1,
                reserved: 0,
            },
            flows: RwLock::default(),
            flow_capacity: usize::MAX,
            fragments: Mutex::default(),
            next_hop_by_address: HashMap::new(),
            next_hops: vec![NextHop::default()],
            stats: (0..Stat::COUNT).map(|_| AtomicU64::new(0)).collect(),
            events: Mutex::default(),
            records: Mutex::default(),
            record_capacity: usize::MAX,
            seed: AtomicU64::new(0x1234_5678_9abc_def0),
        }
    }

    /// A counter.
    pub fn stat(&self, stat: Stat) -> u64 {
        self.stats[stat as usize].load(Relaxed)
    }

    fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
        mutex
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Words for Double {
    fn word(&self, index: u32) -> Option<u64> {
        self.policy_words.as_slice().word(index)
    }
}

impl Tables for Double {
    fn link(&self, ifindex: u32) -> Option<Link> {
        self.links.get(&ifindex).copied()
    }
    fn environment(&self, index: u32) -> Option<&Environment> {
        self.environments.get(index as usize)
    }
    fn environment_state(&self, index: u32) -> Option<&EnvironmentState> {
        self.environment_states.get(index as usize)
    }
    fn uplink(&self, index: u32) -> Option<&Uplink> {
        self.uplinks.get(index as usize)
    }
    fn group(&self, index: u32) -> Option<&Group> {
        self.groups.get(index as usize)
    }
    fn eni(&self, index: u32) -> Option<&Eni> {
        self.enis.get(index as usize)
    }
    fn eni_state(&self, index: u32) -> Option<&EniState> {
        self.eni_states.get(index as usize)
    }
    fn generation(&self, eni: u32) -> u64 {
        self.generations
            .get(eni as usize)
            .map_or(0, |generation| generation.load(Relaxed))
    }
    fn policy(&self, eni: u32) -> Option<u32> {
        let place = self.policies.get(eni as usize)?.load(Relaxed);
        u32::try_from(place).ok()?.checked_sub(1)
    }
    fn refuse(&self, key: &RefusalKey, on_wire: &OnWire, _now: Tick) {
        let mut refusals = Self::locked(&self.refusals);
        if !refusals.contains_key(key) && refusals.len() >= self.refusal_capacity {
            if let Some(eni) = self.eni_state(key.owners & 0xffff) {
                eni.unrecorded.add(on_wire.packets.into());
            }
            return self.count(Stat::RefusalsOverflowed);
        }
        let (packets, bytes) = refusals.entry(*key).or_default();
        *packets += u64::from(on_wire.packets);
        *bytes += u64::from(on_wire.bytes);
    }
    fn eni_by_address(&self, key: &EniKey) -> Option<EniRef> {
        self.eni_by_address.get(key).copied()
    }
    fn pool(&self, index: u32) -> Option<&Pool> {
        self.pools.get(index as usize)
    }
    fn slab(&self) -> Option<&Slab> {
        Some(&self.slab)
    }
    fn block(&self, index: u32) -> Option<&Block> {
        self.blocks.get(index as usize)
    }
    fn slot(&self, index: u32) -> Option<&Slot> {
        self.slots.get(index as usize)
    }
    fn flow(&self, key: &FlowKey) -> Option<FlowRef> {
        self.flows
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .get(key)
            .copied()
    }
    fn insert_flow(&self, key: &FlowKey, flow: FlowRef) -> Insertion {
        let mut flows = self
            .flows
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if flows.contains_key(key) {
            return Insertion::Exists;
        }
        if flows.len() >= self.flow_capacity {
            return Insertion::Failed;
        }
        flows.insert(*key, flow);
        Insertion::Done
    }
    fn flow_hash(&self) -> Option<&FlowHash> {
        Some(&self.flow_hash)
    }
    fn bucket(&self, index: u32) -> Option<&Bucket> {
        self.buckets.get(index as usize)
    }
    fn remove_flow(&self, key: &FlowKey, flow: FlowRef) {
        let mut flows = self
            .flows
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if flows.get(key) == Some(&flow) {
            flows.remove(key);
        }
    }
    fn fragment(&self, key: &FragmentKey) -> Option<Fragment> {
        Self::locked(&self.fragments).get(key).copied()
    }
    fn insert_fragment(&self, key: &FragmentKey, fragment: &Fragment) {
        Self::locked(&self.fragments).insert(*key, *fragment);
    }
    fn next_hop_index(&self, key: &NextHopKey) -> Option<u32> {
        self.next_hop_by_address.get(key).copied()
    }
    fn next_hop(&self, index: u32) -> Option<&NextHop> {
        self.next_hops.get(index as usize)
    }
    fn count(&self, stat: Stat) {
        self.stats[stat as usize].fetch_add(1, Relaxed);
    }
    fn event(&self, event: Event) {
        Self::locked(&self.events).push(event);
    }
    fn record(&self, record: &FlowRecord) -> bool {
        let mut records = Self::locked(&self.records);
        let room = records.len() < self.record_capacity;
        if room {
            records.push(*record);
        }
        room
    }
    fn random(&self) -> u32 {
        // splitmix64: good enough for a test, and safe from any thread.
        let mut z = self.seed.fetch_add(0x9e37_79b9_7f4a_7c15, Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z >> 32) as u32
    }
}

/// A packet in a buffer that is aligned as the kernel's are, with room in front.
#[derive(Clone, PartialEq, Eq)]
pub struct Buffer {
    words: Vec<u64>,
    start: usize,
    end: usize,
    /// What the packet was handed over for.
    pub handed_over: RefCell<Option<(Owner, Awaited)>>,
    /// The marks beside the bytes; `None`: the hook sees none.
    pub marks: Option<Marks>,
    /// The hook is XDP: it sends to links of its kind only.
    pub xdp: bool,
}

/// What a stack notes beside a packet's bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Marks {
    /// Segments to be cut.
    pub segments: Segments,
    /// Checksum to be finished.
    pub partial: Partial,
    /// A VLAN tag.
    pub tagged: bool,
    /// The sum of the bytes from the IP header on (`CHECKSUM_COMPLETE`).
    pub sum: u16,
}

impl Marks {
    /// None of them.
    pub const NONE: Self = Self {
        segments: Segments::NONE,
        partial: Partial::NONE,
        tagged: false,
        sum: 0,
    };
}

/// Bytes before the packet, as XDP has.
const HEADROOM: usize = 256;
/// Bytes that a packet may have: a page less what XDP takes.
const ROOM: usize = 4096 - 320;

impl Buffer {
    /// A packet.
    ///
    /// # Panics
    ///
    /// If `frame` is larger than a page has room for.
    pub fn new(frame: &[u8]) -> Self {
        assert!(frame.len() <= ROOM - HEADROOM);
        let mut buffer = Self {
            words: vec![0; ROOM / 8],
            start: HEADROOM,
            end: HEADROOM + frame.len(),
            handed_over: RefCell::new(None),
            marks: None,
            xdp: false,
        };
        buffer.bytes_mut()[HEADROOM..HEADROOM + frame.len()].copy_from_slice(frame);
        buffer
    }

    /// Bytes by which the packet grew in front.
    pub fn grown(&self) -> usize {
        HEADROOM - self.start
    }

    /// The packet's bytes.
    pub fn frame(&self) -> &[u8] {
        &self.bytes()[self.start..self.end]
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: a `u64` is eight bytes, each with a value.
        unsafe { std::slice::from_raw_parts(self.words.as_ptr().cast(), self.words.len() * 8) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        let len = self.words.len() * 8;
        // SAFETY: as for `bytes`, and every byte is a part of a value of `u64`.
        unsafe { std::slice::from_raw_parts_mut(self.words.as_mut_ptr().cast(), len) }
    }

    fn range(&self, at: usize, len: usize) -> Option<std::ops::Range<usize>> {
        let start = self.start.checked_add(at)?;
        let end = start.checked_add(len)?;
        (end <= self.end).then_some(start..end)
    }
}

impl Packet for Buffer {
    fn len(&self) -> usize {
        self.end - self.start
    }

    fn holds(&self, at: usize, len: usize) -> bool {
        self.range(at, len).is_some()
    }

    fn header<T: Header>(&self, at: usize) -> Option<&T> {
        let bytes = &self.bytes()[self.range(at, size_of::<T>())?];
        assert!(
            (bytes.as_ptr() as usize).is_multiple_of(align_of::<T>()),
            "odd offset {at}"
        );
        // SAFETY: in range and aligned as just checked; a `Header` is valid for
        // every bit pattern.
        Some(unsafe { &*bytes.as_ptr().cast() })
    }

    fn header_mut<T: Header>(&mut self, at: usize) -> Option<&mut T> {
        let range = self.range(at, size_of::<T>())?;
        let bytes = &mut self.bytes_mut()[range];
        assert!(
            (bytes.as_ptr() as usize).is_multiple_of(align_of::<T>()),
            "odd offset {at}"
        );
        // SAFETY: as for `header`.
        Some(unsafe { &mut *bytes.as_mut_ptr().cast() })
    }

    fn sum(&self, at: usize, len: usize) -> Option<u32> {
        let bytes = &self.bytes()[self.range(at, len)?];
        let word = |pair: &[u8]| u16::from_ne_bytes([pair[0], *pair.get(1).unwrap_or(&0)]);
        Some(bytes.chunks(2).map(|pair| u32::from(word(pair))).sum())
    }

    fn copy<const N: usize>(&self, at: usize, len: usize, to: &mut [u8; N]) -> Option<()> {
        to.get_mut(..len)?
            .copy_from_slice(&self.bytes()[self.range(at, len)?]);
        Some(())
    }

    fn grow_front(&mut self, bytes: usize) -> Option<()> {
        self.start = self.start.checked_sub(bytes)?;
        Some(())
    }

    fn truncate(&mut self, len: usize) -> Option<()> {
        (len <= self.len()).then(|| self.end = self.start + len)
    }

    fn sees_marks(&self) -> bool {
        self.marks.is_some()
    }

    fn segments(&self) -> Segments {
        self.marks.map_or(Segments::NONE, |marks| marks.segments)
    }

    fn partial(&self) -> Partial {
        self.marks.map_or(Partial::NONE, |marks| marks.partial)
    }

    fn is_tagged(&self) -> bool {
        self.marks.is_some_and(|marks| marks.tagged)
    }

    fn note_change(&mut self, delta: Delta) {
        if let Some(marks) = &mut self.marks {
            marks.sum = delta.apply_to_sum(marks.sum);
        }
    }

    fn reaches(&self, link_has_xdp: bool) -> bool {
        !self.xdp || link_has_xdp
    }

    fn hand_over(&self, owner: Owner, awaited: &Awaited) -> Option<()> {
        self.handed_over.replace(Some((owner, *awaited)));
        Some(())
    }
}
