//! IAM: roles, and the evaluation of their policies.

mod access;
mod action;
mod condition;
mod date;
mod evaluate;
mod managed;
mod pattern;
mod policy;
mod role;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use access::{Denied, RoleAnswer, assumable_by_lambda, authorize, role_allows};
pub use action::{Action, Tag, decide};
pub use evaluate::{Principal, Request, Verdict, evaluate};
pub use policy::Policy;
pub use role::shown;

/// What is known of a request: condition key → values, one or several. Letter case of a
/// key means nothing.
pub type Keys = BTreeMap<String, Vec<String>>;
