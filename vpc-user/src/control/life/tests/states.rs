//! The states of a function: what leads from one to another, and what each allows.

use serde_json::json;

use super::world::{BARE_ROLE, POLICY, ROLE, World, assert_error, vpc};
use crate::control::{Record, Time, life, resource::*, shown};

const ARN: &str = "arn:aws:lambda:us-east-1:000000000001:function:f";

/// State, its reason code, and how the last update went, with its reason code.
fn progress(world: &World, name: &str) -> (FunctionState, String, Option<UpdateStatus>, String) {
    let function = world.function(name);
    (
        function.state,
        function.state_reason_code.clone().unwrap_or_default(),
        function.last_update_status,
        function
            .last_update_status_reason_code
            .clone()
            .unwrap_or_default(),
    )
}

fn fail_programming(world: &mut World, code: &str) {
    for eni in world.in_phase(EniPhase::Programming) {
        let members = json!({ "NetworkInterfaceId": eni, "Code": code, "Reason": "Because." });
        world.life("EniFailed", members).unwrap();
    }
}

fn idle(world: &mut World) {
    world.pass(15 * 24 * 3_600);
    world.life("Tick", json!({})).unwrap();
}

/// A way to bring a function `f` into a state.
type Way = fn(&mut World);

/// What it shows then, as [`progress`] has it.
type Shown = (
    FunctionState,
    &'static str,
    Option<UpdateStatus>,
    &'static str,
);

fn pending(world: &mut World) {
    world.create("f", &["a"]);
}

fn active(world: &mut World) {
    world.active("f", &["a"]);
}

fn updating(world: &mut World) {
    active(world);
    world.update("f", &["b"]).unwrap();
}

fn inactive(world: &mut World) {
    active(world);
    idle(world);
    world.forget_all();
}

fn restoring(world: &mut World) {
    inactive(world);
    let _ = world.lambda("Invoke", json!({ "FunctionName": "f" }));
}

fn failed(world: &mut World) {
    pending(world);
    fail_programming(world, "InvalidSubnet");
}

/// §1.3.
#[test]
fn each_transition_leads_where_it_should() {
    use FunctionState::{Active, Failed, Inactive, Pending};
    use UpdateStatus::{Failed as NotDone, InProgress, Successful};
    let steps: [(&str, Way, Way, Shown); 14] = [
        ("created", |_| (), pending, (Pending, "Creating", None, "")),
        (
            "every ENI ready",
            pending,
            World::program_all,
            (Active, "", Some(Successful), ""),
        ),
        (
            "provisioning failed",
            pending,
            |world| fail_programming(world, "SubnetOutOfIPAddresses"),
            (Failed, "SubnetOutOfIPAddresses", None, ""),
        ),
        (
            "updated while stuck",
            pending,
            |world| {
                world.pass(361);
                assert!(world.update("f", &["b"]).is_err());
            },
            (Failed, "InternalError", None, ""),
        ),
        (
            "updated again after that",
            |world| {
                pending(world);
                world.pass(361);
                assert!(world.update("f", &["b"]).is_err());
            },
            |world| {
                world.update("f", &["b"]).unwrap();
                world.program_all();
            },
            (Active, "", Some(Successful), ""),
        ),
        (
            "updated",
            active,
            |world| {
                world.update("f", &["b"]).unwrap();
            },
            (Active, "", Some(InProgress), "Creating"),
        ),
        (
            "update in force",
            updating,
            World::program_all,
            (Active, "", Some(Successful), ""),
        ),
        (
            "update failed",
            updating,
            |world| fail_programming(world, "EniLimitExceeded"),
            (Active, "", Some(NotDone), "EniLimitExceeded"),
        ),
        (
            "idle",
            active,
            idle,
            (Inactive, "Idle", Some(Successful), ""),
        ),
        (
            "invoked while inactive",
            inactive,
            |world| {
                assert!(
                    world
                        .lambda("Invoke", json!({ "FunctionName": "f" }))
                        .is_err()
                );
            },
            (Pending, "Restoring", Some(Successful), ""),
        ),
        (
            "restored",
            restoring,
            World::program_all,
            (Active, "", Some(Successful), ""),
        ),
        (
            "restoration failed",
            restoring,
            |world| fail_programming(world, "InternalError"),
            (Inactive, "InternalError", Some(Successful), ""),
        ),
        (
            "updated while inactive",
            inactive,
            |world| {
                world.update("f", &["b"]).unwrap();
            },
            (Inactive, "Idle", Some(Successful), ""),
        ),
        (
            "detached while inactive",
            inactive,
            |world| {
                world.update("f", &[]).unwrap();
            },
            (Active, "", Some(Successful), ""),
        ),
    ];
    for (name, from, step, expected) in steps {
        let mut world = World::new();
        from(&mut world);
        step(&mut world);
        let (state, code, status, status_code) = progress(&world, "f");
        let found = (state, code.as_str(), status, status_code.as_str());
        assert_eq!(found, expected, "{name}");
    }
}

