//! What the Describe replies show, member by member.

use serde_json::{Value, json};

use super::{OURS, World, id, text};
use crate::control::resource::*;

#[test]
fn an_interface_of_a_function() {
    let world = World::new();
    let expected = json!({
        "Attachment": {
            "AttachmentId": id("ela-attach", 91),
            "DeleteOnTermination": false,
            "DeviceIndex": 1,
            "InstanceOwnerId": "amazon-aws",
            "NetworkCardIndex": 0,
            "Status": "attached",
        },
        "AvailabilityZone": "us-east-1a",
        "AvailabilityZoneId": "use1-az1",
        "Description": "AWS Lambda VPC ENI-f-00000000-0000-0000-0000-000000000000",
        "Groups": [
            {"GroupId": id("sg", 11), "GroupName": "group-11"},
            {"GroupId": id("sg", 12), "GroupName": "group-12"},
        ],
        "InterfaceType": "lambda",
        "Ipv6Addresses": [],
        "MacAddress": "02:00:00:00:00:91",
        "NetworkInterfaceId": id("eni", 91),
        "Operator": {"Managed": false},
        "OwnerId": OURS,
        "PrivateDnsName": "ip-10-0-1-91.ec2.internal",
        "PrivateIpAddress": "10.0.1.91",
        "PrivateIpAddresses": [{
            "Primary": true,
            "PrivateDnsName": "ip-10-0-1-91.ec2.internal",
            "PrivateIpAddress": "10.0.1.91",
        }],
        "RequesterId": "AROAEXAMPLE:123456789012",
        "RequesterManaged": false,
        "SourceDestCheck": true,
        "Status": "in-use",
        "SubnetId": id("subnet", 11),
        "TagSet": [],
        "VpcId": id("vpc", 1),
    });
    assert_eq!(world.shown::<Interface>(&id("eni", 91)), expected);
}

#[test]
fn an_interface_with_a_public_address() {
    let mut world = World::with_internet();
    let answer = world.ask(json!({
        "Action": "CreateNetworkInterface", "SubnetId": id("subnet", 11),
        "PrivateIpAddress": "10.0.1.20",
        "ConnectionTrackingSpecification": {"UdpTimeout": 45},
        "TagSpecifications": [{
            "ResourceType": "network-interface", "Tags": [{"Key": "Name", "Value": "n"}],
        }],
    }));
    let interface = text(&answer.unwrap(), "/NetworkInterface/NetworkInterfaceId").to_owned();
    let elastic = world.elastic_address();
    let answer = world.associate(&elastic, &interface).unwrap();
    let public = world.state.get::<Address>(&elastic).unwrap().public_ip;
    let shown = world.shown::<Interface>(&interface);
    let association = json!({
        "AllocationId": elastic,
        "AssociationId": answer["AssociationId"],
        "IpOwnerId": OURS,
        "PublicDnsName": format!(
            "ec2-{}.compute-1.amazonaws.com", public.to_string().replace('.', "-")
        ),
        "PublicIp": public,
    });
    assert_eq!(shown["Association"], association);
    assert_eq!(shown["PrivateIpAddresses"][0]["Association"], association);
    assert_eq!(
        shown["Groups"],
        json!([{"GroupId": id("sg", 10), "GroupName": "default"}])
    );
    assert_eq!(shown["TagSet"], json!([{"Key": "Name", "Value": "n"}]));
    let timeouts = json!({
        "TcpEstablishedTimeout": 432_000, "UdpStreamTimeout": 180, "UdpTimeout": 45,
    });
    assert_eq!(shown["ConnectionTrackingConfiguration"], timeouts);
    assert_eq!(shown.get("Attachment"), None);
    assert_eq!(text(&shown, "/Status"), "available");
    let shown = world.shown::<Address>(&elastic);
    let expected = json!({
        "AllocationId": elastic,
        "AssociationId": answer["AssociationId"],
        "Domain": "vpc",
        "NetworkInterfaceId": interface,
        "NetworkInterfaceOwnerId": OURS,
        "PrivateIpAddress": "10.0.1.20",
        "PublicIp": public,
        "PublicIpv4Pool": "amazon",
        "Tags": [],
    });
    assert_eq!(shown, expected);
}

