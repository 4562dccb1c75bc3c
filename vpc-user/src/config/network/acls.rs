//! `[[network_acl]]`.

use std::collections::BTreeMap;

use ipnet::Ipv4Net;

use super::{
    Checked, Scope, Table, prefixes,
    quotas::{within, within_each_vpc},
    traffic::Words,
};
use crate::{
    config::{
        Problem,
        error::Place,
        raw_network::{RawEntry, RawNetworkAcl},
        validate::in_range,
    },
    model::{AclEntry, NetworkAcl, Traffic},
};

/// Of the ACL of a VPC's subnets that name none.
pub(super) const DEFAULT: &str = "-default";
/// The highest number; AWS keeps those above for itself.
const NUMBER_MAX: i64 = 32_766;
/// The number of AWS's entry in a default ACL.
const DEFAULT_NUMBER: u16 = 100;

pub(super) fn network_acls(scope: &Scope, raw: &[RawNetworkAcl]) -> Checked<Table<NetworkAcl>> {
    let mut acls = Table::default();
    for (index, raw) in raw.iter().enumerate() {
        let name = acls.name(index, &raw.name)?;
        let place = Place::named("network_acl", &raw.name);
        let acl = NetworkAcl {
            name: name.clone(),
            vpc: scope.vpcs.find(&place, "vpc", &raw.vpc)?.name.clone(),
            ingress: entries(scope, &place, "ingress", &raw.ingress)?,
            egress: entries(scope, &place, "egress", &raw.egress)?,
        };
        acls.push(&name, acl);
    }
    scope.add_defaults(&mut acls, DEFAULT, |name, vpc| NetworkAcl {
        name,
        vpc,
        ingress: vec![allow_all()],
        egress: vec![allow_all()],
    })?;
    let quota = ("network_acls_per_vpc", scope.quotas.network_acls_per_vpc);
    within_each_vpc(scope, quota, &acls, "network ACLs")?;
    Ok(acls)
}

fn allow_all() -> AclEntry {
    AclEntry {
        number: DEFAULT_NUMBER,
        allow: true,
        traffic: Traffic::All,
        cidr: Ipv4Net::default(),
    }
}

fn entries(
    scope: &Scope,
    place: &Place,
    direction: &'static str,
    raw: &[RawEntry],
) -> Checked<Vec<AclEntry>> {
    let quota = (
        "entries_per_network_acl",
        scope.quotas.entries_per_network_acl,
    );
    let what = match direction {
        "ingress" => "ingress entries",
        _ => "egress entries",
    };
    within(quota, raw.len() as u64, what, place)?;
    let mut entries = BTreeMap::new();
    for (index, raw) in raw.iter().enumerate() {
        let place = place.inside(format_args!("{direction} number {}", index + 1));
        let entry = entry(&place, raw)?;
        if entries.insert(entry.number, entry).is_some() {
            let problem = Problem::NumberTaken { direction };
            return Err(place.refuse_plain("number", raw.number, problem));
        }
    }
    Ok(entries.into_values().collect())
}

fn entry(place: &Place, raw: &RawEntry) -> Checked<AclEntry> {
    let number = in_range(place, "number", raw.number, 1, NUMBER_MAX)?;
    let allow = match raw.action.as_str() {
        "allow" => true,
        "deny" => false,
        other => return Err(place.refuse("action", other, Problem::NotAnAction)),
    };
    let words = Words {
        protocol: &raw.protocol,
        ports: raw.ports.as_deref(),
        icmp: raw.icmp.as_deref(),
    };
    Ok(AclEntry {
        // At most NUMBER_MAX.
        number: number as u16,
        allow,
        traffic: words.traffic(place)?,
        cidr: prefixes::prefix(place, "cidr", &raw.cidr)?,
    })
}
