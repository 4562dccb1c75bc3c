//! Gateways, addresses, endpoints, DHCP options and flow logs as written: for `vpc apply`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One `[[internet_gateway]]`.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawInternetGateway {
    /// Its name.
    pub name: String,
    /// The VPC that it is attached to; absent, to none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vpc: Option<String>,
}

/// One `[[address]]`: an elastic one, which the control plane chooses.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawAddress {
    /// Its name.
    pub name: String,
}

/// One `[[nat_gateway]]`.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawNatGateway {
    /// Its name.
    pub name: String,
    /// Its subnet.
    pub subnet: String,
    /// Its `[[address]]`; absent, it is a private one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

/// One `[[endpoint]]`: with route tables a gateway endpoint, with subnets an interface
/// endpoint.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawEndpoint {
    /// Its name.
    pub name: String,
    /// Its VPC.
    pub vpc: String,
    /// The service, as `com.amazonaws.us-east-1.s3`.
    pub service: String,
    /// Route tables that lead to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub route_tables: Vec<String>,
    /// Subnets in which it has an interface.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subnets: Vec<String>,
    /// Security groups of its interfaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub security_groups: Vec<String>,
    /// Whether the service's own name leads to it, which the VPC's `dns_hostnames` needs;
    /// absent, it does not.
    #[serde(default)]
    pub private_dns: bool,
    /// Who may use it for what, as a JSON document; absent, everybody for everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
}

/// One `[[dhcp_options]]`.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawDhcpOptions {
    /// Its name.
    pub name: String,
    /// Options by AWS's names, as `domain-name-servers`, with their values.
    #[serde(default)]
    pub option: BTreeMap<String, Vec<String>>,
}

/// One `[[flow_log]]`, of a VPC, a subnet or an interface.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawFlowLog {
    /// Its name.
    pub name: String,
    /// What it is of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vpc: Option<String>,
    /// What it is of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subnet: Option<String>,
    /// What it is of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// `ALL`, `ACCEPT` or `REJECT`; absent, `ALL`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traffic: Option<String>,
    /// An ARN: of a bucket, with a folder if wanted, a log group, or a delivery stream.
    pub destination: String,
    /// The role that delivers to a log group, as an ARN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Its fields, as `${version} ${interface-id}`; absent, those of version 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Seconds; absent, 600.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<u32>,
}