#[test]
fn a_nat_gateway_and_its_interface() {
    let mut world = World::with_internet();
    let elastic = world.elastic_address();
    let answer = world.public_gateway(&elastic, 11).unwrap();
    let gateway = text(&answer, "/NatGateway/NatGatewayId").to_owned();
    world.tick();
    let shown = world.shown::<NatGateway>(&gateway);
    let address = &shown["NatGatewayAddresses"][0];
    let interface = text(address, "/NetworkInterfaceId").to_owned();
    let elastic = world.state.get::<Address>(&elastic).unwrap();
    let expected = json!({
        "AvailabilityMode": "zonal",
        "ConnectivityType": "public",
        "CreateTime": "2027-01-15T08:00:00.000Z",
        "NatGatewayAddresses": [{
            "AllocationId": elastic.allocation_id,
            "AssociationId": elastic.association_id,
            "IsPrimary": true,
            "NetworkInterfaceId": interface,
            "PrivateIp": "10.0.1.4",
            "PublicIp": elastic.public_ip,
            "Status": "succeeded",
        }],
        "NatGatewayId": gateway,
        "State": "available",
        "SubnetId": id("subnet", 11),
        "Tags": [],
        "VpcId": id("vpc", 1),
    });
    assert_eq!(shown, expected);
    let shown = world.shown::<Interface>(&interface);
    assert_eq!(
        text(&shown, "/Description"),
        format!("Interface for NAT Gateway {gateway}")
    );
    assert_eq!(text(&shown, "/InterfaceType"), "nat_gateway");
    assert_eq!(text(&shown, "/Attachment/InstanceOwnerId"), "amazon-aws");
    assert_eq!(text(&shown, "/Status"), "in-use");
    assert_eq!(shown["RequesterManaged"], Value::Bool(true));
    assert_eq!(shown["SourceDestCheck"], Value::Bool(false));
    assert_eq!(shown["Groups"], json!([]));
}

#[test]
fn an_interface_endpoint() {
    let mut world = World::new();
    let answer = world.interface_endpoint("ecr.dkr", &[11]).unwrap();
    let shown = &answer["VpcEndpoint"];
    let endpoint = text(shown, "/VpcEndpointId");
    let digits = &endpoint[endpoint.len() - 8..];
    let zone = "dkr.ecr.us-east-1";
    let names = [
        format!("{endpoint}-{digits}.{zone}.vpce.amazonaws.com"),
        format!("{endpoint}-{digits}-us-east-1a.{zone}.vpce.amazonaws.com"),
        format!("{zone}.amazonaws.com"),
    ];
    let expected = json!({
        "CreationTimestamp": "2027-01-15T08:00:00.000Z",
        "DnsEntries": names.map(|name| json!({"DnsName": name})),
        "DnsOptions": {"DnsRecordIpType": "ipv4"},
        "Groups": [{"GroupId": id("sg", 10), "GroupName": "default"}],
        "IpAddressType": "ipv4",
        "NetworkInterfaceIds": shown["NetworkInterfaceIds"],
        "OwnerId": OURS,
        "PolicyDocument": super::super::endpoint::OPEN_POLICY,
        "PrivateDnsEnabled": true,
        "RequesterManaged": false,
        "RouteTableIds": [],
        "ServiceName": "com.amazonaws.us-east-1.ecr.dkr",
        "State": "pending",
        "SubnetIds": [id("subnet", 11)],
        "Tags": [],
        "VpcEndpointId": endpoint,
        "VpcEndpointType": "Interface",
        "VpcId": id("vpc", 1),
    });
    assert_eq!(shown, &expected);
    let interface = world.shown::<Interface>(text(shown, "/NetworkInterfaceIds/0"));
    let description = format!("VPC Endpoint Interface {endpoint}");
    assert_eq!(text(&interface, "/Description"), description);
    assert_eq!(text(&interface, "/InterfaceType"), "vpc_endpoint");
    assert_eq!(interface["RequesterManaged"], Value::Bool(true));
}

