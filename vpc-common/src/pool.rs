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
    addr::{Addr, Port},
    atomic::Shared64,
    layout::{BLOCK_PORTS, Block, POOL_INITIAL_BLOCKS, Pool, Slab, Stat},
    tables::Tables,
    time::{Tick, ticks_from_secs},
    verifier::masked,
};

/// Tries before a claim looks at every block.
const TRIES: u32 = 6;

/// How long the port of a flow that ended with its environment rests, in ticks: nobody else
/// goes by it to the same peer, whose late replies it would take for its own (RFC 6888
/// REQ-8). A flow that was idle for its time has had its rest.
pub const REST: u32 = ticks_from_secs(120);

/// Whether what rests until a moment rests now.
#[inline(always)]
pub const fn is_resting(until: Tick, now: Tick) -> bool {
    let left = until.since(now);
    left != 0 && left <= REST
}

/// A claimed port and the slot that goes with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim {
    /// The port's number.
    pub port: u16,
    /// Index of its slot.
    pub slot: u32,
}

/// The other end of a flow, in so few bits that two may have the same: then a port rests for
/// one that need not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Peer(pub u32);

impl Peer {
    /// Of an address and a port of it.
    #[inline(always)]
    pub fn of(remote: Addr, port: Port) -> Self {
        let mix = |bits: u32, word: u32| (bits.rotate_left(13) ^ word).wrapping_mul(0x9e37_79b1);
        let [a, b, c, d] = remote.words();
        let port = port.to_wire() as u32;
        Self(mix(mix(mix(mix(mix(0, a), b), c), d), port))
    }
}

/// What a port is claimed for: the peer, and when. One word, because the frames of all who
/// pass it on share 512 bytes.
#[derive(Clone, Copy, Debug)]
pub struct Purpose(pub u64);

impl Purpose {
    /// For packets to a peer, now.
    #[inline(always)]
    pub const fn new(peer: Peer, now: Tick) -> Self {
        Self((peer.0 as u64) << 32 | now.0 as u64)
    }

    /// To whom its packets go.
    #[inline(always)]
    pub const fn peer(self) -> Peer {
        Peer((self.0 >> 32) as u32)
    }

    /// When.
    #[inline(always)]
    pub const fn now(self) -> Tick {
        Tick(self.0 as u32)
    }
}

