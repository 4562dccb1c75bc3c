//! Versions: published, and deleted alone or with all of their function.

use serde_json::{Value, json};

use super::{
    DeleteFunction, PublishVersion, authorize, configuration, errors, function::check_revision,
    name,
};
use crate::control::{
    Answer, ApiError, Context, Key, Transaction, iam, life,
    record::Typed,
    resource::{Alias, Function, FunctionSettings, FunctionState, LATEST},
};
use crate::control::{Resource, State};

/// `PublishVersion`. Nothing has changed since the last version: that one is the answer.
pub fn publish(
    transaction: &mut Transaction<'_>,
    request: &PublishVersion,
    context: &mut Context,
) -> Result<Answer, ApiError> {
    let caller = &context.caller;
    let account = caller.account;
    let named = name::parse_unqualified(&request.function_name, account, &context.settings)?;
    let latest = name::latest(transaction, &named, account)?.clone();
    let keys = iam::Keys::new();
    authorize(transaction, caller, "PublishVersion", &named.arn, &keys)?;
    check_revision(&latest, request.revision_id.as_deref())?;
    let present = &latest.settings.code_sha256;
    if let Some(wanted) = &request.code_sha256
        && wanted != present
    {
        let message = format!(
            "CodeSHA256 ({wanted}) is different from current CodeSHA256 in $LATEST ({present}). \
             Please try again with the CodeSHA256 in $LATEST."
        );
        return Err(errors::invalid(message));
    }
    if let Some(error) = life::changeable(transaction, &latest, context) {
        return Ok(Err(error));
    }
    if latest.state == FunctionState::Failed {
        return Err(errors::in_state(&latest));
    }
    let description = request.description.as_deref();
    let shown = publish_now(transaction, &latest, description, context);
    Ok(Ok(configuration(&shown, false)))
}

/// Freezes [`LATEST`] as the next version, which needs the same groups on its own account.
pub fn publish_now(
    transaction: &mut Transaction<'_>,
    latest: &Function,
    description: Option<&str>,
    context: &mut Context,
) -> Function {
    if let Some(last) = unchanged(transaction, latest) {
        return last.clone();
    }
    let mut version = Function {
        version: latest.next_version.to_string(),
        last_update_status: None,
        last_update_status_reason: None,
        last_update_status_reason_code: None,
        eni_groups: Vec::new(),
        next_eni_groups: None,
        waiting_since: None,
        previous: None,
        last_used: context.now,
        next_version: 0,
        tags: Default::default(),
        ..latest.clone()
    };
    if let Some(description) = description {
        version.settings.description = description.to_owned();
    }
    transaction.update(&latest.id(), |latest: &mut Function| {
        latest.next_version = latest.next_version.saturating_add(1);
    });
    life::create(transaction, version, context)
}

/// The last version, if it is as [`LATEST`] is, its description aside.
fn unchanged<'s>(state: &'s State, latest: &Function) -> Option<&'s Function> {
    let number = latest.next_version.checked_sub(1)?.to_string();
    let id = Function::id_of(latest.owner_id, &latest.function_name, &number);
    let last = state.get::<Function>(&id)?;
    let described = FunctionSettings {
        description: latest.settings.description.clone(),
        ..last.settings.clone()
    };
    let is_same = last.role == latest.role
        && last.vpc_config == latest.vpc_config
        && described == latest.settings
        && last.state != FunctionState::Failed;
    is_same.then_some(last)
}

/// `DeleteFunction`. With a version: that one, unless an alias refers to it; else all
/// versions and aliases.
pub fn delete(
    transaction: &mut Transaction<'_>,
    request: &DeleteFunction,
    context: &mut Context,
) -> Result<Value, ApiError> {
    let caller = &context.caller;
    let account = caller.account;
    let qualifier = request.qualifier.as_deref();
    let settings = &context.settings;
    let named = name::parse(&request.function_name, qualifier, account, settings)?;
    let keys = iam::Keys::new();
    let arn = named.full_arn();
    authorize(transaction, caller, "DeleteFunction", &arn, &keys)?;
    let latest = name::latest(transaction, &named, account)?.id();
    match named.qualifier.as_deref() {
        None => {
            let to = Key::of::<Function>(latest.as_str());
            let versions = ids_of_referring::<Function>(transaction, &to);
            for id in versions.iter().chain([&latest]) {
                let to = Key::of::<Function>(id.as_str());
                for alias in ids_of_referring::<Alias>(transaction, &to) {
                    transaction.remove(Key::of::<Alias>(alias));
                }
                life::remove(transaction, id, context);
            }
        }
        Some(LATEST) => {
            return Err(errors::invalid(
                "$LATEST version cannot be deleted without deleting the function.",
            ));
        }
        Some(version) => {
            let id = Function::id_of(account, &named.name, version);
            if transaction.get::<Alias>(&id).is_some() {
                let message = "Deletion of aliases is not currently supported.";
                return Err(errors::invalid(message));
            }
            if transaction.get::<Function>(&id).is_none() {
                return Err(errors::no_function(&arn));
            }
            let to = Key::of::<Function>(id.as_str());
            let aliases = transaction.referring::<Alias>(&to);
            let aliases: Vec<&str> = aliases.map(|alias| alias.name.as_str()).collect();
            if !aliases.is_empty() {
                let message = format!(
                    "Unable to delete version because the following aliases reference it: [{}]",
                    aliases.join(", ")
                );
                return Err(errors::conflict(message));
            }
            life::remove(transaction, &id, context);
        }
    }
    Ok(json!({}))
}

fn ids_of_referring<T: Typed>(state: &State, to: &Key) -> Vec<String> {
    state.referring::<T>(to).map(Resource::id).collect()
}
