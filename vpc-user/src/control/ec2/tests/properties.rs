//! Random commands: whatever is asked in whatever order, the invariants hold, what is
//! refused changes nothing, and what the host serves follows step by step.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use super::{
    dice::{self, Dice, id, pick},
    world::{World, stranger},
};
use crate::control::{
    Account, Caller, Id, Key, Kind, Settings,
    desired::tests::{Follower, UPLINKS},
    resource::*,
};

/// Few of everything, so that commands meet quotas and each other.
fn settings() -> Settings {
    let mut settings = Settings {
        vpcs: 3,
        tags_per_resource: 3,
        ..Settings::default()
    };
    settings.quotas.rules_per_security_group = 4;
    settings.quotas.security_groups = 10;
    settings.quotas.network_acls_per_vpc = 3;
    settings.quotas.entries_per_network_acl = 3;
    settings.quotas.route_tables_per_vpc = 3;
    settings.quotas.routes_per_table = 4;
    settings.quotas.subnets_per_vpc = 3;
    settings.quotas.cidrs_per_vpc = 3;
    settings.quotas.prefix_lists = 3;
    settings.quotas.entries_per_prefix_list = 3;
    settings
}

/// Two VPCs that are peered, with something in them.
fn furnished() -> World {
    let mut world = World::with(settings());
    let vpcs = ["10.0.0.0/16", "10.1.0.0/16"].map(|block| world.vpc(block));
    for (vpc, uplink) in vpcs.iter().zip(UPLINKS) {
        let members = json!({ "VpcId": vpc, "Uplink": { "Value": uplink } });
        world.ok("ModifyVpcAttribute", members);
    }
    let subnets = [(0, "10.0.1.0/24"), (1, "10.1.1.0/24")];
    for (index, block) in subnets {
        let vpc: &String = &vpcs[index];
        let subnet = world.subnet(vpc, block);
        world.interface(&subnet, &[]).unwrap();
        world.nat_gateway(&subnet, NatGatewayState::Available);
        world.internet_gateway(Some(vpc));
        world.group(vpc, "group");
        world.table(vpc);
    }
    world.peering(&vpcs[0], &vpcs[1], PeeringStatus::Active);
    world.list(2, &["10.7.0.0/16"]);
    world
}

/// What other parts of the control plane do meanwhile.
fn others(world: &mut World, [which, a, b, ..]: Dice) {
    let subnet = id(world, Kind::Subnet, a);
    let vpcs = [id(world, Kind::Vpc, a), id(world, Kind::Vpc, b)];
    let is_there = |world: &World, key: Key| world.state.record(&key).is_some();
    let has_vpcs = vpcs.iter().all(|vpc| is_there(world, Key::of::<Vpc>(vpc)));
    let has_subnet = is_there(world, Key::of::<Subnet>(&subnet));
    match which % 6 {
        0 if has_subnet => {
            let vpc = world.state.get::<Subnet>(&subnet).unwrap().vpc_id.clone();
            let of_vpc = Key::of::<Vpc>(vpc.as_str());
            let groups = world.state.referring::<SecurityGroup>(&of_vpc);
            let groups: Vec<String> = groups.map(|group| group.group_id.to_string()).collect();
            let group = groups[usize::from(b) % groups.len()].clone();
            // It may be full.
            let _ = world.interface(&subnet, &[&group]);
        }
        1 if has_subnet => {
            world.nat_gateway(
                &subnet,
                pick(&[NatGatewayState::Available, NatGatewayState::Deleted], b),
            );
        }
        2 if has_vpcs => {
            world.internet_gateway(Some(&vpcs[0]));
        }
        3 if has_vpcs && vpcs[0] != vpcs[1] => {
            let overlapping = {
                let [one, other] =
                    [&vpcs[0], &vpcs[1]].map(|id| world.state.get::<Vpc>(id).unwrap());
                one.cidrs().any(|cidr| {
                    let mut others = other.cidrs();
                    others.any(|other| cidr.contains(&other) || other.contains(&cidr))
                })
            };
            if !overlapping {
                world.peering(&vpcs[0], &vpcs[1], PeeringStatus::Active);
            }
        }
        _ => {
            let kinds = [
                Kind::Interface,
                Kind::NatGateway,
                Kind::InternetGateway,
                Kind::Peering,
            ];
            let kind = pick(&kinds, a);
            let key = Key::new(kind, id(world, kind, b));
            if world.state.referrers_of(&key).next().is_none() {
                world.state.replace(&key, None);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn invariants_hold_after_every_command(
        is_furnished in any::<bool>(),
        all in prop::collection::vec(any::<Dice>(), 60..140),
    ) {
        let mut world = if is_furnished { furnished() } else { World::with(settings()) };
        let mut vpc_of_group = BTreeMap::new();
        let mut follower = Follower::new(&world.state, &world.context.settings);
        for mut dice in all {
            // Mostly one account, which has more to do with itself.
            let is_stranger = dice[5] % 16 == 15;
            let account = if is_stranger { stranger() } else { Account::DEFAULT };
            world.context.caller = Caller::root(account);
            let is_of_others = dice[0] % 8 == 7;
            dice[0] /= 8;
            match is_of_others {
                true => others(&mut world, dice),
                false => {
                    let (action, members) = dice::command(&world, dice);
                    // Invariants and what a refusal leaves are checked there.
                    let _ = world.run(action, members);
                }
            }
            for group in world.state.all::<SecurityGroup>() {
                vpc_of_group.insert(group.group_id.clone(), group.vpc_id.clone());
            }
            no_rule_is_stale_in_its_vpc(&world, &vpc_of_group);
            follower.follow(&world.state);
        }
    }
}

/// A group that a rule of its own VPC names is there.
fn no_rule_is_stale_in_its_vpc(world: &World, vpc_of_group: &BTreeMap<Id, Id>) {
    for group in world.state.all::<SecurityGroup>() {
        for rule in &group.rules {
            let RulePeer::ReferencedGroupId(named) = &rule.peer else {
                continue;
            };
            let is_there = world.state.get::<SecurityGroup>(named.as_str()).is_some();
            assert!(
                is_there || vpc_of_group[named] != group.vpc_id,
                "{named} is gone"
            );
        }
    }
}
