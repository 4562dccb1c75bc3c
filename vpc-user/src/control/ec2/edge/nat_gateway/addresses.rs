//! Addresses of NAT gateways besides the primary one.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/nat-gateway-working-with.html#nat-gateway-edit-secondary>

use std::{net::Ipv4Addr, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    super::{
        Act, Answer,
        elastic_address::associate,
        interface::{addresses_of, give},
        lookup::own,
        request::{incorrect_state, invalid_parameter},
    },
    Wish, check_addresses, failure, private_wishes, shown_address,
};
use crate::control::{
    ApiError, Context, Id, Time, Transaction,
    resource::{
        Address, Interface, NatGateway, NatGatewayAddress, NatGatewayAddressStatus as Status,
        NatGatewayState, Subnet,
    },
};

/// Gives a private NAT gateway further addresses.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct AssignPrivateNatGatewayAddress {
    /// The gateway.
    pub nat_gateway_id: String,
    /// The addresses.
    #[serde(default)]
    pub private_ip_addresses: Vec<Ipv4Addr>,
    /// How many are drawn, if none is named.
    pub private_ip_address_count: Option<u32>,
}

/// Takes further addresses from a private NAT gateway, once their connections have ended.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct UnassignPrivateNatGatewayAddress {
    /// The gateway.
    pub nat_gateway_id: String,
    /// The addresses.
    pub private_ip_addresses: Vec<Ipv4Addr>,
    /// How long connections may last: 1 to 4,000 seconds, 350 unless said otherwise.
    pub max_drain_duration_seconds: Option<u32>,
}

/// Gives a public NAT gateway further elastic addresses.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct AssociateNatGatewayAddress {
    /// The gateway.
    pub nat_gateway_id: String,
    /// The elastic addresses.
    pub allocation_ids: Vec<String>,
    /// An address in the subnet for each; drawn if none is named.
    #[serde(default)]
    pub private_ip_addresses: Vec<Ipv4Addr>,
}

/// Takes further elastic addresses from a public NAT gateway, once their connections have
/// ended.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DisassociateNatGatewayAddress {
    /// The gateway.
    pub nat_gateway_id: String,
    /// `eipassoc-…` of each.
    pub association_ids: Vec<String>,
    /// How long connections may last: 1 to 4,000 seconds, 350 unless said otherwise.
    pub max_drain_duration_seconds: Option<u32>,
}

impl Act for AssignPrivateNatGatewayAddress {
    fn act(&self, transaction: &mut Transaction<'_>, context: &mut Context) -> Answer {
        let gateway = usable(transaction, context, &self.nat_gateway_id, "private")?;
        let wishes = private_wishes(&self.private_ip_addresses, self.private_ip_address_count)?;
        if wishes.is_empty() {
            let message = "The request must name private addresses or how many are wanted";
            return Err(ApiError::new("MissingParameter", message));
        }
        extend(transaction, context, gateway, &wishes)
    }
}

impl Act for AssociateNatGatewayAddress {
    fn act(&self, transaction: &mut Transaction<'_>, context: &mut Context) -> Answer {
        let gateway = usable(transaction, context, &self.nat_gateway_id, "public")?;
        if self.allocation_ids.is_empty() {
            let message = "The request must contain the parameter AllocationIds";
            return Err(ApiError::new("MissingParameter", message));
        }
        let wishes = public_wishes(&self.allocation_ids, &self.private_ip_addresses)?;
        extend(transaction, context, gateway, &wishes)
    }
}

impl Act for UnassignPrivateNatGatewayAddress {
    fn act(&self, transaction: &mut Transaction<'_>, context: &mut Context) -> Answer {
        let gateway = usable(transaction, context, &self.nat_gateway_id, "private")?;
        let ends = drain_ends(self.max_drain_duration_seconds, context)?;
        let names = |address: &NatGatewayAddress, named: &Ipv4Addr| address.private_ip == *named;
        let named = &self.private_ip_addresses;
        drain(
            transaction,
            gateway,
            named,
            names,
            Status::Unassigning,
            ends,
        )
    }
}

impl Act for DisassociateNatGatewayAddress {
    fn act(&self, transaction: &mut Transaction<'_>, context: &mut Context) -> Answer {
        let gateway = usable(transaction, context, &self.nat_gateway_id, "public")?;
        let ends = drain_ends(self.max_drain_duration_seconds, context)?;
        let names = |address: &NatGatewayAddress, named: &String| {
            let association = address.association_id.as_ref();
            association.is_some_and(|id| id.as_str() == named)
        };
        let named = &self.association_ids;
        drain(
            transaction,
            gateway,
            named,
            names,
            Status::Disassociating,
            ends,
        )
    }
}

/// Elastic addresses, and an address in the subnet for each or for none.
pub(super) fn public_wishes(
    elastic: &[String],
    private: &[Ipv4Addr],
) -> Result<Vec<Wish>, ApiError> {
    if !private.is_empty() && private.len() != elastic.len() {
        let message = "There must be one private address for each secondary elastic address.";
        return Err(invalid_parameter(message));
    }
    let mut private = private.iter().copied();
    let wish = |elastic: &String| Wish {
        elastic: Some(elastic.clone()),
        private: private.next(),
    };
    Ok(elastic.iter().map(wish).collect())
}

