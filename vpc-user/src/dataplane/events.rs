//! What the kernel tells: events, and what flows carried.

use std::{
    os::fd::AsFd as _,
    path::Path,
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

use aya::{
    Pod,
    maps::{MapData, RingBuf},
};
use vpc_common::layout::{Event, Name, NameKey, name};

use super::{
    clock,
    exhaustion::{Exhaustion, Exhaustions},
    names,
    object::pinned,
    refusals::{RefusalRecord, Refusals},
    ring::{Batch, RecordRing, wait},
    start_error::StartError,
    tables::Hash,
    workers::WorkerContext,
};

/// How long to wait before looking whether to stop, milliseconds.
const PATIENCE_MS: u16 = 200;
/// Records taken in one go.
const BATCH: usize = 4_096;

/// How often refusals are read, if no period ends.
const REFUSALS_PERIOD: Duration = Duration::from_secs(10);

/// Why a sink did not take something.
pub type SinkError = Box<dyn std::error::Error + Send + Sync>;

/// Where flow records go. The seam for flow logs: an implementation must be
/// quick, because the kernel's ring fills meanwhile.
pub trait FlowSink: Send {
    /// In which seconds every flow is reported once.
    fn period_secs(&self) -> u32 {
        10
    }

    /// From which position of a ring on records are wanted; what is before was taken by
    /// whoever ran before.
    fn resume(&mut self, ring: &str) -> u64 {
        let _ = ring;
        0
    }

    /// Takes records. The kernel forgets them when this has returned, and keeps them, to be
    /// read again, if it fails.
    fn take(&mut self, batch: &Batch) -> Result<(), SinkError>;

    /// Takes what rules or routes refused: all that is in the table, with counts that go on.
    /// Passed over unless an implementation says otherwise.
    fn refused(&mut self, records: &[RefusalRecord]) -> Result<(), SinkError> {
        let _ = records;
        Ok(())
    }

    /// These are out of the table, with their last counts.
    fn taken_out(&mut self, records: &[RefusalRecord]) -> Result<(), SinkError> {
        let _ = records;
        Ok(())
    }

    /// Every flow was reported, and refusals too, since this was told last. `unrecorded`: packets of an ENI, by index, that no record tells of.
    /// `exhausted`: who found nothing left.
    fn period_over(
        &mut self,
        unrecorded: &dyn Fn(u32) -> u64,
        exhausted: &[Exhaustion],
    ) -> Result<(), SinkError> {
        let _ = (unrecorded, exhausted);
        Ok(())
    }

    /// Nothing has been asked for a moment.
    fn idle(&mut self) {}
}

/// Keeps no records.
pub struct Discard;

impl FlowSink for Discard {
    fn take(&mut self, _: &Batch) -> Result<(), SinkError> {
        Ok(())
    }
}

/// Is told once when an ENI reaches 80 % of its connections, by name and with how many it
/// has, and again after it fell below.
pub type HighWater = Box<dyn Fn(&str, u64) + Send>;

/// Tells of an ENI that reached 80 % of its connections, where nobody but a human can help.
pub fn warn_of_high_water(eni: &str, connections: u64) {
    let group = eni.rsplit_once('-').map_or("its group", |(group, _)| group);
    tracing::warn!(
        eni,
        connections,
        "ENI {eni} reached 80 % of its connections: add an ENI to group {group}"
    );
}

/// The thread that drains both rings.
pub struct Observer {
    context: WorkerContext,
    events: RingBuf<MapData>,
    records: RecordRing,
    batch: Batch,
    refusals: Refusals,
    exhaustions: Exhaustions,
    /// What the sink has yet to be told.
    exhausted: Vec<Exhaustion>,
    names: Hash<NameKey, Name>,
    sink: Box<dyn FlowSink>,
    high_water: HighWater,
    /// Of [`WorkerContext::exports`], those that were passed on.
    periods: u64,
    /// Since when the sink has not taken what it was given.
    refusing: Option<Instant>,
}

impl Observer {
    /// Opens the rings.
    pub fn open(
        context: &WorkerContext,
        maps: &Path,
        mut sink: Box<dyn FlowSink>,
        high_water: HighWater,
    ) -> Result<Self, StartError> {
        let records = RecordRing::open(maps)?;
        records.release(sink.resume(records.identity()));
        Ok(Self {
            context: context.clone(),
            events: pinned(maps, name::EVENTS)?,
            records,
            batch: Batch::default(),
            refusals: Refusals::open(maps, context.shared.limits.refusals)?,
            exhaustions: Exhaustions::open(maps)?,
            exhausted: Vec::new(),
            names: pinned(maps, name::NAMES)?,
            sink,
            high_water,
            periods: 0,
            refusing: None,
        })
    }

    /// Drains until told to stop.
    pub fn run(mut self) {
        let mut looked = Instant::now();
        while !self.context.stopping() {
            wait(&[self.records.as_fd(), self.events.as_fd()], PATIENCE_MS);
            self.drain_events();
            let mut taken = self.drain_records();
            let exports = self.context.exports.load(Ordering::Acquire);
            let is_over = exports != self.periods;
            if taken.is_ok() && (is_over || looked.elapsed() >= REFUSALS_PERIOD) {
                looked = Instant::now();
                taken = self.drain_refusals();
            }
            if taken.is_ok() && is_over {
                // What the sweep had reported by then is in the ring.
                taken = self.drain_records().and_then(|()| self.end_period());
                if taken.is_ok() {
                    self.periods = exports;
                }
            }
            self.note(taken);
            self.sink.idle();
        }
        let drained = self.drain_records();
        self.note(drained);
    }

    /// Tells once of a sink that does not take what it is given, and waits a little: what
    /// it did not take is still there.
    fn note(&mut self, taken: Result<(), SinkError>) {
        match (taken, self.refusing) {
            (Ok(()), None) => {}
            (Ok(()), Some(since)) => {
                let seconds = since.elapsed().as_secs();
                tracing::info!(seconds, "records are taken again");
                self.refusing = None;
            }
            (Err(error), since) => {
                self.context.counters.records_refused.one();
                if since.is_none() {
                    tracing::error!(%error, "records are not taken: they wait in the kernel");
                    self.refusing = Some(Instant::now());
                }
                thread::sleep(Duration::from_millis(PATIENCE_MS.into()));
            }
        }
    }

    fn end_period(&mut self) -> Result<(), SinkError> {
        let shared = &self.context.shared;
        self.exhausted.extend(self.exhaustions.take(shared)?);
        let unrecorded = |eni: u32| {
            let state = shared.eni_states.get(eni as usize);
            state.map_or(0, |state| state.unrecorded.load())
        };
        self.sink.period_over(&unrecorded, &self.exhausted)?;
        self.exhausted.clear();
        Ok(())
    }

    /// Passes on what is in the table, and takes out what has come to rest.
    fn drain_refusals(&mut self) -> Result<(), SinkError> {
        let records = self.refusals.read()?;
        self.sink.refused(&records)?;
        let now = clock::now_tick();
        let idle = records.iter().filter(|record| record.is_idle(now));
        let mut taken = Vec::new();
        for record in idle {
            // Counted up to the moment of the removal: not one is lost in between.
            taken.extend(self.refusals.take(record)?);
        }
        let counters = &self.context.counters;
        for record in &taken {
            counters.refusal_records.one();
            counters.refusal_record_packets.add(record.packets);
            tracing::trace!(?record, "refusal record");
        }
        self.sink.taken_out(&taken)
    }

    fn drain_events(&mut self) {
        while let Some(item) = self.events.next() {
            match read::<Event>(&item) {
                Some(event) if event.kind == Event::HIGH_WATER => {
                    self.context.counters.high_water_events.one();
                    (self.high_water)(&eni_name(&self.names, &event), event.value);
                }
                _ => self.context.counters.records_malformed.one(),
            }
        }
    }

    /// Passes records on until there are none, and only then has the kernel forget them.
    fn drain_records(&mut self) -> Result<(), SinkError> {
        loop {
            self.records.read(BATCH, &mut self.batch);
            if self.batch.position == self.records.position() {
                return Ok(());
            }
            self.sink.take(&self.batch)?;
            self.records.release(self.batch.position);
            self.count();
        }
    }

    fn count(&self) {
        let counters = &self.context.counters;
        counters.records_malformed.add(self.batch.malformed);
        for record in &self.batch.records {
            counters.flow_records.one();
            counters.flow_records_ended.add(u64::from(record.ended));
            counters
                .flow_record_bytes
                .add(record.forward_bytes + record.reply_bytes);
            let packets = u64::from(record.forward_packets) + u64::from(record.reply_packets);
            counters.flow_record_packets.add(packets);
            tracing::trace!(?record, "flow record");
        }
    }
}

fn eni_name(table: &Hash<NameKey, Name>, event: &Event) -> String {
    let key = NameKey {
        kind: NameKey::ENI,
        index: event.eni,
    };
    let name = table.get(&key, 0);
    name.map_or_else(|_| event.eni.to_string(), |name| names::text(&name))
}

/// A record as it lies in a ring; `None` if it is too short to be one.
pub fn read<T: Pod>(bytes: &[u8]) -> Option<T> {
    // SAFETY: there are enough bytes, alignment does not matter to this read, and
    // every bit pattern is a value of a `Pod`.
    (bytes.len() >= size_of::<T>()).then(|| unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_record_is_none() {
        assert!(read::<Event>(&[0; 15]).is_none());
        assert_eq!(
            read::<Event>(&[0; 17]),
            Some(Event {
                kind: 0,
                eni: 0,
                value: 0
            })
        );
    }
}
