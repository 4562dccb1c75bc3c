//! `[[peering]]`.

use std::net::Ipv4Addr;

use super::{Checked, Scope, Table, prefixes};
use crate::{
    config::{
        Problem,
        addresses::Addresses,
        error::{AddressUser, Place},
        raw_network::RawPeering,
    },
    model::{Peering, Vpc},
};

pub(super) fn peerings(
    scope: &Scope,
    raw: &[RawPeering],
    addresses: &mut Addresses,
) -> Checked<Table<Peering>> {
    let mut peerings = Table::default();
    for (index, raw) in raw.iter().enumerate() {
        let name = peerings.name(index, &raw.name)?;
        let place = Place::named("peering", &raw.name);
        let ends = ends(scope, &peerings, &place, raw)?;
        let routers = routers(&place, raw, ends)?;
        for (vpc, router) in ends.iter().zip(routers) {
            if let Some(router) = router {
                let user = AddressUser::PeeringRouter(raw.name.clone());
                addresses.share(&vpc.uplink, router, user);
            }
        }
        let vpcs = ends.map(|vpc| vpc.name.clone());
        let peering = Peering {
            name: name.clone(),
            vpcs,
            routers,
        };
        peerings.push(&name, peering);
    }
    Ok(peerings)
}

/// Both VPCs. They are on different uplinks, because any two VPCs are.
fn ends<'a>(
    scope: &'a Scope,
    others: &Table<Peering>,
    place: &Place,
    raw: &RawPeering,
) -> Checked<[&'a Vpc; 2]> {
    let refuse = |problem| Err(place.refuse_plain("vpcs", format!("{:?}", raw.vpcs), problem));
    let [first, second] = raw.vpcs.as_slice() else {
        return refuse(Problem::NotTwoVpcs);
    };
    if first == second {
        return refuse(Problem::NotTwoVpcs);
    }
    let first = scope.vpcs.find(place, "vpcs", first)?;
    let second = scope.vpcs.find(place, "vpcs", second)?;
    let both =
        |other: &&Peering| other.vpcs.contains(&first.name) && other.vpcs.contains(&second.name);
    if let Some(other) = others.items().iter().find(both) {
        let by = other.name.to_string();
        return refuse(Problem::PeeredTwice { by });
    }
    for one in &first.cidrs {
        let overlap = second
            .cidrs
            .iter()
            .find(|other| prefixes::overlap(**other, *one));
        if let Some(other) = overlap {
            return refuse(Problem::PeersOverlap {
                first: *one,
                second: *other,
            });
        }
    }
    Ok([first, second])
}

fn routers(place: &Place, raw: &RawPeering, ends: [&Vpc; 2]) -> Checked<[Option<Ipv4Addr>; 2]> {
    for (vpc, text) in &raw.routers {
        if !ends.iter().any(|end| end.name.as_str() == vpc) {
            let [first, second] = ends.map(|end| end.name.to_string());
            let problem = Problem::NotAnEnd { first, second };
            return Err(place.refuse(&format!("routers.{vpc}"), text, problem));
        }
    }
    let [first, second] = ends;
    Ok([router(place, raw, first)?, router(place, raw, second)?])
}

fn router(place: &Place, raw: &RawPeering, vpc: &Vpc) -> Checked<Option<Ipv4Addr>> {
    let Some(text) = raw.routers.get(vpc.name.as_str()) else {
        return Ok(None);
    };
    let refuse = |problem| Err(place.refuse(&format!("routers.{}", vpc.name), text, problem));
    match text.parse::<Ipv4Addr>() {
        Err(_) => refuse(Problem::NotAnAddress),
        Ok(address) if !vpc.cidrs.iter().any(|cidr| cidr.contains(&address)) => {
            refuse(prefixes::outside(vpc))
        }
        Ok(address) => Ok(Some(address)),
    }
}
