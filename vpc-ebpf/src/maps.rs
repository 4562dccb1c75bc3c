//! The maps, and [`Tables`] over them. Sizes given here are placeholders: the
//! loader sets the real ones from the configured limits.

use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, BPF_NOEXIST},
    helpers::bpf_get_prandom_u32,
    macros::map,
    maps::{Array, DevMap, HashMap, LruHashMap, PerCpuArray, RingBuf},
};
use vpc_common::{
    addr::{Addr, V4},
    expiry::{self, SweepOptions},
    flow::{self, NewFlow, Opened},
    flow_index,
    judge::{self, Refused},
    layout::*,
    offload::OnWire,
    policy,
    pool::{self, Claim, ClaimError, Growth, Purpose},
    state::{Direction, State},
    tables::{Insertion, Tables},
    time::Tick,
    verdict::Verdict,
};

use crate::judging;

/// Bytes of the ring of packets for the agent: 256 of them.
const PUNT_RING: u32 = 1 << 20;
/// Bytes of the ring of flow records: 11,000 of them.
const RECORD_RING: u32 = 1 << 20;
/// Bytes of the ring of events.
const EVENT_RING: u32 = 1 << 16;

#[map]
pub static META: Array<Meta> = Array::with_max_entries(1, 0);
#[map]
pub static LINK_BY_IFINDEX: HashMap<u32, Link> = HashMap::with_max_entries(1, 0);
#[map]
pub static ENVIRONMENTS: Array<Environment> = Array::with_max_entries(1, 0);
#[map]
pub static ENVIRONMENT_STATES: Array<EnvironmentState> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub static UPLINKS: Array<Uplink> = Array::with_max_entries(1, 0);
#[map]
pub static GROUPS: Array<Group> = Array::with_max_entries(1, 0);
#[map]
pub static ENIS: Array<Eni> = Array::with_max_entries(1, 0);
#[map]
pub static POLICIES: Array<u64> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub static POLICY_WORDS: Array<u64> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub static REFUSALS: HashMap<RefusalKey, Refusal> = HashMap::with_max_entries(1, 0);
#[map]
pub static ENI_STATES: Array<EniState> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub static ENI_BY_ADDRESS: HashMap<EniKey, EniRef> = HashMap::with_max_entries(1, 0);
#[map]
pub static POOLS: Array<Pool> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub static SLAB: Array<Slab> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub static BLOCKS: Array<Block> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub static SLOTS: Array<Slot> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub static FLOW_BY_TUPLE: Array<Bucket> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub static FLOW_HASH: Array<FlowHash> = Array::with_max_entries(1, 0);
#[map]
pub static FRAGMENTS: LruHashMap<FragmentKey, Fragment> = LruHashMap::with_max_entries(1, 0);
#[map]
pub static NEXT_HOP_BY_ADDRESS: HashMap<NextHopKey, u32> = HashMap::with_max_entries(1, 0);
#[map]
pub static NEXT_HOPS: Array<NextHop> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub static DROPS: HashMap<DropKey, u64> = HashMap::with_max_entries(1, 0);
#[map]
pub static STATS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Stat::COUNT, 0);
#[map]
pub static ENVIRONMENT_PORTS: DevMap = DevMap::with_max_entries(1, 0);
#[map]
pub static UPLINK_PORTS: DevMap = DevMap::with_max_entries(1, 0);
#[map]
pub static TC_ENVIRONMENT_PORTS: DevMap = DevMap::with_max_entries(1, 0);
#[map]
pub static TC_UPLINK_PORTS: DevMap = DevMap::with_max_entries(1, 0);
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(EVENT_RING, 0);
#[map]
pub static PUNTS: RingBuf = RingBuf::with_byte_size(PUNT_RING, 0);
#[map]
pub static FLOW_RECORDS: RingBuf = RingBuf::with_byte_size(RECORD_RING, 0);
#[map]
pub static SWEEP_RESULT: Array<SweepResult> = Array::with_max_entries(1, 0);

/// The tables of this kernel.
pub struct Maps;

