//! What `vpc explain` asks, and what the agent answers.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddrV4},
    num::NonZeroU16,
    str::FromStr,
};

use serde::{Deserialize, Serialize};
use vpc_common::state::{TCP, UDP};

use super::ObjectName;

/// A protocol that environments open flows with.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Carried {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Carried {
    /// The IP protocol number.
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => TCP,
            Self::Udp => UDP,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// The other end of a flow, as people write it: `10.0.3.7:443/tcp`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Endpoint {
    /// Its address.
    pub address: Ipv4Addr,
    /// Its port.
    pub port: NonZeroU16,
    /// TCP or UDP.
    pub protocol: Carried,
}

/// Text that is no [`Endpoint`].
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EndpointError {
    /// Not of this shape.
    #[error("{0:?} is no address with port and protocol: write it like 10.0.3.7:443/tcp")]
    Shape(String),
    /// A protocol that no flow has.
    #[error(
        "{text:?} is not carried: environments open flows of TCP and UDP only, and {protocol} \
         goes no further than their gateway: ask for tcp or udp"
    )]
    NotCarried {
        /// All of it.
        text: String,
        /// The protocol.
        protocol: String,
    },
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let shape = || EndpointError::Shape(text.to_owned());
        let (socket, protocol) = text.rsplit_once('/').ok_or_else(shape)?;
        let protocol = match protocol {
            "tcp" => Carried::Tcp,
            "udp" => Carried::Udp,
            "" => return Err(shape()),
            other => {
                return Err(EndpointError::NotCarried {
                    text: text.to_owned(),
                    protocol: other.to_owned(),
                });
            }
        };
        let socket: SocketAddrV4 = socket.parse().map_err(|_| shape())?;
        Ok(Self {
            address: *socket.ip(),
            port: NonZeroU16::new(socket.port()).ok_or_else(shape)?,
            protocol,
        })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            address,
            port,
            protocol,
        } = self;
        write!(f, "{address}:{port}/{}", protocol.word())
    }
}

impl TryFrom<String> for Endpoint {
    type Error = EndpointError;
    fn try_from(text: String) -> Result<Self, EndpointError> {
        text.parse()
    }
}

impl From<Endpoint> for String {
    fn from(endpoint: Endpoint) -> Self {
        endpoint.to_string()
    }
}

/// What becomes of a packet of an environment?
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExplainRequest {
    /// The environment.
    pub environment: ObjectName,
    /// Where to.
    pub to: Endpoint,
    /// The environment's own port: asks for the next packet of that flow, if it is open.
    /// Without it the question is about a new flow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_port: Option<NonZeroU16>,
}

/// What becomes of a packet, and who decides so.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Explanation {
    /// The environment.
    pub environment: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// The version of a function that it runs, by its ARN; `None`: it was attached to a
    /// group of the configuration.
    #[serde(default)]
    pub function: Option<String>,
    /// Its group of ENIs; empty if that is gone.
    pub group: String,
    /// Where to.
    pub to: Endpoint,
    /// The ENI it leaves from: that of the flow, else the first that has room. `None`:
    /// no ENI has.
    pub eni: Option<ExplainedEni>,
    /// The open flow: the one that was asked for, else the first to the same end.
    pub flow: Option<ExplainedFlow>,
    /// The verdict is that on the flow's next packet rather than on a new flow.
    pub tracked: bool,
    /// Of the security groups. `None`, here and below: the packet does not get that far.
    pub security_groups: Option<Stage>,
    /// Of the subnet's network ACL, for the packet.
    pub network_acl_out: Option<Stage>,
    /// Of the route table.
    pub route: Option<RouteStage>,
    /// Of the subnet's network ACL, for the answer.
    pub reply: Option<ReplyStage>,
    /// `allowed`, or [`vpc_common::drop::DropReason::label`].
    pub verdict: String,
    /// The verdict as a sentence.
    pub description: String,
}

impl Explanation {
    /// The verdict on a packet that goes out.
    pub const ALLOWED: &'static str = "allowed";
}

/// An ENI.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ExplainedEni {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its uplink.
    pub uplink: String,
}

/// An open flow.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ExplainedFlow {
    /// Index of its slot.
    pub slot: u32,
    /// Which use of the slot it is.
    pub epoch: u32,
    /// [`vpc_common::state::Phase::label`].
    pub state: String,
    /// The environment's port.
    pub inside_port: u16,
    /// The ENI's port.
    pub outside_port: u16,
}

