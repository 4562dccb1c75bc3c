//! VPCs, with what each has from the beginning: a default security group, a default
//! network ACL and a main route table.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/configure-your-vpc.html>

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Act, cidr_blocks, dhcp_options, done, edge,
    lookup::{find, in_use, within},
    network_acls, route_tables, security_groups,
    tags::{self, TagSpecification},
};
use crate::control::{
    ApiError, Context, Id, IdKind, Key, Record, State, Transaction,
    resource::{CidrAssociation, FlowLog, Vpc},
};

/// Makes a VPC.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateVpc.html>
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateVpc {
    /// Its primary block, /16 to /28.
    pub cidr_block: String,
    /// `default`, unless `dedicated`.
    #[serde(default)]
    pub instance_tenancy: Option<String>,
    /// Ours: the uplink of this host on which it is reachable.
    #[serde(default)]
    pub uplink: Option<Id>,
    /// Ours: whether every address of the VPC is a neighbour on that uplink.
    #[serde(default)]
    pub on_link: bool,
    /// Its tags.
    #[serde(default)]
    pub tag_specifications: Vec<TagSpecification>,
}

/// Deletes a VPC, and what it had from the beginning.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DeleteVpc.html>
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteVpc {
    /// The VPC.
    pub vpc_id: String,
}

/// Changes one attribute of a VPC.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyVpcAttribute.html>
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ModifyVpcAttribute {
    /// The VPC.
    pub vpc_id: String,
    /// Whether the resolver answers.
    #[serde(default)]
    pub enable_dns_support: Option<Attribute<bool>>,
    /// Whether public addresses have names: only while the resolver answers.
    #[serde(default)]
    pub enable_dns_hostnames: Option<Attribute<bool>>,
    /// Ours: the uplink of this host on which it is reachable.
    #[serde(default)]
    pub uplink: Option<Attribute<Option<Id>>>,
    /// Ours: whether every address of the VPC is a neighbour on that uplink.
    #[serde(default)]
    pub on_link: Option<Attribute<bool>>,
}

/// The new value of an attribute.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Attribute<T> {
    /// The value.
    pub value: T,
}

impl Act for CreateVpc {
    fn act(
        &self,
        transaction: &mut Transaction<'_>,
        context: &mut Context,
    ) -> Result<Value, ApiError> {
        let account = context.caller.account;
        let cidr_block = cidr_blocks::block("cidrBlock", &self.cidr_block, "InvalidVpc.Range")?;
        let count = transaction.of_account::<Vpc>(account).count() + 1;
        within("VpcLimitExceeded", "VPCs", count, context.settings.vpcs)?;
        let id = IdKind::VPC.fresh(&mut context.entropy);
        uplink_is_free(transaction, self.uplink.as_ref(), &id)?;
        let vpc = Vpc {
            vpc_id: id.clone(),
            owner_id: account,
            cidr_block_association_set: vec![CidrAssociation {
                association_id: IdKind::CIDR_ASSOCIATION.fresh(&mut context.entropy),
                cidr_block,
            }],
            dhcp_options_id: Some(dhcp_options::default_set(transaction, context)),
            instance_tenancy: self.tenancy()?,
            is_default: false,
            enable_dns_support: true,
            enable_dns_hostnames: false,
            uplink: self.uplink.clone(),
            on_link: self.on_link,
            tags: tags::specified(&self.tag_specifications, "vpc", &context.settings)?,
        };
        let mut answer = shown(&vpc);
        answer["State"] = "pending".into();
        transaction.put(vpc);
        transaction.put(security_groups::default_of(&id, context));
        transaction.put(network_acls::default_of(&id, context));
        transaction.put(route_tables::main_of(&id, context));
        Ok(json!({ "Vpc": answer }))
    }
}

impl CreateVpc {
    fn tenancy(&self) -> Result<String, ApiError> {
        let tenancy = self.instance_tenancy.as_deref().unwrap_or("default");
        if matches!(tenancy, "default" | "dedicated") {
            return Ok(tenancy.to_owned());
        }
        Err(ApiError::invalid(format!(
            "Value ({tenancy}) for parameter instanceTenancy is invalid."
        )))
    }
}

impl Act for DeleteVpc {
    fn act(
        &self,
        transaction: &mut Transaction<'_>,
        context: &mut Context,
    ) -> Result<Value, ApiError> {
        let id = &self.vpc_id;
        find::<Vpc>(transaction, context.caller.account, id)?;
        let key = Key::of::<Vpc>(id);
        let referrers: Vec<Key> = transaction.referrers_of(&key).cloned().collect();
        if !referrers
            .iter()
            .all(|one| is_of_the_beginning(transaction, one))
        {
            return Err(in_use::<Vpc>(id));
        }
        edge::end_with_vpc(transaction, id, context.now);
        remove_flow_logs(transaction, id);
        for one in referrers {
            transaction.remove(one);
        }
        transaction.remove(key);
        Ok(done())
    }
}

