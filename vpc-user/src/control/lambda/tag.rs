//! Tags of functions.

use serde_json::{Value, json};

use super::{TagResource, UntagResource, authorize, errors, name};
use crate::control::{
    ApiError, Context, Settings, Tags, Transaction, iam,
    resource::{Function, FunctionState, UpdateStatus},
};
use crate::control::{Resource, State};

/// Whether tags are not too many, and of the form that AWS allows.
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-tags.html>
pub fn check(tags: &Tags, settings: &Settings) -> Result<(), ApiError> {
    if tags.len() > settings.tags_per_resource as usize {
        return Err(errors::invalid(
            "Number of tags exceeds function tag limit.",
        ));
    }
    for (key, value) in tags {
        if !matches!(key.chars().count(), 1..=128) || key.starts_with("aws:") {
            let constraint = "Member must have length between 1 and 128, and not begin with aws:";
            return Err(errors::validation(key, "tags", constraint));
        }
        if value.chars().count() > 256 {
            let constraint = "Member must have length less than or equal to 256";
            return Err(errors::validation(value, "tags", constraint));
        }
    }
    Ok(())
}

/// The function of an ARN, if its tags may be changed by the caller and at this time.
fn taggable(
    state: &State,
    arn: &str,
    action: &str,
    context: &Context,
) -> Result<Function, ApiError> {
    let caller = &context.caller;
    let named = name::parse(arn, None, caller.account, &context.settings)?;
    if named.qualifier.is_some() || !arn.starts_with("arn:") {
        return Err(errors::invalid(
            "Tags on function aliases and versions are not supported. Please specify either a \
             function ARN or an event source mapping ARN.",
        ));
    }
    authorize(state, caller, action, &named.arn, &iam::Keys::new())?;
    let function = name::latest(state, &named, caller.account)?;
    if function.state == FunctionState::Pending {
        return Err(errors::in_state(function));
    }
    if function.last_update_status == Some(UpdateStatus::InProgress) {
        return Err(errors::update_in_progress(function));
    }
    Ok(function.clone())
}

/// `TagResource`.
pub fn tag(
    transaction: &mut Transaction<'_>,
    request: &TagResource,
    context: &mut Context,
) -> Result<Value, ApiError> {
    let function = taggable(transaction, &request.resource, "TagResource", context)?;
    let mut tags = function.tags.clone();
    tags.extend(request.tags.clone());
    check(&tags, &context.settings)?;
    put(transaction, &function, tags, context);
    Ok(json!({}))
}

/// `UntagResource`.
pub fn untag(
    transaction: &mut Transaction<'_>,
    request: &UntagResource,
    context: &mut Context,
) -> Result<Value, ApiError> {
    let function = taggable(transaction, &request.resource, "UntagResource", context)?;
    let mut tags = function.tags.clone();
    tags.retain(|key, _| !request.tag_keys.contains(key));
    put(transaction, &function, tags, context);
    Ok(json!({}))
}

fn put(transaction: &mut Transaction<'_>, function: &Function, tags: Tags, context: &mut Context) {
    transaction.update(&function.id(), |function: &mut Function| {
        function.tags = tags;
        function.revision_id = context.entropy.uuid();
    });
}
