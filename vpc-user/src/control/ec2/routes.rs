//! Routes of route tables.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/route-tables-priority.html>

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Act, cidr_blocks, done,
    lookup::{self, find, within},
};
use crate::control::{
    ApiError, Context, Key, Kind, Settings, State, Transaction,
    resource::{PrefixList, Route, RouteDestination, RouteTable, RouteTarget, Subnet, Vpc},
};

mod targets;

pub use targets::is_active;

/// Addresses of AWS's own services, to which no route may lead.
const NEVER_FORWARDED: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(169, 254, 168, 0), 22);

/// Adds a route, with one destination and one target.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateRoute.html>
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateRoute {
    /// The table.
    pub route_table_id: String,
    /// To a prefix.
    #[serde(default)]
    pub destination_cidr_block: Option<String>,
    /// To the prefixes of a list.
    #[serde(default)]
    pub destination_prefix_list_id: Option<String>,
    /// By an internet gateway.
    #[serde(default)]
    pub gateway_id: Option<String>,
    /// By a NAT gateway.
    #[serde(default)]
    pub nat_gateway_id: Option<String>,
    /// By a network interface.
    #[serde(default)]
    pub network_interface_id: Option<String>,
    /// By a VPC endpoint: none that there is may be a target.
    #[serde(default)]
    pub vpc_endpoint_id: Option<String>,
    /// By a peering connection.
    #[serde(default)]
    pub vpc_peering_connection_id: Option<String>,
    /// Ours: nowhere.
    #[serde(default)]
    pub blackhole: bool,
}

/// Gives a route another target.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ReplaceRoute.html>
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReplaceRoute(pub CreateRoute);

/// Removes a route.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DeleteRoute.html>
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteRoute {
    /// The table.
    pub route_table_id: String,
    /// The route to a prefix.
    #[serde(default)]
    pub destination_cidr_block: Option<String>,
    /// The route to the prefixes of a list.
    #[serde(default)]
    pub destination_prefix_list_id: Option<String>,
}

impl Act for CreateRoute {
    fn act(
        &self,
        transaction: &mut Transaction<'_>,
        context: &mut Context,
    ) -> Result<Value, ApiError> {
        let account = context.caller.account;
        let mut table = find::<RouteTable>(transaction, account, &self.route_table_id)?.clone();
        let route = self.route(transaction, context, &table)?;
        let is_there = is_local(transaction, &table, &route.destination)
            || position(&table, &route.destination).is_some();
        if is_there {
            let words = words(&route.destination);
            let message = format!("The route identified by {words} already exists.");
            return Err(ApiError::new("RouteAlreadyExists", message));
        }
        check_destination(transaction, &table, &route)?;
        table.routes.push(route);
        within_quota(transaction, &context.settings, &table)?;
        transaction.put(table);
        Ok(done())
    }
}

impl Act for ReplaceRoute {
    fn act(
        &self,
        transaction: &mut Transaction<'_>,
        context: &mut Context,
    ) -> Result<Value, ApiError> {
        let Self(request) = self;
        let account = context.caller.account;
        let mut table = find::<RouteTable>(transaction, account, &request.route_table_id)?.clone();
        let route = request.route(transaction, context, &table)?;
        if is_local(transaction, &table, &route.destination) {
            let words = words(&route.destination);
            let message = format!("The target of the local route {words} cannot be replaced");
            return Err(ApiError::invalid(message));
        }
        let index = position(&table, &route.destination);
        let slot = index.and_then(|index| table.routes.get_mut(index));
        let Some(slot) = slot else {
            let message = format!(
                "There is no route defined for '{}' in the route table. Use CreateRoute instead.",
                words(&route.destination)
            );
            return Err(ApiError::invalid(message));
        };
        *slot = route.clone();
        check_destination(transaction, &table, &route)?;
        transaction.put(table);
        Ok(done())
    }
}

impl Act for DeleteRoute {
    fn act(
        &self,
        transaction: &mut Transaction<'_>,
        context: &mut Context,
    ) -> Result<Value, ApiError> {
        let account = context.caller.account;
        let id = &self.route_table_id;
        let mut table = find::<RouteTable>(transaction, account, id)?.clone();
        let cidr = self.destination_cidr_block.as_deref();
        let destination = destination(cidr, self.destination_prefix_list_id.as_deref())?;
        let words = words(&destination);
        if is_local(transaction, &table, &destination) {
            let message = format!("cannot remove local route {words} in route table {id}");
            return Err(ApiError::invalid(message));
        }
        let no_route = || {
            let message = format!("no route with destination {words} in route table {id}");
            ApiError::new("InvalidRoute.NotFound", message)
        };
        let index = position(&table, &destination).ok_or_else(no_route)?;
        table.routes.remove(index);
        transaction.put(table);
        Ok(done())
    }
}

impl CreateRoute {
    fn route(
        &self,
        state: &State,
        context: &Context,
        table: &RouteTable,
    ) -> Result<Route, ApiError> {
        let cidr = self.destination_cidr_block.as_deref();
        let destination = destination(cidr, self.destination_prefix_list_id.as_deref())?;
        if let RouteDestination::PrefixList(id) = &destination {
            find::<PrefixList>(state, context.caller.account, id.as_str())?;
        }
        Ok(Route {
            destination,
            target: self.target(state, context, table)?,
        })
    }
}

