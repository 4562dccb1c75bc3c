//! Rules and routes over the maps: words, and what is asked of them by functions of
//! their own, so that their frames are not their callers'.

use aya_ebpf::bindings::BPF_NOEXIST;
use vpc_common::{
    addr::V4,
    atomic::{Shared32, Shared64},
    flow::{NewFlow, Opened},
    judge::{self, Refused},
    layout::{FlowKey, Refusal, RefusalKey, Slot, Stat},
    offload::OnWire,
    policy::{self, Words},
    state::Direction,
    tables::Tables as _,
    time::Tick,
};

use crate::maps::{Maps, POLICY_WORDS, REFUSALS, word_at};

impl Words for Maps {
    #[inline(always)]
    fn word(&self, index: u32) -> Option<u64> {
        word_at(&POLICY_WORDS, index)
    }

    #[inline(always)]
    fn search(&self, first: u32, count: u32, key: u32) -> u32 {
        search_policy(first, count, key)
    }
}

/// Packets and bytes in one word.
#[inline(always)]
pub const fn carried(on_wire: &OnWire) -> u64 {
    on_wire.packets as u64 | (on_wire.bytes as u64) << 32
}

/// The inverse of [`carried`].
#[inline(always)]
const fn on_wire(carried: u64) -> OnWire {
    OnWire {
        packets: carried as u32,
        bytes: (carried >> 32) as u32,
        largest: 0,
    }
}

#[inline(never)]
pub fn note_refused_flow(key: &FlowKey, refused: u64, carried: u64, now: u32) -> u32 {
    judge::note_refusal(&Maps, key, Refused(refused), &on_wire(carried), Tick(now));
    0
}

#[inline(never)]
pub fn note_refused_reply(slot: &Slot, protocol: u32, carried: u64, now: u32) -> u32 {
    judge::note_refused_reply(&Maps, slot, protocol as u8, &on_wire(carried), Tick(now));
    0
}

#[inline(never)]
pub fn admit_flow(new: &NewFlow) -> Opened {
    judge::admit(&Maps, new)
}

/// Counts a packet that rules or routes refused. What finds no room is counted as not
/// recorded.
#[inline(never)]
pub fn count_refused(key: &RefusalKey, packets: u32, bytes: u32, now: u32) -> u32 {
    let found = match REFUSALS.get_ptr(key) {
        Some(refusal) => Some(refusal),
        None => {
            let fresh = Refusal {
                packets: Shared64::new(0),
                bytes: Shared64::new(0),
                first: Shared32::new(now),
                last: Shared32::new(now),
            };
            let _ = REFUSALS.insert(key, &fresh, BPF_NOEXIST as u64);
            REFUSALS.get_ptr(key)
        }
    };
    let Some(refusal) = found else {
        Maps.count(Stat::RefusalsOverflowed);
        if let Some(eni) = Maps.eni_state(key.owners & 0xffff) {
            eni.unrecorded.add(packets as u64);
        }
        return 1;
    };
    // SAFETY: a map value of atomic words, valid until the program ends.
    let refusal = unsafe { &*refusal };
    refusal.packets.add(packets as u64);
    refusal.bytes.add(bytes as u64);
    refusal.last.store(now);
    0
}

#[inline(never)]
pub fn judge_flow_again(slot: &Slot) -> Opened {
    judge::judge_again(&Maps, slot)
}

/// See [`claim_port`](crate::maps::claim_port).
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn search_policy(first: u32, count: u32, key: u32) -> u32 {
    policy::search(&Maps, first, count, key)
}

/// See [`claim_port`](crate::maps::claim_port).
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn lets_error_pass(eni: u32, remote: u32, is_reply: u32, kind: u32) -> u32 {
    let direction = if is_reply == 0 {
        Direction::Forward
    } else {
        Direction::Reply
    };
    let kind = [(kind >> 8) as u8, kind as u8];
    judge::lets_error_pass(&Maps, eni, V4::from_wire(remote), direction, kind) as u32
}
