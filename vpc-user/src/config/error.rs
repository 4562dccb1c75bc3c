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
        problem: Box<Problem>,
    },
    /// A table has none of several keys of which it needs one.
    #[error("{table} has none of the keys {choice}: add one of them")]
    Missing {
        /// Such as `route_table "main", route number 2`.
        table: String,
        /// The keys.
        choice: &'static str,
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
        "is kept in the store, because there is [control]: take it out of this file and hand it \
         to `vpc apply`"
    )]
    KeptInStore,
    #[error(
        "is made by the control plane and not by the agent's own file: hand it to `vpc apply`, of \
         an agent with [control]"
    )]
    Declared,
    #[error("is not accepted: {why}")]
    NotADestination { why: String },
    #[error("is not a Region or zone: use 1 to 32 characters of a-z, 0-9 and '-'")]
    NotARegion,
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
    #[error("is no way to attach TC programs: use \"auto\", \"tcx\" or \"filter\"")]
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
    #[error("is less than the {count} {what} of {of}: have fewer, or raise the quota")]
    QuotaExceeded {
        count: u64,
        what: &'static str,
        of: String,
    },
    #[error("names no [[{kind}]] ({known}): correct it or add one")]
    Unknown { kind: &'static str, known: String },
    #[error("is of VPC {theirs:?}, not of {ours:?}: name one of VPC {ours:?}")]
    OtherVpc { theirs: String, ours: String },
    #[error("is not allowed beside the key {other}: keep one of the keys {choice}")]
    Beside {
        other: &'static str,
        choice: &'static str,
    },
    #[error("leaves no room for \"{suffix}\" behind a VPC's name: choose a shorter one")]
    NoRoomForSuffix { suffix: &'static str },
    #[error(
        "does not go with the name, which VPC {owner:?} has for a [[{kind}]] of its own: choose \
         another name, or write vpc = {owner:?}"
    )]
    DefaultOfOther { kind: &'static str, owner: String },
    #[error("names no CIDR block: give the VPC at least one")]
    NoCidr,
    #[error("has a prefix length outside /16 to /28: choose a size that AWS allows")]
    AwsPrefixLength,
    #[error("is not a range of unicast addresses: choose one, such as a part of 10.0.0.0/8")]
    BlockNotUnicast,
    #[error("overlaps {other} of the same VPC: give a VPC disjoint CIDR blocks")]
    CidrsOverlap { other: Ipv4Net },
    #[error("is the uplink of VPC {by:?} too: give each VPC an uplink of its own")]
    UplinkOfOtherVpc { by: String },
    #[error("is no way of delivery: use \"router\" or \"on-link\"")]
    NotADelivery,
    #[error("is in the list already: remove one of the two")]
    PrefixTwice,
    #[error("holds {count} prefixes and max_entries is {max}: raise max_entries or remove some")]
    TooManyPrefixes { count: usize, max: u32 },
    #[error(
        "is not a protocol: use \"tcp\", \"udp\", \"icmp\", \"all\", or a number from 0 to 255 \
         as text"
    )]
    NotAProtocol,
    #[error("needs the key ports: add it, as in \"443\", or \"0-65535\" for all ports")]
    PortsMissing,
    #[error("has no meaning for this protocol: remove it, or make the protocol \"tcp\" or \"udp\"")]
    PortsUnused,
    #[error(
        "is neither a port nor a range of ports, 0 to 65535: write it like \"443\" or \
         \"1024-65535\""
    )]
    NotPorts,
    #[error("ends before it begins: write \"{last}-{first}\"")]
    PortsReversed { first: u16, last: u16 },
    #[error("has no meaning for this protocol: remove it, or make the protocol \"icmp\"")]
    IcmpUnused,
    #[error(
        "is neither an ICMP type nor a type and a code, each 0 to 255: write it like \"8\" or \
         \"3/4\", or leave the key out for all ICMP"
    )]
    NotIcmp,
    #[error("is in {direction} already ({rule}): remove one of the two")]
    RuleTwice {
        direction: &'static str,
        rule: String,
    },
    #[error("is not an action: use \"allow\" or \"deny\"")]
    NotAnAction,
    #[error("is the number of another entry of {direction}: give each a number of its own")]
    NumberTaken { direction: &'static str },
    #[error("is the destination of another route of the table: keep one of them")]
    DestinationTaken,
    #[error("{through}lies in {range}, into which nothing is forwarded: remove the route")]
    NeverForwarded { through: String, range: Ipv4Net },
    #[error(
        "{through}lies in {cidr}, which the VPC routes as local: remove the route, or give one to \
         an interface for the whole CIDR of a subnet"
    )]
    Local { through: String, cidr: Ipv4Net },
    #[error("connects other VPCs than {vpc:?}: name a [[peering]] of VPC {vpc:?}")]
    PeeringOfOthers { vpc: String },
    #[error(
        "routes {destination} to interface {interface:?} outside the subnet, where group {group:?} \
         has no router to reach it by: give the subnet a router, or the VPC local = \"on-link\""
    )]
    NoWayToInterface {
        destination: String,
        interface: String,
        group: String,
    },
    #[error("lies outside the CIDR blocks of VPC {vpc:?} ({cidrs}): choose one inside")]
    OutsideVpc { vpc: String, cidrs: String },
    #[error("overlaps {other} of subnet {by:?}: give a VPC disjoint subnets")]
    OverlapsSubnet { other: Ipv4Net, by: String },
    #[error("is one of the first four addresses of {subnet}, which AWS keeps: choose another")]
    Reserved { subnet: Ipv4Net },
    #[error("is {user} already: give each interface of a VPC an address that nothing else has")]
    InterfaceAddressTaken { user: AddressUser },
    #[error("names no security group: name one, or leave the key out for the default group")]
    NoSecurityGroup,
    #[error("is named twice: name each security group once")]
    SecurityGroupTwice,
    #[error("does not name two VPCs: name both ends, which are different VPCs")]
    NotTwoVpcs,
    #[error("overlap in {first} and {second}: peer VPCs whose CIDR blocks are disjoint")]
    PeersOverlap { first: Ipv4Net, second: Ipv4Net },
    #[error("are peered by {by:?} already: remove one of the two")]
    PeeredTwice { by: String },
    #[error("is for neither VPC of the peering: use {first:?} or {second:?} as the key")]
    NotAnEnd { first: String, second: String },
    #[error(
        "is neither a [[subnet]] ({known}) nor an IPv4 prefix: correct it, add the subnet, or \
         write a prefix like \"10.0.0.0/24\""
    )]
    NeitherSubnet { known: String },
    #[error(
        "is a prefix, and only a [[subnet]] has an uplink of its own: add the key uplink, or name \
         a [[subnet]]"
    )]
    UplinkMissing,
    #[error("is known from subnet {subnet:?}: remove the key")]
    KnownFromSubnet { subnet: String },
    #[error(
        "are of no use to a group whose subnet is a prefix: name a [[subnet]], or remove the key"
    )]
    NoVpcForGroups,
}

