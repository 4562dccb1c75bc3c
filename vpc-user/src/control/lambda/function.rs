//! Functions: created and updated.

use serde_json::Value;

use super::{
    CreateFunction, UpdateFunctionCode, UpdateFunctionConfiguration, authorize, configuration,
    errors, name, role, tag, version, vpc,
};
use crate::control::{
    Answer, ApiError, Context, Transaction, iam, life,
    resource::{Function, FunctionSettings, FunctionState, LATEST},
};

/// `CreateFunction`.
pub fn create(
    transaction: &mut Transaction<'_>,
    request: &CreateFunction,
    context: &mut Context,
) -> Result<Value, ApiError> {
    let caller = &context.caller;
    let account = caller.account;
    let named = name::parse_unqualified(&request.function_name, account, &context.settings)?;
    let settings = settings_of(request);
    check_settings(&settings)?;
    tag::check(&request.tags, &context.settings)?;
    let vpc_config = vpc::merged(transaction, caller, None, request.vpc_config.as_ref())?;
    let keys = vpc::keys(vpc_config.as_ref());
    authorize(transaction, caller, "CreateFunction", &named.arn, &keys)?;
    if name::latest(transaction, &named, account).is_ok() {
        let message = format!("Function already exist: {}", named.name);
        return Err(errors::conflict(message));
    }
    role::check(transaction, account, &request.role, vpc_config.is_some())?;
    let function = Function {
        function_name: named.name.clone(),
        owner_id: account,
        region: context.settings.region.clone(),
        version: LATEST.to_owned(),
        role: request.role.clone(),
        vpc_config,
        state: FunctionState::Pending,
        state_reason: None,
        state_reason_code: None,
        last_update_status: None,
        last_update_status_reason: None,
        last_update_status_reason_code: None,
        revision_id: String::new(),
        last_modified: context.now,
        settings,
        eni_groups: Vec::new(),
        next_eni_groups: None,
        waiting_since: None,
        previous: None,
        last_used: context.now,
        next_version: 1,
        tags: request.tags.clone(),
    };
    let mut shown = life::create(transaction, function, context);
    if request.publish {
        let latest = name::latest(transaction, &named, account)?.clone();
        shown = version::publish_now(transaction, &latest, None, context);
    }
    Ok(configuration(&shown, false))
}

fn settings_of(request: &CreateFunction) -> FunctionSettings {
    let or =
        |given: &Option<String>, default: &str| given.clone().unwrap_or_else(|| default.to_owned());
    let architectures = request.architectures.clone();
    let environment = request.environment.clone().unwrap_or_default();
    FunctionSettings {
        description: or(&request.description, ""),
        package_type: or(&request.package_type, "Zip"),
        runtime: request.runtime.clone(),
        handler: request.handler.clone(),
        memory_size: request.memory_size.unwrap_or(128),
        timeout: request.timeout.unwrap_or(3),
        code_sha256: request.code.code_sha256.clone(),
        code_size: request.code.code_size,
        architectures: architectures.unwrap_or_else(|| vec!["x86_64".to_owned()]),
        environment: environment.variables,
    }
}

/// Whether settings are within the limits of the API's model.
fn check_settings(settings: &FunctionSettings) -> Result<(), ApiError> {
    let range = |value: u32, member, least: u32, most: u32| {
        let constraint = if value < least {
            format!("Member must have value greater than or equal to {least}")
        } else if value > most {
            format!("Member must have value less than or equal to {most}")
        } else {
            return Ok(());
        };
        Err(errors::validation(&value.to_string(), member, &constraint))
    };
    range(settings.memory_size, "memorySize", 128, 10_240)?;
    range(settings.timeout, "timeout", 1, 900)?;
    let one_of = |value: &String, member, words: &[&str]| {
        if words.contains(&value.as_str()) {
            return Ok(());
        }
        let words = words.join(", ");
        let constraint = format!("Member must satisfy enum value set: [{words}]");
        Err(errors::validation(value, member, &constraint))
    };
    one_of(&settings.package_type, "packageType", &["Zip", "Image"])?;
    for architecture in &settings.architectures {
        one_of(architecture, "architectures", &["x86_64", "arm64"])?;
    }
    let texts = [
        (Some(&settings.description), "description", 256),
        (settings.runtime.as_ref(), "runtime", 128),
        (settings.handler.as_ref(), "handler", 128),
    ];
    for (text, member, most) in texts {
        let Some(text) = text.filter(|text| text.chars().count() > most) else {
            continue;
        };
        let constraint = format!("Member must have length less than or equal to {most}");
        return Err(errors::validation(text, member, &constraint));
    }
    let variables = settings.environment.iter();
    let bytes: usize = variables
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if bytes > 4_096 {
        return Err(errors::invalid(
            "Lambda was unable to configure your environment variables because the environment \
             variables you have provided exceeded the 4KB limit.",
        ));
    }
    Ok(())
}

