//! The port allocator: exact to the last port, lock-free, in bounded time.
//!
//! A port is a bit in a block of 256; a pool holds up to 252 blocks, taken from
//! the host's slab one by one as it fills. Three rules make it exact:
//!
//! * A *ticket* is taken from `Pool::used` first. Whoever holds one has a free
//!   bit (or an ungranted block) to its name, because a release sets the bit
//!   before it gives the ticket back.
//! * A bit is claimed by `fetch_and`: the value before says who cleared it, so
//!   no two CPUs ever get the same port.
//! * Hints are cleared only by "clear, look again, restore". A hint that is set
//!   for nothing costs a try; one that is missing would hide ports for ever.
//!
//! A block that is wholly free goes back to the slab. A claim that read the
//! block's number before that sees by the block's header whether it still is
//! this pool's, and lets go if not.

use crate::{
    atomic::Shared64,
    layout::{BLOCK_PORTS, Block, POOL_INITIAL_BLOCKS, Pool, Slab, Stat},
    tables::Tables,
};

/// Tries before a claim looks at every block.
const TRIES: u32 = 6;

/// A claimed port and the slot that goes with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim {
    /// The port's number.
    pub port: u16,
    /// Index of its slot.
    pub slot: u32,
}

/// Why there is no port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClaimError {
    /// Every port of the pool is in use.
    Exhausted,
    /// The pool may grow, but the slab has no block.
    SlabExhausted,
    /// A port is free, but other CPUs won every try.
    Contended,
}

/// Index of the first set bit at or after `from`, wrapping. `bits` is not 0.
///
/// BPF has neither "count trailing zeros" nor a cheap branch, hence the
/// population count of the bits below the lowest.
#[inline(always)]
const fn pick(bits: u64, from: u32) -> u32 {
    let above = bits & (u64::MAX << (from & 63));
    let bits = if above != 0 { above } else { bits };
    ones((bits & bits.wrapping_neg()).wrapping_sub(1)) & 63
}

/// Population count in plain arithmetic.
#[inline(always)]
const fn ones(mut x: u64) -> u32 {
    x -= (x >> 1) & 0x5555_5555_5555_5555;
    x = (x & 0x3333_3333_3333_3333) + ((x >> 2) & 0x3333_3333_3333_3333);
    x = (x + (x >> 4)) & 0x0f0f_0f0f_0f0f_0f0f;
    (x.wrapping_mul(0x0101_0101_0101_0101) >> 56) as u32
}

/// 1 if `x` is not 0, without a branch.
#[inline(always)]
const fn some(x: u64) -> u64 {
    (x | x.wrapping_neg()) >> 63
}

/// A set bit of 256, near a random position: its index.
#[inline(always)]
fn choose(set: [u64; 4], random: u32) -> Option<u32> {
    let words = some(set[0]) | some(set[1]) << 1 | some(set[2]) << 2 | some(set[3]) << 3;
    if words == 0 {
        return None;
    }
    let word = pick(words, random & 3) & 3;
    // Selected without an index, so that `set` stays in registers.
    let low = if word & 1 == 0 { set[0] } else { set[1] };
    let high = if word & 1 == 0 { set[2] } else { set[3] };
    let bits = if word & 2 == 0 { low } else { high };
    Some(word << 6 | pick(bits, random >> 2))
}

#[inline(always)]
fn loaded(set: &[Shared64; 4]) -> [u64; 4] {
    [set[0].load(), set[1].load(), set[2].load(), set[3].load()]
}

#[inline(always)]
fn any_set(set: &[Shared64; 4]) -> bool {
    set[0].load() | set[1].load() | set[2].load() | set[3].load() != 0
}

#[inline(always)]
const fn word_of(index: u32) -> usize {
    (index >> 6 & 3) as usize
}

#[inline(always)]
const fn mask_of(index: u32) -> u64 {
    1 << (index & 63)
}

