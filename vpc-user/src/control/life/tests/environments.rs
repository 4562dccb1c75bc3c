//! Environments: bound, moved, let go.

use serde_json::{Value, json};

use super::world::{BARE_ROLE, World, assert_error};
use crate::control::{Account, Caller, resource::*};

fn subnet_of(world: &World, environment: &str) -> String {
    let environment = world.environment(environment).expect("an environment");
    world.group(&environment.eni_group).subnet_id.to_string()
}

#[test]
fn an_environment_is_bound_to_a_group_of_its_version() {
    let mut world = World::new();
    world.active("f", &["a"]);
    world.pass(10);
    let reply = world.attach("e1", "f").unwrap();
    let group = world.group_of("f").eni_group_id.clone();
    assert_eq!(
        reply,
        json!({
            "EnvironmentId": "e1",
            "EniGroupId": group,
            "FunctionArn": "arn:aws:lambda:us-east-1:000000000001:function:f:$LATEST",
            "Version": "$LATEST",
        })
    );
    let environment = world.environment("e1").unwrap();
    assert_eq!(environment.eni_group, group);
    assert_eq!(environment.attached_at, world.context.now);
}

/// A version is in use while it has an environment: what matters is when the last one ended.
#[test]
fn a_version_was_used_until_its_last_environment_ended() {
    let mut world = World::new();
    world.active("f", &["a"]);
    let active = world.context.now;
    for environment in ["e1", "e2"] {
        world.pass(10);
        world.attach(environment, "f").unwrap();
    }
    world.pass(10);
    let detach = |world: &mut World, id: &str| {
        let members = json!({ "EnvironmentId": id });
        world.life("DetachEnvironment", members).unwrap();
    };
    detach(&mut world, "e2");
    assert_eq!(world.function("f").last_used, active);
    world.pass(10);
    detach(&mut world, "e1");
    assert_eq!(world.function("f").last_used, world.context.now);
}

#[test]
fn environments_spread_over_the_subnets_or_stay_in_their_zone() {
    let mut world = World::new();
    world.active("f", &["a", "b"]);
    for number in 0..6 {
        world.attach(&format!("e{number}"), "f").unwrap();
    }
    let in_a = (0..6).filter(|number| subnet_of(&world, &format!("e{number}")) == "subnet-a");
    assert_eq!(in_a.count(), 3);
    for number in 6..12 {
        let zone = json!("us-east-1b");
        world.attach_in(&format!("e{number}"), "f", zone).unwrap();
        assert_eq!(subnet_of(&world, &format!("e{number}")), "subnet-b");
    }
    world
        .attach_in("elsewhere", "f", json!("us-east-1c"))
        .unwrap();
    assert_eq!(
        subnet_of(&world, "elsewhere"),
        "subnet-a",
        "the one with fewer"
    );
}

#[test]
fn an_update_takes_environments_along_and_each_to_its_zone() {
    let mut world = World::new();
    world.active("f", &["a", "b"]);
    world
        .lambda("PublishVersion", json!({ "FunctionName": "f" }))
        .unwrap();
    world.attach_in("e-a", "f", json!("us-east-1a")).unwrap();
    world.attach_in("e-b", "f", json!("us-east-1b")).unwrap();
    world.attach_in("e-1", "f:1", json!("us-east-1a")).unwrap();
    world.update("f", &["b", "small"]).unwrap();
    assert_eq!(
        subnet_of(&world, "e-a"),
        "subnet-a",
        "not before it is in force"
    );
    world.program_all();
    assert_eq!(
        subnet_of(&world, "e-a"),
        "subnet-small",
        "the one with fewer"
    );
    assert_eq!(subnet_of(&world, "e-b"), "subnet-b", "where it was");
    assert_eq!(subnet_of(&world, "e-1"), "subnet-a", "of another version");
    world.update("f", &[]).unwrap();
    assert_eq!(
        world.environment("e-a"),
        None,
        "no VPC, no environment in it"
    );
    assert!(world.environment("e-1").is_some());
}

#[test]
fn a_deleted_version_takes_its_environments_along() {
    let mut world = World::new();
    world.active("f", &["a"]);
    world.active("g", &["a"]);
    world.attach("e1", "f").unwrap();
    world.attach("e2", "g").unwrap();
    world
        .lambda("DeleteFunction", json!({ "FunctionName": "f" }))
        .unwrap();
    assert_eq!(world.environment("e1"), None);
    assert!(world.environment("e2").is_some());
}