/// Why there is no port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClaimError {
    /// Every port of the pool is in use.
    Exhausted,
    /// The pool may grow, but the slab has no block.
    SlabExhausted,
    /// Ports are free, but each that was tried rests for this peer, or another CPU won it.
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
pub(crate) const fn ones(mut x: u64) -> u32 {
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

/// Claims a port of a pool that does not rest for a purpose.
#[inline(always)]
pub fn claim<T: Tables>(
    tables: &T,
    index: u32,
    random: u32,
    purpose: Purpose,
) -> Result<Claim, ClaimError> {
    let Some(pool) = tables.pool(index) else {
        return Err(ClaimError::Exhausted);
    };
    let used = pool.used.fetch_add(1);
    if used >= pool.capacity.load() {
        pool.used.fetch_add(u64::MAX);
        return Err(ClaimError::Exhausted);
    }
    let roomy = used < pool.blocks.load() * (BLOCK_PORTS as u64 / 2);
    match claim_with_ticket(tables, pool, index, random, roomy, purpose) {
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
    purpose: Purpose,
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
        if let Some(number) = choose(loaded(&pool.has_free), random >> 16)
            && let Some(claim) = tables.claim_in(index, number, random, purpose)
        {
            return Ok(claim);
        }
        // Among more ports, fewer are taken at the same moment, and fewer rest.
        slab_empty = tables.grow(index, random) == Growth::SlabExhausted;
        // Another place on the next try, so that CPUs part ways.
        random = random.wrapping_mul(0x9e37_79b1).wrapping_add(0x7f4a_7c15);
    }
    match claim_anywhere(tables, index, purpose) {
        Some(claim) => Ok(claim),
        None if slab_empty => Err(ClaimError::SlabExhausted),
        None => Err(ClaimError::Contended),
    }
}

/// Claims a port in one block of the pool.
#[inline(always)]
pub fn claim_in<T: Tables>(
    tables: &T,
    index: u32,
    number: u32,
    random: u32,
    purpose: Purpose,
) -> Option<Claim> {
    let pool = tables.pool(index)?;
    let slab_block = pool.block[masked::<255>(number as usize)]
        .load()
        .checked_sub(1)?;
    let block = tables.block(slab_block)?;
    let Some(bit) = choose(loaded(&block.words), random) else {
        clear_hint(tables, pool, number);
        return None;
    };
    let before = block.words[word_of(bit)].fetch_and(!mask_of(bit));
    if before & mask_of(bit) == 0 {
        return None;
    }
    let slot = slab_block << 8 | bit & 255;
    // The claimed bit keeps the block where it is: if it is ours now, it stays.
    let is_ours = block.pool.load() == index && block.number.load() == number;
    if !is_ours || rests(tables, slot, purpose) {
        give_back(tables, block, bit);
        return None;
    }
    if before & !mask_of(bit) == 0 && !any_set(&block.words) {
        clear_hint(tables, pool, number);
    }
    Some(Claim {
        port: (number << 8 | bit & 255) as u16,
        slot,
    })
}

#[inline(always)]
fn rests<T: Tables>(tables: &T, slot: u32, purpose: Purpose) -> bool {
    let slot = tables.slot(slot);
    slot.is_some_and(|slot| slot.rests(purpose.peer(), purpose.now()))
}

/// Sets a bit again that was claimed in vain: the port rests, or the block meanwhile serves
/// another pool. The bit held the block there, so its header is that pool's.
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
fn claim_anywhere<T: Tables>(tables: &T, index: u32, purpose: Purpose) -> Option<Claim> {
    let mut number = crate::layout::FIRST_BLOCK as u32;
    while number < crate::layout::POOL_BLOCKS as u32 {
        if let Some(claim) = tables.claim_in(index, number, number, purpose) {
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
    let slab_block = pool.block[masked::<255>(number as usize)]
        .load()
        .wrapping_sub(1);
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
    pool.block[masked::<255>(number as usize)].store(slab_block + 1);
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
        let bits = slab.words[masked::<255>(word as usize)].load();
        if bits != 0 {
            let bit = pick(bits, random >> 12);
            let before = slab.words[masked::<255>(word as usize)].fetch_and(!mask_of(bit));
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
    if slab.words[masked::<255>(word as usize)].load() != 0 {
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

/// Gives a block back to the slab if all its ports are free, none rests, and the pool has
/// others to spare. Called by the sweep.
#[inline(always)]
pub fn return_block<T: Tables>(tables: &T, slab_block: u32, now: Tick) -> bool {
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
    if is_resting(Tick(block.rests_until.load()), now) {
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

/// The number of the pool's first block at or after one, going round.
#[inline(always)]
pub fn granted_from(pool: &Pool, from: u32) -> Option<u32> {
    let word = from >> 6 & 3;
    let rest = pool.granted[word as usize].load() & (u64::MAX << (from & 63));
    if rest != 0 {
        return Some(word << 6 | pick(rest, 0));
    }
    // None left in its word: the next word that has any, from its start.
    choose(loaded(&pool.granted), (word + 1) & 3)
}

/// The slot of a port, if the pool holds its block.
#[inline(always)]
pub fn slot_of_port(pool: &Pool, port: u16) -> Option<u32> {
    let slab_block = pool.block[masked::<255>(port as usize >> 8)].load();
    if slab_block == 0 {
        return None;
    }
    Some(slab_block.wrapping_sub(1) << 8 | (port & 255) as u32)
}

#[cfg(test)]
mod tests;
