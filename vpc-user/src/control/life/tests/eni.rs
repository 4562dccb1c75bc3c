//! Hyperplane ENIs: shared, added under load, drained, deleted.

use serde_json::json;

use super::world::{BARE_ROLE, OTHER_ROLE, POLICY, ROLE, World, assert_error, vpc};
use crate::control::{Id, Time, life, resource::*};

/// §2.3.
#[test]
fn an_eni_shows_what_lambda_s_show() {
    let mut world = World::new();
    world.create("my-function", &["a"]);
    let eni = world.in_phase(EniPhase::Programming).remove(0);
    let interface = world.interface(&eni).clone();
    assert!(crate::control::IdKind::INTERFACE.is_well_formed(&eni));
    assert_eq!(interface.status, InterfaceStatus::Pending);
    let uuid = interface
        .description
        .strip_prefix("AWS Lambda VPC ENI-my-function-")
        .expect("a description that tools look for");
    let lengths: Vec<usize> = uuid.split('-').map(str::len).collect();
    assert_eq!(lengths, [8, 4, 4, 4, 12]);
    assert_eq!(interface.interface_type, "lambda");
    assert!(!interface.requester_managed);
    assert_eq!(
        interface.requester_id.as_deref(),
        Some("AROAVPC:000000000001")
    );
    assert!(interface.source_dest_check);
    assert!(interface.mac_address.starts_with("0a:"));
    assert_eq!(interface.mac_address.len(), 17);
    assert_eq!(interface.groups, [super::world::id("sg-1")]);
    assert_eq!(interface.private_ip_address.to_string(), "10.0.1.4");
    assert_eq!(interface.vpc_id.as_str(), "vpc-a");

    world.program_all();
    let interface = world.interface(&eni);
    assert_eq!(interface.status, InterfaceStatus::InUse);
    let attachment = interface.attachment.as_ref().unwrap();
    assert!(attachment.attachment_id.as_str().starts_with("ela-attach-"));
    assert_eq!(attachment.instance_owner_id, "amazon-aws");
    assert_eq!(attachment.device_index, 1);
    assert!(!attachment.delete_on_termination);
    assert_eq!(attachment.status, "attached");
}

/// §2.1: the key is account, subnet and the set of security groups.
#[test]
fn functions_with_the_same_key_share_an_eni() {
    let mut world = World::new();
    let create = |world: &mut World, name: &str, subnets: &[&str], groups: &[&str]| {
        let members = json!({
            "FunctionName": name,
            "Role": ROLE,
            "VpcConfig": vpc(subnets, groups),
        });
        world.lambda("CreateFunction", members).unwrap();
        world.program_all();
    };
    let table: [(&str, &[&str], &[&str], usize); 5] = [
        ("first", &["a"], &["1", "2"], 1),
        ("other order", &["a"], &["2", "1"], 1),
        ("other groups", &["a"], &["1"], 2),
        ("other subnet", &["a", "b"], &["1", "2"], 3),
        ("both again", &["b", "a"], &["2", "1"], 3),
    ];
    for (name, subnets, groups, enis) in table {
        create(&mut world, &name.replace(' ', "-"), subnets, groups);
        assert_eq!(world.in_phase(EniPhase::Active).len(), enis, "{name}");
    }
}

#[test]
fn a_function_that_finds_its_eni_ready_is_active_at_once() {
    let mut world = World::new();
    world.active("f", &["a"]);
    let reply = world.create("g", &["a"]);
    assert_eq!(reply["State"], "Pending", "as it is shown at that moment");
    assert_eq!(world.function("g").state, FunctionState::Active);
    assert_ne!(
        reply["RevisionId"],
        world.function("g").revision_id.as_str()
    );
}

