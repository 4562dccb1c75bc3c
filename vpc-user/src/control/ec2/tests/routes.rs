//! Route tables, associations and routes.

use serde_json::{Value, json};

use super::world::{World, text};
use crate::{
    control::{
        Id, Key,
        desired::{
            Desired,
            tests::{UPLINKS, host},
        },
        ec2::{route_tables, routes::is_active},
        resource::*,
    },
    model::Target,
};

fn route(table: &str, destination: &str, target: (&str, &str)) -> Value {
    json!({ "RouteTableId": table, "DestinationCidrBlock": destination, target.0: target.1 })
}

fn nowhere(table: &str, destination: &str) -> Value {
    json!({ "RouteTableId": table, "DestinationCidrBlock": destination, "Blackhole": true })
}

/// The routes of a table as they are shown.
fn shown(world: &World, table: &str) -> Vec<Value> {
    let table = world.shown(&Key::of::<RouteTable>(table));
    table["Routes"].as_array().unwrap().clone()
}

/// The main table of a VPC, and the id of its association.
fn main_of(world: &World, vpc: &str) -> (String, String) {
    let mut tables = world.state.all::<RouteTable>();
    let table = tables
        .find(|table| table.vpc_id.as_str() == vpc && table.is_main())
        .unwrap();
    let association = table.main_association_id.as_ref().unwrap();
    (table.route_table_id.to_string(), association.to_string())
}

#[test]
fn every_table_has_the_local_routes() {
    let mut world = World::new();
    let vpc = world.vpc("10.0.0.0/16");
    let members = json!({ "VpcId": vpc, "CidrBlock": "10.1.0.0/16" });
    world.ok("AssociateVpcCidrBlock", members);
    let table = world.table(&vpc);
    let local = |block: &str| {
        json!({
            "DestinationCidrBlock": block,
            "GatewayId": "local",
            "Origin": "CreateRouteTable",
            "State": "active",
        })
    };
    assert_eq!(
        shown(&world, &table),
        [local("10.0.0.0/16"), local("10.1.0.0/16")]
    );
}

#[test]
fn a_route_lives_as_long_as_its_target() {
    let mut world = World::new();
    let vpc = world.vpc("10.0.0.0/16");
    let peer = world.vpc("10.1.0.0/16");
    let subnet = world.subnet(&vpc, "10.0.0.0/24");
    let table = world.table(&vpc);
    let gateway = world.internet_gateway(Some(&vpc));
    let nat = world.nat_gateway(&subnet, NatGatewayState::Pending);
    let interface = world.interface(&subnet, &[]).unwrap();
    let peering = world.peering(&peer, &vpc, PeeringStatus::PendingAcceptance);
    let targets = [
        ("GatewayId", &gateway),
        ("NatGatewayId", &nat),
        ("NetworkInterfaceId", &interface),
        ("VpcPeeringConnectionId", &peering),
    ];
    for (index, (member, id)) in targets.iter().enumerate() {
        let members = route(&table, &format!("10.{}.0.0/16", index + 10), (member, id));
        world.ok("CreateRoute", members);
    }
    world.ok("CreateRoute", nowhere(&table, "10.20.0.0/16"));
    let states = |world: &World| -> Vec<String> {
        let routes = shown(world, &table);
        routes
            .iter()
            .skip(1)
            .map(|route| text(&route["State"]))
            .collect()
    };
    let (active, blackhole) = ("active", "blackhole");
    assert_eq!(
        states(&world),
        [active, blackhole, active, blackhole, blackhole]
    );

    let mut available = world.state.get::<NatGateway>(&nat).unwrap().clone();
    available.state = NatGatewayState::Available;
    world.put(available);
    let mut accepted = world.state.get::<Peering>(&peering).unwrap().clone();
    accepted.status = PeeringStatus::Active;
    world.put(accepted);
    assert_eq!(states(&world), [active, active, active, active, blackhole]);

    let mut detached = world
        .state
        .get::<InternetGateway>(&gateway)
        .unwrap()
        .clone();
    detached.vpc_id = None;
    world.put(detached);
    world.state.replace(&Key::of::<NatGateway>(nat), None);
    world.state.replace(&Key::of::<Interface>(interface), None);
    world.state.replace(&Key::of::<Peering>(peering), None);
    assert_eq!(states(&world), [blackhole; 5]);
    for route in shown(&world, &table).iter().skip(1) {
        assert_eq!(route["Origin"], "CreateRoute");
    }
}

