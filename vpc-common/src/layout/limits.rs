//! How much there can be: of ports and blocks by nature, of the rest as the tables
//! are created.

/// Ports of a block; slots of a block.
pub const BLOCK_PORTS: u32 = 256;
/// Blocks of the 16-bit port space.
pub const POOL_BLOCKS: usize = 256;
/// The first block of ports an ENI may use: 1024 and up, because tenants open
/// 1024-65535 in their network ACLs (RFC 6056 §3.2).
pub const FIRST_BLOCK: usize = 4;
/// Ports of a pool: 64,512.
pub const POOL_PORTS: u32 = (POOL_BLOCKS - FIRST_BLOCK) as u32 * BLOCK_PORTS;
/// Blocks a pool takes before it first reuses one, so that ports stay hard to
/// guess while few are in use (RFC 6056).
pub const POOL_INITIAL_BLOCKS: u32 = 4;
/// Connections over both protocols that one ENI carries (AWS: 65,000).
pub const ENI_CONNECTIONS: u32 = 65_000;
/// ENIs of one group at most.
pub const GROUP_ENIS: usize = 16;
/// Blocks of the slab at most: 4,194,304 flows.
pub const SLAB_BLOCKS_MAX: usize = 64 * 64 * 4;

/// How many entries each table gets, fixed when the tables are created.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Environments attached at a time, at most 65,535.
    pub environments: u32,
    /// Uplinks, at most 65,536.
    pub uplinks: u32,
    /// ENIs and groups, at most 65,535 each.
    pub enis: u32,
    /// Neighbours on all uplinks, at most [`Hop::COUNT`](super::Hop::COUNT).
    pub next_hops: u32,
    /// Flows at a time, in blocks of 256; at most [`SLAB_BLOCKS_MAX`] blocks.
    pub blocks: u32,
    /// Fragmented datagrams in flight.
    pub fragments: u32,
    /// Words of policy, those being replaced included.
    pub policy_words: u32,
    /// Refused tuples that are told of apart, until the agent takes them.
    pub refusals: u32,
}

impl Limits {
    /// A middling host: 16,384 environments, 524,288 flows (64 MiB of slots and
    /// 16 MiB for their index). Both pools of each ENI find their first
    /// blocks even when every ENI is busy.
    pub const DEFAULT: Self = Self {
        environments: 16_384,
        uplinks: 256,
        enis: 256,
        next_hops: 4_096,
        blocks: 2_048,
        fragments: 4_096,
        policy_words: 1 << 21,
        refusals: 8_192,
    };

    /// Slots in all.
    pub const fn slots(&self) -> u32 {
        self.blocks * BLOCK_PORTS
    }

    /// Buckets of the index of flows, a power of two: seven entries for two slots or
    /// fewer, so that with every slot in use a key finds both its buckets full once
    /// in millions.
    pub const fn buckets(&self) -> u32 {
        (self.slots() / 2).next_power_of_two()
    }
}

/// What the pinned tables were created for.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Meta {
    /// [`LAYOUT`](super::LAYOUT) of the agent that created the tables.
    pub layout: u32,
    /// 1 once the agent has filled the slab's bitmap.
    pub ready: u32,
    /// What the tables were created with.
    pub limits: Limits,
}
