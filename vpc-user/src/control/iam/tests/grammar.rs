//! What a policy document may be, and what refusals say.

use serde_json::{Value, json};

use crate::control::iam::{Policy, managed};

/// A statement with an element set or, by `null`, removed.
fn with(element: &str, value: Value) -> Value {
    let mut statement = json!({"Effect": "Allow", "Action": "ec2:CreateVpc", "Resource": "*"});
    statement[element] = value;
    let object = statement.as_object_mut().unwrap();
    object.retain(|_, value| !value.is_null());
    json!({"Version": "2012-10-17", "Statement": [statement]})
}

fn refusal(policy: Result<Policy, crate::control::ApiError>, document: &str) -> String {
    let error = policy.expect_err(document);
    assert_eq!(
        (error.code.as_str(), error.status),
        ("MalformedPolicyDocument", 400)
    );
    error.message
}

#[test]
fn what_is_allowed_is_read() {
    let documents = [
        json!({"Statement": {"Effect": "Deny", "NotAction": ["a:b"], "NotResource": ["arn:a"]}}),
        with("Sid", json!("S1")),
        with("Action", json!("*")),
        with("Condition", json!({})),
        with("Condition", json!({"Bool": {"aws:SecureTransport": true}})),
        with("Condition", json!({"NumericEquals": {"k": [1, 2.5, "3"]}})),
        with("Principal", json!({"AWS": ["1", "2"], "Service": "s"})),
        with("NotPrincipal", json!("*")),
    ];
    for document in documents {
        let text = document.to_string();
        let policy = Policy::parse(&text);
        assert!(policy.is_ok(), "{text}: {policy:?}");
    }
    for document in managed::documents() {
        Policy::parse_identity(document).unwrap();
    }
}

#[test]
fn what_is_wrong_is_named() {
    let table = [
        (
            with("Effect", json!("Perhaps")),
            "unknown variant `Perhaps`",
        ),
        (with("Effect", Value::Null), "missing field `Effect`"),
        (with("Moon", json!(1)), "unknown field `Moon`"),
        (
            with("Sid", json!("a-b")),
            "Statement IDs (SID) must be alpha-numeric. (Statement[0])",
        ),
        (
            with("Action", Value::Null),
            "Policy statement must contain actions. (Statement[0])",
        ),
        (with("Action", json!([])), "one, or a list of at least one"),
        (with("Action", json!(7)), "one, or a list of at least one"),
        (
            with("Action", json!("CreateVpc")),
            "must be prefaced by a vendor",
        ),
        (with("Action", json!("a:b:c")), "can contain only one colon"),
        (with("Action", json!(":b")), "Vendor  is not valid"),
        (with("Action", json!("a:")), "is not valid"),
        (with("Action", json!("*:b")), "Vendor * is not valid"),
        (
            with("NotAction", json!("a:b")),
            "Action or NotAction, not both (Statement[0])",
        ),
        (
            with("NotResource", json!("*")),
            "Resource or NotResource, not both",
        ),
        (
            with("Resource", Value::Null),
            "Policy statement must contain resources. (Statement[0])",
        ),
        (
            with("Resource", json!("vpc-1")),
            "Resource vpc-1 must be in ARN format or \"*\".",
        ),
        (
            with("Principal", json!("*")),
            "should not specify a principal",
        ),
        (
            with("Condition", json!({"StringIs": {"k": "v"}})),
            "there is no condition operator \"StringIs\"",
        ),
        (
            with("Condition", json!({"NullIfExists": {"k": "true"}})),
            "no condition operator",
        ),
        (
            with("Condition", json!({"ForSome:Bool": {"k": "true"}})),
            "no condition operator",
        ),
        (
            with("Condition", json!({"Bool": {"k": "maybe"}})),
            "\"maybe\" of \"k\" under Bool is not true or false",
        ),
        (
            with("Condition", json!({"NumericEquals": {"k": "NaN"}})),
            "is not a number",
        ),
        (
            with("Condition", json!({"DateLessThan": {"k": "2026-13-01"}})),
            "is not a date",
        ),
        (
            with("Condition", json!({"IpAddress": {"k": "10.0.0.0/33"}})),
            "is not an address or a CIDR",
        ),
        (
            with("Condition", json!({"StringEquals": {"k": []}})),
            "a value is a text",
        ),
        (
            with("Condition", json!({"StringEquals": {"k": {}}})),
            "a value is a text",
        ),
        (
            with("Condition", json!({"StringEquals": "k"})),
            "expected an object",
        ),
        (
            json!({"Version": "2012-10-17"}),
            "missing field `Statement`",
        ),
        (
            json!({"Version": "2012-10-17", "Statement": []}),
            "a list of at least one",
        ),
        (
            json!({"Version": "2020-01-01"}),
            "unknown variant `2020-01-01`",
        ),
        (json!([]), "a text or an object"),
        (json!(["2012-10-17", "i", []]), "a text or an object"),
        (
            json!({"Statement": [["S", "Allow", "*", "*", "a:b"]]}),
            "a text or an object",
        ),
        (json!("text"), "invalid type: string"),
    ];
    for (document, expected) in table {
        let text = document.to_string();
        let message = refusal(Policy::parse_identity(&text), &text);
        assert!(message.contains(expected), "{text}: {message}");
    }
}

