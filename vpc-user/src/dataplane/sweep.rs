//! Runs the sweep program over every block in use, once a second, in windows so
//! small that the CPU is never held for long.

use std::{
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

use vpc_common::expiry::SweepOptions;

use super::{
    bpf::Runnable, clock, counters::Counters, tables::SharedTables, workers::WorkerContext,
};

/// Blocks of one run: 1,024 slots, a few microseconds.
const WINDOW: u32 = 4;
/// How often each block is swept.
const PERIOD: Duration = Duration::from_secs(1);
/// Into how many parts a period is divided, so that the work is spread over it.
const PARTS: u32 = 20;

/// The thread that sweeps.
pub struct Sweeper {
    context: WorkerContext,
    sweep: Runnable,
}

impl Sweeper {
    /// Prepares the thread.
    pub fn new(context: &WorkerContext, sweep: Runnable) -> Self {
        Self {
            context: context.clone(),
            sweep,
        }
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

    /// Flows of an environment that was detached are ended by the next full sweep.
    fn options(&self, is_export: bool) -> u64 {
        let mut options = 0;
        if is_export {
            options |= SweepOptions::EXPORT;
        }
        if self.context.purge.swap(false, Ordering::AcqRel) {
            options |= SweepOptions::PURGE;
        }
        options
    }

    fn sweep_window(
        &self,
        window: u32,
        options: u64,
        counters: &Arc<Counters>,
    ) -> std::io::Result<()> {
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