/// Why a stage decides as it does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StageDecision {
    /// A rule of a security group allows it.
    Rule,
    /// No rule of the security groups allows it.
    NoRule,
    /// No rule does any more, but the flow is open, and therefore goes on.
    Tracked,
    /// An entry of the network ACL.
    Entry,
    /// No entry of the network ACL matches.
    NoEntry,
    /// Both ends are in the subnet, between whose addresses no network ACL stands.
    SameSubnet,
    /// Neither security groups nor network ACLs apply to the address.
    Unfiltered,
    /// What is in force is not from the configuration as it is.
    Unknown,
}

/// What security groups or a network ACL say.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Stage {
    /// Whether the packet may pass.
    pub allows: bool,
    /// Why.
    pub decision: StageDecision,
    /// The security group or network ACL.
    pub object: Option<String>,
    /// Which of its rules, from 1, or the entry's number.
    pub number: Option<u32>,
    /// Protocol and ports of the rule or entry.
    pub traffic: Option<String>,
    /// The addresses that it is about.
    pub cidr: Option<String>,
}

impl Stage {
    /// A decision that no rule or entry stands for.
    pub const fn bare(allows: bool, decision: StageDecision) -> Self {
        Self {
            allows,
            decision,
            object: None,
            number: None,
            traffic: None,
            cidr: None,
        }
    }
}

/// Where a route leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RouteTarget {
    /// To the destination itself.
    OnLink,
    /// To a router or an interface.
    Via,
    /// Nowhere: the target is gone.
    Blackhole,
    /// There is no route.
    NoRoute,
}

/// What the routes say.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RouteStage {
    /// Whether the packet goes anywhere.
    pub allows: bool,
    /// Where to.
    pub target: RouteTarget,
    /// The route, or the range that is never forwarded to.
    pub route: Option<String>,
    /// Its destination.
    pub cidr: Option<String>,
    /// The uplink it leaves by.
    pub uplink: Option<String>,
    /// Whose MAC the packet is sent to.
    pub next_hop: Option<Ipv4Addr>,
    /// That MAC; `None`: the first packet has it asked for.
    pub mac: Option<String>,
}

/// What the network ACL says of answers.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ReplyStage {
    /// Whether they may enter, whatever the ENI's port is.
    pub allows: bool,
    /// The ENI's ports, of which an open flow has one: neighbouring ones that fare alike
    /// are one range.
    pub ranges: Vec<ReplyRange>,
}

/// Ports of an ENI that fare alike.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ReplyRange {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
    /// What is said of the first: of the others another entry may say the same.
    #[serde(flatten)]
    pub stage: Stage,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_read_and_written_alike() {
        for text in [
            "10.0.3.7:443/tcp",
            "10.0.0.2:53/udp",
            "255.255.255.255:65535/tcp",
        ] {
            let endpoint: Endpoint = text.parse().expect(text);
            assert_eq!(endpoint.to_string(), text);
        }
        let json = "{\"environment\":\"fn-1\",\"to\":\"10.0.3.7:443/tcp\"}";
        let request: ExplainRequest = serde_json::from_str(json).expect("a request");
        assert_eq!(request.from_port, None);
        assert_eq!(serde_json::to_string(&request).expect("text"), json);
    }

    #[test]
    fn what_is_no_endpoint_is_refused_in_one_sentence() {
        for wrong in [
            "",
            "10.0.3.7",
            "10.0.3.7:443",
            "10.0.3.7/tcp",
            "10.0.3.7:443/",
            "10.0.3.7:0/tcp",
            "10.0.3.7:65536/tcp",
            "10.0.3:443/tcp",
            "10.0.3.7:+443/tcp",
            "[::1]:443/tcp",
            "host:443/tcp",
            " 10.0.3.7:443/tcp",
        ] {
            let refused = wrong.parse::<Endpoint>().expect_err(wrong);
            assert_eq!(
                refused.to_string(),
                format!(
                    "{wrong:?} is no address with port and protocol: write it like \
                     10.0.3.7:443/tcp"
                )
            );
        }
    }

    #[test]
    fn icmp_is_not_carried() {
        for text in ["10.0.3.7/icmp", "10.0.3.7:8/icmp", "10.0.3.7:0/47"] {
            let refused = text.parse::<Endpoint>().expect_err(text).to_string();
            assert!(
                refused.starts_with(&format!("{text:?} is not carried: ")),
                "{refused}"
            );
        }
    }
}
