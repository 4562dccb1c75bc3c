//! `[[interface]]`.

use super::{Checked, Scope, Table, assignable, carried_groups};
use crate::{
    config::{
        Problem,
        addresses::Addresses,
        error::{AddressUser, Place},
        raw_network::RawInterface,
    },
    model::NetworkInterface,
};

pub(super) fn interfaces(
    scope: &Scope,
    raw: &[RawInterface],
    addresses: &mut Addresses,
) -> Checked<Table<NetworkInterface>> {
    let mut interfaces = Table::default();
    for (index, raw) in raw.iter().enumerate() {
        let name = interfaces.name(index, &raw.name)?;
        let place = Place::named("interface", &raw.name);
        let subnet = scope.subnets.find(&place, "subnet", &raw.subnet)?;
        let vpc = scope.vpcs.find(&place, "subnet", subnet.vpc.as_str())?;
        let address = assignable(&place, "address", &raw.address, subnet.cidr)?;
        let user = AddressUser::Interface(raw.name.clone());
        addresses
            .claim(&vpc.uplink, address, user)
            .map_err(|user| {
                let problem = Problem::InterfaceAddressTaken { user };
                place.refuse_address("address", address, problem)
            })?;
        let groups = raw.security_groups.as_deref();
        let interface = NetworkInterface {
            name: name.clone(),
            subnet: subnet.name.clone(),
            address,
            security_groups: carried_groups(scope, &place, &vpc.name, groups)?,
        };
        interfaces.push(&name, interface);
    }
    Ok(interfaces)
}
