//! The network configuration
//! (<https://www.cni.dev/docs/spec/#section-1-network-configuration-format>).

use std::{net::Ipv4Addr, path::PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    CniError, Code, Network, Version,
    invocation::{Invocation, is_identifier},
};
use crate::{
    config::DEFAULT_SOCKET,
    control::Account,
    model::{AttachRequest, DEFAULT_ADDRESS, DEFAULT_GATEWAY, HookWish},
};

/// What a container or microVM is attached by.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// A veth pair, the far end of which is the container's.
    #[default]
    Veth,
    /// A persistent tap in the host's namespace.
    Tap,
}

/// A valid network configuration.
#[derive(Clone, PartialEq, Debug)]
pub struct NetworkConfig {
    /// The version that is spoken.
    pub version: Version,
    /// The network.
    pub network: Network,
    /// Socket of the agent.
    pub socket: PathBuf,
    /// Function and account, if the configuration has them.
    pub whose: Whose,
    /// The same of `args.cni`.
    pub argument: Whose,
    /// The availability zone.
    pub zone: Option<String>,
    /// Where packets are handled.
    pub hook: HookWish,
    /// The address inside.
    pub address: Ipv4Addr,
    /// The gateway inside.
    pub gateway: Ipv4Addr,
    /// IP MTU of the link, bytes; the kernel's choice if not given.
    pub mtu: Option<u32>,
    /// Open flows.
    pub flow_quota: u32,
    /// New flows per second.
    pub flow_rate: u32,
    /// New flows at once.
    pub flow_burst: u32,
    /// By what to attach.
    pub device: Device,
    /// The user that may open the tap.
    pub owner: u32,
    /// Passed on to the result.
    pub dns: Option<Value>,
    /// The result of the plugins before, or of the ADD before a CHECK.
    pub previous: Option<Value>,
    /// GC: the attachments that are to stay, if they are listed.
    pub valid: Option<Vec<ValidAttachment>>,
}

/// Who is attached.
#[derive(Clone, PartialEq, Eq, Default, Debug, Deserialize)]
pub struct Whose {
    /// `NAME[:QUALIFIER]`, or an ARN.
    pub function: Option<String>,
    /// Twelve digits.
    pub account: Option<String>,
}

/// An attachment that GC leaves alone.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct ValidAttachment {
    /// The container.
    #[serde(rename = "containerID")]
    pub container: String,
    /// The interface inside.
    #[serde(rename = "ifname")]
    pub interface: String,
}

/// As written: CNI's own members, ours, and what is left.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    name: Option<String>,
    #[serde(rename = "type")]
    plugin: Option<String>,
    args: Option<RawArgs>,
    dns: Option<Value>,
    prev_result: Option<Value>,
    ipam: Option<Value>,
    ip_masq: Option<bool>,
    #[serde(rename = "cni.dev/valid-attachments")]
    valid_attachments: Option<Vec<ValidAttachment>>,

    socket: Option<PathBuf>,
    function: Option<String>,
    account: Option<String>,
    zone: Option<String>,
    hook: Option<HookWish>,
    address: Option<Ipv4Addr>,
    gateway: Option<Ipv4Addr>,
    mtu: Option<u32>,
    flow_quota: Option<u32>,
    flow_rate: Option<u32>,
    flow_burst: Option<u32>,
    device: Option<Device>,
    owner: Option<u32>,

    #[serde(flatten)]
    others: Map<String, Value>,
}

/// `args`: what tools say besides; only `args.cni` means something here.
#[derive(Deserialize)]
struct RawArgs {
    #[serde(default)]
    cni: Option<Whose>,
}

/// Members that are CNI's own and mean nothing here.
const IGNORED: [&str; 7] = [
    "cniVersion",
    "cniVersions",
    "capabilities",
    "runtimeConfig",
    "disableCheck",
    "disableGC",
    "loadOnlyInlinedPlugins",
];

