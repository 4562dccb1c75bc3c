//! Conditions, by tables.

use serde_json::{Value, json};

use super::{is_met, keys, policy, verdict};
use crate::control::iam::{Keys, Verdict};

/// What a request comes to.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Outcome {
    Allowed,
    Denied,
    /// Implicitly.
    Not,
}
use Outcome::{Allowed, Denied, Not};

/// Keys of a request that configures a VPC; nothing: it has none.
fn vpc(vpc: &str, subnets: &[&str], groups: &[&str]) -> Keys {
    keys(&[
        ("lambda:VpcIds", &[vpc]),
        ("lambda:SubnetIds", subnets),
        ("lambda:SecurityGroupIds", groups),
    ])
}

/// The examples of Lambda's guide on condition keys for VPC settings: number, effect,
/// condition, keys of the request, outcome.
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html>
#[test]
fn the_examples_of_vpc_settings() {
    let no_vpc = json!({"Null": {"lambda:VpcIds": "true"}});
    let vpcs = json!({"StringEquals": {"lambda:VpcIds": ["vpc-1", "vpc-2"]}});
    let any_subnet =
        json!({"ForAnyValue:StringEquals": {"lambda:SubnetIds": ["subnet-1", "subnet-2"]}});
    let any_group =
        json!({"ForAnyValue:StringEquals": {"lambda:SecurityGroupIds": ["sg-1", "sg-2"]}});
    let all_subnets =
        json!({"ForAllValues:StringEquals": {"lambda:SubnetIds": ["subnet-1", "subnet-2"]}});
    let all_groups =
        json!({"ForAllValues:StringEquals": {"lambda:SecurityGroupIds": ["sg-1", "sg-2"]}});
    let function = "arn:aws:lambda:us-east-1:123456789012:function:f";
    let from = json!({"ArnEquals": {"lambda:SourceFunctionArn": function}});
    let from_version = json!({"ArnEquals": {"lambda:SourceFunctionArn": format!("{function}:1")}});
    let by_code = || keys(&[("lambda:SourceFunctionArn", &[function])]);
    let one = || vpc("vpc-1", &["subnet-1"], &["sg-1"]);
    let subnets = |subnets| vpc("vpc-1", subnets, &["sg-1"]);
    let groups = |groups| vpc("vpc-1", &["subnet-1"], groups);
    let table: &[(u8, &str, &Value, Keys, Outcome)] = &[
        (1, "Deny", &no_vpc, Keys::new(), Denied),
        (2, "Deny", &no_vpc, one(), Allowed),
        (3, "Deny", &no_vpc, keys(&[("lambda:VpcIds", &[])]), Denied),
        (4, "Deny", &no_vpc, one(), Allowed),
        (5, "Deny", &no_vpc, Keys::new(), Denied),
        (6, "Deny", &vpcs, vpc("vpc-1", &[], &[]), Denied),
        (6, "Deny", &vpcs, vpc("vpc-3", &[], &[]), Allowed),
        (6, "Deny", &vpcs, Keys::new(), Allowed),
        (
            7,
            "Deny",
            &any_subnet,
            subnets(&["subnet-1", "subnet-9"]),
            Denied,
        ),
        (7, "Deny", &any_subnet, subnets(&["subnet-9"]), Allowed),
        (7, "Deny", &any_subnet, Keys::new(), Allowed),
        (8, "Deny", &any_group, groups(&["sg-2", "sg-9"]), Denied),
        (8, "Deny", &any_group, groups(&["sg-9"]), Allowed),
        (9, "Allow", &vpcs, vpc("vpc-1", &[], &[]), Allowed),
        (9, "Allow", &vpcs, vpc("vpc-3", &[], &[]), Not),
        (9, "Allow", &vpcs, Keys::new(), Not),
        (10, "Allow", &all_subnets, subnets(&["subnet-1"]), Allowed),
        (
            10,
            "Allow",
            &all_subnets,
            subnets(&["subnet-1", "subnet-2"]),
            Allowed,
        ),
        (
            10,
            "Allow",
            &all_subnets,
            subnets(&["subnet-1", "subnet-9"]),
            Not,
        ),
        (10, "Allow", &all_subnets, Keys::new(), Allowed),
        (11, "Allow", &all_groups, groups(&["sg-1", "sg-2"]), Allowed),
        (11, "Allow", &all_groups, groups(&["sg-9"]), Not),
        (11, "Allow", &all_groups, Keys::new(), Allowed),
        (12, "Deny", &from, by_code(), Denied),
        (12, "Deny", &from, Keys::new(), Allowed),
        (13, "Allow", &from_version, by_code(), Not),
    ];
    for (number, effect, condition, keys, expected) in table {
        let mut policies = vec![policy(effect, condition)];
        if *effect == "Deny" {
            policies.push(policy("Allow", &json!({})));
        }
        let outcome = match verdict(&policies, "lambda:CreateFunction", keys) {
            Verdict::Allowed { .. } => Allowed,
            Verdict::ExplicitDeny { .. } => Denied,
            Verdict::ImplicitDeny => Not,
        };
        assert_eq!(
            outcome, *expected,
            "example {number}: {condition} of {keys:?}"
        );
    }
}

