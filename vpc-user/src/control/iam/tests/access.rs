//! What roles may do.

use serde_json::{Value, json};

use super::keys;
use crate::control::{
    Account, Caller, State, Time,
    iam::{Denied, Keys, RoleAnswer, assumable_by_lambda, authorize, role_allows},
    resource::Role,
};

const VPC_ACCESS: &str = "arn:aws:iam::aws:policy/service-role/AWSLambdaVPCAccessExecutionRole";
const ENI_ACTIONS: [&str; 6] = [
    "ec2:CreateNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:DeleteNetworkInterface",
    "ec2:AssignPrivateIpAddresses",
    "ec2:UnassignPrivateIpAddresses",
];

fn trust(principal: &Value, condition: &Value) -> String {
    let statement = json!({
        "Effect": "Allow", "Action": "sts:AssumeRole", "Principal": principal, "Condition": condition,
    });
    json!({"Version": "2012-10-17", "Statement": statement}).to_string()
}

fn role(policies: &[Value], attached: &[&str]) -> Role {
    let documents = policies.iter().enumerate();
    Role {
        role_name: "r".into(),
        role_id: "AROAAAAAAAAAAAAAAAAAA".into(),
        owner_id: Account::DEFAULT,
        path: "/".into(),
        description: None,
        max_session_duration: 3_600,
        assume_role_policy_document: trust(&json!({"Service": "lambda.amazonaws.com"}), &json!({})),
        policies: documents
            .map(|(number, statement)| {
                let document = json!({"Version": "2012-10-17", "Statement": statement});
                (number.to_string(), document.to_string())
            })
            .collect(),
        attached_policies: attached.iter().map(|&arn| arn.to_owned()).collect(),
        create_date: Time(0),
        tags: Default::default(),
    }
}

fn state_of(role: &Role) -> State {
    let mut state = State::default();
    let record = role.clone().into();
    let key = crate::control::Record::key(&record);
    state.replace(&key, Some(record));
    state
}

fn caller(role: &Role) -> Caller {
    Caller {
        role: Some(role.arn()),
        ..Caller::root(role.owner_id)
    }
}

#[test]
fn the_root_may_everything() {
    let root = Caller::root(Account::DEFAULT);
    let answer = authorize(&State::default(), &root, "ec2:CreateVpc", "*", &Keys::new());
    assert_eq!(answer, Ok(()));
}

#[test]
fn a_role_may_what_its_policies_allow() {
    let own = json!({"Effect": "Allow", "Action": "s3:Get*", "Resource": "arn:aws:s3:::b/*"});
    let role = role(&[own], &[VPC_ACCESS, "arn:aws:iam::aws:policy/Unknown"]);
    let state = state_of(&role);
    let may = |action: &str, resource: &str| {
        authorize(&state, &caller(&role), action, resource, &Keys::new()).is_ok()
    };
    assert!(may("s3:GetObject", "arn:aws:s3:::b/x"));
    assert!(!may("s3:GetObject", "arn:aws:s3:::c/x"));
    assert!(!may("s3:PutObject", "arn:aws:s3:::b/x"));
    for action in ENI_ACTIONS {
        assert!(may(action, "*"));
        assert_eq!(
            role_allows(&state, &role.arn(), action),
            RoleAnswer::Allowed
        );
    }
    assert_eq!(
        role_allows(&state, &role.arn(), "s3:GetObject"),
        RoleAnswer::Denied
    );
    let other = "arn:aws:iam::000000000001:role/other";
    assert_eq!(
        role_allows(&state, other, "s3:GetObject"),
        RoleAnswer::NoSuchRole
    );
}

#[test]
fn an_unknown_policy_grants_nothing_and_administrators_may_everything() {
    let nothing = role(&[], &["arn:aws:iam::aws:policy/Unknown"]);
    let answer = role_allows(&state_of(&nothing), &nothing.arn(), "ec2:DescribeSubnets");
    assert_eq!(answer, RoleAnswer::Denied);
    let all = role(&[], &["arn:aws:iam::aws:policy/AdministratorAccess"]);
    let answer = authorize(&state_of(&all), &caller(&all), "x:Y", "arn:z", &Keys::new());
    assert_eq!(answer, Ok(()));
}

