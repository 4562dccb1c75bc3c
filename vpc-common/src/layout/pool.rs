//! The ports of an ENI, and the blocks that they come from.

use super::{POOL_BLOCKS, SLAB_BLOCKS_MAX};
use crate::atomic::{Shared32, Shared64};

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
    /// [`Tick`](crate::time::Tick) until which one of its ports rests: it stays with its
    /// pool, for its slots know what they carried last.
    pub rests_until: Shared32,
    /// Fills the line.
    pub reserved: [u32; 5],
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
