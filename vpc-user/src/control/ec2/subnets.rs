//! Subnets.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/configure-subnets.html>

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Act, Attribute, addresses, cidr_blocks, done,
    lookup::{find, in_use, within},
    network_acls,
    tags::{self, TagSpecification},
    vpcs::{one_attribute, remove_flow_logs},
};
use crate::control::{
    ApiError, Context, IdKind, Key, Kind, Settings, State, Transaction,
    resource::{RouteTable, Subnet, Vpc},
};

/// Makes a subnet, with the default network ACL and the main route table of its VPC.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateSubnet.html>
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateSubnet {
    /// Its VPC.
    pub vpc_id: String,
    /// Its addresses: /16 to /28, in one of the VPC's blocks.
    pub cidr_block: String,
    /// Its availability zone, by default the first.
    #[serde(default)]
    pub availability_zone: Option<String>,
    /// Ours: the router that delivers to other subnets.
    #[serde(default)]
    pub router: Option<Ipv4Addr>,
    /// Its tags.
    #[serde(default)]
    pub tag_specifications: Vec<TagSpecification>,
}

/// Deletes a subnet that has no interface.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DeleteSubnet.html>
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteSubnet {
    /// The subnet.
    pub subnet_id: String,
}

/// Changes one attribute of a subnet.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifySubnetAttribute.html>
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ModifySubnetAttribute {
    /// The subnet.
    pub subnet_id: String,
    /// Whether instances get a public address.
    #[serde(default)]
    pub map_public_ip_on_launch: Option<Attribute<bool>>,
    /// Ours: the router that delivers to other subnets.
    #[serde(default)]
    pub router: Option<Attribute<Option<Ipv4Addr>>>,
}

impl Act for CreateSubnet {
    fn act(
        &self,
        transaction: &mut Transaction<'_>,
        context: &mut Context,
    ) -> Result<Value, ApiError> {
        let account = context.caller.account;
        let vpc = find::<Vpc>(transaction, account, &self.vpc_id)?;
        let vpc_id = vpc.vpc_id.clone();
        let cidr_block = self.block(transaction, vpc)?;
        let of_vpc = Key::of::<Vpc>(vpc_id.as_str());
        let count = transaction.referring::<Subnet>(&of_vpc).count() + 1;
        let quota = context.settings.quotas.subnets_per_vpc;
        within("SubnetLimitExceeded", "subnets of a VPC", count, quota)?;
        let subnet = Subnet {
            subnet_id: IdKind::SUBNET.fresh(&mut context.entropy),
            owner_id: account,
            cidr_block,
            availability_zone: self.zone(&context.settings)?,
            map_public_ip_on_launch: false,
            network_acl_id: network_acls::default_in(transaction, &vpc_id)?,
            network_acl_association_id: IdKind::NETWORK_ACL_ASSOCIATION.fresh(&mut context.entropy),
            router: router(self.router, cidr_block)?,
            tags: tags::specified(&self.tag_specifications, "subnet", &context.settings)?,
            vpc_id,
        };
        let answer = shown(transaction, &subnet);
        transaction.put(subnet);
        Ok(json!({ "Subnet": answer }))
    }
}

impl CreateSubnet {
    fn block(&self, state: &State, vpc: &Vpc) -> Result<Ipv4Net, ApiError> {
        let code = "InvalidSubnet.Range";
        let block = cidr_blocks::block("cidrBlock", &self.cidr_block, code)?;
        if !vpc.cidrs().any(|cidr| cidr.contains(&block)) {
            let message = format!("The CIDR '{block}' is invalid.");
            return Err(ApiError::new(code, message));
        }
        let key = Key::of::<Vpc>(vpc.vpc_id.as_str());
        let mut others = state.referring::<Subnet>(&key);
        if others.any(|other| cidr_blocks::overlap(other.cidr_block, block)) {
            let message = format!("The CIDR '{block}' conflicts with another subnet");
            return Err(ApiError::new("InvalidSubnet.Conflict", message));
        }
        Ok(block)
    }

    fn zone(&self, settings: &Settings) -> Result<String, ApiError> {
        let zones = &settings.zones;
        let zone = match &self.availability_zone {
            Some(wanted) => zones.iter().find(|zone| *zone == wanted),
            None => zones.first(),
        };
        zone.cloned().ok_or_else(|| {
            ApiError::invalid(format!(
                "Value ({}) for parameter availabilityZone is invalid. Subnets can currently only \
                 be created in the following availability zones: {}.",
                self.availability_zone.as_deref().unwrap_or_default(),
                zones.join(", ")
            ))
        })
    }
}

/// A router is a host of the subnet.
fn router(router: Option<Ipv4Addr>, block: Ipv4Net) -> Result<Option<Ipv4Addr>, ApiError> {
    let is_host = |address: Ipv4Addr| {
        block.contains(&address) && address != block.network() && address != block.broadcast()
    };
    match router {
        Some(address) if !is_host(address) => Err(ApiError::invalid(format!(
            "Value ({address}) for parameter router is invalid. It is no host of {block}."
        ))),
        router => Ok(router),
    }
}

impl Act for DeleteSubnet {
    fn act(
        &self,
        transaction: &mut Transaction<'_>,
        context: &mut Context,
    ) -> Result<Value, ApiError> {
        let id = &self.subnet_id;
        find::<Subnet>(transaction, context.caller.account, id)?;
        let key = Key::of::<Subnet>(id);
        let keeps = |one: &Key| one.kind != Kind::RouteTable;
        if transaction.referrers_of(&key).any(keeps) {
            return Err(in_use::<Subnet>(id));
        }
        // An association with a route table goes with the subnet.
        let tables: Vec<RouteTable> = transaction.referring(&key).cloned().collect();
        for mut table in tables {
            table
                .associations
                .retain(|one| one.subnet_id.as_str() != id);
            transaction.put(table);
        }
        remove_flow_logs(transaction, id);
        transaction.remove(key);
        Ok(done())
    }
}

impl Act for ModifySubnetAttribute {
    fn act(
        &self,
        transaction: &mut Transaction<'_>,
        context: &mut Context,
    ) -> Result<Value, ApiError> {
        let account = context.caller.account;
        let mut subnet = find::<Subnet>(transaction, account, &self.subnet_id)?.clone();
        one_attribute(&[
            self.map_public_ip_on_launch.is_some(),
            self.router.is_some(),
        ])?;
        if let Some(Attribute { value }) = self.map_public_ip_on_launch {
            subnet.map_public_ip_on_launch = value;
        }
        if let Some(Attribute { value }) = self.router {
            subnet.router = router(value, subnet.cidr_block)?;
        }
        transaction.put(subnet);
        Ok(done())
    }
}

/// As DescribeSubnets shows it.
pub(super) fn shown(state: &State, subnet: &Subnet) -> Value {
    json!({
        "SubnetId": subnet.subnet_id,
        "VpcId": subnet.vpc_id,
        "OwnerId": subnet.owner_id,
        "State": "available",
        "CidrBlock": subnet.cidr_block,
        "Ipv6CidrBlockAssociationSet": [],
        "AvailabilityZone": subnet.availability_zone,
        "AvailableIpAddressCount": addresses::available_count(state, subnet),
        "DefaultForAz": false,
        "MapPublicIpOnLaunch": subnet.map_public_ip_on_launch,
        "AssignIpv6AddressOnCreation": false,
        "EnableDns64": false,
        "Ipv6Native": false,
        "Router": subnet.router,
        "Tags": tags::shown(&subnet.tags),
    })
}