/// A public subnet included: whatever it shows, it leads packets nowhere.
#[test]
fn packets_find_a_blackhole_where_a_gateway_is_the_target() {
    let mut world = World::new();
    let vpc = world.vpc("10.0.0.0/16");
    let uplink = json!({ "VpcId": vpc, "Uplink": { "Value": UPLINKS[0] } });
    world.ok("ModifyVpcAttribute", uplink);
    let subnet = world.subnet(&vpc, "10.0.0.0/24");
    let table = world.table(&vpc);
    let gateway = world.internet_gateway(Some(&vpc));
    let nat = world.nat_gateway(&subnet, NatGatewayState::Available);
    let targets = [
        ("GatewayId", gateway.as_str()),
        ("NatGatewayId", nat.as_str()),
    ];
    for (destination, target) in ["0.0.0.0/0", "192.0.2.0/24"].into_iter().zip(targets) {
        world.ok("CreateRoute", route(&table, destination, target));
    }
    let desired = Desired::new(&world.state, &host(), world.context.settings.clone());
    let tables = &desired.config().network.route_tables;
    let made = tables.iter().find(|it| it.name.as_str() == table).unwrap();
    let targets: Vec<_> = made.routes.iter().map(|route| &route.target).collect();
    assert_eq!(targets, [&Target::Blackhole; 2]);
}

#[test]
fn a_gateway_endpoint_is_a_live_target_in_its_vpc() {
    let mut world = World::new();
    let vpc = world.vpc("10.0.0.0/16");
    let other = world.vpc("10.1.0.0/16");
    let endpoint = world.endpoint(&vpc, EndpointType::Gateway);
    let target = RouteTarget::GatewayId(Id::new(endpoint).unwrap());
    assert!(is_active(&world.state, &target, &Id::new(vpc).unwrap()));
    assert!(!is_active(&world.state, &target, &Id::new(other).unwrap()));
}

#[test]
fn refusals_of_targets() {
    let mut world = World::new();
    let vpc = world.vpc("10.0.0.0/16");
    let other = world.vpc("10.1.0.0/16");
    let third = world.vpc("10.2.0.0/16");
    let far = world.subnet(&other, "10.1.0.0/24");
    let near = world.subnet(&vpc, "10.0.0.0/24");
    let table = world.table(&vpc);
    let to = |member: &str, id: &str| route(&table, "0.0.0.0/0", (member, id));
    let networks = "InvalidParameterValue";
    let gateway = (
        world.internet_gateway(Some(&other)),
        world.internet_gateway(None),
    );
    let nat = (
        world.nat_gateway(&far, NatGatewayState::Available),
        world.nat_gateway(&near, NatGatewayState::Deleted),
    );
    let interface = world.interface(&far, &[]).unwrap();
    let peering = (
        world.peering(&other, &third, PeeringStatus::Active),
        world.peering(&vpc, &third, PeeringStatus::Deleted),
    );
    let endpoints = [
        world.endpoint(&vpc, EndpointType::Interface),
        world.endpoint(&vpc, EndpointType::Gateway),
    ];
    let mut two = to("GatewayId", &gateway.0);
    two["NatGatewayId"] = nat.0.as_str().into();
    let none = json!({ "RouteTableId": table, "DestinationCidrBlock": "0.0.0.0/0" });
    let action = "CreateRoute";
    world.all_refused(&[
        (action, none, "MissingParameter"),
        (action, two, "InvalidParameterCombination"),
        (action, to("GatewayId", &gateway.0), networks),
        (action, to("GatewayId", &gateway.1), networks),
        (
            action,
            to("GatewayId", "local"),
            "InvalidGatewayID.NotFound",
        ),
        (
            action,
            to("GatewayId", "igw-12345678"),
            "InvalidGatewayID.NotFound",
        ),
        (action, to("GatewayId", &endpoints[0]), "RouteNotSupported"),
        (
            action,
            to("VpcEndpointId", &endpoints[0]),
            "RouteNotSupported",
        ),
        (
            action,
            to("VpcEndpointId", &endpoints[1]),
            "RouteNotSupported",
        ),
        (
            action,
            to("VpcEndpointId", "vpce-12345678"),
            "InvalidVpcEndpointId.NotFound",
        ),
        (action, to("NatGatewayId", &nat.0), networks),
        (action, to("NatGatewayId", &nat.1), "NatGatewayNotFound"),
        (
            action,
            to("NatGatewayId", "nat-12345678"),
            "NatGatewayNotFound",
        ),
        (action, to("NatGatewayId", "nat"), "NatGatewayMalformed"),
        (action, to("NetworkInterfaceId", &interface), networks),
        (
            action,
            to("NetworkInterfaceId", "eni-12345678"),
            "InvalidNetworkInterfaceID.NotFound",
        ),
        (action, to("VpcPeeringConnectionId", &peering.0), networks),
        (
            action,
            to("VpcPeeringConnectionId", &peering.1),
            "InvalidVpcPeeringConnectionID.NotFound",
        ),
    ]);
}

