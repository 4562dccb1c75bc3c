//! What may be asked of IAM.
//! <https://docs.aws.amazon.com/IAM/latest/APIReference/API_Operations.html>

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Keys, Policy, authorize,
    role::{
        check_path, check_policies_size, check_policy_name, check_role_name, check_trust_size,
        fresh_id, limit, named, no_such, of_role, unsatisfied,
    },
};
use crate::control::{ApiError, Context, Key, Tags, Transaction, resource::Role};

/// Managed policies that may be attached to a role.
const MAX_ATTACHED: usize = 10;
/// Seconds that a session of a role may last, at least, at most, and unless it says.
const SESSION: (u32, u32, u32) = (3_600, 43_200, 3_600);
const MAX_DESCRIPTION: usize = 1_000;
const MAX_TAG_KEY: usize = 128;
const MAX_TAG_VALUE: usize = 256;

/// What may be asked.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "Action")]
pub enum Action {
    /// Makes a role.
    CreateRole(CreateRole),
    /// Removes a role without policies. Functions may still have it, as on AWS.
    DeleteRole(OfRole),
    /// Sets who may assume a role.
    UpdateAssumeRolePolicy(UpdateAssumeRolePolicy),
    /// Makes or replaces a policy of a role.
    PutRolePolicy(PutRolePolicy),
    /// Removes a policy of a role.
    DeleteRolePolicy(DeleteRolePolicy),
    /// Attaches a managed policy to a role.
    AttachRolePolicy(ManagedPolicy),
    /// Detaches a managed policy from a role.
    DetachRolePolicy(ManagedPolicy),
    /// Sets tags of a role.
    TagRole(TagRole),
    /// Removes tags of a role.
    UntagRole(UntagRole),
}

/// <https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateRole.html>
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateRole {
    /// Unique in the account, letter case aside.
    pub role_name: String,
    /// Who may assume it: a policy document.
    pub assume_role_policy_document: String,
    /// `/` unless it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Seconds, 3,600 to 43,200.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_session_duration: Option<u32>,
    /// Its tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
}

/// A tag, as IAM's requests have it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Tag {
    /// At most 128 characters.
    pub key: String,
    /// At most 256 characters.
    pub value: String,
}

/// Which role is meant.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct OfRole {
    /// Its name.
    pub role_name: String,
}

/// <https://docs.aws.amazon.com/IAM/latest/APIReference/API_UpdateAssumeRolePolicy.html>
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct UpdateAssumeRolePolicy {
    /// The role.
    pub role_name: String,
    /// A policy document.
    pub policy_document: String,
}

/// <https://docs.aws.amazon.com/IAM/latest/APIReference/API_PutRolePolicy.html>
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct PutRolePolicy {
    /// The role.
    pub role_name: String,
    /// The policy.
    pub policy_name: String,
    /// What it says.
    pub policy_document: String,
}

/// <https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeleteRolePolicy.html>
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteRolePolicy {
    /// The role.
    pub role_name: String,
    /// The policy.
    pub policy_name: String,
}

/// <https://docs.aws.amazon.com/IAM/latest/APIReference/API_AttachRolePolicy.html>
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ManagedPolicy {
    /// The role.
    pub role_name: String,
    /// The ARN of one of AWS's policies. One that is not known here grants nothing.
    pub policy_arn: String,
}

/// <https://docs.aws.amazon.com/IAM/latest/APIReference/API_TagRole.html>
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct TagRole {
    /// The role.
    pub role_name: String,
    /// The tags.
    pub tags: Vec<Tag>,
}

/// <https://docs.aws.amazon.com/IAM/latest/APIReference/API_UntagRole.html>
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct UntagRole {
    /// The role.
    pub role_name: String,
    /// The keys of the tags.
    pub tag_keys: Vec<String>,
}

impl Action {
    /// Its name, and that of the role.
    fn subject(&self) -> (&'static str, &str) {
        match self {
            Self::CreateRole(one) => ("iam:CreateRole", &one.role_name),
            Self::DeleteRole(one) => ("iam:DeleteRole", &one.role_name),
            Self::UpdateAssumeRolePolicy(one) => ("iam:UpdateAssumeRolePolicy", &one.role_name),
            Self::PutRolePolicy(one) => ("iam:PutRolePolicy", &one.role_name),
            Self::DeleteRolePolicy(one) => ("iam:DeleteRolePolicy", &one.role_name),
            Self::AttachRolePolicy(one) => ("iam:AttachRolePolicy", &one.role_name),
            Self::DetachRolePolicy(one) => ("iam:DetachRolePolicy", &one.role_name),
            Self::TagRole(one) => ("iam:TagRole", &one.role_name),
            Self::UntagRole(one) => ("iam:UntagRole", &one.role_name),
        }
    }
}

