//! What the kernel tells goes into the journal: the sink of a host that keeps flow logs.

use std::time::{Duration, Instant};

use super::{
    Directory,
    journal::{Journal, JournalError, Period},
};
use crate::dataplane::{Batch, Exhaustion, FlowSink, RefusalRecord, SinkError, clock};

/// How soon what was taken is on the disk: what a crash of the host may cost.
pub const FLUSH: Duration = Duration::from_secs(5);

/// Keeps the journal.
pub struct Keeper {
    journal: Journal,
    period: Period,
    directory: Directory,
    /// Called when a file has ended.
    ended: Box<dyn Fn() + Send>,
    flushed: Instant,
    /// Refusals that are told of were not compared yet with those that are there.
    is_fresh: bool,
}

impl Keeper {
    /// Of a journal. `ended` is called when a file has ended.
    pub fn new(
        journal: Journal,
        period: Period,
        directory: Directory,
        ended: Box<dyn Fn() + Send>,
    ) -> Self {
        Self {
            journal,
            period,
            directory,
            ended,
            flushed: Instant::now(),
            is_fresh: true,
        }
    }

    /// Looks up names while it writes.
    fn write(
        &mut self,
        write: impl FnOnce(&mut Journal, &super::View<'_>) -> Result<(), JournalError>,
    ) -> Result<(), SinkError> {
        let journal = &mut self.journal;
        Ok(self.directory.read(|names| write(journal, names))?)
    }
}

impl FlowSink for Keeper {
    fn period_secs(&self) -> u32 {
        u32::try_from(self.period.seconds()).unwrap_or(u32::MAX)
    }

    fn resume(&mut self, ring: &str) -> u64 {
        self.journal.resume(ring)
    }

    fn take(&mut self, batch: &Batch) -> Result<(), SinkError> {
        self.write(|journal, names| {
            let times = (clock::zero(), clock::unix_ms());
            journal.flows(&batch.records, times, names, batch.position)
        })
    }

    fn refused(&mut self, records: &[RefusalRecord]) -> Result<(), SinkError> {
        if self.is_fresh {
            self.journal.only_told(records)?;
            self.is_fresh = false;
        }
        self.write(|journal, names| journal.refusals(records, clock::zero(), names))
    }

    fn taken_out(&mut self, records: &[RefusalRecord]) -> Result<(), SinkError> {
        // What came between the last look and the removal.
        self.write(|journal, names| journal.refusals(records, clock::zero(), names))?;
        let keys: Vec<_> = records.iter().map(|record| record.key).collect();
        Ok(self.journal.taken(&keys)?)
    }

    fn period_over(
        &mut self,
        unrecorded: &dyn Fn(u32) -> u64,
        exhausted: &[Exhaustion],
    ) -> Result<(), SinkError> {
        self.write(|journal, names| journal.exhausted(exhausted, clock::unix_ms(), names))?;
        let now = clock::unix_secs();
        if !self.journal.is_due(now) {
            return Ok(());
        }
        let journal = &mut self.journal;
        self.directory.read(|names| {
            let enis = names.enis();
            journal.roll(now, enis.map(|(index, place)| (place, unrecorded(index))))
        })?;
        self.directory.forget(clock::now_tick());
        (self.ended)();
        Ok(())
    }

    fn idle(&mut self) {
        if self.flushed.elapsed() >= FLUSH {
            if let Err(error) = self.journal.sync() {
                tracing::warn!(%error, "the journal of flows is not flushed");
            }
            self.flushed = Instant::now();
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Err(error) = self.journal.sync() {
            tracing::warn!(%error, "the journal of flows is not flushed");
        }
    }
}
