//! Policies and roles under test.

mod access;
mod actions;
mod conditions;
mod dates;
mod grammar;
mod order;
mod patterns;

use serde_json::{Value, json};

use super::{Keys, Policy, Request, Verdict, evaluate};

/// Keys of a request.
fn keys(of: &[(&str, &[&str])]) -> Keys {
    let owned = |values: &[&str]| values.iter().map(|&value| value.to_owned()).collect();
    of.iter()
        .map(|(key, values)| ((*key).to_owned(), owned(values)))
        .collect()
}

/// A policy with a statement about everything.
fn policy(effect: &str, condition: &Value) -> Policy {
    let statement = json!({
        "Sid": "S", "Effect": effect, "Action": "*", "Resource": "*", "Condition": condition,
    });
    let document = json!({ "Version": "2012-10-17", "Statement": statement });
    Policy::parse(&document.to_string()).unwrap()
}

/// What policies say to an action on `*`.
fn verdict(policies: &[Policy], action: &str, keys: &Keys) -> Verdict {
    let request = Request {
        action,
        resource: "*",
        principal: None,
        keys,
    };
    evaluate(policies, &request)
}

/// Whether a condition is met.
fn is_met(condition: &Value, keys: &Keys) -> bool {
    let verdict = verdict(&[policy("Allow", condition)], "a:b", keys);
    verdict != Verdict::ImplicitDeny
}
