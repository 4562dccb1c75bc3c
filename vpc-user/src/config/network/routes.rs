//! `[[route_table]]`, and which table is the main one of a VPC.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use ipnet::Ipv4Net;

use super::{
    Checked, Scope, Table, prefixes,
    quotas::{within, within_each_vpc},
    table::same_vpc,
};
use crate::{
    config::{
        Problem,
        error::{Place, one_of},
        raw_network::{RawRoute, RawRouteTable, RawVpc},
    },
    model::{
        Destination, GroupConfig, LocalDelivery, ObjectName, Route, RouteTable, Subnet, Target, Vpc,
    },
};

/// Of the route table of a VPC's subnets that name none.
pub(super) const MAIN: &str = "-main";
/// Addresses of AWS's own services, to which no route may lead.
const NEVER_FORWARDED: (Ipv4Addr, u8) = (Ipv4Addr::new(169, 254, 168, 0), 22);

/// The tables without their routes, which refer to what is checked later.
pub(super) fn tables(scope: &Scope, raw: &[RawRouteTable]) -> Checked<Table<RouteTable>> {
    let mut tables = Table::default();
    for (index, raw) in raw.iter().enumerate() {
        let name = tables.name(index, &raw.name)?;
        let place = Place::named("route_table", &raw.name);
        let table = RouteTable {
            name: name.clone(),
            vpc: scope.vpcs.find(&place, "vpc", &raw.vpc)?.name.clone(),
            routes: Vec::new(),
        };
        tables.push(&name, table);
    }
    scope.add_defaults(&mut tables, MAIN, |name, vpc| RouteTable {
        name,
        vpc,
        routes: Vec::new(),
    })?;
    let quota = ("route_tables_per_vpc", scope.quotas.route_tables_per_vpc);
    within_each_vpc(scope, quota, &tables, "route tables")?;
    Ok(tables)
}

/// The main route table of each VPC that names one.
pub(super) fn main_tables(
    scope: &Scope,
    raw: &[RawVpc],
) -> Checked<BTreeMap<ObjectName, ObjectName>> {
    let mut main = BTreeMap::new();
    for (raw, vpc) in raw.iter().zip(scope.vpcs.items()) {
        if let Some(text) = &raw.main_route_table {
            let place = Place::named("vpc", &raw.name);
            let tables = &scope.route_tables;
            let table = tables.find_in(&vpc.name, &place, "main_route_table", text)?;
            main.insert(vpc.name.clone(), table.name.clone());
        }
    }
    Ok(main)
}

/// The routes of the tables that the file declares.
pub(super) fn fill(scope: &mut Scope, raw: &[RawRouteTable]) -> Checked<()> {
    let mut filled = Vec::with_capacity(raw.len());
    for raw in raw {
        let place = Place::named("route_table", &raw.name);
        let vpc = scope.vpcs.find(&place, "vpc", &raw.vpc)?;
        filled.push(routes(scope, &place, vpc, &raw.routes)?);
    }
    for (table, routes) in scope.route_tables.items_mut().iter_mut().zip(filled) {
        table.routes = routes;
    }
    Ok(())
}

fn routes(scope: &Scope, place: &Place, vpc: &Vpc, raw: &[RawRoute]) -> Checked<Vec<Route>> {
    let mut routes = Vec::with_capacity(raw.len());
    let mut seen = BTreeSet::new();
    let mut count = 0;
    for (index, raw) in raw.iter().enumerate() {
        let place = place.inside(format_args!("route number {}", index + 1));
        let target = target(scope, &place, vpc, raw)?;
        let choice = "destination and prefix_list";
        let keys = [
            ("destination", raw.destination.as_deref()),
            ("prefix_list", raw.prefix_list.as_deref()),
        ];
        let (key, text) = one_of(&place, choice, &keys)?;
        let destination = destination(scope, &place, vpc, (key, text), &target)?;
        if !seen.insert(destination_words(&destination)) {
            return Err(place.refuse(key, text, Problem::DestinationTaken));
        }
        count += match &destination {
            Destination::Cidr(_) => 1,
            Destination::PrefixList(list) => {
                let list = scope.prefix_lists.get(list.as_str());
                list.map_or(1, |list| list.max_entries.into())
            }
        };
        routes.push(Route {
            destination,
            target,
        });
    }
    let quota = ("routes_per_table", scope.quotas.routes_per_table);
    let what = "routes (a prefix list counts its max_entries)";
    within(quota, count, what, place)?;
    Ok(routes)
}

