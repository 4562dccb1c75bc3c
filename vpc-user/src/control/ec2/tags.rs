//! Tags of resources.
//! <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html>

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Act, done,
    lookup::{Form, invalid_id, within},
};
use crate::control::{
    Account, ApiError, Context, IdKind, Key, Record, Settings, State, Tags, Transaction,
    resource::{SecurityGroup, SecurityGroupRule},
};

/// Characters of a key.
const KEY_MAX: usize = 128;
/// Characters of a value.
const VALUE_MAX: usize = 256;
/// Resources of one request.
const RESOURCES_MAX: usize = 1_000;

/// A tag of a request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Tag {
    /// At most 128 characters, not beginning with `aws:`.
    pub key: String,
    /// At most 256 characters.
    #[serde(default)]
    pub value: String,
}

/// The tags that a new resource gets.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct TagSpecification {
    /// `vpc`, `subnet`, …: what the action makes.
    pub resource_type: String,
    /// Its tags.
    #[serde(default)]
    pub tags: Vec<Tag>,
}

/// Gives tags to resources, or other values to those that they have.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateTags.html>
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateTags {
    /// Ids of any kind.
    pub resources: Vec<String>,
    /// The tags.
    pub tags: Vec<Tag>,
}

/// Takes tags from resources.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DeleteTags.html>
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteTags {
    /// Ids of any kind.
    pub resources: Vec<String>,
    /// Which; none: all of them.
    #[serde(default)]
    pub tags: Vec<TagChoice>,
}

/// A tag that is to go.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct TagChoice {
    /// Its key.
    pub key: String,
    /// Only if it has this value; `None`: whatever it has.
    #[serde(default)]
    pub value: Option<String>,
}

/// The tags of a new resource, whose word is `resource_type`.
pub fn specified(
    specifications: &[TagSpecification],
    resource_type: &str,
    settings: &Settings,
) -> Result<Tags, ApiError> {
    let mut tags = Tags::new();
    for specification in specifications {
        let given = &specification.resource_type;
        if given != resource_type {
            let message =
                format!("'{given}' is not a valid taggable resource type for this operation.");
            return Err(ApiError::invalid(message));
        }
        add(&mut tags, &specification.tags, settings)?;
    }
    Ok(tags)
}

/// As answers have them.
pub fn shown(tags: &Tags) -> Value {
    tags.iter()
        .map(|(key, value)| json!({ "Key": key, "Value": value }))
        .collect()
}

fn add(tags: &mut Tags, more: &[Tag], settings: &Settings) -> Result<(), ApiError> {
    let mut new = Tags::new();
    for Tag { key, value } in more {
        if key.is_empty() || key.chars().count() > KEY_MAX {
            let message = format!("Tag keys have 1 to {KEY_MAX} characters.");
            return Err(ApiError::invalid(message));
        }
        if value.chars().count() > VALUE_MAX {
            let message = format!("Tag values have at most {VALUE_MAX} characters.");
            return Err(ApiError::invalid(message));
        }
        is_not_reserved(key)?;
        if new.insert(key.clone(), value.clone()).is_some() {
            let message = format!("The tag key '{key}' is given more than once.");
            return Err(ApiError::invalid(message));
        }
    }
    tags.extend(new);
    let quota = settings.tags_per_resource;
    within("TagLimitExceeded", "tags of a resource", tags.len(), quota)
}

fn is_not_reserved(key: &str) -> Result<(), ApiError> {
    let prefix = key.get(..4).unwrap_or_default();
    if prefix.eq_ignore_ascii_case("aws:") {
        let message = "Tag keys starting with 'aws:' are reserved for internal use";
        return Err(ApiError::invalid(message));
    }
    Ok(())
}

impl Act for CreateTags {
    fn act(
        &self,
        transaction: &mut Transaction<'_>,
        context: &mut Context,
    ) -> Result<Value, ApiError> {
        if self.tags.is_empty() {
            return Err(ApiError::missing("tags"));
        }
        each(transaction, context, &self.resources, |tags, settings| {
            add(tags, &self.tags, settings)
        })
    }
}