/// A value of an array map.
#[inline(always)]
fn at<T>(array: &'static Array<T>, index: u32) -> Option<&'static T> {
    let value = array.get_ptr(index)?;
    // SAFETY: values of an array map live as long as the program and are never
    // moved. What others write meanwhile is read through `Shared32` and
    // `Shared64`; tables that the agent writes are replaced before anything
    // reaches them or are guarded by a generation.
    Some(unsafe { &*value })
}

/// A word that the agent replaces as a whole; volatile, because its order among others
/// counts.
#[inline(always)]
pub fn word_at(array: &'static Array<u64>, index: u32) -> Option<u64> {
    let word = array.get_ptr(index)?;
    // SAFETY: an aligned word of a map value, valid until the program ends.
    Some(unsafe { word.read_volatile() })
}

impl Tables for Maps {
    #[inline(always)]
    #[expect(
        clippy::needless_borrows_for_generic_args,
        reason = "by value, the key is copied: 313 bytes more machine code in `from_environment`"
    )]
    fn link(&self, ifindex: u32) -> Option<Link> {
        let link = LINK_BY_IFINDEX.get_ptr(&ifindex)?;
        // SAFETY: valid until the program ends; two aligned words, written before
        // the entry became visible.
        Some(unsafe { *link })
    }

    #[inline(always)]
    fn environment(&self, index: u32) -> Option<&Environment> {
        at(&ENVIRONMENTS, index)
    }

    #[inline(always)]
    fn environment_state(&self, index: u32) -> Option<&EnvironmentState> {
        at(&ENVIRONMENT_STATES, index)
    }

    #[inline(always)]
    fn uplink(&self, index: u32) -> Option<&Uplink> {
        at(&UPLINKS, index)
    }

    #[inline(always)]
    fn group(&self, index: u32) -> Option<&Group> {
        at(&GROUPS, index)
    }

    #[inline(always)]
    fn eni(&self, index: u32) -> Option<&Eni> {
        at(&ENIS, index)
    }

    #[inline(always)]
    fn eni_state(&self, index: u32) -> Option<&EniState> {
        at(&ENI_STATES, index)
    }

    #[inline(always)]
    fn generation(&self, eni: u32) -> u64 {
        InForce(word_at(&POLICIES, eni).unwrap_or(0))
            .generation()
            .into()
    }

    #[inline(always)]
    fn policy(&self, eni: u32) -> Option<u32> {
        InForce(word_at(&POLICIES, eni)?).begins()
    }

    #[inline(always)]
    fn refuse(&self, key: &RefusalKey, on_wire: &OnWire, now: Tick) {
        judging::count_refused(key, on_wire.packets, on_wire.bytes, now.0);
    }

    #[inline(always)]
    fn eni_by_address(&self, key: &EniKey) -> Option<EniRef> {
        // SAFETY: one aligned word, written before the entry became visible.
        ENI_BY_ADDRESS.get_ptr(key).map(|index| unsafe { *index })
    }

    #[inline(always)]
    fn pool(&self, index: u32) -> Option<&Pool> {
        at(&POOLS, index)
    }

    #[inline(always)]
    fn slab(&self) -> Option<&Slab> {
        at(&SLAB, 0)
    }

    #[inline(always)]
    fn block(&self, index: u32) -> Option<&Block> {
        at(&BLOCKS, index)
    }

    #[inline(always)]
    fn slot(&self, index: u32) -> Option<&Slot> {
        at(&SLOTS, index)
    }

    #[inline(always)]
    fn flow(&self, key: &FlowKey) -> Option<FlowRef> {
        match find_flow(key) {
            0 => None,
            found => Some(FlowRef {
                slot: (found as u32).wrapping_sub(1),
                epoch: (found >> 32) as u32,
            }),
        }
    }

    #[inline(always)]
    fn insert_flow(&self, key: &FlowKey, flow: FlowRef) -> Insertion {
        match insert_flow(key, flow.slot, flow.epoch) {
            0 => Insertion::Done,
            1 => Insertion::Exists,
            _ => Insertion::Failed,
        }
    }

    #[inline(always)]
    fn remove_flow(&self, key: &FlowKey, flow: FlowRef) {
        remove_flow(key, flow.slot, flow.epoch);
    }

    #[inline(always)]
    fn flow_hash(&self) -> Option<&FlowHash> {
        at(&FLOW_HASH, 0)
    }

    #[inline(always)]
    fn bucket(&self, index: u32) -> Option<&Bucket> {
        at(&FLOW_BY_TUPLE, index)
    }

    #[inline(always)]
    fn fragment(&self, key: &FragmentKey) -> Option<Fragment> {
        // SAFETY: valid until the program ends; a torn value names a flow whose
        // epoch is wrong.
        FRAGMENTS.get_ptr(key).map(|fragment| unsafe { *fragment })
    }

    #[inline(always)]
    fn insert_fragment(&self, key: &FragmentKey, fragment: &Fragment) {
        // A note that finds no room is lost, as the table promises no more: the
        // later fragments wait with the agent and are counted when they give up.
        let _ = FRAGMENTS.insert(key, fragment, 0);
    }

    #[inline(always)]
    fn next_hop_index(&self, key: &NextHopKey) -> Option<u32> {
        match find_next_hop(key.uplink, key.address.halves()) {
            0 => None,
            index => Some(index),
        }
    }

    #[inline(always)]
    fn next_hop(&self, index: u32) -> Option<&NextHop> {
        at(&NEXT_HOPS, index)
    }

    #[inline(always)]
    fn count(&self, stat: Stat) {
        if let Some(value) = STATS.get_ptr_mut(stat as u32) {
            // SAFETY: this CPU's own word; a program on it is not preempted by
            // another that counts the same.
            unsafe { *value += 1 };
        }
    }

    #[inline(always)]
    fn event(&self, event: Event) {
        match EVENTS.reserve::<Event>(0) {
            Some(mut entry) => {
                entry.write(event);
                entry.submit(0);
            }
            None => self.count(Stat::EventsLost),
        }
    }

    #[inline(always)]
    fn record(&self, record: &FlowRecord) -> bool {
        match FLOW_RECORDS.reserve::<FlowRecord>(0) {
            Some(mut entry) => {
                entry.write(*record);
                entry.submit(0);
                true
            }
            None => false,
        }
    }

    #[inline(always)]
    fn random(&self) -> u32 {
        // SAFETY: the helper takes nothing and touches nothing of ours.
        unsafe { bpf_get_prandom_u32() }
    }

    #[inline(always)]
    fn open(&self, new: &NewFlow) -> Opened {
        open_flow(new)
    }

    #[inline(always)]
    fn note_refusal(&self, key: &FlowKey, refused: Refused, on_wire: &OnWire, now: Tick) {
        judging::note_refused_flow(key, refused.0, judging::carried(on_wire), now.0);
    }

    #[inline(always)]
    fn note_refused_reply(&self, slot: &Slot, protocol: u8, on_wire: &OnWire, now: Tick) {
        judging::note_refused_reply(slot, protocol as u32, judging::carried(on_wire), now.0);
    }

    #[inline(always)]
    fn lets_error_pass(&self, eni: u32, remote: V4, direction: Direction, kind: [u8; 2]) -> bool {
        let is_reply = matches!(direction, Direction::Reply) as u32;
        let kind = policy::icmp_port(kind[0], kind[1]) as u32;
        judging::lets_error_pass(eni, remote.to_wire(), is_reply, kind) != 0
    }

    #[inline(always)]
    fn admit(&self, new: &NewFlow) -> Opened {
        judging::admit_flow(new)
    }

    #[inline(always)]
    fn judge_again(&self, slot: &Slot) -> Opened {
        judging::judge_flow_again(slot)
    }

    #[inline(always)]
    fn attend(&self, slot: u32, now: Tick, options: SweepOptions) -> bool {
        attend_slot(slot, now.0, options.0) != 0
    }

    #[inline(always)]
    fn retire(&self, slot: u32, state: State, now: Tick) -> bool {
        retire_slot(slot, state.0, now.0) != 0
    }

    #[inline(always)]
    fn reopen(&self, slot: u32, state: State, new: &NewFlow) -> bool {
        reopen_slot(slot, state.0, new.moment.tick.0, new.expected_ack) != 0
    }

    #[inline(always)]
    fn reclaim(&self, eni: u32, protocol: u8, now: Tick) -> bool {
        reclaim_port(eni, protocol as u32, now.0) != 0
    }

    #[inline(always)]
    fn claim(&self, pool: u32, random: u32, purpose: Purpose) -> Result<Claim, ClaimError> {
        let encoded = claim_port(pool, random, purpose.0);
        match encoded >> 48 {
            0 => Ok(decode(encoded)),
            1 => Err(ClaimError::Exhausted),
            2 => Err(ClaimError::SlabExhausted),
            _ => Err(ClaimError::Contended),
        }
    }

    #[inline(always)]
    fn claim_in(&self, pool: u32, number: u32, random: u32, purpose: Purpose) -> Option<Claim> {
        let encoded = claim_port_in(pool, number, random, purpose.0);
        (encoded >> 48 == 0).then_some(decode(encoded))
    }

    #[inline(always)]
    fn grow(&self, pool: u32, random: u32) -> Growth {
        match grow_pool(pool, random) {
            0 => Growth::Grown,
            1 => Growth::Complete,
            _ => Growth::SlabExhausted,
        }
    }
}

