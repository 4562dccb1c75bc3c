//! Functions, their versions and aliases, and the environments that run them.

use std::{collections::BTreeMap, net::Ipv4Addr};

use serde::{Deserialize, Serialize};

use super::EniGroup;
use crate::control::{Account, Id, Key, Resource, Tags, Time};

/// The version that can change.
pub const LATEST: &str = "$LATEST";

/// A version of a function.
/// <https://docs.aws.amazon.com/lambda/latest/api/API_FunctionConfiguration.html>
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Function {
    /// Its name, unique in the account.
    pub function_name: String,
    /// Its account.
    pub owner_id: Account,
    /// The Region of its ARN.
    pub region: String,
    /// [`LATEST`] or a number.
    pub version: String,
    /// ARN of its execution role.
    pub role: String,
    /// The VPC it is attached to, or during an update will be. `None`: it never was;
    /// without subnets: it was detached.
    pub vpc_config: Option<VpcConfig>,
    /// Where it is in its life.
    pub state: FunctionState,
    /// Why, as a sentence.
    pub state_reason: Option<String>,
    /// Why, as a code.
    pub state_reason_code: Option<String>,
    /// How the last update went. `None` until it is first active.
    pub last_update_status: Option<UpdateStatus>,
    /// Why, as a sentence.
    pub last_update_status_reason: Option<String>,
    /// Why, as a code.
    pub last_update_status_reason_code: Option<String>,
    /// Another one after each change.
    pub revision_id: String,
    /// When it was last changed by somebody.
    pub last_modified: Time,
    /// What the runtime is told: memory, timeout, handler, … as given.
    #[serde(flatten)]
    pub settings: FunctionSettings,
    /// Ours: the groups whose ENIs serve it now, one of a subnet.
    pub eni_groups: Vec<Id>,
    /// Ours: the groups that will, once all of them are ready.
    pub next_eni_groups: Option<Vec<Id>>,
    /// Ours: since when it waits for groups.
    pub waiting_since: Option<Time>,
    /// Ours: what an update replaces, and what is in force again should it fail.
    pub previous: Option<Box<Previous>>,
    /// Ours: when it became active, was last invoked, or lost its last environment.
    pub last_used: Time,
    /// Ours, of [`LATEST`]: the number of the next version that is published.
    pub next_version: u64,
    /// Tags, of [`LATEST`] alone.
    pub tags: Tags,
}

/// What an update of a function replaces.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Previous {
    /// ARN of its execution role.
    pub role: String,
    /// The VPC it was attached to.
    pub vpc_config: Option<VpcConfig>,
    /// What the runtime was told.
    pub settings: FunctionSettings,
}

/// What the control plane keeps of a function without a meaning of its own.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct FunctionSettings {
    /// What it does.
    pub description: String,
    /// `Zip` or `Image`.
    pub package_type: String,
    /// `python3.13`, `provided.al2023`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// What is called in the code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handler: Option<String>,
    /// MiB.
    pub memory_size: u32,
    /// Seconds.
    pub timeout: u32,
    /// Of the code.
    pub code_sha256: String,
    /// Bytes.
    pub code_size: u64,
    /// `x86_64`, `arm64`.
    pub architectures: Vec<String>,
    /// Environment variables.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
}

/// A function's attachment to a VPC.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct VpcConfig {
    /// At most 16, of one VPC.
    pub subnet_ids: Vec<Id>,
    /// At most 5, of the same VPC.
    pub security_group_ids: Vec<Id>,
    /// That VPC; empty when detached.
    pub vpc_id: String,
    /// Whether IPv6 may leave dual-stack subnets.
    pub ipv6_allowed_for_dual_stack: bool,
}

/// Where a function is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum FunctionState {
    /// It is being made or restored.
    Pending,
    /// It can be invoked.
    Active,
    /// It was idle: its ENIs were given back.
    Inactive,
    /// It could not be made.
    Failed,
}

