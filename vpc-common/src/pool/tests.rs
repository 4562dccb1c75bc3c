use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::{
    double::Double,
    layout::{POOL_BLOCKS, POOL_PORTS},
};

const ANYBODY: Purpose = Purpose::new(Peer(0), Tick(1_000));

fn claim(tables: &Double, index: u32, random: u32) -> Result<Claim, ClaimError> {
    super::claim(tables, index, random, ANYBODY)
}

/// Claims all ports of a slab's blocks for the first pool.
fn every_port(tables: &Double, blocks: u32) -> Vec<Claim> {
    (0..blocks * BLOCK_PORTS)
        .map(|_| claim(tables, 0, tables.random()).unwrap())
        .collect()
}

/// Ports that are free in the pool's blocks but in no hint.
fn hidden(tables: &Double, pool: &Pool) -> u32 {
    (0..POOL_BLOCKS as u32)
        .filter_map(|number| {
            let slab_block = pool.block[number as usize].load().checked_sub(1)?;
            let free: u32 = tables.blocks[slab_block as usize]
                .words
                .iter()
                .map(|w| ones(w.load()))
                .sum();
            let hinted = pool.has_free[word_of(number)].load() & mask_of(number) != 0;
            (free > 0 && !hinted).then_some(free)
        })
        .sum()
}

#[test]
fn every_port_is_handed_out_exactly_once_and_then_refused() {
    let tables = Double::new(1, 1, 256);
    let mut ports = HashSet::new();
    for _ in 0..POOL_PORTS {
        let claim = claim(&tables, 0, tables.random()).unwrap();
        assert!(claim.port >= 1024);
        assert_eq!(slot_of_port(&tables.pools[0], claim.port), Some(claim.slot));
        assert!(ports.insert(claim.port));
    }
    assert_eq!(
        claim(&tables, 0, tables.random()),
        Err(ClaimError::Exhausted)
    );
    // The other protocol has ports of its own, but this slab has only four
    // blocks left for it.
    for _ in 0..4 * BLOCK_PORTS {
        claim(&tables, 1, tables.random()).unwrap();
    }
    assert_eq!(
        claim(&tables, 1, tables.random()),
        Err(ClaimError::SlabExhausted)
    );
}

#[test]
fn the_one_freed_port_is_found_at_once() {
    let tables = Double::new(1, 1, 252);
    let claims: Vec<_> = (0..POOL_PORTS)
        .map(|_| claim(&tables, 0, tables.random()).unwrap())
        .collect();
    for freed in claims.iter().step_by(997) {
        release(&tables, freed.slot);
        assert_eq!(claim(&tables, 0, tables.random()), Ok(*freed));
        assert_eq!(
            claim(&tables, 0, tables.random()),
            Err(ClaimError::Exhausted)
        );
    }
}

#[test]
fn a_port_freed_twice_is_counted_and_handed_out_once() {
    let tables = Double::new(1, 1, 252);
    let first = claim(&tables, 0, tables.random()).unwrap();
    release(&tables, first.slot);
    release(&tables, first.slot);
    assert_eq!(tables.stat(Stat::DoubleFrees), 1);
    assert_eq!(tables.pools[0].used.load(), 0);
}

#[test]
fn first_ports_are_spread_over_the_whole_range() {
    let blocks: HashSet<_> = (0..64)
        .map(|seed| {
            let tables = Double::new(1, 1, 16);
            tables
                .seed
                .store(seed * 0x1234_5677, std::sync::atomic::Ordering::Relaxed);
            claim(&tables, 0, tables.random()).unwrap().port >> 8
        })
        .collect();
    assert!(
        blocks.len() > 40,
        "{} different blocks of 64 first ports",
        blocks.len()
    );
}

