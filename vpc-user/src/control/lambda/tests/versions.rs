//! Versions (§1.7): frozen, users of ENIs on their own account, and deleted.

use serde_json::json;

use super::world::{World, assert_error};
use crate::control::{Resource, resource::*};

const ARN: &str = "arn:aws:lambda:us-east-1:000000000001:function:f";

fn publish(world: &mut World) -> serde_json::Value {
    world
        .lambda("PublishVersion", json!({ "FunctionName": "f" }))
        .unwrap()
}

fn change_code(world: &mut World, hash: &str) {
    let members = json!({ "FunctionName": "f", "CodeSha256": hash });
    world.lambda("UpdateFunctionCode", members).unwrap();
}

#[test]
fn a_version_is_frozen() {
    let mut world = World::new();
    world.active("f", &["a"]);
    let shown = publish(&mut world);
    assert_eq!(shown["Version"], "1");
    assert_eq!(shown["FunctionArn"], format!("{ARN}:1"));
    assert_eq!(shown["State"], "Pending");
    assert!(shown.get("LastUpdateStatus").is_none());
    assert_eq!(world.function("f:1").state, FunctionState::Active);

    world.update("f", &["b"]).unwrap();
    world.program_all();
    let version = world.function("f:1");
    let config = version.vpc_config.as_ref().unwrap();
    assert_eq!(config.subnet_ids[0].as_str(), "subnet-a");
    assert_eq!(world.group_of("f:1").subnet_id.as_str(), "subnet-a");
    let members = json!({ "FunctionName": "f:1", "MemorySize": 512 });
    assert!(
        world
            .lambda("UpdateFunctionConfiguration", members)
            .is_err()
    );
}

#[test]
fn nothing_new_is_no_new_version() {
    let mut world = World::new();
    world.active("f", &["a"]);
    let first = publish(&mut world);
    let again = world.lambda(
        "PublishVersion",
        json!({ "FunctionName": "f", "Description": "another" }),
    );
    assert_eq!(again.unwrap()["Version"], first["Version"]);
    change_code(&mut world, "new");
    assert_eq!(publish(&mut world)["Version"], "2");
}

#[test]
fn the_number_of_a_deleted_version_is_not_used_again() {
    let mut world = World::new();
    world.active("f", &["a"]);
    publish(&mut world);
    world
        .lambda("DeleteFunction", json!({ "FunctionName": "f:1" }))
        .unwrap();
    assert_eq!(publish(&mut world)["Version"], "2");
}

#[test]
fn other_code_than_expected_is_not_published() {
    let mut world = World::new();
    world.active("f", &["a"]);
    change_code(&mut world, "is");
    let members = json!({ "FunctionName": "f", "CodeSha256": "was" });
    let text = "CodeSHA256 (was) is different from current CodeSHA256 in $LATEST (is). Please \
                try again with the CodeSHA256 in $LATEST.";
    let published = world.lambda("PublishVersion", members);
    assert_error(published, 400, "InvalidParameterValueException", text);
}

#[test]
fn a_function_can_be_published_as_it_is_made_or_changed() {
    let mut world = World::new();
    let members = json!({
        "FunctionName": "f",
        "Role": super::world::ROLE,
        "VpcConfig": super::world::vpc(&["a"], &["1"]),
        "Publish": true,
    });
    let shown = world.lambda("CreateFunction", members).unwrap();
    assert_eq!(shown["Version"], "1");
    assert_eq!(world.function("f").state, FunctionState::Pending);
    assert_eq!(world.function("f:1").state, FunctionState::Pending);
    world.program_all();
    assert_eq!(world.function("f").state, FunctionState::Active);
    assert_eq!(world.function("f:1").state, FunctionState::Active);
    assert_eq!(world.state.all::<Interface>().count(), 1);
    let members = json!({ "FunctionName": "f", "CodeSha256": "x", "Publish": true });
    let shown = world.lambda("UpdateFunctionCode", members).unwrap();
    assert_eq!(shown["Version"], "2");
    assert_eq!(shown["CodeSha256"], "x");
}

#[test]
fn an_inactive_function_can_be_published() {
    let mut world = World::new();
    world.active("f", &["a"]);
    world.pass(15 * 24 * 3_600);
    world.life("Tick", json!({})).unwrap();
    publish(&mut world);
    assert_eq!(world.function("f:1").state, FunctionState::Pending);
    world.program_all();
    assert_eq!(world.function("f:1").state, FunctionState::Active);
    assert_eq!(
        world.function("f").state,
        FunctionState::Inactive,
        "state is per version"
    );
}

#[test]
fn deletions_that_cannot_be_are_refused() {
    let mut world = World::new();
    world.active("f", &["a"]);
    publish(&mut world);
    for name in ["live", "beta"] {
        let alias = json!({ "FunctionName": "f", "Name": name, "FunctionVersion": "1" });
        world.lambda("CreateAlias", alias).unwrap();
    }
    let invalid = "InvalidParameterValueException";
    let table = [
        (
            "$LATEST",
            400,
            invalid,
            "$LATEST version cannot be deleted without deleting the function.".to_owned(),
        ),
        (
            "live",
            400,
            invalid,
            "Deletion of aliases is not currently supported.".to_owned(),
        ),
        (
            "1",
            409,
            "ResourceConflictException",
            "Unable to delete version because the following aliases reference it: [beta, live]"
                .to_owned(),
        ),
        (
            "7",
            404,
            "ResourceNotFoundException",
            format!("Function not found: {ARN}:7"),
        ),
    ];
    for (qualifier, status, code, text) in table {
        let members = json!({ "FunctionName": "f", "Qualifier": qualifier });
        let deleted = world.lambda("DeleteFunction", members);
        assert_error(deleted, status, code, &text);
    }
}

#[test]
fn a_deleted_function_leaves_nothing_behind() {
    let mut world = World::new();
    world.active("f", &["a"]);
    world.active("g", &["a"]);
    publish(&mut world);
    change_code(&mut world, "2");
    publish(&mut world);
    let alias = json!({
        "FunctionName": "f",
        "Name": "live",
        "FunctionVersion": "1",
        "RoutingConfig": { "AdditionalVersionWeights": { "2": 0.5 } },
    });
    world.lambda("CreateAlias", alias).unwrap();
    world.attach("e1", "f:2").unwrap();
    world.update("f", &["b"]).unwrap();
    world
        .lambda("DeleteFunction", json!({ "FunctionName": "f" }))
        .unwrap();
    let left: Vec<String> = world.state.all::<Function>().map(Resource::id).collect();
    assert_eq!(left, ["000000000001:g:$LATEST"]);
    assert_eq!(world.state.all::<Alias>().count(), 0);
    assert_eq!(world.state.all::<Environment>().count(), 0);
    assert_eq!(world.state.all::<EniGroup>().count(), 1);
}
