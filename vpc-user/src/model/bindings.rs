//! Who was behind an ENI's address and port at a time.

use std::net::{Ipv4Addr, SocketAddr};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

/// A question about flows, open ones and such that have ended. What is left out may be
/// anything.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WhoRequest {
    /// The ENI's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Ipv4Addr>,
    /// The first and the last port on the ENI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<(u16, u16)>,
    /// IP protocol number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<u8>,
    /// Where the other end is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<Ipv4Net>,
    /// The other end's port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_port: Option<u16>,
    /// The environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// The function: its qualified ARN, its ARN without the version, or its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// A flow counts if it was open at some moment from here, Unix milliseconds,
    pub from: u64,
    /// to here, inclusive.
    pub to: u64,
    /// The most flows of the answer.
    pub limit: usize,
}

/// To [`super::Request::Who`].
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Bindings {
    /// Flows, open ones first, then the one that ended last.
    pub bindings: Vec<BindingInfo>,
    /// There are more than the limit.
    pub truncated: bool,
    /// What could not be read, a sentence each: flows may be missing.
    pub skipped: Vec<String>,
}

/// A flow, and who was behind it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct BindingInfo {
    /// When it began, Unix milliseconds.
    pub start: u64,
    /// When it was taken down, Unix milliseconds; none: it is open.
    pub end: Option<u64>,
    /// The environment.
    pub environment: String,
    /// The version of a function that it ran, by its qualified ARN.
    pub function: Option<String>,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// The environment's own address and port.
    pub inside: SocketAddr,
    /// The ENI's.
    pub outside: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// The ENI.
    pub interface_id: String,
    /// Its VPC.
    pub vpc_id: String,
}
