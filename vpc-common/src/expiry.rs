//! A flow's end: idle timeouts, taken down by the sweep, by an allocation that
//! finds no free port, or by a new connection on the same tuple.
//!
//! Taking down: state to `Expiring` by compare-and-swap, which makes this CPU the
//! only one to do it; look at the stamps once more; hand over the last record;
//! remove the forward entry; give back the connection and the environment's share;
//! state to `Free`; give back the port, which rests if its peer may not know. When
//! nobody takes the record, the slot goes back to what it was and the next sweep tries
//! again.

use crate::{
    flow,
    layout::{BLOCK_PORTS, Eni, FlowRecord, FlowRef, Slot, Stat, SweepResult},
    pool,
    state::{Phase, State},
    tables::Tables,
    time::Tick,
    verifier::masked,
};

/// Slots of a full pool that a refused allocation looks at: bounded, so that a
/// refusal stays cheap; a cursor sees to it that every slot has its turn.
const RECLAIM_SLOTS: u32 = 2;

/// What a sweep does besides expiring.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SweepOptions(pub u64);

impl SweepOptions {
    /// Emits a record of what happened on each flow since the last one.
    pub const EXPORT: u64 = 1;
    /// Takes down flows whose environment is gone, however young.
    pub const PURGE: u64 = 2;

    #[inline(always)]
    const fn has(self, option: u64) -> bool {
        self.0 & option != 0
    }
}

/// Whether an open flow has been idle for longer than its phase allows. Looks at
/// the second cache line only when the first says "idle".
#[inline(always)]
fn is_expired(slot: &Slot, state: State, eni: &Eni, now: Tick) -> bool {
    let timeout = eni.timeouts.of(state);
    now.since(Tick(slot.forward_last.load())) >= timeout
        && now.since(Tick(slot.reply_last.load())) >= timeout
}

/// Takes down an expired flow whose port is needed now. `false` if a packet or
/// another CPU was faster, or a step failed: then it is as it was.
#[inline(always)]
pub fn retire<T: Tables>(tables: &T, index: u32, state: State, now: Tick) -> bool {
    let Some(slot) = tables.slot(index) else {
        return false;
    };
    let Some(eni) = tables.eni(slot.eni() as u32) else {
        return false;
    };
    let is_over = || is_expired(slot, state, eni, now);
    take_down(tables, index, slot, state, Why::Needed, is_over)
}

/// Ends the connection of a closing flow and begins another in its place: the same
/// slot, port and forward entry. `false` if another CPU moved it meanwhile.
#[inline(always)]
pub fn reopen<T: Tables>(
    tables: &T,
    index: u32,
    state: State,
    now: Tick,
    expected_ack: u32,
) -> bool {
    let Some(slot) = tables.slot(index) else {
        return false;
    };
    if !slot
        .state
        .compare_exchange(state.0, state.with_phase(Phase::Expiring).0)
    {
        return false;
    }
    if export(tables, slot, state, true) {
        slot.begin(now, expected_ack);
    } else {
        // Nobody takes the record: the next one tells of both connections.
        tables.count(Stat::RecordsDeferred);
        slot.begin_uncounted(now, expected_ack);
    }
    slot.state.store(state.with_phase(Phase::TcpSynSent).0);
    tables.count(Stat::FlowsOpened);
    tables.count(Stat::FlowsExpired);
    true
}

/// Why a flow ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    /// It was idle for its time.
    Idle,
    /// The same, and its port is needed now: if nobody takes the last record, it is given up.
    Needed,
    /// Its environment is gone, of which its peer knows nothing: the port rests until then.
    Gone(Tick),
}

#[inline(always)]
fn take_down<T: Tables>(
    tables: &T,
    index: u32,
    slot: &Slot,
    state: State,
    why: Why,
    is_over: impl Fn() -> bool,
) -> bool {
    if !slot
        .state
        .compare_exchange(state.0, state.with_phase(Phase::Expiring).0)
    {
        return false;
    }
    // A packet may have come between the caller's look and the exchange.
    if !is_over() || !unlink(tables, index, slot, state, why) {
        slot.state.store(state.0);
        return false;
    }
    let environment = slot.environment() as u32;
    // The index may serve another environment by now, which counts its own.
    if tables
        .environment(environment)
        .is_some_and(|e| e.generation == slot.generation.load())
        && let Some(state) = tables.environment_state(environment)
    {
        state.flows.fetch_add(u64::MAX);
    }
    flow::leave(tables, slot.eni() as u32);
    if let Why::Gone(until) = why {
        slot.rest(until);
        if let Some(block) = tables.block(index >> 8) {
            block.rests_until.store(until.0);
        }
    }
    slot.state.store(state.with_phase(Phase::Free).0);
    pool::release(tables, index);
    tables.count(Stat::FlowsExpired);
    true
}

