//! What an endpoint must be like.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    super::{lookup, names::service_parts, request::invalid_parameter},
    own, state,
};
use crate::control::{
    ApiError, Id, Settings, State,
    resource::{Endpoint, EndpointType, RouteTable, SecurityGroup, Subnet, Vpc},
};

/// Characters of a policy.
const POLICY_MAX: usize = 20_480;

/// Services that gateway endpoints lead to.
const GATEWAY_SERVICES: [&str; 2] = ["s3", "dynamodb"];

/// A new one: its service exists, and it is not one too many.
pub fn new(state: &State, endpoint: &Endpoint, settings: &Settings) -> Result<(), ApiError> {
    let kind = endpoint.vpc_endpoint_type;
    let parts = service_parts(&endpoint.service_name);
    let exists = parts.is_some_and(|(region, service)| {
        let is_served = kind == EndpointType::Interface || GATEWAY_SERVICES.contains(&service);
        region == settings.region && is_served
    });
    if !exists {
        let message = format!(
            "The Vpc Endpoint Service '{}' does not exist",
            endpoint.service_name
        );
        return Err(ApiError::new("InvalidServiceName", message));
    }
    let live = live(state, endpoint).filter(|other| other.vpc_endpoint_type == kind);
    let (have, quota) = match kind {
        EndpointType::Gateway => (live.count(), settings.gateway_endpoints),
        EndpointType::Interface => {
            let of_vpc = live.filter(|other| other.vpc_id == endpoint.vpc_id);
            (of_vpc.count(), settings.interface_endpoints_per_vpc)
        }
    };
    if have as u64 >= u64::from(quota) {
        let message = "The maximum number of VPC endpoints has been reached.";
        return Err(ApiError::new("VpcEndpointLimitExceeded", message));
    }
    Ok(())
}

/// Others of the account that are not over.
fn live<'s>(state: &'s State, endpoint: &Endpoint) -> impl Iterator<Item = &'s Endpoint> {
    let others = state.of_account::<Endpoint>(endpoint.owner_id);
    let id = endpoint.vpc_endpoint_id.clone();
    others.filter(move |other| other.vpc_endpoint_id != id && other.state != state::DELETED)
}

/// As a whole, new or changed.
pub fn whole(state: &State, endpoint: &Endpoint, settings: &Settings) -> Result<(), ApiError> {
    policy(&endpoint.policy_document)?;
    match endpoint.vpc_endpoint_type {
        EndpointType::Gateway => gateway(state, endpoint),
        EndpointType::Interface => {
            interface(state, endpoint, settings)?;
            private_dns(state, endpoint)
        }
    }
}

fn policy(document: &str) -> Result<(), ApiError> {
    let is_object = || serde_json::from_str::<Value>(document).is_ok_and(|one| one.is_object());
    if document.chars().count() > POLICY_MAX {
        let message = format!("The policy document exceeds {POLICY_MAX} characters.");
        return Err(ApiError::new("InvalidPolicyDocument", message));
    }
    if !is_object() {
        let message = "The policy document is not a valid JSON policy document.";
        return Err(ApiError::new("InvalidPolicyDocument", message));
    }
    Ok(())
}

fn gateway(state: &State, endpoint: &Endpoint) -> Result<(), ApiError> {
    if !endpoint.subnet_ids.is_empty() || !endpoint.group_ids.is_empty() {
        let message = "Subnets and security groups are of interface endpoints only.";
        return Err(invalid_parameter(message));
    }
    if endpoint.private_dns_enabled {
        let message = "Private DNS is of interface endpoints only.";
        return Err(invalid_parameter(message));
    }
    for id in &endpoint.route_table_ids {
        let table: RouteTable = own(state, endpoint.owner_id, id.as_str())?;
        same_network(endpoint, "Route table", id, &table.vpc_id)?;
        let mut others = live(state, endpoint);
        let is_served = others.any(|other| {
            other.service_name == endpoint.service_name && other.route_table_ids.contains(id)
        });
        if is_served {
            let service = &endpoint.service_name;
            let message = format!("route table {id} already has a route to {service}");
            return Err(ApiError::new("RouteAlreadyExists", message));
        }
    }
    Ok(())
}

fn interface(state: &State, endpoint: &Endpoint, settings: &Settings) -> Result<(), ApiError> {
    if !endpoint.route_table_ids.is_empty() {
        let message = "Route tables are of gateway endpoints only.";
        return Err(invalid_parameter(message));
    }
    let mut zones = BTreeSet::new();
    for id in &endpoint.subnet_ids {
        let subnet: Subnet = own(state, endpoint.owner_id, id.as_str())?;
        same_network(endpoint, "Subnet", id, &subnet.vpc_id)?;
        if !zones.insert(subnet.availability_zone) {
            let message = format!("Found another subnet in the availability zone of {id}.");
            return Err(ApiError::new("DuplicateSubnetsInSameZone", message));
        }
    }
    for id in &endpoint.group_ids {
        let group: SecurityGroup = own(state, endpoint.owner_id, id.as_str())?;
        same_network(endpoint, "Security group", id, &group.vpc_id)?;
    }
    if endpoint.group_ids.is_empty() {
        let message = "An interface endpoint has at least one security group.";
        return Err(invalid_parameter(message));
    }
    lookup::check_group_quota(endpoint.group_ids.len(), settings)
}

fn same_network(endpoint: &Endpoint, noun: &str, id: &Id, vpc: &Id) -> Result<(), ApiError> {
    if *vpc == endpoint.vpc_id {
        return Ok(());
    }
    let vpc = &endpoint.vpc_id;
    let message = format!("{noun} {id} and network {vpc} belong to different networks.");
    Err(invalid_parameter(message))
}

/// The service's public name leads to one endpoint of a VPC, and only where names are
/// answered at all.
fn private_dns(state: &State, endpoint: &Endpoint) -> Result<(), ApiError> {
    if !endpoint.private_dns_enabled {
        return Ok(());
    }
    let vpc: Vpc = own(state, endpoint.owner_id, endpoint.vpc_id.as_str())?;
    if !vpc.enable_dns_support || !vpc.enable_dns_hostnames {
        let message = format!(
            "Enabling private DNS requires both enableDnsSupport and enableDnsHostnames VPC \
             attributes set to true for {}",
            vpc.vpc_id
        );
        return Err(invalid_parameter(message));
    }
    let mut others = live(state, endpoint);
    let conflicts = others.any(|other| {
        other.private_dns_enabled
            && other.vpc_id == endpoint.vpc_id
            && other.service_name == endpoint.service_name
    });
    if conflicts {
        let message = format!(
            "private-dns-enabled cannot be set because there is already a conflicting DNS \
             domain for {} in the VPC {}",
            endpoint.service_name, vpc.vpc_id
        );
        return Err(invalid_parameter(message));
    }
    Ok(())
}
