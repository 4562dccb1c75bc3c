use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::{
    addr::{Addr, Port, V4},
    double::Double,
    state::{Phase, State, TCP},
};

fn key(number: u32) -> FlowKey {
    let remote = Addr::from_v4(V4::from_wire(number.wrapping_mul(0x9e37_79b9)));
    FlowKey::new(3, TCP, 7, remote, Port::new(number as u16), Port::new(443))
}

/// Makes a slot hold a key.
fn occupy(tables: &Double, slot: u32, epoch: u32, key: &FlowKey) -> FlowRef {
    let held = &tables.slots[slot as usize];
    held.state
        .store(State::new(Phase::Claiming, key.protocol, epoch).0);
    held.generation.store(key.generation);
    held.owners.store(u32::from(key.environment) << 16);
    held.set_remote(key.remote);
    let (inside, remote) = (key.inside_port.to_wire(), key.remote_port.to_wire());
    held.ports
        .store(u32::from(inside) << 16 | u32::from(remote));
    FlowRef { slot, epoch }
}

fn entries(tables: &Double) -> usize {
    let words = tables.buckets.iter().flat_map(|bucket| &bucket.entries);
    words.filter(|word| word.load() != 0).count()
}

fn overflowed(tables: &Double) -> u64 {
    tables
        .buckets
        .iter()
        .map(|bucket| bucket.overflowed.load())
        .sum()
}

fn has_no_room(tables: &Double, key: &FlowKey) -> bool {
    let place = place(&tables.flow_hash, key);
    let is_full = |bucket: u32| {
        let entries = &tables.buckets[bucket as usize].entries;
        entries.iter().all(|entry| entry.load() != 0)
    };
    is_full(place.first) && is_full(place.second)
}

#[test]
fn every_slot_of_a_full_slab_has_its_entry() {
    let tables = Double::new(1, 1, 64);
    let slots = tables.slots.len() as u32;
    for slot in 0..slots {
        let flow = occupy(&tables, slot, 1, &key(slot));
        assert_eq!(insert(&tables, &key(slot), flow), Insertion::Done, "{slot}");
    }
    for slot in 0..slots {
        assert_eq!(find(&tables, &key(slot)), Some(FlowRef { slot, epoch: 1 }));
        assert_eq!(find(&tables, &key(slot + slots)), None);
    }
    for slot in 0..slots {
        assert!(remove(&tables, &key(slot), FlowRef { slot, epoch: 1 }));
    }
    assert_eq!((entries(&tables), overflowed(&tables)), (0, 0));
}

#[test]
fn an_entry_that_finds_its_bucket_full_is_found_in_the_second_and_then_refused() {
    let mut tables = Double::new(1, 1, 1);
    // Two buckets in all: every key has one of them first and the other second.
    tables.flow_hash.mask = 1;
    let capacity = 2 * Bucket::ENTRIES as u32;
    let mut placed = 0;
    for slot in 0..capacity {
        let flow = occupy(&tables, slot, 1, &key(slot));
        placed += u32::from(insert(&tables, &key(slot), flow) == Insertion::Done);
    }
    assert_eq!(placed, capacity);
    let flow = occupy(&tables, capacity, 1, &key(capacity));
    assert_eq!(insert(&tables, &key(capacity), flow), Insertion::Failed);
    for slot in (0..capacity).rev() {
        assert_eq!(find(&tables, &key(slot)), Some(FlowRef { slot, epoch: 1 }));
        assert!(remove(&tables, &key(slot), FlowRef { slot, epoch: 1 }));
    }
    assert_eq!((entries(&tables), overflowed(&tables)), (0, 0));
}

#[test]
fn threads_that_insert_one_key_leave_one_entry_at_most() {
    let tables = Double::new(1, 1, 4);
    for round in 0..3_000 {
        let key = key(round);
        let done: u32 = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..3)
                .map(|thread| {
                    let (tables, key) = (&tables, &key);
                    scope.spawn(move || {
                        let flow = occupy(tables, thread * 256 + round % 256, round, key);
                        u32::from(insert(tables, key, flow) == Insertion::Done)
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        assert!(done <= 1);
        assert_eq!(entries(&tables), done as usize);
        if let Some(flow) = find(&tables, &key) {
            assert!(remove(&tables, &key, flow));
        }
    }
    assert_eq!((entries(&tables), overflowed(&tables)), (0, 0));
}

proptest! {
    #[test]
    fn it_answers_as_a_map_would(steps in proptest::collection::vec((0u32..60, any::<bool>()), 1..400)) {
        let mut tables = Double::new(1, 1, 1);
        tables.flow_hash.mask = 15;
        let mut model = HashMap::new();
        for (epoch, (number, adds)) in steps.into_iter().enumerate() {
            let (key, slot) = (key(number), number + 60 * (epoch as u32 & 1));
            if adds {
                if let Some(&flow) = model.get(&number) {
                    prop_assert_eq!(find(&tables, &key), Some(flow));
                    let other = number + 60 * u32::from(slot == number);
                    let other = if other == flow.slot { slot } else { other };
                    if other != flow.slot {
                        let second = occupy(&tables, other, epoch as u32, &key);
                        prop_assert_eq!(insert(&tables, &key, second), Insertion::Exists);
                    }
                } else {
                    let flow = occupy(&tables, slot, epoch as u32, &key);
                    match insert(&tables, &key, flow) {
                        Insertion::Done => drop(model.insert(number, flow)),
                        // A table as small as this comes to that.
                        Insertion::Failed => prop_assert!(has_no_room(&tables, &key)),
                        Insertion::Exists => prop_assert!(false, "{number} was removed"),
                    }
                }
            } else if let Some(flow) = model.remove(&number) {
                prop_assert!(remove(&tables, &key, flow));
                prop_assert!(!remove(&tables, &key, flow));
            }
            prop_assert_eq!(entries(&tables), model.len());
        }
    }
}
