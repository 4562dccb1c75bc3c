//! Descriptions of rules.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    permissions::{self, IpPermission},
    rules::no_permission,
    text,
};
use crate::control::{
    ApiError, Context, Transaction,
    ec2::{Act, done, lookup::find, tags::no_rule},
    resource::{SecurityGroup, SecurityGroupRule},
};

/// Describes rules of one direction.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_UpdateSecurityGroupRuleDescriptionsIngress.html>
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct UpdateSecurityGroupRuleDescriptions<const EGRESS: bool> {
    /// The group.
    pub group_id: String,
    /// The rules by what they say, with their descriptions.
    #[serde(default)]
    pub ip_permissions: Vec<IpPermission>,
    /// The rules by their ids.
    #[serde(default)]
    pub security_group_rule_descriptions: Vec<SecurityGroupRuleDescription>,
}

/// Describes rules by which traffic comes in.
pub type UpdateSecurityGroupRuleDescriptionsIngress = UpdateSecurityGroupRuleDescriptions<false>;
/// Describes rules by which traffic goes out.
pub type UpdateSecurityGroupRuleDescriptionsEgress = UpdateSecurityGroupRuleDescriptions<true>;

/// A rule and its description.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct SecurityGroupRuleDescription {
    /// The rule.
    pub security_group_rule_id: String,
    /// Its description; `None`: it loses the one that it has.
    #[serde(default)]
    pub description: Option<String>,
}

impl<const EGRESS: bool> Act for UpdateSecurityGroupRuleDescriptions<EGRESS> {
    fn act(
        &self,
        transaction: &mut Transaction<'_>,
        context: &mut Context,
    ) -> Result<Value, ApiError> {
        let account = context.caller.account;
        let mut group = find::<SecurityGroup>(transaction, account, &self.group_id)?.clone();
        for described in &self.security_group_rule_descriptions {
            let id = described.security_group_rule_id.as_str();
            let description = described.description.as_ref();
            let description = description.filter(|text| !text.is_empty());
            if let Some(description) = description {
                text("description", description)?;
            }
            let is_it = |rule: &SecurityGroupRule| rule.security_group_rule_id.as_str() == id;
            let rule = rule(&mut group, EGRESS, is_it).ok_or_else(|| no_rule(id))?;
            rule.description = description.cloned();
        }
        if self.security_group_rule_descriptions.is_empty() || !self.ip_permissions.is_empty() {
            for wanted in permissions::wanted(&self.ip_permissions)? {
                let is_it = |rule: &SecurityGroupRule| {
                    rule.traffic == wanted.traffic && rule.peer == wanted.peer
                };
                let rule = rule(&mut group, EGRESS, is_it).ok_or_else(no_permission)?;
                rule.description = wanted.description;
            }
        }
        transaction.put(group);
        Ok(done())
    }
}

fn rule(
    group: &mut SecurityGroup,
    is_egress: bool,
    is_it: impl Fn(&SecurityGroupRule) -> bool,
) -> Option<&mut SecurityGroupRule> {
    let mut rules = group.rules.iter_mut();
    rules.find(|rule| rule.is_egress == is_egress && is_it(rule))
}