fn destination(cidr: Option<&str>, list: Option<&str>) -> Result<RouteDestination, ApiError> {
    match (cidr, list) {
        (Some(cidr), None) => {
            cidr_blocks::prefix("destinationCidrBlock", cidr).map(RouteDestination::Cidr)
        }
        (None, Some(list)) => lookup::id(Kind::PrefixList, list).map(RouteDestination::PrefixList),
        (None, None) => Err(ApiError::missing(
            "destinationCidrBlock or destinationPrefixListId",
        )),
        (Some(_), Some(_)) => Err(ApiError::new(
            "InvalidParameterCombination",
            "Only one of destinationCidrBlock and destinationPrefixListId may be specified",
        )),
    }
}

fn words(destination: &RouteDestination) -> String {
    match destination {
        RouteDestination::Cidr(cidr) => cidr.to_string(),
        RouteDestination::PrefixList(id) => id.to_string(),
    }
}

fn position(table: &RouteTable, destination: &RouteDestination) -> Option<usize> {
    let is_it = |route: &Route| route.destination == *destination;
    table.routes.iter().position(is_it)
}

/// Whether a destination is one of the VPC's blocks, to which every table has a route.
fn is_local(state: &State, table: &RouteTable, destination: &RouteDestination) -> bool {
    let vpc = state.get::<Vpc>(table.vpc_id.as_str());
    let mut blocks = vpc.iter().flat_map(|vpc| vpc.cidrs());
    blocks.any(|block| RouteDestination::Cidr(block) == *destination)
}

/// The prefixes that a route leads to.
pub fn prefixes(state: &State, route: &Route) -> Vec<Ipv4Net> {
    match &route.destination {
        RouteDestination::Cidr(cidr) => vec![*cidr],
        RouteDestination::PrefixList(id) => {
            let list = state.get::<PrefixList>(id.as_str());
            let entries = list.iter().flat_map(|list| &list.entries);
            entries.map(|entry| entry.cidr).collect()
        }
    }
}

/// That a route may lead where it does.
fn check_destination(state: &State, table: &RouteTable, route: &Route) -> Result<(), ApiError> {
    let vpc = state.get::<Vpc>(table.vpc_id.as_str());
    for prefix in prefixes(state, route) {
        if NEVER_FORWARDED.contains(&prefix) {
            let message = format!(
                "The destination CIDR block {prefix} is reserved: packets to {NEVER_FORWARDED} \
                 are not forwarded."
            );
            return Err(ApiError::invalid(message));
        }
        let mut blocks = vpc.iter().flat_map(|vpc| vpc.cidrs());
        let is_inside = blocks.any(|block| block.contains(&prefix));
        if is_inside && !is_before_subnet(state, table, prefix, &route.target) {
            let message = format!(
                "The destination CIDR block {prefix} is equal to or more specific than one of \
                 this VPC's CIDR blocks. This route can target only an interface or a NAT gateway, \
                 and only with the CIDR block of a subnet."
            );
            return Err(ApiError::invalid(message));
        }
    }
    Ok(())
}

/// Whether a route puts a middlebox before a whole subnet: then it may be more specific
/// than the local one.
fn is_before_subnet(
    state: &State,
    table: &RouteTable,
    prefix: Ipv4Net,
    target: &RouteTarget,
) -> bool {
    let is_middlebox = match target {
        RouteTarget::NatGatewayId(_) | RouteTarget::NetworkInterfaceId(_) => true,
        RouteTarget::GatewayId(_)
        | RouteTarget::VpcPeeringConnectionId(_)
        | RouteTarget::Blackhole(_) => false,
    };
    let key = Key::of::<Vpc>(table.vpc_id.as_str());
    let mut subnets = state.referring::<Subnet>(&key);
    is_middlebox && subnets.any(|subnet| subnet.cidr_block == prefix)
}

/// What the routes of a table count for: a prefix list as much as it may come to hold.
pub fn weight(state: &State, table: &RouteTable) -> u64 {
    let weight = |route: &Route| match &route.destination {
        RouteDestination::Cidr(_) => 1,
        RouteDestination::PrefixList(id) => {
            let list = state.get::<PrefixList>(id.as_str());
            list.map_or(1, |list| u64::from(list.max_entries))
        }
    };
    table.routes.iter().map(weight).sum()
}

fn within_quota(state: &State, settings: &Settings, table: &RouteTable) -> Result<(), ApiError> {
    let count = weight(state, table) as usize;
    let quota = settings.quotas.routes_per_table;
    within(
        "RouteLimitExceeded",
        "routes of a route table",
        count,
        quota,
    )
}

/// That a table may have its routes by prefix lists as these are now.
pub(super) fn check(
    state: &State,
    settings: &Settings,
    table: &RouteTable,
) -> Result<(), ApiError> {
    within_quota(state, settings, table)?;
    let by_list = |route: &&Route| matches!(route.destination, RouteDestination::PrefixList(_));
    let mut routes = table.routes.iter().filter(by_list);
    routes.try_for_each(|route| check_destination(state, table, route))
}

/// As DescribeRouteTables shows them, the local ones first.
pub(super) fn shown(state: &State, table: &RouteTable) -> Vec<Value> {
    let vpc = state.get::<Vpc>(table.vpc_id.as_str());
    let local = vpc.iter().flat_map(|vpc| vpc.cidrs()).map(|block| {
        json!({
            "DestinationCidrBlock": block,
            "GatewayId": "local",
            "Origin": "CreateRouteTable",
            "State": "active",
        })
    });
    let own = table.routes.iter().map(|route| {
        let is_active = is_active(state, &route.target, &table.vpc_id);
        let mut shown = serde_json::to_value(route).unwrap_or_default();
        shown["Origin"] = "CreateRoute".into();
        shown["State"] = if is_active { "active" } else { "blackhole" }.into();
        shown
    });
    local.chain(own).collect()
}
