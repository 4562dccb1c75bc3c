//! What each response shows, member by member.

use serde_json::{Value, json};

use super::world::{BARE_ROLE, ROLE, World, vpc};
use crate::control::{Record, Resource, Time, lambda, shown};

const ARN: &str = "arn:aws:lambda:us-east-1:000000000001:function:f";

fn get(world: &World) -> Value {
    let record = Record::from(world.function("f").clone());
    shown(&world.state, &record)["Configuration"].clone()
}

/// The members of the table, those that are absent as `null`.
fn progress(shown: &Value) -> Value {
    let members = [
        "State",
        "StateReason",
        "StateReasonCode",
        "LastUpdateStatus",
        "LastUpdateStatusReason",
        "LastUpdateStatusReasonCode",
    ];
    members.iter().map(|member| shown[member].clone()).collect()
}

fn revision(shown: &Value) -> String {
    shown["RevisionId"].as_str().expect("a revision").to_owned()
}

fn shown_vpc(subnets: &[&str], groups: &[&str], vpc_id: &str) -> Value {
    let mut config = vpc(subnets, groups);
    config["VpcId"] = json!(vpc_id);
    config["Ipv6AllowedForDualStack"] = json!(false);
    config
}

/// §1.2, from top to bottom.
#[test]
fn each_moment_shows_what_aws_shows() {
    let creating = "The function is being created.";
    let mut world = World::new();

    let created = world.create("f", &["a"]);
    let pending = json!(["Pending", creating, "Creating", null, null, null]);
    assert_eq!(progress(&created), pending);
    assert!(created.get("LastUpdateStatus").is_none(), "no such member");
    assert_eq!(created["VpcConfig"], shown_vpc(&["a"], &["1"], "vpc-a"));

    world.program_all();
    let ready = get(&world);
    let successful = json!(["Active", null, null, "Successful", null, null]);
    assert_eq!(progress(&ready), successful);
    assert_ne!(revision(&ready), revision(&created));

    let updated = world.update("f", &["b"]).unwrap();
    let in_progress = json!(["Active", null, null, "InProgress", creating, "Creating"]);
    assert_eq!(progress(&updated), in_progress);
    assert_eq!(updated["VpcConfig"], shown_vpc(&["b"], &["1"], "vpc-a"));
    assert_ne!(revision(&updated), revision(&ready));

    world.program_all();
    let in_force = get(&world);
    assert_eq!(progress(&in_force), successful);
    assert_ne!(revision(&in_force), revision(&updated));

    let detached = world.update("f", &[]).unwrap();
    assert_eq!(progress(&detached), in_progress);
    assert_eq!(get(&world)["VpcConfig"], shown_vpc(&[], &[], ""));
    assert_eq!(progress(&get(&world)), successful);

    let members = json!({ "FunctionName": "g", "Role": BARE_ROLE });
    let never = world.lambda("CreateFunction", members).unwrap();
    assert!(never.get("VpcConfig").is_none());
}

#[test]
fn a_function_shows_all_it_was_given() {
    let mut world = World::new();
    world.context.now = Time(1_709_209_800_123);
    let members = json!({
        "FunctionName": "f",
        "Role": ROLE,
        "Code": { "CodeSha256": "hash", "CodeSize": 12 },
        "Description": "does",
        "Runtime": "python3.13",
        "Handler": "app.main",
        "MemorySize": 256,
        "Timeout": 30,
        "Architectures": ["arm64"],
        "Environment": { "Variables": { "K": "v" } },
        "Tags": { "team": "net" },
    });
    world.lambda("CreateFunction", members).unwrap();
    let function = world.function("f").clone();
    let configuration = json!({
        "FunctionName": "f",
        "FunctionArn": ARN,
        "Role": ROLE,
        "CodeSha256": "hash",
        "CodeSize": 12,
        "Description": "does",
        "Runtime": "python3.13",
        "Handler": "app.main",
        "MemorySize": 256,
        "Timeout": 30,
        "Architectures": ["arm64"],
        "Environment": { "Variables": { "K": "v" } },
        "PackageType": "Zip",
        "LastModified": "2024-02-29T12:30:00.123+0000",
        "Version": "$LATEST",
        "RevisionId": function.revision_id,
        "State": "Active",
        "LastUpdateStatus": "Successful",
    });
    let record = Record::from(function.clone());
    assert_eq!(
        shown(&world.state, &record),
        json!({
            "Configuration": configuration,
            "Code": { "RepositoryType": "S3", "Location": "" },
            "Tags": { "team": "net" },
        })
    );
    let mut listed = configuration;
    let members = listed.as_object_mut().unwrap();
    members.retain(|member, _| member != "State" && member != "LastUpdateStatus");
    assert_eq!(lambda::configuration(&function, true), listed);
}

