//! What is asked of the control plane over the socket, and what it answers.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{AttachRequest, HookWish, ObjectName};
use crate::control::{Account, ApiError, life::Usage};

/// The address of an environment unless told otherwise; clones may have the same.
pub const DEFAULT_ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 100, 2);
/// The gateway that an environment sees unless told otherwise.
pub const DEFAULT_GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 100, 1);

/// An environment of a function to attach.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FunctionAttachRequest {
    /// What it is called from now on.
    pub name: ObjectName,
    /// The function, with version or alias: `NAME[:QUALIFIER]`, or an ARN.
    pub function: String,
    /// The account of the function.
    #[serde(default)]
    pub account: Account,
    /// Interface on the host: a veth or tap.
    pub interface: String,
    /// Its IPv4 address, the only source it may use.
    #[serde(default = "default_address")]
    pub address: Ipv4Addr,
    /// The gateway address the program answers for.
    #[serde(default = "default_gateway")]
    pub gateway: Ipv4Addr,
    /// The availability zone it is in: a subnet there is preferred.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Its MAC; learnt from its first frame if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Namespace (name or path) of a veth's far end, to prepare it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns: Option<String>,
    /// Where its packets are handled.
    #[serde(default)]
    pub hook: HookWish,
    /// Open flows it may have.
    #[serde(default = "AttachRequest::default_flow_quota")]
    pub flow_quota: u32,
    /// New flows per second it may sustain; 0 = unlimited.
    #[serde(default = "AttachRequest::default_flow_rate")]
    pub flow_rate: u32,
    /// New flows it may open at once.
    #[serde(default = "AttachRequest::default_flow_burst")]
    pub flow_burst: u32,
}

const fn default_address() -> Ipv4Addr {
    DEFAULT_ADDRESS
}

const fn default_gateway() -> Ipv4Addr {
    DEFAULT_GATEWAY
}

/// Resources to be shown.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GetRequest {
    /// One kind only, by [`crate::control::Kind::word`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// One resource only: its id, or its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// One account only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<Account>,
}

/// A resource.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ResourceInfo {
    /// Its kind.
    pub kind: String,
    /// Its id.
    pub id: String,
    /// What people call it, if they do.
    pub name: Option<String>,
    /// Its account.
    pub account: Account,
    /// Where it is in its life, if it has one.
    pub state: Option<String>,
    /// The resources that refer to it.
    pub used_by: Vec<String>,
    /// As AWS's API shows it.
    pub resource: Value,
}

/// A Hyperplane ENI, and who uses it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct EniUse {
    /// Its id.
    pub id: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its subnet.
    pub subnet: String,
    /// Its security groups.
    pub security_groups: Vec<String>,
    /// Where it is in its life.
    pub state: String,
    /// Open connections.
    pub connections: u64,
    /// Flows of each environment on it.
    pub flows: Vec<EnvironmentFlows>,
    /// Functions and environments.
    #[serde(flatten)]
    pub usage: Usage,
}

/// An environment's open flows.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EnvironmentFlows {
    /// Its name.
    pub environment: String,
    /// How many.
    pub flows: u64,
}

/// A step of an `apply`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ApplyStep {
    /// `create`, `change` or `delete`.
    pub verb: String,
    /// What, by kind and name.
    pub object: String,
    /// Its id, if it has one yet.
    pub id: Option<String>,
    /// What about it.
    pub detail: Option<String>,
}

/// An error of AWS's.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Denial {
    /// Its code.
    pub code: String,
    /// Its sentence.
    pub message: String,
    /// The HTTP status it would have.
    pub status: u16,
}

impl From<&ApiError> for Denial {
    fn from(error: &ApiError) -> Self {
        Self {
            code: error.code.as_str().to_owned(),
            message: error.message.clone(),
            status: error.status,
        }
    }
}
