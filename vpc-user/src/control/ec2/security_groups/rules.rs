//! Rules of security groups: they come, change and go.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/security-group-rules.html>

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    permissions::{self, IpPermission, Wanted},
    shown_rule,
};
use crate::control::{
    ApiError, Context, IdKind, Key, Settings, State, Transaction,
    ec2::{
        Act, cidr_blocks, done,
        lookup::{find, within},
        tags::{self, TagSpecification, no_rule},
    },
    resource::{Interface, PrefixList, RulePeer, SecurityGroup, SecurityGroupRule},
};

/// Lets traffic come in, or go out: adds rules.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_AuthorizeSecurityGroupIngress.html>
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct AuthorizeSecurityGroup<const EGRESS: bool> {
    /// The group.
    pub group_id: String,
    /// The rules.
    pub ip_permissions: Vec<IpPermission>,
    /// Tags of the rules.
    #[serde(default)]
    pub tag_specifications: Vec<TagSpecification>,
}

/// Lets traffic come in.
pub type AuthorizeSecurityGroupIngress = AuthorizeSecurityGroup<false>;
/// Lets traffic go out.
pub type AuthorizeSecurityGroupEgress = AuthorizeSecurityGroup<true>;

/// Removes rules by which traffic comes in, or goes out.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RevokeSecurityGroupIngress.html>
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct RevokeSecurityGroup<const EGRESS: bool> {
    /// The group.
    pub group_id: String,
    /// The rules by what they say.
    #[serde(default)]
    pub ip_permissions: Vec<IpPermission>,
    /// The rules by their ids.
    #[serde(default)]
    pub security_group_rule_ids: Vec<String>,
}

/// Removes rules by which traffic comes in.
pub type RevokeSecurityGroupIngress = RevokeSecurityGroup<false>;
/// Removes rules by which traffic goes out.
pub type RevokeSecurityGroupEgress = RevokeSecurityGroup<true>;

/// Changes rules.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifySecurityGroupRules.html>
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ModifySecurityGroupRules {
    /// The group.
    pub group_id: String,
    /// The rules.
    pub security_group_rules: Vec<SecurityGroupRuleUpdate>,
}

/// A rule and what it is to say.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct SecurityGroupRuleUpdate {
    /// Which.
    pub security_group_rule_id: String,
    /// All of what it is to say.
    pub security_group_rule: SecurityGroupRuleRequest,
}

/// What a rule is to say.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct SecurityGroupRuleRequest {
    /// `tcp`, `udp`, `icmp`, a number, or `-1` for all.
    pub ip_protocol: String,
    /// The first port, or the ICMP type.
    #[serde(default)]
    pub from_port: Option<i32>,
    /// The last port, or the ICMP code.
    #[serde(default)]
    pub to_port: Option<i32>,
    /// A prefix as the peer.
    #[serde(default)]
    pub cidr_ipv4: Option<String>,
    /// A security group as the peer.
    #[serde(default)]
    pub referenced_group_id: Option<String>,
    /// A prefix list as the peer.
    #[serde(default)]
    pub prefix_list_id: Option<String>,
    /// What it is.
    #[serde(default)]
    pub description: Option<String>,
}

impl<const EGRESS: bool> Act for AuthorizeSecurityGroup<EGRESS> {
    fn act(
        &self,
        transaction: &mut Transaction<'_>,
        context: &mut Context,
    ) -> Result<Value, ApiError> {
        let id = self.group_id.as_str();
        let mut group = find::<SecurityGroup>(transaction, context.caller.account, id)?.clone();
        let settings = &context.settings;
        let tags = tags::specified(&self.tag_specifications, "security-group-rule", settings)?;
        let old = group.rules.len();
        for wanted in permissions::wanted(&self.ip_permissions)? {
            wanted.check_peer(transaction, context, &group)?;
            if position(&group, EGRESS, &wanted).is_some() {
                return Err(duplicate(&wanted));
            }
            group.rules.push(SecurityGroupRule {
                security_group_rule_id: IdKind::SECURITY_GROUP_RULE.fresh(&mut context.entropy),
                is_egress: EGRESS,
                traffic: wanted.traffic,
                peer: wanted.peer,
                description: wanted.description,
                tags: tags.clone(),
            });
            // With each rule: a request may hold any number of them.
            within_group(transaction, &context.settings, &group)?;
        }
        let new = group.rules.iter().skip(old);
        let new = new.map(|rule| shown_rule(transaction, &group, rule));
        let answer = json!({ "Return": true, "SecurityGroupRules": new.collect::<Vec<_>>() });
        transaction.put(group);
        within_quotas(transaction, &context.settings, id)?;
        Ok(answer)
    }
}