#[test]
fn an_eni_stays_while_any_version_uses_it() {
    let mut world = World::new();
    world.active("f", &["a"]);
    world
        .lambda("PublishVersion", json!({ "FunctionName": "f" }))
        .unwrap();
    world.update("f", &["b"]).unwrap();
    world.program_all();
    assert_eq!(
        world.in_phase(EniPhase::Active).len(),
        2,
        "version 1 goes by a"
    );
    let version = json!({ "FunctionName": "f", "Qualifier": "1" });
    world.lambda("DeleteFunction", version).unwrap();
    assert_eq!(world.in_phase(EniPhase::Draining).len(), 1);
    world.forget_all();
    assert_eq!(world.state.all::<Interface>().count(), 1);
}

#[test]
fn a_draining_eni_does_not_come_back() {
    let mut world = World::new();
    world.active("f", &["a"]);
    let old = world.in_phase(EniPhase::Active);
    world.update("f", &[]).unwrap();
    world.update("f", &["a"]).unwrap();
    world.program_all();
    assert_eq!(world.in_phase(EniPhase::Draining), old);
    let new = world.in_phase(EniPhase::Active);
    assert_ne!(new, old);
    assert_eq!(
        world.interface(&new[0]).private_ip_address.to_string(),
        "10.0.1.5"
    );
    world.forget_all();
    world.create("g", &["a", "b"]);
    assert_eq!(world.state.all::<Interface>().count(), 2);
}

fn high_water(world: &mut World, eni: &str) {
    world.eni("EniHighWater", eni);
}

fn enis_of(world: &World, function: &str) -> Vec<String> {
    let group = world.group_of(function);
    group
        .network_interface_ids
        .iter()
        .map(Id::to_string)
        .collect()
}

#[test]
fn a_full_eni_gets_another_one_beside_it_once() {
    let mut world = World::new();
    world.active("f", &["a"]);
    let first = enis_of(&world, "f").remove(0);
    high_water(&mut world, &first);
    high_water(&mut world, &first);
    assert_eq!(enis_of(&world, "f").len(), 2, "one is being programmed");
    assert_eq!(world.function("f").state, FunctionState::Active);
    world.program_all();
    high_water(&mut world, &first);
    assert_eq!(enis_of(&world, "f").len(), 2, "the other one has room");
    let second = enis_of(&world, "f").remove(1);
    high_water(&mut world, &second);
    assert_eq!(enis_of(&world, "f").len(), 3);
    world.program_all();
    world.eni("EniLowWater", &first);
    high_water(&mut world, &second);
    let third = enis_of(&world, "f").remove(2);
    high_water(&mut world, &third);
    assert_eq!(
        enis_of(&world, "f").len(),
        3,
        "the first one has room again"
    );
}

/// What keeps a further ENI away is told, and forgotten once it is gone.
#[test]
fn a_further_eni_that_cannot_be_had_leaves_its_reason() {
    type Obstacle = fn(&mut World);
    let obstacles: [(Obstacle, Obstacle, Option<&str>); 4] = [
        (
            |world| world.context.settings.hyperplane_enis_per_vpc = 1,
            |world| world.context.settings.hyperplane_enis_per_vpc = 500,
            Some("EniLimitExceeded"),
        ),
        (
            |world| world.context.settings.interfaces_per_zone = 1,
            |world| world.context.settings.interfaces_per_zone = 500,
            Some("EniLimitExceeded"),
        ),
        (
            |world| world.role(ROLE, None),
            |world| world.role(ROLE, Some(POLICY)),
            Some("InsufficientRolePermissions"),
        ),
        (
            |world| world.context.settings.enis_per_group = 1,
            |world| world.context.settings.enis_per_group = 16,
            None,
        ),
    ];
    for (obstacle, way, code) in obstacles {
        let mut world = World::new();
        world.active("f", &["a"]);
        let first = enis_of(&world, "f").remove(0);
        obstacle(&mut world);
        high_water(&mut world, &first);
        assert_eq!(world.group_of("f").failure.as_deref(), code);
        assert_eq!(enis_of(&world, "f").len(), 1);
        way(&mut world);
        high_water(&mut world, &first);
        assert_eq!(world.group_of("f").failure, None);
        assert_eq!(enis_of(&world, "f").len(), 2);
    }
}