impl Act for DeleteTags {
    fn act(
        &self,
        transaction: &mut Transaction<'_>,
        context: &mut Context,
    ) -> Result<Value, ApiError> {
        for choice in &self.tags {
            is_not_reserved(&choice.key)?;
        }
        each(transaction, context, &self.resources, |tags, _| {
            let goes = |key: &str, value: &str| {
                let chosen = |choice: &TagChoice| {
                    let is_value = |wanted: &String| wanted == value;
                    choice.key == key && choice.value.as_ref().is_none_or(is_value)
                };
                self.tags.is_empty() || self.tags.iter().any(chosen)
            };
            tags.retain(|key, value| !goes(key, value));
            Ok(())
        })
    }
}

/// Changes the tags of each resource.
fn each(
    transaction: &mut Transaction<'_>,
    context: &Context,
    ids: &[String],
    change: impl Fn(&mut Tags, &Settings) -> Result<(), ApiError>,
) -> Result<Value, ApiError> {
    if ids.is_empty() || ids.len() > RESOURCES_MAX {
        let message = format!("The request must name 1 to {RESOURCES_MAX} resources");
        return Err(ApiError::invalid(message));
    }
    for id in ids {
        let account = context.caller.account;
        let mut record = record_of(transaction, account, id)?.clone();
        let tags = tags_of(&mut record, id).ok_or_else(|| invalid_id(id))?;
        change(tags, &context.settings)?;
        transaction.put(record);
    }
    Ok(done())
}

/// The record that has what an id belongs to.
fn record_of<'s>(state: &'s State, account: Account, id: &str) -> Result<&'s Record, ApiError> {
    if IdKind::SECURITY_GROUP_RULE.is_well_formed(id) {
        let group = rule_group(state, account, id).ok_or_else(|| no_rule(id))?;
        let record = state.record(&Key::of::<SecurityGroup>(group.group_id.as_str()));
        return record.ok_or_else(|| no_rule(id));
    }
    let form = Form::of_id(id).ok_or_else(|| invalid_id(id))?;
    form.record(state, account, id)
}

/// The security group of an account that has a rule.
fn rule_group<'s>(state: &'s State, account: Account, id: &str) -> Option<&'s SecurityGroup> {
    let has = |rule: &SecurityGroupRule| rule.security_group_rule_id.as_str() == id;
    state
        .of_account::<SecurityGroup>(account)
        .find(|group| group.rules.iter().any(has))
}

/// No such rule.
pub(super) fn no_rule(id: &str) -> ApiError {
    let message = format!("The security group rule ID '{id}' does not exist");
    ApiError::new("InvalidSecurityGroupRuleId.NotFound", message)
}

/// The tags of what an id belongs to in its record.
fn tags_of<'r>(record: &'r mut Record, id: &str) -> Option<&'r mut Tags> {
    match record {
        Record::Vpc(one) => Some(&mut one.tags),
        Record::Subnet(one) => Some(&mut one.tags),
        Record::SecurityGroup(one) => {
            let mut rules = one.rules.iter_mut();
            let rule = rules.find(|rule| rule.security_group_rule_id.as_str() == id);
            Some(rule.map_or(&mut one.tags, |rule| &mut rule.tags))
        }
        Record::NetworkAcl(one) => Some(&mut one.tags),
        Record::RouteTable(one) => Some(&mut one.tags),
        Record::PrefixList(one) => Some(&mut one.tags),
        Record::InternetGateway(one) => Some(&mut one.tags),
        Record::Address(one) => Some(&mut one.tags),
        Record::NatGateway(one) => Some(&mut one.tags),
        Record::Endpoint(one) => Some(&mut one.tags),
        Record::Peering(one) => Some(&mut one.tags),
        Record::DhcpOptions(one) => Some(&mut one.tags),
        Record::Interface(one) => Some(&mut one.tags),
        Record::FlowLog(one) => Some(&mut one.tags),
        Record::EniGroup(_)
        | Record::Function(_)
        | Record::Alias(_)
        | Record::Role(_)
        | Record::Environment(_) => None,
    }
}