/// How the last update of a function went.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum UpdateStatus {
    /// It is in force.
    Successful,
    /// What was before goes on.
    Failed,
    /// What was before goes on until it is in force.
    InProgress,
}

impl Function {
    /// The id of a version: `<account>:<name>:<version>`.
    pub fn id_of(account: Account, name: &str, version: &str) -> String {
        format!("{account}:{name}:{version}")
    }

    /// Its ARN without version.
    pub fn unqualified_arn(&self) -> String {
        let Self {
            region,
            owner_id,
            function_name,
            ..
        } = self;
        format!("arn:aws:lambda:{region}:{owner_id}:function:{function_name}")
    }

    /// Its ARN with version.
    pub fn qualified_arn(&self) -> String {
        format!("{}:{}", self.unqualified_arn(), self.version)
    }

    /// The VPC it is attached to, if it is to any.
    pub fn attachment(&self) -> Option<&VpcConfig> {
        let config = self.vpc_config.as_ref();
        config.filter(|config| !config.subnet_ids.is_empty())
    }
}

impl Resource for Function {
    fn id(&self) -> String {
        Self::id_of(self.owner_id, &self.function_name, &self.version)
    }
    fn account(&self) -> Account {
        self.owner_id
    }
    /// The groups that serve it, or will. A role may go, as on AWS.
    fn references(&self) -> Vec<Key> {
        let groups = self
            .eni_groups
            .iter()
            .chain(self.next_eni_groups.iter().flatten());
        let mut keys: Vec<Key> = groups.map(|id| Key::of::<EniGroup>(id.as_str())).collect();
        if self.version != LATEST {
            let latest = Self::id_of(self.owner_id, &self.function_name, LATEST);
            keys.push(Key::of::<Self>(latest));
        }
        keys
    }
}

/// An alias of a function: a pointer, that holds no ENI.
/// <https://docs.aws.amazon.com/lambda/latest/api/API_AliasConfiguration.html>
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Alias {
    /// Its name, unique among those of the function.
    pub name: String,
    /// Its account.
    pub owner_id: Account,
    /// The Region of its ARN.
    pub region: String,
    /// The function.
    pub function_name: String,
    /// The version.
    pub function_version: String,
    /// A second version with its share, 0 to 1.
    pub additional_version_weights: BTreeMap<String, f64>,
    /// What it is for.
    pub description: String,
    /// Another one after each change.
    pub revision_id: String,
}

impl Alias {
    /// Its ARN.
    pub fn arn(&self) -> String {
        let Self {
            region,
            owner_id,
            function_name,
            name,
            ..
        } = self;
        format!("arn:aws:lambda:{region}:{owner_id}:function:{function_name}:{name}")
    }
}

impl Resource for Alias {
    fn id(&self) -> String {
        Function::id_of(self.owner_id, &self.function_name, &self.name)
    }
    fn account(&self) -> Account {
        self.owner_id
    }
    fn references(&self) -> Vec<Key> {
        let versions = self.additional_version_weights.keys();
        std::iter::once(&self.function_version)
            .chain(versions)
            .map(|version| {
                let id = Function::id_of(self.owner_id, &self.function_name, version);
                Key::of::<Function>(id)
            })
            .collect()
    }
}

/// An execution environment: ours.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Environment {
    /// Its name, unique on this host.
    pub environment_id: Id,
    /// The account of its function.
    pub owner_id: Account,
    /// The version that it runs: the id of a [`Function`].
    pub function: String,
    /// The group whose ENIs its flows leave by.
    pub eni_group: Id,
    /// Its interface on this host.
    pub interface: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// When it was attached.
    pub attached_at: Time,
}

impl Resource for Environment {
    fn id(&self) -> String {
        self.environment_id.to_string()
    }
    fn account(&self) -> Account {
        self.owner_id
    }
    /// It goes with its version.
    fn references(&self) -> Vec<Key> {
        vec![
            Key::of::<Function>(self.function.as_str()),
            Key::of::<EniGroup>(self.eni_group.as_str()),
        ]
    }
}
