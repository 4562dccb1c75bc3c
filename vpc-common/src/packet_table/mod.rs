//! The packet table: what arrives, after what, and what must become of it.
//!
//! Each case runs through any [`Machine`]: the host functions over the double, and
//! the loaded kernel programs by program test run. Verdict, bytes and counters are
//! part of every step: a counter that a step does not name must not move.

pub mod build;
mod cases;
mod fuzz;
mod host;
mod run;
pub mod world;

use std::collections::{BTreeMap, HashMap};

pub use cases::{CASES, Case, XDP_CASES};
pub use fuzz::{Dice, STREAMS, differential};
pub use host::Host;
pub use run::{Conn, Counter, Outcome, Run};
pub use world::World;

use crate::{
    audit::Seen,
    expiry::SweepOptions,
    layout::{DropKey, Event, FlowKey, FlowRecord, FlowRef, Owner, Stat, SweepResult},
    time::Tick,
    verdict::{Awaited, Port},
};

/// Environments of a machine.
pub const ENVIRONMENTS: u32 = 3;
/// Uplinks of a machine.
pub const UPLINKS: u32 = 2;
/// ENIs of a machine.
pub const ENIS: u32 = 3;
/// Blocks of a machine's slab: four for each pool, as a pool takes at first.
pub const BLOCKS: u32 = 24;
/// Neighbours of a machine.
pub const NEXT_HOPS: u32 = 8;

/// The interface that a frame arrives on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum In {
    /// An environment's, by index.
    Environment(usize),
    /// An uplink, by index.
    Uplink(usize),
    /// One with the environments' program that is in no table.
    Stranger,
}

impl In {
    /// Every one.
    pub const ALL: [Self; 6] = [
        Self::Environment(0),
        Self::Environment(1),
        Self::Environment(2),
        Self::Uplink(0),
        Self::Uplink(1),
        Self::Stranger,
    ];
}

/// What the programs return.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// The frame is gone (or with the agent).
    Drop,
    /// To the host's stack.
    Pass,
    /// Out by an interface.
    Redirect,
}

/// One run of a program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ran {
    /// What it returned.
    pub action: Action,
    /// The frame afterwards.
    pub frame: Vec<u8>,
    /// Where a redirected frame goes, if the machine can tell.
    pub port: Option<Port>,
}

/// A frame that was handed to the agent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Handed {
    /// Whose drop it is if the agent gives up.
    pub owner: Owner,
    /// What it waits for.
    pub awaited: Awaited,
    /// The frame.
    pub frame: Vec<u8>,
}

/// What the programs told since it was asked last.
#[derive(Default, Debug)]
pub struct Told {
    /// Events.
    pub events: Vec<Event>,
    /// Flow records.
    pub records: Vec<FlowRecord>,
    /// Frames.
    pub handed: Vec<Handed>,
}

/// The data path, on the host or in the kernel.
pub trait Machine {
    /// The index of an interface.
    fn ifindex(&self, link: In) -> u32;
    /// Empties every table; the slab is full of free blocks afterwards, the pools
    /// are as when an ENI is made.
    fn clear(&mut self);
    /// Writes what the agent decides.
    fn configure(&mut self, world: &World);
    /// Runs the program of a link on a frame.
    fn run(&mut self, link: In, frame: &[u8]) -> Ran;
    /// What the programs wrote.
    fn seen(&self) -> Seen<'_>;
    /// Forward entries.
    fn flows(&self) -> HashMap<FlowKey, FlowRef>;
    /// Lets the notes of fragments grow older.
    fn age_fragments(&mut self, ticks: u32);
    /// Drop counters that are not 0.
    fn drops(&self) -> BTreeMap<DropKey, u64>;
    /// A counter.
    fn stat(&self, stat: Stat) -> u64;
    /// Takes what was told.
    fn told(&mut self) -> Told;
    /// Sweeps every block.
    fn sweep(&mut self, options: SweepOptions) -> SweepResult;
    /// Now.
    fn now(&self) -> Tick;
    /// Whether it can be given the frame.
    fn takes(&self, frame: &[u8]) -> bool {
        frame.len() >= 14
    }
}

/// Whether the kernel takes a frame for the test run of a TC program: more than an
/// Ethernet header, and a whole IP header where the type says so (Linux 6.18).
pub fn fits_a_tc_run(frame: &[u8]) -> bool {
    let least = match frame.get(12..14) {
        Some([0x08, 0x00]) => 14 + 20,
        Some([0x86, 0xdd]) => 14 + 40,
        _ => 15,
    };
    frame.len() >= least
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_holds_on_the_host() {
        let check = |case: &&Case| std::panic::catch_unwind(|| case.check(&mut Host::new()));
        let cases = CASES
            .iter()
            .chain([&XDP_CASES])
            .flat_map(|cases| cases.iter());
        let failed: Vec<_> = cases
            .filter(|case| check(case).is_err())
            .map(|case| case.name)
            .collect();
        assert!(failed.is_empty(), "{failed:#?}");
    }

    #[test]
    fn every_case_holds_where_marks_are_seen() {
        let mut host = Host::new();
        host.tc = true;
        for case in CASES.iter().flat_map(|cases| cases.iter()) {
            case.check(&mut host);
        }
    }

    #[test]
    fn names_of_cases_are_unique() {
        let mut names: Vec<_> = CASES
            .iter()
            .chain([&XDP_CASES])
            .flat_map(|c| c.iter())
            .map(|c| c.name)
            .collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn streams_of_damaged_frames_leave_sound_tables() {
        for stream in 0..STREAMS {
            differential(stream, &mut [&mut Host::new()]);
        }
    }
}
