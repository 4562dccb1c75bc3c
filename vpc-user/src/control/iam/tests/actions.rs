//! What may be asked of IAM, by its answers.

use serde_json::{Value, json};

use crate::control::{
    Account, ApiError, Caller, Command, Context, Entropy, Settings, State, Time, Transaction,
    decide, iam::Action, resource::Role,
};

const VPC_ACCESS: &str = "arn:aws:iam::aws:policy/service-role/AWSLambdaVPCAccessExecutionRole";

fn trust() -> String {
    let statement = json!({
        "Effect": "Allow", "Action": "sts:AssumeRole",
        "Principal": {"Service": "lambda.amazonaws.com"},
    });
    json!({"Version": "2012-10-17", "Statement": statement}).to_string()
}

fn allow(action: &str) -> String {
    let statement = json!({"Effect": "Allow", "Action": action, "Resource": "*"});
    json!({"Version": "2012-10-17", "Statement": statement}).to_string()
}

struct World {
    state: State,
    context: Context,
}

impl World {
    fn new() -> Self {
        let context = Context {
            now: Time(1_795_646_714_000),
            caller: Caller::root(Account::DEFAULT),
            entropy: Entropy::new(1),
            settings: Settings::default(),
        };
        let state = State::default();
        Self { state, context }
    }

    fn with_role() -> Self {
        let mut world = Self::new();
        world
            .ask("CreateRole", json!({"AssumeRolePolicyDocument": trust()}))
            .unwrap();
        world
    }

    /// Asks for something, by default of role `r`. Refused, nothing may have changed.
    fn ask(&mut self, action: &str, mut members: Value) -> Result<Value, ApiError> {
        members["Service"] = json!("iam");
        members["Action"] = json!(action);
        if members["RoleName"].is_null() {
            members["RoleName"] = json!("r");
        }
        let command: Command = serde_json::from_value(members).unwrap();
        let before = self.state.clone();
        let mut transaction = Transaction::new(&mut self.state);
        let answer = decide(&mut transaction, &command, &mut self.context);
        if answer.is_ok() {
            transaction.commit();
        } else {
            drop(transaction);
            assert_eq!(self.state, before);
        }
        answer?
    }

    fn refusal(&mut self, action: &str, members: Value) -> (u16, String, String) {
        let error = self.ask(action, members).unwrap_err();
        (error.status, error.code.as_str().to_owned(), error.message)
    }

    fn role(&self) -> &Role {
        self.state.all::<Role>().next().unwrap()
    }
}

#[test]
fn a_role_is_made_as_it_is_shown() {
    let mut world = World::new();
    let answer = world.ask(
        "CreateRole",
        json!({
            "RoleName": "My-Role", "Path": "/a/b/", "AssumeRolePolicyDocument": trust(),
            "Description": "d", "MaxSessionDuration": 7_200, "Tags": [{"Key": "k", "Value": "v"}],
        }),
    );
    let answer = answer.unwrap();
    let shown = &answer["Role"];
    let id = shown["RoleId"].as_str().unwrap();
    assert!(id.starts_with("AROA") && id.len() == 21, "{id}");
    assert_eq!(
        shown,
        &json!({
            "Path": "/a/b/", "RoleName": "My-Role", "RoleId": id,
            "Arn": "arn:aws:iam::000000000001:role/a/b/My-Role",
            "CreateDate": "2026-11-25T22:45:14Z",
            "AssumeRolePolicyDocument": serde_json::from_str::<Value>(&trust()).unwrap(),
            "Description": "d", "MaxSessionDuration": 7_200,
            "Tags": [{"Key": "k", "Value": "v"}],
        })
    );
    let record = world.state.records().next().unwrap();
    assert_eq!(&crate::control::shown(&world.state, record), shown);
}

