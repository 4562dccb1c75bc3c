//! The index of forward entries: from a flow's key to its slot, in one cache line.
//!
//! A bucket is a line of seven entries; an entry is one word and is placed and
//! removed by compare-and-swap, so there is no lock to fail on. The key itself is
//! not stored a second time: the slot holds it, and a packet of the flow needs the
//! slot anyway. An entry that finds its bucket full goes to a second one; how many
//! did is counted in the first, so that a look-up that misses reads one line.
//!
//! The hash is multilinear with secret multipliers, which makes the bucket of a key
//! unpredictable to whoever chooses keys: an environment cannot aim at a bucket.
//!
//! Two CPUs that insert one key at the same time each look again after placing their
//! entry: the later one sees the other's and withdraws. Both may; then the packets
//! are dropped and come again. There are never two entries of one key at rest.

use crate::{
    layout::{Bucket, FlowHash, FlowKey, FlowRef, Slot},
    tables::{Insertion, Tables},
};

/// Bits of an entry that hold the slot's index + 1.
const SLOT: u64 = (1 << 24) - 1;

/// Where the entries of a key may be, and what they carry of its hash.
#[derive(Clone, Copy)]
struct Place {
    first: u32,
    second: u32,
    tag: u64,
}

#[inline(always)]
fn place(hash: &FlowHash, key: &FlowKey) -> Place {
    let words = key.words();
    let mut sum = hash.multipliers[7];
    let mut i = 0;
    while i < 4 {
        sum = sum.wrapping_add((words[i] & 0xffff_ffff).wrapping_mul(hash.multipliers[2 * i]));
        if i < 3 {
            sum = sum.wrapping_add((words[i] >> 32).wrapping_mul(hash.multipliers[2 * i + 1]));
        }
        i += 1;
    }
    // The upper half is the universal part; the tag is a filter only.
    let first = (sum >> 32) as u32 & hash.mask;
    let second = (first ^ ((sum >> 8) as u32 | 1)) & hash.mask;
    Place {
        first,
        second,
        tag: sum & 0xff,
    }
}

/// The two buckets that a key's entry may be in.
pub fn buckets_of(hash: &FlowHash, key: &FlowKey) -> [u32; 2] {
    let place = place(hash, key);
    [place.first, place.second]
}

#[inline(always)]
const fn entry(tag: u64, flow: FlowRef) -> u64 {
    (flow.slot as u64 + 1) & SLOT | tag << 24 | (flow.epoch as u64) << 32
}

#[inline(always)]
const fn flow_of(entry: u64) -> FlowRef {
    FlowRef {
        slot: ((entry & SLOT) as u32).wrapping_sub(1),
        epoch: (entry >> 32) as u32,
    }
}

/// Whether a slot holds a key.
#[inline(always)]
fn holds(slot: &Slot, key: &FlowKey) -> bool {
    let ports = (key.inside_port.to_wire() as u32) << 16 | key.remote_port.to_wire() as u32;
    slot.ports.load() == ports
        && slot.generation.load() == key.generation
        && slot.environment() == key.environment
        && slot.state().protocol() == key.protocol
        && slot.remote() == key.remote
}

/// The entry of a key in a bucket, other than `except`; 0 = none.
#[inline(always)]
fn search<T: Tables>(tables: &T, bucket: &Bucket, tag: u64, key: &FlowKey, except: u64) -> u64 {
    let mut i = 0;
    while i < Bucket::ENTRIES {
        let found = bucket.entries[i].load();
        if found >> 24 & 0xff == tag
            && found & SLOT != 0
            && found != except
            && tables
                .slot(flow_of(found).slot)
                .is_some_and(|slot| holds(slot, key))
        {
            return found;
        }
        i += 1;
    }
    0
}

#[inline(always)]
fn search_both<T: Tables>(tables: &T, place: Place, key: &FlowKey, except: u64) -> u64 {
    let Some(first) = tables.bucket(place.first) else {
        return 0;
    };
    let found = search(tables, first, place.tag, key, except);
    if found != 0 || first.overflowed.load() == 0 {
        return found;
    }
    match tables.bucket(place.second) {
        Some(second) => search(tables, second, place.tag, key, except),
        None => 0,
    }
}

/// The flow of a key.
#[inline(always)]
pub fn find<T: Tables>(tables: &T, key: &FlowKey) -> Option<FlowRef> {
    let found = search_both(tables, place(tables.flow_hash()?, key), key, 0);
    if found == 0 {
        None
    } else {
        Some(flow_of(found))
    }
}

/// Adds the entry of a flow whose slot holds the key already; refuses a second one
/// of the same key.
#[inline(always)]
pub fn insert<T: Tables>(tables: &T, key: &FlowKey, flow: FlowRef) -> Insertion {
    let Some(hash) = tables.flow_hash() else {
        return Insertion::Failed;
    };
    let place = place(hash, key);
    let entry = entry(place.tag, flow);
    if search_both(tables, place, key, entry) != 0 {
        return Insertion::Exists;
    }
    if !put(tables, place, entry) {
        return Insertion::Failed;
    }
    if search_both(tables, place, key, entry) != 0 {
        take(tables, place, entry);
        return Insertion::Exists;
    }
    Insertion::Done
}

/// Removes the entry of a flow. Whether it was there.
#[inline(always)]
pub fn remove<T: Tables>(tables: &T, key: &FlowKey, flow: FlowRef) -> bool {
    let Some(hash) = tables.flow_hash() else {
        return false;
    };
    let place = place(hash, key);
    take(tables, place, entry(place.tag, flow))
}

/// Places an entry in the first bucket, or in the second and counts it in the first.
#[inline(always)]
fn put<T: Tables>(tables: &T, place: Place, entry: u64) -> bool {
    let (Some(first), Some(second)) = (tables.bucket(place.first), tables.bucket(place.second))
    else {
        return false;
    };
    if exchange(first, 0, entry) {
        return true;
    }
    // Counted before it is there, so that no look-up misses it.
    first.overflowed.fetch_add(1);
    if exchange(second, 0, entry) {
        return true;
    }
    first.overflowed.fetch_add(u64::MAX);
    false
}

#[inline(always)]
fn take<T: Tables>(tables: &T, place: Place, entry: u64) -> bool {
    let (Some(first), Some(second)) = (tables.bucket(place.first), tables.bucket(place.second))
    else {
        return false;
    };
    if exchange(first, entry, 0) {
        return true;
    }
    if exchange(second, entry, 0) {
        first.overflowed.fetch_add(u64::MAX);
        return true;
    }
    false
}

/// Replaces `old` by `new` wherever in the bucket it is.
#[inline(always)]
fn exchange(bucket: &Bucket, old: u64, new: u64) -> bool {
    let mut i = 0;
    while i < Bucket::ENTRIES {
        let word = &bucket.entries[i];
        if word.load() == old && word.compare_exchange(old, new) {
            return true;
        }
        i += 1;
    }
    false
}

#[cfg(test)]
mod tests;
