//! Requests, with the members of AWS's API that mean something here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::control::Tags;

/// The VPC that a function is to be attached to.
/// <https://docs.aws.amazon.com/lambda/latest/api/API_VpcConfig.html>
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
pub struct VpcConfigRequest {
    /// `None`: as before.
    pub subnet_ids: Option<Vec<String>>,
    /// `None`: as before.
    pub security_group_ids: Option<Vec<String>>,
    /// `None`: as before.
    pub ipv6_allowed_for_dual_stack: Option<bool>,
}

/// Environment variables.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
pub struct EnvironmentRequest {
    /// Name → value.
    pub variables: BTreeMap<String, String>,
}

/// The code of a function. It is not kept here: whoever has it says its hash and size.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
pub struct Code {
    /// Where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s3_bucket: Option<String>,
    /// Where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s3_key: Option<String>,
    /// Which of those.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s3_object_version: Option<String>,
    /// Where the image is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_uri: Option<String>,
    /// Ours: its SHA-256 in Base64.
    pub code_sha256: String,
    /// Ours: bytes.
    pub code_size: u64,
}

/// <https://docs.aws.amazon.com/lambda/latest/api/API_CreateFunction.html>
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateFunction {
    /// Its name.
    pub function_name: String,
    /// ARN of its execution role.
    pub role: String,
    /// Its code.
    #[serde(default)]
    pub code: Code,
    /// Whether to publish version 1 at once.
    #[serde(default)]
    pub publish: bool,
    /// The VPC.
    #[serde(default)]
    pub vpc_config: Option<VpcConfigRequest>,
    /// What it does.
    #[serde(default)]
    pub description: Option<String>,
    /// `Zip` (default) or `Image`.
    #[serde(default)]
    pub package_type: Option<String>,
    /// `python3.13`, …
    #[serde(default)]
    pub runtime: Option<String>,
    /// What is called.
    #[serde(default)]
    pub handler: Option<String>,
    /// MiB; 128 if none is given.
    #[serde(default)]
    pub memory_size: Option<u32>,
    /// Seconds; 3 if none is given.
    #[serde(default)]
    pub timeout: Option<u32>,
    /// `x86_64` (default) or `arm64`.
    #[serde(default)]
    pub architectures: Option<Vec<String>>,
    /// Environment variables.
    #[serde(default)]
    pub environment: Option<EnvironmentRequest>,
    /// Tags.
    #[serde(default)]
    pub tags: Tags,
}

/// What is absent stays as it is.
/// <https://docs.aws.amazon.com/lambda/latest/api/API_UpdateFunctionConfiguration.html>
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct UpdateFunctionConfiguration {
    /// Which.
    pub function_name: String,
    /// ARN of its execution role.
    #[serde(default)]
    pub role: Option<String>,
    /// The VPC; empty lists detach.
    #[serde(default)]
    pub vpc_config: Option<VpcConfigRequest>,
    /// What it does.
    #[serde(default)]
    pub description: Option<String>,
    /// `python3.13`, …
    #[serde(default)]
    pub runtime: Option<String>,
    /// What is called.
    #[serde(default)]
    pub handler: Option<String>,
    /// MiB.
    #[serde(default)]
    pub memory_size: Option<u32>,
    /// Seconds.
    #[serde(default)]
    pub timeout: Option<u32>,
    /// Environment variables: all of them.
    #[serde(default)]
    pub environment: Option<EnvironmentRequest>,
    /// Only if it is still at that revision.
    #[serde(default)]
    pub revision_id: Option<String>,
}

/// <https://docs.aws.amazon.com/lambda/latest/api/API_UpdateFunctionCode.html>
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct UpdateFunctionCode {
    /// Which.
    pub function_name: String,
    /// Where the code is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3_bucket: Option<String>,
    /// Where the code is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3_key: Option<String>,
    /// Which of those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3_object_version: Option<String>,
    /// Where the image is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_uri: Option<String>,
    /// Ours: the SHA-256 of the code in Base64.
    #[serde(default)]
    pub code_sha256: String,
    /// Ours: bytes.
    #[serde(default)]
    pub code_size: u64,
    /// `x86_64` or `arm64`.
    #[serde(default)]
    pub architectures: Option<Vec<String>>,
    /// Whether to publish a version at once.
    #[serde(default)]
    pub publish: bool,
    /// Whether only to tell what would be.
    #[serde(default)]
    pub dry_run: bool,
    /// Only if it is still at that revision.
    #[serde(default)]
    pub revision_id: Option<String>,
}

/// <https://docs.aws.amazon.com/lambda/latest/api/API_PublishVersion.html>
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct PublishVersion {
    /// Which.
    pub function_name: String,
    /// Only if the code has this hash.
    #[serde(default)]
    pub code_sha256: Option<String>,
    /// In place of the function's.
    #[serde(default)]
    pub description: Option<String>,
    /// Only if it is still at that revision.
    #[serde(default)]
    pub revision_id: Option<String>,
}

/// <https://docs.aws.amazon.com/lambda/latest/api/API_DeleteFunction.html>
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteFunction {
    /// Which.
    pub function_name: String,
    /// One version alone; `None`: all of them, and the aliases.
    #[serde(default)]
    pub qualifier: Option<String>,
}

/// A second version of an alias.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
pub struct RoutingConfig {
    /// The version with its share, 0 to 1.
    pub additional_version_weights: BTreeMap<String, f64>,
}

/// <https://docs.aws.amazon.com/lambda/latest/api/API_CreateAlias.html>
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateAlias {
    /// Of which function.
    pub function_name: String,
    /// Its name.
    pub name: String,
    /// The version.
    pub function_version: String,
    /// What it is for.
    #[serde(default)]
    pub description: Option<String>,
    /// A second version.
    #[serde(default)]
    pub routing_config: Option<RoutingConfig>,
}

/// What is absent stays as it is.
/// <https://docs.aws.amazon.com/lambda/latest/api/API_UpdateAlias.html>
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct UpdateAlias {
    /// Of which function.
    pub function_name: String,
    /// Which.
    pub name: String,
    /// The version.
    #[serde(default)]
    pub function_version: Option<String>,
    /// What it is for.
    #[serde(default)]
    pub description: Option<String>,
    /// A second version; empty: none any more.
    #[serde(default)]
    pub routing_config: Option<RoutingConfig>,
    /// Only if it is still at that revision.
    #[serde(default)]
    pub revision_id: Option<String>,
}

/// <https://docs.aws.amazon.com/lambda/latest/api/API_DeleteAlias.html>
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteAlias {
    /// Of which function.
    pub function_name: String,
    /// Which.
    pub name: String,
}

/// <https://docs.aws.amazon.com/lambda/latest/api/API_TagResource.html>
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct TagResource {
    /// ARN of a function.
    pub resource: String,
    /// Tags to set.
    pub tags: Tags,
}

/// <https://docs.aws.amazon.com/lambda/latest/api/API_UntagResource.html>
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct UntagResource {
    /// ARN of a function.
    pub resource: String,
    /// Tags to remove.
    pub tag_keys: Vec<String>,
}

/// How a function is invoked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum InvocationType {
    /// The caller waits.
    #[default]
    RequestResponse,
    /// It does not.
    Event,
    /// Nothing runs: only whether it could.
    DryRun,
}

/// Whether a function may be invoked now; the code runs elsewhere.
/// <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Invoke {
    /// Which.
    pub function_name: String,
    /// A version or an alias.
    #[serde(default)]
    pub qualifier: Option<String>,
    /// How.
    #[serde(default)]
    pub invocation_type: InvocationType,
}
