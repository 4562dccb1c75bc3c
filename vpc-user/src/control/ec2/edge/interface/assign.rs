//! Further addresses of interfaces.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    super::{
        Act, Answer,
        elastic_address::{associated, disassociate},
        lookup::own,
        request::done,
    },
    addresses_of, customers_own, give,
};
use crate::control::{
    ApiError, Context, Key, State, Transaction,
    resource::{Interface, Subnet},
};

/// Gives an interface further addresses.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct AssignPrivateIpAddresses {
    /// The interface.
    pub network_interface_id: String,
    /// The addresses.
    #[serde(default)]
    pub private_ip_addresses: Vec<Ipv4Addr>,
    /// How many are drawn, if none is named.
    pub secondary_private_ip_address_count: Option<u32>,
    /// Whether they may be taken from another interface of the subnet.
    #[serde(default)]
    pub allow_reassignment: bool,
}

/// Takes further addresses from an interface.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct UnassignPrivateIpAddresses {
    /// The interface.
    pub network_interface_id: String,
    /// The addresses.
    pub private_ip_addresses: Vec<Ipv4Addr>,
}

impl Act for AssignPrivateIpAddresses {
    fn act(&self, transaction: &mut Transaction<'_>, context: &mut Context) -> Answer {
        let account = context.caller.account;
        let wanted = wanted(
            &self.private_ip_addresses,
            self.secondary_private_ip_address_count,
        )?;
        let mut interface: Interface = own(transaction, account, &self.network_interface_id)?;
        customers_own(&interface)?;
        let subnet: Subnet = own(transaction, account, interface.subnet_id.as_str())?;
        if self.allow_reassignment {
            for address in &self.private_ip_addresses {
                reassign(transaction, &interface, *address);
            }
        }
        let held: Vec<Ipv4Addr> = addresses_of(&interface).collect();
        let given = give(transaction, &subnet, &mut interface, &held, &wanted)?;
        let assigned = given.iter().map(|one| json!({ "PrivateIpAddress": one }));
        Ok(json!({
            "NetworkInterfaceId": interface.network_interface_id,
            "AssignedPrivateIpAddresses": assigned.collect::<Vec<_>>(),
        }))
    }
}

impl Act for UnassignPrivateIpAddresses {
    fn act(&self, transaction: &mut Transaction<'_>, context: &mut Context) -> Answer {
        let account = context.caller.account;
        let interface: Interface = own(transaction, account, &self.network_interface_id)?;
        customers_own(&interface)?;
        if self.private_ip_addresses.is_empty() {
            let message = "The request must contain the parameter privateIpAddresses";
            return Err(ApiError::new("MissingParameter", message));
        }
        for address in &self.private_ip_addresses {
            if *address == interface.private_ip_address {
                let message = format!("The primary address {address} cannot be unassigned.");
                return Err(ApiError::invalid(message));
            }
            if !interface.secondary_addresses.contains(address) {
                let id = &interface.network_interface_id;
                let message =
                    format!("Some of the specified addresses are not assigned to interface {id}");
                return Err(ApiError::invalid(message));
            }
        }
        let id = interface.network_interface_id.as_str();
        release(transaction, id, &self.private_ip_addresses);
        Ok(done())
    }
}

/// Named addresses, or how many are to be drawn: one of both.
pub(in super::super) fn wanted(
    named: &[Ipv4Addr],
    count: Option<u32>,
) -> Result<Vec<Option<Ipv4Addr>>, ApiError> {
    match (named, count.unwrap_or(0)) {
        ([], 0) => {
            let message = "The request must name private addresses or how many are wanted";
            Err(ApiError::new("MissingParameter", message))
        }
        // More than an interface takes, so that it is refused without being counted out.
        ([], count) => Ok(vec![None; (count as usize).min(1_000)]),
        (named, 0) => Ok(named.iter().copied().map(Some).collect()),
        _ => {
            let message = "Private addresses and their number cannot be specified both";
            Err(ApiError::new("InvalidParameterCombination", message))
        }
    }
}

/// Takes further addresses from an interface, with the elastic ones that stand for them.
pub(in super::super) fn release(
    transaction: &mut Transaction<'_>,
    interface: &str,
    addresses: &[Ipv4Addr],
) {
    for address in addresses {
        for elastic in associated(transaction, interface, Some(*address)) {
            disassociate(transaction, elastic.as_str());
        }
    }
    transaction.update(interface, |interface: &mut Interface| {
        let held = &mut interface.secondary_addresses;
        held.retain(|address| !addresses.contains(address));
    });
}

/// Takes an address from the interface of the subnet that has it as a further one, if
/// that is a customer's own.
fn reassign(transaction: &mut Transaction<'_>, to: &Interface, address: Ipv4Addr) {
    if let Some(from) = holder(transaction, to, address) {
        let from = from.network_interface_id.clone();
        release(transaction, from.as_str(), &[address]);
    }
}

fn holder<'s>(state: &'s State, to: &Interface, address: Ipv4Addr) -> Option<&'s Interface> {
    let subnet = Key::of::<Subnet>(to.subnet_id.as_str());
    let mut others = state.referring::<Interface>(&subnet);
    others.find(|other| {
        other.network_interface_id != to.network_interface_id
            && other.owner_id == to.owner_id
            && other.secondary_addresses.contains(&address)
            && customers_own(other).is_ok()
    })
}
