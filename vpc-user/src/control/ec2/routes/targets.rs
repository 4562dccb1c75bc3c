//! Targets of routes: which there are, and whether they are alive.

use super::CreateRoute;
use crate::control::{
    ApiError, Context, Id, IdKind, Kind, State,
    ec2::lookup::{different_networks, find, not_found},
    resource::{
        Endpoint, Interface, InternetGateway, NatGateway, NatGatewayState, Peering, PeeringStatus,
        RouteTable, RouteTarget,
    },
};

/// Whether packets that a route of a VPC leads to a target get there. Otherwise it shows
/// `blackhole`, and they are dropped.
pub fn is_active(state: &State, target: &RouteTarget, vpc: &Id) -> bool {
    match target {
        RouteTarget::GatewayId(id) => {
            let gateway = state.get::<InternetGateway>(id.as_str());
            let endpoint = state.get::<Endpoint>(id.as_str());
            gateway.is_some_and(|gateway| gateway.vpc_id.as_ref() == Some(vpc))
                || endpoint.is_some_and(|one| one.vpc_id == *vpc && one.state == "available")
        }
        RouteTarget::NatGatewayId(id) => {
            let gateway = state.get::<NatGateway>(id.as_str());
            gateway.is_some_and(|gateway| {
                gateway.vpc_id == *vpc && gateway.state == NatGatewayState::Available
            })
        }
        RouteTarget::NetworkInterfaceId(id) => {
            let interface = state.get::<Interface>(id.as_str());
            interface.is_some_and(|interface| interface.vpc_id == *vpc)
        }
        RouteTarget::VpcPeeringConnectionId(id) => {
            let peering = state.get::<Peering>(id.as_str());
            peering.is_some_and(|peering| {
                peering.status == PeeringStatus::Active && is_of(peering, vpc)
            })
        }
        RouteTarget::Blackhole(_) => false,
    }
}

fn is_of(peering: &Peering, vpc: &Id) -> bool {
    let sides = [&peering.requester_vpc, &peering.accepter_vpc];
    sides.iter().any(|side| side.vpc_id == *vpc)
}

impl CreateRoute {
    /// The one target of the request, which a route of the table may have.
    pub(super) fn target(
        &self,
        state: &State,
        context: &Context,
        table: &RouteTable,
    ) -> Result<RouteTarget, ApiError> {
        let request = Request {
            state,
            context,
            table,
        };
        let given = [
            self.gateway_id.as_deref().map(|id| request.gateway(id)),
            self.nat_gateway_id
                .as_deref()
                .map(|id| request.nat_gateway(id)),
            self.network_interface_id
                .as_deref()
                .map(|id| request.interface(id)),
            self.vpc_endpoint_id
                .as_deref()
                .map(|id| request.endpoint(id)),
            self.vpc_peering_connection_id
                .as_deref()
                .map(|id| request.peering(id)),
            self.blackhole.then_some(Ok(RouteTarget::Blackhole(true))),
        ];
        let mut given = given.into_iter().flatten();
        match (given.next(), given.next()) {
            (None, _) => Err(ApiError::missing(
                "gatewayId, natGatewayId, networkInterfaceId or vpcPeeringConnectionId",
            )),
            (Some(target), None) => target,
            (Some(_), Some(_)) => Err(ApiError::new(
                "InvalidParameterCombination",
                "Only one target of a route may be specified",
            )),
        }
    }
}

/// Who asks for a target, and of which table.
#[derive(Clone, Copy)]
struct Request<'r> {
    state: &'r State,
    context: &'r Context,
    table: &'r RouteTable,
}

impl Request<'_> {
    /// Refuses what is of another VPC than the table.
    fn of_vpc(&self, target: &str, is_of_vpc: bool) -> Result<(), ApiError> {
        let table = format!("route table {}", self.table.route_table_id);
        match is_of_vpc {
            true => Ok(()),
            false => Err(different_networks(&table, target)),
        }
    }

    fn gateway(&self, id: &str) -> Result<RouteTarget, ApiError> {
        let account = self.context.caller.account;
        if IdKind::ENDPOINT.is_well_formed(id) {
            return self.endpoint(id);
        }
        let gateway = match IdKind::INTERNET_GATEWAY.is_well_formed(id) {
            true => find::<InternetGateway>(self.state, account, id).ok(),
            // Local routes are there already, other gateways are not supported.
            false => None,
        };
        let gateway = gateway.ok_or_else(|| {
            let message = format!("The gateway ID '{id}' does not exist");
            ApiError::new("InvalidGatewayID.NotFound", message)
        })?;
        let is_of_vpc = gateway.vpc_id.as_ref() == Some(&self.table.vpc_id);
        self.of_vpc(&format!("network gateway {id}"), is_of_vpc)?;
        Ok(RouteTarget::GatewayId(gateway.internet_gateway_id.clone()))
    }

    fn nat_gateway(&self, id: &str) -> Result<RouteTarget, ApiError> {
        let gateway: &NatGateway = find(self.state, self.context.caller.account, id)?;
        match gateway.state {
            NatGatewayState::Pending | NatGatewayState::Available => {}
            NatGatewayState::Failed | NatGatewayState::Deleting | NatGatewayState::Deleted => {
                return Err(not_found(Kind::NatGateway, id));
            }
        }
        let is_of_vpc = gateway.vpc_id == self.table.vpc_id;
        self.of_vpc(&format!("NAT gateway {id}"), is_of_vpc)?;
        Ok(RouteTarget::NatGatewayId(gateway.nat_gateway_id.clone()))
    }

    fn interface(&self, id: &str) -> Result<RouteTarget, ApiError> {
        let interface: &Interface = find(self.state, self.context.caller.account, id)?;
        let is_of_vpc = interface.vpc_id == self.table.vpc_id;
        self.of_vpc(&format!("interface {id}"), is_of_vpc)?;
        let id = interface.network_interface_id.clone();
        Ok(RouteTarget::NetworkInterfaceId(id))
    }

    /// An interface endpoint is no target; the routes of a gateway endpoint come and go
    /// with its association with the table.
    fn endpoint(&self, id: &str) -> Result<RouteTarget, ApiError> {
        find::<Endpoint>(self.state, self.context.caller.account, id)?;
        let message = format!("The VPC endpoint {id} cannot be the target of this route");
        Err(ApiError::new("RouteNotSupported", message))
    }

    fn peering(&self, id: &str) -> Result<RouteTarget, ApiError> {
        let peering: &Peering = find(self.state, self.context.caller.account, id)?;
        match peering.status {
            PeeringStatus::PendingAcceptance | PeeringStatus::Active => {}
            PeeringStatus::Failed
            | PeeringStatus::Rejected
            | PeeringStatus::Expired
            | PeeringStatus::Deleted => {
                return Err(not_found(Kind::Peering, id));
            }
        }
        let is_of_vpc = is_of(peering, &self.table.vpc_id);
        self.of_vpc(&format!("peering connection {id}"), is_of_vpc)?;
        let id = peering.vpc_peering_connection_id.clone();
        Ok(RouteTarget::VpcPeeringConnectionId(id))
    }
}
