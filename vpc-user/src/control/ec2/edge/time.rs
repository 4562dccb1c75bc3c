//! What the passing of time does at the edge of VPCs.

use super::{endpoint, flow_log, nat_gateway, peering};
use crate::control::{Context, Settings, State, Time, Transaction};

/// Carries out what is due: what is pending becomes available or fails, what is being
/// deleted is deleted, what is over is shown for a while and goes, offers expire, and
/// flow logs go with what they are of.
pub fn tick(transaction: &mut Transaction<'_>, context: &Context) {
    nat_gateway::tick(transaction, context);
    endpoint::tick(transaction, context);
    peering::tick(transaction, context);
    flow_log::tick(transaction);
}

/// When something is due next: a moment that is over if it is due already.
pub fn next_tick(state: &State, settings: &Settings) -> Option<Time> {
    let dues = [
        nat_gateway::next_tick(state, settings),
        endpoint::next_tick(state, settings),
        peering::next_tick(state, settings),
        flow_log::next_tick(state),
    ];
    dues.into_iter().flatten().min()
}