#[test]
fn a_block_that_empties_goes_back_and_serves_another_pool() {
    let tables = Double::new(1, 1, 12);
    let claims = every_port(&tables, 12);
    assert_eq!(
        claim(&tables, 1, tables.random()),
        Err(ClaimError::SlabExhausted)
    );
    for claim in &claims {
        release(&tables, claim.slot);
    }
    let returned = (0..12)
        .filter(|block| return_block(&tables, *block, Tick(0)))
        .count();
    assert_eq!(returned, 12 - POOL_INITIAL_BLOCKS as usize);
    assert!(claim(&tables, 1, tables.random()).is_ok());
    assert_eq!(hidden(&tables, &tables.pools[0]), 0);
}

#[test]
fn a_block_with_a_port_that_rests_stays() {
    let tables = Double::new(1, 1, 12);
    let claims = every_port(&tables, 12);
    for claim in &claims {
        release(&tables, claim.slot);
    }
    let now = Tick(1_000);
    tables.blocks[3].rests_until.store(now.0 + REST);
    assert!(!return_block(&tables, 3, now));
    assert!(!return_block(&tables, 3, Tick(now.0 + REST - 1)));
    assert!(return_block(&tables, 3, Tick(now.0 + REST)));
}

#[test]
fn ports_that_rest_make_their_pool_grow_while_it_can() {
    let tables = Double::new(1, 1, 64);
    let remote = Addr::from_v4(crate::addr::V4::new([10, 0, 0, 7]));
    let (peer, now) = (Peer::of(remote, Port::new(53)), ANYBODY.now());
    let purpose = Purpose::new(peer, now);
    let until = Tick(now.0 + REST);
    // Each flow ends with its environment, and leaves a port behind that rests.
    let (mut carried, mut refused) = (0, 0);
    while tables.pools[0].blocks.load() < 60 {
        match super::claim(&tables, 0, tables.random(), purpose) {
            Ok(claim) => {
                let slot = &tables.slots[claim.slot as usize];
                assert!(!slot.rests(peer, now), "{claim:?}");
                slot.set_remote(remote);
                slot.ports.store(u32::from(Port::new(53).to_wire()));
                slot.rest(until);
                release(&tables, claim.slot);
                carried += 1;
            }
            Err(why) => {
                assert_eq!(why, ClaimError::Contended);
                refused += 1;
            }
        }
    }
    assert!(
        carried > 500 && refused < 3,
        "{carried}, and {refused} were refused"
    );
    assert_eq!(tables.pools[0].used.load(), 0);
    assert_eq!(hidden(&tables, &tables.pools[0]), 0);
    // Nobody else notices, and nobody at all when the time has come.
    assert!(claim(&tables, 0, tables.random()).is_ok());
    let later = Purpose::new(peer, until);
    for _ in 0..100 {
        assert!(super::claim(&tables, 0, tables.random(), later).is_ok());
    }
}

#[test]
fn nothing_rests_for_ever() {
    for (until, now, rests) in [
        (0, 0, false),
        (7, 7, false),
        (8, 7, true),
        (7 + REST, 7, true),
        // Stamps of a host that has been up for years.
        (8 + REST, 7, false),
        (0, u32::MAX - 5, true),
        (0, u32::MAX - REST, false),
        (0, 1 << 31, false),
    ] {
        assert_eq!(is_resting(Tick(until), Tick(now)), rests, "{until} {now}");
    }
}