/// An uplink is one VPC's: what answers on it speaks for that VPC's addresses alone.
fn uplink_is_free(state: &State, uplink: Option<&Id>, vpc: &Id) -> Result<(), ApiError> {
    let Some(uplink) = uplink else {
        return Ok(());
    };
    let mut others = state.all::<Vpc>().filter(|other| other.vpc_id != *vpc);
    if others.any(|other| other.uplink.as_ref() == Some(uplink)) {
        let message = format!("The uplink '{uplink}' is that of another VPC.");
        return Err(ApiError::invalid(message));
    }
    Ok(())
}

/// Whether a VPC takes a resource along.
fn is_of_the_beginning(state: &State, key: &Key) -> bool {
    match state.record(key) {
        Some(Record::SecurityGroup(group)) => group.is_default(),
        Some(Record::NetworkAcl(acl)) => acl.is_default,
        Some(Record::RouteTable(table)) => table.is_main(),
        _ => false,
    }
}

/// Flow logs go with what they are of.
pub(super) fn remove_flow_logs(transaction: &mut Transaction<'_>, subject: &str) {
    let logs = transaction.all::<FlowLog>();
    let logs = logs.filter(|log| log.resource_id.as_str() == subject);
    let keys: Vec<Key> = logs
        .map(|log| Key::of::<FlowLog>(log.flow_log_id.as_str()))
        .collect();
    for key in keys {
        transaction.remove(key);
    }
}

impl Act for ModifyVpcAttribute {
    fn act(
        &self,
        transaction: &mut Transaction<'_>,
        context: &mut Context,
    ) -> Result<Value, ApiError> {
        let mut vpc = find::<Vpc>(transaction, context.caller.account, &self.vpc_id)?.clone();
        let given = [
            self.enable_dns_support.is_some(),
            self.enable_dns_hostnames.is_some(),
            self.uplink.is_some(),
            self.on_link.is_some(),
        ];
        one_attribute(&given)?;
        if let Some(Attribute { value }) = self.enable_dns_support {
            vpc.enable_dns_support = value;
        }
        if let Some(Attribute { value }) = self.enable_dns_hostnames {
            if value && !vpc.enable_dns_support {
                let message = "DNS hostnames can only be enabled while DNS support is enabled.";
                return Err(ApiError::new("InvalidParameterCombination", message));
            }
            vpc.enable_dns_hostnames = value;
        }
        if let Some(Attribute { value }) = &self.uplink {
            uplink_is_free(transaction, value.as_ref(), &vpc.vpc_id)?;
            vpc.uplink = value.clone();
        }
        if let Some(Attribute { value }) = self.on_link {
            vpc.on_link = value;
        }
        transaction.put(vpc);
        Ok(done())
    }
}

/// One attribute a call.
pub(super) fn one_attribute(given: &[bool]) -> Result<(), ApiError> {
    let message = match given.iter().filter(|given| **given).count() {
        1 => return Ok(()),
        0 => "No attributes specified.",
        _ => "Fields for multiple attribute types specified.",
    };
    Err(ApiError::new("InvalidParameterCombination", message))
}

/// As DescribeVpcs shows it, with the attributes that DescribeVpcAttribute shows.
pub(super) fn shown(vpc: &Vpc) -> Value {
    let blocks = &vpc.cidr_block_association_set;
    let associations = blocks.iter().map(|one| {
        json!({
            "AssociationId": one.association_id,
            "CidrBlock": one.cidr_block,
            "CidrBlockState": { "State": "associated" },
        })
    });
    let dhcp_options = vpc.dhcp_options_id.as_ref();
    json!({
        "VpcId": vpc.vpc_id,
        "OwnerId": vpc.owner_id,
        "State": "available",
        "CidrBlock": blocks.first().map(|one| one.cidr_block),
        "CidrBlockAssociationSet": associations.collect::<Vec<_>>(),
        "Ipv6CidrBlockAssociationSet": [],
        "DhcpOptionsId": dhcp_options.map_or(dhcp_options::NO_SET, |id| id.as_str()),
        "InstanceTenancy": vpc.instance_tenancy,
        "IsDefault": vpc.is_default,
        "EnableDnsSupport": vpc.enable_dns_support,
        "EnableDnsHostnames": vpc.enable_dns_hostnames,
        "Uplink": vpc.uplink,
        "OnLink": vpc.on_link,
        "Tags": tags::shown(&vpc.tags),
    })
}