/// Claims a port of a pool.
#[inline(always)]
pub fn claim<T: Tables>(tables: &T, index: u32, random: u32) -> Result<Claim, ClaimError> {
    let Some(pool) = tables.pool(index) else {
        return Err(ClaimError::Exhausted);
    };
    let used = pool.used.fetch_add(1);
    if used >= pool.capacity.load() {
        pool.used.fetch_add(u64::MAX);
        return Err(ClaimError::Exhausted);
    }
    let roomy = used < pool.blocks.load() * (BLOCK_PORTS as u64 / 2);
    match claim_with_ticket(tables, pool, index, random, roomy) {
        Ok(claim) => Ok(claim),
        Err(error) => {
            pool.used.fetch_add(u64::MAX);
            Err(error)
        }
    }
}

#[inline(always)]
fn claim_with_ticket<T: Tables>(
    tables: &T,
    pool: &Pool,
    index: u32,
    random: u32,
    roomy: bool,
) -> Result<Claim, ClaimError> {
    let mut slab_empty = false;
    // A pool grows when half of its ports are in use, not when all are: else a port
    // that was given back would be the next one taken, while the other end may
    // still hold its last connection in TIME_WAIT.
    if !roomy || pool.blocks.load() < POOL_INITIAL_BLOCKS as u64 {
        slab_empty = tables.grow(index, random) == Growth::SlabExhausted;
    }
    let mut random = random;
    for _ in 0..TRIES {
        match choose(loaded(&pool.has_free), random >> 16) {
            Some(number) => {
                if let Some(claim) = tables.claim_in(index, number, random) {
                    return Ok(claim);
                }
            }
            None => match tables.grow(index, random) {
                Growth::Grown => {}
                Growth::SlabExhausted => slab_empty = true,
                Growth::Complete => break,
            },
        }
        // Another place on the next try, so that CPUs part ways.
        random = random.wrapping_mul(0x9e37_79b1).wrapping_add(0x7f4a_7c15);
    }
    match claim_anywhere(tables, index) {
        Some(claim) => Ok(claim),
        None if slab_empty => Err(ClaimError::SlabExhausted),
        None => Err(ClaimError::Contended),
    }
}

/// Claims a port in one block of the pool.
#[inline(always)]
pub fn claim_in<T: Tables>(tables: &T, index: u32, number: u32, random: u32) -> Option<Claim> {
    let pool = tables.pool(index)?;
    let slab_block = pool.block[(number & 255) as usize].load().checked_sub(1)?;
    let block = tables.block(slab_block)?;
    let Some(bit) = choose(loaded(&block.words), random) else {
        clear_hint(tables, pool, number);
        return None;
    };
    let before = block.words[word_of(bit)].fetch_and(!mask_of(bit));
    if before & mask_of(bit) == 0 {
        return None;
    }
    // The claimed bit keeps the block where it is: if it is ours now, it stays.
    if block.pool.load() != index || block.number.load() != number {
        give_back(tables, block, bit);
        return None;
    }
    if before & !mask_of(bit) == 0 && !any_set(&block.words) {
        clear_hint(tables, pool, number);
    }
    Some(Claim {
        port: (number << 8 | bit & 255) as u16,
        slot: slab_block << 8 | bit & 255,
    })
}

/// Sets a bit again that was claimed in a block which meanwhile serves another
/// pool. The bit held the block there, so its header is that pool's.
#[inline(always)]
fn give_back<T: Tables>(tables: &T, block: &Block, bit: u32) {
    let (pool, number) = (tables.pool(block.pool.load()), block.number.load());
    block.words[word_of(bit)].fetch_or(mask_of(bit));
    if let Some(pool) = pool {
        pool.has_free[word_of(number)].fetch_or(mask_of(number));
    }
}

