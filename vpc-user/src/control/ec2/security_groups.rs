//! Security groups.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/vpc-security-groups.html>

use std::collections::BTreeMap;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Act,
    lookup::{find, within},
    tags::{self, TagSpecification},
};
use crate::control::{
    ApiError, Context, Id, IdKind, Key, State, Tags, Transaction,
    resource::{RulePeer, RuleTraffic, SecurityGroup, SecurityGroupRule, Vpc},
};

mod descriptions;
mod permissions;
mod rules;

pub use descriptions::*;
pub use permissions::*;
pub use rules::*;

/// The name of the group that every VPC has.
const DEFAULT: &str = "default";
/// Characters of a name and of a description.
const TEXT_MAX: usize = 255;

/// Makes a security group: nothing may come in, everything may go out.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateSecurityGroup.html>
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateSecurityGroup {
    /// Its name, unique in the VPC.
    pub group_name: String,
    /// What it is for.
    pub description: String,
    /// Its VPC.
    pub vpc_id: String,
    /// Its tags.
    #[serde(default)]
    pub tag_specifications: Vec<TagSpecification>,
}

/// Deletes a security group that nobody carries and no rule of its VPC names.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DeleteSecurityGroup.html>
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteSecurityGroup {
    /// The group.
    pub group_id: String,
}

impl SecurityGroup {
    /// Whether it is the group that its VPC has had from the beginning.
    pub fn is_default(&self) -> bool {
        self.group_name == DEFAULT
    }
}

impl Act for CreateSecurityGroup {
    fn act(
        &self,
        transaction: &mut Transaction<'_>,
        context: &mut Context,
    ) -> Result<Value, ApiError> {
        let account = context.caller.account;
        let vpc_id = find::<Vpc>(transaction, account, &self.vpc_id)?
            .vpc_id
            .clone();
        let name = self.group_name.trim_end();
        is_name(name)?;
        text("groupDescription", &self.description)?;
        let key = Key::of::<Vpc>(vpc_id.as_str());
        let has_name = |other: &SecurityGroup| other.group_name.eq_ignore_ascii_case(name);
        if transaction.referring(&key).any(has_name) {
            let message = format!("The security group '{name}' already exists for VPC '{vpc_id}'");
            return Err(ApiError::new("InvalidGroup.Duplicate", message));
        }
        let count = transaction.of_account::<SecurityGroup>(account).count() + 1;
        let quota = context.settings.quotas.security_groups;
        within(
            "SecurityGroupLimitExceeded",
            "security groups",
            count,
            quota,
        )?;
        let settings = &context.settings;
        let tags = tags::specified(&self.tag_specifications, "security-group", settings)?;
        let everyone = RulePeer::CidrIpv4(Ipv4Net::default());
        let group = SecurityGroup {
            rules: vec![rule_of_all(true, everyone, context)],
            description: self.description.clone(),
            tags,
            ..bare(&vpc_id, name, context)
        };
        let answer = json!({ "GroupId": group.group_id, "Tags": tags::shown(&group.tags) });
        transaction.put(group);
        Ok(answer)
    }
}

/// The group that a VPC has from the beginning: everything may go out, and come in from
/// those who carry it.
pub(super) fn default_of(vpc: &Id, context: &mut Context) -> SecurityGroup {
    let group = bare(vpc, DEFAULT, context);
    let itself = RulePeer::ReferencedGroupId(group.group_id.clone());
    let everyone = RulePeer::CidrIpv4(Ipv4Net::default());
    SecurityGroup {
        description: "default VPC security group".to_owned(),
        rules: vec![
            rule_of_all(false, itself, context),
            rule_of_all(true, everyone, context),
        ],
        ..group
    }
}

fn bare(vpc: &Id, name: &str, context: &mut Context) -> SecurityGroup {
    SecurityGroup {
        group_id: IdKind::SECURITY_GROUP.fresh(&mut context.entropy),
        owner_id: context.caller.account,
        vpc_id: vpc.clone(),
        group_name: name.to_owned(),
        description: String::new(),
        rules: Vec::new(),
        tags: Tags::new(),
    }
}

fn rule_of_all(is_egress: bool, peer: RulePeer, context: &mut Context) -> SecurityGroupRule {
    SecurityGroupRule {
        security_group_rule_id: IdKind::SECURITY_GROUP_RULE.fresh(&mut context.entropy),
        is_egress,
        traffic: all_traffic(),
        peer,
        description: None,
        tags: Tags::new(),
    }
}

fn all_traffic() -> RuleTraffic {
    RuleTraffic {
        ip_protocol: "-1".to_owned(),
        from_port: -1,
        to_port: -1,
    }
}

fn is_name(name: &str) -> Result<(), ApiError> {
    if name.eq_ignore_ascii_case(DEFAULT) {
        let message = format!("Cannot use reserved security group name: {name}");
        return Err(ApiError::new("InvalidGroup.Reserved", message));
    }
    let prefix = name.get(..3).unwrap_or_default();
    if prefix.eq_ignore_ascii_case("sg-") {
        let message = "Value for parameter GroupName is invalid. Group names may not be in the \
                       format sg-*.";
        return Err(ApiError::invalid(message));
    }
    text("groupName", name)
}

/// A name or description: not empty, and of the characters that AWS allows.
fn text(member: &str, text: &str) -> Result<(), ApiError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || " ._-:/()#,@[]+=&;{}!$*".contains(c);
    if text.is_empty() {
        return Err(ApiError::missing(member));
    }
    if text.len() > TEXT_MAX || !text.chars().all(allowed) {
        let message = format!(
            "Invalid {member}. Use at most {TEXT_MAX} of the characters a-z, A-Z, 0-9, spaces \
             and ._-:/()#,@[]+=&;{{}}!$*"
        );
        return Err(ApiError::invalid(message));
    }
    Ok(())
}

