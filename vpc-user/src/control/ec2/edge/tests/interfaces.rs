//! Every code that a request about interfaces or flow logs may be refused with.

use serde_json::{Value, json};

use super::{
    OURS, THEIRS, World,
    errors::{Row, check, with},
    id,
};
use crate::control::resource::Interface;

fn interface(members: Value) -> Value {
    let request = json!({"Action": "CreateNetworkInterface", "SubnetId": id("subnet", 11)});
    with(request, members)
}

fn attribute(interface: &str, members: Value) -> Value {
    let request = json!({
        "Action": "ModifyNetworkInterfaceAttribute", "NetworkInterfaceId": interface,
    });
    with(request, members)
}

fn delete(interface: &str) -> Value {
    json!({"Action": "DeleteNetworkInterface", "NetworkInterfaceId": interface})
}

fn assign(interface: &str, members: Value) -> Value {
    let request = json!({"Action": "AssignPrivateIpAddresses", "NetworkInterfaceId": interface});
    with(request, members)
}

fn unassign(interface: &str, addresses: Value) -> Value {
    json!({
        "Action": "UnassignPrivateIpAddresses", "NetworkInterfaceId": interface,
        "PrivateIpAddresses": addresses,
    })
}

#[test]
fn interfaces_are_made() {
    let rows: &[Row] = &[
        ("InvalidSubnetID.NotFound", |world| {
            world.ask(interface(json!({"SubnetId": id("subnet", 41)})))
        }),
        ("InvalidSubnetID.Malformed", |world| {
            world.ask(interface(json!({"SubnetId": "subnet-"})))
        }),
        ("InvalidGroup.NotFound", |world| {
            world.ask(interface(json!({"Groups": [id("sg", 99)]})))
        }),
        ("InvalidGroupId.Malformed", |world| {
            world.ask(interface(json!({"Groups": ["sg"]})))
        }),
        ("InvalidParameter", |world| {
            world.ask(interface(json!({"Groups": [id("sg", 20)]})))
        }),
        ("SecurityGroupsPerInterfaceLimitExceeded", |world| {
            let groups: Vec<_> = (11..=16).map(|number| id("sg", number)).collect();
            world.ask(interface(json!({"Groups": groups})))
        }),
        ("InvalidParameterValue", |world| {
            world.ask(interface(json!({"PrivateIpAddress": "10.0.2.9"})))
        }),
        ("InvalidParameterValue", |world| {
            world.ask(interface(json!({"PrivateIpAddress": "10.0.1.3"})))
        }),
        ("InvalidParameterValue", |world| {
            world.ask(interface(json!({"PrivateIpAddress": "10.0.1.255"})))
        }),
        ("InvalidIPAddress.InUse", |world| {
            world.ask(interface(json!({"PrivateIpAddress": "10.0.1.91"})))
        }),
        ("InvalidIPAddress.InUse", |world| {
            let address = json!({"PrivateIpAddress": "10.0.1.9"});
            world.ask(interface(json!({"PrivateIpAddresses": [address, address]})))
        }),
        ("InsufficientFreeAddressesInSubnet", |world| {
            world.ask(interface(json!({
                "SubnetId": id("subnet", 12), "SecondaryPrivateIpAddressCount": 11,
            })))
        }),
        ("InvalidParameterCombination", |world| {
            let address = json!({"PrivateIpAddress": "10.0.1.9"});
            world.ask(interface(json!({
                "PrivateIpAddresses": [address], "SecondaryPrivateIpAddressCount": 1,
            })))
        }),
        ("InvalidParameterCombination", |world| {
            let address = json!({"PrivateIpAddress": "10.0.1.9", "Primary": true});
            world.ask(interface(json!({
                "PrivateIpAddress": "10.0.1.10", "PrivateIpAddresses": [address],
            })))
        }),
        ("PrivateIpAddressLimitExceeded", |world| {
            world.ask(interface(
                json!({"SecondaryPrivateIpAddressCount": u32::MAX}),
            ))
        }),
        ("NetworkInterfaceLimitExceeded", |world| {
            // The interfaces of functions count.
            world.context.settings.interfaces_per_zone = 2;
            world.ask(interface(json!({"SubnetId": id("subnet", 12)})))
        }),
        ("InvalidParameterValue", |world| {
            world.ask(interface(json!({"Description": "x".repeat(256)})))
        }),
        ("InvalidParameterValue", |world| {
            world.ask(interface(json!({"ClientToken": "x".repeat(65)})))
        }),
        ("IdempotentParameterMismatch", |world| {
            world.ask(interface(json!({"ClientToken": "t"})))?;
            world.ask(interface(
                json!({"ClientToken": "t", "Description": "another"}),
            ))
        }),
    ];
    check(&World::new(), rows);
}

