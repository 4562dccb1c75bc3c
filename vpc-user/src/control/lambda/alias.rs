//! Aliases: names of versions, which hold no ENI.

use serde_json::{Value, json};

use super::{
    CreateAlias, DeleteAlias, Named, RoutingConfig, UpdateAlias, alias_configuration, authorize,
    errors, name,
};
use crate::control::{
    ApiError, Context, Key, State, Transaction, iam,
    resource::{Alias, Function, LATEST},
};

/// Finds the function of an alias, and asks whether the caller may.
fn function_of(
    state: &State,
    function_name: &str,
    action: &str,
    context: &Context,
) -> Result<Named, ApiError> {
    let caller = &context.caller;
    let named = name::parse_unqualified(function_name, caller.account, &context.settings)?;
    authorize(state, caller, action, &named.arn, &iam::Keys::new())?;
    name::latest(state, &named, caller.account)?;
    Ok(named)
}

/// `CreateAlias`.
pub fn create(
    transaction: &mut Transaction<'_>,
    request: &CreateAlias,
    context: &mut Context,
) -> Result<Value, ApiError> {
    let named = function_of(transaction, &request.function_name, "CreateAlias", context)?;
    let name = request.name.as_str();
    if !name::is_word(name, 128) || name.bytes().all(|byte| byte.is_ascii_digit()) {
        let pattern = "Member must satisfy regular expression pattern: \
                       (?!^[0-9]+$)([a-zA-Z0-9-_]+)";
        return Err(errors::validation(name, "name", pattern));
    }
    let account = context.caller.account;
    let id = Function::id_of(account, &named.name, name);
    if transaction.get::<Alias>(&id).is_some() {
        let message = format!("Alias already exists: {}:{name}", named.arn);
        return Err(errors::conflict(message));
    }
    let routing = request.routing_config.clone().unwrap_or_default();
    let alias = Alias {
        name: name.to_owned(),
        owner_id: account,
        region: context.settings.region.clone(),
        function_name: named.name.clone(),
        function_version: request.function_version.clone(),
        additional_version_weights: routing.additional_version_weights,
        description: request.description.clone().unwrap_or_default(),
        revision_id: context.entropy.uuid(),
    };
    check(transaction, &alias, &named)?;
    let shown = alias_configuration(&alias);
    transaction.put(alias);
    Ok(shown)
}

/// `UpdateAlias`.
pub fn update(
    transaction: &mut Transaction<'_>,
    request: &UpdateAlias,
    context: &mut Context,
) -> Result<Value, ApiError> {
    let named = function_of(transaction, &request.function_name, "UpdateAlias", context)?;
    let id = Function::id_of(context.caller.account, &named.name, &request.name);
    let Some(mut alias) = transaction.get::<Alias>(&id).cloned() else {
        let message = format!("Alias not found: {}:{}", named.arn, request.name);
        return Err(errors::missing(message));
    };
    let wanted = request.revision_id.as_ref();
    if wanted.is_some_and(|wanted| *wanted != alias.revision_id) {
        return Err(errors::precondition_failed());
    }
    if let Some(version) = &request.function_version {
        alias.function_version.clone_from(version);
    }
    if let Some(description) = &request.description {
        alias.description.clone_from(description);
    }
    if let Some(RoutingConfig {
        additional_version_weights,
    }) = &request.routing_config
    {
        alias
            .additional_version_weights
            .clone_from(additional_version_weights);
    }
    alias.revision_id = context.entropy.uuid();
    check(transaction, &alias, &named)?;
    let shown = alias_configuration(&alias);
    transaction.put(alias);
    Ok(shown)
}

/// Whether an alias leads somewhere: to one version, or to two published ones.
fn check(state: &State, alias: &Alias, named: &Named) -> Result<(), ApiError> {
    let length = alias.description.chars().count();
    if length > 256 {
        let constraint = "Member must have length less than or equal to 256";
        return Err(errors::validation(
            &alias.description,
            "description",
            constraint,
        ));
    }
    let main = alias.function_version.as_str();
    let weights = &alias.additional_version_weights;
    if weights.len() > 1 {
        return Err(errors::invalid(
            "Number of items in AdditionalVersionWeights cannot be greater than 1",
        ));
    }
    for (version, weight) in weights {
        if !(0.0..=1.0).contains(weight) {
            let value = format!("{{{version}={weight}}}");
            let member = "routingConfig.additionalVersionWeights";
            let constraint = "Map value must satisfy constraint: [Member must have value less \
                              than or equal to 1.0, Member must have value greater than or equal \
                              to 0.0, Member must not be null]";
            return Err(errors::validation(&value, member, constraint));
        }
        if version == main {
            let message = format!(
                "Invalid function version {version}. Function version {version} is already \
                 included in routing configuration."
            );
            return Err(errors::invalid(message));
        }
        if [version, main].contains(&LATEST) {
            return Err(errors::invalid(
                "$LATEST is not supported for an alias pointing to more than 1 version",
            ));
        }
    }
    let versions = weights.keys().map(String::as_str).chain([main]);
    for version in versions {
        let id = Function::id_of(alias.owner_id, &alias.function_name, version);
        if state.get::<Function>(&id).is_none() {
            let arn = format!("{}:{version}", named.arn);
            return Err(errors::no_function(&arn));
        }
    }
    Ok(())
}

/// `DeleteAlias`. One that is not there is none any more either.
pub fn delete(
    transaction: &mut Transaction<'_>,
    request: &DeleteAlias,
    context: &mut Context,
) -> Result<Value, ApiError> {
    let named = function_of(transaction, &request.function_name, "DeleteAlias", context)?;
    let id = Function::id_of(context.caller.account, &named.name, &request.name);
    transaction.remove(Key::of::<Alias>(id));
    Ok(json!({}))
}
