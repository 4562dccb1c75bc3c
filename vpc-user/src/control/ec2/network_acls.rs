//! Network ACLs.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/vpc-network-acls.html>

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Act, done,
    lookup::{different_networks, find, in_use, no_association, within},
    tags::{self, TagSpecification},
};
use crate::control::{
    ApiError, Context, Id, IdKind, Key, State, Tags, Transaction,
    resource::{NetworkAcl, NetworkAclEntry, RuleAction, Subnet, Vpc},
};

mod entries;

pub use entries::*;

/// The number of AWS's entry in a default ACL.
const DEFAULT_NUMBER: u16 = 100;
/// The number by which the last entry is shown, which denies.
const LAST_NUMBER: u16 = 32_767;
/// The protocol of an entry that is about all of them.
const ALL_PROTOCOLS: &str = "-1";

/// Makes a network ACL that denies everything.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateNetworkAcl.html>
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateNetworkAcl {
    /// Its VPC.
    pub vpc_id: String,
    /// Its tags.
    #[serde(default)]
    pub tag_specifications: Vec<TagSpecification>,
}

/// Deletes a network ACL that no subnet has.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DeleteNetworkAcl.html>
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteNetworkAcl {
    /// The ACL.
    pub network_acl_id: String,
}

/// Gives a subnet another network ACL.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ReplaceNetworkAclAssociation.html>
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ReplaceNetworkAclAssociation {
    /// `aclassoc-…` of the subnet with the ACL that it has.
    pub association_id: String,
    /// The other ACL.
    pub network_acl_id: String,
}

impl Act for CreateNetworkAcl {
    fn act(
        &self,
        transaction: &mut Transaction<'_>,
        context: &mut Context,
    ) -> Result<Value, ApiError> {
        let account = context.caller.account;
        let vpc_id = find::<Vpc>(transaction, account, &self.vpc_id)?
            .vpc_id
            .clone();
        let key = Key::of::<Vpc>(vpc_id.as_str());
        let count = transaction.referring::<NetworkAcl>(&key).count() + 1;
        let quota = context.settings.quotas.network_acls_per_vpc;
        within(
            "NetworkAclLimitExceeded",
            "network ACLs of a VPC",
            count,
            quota,
        )?;
        let settings = &context.settings;
        let acl = NetworkAcl {
            tags: tags::specified(&self.tag_specifications, "network-acl", settings)?,
            ..bare(&vpc_id, context)
        };
        let answer = json!({ "NetworkAcl": shown(transaction, &acl) });
        transaction.put(acl);
        Ok(answer)
    }
}

/// The ACL that a VPC has from the beginning: it allows everything.
pub(super) fn default_of(vpc: &Id, context: &mut Context) -> NetworkAcl {
    let allow_all = |egress| NetworkAclEntry {
        rule_number: DEFAULT_NUMBER,
        rule_action: RuleAction::Allow,
        ..last(egress)
    };
    NetworkAcl {
        is_default: true,
        entries: vec![allow_all(false), allow_all(true)],
        ..bare(vpc, context)
    }
}

fn bare(vpc: &Id, context: &mut Context) -> NetworkAcl {
    NetworkAcl {
        network_acl_id: IdKind::NETWORK_ACL.fresh(&mut context.entropy),
        owner_id: context.caller.account,
        vpc_id: vpc.clone(),
        is_default: false,
        entries: Vec::new(),
        tags: Tags::new(),
    }
}

/// The entry that is after all others.
fn last(egress: bool) -> NetworkAclEntry {
    NetworkAclEntry {
        rule_number: LAST_NUMBER,
        egress,
        rule_action: RuleAction::Deny,
        protocol: ALL_PROTOCOLS.to_owned(),
        cidr_block: Ipv4Net::default(),
        port_range: None,
        icmp_type_code: None,
    }
}

/// The default ACL of a VPC.
pub(super) fn default_in(state: &State, vpc: &Id) -> Result<Id, ApiError> {
    let key = Key::of::<Vpc>(vpc.as_str());
    let acl = state
        .referring::<NetworkAcl>(&key)
        .find(|acl| acl.is_default);
    let acl = acl.map(|acl| acl.network_acl_id.clone());
    acl.ok_or_else(|| ApiError::with_status(500, "InternalError", "The VPC has no default ACL"))
}

impl Act for DeleteNetworkAcl {
    fn act(
        &self,
        transaction: &mut Transaction<'_>,
        context: &mut Context,
    ) -> Result<Value, ApiError> {
        let id = &self.network_acl_id;
        if find::<NetworkAcl>(transaction, context.caller.account, id)?.is_default {
            let message = format!("cannot delete default network ACL {id}");
            return Err(ApiError::invalid(message));
        }
        let key = Key::of::<NetworkAcl>(id);
        if transaction.referrers_of(&key).next().is_some() {
            return Err(in_use::<NetworkAcl>(id));
        }
        transaction.remove(key);
        Ok(done())
    }
}

impl Act for ReplaceNetworkAclAssociation {
    fn act(
        &self,
        transaction: &mut Transaction<'_>,
        context: &mut Context,
    ) -> Result<Value, ApiError> {
        let account = context.caller.account;
        let acl = find::<NetworkAcl>(transaction, account, &self.network_acl_id)?;
        let id = self.association_id.as_str();
        let subnet = transaction
            .of_account::<Subnet>(account)
            .find(|subnet| subnet.network_acl_association_id.as_str() == id)
            .ok_or_else(|| no_association(id))?;
        if subnet.vpc_id != acl.vpc_id {
            let acl = format!("networkAcl {}", acl.network_acl_id);
            let subnet = format!("subnet {}", subnet.subnet_id);
            return Err(different_networks(&acl, &subnet));
        }
        let association = IdKind::NETWORK_ACL_ASSOCIATION.fresh(&mut context.entropy);
        let subnet = Subnet {
            network_acl_id: acl.network_acl_id.clone(),
            network_acl_association_id: association.clone(),
            ..subnet.clone()
        };
        transaction.put(subnet);
        Ok(json!({ "NewAssociationId": association }))
    }
}

/// As DescribeNetworkAcls shows it.
pub(super) fn shown(state: &State, acl: &NetworkAcl) -> Value {
    let last = [last(true), last(false)];
    let mut entries: Vec<&NetworkAclEntry> = acl.entries.iter().chain(&last).collect();
    entries.sort_by_key(|entry| (!entry.egress, entry.rule_number));
    let id = &acl.network_acl_id;
    let associations = state
        .referring::<Subnet>(&Key::of::<NetworkAcl>(id.as_str()))
        .map(|subnet| {
            json!({
                "NetworkAclAssociationId": subnet.network_acl_association_id,
                "NetworkAclId": id,
                "SubnetId": subnet.subnet_id,
            })
        })
        .collect::<Vec<_>>();
    json!({
        "NetworkAclId": id,
        "VpcId": acl.vpc_id,
        "OwnerId": acl.owner_id,
        "IsDefault": acl.is_default,
        "Entries": entries,
        "Associations": associations,
        "Tags": tags::shown(&acl.tags),
    })
}