/// The last resort of a ticket holder: looks at every block of the pool.
#[inline(always)]
fn claim_anywhere<T: Tables>(tables: &T, index: u32) -> Option<Claim> {
    let mut number = crate::layout::FIRST_BLOCK as u32;
    while number < crate::layout::POOL_BLOCKS as u32 {
        if let Some(claim) = tables.claim_in(index, number, number) {
            return Some(claim);
        }
        number += 1;
    }
    None
}

/// Clears the hint of a block that looked full; restores it if the block that has
/// the number now is not. It may be another one by now: what was looked at may have
/// gone back to the slab meanwhile and the number to a new block.
#[inline(always)]
fn clear_hint<T: Tables>(tables: &T, pool: &Pool, number: u32) {
    let hint = &pool.has_free[word_of(number)];
    hint.fetch_and(!mask_of(number));
    let slab_block = pool.block[(number & 255) as usize].load().wrapping_sub(1);
    if let Some(block) = tables.block(slab_block)
        && any_set(&block.words)
    {
        hint.fetch_or(mask_of(number));
    }
}

/// How the growth of a pool ended.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Growth {
    /// The pool has a new block, or another CPU is about to give it one.
    Grown = 0,
    /// Every block this host may use is granted.
    Complete = 1,
    /// The slab has no free block.
    SlabExhausted = 2,
}

/// Takes a block from the slab into the pool, at a random one of the numbers that
/// this host may use.
#[inline(always)]
pub fn grow<T: Tables>(tables: &T, index: u32, random: u32) -> Growth {
    let Some(pool) = tables.pool(index) else {
        return Growth::Complete;
    };
    let (leased, granted) = (loaded(&pool.leased), loaded(&pool.granted));
    let open = [
        leased[0] & !granted[0],
        leased[1] & !granted[1],
        leased[2] & !granted[2],
        leased[3] & !granted[3],
    ];
    let Some(number) = choose(open, random >> 8) else {
        return Growth::Complete;
    };
    let (granted, mask) = (&pool.granted[word_of(number)], mask_of(number));
    if granted.fetch_or(mask) & mask != 0 {
        return Growth::Grown;
    }
    let taken = tables.slab().and_then(|slab| take_block(slab, random));
    let Some((slab_block, block)) = taken.and_then(|b| Some((b, tables.block(b)?))) else {
        granted.fetch_and(!mask);
        return Growth::SlabExhausted;
    };
    block.pool.store(index);
    block.number.store(number);
    for word in &block.words {
        word.store(u64::MAX);
    }
    pool.block[(number & 255) as usize].store(slab_block + 1);
    pool.blocks.fetch_add(1);
    pool.has_free[word_of(number)].fetch_or(mask);
    tables.count(Stat::BlocksGranted);
    Growth::Grown
}

/// Takes a free block out of the slab.
#[inline(always)]
fn take_block(slab: &Slab, random: u32) -> Option<u32> {
    for _ in 0..4 {
        let word = choose(loaded(&slab.summary), random >> 4)?;
        let bits = slab.words[(word & 255) as usize].load();
        if bits != 0 {
            let bit = pick(bits, random >> 12);
            let before = slab.words[(word & 255) as usize].fetch_and(!mask_of(bit));
            if before & !mask_of(bit) == 0 {
                clear_summary(slab, word);
            }
            if before & mask_of(bit) != 0 {
                return Some(word << 6 | bit);
            }
        } else {
            clear_summary(slab, word);
        }
    }
    None
}

#[inline(always)]
fn clear_summary(slab: &Slab, word: u32) {
    let summary = &slab.summary[word_of(word)];
    summary.fetch_and(!mask_of(word));
    if slab.words[(word & 255) as usize].load() != 0 {
        summary.fetch_or(mask_of(word));
    }
}

/// Puts a block back into the slab. Also what fills a new slab.
#[inline(always)]
pub fn put_block(slab: &Slab, block: u32) {
    let word = block >> 6 & 255;
    slab.words[word as usize].fetch_or(mask_of(block));
    slab.summary[word_of(word)].fetch_or(mask_of(word));
}

