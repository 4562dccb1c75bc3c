//! `[[subnet]]`.

use std::{collections::BTreeMap, net::Ipv4Addr};

use ipnet::Ipv4Net;

use super::{
    Checked, Scope, Table, acls, prefixes, quotas::within_each_vpc, routes, vpcs::default_name,
};
use crate::{
    config::{
        Problem, RawConfig,
        addresses::Addresses,
        error::{AddressUser, Place},
        raw_network::RawSubnet,
        validate::host_address,
    },
    model::{ObjectName, Subnet, Vpc},
};

pub(super) fn subnets(
    scope: &Scope,
    raw: &RawConfig,
    addresses: &mut Addresses,
) -> Checked<Table<Subnet>> {
    let main = routes::main_tables(scope, &raw.vpcs)?;
    let mut subnets = Table::default();
    for (index, raw) in raw.subnets.iter().enumerate() {
        let name = subnets.name(index, &raw.name)?;
        let subnet = subnet(scope, &subnets, &main, name.clone(), raw)?;
        if let (Some(router), Some(vpc)) = (subnet.router, scope.vpcs.get(&raw.vpc)) {
            let user = AddressUser::SubnetRouter(raw.name.clone());
            addresses.share(&vpc.uplink, router, user);
        }
        subnets.push(&name, subnet);
    }
    let quota = ("subnets_per_vpc", scope.quotas.subnets_per_vpc);
    within_each_vpc(scope, quota, &subnets, "subnets")?;
    Ok(subnets)
}

fn subnet(
    scope: &Scope,
    others: &Table<Subnet>,
    main: &BTreeMap<ObjectName, ObjectName>,
    name: ObjectName,
    raw: &RawSubnet,
) -> Checked<Subnet> {
    let place = Place::named("subnet", &raw.name);
    let vpc = scope.vpcs.find(&place, "vpc", &raw.vpc)?;
    let cidr = cidr(others, &place, vpc, &raw.cidr)?;
    let route_table = match (&raw.route_table, main.get(&vpc.name)) {
        (Some(text), _) => {
            let tables = &scope.route_tables;
            let table = tables.find_in(&vpc.name, &place, "route_table", text)?;
            table.name.clone()
        }
        (None, Some(main)) => main.clone(),
        (None, None) => default_name(&vpc.name, routes::MAIN)?,
    };
    let network_acl = match &raw.network_acl {
        None => default_name(&vpc.name, acls::DEFAULT)?,
        Some(text) => {
            let acls = &scope.network_acls;
            let acl = acls.find_in(&vpc.name, &place, "network_acl", text)?;
            acl.name.clone()
        }
    };
    Ok(Subnet {
        name,
        vpc: vpc.name.clone(),
        cidr,
        router: router(&place, raw.router.as_deref(), cidr)?,
        route_table,
        network_acl,
    })
}

fn router(place: &Place, text: Option<&str>, cidr: Ipv4Net) -> Checked<Option<Ipv4Addr>> {
    text.map(|text| host_address(place, "router", text, cidr))
        .transpose()
}

fn cidr(others: &Table<Subnet>, place: &Place, vpc: &Vpc, text: &str) -> Checked<Ipv4Net> {
    let cidr = prefixes::block(place, "cidr", text)?;
    if !vpc.cidrs.iter().any(|block| block.contains(&cidr)) {
        return Err(place.refuse("cidr", text, prefixes::outside(vpc)));
    }
    let overlaps = |other: &&Subnet| other.vpc == vpc.name && prefixes::overlap(other.cidr, cidr);
    if let Some(other) = others.items().iter().find(overlaps) {
        let problem = Problem::OverlapsSubnet {
            other: other.cidr,
            by: other.name.to_string(),
        };
        return Err(place.refuse("cidr", text, problem));
    }
    Ok(cidr)
}
