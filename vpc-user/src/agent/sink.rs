//! Where what the kernel tells goes.

use std::sync::mpsc;

use vpc_common::layout::FlowRecord;

use super::Command;
use crate::dataplane::{FlowSink, RefusalRecord, Totals};

/// Sums of flow records; and, where resources are kept, who is nearly full.
pub struct Sink {
    totals: Totals,
    commands: Option<mpsc::Sender<Command>>,
}

impl Sink {
    /// With where to tell of ENIs that are nearly full.
    pub fn new(commands: Option<mpsc::Sender<Command>>) -> Self {
        Self {
            totals: Totals::default(),
            commands,
        }
    }
}

impl FlowSink for Sink {
    fn record(&mut self, record: &FlowRecord) {
        self.totals.record(record);
    }

    fn refused(&mut self, record: &RefusalRecord) {
        self.totals.refused(record);
    }

    fn high_water(&mut self, eni: &str, connections: u64) {
        match &self.commands {
            Some(commands) => {
                tracing::info!(eni, connections, "an ENI is nearly full");
                // Who does not listen any more is about to end.
                let _ = commands.send(Command::HighWater(eni.to_owned()));
            }
            None => self.totals.high_water(eni, connections),
        }
    }
}