impl NetworkConfig {
    /// From a document of a known version.
    pub fn parse(document: Value, version: Version) -> Result<Self, CniError> {
        // An empty list of attachments may be written as null, which is not none given.
        let lists_attachments = document.get("cni.dev/valid-attachments").is_some();
        let mut raw: Raw = serde_json::from_value(document).map_err(|error| {
            wrong(format!(
                "the network configuration is not valid ({error}): correct it"
            ))
        })?;
        raw.refuse_unsupported()?;
        let name = raw.name.take().unwrap_or_default();
        if !is_identifier(&name) {
            return Err(wrong(format!(
                "{name:?} cannot be the \"name\" of a network: use letters, digits, '_', '.' and \
                 '-', a letter or digit first"
            )));
        }
        if raw.plugin.as_deref().unwrap_or_default().is_empty() {
            return Err(wrong(
                "the network configuration has no \"type\": it is \"vpc-cni\"",
            ));
        }
        let socket = raw.socket.unwrap_or_else(|| DEFAULT_SOCKET.into());
        if !socket.is_absolute() {
            let socket = socket.display();
            return Err(wrong(format!(
                "\"socket\" is {socket}: write an absolute path"
            )));
        }
        let device = raw.device.unwrap_or_default();
        if device == Device::Veth && raw.owner.is_some() {
            return Err(wrong(
                "\"owner\" is who may open a tap: add \"device\": \"tap\"",
            ));
        }
        let valid = raw.valid_attachments.unwrap_or_default();
        Ok(Self {
            version,
            network: Network::new(&name),
            socket,
            whose: Whose {
                function: raw.function,
                account: raw.account,
            },
            argument: raw.args.and_then(|args| args.cni).unwrap_or_default(),
            zone: raw.zone,
            hook: raw.hook.unwrap_or_default(),
            address: raw.address.unwrap_or(DEFAULT_ADDRESS),
            gateway: raw.gateway.unwrap_or(DEFAULT_GATEWAY),
            mtu: raw.mtu,
            flow_quota: raw
                .flow_quota
                .unwrap_or(AttachRequest::default_flow_quota()),
            flow_rate: raw.flow_rate.unwrap_or(AttachRequest::default_flow_rate()),
            flow_burst: raw
                .flow_burst
                .unwrap_or(AttachRequest::default_flow_burst()),
            device,
            owner: raw.owner.unwrap_or(0),
            dns: raw.dns,
            previous: raw.prev_result,
            valid: lists_attachments.then_some(valid),
        })
    }

    /// The function to attach and its account. What the configuration says holds: what is
    /// said of one container may complete it, and not contradict it.
    pub fn function(&self, invocation: &Invocation) -> Result<(String, Account), CniError> {
        let variable = &invocation.arguments;
        let function = agreed(
            "function",
            [
                &self.whose.function,
                &variable.function,
                &self.argument.function,
            ],
        )?;
        let account = agreed(
            "account",
            [
                &self.whose.account,
                &variable.account,
                &self.argument.account,
            ],
        )?;
        let Some(function) = function else {
            return Err(wrong(
                "no function to attach: name it with \"function\" in the network configuration, \
                 VPC_FUNCTION in CNI_ARGS, or \"function\" in args.cni",
            ));
        };
        let account = account.map(|account| Account::try_from(account.to_owned()));
        let account = account.transpose().map_err(wrong)?.unwrap_or_default();
        Ok((function.to_owned(), account))
    }
}

impl Raw {
    /// What would have no effect although somebody asks for it.
    fn refuse_unsupported(&self) -> Result<(), CniError> {
        let is_ours = |key: &str| IGNORED.contains(&key) || key.starts_with("cni.dev/");
        if let Some((key, value)) = self.others.iter().find(|(key, _)| !is_ours(key)) {
            return Err(unsupported(key, value, "remove it"));
        }
        let is_empty = |ipam: &Value| ipam.as_object().is_some_and(Map::is_empty);
        match &self.ipam {
            Some(ipam) if !is_empty(ipam) => Err(unsupported(
                "ipam",
                ipam,
                "remove it: all containers may have the one \"address\"",
            )),
            _ if self.ip_masq == Some(true) => Err(unsupported(
                "ipMasq",
                &Value::Bool(true),
                "remove it: the data path translates addresses anyway",
            )),
            _ => Ok(()),
        }
    }
}

fn unsupported(key: &str, value: &Value, remedy: &str) -> CniError {
    let message = format!(
        "the network configuration has {key:?} with the value {value}, which this plugin does \
         not support: {remedy}"
    );
    CniError::new(Code::UnsupportedField, message)
}

fn wrong(message: impl Into<String>) -> CniError {
    CniError::new(Code::Configuration, message)
}

/// The one thing that all say who say anything.
fn agreed<'a>(what: &str, said: [&'a Option<String>; 3]) -> Result<Option<&'a str>, CniError> {
    let mut said = said.into_iter().flatten();
    let first = said.next();
    match said.find(|other| first != Some(other)) {
        None => Ok(first.map(String::as_str)),
        Some(other) => {
            let first = first.map_or("", String::as_str);
            Err(wrong(format!(
                "the {what} is {first:?}, and {other:?} is asked for: leave \"{what}\" out of the \
                 network configuration if containers may choose, or out of their arguments"
            )))
        }
    }
}