/// Where a group has a rule that says the same.
fn position(group: &SecurityGroup, is_egress: bool, wanted: &Wanted) -> Option<usize> {
    group.rules.iter().position(|rule| {
        rule.is_egress == is_egress && rule.traffic == wanted.traffic && rule.peer == wanted.peer
    })
}

fn duplicate(wanted: &Wanted) -> ApiError {
    let peer = match &wanted.peer {
        RulePeer::CidrIpv4(cidr) => cidr.to_string(),
        RulePeer::ReferencedGroupId(id) | RulePeer::PrefixListId(id) => id.to_string(),
    };
    let traffic = &wanted.traffic;
    let message = format!(
        "the specified rule \"peer: {peer}, {}, from port: {}, to port: {}, ALLOW\" already exists",
        traffic.ip_protocol.to_ascii_uppercase(),
        traffic.from_port,
        traffic.to_port
    );
    ApiError::new("InvalidPermission.Duplicate", message)
}

impl<const EGRESS: bool> Act for RevokeSecurityGroup<EGRESS> {
    fn act(
        &self,
        transaction: &mut Transaction<'_>,
        context: &mut Context,
    ) -> Result<Value, ApiError> {
        let account = context.caller.account;
        let mut group = find::<SecurityGroup>(transaction, account, &self.group_id)?.clone();
        let ids = &self.security_group_rule_ids;
        if !ids.is_empty() && !self.ip_permissions.is_empty() {
            let message = "Only one of ipPermissions and securityGroupRuleIds may be specified";
            return Err(ApiError::new("InvalidParameterCombination", message));
        }
        let mut revoked = Vec::new();
        for id in ids {
            let index = group.rules.iter().position(|rule| {
                rule.is_egress == EGRESS && rule.security_group_rule_id.as_str() == id
            });
            revoked.push(group.rules.remove(index.ok_or_else(|| no_rule(id))?));
        }
        if ids.is_empty() {
            for wanted in permissions::wanted(&self.ip_permissions)? {
                let index = position(&group, EGRESS, &wanted);
                revoked.push(group.rules.remove(index.ok_or_else(no_permission)?));
            }
        }
        let revoked = revoked.iter();
        let revoked = revoked.map(|rule| shown_rule(transaction, &group, rule));
        let answer = json!({
            "Return": true,
            "RevokedSecurityGroupRules": revoked.collect::<Vec<_>>(),
            "UnknownIpPermissions": [],
        });
        transaction.put(group);
        Ok(answer)
    }
}

/// No rule says so.
pub(super) fn no_permission() -> ApiError {
    let message = "The specified rule does not exist in this security group.";
    ApiError::new("InvalidPermission.NotFound", message)
}

impl Act for ModifySecurityGroupRules {
    fn act(
        &self,
        transaction: &mut Transaction<'_>,
        context: &mut Context,
    ) -> Result<Value, ApiError> {
        let id = self.group_id.as_str();
        let mut group = find::<SecurityGroup>(transaction, context.caller.account, id)?.clone();
        if self.security_group_rules.is_empty() {
            return Err(ApiError::missing("securityGroupRules"));
        }
        for update in &self.security_group_rules {
            let wanted = update.security_group_rule.wanted()?;
            wanted.check_peer(transaction, context, &group)?;
            let rule_id = update.security_group_rule_id.as_str();
            let is_it = |rule: &&SecurityGroupRule| rule.security_group_rule_id.as_str() == rule_id;
            let rule = group
                .rules
                .iter()
                .find(is_it)
                .ok_or_else(|| no_rule(rule_id))?;
            if std::mem::discriminant(&rule.peer) != std::mem::discriminant(&wanted.peer) {
                let message = "The source or destination type of a rule cannot be changed";
                return Err(ApiError::invalid(message));
            }
            let same = position(&group, rule.is_egress, &wanted);
            let mut rules = group.rules.iter_mut().enumerate();
            let of_id = rules.find(|(_, rule)| rule.security_group_rule_id.as_str() == rule_id);
            let Some((index, rule)) = of_id else { continue };
            if same.is_some_and(|same| same != index) {
                return Err(duplicate(&wanted));
            }
            rule.traffic = wanted.traffic;
            rule.peer = wanted.peer;
            rule.description = wanted.description;
        }
        transaction.put(group);
        within_quotas(transaction, &context.settings, id)?;
        Ok(done())
    }
}