/// §1.4.
#[test]
fn each_state_allows_what_it_should() {
    let in_state = |state: &str, code: &str| {
        format!(
            "The operation cannot be performed at this time. The resource {ARN} is currently in \
             the following state: '{state}'. StateReasonCode: '{code}'"
        )
    };
    let invoked = |state: &str| {
        format!(
            "The operation cannot be performed at this time. The function is currently in the \
             following state: {state}"
        )
    };
    let busy = Some(format!(
        "The operation cannot be performed at this time. An update is in progress for resource: \
         {ARN}"
    ));
    let creating = Some(in_state("Pending", "Creating"));
    let broken = Some(in_state("Failed", "InvalidSubnet"));
    let inactive_text = "The function is inactive and its VPC connection is no longer \
                         available. Wait for the VPC connection to reestablish and try again.";
    let restoring_text = Some(in_state("Pending", "Restoring"));
    // What an invocation, a change and a tag are answered.
    let states: [(&str, Way, [Option<String>; 3]); 6] = [
        (
            "pending",
            pending,
            [Some(invoked("Pending")), creating.clone(), creating],
        ),
        ("active", active, [None, None, None]),
        ("updating", updating, [None, busy.clone(), busy]),
        (
            "inactive",
            inactive,
            [Some(inactive_text.to_owned()), None, None],
        ),
        (
            "restoring",
            restoring,
            [
                Some(invoked("Pending")),
                restoring_text.clone(),
                restoring_text,
            ],
        ),
        ("failed", failed, [Some(invoked("Failed")), broken, None]),
    ];
    for (name, way, [invoke, change, tag]) in states {
        let function = json!({ "FunctionName": "f" });
        let configuration = json!({ "FunctionName": "f", "MemorySize": 256 });
        let code = json!({ "FunctionName": "f", "CodeSha256": "x" });
        let tags = json!({ "Resource": ARN, "Tags": { "k": "v" } });
        let all = [
            ("Invoke", function.clone(), invoke),
            ("UpdateFunctionConfiguration", configuration, change.clone()),
            ("UpdateFunctionCode", code, change.clone()),
            ("PublishVersion", function.clone(), change),
            ("TagResource", tags, tag),
            ("DeleteFunction", function, None),
        ];
        for (action, members, refusal) in all {
            let mut world = World::new();
            way(&mut world);
            let answer = world.lambda(action, members);
            let Some(text) = refusal else {
                assert!(answer.is_ok(), "{action} while {name}: {answer:?}");
                continue;
            };
            let (status, code) = match name {
                "inactive" => (502, "ResourceNotReadyException"),
                _ => (409, "ResourceConflictException"),
            };
            assert_error(answer, status, code, &text);
        }
    }
}

#[test]
fn a_function_is_shown_in_every_state() {
    let states: [(Way, &str); 6] = [
        (pending, "Pending"),
        (active, "Active"),
        (updating, "Active"),
        (inactive, "Inactive"),
        (restoring, "Pending"),
        (failed, "Failed"),
    ];
    for (way, state) in states {
        let mut world = World::new();
        way(&mut world);
        let record = Record::from(world.function("f").clone());
        assert_eq!(
            shown(&world.state, &record)["Configuration"]["State"],
            state
        );
    }
}

#[test]
fn an_update_keeps_the_old_configuration_in_force_until_the_new_one_is() {
    let mut world = World::new();
    updating(&mut world);
    let old = world.group_of("f").subnet_id.clone();
    assert_eq!(old.as_str(), "subnet-a");
    assert!(
        world
            .lambda("Invoke", json!({ "FunctionName": "f" }))
            .is_ok()
    );
    let shown = world.function("f").vpc_config.clone().unwrap();
    assert_eq!(shown.subnet_ids[0].as_str(), "subnet-b");
    world.program_all();
    assert_eq!(world.group_of("f").subnet_id.as_str(), "subnet-b");
    assert_eq!(world.in_phase(EniPhase::Draining).len(), 1);
}