/// Carries it out.
pub fn decide(
    transaction: &mut Transaction<'_>,
    action: &Action,
    context: &mut Context,
) -> Result<Value, ApiError> {
    let (name, role_name) = action.subject();
    check_role_name(role_name)?;
    let account = context.caller.account;
    if let Action::CreateRole(request) = action {
        let role = new_role(request, context)?;
        authorize(
            transaction,
            &context.caller,
            name,
            &role.arn(),
            &Keys::new(),
        )?;
        return create(transaction, role);
    }
    let found = named(transaction, account, role_name);
    let arn = match &found {
        Ok(role) => role.arn(),
        Err(_) => format!("arn:aws:iam::{account}:role/{role_name}"),
    };
    let keys = match action {
        Action::AttachRolePolicy(one) | Action::DetachRolePolicy(one) => {
            Keys::from([("iam:PolicyARN".to_owned(), vec![one.policy_arn.clone()])])
        }
        _ => Keys::new(),
    };
    authorize(transaction, &context.caller, name, &arn, &keys)?;
    let mut role = found?.clone();
    if let Action::DeleteRole(_) = action {
        return delete(transaction, &role);
    }
    change(&mut role, action, context)?;
    transaction.put(role);
    Ok(json!({}))
}

fn new_role(request: &CreateRole, context: &mut Context) -> Result<Role, ApiError> {
    let path = request.path.as_deref().unwrap_or("/");
    check_path(path)?;
    let description = request.description.clone();
    let length = description.iter().flat_map(|text| text.chars()).count();
    if length > MAX_DESCRIPTION {
        let constraint = format!("Member must have length less than or equal to {MAX_DESCRIPTION}");
        let description = description.unwrap_or_default();
        return Err(unsatisfied("description", &description, &constraint));
    }
    let (shortest, longest, usual) = SESSION;
    let max_session_duration = request.max_session_duration.unwrap_or(usual);
    if !(shortest..=longest).contains(&max_session_duration) {
        let constraint = format!("Member must have value between {shortest} and {longest}");
        let value = max_session_duration.to_string();
        return Err(unsatisfied("maxSessionDuration", &value, &constraint));
    }
    Policy::parse_trust(&request.assume_role_policy_document)?;
    check_trust_size(&request.assume_role_policy_document)?;
    let mut tags = Tags::new();
    set_tags(&mut tags, &request.tags, context)?;
    Ok(Role {
        role_name: request.role_name.clone(),
        role_id: fresh_id(&mut context.entropy),
        owner_id: context.caller.account,
        path: path.to_owned(),
        description,
        max_session_duration,
        assume_role_policy_document: request.assume_role_policy_document.clone(),
        policies: Default::default(),
        attached_policies: Vec::new(),
        create_date: context.now,
        tags,
    })
}

fn create(transaction: &mut Transaction<'_>, role: Role) -> Result<Value, ApiError> {
    let is_taken = transaction
        .of_account::<Role>(role.owner_id)
        .any(|one| one.role_name.eq_ignore_ascii_case(&role.role_name));
    if is_taken {
        let message = format!("Role with name {} already exists.", role.role_name);
        return Err(ApiError::with_status(409, "EntityAlreadyExists", message));
    }
    let shown = of_role(&role);
    transaction.put(role);
    Ok(json!({ "Role": shown }))
}

fn delete(transaction: &mut Transaction<'_>, role: &Role) -> Result<Value, ApiError> {
    let conflict = |message| Err(ApiError::with_status(409, "DeleteConflict", message));
    if !role.attached_policies.is_empty() {
        return conflict("Cannot delete entity, must detach all policies first.");
    }
    if !role.policies.is_empty() {
        return conflict("Cannot delete entity, must delete policies first.");
    }
    transaction.remove(Key::of::<Role>(role.arn()));
    Ok(json!({}))
}

