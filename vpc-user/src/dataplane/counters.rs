//! What the agent itself counts, beside the kernel's counters.

use std::sync::atomic::{AtomicU64, Ordering};

/// A sum that several threads add to.
#[derive(Default, Debug)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn one(&self) {
        self.add(1);
    }

    /// Adds some.
    pub fn add(&self, value: u64) {
        self.0.fetch_add(value, Ordering::Relaxed);
    }

    /// The sum so far.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// The agent's counters, by the name they have in listings.
        #[derive(Default, Debug)]
        pub struct Counters {
            $($(#[$doc])* pub $name: Counter,)+
        }

        impl Counters {
            /// Every counter with its name.
            pub fn snapshot(&self) -> Vec<(&'static str, u64)> {
                vec![$((concat!("agent_", stringify!($name)), self.$name.value()),)+]
            }
        }
    };
}

counters! {
    /// Full passes over the configuration.
    reconciles,
    /// Steps of a plan that failed and are tried again by the next pass.
    steps_failed,
    /// Environments attached.
    attached,
    /// Environments detached on request.
    detached,
    /// Environments whose interface went away.
    environments_lost,
    /// Links of which somebody removed the filter or a pin, and that were mended.
    filters_mended,
    /// Runs of the sweep.
    sweeps,
    /// Runs of the sweep that the kernel refused.
    sweeps_failed,
    /// Packets received from the kernel.
    punts,
    /// Packets sent through the programs again.
    reinjected,
    /// Packets that could not be sent through the programs again.
    reinjections_failed,
    /// Packets given up: no neighbour, no first fragment, or no room to wait.
    punts_dropped,
    /// Records from the kernel that this agent does not understand.
    records_malformed,
    /// Times that records were not taken, and stayed with the kernel.
    records_refused,
    /// ARP requests sent.
    arp_requests,
    /// Neighbours that stopped answering.
    neighbours_forgotten,
    /// Entries of the tables that somebody else changed and the agent put back.
    foreign_edits,
    /// ENIs that reached their high-water mark.
    high_water_events,
    /// Flow records drained.
    flow_records,
    /// Flows whose last record was drained.
    flow_records_ended,
    /// Bytes in flow records, both ways.
    flow_record_bytes,
    /// Packets in flow records, both ways.
    flow_record_packets,
    /// Refused tuples that came to rest and were handed on.
    refusal_records,
    /// Packets in them.
    refusal_record_packets,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_names_every_counter_once() {
        let counters = Counters::default();
        counters.punts.add(3);
        let mut names: Vec<_> = counters
            .snapshot()
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert!(counters.snapshot().contains(&("agent_punts", 3)));
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
