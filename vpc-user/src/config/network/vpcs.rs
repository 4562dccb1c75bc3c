//! `[[vpc]]`.

use ipnet::Ipv4Net;

use super::{Checked, Scope, Table, prefixes, quotas::within};
use crate::{
    config::{
        Problem,
        error::Place,
        raw_network::{RawVpc, delivery_word},
        validate::uplink_named,
    },
    model::{LocalDelivery, ObjectName, UplinkConfig, Vpc},
};

pub(super) fn vpcs(scope: &Scope, raw: &[RawVpc], uplinks: &[UplinkConfig]) -> Checked<Table<Vpc>> {
    let mut vpcs = Table::default();
    for (index, raw) in raw.iter().enumerate() {
        let name = vpcs.name(index, &raw.name)?;
        let place = Place::named("vpc", &raw.name);
        let uplink = uplink_named(uplinks, &place, &raw.uplink)?;
        let same_uplink = |other: &&Vpc| other.uplink == uplink;
        if let Some(other) = vpcs.items().iter().find(same_uplink) {
            let by = other.name.to_string();
            return Err(place.refuse("uplink", &raw.uplink, Problem::UplinkOfOtherVpc { by }));
        }
        let vpc = Vpc {
            cidrs: cidrs(scope, &place, &raw.cidr)?,
            uplink,
            local: local(&place, raw.local.as_deref())?,
            name: name.clone(),
        };
        vpcs.push(&name, vpc);
    }
    Ok(vpcs)
}

fn cidrs(scope: &Scope, place: &Place, raw: &[String]) -> Checked<Vec<Ipv4Net>> {
    if raw.is_empty() {
        return Err(place.refuse_plain("cidr", "[]", Problem::NoCidr));
    }
    let quota = ("cidrs_per_vpc", scope.quotas.cidrs_per_vpc);
    within(quota, raw.len() as u64, "CIDR blocks", place)?;
    let mut cidrs: Vec<Ipv4Net> = Vec::with_capacity(raw.len());
    for text in raw {
        let cidr = prefixes::block(place, "cidr", text)?;
        let other = cidrs.iter().find(|other| prefixes::overlap(**other, cidr));
        if let Some(other) = other.copied() {
            return Err(place.refuse("cidr", text, Problem::CidrsOverlap { other }));
        }
        cidrs.push(cidr);
    }
    Ok(cidrs)
}

fn local(place: &Place, word: Option<&str>) -> Checked<LocalDelivery> {
    let Some(word) = word else {
        return Ok(LocalDelivery::default());
    };
    [LocalDelivery::Router, LocalDelivery::OnLink]
        .into_iter()
        .find(|delivery| delivery_word(*delivery) == word)
        .ok_or_else(|| place.refuse("local", word, Problem::NotADelivery))
}

/// The name of what a VPC has from its creation on.
pub(super) fn default_name(vpc: &ObjectName, suffix: &'static str) -> Checked<ObjectName> {
    ObjectName::new(format!("{vpc}{suffix}")).map_err(|_| {
        let place = Place::named("vpc", vpc.as_str());
        place.refuse("name", vpc.as_str(), Problem::NoRoomForSuffix { suffix })
    })
}