/// Hands over the last record and removes the forward entry.
#[inline(always)]
fn unlink<T: Tables>(tables: &T, index: u32, slot: &Slot, state: State, why: Why) -> bool {
    if !export(tables, slot, state, true) {
        tables.count(Stat::RecordsDeferred);
        if !matches!(why, Why::Needed) {
            return false;
        }
        give_up_record(tables, slot);
    }
    let flow = FlowRef {
        slot: index,
        epoch: state.epoch(),
    };
    tables.remove_flow(&slot.flow_key(state.protocol()), flow);
    true
}

#[inline(always)]
fn record_flags(slot: &Slot) -> u32 {
    let told = slot.exported_forward_packets.load() | slot.exported_reply_packets.load();
    let first = if told == 0 { FlowRecord::FIRST } else { 0 };
    first | (slot.decision().hop().is_peered() as u32 * FlowRecord::PEERED)
}

/// Nobody takes the last record of a flow that has to go: what it would have told of is
/// counted.
#[inline(always)]
fn give_up_record<T: Tables>(tables: &T, slot: &Slot) {
    let since = |packets: u64, exported: u32| (packets as u32).wrapping_sub(exported) as u64;
    let packets = since(
        slot.forward_packets.load(),
        slot.exported_forward_packets.load(),
    ) + since(
        slot.reply_packets.load(),
        slot.exported_reply_packets.load(),
    );
    if let Some(eni) = tables.eni_state(slot.eni() as u32) {
        eni.unrecorded.add(packets);
    }
}

/// Hands over what happened on a flow since its last record; `false` when there
/// was something and no room for it.
#[inline(always)]
fn export<T: Tables>(tables: &T, slot: &Slot, state: State, ended: bool) -> bool {
    let (forward_packets, reply_packets) = (
        slot.forward_packets.load() as u32,
        slot.reply_packets.load() as u32,
    );
    let (forward_bytes, reply_bytes) = (slot.forward_bytes.load(), slot.reply_bytes.load());
    let tcp_flags = slot.tcp_flags.load();
    let record = FlowRecord {
        state: state.0,
        forward_bytes: forward_bytes.wrapping_sub(slot.exported_forward_bytes.load()),
        reply_bytes: reply_bytes.wrapping_sub(slot.exported_reply_bytes.load()),
        forward_packets: forward_packets.wrapping_sub(slot.exported_forward_packets.load()),
        reply_packets: reply_packets.wrapping_sub(slot.exported_reply_packets.load()),
        key: slot.flow_key(state.protocol()),
        eni: slot.eni(),
        outside_port: slot.outside_port(),
        created: slot.created.load(),
        last: slot.last().0,
        ended: ended as u32,
        tcp_flags: tcp_flags & !slot.exported_tcp_flags.load(),
        flags: record_flags(slot),
    };
    if !ended && record.forward_packets == 0 && record.reply_packets == 0 {
        return true;
    }
    if !tables.record(&record) {
        return false;
    }
    slot.exported_forward_bytes.store(forward_bytes);
    slot.exported_reply_bytes.store(reply_bytes);
    slot.exported_forward_packets.store(forward_packets);
    slot.exported_reply_packets.store(reply_packets);
    slot.exported_tcp_flags.store(tcp_flags);
    true
}

