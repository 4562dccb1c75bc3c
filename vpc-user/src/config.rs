//! The configuration file: what people write ([`RawConfig`]) and the way from
//! there to [`Config`], which nothing else makes from a file.
//!
//! Parsing and checking read no interface and no clock: whether a configuration
//! is valid depends on its text alone, so `vpc check-config` answers the same on
//! every machine.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use vpc_common::{
    layout::{BLOCK_PORTS, Limits},
    state::{Phase, Timeouts},
    time::TICK_NS,
};

use crate::model::{Config, GroupConfig, ObjectName, UplinkConfig};

mod addresses;
mod control;
mod error;
mod flow_logs;
mod groups;
mod network;
mod raw_edge;
mod raw_functions;
mod raw_network;
#[cfg(test)]
mod tests;
mod validate;

pub use control::{DEFAULT_STORE, RawControl};
pub use error::{ConfigError, Problem};
pub use flow_logs::{RawBucket, RawExport, RawFlowLogs, RawStream};
pub use raw_edge::{
    RawAddress, RawDhcpOptions, RawEndpoint, RawFlowLog, RawInternetGateway, RawNatGateway,
};
pub use raw_functions::{RawFunction, RawRole};
pub use raw_network::{
    RawEntry, RawInterface, RawNetworkAcl, RawPeering, RawPrefixList, RawQuotas, RawRoute,
    RawRouteTable, RawRule, RawSecurityGroup, RawSubnet, RawVpc,
};
pub use validate::{is_interface_name, is_netns};

/// Folder of bpffs for the pins unless told otherwise.
pub const DEFAULT_PIN_DIR: &str = "/sys/fs/bpf/vpc";
/// Socket of the agent unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/vpc/agent.sock";
/// The longest path of a Unix socket (`sun_path`, without the final zero).
pub const SOCKET_PATH_MAX: usize = 107;
/// The longest name of an interface (`IFNAMSIZ`, without the final zero).
pub const INTERFACE_NAME_MAX: usize = 15;
/// The longest idle timeout: 30 days, far beyond any keep-alive.
pub const TIMEOUT_SECS_MAX: u32 = 30 * 24 * 3_600;

/// The file as written. Numbers are wide and addresses are text, so that a wrong
/// one is refused by our own sentence rather than the parser's.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawConfig {
    /// Folder of bpffs for the pins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pin_dir: Option<PathBuf>,
    /// Socket of the agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket: Option<PathBuf>,
    /// Idle timeouts of groups that name no profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// How TC programs are attached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tc: Option<String>,
    /// Sizes of the tables.
    #[serde(default)]
    pub limits: RawLimits,
    /// AWS's quotas.
    #[serde(default)]
    pub quotas: RawQuotas,
    /// Where resources are kept that are not in this file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control: Option<RawControl>,
    /// How flow logs are kept and delivered.
    #[serde(default, rename = "flow_logs", skip_serializing_if = "Option::is_none")]
    pub flow_logging: Option<RawFlowLogs>,
    /// Interfaces on which VPCs are reachable.
    #[serde(default, rename = "uplink")]
    pub uplinks: Vec<RawUplink>,
    /// VPCs.
    #[serde(default, rename = "vpc", skip_serializing_if = "Vec::is_empty")]
    pub vpcs: Vec<RawVpc>,
    /// Managed prefix lists.
    #[serde(default, rename = "prefix_list", skip_serializing_if = "Vec::is_empty")]
    pub prefix_lists: Vec<RawPrefixList>,
    /// Security groups.
    #[serde(
        default,
        rename = "security_group",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub security_groups: Vec<RawSecurityGroup>,
    /// Network ACLs.
    #[serde(default, rename = "network_acl", skip_serializing_if = "Vec::is_empty")]
    pub network_acls: Vec<RawNetworkAcl>,
    /// Route tables.
    #[serde(default, rename = "route_table", skip_serializing_if = "Vec::is_empty")]
    pub route_tables: Vec<RawRouteTable>,
    /// Subnets.
    #[serde(default, rename = "subnet", skip_serializing_if = "Vec::is_empty")]
    pub subnets: Vec<RawSubnet>,
    /// Network interfaces of others than this host.
    #[serde(default, rename = "interface", skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<RawInterface>,
    /// Peering connections.
    #[serde(default, rename = "peering", skip_serializing_if = "Vec::is_empty")]
    pub peerings: Vec<RawPeering>,
    /// Groups of ENIs.
    #[serde(default, rename = "group")]
    pub groups: Vec<RawGroup>,
    /// Sets of DHCP options: for `vpc apply`, as all that follows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dhcp_options: Vec<RawDhcpOptions>,
    /// Internet gateways.
    #[serde(
        default,
        rename = "internet_gateway",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub internet_gateways: Vec<RawInternetGateway>,
    /// Elastic addresses.
    #[serde(default, rename = "address", skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<RawAddress>,
    /// NAT gateways.
    #[serde(default, rename = "nat_gateway", skip_serializing_if = "Vec::is_empty")]
    pub nat_gateways: Vec<RawNatGateway>,
    /// VPC endpoints.
    #[serde(default, rename = "endpoint", skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<RawEndpoint>,
    /// Flow logs.
    #[serde(default, rename = "flow_log", skip_serializing_if = "Vec::is_empty")]
    pub flow_logs: Vec<RawFlowLog>,
    /// Roles.
    #[serde(default, rename = "role", skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<RawRole>,
    /// Functions.
    #[serde(default, rename = "function", skip_serializing_if = "Vec::is_empty")]
    pub functions: Vec<RawFunction>,
}

