//! How DescribeNetworkInterfaces shows an interface.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::{
    super::{
        names::{private_name, public_name, region_of, zone_id},
        request::{present, tag_list},
    },
    addresses_of, elastic,
};
use crate::control::{
    Id, State,
    resource::{Attachment, Interface, SecurityGroup, Subnet, Vpc},
};

/// As DescribeNetworkInterfaces shows it.
pub(in super::super) fn shown(state: &State, interface: &Interface) -> Value {
    let subnet = state.get::<Subnet>(interface.subnet_id.as_str());
    let zone = subnet.map_or("", |subnet| subnet.availability_zone.as_str());
    let region = region_of(zone);
    let primary = interface.private_ip_address;
    let addresses = addresses_of(interface);
    let addresses: Vec<Value> = addresses
        .map(|address| {
            present(json!({
                "Association": association(state, interface, address, region),
                "Primary": address == primary,
                "PrivateDnsName": private_name(address, region),
                "PrivateIpAddress": address,
            }))
        })
        .collect();
    present(json!({
        "Association": association(state, interface, primary, region),
        "Attachment": interface.attachment.as_ref().map(attachment),
        "AvailabilityZone": zone,
        "AvailabilityZoneId": zone_id(zone),
        "ConnectionTrackingConfiguration": interface.connection_tracking_configuration,
        "Description": interface.description,
        "Groups": group_list(state, &interface.groups),
        "InterfaceType": interface.interface_type,
        "Ipv6Addresses": [],
        "MacAddress": interface.mac_address,
        "NetworkInterfaceId": interface.network_interface_id,
        "Operator": { "Managed": false },
        "OwnerId": interface.owner_id,
        "PrivateDnsName": private_name(primary, region),
        "PrivateIpAddress": primary,
        "PrivateIpAddresses": addresses,
        "RequesterId": interface.requester_id,
        "RequesterManaged": interface.requester_managed,
        "SourceDestCheck": interface.source_dest_check,
        "Status": interface.status,
        "SubnetId": interface.subnet_id,
        "TagSet": tag_list(&interface.tags),
        "VpcId": interface.vpc_id,
    }))
}

/// Security groups with their names.
pub(in super::super) fn group_list(state: &State, groups: &[Id]) -> Value {
    let name = |id: &Id| Some(&state.get::<SecurityGroup>(id.as_str())?.group_name);
    let groups = groups.iter();
    groups
        .map(|id| present(json!({ "GroupId": id, "GroupName": name(id) })))
        .collect()
}

/// What a service attached names no instance.
fn attachment(attachment: &Attachment) -> Value {
    json!({
        "AttachmentId": attachment.attachment_id,
        "DeleteOnTermination": attachment.delete_on_termination,
        "DeviceIndex": attachment.device_index,
        "InstanceOwnerId": attachment.instance_owner_id,
        "NetworkCardIndex": 0,
        "Status": attachment.status,
    })
}

/// The elastic address that stands for an address.
fn association(
    state: &State,
    interface: &Interface,
    address: Ipv4Addr,
    region: &str,
) -> Option<Value> {
    let elastic = elastic(state, interface, address)?;
    let vpc = state.get::<Vpc>(interface.vpc_id.as_str());
    let has_names = vpc.is_some_and(|vpc| vpc.enable_dns_support && vpc.enable_dns_hostnames);
    Some(present(json!({
        "AllocationId": elastic.allocation_id,
        "AssociationId": elastic.association_id,
        "IpOwnerId": elastic.owner_id,
        "PublicDnsName": has_names.then(|| public_name(elastic.public_ip, region)),
        "PublicIp": elastic.public_ip,
    })))
}