#[test]
fn an_update_that_fails_leaves_all_as_it_was() {
    let mut world = World::new();
    active(&mut world);
    let before = world.function("f").clone();
    let members = json!({
        "FunctionName": "f",
        "MemorySize": 512,
        "VpcConfig": vpc(&["b"], &["2"]),
    });
    world
        .lambda("UpdateFunctionConfiguration", members)
        .unwrap();
    fail_programming(&mut world, "InternalError");
    let after = world.function("f");
    assert_eq!(after.vpc_config, before.vpc_config);
    assert_eq!(after.settings, before.settings);
    assert_eq!(after.eni_groups, before.eni_groups);
    assert!(
        world
            .lambda("Invoke", json!({ "FunctionName": "f" }))
            .is_ok()
    );
}

#[test]
fn a_second_update_waits_for_the_first_however_long_it_takes() {
    let mut world = World::new();
    updating(&mut world);
    world.pass(10_000);
    assert!(world.update("f", &["a"]).is_err());
    assert_eq!(world.function("f").state, FunctionState::Active);
}

#[test]
fn a_function_waits_for_all_of_its_subnets() {
    let mut world = World::new();
    world.create("f", &["a", "b"]);
    let enis = world.in_phase(EniPhase::Programming);
    assert_eq!(enis.len(), 2);
    world.eni("EniProgrammed", &enis[0]);
    assert_eq!(world.function("f").state, FunctionState::Pending);
    world.eni("EniProgrammed", &enis[1]);
    assert_eq!(world.function("f").state, FunctionState::Active);
}

/// What cannot be set up, found out while a function is created and while one is restored.
#[test]
fn what_cannot_be_set_up_says_why() {
    type Obstacle = fn(&mut World);
    let obstacles: [(Obstacle, &str, &str); 5] = [
        (
            |world| world.context.settings.hyperplane_enis_per_vpc = 0,
            "EniLimitExceeded",
            "ENILimitReachedException",
        ),
        (
            |world| {
                for octet in 4..15 {
                    world.put(plain_interface(octet));
                }
            },
            "SubnetOutOfIPAddresses",
            "SubnetIPAddressLimitReachedException",
        ),
        (
            |world| world.remove::<Subnet>("subnet-small"),
            "InvalidSubnet",
            "InvalidSubnetIDException",
        ),
        (
            |world| world.remove::<SecurityGroup>("sg-1"),
            "InvalidSecurityGroup",
            "InvalidSecurityGroupIDException",
        ),
        (
            |world| world.role(ROLE, None),
            "InsufficientRolePermissions",
            "EC2AccessDeniedException",
        ),
    ];
    for (obstacle, code, exception) in obstacles {
        let mut world = World::new();
        world.active("f", &["small"]);
        idle(&mut world);
        world.forget_all();
        obstacle(&mut world);
        let error = world.lambda("Invoke", json!({ "FunctionName": "f" }));
        let error = error.expect_err(code);
        assert_eq!((error.status, error.code.as_str()), (502, exception));
        let function = world.function("f");
        assert_eq!(function.state, FunctionState::Inactive);
        assert_eq!(function.state_reason_code.as_deref(), Some(code));
        assert_eq!(world.state.all::<EniGroup>().count(), 0, "{code}");
    }
    // A creation is asked about the last three at once.
    for (obstacle, code, _) in &obstacles[..2] {
        let mut world = World::new();
        obstacle(&mut world);
        let reply = world.create("f", &["b", "small"]);
        assert_eq!(reply["State"], "Pending");
        let function = world.function("f");
        assert_eq!(function.state, FunctionState::Failed);
        assert_eq!(function.state_reason_code.as_deref(), Some(*code));
        assert_eq!(
            world.state.all::<EniGroup>().count(),
            0,
            "all or none: {code}"
        );
    }
}

fn plain_interface(octet: u8) -> Interface {
    use super::world::id;
    Interface {
        network_interface_id: id(&format!("eni-{octet:017x}")),
        owner_id: crate::control::Account::DEFAULT,
        vpc_id: id("vpc-a"),
        subnet_id: id("subnet-small"),
        private_ip_address: std::net::Ipv4Addr::new(10, 0, 3, octet),
        secondary_addresses: Vec::new(),
        mac_address: String::new(),
        groups: Vec::new(),
        description: String::new(),
        interface_type: "interface".to_owned(),
        requester_managed: false,
        requester_id: None,
        source_dest_check: true,
        status: InterfaceStatus::Available,
        attachment: None,
        connection_tracking_configuration: None,
        hyperplane: None,
        client_token: None,
        tags: Default::default(),
    }
}

