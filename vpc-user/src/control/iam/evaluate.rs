//! The evaluation of policies: an explicit deny wins over any allow, and what nothing
//! allows is denied.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html>
//!
//! Variables are not resolved: a statement that has one does not match. A `*` of a
//! resource reaches across colons wherever it stands; AWS says so of one that ends a part.

use super::{
    Keys,
    pattern::Pattern,
    policy::{Effect, Policy, PrincipalKind, Principals, Statement, Texts, Version},
};

/// What is asked of policies.
#[derive(Clone, Copy, Debug)]
pub struct Request<'r> {
    /// `ec2:CreateVpc`; letter case means nothing.
    pub action: &'r str,
    /// An ARN, or `*` for an action that knows none.
    pub resource: &'r str,
    /// Who asks; policies of identities do not need it.
    pub principal: Option<Principal<'r>>,
    /// What is known of the request. A key without values is missing.
    pub keys: &'r Keys,
}

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Principal<'r> {
    /// One of AWS's services: `lambda.amazonaws.com`.
    Service(&'r str),
    /// A role, or the root of an account, by its ARN.
    Arn(&'r str),
}

/// What policies say to a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// A statement allows it, and none denies it.
    Allowed {
        /// Of that statement.
        sid: Option<String>,
    },
    /// A statement denies it.
    ExplicitDeny {
        /// Of that statement.
        sid: Option<String>,
    },
    /// No statement is about it.
    ImplicitDeny,
}

/// What policies say to a request, all of them together.
pub fn evaluate<'p>(
    policies: impl IntoIterator<Item = &'p Policy>,
    request: &Request<'_>,
) -> Verdict {
    let mut verdict = Verdict::ImplicitDeny;
    for policy in policies {
        let variables = policy.version == Version::V2012;
        for statement in &policy.statement {
            if !statement.is_about(request, variables) {
                continue;
            }
            let sid = statement.sid.clone();
            match statement.effect {
                Effect::Deny => return Verdict::ExplicitDeny { sid },
                Effect::Allow if verdict == Verdict::ImplicitDeny => {
                    verdict = Verdict::Allowed { sid };
                }
                Effect::Allow => {}
            }
        }
    }
    verdict
}

impl Statement {
    fn is_about(&self, request: &Request<'_>, variables: bool) -> bool {
        let Request {
            action,
            resource,
            principal,
            keys,
        } = *request;
        let is_action = |text: &str| {
            Pattern::new(text, false).is_some_and(|one| one.matches_ignoring_case(action))
        };
        let is_resource =
            |text: &str| Pattern::new(text, variables).is_some_and(|one| one.matches(resource));
        !self.has_variable(variables)
            && either(&self.action, &self.not_action, is_action).unwrap_or(false)
            && either(&self.resource, &self.not_resource, is_resource).unwrap_or(true)
            && self.is_of(principal)
            && self
                .condition
                .iter()
                .all(|condition| condition.is_met(keys, variables))
    }

    /// Whether it is about a principal.
    fn is_of(&self, principal: Option<Principal<'_>>) -> bool {
        let has = |principals: &Principals| {
            principal.is_some_and(|principal| principals.include(principal))
        };
        match (&self.principal, &self.not_principal) {
            (Some(principals), _) => has(principals),
            (None, Some(principals)) => principal.is_some() && !has(principals),
            (None, None) => true,
        }
    }

    /// Whether it has a variable, which is not resolved.
    fn has_variable(&self, variables: bool) -> bool {
        let resources = self.resource.iter().chain(&self.not_resource);
        let texts = resources.flat_map(|texts| &texts.0);
        let values = self
            .condition
            .iter()
            .flat_map(|condition| &condition.values);
        texts
            .chain(values)
            .any(|text| Pattern::new(text, variables).is_none())
    }
}

/// Whether an element, or the `Not…` that stands in its place, is about something; `None`
/// if neither is there.
fn either(
    element: &Option<Texts>,
    not: &Option<Texts>,
    matches: impl Fn(&str) -> bool,
) -> Option<bool> {
    let any = |texts: &Texts| texts.0.iter().any(|text| matches(text));
    element
        .as_ref()
        .map(any)
        .or_else(|| not.as_ref().map(|texts| !any(texts)))
}

impl Principals {
    fn include(&self, principal: Principal<'_>) -> bool {
        self.0.iter().any(|(kind, Texts(texts))| {
            texts.iter().any(|text| match (kind, principal) {
                (PrincipalKind::Aws, _) if text == "*" => true,
                (PrincipalKind::Aws, Principal::Arn(arn)) => is_aws(text, arn),
                (PrincipalKind::Service, Principal::Service(service)) => text == service,
                _ => false,
            })
        })
    }
}

/// Whether a principal of a policy is an ARN: by itself, or as all of its account, which
/// is written as its number or as the ARN of its root.
fn is_aws(text: &str, arn: &str) -> bool {
    let account = arn.split(':').nth(4).unwrap_or_default();
    text == arn
        || text == account && !account.is_empty()
        || text
            .strip_prefix("arn:aws:iam::")
            .and_then(|rest| rest.strip_suffix(":root"))
            .is_some_and(|of| of == account)
}