/// Changes a role that is there and stays.
fn change(role: &mut Role, action: &Action, context: &Context) -> Result<(), ApiError> {
    match action {
        Action::CreateRole(_) | Action::DeleteRole(_) => {}
        Action::UpdateAssumeRolePolicy(request) => {
            Policy::parse_trust(&request.policy_document)?;
            check_trust_size(&request.policy_document)?;
            role.assume_role_policy_document = request.policy_document.clone();
        }
        Action::PutRolePolicy(request) => {
            check_policy_name(&request.policy_name)?;
            Policy::parse_identity(&request.policy_document)?;
            let name = request.policy_name.clone();
            role.policies.insert(name, request.policy_document.clone());
            check_policies_size(role)?;
        }
        Action::DeleteRolePolicy(request) => {
            let name = &request.policy_name;
            let message = || format!("The role policy with name {name} cannot be found.");
            let gone = role.policies.remove(name);
            gone.ok_or_else(|| no_such(message()))?;
        }
        Action::AttachRolePolicy(request) => attach(role, &request.policy_arn)?,
        Action::DetachRolePolicy(request) => {
            let arn = &request.policy_arn;
            let before = role.attached_policies.len();
            role.attached_policies.retain(|attached| attached != arn);
            if role.attached_policies.len() == before {
                return Err(no_such(format!("Policy {arn} was not found.")));
            }
        }
        Action::TagRole(request) => set_tags(&mut role.tags, &request.tags, context)?,
        Action::UntagRole(request) => {
            let is_meant = |key: &String| {
                let mut keys = request.tag_keys.iter();
                keys.any(|one| one.eq_ignore_ascii_case(key))
            };
            role.tags.retain(|key, _| !is_meant(key));
        }
    }
    Ok(())
}

/// Attaches a policy; one that is attached stays so.
fn attach(role: &mut Role, arn: &str) -> Result<(), ApiError> {
    if !arn.starts_with("arn:aws:iam::") {
        let message = format!("ARN {arn} is not valid.");
        return Err(ApiError::new("ValidationError", message));
    }
    let name = arn.strip_prefix("arn:aws:iam::aws:policy/");
    if name.is_none_or(str::is_empty) {
        let message = format!("Policy {arn} does not exist or is not attachable.");
        return Err(no_such(message));
    }
    if role
        .attached_policies
        .iter()
        .any(|attached| attached == arn)
    {
        return Ok(());
    }
    if role.attached_policies.len() >= MAX_ATTACHED {
        let message = format!("Cannot exceed quota for PoliciesPerRole: {MAX_ATTACHED}");
        return Err(limit(message));
    }
    role.attached_policies.push(arn.to_owned());
    Ok(())
}

/// Sets tags: a key that is there, letter case aside, is replaced.
fn set_tags(tags: &mut Tags, new: &[Tag], context: &Context) -> Result<(), ApiError> {
    let mut seen = BTreeSet::new();
    for Tag { key, value } in new {
        check_tag(key, value)?;
        if !seen.insert(key.to_ascii_lowercase()) {
            let message =
                "Duplicate tag keys found. Please note that Tag keys are case insensitive.";
            return Err(ApiError::new("InvalidInput", message));
        }
        tags.retain(|known, _| !known.eq_ignore_ascii_case(key));
        tags.insert(key.clone(), value.clone());
    }
    let most = context.settings.tags_per_resource;
    if tags.len() > most as usize {
        return Err(limit(format!(
            "Cannot exceed quota for TagsPerRole: {most}"
        )));
    }
    Ok(())
}

fn check_tag(key: &str, value: &str) -> Result<(), ApiError> {
    let is_space = |c: char| c.is_whitespace() && !c.is_control();
    let is_allowed = |c: char| c.is_alphanumeric() || is_space(c) || "_.:/=+-@".contains(c);
    let is_key = (1..=MAX_TAG_KEY).contains(&key.chars().count()) && key.chars().all(is_allowed);
    if !is_key {
        let pattern =
            "Member must satisfy regular expression pattern: [\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]+";
        let constraint = format!("{pattern}, and have 1 to {MAX_TAG_KEY} characters");
        return Err(unsatisfied("tags.member.key", key, &constraint));
    }
    if key.to_ascii_lowercase().starts_with("aws:") {
        let message = "Tag keys that start with aws: are for AWS alone";
        return Err(ApiError::new("InvalidInput", message));
    }
    if value.chars().count() > MAX_TAG_VALUE || !value.chars().all(is_allowed) {
        let pattern =
            "Member must satisfy regular expression pattern: [\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]*";
        let constraint = format!("{pattern}, and have at most {MAX_TAG_VALUE} characters");
        return Err(unsatisfied("tags.member.value", value, &constraint));
    }
    Ok(())
}