/// Who has an address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AddressUser {
    /// The router of a group.
    Router(String),
    /// An ENI of a group.
    Eni(String),
    /// A network interface.
    Interface(String),
    /// The router of a subnet.
    SubnetRouter(String),
    /// A router of a peering connection.
    PeeringRouter(String),
}

impl fmt::Display for AddressUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Router(group) => write!(f, "the router of group {group:?}"),
            Self::Eni(group) => write!(f, "an ENI of group {group:?}"),
            Self::Interface(name) => write!(f, "the address of interface {name:?}"),
            Self::SubnetRouter(subnet) => write!(f, "the router of subnet {subnet:?}"),
            Self::PeeringRouter(name) => write!(f, "a router of peering {name:?}"),
        }
    }
}

/// Where a value stands, to refuse it from.
#[derive(Clone, Debug)]
pub(super) struct Place {
    table: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.table)
    }
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

    pub(super) fn control() -> Self {
        Self {
            table: "control".into(),
        }
    }

    pub(super) fn flow_logs() -> Self {
        Self {
            table: "flow_logs".into(),
        }
    }

    pub(super) fn quotas() -> Self {
        Self {
            table: "quotas".into(),
        }
    }

    /// A table within this one, such as `egress number 2`.
    pub(super) fn inside(&self, what: impl fmt::Display) -> Self {
        Self {
            table: format!("{}, {what}", self.table),
        }
    }

    /// The refusal of a table that has none of several keys.
    pub(super) fn missing(&self, choice: &'static str) -> ConfigError {
        ConfigError::Missing {
            table: self.table.clone(),
            choice,
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
            problem: Box::new(problem),
        }
    }
}

/// The one key of several that a table has, with its value. Of two, the later in
/// `keys` is refused.
pub(super) fn one_of<'a>(
    place: &Place,
    choice: &'static str,
    keys: &[(&'static str, Option<&'a str>)],
) -> Result<(&'static str, &'a str), ConfigError> {
    let mut given = keys
        .iter()
        .filter_map(|(key, value)| Some((*key, (*value)?)));
    let Some(first) = given.next() else {
        return Err(place.missing(choice));
    };
    match given.next() {
        None => Ok(first),
        Some((key, value)) => {
            let other = first.0;
            Err(place.refuse(key, value, Problem::Beside { other, choice }))
        }
    }
}