/// Operator, the policy's value, the request's value, whether it is met. The negated
/// operator is met where this is not.
#[test]
fn operators_compare_values() {
    let arn = "arn:aws:lambda:us-east-1:1:function:f";
    let table: &[(&str, &str, &str, Value, &str, bool)] = &[
        ("StringEquals", "StringNotEquals", "", json!("a"), "a", true),
        (
            "StringEquals",
            "StringNotEquals",
            "",
            json!("a"),
            "A",
            false,
        ),
        (
            "StringEquals",
            "StringNotEquals",
            "",
            json!("a*"),
            "ab",
            false,
        ),
        (
            "StringEquals",
            "StringNotEquals",
            "",
            json!("${*}"),
            "*",
            true,
        ),
        (
            "StringEquals",
            "StringNotEquals",
            "",
            json!(["a", "b"]),
            "b",
            true,
        ),
        (
            "StringEqualsIgnoreCase",
            "StringNotEqualsIgnoreCase",
            "",
            json!("aß"),
            "Aß",
            true,
        ),
        (
            "StringEqualsIgnoreCase",
            "StringNotEqualsIgnoreCase",
            "",
            json!("a"),
            "b",
            false,
        ),
        (
            "StringLike",
            "StringNotLike",
            "",
            json!("a*c?"),
            "abbcd",
            true,
        ),
        (
            "StringLike",
            "StringNotLike",
            "",
            json!("a*c?"),
            "Abbcd",
            false,
        ),
        (
            "StringLike",
            "StringNotLike",
            "",
            json!("a${*}"),
            "ab",
            false,
        ),
        (
            "ArnEquals",
            "ArnNotEquals",
            "ArnLike",
            json!(arn),
            arn,
            true,
        ),
        (
            "ArnEquals",
            "ArnNotEquals",
            "ArnLike",
            json!("arn:*:lambda:*:?:function:f"),
            arn,
            true,
        ),
        (
            "ArnEquals",
            "ArnNotEquals",
            "ArnLike",
            json!("arn:*:function:f"),
            arn,
            false,
        ),
        (
            "ArnEquals",
            "ArnNotEquals",
            "ArnLike",
            json!("arn:aws:lambda:*:*:*"),
            arn,
            true,
        ),
        (
            "ArnEquals",
            "ArnNotEquals",
            "ArnLike",
            json!("*"),
            arn,
            true,
        ),
        (
            "ArnEquals",
            "ArnNotEquals",
            "ArnLike",
            json!("*"),
            "no arn",
            false,
        ),
        (
            "ArnEquals",
            "ArnNotEquals",
            "ArnLike",
            json!(format!("{arn}:1")),
            arn,
            false,
        ),
        (
            "ArnEquals",
            "ArnNotEquals",
            "ArnLike",
            json!(format!("{arn}:*")),
            arn,
            false,
        ),
        ("Bool", "", "", json!(true), "TRUE", true),
        ("Bool", "", "", json!("false"), "true", false),
        (
            "NumericEquals",
            "NumericNotEquals",
            "",
            json!(10),
            "10.0",
            true,
        ),
        (
            "NumericEquals",
            "NumericNotEquals",
            "",
            json!("10"),
            "ten",
            false,
        ),
        ("NumericLessThan", "", "", json!(10), "9.5", true),
        ("NumericLessThan", "", "", json!(10), "10", false),
        ("NumericLessThanEquals", "", "", json!(10), "10", true),
        ("NumericGreaterThan", "", "", json!(-1), "0", true),
        ("NumericGreaterThan", "", "", json!(-1), "-1", false),
        ("NumericGreaterThanEquals", "", "", json!(-1), "-1", true),
        (
            "DateEquals",
            "DateNotEquals",
            "",
            json!("2026-11-25T01:00:00+01:00"),
            "2026-11-25",
            true,
        ),
        (
            "DateEquals",
            "DateNotEquals",
            "",
            json!(0),
            "1970-01-01T00:00:00Z",
            true,
        ),
        (
            "DateLessThan",
            "",
            "",
            json!("2026-11-25"),
            "2026-11-24T23:59:59.9Z",
            true,
        ),
        (
            "DateLessThanEquals",
            "",
            "",
            json!("2026-11-25"),
            "2026-11-25",
            true,
        ),
        (
            "DateGreaterThan",
            "",
            "",
            json!("2026-11-25"),
            "2026-11-25T00:00:00Z",
            false,
        ),
        (
            "DateGreaterThanEquals",
            "",
            "",
            json!("2026-11-25"),
            "2026-11-25T00:00:00Z",
            true,
        ),
        (
            "IpAddress",
            "NotIpAddress",
            "",
            json!("10.0.0.0/8"),
            "10.255.0.1",
            true,
        ),
        (
            "IpAddress",
            "NotIpAddress",
            "",
            json!("10.0.0.1"),
            "10.0.0.2",
            false,
        ),
        (
            "IpAddress",
            "NotIpAddress",
            "",
            json!("2001:db8::/32"),
            "2001:db8::1",
            true,
        ),
        (
            "IpAddress",
            "NotIpAddress",
            "",
            json!("0.0.0.0/0"),
            "somewhere",
            false,
        ),
    ];
    for (operator, negated, synonym, value, asked, expected) in table {
        let keys = keys(&[("a:Key", &[asked])]);
        let met = |name: &str| is_met(&json!({ name: {"A:kEY": value} }), &keys);
        assert_eq!(met(operator), *expected, "{operator} {value} {asked}");
        assert_eq!(met(&format!("{operator}IfExists")), *expected, "{operator}");
        assert_eq!(
            met(&format!("ForAnyValue:{operator}")),
            *expected,
            "{operator}"
        );
        if !negated.is_empty() {
            assert_eq!(met(negated), !expected, "{negated} {value} {asked}");
        }
        if !synonym.is_empty() {
            assert_eq!(met(synonym), *expected, "{synonym} {value} {asked}");
        }
    }
}

