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

use crate::model::{Config, GroupConfig, UplinkConfig};

mod error;
#[cfg(test)]
mod tests;
mod validate;

pub use error::{ConfigError, Problem};
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
    /// Interfaces on which VPCs are reachable.
    #[serde(default, rename = "uplink")]
    pub uplinks: Vec<RawUplink>,
    /// Groups of ENIs.
    #[serde(default, rename = "group")]
    pub groups: Vec<RawGroup>,
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
    pub uplink: String,
    pub subnet: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub router: Option<String>,
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
    let raw: RawConfig = toml::from_str(text).map_err(|error| ConfigError::syntax(text, &error))?;
    raw.validate()
}

/// The text of a configuration with every default written out. Parsing it gives
/// the same configuration.
pub fn render(config: &Config) -> Result<String, toml::ser::Error> {
    toml::to_string(&RawConfig::from(config))
}

impl RawConfig {
    /// Checks everything; the first fault found is the answer.
    pub fn validate(self) -> Result<Config, ConfigError> {
        validate::config(self)
    }
}

impl From<&Config> for RawConfig {
    fn from(config: &Config) -> Self {
        Self {
            pin_dir: Some(config.pin_dir.clone()),
            socket: Some(config.socket.clone()),
            profile: None,
            tc: Some(config.tc.to_string()),
            limits: RawLimits::from(&config.limits),
            uplinks: config.uplinks.iter().map(RawUplink::from).collect(),
            groups: config.groups.iter().map(RawGroup::from).collect(),
        }
    }
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
        Self {
            name: group.name.to_string(),
            uplink: group.uplink.to_string(),
            subnet: format!("{}/{}", group.subnet, group.prefix_len),
            router: group.router.as_ref().map(Ipv4Addr::to_string),
            eni: group.addresses.iter().map(Ipv4Addr::to_string).collect(),
            profile: None,
            connections: Some(group.connections.into()),
            timeouts: timed_phases()
                .map(|phase| (phase.label().to_owned(), seconds(&group.timeouts, phase)))
                .collect(),
        }
    }
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