/// A gateway of that kind whose addresses may be changed: not while one is drained.
fn usable(
    transaction: &Transaction<'_>,
    context: &Context,
    id: &str,
    kind: &str,
) -> Result<NatGateway, ApiError> {
    let gateway: NatGateway = own(transaction, context.caller.account, id)?;
    if gateway.connectivity_type != kind {
        let message = format!("This operation is of {kind} NAT gateways only: {id} is not one.");
        return Err(invalid_parameter(message));
    }
    let mut addresses = gateway.nat_gateway_addresses.iter();
    let drains = addresses.any(|address| address.drain_ends.is_some());
    if gateway.state != NatGatewayState::Available || drains {
        let message = format!("The NAT gateway {id} is not in the correct state for the request.");
        return Err(incorrect_state(message));
    }
    Ok(gateway)
}

/// Adds addresses to a gateway; all of them can be had, or the request is refused.
fn extend(
    transaction: &mut Transaction<'_>,
    context: &mut Context,
    mut gateway: NatGateway,
    wishes: &[Wish],
) -> Answer {
    let have = gateway.nat_gateway_addresses.len();
    let is_public = gateway.connectivity_type == "public";
    check_addresses(
        have.saturating_add(wishes.len()),
        is_public,
        &context.settings,
    )?;
    let account = context.caller.account;
    let subnet: Subnet = own(transaction, account, gateway.subnet_id.as_str())?;
    if let Some((code, message)) = failure(transaction, &subnet, wishes) {
        return Err(ApiError::new(code, message));
    }
    let primary = gateway.nat_gateway_addresses.first();
    let id = primary.map_or("", |address| address.network_interface_id.as_str());
    let mut interface: Interface = own(transaction, account, id)?;
    let held: Vec<Ipv4Addr> = addresses_of(&interface).collect();
    let wanted: Vec<_> = wishes.iter().map(|wish| wish.private).collect();
    let given = give(transaction, &subnet, &mut interface, &held, &wanted)?;
    let id = interface.network_interface_id;
    add(transaction, context, &mut gateway, &id, wishes, &given);
    let answer = answer(&gateway);
    transaction.put(gateway);
    Ok(answer)
}

/// Adds addresses that its interface has, and associates elastic ones with them.
pub(super) fn add(
    transaction: &mut Transaction<'_>,
    context: &mut Context,
    gateway: &mut NatGateway,
    interface: &Id,
    wishes: &[Wish],
    given: &[Ipv4Addr],
) {
    for (wish, private) in wishes.iter().zip(given) {
        let elastic = wish.elastic.as_deref();
        let elastic = elastic
            .and_then(|id| transaction.get::<Address>(id))
            .cloned();
        let association = elastic.as_ref().map(|elastic| {
            let id = &elastic.allocation_id;
            associate(transaction, &mut context.entropy, id, interface, *private)
        });
        let (status, public) = match &elastic {
            Some(elastic) => (Status::Associating, Some(elastic.public_ip)),
            None => (Status::Assigning, None),
        };
        gateway.nat_gateway_addresses.push(NatGatewayAddress {
            allocation_id: elastic.map(|elastic| elastic.allocation_id),
            network_interface_id: interface.clone(),
            private_ip: *private,
            public_ip: public,
            association_id: association,
            is_primary: false,
            status,
            drain_ends: None,
        });
    }
}

/// When addresses are released that are drained from now on.
fn drain_ends(seconds: Option<u32>, context: &Context) -> Result<Time, ApiError> {
    let seconds = seconds.unwrap_or(350);
    if !(1..=4_000).contains(&seconds) {
        let message = "MaxDrainDurationSeconds must be between 1 and 4000.";
        return Err(ApiError::invalid(message));
    }
    Ok(context.now.after(Duration::from_secs(seconds.into())))
}

/// Lets go of the addresses that are named.
fn drain<T: std::fmt::Display>(
    transaction: &mut Transaction<'_>,
    mut gateway: NatGateway,
    named: &[T],
    names: impl Fn(&NatGatewayAddress, &T) -> bool,
    status: Status,
    ends: Time,
) -> Answer {
    if named.is_empty() {
        let message = "The request must name at least one address of the NAT gateway";
        return Err(ApiError::new("MissingParameter", message));
    }
    let id = gateway.nat_gateway_id.clone();
    for one in named {
        let mut addresses = gateway.nat_gateway_addresses.iter_mut();
        let address = addresses
            .find(|address| names(address, one))
            .ok_or_else(|| {
                ApiError::invalid(format!("{one} is not assigned to the NAT gateway {id}"))
            })?;
        if address.is_primary {
            let message = format!("{one} is the primary address of the NAT gateway {id}");
            return Err(ApiError::invalid(message));
        }
        address.status = status;
        address.drain_ends = Some(ends);
    }
    let answer = answer(&gateway);
    transaction.put(gateway);
    Ok(answer)
}

fn answer(gateway: &NatGateway) -> Value {
    let addresses = gateway.nat_gateway_addresses.iter();
    json!({
        "NatGatewayId": gateway.nat_gateway_id,
        "NatGatewayAddresses": addresses.map(shown_address).collect::<Vec<_>>(),
    })
}