#[test]
fn destinations_of_routes() {
    let mut world = World::new();
    let vpc = world.vpc("10.0.0.0/16");
    let subnet = world.subnet(&vpc, "10.0.1.0/24");
    let table = world.table(&vpc);
    let gateway = world.internet_gateway(Some(&vpc));
    let interface = world.interface(&subnet, &[]).unwrap();
    let nat = world.nat_gateway(&subnet, NatGatewayState::Available);
    let gateway = ("GatewayId", gateway.as_str());
    let interface = ("NetworkInterfaceId", interface.as_str());
    let nat = ("NatGatewayId", nat.as_str());
    let invalid = Some("InvalidParameterValue");
    let exists = Some("RouteAlreadyExists");
    let cases = [
        ("0.0.0.0/0", gateway, None),
        ("1.2.3.4/0", gateway, exists),
        ("169.254.168.0/22", gateway, invalid),
        ("169.254.170.2/32", gateway, invalid),
        ("169.254.0.0/16", gateway, None),
        ("ten", gateway, invalid),
        // The local route itself, and what is more specific.
        ("10.0.0.0/16", interface, exists),
        ("10.0.1.0/24", gateway, invalid),
        ("10.0.1.0/25", interface, invalid),
        ("10.0.0.0/17", interface, invalid),
        ("10.0.1.0/24", interface, None),
        ("10.0.1.0/24", nat, exists),
        // Larger than the VPC.
        ("10.0.0.0/8", gateway, None),
    ];
    for (destination, target, code) in cases {
        let answer = world.run("CreateRoute", route(&table, destination, target));
        let got = answer.err().map(|error| error.code.as_str().to_owned());
        assert_eq!(got.as_deref(), code, "{destination} {target:?}");
    }
    assert_eq!(
        world.refused("CreateRoute", nowhere(&table, "10.0.1.0/24")),
        "RouteAlreadyExists"
    );
    let neither = json!({ "RouteTableId": table, "Blackhole": true });
    let mut both = nowhere(&table, "10.9.0.0/16");
    both["DestinationPrefixListId"] = "pl-12345678".into();
    let list = |id: &str| json!({ "RouteTableId": table, "DestinationPrefixListId": id, "Blackhole": true });
    let delete =
        |destination: &str| json!({ "RouteTableId": table, "DestinationCidrBlock": destination });
    world.all_refused(&[
        ("CreateRoute", neither, "MissingParameter"),
        ("CreateRoute", both, "InvalidParameterCombination"),
        (
            "CreateRoute",
            list("pl-12345678"),
            "InvalidPrefixListID.NotFound",
        ),
        ("CreateRoute", list("pl"), "InvalidPrefixListId.Malformed"),
        (
            "CreateRoute",
            nowhere("rtb-12345678", "10.9.0.0/16"),
            "InvalidRouteTableID.NotFound",
        ),
        (
            "ReplaceRoute",
            nowhere(&table, "10.9.0.0/16"),
            "InvalidParameterValue",
        ),
        (
            "ReplaceRoute",
            nowhere(&table, "10.0.0.0/16"),
            "InvalidParameterValue",
        ),
        (
            "ReplaceRoute",
            nowhere(&table, "10.0.1.0/24"),
            "InvalidParameterValue",
        ),
        (
            "DeleteRoute",
            delete("10.0.0.0/16"),
            "InvalidParameterValue",
        ),
        (
            "DeleteRoute",
            delete("10.9.0.0/16"),
            "InvalidRoute.NotFound",
        ),
    ]);
    world.ok("ReplaceRoute", route(&table, "10.0.1.0/24", nat));
    world.ok("ReplaceRoute", nowhere(&table, "0.0.0.0/0"));
    world.ok("DeleteRoute", delete("0.0.0.0/0"));
    let routes = shown(&world, &table);
    assert_eq!(routes.len(), 4);
}

