//! What must hold whatever happens: random packets, random histories, threads.

mod ends;
mod frames;
mod histories;
mod marks;
mod rest;
mod threads;

use crate::{
    double::Double,
    expiry::{self, SweepOptions},
    layout::SweepResult,
    packet_table::{BLOCKS, Host, Run},
    time::Tick,
};

/// The clock of the tests of this module, long after its start.
const START_NS: u64 = 1_000_000_000_000;

/// Tables with the packet table's world in them.
fn host() -> Host {
    let mut host = Host::new();
    Run::new(&mut host, "a property").into_log();
    host
}

fn sweep_all(tables: &Double, now: Tick, options: u64) -> SweepResult {
    let mut result = SweepResult::default();
    for block in 0..BLOCKS {
        expiry::sweep_block(tables, block, now, SweepOptions(options), &mut result);
    }
    result
}

/// Nothing is open, claimed or counted.
fn assert_nothing_left(tables: &Double) {
    assert!(tables.flow_entries().is_empty());
    for state in &tables.environment_states {
        assert_eq!(state.flows.load(), 0);
    }
    for state in &tables.eni_states {
        assert_eq!(state.connections.load(), 0);
    }
    for pool in &tables.pools {
        assert_eq!(pool.used.load(), 0);
    }
    assert_eq!(tables.faults(), Vec::<String>::new());
}
