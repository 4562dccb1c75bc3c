//! Commands: what may be asked of the control plane.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    ApiError, Context, Kind, Record, Settings, State, Time, Transaction, ec2, iam, lambda, life,
};

/// What may be asked, by the names of AWS's APIs: in JSON `Service`, `Action` and the
/// members of the action.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "Service", rename_all = "lowercase")]
pub enum Command {
    /// Networks.
    Ec2(ec2::Action),
    /// Functions.
    Lambda(lambda::Action),
    /// Roles.
    Iam(iam::Action),
    /// What happened on this host, and the passing of time.
    Life(life::Event),
}

/// What is answered to a command that was carried out, in the shape of AWS's. It may be
/// an error: an invocation of an inactive function fails, and starts its restoration.
pub type Answer = Result<Value, ApiError>;

/// Carries a command out in a transaction. `Ok`: commit, then answer. `Err`: refused, the
/// transaction is to be dropped.
pub fn decide(
    transaction: &mut Transaction<'_>,
    command: &Command,
    context: &mut Context,
) -> Result<Answer, ApiError> {
    match command {
        Command::Ec2(action) => ec2::decide(transaction, action, context).map(Ok),
        Command::Lambda(action) => lambda::decide(transaction, action, context),
        Command::Iam(action) => iam::decide(transaction, action, context).map(Ok),
        Command::Life(event) => life::decide(transaction, event, context),
    }
}

/// A resource as the API that it belongs to shows it.
pub fn shown(state: &State, record: &Record) -> Value {
    match record.key().kind {
        Kind::Function | Kind::Alias => lambda::shown(state, record),
        Kind::Role => iam::shown(state, record),
        Kind::Environment | Kind::EniGroup => life::shown(state, record),
        _ => ec2::shown(state, record),
    }
}

/// When the next [`life::Event::Tick`] is due: perhaps at once.
pub fn next_tick(state: &State, settings: &Settings) -> Option<Time> {
    life::next_tick(state, settings)
}
