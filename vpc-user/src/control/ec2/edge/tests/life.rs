//! What becomes of things as time passes, and as others go.

use std::net::Ipv4Addr;

use serde_json::json;

use super::{
    super::{addresses::take, end_with_vpc, next_tick},
    OURS, THEIRS, World, id, text,
};
use crate::control::{Key, Time, Transaction, resource::*};

const HOUR: u64 = 3_600;

fn state_of(world: &World, gateway: &str) -> Option<NatGatewayState> {
    world
        .state
        .get::<NatGateway>(gateway)
        .map(|gateway| gateway.state)
}

#[test]
fn a_nat_gateway_comes_and_goes() {
    let mut world = World::with_internet();
    let elastic = world.elastic_address();
    let answer = world.public_gateway(&elastic, 11).unwrap();
    let gateway = text(&answer, "/NatGateway/NatGatewayId").to_owned();
    assert_eq!(text(&answer, "/NatGateway/State"), "pending");
    world.tick();
    assert_eq!(state_of(&world, &gateway), Some(NatGatewayState::Available));
    let shown = world.shown::<NatGateway>(&gateway);
    assert_eq!(text(&shown, "/NatGatewayAddresses/0/Status"), "succeeded");
    world
        .ask(json!({"Action": "DeleteNatGateway", "NatGatewayId": gateway}))
        .unwrap();
    assert_eq!(state_of(&world, &gateway), Some(NatGatewayState::Deleting));
    world.pass(60);
    assert_eq!(state_of(&world, &gateway), Some(NatGatewayState::Deleted));
    // The elastic address is the account's still, and may be given back.
    world
        .ask(json!({"Action": "ReleaseAddress", "AllocationId": elastic}))
        .unwrap();
    assert_eq!(
        world
            .state
            .all::<Interface>()
            .filter(|one| one.requester_managed)
            .count(),
        0
    );
    world.pass(HOUR - 1);
    assert_eq!(state_of(&world, &gateway), Some(NatGatewayState::Deleted));
    world.pass(1);
    assert_eq!(state_of(&world, &gateway), None);
    assert_eq!(next_tick(&world.state, &world.context.settings), None);
}

/// The table of AWS-SEMANTICS 6, with AWS's sentences.
#[test]
fn a_nat_gateway_may_fail() {
    type Make = fn(&mut World) -> String;
    fn id_of(answer: &serde_json::Value) -> String {
        text(answer, "/NatGateway/NatGatewayId").to_owned()
    }
    let rows: [(Make, &str, String); 5] = [
        (
            |world| id_of(&world.public_gateway(&id("eipalloc", 99), 11).unwrap()),
            "InvalidAllocationID.NotFound",
            format!(
                "Elastic IP address {} could not be associated with this NAT gateway",
                id("eipalloc", 99)
            ),
        ),
        (
            |world| {
                let elastic = world.elastic_address();
                id_of(&world.public_gateway(&elastic, 21).unwrap())
            },
            "Gateway.NotAttached",
            format!("Network {} has no Internet gateway attached", id("vpc", 2)),
        ),
        (
            |world| {
                let elastic = world.elastic_address();
                world.public_gateway(&elastic, 11).unwrap();
                id_of(&world.public_gateway(&elastic, 11).unwrap())
            },
            "Resource.AlreadyAssociated",
            " is already associated".to_owned(),
        ),
        (
            |world| {
                (0..11).for_each(|_| drop(world.interface(12)));
                world.private_gateway(12)
            },
            "InsufficientFreeAddressesInSubnet",
            "Subnet has insufficient free addresses to create this NAT gateway".to_owned(),
        ),
        (
            |world| {
                (0..10).for_each(|_| drop(world.interface(12)));
                id_of(
                    &world
                        .ask(json!({
                            "Action": "CreateNatGateway", "SubnetId": id("subnet", 12),
                            "ConnectivityType": "private", "SecondaryPrivateIpAddressCount": 1,
                        }))
                        .unwrap(),
                )
            },
            "InsufficientFreeAddressesInSubnet",
            "Subnet has insufficient free addresses to create this NAT gateway".to_owned(),
        ),
    ];
    for (make, code, sentence) in rows {
        let mut world = World::with_internet();
        let gateway = make(&mut world);
        let shown = world.shown::<NatGateway>(&gateway);
        assert_eq!(text(&shown, "/State"), "pending");
        assert_eq!(shown.get("FailureCode"), None, "not known yet");
        world.tick();
        let shown = world.shown::<NatGateway>(&gateway);
        assert_eq!(text(&shown, "/State"), "failed");
        assert_eq!(text(&shown, "/FailureCode"), code);
        assert!(
            text(&shown, "/FailureMessage").contains(&sentence),
            "{shown}"
        );
        world.pass(HOUR);
        assert_eq!(state_of(&world, &gateway), None, "it goes by itself");
    }
}

