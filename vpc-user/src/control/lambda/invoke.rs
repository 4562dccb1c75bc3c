//! Invocations, as far as they have a part in the life of a function.

use serde_json::json;

use super::{InvocationType, Invoke, authorize, name};
use crate::control::{Answer, ApiError, Context, Resource, Transaction, iam, life};

/// `Invoke`: whether the function may be invoked now. An inactive one may not, and is
/// restored by that.
pub fn invoke(
    transaction: &mut Transaction<'_>,
    request: &Invoke,
    context: &mut Context,
) -> Result<Answer, ApiError> {
    let caller = &context.caller;
    let account = caller.account;
    let qualifier = request.qualifier.as_deref();
    let settings = &context.settings;
    let named = name::parse(&request.function_name, qualifier, account, settings)?;
    let keys = iam::Keys::new();
    authorize(
        transaction,
        caller,
        "InvokeFunction",
        &named.full_arn(),
        &keys,
    )?;
    let draw = context.entropy.next_u64();
    let function = name::resolve(transaction, &named, account, draw)?.clone();
    if request.invocation_type == InvocationType::DryRun {
        return Ok(Ok(json!({ "StatusCode": 204 })));
    }
    if let Some(error) = life::refusal(transaction, &function, context) {
        return Ok(Err(error));
    }
    life::used(transaction, &function.id(), context.now);
    let status = match request.invocation_type {
        InvocationType::Event => 202,
        InvocationType::RequestResponse | InvocationType::DryRun => 200,
    };
    Ok(Ok(json!({
        "StatusCode": status,
        "ExecutedVersion": function.version,
    })))
}