/// `[limits]`: each as in [`Limits`], in entries; what is absent has its default.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented at `Limits`")]
pub struct RawLimits {
    pub environments: Option<i64>,
    pub uplinks: Option<i64>,
    pub enis: Option<i64>,
    pub next_hops: Option<i64>,
    /// Flows at a time, rounded up to blocks of 256.
    pub flows: Option<i64>,
    pub fragments: Option<i64>,
    pub policy_words: Option<i64>,
    pub refusals: Option<i64>,
}

/// One `[[uplink]]`; see [`UplinkConfig`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented at `UplinkConfig`")]
pub struct RawUplink {
    pub name: String,
    pub interface: String,
    #[serde(default)]
    pub shared: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hook: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_netns: Option<String>,
}

/// One `[[group]]`; see [`GroupConfig`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented at `GroupConfig`")]
pub struct RawGroup {
    pub name: String,
    /// Of a group in a prefix; a `[[subnet]]` knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uplink: Option<String>,
    /// A prefix, or the name of a `[[subnet]]`.
    pub subnet: String,
    /// Of a group in a prefix; a `[[subnet]]` knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub router: Option<String>,
    /// Of a group in a `[[subnet]]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_groups: Option<Vec<String>>,
    pub eni: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<i64>,
    /// Seconds by [`Phase::label`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub timeouts: BTreeMap<String, i64>,
}

/// Reads, parses and checks a file.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let read = |cause| ConfigError::Read {
        path: path.to_path_buf(),
        cause,
    };
    parse(&std::fs::read_to_string(path).map_err(read)?)
}

/// Parses and checks the text of a file.
pub fn parse(text: &str) -> Result<Config, ConfigError> {
    let raw = RawConfig::parse(text)?;
    control::is_of_agent(&raw)?;
    raw.validate()
}

/// The text of a configuration with every default written out. Parsing it gives
/// the same configuration.
pub fn render(config: &Config) -> Result<String, toml::ser::Error> {
    toml::to_string(&RawConfig::from(config))
}

impl RawConfig {
    /// Parses the text of a file, whose values are not checked yet.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|error| ConfigError::syntax(text, &error))
    }

    /// Checks everything; the first fault found is the answer.
    pub fn validate(self) -> Result<Config, ConfigError> {
        validate::config(self)
    }
}

