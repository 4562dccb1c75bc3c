//! EC2: networks, as its API has them.
//!
//! A file has the actions of one kind of resource, each a structure with the members of
//! AWS's request and an [`Act`]. What the answers show of a resource is in [`shown`].

pub mod edge;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{ApiError, Context, Record, State, Transaction};

pub mod addresses;
pub mod cidr_blocks;
mod dhcp_options;
pub mod lookup;
mod network_acls;
mod prefix_lists;
pub mod route_tables;
pub mod routes;
pub mod security_groups;
mod subnets;
pub mod tags;
#[cfg(test)]
mod tests;
mod vpcs;

pub use cidr_blocks::{AssociateVpcCidrBlock, DisassociateVpcCidrBlock};
pub use dhcp_options::*;
pub use edge::{
    AcceptVpcPeeringConnection, AllocateAddress, AssignPrivateIpAddresses,
    AssignPrivateNatGatewayAddress, AssociateAddress, AssociateNatGatewayAddress,
    AttachInternetGateway, CreateFlowLogs, CreateInternetGateway, CreateNatGateway,
    CreateNetworkInterface, CreateVpcEndpoint, CreateVpcPeeringConnection, DeleteFlowLogs,
    DeleteInternetGateway, DeleteNatGateway, DeleteNetworkInterface, DeleteVpcEndpoints,
    DeleteVpcPeeringConnection, DetachInternetGateway, DetachNetworkInterface, DisassociateAddress,
    DisassociateNatGatewayAddress, ModifyNetworkInterfaceAttribute, ModifyVpcEndpoint,
    RejectVpcPeeringConnection, ReleaseAddress, UnassignPrivateIpAddresses,
    UnassignPrivateNatGatewayAddress,
};
pub use network_acls::*;
pub use prefix_lists::*;
pub use route_tables::{
    AssociateRouteTable, CreateRouteTable, DeleteRouteTable, DisassociateRouteTable,
    ReplaceRouteTableAssociation,
};
pub use routes::{CreateRoute, DeleteRoute, ReplaceRoute};
pub use security_groups::{
    AuthorizeSecurityGroupEgress, AuthorizeSecurityGroupIngress, CreateSecurityGroup,
    DeleteSecurityGroup, ModifySecurityGroupRules, RevokeSecurityGroupEgress,
    RevokeSecurityGroupIngress, UpdateSecurityGroupRuleDescriptionsEgress,
    UpdateSecurityGroupRuleDescriptionsIngress,
};
pub use subnets::*;
pub use tags::{CreateTags, DeleteTags};
pub use vpcs::*;

/// What a request does.
pub trait Act {
    /// Carries it out; the answer is in the shape of AWS's.
    fn act(
        &self,
        transaction: &mut Transaction<'_>,
        context: &mut Context,
    ) -> Result<Value, ApiError>;
}

macro_rules! actions {
    ($($action:ident,)+) => {
        /// What may be asked.
        #[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
        #[serde(tag = "Action")]
        #[expect(missing_docs, reason = "each is the request of that name")]
        pub enum Action {
            $($action($action),)+
        }

        /// Carries it out.
        pub fn decide(
            transaction: &mut Transaction<'_>,
            action: &Action,
            context: &mut Context,
        ) -> Result<Value, ApiError> {
            match action {
                $(Action::$action(request) => request.act(transaction, context),)+
            }
        }

        $(
            impl From<$action> for Action {
                fn from(request: $action) -> Self {
                    Self::$action(request)
                }
            }
        )+
    };
}

actions! {
    CreateInternetGateway,
    AttachInternetGateway,
    DetachInternetGateway,
    DeleteInternetGateway,
    AllocateAddress,
    AssociateAddress,
    DisassociateAddress,
    ReleaseAddress,
    CreateNatGateway,
    DeleteNatGateway,
    AssignPrivateNatGatewayAddress,
    UnassignPrivateNatGatewayAddress,
    AssociateNatGatewayAddress,
    DisassociateNatGatewayAddress,
    CreateVpcEndpoint,
    ModifyVpcEndpoint,
    DeleteVpcEndpoints,
    CreateVpcPeeringConnection,
    AcceptVpcPeeringConnection,
    RejectVpcPeeringConnection,
    DeleteVpcPeeringConnection,
    CreateNetworkInterface,
    DeleteNetworkInterface,
    ModifyNetworkInterfaceAttribute,
    DetachNetworkInterface,
    AssignPrivateIpAddresses,
    UnassignPrivateIpAddresses,
    CreateFlowLogs,
    DeleteFlowLogs,
    CreateVpc,
    DeleteVpc,
    ModifyVpcAttribute,
    AssociateVpcCidrBlock,
    DisassociateVpcCidrBlock,
    CreateSubnet,
    DeleteSubnet,
    ModifySubnetAttribute,
    CreateSecurityGroup,
    DeleteSecurityGroup,
    AuthorizeSecurityGroupIngress,
    AuthorizeSecurityGroupEgress,
    RevokeSecurityGroupIngress,
    RevokeSecurityGroupEgress,
    ModifySecurityGroupRules,
    UpdateSecurityGroupRuleDescriptionsIngress,
    UpdateSecurityGroupRuleDescriptionsEgress,
    CreateNetworkAcl,
    DeleteNetworkAcl,
    CreateNetworkAclEntry,
    ReplaceNetworkAclEntry,
    DeleteNetworkAclEntry,
    ReplaceNetworkAclAssociation,
    CreateRouteTable,
    DeleteRouteTable,
    AssociateRouteTable,
    DisassociateRouteTable,
    ReplaceRouteTableAssociation,
    CreateRoute,
    ReplaceRoute,
    DeleteRoute,
    CreateManagedPrefixList,
    ModifyManagedPrefixList,
    DeleteManagedPrefixList,
    CreateDhcpOptions,
    AssociateDhcpOptions,
    DeleteDhcpOptions,
    CreateTags,
    DeleteTags,
}

/// The answer of an action that has nothing to tell.
fn done() -> Value {
    json!({ "Return": true })
}

/// A resource as the API shows it: the element of the matching Describe.
pub fn shown(state: &State, record: &Record) -> Value {
    match record {
        Record::Vpc(vpc) => vpcs::shown(vpc),
        Record::Subnet(subnet) => subnets::shown(state, subnet),
        Record::SecurityGroup(group) => security_groups::shown(state, group),
        Record::NetworkAcl(acl) => network_acls::shown(state, acl),
        Record::RouteTable(table) => route_tables::shown(state, table),
        Record::PrefixList(list) => prefix_lists::shown(list),
        Record::DhcpOptions(set) => dhcp_options::shown(set),
        other => edge::shown(state, other),
    }
}
