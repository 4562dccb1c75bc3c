//! Addresses of a subnet: which of them interfaces may have, and which they have.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/subnet-sizing.html>

use std::net::Ipv4Addr;

use crate::control::{
    ApiError, Key, State,
    resource::{Interface, Subnet},
};

/// Addresses at the beginning of a subnet that AWS keeps: network, router, resolver,
/// future use. It keeps the last one as well.
const RESERVED: u32 = 4;

/// The addresses of a subnet that an interface may still get, ascending.
pub fn free(state: &State, subnet: &Subnet) -> impl Iterator<Item = Ipv4Addr> {
    let (first, last) = assignable(subnet);
    let mut taken = vec![false; last.saturating_sub(first) as usize + 1];
    for address in used(state, subnet) {
        let offset = u32::from(address).checked_sub(first);
        if let Some(taken) = offset.and_then(|offset| taken.get_mut(offset as usize)) {
            *taken = true;
        }
    }
    (first..=last)
        .zip(taken)
        .filter(|(_, taken)| !taken)
        .map(|(address, _)| Ipv4Addr::from(address))
}

/// How many addresses of a subnet interfaces may still get.
pub fn available_count(state: &State, subnet: &Subnet) -> usize {
    free(state, subnet).count()
}

/// An address for a new interface: the one that is wanted, or the first that is free.
/// It is taken once an interface that has it is in the state.
pub fn take(
    state: &State,
    subnet: &Subnet,
    wanted: Option<Ipv4Addr>,
) -> Result<Ipv4Addr, ApiError> {
    let Some(wanted) = wanted else {
        return free(state, subnet).next().ok_or_else(|| {
            let message = format!(
                "The specified subnet '{}' does not have enough free addresses to satisfy the request.",
                subnet.subnet_id
            );
            ApiError::new("InsufficientFreeAddressesInSubnet", message)
        });
    };
    let (first, last) = assignable(subnet);
    if !subnet.cidr_block.contains(&wanted) {
        let message = "Address does not fall within the subnet's address range";
        return Err(ApiError::invalid(message));
    }
    if !(first..=last).contains(&wanted.into()) {
        let message = "Address is in subnet's reserved address range";
        return Err(ApiError::invalid(message));
    }
    if used(state, subnet).any(|address| address == wanted) {
        let message = format!("Address {wanted} is in use.");
        return Err(ApiError::new("InvalidIPAddress.InUse", message));
    }
    Ok(wanted)
}

/// The first and the last address that an interface may have.
fn assignable(subnet: &Subnet) -> (u32, u32) {
    let first = u32::from(subnet.cidr_block.network()).saturating_add(RESERVED);
    let last = u32::from(subnet.cidr_block.broadcast()).saturating_sub(1);
    (first, last)
}

/// The addresses that interfaces have.
fn used(state: &State, subnet: &Subnet) -> impl Iterator<Item = Ipv4Addr> {
    let interfaces: Vec<&Interface> = state
        .referring(&Key::of::<Subnet>(subnet.subnet_id.as_str()))
        .collect();
    interfaces.into_iter().flat_map(|interface| {
        let secondary = interface.secondary_addresses.iter().copied();
        std::iter::once(interface.private_ip_address).chain(secondary)
    })
}