#[test]
fn interfaces_are_changed() {
    let rows: &[Row] = &[
        ("InvalidNetworkInterfaceID.NotFound", |world| {
            world.ask(delete(&id("eni", 99)))
        }),
        ("InvalidNetworkInterfaceId.Malformed", |world| {
            world.ask(delete("eni-1"))
        }),
        ("InvalidNetworkInterfaceID.NotFound", |world| {
            let made = world.interface(11);
            world.ask_as(THEIRS, delete(&made))
        }),
        ("InvalidNetworkInterface.InUse", |world| {
            world.ask(delete(&id("eni", 91)))
        }),
        ("OperationNotPermitted", |world| {
            world.private_gateway(13);
            let made = first_service(world);
            world.ask(delete(&made))
        }),
        ("InvalidParameterCombination", |world| {
            let made = world.interface(11);
            world.ask(attribute(&made, json!({})))
        }),
        ("InvalidParameterCombination", |world| {
            let made = world.interface(11);
            let members = json!({
                "Description": {"Value": "x"}, "SourceDestCheck": {"Value": false},
            });
            world.ask(attribute(&made, members))
        }),
        ("InvalidParameterValue", |world| {
            let made = world.interface(11);
            world.ask(attribute(&made, json!({"Groups": []})))
        }),
        ("InvalidParameter", |world| {
            let made = world.interface(11);
            world.ask(attribute(&made, json!({"Groups": [id("sg", 20)]})))
        }),
        ("InvalidAttachmentID.NotFound", |world| {
            world.ask(json!({
                "Action": "DetachNetworkInterface", "AttachmentId": id("ela-attach", 99),
            }))
        }),
        ("OperationNotPermitted", |world| {
            world.ask(assign(
                &id("eni", 91),
                json!({"PrivateIpAddresses": ["10.0.1.50"]}),
            ))
        }),
        ("MissingParameter", |world| {
            let made = world.interface(11);
            world.ask(assign(&made, json!({})))
        }),
        ("InvalidParameterCombination", |world| {
            let made = world.interface(11);
            world.ask(assign(
                &made,
                json!({
                    "PrivateIpAddresses": ["10.0.1.50"], "SecondaryPrivateIpAddressCount": 1,
                }),
            ))
        }),
        ("InvalidIPAddress.InUse", |world| {
            let made = world.interface(11);
            // A primary address stays where it is.
            world.ask(assign(
                &made,
                json!({"PrivateIpAddresses": ["10.0.1.91"], "AllowReassignment": true}),
            ))
        }),
        ("PrivateIpAddressLimitExceeded", |world| {
            let made = world.interface(11);
            world.ask(assign(
                &made,
                json!({"SecondaryPrivateIpAddressCount": u32::MAX}),
            ))
        }),
        ("InvalidParameterValue", |world| {
            let made = world.interface(11);
            world.ask(unassign(&made, json!(["10.0.1.50"])))
        }),
        ("InvalidParameterValue", |world| {
            let made = world.interface(11);
            world.ask(unassign(&made, json!(["10.0.1.4"])))
        }),
        ("MissingParameter", |world| {
            let made = world.interface(11);
            world.ask(unassign(&made, json!([])))
        }),
    ];
    check(&World::new(), rows);
}

fn first_service(world: &World) -> String {
    let mut all = world.state.all::<Interface>();
    let service = all.find(|one| one.requester_managed).unwrap();
    service.network_interface_id.to_string()
}