#[test]
fn a_gateway_endpoint() {
    let mut world = World::new();
    let answer = world.gateway_endpoint("s3", &[11, 12]).unwrap();
    let shown = &answer["VpcEndpoint"];
    assert_eq!(
        shown["RouteTableIds"],
        json!([id("rtb", 11), id("rtb", 12)])
    );
    assert_eq!(shown["PrivateDnsEnabled"], Value::Bool(false));
    assert_eq!(shown["DnsEntries"], json!([]));
    assert_eq!(
        text(shown, "/DnsOptions/DnsRecordIpType"),
        "service-defined"
    );
}

#[test]
fn a_peering_connection() {
    let mut world = World::new();
    let answer = world.peering(1, 2, OURS).unwrap();
    let shown = &answer["VpcPeeringConnection"];
    let expected = json!({
        "AccepterVpcInfo": {"OwnerId": OURS, "VpcId": id("vpc", 2)},
        "ExpirationTime": "2027-01-22T08:00:00.000Z",
        "RequesterVpcInfo": {
            "CidrBlock": "10.0.0.0/16",
            "CidrBlockSet": [{"CidrBlock": "10.0.0.0/16"}],
            "OwnerId": OURS,
            "VpcId": id("vpc", 1),
        },
        "Status": {
            "Code": "pending-acceptance",
            "Message": format!("Pending Acceptance by {OURS}"),
        },
        "Tags": [],
        "VpcPeeringConnectionId": shown["VpcPeeringConnectionId"],
    });
    assert_eq!(shown, &expected);
}

#[test]
fn an_internet_gateway() {
    let mut world = World::new();
    let gateway = world.internet_gateway();
    assert_eq!(
        world.shown::<InternetGateway>(&gateway)["Attachments"],
        json!([])
    );
    world.attach(&gateway, 1).unwrap();
    let expected = json!({
        "Attachments": [{"State": "available", "VpcId": id("vpc", 1)}],
        "InternetGatewayId": gateway,
        "OwnerId": OURS,
        "Tags": [],
    });
    assert_eq!(world.shown::<InternetGateway>(&gateway), expected);
}

#[test]
fn a_flow_log() {
    let mut world = World::new();
    let answer = world.ask(json!({
        "Action": "CreateFlowLogs", "ResourceIds": [id("subnet", 11)], "ResourceType": "Subnet",
        "TrafficType": "REJECT", "DeliverLogsPermissionArn": "arn:aws:iam::111111111111:role/r",
        "LogDestination": "arn:aws:logs:us-east-1:111111111111:log-group:flows:*",
    }));
    let log = text(&answer.unwrap(), "/FlowLogIds/0").to_owned();
    let expected = json!({
        "CreationTime": "2027-01-15T08:00:00.000Z",
        "DeliverLogsPermissionArn": "arn:aws:iam::111111111111:role/r",
        "DeliverLogsStatus": "SUCCESS",
        "DestinationOptions": {
            "FileFormat": "plain-text",
            "HiveCompatiblePartitions": false,
            "PerHourPartition": false,
        },
        "FlowLogId": log,
        "FlowLogStatus": "ACTIVE",
        "LogDestination": "arn:aws:logs:us-east-1:111111111111:log-group:flows:*",
        "LogDestinationType": "cloud-watch-logs",
        "LogFormat": "${version} ${account-id} ${interface-id} ${srcaddr} ${dstaddr} ${srcport} \
                      ${dstport} ${protocol} ${packets} ${bytes} ${start} ${end} ${action} \
                      ${log-status}",
        "LogGroupName": "flows",
        "MaxAggregationInterval": 600,
        "ResourceId": id("subnet", 11),
        "Tags": [],
        "TrafficType": "REJECT",
    });
    assert_eq!(world.shown::<FlowLog>(&log), expected);
}
