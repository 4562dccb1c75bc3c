//! What the parts of the agent say to each other: the validated configuration,
//! requests, and the answers that listings print. Names, units and JSON keys are
//! decided here and nowhere else.

use std::{net::Ipv4Addr, path::PathBuf, sync::Arc};

use serde::{Deserialize, Serialize};

mod bindings;
mod control;
mod explain;
mod flow_logs;
mod kernel;
mod network;
mod request;

pub use bindings::*;
pub use control::*;
pub use explain::*;
pub use flow_logs::*;
pub use kernel::*;
pub use network::*;
pub use request::*;
use vpc_common::{addr::Mac, layout::Limits, state::Timeouts};

/// A name that people give: 1 to 63 bytes of `[a-z0-9._-]`, starting with a
/// letter or digit. Checked by [`ObjectName::new`] and nothing else makes one. Copies
/// share it: every rule that is evaluated knows by name where it comes from.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ObjectName(Arc<str>);

impl ObjectName {
    /// Checks and wraps a name.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
        let starts_well = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        if name.len() <= 63 && starts_well && name.chars().all(allowed) {
            Ok(Self(name.into()))
        } else {
            Err(NameError(name))
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for ObjectName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ObjectName {
    type Error = NameError;
    fn try_from(name: String) -> Result<Self, NameError> {
        Self::new(name)
    }
}

impl From<ObjectName> for String {
    fn from(name: ObjectName) -> Self {
        name.0.as_ref().to_owned()
    }
}

/// A name that is none.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0:?} is not a name: use 1 to 63 characters of a-z, 0-9, '.', '_' and '-', \
     starting with a letter or digit"
)]
pub struct NameError(String);

/// Where the packets of a link are handled.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hook {
    /// In the driver's receive path, before the kernel makes a packet of its own of
    /// the frame; with TC behind it for what must go out by a link without XDP.
    Xdp,
    /// At the entrance of the kernel's stack.
    Tc,
}

/// What is asked for a link's [`Hook`] to be.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookWish {
    /// The agent chooses by what the interface can.
    #[default]
    Auto,
    /// XDP, or a refusal.
    Xdp,
    /// TC.
    Tc,
}

/// How TC programs are attached.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TcAttachment {
    /// Environments as filters, uplinks as TCX links, as far as the kernel has both.
    #[default]
    Auto,
    /// As TCX links (Linux 6.6).
    Tcx,
    /// As filters of the ingress qdisc.
    Filter,
}

macro_rules! words {
    ($($type:ident { $($variant:ident = $word:literal),+ })+) => {
        $(
            impl $type {
                /// The value of a word in a configuration or on a command line.
                pub fn from_word(word: &str) -> Option<Self> {
                    match word {
                        $($word => Some(Self::$variant),)+
                        _ => None,
                    }
                }

                /// The inverse of `from_word`.
                pub const fn word(self) -> &'static str {
                    match self {
                        $(Self::$variant => $word,)+
                    }
                }
            }

            impl std::fmt::Display for $type {
                fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str(self.word())
                }
            }
        )+
    };
}

words! {
    RefusalDirection { Out = "out", In = "in" }
    Hook { Xdp = "xdp", Tc = "tc" }
    HookWish { Auto = "auto", Xdp = "xdp", Tc = "tc" }
    TcAttachment { Auto = "auto", Tcx = "tcx", Filter = "filter" }
}

/// The validated configuration of one host's agent.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// Folder of bpffs under which everything is pinned.
    pub pin_dir: PathBuf,
    /// Unix socket of the agent.
    pub socket: PathBuf,
    /// Sizes of the tables, fixed at their creation.
    pub limits: Limits,
    /// How TC programs are attached.
    pub tc: TcAttachment,
    /// Interfaces on which VPCs are reachable.
    pub uplinks: Vec<UplinkConfig>,
    /// Groups of ENIs: what an environment is attached to.
    pub groups: Vec<GroupConfig>,
    /// Rules and routes, and what they are about.
    pub network: Network,
    /// Where resources are kept, if not in the file itself.
    pub control: Option<ControlConfig>,
    /// How flow logs are kept and delivered, if they are.
    pub flow_logs: Option<FlowLogsConfig>,
}

/// Where resources are kept, and what the operator set.
#[derive(Clone, PartialEq, Debug)]
pub struct ControlConfig {
    /// File of the store.
    pub store: PathBuf,
    /// Quotas and times.
    pub settings: crate::control::Settings,
}