#[test]
fn moments_are_written_as_lambda_writes_them() {
    let moments = [
        (0, "1970-01-01T00:00:00.000+0000"),
        (951_782_400_000, "2000-02-29T00:00:00.000+0000"),
        (1_078_012_799_999, "2004-02-28T23:59:59.999+0000"),
        (1_704_067_199_000, "2023-12-31T23:59:59.000+0000"),
        (4_107_542_400_000, "2100-03-01T00:00:00.000+0000"),
    ];
    for (moment, text) in moments {
        assert_eq!(lambda::last_modified(Time(moment)), text);
    }
    lambda::last_modified(Time(u64::MAX));
}

/// Requests are what AWS calls them, and nothing else.
#[test]
fn members_that_mean_nothing_are_refused() {
    let known = json!({
        "Service": "lambda",
        "Action": "PublishVersion",
        "FunctionName": "f",
        "CodeSha256": null,
    });
    let command = serde_json::from_value::<crate::control::Command>(known.clone());
    let command = command.expect("a command");
    let again = serde_json::to_value(&command).unwrap();
    assert_eq!(again["Action"], "PublishVersion");
    let mut unknown = known;
    unknown["Functionname"] = json!("f");
    assert!(serde_json::from_value::<crate::control::Command>(unknown).is_err());
}

#[test]
fn a_revision_that_is_not_the_newest_is_refused() {
    let mut world = World::new();
    world.active("f", &["a"]);
    let stale = "0";
    let refused = [
        (
            "UpdateFunctionConfiguration",
            json!({ "FunctionName": "f" }),
        ),
        ("UpdateFunctionCode", json!({ "FunctionName": "f" })),
        ("PublishVersion", json!({ "FunctionName": "f" })),
    ];
    for (action, mut members) in refused {
        members["RevisionId"] = json!(stale);
        let error = world.lambda(action, members.clone()).expect_err(action);
        let code = "PreconditionFailedException";
        assert_eq!((error.status, error.code.as_str()), (412, code));
        members["RevisionId"] = json!(world.function("f").revision_id);
        world.lambda(action, members).unwrap();
    }
}

#[test]
fn a_dry_run_of_new_code_changes_nothing() {
    let mut world = World::new();
    world.active("f", &["a"]);
    let before = world.state.clone();
    let members = json!({
        "FunctionName": "f",
        "CodeSha256": "new",
        "DryRun": true,
    });
    let shown = world.lambda("UpdateFunctionCode", members).unwrap();
    assert_eq!(shown["CodeSha256"], "new");
    assert!(world.state == before);
}

#[test]
fn an_invocation_answers_by_its_kind() {
    let mut world = World::new();
    world.active("f", &["a"]);
    world.pass(5);
    let invoke = |world: &mut World, kind: &str| {
        let members = json!({ "FunctionName": "f", "InvocationType": kind });
        world.lambda("Invoke", members).unwrap()["StatusCode"].clone()
    };
    let created = world.function("f").last_used;
    assert_eq!(invoke(&mut world, "DryRun"), 204);
    assert_eq!(world.function("f").last_used, created);
    assert_eq!(invoke(&mut world, "Event"), 202);
    assert_eq!(invoke(&mut world, "RequestResponse"), 200);
    assert_eq!(world.function("f").last_used, world.context.now);
    assert_eq!(world.function("f").account(), world.context.caller.account);
}

#[test]
fn tags_come_and_go() {
    let mut world = World::new();
    world.active("f", &["a"]);
    let before = world.function("f").revision_id.clone();
    let tags = json!({ "Resource": ARN, "Tags": { "a": "1", "b": "2" } });
    world.lambda("TagResource", tags).unwrap();
    assert_ne!(world.function("f").revision_id, before);
    let keys = json!({ "Resource": ARN, "TagKeys": ["a", "c"] });
    world.lambda("UntagResource", keys).unwrap();
    assert_eq!(world.function("f").tags.len(), 1);
    let many: serde_json::Map<String, Value> =
        (0..50).map(|n| (format!("k{n}"), json!(""))).collect();
    let members = json!({ "Resource": ARN, "Tags": many });
    assert!(world.lambda("TagResource", members).is_err(), "51 tags");
    for resource in ["f", &format!("{ARN}:1")] {
        let members = json!({ "Resource": resource, "Tags": {} });
        let error = world.lambda("TagResource", members).expect_err(resource);
        assert_eq!(error.code.as_str(), "InvalidParameterValueException");
    }
}
