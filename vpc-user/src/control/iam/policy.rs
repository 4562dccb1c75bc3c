//! Policy documents: their grammar.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html>
//!
//! A document that is read is the document that was written: what is unknown, twice or of
//! the wrong kind is refused, and nothing is guessed.

mod json;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::condition::Condition;
use crate::control::ApiError;

/// Characters of a document that are read at all.
const MAX_DOCUMENT: usize = 131_072;

/// A policy document.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Policy {
    #[serde(default)]
    pub(super) version: Version,
    #[serde(
        default,
        with = "json::present",
        skip_serializing_if = "Option::is_none"
    )]
    id: Option<String>,
    #[serde(with = "json::one_or_many")]
    pub(super) statement: Vec<Statement>,
}

/// The version of the grammar.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) enum Version {
    /// Without variables: a document that says nothing is one.
    #[default]
    #[serde(rename = "2008-10-17")]
    V2008,
    /// With variables.
    #[serde(rename = "2012-10-17")]
    V2012,
}

/// A statement of a policy.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Statement {
    #[serde(
        default,
        with = "json::present",
        skip_serializing_if = "Option::is_none"
    )]
    pub(super) sid: Option<String>,
    pub(super) effect: Effect,
    #[serde(
        default,
        with = "json::present",
        skip_serializing_if = "Option::is_none"
    )]
    pub(super) principal: Option<Principals>,
    #[serde(
        default,
        with = "json::present",
        skip_serializing_if = "Option::is_none"
    )]
    pub(super) not_principal: Option<Principals>,
    #[serde(
        default,
        with = "json::present",
        skip_serializing_if = "Option::is_none"
    )]
    pub(super) action: Option<Texts>,
    #[serde(
        default,
        with = "json::present",
        skip_serializing_if = "Option::is_none"
    )]
    pub(super) not_action: Option<Texts>,
    #[serde(
        default,
        with = "json::present",
        skip_serializing_if = "Option::is_none"
    )]
    pub(super) resource: Option<Texts>,
    #[serde(
        default,
        with = "json::present",
        skip_serializing_if = "Option::is_none"
    )]
    pub(super) not_resource: Option<Texts>,
    #[serde(
        default,
        with = "json::conditions",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub(super) condition: Vec<Condition>,
}

/// What a statement does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Effect {
    Allow,
    Deny,
}

/// A text, or a list of at least one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Texts(#[serde(with = "json::one_or_many")] pub(super) Vec<String>);

/// Whom a statement is about, by the kind of principal; everybody is `AWS: *`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Principals(pub(super) Vec<(PrincipalKind, Texts)>);

/// A kind of principals.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub(super) enum PrincipalKind {
    /// Accounts and roles.
    #[serde(rename = "AWS")]
    Aws,
    /// AWS's services.
    Service,
    /// Identity providers.
    Federated,
    /// Accounts, as S3 knows them.
    CanonicalUser,
}

/// What a policy belongs to, and what it therefore has to have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Purpose {
    /// Whatever it likes.
    Any,
    /// An identity: resources, and no principals.
    Identity,
    /// A role's trust: principals, and no resources.
    Trust,
}

impl Policy {
    /// Reads a policy of any kind, those of resources among them.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        Self::parse_for(text, Purpose::Any)
    }

    /// Reads a policy of an identity: it names resources, and no principals.
    pub fn parse_identity(text: &str) -> Result<Self, ApiError> {
        Self::parse_for(text, Purpose::Identity)
    }

    /// Reads the trust policy of a role: it names principals, and no resources.
    pub fn parse_trust(text: &str) -> Result<Self, ApiError> {
        Self::parse_for(text, Purpose::Trust)
    }

    fn parse_for(text: &str, purpose: Purpose) -> Result<Self, ApiError> {
        if text.chars().count() > MAX_DOCUMENT {
            return Err(malformed(&format!(
                "the document is longer than {MAX_DOCUMENT} characters"
            )));
        }
        let json::One(policy): json::One<Self> = serde_json::from_str(text)
            .map_err(|error| malformed(&format!("Syntax errors in policy: {error}")))?;
        policy.check(purpose).map_err(|cause| malformed(&cause))?;
        Ok(policy)
    }

    /// What the grammar asks beyond the shape.
    fn check(&self, purpose: Purpose) -> Result<(), String> {
        let mut sids = BTreeSet::new();
        for (number, statement) in self.statement.iter().enumerate() {
            let at = |cause: &str| format!("{cause} (Statement[{number}])");
            statement.check(purpose).map_err(|cause| at(&cause))?;
            if let Some(sid) = &statement.sid
                && !sids.insert(sid)
            {
                let cause = "Statement IDs (SID) in a single policy must be unique.";
                return Err(at(cause));
            }
        }
        Ok(())
    }
}