impl From<&Config> for RawConfig {
    fn from(config: &Config) -> Self {
        let network = &config.network;
        Self {
            pin_dir: Some(config.pin_dir.clone()),
            socket: Some(config.socket.clone()),
            profile: None,
            tc: Some(config.tc.to_string()),
            limits: RawLimits::from(&config.limits),
            quotas: RawQuotas::from(&network.quotas),
            control: config.control.as_ref().map(RawControl::from),
            flow_logging: config.flow_logs.as_ref().map(RawFlowLogs::from),
            uplinks: written(&config.uplinks),
            vpcs: written(&network.vpcs),
            prefix_lists: written(&network.prefix_lists),
            security_groups: written(&network.security_groups),
            network_acls: written(&network.network_acls),
            route_tables: written(&network.route_tables),
            subnets: written(&network.subnets),
            interfaces: written(&network.interfaces),
            peerings: written(&network.peerings),
            groups: written(&config.groups),
            // The rest is no agent's.
            ..Self::default()
        }
    }
}

/// Objects as they are written.
fn written<'a, T, R: From<&'a T>>(objects: &'a [T]) -> Vec<R> {
    objects.iter().map(R::from).collect()
}

impl From<&Limits> for RawLimits {
    fn from(limits: &Limits) -> Self {
        Self {
            environments: Some(limits.environments.into()),
            uplinks: Some(limits.uplinks.into()),
            enis: Some(limits.enis.into()),
            next_hops: Some(limits.next_hops.into()),
            flows: Some(i64::from(limits.blocks) * i64::from(BLOCK_PORTS)),
            fragments: Some(limits.fragments.into()),
            policy_words: Some(limits.policy_words.into()),
            refusals: Some(limits.refusals.into()),
        }
    }
}

impl From<&UplinkConfig> for RawUplink {
    fn from(uplink: &UplinkConfig) -> Self {
        Self {
            name: uplink.name.to_string(),
            interface: uplink.interface.clone(),
            shared: uplink.shared,
            hook: Some(uplink.hook.to_string()),
            peer_netns: uplink.peer_netns.clone(),
        }
    }
}

impl From<&GroupConfig> for RawGroup {
    fn from(group: &GroupConfig) -> Self {
        let prefix = || format!("{}/{}", group.subnet, group.prefix_len);
        let named = group.subnet_name.as_ref();
        let in_prefix = named.is_none();
        Self {
            name: group.name.to_string(),
            uplink: in_prefix.then(|| group.uplink.to_string()),
            subnet: named.map_or_else(prefix, ObjectName::to_string),
            router: group
                .router
                .filter(|_| in_prefix)
                .as_ref()
                .map(Ipv4Addr::to_string),
            security_groups: named.map(|_| raw_network::texts(&group.security_groups)),
            eni: group
                .enis
                .iter()
                .map(|eni| eni.address.to_string())
                .collect(),
            profile: None,
            connections: Some(group.connections.into()),
            timeouts: timeouts_as_written(&group.timeouts),
        }
    }
}

/// Seconds by phase, as a file has them.
fn timeouts_as_written(timeouts: &Timeouts) -> BTreeMap<String, i64> {
    timed_phases()
        .map(|phase| (phase.label().to_owned(), seconds(timeouts, phase)))
        .collect()
}

/// The phases of a flow that have an idle timeout people may set.
pub fn timed_phases() -> impl Iterator<Item = Phase> {
    Phase::ALL
        .into_iter()
        .filter(|phase| *phase >= Phase::UdpNew)
}

/// The whole seconds a timeout was made from: the inverse of
/// [`vpc_common::time::ticks_from_secs`], which rounds up and adds one.
fn seconds(timeouts: &Timeouts, phase: Phase) -> i64 {
    let ticks = u64::from(timeouts.0[phase as usize].saturating_sub(1));
    i64::try_from(ticks * TICK_NS / 1_000_000_000).unwrap_or(i64::MAX)
}

/// The subnet of a group as a prefix; `None` only if someone built a
/// [`GroupConfig`] by hand with more than 32 bits.
pub fn subnet(group: &GroupConfig) -> Option<Ipv4Net> {
    Ipv4Net::new(group.subnet, group.prefix_len).ok()
}
