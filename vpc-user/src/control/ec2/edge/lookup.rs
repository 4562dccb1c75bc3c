//! Resources by the ids that a request names, and what EC2 answers if there are none.

use crate::control::{
    Account, ApiError, Id, IdKind, Kind, Settings, State,
    record::Typed,
    resource::{SecurityGroup, Subnet},
};

/// A resource of the caller's account: another account's does not exist.
pub fn own<T: Typed>(state: &State, account: Account, id: &str) -> Result<T, ApiError> {
    let one = state.get::<T>(id).filter(|one| one.account() == account);
    one.cloned().ok_or_else(|| absent(T::KIND, id))
}

/// Security groups for interfaces of a subnet: sorted, none twice, and the VPC's default
/// one where none is named.
pub fn groups(
    state: &State,
    subnet: &Subnet,
    ids: &[String],
    settings: &Settings,
) -> Result<Vec<Id>, ApiError> {
    let vpc = &subnet.vpc_id;
    if ids.is_empty() {
        return Ok(vec![default_group(state, subnet.owner_id, vpc)?]);
    }
    let mut groups = Vec::new();
    for id in ids {
        let group: SecurityGroup = own(state, subnet.owner_id, id)?;
        if group.vpc_id != *vpc {
            let subnet = &subnet.subnet_id;
            let message =
                format!("Security group {id} and subnet {subnet} belong to different networks.");
            return Err(ApiError::new("InvalidParameter", message));
        }
        groups.push(group.group_id);
    }
    groups.sort();
    groups.dedup();
    check_group_quota(groups.len(), settings)?;
    Ok(groups)
}

/// The default security group of a VPC.
pub fn default_group(state: &State, account: Account, vpc: &Id) -> Result<Id, ApiError> {
    let mut groups = state.of_account::<SecurityGroup>(account);
    let default = groups.find(|one| one.vpc_id == *vpc && one.group_name == "default");
    let default = default.ok_or_else(|| {
        let message = format!("The security group 'default' does not exist in VPC '{vpc}'");
        ApiError::new("InvalidGroup.NotFound", message)
    })?;
    Ok(default.group_id.clone())
}

/// How many security groups an interface may carry.
pub fn check_group_quota(count: usize, settings: &Settings) -> Result<(), ApiError> {
    if count as u64 > u64::from(settings.quotas.security_groups_per_interface) {
        let message = "The maximum number of security groups per interface has been reached.";
        let code = "SecurityGroupsPerInterfaceLimitExceeded";
        return Err(ApiError::new(code, message));
    }
    Ok(())
}

/// How EC2 speaks of a kind of resource.
struct Names {
    id: IdKind,
    noun: &'static str,
    not_found: &'static str,
    malformed: &'static str,
}

/// There is no such resource, or it cannot be: the id has not the form of one.
pub fn absent(kind: Kind, id: &str) -> ApiError {
    let Some(names) = names(kind) else {
        return ApiError::invalid(format!("The {} '{id}' does not exist", kind.word()));
    };
    if names.id.is_well_formed(id) {
        let message = format!("The {} '{id}' does not exist", names.noun);
        ApiError::new(names.not_found, message)
    } else {
        let prefix = names.id.prefix();
        let message = format!("Invalid id: \"{id}\" (expecting \"{prefix}-...\")");
        ApiError::new(names.malformed, message)
    }
}

/// <https://docs.aws.amazon.com/ec2/latest/devguide/errors-overview.html>
const fn names(kind: Kind) -> Option<Names> {
    let (id, noun, not_found, malformed) = match kind {
        Kind::Vpc => (
            IdKind::VPC,
            "vpc ID",
            "InvalidVpcID.NotFound",
            "InvalidVpcID.Malformed",
        ),
        Kind::Subnet => (
            IdKind::SUBNET,
            "subnet ID",
            "InvalidSubnetID.NotFound",
            "InvalidSubnetID.Malformed",
        ),
        Kind::SecurityGroup => (
            IdKind::SECURITY_GROUP,
            "security group",
            "InvalidGroup.NotFound",
            "InvalidGroupId.Malformed",
        ),
        Kind::RouteTable => (
            IdKind::ROUTE_TABLE,
            "routeTable ID",
            "InvalidRouteTableID.NotFound",
            "InvalidRouteTableId.Malformed",
        ),
        Kind::InternetGateway => (
            IdKind::INTERNET_GATEWAY,
            "internetGateway ID",
            "InvalidInternetGatewayID.NotFound",
            "InvalidInternetGatewayId.Malformed",
        ),
        Kind::Address => (
            IdKind::ADDRESS,
            "allocation ID",
            "InvalidAllocationID.NotFound",
            "InvalidAllocationID.NotFound",
        ),
        Kind::NatGateway => (
            IdKind::NAT_GATEWAY,
            "NAT gateway",
            "NatGatewayNotFound",
            "NatGatewayMalformed",
        ),
        Kind::Endpoint => (
            IdKind::ENDPOINT,
            "VPC endpoint ID",
            "InvalidVpcEndpointId.NotFound",
            "InvalidVpcEndpointId.Malformed",
        ),
        Kind::Peering => (
            IdKind::PEERING,
            "vpcPeeringConnection ID",
            "InvalidVpcPeeringConnectionID.NotFound",
            "InvalidVpcPeeringConnectionId.Malformed",
        ),
        Kind::Interface => (
            IdKind::INTERFACE,
            "networkInterface ID",
            "InvalidNetworkInterfaceID.NotFound",
            "InvalidNetworkInterfaceId.Malformed",
        ),
        _ => return None,
    };
    Some(Names {
        id,
        noun,
        not_found,
        malformed,
    })
}