impl SecurityGroupRuleRequest {
    fn wanted(&self) -> Result<Wanted, ApiError> {
        let traffic = permissions::traffic(&self.ip_protocol, self.from_port, self.to_port)?;
        let peer = match (
            &self.cidr_ipv4,
            &self.referenced_group_id,
            &self.prefix_list_id,
        ) {
            (Some(cidr), None, None) => RulePeer::CidrIpv4(cidr_blocks::prefix("cidrIpv4", cidr)?),
            (None, Some(group), None) => permissions::group_peer(group)?,
            (None, None, Some(list)) => permissions::list_peer(list)?,
            _ => {
                let message =
                    "Exactly one of cidrIpv4, referencedGroupId and prefixListId must be specified";
                return Err(ApiError::new("InvalidParameterCombination", message));
            }
        };
        Wanted::new(traffic, peer, self.description.as_ref())
    }
}

/// What the rules of one direction count for: a prefix list as much as it may come to
/// hold.
pub fn weight(state: &State, group: &SecurityGroup, is_egress: bool) -> u64 {
    let rules = group
        .rules
        .iter()
        .filter(|rule| rule.is_egress == is_egress);
    let weight = |rule: &SecurityGroupRule| match &rule.peer {
        RulePeer::PrefixListId(id) => {
            let list = state.get::<PrefixList>(id.as_str());
            list.map_or(1, |list| u64::from(list.max_entries))
        }
        RulePeer::CidrIpv4(_) | RulePeer::ReferencedGroupId(_) => 1,
    };
    rules.map(weight).sum()
}

/// That a group has no more rules than it may.
fn within_group(state: &State, settings: &Settings, group: &SecurityGroup) -> Result<(), ApiError> {
    let quota = settings.quotas.rules_per_security_group;
    for is_egress in [false, true] {
        let count = weight(state, group, is_egress) as usize;
        let what = "rules of a security group";
        within("RulesPerSecurityGroupLimitExceeded", what, count, quota)?;
    }
    Ok(())
}

/// That a group in the state, and the interfaces that carry it, have no more rules than
/// they may.
pub(in crate::control::ec2) fn within_quotas(
    state: &State,
    settings: &Settings,
    id: &str,
) -> Result<(), ApiError> {
    let Some(group) = state.get::<SecurityGroup>(id) else {
        return Ok(());
    };
    within_group(state, settings, group)?;
    let quotas = &settings.quotas;
    let most = u64::from(quotas.rules_per_security_group)
        .saturating_mul(quotas.security_groups_per_interface.into());
    if most <= u64::from(quotas.rules_per_interface) {
        return Ok(());
    }
    let key = Key::of::<SecurityGroup>(id);
    for interface in state.referring::<Interface>(&key) {
        within_interface(state, settings, interface)?;
    }
    Ok(())
}

/// That an interface carries no more rules than it may.
pub fn within_interface(
    state: &State,
    settings: &Settings,
    interface: &Interface,
) -> Result<(), ApiError> {
    for is_egress in [false, true] {
        let groups = interface.groups.iter();
        let groups = groups.filter_map(|id| state.get::<SecurityGroup>(id.as_str()));
        let count: u64 = groups.map(|group| weight(state, group, is_egress)).sum();
        let quota = settings.quotas.rules_per_interface;
        let what = "rules of an interface";
        within(
            "RulesPerSecurityGroupLimitExceeded",
            what,
            count as usize,
            quota,
        )?;
    }
    Ok(())
}
