//! Whatever is asked in whatever order, the state holds together.

mod actions;

use std::{collections::BTreeSet, net::Ipv4Addr};

use proptest::prelude::*;

use super::{
    super::{addresses_of, end_with_vpc, next_tick},
    OURS, THEIRS, World, id,
};
use crate::control::{Account, Kind, Record, State, Transaction, resource::*};

/// One step: who does what with which of the resources that there are, and how much time
/// has passed.
#[derive(Clone, Debug)]
struct Step {
    ours: bool,
    what: u8,
    picks: [u16; 6],
    seconds: u16,
}

fn step() -> impl Strategy<Value = Step> {
    let seconds = prop_oneof![6 => Just(0), 2 => 1..400_u16, 1 => Just(u16::MAX)];
    // What others need is asked for more often, and time passes.
    let what = prop_oneof![
        24 => 0..TICK,
        2 => Just(4_u8),
        4 => Just(9_u8),
        2 => Just(10_u8),
        4 => Just(24_u8),
        6 => Just(TICK),
        1 => Just(VPC_ENDS),
    ];
    let ours = prop::bool::weighted(0.85);
    (ours, what, any::<[u16; 6]>(), seconds).prop_map(|(ours, what, picks, seconds)| Step {
        ours,
        what,
        picks,
        seconds,
    })
}

const TICK: u8 = 30;
const VPC_ENDS: u8 = 31;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_state_holds_together(steps in prop::collection::vec(step(), 20..120)) {
        let mut world = World::with_internet();
        world.context.settings.addresses = 12;
        for step in &steps {
            let before = world.state.clone();
            carry_out(&mut world, step, &before);
            check(&world.state);
        }
        for record in world.state.records() {
            let json = record.encode().unwrap();
            assert_eq!(&Record::decode(record.key().kind, &json).unwrap(), record);
            assert!(super::shown(&world.state, record).is_object());
        }
    }
}

/// Carries a step out, and checks what only a comparison shows.
fn carry_out(world: &mut World, step: &Step, before: &State) {
    world.context.now.0 += u64::from(step.seconds) * 1_000;
    if step.what == TICK {
        world.tick();
        let next = next_tick(&world.state, &world.context.settings);
        assert!(
            next.is_none_or(|due| due > world.context.now),
            "nothing due is left"
        );
        return;
    }
    if step.what == VPC_ENDS {
        let mut transaction = Transaction::new(&mut world.state);
        end_with_vpc(&mut transaction, &id("vpc", 2), world.context.now);
        transaction.commit();
        return;
    }
    let caller = if step.ours { OURS } else { THEIRS };
    let action = actions::action(&world.state, step);
    let answer = world.ask_as(caller, action.clone());
    match answer {
        Ok(answer) => assert!(answer.is_object(), "{action}"),
        Err(error) => {
            assert!(!error.message.is_empty());
            assert_eq!(&world.state, before, "{action} was refused: {error}");
        }
    }
    let other = super::account(if step.ours { THEIRS } else { OURS });
    assert_eq!(
        of(&world.state, other),
        of(before, other),
        "{action} is another account's"
    );
}

/// What an account has, peering connections aside, which belong to two.
fn of(state: &State, account: Account) -> Vec<&Record> {
    let records = state.records().filter(|record| record.account() == account);
    records
        .filter(|record| record.key().kind != Kind::Peering)
        .collect()
}

/// What always holds.
fn check(state: &State) {
    let dangling: Vec<_> = state.dangling().collect();
    assert!(dangling.is_empty(), "{dangling:?}");
    check_interfaces(state);
    check_elastic_addresses(state);
    check_nat_gateways(state);
    check_endpoints(state);
    let attached = state
        .all::<InternetGateway>()
        .filter_map(|one| one.vpc_id.clone());
    let attached: Vec<_> = attached.collect();
    let vpcs: BTreeSet<_> = attached.iter().collect();
    assert_eq!(vpcs.len(), attached.len(), "a VPC has one internet gateway");
}

fn check_interfaces(state: &State) {
    let mut seen = BTreeSet::new();
    for interface in state.all::<Interface>() {
        let subnet = state.get::<Subnet>(interface.subnet_id.as_str()).unwrap();
        assert_eq!(subnet.vpc_id, interface.vpc_id);
        assert_eq!(subnet.owner_id, interface.owner_id);
        for address in addresses_of(interface) {
            assert!(subnet.cidr_block.contains(&address));
            assert!(
                seen.insert((&interface.vpc_id, address)),
                "{address} is used twice"
            );
        }
        for group in &interface.groups {
            let group = state.get::<SecurityGroup>(group.as_str()).unwrap();
            assert_eq!(group.vpc_id, interface.vpc_id, "a group of another VPC");
        }
        assert!(interface.groups.is_sorted() && interface.groups.len() <= 5);
    }
}