#[test]
fn failed_gateways_do_not_count() {
    let mut world = World::new();
    for _ in 0..7 {
        world.public_gateway(&id("eipalloc", 99), 11).unwrap();
        world.tick();
    }
    world.private_gateway(11);
}

#[test]
fn addresses_of_a_nat_gateway_are_drained() {
    let mut world = World::with_internet();
    let [first, second] = [world.elastic_address(), world.elastic_address()];
    let answer = world.public_gateway(&first, 11).unwrap();
    let gateway = text(&answer, "/NatGateway/NatGatewayId").to_owned();
    world.tick();
    let answer = world.ask(json!({
        "Action": "AssociateNatGatewayAddress", "NatGatewayId": gateway,
        "AllocationIds": [second], "PrivateIpAddresses": ["10.0.1.77"],
    }));
    let answer = answer.unwrap();
    assert_eq!(
        text(&answer, "/NatGatewayAddresses/1/Status"),
        "associating"
    );
    assert_eq!(
        text(&answer, "/NatGatewayAddresses/1/PrivateIp"),
        "10.0.1.77"
    );
    let association = text(&answer, "/NatGatewayAddresses/1/AssociationId").to_owned();
    world.tick();
    let answer = world.ask(json!({
        "Action": "DisassociateNatGatewayAddress", "NatGatewayId": gateway,
        "AssociationIds": [association], "MaxDrainDurationSeconds": 100,
    }));
    assert_eq!(
        text(&answer.unwrap(), "/NatGatewayAddresses/1/Status"),
        "disassociating"
    );
    let due = next_tick(&world.state, &world.context.settings);
    assert_eq!(due, Some(Time(world.context.now.0 + 100_000)));
    world.pass(99);
    let release = json!({"Action": "ReleaseAddress", "AllocationId": second});
    assert_eq!(
        world.ask(release.clone()).unwrap_err().code.as_str(),
        "InvalidIPAddress.InUse"
    );
    world.pass(1);
    world.ask(release).unwrap();
    let gateway = world.state.get::<NatGateway>(&gateway).unwrap();
    assert_eq!(gateway.nat_gateway_addresses.len(), 1);
}