#[test]
fn routes_by_prefix_lists() {
    let mut world = World::new();
    world.context.settings.quotas.routes_per_table = 5;
    let vpc = world.vpc("10.0.0.0/16");
    let subnet = world.subnet(&vpc, "10.0.1.0/24");
    let interface = world.interface(&subnet, &[]).unwrap();
    let table = world.table(&vpc);
    let list = world.list(3, &["10.7.0.0/16", "10.0.1.0/24"]);
    let create = |member: &str, target: Value| json!({ "RouteTableId": table, "DestinationPrefixListId": list, member: target });
    let refused = world.refused("CreateRoute", create("Blackhole", json!(true)));
    assert_eq!(refused, "InvalidParameterValue");
    world.ok(
        "CreateRoute",
        create("NetworkInterfaceId", json!(interface)),
    );
    world.ok("CreateRoute", nowhere(&table, "10.8.0.0/16"));
    world.ok("CreateRoute", nowhere(&table, "10.9.0.0/16"));
    let add = |cidr: &str| json!({ "PrefixListId": list, "AddEntries": [{ "Cidr": cidr }] });
    world.all_refused(&[
        (
            "CreateRoute",
            nowhere(&table, "10.10.0.0/16"),
            "RouteLimitExceeded",
        ),
        (
            "ModifyManagedPrefixList",
            json!({ "PrefixListId": list, "MaxEntries": 4 }),
            "RouteLimitExceeded",
        ),
        (
            "ModifyManagedPrefixList",
            add("10.0.2.0/24"),
            "InvalidParameterValue",
        ),
        (
            "ModifyManagedPrefixList",
            add("169.254.169.0/24"),
            "InvalidParameterValue",
        ),
        (
            "DeleteManagedPrefixList",
            json!({ "PrefixListId": list }),
            "DependencyViolation",
        ),
        (
            "AssociateVpcCidrBlock",
            json!({ "VpcId": vpc, "CidrBlock": "10.7.0.0/16" }),
            "CidrConflict",
        ),
    ]);
    let delete = json!({ "RouteTableId": table, "DestinationPrefixListId": list });
    world.ok("DeleteRoute", delete);
    world.ok("DeleteManagedPrefixList", json!({ "PrefixListId": list }));
}

