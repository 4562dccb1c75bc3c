//! Roles: what names and sizes they may have, and how they are shown.

use serde_json::{Value, json};

use super::date;
use crate::control::{Account, ApiError, Entropy, Record, State, resource::Role};

/// Characters of a role's policies together, blanks aside.
const MAX_POLICIES: usize = 10_240;
/// Characters of a trust policy, blanks aside.
const MAX_TRUST_POLICY: usize = 2_048;
const MAX_ROLE_NAME: usize = 64;
const MAX_POLICY_NAME: usize = 128;
const MAX_PATH: usize = 512;

/// A role as IAM shows it.
/// <https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetRole.html>
pub fn shown(_state: &State, record: &Record) -> Value {
    match record {
        Record::Role(role) => of_role(role),
        other => other.to_value().unwrap_or_default(),
    }
}

pub(super) fn of_role(role: &Role) -> Value {
    let document = &role.assume_role_policy_document;
    let document = serde_json::from_str(document).unwrap_or_else(|_| json!(document));
    let tags = role.tags.iter();
    let tags: Vec<Value> = tags
        .map(|(key, value)| json!({ "Key": key, "Value": value }))
        .collect();
    let mut shown = json!({
        "Path": role.path,
        "RoleName": role.role_name,
        "RoleId": role.role_id,
        "Arn": role.arn(),
        "CreateDate": date::iso(role.create_date),
        "AssumeRolePolicyDocument": document,
        "MaxSessionDuration": role.max_session_duration,
        "Tags": tags,
    });
    if let (Some(description), Some(shown)) = (&role.description, shown.as_object_mut()) {
        shown.insert("Description".to_owned(), json!(description));
    }
    shown
}

/// A role by its name.
pub(super) fn named<'s>(
    state: &'s State,
    account: Account,
    name: &str,
) -> Result<&'s Role, ApiError> {
    let role = state
        .of_account::<Role>(account)
        .find(|role| role.role_name == name);
    role.ok_or_else(|| no_such(format!("The role with name {name} cannot be found.")))
}

/// `AROA` and 17 characters.
pub(super) fn fresh_id(entropy: &mut Entropy) -> String {
    const ALPHABET: [char; 32] = [
        'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'I', 'J', 'K', 'L', 'M', 'N', 'O', 'P', 'Q', 'R',
        'S', 'T', 'U', 'V', 'W', 'X', 'Y', 'Z', '2', '3', '4', '5', '6', '7',
    ];
    let bits = entropy.next_u128();
    let digits = (0..17).map(|digit| (bits >> (5 * digit)) as usize % ALPHABET.len());
    let digits = digits.filter_map(|digit| ALPHABET.get(digit));
    "AROA".chars().chain(digits.copied()).collect()
}

/// Checks the name of a role.
pub(super) fn check_role_name(name: &str) -> Result<(), ApiError> {
    check_name("roleName", name, MAX_ROLE_NAME)
}

/// Checks the name of a policy of a role.
pub(super) fn check_policy_name(name: &str) -> Result<(), ApiError> {
    check_name("policyName", name, MAX_POLICY_NAME)
}

fn check_name(member: &str, name: &str, longest: usize) -> Result<(), ApiError> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    let constraint = if name.is_empty() {
        "Member must have length greater than or equal to 1".to_owned()
    } else if name.chars().count() > longest {
        format!("Member must have length less than or equal to {longest}")
    } else if !name.chars().all(is_allowed) {
        "Member must satisfy regular expression pattern: [\\w+=,.@-]+".to_owned()
    } else {
        return Ok(());
    };
    Err(unsatisfied(member, name, &constraint))
}

/// Checks the path of a role.
pub(super) fn check_path(path: &str) -> Result<(), ApiError> {
    let is_path = path.starts_with('/')
        && path.ends_with('/')
        && path.len() <= MAX_PATH
        && path.chars().all(|c| c.is_ascii_graphic());
    if is_path {
        return Ok(());
    }
    let pattern = "(\\u002F)|(\\u002F[\\u0021-\\u007E]+\\u002F)";
    let constraint = format!("Member must satisfy regular expression pattern: {pattern}");
    Err(unsatisfied("path", path, &constraint))
}

/// A member breaks a rule of the API.
pub(super) fn unsatisfied(member: &str, value: &str, constraint: &str) -> ApiError {
    ApiError::new(
        "ValidationError",
        format!(
            "1 validation error detected: Value '{value}' at '{member}' failed to satisfy \
             constraint: {constraint}"
        ),
    )
}

pub(super) fn no_such(message: String) -> ApiError {
    ApiError::with_status(404, "NoSuchEntity", message)
}

pub(super) fn limit(message: String) -> ApiError {
    ApiError::with_status(409, "LimitExceeded", message)
}

/// Checks the size of a role's trust policy.
pub(super) fn check_trust_size(document: &str) -> Result<(), ApiError> {
    if size(document) > MAX_TRUST_POLICY {
        let message = format!("Cannot exceed quota for ACLSizePerRole: {MAX_TRUST_POLICY}");
        return Err(limit(message));
    }
    Ok(())
}

/// Checks the size of a role's policies together.
pub(super) fn check_policies_size(role: &Role) -> Result<(), ApiError> {
    let total: usize = role.policies.values().map(|one| size(one)).sum();
    if total > MAX_POLICIES {
        let name = &role.role_name;
        let message =
            format!("Maximum policy size of {MAX_POLICIES} bytes exceeded for role {name}");
        return Err(limit(message));
    }
    Ok(())
}

/// Characters of a document, blanks aside.
fn size(document: &str) -> usize {
    document.chars().filter(|c| !c.is_whitespace()).count()
}