impl Act for DeleteSecurityGroup {
    fn act(
        &self,
        transaction: &mut Transaction<'_>,
        context: &mut Context,
    ) -> Result<Value, ApiError> {
        let id = self.group_id.as_str();
        let group = find::<SecurityGroup>(transaction, context.caller.account, id)?;
        if group.is_default() {
            let message = format!(
                "the specified group: \"{id}\" name: \"{DEFAULT}\" cannot be deleted by a user"
            );
            return Err(ApiError::new("CannotDelete", message));
        }
        let key = Key::of::<SecurityGroup>(id);
        let user = transaction.referrers_of(&key).next().map(Key::to_string);
        let user = user.or_else(|| named_by(transaction, group));
        if let Some(user) = user {
            return Err(ApiError::dependency(&format!("resource {id}"), &user));
        }
        transaction.remove(key);
        Ok(json!({ "Return": true, "GroupId": id }))
    }
}

/// The other group of the VPC that has a rule which names a group.
fn named_by(state: &State, group: &SecurityGroup) -> Option<String> {
    let names = |rule: &SecurityGroupRule| match &rule.peer {
        RulePeer::ReferencedGroupId(id) => *id == group.group_id,
        RulePeer::CidrIpv4(_) | RulePeer::PrefixListId(_) => false,
    };
    let key = Key::of::<Vpc>(group.vpc_id.as_str());
    let user = state
        .referring::<SecurityGroup>(&key)
        .find(|other| other.group_id != group.group_id && other.rules.iter().any(names));
    user.map(|user| user.group_id.to_string())
}

/// As DescribeSecurityGroups shows it.
pub(super) fn shown(state: &State, group: &SecurityGroup) -> Value {
    json!({
        "GroupId": group.group_id,
        "GroupName": group.group_name,
        "Description": group.description,
        "OwnerId": group.owner_id,
        "VpcId": group.vpc_id,
        "IpPermissions": shown_permissions(state, group, false),
        "IpPermissionsEgress": shown_permissions(state, group, true),
        "Tags": tags::shown(&group.tags),
    })
}

/// The rules of one direction, those of the same protocol and ports together.
fn shown_permissions(state: &State, group: &SecurityGroup, is_egress: bool) -> Vec<Value> {
    let mut by_traffic: BTreeMap<&RuleTraffic, Vec<&SecurityGroupRule>> = BTreeMap::new();
    for rule in group
        .rules
        .iter()
        .filter(|rule| rule.is_egress == is_egress)
    {
        by_traffic.entry(&rule.traffic).or_default().push(rule);
    }
    let shown = |(traffic, rules): (&RuleTraffic, Vec<&SecurityGroupRule>)| {
        let peers = |member: &str| -> Vec<Value> {
            let shown = rules.iter().map(|rule| shown_peer(state, rule));
            let of_member = shown.filter(|(of, _)| *of == member);
            of_member.map(|(_, peer)| peer).collect()
        };
        let mut permission = json!({
            "IpProtocol": traffic.ip_protocol,
            "IpRanges": peers("IpRanges"),
            "Ipv6Ranges": [],
            "UserIdGroupPairs": peers("UserIdGroupPairs"),
            "PrefixListIds": peers("PrefixListIds"),
        });
        if *traffic != all_traffic() {
            permission["FromPort"] = traffic.from_port.into();
            permission["ToPort"] = traffic.to_port.into();
        }
        permission
    };
    by_traffic.into_iter().map(shown).collect()
}

/// The other end of a rule, and the member of a permission that it is in.
fn shown_peer(state: &State, rule: &SecurityGroupRule) -> (&'static str, Value) {
    let (member, mut peer) = match &rule.peer {
        RulePeer::CidrIpv4(cidr) => ("IpRanges", json!({ "CidrIp": cidr })),
        RulePeer::PrefixListId(id) => ("PrefixListIds", json!({ "PrefixListId": id })),
        RulePeer::ReferencedGroupId(id) => {
            let mut pair = json!({ "GroupId": id });
            if let Some(group) = state.get::<SecurityGroup>(id.as_str()) {
                pair["UserId"] = json!(group.owner_id);
            }
            ("UserIdGroupPairs", pair)
        }
    };
    if let Some(description) = &rule.description {
        peer["Description"] = description.as_str().into();
    }
    (member, peer)
}

/// As DescribeSecurityGroupRules shows a rule.
pub fn shown_rule(state: &State, group: &SecurityGroup, rule: &SecurityGroupRule) -> Value {
    let mut shown = json!({
        "SecurityGroupRuleId": rule.security_group_rule_id,
        "GroupId": group.group_id,
        "GroupOwnerId": group.owner_id,
        "IsEgress": rule.is_egress,
        "IpProtocol": rule.traffic.ip_protocol,
        "FromPort": rule.traffic.from_port,
        "ToPort": rule.traffic.to_port,
        "Tags": tags::shown(&rule.tags),
    });
    match &rule.peer {
        RulePeer::CidrIpv4(cidr) => shown["CidrIpv4"] = json!(cidr),
        RulePeer::PrefixListId(id) => shown["PrefixListId"] = json!(id),
        RulePeer::ReferencedGroupId(id) => {
            let group = state.get::<SecurityGroup>(id.as_str());
            shown["ReferencedGroupInfo"] = json!({
                "GroupId": id,
                "UserId": group.map(|group| group.owner_id),
                "VpcId": group.map(|group| &group.vpc_id),
            });
        }
    }
    if let Some(description) = &rule.description {
        shown["Description"] = description.as_str().into();
    }
    shown
}