/// A claim in one word, as global functions return it: slot << 16 | port; errors
/// have a bit set above.
#[inline(always)]
const fn encode(claim: Claim) -> u64 {
    (claim.slot as u64) << 16 | claim.port as u64
}

#[inline(always)]
const fn decode(word: u64) -> Claim {
    Claim {
        port: word as u16,
        slot: (word >> 16) as u32,
    }
}

/// The flow of a key: epoch << 32 | slot + 1, or 0.
#[inline(never)]
fn find_flow(key: &FlowKey) -> u64 {
    match flow_index::find(&Maps, key) {
        Some(flow) => (flow.slot as u64 + 1) | (flow.epoch as u64) << 32,
        None => 0,
    }
}

#[inline(never)]
fn insert_flow(key: &FlowKey, slot: u32, epoch: u32) -> u32 {
    match flow_index::insert(&Maps, key, FlowRef { slot, epoch }) {
        Insertion::Done => 0,
        Insertion::Exists => 1,
        Insertion::Failed => 2,
    }
}

#[inline(never)]
fn remove_flow(key: &FlowKey, slot: u32, epoch: u32) -> u32 {
    flow_index::remove(&Maps, key, FlowRef { slot, epoch }) as u32
}

/// The key lies in this frame and not in its callers', which have others below them.
/// Index 0 is never used.
#[inline(never)]
fn find_next_hop(uplink: u32, address: [u64; 2]) -> u32 {
    let address = Addr::from_halves(address);
    let key = NextHopKey { uplink, address };
    // SAFETY: one aligned word, written before the entry became visible.
    let found = NEXT_HOP_BY_ADDRESS
        .get_ptr(key)
        .map(|index| unsafe { *index });
    found.unwrap_or(0)
}

