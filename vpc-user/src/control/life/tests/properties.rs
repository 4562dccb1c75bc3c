//! Anything, in any order.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::world::{BARE_ROLE, OTHER_ROLE, POLICY, ROLE, World, id, vpc};
use crate::control::{
    desired::tests::{Follower, UPLINKS},
    life,
    resource::*,
};

/// What may happen. Numbers choose among what there is.
#[derive(Clone, Debug)]
enum Step {
    Create {
        name: u8,
        role: u8,
        vpc: u8,
        publish: bool,
    },
    Configure {
        name: u8,
        role: Option<u8>,
        vpc: Option<u8>,
    },
    Code {
        name: u8,
        hash: u8,
        publish: bool,
    },
    Publish {
        name: u8,
    },
    Alias {
        name: u8,
        version: u8,
        second: Option<u8>,
    },
    DeleteAlias {
        name: u8,
    },
    Delete {
        name: u8,
        qualifier: Option<u8>,
    },
    Tag {
        name: u8,
    },
    Invoke {
        name: u8,
        qualifier: Option<u8>,
    },
    Attach {
        environment: u8,
        name: u8,
        qualifier: Option<u8>,
        zone: u8,
    },
    Detach {
        environment: u8,
    },
    Eni {
        event: u8,
        which: u8,
    },
    Fail {
        which: u8,
    },
    Tick,
    Pass {
        seconds: u16,
    },
    Permit {
        role: u8,
        may: bool,
    },
    ForgetRole {
        role: u8,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let name = || 0..3_u8;
    let role = || 0..3_u8;
    let qualifier = || prop::option::of(0..4_u8);
    prop_oneof![
        4 => (name(), role(), 0..8_u8, any::<bool>())
            .prop_map(|(name, role, vpc, publish)| Step::Create { name, role, vpc, publish }),
        4 => (name(), prop::option::of(role()), prop::option::of(0..8_u8))
            .prop_map(|(name, role, vpc)| Step::Configure { name, role, vpc }),
        1 => (name(), 0..3_u8, any::<bool>())
            .prop_map(|(name, hash, publish)| Step::Code { name, hash, publish }),
        2 => name().prop_map(|name| Step::Publish { name }),
        1 => (name(), 0..4_u8, qualifier())
            .prop_map(|(name, version, second)| Step::Alias { name, version, second }),
        1 => name().prop_map(|name| Step::DeleteAlias { name }),
        2 => (name(), qualifier()).prop_map(|(name, qualifier)| Step::Delete { name, qualifier }),
        1 => name().prop_map(|name| Step::Tag { name }),
        2 => (name(), qualifier()).prop_map(|(name, qualifier)| Step::Invoke { name, qualifier }),
        4 => (0..6_u8, name(), qualifier(), 0..4_u8).prop_map(
            |(environment, name, qualifier, zone)| {
                Step::Attach { environment, name, qualifier, zone }
            }
        ),
        2 => (0..6_u8).prop_map(|environment| Step::Detach { environment }),
        12 => (0..7_u8, any::<u8>()).prop_map(|(event, which)| Step::Eni { event, which }),
        1 => any::<u8>().prop_map(|which| Step::Fail { which }),
        2 => Just(Step::Tick),
        2 => (0..200_u16).prop_map(|seconds| Step::Pass { seconds }),
        1 => (role(), any::<bool>()).prop_map(|(role, may)| Step::Permit { role, may }),
        1 => role().prop_map(|role| Step::ForgetRole { role }),
    ]
}

const ROLES: [&str; 3] = [ROLE, OTHER_ROLE, BARE_ROLE];

fn config(which: u8) -> Value {
    match which {
        0 => vpc(&[], &[]),
        1 => vpc(&["a"], &["1"]),
        2 => vpc(&["a", "b"], &["1"]),
        3 => vpc(&["b"], &["2", "1"]),
        4 => vpc(&["small", "b"], &["1", "2"]),
        5 => vpc(&["z"], &["9"]),
        6 => json!({ "SecurityGroupIds": ["sg-3"] }),
        _ => json!({ "SubnetIds": ["subnet-a", "subnet-z"] }),
    }
}

fn function(name: u8, qualifier: Option<u8>) -> String {
    match qualifier {
        None => format!("f{name}"),
        Some(0) => format!("f{name}:live"),
        Some(version) => format!("f{name}:{version}"),
    }
}

fn take(world: &mut World, step: Step) {
    let lambda = |world: &mut World, action, members| {
        // Refused or not: what must hold is checked either way.
        let _ = world.lambda(action, members);
    };
    match step {
        Step::Create {
            name,
            role,
            vpc,
            publish,
        } => {
            let members = json!({
                "FunctionName": function(name, None),
                "Role": ROLES[usize::from(role)],
                "VpcConfig": config(vpc),
                "Publish": publish,
            });
            lambda(world, "CreateFunction", members);
        }
        Step::Configure { name, role, vpc } => {
            let members = json!({
                "FunctionName": function(name, None),
                "Role": role.map(|role| ROLES[usize::from(role)]),
                "VpcConfig": vpc.map(config),
            });
            lambda(world, "UpdateFunctionConfiguration", members);
        }
        Step::Code {
            name,
            hash,
            publish,
        } => {
            let members = json!({
                "FunctionName": function(name, None),
                "CodeSha256": hash.to_string(),
                "Publish": publish,
            });
            lambda(world, "UpdateFunctionCode", members);
        }
        Step::Publish { name } => {
            let members = json!({ "FunctionName": function(name, None) });
            lambda(world, "PublishVersion", members);
        }
        Step::Alias {
            name,
            version,
            second,
        } => {
            let weights: Value = second
                .map(|second| json!({ second.to_string(): 0.5 }))
                .unwrap_or(json!({}));
            let mut members = json!({
                "FunctionName": function(name, None),
                "Name": "live",
                "FunctionVersion": if version == 0 { LATEST.to_owned() } else { version.to_string() },
                "RoutingConfig": { "AdditionalVersionWeights": weights },
            });
            lambda(world, "CreateAlias", members.clone());
            members["Description"] = json!("again");
            lambda(world, "UpdateAlias", members);
        }
        Step::DeleteAlias { name } => {
            let members = json!({ "FunctionName": function(name, None), "Name": "live" });
            lambda(world, "DeleteAlias", members);
        }
        Step::Delete { name, qualifier } => {
            let members = json!({ "FunctionName": function(name, qualifier) });
            lambda(world, "DeleteFunction", members);
        }
        Step::Tag { name } => {
            let arn = format!("arn:aws:lambda:us-east-1:000000000001:function:f{name}");
            let members = json!({ "Resource": arn, "Tags": { "k": "v" } });
            lambda(world, "TagResource", members);
        }
        Step::Invoke { name, qualifier } => {
            let members = json!({ "FunctionName": function(name, qualifier) });
            lambda(world, "Invoke", members);
        }
        happening => happen(world, happening),
    }
}

fn happen(world: &mut World, step: Step) {
    match step {
        Step::Attach {
            environment,
            name,
            qualifier,
            zone,
        } => {
            let zone = ["us-east-1a", "us-east-1b", "us-east-1c"].get(usize::from(zone));
            let zone = json!(zone);
            let function = function(name, qualifier);
            let _ = world.attach_in(&format!("e{environment}"), &function, zone);
        }
        Step::Detach { environment } => {
            let members = json!({ "EnvironmentId": format!("e{environment}") });
            let _ = world.life("DetachEnvironment", members);
        }
        Step::Eni { event, which } => {
            // Most of the time the host does what is to be done.
            let event = match event {
                0..=2 => "EniProgrammed",
                3 => "EniForgotten",
                4 => "EniHighWater",
                5 => "EniLowWater",
                _ => "EniIdle",
            };
            if let Some(eni) = nth(world, which) {
                world.eni(event, &eni);
            }
        }
        Step::Fail { which } => {
            if let Some(eni) = nth(world, which) {
                let members = json!({
                    "NetworkInterfaceId": eni,
                    "Code": "InternalError",
                    "Reason": "The host could not.",
                });
                world.life("EniFailed", members).unwrap();
            }
        }
        Step::Tick => {
            world.life("Tick", json!({})).unwrap();
            let next = life::next_tick(&world.state, &world.context.settings);
            assert!(
                next.is_none_or(|next| next > world.context.now),
                "a tick leaves nothing undone"
            );
        }
        Step::Pass { seconds } => world.pass(u64::from(seconds)),
        Step::Permit { role, may } => {
            let policy = may.then_some(POLICY);
            world.role(ROLES[usize::from(role)], policy);
        }
        Step::ForgetRole { role } => world.remove::<Role>(ROLES[usize::from(role)]),
        _ => unreachable!("an action of Lambda's"),
    }
}

fn nth(world: &World, which: u8) -> Option<String> {
    let mut enis = world.state.all::<Interface>();
    let count = world.state.all::<Interface>().count().max(1);
    let eni = enis.nth(usize::from(which) % count)?;
    Some(eni.network_interface_id.to_string())
}

/// Small quotas and short times, so that they matter.
fn world() -> World {
    let mut world = World::new();
    let settings = &mut world.context.settings;
    settings.hyperplane_enis_per_vpc = 6;
    settings.enis_per_group = 3;
    settings.idle_after = std::time::Duration::from_secs(300);
    settings.stuck_after = std::time::Duration::from_secs(60);
    world
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    /// Whatever happens: what must hold holds (checked with each command); once the host has
    /// done its part, nobody waits; once all functions are gone, nothing is left.
    #[test]
    fn whatever_happens_nothing_is_lost_and_nothing_left(
        steps in prop::collection::vec(step(), 0..120)
    ) {
        let mut world = world();
        for (vpc, uplink) in ["vpc-a", "vpc-b"].into_iter().zip(UPLINKS) {
            let mut vpc = world.state.get::<Vpc>(vpc).expect("a VPC").clone();
            vpc.uplink = Some(id(uplink));
            world.put(vpc);
        }
        let mut follower = Follower::new(&world.state, &world.context.settings);
        for step in steps {
            take(&mut world, step);
            follower.follow(&world.state);
        }

        world.program_all();
        for function in world.state.all::<Function>() {
            prop_assert!(function.next_eni_groups.is_none(), "{function:?} waits");
        }

        for name in 0..3 {
            let members = json!({ "FunctionName": function(name, None) });
            let _ = world.lambda("DeleteFunction", members);
        }
        prop_assert_eq!(world.state.all::<EniGroup>().count(), 0);
        prop_assert_eq!(world.state.all::<Environment>().count(), 0);
        prop_assert_eq!(world.state.all::<Alias>().count(), 0);
        for role in ROLES {
            world.role(role, Some(POLICY));
        }
        world.forget_all();
        world.life("Tick", json!({})).unwrap();
        prop_assert_eq!(world.state.all::<Interface>().count(), 0);
    }

    /// The same commands with the same seed make the same world.
    #[test]
    fn the_same_again_is_the_same(steps in prop::collection::vec(step(), 0..40)) {
        let (mut one, mut other) = (world(), world());
        for step in steps {
            take(&mut one, step.clone());
            take(&mut other, step);
        }
        prop_assert!(one.state == other.state);
    }

    /// What is stored comes back as it was.
    #[test]
    fn records_survive_their_json(steps in prop::collection::vec(step(), 0..60)) {
        let mut world = world();
        for step in steps {
            take(&mut world, step);
        }
        for record in world.state.records() {
            let json = record.encode().unwrap();
            let back = crate::control::Record::decode(record.key().kind, &json).unwrap();
            prop_assert_eq!(record, &back);
        }
    }
}
