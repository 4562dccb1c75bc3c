//! The edge of a VPC: gateways, elastic addresses, endpoints, peering connections,
//! interfaces and flow logs.
//!
//! Peering connections and interfaces decide what packets may do; the others are kept,
//! checked and shown through their life as on AWS, and have no data path yet.

mod elastic_address;
mod endpoint;
mod flow_log;
mod interface;
mod internet_gateway;
mod lookup;
mod names;
mod nat_gateway;
mod peering;
mod request;
#[cfg(test)]
mod tests;
mod time;

use serde_json::Value;

use super::{Act, addresses, tags::TagSpecification};
use crate::control::{ApiError, Record, State};

pub use elastic_address::*;
pub use endpoint::{CreateVpcEndpoint, DeleteVpcEndpoints, ModifyVpcEndpoint, SubnetConfiguration};
pub use flow_log::{CreateFlowLogs, DeleteFlowLogs, DestinationOptions, delivered};
pub use interface::*;
pub use internet_gateway::*;
pub use names::{private_dns_name, zone_id};
pub use nat_gateway::*;
pub use peering::{
    AcceptVpcPeeringConnection, CreateVpcPeeringConnection, DeleteVpcPeeringConnection,
    RejectVpcPeeringConnection, end_with_vpc,
};
pub use time::{next_tick, tick};

/// What a request is answered: the members of AWS's reply, or why it is refused.
type Answer = Result<Value, ApiError>;

/// A resource as its element of the matching Describe reply shows it, with boto3's names
/// of members.
pub fn shown(state: &State, record: &Record) -> Value {
    match record {
        Record::InternetGateway(gateway) => internet_gateway::shown(gateway),
        Record::Address(address) => elastic_address::shown(state, address),
        Record::NatGateway(gateway) => nat_gateway::shown(gateway),
        Record::Endpoint(endpoint) => endpoint::shown(state, endpoint),
        Record::Peering(peering) => peering::shown(state, peering),
        Record::Interface(interface) => interface::shown(state, interface),
        Record::FlowLog(log) => flow_log::shown(log),
        _ => record.to_value().unwrap_or_default(),
    }
}
