//! Aliases (§1.7): pointers to one or two versions.

use serde_json::{Value, json};

use super::world::{World, assert_error};
use crate::control::{ApiError, lambda::alias_configuration, resource::*};

const ARN: &str = "arn:aws:lambda:us-east-1:000000000001:function:f";

/// `f` with the versions 1 and 2.
fn world() -> World {
    let mut world = World::new();
    world.active("f", &["a"]);
    for hash in ["1", "2"] {
        let code = json!({ "FunctionName": "f", "CodeSha256": hash, "Publish": true });
        world.lambda("UpdateFunctionCode", code).unwrap();
    }
    world
}

fn create(world: &mut World, name: &str, version: &str, weights: Value) -> Result<Value, ApiError> {
    let members = json!({
        "FunctionName": "f",
        "Name": name,
        "FunctionVersion": version,
        "RoutingConfig": { "AdditionalVersionWeights": weights },
    });
    world.lambda("CreateAlias", members)
}

#[test]
fn an_alias_shows_where_it_leads() {
    let mut world = world();
    let shown = create(&mut world, "live", "1", json!({ "2": 0.1 })).unwrap();
    let id = Function::id_of(world.context.caller.account, "f", "live");
    let alias: Alias = world.state.get::<Alias>(&id).unwrap().clone();
    assert_eq!(
        shown,
        json!({
            "AliasArn": format!("{ARN}:live"),
            "Name": "live",
            "FunctionVersion": "1",
            "Description": "",
            "RevisionId": alias.revision_id,
            "RoutingConfig": { "AdditionalVersionWeights": { "2": 0.1 } },
        })
    );
    let members = json!({
        "FunctionName": "f",
        "Name": "live",
        "FunctionVersion": "2",
        "RoutingConfig": { "AdditionalVersionWeights": {} },
    });
    let shown = world.lambda("UpdateAlias", members).unwrap();
    assert_eq!(shown["FunctionVersion"], "2");
    assert!(shown.get("RoutingConfig").is_none());
    let after = world.state.get::<Alias>(&id).unwrap();
    assert_eq!(alias_configuration(after), shown);
    assert_ne!(after.revision_id, alias.revision_id);

    let invoked = world.lambda("Invoke", json!({ "FunctionName": "f:live" }));
    assert_eq!(invoked.unwrap()["ExecutedVersion"], "2");
}

#[test]
fn an_alias_that_leads_nowhere_is_refused() {
    let invalid = "InvalidParameterValueException";
    let missing = "ResourceNotFoundException";
    let weight = |value: &str| {
        format!(
            "1 validation error detected: Value '{value}' at \
             'routingConfig.additionalVersionWeights' failed to satisfy constraint: Map value \
             must satisfy constraint: [Member must have value less than or equal to 1.0, Member \
             must have value greater than or equal to 0.0, Member must not be null]"
        )
    };
    let latest = "$LATEST is not supported for an alias pointing to more than 1 version";
    let table = [
        (
            "1",
            json!({ "2": 0.1, "3": 0.1 }),
            400,
            invalid,
            "Number of items in AdditionalVersionWeights cannot be greater than 1".to_owned(),
        ),
        (
            "1",
            json!({ "2": 1.5 }),
            400,
            "ValidationException",
            weight("{2=1.5}"),
        ),
        (
            "1",
            json!({ "2": -0.5 }),
            400,
            "ValidationException",
            weight("{2=-0.5}"),
        ),
        (
            "1",
            json!({ "1": 0.5 }),
            400,
            invalid,
            "Invalid function version 1. Function version 1 is already included in routing \
             configuration."
                .to_owned(),
        ),
        (
            "$LATEST",
            json!({ "1": 0.5 }),
            400,
            invalid,
            latest.to_owned(),
        ),
        (
            "1",
            json!({ "$LATEST": 0.5 }),
            400,
            invalid,
            latest.to_owned(),
        ),
        (
            "1",
            json!({ "7": 0.5 }),
            404,
            missing,
            format!("Function not found: {ARN}:7"),
        ),
        (
            "7",
            json!({}),
            404,
            missing,
            format!("Function not found: {ARN}:7"),
        ),
    ];
    let mut world = world();
    create(&mut world, "there", "1", json!({})).unwrap();
    for (version, weights, status, code, text) in table {
        let created = create(&mut world, "live", version, weights.clone());
        assert_error(created, status, code, &text);
        let members = json!({
            "FunctionName": "f",
            "Name": "there",
            "FunctionVersion": version,
            "RoutingConfig": { "AdditionalVersionWeights": weights },
        });
        let updated = world.lambda("UpdateAlias", members);
        assert_error(updated, status, code, &text);
    }
}

#[test]
fn names_of_aliases_are_words_and_no_numbers() {
    let mut world = world();
    for name in ["1", "a b", "", "$LATEST"] {
        let error = create(&mut world, name, "1", json!({})).expect_err(name);
        assert_eq!(error.code.as_str(), "ValidationException", "{name}");
    }
    create(&mut world, "live", "1", json!({})).unwrap();
    let again = create(&mut world, "live", "2", json!({}));
    let text = format!("Alias already exists: {ARN}:live");
    assert_error(again, 409, "ResourceConflictException", &text);
}

#[test]
fn an_alias_is_changed_by_who_saw_it_last_and_deleted_by_anybody() {
    let mut world = world();
    create(&mut world, "live", "1", json!({})).unwrap();
    let members = json!({ "FunctionName": "f", "Name": "live", "RevisionId": "stale" });
    let error = world.lambda("UpdateAlias", members).expect_err("stale");
    assert_eq!(
        (error.status, error.code.as_str()),
        (412, "PreconditionFailedException")
    );
    let members = json!({ "FunctionName": "f", "Name": "none" });
    let text = format!("Alias not found: {ARN}:none");
    let updated = world.lambda("UpdateAlias", members);
    assert_error(updated, 404, "ResourceNotFoundException", &text);
    for name in ["live", "live"] {
        let members = json!({ "FunctionName": "f", "Name": name });
        world.lambda("DeleteAlias", members).unwrap();
    }
    assert_eq!(world.state.all::<Alias>().count(), 0);
}