/// Threads claim, release and return blocks of two pools over one small slab;
/// an owner table says who holds each slot.
fn churn(threads: u32, rounds: u32, keep: usize, blocks: u32) {
    let tables = Double::new(1, 1, blocks);
    let owners: Vec<_> = (0..blocks * BLOCK_PORTS)
        .map(|_| Shared64::new(0))
        .collect();
    let run = |me: u64| {
        let mut held: Vec<Claim> = Vec::new();
        for round in 0..rounds {
            let random = tables.random();
            if held.len() < keep && random & 1 == 0 {
                let pool = random >> 1 & 1;
                if let Ok(got) = claim(&tables, pool, tables.random()) {
                    let owner = &owners[got.slot as usize];
                    assert!(owner.compare_exchange(0, me), "slot {} twice", got.slot);
                    assert_eq!(tables.blocks[(got.slot >> 8) as usize].pool.load(), pool);
                    held.push(got);
                }
            } else if let Some(got) = held.pop() {
                assert!(owners[got.slot as usize].compare_exchange(me, 0));
                release(&tables, got.slot);
            }
            if round % 64 == 0 {
                return_block(&tables, random % blocks, Tick(0));
            }
        }
        for got in held {
            owners[got.slot as usize].store(0);
            release(&tables, got.slot);
        }
    };
    std::thread::scope(|scope| {
        for me in 1..=threads {
            let run = &run;
            scope.spawn(move || run(u64::from(me)));
        }
    });
    assert_eq!(tables.stat(Stat::DoubleFrees), 0);
    for pool in &tables.pools {
        assert_eq!(pool.used.load(), 0);
        assert_eq!(hidden(&tables, pool), 0);
    }
}

#[test]
fn threads_never_share_a_port_and_hide_none() {
    churn(4, 200_000, 400, 6);
    churn(4, 200_000, 40, 16);
}

#[test]
fn threads_with_tickets_are_never_refused_while_ports_are_free() {
    // 4 threads hold at most 63 of 64 leased ports' worth of tickets each, so
    // at least 4 ports are free at any moment: no claim may be exhausted.
    let tables = Double::new(1, 1, 1);
    tables.pools[0].capacity.store(256);
    for word in &tables.pools[0].leased {
        word.store(0);
    }
    tables.pools[0].leased[1].store(1);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut held = Vec::new();
                let (mut contended, mut tries) = (0u32, 0u32);
                for _ in 0..100_000 {
                    if held.len() < 63 {
                        tries += 1;
                        match claim(&tables, 0, tables.random()) {
                            Ok(claim) => held.push(claim),
                            Err(ClaimError::Contended) => contended += 1,
                            Err(error) => panic!("{error:?} with free ports"),
                        }
                    } else {
                        for claim in held.drain(50..) {
                            release(&tables, claim.slot);
                        }
                    }
                }
                assert!(
                    contended * 1_000 < tries,
                    "{contended} of {tries} contended"
                );
            });
        }
    });
}

proptest! {
    #[test]
    fn pick_finds_a_set_bit_at_or_after_the_start(bits in 1u64.., from in 0u32..64) {
        let found = pick(bits, from);
        prop_assert!(bits & 1 << found != 0);
        let expected = (0..64).map(|i| (from + i) % 64).find(|i| bits & 1 << i != 0).unwrap();
        if bits >> from != 0 {
            prop_assert_eq!(found, expected);
        } else {
            prop_assert_eq!(found, bits.trailing_zeros());
        }
    }

    #[test]
    fn choose_finds_any_set_bit(set in any::<[u64; 4]>(), random in any::<u32>()) {
        match choose(set, random) {
            Some(bit) => prop_assert!(set[word_of(bit)] & mask_of(bit) != 0),
            None => prop_assert_eq!(set, [0; 4]),
        }
    }
}

#[test]
fn going_round_the_blocks_of_a_pool_meets_each_once() {
    let tables = Double::new(1, 1, 64);
    for _ in 0..20 * BLOCK_PORTS {
        claim(&tables, 0, tables.random()).unwrap();
    }
    let pool = &tables.pools[0];
    let granted: u32 = pool.granted.iter().map(|word| ones(word.load())).sum();
    let mut met = HashSet::new();
    let mut from = 77;
    for _ in 0..granted {
        let number = granted_from(pool, from & 255).unwrap();
        assert!(met.insert(number), "block {number} twice");
        from = number + 1;
    }
    assert!(met.contains(&granted_from(pool, from & 255).unwrap()));
    assert_eq!(granted_from(&tables.pools[1], 0), None);
}
