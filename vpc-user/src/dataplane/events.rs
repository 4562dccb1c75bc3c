//! What the kernel tells: events, and what flows carried.

use std::{
    os::fd::{AsFd, AsRawFd as _},
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use aya::{
    Pod,
    maps::{MapData, RingBuf},
};
use nix::poll::{PollFd, PollFlags, poll};
use vpc_common::layout::{Event, FlowRecord, Name, NameKey, name};

use super::{
    names,
    object::pinned,
    refusals::{RefusalRecord, Refusals},
    start_error::StartError,
    tables::Hash,
    workers::WorkerContext,
};

/// How long to wait before looking whether to stop, milliseconds.
const PATIENCE_MS: u16 = 200;
/// Records taken in one go.
const BATCH: usize = 4_096;

/// How often refusals that have come to rest are taken out.
const REFUSALS_PERIOD: Duration = Duration::from_secs(30);

/// Where flow records go. The seam for flow logs: an implementation must be
/// quick, because the kernel's ring fills meanwhile.
pub trait FlowSink: Send {
    /// Takes the next record.
    fn record(&mut self, record: &FlowRecord);

    /// Takes what rules or routes refused, once no more of it comes. Passed over unless
    /// an implementation says otherwise.
    fn refused(&mut self, record: &RefusalRecord) {
        let _ = record;
    }

    /// Told once when an ENI reaches 80 % of its connections, and again after it fell
    /// below. Logged unless an implementation says otherwise.
    fn high_water(&mut self, eni: &str, connections: u64) {
        let group = eni.rsplit_once('-').map_or("its group", |(group, _)| group);
        tracing::warn!(
            eni,
            connections,
            "ENI {eni} reached 80 % of its connections: add an ENI to group {group}"
        );
    }
}

/// Sums over all flow records since the agent started.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Sums {
    /// Records.
    pub records: u64,
    /// Last records of flows.
    pub ended: u64,
    /// Bytes, both ways.
    pub bytes: u64,
    /// Packets, both ways.
    pub packets: u64,
    /// Records of refused packets.
    pub refusals: u64,
    /// Packets in them.
    pub refused_packets: u64,
}

/// A sink that keeps sums, readable from elsewhere.
#[derive(Clone, Default, Debug)]
pub struct Totals(Arc<Mutex<Sums>>);

impl Totals {
    /// The sums so far.
    pub fn sums(&self) -> Sums {
        self.0
            .lock()
            .map_or_else(|poisoned| *poisoned.into_inner(), |sums| *sums)
    }
}

impl FlowSink for Totals {
    fn record(&mut self, record: &FlowRecord) {
        let Ok(mut sums) = self.0.lock() else { return };
        sums.records += 1;
        sums.ended += u64::from(record.ended);
        sums.bytes += record.forward_bytes + record.reply_bytes;
        sums.packets += u64::from(record.forward_packets) + u64::from(record.reply_packets);
    }

    fn refused(&mut self, record: &RefusalRecord) {
        let Ok(mut sums) = self.0.lock() else { return };
        sums.refusals += 1;
        sums.refused_packets += record.packets;
    }
}

/// The thread that drains both rings.
pub struct Observer {
    context: WorkerContext,
    events: RingBuf<MapData>,
    records: RingBuf<MapData>,
    refusals: Refusals,
    names: Hash<NameKey, Name>,
    sink: Box<dyn FlowSink>,
}

impl Observer {
    /// Opens the rings.
    pub fn open(
        context: &WorkerContext,
        maps: &Path,
        sink: Box<dyn FlowSink>,
    ) -> Result<Self, StartError> {
        Ok(Self {
            context: context.clone(),
            events: pinned(maps, name::EVENTS)?,
            records: pinned(maps, name::FLOW_RECORDS)?,
            refusals: Refusals::open(maps, context.shared.limits.refusals)?,
            names: pinned(maps, name::NAMES)?,
            sink,
        })
    }

    /// Drains until told to stop.
    pub fn run(mut self) {
        let mut drained = Instant::now();
        while !self.context.stopping() {
            wait(&[&self.events, &self.records], PATIENCE_MS);
            self.drain_events();
            self.drain_records();
            if drained.elapsed() >= REFUSALS_PERIOD {
                self.drain_refusals();
                drained = Instant::now();
            }
        }
    }

    fn drain_refusals(&mut self) {
        let (counters, sink) = (&self.context.counters, &mut self.sink);
        let taken = self.refusals.take_idle(|record| {
            counters.refusal_records.one();
            counters.refusal_record_packets.add(record.packets);
            tracing::trace!(?record, "refusal record");
            sink.refused(&record);
        });
        if let Err(error) = taken {
            // What stays is taken the next time.
            tracing::warn!(%error, "the refusals cannot be read");
        }
    }

    fn drain_events(&mut self) {
        while let Some(item) = self.events.next() {
            match read::<Event>(&item) {
                Some(event) if event.kind == Event::HIGH_WATER => {
                    self.context.counters.high_water_events.one();
                    self.sink
                        .high_water(&eni_name(&self.names, &event), event.value);
                }
                _ => self.context.counters.records_malformed.one(),
            }
        }
    }

    fn drain_records(&mut self) {
        let counters = &self.context.counters;
        for _ in 0..BATCH {
            let Some(item) = self.records.next() else {
                return;
            };
            let Some(record) = read::<FlowRecord>(&item) else {
                counters.records_malformed.one();
                continue;
            };
            counters.flow_records.one();
            counters.flow_records_ended.add(u64::from(record.ended));
            counters
                .flow_record_bytes
                .add(record.forward_bytes + record.reply_bytes);
            let packets = u64::from(record.forward_packets) + u64::from(record.reply_packets);
            counters.flow_record_packets.add(packets);
            tracing::trace!(?record, "flow record");
            self.sink.record(&record);
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

/// Waits until a ring has something or time is up.
pub fn wait(rings: &[&RingBuf<MapData>], milliseconds: u16) {
    let mut fds: Vec<PollFd<'_>> = rings
        .iter()
        .map(|ring| PollFd::new(ring.as_fd(), PollFlags::POLLIN))
        .collect();
    if let Err(error) = poll(&mut fds, milliseconds) {
        // Interrupted, or worse: the loop around this looks anyway.
        tracing::trace!(%error, fd = rings[0].as_raw_fd(), "poll");
    }
}

#[cfg(test)]
mod tests {
    use vpc_common::{
        addr::{Addr, Port},
        layout::FlowKey,
    };

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

    #[test]
    fn totals_add_both_directions() {
        let key = FlowKey::new(0, 6, 1, Addr::UNSPECIFIED, Port::new(1), Port::new(2));
        let record = FlowRecord {
            state: 0,
            forward_bytes: 100,
            reply_bytes: 50,
            forward_packets: 2,
            reply_packets: 1,
            key,
            eni: 0,
            outside_port: Port::new(3),
            created: 0,
            last: 0,
            ended: 1,
            tcp_flags: 0,
            reserved: 0,
        };
        let mut totals = Totals::default();
        totals.record(&record);
        totals.record(&FlowRecord { ended: 0, ..record });
        assert_eq!(
            totals.sums(),
            Sums {
                records: 2,
                ended: 1,
                bytes: 300,
                packets: 6,
                ..Sums::default()
            }
        );
    }
}
