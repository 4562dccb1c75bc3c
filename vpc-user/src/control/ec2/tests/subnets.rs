//! Subnets and their addresses.

use std::net::Ipv4Addr;

use serde_json::json;

use super::world::World;
use crate::control::{
    Id, Key,
    ec2::{addresses, route_tables},
    resource::*,
};

/// What a wanted address gives, or the code of the refusal.
fn take(world: &World, subnet: &str, wanted: Option<&str>) -> Result<Ipv4Addr, String> {
    let subnet = world.state.get::<Subnet>(subnet).unwrap();
    let wanted = wanted.map(|text| text.parse().unwrap());
    let taken = addresses::take(&world.state, subnet, wanted);
    taken.map_err(|error| error.code.as_str().to_owned())
}

#[test]
fn a_subnet_takes_the_default_acl_and_the_main_table() {
    let mut world = World::new();
    let vpc = world.vpc("10.0.0.0/16");
    let id = world.subnet(&vpc, "10.0.1.9/24");
    let shown = world.shown(&Key::of::<Subnet>(&id));
    assert_eq!(shown["CidrBlock"], "10.0.1.0/24");
    assert_eq!(shown["AvailabilityZone"], "us-east-1a");
    assert_eq!(shown["AvailableIpAddressCount"], 251);
    assert_eq!(shown["State"], "available");
    let subnet = world.state.get::<Subnet>(&id).unwrap();
    let acl = world
        .state
        .get::<NetworkAcl>(subnet.network_acl_id.as_str());
    assert!(acl.unwrap().is_default);
    assert!(
        route_tables::of_subnet(&world.state, subnet)
            .unwrap()
            .is_main()
    );
}

#[test]
fn refusals_of_subnets() {
    let mut world = World::new();
    world.context.settings.quotas.subnets_per_vpc = 2;
    let vpc = world.vpc("10.0.0.0/16");
    world.subnet(&vpc, "10.0.1.0/24");
    let block = |block: &str| json!({ "VpcId": vpc, "CidrBlock": block });
    let zone = json!({
        "VpcId": vpc,
        "CidrBlock": "10.0.2.0/24",
        "AvailabilityZone": "mars-1a",
    });
    let router = json!({ "VpcId": vpc, "CidrBlock": "10.0.2.0/24", "Router": "10.0.2.255" });
    let foreign = json!({ "VpcId": "vpc-12345678", "CidrBlock": "10.0.2.0/24" });
    let unknown = json!({ "SubnetId": "subnet-12345678" });
    let malformed = json!({ "SubnetId": "subnet-xyz" });
    world.all_refused(&[
        ("CreateSubnet", block("10.0.2.0/29"), "InvalidSubnet.Range"),
        ("CreateSubnet", block("10.0.0.0/15"), "InvalidSubnet.Range"),
        ("CreateSubnet", block("10.1.0.0/24"), "InvalidSubnet.Range"),
        (
            "CreateSubnet",
            block("10.0.1.128/28"),
            "InvalidSubnet.Conflict",
        ),
        (
            "CreateSubnet",
            block("10.0.0.0/16"),
            "InvalidSubnet.Conflict",
        ),
        ("CreateSubnet", block("x"), "InvalidParameterValue"),
        ("CreateSubnet", zone, "InvalidParameterValue"),
        ("CreateSubnet", router, "InvalidParameterValue"),
        ("CreateSubnet", foreign, "InvalidVpcID.NotFound"),
        ("DeleteSubnet", unknown.clone(), "InvalidSubnetID.NotFound"),
        ("DeleteSubnet", malformed, "InvalidSubnetID.Malformed"),
        ("ModifySubnetAttribute", unknown, "InvalidSubnetID.NotFound"),
    ]);
    world.subnet(&vpc, "10.0.2.0/24");
    let refused = world.refused("CreateSubnet", block("10.0.3.0/24"));
    assert_eq!(refused, "SubnetLimitExceeded");
}

#[test]
fn without_zones_there_is_no_subnet() {
    let mut world = World::new();
    world.context.settings.zones.clear();
    let vpc = world.vpc("10.0.0.0/16");
    let members = json!({ "VpcId": vpc, "CidrBlock": "10.0.1.0/24" });
    assert_eq!(
        world.refused("CreateSubnet", members),
        "InvalidParameterValue"
    );
}

#[test]
fn a_subnet_with_an_interface_stays() {
    let mut world = World::new();
    let vpc = world.vpc("10.0.0.0/16");
    let subnet = world.subnet(&vpc, "10.0.1.0/24");
    let log = world.flow_log(&subnet);
    let table = world.table(&vpc);
    let associate = json!({ "RouteTableId": table, "SubnetId": subnet });
    world.ok("AssociateRouteTable", associate);
    let interface = world.interface(&subnet, &[]).unwrap();
    let delete = json!({ "SubnetId": subnet });
    assert_eq!(
        world.refused("DeleteSubnet", delete.clone()),
        "DependencyViolation"
    );
    world.state.replace(&Key::of::<Interface>(interface), None);
    world.ok("DeleteSubnet", delete);
    // Its association with a table and its flow log went along.
    assert!(
        world
            .state
            .get::<RouteTable>(&table)
            .unwrap()
            .associations
            .is_empty()
    );
    assert!(world.state.get::<FlowLog>(&log).is_none());
}