/// Operator, whether it is met: by `a`, by `b`, by `a` and `b`, without the key.
#[test]
fn sets_and_missing_keys() {
    let table: &[(&str, [bool; 4])] = &[
        ("StringEquals", [true, false, true, false]),
        ("StringNotEquals", [false, true, false, true]),
        ("StringEqualsIfExists", [true, false, true, true]),
        ("StringNotEqualsIfExists", [false, true, false, true]),
        ("ForAllValues:StringEquals", [true, false, false, true]),
        ("ForAllValues:StringNotEquals", [false, true, false, true]),
        ("ForAnyValue:StringEquals", [true, false, true, false]),
        ("ForAnyValue:StringNotEquals", [false, true, true, false]),
        (
            "ForAnyValue:StringEqualsIfExists",
            [true, false, true, true],
        ),
        (
            "ForAllValues:StringEqualsIfExists",
            [true, false, false, true],
        ),
    ];
    let requests: [&[&str]; 4] = [&["a"], &["b"], &["a", "b"], &[]];
    for (operator, expected) in table {
        for (values, expected) in requests.iter().zip(expected) {
            let condition = json!({ *operator: {"k": ["a", "x"]} });
            let met = is_met(&condition, &keys(&[("k", values)]));
            assert_eq!(met, *expected, "{operator} of {values:?}");
            if values.is_empty() {
                assert_eq!(is_met(&condition, &Keys::new()), *expected, "{operator}");
            }
        }
    }
}

#[test]
fn null_asks_whether_a_key_is_missing() {
    for (value, present, missing) in [("true", false, true), ("False", true, false)] {
        let condition = json!({"Null": {"k": value}});
        assert_eq!(is_met(&condition, &keys(&[("K", &["v"])])), present);
        assert_eq!(is_met(&condition, &Keys::new()), missing);
        assert_eq!(is_met(&condition, &keys(&[("k", &[])])), missing);
    }
}

#[test]
fn every_condition_has_to_be_met() {
    let condition = json!({"StringEquals": {"a": "1", "b": "2"}, "StringLike": {"c": "*"}});
    let all: [(&str, &[&str]); 3] = [("a", &["1"]), ("b", &["2"]), ("c", &["3"])];
    assert!(is_met(&condition, &keys(&all)));
    for missing in 0..all.len() {
        let mut some = all.to_vec();
        some.remove(missing);
        assert!(!is_met(&condition, &keys(&some)));
    }
    assert!(is_met(&json!({}), &Keys::new()));
}

/// A variable is not resolved: the statement does not match, whatever else it says.
#[test]
fn a_statement_with_a_variable_does_not_match() {
    let tagged = keys(&[("aws:PrincipalTag/team", &["red"]), ("k", &["red"])]);
    for operator in [
        "StringEquals",
        "StringNotEquals",
        "StringLike",
        "StringNotLike",
    ] {
        let condition = json!({ operator: {"k": ["red", "${aws:PrincipalTag/team}"]} });
        assert!(!is_met(&condition, &tagged), "{operator}");
    }
}
