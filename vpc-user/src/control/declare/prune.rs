//! What is there and the file does not have.

use std::collections::BTreeSet;

use serde_json::json;

use super::{EC2, Wish, Work, object};
use crate::{
    control::{
        ApiError, Key, Kind, record_name,
        resource::{Address, Interface, InternetGateway, LATEST, RouteTable},
    },
    model::Network,
};

/// Kinds in the order in which they can go: users before what they use. Each with what
/// deletes it, and the member that names it.
const ORDER: [(Kind, &str, &str, &str); 15] = [
    (Kind::Function, "lambda", "DeleteFunction", "FunctionName"),
    (Kind::FlowLog, EC2, "DeleteFlowLogs", "FlowLogIds"),
    (
        Kind::Peering,
        EC2,
        "DeleteVpcPeeringConnection",
        "VpcPeeringConnectionId",
    ),
    (Kind::Endpoint, EC2, "DeleteVpcEndpoints", "VpcEndpointIds"),
    (Kind::NatGateway, EC2, "DeleteNatGateway", "NatGatewayId"),
    (
        Kind::Interface,
        EC2,
        "DeleteNetworkInterface",
        "NetworkInterfaceId",
    ),
    (Kind::Address, EC2, "ReleaseAddress", "AllocationId"),
    (
        Kind::InternetGateway,
        EC2,
        "DeleteInternetGateway",
        "InternetGatewayId",
    ),
    (Kind::Subnet, EC2, "DeleteSubnet", "SubnetId"),
    (Kind::RouteTable, EC2, "DeleteRouteTable", "RouteTableId"),
    (Kind::NetworkAcl, EC2, "DeleteNetworkAcl", "NetworkAclId"),
    (Kind::SecurityGroup, EC2, "DeleteSecurityGroup", "GroupId"),
    (Kind::Vpc, EC2, "DeleteVpc", "VpcId"),
    (Kind::DhcpOptions, EC2, "DeleteDhcpOptions", "DhcpOptionsId"),
    (
        Kind::PrefixList,
        EC2,
        "DeleteManagedPrefixList",
        "PrefixListId",
    ),
];

impl Work<'_, '_, '_> {
    /// Deletes what has a name that the file does not have. What is still used by something
    /// whose end takes time, as that of a Hyperplane ENI with flows or of a NAT gateway, is
    /// left for the next time, and told of.
    pub(super) fn prune(&mut self, wish: &Wish<'_>, network: &Network) -> Result<(), ApiError> {
        let wanted = wanted(wish, network);
        for (kind, service, action, member) in ORDER {
            let mut gone: Vec<(String, String)> = Vec::new();
            for ((of, name), id) in &self.ids {
                if *of == kind && !wanted.contains(&(kind, name.clone())) {
                    gone.push((name.clone(), id.clone()));
                }
            }
            for (name, id) in gone {
                if self.is_kept(kind, &name, &id) {
                    continue;
                }
                if let Some(user) = self.keeper(kind, &id) {
                    let detail = format!("{user} still uses it: apply again once that is gone");
                    self.step("keep", kind, &name, Some(detail));
                    continue;
                }
                self.detach(kind, &name, &id)?;
                let value = match kind {
                    Kind::Function => json!(name),
                    _ if member.ends_with("Ids") => json!([id]),
                    _ => json!(id),
                };
                let members = json!({ member: value });
                self.send(&object(kind, &name), (service, action), members)?;
                self.step("delete", kind, &name, None);
                self.ids.remove(&(kind, name));
            }
        }
        Ok(())
    }

    /// What goes with something else, or is of its own life.
    fn is_kept(&self, kind: Kind, name: &str, id: &str) -> bool {
        let Some(record) = self.transaction.record(&Key::new(kind, id)) else {
            return true;
        };
        match record {
            crate::control::Record::Interface(eni) => {
                eni.hyperplane.is_some() || eni.interface_type != "interface"
            }
            crate::control::Record::Function(function) => function.version != LATEST,
            // Defaults of a VPC go with it.
            crate::control::Record::SecurityGroup(group) => group.group_name == "default",
            crate::control::Record::NetworkAcl(acl) => acl.is_default,
            crate::control::Record::RouteTable(table) => table.main_association_id.is_some(),
            record => record_name(record).as_deref() != Some(name),
        }
    }

    /// What is attached goes off first.
    fn detach(&mut self, kind: Kind, name: &str, id: &str) -> Result<(), ApiError> {
        let gateway = self.transaction.get::<InternetGateway>(id);
        if kind == Kind::InternetGateway
            && let Some(vpc) = gateway.and_then(|gateway| gateway.vpc_id.clone())
        {
            let members = json!({ "InternetGatewayId": id, "VpcId": vpc });
            let action = (EC2, "DetachInternetGateway");
            self.send(&object(kind, name), action, members)?;
        }
        Ok(())
    }

    /// What something cannot go before.
    fn keeper(&self, kind: Kind, id: &str) -> Option<String> {
        // Others were deleted before, or are in the file and so is what they use.
        let lingers = |one: &&Interface| one.interface_type != "interface";
        let (state, key) = (&*self.transaction, Key::new(kind, id));
        let of_vpc = |vpc: &str, uses: &dyn Fn(&&Interface) -> bool| {
            let mut all = state.all::<Interface>();
            all.find(|one| one.vpc_id.as_str() == vpc && uses(one))
        };
        let keeper = match kind {
            Kind::Vpc => of_vpc(id, &lingers),
            Kind::InternetGateway => {
                let vpc = state.get::<InternetGateway>(id)?.vpc_id.as_ref()?;
                of_vpc(vpc.as_str(), &|one| one.interface_type == "nat_gateway")
            }
            Kind::Address => {
                let user = state.get::<Address>(id)?.network_interface_id.as_ref()?;
                state.get::<Interface>(user.as_str())
            }
            Kind::RouteTable => {
                let subnets = state.get::<RouteTable>(id)?.associations.first()?;
                return Some(subnets.subnet_id.to_string());
            }
            Kind::NetworkAcl | Kind::PrefixList | Kind::DhcpOptions => {
                return state.referrers_of(&key).next().map(|user| user.id.clone());
            }
            _ => state.referring::<Interface>(&key).find(lingers),
        };
        keeper.map(|one| one.network_interface_id.to_string())
    }
}

/// What the file has, by kind and name.
fn wanted(wish: &Wish<'_>, network: &Network) -> BTreeSet<(Kind, String)> {
    let mut wanted = BTreeSet::new();
    let file = wish.file;
    macro_rules! written {
        ($($list:ident = $kind:ident),+) => {
            $(wanted.extend(file.$list.iter().map(|it| (Kind::$kind, it.name.clone())));)+
        };
    }
    written! {
        functions = Function, flow_logs = FlowLog, endpoints = Endpoint,
        nat_gateways = NatGateway, addresses = Address,
        internet_gateways = InternetGateway, dhcp_options = DhcpOptions
    }
    macro_rules! names {
        ($($list:ident = $kind:ident),+) => {
            $(wanted.extend(network.$list.iter().map(|it| (Kind::$kind, it.name.to_string())));)+
        };
    }
    names! {
        vpcs = Vpc, subnets = Subnet, security_groups = SecurityGroup,
        network_acls = NetworkAcl, route_tables = RouteTable, prefix_lists = PrefixList,
        interfaces = Interface, peerings = Peering
    }
    wanted
}
