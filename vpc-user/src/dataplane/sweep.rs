//! Runs the sweep program over every block in use, once a second, in windows so
//! small that the CPU is never held for long.

use std::{
    cell::Cell,
    path::Path,
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use vpc_common::expiry::SweepOptions;

use super::{
    bpf::Runnable, clock, counters::Counters, grace::Grace, ring::RecordRing,
    start_error::StartError, tables::SharedTables, workers::WorkerContext,
};

/// Blocks of one run: 1,024 slots, a few microseconds.
const WINDOW: u32 = 4;
/// How often each block is swept.
const PERIOD: Duration = Duration::from_secs(1);
/// How long a sweep waits for room in the ring of records, in all.
const ROOM_PATIENCE: Duration = Duration::from_secs(5);
/// Into how many parts a period is divided, so that the work is spread over it.
const PARTS: u32 = 20;

/// The thread that sweeps.
pub struct Sweeper {
    context: WorkerContext,
    sweep: Runnable,
    grace: Grace,
    /// Where the records go.
    records: RecordRing,
    /// How long this sweep may still wait for room there.
    patience: Cell<Duration>,
}

impl Sweeper {
    /// Prepares the thread.
    pub fn new(
        context: &WorkerContext,
        sweep: Runnable,
        grace: Grace,
        maps: &Path,
    ) -> Result<Self, StartError> {
        Ok(Self {
            context: context.clone(),
            sweep,
            grace,
            records: RecordRing::open(maps)?,
            patience: Cell::new(ROOM_PATIENCE),
        })
    }

    /// Sweeps until told to stop.
    pub fn run(self) {
        let WorkerContext {
            shared, counters, ..
        } = &self.context;
        let mut failing = false;
        let mut exported = self.export_number();
        loop {
            let number = self.export_number();
            let is_export = number != exported;
            let options = self.options(is_export);
            self.patience.set(ROOM_PATIENCE);
            let windows = windows(shared);
            let per_part = windows.len().div_ceil(PARTS as usize).max(1);
            let mut parts = windows.chunks(per_part);
            for _ in 0..PARTS {
                if self.context.stopping() {
                    return;
                }
                let part = parts.next().unwrap_or_default();
                let result = part
                    .iter()
                    .try_for_each(|window| self.sweep_window(*window, options, counters));
                match result {
                    Ok(()) => failing = false,
                    Err(error) if !failing => {
                        failing = true;
                        tracing::error!(%error, "the sweep does not run: flows do not expire");
                    }
                    Err(_) => {}
                }
                thread::sleep(PERIOD / PARTS);
            }
            if is_export {
                exported = number;
                self.context.exports.fetch_add(1, Ordering::AcqRel);
            }
        }
    }

    /// Which of the times to report every flow came last, by the wall clock.
    fn export_number(&self) -> u64 {
        clock::unix_secs() / u64::from(self.context.export_secs)
    }

    /// Does not hand over records faster than they are read: what finds no room is told of a
    /// period later. Whoever reads them may be stuck, which is not waited for for long.
    fn await_room(&self) {
        let begun = Instant::now();
        let patience = self.patience.get();
        while self.records.is_half_full() && begun.elapsed() < patience && !self.context.stopping()
        {
            thread::sleep(Duration::from_millis(1));
        }
        self.patience.set(patience.saturating_sub(begun.elapsed()));
    }

    /// Flows of an environment that was detached are ended by the next full sweep.
    fn options(&self, is_export: bool) -> u64 {
        let mut options = 0;
        if is_export {
            options |= SweepOptions::EXPORT;
        }
        if self.context.purge.swap(false, Ordering::AcqRel) {
            self.await_programs();
            options |= SweepOptions::PURGE;
        }
        options
    }

    /// Until programs that still knew those who left have ended, they may open flows for them.
    fn await_programs(&self) {
        if let Err(error) = self.context.departures.settle(|| self.grace.wait()) {
            // Whoever needs to know waits too, and what is missed ends by its timeout.
            tracing::warn!(%error, "it is not known whether every program has ended");
        }
    }

    fn sweep_window(
        &self,
        window: u32,
        options: u64,
        counters: &Arc<Counters>,
    ) -> std::io::Result<()> {
        if options & SweepOptions::EXPORT != 0 {
            self.await_room();
        }
        let first = window * WINDOW;
        let count = WINDOW.min(self.context.shared.limits.blocks - first);
        let arguments = [clock::now_ns(), u64::from(first), u64::from(count), options];
        match self.sweep.call(&arguments) {
            Ok(()) => {
                counters.sweeps.one();
                Ok(())
            }
            Err(error) => {
                counters.sweeps_failed.one();
                Err(error)
            }
        }
    }
}

/// Numbers of the windows in which a block is in use.
fn windows(shared: &SharedTables) -> Vec<u32> {
    let mut windows: Vec<u32> = shared.blocks_in_use().map(|block| block / WINDOW).collect();
    windows.dedup();
    windows
}