/// An interface on which one tenant VPC is reachable.
#[derive(Clone, PartialEq, Debug)]
pub struct UplinkConfig {
    /// What the rest of the configuration calls it.
    pub name: ObjectName,
    /// Name of the interface.
    pub interface: String,
    /// The host's stack uses the interface too.
    pub shared: bool,
    /// Where its packets are handled.
    pub hook: HookWish,
    /// Namespace (name or path) of a veth's far end, to prepare it.
    pub peer_netns: Option<String>,
}

/// The ENIs of one (subnet, security-group set).
#[derive(Clone, PartialEq, Debug)]
pub struct GroupConfig {
    /// What environments are attached to.
    pub name: ObjectName,
    /// Name of an uplink.
    pub uplink: ObjectName,
    /// The [`Subnet`] it is in. `None`: its subnet was given as a prefix, belongs to no
    /// VPC and has no rules.
    pub subnet_name: Option<ObjectName>,
    /// The security groups of its ENIs, sorted; empty only where there is no VPC.
    pub security_groups: Vec<ObjectName>,
    /// Network address of the subnet.
    pub subnet: Ipv4Addr,
    /// Prefix length of the subnet.
    pub prefix_len: u8,
    /// Where destinations outside the subnet go.
    pub router: Option<Ipv4Addr>,
    /// Its ENIs, in order of preference.
    pub enis: Vec<EniConfig>,
    /// Idle timeouts.
    pub timeouts: Timeouts,
    /// Connections per ENI, at most 65,000.
    pub connections: u32,
}

/// A Hyperplane ENI of a group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EniConfig {
    /// Its address in the VPC.
    pub address: Ipv4Addr,
    /// What it is called. `None`: `<group>-<n>`.
    pub name: Option<ObjectName>,
    /// It takes no new flows, and goes with the last of those it has.
    pub draining: bool,
}

impl GroupConfig {
    /// What its ENI of a number is called.
    pub fn eni_name(&self, number: usize, eni: &EniConfig) -> String {
        let name = eni.name.as_ref().map(ObjectName::to_string);
        name.unwrap_or_else(|| format!("{}-{number}", self.name))
    }
}

impl From<Ipv4Addr> for EniConfig {
    /// One that serves, without a name of its own.
    fn from(address: Ipv4Addr) -> Self {
        Self {
            address,
            name: None,
            draining: false,
        }
    }
}

/// An environment to attach.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttachRequest {
    /// What it is called from now on.
    pub name: ObjectName,
    /// Interface on the host: a veth or tap.
    pub interface: String,
    /// Group of ENIs.
    pub group: ObjectName,
    /// Its IPv4 address, the only source it may use.
    pub address: Ipv4Addr,
    /// The gateway address the program answers for.
    pub gateway: Ipv4Addr,
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

impl AttachRequest {
    /// Open flows of an environment unless told otherwise.
    pub const fn default_flow_quota() -> u32 {
        16_384
    }

    /// New flows per second of an environment unless told otherwise.
    pub const fn default_flow_rate() -> u32 {
        2_000
    }

    /// New flows at once of an environment unless told otherwise.
    pub const fn default_flow_burst() -> u32 {
        8_000
    }
}

/// An attached environment.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct EnvironmentInfo {
    /// Its name.
    pub name: String,
    /// Its index in the tables.
    pub index: u32,
    /// Counts the uses of the index.
    pub generation: u32,
    /// Its interface.
    pub interface: String,
    /// Number of the interface.
    pub ifindex: u32,
    /// Where its packets are handled.
    pub hook: Hook,
    /// What was asked for.
    pub hook_wanted: HookWish,
    /// Why it is this hook.
    pub hook_why: String,
    /// Its group of ENIs.
    pub group: String,
    /// Its inside address.
    pub address: Ipv4Addr,
    /// The gateway it sees.
    pub gateway: Ipv4Addr,
    /// Its MAC, once known.
    pub mac: Option<String>,
    /// Open flows.
    pub flows: u64,
    /// Open flows it may have.
    pub flow_quota: u32,
    /// Replies that the network ACL kept out.
    pub refused_replies: u64,
}

/// A live flow.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct FlowInfo {
    /// Name of the environment; its index if it is gone.
    pub environment: String,
    /// The version of a function that it runs, by its qualified ARN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// Inside address and port.
    pub inside: std::net::SocketAddr,
    /// ENI address and port.
    pub outside: std::net::SocketAddr,
    /// The other end.
    pub remote: std::net::SocketAddr,
    /// [`vpc_common::state::Phase::label`].
    pub state: String,
    /// Packets into the VPC.
    pub forward_packets: u64,
    /// Bytes of IP packets into the VPC.
    pub forward_bytes: u64,
    /// Packets to the environment.
    pub reply_packets: u64,
    /// Bytes of IP packets to the environment.
    pub reply_bytes: u64,
    /// Seconds since it opened.
    pub age_secs: f64,
    /// Seconds since its last packet.
    pub idle_secs: f64,
    /// Index of its slot.
    pub slot: u32,
    /// Which use of the slot it is.
    pub epoch: u32,
}

