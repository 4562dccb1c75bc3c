//! Refusals. Each prints as one sentence: key, value, cause, remedy.

use std::{fmt, io, net::Ipv4Addr, path::PathBuf};

use ipnet::Ipv4Net;

use super::{INTERFACE_NAME_MAX, SOCKET_PATH_MAX};

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("{} cannot be read ({cause}): check the path", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The text is not TOML, or not of this shape.
    #[error("line {line}, column {column} is not accepted: {message}: correct or remove it")]
    Syntax {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// What the parser said.
        message: String,
    },
    /// A value is of the right shape but cannot be used.
    #[error("{key} = {value} {problem}")]
    Refused {
        /// Where in the file.
        key: Key,
        /// The value as written.
        value: String,
        /// Cause and remedy.
        problem: Problem,
    },
}

impl ConfigError {
    /// What the parser says, with its place in the text.
    pub(super) fn syntax(text: &str, error: &toml::de::Error) -> Self {
        let offset = error.span().map_or(0, |span| span.start);
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self::Syntax {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message: error.message().trim_end().replace('\n', ", "),
        }
    }
}

/// A place in the file: the table it is in, and the key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Key {
    /// Such as `group "blue-app"`; empty at the top level.
    pub table: String,
    /// Such as `subnet`.
    pub name: String,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.table.is_empty() {
            write!(f, "{}: ", self.table)?;
        }
        f.write_str(&self.name)
    }
}

/// What is wrong with a value, and what to write instead: the end of a sentence
/// that begins with the value.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message says it")]
pub enum Problem {
    #[error(
        "is not a name: use 1 to 63 characters of a-z, 0-9, '.', '_' and '-', starting with a \
         letter or digit"
    )]
    NotAName,
    #[error("is the name of another {kind} too: give each {kind} a name of its own")]
    NameTaken { kind: &'static str },
    #[error(
        "is not the name of an interface: use the name `ip link` shows, 1 to {INTERFACE_NAME_MAX} \
         characters without '/', ':' and spaces"
    )]
    NotAnInterface,
    #[error("is the interface of uplink {by:?} too: give each uplink an interface of its own")]
    InterfaceTaken { by: String },
    #[error("is not an absolute path: begin it with '/'")]
    NotAbsolute,
    #[error(
        "is {length} bytes long and a socket's path is at most {SOCKET_PATH_MAX}: choose a \
         shorter one"
    )]
    SocketPathTooLong { length: usize },
    #[error("names no namespace: give the name `ip netns` shows or a path, or leave the key out")]
    NotANamespace,
    #[error("is not a profile: use \"aws\" or \"rfc\"")]
    NotAProfile,
    #[error("is not a hook: use \"auto\", \"xdp\" or \"tc\"")]
    NotAHook,
    #[error("is no way to attach TC programs: use \"auto\", \"tcx\" or \"clsact\"")]
    NotAnAttachment,
    #[error("is not the name of an uplink ({known}): correct it or add an [[uplink]]")]
    UnknownUplink { known: String },
    #[error("is not an IPv4 prefix: write it like \"10.0.0.0/24\"")]
    NotAPrefix,
    #[error("has a prefix length outside /8 to /30: choose a subnet of such a size")]
    PrefixLength,
    #[error("has bits set beyond its prefix length: write \"{network}\"")]
    NotCanonical { network: Ipv4Net },
    #[error("is not a range of unicast addresses: choose a subnet of the VPC")]
    SubnetNotUnicast,
    #[error(
        "overlaps {other} of group {by:?} on the same uplink: groups of one uplink have equal or \
         disjoint subnets, so correct one of them"
    )]
    SubnetOverlaps { other: Ipv4Net, by: String },
    #[error("is not an IPv4 address: write it like \"10.0.0.10\"")]
    NotAnAddress,
    #[error("is not a unicast address: choose a host address of the subnet {subnet}")]
    NotUnicast { subnet: Ipv4Net },
    #[error("lies outside the subnet {subnet}: choose an address inside it")]
    OutsideSubnet { subnet: Ipv4Net },
    #[error("is the network address of {subnet}: choose a host address of it")]
    NetworkAddress { subnet: Ipv4Net },
    #[error("is the broadcast address of {subnet}: choose a host address of it")]
    BroadcastAddress { subnet: Ipv4Net },
    #[error("is {user} already: give each ENI of an uplink an address that nothing else has")]
    AddressTaken { user: AddressUser },
    #[error("names no address: give the group at least one ENI")]
    NoEni,
    #[error("holds {count} addresses and a group has at most {max} ENIs: split the group")]
    TooManyEnis { count: usize, max: usize },
    #[error("is not a timeout: use one of {known}")]
    UnknownPhase { known: String },
    #[error("is outside {min} to {max}: choose a number in that range")]
    OutOfRange { min: i64, max: i64 },
    #[error("is less than the {count} {what} configured: raise it to {count} at least")]
    TableTooSmall { count: usize, what: &'static str },
}

/// Who has an address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AddressUser {
    /// The router of a group.
    Router(String),
    /// An ENI of a group.
    Eni(String),
}

impl fmt::Display for AddressUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Router(group) => write!(f, "the router of group {group:?}"),
            Self::Eni(group) => write!(f, "an ENI of group {group:?}"),
        }
    }
}

/// Where a value stands, to refuse it from.
#[derive(Clone, Debug)]
pub(super) struct Place {
    table: String,
}

impl Place {
    pub(super) fn top() -> Self {
        Self {
            table: String::new(),
        }
    }

    pub(super) fn limits() -> Self {
        Self {
            table: "limits".into(),
        }
    }

    /// The table `kind` by its name; by its number from 1 while the name is in doubt.
    pub(super) fn named(kind: &str, name: &str) -> Self {
        Self {
            table: format!("{kind} {name:?}"),
        }
    }

    /// See [`Place::named`].
    pub(super) fn numbered(kind: &str, index: usize) -> Self {
        Self {
            table: format!("{kind} number {}", index + 1),
        }
    }

    /// The refusal of a value that is text.
    pub(super) fn refuse(&self, key: &str, value: &str, problem: Problem) -> ConfigError {
        self.refuse_plain(key, format!("{value:?}"), problem)
    }

    /// The refusal of an address.
    pub(super) fn refuse_address(
        &self,
        key: &str,
        value: Ipv4Addr,
        problem: Problem,
    ) -> ConfigError {
        self.refuse(key, &value.to_string(), problem)
    }

    /// The refusal of a value that is not text.
    pub(super) fn refuse_plain(
        &self,
        key: &str,
        value: impl ToString,
        problem: Problem,
    ) -> ConfigError {
        let key = Key {
            table: self.table.clone(),
            name: key.to_owned(),
        };
        ConfigError::Refused {
            key,
            value: value.to_string(),
            problem,
        }
    }
}