/// What customers are told about Hyperplane ENIs, word by word.
#[test]
fn interfaces_of_functions_are_not_the_customers_to_change() {
    let mut world = World::new();
    let eni = id("eni", 91);
    for (action, sentence) in [
        (
            attribute(&eni, json!({"Groups": [id("sg", 13)]})),
            "The security group can not be modified for this type of interface",
        ),
        (
            json!({"Action": "DetachNetworkInterface", "AttachmentId": id("ela-attach", 91)}),
            "You are not allowed to manage 'ela-attach' attachments.",
        ),
        (
            attribute(&eni, json!({"SourceDestCheck": {"Value": false}})),
            "You do not have permission to access the specified resource.",
        ),
    ] {
        let error = world.ask(action).unwrap_err();
        assert_eq!(error.code.as_str(), "OperationNotPermitted");
        assert_eq!(error.message, sentence);
    }
    // Released and left over, it is the customer's to remove.
    world.ask(delete(&id("eni", 92))).unwrap();
}

#[test]
fn idle_timeouts_have_ranges() {
    for (member, seconds, is_allowed) in [
        ("TcpEstablishedTimeout", 59, false),
        ("TcpEstablishedTimeout", 60, true),
        ("TcpEstablishedTimeout", 432_000, true),
        ("TcpEstablishedTimeout", 432_001, false),
        ("UdpTimeout", 29, false),
        ("UdpTimeout", 30, true),
        ("UdpTimeout", 60, true),
        ("UdpTimeout", 61, false),
        ("UdpStreamTimeout", 59, false),
        ("UdpStreamTimeout", 60, true),
        ("UdpStreamTimeout", 180, true),
        ("UdpStreamTimeout", 181, false),
    ] {
        let mut world = World::new();
        let given = json!({"ConnectionTrackingSpecification": {member: seconds}});
        assert_eq!(
            world.ask(interface(given.clone())).is_ok(),
            is_allowed,
            "{given}"
        );
        let made = world.interface(11);
        let answer = world.ask(attribute(&made, given.clone()));
        match answer {
            Ok(_) => assert!(is_allowed, "{given}"),
            Err(error) => assert_eq!(
                (error.code.as_str(), is_allowed),
                ("InvalidParameterValue", false)
            ),
        }
    }
}

fn flow_logs(members: Value) -> Value {
    let request = json!({
        "Action": "CreateFlowLogs", "ResourceIds": [id("vpc", 1)], "ResourceType": "VPC",
        "TrafficType": "ALL", "LogDestinationType": "s3", "LogDestination": "arn:aws:s3:::bucket",
    });
    with(request, members)
}

/// The table of AWS-SEMANTICS 10.4, and what else is wrong with a request.
#[test]
fn flow_logs_are_refused() {
    let to_group = json!({
        "LogDestinationType": null, "LogDestination": null, "LogGroupName": "group",
    });
    let rows = [
        (
            json!({"LogGroupName": "group"}),
            "Please only provide LogGroupName or only provide LogDestination.",
        ),
        (
            json!({"LogDestination": null}),
            "LogDestination can't be empty if LogGroupName is not provided.",
        ),
        (
            json!({"LogDestination": null, "LogGroupName": "group"}),
            "LogDestination type must be cloud-watch-logs if LogGroupName is provided.",
        ),
        (
            to_group,
            "DeliverLogsPermissionArn can't be empty if LogDestinationType is cloud-watch-logs.",
        ),
        (
            json!({"MaxAggregationInterval": 61}),
            "Invalid Flow Log Max Aggregation Interval",
        ),
        (
            json!({"TrafficType": "SOME"}),
            "TrafficType must be ACCEPT, REJECT or ALL.",
        ),
        (
            json!({"ResourceType": "TransitGateway"}),
            "ResourceType TransitGateway is not supported.",
        ),
        (
            json!({"LogDestinationType": "tape"}),
            "LogDestinationType tape is not supported.",
        ),
        (
            json!({"LogDestination": "bucket"}),
            "LogDestination bucket is not an ARN of type s3.",
        ),
        (
            json!({"LogDestination": "arn:aws:s3:::bucket/AWSLogs/"}),
            "LogDestination arn:aws:s3:::bucket/AWSLogs/ is not an ARN of type s3.",
        ),
        (
            json!({"LogFormat": "${version} ${shoe-size}"}),
            "Unknown field 'shoe-size' in LogFormat.",
        ),
        (
            json!({"LogFormat": "${bytes} ${bytes}"}),
            "Duplicate field 'bytes' in LogFormat.",
        ),
        (
            json!({"LogFormat": "version"}),
            "LogFormat must be fields as ${field}, one space apart.",
        ),
        (
            json!({"DestinationOptions": {"FileFormat": "csv"}}),
            "FileFormat must be plain-text or parquet.",
        ),
    ];
    for (members, sentence) in rows {
        let error = World::new().ask(flow_logs(members)).unwrap_err();
        assert_eq!(
            (error.code.as_str(), &*error.message),
            ("InvalidParameter", sentence)
        );
    }
}