#[test]
fn a_subnet_goes_by_the_table_it_chose() {
    let mut world = World::new();
    let vpc = world.vpc("10.0.0.0/16");
    let other = world.vpc("10.1.0.0/16");
    let subnet = world.subnet(&vpc, "10.0.1.0/24");
    let far = world.subnet(&other, "10.1.1.0/24");
    let [one, two] = [world.table(&vpc), world.table(&vpc)];
    let (main, main_association) = main_of(&world, &vpc);
    let goes_by = |world: &World| {
        let subnet = world.state.get::<Subnet>(&subnet).unwrap();
        route_tables::of_subnet(&world.state, subnet)
            .unwrap()
            .route_table_id
            .to_string()
    };
    assert_eq!(goes_by(&world), main);
    let associate =
        |table: &str, subnet: &str| json!({ "RouteTableId": table, "SubnetId": subnet });
    let answer = world.ok("AssociateRouteTable", associate(&one, &subnet));
    let association = text(&answer["AssociationId"]);
    assert_eq!(answer["AssociationState"]["State"], "associated");
    // Once more is the same.
    let again = world.ok("AssociateRouteTable", associate(&one, &subnet));
    assert_eq!(again["AssociationId"], association.as_str());
    assert_eq!(goes_by(&world), one);
    let replace = |association: &str, table: &str| json!({ "AssociationId": association, "RouteTableId": table });
    let by_id = |id: &str| json!({ "AssociationId": id });
    let delete = |table: &str| json!({ "RouteTableId": table });
    let far_table = main_of(&world, &other).0;
    let action = "ReplaceRouteTableAssociation";
    world.all_refused(&[
        (
            "AssociateRouteTable",
            associate(&two, &subnet),
            "Resource.AlreadyAssociated",
        ),
        (
            "AssociateRouteTable",
            associate(&two, &far),
            "InvalidParameterValue",
        ),
        (
            "AssociateRouteTable",
            associate("rtb-12345678", &far),
            "InvalidRouteTableID.NotFound",
        ),
        (
            "AssociateRouteTable",
            associate(&two, "subnet-12345678"),
            "InvalidSubnetID.NotFound",
        ),
        (
            "DisassociateRouteTable",
            by_id(&main_association),
            "InvalidParameterValue",
        ),
        (
            "DisassociateRouteTable",
            by_id("rtbassoc-12345678"),
            "InvalidAssociationID.NotFound",
        ),
        (
            action,
            replace(&association, &far_table),
            "InvalidParameterValue",
        ),
        (
            action,
            replace("rtbassoc-12345678", &two),
            "InvalidAssociationID.NotFound",
        ),
        (
            action,
            replace(&association, "rtb-12345678"),
            "InvalidRouteTableID.NotFound",
        ),
        ("DeleteRouteTable", delete(&one), "DependencyViolation"),
        ("DeleteRouteTable", delete(&main), "DependencyViolation"),
        (
            "DeleteRouteTable",
            delete("rtb-12345678"),
            "InvalidRouteTableID.NotFound",
        ),
    ]);
    let answer = world.ok(action, replace(&association, &two));
    assert_eq!(goes_by(&world), two);
    world.ok("DeleteRouteTable", delete(&one));
    world.ok(
        "DisassociateRouteTable",
        by_id(&text(&answer["NewAssociationId"])),
    );
    assert_eq!(goes_by(&world), main);

    // Another main table.
    let answer = world.ok(action, replace(&main_association, &two));
    assert_eq!(
        main_of(&world, &vpc),
        (two.clone(), text(&answer["NewAssociationId"]))
    );
    assert_eq!(goes_by(&world), two);
    world.ok("DeleteRouteTable", delete(&main));
    let shown = world.shown(&Key::of::<RouteTable>(&two));
    assert_eq!(shown["Associations"][0]["Main"], true);
    // An explicit association with the main table is one.
    world.ok("AssociateRouteTable", associate(&two, &subnet));
    let shown = world.shown(&Key::of::<RouteTable>(&two));
    assert_eq!(shown["Associations"][1]["SubnetId"], subnet.as_str());
    world.context.settings.quotas.route_tables_per_vpc = 1;
    let refused = world.refused("CreateRouteTable", json!({ "VpcId": vpc }));
    assert_eq!(refused, "RouteTableLimitExceeded");
}
