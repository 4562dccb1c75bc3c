//! Every code that a request may be refused with.

use std::time::Duration;

use serde_json::{Value, json};

use super::{OURS, THEIRS, World, id, text};
use crate::control::{ApiError, resource::*};

/// What is asked of a world, and the code of the answer.
pub(super) type Row = (&'static str, fn(&mut World) -> Result<Value, ApiError>);

pub(super) fn check(world: &World, rows: &[Row]) {
    for (number, (code, ask)) in rows.iter().enumerate() {
        let mut world = world.clone();
        let error = ask(&mut world).expect_err(&format!("row {number}: {code}"));
        assert_eq!(error.code.as_str(), *code, "row {number}: {error}");
    }
}

/// A request with some members replaced.
pub(super) fn with(mut request: Value, members: Value) -> Value {
    let (Value::Object(request_members), Value::Object(members)) = (&mut request, members) else {
        unreachable!("both are objects");
    };
    request_members.extend(members);
    request
}

#[test]
fn internet_gateways() {
    let rows: &[Row] = &[
        ("Resource.AlreadyAssociated", |world| {
            let gateway = world.internet_gateway();
            world.attach(&gateway, 1)?;
            world.attach(&gateway, 2)
        }),
        ("InvalidParameterValue", |world| {
            let [one, other] = [world.internet_gateway(), world.internet_gateway()];
            world.attach(&one, 1)?;
            world.attach(&other, 1)
        }),
        ("InvalidInternetGatewayID.NotFound", |world| {
            world.attach(&id("igw", 99), 1)
        }),
        ("InvalidInternetGatewayId.Malformed", |world| {
            world.attach("igw-x", 1)
        }),
        ("InvalidVpcID.NotFound", |world| {
            let gateway = world.internet_gateway();
            world.attach(&gateway, 4)
        }),
        ("DependencyViolation", |world| {
            let gateway = world.internet_gateway();
            world.attach(&gateway, 1)?;
            world.ask(json!({"Action": "DeleteInternetGateway", "InternetGatewayId": gateway}))
        }),
        ("DependencyViolation", |world| {
            let gateway = world.internet_gateway();
            world.attach(&gateway, 1)?;
            let (elastic, interface) = (world.elastic_address(), world.interface(11));
            world.associate(&elastic, &interface)?;
            world.ask(detach(&gateway))
        }),
        ("DependencyViolation", |world| {
            let gateway = world.internet_gateway();
            world.attach(&gateway, 1)?;
            let elastic = world.elastic_address();
            world.public_gateway(&elastic, 11)?;
            world.ask(detach(&gateway))
        }),
        ("Gateway.NotAttached", |world| {
            let gateway = world.internet_gateway();
            world.ask(detach(&gateway))
        }),
        ("InternetGatewayLimitExceeded", |world| {
            (0..5).for_each(|_| drop(world.internet_gateway()));
            world.ask(json!({"Action": "CreateInternetGateway"}))
        }),
        ("InvalidParameterValue", |world| {
            world.ask(tagged("vpc", "Name"))
        }),
        ("InvalidParameterValue", |world| {
            world.ask(tagged("internet-gateway", "aws:x"))
        }),
        ("InvalidParameterValue", |world| {
            world.ask(tagged("internet-gateway", ""))
        }),
        ("TagLimitExceeded", |world| {
            let tags = (0..51).map(|number| json!({"Key": number.to_string(), "Value": ""}));
            let tags: Vec<_> = tags.collect();
            let specification = json!({"ResourceType": "internet-gateway", "Tags": tags});
            world.ask(json!({
                "Action": "CreateInternetGateway", "TagSpecifications": [specification],
            }))
        }),
    ];
    check(&World::new(), rows);
}

fn detach(gateway: &str) -> Value {
    json!({
        "Action": "DetachInternetGateway", "InternetGatewayId": gateway, "VpcId": id("vpc", 1),
    })
}

fn tagged(kind: &str, key: &str) -> Value {
    let specification = json!({"ResourceType": kind, "Tags": [{"Key": key, "Value": "v"}]});
    json!({"Action": "CreateInternetGateway", "TagSpecifications": [specification]})
}

#[test]
fn elastic_addresses() {
    let rows: &[Row] = &[
        ("InvalidParameterValue", |world| {
            world.ask(json!({"Action": "AllocateAddress", "Domain": "standard"}))
        }),
        ("AddressLimitExceeded", |world| {
            (0..5).for_each(|_| drop(world.elastic_address()));
            world.ask(json!({"Action": "AllocateAddress"}))
        }),
        ("InvalidAllocationID.NotFound", |world| {
            let interface = world.interface(11);
            world.associate(&id("eipalloc", 99), &interface)
        }),
        ("InvalidNetworkInterfaceID.NotFound", |world| {
            let elastic = world.elastic_address();
            world.associate(&elastic, &id("eni", 99))
        }),
        ("Gateway.NotAttached", |world| {
            let (elastic, interface) = (world.elastic_address(), world.interface(21));
            world.associate(&elastic, &interface)
        }),
        ("OperationNotPermitted", |world| {
            let elastic = world.elastic_address();
            world.associate(&elastic, &id("eni", 91))
        }),
        ("InvalidParameterValue", |world| {
            let (elastic, interface) = (world.elastic_address(), world.interface(11));
            world.ask(json!({
                "Action": "AssociateAddress", "AllocationId": elastic,
                "NetworkInterfaceId": interface, "PrivateIpAddress": "10.0.1.200",
            }))
        }),
        ("Resource.AlreadyAssociated", |world| {
            let (elastic, interface) = (world.elastic_address(), world.interface(11));
            world.associate(&elastic, &interface)?;
            let other = world.interface(11);
            world.associate(&elastic, &other)
        }),
        ("Resource.AlreadyAssociated", |world| {
            let (elastic, interface) = (world.elastic_address(), world.interface(11));
            world.associate(&elastic, &interface)?;
            let other = world.elastic_address();
            world.associate(&other, &interface)
        }),
        ("OperationNotPermitted", |world| {
            let (elastic, interface) = (world.elastic_address(), world.interface(11));
            world.public_gateway(&elastic, 11)?;
            world.ask(json!({
                "Action": "AssociateAddress", "AllocationId": elastic,
                "NetworkInterfaceId": interface, "AllowReassociation": true,
            }))
        }),
        ("OperationNotPermitted", |world| {
            let elastic = world.elastic_address();
            let gateway = world.public_gateway(&elastic, 11)?;
            let pointer = "/NatGateway/NatGatewayAddresses/0/AssociationId";
            let association = text(&gateway, pointer);
            world.ask(json!({"Action": "DisassociateAddress", "AssociationId": association}))
        }),
        ("InvalidAssociationID.NotFound", |world| {
            world.ask(json!({
                "Action": "DisassociateAddress", "AssociationId": id("eipassoc", 99),
            }))
        }),
        ("InvalidIPAddress.InUse", |world| {
            let (elastic, interface) = (world.elastic_address(), world.interface(11));
            world.associate(&elastic, &interface)?;
            world.ask(json!({"Action": "ReleaseAddress", "AllocationId": elastic}))
        }),
        ("InvalidAllocationID.NotFound", |world| {
            let elastic = world.elastic_address();
            world.ask_as(
                THEIRS,
                json!({"Action": "ReleaseAddress", "AllocationId": elastic}),
            )
        }),
    ];
    check(&World::with_internet(), rows);
}

fn private(members: Value) -> Value {
    let request = json!({
        "Action": "CreateNatGateway", "SubnetId": id("subnet", 11),
        "ConnectivityType": "private",
    });
    with(request, members)
}

#[test]
fn nat_gateways() {
    let rows: &[Row] = &[
        ("InvalidSubnetID.NotFound", |world| {
            world.ask(private(json!({"SubnetId": id("subnet", 41)})))
        }),
        ("InvalidParameterValue", |world| {
            world.ask(private(json!({"ConnectivityType": "other"})))
        }),
        ("InvalidParameterValue", |world| {
            world.ask(private(json!({"AvailabilityMode": "regional"})))
        }),
        ("MissingParameter", |world| {
            world.ask(private(json!({"ConnectivityType": "public"})))
        }),
        ("InvalidParameter", |world| {
            let elastic = world.elastic_address();
            world.ask(private(json!({"AllocationId": elastic})))
        }),
        ("InvalidParameter", |world| {
            let elastic = world.elastic_address();
            world.ask(private(json!({
                "ConnectivityType": "public", "AllocationId": elastic,
                "SecondaryPrivateIpAddresses": ["10.0.1.9"],
            })))
        }),
        ("AddressLimitExceeded", |world| {
            let elastic = [(); 3].map(|()| world.elastic_address());
            world.ask(private(json!({
                "ConnectivityType": "public", "AllocationId": elastic[0],
                "SecondaryAllocationIds": elastic[1..],
            })))
        }),
        ("PrivateIpAddressLimitExceeded", |world| {
            world.ask(private(json!({"SecondaryPrivateIpAddressCount": 8})))
        }),
        ("InvalidParameterCombination", |world| {
            world.ask(private(json!({
                "SecondaryPrivateIpAddressCount": 1, "SecondaryPrivateIpAddresses": ["10.0.1.9"],
            })))
        }),
        ("InvalidParameterValue", |world| {
            world.ask(private(json!({"PrivateIpAddress": "10.0.9.9"})))
        }),
        ("InvalidIPAddress.InUse", |world| {
            world.ask(private(json!({"PrivateIpAddress": "10.0.1.91"})))
        }),
        ("NatGatewayLimitExceeded", |world| {
            (0..5).for_each(|_| drop(world.private_gateway(11)));
            // Another subnet of the same zone.
            world.ask(private(json!({"SubnetId": id("subnet", 12)})))
        }),
        ("IdempotentParameterMismatch", |world| {
            world.ask(private(json!({"ClientToken": "t"})))?;
            world.ask(private(
                json!({"ClientToken": "t", "SubnetId": id("subnet", 12)}),
            ))
        }),
        ("NatGatewayNotFound", |world| {
            world.ask(json!({"Action": "DeleteNatGateway", "NatGatewayId": id("nat", 99)}))
        }),
        ("NatGatewayMalformed", |world| {
            world.ask(json!({"Action": "DeleteNatGateway", "NatGatewayId": "nat"}))
        }),
        ("NatGatewayNotFound", |world| {
            let gateway = world.private_gateway(11);
            world.ask(json!({"Action": "DeleteNatGateway", "NatGatewayId": gateway}))?;
            world.tick();
            world.ask(json!({"Action": "DeleteNatGateway", "NatGatewayId": gateway}))
        }),
    ];
    check(&World::with_internet(), rows);
}

#[test]
fn addresses_of_nat_gateways() {
    fn assign(gateway: &str, members: Value) -> Value {
        let request = json!({"Action": "AssignPrivateNatGatewayAddress", "NatGatewayId": gateway});
        with(request, members)
    }
    fn unassign(gateway: &str, address: &str) -> Value {
        json!({
            "Action": "UnassignPrivateNatGatewayAddress", "NatGatewayId": gateway,
            "PrivateIpAddresses": [address],
        })
    }
    fn available(world: &mut World) -> String {
        let gateway = world.private_gateway(11);
        world.tick();
        gateway
    }
    let rows: &[Row] = &[
        ("IncorrectState", |world| {
            let gateway = world.private_gateway(11);
            world.ask(assign(&gateway, json!({"PrivateIpAddressCount": 1})))
        }),
        ("MissingParameter", |world| {
            let gateway = available(world);
            world.ask(assign(&gateway, json!({})))
        }),
        ("PrivateIpAddressLimitExceeded", |world| {
            let gateway = available(world);
            world.ask(assign(&gateway, json!({"PrivateIpAddressCount": 8})))
        }),
        ("InvalidParameter", |world| {
            let gateway = available(world);
            world.ask(json!({
                "Action": "AssociateNatGatewayAddress", "NatGatewayId": gateway,
                "AllocationIds": [id("eipalloc", 99)],
            }))
        }),
        ("InvalidParameterValue", |world| {
            let gateway = available(world);
            world.ask(unassign(&gateway, "10.0.1.4"))
        }),
        ("InvalidParameterValue", |world| {
            let gateway = available(world);
            world.ask(unassign(&gateway, "10.0.1.200"))
        }),
        ("InvalidParameterValue", |world| {
            let gateway = available(world);
            world.ask(with(
                unassign(&gateway, "10.0.1.200"),
                json!({"MaxDrainDurationSeconds": 4_001}),
            ))
        }),
        ("IncorrectState", |world| {
            let gateway = available(world);
            world.ask(assign(
                &gateway,
                json!({"PrivateIpAddresses": ["10.0.1.50"]}),
            ))?;
            world.ask(unassign(&gateway, "10.0.1.50"))?;
            world.ask(assign(&gateway, json!({"PrivateIpAddressCount": 1})))
        }),
        ("Resource.AlreadyAssociated", |world| {
            let elastic = world.elastic_address();
            let gateway = world.public_gateway(&elastic, 11)?;
            world.tick();
            world.ask(json!({
                "Action": "AssociateNatGatewayAddress", "AllocationIds": [elastic],
                "NatGatewayId": text(&gateway, "/NatGateway/NatGatewayId"),
            }))
        }),
    ];
    check(&World::with_internet(), rows);
}

fn endpoint(members: Value) -> Value {
    let request = json!({
        "Action": "CreateVpcEndpoint", "VpcId": id("vpc", 1),
        "ServiceName": "com.amazonaws.us-east-1.sqs", "VpcEndpointType": "Interface",
    });
    with(request, members)
}

#[test]
fn endpoints() {
    let rows: &[Row] = &[
        ("InvalidVpcID.NotFound", |world| {
            world.ask(endpoint(json!({"VpcId": id("vpc", 4)})))
        }),
        ("InvalidServiceName", |world| {
            world.ask(endpoint(json!({"ServiceName": "sqs"})))
        }),
        ("InvalidServiceName", |world| {
            world.ask(endpoint(
                json!({"ServiceName": "com.amazonaws.eu-west-1.sqs"}),
            ))
        }),
        ("InvalidServiceName", |world| {
            world.gateway_endpoint("sqs", &[11])
        }),
        ("InvalidParameter", |world| {
            world.ask(endpoint(json!({"VpcEndpointType": "GatewayLoadBalancer"})))
        }),
        ("InvalidParameter", |world| {
            world.ask(endpoint(json!({"IpAddressType": "ipv6"})))
        }),
        ("DuplicateSubnetsInSameZone", |world| {
            world.interface_endpoint("sqs", &[11, 12])
        }),
        ("InvalidParameter", |world| {
            world.interface_endpoint("sqs", &[21])
        }),
        ("InvalidSubnetID.NotFound", |world| {
            world.interface_endpoint("sqs", &[41])
        }),
        ("InvalidGroup.NotFound", |world| {
            world.ask(endpoint(json!({"SecurityGroupIds": [id("sg", 40)]})))
        }),
        ("InvalidParameter", |world| {
            world.ask(endpoint(json!({"SecurityGroupIds": [id("sg", 20)]})))
        }),
        ("SecurityGroupsPerInterfaceLimitExceeded", |world| {
            let groups: Vec<_> = (11..=16).map(|number| id("sg", number)).collect();
            world.ask(endpoint(json!({"SecurityGroupIds": groups})))
        }),
        ("InvalidParameter", |world| {
            world.ask(endpoint(json!({"RouteTableIds": [id("rtb", 11)]})))
        }),
        ("InvalidRouteTableID.NotFound", |world| {
            world.gateway_endpoint("s3", &[99])
        }),
        ("InvalidParameter", |world| {
            world.gateway_endpoint("s3", &[21])
        }),
        ("RouteAlreadyExists", |world| {
            world.gateway_endpoint("s3", &[11])?;
            world.gateway_endpoint("dynamodb", &[11])?;
            world.gateway_endpoint("s3", &[12, 11])
        }),
        ("InvalidParameter", |world| {
            // Names are not answered in VPC 2.
            world.ask(endpoint(json!({"VpcId": id("vpc", 2)})))
        }),
        ("InvalidParameter", |world| {
            world.interface_endpoint("sqs", &[11])?;
            world.interface_endpoint("sqs", &[13])
        }),
        ("InvalidPolicyDocument", |world| {
            world.ask(endpoint(json!({"PolicyDocument": "{"})))
        }),
        ("InvalidPolicyDocument", |world| {
            let long = format!("{{\"Id\":\"{}\"}}", "x".repeat(20_480));
            world.ask(endpoint(json!({"PolicyDocument": long})))
        }),
        ("VpcEndpointLimitExceeded", |world| {
            world.context.settings.interface_endpoints_per_vpc = 1;
            world.interface_endpoint("sqs", &[])?;
            world.interface_endpoint("sns", &[])
        }),
        ("VpcEndpointLimitExceeded", |world| {
            world.context.settings.gateway_endpoints = 1;
            world.gateway_endpoint("s3", &[])?;
            world.gateway_endpoint("s3", &[])
        }),
        ("IdempotentParameterMismatch", |world| {
            world.ask(endpoint(json!({"ClientToken": "t"})))?;
            world.ask(endpoint(
                json!({"ClientToken": "t", "SubnetIds": [id("subnet", 11)]}),
            ))
        }),
        ("InvalidIPAddress.InUse", |world| {
            let subnet = json!({"SubnetId": id("subnet", 11), "Ipv4": "10.0.1.91"});
            world.ask(endpoint(json!({"SubnetConfigurations": [subnet]})))
        }),
        ("InvalidParameter", |world| {
            let made = world.interface_endpoint("sqs", &[11])?;
            modify(world, &made, json!({"RemoveSubnetIds": [id("subnet", 13)]}))
        }),
        ("InvalidParameter", |world| {
            let made = world.interface_endpoint("sqs", &[11])?;
            modify(
                world,
                &made,
                json!({"RemoveSecurityGroupIds": [id("sg", 10)]}),
            )
        }),
        ("IncorrectState", |world| {
            let made = world.interface_endpoint("sqs", &[11])?;
            let made_id = text(&made, "/VpcEndpoint/VpcEndpointId");
            world.ask(json!({"Action": "DeleteVpcEndpoints", "VpcEndpointIds": [made_id]}))?;
            modify(world, &made, json!({"ResetPolicy": true}))
        }),
        ("InvalidVpcEndpointId.NotFound", |world| {
            world.ask(json!({
                "Action": "ModifyVpcEndpoint", "VpcEndpointId": id("vpce", 99),
            }))
        }),
        ("InvalidVpcEndpointId.Malformed", |world| {
            world.ask(json!({"Action": "ModifyVpcEndpoint", "VpcEndpointId": "vpce"}))
        }),
        ("MissingParameter", |world| {
            world.ask(json!({"Action": "DeleteVpcEndpoints", "VpcEndpointIds": []}))
        }),
    ];
    check(&World::new(), rows);
}

fn modify(world: &mut World, made: &Value, members: Value) -> Result<Value, ApiError> {
    let id = text(made, "/VpcEndpoint/VpcEndpointId");
    world.ask(with(
        json!({"Action": "ModifyVpcEndpoint", "VpcEndpointId": id}),
        members,
    ))
}

#[test]
fn peering_connections() {
    fn on(verb: &str, made: &Value) -> Value {
        let id = text(made, "/VpcPeeringConnection/VpcPeeringConnectionId");
        json!({
            "Action": format!("{verb}VpcPeeringConnection"), "VpcPeeringConnectionId": id,
        })
    }
    fn asking(members: Value) -> Value {
        let request = json!({
            "Action": "CreateVpcPeeringConnection", "VpcId": id("vpc", 1),
            "PeerVpcId": id("vpc", 2),
        });
        with(request, members)
    }
    let rows: &[Row] = &[
        ("InvalidVpcID.NotFound", |world| world.peering(4, 1, OURS)),
        ("InvalidVpcID.Malformed", |world| {
            world.ask(asking(json!({"PeerVpcId": "vpc x"})))
        }),
        ("InvalidParameterValue", |world| {
            world.ask(asking(json!({"PeerRegion": "eu-west-1"})))
        }),
        ("InvalidParameterValue", |world| {
            world.ask(asking(json!({"Router": "224.0.0.1"})))
        }),
        ("InvalidParameterValue", |world| {
            world.ask(asking(
                json!({"PeerOwnerId": THEIRS, "PeerRouter": "10.0.0.1"}),
            ))
        }),
        ("VpcPeeringConnectionAlreadyExists", |world| {
            world.peering(1, 2, OURS)?;
            world.peering(2, 1, OURS)
        }),
        ("OutstandingVpcPeeringConnectionLimitExceeded", |world| {
            world.context.settings.pending_peerings = 1;
            world.peering(1, 2, OURS)?;
            world.peering(1, 4, THEIRS)
        }),
        ("ActiveVpcPeeringConnectionPerVpcLimitExceeded", |world| {
            world.context.settings.peerings_per_vpc = 0;
            let made = world.peering(1, 2, OURS)?;
            world.ask(on("Accept", &made))
        }),
        ("OperationNotPermitted", |world| {
            let made = world.peering(1, 4, THEIRS)?;
            world.ask(on("Accept", &made))
        }),
        ("OperationNotPermitted", |world| {
            let made = world.peering(1, 4, THEIRS)?;
            world.ask(on("Reject", &made))
        }),
        ("OperationNotPermitted", |world| {
            let made = world.peering(1, 4, THEIRS)?;
            world.ask_as(THEIRS, on("Delete", &made))
        }),
        ("OperationNotPermitted", |world| {
            let made = world.peering(1, 2, OURS)?;
            // The other VPC has got addresses meanwhile that overlap.
            let mut vpc = world.state.get::<Vpc>(&id("vpc", 2)).cloned().unwrap();
            vpc.cidr_block_association_set[0].cidr_block = "10.0.0.0/16".parse().unwrap();
            world.put(vpc);
            world.ask(on("Accept", &made))
        }),
        ("InvalidStateTransition", |world| {
            let made = world.peering(1, 2, OURS)?;
            world.ask(on("Accept", &made))?;
            world.ask(on("Accept", &made))
        }),
        ("InvalidStateTransition", |world| {
            let made = world.peering(1, 2, OURS)?;
            world.context.now = world.context.now.after(Duration::from_secs(7 * 24 * 3_600));
            world.ask(on("Accept", &made))
        }),
        ("InvalidStateTransition", |world| {
            let made = world.peering(1, 2, OURS)?;
            world.ask(on("Reject", &made))?;
            world.ask(on("Delete", &made))
        }),
        ("InvalidVpcPeeringConnectionID.NotFound", |world| {
            let made = world.peering(1, 2, OURS)?;
            world.ask_as(THEIRS, on("Delete", &made))
        }),
        ("InvalidVpcPeeringConnectionID.NotFound", |world| {
            // Theirs has other addresses than ours thought: they never hear of it.
            let made = world.peering(1, 2, THEIRS)?;
            world.ask_as(THEIRS, on("Accept", &made))
        }),
        ("InvalidVpcPeeringConnectionId.Malformed", |world| {
            world.ask(json!({
                "Action": "DeleteVpcPeeringConnection", "VpcPeeringConnectionId": "pcx",
            }))
        }),
    ];
    check(&World::new(), rows);
}