#[test]
fn attributes_of_subnets() {
    let mut world = World::new();
    let vpc = world.vpc("10.0.0.0/16");
    let subnet = world.subnet(&vpc, "10.0.1.0/24");
    let modify = |member: &str, value| json!({ "SubnetId": subnet, member: { "Value": value } });
    let action = "ModifySubnetAttribute";
    world.ok(action, modify("MapPublicIpOnLaunch", json!(true)));
    world.ok(action, modify("Router", json!("10.0.1.1")));
    let shown = world.shown(&Key::of::<Subnet>(&subnet));
    assert_eq!(shown["MapPublicIpOnLaunch"], true);
    assert_eq!(shown["Router"], "10.0.1.1");
    let outside = modify("Router", json!("10.0.2.1"));
    assert_eq!(world.refused(action, outside), "InvalidParameterValue");
    let none = json!({ "SubnetId": subnet });
    assert_eq!(world.refused(action, none), "InvalidParameterCombination");
    world.ok(action, modify("Router", json!(null)));
    assert_eq!(
        world.shown(&Key::of::<Subnet>(&subnet))["Router"],
        json!(null)
    );
}

#[test]
fn addresses_are_taken_from_the_first_that_is_free() {
    let mut world = World::new();
    let vpc = world.vpc("10.0.0.0/16");
    let subnet = world.subnet(&vpc, "10.0.1.0/28");
    let address = |last| Ok(Ipv4Addr::new(10, 0, 1, last));
    assert_eq!(take(&world, &subnet, None), address(4));
    let first = world.interface(&subnet, &[]).unwrap();
    assert_eq!(take(&world, &subnet, None), address(5));
    let wanted = [
        ("10.0.1.14", address(14)),
        ("10.0.1.4", Err("InvalidIPAddress.InUse".to_owned())),
        ("10.0.1.3", Err("InvalidParameterValue".to_owned())),
        ("10.0.1.0", Err("InvalidParameterValue".to_owned())),
        ("10.0.1.15", Err("InvalidParameterValue".to_owned())),
        ("10.0.1.16", Err("InvalidParameterValue".to_owned())),
    ];
    for (text, expected) in wanted {
        assert_eq!(take(&world, &subnet, Some(text)), expected, "{text}");
    }
    for _ in 5..=14 {
        world.interface(&subnet, &[]).unwrap();
    }
    let insufficient = Err("InsufficientFreeAddressesInSubnet".to_owned());
    assert_eq!(take(&world, &subnet, None), insufficient);
    let shown = world.shown(&Key::of::<Subnet>(&subnet));
    assert_eq!(shown["AvailableIpAddressCount"], 0);
    world.state.replace(&Key::of::<Interface>(first), None);
    assert_eq!(take(&world, &subnet, None), address(4));
}

#[test]
fn secondary_addresses_are_taken() {
    let mut world = World::new();
    let vpc = world.vpc("10.0.0.0/16");
    let subnet = world.subnet(&vpc, "10.0.1.0/28");
    let id = world.interface(&subnet, &[]).unwrap();
    let mut interface = world.state.get::<Interface>(&id).unwrap().clone();
    interface.secondary_addresses = vec![Ipv4Addr::new(10, 0, 1, 5)];
    world.put(interface);
    assert_eq!(take(&world, &subnet, None), Ok(Ipv4Addr::new(10, 0, 1, 6)));
}

#[test]
fn the_largest_subnet_can_be_full() {
    let mut world = World::new();
    let vpc = world.vpc("10.0.0.0/16");
    let subnet = world.subnet(&vpc, "10.0.0.0/16");
    let id = world.interface(&subnet, &[]).unwrap();
    let one = world.state.get::<Interface>(&id).unwrap().clone();
    let free: Vec<Ipv4Addr> = {
        let subnet = world.state.get::<Subnet>(&subnet).unwrap();
        addresses::free(&world.state, subnet).collect()
    };
    assert_eq!(free.len(), 65_536 - 5 - 1);
    for (index, address) in free.into_iter().enumerate() {
        world.put(Interface {
            network_interface_id: Id::new(format!("eni-{index:017x}")).unwrap(),
            private_ip_address: address,
            ..one.clone()
        });
    }
    let insufficient = Err("InsufficientFreeAddressesInSubnet".to_owned());
    assert_eq!(take(&world, &subnet, None), insufficient);
}