/// Looks for an expired flow among a few slots of a full pool and takes it down,
/// so that a host whose agent is away goes on serving new flows.
#[inline(always)]
pub fn reclaim<T: Tables>(tables: &T, eni_index: u32, protocol: u8, now: Tick) -> bool {
    let (Some(eni), Some(pool)) = (
        tables.eni(eni_index),
        tables.pool(flow::pool_index(eni_index, protocol)),
    ) else {
        return false;
    };
    // Where the search goes on, as a port. CPUs that store it at the same time look
    // at the same slots, no more.
    let cursor = pool.reclaim_cursor.load() as u32;
    let Some(number) = pool::granted_from(pool, cursor >> 8 & 255) else {
        return false;
    };
    let offset = if number == cursor >> 8 & 255 {
        cursor & 255
    } else {
        0
    };
    let port = (number << 8 | offset) as u16;
    pool.reclaim_cursor
        .store((port as u32 + RECLAIM_SLOTS) as u64);
    let Some(first) = pool::slot_of_port(pool, port) else {
        return false;
    };
    let mut i = 0;
    while i < RECLAIM_SLOTS {
        let index = first & !(RECLAIM_SLOTS - 1) | i;
        if let Some(slot) = tables.slot(index) {
            let state = slot.state();
            if state.is_open()
                && is_expired(slot, state, eni, now)
                && tables.retire(index, state, now)
            {
                tables.count(Stat::FlowsReclaimed);
                return true;
            }
        }
        i += 1;
    }
    false
}

/// Sweeps the slots of a block: ends what is idle, exports if told to, and gives
/// the block back when nothing is left in it.
#[inline(always)]
pub fn sweep_block<T: Tables>(
    tables: &T,
    index: u32,
    now: Tick,
    options: SweepOptions,
    result: &mut SweepResult,
) {
    let Some(block) = tables.block(index) else {
        return;
    };
    let (pool_index, number) = (block.pool.load(), block.number.load());
    // A block of no pool: nothing in it is worth a look.
    let granted = tables
        .pool(pool_index)
        .is_some_and(|pool| pool.block[masked::<255>(number as usize)].load() == index + 1);
    if !granted {
        return;
    }
    let Some(eni) = tables.eni(pool_index / crate::layout::POOLS_PER_ENI) else {
        return;
    };
    let (mut word, mut free) = (0u32, u64::MAX);
    while word < 4 {
        let bits = block.words[masked::<3>(word as usize)].load();
        free &= bits;
        // Counted by word, not by slot: a sum in memory would be what a slot costs.
        result.open += pool::ones(!bits) as u64;
        let mut bit = 0u32;
        while bit < 64 && bits != u64::MAX {
            if bits >> bit & 1 == 0 {
                sweep_slot(
                    tables,
                    index << 8 | word << 6 | bit,
                    eni,
                    now,
                    options,
                    result,
                );
            }
            bit += 1;
        }
        word += 1;
    }
    result.slots += BLOCK_PORTS as u64;
    if free == u64::MAX && pool::return_block(tables, index, now) {
        result.returned += 1;
    }
}

/// The common part of a slot's sweep: a look at its first cache line.
#[inline(always)]
fn sweep_slot<T: Tables>(
    tables: &T,
    index: u32,
    eni: &Eni,
    now: Tick,
    options: SweepOptions,
    result: &mut SweepResult,
) {
    let Some(slot) = tables.slot(index) else {
        return;
    };
    let state = slot.state();
    if !state.is_open() {
        return;
    }
    let timeout = eni.timeouts.of(state);
    let idle = now.since(Tick(slot.forward_last.load())) >= timeout;
    if (idle || options.0 != 0) && tables.attend(index, now, options) {
        result.expired += 1;
        result.open = result.open.wrapping_sub(1);
    }
}

/// The rare part of a slot's sweep; whether the flow ended.
#[inline(always)]
pub fn attend<T: Tables>(tables: &T, index: u32, now: Tick, options: SweepOptions) -> bool {
    let Some(slot) = tables.slot(index) else {
        return false;
    };
    let state = slot.state();
    let Some(eni) = tables.eni(slot.eni() as u32) else {
        return false;
    };
    if !state.is_open() {
        return false;
    }
    let is_gone = options.has(SweepOptions::PURGE) && has_no_environment(tables, slot);
    let is_over = || is_gone || is_expired(slot, state, eni, now);
    if is_over() {
        let why = if is_gone {
            Why::Gone(Tick(now.0.wrapping_add(pool::REST)))
        } else {
            Why::Idle
        };
        return take_down(tables, index, slot, state, why, is_over);
    }
    if options.has(SweepOptions::EXPORT) && !export(tables, slot, state, false) {
        tables.count(Stat::RecordsDeferred);
    }
    false
}

/// Whether the environment that opened a flow is detached or recycled.
#[inline(always)]
fn has_no_environment<T: Tables>(tables: &T, slot: &Slot) -> bool {
    match tables.environment(slot.environment() as u32) {
        Some(environment) => {
            environment.generation != slot.generation.load() || environment.ifindex == 0
        }
        None => true,
    }
}
