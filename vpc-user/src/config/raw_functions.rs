//! `[[role]]` and `[[function]]` as written: for `vpc apply`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One `[[role]]`: an IAM role that functions run with.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawRole {
    /// Its name.
    pub name: String,
    /// Managed policies, by ARN or name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub managed: Vec<String>,
    /// Policies of its own: name → JSON document.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub policy: BTreeMap<String, String>,
    /// Who may assume it, as a JSON document; absent, it is Lambda.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust: Option<String>,
}

/// One `[[function]]`.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawFunction {
    /// Its name.
    pub name: String,
    /// Its execution role: the name of a `[[role]]`, or an ARN.
    pub role: String,
    /// Subnets it is attached to; without any it is attached to no VPC.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subnets: Vec<String>,
    /// Security groups that its ENIs carry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub security_groups: Vec<String>,
    /// What it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// `python3.13`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// What is called in the code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handler: Option<String>,
    /// MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<u32>,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u32>,
    /// Aliases: name → version.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub alias: BTreeMap<String, String>,
}
