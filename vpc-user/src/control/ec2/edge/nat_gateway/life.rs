//! The end of NAT gateways, and what the passing of time does to them.

use std::net::Ipv4Addr;

use serde_json::json;

use super::{
    super::{
        Act, Answer,
        interface::{release, remove},
        lookup::{absent, own},
    },
    DeleteNatGateway,
};
use crate::control::{
    Context, Key, Kind, Settings, State, Time, Transaction,
    resource::{NatGateway, NatGatewayAddress, NatGatewayAddressStatus as Status, NatGatewayState},
};

impl Act for DeleteNatGateway {
    fn act(&self, transaction: &mut Transaction<'_>, context: &mut Context) -> Answer {
        let id = &self.nat_gateway_id;
        let mut gateway: NatGateway = own(transaction, context.caller.account, id)?;
        gateway.state = match gateway.state {
            NatGatewayState::Deleted => return Err(absent(Kind::NatGateway, id)),
            // What failed has nothing left to let go of.
            NatGatewayState::Failed => NatGatewayState::Deleted,
            NatGatewayState::Pending | NatGatewayState::Available | NatGatewayState::Deleting => {
                NatGatewayState::Deleting
            }
        };
        gateway.delete_time = gateway.delete_time.or(Some(context.now));
        transaction.put(gateway);
        Ok(json!({ "NatGatewayId": id }))
    }
}

/// What has become of every NAT gateway by now.
pub fn tick(transaction: &mut Transaction<'_>, context: &Context) {
    let gateways: Vec<NatGateway> = transaction.all::<NatGateway>().cloned().collect();
    for gateway in gateways {
        if next(&gateway, &context.settings).is_some_and(|due| due <= context.now) {
            advance(transaction, gateway, context.now);
        }
    }
}

/// When something becomes of a NAT gateway next.
pub fn next_tick(state: &State, settings: &Settings) -> Option<Time> {
    let gateways = state.all::<NatGateway>();
    gateways.filter_map(|gateway| next(gateway, settings)).min()
}

fn next(gateway: &NatGateway, settings: &Settings) -> Option<Time> {
    match gateway.state {
        NatGatewayState::Pending | NatGatewayState::Deleting => Some(gateway.create_time),
        NatGatewayState::Failed | NatGatewayState::Deleted => {
            Some(gateway.delete_time?.after(settings.shown_after_end))
        }
        NatGatewayState::Available => {
            let due = |address: &NatGatewayAddress| match address.status {
                Status::Succeeded => None,
                Status::Assigning | Status::Associating => Some(gateway.create_time),
                Status::Unassigning | Status::Disassociating => address.drain_ends,
            };
            gateway.nat_gateway_addresses.iter().filter_map(due).min()
        }
    }
}

fn advance(transaction: &mut Transaction<'_>, mut gateway: NatGateway, now: Time) {
    match gateway.state {
        NatGatewayState::Pending if gateway.failure_code.is_some() => {
            gateway.state = NatGatewayState::Failed;
            gateway.delete_time = Some(now);
        }
        NatGatewayState::Pending | NatGatewayState::Available => {
            gateway.state = NatGatewayState::Available;
            settle(transaction, &mut gateway, now);
        }
        NatGatewayState::Deleting => {
            gateway.state = NatGatewayState::Deleted;
            gateway.delete_time = Some(now);
            for address in std::mem::take(&mut gateway.nat_gateway_addresses) {
                remove(transaction, address.network_interface_id.as_str());
            }
        }
        NatGatewayState::Failed | NatGatewayState::Deleted => {
            transaction.remove(Key::of::<NatGateway>(gateway.nat_gateway_id.as_str()));
            return;
        }
    }
    transaction.put(gateway);
}

/// Addresses that come are there, and those whose time to drain is over go.
fn settle(transaction: &mut Transaction<'_>, gateway: &mut NatGateway, now: Time) {
    let is_over = |address: &NatGatewayAddress| address.drain_ends.is_some_and(|ends| ends <= now);
    for address in &gateway.nat_gateway_addresses {
        if is_over(address) {
            let gone: [Ipv4Addr; 1] = [address.private_ip];
            release(transaction, address.network_interface_id.as_str(), &gone);
        }
    }
    gateway
        .nat_gateway_addresses
        .retain(|address| !is_over(address));
    for address in &mut gateway.nat_gateway_addresses {
        if matches!(address.status, Status::Assigning | Status::Associating) {
            address.status = Status::Succeeded;
        }
    }
}
