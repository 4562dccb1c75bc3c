//! What a runtime says in environment variables
//! (<https://www.cni.dev/docs/spec/#parameters>).

use std::collections::BTreeMap;

use super::{CniError, Code, Version};
use crate::config::is_interface_name;

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verb {
    /// Attach a container.
    Add,
    /// Detach it.
    Del,
    /// Look whether it is attached.
    Check,
    /// Detach all that are not in a list.
    Gc,
    /// Look whether containers could be attached.
    Status,
    /// Tell the versions.
    Version,
}

impl Verb {
    /// That of `CNI_COMMAND`.
    pub fn of(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, CniError> {
        let given = variable("CNI_COMMAND").unwrap_or_default();
        Ok(match given.as_str() {
            "ADD" => Self::Add,
            "DEL" => Self::Del,
            "CHECK" => Self::Check,
            "GC" => Self::Gc,
            "STATUS" => Self::Status,
            "VERSION" => Self::Version,
            _ => {
                let message = format!(
                    "CNI_COMMAND is {given:?}: a container runtime starts this program, with ADD, \
                     DEL, CHECK, GC, STATUS or VERSION"
                );
                return Err(CniError::new(Code::Variables, message));
            }
        })
    }

    /// Whether the version of a network configuration has the verb.
    pub fn known_to(self, version: Version) -> Result<(), CniError> {
        let is_new = matches!(self, Self::Gc | Self::Status);
        if is_new && version < Version::V1_1_0 {
            let message = format!(
                "GC and STATUS are of CNI 1.1.0, and the network configuration is of {}: raise \
                 its \"cniVersion\"",
                version.as_str()
            );
            return Err(CniError::new(Code::IncompatibleVersion, message));
        }
        Ok(())
    }
}

/// What is to be done with which container. Empty: not said, and not needed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Invocation {
    /// `CNI_CONTAINERID`.
    pub container: String,
    /// `CNI_NETNS`: path of the container's network namespace.
    pub netns: String,
    /// `CNI_IFNAME`: what the interface is called inside.
    pub interface: String,
    /// `CNI_ARGS`.
    pub arguments: Arguments,
}

impl Invocation {
    /// Reads the variables that a verb needs.
    pub fn of(verb: Verb, variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, CniError> {
        if matches!(verb, Verb::Gc | Verb::Status | Verb::Version) {
            return Ok(Self::default());
        }
        let needs_netns = verb != Verb::Del;
        let get = |name| variable(name).unwrap_or_default();
        let invocation = Self {
            container: get("CNI_CONTAINERID"),
            netns: get("CNI_NETNS"),
            interface: get("CNI_IFNAME"),
            arguments: Arguments::parse(&get("CNI_ARGS"))?,
        };
        let netns = invocation.netns.as_str();
        let is_netns = netns.starts_with('/') || (netns.is_empty() && !needs_netns);
        let checks = [
            ("CNI_CONTAINERID", is_identifier(&invocation.container)),
            ("CNI_NETNS", is_netns),
            ("CNI_IFNAME", is_interface_name(&invocation.interface)),
        ];
        let wrong = checks.iter().filter(|(_, is_right)| !is_right);
        let wrong: Vec<String> = wrong
            .map(|(name, _)| match variable(name) {
                None => format!("{name} is missing"),
                Some(value) => format!("{name} cannot be {value:?}"),
            })
            .collect();
        if wrong.is_empty() {
            return Ok(invocation);
        }
        Err(CniError::new(Code::Variables, wrong.join("; ")))
    }
}

/// Whether it can name a container or a network: alphanumeric, and `_`, `.`, `-` but not
/// in front.
pub(super) fn is_identifier(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    text.starts_with(|first: char| first.is_ascii_alphanumeric()) && text.bytes().all(is_allowed)
}

/// `CNI_ARGS`: `KEY=VALUE` pairs with semicolons between them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Arguments {
    /// `VPC_FUNCTION`.
    pub function: Option<String>,
    /// `VPC_ACCOUNT`.
    pub account: Option<String>,
}

impl Arguments {
    /// Reads them. What is neither ours nor `IgnoreUnknown` is refused, unless that is 1.
    pub fn parse(text: &str) -> Result<Self, CniError> {
        let wrong = |message| CniError::new(Code::Variables, message);
        let mut pairs = BTreeMap::new();
        for pair in text.split(';').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').ok_or_else(|| {
                wrong(format!(
                    "CNI_ARGS has {pair:?}, which is no KEY=VALUE: correct it"
                ))
            })?;
            pairs.insert(key, value);
        }
        let mut take = |key| pairs.remove(key).map(str::to_owned);
        let arguments = Self {
            function: take("VPC_FUNCTION"),
            account: take("VPC_ACCOUNT"),
        };
        let ignores_unknown = take("IgnoreUnknown")
            .is_some_and(|value| matches!(value.to_ascii_lowercase().as_str(), "1" | "true"));
        match pairs.keys().next() {
            Some(key) if !ignores_unknown => Err(wrong(format!(
                "CNI_ARGS has {key:?}, which this plugin does not know: remove it, or add \
                 IgnoreUnknown=1"
            ))),
            _ => Ok(arguments),
        }
    }
}