#[test]
fn a_further_eni_is_made_for_whoever_may() {
    let mut world = World::new();
    world.active("f", &["a"]);
    let members = json!({
        "FunctionName": "g",
        "Role": OTHER_ROLE,
        "VpcConfig": vpc(&["a"], &["1"]),
    });
    world.lambda("CreateFunction", members).unwrap();
    world.role(ROLE, None);
    let first = enis_of(&world, "f").remove(0);
    high_water(&mut world, &first);
    let second = enis_of(&world, "f").remove(1);
    let interface = world.interface(&second);
    assert_eq!(interface.hyperplane.as_ref().unwrap().role, OTHER_ROLE);
    assert!(interface.description.contains("ENI-g-"));
}

#[test]
fn a_further_eni_that_fails_fails_nobody() {
    let mut world = World::new();
    world.active("f", &["a"]);
    let first = enis_of(&world, "f").remove(0);
    high_water(&mut world, &first);
    let second = enis_of(&world, "f").remove(1);
    let members = json!({
        "NetworkInterfaceId": second,
        "Code": "InternalError",
        "Reason": "No.",
    });
    world.life("EniFailed", members).unwrap();
    assert_eq!(enis_of(&world, "f"), [first]);
    assert_eq!(
        world.group_of("f").failure.as_deref(),
        Some("InternalError")
    );
    assert_eq!(world.in_phase(EniPhase::Draining), [second]);
    assert_eq!(world.function("f").state, FunctionState::Active);
}

#[test]
fn an_idle_eni_goes_unless_it_is_the_first_or_the_others_are_full() {
    let mut world = World::new();
    world.active("f", &["a"]);
    let first = enis_of(&world, "f").remove(0);
    high_water(&mut world, &first);
    world.program_all();
    let second = enis_of(&world, "f").remove(1);
    world.eni("EniIdle", &second);
    assert_eq!(enis_of(&world, "f").len(), 2, "the first one is full");
    world.eni("EniLowWater", &first);
    world.eni("EniIdle", &first);
    assert_eq!(enis_of(&world, "f").len(), 2, "it is the first one");
    world.eni("EniIdle", &second);
    assert_eq!(enis_of(&world, "f"), [first]);
    assert_eq!(world.in_phase(EniPhase::Draining), [second]);
}

/// §2.2: deleted by the role, or left to the customer.
#[test]
fn a_forgotten_eni_is_deleted_by_its_role_or_left_to_its_owner() {
    type Change = fn(&mut World);
    let table: [(&str, Change, Change); 2] = [
        (
            "role gone",
            |world| world.remove::<Role>(ROLE),
            |world| {
                world.role(ROLE, Some(POLICY));
            },
        ),
        (
            "permission gone",
            |world| world.role(ROLE, None),
            |world| {
                world.role(ROLE, Some(POLICY));
            },
        ),
    ];
    for (name, away, back) in table {
        let mut world = World::new();
        world.active("f", &["a"]);
        let eni = enis_of(&world, "f").remove(0);
        let in_use = format!("Network interface '{eni}' is currently in use.");
        let may_delete = |world: &World| {
            let deleted = life::may_delete_interface(&world.state, world.interface(&eni));
            deleted.map(|()| json!({}))
        };
        let code = "InvalidNetworkInterface.InUse";
        assert_error(may_delete(&world), 400, code, &in_use);
        world
            .lambda("DeleteFunction", json!({ "FunctionName": "f" }))
            .unwrap();
        assert_error(may_delete(&world), 400, code, &in_use);
        away(&mut world);
        world.eni("EniForgotten", &eni);
        let interface = world.interface(&eni);
        assert_eq!(interface.status, InterfaceStatus::Available, "{name}");
        assert_eq!(interface.attachment, None);
        assert!(
            life::used_by(&world.state, &eni)
                .unwrap()
                .waits_for
                .is_some()
        );
        assert!(may_delete(&world).is_ok());
        let settings = world.context.settings.clone();
        assert_eq!(life::next_tick(&world.state, &settings), None);
        back(&mut world);
        assert_eq!(life::next_tick(&world.state, &settings), Some(Time(0)));
        world.life("Tick", json!({})).unwrap();
        assert!(world.state.get::<Interface>(&eni).is_none());
    }
}