/// `UpdateFunctionConfiguration`.
pub fn update_configuration(
    transaction: &mut Transaction<'_>,
    request: &UpdateFunctionConfiguration,
    context: &mut Context,
) -> Result<Answer, ApiError> {
    let caller = &context.caller;
    let account = caller.account;
    let named = name::parse_unqualified(&request.function_name, account, &context.settings)?;
    let before = name::latest(transaction, &named, account)?.clone();
    let stored = before.vpc_config.as_ref();
    let vpc_config = vpc::merged(transaction, caller, stored, request.vpc_config.as_ref())?;
    let keys = vpc::keys(vpc_config.as_ref());
    let action = "UpdateFunctionConfiguration";
    authorize(transaction, caller, action, &named.arn, &keys)?;
    check_revision(&before, request.revision_id.as_deref())?;

    let mut after = Function {
        vpc_config,
        last_modified: context.now,
        ..before.clone()
    };
    change_settings(&mut after.settings, request);
    check_settings(&after.settings)?;
    if let Some(role) = &request.role {
        after.role.clone_from(role);
    }
    if request.role.is_some() || request.vpc_config.is_some() {
        let is_attached = after.attachment().is_some();
        role::check(transaction, account, &after.role, is_attached)?;
    }
    if let Some(error) = life::changeable(transaction, &before, context) {
        return Ok(Err(error));
    }
    let shown = life::update(transaction, &before, after, context);
    Ok(Ok(configuration(&shown, false)))
}

fn change_settings(settings: &mut FunctionSettings, request: &UpdateFunctionConfiguration) {
    if let Some(description) = &request.description {
        settings.description.clone_from(description);
    }
    if request.runtime.is_some() {
        settings.runtime.clone_from(&request.runtime);
    }
    if request.handler.is_some() {
        settings.handler.clone_from(&request.handler);
    }
    if let Some(environment) = &request.environment {
        settings.environment.clone_from(&environment.variables);
    }
    settings.memory_size = request.memory_size.unwrap_or(settings.memory_size);
    settings.timeout = request.timeout.unwrap_or(settings.timeout);
}

/// `UpdateFunctionCode`.
pub fn update_code(
    transaction: &mut Transaction<'_>,
    request: &UpdateFunctionCode,
    context: &mut Context,
) -> Result<Answer, ApiError> {
    let caller = &context.caller;
    let account = caller.account;
    let named = name::parse_unqualified(&request.function_name, account, &context.settings)?;
    let before = name::latest(transaction, &named, account)?.clone();
    let keys = iam::Keys::new();
    authorize(transaction, caller, "UpdateFunctionCode", &named.arn, &keys)?;
    check_revision(&before, request.revision_id.as_deref())?;

    let mut after = Function {
        last_modified: context.now,
        ..before.clone()
    };
    after.settings.code_sha256.clone_from(&request.code_sha256);
    after.settings.code_size = request.code_size;
    if let Some(architectures) = &request.architectures {
        after.settings.architectures.clone_from(architectures);
    }
    check_settings(&after.settings)?;
    if request.dry_run {
        return Ok(Ok(configuration(&after, false)));
    }
    if let Some(error) = life::changeable(transaction, &before, context) {
        return Ok(Err(error));
    }
    let mut shown = life::update(transaction, &before, after, context);
    if request.publish {
        let latest = name::latest(transaction, &named, account)?.clone();
        shown = version::publish_now(transaction, &latest, None, context);
    }
    Ok(Ok(configuration(&shown, false)))
}

/// Whether somebody who names a revision has seen the newest one.
pub fn check_revision(function: &Function, wanted: Option<&str>) -> Result<(), ApiError> {
    if wanted.is_some_and(|wanted| wanted != function.revision_id) {
        return Err(errors::precondition_failed());
    }
    Ok(())
}