impl Statement {
    fn check(&self, purpose: Purpose) -> Result<(), String> {
        let is_alphanumeric = |sid: &String| sid.bytes().all(|b| b.is_ascii_alphanumeric());
        if !self.sid.as_ref().is_none_or(is_alphanumeric) {
            return Err("Statement IDs (SID) must be alpha-numeric.".to_owned());
        }
        let actions = one_of(
            ("Action", self.action.is_some()),
            ("NotAction", self.not_action.is_some()),
        )?;
        if !actions {
            return Err("Policy statement must contain actions.".to_owned());
        }
        let resources = one_of(
            ("Resource", self.resource.is_some()),
            ("NotResource", self.not_resource.is_some()),
        )?;
        let principals = one_of(
            ("Principal", self.principal.is_some()),
            ("NotPrincipal", self.not_principal.is_some()),
        )?;
        match purpose {
            Purpose::Identity if principals => {
                return Err("Policy document should not specify a principal.".to_owned());
            }
            Purpose::Identity if !resources => {
                return Err("Policy statement must contain resources.".to_owned());
            }
            Purpose::Trust if resources => return Err("Has prohibited field Resource".to_owned()),
            Purpose::Trust if !principals => {
                return Err("Missing required field Principal".to_owned());
            }
            Purpose::Any | Purpose::Identity | Purpose::Trust => {}
        }
        for action in self
            .action
            .iter()
            .chain(&self.not_action)
            .flat_map(|one| &one.0)
        {
            check_action(action, purpose)?;
        }
        for resource in self
            .resource
            .iter()
            .chain(&self.not_resource)
            .flat_map(|one| &one.0)
        {
            check_resource(resource)?;
        }
        Ok(())
    }
}

/// Whether one of two elements is there, which exclude each other.
fn one_of(one: (&str, bool), other: (&str, bool)) -> Result<bool, String> {
    if one.1 && other.1 {
        let (one, other) = (one.0, other.0);
        return Err(format!("a statement has {one} or {other}, not both"));
    }
    Ok(one.1 || other.1)
}

fn check_action(action: &str, purpose: Purpose) -> Result<(), String> {
    let Some((vendor, name)) = action.split_once(':') else {
        return match (action, purpose) {
            ("*", Purpose::Any | Purpose::Identity) => Ok(()),
            ("*", Purpose::Trust) => {
                Err("AssumeRole policy may only specify STS AssumeRole actions.".to_owned())
            }
            _ => Err(format!(
                "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.: \
                 {action:?}"
            )),
        };
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-_*?".contains(c);
    if name.contains(':') {
        return Err(format!(
            "Actions/Condition can contain only one colon: {action:?}"
        ));
    }
    if vendor.is_empty()
        || !vendor
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '-')
    {
        return Err(format!("Vendor {vendor} is not valid"));
    }
    if name.is_empty() || !name.chars().all(is_name) {
        return Err(format!("Action {action:?} is not valid"));
    }
    if purpose == Purpose::Trust && !vendor.eq_ignore_ascii_case("sts") {
        return Err("AssumeRole policy may only specify STS AssumeRole actions.".to_owned());
    }
    Ok(())
}

fn check_resource(resource: &str) -> Result<(), String> {
    if resource == "*" || resource.starts_with("arn:") {
        Ok(())
    } else {
        Err(format!(
            "Resource {resource} must be in ARN format or \"*\"."
        ))
    }
}

/// A document that is none, and why.
fn malformed(cause: &str) -> ApiError {
    ApiError::new("MalformedPolicyDocument", cause)
}