#[test]
fn a_role_that_is_gone_or_of_another_account_or_unreadable_may_nothing() {
    let allow = json!({"Effect": "Allow", "Action": "*", "Resource": "*"});
    let mut all = role(&[allow], &[]);
    let ask = |state: &State, caller: &Caller| authorize(state, caller, "a:b", "*", &Keys::new());
    assert_eq!(ask(&state_of(&all), &caller(&all)), Ok(()));
    assert!(ask(&State::default(), &caller(&all)).is_err());
    let elsewhere = Caller {
        account: Account::new("000000000002").unwrap(),
        ..caller(&all)
    };
    assert!(ask(&state_of(&all), &elsewhere).is_err());
    all.policies.insert("broken".into(), "{".into());
    assert!(ask(&state_of(&all), &caller(&all)).unwrap_err().is_explicit);
    assert_eq!(
        role_allows(&state_of(&all), &all.arn(), "a:b"),
        RoleAnswer::Denied
    );
}

#[test]
fn a_refusal_says_what_aws_says() {
    let role = role(&[], &[]);
    let answer = authorize(
        &state_of(&role),
        &caller(&role),
        "ec2:CreateVpc",
        "*",
        &Keys::new(),
    );
    let denied = answer.unwrap_err();
    assert_eq!(
        denied.to_string(),
        "User: arn:aws:iam::000000000001:role/r is not authorized to perform: ec2:CreateVpc on \
         resource: * because no identity-based policy allows the ec2:CreateVpc action"
    );
    let explicit = Denied {
        is_explicit: true,
        ..denied
    };
    let end = "on resource: * with an explicit deny in an identity-based policy";
    assert!(explicit.to_string().ends_with(end));
}

/// Examples 12 and 13: the key is there for the function's code, and not for Lambda.
#[test]
fn the_code_of_a_function_is_told_from_lambda() {
    let function = "arn:aws:lambda:us-east-1:000000000001:function:f";
    let deny = json!({
        "Effect": "Deny", "Action": "ec2:*NetworkInterface*", "Resource": "*",
        "Condition": {"ArnEquals": {"lambda:SourceFunctionArn": function}},
    });
    let role = role(&[deny], &[VPC_ACCESS]);
    let state = state_of(&role);
    let action = "ec2:CreateNetworkInterface";
    let code = Caller {
        source_function: Some(function.to_owned()),
        ..caller(&role)
    };
    let none = Keys::new();
    assert!(
        authorize(&state, &code, action, "*", &none)
            .unwrap_err()
            .is_explicit
    );
    assert_eq!(
        role_allows(&state, &role.arn(), action),
        RoleAnswer::Allowed
    );
    assert_eq!(
        authorize(&state, &caller(&role), action, "*", &none),
        Ok(())
    );
    let claimed = keys(&[("lambda:sourcefunctionarn", &[function])]);
    let answer = authorize(&state, &caller(&role), action, "*", &claimed);
    assert_eq!(answer, Ok(()), "nobody can claim to be a function");
}

#[test]
fn lambda_assumes_the_roles_that_trust_it() {
    let lambda = json!({"Service": "lambda.amazonaws.com"});
    let account = |number: &str| json!({"StringEquals": {"aws:SourceAccount": number}});
    let none = json!({});
    let table = [
        (trust(&lambda, &none), true),
        (
            trust(
                &json!({"Service": ["ec2.amazonaws.com", "lambda.amazonaws.com"]}),
                &none,
            ),
            true,
        ),
        (
            trust(&json!({"Service": "ec2.amazonaws.com"}), &none),
            false,
        ),
        (trust(&json!({"AWS": "lambda.amazonaws.com"}), &none), false),
        (trust(&json!({"AWS": "000000000001"}), &none), false),
        (trust(&json!("*"), &none), true),
        (trust(&lambda, &account("000000000001")), true),
        (trust(&lambda, &account("000000000002")), false),
        ("{}".to_owned(), false),
    ];
    for (document, expected) in table {
        let mut role = role(&[], &[]);
        role.assume_role_policy_document = document;
        assert_eq!(
            assumable_by_lambda(&role),
            expected,
            "{}",
            role.assume_role_policy_document
        );
    }
    let not = json!({"Statement": [
        {"Effect": "Allow", "Action": "sts:*", "Principal": lambda},
        {"Effect": "Deny", "Action": "sts:AssumeRole", "NotPrincipal": {"Service": "ec2.amazonaws.com"}},
    ]});
    let mut denied = role(&[], &[]);
    denied.assume_role_policy_document = not.to_string();
    assert!(!assumable_by_lambda(&denied));
}