/// An alias with two versions is followed to each for its share, and to the same one for
/// the same environment.
#[test]
fn an_alias_shares_environments_out() {
    let mut world = World::new();
    world.active("f", &["a"]);
    for hash in ["one", "two"] {
        let code = json!({ "FunctionName": "f", "CodeSha256": hash, "Publish": true });
        world.lambda("UpdateFunctionCode", code).unwrap();
    }
    let alias = json!({
        "FunctionName": "f",
        "Name": "live",
        "FunctionVersion": "1",
        "RoutingConfig": { "AdditionalVersionWeights": { "2": 0.25 } },
    });
    world.lambda("CreateAlias", alias).unwrap();
    let version_of = |world: &mut World, environment: &str| -> Value {
        let reply = world.attach(environment, "f:live").unwrap();
        reply["Version"].clone()
    };
    let mut second = 0;
    for number in 0..400 {
        let version = version_of(&mut world, &format!("e{number}"));
        second += u32::from(version == "2");
    }
    assert!((70..130).contains(&second), "{second} of 400");
    for number in 0..10 {
        let name = format!("e{number}");
        let bound = world.environment(&name).unwrap().function.clone();
        let members = json!({ "EnvironmentId": name });
        world.life("DetachEnvironment", members).unwrap();
        version_of(&mut world, &name);
        assert_eq!(world.environment(&name).unwrap().function, bound);
    }
}

#[test]
fn an_environment_that_cannot_be_attached_is_told_why() {
    let mut world = World::new();
    world.create("pending", &["b"]);
    let text = "The operation cannot be performed at this time. The function is currently in \
                the following state: Pending";
    let conflict = "ResourceConflictException";
    assert_error(world.attach("e1", "pending"), 409, conflict, text);

    let missing = "Function not found: arn:aws:lambda:us-east-1:000000000001:function:none:7";
    let not_found = "ResourceNotFoundException";
    assert_error(world.attach("e1", "none:7"), 404, not_found, missing);

    let outside = json!({ "FunctionName": "outside", "Role": BARE_ROLE });
    world.lambda("CreateFunction", outside).unwrap();
    let text = "The function is not attached to a VPC: \
                arn:aws:lambda:us-east-1:000000000001:function:outside:$LATEST";
    let invalid = "InvalidParameterValueException";
    assert_error(world.attach("e1", "outside"), 400, invalid, text);

    world.active("f", &["a"]);
    world.attach("e1", "f").unwrap();
    let text = "The environment e1 is attached already.";
    assert_error(world.attach("e1", "f"), 409, conflict, text);

    for interface in ["", "a/b", "a b", "0123456789abcdef", "."] {
        let members = json!({
            "EnvironmentId": "e2",
            "Function": "f",
            "Interface": interface,
            "Address": "192.168.0.2",
        });
        let text = format!("{interface:?} is no name of an interface.");
        assert_error(
            world.life("AttachEnvironment", members),
            400,
            invalid,
            &text,
        );
    }
}

#[test]
fn an_environment_of_an_inactive_function_restores_it() {
    let mut world = World::new();
    world.active("f", &["a"]);
    world.pass(15 * 24 * 3_600);
    world.life("Tick", json!({})).unwrap();
    let error = world.attach("e1", "f").expect_err("inactive");
    assert_eq!(
        (error.status, error.code.as_str()),
        (502, "ResourceNotReadyException")
    );
    world.program_all();
    world.attach("e1", "f").unwrap();
}

#[test]
fn another_account_sees_neither_function_nor_environment() {
    let mut world = World::new();
    world.active("f", &["a"]);
    world.attach("e1", "f").unwrap();
    let stranger = Account::new("999999999999").unwrap();
    world.context.caller = Caller::root(stranger);
    let missing = "ResourceNotFoundException";
    let text = "Function not found: arn:aws:lambda:us-east-1:999999999999:function:f";
    assert_error(world.attach("e2", "f"), 404, missing, text);
    let arn = "arn:aws:lambda:us-east-1:000000000001:function:f";
    let text = format!("Function not found: {arn}");
    assert_error(world.attach("e2", arn), 404, missing, &text);
    let detach = world.life("DetachEnvironment", json!({ "EnvironmentId": "e1" }));
    assert_error(detach, 404, missing, "Environment not found: e1");
    for action in ["Invoke", "DeleteFunction", "PublishVersion"] {
        let answer = world.lambda(action, json!({ "FunctionName": arn }));
        assert_error(answer, 404, missing, &format!("Function not found: {arn}"));
    }
    let function = world.state.all::<Function>().next().unwrap();
    assert_eq!(function.owner_id, Account::DEFAULT);
}