fn check_elastic_addresses(state: &State) {
    let mut public = BTreeSet::new();
    let mut private = BTreeSet::new();
    for elastic in state.all::<Address>() {
        assert!(
            public.insert(elastic.public_ip),
            "{} twice",
            elastic.public_ip
        );
        let parts = [
            elastic.association_id.is_some(),
            elastic.network_interface_id.is_some(),
            elastic.private_ip_address.is_some(),
        ];
        assert!(
            parts.iter().all(|part| *part == parts[0]),
            "half an association"
        );
        let (Some(id), Some(address)) = (&elastic.network_interface_id, elastic.private_ip_address)
        else {
            continue;
        };
        let interface = state.get::<Interface>(id.as_str()).unwrap();
        assert!(addresses_of(interface).any(|one| one == address));
        assert!(
            private.insert((id, address)),
            "two elastic addresses for one"
        );
        let mut gateways = state.all::<InternetGateway>();
        assert!(gateways.any(|one| one.vpc_id.as_ref() == Some(&interface.vpc_id)));
    }
}

fn check_nat_gateways(state: &State) {
    let mut used = BTreeSet::new();
    for gateway in state.all::<NatGateway>() {
        let addresses = &gateway.nat_gateway_addresses;
        let is_over = matches!(
            gateway.state,
            NatGatewayState::Failed | NatGatewayState::Deleted
        );
        if is_over || gateway.failure_code.is_some() {
            assert!(addresses.is_empty());
            assert_eq!(
                is_over,
                gateway.delete_time.is_some() && gateway.state != NatGatewayState::Deleting
            );
            continue;
        }
        assert!(addresses[0].is_primary);
        assert_eq!(addresses.iter().filter(|one| one.is_primary).count(), 1);
        let id = addresses[0].network_interface_id.as_str();
        assert!(
            used.insert(id.to_owned()),
            "two gateways with one interface"
        );
        let interface = state.get::<Interface>(id).unwrap();
        let held: Vec<Ipv4Addr> = addresses_of(interface).collect();
        let listed: Vec<Ipv4Addr> = addresses.iter().map(|one| one.private_ip).collect();
        assert_eq!(held, listed);
        for address in addresses {
            assert_eq!(
                address.allocation_id.is_some(),
                gateway.connectivity_type == "public"
            );
            let Some(elastic) = &address.allocation_id else {
                continue;
            };
            let elastic = state.get::<Address>(elastic.as_str()).unwrap();
            assert_eq!(elastic.private_ip_address, Some(address.private_ip));
            assert_eq!(elastic.association_id, address.association_id);
            assert_eq!(Some(elastic.public_ip), address.public_ip);
        }
    }
    let of_gateways = state
        .all::<Interface>()
        .filter(|one| one.interface_type == "nat_gateway");
    assert_eq!(of_gateways.count(), used.len(), "no interface is left over");
}

fn check_endpoints(state: &State) {
    let mut used = 0;
    for endpoint in state.all::<Endpoint>().filter(|one| one.state != "deleted") {
        let interface = |id: &crate::control::Id| state.get::<Interface>(id.as_str()).unwrap();
        let interfaces: Vec<_> = endpoint
            .network_interface_ids
            .iter()
            .map(interface)
            .collect();
        used += interfaces.len();
        let subnets: BTreeSet<_> = interfaces.iter().map(|one| &one.subnet_id).collect();
        assert_eq!(subnets, endpoint.subnet_ids.iter().collect());
        let zone = |one: &&Interface| {
            let subnet = state.get::<Subnet>(one.subnet_id.as_str()).unwrap();
            subnet.availability_zone.clone()
        };
        let zones: BTreeSet<_> = interfaces.iter().map(zone).collect();
        assert_eq!(zones.len(), interfaces.len(), "one subnet of a zone");
    }
    let of_endpoints = state
        .all::<Interface>()
        .filter(|one| one.interface_type == "vpc_endpoint");
    assert_eq!(of_endpoints.count(), used, "no interface is left over");
}