/// A function of its own: it keeps the frame of the hot path small.
#[inline(never)]
fn open_flow(new: &NewFlow) -> Opened {
    flow::open(&Maps, new)
}

/// Global functions: the verifier looks at each once, for any numbers it is given,
/// and not again for every caller.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn claim_port(pool: u32, random: u32, purpose: u64) -> u64 {
    match pool::claim(&Maps, pool, random, Purpose(purpose)) {
        Ok(claim) => encode(claim),
        Err(ClaimError::Exhausted) => 1 << 48,
        Err(ClaimError::SlabExhausted) => 2 << 48,
        Err(ClaimError::Contended) => 3 << 48,
    }
}

/// See [`claim_port`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn claim_port_in(pool: u32, number: u32, random: u32, purpose: u64) -> u64 {
    match pool::claim_in(&Maps, pool, number, random, Purpose(purpose)) {
        Some(claim) => encode(claim),
        None => 1 << 48,
    }
}

/// See [`claim_port`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn grow_pool(pool: u32, random: u32) -> u32 {
    pool::grow(&Maps, pool, random) as u32
}

/// See [`claim_port`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn retire_slot(slot: u32, state: u64, now: u32) -> u32 {
    expiry::retire(&Maps, slot, State(state), Tick(now)) as u32
}

/// See [`claim_port`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn reopen_slot(slot: u32, state: u64, now: u32, expected_ack: u32) -> u32 {
    expiry::reopen(&Maps, slot, State(state), Tick(now), expected_ack) as u32
}

/// See [`claim_port`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn reclaim_port(eni: u32, protocol: u32, now: u32) -> u32 {
    expiry::reclaim(&Maps, eni, protocol as u8, Tick(now)) as u32
}

/// See [`claim_port`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn attend_slot(slot: u32, now: u32, options: u64) -> u32 {
    expiry::attend(&Maps, slot, Tick(now), SweepOptions(options)) as u32
}

/// Counts a packet that a verdict drops. See [`claim_port`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn count_verdict(word: u64) -> u32 {
    let verdict = Verdict::from_word(word);
    judge::count_refusal(&Maps, verdict);
    count_dropped(verdict.owner().0, verdict.reason_number())
}

/// Counts a drop: the only place where a drop counter moves. See [`claim_port`].
#[unsafe(no_mangle)]
#[inline(never)]
#[expect(
    clippy::needless_borrows_for_generic_args,
    reason = "by value, the key is copied for every call: more code for each drop"
)]
pub extern "C" fn count_dropped(owner: u32, reason: u32) -> u32 {
    let owner = Owner(owner);
    let mut key = DropKey { owner, reason };
    let counter = match DROPS.get_ptr_mut(&key) {
        Some(counter) => Some(counter),
        None => {
            let _ = DROPS.insert(&key, &0, BPF_NOEXIST as u64);
            DROPS.get_ptr_mut(&key).or_else(|| {
                // No room for a counter of its own: the host's always exists.
                key.owner = Owner::HOST;
                DROPS.get_ptr_mut(&key)
            })
        }
    };
    if let Some(counter) = counter {
        use core::intrinsics::{AtomicOrdering::Relaxed, atomic_xadd};
        // SAFETY: a word of a map value, aligned, valid until the program ends.
        unsafe { atomic_xadd::<u64, u64, { Relaxed }>(counter, 1) };
    }
    0
}