#[test]
fn refusals_have_the_codes_of_iam() {
    let create = |more: Value| {
        let mut members = json!({"RoleName": "new", "AssumeRolePolicyDocument": trust()});
        members
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        ("CreateRole", members)
    };
    let large = allow(&format!("ec2:{}", "a".repeat(10_240)));
    let many_tags: Vec<Value> = (0..51)
        .map(|n| json!({"Key": n.to_string(), "Value": ""}))
        .collect();
    let table: Vec<((&str, Value), u16, &str, &str)> = vec![
        (
            create(json!({"RoleName": "R"})),
            409,
            "EntityAlreadyExists",
            "Role with name R already exists.",
        ),
        (
            create(json!({"RoleName": "a b"})),
            400,
            "ValidationError",
            "regular expression pattern: [\\w+=,.@-]+",
        ),
        (
            create(json!({"RoleName": "a".repeat(65)})),
            400,
            "ValidationError",
            "less than or equal to 64",
        ),
        (
            create(json!({"RoleName": ""})),
            400,
            "ValidationError",
            "greater than or equal to 1",
        ),
        (
            create(json!({"Path": "a"})),
            400,
            "ValidationError",
            "at 'path'",
        ),
        (
            create(json!({"MaxSessionDuration": 60})),
            400,
            "ValidationError",
            "maxSessionDuration",
        ),
        (
            create(json!({"Description": "a".repeat(1_001)})),
            400,
            "ValidationError",
            "description",
        ),
        (
            create(json!({"AssumeRolePolicyDocument": allow("sts:AssumeRole")})),
            400,
            "MalformedPolicyDocument",
            "prohibited field Resource",
        ),
        (
            create(json!({"Tags": many_tags})),
            409,
            "LimitExceeded",
            "TagsPerRole: 50",
        ),
        (
            create(json!({"Tags": [{"Key": "a", "Value": ""}, {"Key": "A", "Value": ""}]})),
            400,
            "InvalidInput",
            "Duplicate tag keys",
        ),
        (
            create(json!({"Tags": [{"Key": "aws:a", "Value": ""}]})),
            400,
            "InvalidInput",
            "for AWS alone",
        ),
        (
            create(json!({"Tags": [{"Key": "", "Value": ""}]})),
            400,
            "ValidationError",
            "tags.member.key",
        ),
        (
            ("DeleteRole", json!({"RoleName": "none"})),
            404,
            "NoSuchEntity",
            "The role with name none cannot be found.",
        ),
        (
            ("TagRole", json!({"RoleName": "none", "Tags": []})),
            404,
            "NoSuchEntity",
            "none",
        ),
        (
            ("DeleteRolePolicy", json!({"PolicyName": "p"})),
            404,
            "NoSuchEntity",
            "The role policy with name p cannot be found.",
        ),
        (
            ("DetachRolePolicy", json!({"PolicyArn": VPC_ACCESS})),
            404,
            "NoSuchEntity",
            "was not found.",
        ),
        (
            ("AttachRolePolicy", json!({"PolicyArn": "policy"})),
            400,
            "ValidationError",
            "ARN policy is not valid.",
        ),
        (
            (
                "AttachRolePolicy",
                json!({"PolicyArn": "arn:aws:iam::000000000001:policy/p"}),
            ),
            404,
            "NoSuchEntity",
            "does not exist or is not attachable",
        ),
        (
            (
                "PutRolePolicy",
                json!({"PolicyName": "p", "PolicyDocument": "{"}),
            ),
            400,
            "MalformedPolicyDocument",
            "Syntax errors in policy",
        ),
        (
            (
                "PutRolePolicy",
                json!({"PolicyName": "p/q", "PolicyDocument": allow("a:b")}),
            ),
            400,
            "ValidationError",
            "policyName",
        ),
        (
            (
                "PutRolePolicy",
                json!({"PolicyName": "p", "PolicyDocument": large}),
            ),
            409,
            "LimitExceeded",
            "Maximum policy size of 10240 bytes exceeded for role r",
        ),
        (
            ("UpdateAssumeRolePolicy", json!({"PolicyDocument": "{}"})),
            400,
            "MalformedPolicyDocument",
            "missing field",
        ),
    ];
    for ((action, members), status, code, message) in table {
        let mut world = World::with_role();
        let text = members.to_string();
        let refusal = world.refusal(action, members);
        assert_eq!(
            (refusal.0, refusal.1.as_str()),
            (status, code),
            "{action} {text}"
        );
        assert!(
            refusal.2.contains(message),
            "{action} {text}: {}",
            refusal.2
        );
    }
}

#[test]
fn a_trust_policy_has_a_quota_that_blanks_do_not_count_for() {
    let mut world = World::with_role();
    let spaced = trust().replace(',', &format!(",{}", " ".repeat(3_000)));
    world
        .ask("UpdateAssumeRolePolicy", json!({"PolicyDocument": spaced}))
        .unwrap();
    assert_eq!(world.role().assume_role_policy_document, spaced);
    let long = trust().replace("lambda", &"a".repeat(2_048));
    let refusal = world.refusal("UpdateAssumeRolePolicy", json!({"PolicyDocument": long}));
    assert_eq!(refusal.2, "Cannot exceed quota for ACLSizePerRole: 2048");
}