/// Gives a port back. The slot must be free already.
#[inline(always)]
pub fn release<T: Tables>(tables: &T, slot: u32) {
    let Some(block) = tables.block(slot >> 8) else {
        return;
    };
    let Some(pool) = tables.pool(block.pool.load()) else {
        return;
    };
    let number = block.number.load();
    if block.words[word_of(slot)].fetch_or(mask_of(slot)) & mask_of(slot) != 0 {
        tables.count(Stat::DoubleFrees);
        return;
    }
    if pool.has_free[word_of(number)].load() & mask_of(number) == 0 {
        pool.has_free[word_of(number)].fetch_or(mask_of(number));
    }
    pool.used.fetch_add(u64::MAX);
}

/// Gives a block back to the slab if all its ports are free and the pool has
/// others to spare. Called by the sweep.
#[inline(always)]
pub fn return_block<T: Tables>(tables: &T, slab_block: u32) -> bool {
    let Some(block) = tables.block(slab_block) else {
        return false;
    };
    let Some(pool) = tables.pool(block.pool.load()) else {
        return false;
    };
    let Some(slab) = tables.slab() else {
        return false;
    };
    let blocks = pool.blocks.load();
    // Below a quarter: a pool grows at a half, and must not take and give the same
    // block every second.
    let quarter = blocks * (BLOCK_PORTS as u64 / 4);
    if blocks <= POOL_INITIAL_BLOCKS as u64 || pool.used.load() >= quarter {
        return false;
    }
    let number = block.number.load() & 255;
    if pool.block[number as usize].load() != slab_block + 1 {
        return false;
    }
    if !seize(block) {
        // Whoever looked while some words were taken may have cleared the hint.
        pool.has_free[word_of(number)].fetch_or(mask_of(number));
        return false;
    }
    pool.has_free[word_of(number)].fetch_and(!mask_of(number));
    pool.block[number as usize].store(0);
    pool.blocks.fetch_add(u64::MAX);
    pool.granted[word_of(number)].fetch_and(!mask_of(number));
    put_block(slab, slab_block);
    tables.count(Stat::BlocksReturned);
    true
}

/// Claims all 256 ports of a block, or none.
#[inline(always)]
fn seize(block: &Block) -> bool {
    let words = &block.words;
    if !words[0].compare_exchange(u64::MAX, 0) {
        return false;
    }
    if words[1].compare_exchange(u64::MAX, 0) {
        if words[2].compare_exchange(u64::MAX, 0) {
            if words[3].compare_exchange(u64::MAX, 0) {
                return true;
            }
            words[2].fetch_or(u64::MAX);
        }
        words[1].fetch_or(u64::MAX);
    }
    words[0].fetch_or(u64::MAX);
    false
}

/// The slot of a port, if the pool holds its block.
#[inline(always)]
pub fn slot_of_port(pool: &Pool, port: u16) -> Option<u32> {
    let slab_block = pool.block[(port >> 8) as usize].load();
    if slab_block == 0 {
        return None;
    }
    Some(slab_block.wrapping_sub(1) << 8 | (port & 255) as u32)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        double::Double,
        layout::{POOL_BLOCKS, POOL_PORTS},
    };

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
        let claims: Vec<_> = (0..12 * BLOCK_PORTS)
            .map(|_| claim(&tables, 0, tables.random()).unwrap())
            .collect();
        assert_eq!(
            claim(&tables, 1, tables.random()),
            Err(ClaimError::SlabExhausted)
        );
        for claim in &claims {
            release(&tables, claim.slot);
        }
        let returned = (0..12)
            .filter(|block| return_block(&tables, *block))
            .count();
        assert_eq!(returned, 12 - POOL_INITIAL_BLOCKS as usize);
        assert!(claim(&tables, 1, tables.random()).is_ok());
        assert_eq!(hidden(&tables, &tables.pools[0]), 0);
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
                    return_block(&tables, random % blocks);
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
}
