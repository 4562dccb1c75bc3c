//! Properties of the evaluation, over random policies.

use proptest::{prelude::*, sample::select};
use serde_json::{Value, json};

use super::keys;
use crate::control::iam::{Keys, Policy, Request, Verdict, evaluate};

fn maybe_many(one: impl Strategy<Value = String> + Clone + 'static) -> BoxedStrategy<Value> {
    let many = prop::collection::vec(one.clone(), 1..4).prop_map(|many| json!(many));
    prop_oneof![one.prop_map(|one| json!(one)), many].boxed()
}

fn texts(of: &'static [&'static str]) -> BoxedStrategy<Value> {
    maybe_many(select(of).prop_map(str::to_owned))
}

fn condition() -> impl Strategy<Value = Value> {
    let operators = select(&[
        "StringEquals",
        "StringNotEquals",
        "StringLike",
        "ForAllValues:StringEquals",
        "ForAnyValue:StringNotLike",
        "StringEqualsIfExists",
    ]);
    let values = texts(&["a", "b", "*", "${aws:username}"]);
    let one = (operators, select(&["k", "K2"]), values);
    let conditions = prop::collection::vec(one, 0..3);
    conditions.prop_map(|conditions| {
        let mut object = json!({});
        for (operator, key, values) in conditions {
            object[operator][key] = values;
        }
        object
    })
}

fn statement() -> impl Strategy<Value = Value> {
    let actions = texts(&["*", "ec2:*", "ec2:CreateVpc", "EC2:create???", "s3:Get*"]);
    let resources = texts(&[
        "*",
        "arn:aws:ec2:*",
        "arn:aws:ec2:us-east-1:1:vpc/1",
        "arn:x:${b}",
    ]);
    (any::<bool>(), any::<bool>(), any::<bool>(), actions, resources, condition()).prop_map(
        |(allow, not_action, not_resource, actions, resources, condition)| {
            let effect = if allow { "Allow" } else { "Deny" };
            let action = if not_action { "NotAction" } else { "Action" };
            let resource = if not_resource { "NotResource" } else { "Resource" };
            json!({"Effect": effect, action: actions, resource: resources, "Condition": condition})
        },
    )
}

fn parsed(statements: &[Value]) -> Policy {
    let document = json!({"Version": "2012-10-17", "Id": "i", "Statement": statements});
    Policy::parse_identity(&document.to_string()).unwrap()
}

fn some_keys() -> impl Strategy<Value = Keys> {
    let values = prop::sample::subsequence(vec!["a", "b", "c"], 0..3);
    (values.clone(), values).prop_map(|(one, two)| keys(&[("K", &one), ("k2", &two)]))
}

fn ask<'p>(
    policies: impl IntoIterator<Item = &'p Policy>,
    action: &str,
    resource: &str,
    keys: &Keys,
) -> Verdict {
    let request = Request {
        action,
        resource,
        principal: None,
        keys,
    };
    evaluate(policies, &request)
}

/// Without the statement's name: another one may be the first to say the same.
fn kind(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Allowed { .. } => 0,
        Verdict::ExplicitDeny { .. } => 1,
        Verdict::ImplicitDeny => 2,
    }
}

proptest! {
    /// All together say what each says by itself, in any order and however they are
    /// spread over policies.
    #[test]
    fn a_deny_wins_and_the_order_does_not_matter(
        statements in prop::collection::vec(statement(), 1..6),
        order in any::<prop::sample::Index>(),
        action in select(&["ec2:CreateVpc", "ec2:DeleteVpc", "s3:GetObject"]),
        resource in select(&["*", "arn:aws:ec2:us-east-1:1:vpc/1", "arn:aws:s3:::b"]),
        keys in some_keys(),
    ) {
        let verdict = ask([&parsed(&statements)], action, resource, &keys);
        let each: Vec<Policy> = statements.iter().map(|one| parsed(std::slice::from_ref(one))).collect();
        let alone: Vec<u8> = each.iter().map(|one| kind(&ask([one], action, resource, &keys))).collect();
        let expected = if alone.contains(&1) { 1 } else if alone.contains(&0) { 0 } else { 2 };
        prop_assert_eq!(kind(&verdict), expected);
        let mut turned = statements.clone();
        turned.rotate_left(order.index(statements.len()));
        prop_assert_eq!(kind(&ask([&parsed(&turned)], action, resource, &keys)), expected);
        turned.reverse();
        prop_assert_eq!(kind(&ask([&parsed(&turned)], action, resource, &keys)), expected);
        prop_assert_eq!(kind(&ask(&each, action, resource, &keys)), expected);
    }

    #[test]
    fn an_explicit_deny_of_all_wins(statements in prop::collection::vec(statement(), 0..5), at in any::<prop::sample::Index>(), keys in some_keys()) {
        let deny = json!({"Sid": "No", "Effect": "Deny", "Action": "*", "Resource": "*"});
        let mut statements = statements;
        statements.insert(at.index(statements.len() + 1), deny);
        let verdict = ask([&parsed(&statements)], "ec2:CreateVpc", "*", &keys);
        let is_deny = matches!(verdict, Verdict::ExplicitDeny { .. });
        prop_assert!(is_deny);
    }

    #[test]
    fn what_is_printed_is_read_again(statements in prop::collection::vec(statement(), 1..5)) {
        let policy = parsed(&statements);
        let printed = serde_json::to_string(&policy).unwrap();
        prop_assert_eq!(Policy::parse_identity(&printed).unwrap(), policy);
    }

    #[test]
    fn a_damaged_policy_is_no_panic(statements in prop::collection::vec(statement(), 1..3), at in any::<prop::sample::Index>(), by in "[\\[\\]{}\",:a0 ]{0,3}") {
        let mut text = json!({"Statement": statements}).to_string();
        let at = at.index(text.len());
        text.replace_range(at..=at, &by);
        if let Err(error) = Policy::parse(&text) {
            prop_assert_eq!(error.code.as_str(), "MalformedPolicyDocument");
        }
    }
}

#[test]
fn the_statement_that_decides_is_named() {
    let allow =
        |sid: &str| json!({"Sid": sid, "Effect": "Allow", "Action": "a:b", "Resource": "*"});
    let sid = |sid: &str| Some(sid.to_owned());
    let none = Keys::new();
    let two = parsed(&[allow("One"), allow("Two")]);
    assert_eq!(
        ask([&two], "a:b", "*", &none),
        Verdict::Allowed { sid: sid("One") }
    );
    let deny = json!({"Sid": "No", "Effect": "Deny", "NotAction": "c:d", "Resource": "*"});
    let with_deny = parsed(&[allow("One"), deny]);
    assert_eq!(
        ask([&with_deny], "A:B", "*", &none),
        Verdict::ExplicitDeny { sid: sid("No") }
    );
    assert_eq!(ask([&with_deny], "c:d", "*", &none), Verdict::ImplicitDeny);
    assert_eq!(ask([], "a:b", "*", &none), Verdict::ImplicitDeny);
}