#[test]
fn flow_logs_have_codes() {
    let rows: &[Row] = &[
        ("MissingParameter", |world| {
            world.ask(flow_logs(json!({"ResourceIds": []})))
        }),
        ("MissingParameter", |world| {
            world.ask(flow_logs(json!({"TrafficType": null})))
        }),
        ("InvalidParameter", |world| {
            let ids = vec![id("vpc", 1); 301];
            world.ask(flow_logs(json!({"ResourceIds": ids})))
        }),
        ("FlowLogAlreadyExists", |world| {
            world.ask(flow_logs(json!({})))?;
            world.ask(flow_logs(json!({"TrafficType": "ACCEPT"})))
        }),
        ("IdempotentParameterMismatch", |world| {
            world.ask(flow_logs(json!({"ClientToken": "t"})))?;
            world.ask(flow_logs(
                json!({"ClientToken": "t", "TrafficType": "ACCEPT"}),
            ))
        }),
        ("InvalidFlowLogId.NotFound", |world| {
            let answer = world.ask(flow_logs(json!({})))?;
            let made = super::text(&answer, "/FlowLogIds/0");
            let ids = json!([made, id("fl", 99)]);
            world.ask(json!({"Action": "DeleteFlowLogs", "FlowLogIds": ids}))
        }),
        ("InvalidFlowLogId.NotFound", |world| {
            let answer = world.ask(flow_logs(json!({})))?;
            let made = super::text(&answer, "/FlowLogIds/0");
            world.ask_as(
                THEIRS,
                json!({"Action": "DeleteFlowLogs", "FlowLogIds": [made]}),
            )
        }),
        ("MissingParameter", |world| {
            world.ask(json!({"Action": "DeleteFlowLogs", "FlowLogIds": []}))
        }),
    ];
    check(&World::new(), rows);
}

/// What is wrong with one resource does not keep the others from having a flow log.
#[test]
fn some_flow_logs_are_unsuccessful() {
    let mut world = World::new();
    world.context.settings.flow_logs_per_resource = 1;
    world
        .ask(flow_logs(json!({"ResourceIds": [id("vpc", 3)]})))
        .unwrap();
    let ids = json!([
        id("vpc", 1),
        id("vpc", 4),
        id("vpc", 3),
        "eni",
        id("vpc", 1)
    ]);
    let request = json!({"ResourceIds": ids, "LogDestination": "arn:aws:s3:::other/folder"});
    let answer = world.ask_as(OURS, flow_logs(request)).unwrap();
    assert_eq!(answer["FlowLogIds"].as_array().unwrap().len(), 1);
    let failed = answer["Unsuccessful"].as_array().unwrap();
    let failed: Vec<_> = failed
        .iter()
        .map(|one| super::text(one, "/Error/Code"))
        .collect();
    let codes = [
        "InvalidVpcID.NotFound",
        "FlowLogsLimitExceeded",
        "InvalidVpcID.Malformed",
    ];
    assert_eq!(failed, codes);
}
