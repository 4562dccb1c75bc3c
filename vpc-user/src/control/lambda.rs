//! Lambda: functions, versions and aliases.
//!
//! What is asked for is checked here; what becomes of a version then, and of the Hyperplane
//! ENIs it needs, is decided in [`life`](super::life).

mod alias;
pub(super) mod errors;
mod function;
mod invoke;
pub(super) mod name;
mod request;
mod role;
mod show;
mod tag;
mod version;
mod vpc;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use name::{Named, parse as parse_name, resolve};
pub use request::*;
pub use show::{alias_configuration, configuration, get_function, last_modified};

use super::{Answer, ApiError, Caller, Context, Record, State, Transaction, iam};

/// What may be asked.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "Action")]
#[expect(
    missing_docs,
    reason = "each is the action of AWS's API that it is called"
)]
pub enum Action {
    CreateFunction(Box<CreateFunction>),
    UpdateFunctionConfiguration(Box<UpdateFunctionConfiguration>),
    UpdateFunctionCode(UpdateFunctionCode),
    PublishVersion(PublishVersion),
    DeleteFunction(DeleteFunction),
    CreateAlias(CreateAlias),
    UpdateAlias(UpdateAlias),
    DeleteAlias(DeleteAlias),
    TagResource(TagResource),
    UntagResource(UntagResource),
    Invoke(Invoke),
}

/// Carries it out.
pub fn decide(
    transaction: &mut Transaction<'_>,
    action: &Action,
    context: &mut Context,
) -> Result<Answer, ApiError> {
    match action {
        Action::CreateFunction(request) => function::create(transaction, request, context).map(Ok),
        Action::UpdateFunctionConfiguration(request) => {
            function::update_configuration(transaction, request, context)
        }
        Action::UpdateFunctionCode(request) => function::update_code(transaction, request, context),
        Action::PublishVersion(request) => version::publish(transaction, request, context),
        Action::DeleteFunction(request) => version::delete(transaction, request, context).map(Ok),
        Action::CreateAlias(request) => alias::create(transaction, request, context).map(Ok),
        Action::UpdateAlias(request) => alias::update(transaction, request, context).map(Ok),
        Action::DeleteAlias(request) => alias::delete(transaction, request, context).map(Ok),
        Action::TagResource(request) => tag::tag(transaction, request, context).map(Ok),
        Action::UntagResource(request) => tag::untag(transaction, request, context).map(Ok),
        Action::Invoke(request) => invoke::invoke(transaction, request, context),
    }
}

/// A resource as the API shows it: a function as `GetFunction` does, an alias as
/// `GetAlias`.
pub fn shown(_state: &State, record: &Record) -> Value {
    match record {
        Record::Function(function) => get_function(function),
        Record::Alias(alias) => alias_configuration(alias),
        _ => Value::Null,
    }
}

/// Whether a caller may perform an action of Lambda's on a function.
fn authorize(
    state: &State,
    caller: &Caller,
    action: &str,
    arn: &str,
    keys: &iam::Keys,
) -> Result<(), ApiError> {
    let action = format!("lambda:{action}");
    iam::authorize(state, caller, &action, arn, keys)
        .map_err(|denied| errors::access_denied(denied.to_string()))
}