#[test]
fn a_role_that_loses_its_permissions_keeps_what_runs_running() {
    let mut world = World::new();
    active(&mut world);
    world.role(ROLE, None);
    assert!(
        world
            .lambda("Invoke", json!({ "FunctionName": "f" }))
            .is_ok()
    );
    let members = json!({ "FunctionName": "f", "MemorySize": 512 });
    world
        .lambda("UpdateFunctionConfiguration", members)
        .unwrap();
    assert_eq!(
        world.function("f").last_update_status,
        Some(UpdateStatus::Successful)
    );
}

#[test]
fn only_a_function_that_nobody_uses_becomes_idle() {
    let mut world = World::new();
    world.active("used", &["a"]);
    world.active("attached", &["a"]);
    world.active("idle", &["a"]);
    let members = json!({ "FunctionName": "outside", "Role": BARE_ROLE });
    world.lambda("CreateFunction", members).unwrap();
    world.attach("e1", "attached").unwrap();
    let settings = world.context.settings.clone();
    let due = life::next_tick(&world.state, &settings).unwrap();
    assert_eq!(due, world.context.now.after(settings.idle_after));

    world.pass(13 * 24 * 3_600);
    world
        .lambda("Invoke", json!({ "FunctionName": "used" }))
        .unwrap();
    world.context.now = Time(due.0 - 1);
    world.life("Tick", json!({})).unwrap();
    assert_eq!(
        world.function("idle").state,
        FunctionState::Active,
        "not before"
    );
    world.context.now = due;
    world.life("Tick", json!({})).unwrap();
    let state = |name: &str| world.function(name).state;
    assert_eq!(state("idle"), FunctionState::Inactive);
    assert_eq!(state("used"), FunctionState::Active);
    assert_eq!(state("attached"), FunctionState::Active);
    assert_eq!(state("outside"), FunctionState::Active);
    assert_eq!(
        world.in_phase(EniPhase::Active).len(),
        1,
        "shared with the others"
    );

    world
        .life("DetachEnvironment", json!({ "EnvironmentId": "e1" }))
        .unwrap();
    world.life("Tick", json!({})).unwrap();
    assert_eq!(
        world.function("attached").state,
        FunctionState::Active,
        "used until now"
    );
}

#[test]
fn nobody_becomes_idle_for_what_others_took_long_to_do() {
    let mut world = World::new();
    updating(&mut world);
    idle(&mut world);
    assert_eq!(
        world.function("f").state,
        FunctionState::Active,
        "in an update"
    );
    let settings = world.context.settings.clone();
    assert_eq!(life::next_tick(&world.state, &settings), None);

    let mut world = World::new();
    pending(&mut world);
    idle(&mut world);
    world.program_all();
    world.life("Tick", json!({})).unwrap();
    assert_eq!(
        world.function("f").state,
        FunctionState::Active,
        "just made"
    );
}

#[test]
fn a_restored_function_shares_what_there_is_at_once() {
    let mut world = World::new();
    inactive(&mut world);
    world.active("other", &["a"]);
    let answer = world.lambda("Invoke", json!({ "FunctionName": "f" }));
    assert_eq!(answer.expect_err("the first fails").status, 502);
    assert!(
        world
            .lambda("Invoke", json!({ "FunctionName": "f" }))
            .is_ok()
    );
}

#[test]
fn a_stuck_restoration_is_given_up_for_an_update() {
    let mut world = World::new();
    restoring(&mut world);
    world.pass(361);
    assert!(world.update("f", &["b"]).is_err());
    assert_eq!(world.function("f").state, FunctionState::Inactive);
    world.update("f", &["b"]).unwrap();
}

#[test]
fn a_function_that_failed_can_be_made_anew_under_its_name() {
    let mut world = World::new();
    failed(&mut world);
    world
        .lambda("DeleteFunction", json!({ "FunctionName": "f" }))
        .unwrap();
    world.role(ROLE, Some(POLICY));
    world.active("f", &["a"]);
    assert_eq!(world.function("f").state, FunctionState::Active);
}
