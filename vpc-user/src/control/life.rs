//! The life of functions, Hyperplane ENIs and environments: what happens on the host and by the
//! passing of time, rather than because somebody asked.
//!
//! A version of a function *needs* one `EniGroup` for each of its subnets. It is made
//! ready (`version`) by reserving those groups (`groups`), which makes the ones that
//! are missing with an ENI each; the host programs the ENIs and tells so (`eni`), and
//! once every group has one that is active, the version goes over to them, and its
//! environments with it (`environments`). A group is kept by the versions that refer to
//! it; with the last one it goes, and its ENIs drain.
//!
//! A key (subnet, security-group set) that is wanted again while its old ENI drains gets a
//! new group and a new ENI: a draining ENI never comes back, so what the data plane takes
//! down stays down.

mod eni;
mod environments;
mod groups;
mod reason;
mod usage;
mod version;

#[cfg(test)]
pub(super) mod tests;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use eni::may_delete_interface;
pub use environments::AttachEnvironment;
pub use usage::{Usage, used_by};
pub(super) use version::{changeable, create, refusal, remove, update, used};

use super::{
    Answer, ApiError, Context, Id, Record, Settings, State, Time, Transaction, ec2,
    resource::DeliveryError,
};
use reason::Reason;

/// What the host and the clock tell. Whoever can send one is the agent itself: ENIs are
/// meant whichever account they are of.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "Action", rename_all_fields = "PascalCase", deny_unknown_fields)]
pub enum Event {
    /// The kernel knows an ENI: it takes flows.
    EniProgrammed {
        /// Which.
        network_interface_id: Id,
    },
    /// The kernel will not know an ENI.
    EniFailed {
        /// Which.
        network_interface_id: Id,
        /// Why: a `StateReasonCode` of Lambda's.
        code: String,
        /// Why, as a sentence.
        reason: String,
    },
    /// An ENI has 80 % of its connections: tell it early, so that a burst finds room.
    /// May be repeated.
    EniHighWater {
        /// Which.
        network_interface_id: Id,
    },
    /// An ENI has fewer than that again.
    EniLowWater {
        /// Which.
        network_interface_id: Id,
    },
    /// An ENI has had no connection for a while.
    EniIdle {
        /// Which.
        network_interface_id: Id,
    },
    /// The kernel has drained and forgotten an ENI.
    EniForgotten {
        /// Which.
        network_interface_id: Id,
    },
    /// An environment starts.
    AttachEnvironment(AttachEnvironment),
    /// An environment ends.
    DetachEnvironment {
        /// Which.
        environment_id: Id,
    },
    /// Records of a flow log were delivered, or could not be.
    FlowLogDelivery {
        /// Which.
        flow_log_id: Id,
        /// Why they could not be.
        error: Option<DeliveryError>,
    },
    /// Time has passed.
    Tick,
}

/// Takes note of it.
pub fn decide(
    transaction: &mut Transaction<'_>,
    event: &Event,
    context: &mut Context,
) -> Result<Answer, ApiError> {
    match event {
        Event::EniProgrammed {
            network_interface_id: id,
        } => eni::programmed(transaction, id, context)?,
        Event::EniFailed {
            network_interface_id: id,
            code,
            reason,
        } => {
            let reason = Reason::new(code, reason);
            eni::failed(transaction, id, &reason, context)?;
        }
        Event::EniHighWater {
            network_interface_id: id,
        } => eni::high_water(transaction, id, context)?,
        Event::EniLowWater {
            network_interface_id: id,
        } => eni::low_water(transaction, id)?,
        Event::EniIdle {
            network_interface_id: id,
        } => eni::idle(transaction, id, context)?,
        Event::EniForgotten {
            network_interface_id: id,
        } => eni::forgotten(transaction, id, context)?,
        Event::AttachEnvironment(attach) => {
            return environments::attach(transaction, attach, context);
        }
        Event::DetachEnvironment { environment_id } => {
            environments::detach(transaction, environment_id, context)?;
        }
        Event::FlowLogDelivery { flow_log_id, error } => {
            ec2::edge::delivered(transaction, flow_log_id, error.clone());
        }
        Event::Tick => {
            ec2::edge::tick(transaction, context);
            version::idle(transaction, context);
            eni::delete_released(transaction);
        }
    }
    Ok(Ok(json!({})))
}

/// When the next [`Event::Tick`] is due: perhaps at once. Looks at every version and ENI.
pub fn next_tick(state: &State, settings: &Settings) -> Option<Time> {
    if eni::deletable(state).next().is_some() {
        return Some(Time::default());
    }
    let dues = [
        version::next_idle(state, settings),
        ec2::edge::next_tick(state, settings),
    ];
    dues.into_iter().flatten().min()
}

/// A resource as the API shows it.
pub fn shown(_state: &State, record: &Record) -> Value {
    record.to_value().unwrap_or_default()
}
