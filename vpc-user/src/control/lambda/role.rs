//! The execution role of a function: checked at once, with the role itself.

use super::{errors, name};
use crate::control::{Account, ApiError, State, iam, resource::Role};

/// AWS's pattern, as its errors show it.
const PATTERN: &str = "Member must satisfy regular expression pattern: \
    arn:(aws[a-zA-Z-]*)?:iam::\\d{12}:role/?[a-zA-Z_0-9+=,.@\\-_/]+";

/// Whether a function may have this role: Lambda may assume it, and if the function is to be
/// attached to a VPC, it allows ENIs to be made.
pub fn check(
    state: &State,
    account: Account,
    role: &str,
    is_attached: bool,
) -> Result<(), ApiError> {
    let owner = owner(role).ok_or_else(|| errors::validation(role, "role", PATTERN))?;
    if owner != account.to_string() {
        return Err(errors::access_denied(
            "Cross-account pass role is not allowed.",
        ));
    }
    let record = state.get::<Role>(role);
    if !record.is_some_and(iam::assumable_by_lambda) {
        return Err(errors::invalid(
            "The role defined for the function cannot be assumed by Lambda.",
        ));
    }
    let answer = iam::role_allows(state, role, "ec2:CreateNetworkInterface");
    if is_attached && answer != iam::RoleAnswer::Allowed {
        return Err(errors::invalid(
            "The provided execution role does not have permissions to call \
             CreateNetworkInterface on EC2",
        ));
    }
    Ok(())
}

/// The account in an ARN of a role.
fn owner(arn: &str) -> Option<&str> {
    let rest = arn.strip_prefix("arn:")?;
    let (partition, rest) = rest.split_once(":iam::")?;
    let (owner, path) = rest.split_once(":role/")?;
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@-/".contains(&byte);
    let is_arn = name::is_word(partition, 64)
        && partition.starts_with("aws")
        && Account::new(owner).is_some()
        && !path.is_empty()
        && path.bytes().all(is_allowed);
    is_arn.then_some(owner)
}