#[test]
fn a_role_goes_once_its_policies_are_gone() {
    let mut world = World::with_role();
    world
        .ask("AttachRolePolicy", json!({"PolicyArn": VPC_ACCESS}))
        .unwrap();
    world
        .ask("AttachRolePolicy", json!({"PolicyArn": VPC_ACCESS}))
        .unwrap();
    assert_eq!(world.role().attached_policies, [VPC_ACCESS]);
    let policy = json!({"PolicyName": "p", "PolicyDocument": allow("a:b")});
    world.ask("PutRolePolicy", policy).unwrap();
    let refusal = world.refusal("DeleteRole", json!({}));
    assert_eq!((refusal.0, refusal.1.as_str()), (409, "DeleteConflict"));
    assert_eq!(
        refusal.2,
        "Cannot delete entity, must detach all policies first."
    );
    world
        .ask("DetachRolePolicy", json!({"PolicyArn": VPC_ACCESS}))
        .unwrap();
    let refusal = world.refusal("DeleteRole", json!({}));
    assert_eq!(
        refusal.2,
        "Cannot delete entity, must delete policies first."
    );
    world
        .ask("DeleteRolePolicy", json!({"PolicyName": "p"}))
        .unwrap();
    world.ask("DeleteRole", json!({})).unwrap();
    assert!(world.state.is_empty());
}

#[test]
fn ten_managed_policies_may_be_attached() {
    let mut world = World::with_role();
    let arn = |number| json!({"PolicyArn": format!("arn:aws:iam::aws:policy/P{number}")});
    for number in 0..10 {
        world.ask("AttachRolePolicy", arn(number)).unwrap();
    }
    let refusal = world.refusal("AttachRolePolicy", arn(10));
    assert_eq!((refusal.0, refusal.1.as_str()), (409, "LimitExceeded"));
    assert!(world.ask("AttachRolePolicy", arn(9)).is_ok());
}

#[test]
fn tags_are_set_and_removed_whatever_their_case() {
    let mut world = World::with_role();
    let tags = json!({"Tags": [{"Key": "Team", "Value": "a"}, {"Key": "x", "Value": ""}]});
    world.ask("TagRole", tags).unwrap();
    world
        .ask("TagRole", json!({"Tags": [{"Key": "team", "Value": "b"}]}))
        .unwrap();
    let expected =
        [("team", "b"), ("x", "")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(world.role().tags, expected.into());
    world
        .ask("UntagRole", json!({"TagKeys": ["TEAM", "none"]}))
        .unwrap();
    assert_eq!(world.role().tags.len(), 1);
}

#[test]
fn another_account_has_roles_of_its_own() {
    let mut world = World::with_role();
    world.context.caller = Caller::root(Account::new("000000000002").unwrap());
    assert_eq!(world.refusal("DeleteRole", json!({})).1, "NoSuchEntity");
    world
        .ask("CreateRole", json!({"AssumeRolePolicyDocument": trust()}))
        .unwrap();
    assert_eq!(world.state.len(), 2);
}

#[test]
fn a_role_needs_permission() {
    let mut world = World::with_role();
    let policy = json!({"PolicyName": "p", "PolicyDocument": allow("iam:TagRole")});
    world.ask("PutRolePolicy", policy).unwrap();
    world.context.caller.role = Some(world.role().arn());
    world
        .ask("TagRole", json!({"Tags": [{"Key": "a", "Value": "b"}]}))
        .unwrap();
    for (action, members) in [
        ("UntagRole", json!({"TagKeys": ["a"]})),
        ("DeleteRole", json!({"RoleName": "none"})),
        (
            "CreateRole",
            json!({"RoleName": "new", "AssumeRolePolicyDocument": trust()}),
        ),
    ] {
        let refusal = world.refusal(action, members);
        assert_eq!(
            (refusal.0, refusal.1.as_str()),
            (403, "AccessDenied"),
            "{action}"
        );
    }
}

#[test]
fn an_action_is_written_as_it_is_read() {
    let text = json!({"Action": "DeleteRole", "RoleName": "r"});
    let action: Action = serde_json::from_value(text.clone()).unwrap();
    assert_eq!(serde_json::to_value(&action).unwrap(), text);
    let unknown = json!({"Action": "DeleteRole", "RoleName": "r", "Force": true});
    assert!(serde_json::from_value::<Action>(unknown).is_err());
}
