//! Resources by the ids that a request names.

use crate::control::{
    Account, ApiError, Id, Settings, State,
    record::Typed,
    resource::{SecurityGroup, Subnet},
};

pub use super::super::lookup::absent;

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