#[test]
fn a_deleted_eni_takes_its_flow_logs_and_gives_its_elastic_address_back() {
    let mut world = World::new();
    world.active("f", &["a"]);
    let eni = super::world::id(&enis_of(&world, "f").remove(0));
    let address = json!({
        "AllocationId": "eipalloc-1",
        "OwnerId": crate::control::Account::DEFAULT,
        "PublicIp": "203.0.113.1",
        "AssociationId": "eipassoc-1",
        "NetworkInterfaceId": eni,
        "Tags": {},
    });
    let address: Address = serde_json::from_value(address).expect("an address");
    world.put(address);
    world
        .lambda("DeleteFunction", json!({ "FunctionName": "f" }))
        .unwrap();
    world.forget_all();
    let address = world.state.get::<Address>("eipalloc-1").unwrap();
    assert_eq!(address.network_interface_id, None);
    assert_eq!(address.association_id, None);
}

/// What the host says late, twice or of others changes nothing.
#[test]
fn events_that_come_late_change_nothing() {
    let mut world = World::new();
    world.active("f", &["a"]);
    let eni = enis_of(&world, "f").remove(0);
    for event in ["EniProgrammed", "EniForgotten", "EniIdle"] {
        let before = world.state.clone();
        world.eni(event, &eni);
        assert!(world.state == before, "{event}");
    }
    world
        .lambda("DeleteFunction", json!({ "FunctionName": "f" }))
        .unwrap();
    for event in ["EniProgrammed", "EniHighWater", "EniIdle"] {
        let before = world.state.clone();
        world.eni(event, &eni);
        assert!(world.state == before, "{event}");
    }
    world.forget_all();
    let answer = world.life("EniProgrammed", json!({ "NetworkInterfaceId": eni }));
    let message = format!("The networkInterface ID '{eni}' does not exist");
    assert_error(answer, 400, "InvalidNetworkInterfaceID.NotFound", &message);
}

#[test]
fn whoever_uses_an_eni_is_found() {
    let mut world = World::new();
    world.active("f", &["a"]);
    world
        .lambda("PublishVersion", json!({ "FunctionName": "f" }))
        .unwrap();
    world.attach("e1", "f:1").unwrap();
    world.active("g", &["b"]);
    world
        .lambda(
            "UpdateFunctionConfiguration",
            json!({ "FunctionName": "g", "VpcConfig": vpc(&["a", "small"], &["1"]) }),
        )
        .unwrap();
    let group = world.group_of("f");
    let eni = group.network_interface_ids[0].to_string();
    let usage = life::used_by(&world.state, &eni).unwrap();
    let arn = "arn:aws:lambda:us-east-1:000000000001:function";
    assert_eq!(
        usage.functions,
        [format!("{arn}:f:$LATEST"), format!("{arn}:f:1")]
    );
    assert_eq!(usage.waiting_functions, [format!("{arn}:g:$LATEST")]);
    assert_eq!(usage.environments, [super::world::id("e1")]);
    assert_eq!(usage.waits_for, None);
    assert_eq!(life::used_by(&world.state, "eni-none"), None);

    world
        .lambda("DeleteFunction", json!({ "FunctionName": "f" }))
        .unwrap();
    world
        .lambda("DeleteFunction", json!({ "FunctionName": "g" }))
        .unwrap();
    let usage = life::used_by(&world.state, &eni).unwrap();
    assert_eq!(usage.functions, [""; 0]);
    assert_eq!(
        usage.waits_for.as_deref(),
        Some("its open connections to end")
    );
}

#[test]
fn a_function_outside_any_vpc_has_no_eni() {
    let mut world = World::new();
    let members = json!({ "FunctionName": "f", "Role": BARE_ROLE });
    world.lambda("CreateFunction", members).unwrap();
    assert_eq!(world.function("f").state, FunctionState::Active);
    assert_eq!(world.state.all::<Interface>().count(), 0);
}