#[test]
fn nothing_is_null_or_there_twice() {
    let texts = [
        (
            r#"{"Statement": {"Effect": "Allow", "Action": "a:b", "Resource": "*", "Condition": null}}"#,
            "line 1 column",
        ),
        (
            r#"{"Statement": {"Effect": "Allow", "Action": null, "NotAction": "a:b", "Resource": "*"}}"#,
            "line 1 column",
        ),
        (
            r#"{"Statement": {"Effect": "Allow", "Effect": "Deny", "Action": "a:b", "Resource": "*"}}"#,
            "duplicate field `Effect`",
        ),
        (
            r#"{"Statement": {"Effect": "Deny", "Action": "a:b", "Resource": "*",
            "Condition": {"Bool": {"k": "true"}, "Bool": {"k": "false"}}}}"#,
            "an element is there twice at line 2 column",
        ),
        (
            r#"{"Statement": {"Effect": "Deny", "Action": "a:b", "Resource": "*",
            "Condition": {"Bool": {"k": "true", "k": "false"}}}}"#,
            "an element is there twice at line 2 column",
        ),
        ("{", "EOF while parsing an object at line 1 column 1"),
        ("", "EOF"),
    ];
    for (text, expected) in texts {
        let message = refusal(Policy::parse(text), text);
        assert!(message.contains(expected), "{text}: {message}");
    }
    let long = " ".repeat(131_073);
    assert!(refusal(Policy::parse(&long), "long").contains("131072 characters"));
    let deep = "[".repeat(100_000);
    assert!(Policy::parse(&deep).is_err());
}

#[test]
fn statements_have_names_of_their_own() {
    let one = json!({"Sid": "S", "Effect": "Allow", "Action": "a:b", "Resource": "*"});
    let text = json!({"Statement": [one, one]}).to_string();
    let message = refusal(Policy::parse(&text), &text);
    assert_eq!(
        message,
        "Statement IDs (SID) in a single policy must be unique. (Statement[1])"
    );
}

#[test]
fn a_trust_policy_is_about_principals_and_sts() {
    let lambda = json!({"Service": "lambda.amazonaws.com"});
    let trust = |action: &str, principal: &Value, resource: Value| {
        let mut document = with("Action", json!(action));
        document["Statement"][0]["Principal"] = principal.clone();
        document["Statement"][0]["Resource"] = resource;
        let object = document["Statement"][0].as_object_mut().unwrap();
        object.retain(|_, value| !value.is_null());
        document.to_string()
    };
    let good = trust("sts:AssumeRole", &lambda, Value::Null);
    Policy::parse_trust(&good).unwrap();
    let table = [
        (
            trust("ec2:CreateVpc", &lambda, Value::Null),
            "may only specify STS AssumeRole actions",
        ),
        (
            trust("*", &lambda, Value::Null),
            "may only specify STS AssumeRole actions",
        ),
        (
            trust("sts:AssumeRole", &lambda, json!("*")),
            "Has prohibited field Resource",
        ),
        (
            trust("sts:AssumeRole", &Value::Null, Value::Null),
            "Missing required field Principal",
        ),
        (
            trust("sts:AssumeRole", &json!({"Moon": "x"}), Value::Null),
            "unknown variant `Moon`",
        ),
        (
            trust("sts:AssumeRole", &json!("x"), Value::Null),
            "\"*\", or an object of principals",
        ),
        (
            trust("sts:AssumeRole", &json!({}), Value::Null),
            "invalid length 0",
        ),
    ];
    for (text, expected) in table {
        let message = refusal(Policy::parse_trust(&text), &text);
        assert!(message.contains(expected), "{text}: {message}");
    }
}