fn target(scope: &Scope, place: &Place, vpc: &Vpc, raw: &RawRoute) -> Checked<Target> {
    let choice = "interface, peering, internet_gateway, nat_gateway and blackhole = true";
    let keys = [
        (
            "blackhole",
            raw.blackhole.unwrap_or(false).then_some("true"),
        ),
        ("interface", raw.interface.as_deref()),
        ("peering", raw.peering.as_deref()),
        ("internet_gateway", raw.internet_gateway.as_deref()),
        ("nat_gateway", raw.nat_gateway.as_deref()),
    ];
    let (key, text) = one_of(place, choice, &keys)?;
    Ok(match key {
        "interface" => {
            let interface = scope.interfaces.find(place, key, text)?;
            let subnet = scope.subnets.find(place, key, interface.subnet.as_str())?;
            same_vpc(&subnet.vpc, &vpc.name, place, key, text)?;
            Target::Interface(interface.name.clone())
        }
        "peering" => {
            let peering = scope.peerings.find(place, key, text)?;
            if !peering.vpcs.contains(&vpc.name) {
                let vpc = vpc.name.to_string();
                return Err(place.refuse(key, text, Problem::PeeringOfOthers { vpc }));
            }
            Target::Peering(peering.name.clone())
        }
        "internet_gateway" => {
            let gateway = scope.internet_gateways.find(place, key, text)?;
            Target::InternetGateway(gateway.0.clone())
        }
        "nat_gateway" => {
            let gateway = scope.nat_gateways.find(place, key, text)?;
            Target::NatGateway(gateway.0.clone())
        }
        _ => Target::Blackhole,
    })
}

fn destination(
    scope: &Scope,
    place: &Place,
    vpc: &Vpc,
    (key, text): (&'static str, &str),
    target: &Target,
) -> Checked<Destination> {
    let check = |prefix, through: String| match unroutable(scope, vpc, prefix, target, through) {
        Some(problem) => Err(place.refuse(key, text, problem)),
        None => Ok(()),
    };
    if key == "destination" {
        let prefix = prefixes::prefix(place, key, text)?;
        check(prefix, String::new())?;
        return Ok(Destination::Cidr(prefix));
    }
    let list = scope.prefix_lists.find(place, key, text)?;
    for entry in &list.entries {
        check(*entry, format!("holds {entry}, which "))?;
    }
    Ok(Destination::PrefixList(list.name.clone()))
}

fn destination_words(destination: &Destination) -> String {
    match destination {
        Destination::Cidr(prefix) => prefix.to_string(),
        Destination::PrefixList(list) => format!("prefix_list {:?}", list.as_str()),
    }
}

/// Why no route may have a destination. `through` is the beginning of the sentence
/// where the destination is an entry of a prefix list.
fn unroutable(
    scope: &Scope,
    vpc: &Vpc,
    prefix: Ipv4Net,
    target: &Target,
    through: String,
) -> Option<Problem> {
    let (network, length) = NEVER_FORWARDED;
    let range = Ipv4Net::new_assert(network, length);
    if range.contains(&prefix) {
        return Some(Problem::NeverForwarded { through, range });
    }
    let cidr = *vpc.cidrs.iter().find(|cidr| cidr.contains(&prefix))?;
    // More specific than local only where AWS has it: a middlebox before a subnet.
    let is_subnet = |subnet: &Subnet| subnet.vpc == vpc.name && subnet.cidr == prefix;
    let allowed = prefix != cidr
        && matches!(target, Target::Interface(_))
        && scope.subnets.items().iter().any(is_subnet);
    (!allowed).then_some(Problem::Local { through, cidr })
}

/// Checks that the ENIs of every group can send to the interfaces that their routes
/// lead to: those in other subnets are reached by the router of the ENIs' subnet.
pub(in crate::config) fn interfaces_are_reached(
    scope: &Scope,
    groups: &[GroupConfig],
) -> Checked<()> {
    for group in groups {
        let subnet = group.subnet_name.as_ref();
        let Some(subnet) = subnet.and_then(|name| scope.subnets.get(name.as_str())) else {
            continue;
        };
        let vpc = scope.vpcs.get(subnet.vpc.as_str());
        let needs_router = vpc.is_some_and(|vpc| vpc.local == LocalDelivery::Router);
        if needs_router && subnet.router.is_none() {
            interfaces_are_near(scope, subnet, group)?;
        }
    }
    Ok(())
}

fn interfaces_are_near(scope: &Scope, subnet: &Subnet, group: &GroupConfig) -> Checked<()> {
    let table = scope.route_tables.get(subnet.route_table.as_str());
    for route in table.iter().flat_map(|table| &table.routes) {
        let Target::Interface(name) = &route.target else {
            continue;
        };
        let interface = scope.interfaces.get(name.as_str());
        if interface.is_some_and(|interface| interface.subnet != subnet.name) {
            let problem = Problem::NoWayToInterface {
                destination: destination_words(&route.destination),
                interface: name.to_string(),
                group: group.name.to_string(),
            };
            let place = Place::named("subnet", subnet.name.as_str());
            return Err(place.refuse("route_table", subnet.route_table.as_str(), problem));
        }
    }
    Ok(())
}