/// A drop counter that is not zero.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct DropInfo {
    /// `host`, `environment`, `uplink` or `eni`.
    pub owner_kind: String,
    /// Its name; its index if it is gone.
    pub owner: String,
    /// [`vpc_common::drop::DropReason::label`].
    pub reason: String,
    /// Packets.
    pub packets: u64,
    /// [`vpc_common::drop::DropReason::description`].
    pub description: String,
}

/// Which way refused packets were going.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalDirection {
    /// Into the VPC.
    Out,
    /// To the environment.
    In,
}

/// Packets that rules or routes refused: what they have in common, and how many.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RefusalInfo {
    /// Name of the environment; its index if it is gone.
    pub environment: String,
    /// Name of the ENI; its index if it is gone.
    pub eni: String,
    /// Address of the ENI.
    pub eni_address: Ipv4Addr,
    /// Out of the environment, or to it.
    pub direction: RefusalDirection,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// Out: the environment's own port, because no port of the ENI was given yet. In:
    /// the ENI's.
    pub local_port: u16,
    /// The other end.
    pub remote: std::net::SocketAddr,
    /// [`vpc_common::drop::DropReason::label`].
    pub reason: String,
    /// Packets.
    pub packets: u64,
    /// Bytes of IP packets.
    pub bytes: u64,
    /// Seconds since the first.
    pub age_secs: f64,
    /// Seconds since the last.
    pub idle_secs: f64,
}

/// The agent and its tables at a glance.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct StatusInfo {
    /// Version of the agent.
    pub version: String,
    /// Layout number of the tables.
    pub layout: u32,
    /// Process id of the agent.
    pub pid: u32,
    /// Seconds since the agent started.
    pub uptime_secs: f64,
    /// Whether the tables were found pinned and adopted.
    pub adopted: bool,
    /// Uplinks.
    pub uplinks: Vec<UplinkInfo>,
    /// ENIs.
    pub enis: Vec<EniInfo>,
    /// Environments attached.
    pub environments: u32,
    /// Open flows.
    pub flows: u64,
    /// Flows the tables have room for.
    pub flow_capacity: u64,
    /// Words that policies take up.
    pub policy_words: u64,
    /// Words that the tables have room for.
    pub policy_word_capacity: u64,
    /// Counters by name, see [`vpc_common::layout::Stat`], and the agent's own.
    pub counters: std::collections::BTreeMap<String, u64>,
}

/// An uplink.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct UplinkInfo {
    /// Its name.
    pub name: String,
    /// Its interface.
    pub interface: String,
    /// Number of the interface.
    pub ifindex: u32,
    /// Its MAC.
    pub mac: String,
    /// IP MTU, bytes.
    pub mtu: u32,
    /// The host's stack uses it too.
    pub shared: bool,
    /// Where its packets are handled.
    pub hook: Hook,
    /// What was asked for.
    pub hook_wanted: HookWish,
    /// Why it is this hook.
    pub hook_why: String,
    /// Neighbours resolved.
    pub neighbours: u32,
}

/// An ENI.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct EniInfo {
    /// `<group>-<n>`.
    pub name: String,
    /// Index in the tables.
    pub index: u32,
    /// Its group.
    pub group: String,
    /// Its uplink.
    pub uplink: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// Open connections.
    pub connections: u64,
    /// Connections it may carry.
    pub connection_limit: u32,
    /// TCP ports in use.
    pub tcp_ports: u64,
    /// UDP ports in use.
    pub udp_ports: u64,
    /// Blocks of 256 ports granted, TCP and UDP.
    pub blocks: u64,
    /// Whether it is past its high-water mark.
    pub high_water: bool,
    /// Packets that rules or routes refused, both ways, by the label of the
    /// [`vpc_common::drop::DropReason`]; each is in the drop counters too.
    pub refused: std::collections::BTreeMap<String, u64>,
}

/// Parses a MAC as people write it.
pub fn parse_mac(text: &str) -> Option<Mac> {
    let mut octets = [0; 6];
    let mut parts = text.split(':');
    for octet in &mut octets {
        let is_octet = |part: &&str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit());
        let part = parts.next().filter(is_octet)?;
        *octet = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then(|| Mac::new(octets))
}
