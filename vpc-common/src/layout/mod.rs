//! Keys and values of the maps: the contract between the kernel programs and the
//! agent, byte for byte.
//!
//! Every type is `repr(C)` without padding (the kernel hashes bytes), holds no
//! enum and no `bool`, and has its size asserted. Each table has one writer: the
//! *agent* writes what it decided, the *kernel* writes what it observed; a value
//! that both would write is split in two. Changing anything here means raising
//! [`LAYOUT`], which the agent compares with what is pinned before it adopts it.

mod config;
mod count;
mod flow;
mod limits;
pub mod name;
mod observed;
mod pool;
pub mod program;
mod ring;
mod skb;

pub use config::{
    Eni, EniKey, EniRef, Environment, Group, InForce, Link, NAME_LEN, Name, NameKey, Uplink,
};
pub use count::{DropKey, Owner, OwnerKind, Refusal, RefusalKey, Stat};
pub use flow::{
    Bucket, Decision, FRAGMENT_SECS, FlowHash, FlowKey, FlowRef, Fragment, FragmentKey, Hop, Slot,
};
pub use limits::{
    BLOCK_PORTS, ENI_CONNECTIONS, FIRST_BLOCK, GROUP_ENIS, Limits, Meta, POOL_BLOCKS,
    POOL_INITIAL_BLOCKS, POOL_PORTS, SLAB_BLOCKS_MAX,
};
pub use observed::{EniState, EnvironmentState, NextHop, NextHopKey, RefusalCounts};
pub use pool::{Block, POOLS_PER_ENI, Pool, Slab};
pub use ring::{Event, FlowRecord, PUNT_FRAME, Punt, SweepResult};
pub use skb::{SKB_WINDOW, SkbLayout};

use crate::addr::{Addr, Mac};

/// Raised with every change of this module that changes a byte.
pub const LAYOUT: u32 = 5;

const _: () = assert!(
    cfg!(target_endian = "little"),
    "keys are put together for little endian"
);

/// Two words as they follow each other in memory.
#[inline(always)]
const fn pair(first: u32, second: u32) -> u64 {
    first as u64 | (second as u64) << 32
}

macro_rules! assert_sizes {
    ($($type:ty = $size:expr),+ $(,)?) => {
        $(const _: () = assert!(size_of::<$type>() == $size, stringify!($type));)+
    };
}

assert_sizes! {
    Addr = 16, Mac = 6, Limits = 32, Meta = 40, Link = 8, Environment = 64, EnvironmentState = 64,
    Uplink = 16, Group = 72, Eni = 96, EniRef = 4, InForce = 8, RefusalKey = 32, Refusal = 24, EniState = 128, EniKey = 24, Pool = 128 + 1024, Block = 64,
    Slab = 32 + 2048, FlowKey = 32, FlowRef = 8, Slot = 128, Bucket = 64, FlowHash = 72, FragmentKey = 44, Fragment = 16,
    NextHopKey = 20, NextHop = 16, DropKey = 8, Event = 16, FlowRecord = 88, SweepResult = 32,
    NameKey = 8, SkbLayout = 16, Punt = 20 + 20 + 44 + 16 + PUNT_FRAME,
}

#[cfg(feature = "user")]
mod pod {
    //! `Pod` lets aya copy a value byte for byte to and from a map.
    macro_rules! pod {
        ($($type:ident),+ $(,)?) => {
            $(
                // SAFETY: `repr(C)`, no padding (the sizes above), no pointer, no
                // bit pattern that is not a value.
                unsafe impl aya::Pod for $crate::layout::$type {}
            )+
        };
    }
    pod! {
        Meta, Link, Environment, Uplink, Group, Eni, EniKey, EniRef, RefusalKey, FlowHash, FlowKey, FlowRef,
        FragmentKey,
        Fragment, NextHopKey, NameKey, DropKey, Event, FlowRecord, SweepResult, Punt, SkbLayout,
    }
}
