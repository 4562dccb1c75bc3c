//! Where what the kernel tells goes.

use std::sync::mpsc;

use super::Command;
use crate::{
    dataplane::{Batch, Exhaustion, FlowSink, RefusalRecord, SinkError, warn_of_high_water},
    flowlog::Keeper,
};

/// The journal of flows, if one is kept; and, where resources are kept, who is nearly full.
pub struct Sink {
    keeper: Option<Keeper>,
    commands: Option<mpsc::Sender<Command>>,
}

impl Sink {
    /// With where to tell of ENIs that are nearly full.
    pub fn new(keeper: Option<Keeper>, commands: Option<mpsc::Sender<Command>>) -> Self {
        Self { keeper, commands }
    }
}

impl FlowSink for Sink {
    fn period_secs(&self) -> u32 {
        self.keeper.as_ref().map_or(10, FlowSink::period_secs)
    }

    fn resume(&mut self, ring: &str) -> u64 {
        self.keeper.as_mut().map_or(0, |keeper| keeper.resume(ring))
    }

    fn take(&mut self, batch: &Batch) -> Result<(), SinkError> {
        let keeper = self.keeper.as_mut();
        keeper.map_or(Ok(()), |keeper| keeper.take(batch))
    }

    fn refused(&mut self, records: &[RefusalRecord]) -> Result<(), SinkError> {
        let keeper = self.keeper.as_mut();
        keeper.map_or(Ok(()), |keeper| keeper.refused(records))
    }

    fn taken_out(&mut self, records: &[RefusalRecord]) -> Result<(), SinkError> {
        let keeper = self.keeper.as_mut();
        keeper.map_or(Ok(()), |keeper| keeper.taken_out(records))
    }

    fn period_over(
        &mut self,
        unrecorded: &dyn Fn(u32) -> u64,
        exhausted: &[Exhaustion],
    ) -> Result<(), SinkError> {
        let keeper = self.keeper.as_mut();
        keeper.map_or(Ok(()), |keeper| keeper.period_over(unrecorded, exhausted))
    }

    fn idle(&mut self) {
        if let Some(keeper) = &mut self.keeper {
            keeper.idle();
        }
    }

    fn high_water(&mut self, eni: &str, connections: u64) {
        match &self.commands {
            Some(commands) => {
                tracing::info!(eni, connections, "an ENI is nearly full");
                // Who does not listen any more is about to end.
                let _ = commands.send(Command::HighWater(eni.to_owned()));
            }
            None => warn_of_high_water(eni, connections),
        }
    }
}
