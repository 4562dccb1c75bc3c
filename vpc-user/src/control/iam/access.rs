//! Who may do what: the policies of roles, asked.

use std::fmt;

use super::{Keys, Policy, Principal, Request, Verdict, evaluate, managed};
use crate::control::{ApiError, Caller, State, resource::Role};

/// The function whose code calls, by its unqualified ARN.
/// <https://docs.aws.amazon.com/lambda/latest/dg/permissions-source-function-arn.html>
const SOURCE_FUNCTION_ARN: &str = "lambda:SourceFunctionArn";

/// A caller may not do what it asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Denied {
    /// The ARN of the role that asks.
    pub role: String,
    /// What it asked for.
    pub action: String,
    /// On what.
    pub resource: String,
    /// Whether a statement says so, rather than that none allows it.
    pub is_explicit: bool,
}

/// As AWS says it.
impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            role,
            action,
            resource,
            is_explicit,
        } = self;
        write!(
            f,
            "User: {role} is not authorized to perform: {action} on resource: {resource} "
        )?;
        if *is_explicit {
            f.write_str("with an explicit deny in an identity-based policy")
        } else {
            write!(
                f,
                "because no identity-based policy allows the {action} action"
            )
        }
    }
}

impl std::error::Error for Denied {}

/// With IAM's code. EC2's is `UnauthorizedOperation`, Lambda's `AccessDeniedException`.
impl From<Denied> for ApiError {
    fn from(denied: Denied) -> Self {
        Self::with_status(403, "AccessDenied", denied.to_string())
    }
}

/// Whether a caller may do something to a resource (an ARN, or `*`), of which `keys` are
/// known. The root of an account may. A role may what its policies allow, in its own
/// account; one that is gone, or whose policies cannot be read, may nothing.
pub fn authorize(
    state: &State,
    caller: &Caller,
    action: &str,
    resource: &str,
    keys: &Keys,
) -> Result<(), Denied> {
    let Some(arn) = &caller.role else {
        return Ok(());
    };
    let mut keys = keys.clone();
    keys.retain(|key, _| !key.eq_ignore_ascii_case(SOURCE_FUNCTION_ARN));
    if let Some(function) = &caller.source_function {
        keys.insert(SOURCE_FUNCTION_ARN.to_owned(), vec![function.clone()]);
    }
    let role = state.get::<Role>(arn);
    let role = role.filter(|role| role.owner_id == caller.account);
    let verdict = role.map_or(Verdict::ImplicitDeny, |role| {
        verdict_of(role, action, resource, &keys)
    });
    let denied = |is_explicit| Denied {
        role: arn.clone(),
        action: action.to_owned(),
        resource: resource.to_owned(),
        is_explicit,
    };
    match verdict {
        Verdict::Allowed { .. } => Ok(()),
        Verdict::ExplicitDeny { .. } => Err(denied(true)),
        Verdict::ImplicitDeny => Err(denied(false)),
    }
}

/// What a role's policies say to Lambda.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RoleAnswer {
    /// They allow it.
    Allowed,
    /// They do not.
    Denied,
    /// There is no such role.
    NoSuchRole,
}

/// Whether Lambda may do something in the name of a role, as it does with the ENIs of a
/// function: on `*`, and without `lambda:SourceFunctionArn`.
pub fn role_allows(state: &State, role_arn: &str, action: &str) -> RoleAnswer {
    let Some(role) = state.get::<Role>(role_arn) else {
        return RoleAnswer::NoSuchRole;
    };
    match verdict_of(role, action, "*", &Keys::new()) {
        Verdict::Allowed { .. } => RoleAnswer::Allowed,
        Verdict::ExplicitDeny { .. } | Verdict::ImplicitDeny => RoleAnswer::Denied,
    }
}

/// Whether Lambda may assume a role. Of the request, `aws:SourceAccount` is known.
pub fn assumable_by_lambda(role: &Role) -> bool {
    let Ok(trust) = Policy::parse_trust(&role.assume_role_policy_document) else {
        return false;
    };
    let account = vec![role.owner_id.to_string()];
    let keys = Keys::from([("aws:SourceAccount".to_owned(), account)]);
    let request = Request {
        action: "sts:AssumeRole",
        resource: &role.arn(),
        principal: Some(Principal::Service("lambda.amazonaws.com")),
        keys: &keys,
    };
    matches!(evaluate([&trust], &request), Verdict::Allowed { .. })
}

/// What the policies of a role say. One that cannot be read might deny anything, so it
/// does.
fn verdict_of(role: &Role, action: &str, resource: &str, keys: &Keys) -> Verdict {
    let attached = role.attached_policies.iter();
    let attached = attached.filter_map(|arn| managed::document(arn));
    let own = role.policies.values().map(String::as_str);
    let policies = own.chain(attached).map(Policy::parse_identity);
    let Ok(policies) = policies.collect::<Result<Vec<_>, _>>() else {
        return Verdict::ExplicitDeny { sid: None };
    };
    let request = Request {
        action,
        resource,
        principal: None,
        keys,
    };
    evaluate(&policies, &request)
}
