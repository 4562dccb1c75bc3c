//! Functions and aliases as the API shows them.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use crate::control::{
    Time,
    resource::{Alias, Function, FunctionState, LATEST, UpdateStatus, VpcConfig},
};

/// <https://docs.aws.amazon.com/lambda/latest/api/API_FunctionConfiguration.html>
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Configuration<'f> {
    function_name: &'f str,
    function_arn: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    runtime: Option<&'f str>,
    role: &'f str,
    #[serde(skip_serializing_if = "Option::is_none")]
    handler: Option<&'f str>,
    code_size: u64,
    description: &'f str,
    timeout: u32,
    memory_size: u32,
    last_modified: String,
    code_sha256: &'f str,
    version: &'f str,
    #[serde(skip_serializing_if = "Option::is_none")]
    vpc_config: Option<&'f VpcConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<Variables<'f>>,
    package_type: &'f str,
    architectures: &'f [String],
    revision_id: &'f str,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    progress: Option<Progress<'f>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Variables<'f> {
    variables: &'f BTreeMap<String, String>,
}

/// What a list leaves out.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Progress<'f> {
    state: FunctionState,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_reason: Option<&'f str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_reason_code: Option<&'f str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_update_status: Option<UpdateStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_update_status_reason: Option<&'f str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_update_status_reason_code: Option<&'f str>,
}

/// A version as `GetFunctionConfiguration` shows it, or as a list does. The ARN is the
/// qualified one, except of [`LATEST`]: who asked with a qualifier, or for
/// `FunctionVersion=ALL`, puts [`Function::qualified_arn`] in its place.
pub fn configuration(function: &Function, is_listed: bool) -> Value {
    let settings = &function.settings;
    let environment = &settings.environment;
    let shown = Configuration {
        function_name: &function.function_name,
        function_arn: if function.version == LATEST {
            function.unqualified_arn()
        } else {
            function.qualified_arn()
        },
        runtime: settings.runtime.as_deref(),
        role: &function.role,
        handler: settings.handler.as_deref(),
        code_size: settings.code_size,
        description: &settings.description,
        timeout: settings.timeout,
        memory_size: settings.memory_size,
        last_modified: last_modified(function.last_modified),
        code_sha256: &settings.code_sha256,
        version: &function.version,
        vpc_config: function.vpc_config.as_ref(),
        environment: (!environment.is_empty()).then_some(Variables {
            variables: environment,
        }),
        package_type: &settings.package_type,
        architectures: &settings.architectures,
        revision_id: &function.revision_id,
        progress: (!is_listed).then(|| progress(function)),
    };
    serde_json::to_value(shown).unwrap_or_default()
}

fn progress(function: &Function) -> Progress<'_> {
    Progress {
        state: function.state,
        state_reason: function.state_reason.as_deref(),
        state_reason_code: function.state_reason_code.as_deref(),
        last_update_status: function.last_update_status,
        last_update_status_reason: function.last_update_status_reason.as_deref(),
        last_update_status_reason_code: function.last_update_status_reason_code.as_deref(),
    }
}

/// A version as `GetFunction` shows it; the code itself is not kept here.
pub fn get_function(function: &Function) -> Value {
    let repository = match function.settings.package_type.as_str() {
        "Image" => "ECR",
        _ => "S3",
    };
    let mut shown = json!({
        "Configuration": configuration(function, false),
        "Code": { "RepositoryType": repository, "Location": "" },
    });
    if !function.tags.is_empty() {
        shown["Tags"] = json!(function.tags);
    }
    shown
}

/// An alias as `GetAlias` shows it.
pub fn alias_configuration(alias: &Alias) -> Value {
    let mut shown = json!({
        "AliasArn": alias.arn(),
        "Name": alias.name,
        "FunctionVersion": alias.function_version,
        "Description": alias.description,
        "RevisionId": alias.revision_id,
    });
    let weights = &alias.additional_version_weights;
    if !weights.is_empty() {
        shown["RoutingConfig"] = json!({ "AdditionalVersionWeights": weights });
    }
    shown
}

/// A moment in the form of Lambda's API: `2024-02-29T12:30:00.000+0000`.
pub fn last_modified(time: Time) -> String {
    time.to_string().replace('Z', "+0000")
}