#[test]
fn an_endpoint_comes_and_goes() {
    let mut world = World::new();
    let answer = world.interface_endpoint("sqs", &[11, 13]).unwrap();
    let endpoint = text(&answer, "/VpcEndpoint/VpcEndpointId").to_owned();
    assert_eq!(text(&answer, "/VpcEndpoint/State"), "pending");
    assert_eq!(
        answer["VpcEndpoint"]["NetworkInterfaceIds"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    world.tick();
    assert_eq!(
        text(&world.shown::<Endpoint>(&endpoint), "/State"),
        "available"
    );
    let changes = json!({
        "Action": "ModifyVpcEndpoint", "VpcEndpointId": endpoint,
        "RemoveSubnetIds": [id("subnet", 11)], "AddSubnetIds": [id("subnet", 12)],
        "AddSecurityGroupIds": [id("sg", 11)],
    });
    world.ask(changes).unwrap();
    let interfaces = world
        .state
        .all::<Interface>()
        .filter(|one| one.requester_managed);
    for interface in interfaces {
        assert_ne!(interface.subnet_id.as_str(), id("subnet", 11));
        assert_eq!(interface.groups.len(), 2);
    }
    let ids = json!([endpoint, id("vpce", 99), "vpce"]);
    let answer = world.ask(json!({"Action": "DeleteVpcEndpoints", "VpcEndpointIds": ids}));
    let answer = answer.unwrap();
    assert_eq!(text(&answer, "/Unsuccessful/0/ResourceId"), id("vpce", 99));
    assert_eq!(
        text(&answer, "/Unsuccessful/0/Error/Code"),
        "InvalidVpcEndpointId.NotFound"
    );
    assert_eq!(
        text(&answer, "/Unsuccessful/1/Error/Code"),
        "InvalidVpcEndpointId.Malformed"
    );
    assert_eq!(
        text(&world.shown::<Endpoint>(&endpoint), "/State"),
        "deleting"
    );
    world.tick();
    assert_eq!(
        text(&world.shown::<Endpoint>(&endpoint), "/State"),
        "deleted"
    );
    assert_eq!(
        world
            .state
            .all::<Interface>()
            .filter(|one| one.requester_managed)
            .count(),
        0
    );
    // Its place is free before it is forgotten.
    world.interface_endpoint("sqs", &[11]).unwrap();
    world.pass(HOUR);
    assert!(world.state.get::<Endpoint>(&endpoint).is_none());
}

#[test]
fn a_gateway_endpoint_moves_to_another_table() {
    let mut world = World::new();
    let answer = world.gateway_endpoint("s3", &[11]).unwrap();
    let endpoint = text(&answer, "/VpcEndpoint/VpcEndpointId").to_owned();
    let policy = r#"{"Statement":[]}"#;
    world
        .ask(json!({
            "Action": "ModifyVpcEndpoint", "VpcEndpointId": endpoint, "PolicyDocument": policy,
            "AddRouteTableIds": [id("rtb", 12)], "RemoveRouteTableIds": [id("rtb", 11)],
        }))
        .unwrap();
    let shown = world.shown::<Endpoint>(&endpoint);
    assert_eq!(shown["RouteTableIds"], json!([id("rtb", 12)]));
    assert_eq!(text(&shown, "/PolicyDocument"), policy);
    world.gateway_endpoint("s3", &[11]).unwrap();
    world
        .ask(json!({
            "Action": "ModifyVpcEndpoint", "VpcEndpointId": endpoint, "ResetPolicy": true,
        }))
        .unwrap();
    let shown = world.shown::<Endpoint>(&endpoint);
    assert!(text(&shown, "/PolicyDocument").contains("Allow"));
}

#[test]
fn a_customer_detaches_what_a_customer_attached() {
    let mut world = World::new();
    let made = world.interface(11);
    let mut interface = world.state.get::<Interface>(&made).cloned().unwrap();
    interface.status = InterfaceStatus::InUse;
    interface.attachment = Some(Attachment {
        attachment_id: crate::control::Id::new(id("ela-attach", 1)).unwrap(),
        instance_owner_id: OURS.to_owned(),
        device_index: 0,
        delete_on_termination: false,
        status: "attached".to_owned(),
    });
    world.put(interface);
    let delete = json!({"Action": "DeleteNetworkInterface", "NetworkInterfaceId": made});
    let error = world.ask(delete.clone()).unwrap_err();
    assert_eq!(error.code.as_str(), "InvalidNetworkInterface.InUse");
    let attachment = id("ela-attach", 1);
    world
        .ask(json!({"Action": "DetachNetworkInterface", "AttachmentId": attachment}))
        .unwrap();
    world.ask(delete).unwrap();
}

fn peering_id(answer: &serde_json::Value) -> String {
    text(answer, "/VpcPeeringConnection/VpcPeeringConnectionId").to_owned()
}

#[test]
fn an_offer_is_accepted_by_the_other_account() {
    let mut world = World::new();
    let answer = world.peering(1, 4, THEIRS).unwrap();
    let status = "/VpcPeeringConnection/Status/Code";
    assert_eq!(text(&answer, status), "pending-acceptance");
    let answer = world.ask_as(
        THEIRS,
        json!({
            "Action": "AcceptVpcPeeringConnection", "VpcPeeringConnectionId": peering_id(&answer),
            "Router": "10.4.0.1",
        }),
    );
    let answer = answer.unwrap();
    assert_eq!(text(&answer, status), "active");
    let theirs = "/VpcPeeringConnection/AccepterVpcInfo";
    assert_eq!(text(&answer, &format!("{theirs}/CidrBlock")), "10.4.0.0/16");
    assert_eq!(text(&answer, &format!("{theirs}/Router")), "10.4.0.1");
    let mut transaction = Transaction::new(&mut world.state);
    end_with_vpc(&mut transaction, &id("vpc", 4), world.context.now);
    transaction.commit();
    let shown = world.shown::<Peering>(&peering_id(&answer));
    assert_eq!(
        text(&shown, "/Status/Message"),
        format!("Deleted by {THEIRS}")
    );
    world.pass(HOUR);
    assert_eq!(world.state.all::<Peering>().count(), 0);
}

#[test]
fn an_offer_expires_after_seven_days() {
    let mut world = World::new();
    let peering = peering_id(&world.peering(1, 2, OURS).unwrap());
    let status = |world: &World| world.state.get::<Peering>(&peering).map(|one| one.status);
    world.pass(7 * 24 * HOUR - 1);
    assert_eq!(status(&world), Some(PeeringStatus::PendingAcceptance));
    world.pass(1);
    assert_eq!(status(&world), Some(PeeringStatus::Expired));
    world.peering(1, 2, OURS).unwrap();
    world.pass(HOUR);
    assert_eq!(status(&world), None);
}

/// No error says what another account has.
#[test]
fn an_offer_that_cannot_be_fails() {
    let mut world = World::new();
    // Overlapping, with itself, unknown, and not of the account that is named.
    for (from, to, owner) in [(1, 3, OURS), (1, 1, OURS), (1, 99, THEIRS), (1, 2, THEIRS)] {
        let answer = world.peering(from, to, owner).unwrap();
        let shown = &answer["VpcPeeringConnection"];
        assert_eq!(text(shown, "/Status/Code"), "failed");
        assert!(text(shown, "/Status/Message").starts_with("Failed due to incorrect"));
    }
    world.pass(HOUR);
    assert_eq!(world.state.all::<Peering>().count(), 0);
}

#[test]
fn a_flow_log_goes_with_its_resource() {
    let mut world = World::new();
    let interface = world.interface(11);
    world
        .ask(json!({
            "Action": "CreateFlowLogs", "ResourceIds": [interface, id("eni", 91)],
            "ResourceType": "NetworkInterface", "TrafficType": "ALL",
            "LogDestinationType": "s3", "LogDestination": "arn:aws:s3:::bucket",
        }))
        .unwrap();
    let due = |world: &World| next_tick(&world.state, &world.context.settings);
    assert_eq!(due(&world), None);
    world
        .ask(json!({"Action": "DeleteNetworkInterface", "NetworkInterfaceId": interface}))
        .unwrap();
    assert!(due(&world).is_some());
    world.tick();
    assert_eq!(world.state.all::<FlowLog>().count(), 1);
}

#[test]
fn requests_with_a_token_are_carried_out_once() {
    let requests = [
        json!({"Action": "CreateNetworkInterface", "SubnetId": id("subnet", 11)}),
        json!({
            "Action": "CreateNatGateway", "SubnetId": id("subnet", 11),
            "ConnectivityType": "private",
        }),
        json!({
            "Action": "CreateVpcEndpoint", "VpcId": id("vpc", 1),
            "ServiceName": "com.amazonaws.us-east-1.s3",
        }),
        json!({
            "Action": "CreateFlowLogs", "ResourceIds": [id("vpc", 1), id("vpc", 3)],
            "ResourceType": "VPC", "TrafficType": "ALL",
            "LogDestinationType": "s3", "LogDestination": "arn:aws:s3:::bucket",
        }),
    ];
    for mut request in requests {
        let mut world = World::new();
        request["ClientToken"] = json!("token");
        let answer = world.ask(request.clone()).unwrap();
        assert_eq!(text(&answer, "/ClientToken"), "token");
        let before = world.state.clone();
        assert_eq!(world.ask(request).unwrap(), answer);
        assert_eq!(world.state, before);
    }
}

#[test]
fn elastic_addresses_leave_with_what_they_stand_for() {
    let mut world = World::with_internet();
    let (elastic, interface) = (world.elastic_address(), world.interface(11));
    world
        .ask(json!({
            "Action": "AssignPrivateIpAddresses", "NetworkInterfaceId": interface,
            "PrivateIpAddresses": ["10.0.1.50"],
        }))
        .unwrap();
    let associate = json!({
        "Action": "AssociateAddress", "AllocationId": elastic, "NetworkInterfaceId": interface,
        "PrivateIpAddress": "10.0.1.50", "AllowReassociation": true,
    });
    let is_free = |world: &World| {
        let address = world.state.get::<Address>(&elastic).unwrap();
        address.association_id.is_none() && address.private_ip_address.is_none()
    };
    world.ask(associate.clone()).unwrap();
    world.ask(associate.clone()).unwrap();
    let association = world
        .state
        .get::<Address>(&elastic)
        .unwrap()
        .association_id
        .clone();
    world
        .ask(json!({"Action": "DisassociateAddress", "AssociationId": association}))
        .unwrap();
    assert!(is_free(&world));
    world.ask(associate.clone()).unwrap();
    // Another interface takes the address over.
    let other = world.interface(11);
    world
        .ask(json!({
            "Action": "AssignPrivateIpAddresses", "NetworkInterfaceId": other,
            "PrivateIpAddresses": ["10.0.1.50"], "AllowReassignment": true,
        }))
        .unwrap();
    assert!(is_free(&world));
    world.associate(&elastic, &other).unwrap();
    world
        .ask(json!({"Action": "DeleteNetworkInterface", "NetworkInterfaceId": other}))
        .unwrap();
    assert!(is_free(&world));
}

#[test]
fn elastic_addresses_are_of_networks_that_are_nobodys() {
    let mut world = World::new();
    world.context.settings.addresses = 2_000;
    for _ in 0..1_000 {
        world.elastic_address();
    }
    for address in world.state.all::<Address>() {
        let [a, b, c, last] = address.public_ip.octets();
        let is_test = matches!(
            (a, b, c),
            (198, 51, 100) | (203, 0, 113) | (198, 18 | 19, _)
        );
        assert!(is_test, "{}", address.public_ip);
        assert!((c, last) != (0, 0));
    }
}

/// The first four addresses of a subnet and the last are nobody's, and the others are
/// given once each.
#[test]
fn a_subnet_is_given_out_to_the_last_address() {
    let mut world = World::new();
    for last in 4..=14 {
        let interface = world.interface(12);
        let interface = world.state.get::<Interface>(&interface).unwrap();
        assert_eq!(interface.private_ip_address, Ipv4Addr::new(10, 0, 2, last));
    }
    let subnet = world.state.get::<Subnet>(&id("subnet", 12)).unwrap();
    let error = take(&world.state, subnet, None).unwrap_err();
    assert_eq!(error.code.as_str(), "InsufficientFreeAddressesInSubnet");
    let key = Key::of::<Subnet>(id("subnet", 12));
    assert_eq!(world.state.referring::<Interface>(&key).count(), 11);
}

/// An address that is named is not drawn for another place of the same request.
#[test]
fn named_addresses_are_taken_first() {
    let mut world = World::new();
    let answer = world.ask(json!({
        "Action": "CreateNetworkInterface", "SubnetId": id("subnet", 11),
        "PrivateIpAddresses": [{"PrivateIpAddress": "10.0.1.4"}],
    }));
    let answer = answer.unwrap();
    assert_eq!(
        text(&answer, "/NetworkInterface/PrivateIpAddress"),
        "10.0.1.5"
    );
    let second = "/NetworkInterface/PrivateIpAddresses/1/PrivateIpAddress";
    assert_eq!(text(&answer, second), "10.0.1.4");
}
