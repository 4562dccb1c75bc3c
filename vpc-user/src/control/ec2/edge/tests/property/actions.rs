//! What a step asks for: any action, of resources that most often are there.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::{
    super::{super::addresses_of, OURS, THEIRS, account, id},
    Step,
};
use crate::control::{Account, Kind, Record, State, resource::*};

/// The action of a step.
pub fn action(state: &State, step: &Step) -> Value {
    let caller = account(if step.ours { OURS } else { THEIRS });
    let picks = Picks {
        state,
        caller,
        step,
    };
    match step.what {
        0..=8 => picks.addresses(),
        9..=15 => picks.nat_gateways(),
        16..=23 => picks.endpoints_and_peerings(),
        _ => picks.interfaces(),
    }
}

/// Resources to choose from.
struct Picks<'s> {
    state: &'s State,
    caller: Account,
    step: &'s Step,
}

impl Picks<'_> {
    fn addresses(&self) -> Value {
        let [a, b, c, d, ..] = self.step.picks;
        let gateway = self.pick(Kind::InternetGateway, "igw", a);
        let elastic = self.pick(Kind::Address, "eipalloc", a);
        let interface = self.interface();
        match self.step.what {
            0 => json!({"Action": "CreateInternetGateway"}),
            1 => json!({
                "Action": "AttachInternetGateway", "InternetGatewayId": gateway,
                "VpcId": self.pick(Kind::Vpc, "vpc", b),
            }),
            2 => {
                let attached = self.state.get::<InternetGateway>(&gateway);
                let vpc = attached.and_then(|gateway| gateway.vpc_id.clone());
                let vpc = vpc.map_or_else(|| id("vpc", 1), |id| id.to_string());
                json!({
                    "Action": "DetachInternetGateway", "InternetGatewayId": gateway, "VpcId": vpc,
                })
            }
            3 => json!({"Action": "DeleteInternetGateway", "InternetGatewayId": gateway}),
            4 | 5 => json!({"Action": "AllocateAddress"}),
            6 => json!({
                "Action": "AssociateAddress", "AllocationId": elastic,
                "NetworkInterfaceId": interface, "AllowReassociation": c.is_multiple_of(2),
                "PrivateIpAddress": d.is_multiple_of(4).then(|| self.last_address(&interface)),
            }),
            7 => json!({
                "Action": "DisassociateAddress", "AssociationId": self.association(a, "interface"),
            }),
            _ => json!({"Action": "ReleaseAddress", "AllocationId": elastic}),
        }
    }

    fn nat_gateways(&self) -> Value {
        let [a, b, c, d, e, _] = self.step.picks;
        let elastic = |number| self.pick(Kind::Address, "eipalloc", number);
        let further = c.is_multiple_of(4).then(|| elastic(d));
        let subnet = self.pick(Kind::Subnet, "subnet", a);
        let named = e.is_multiple_of(4).then_some(self.address());
        let gateway = |kind| self.nat_gateway(kind);
        match self.step.what {
            9 => json!({
                "Action": "CreateNatGateway", "SubnetId": subnet, "AllocationId": elastic(b),
                "SecondaryAllocationIds": Vec::from_iter(further),
                "PrivateIpAddress": named, "ClientToken": self.token(),
            }),
            10 => json!({
                "Action": "CreateNatGateway", "SubnetId": subnet, "ConnectivityType": "private",
                "SecondaryPrivateIpAddressCount": d % 10, "ClientToken": self.token(),
            }),
            11 => json!({
                "Action": "DeleteNatGateway",
                "NatGatewayId": self.pick(Kind::NatGateway, "nat", a),
            }),
            12 => json!({
                "Action": "AssignPrivateNatGatewayAddress", "NatGatewayId": gateway("private"),
                "PrivateIpAddresses": Vec::from_iter(named),
                "PrivateIpAddressCount": named.is_none().then_some(d % 4),
            }),
            13 => {
                let gateway = gateway("private");
                let found = self.state.get::<NatGateway>(&gateway);
                let last = found.and_then(|gateway| gateway.nat_gateway_addresses.last());
                json!({
                    "Action": "UnassignPrivateNatGatewayAddress", "NatGatewayId": gateway,
                    "PrivateIpAddresses": [last.map_or(self.address(), |one| one.private_ip)],
                    "MaxDrainDurationSeconds": 1 + d % 600,
                })
            }
            14 => json!({
                "Action": "AssociateNatGatewayAddress", "NatGatewayId": gateway("public"),
                "AllocationIds": [elastic(b)], "PrivateIpAddresses": Vec::from_iter(named),
            }),
            _ => {
                let gateway = gateway("public");
                let found = self.state.get::<NatGateway>(&gateway);
                let last = found.and_then(|gateway| gateway.nat_gateway_addresses.last());
                let last = last.and_then(|address| address.association_id.clone());
                let last = last.map_or_else(|| id("eipassoc", 99), |id| id.to_string());
                json!({
                    "Action": "DisassociateNatGatewayAddress", "NatGatewayId": gateway,
                    "AssociationIds": [last], "MaxDrainDurationSeconds": 1 + d % 600,
                })
            }
        }
    }

    fn endpoints_and_peerings(&self) -> Value {
        let [a, b, c, d, e, f] = self.step.picks;
        let vpc = |number| self.pick(Kind::Vpc, "vpc", number);
        let subnet = |number| self.pick(Kind::Subnet, "subnet", number);
        let table = |number| self.pick(Kind::RouteTable, "rtb", number);
        let group = |number| self.pick(Kind::SecurityGroup, "sg", number);
        let endpoint = self.pick(Kind::Endpoint, "vpce", a);
        let some = |every, of: String| Vec::from_iter(b.is_multiple_of(every).then_some(of));
        let verb = match self.step.what {
            16 => {
                return json!({
                    "Action": "CreateVpcEndpoint", "VpcId": id("vpc", 1),
                    "ServiceName": "com.amazonaws.us-east-1.s3", "ClientToken": self.token(),
                    "RouteTableIds": [table(c)],
                });
            }
            17 => {
                return json!({
                    "Action": "CreateVpcEndpoint", "VpcId": vpc(a), "VpcEndpointType": "Interface",
                    "ServiceName": format!("com.amazonaws.us-east-1.s{}", d % 3),
                    "SubnetIds": some(2, subnet(c)), "PrivateDnsEnabled": d % 2 == 0,
                    "SecurityGroupIds": some(5, group(f)),
                });
            }
            18 => {
                let found = self.state.get::<Endpoint>(&endpoint);
                let first = found.and_then(|endpoint| endpoint.subnet_ids.first());
                let first = first.map_or_else(|| id("subnet", 99), |id| id.to_string());
                return json!({
                    "Action": "ModifyVpcEndpoint", "VpcEndpointId": endpoint,
                    "AddSubnetIds": some(2, subnet(c)), "RemoveSubnetIds": some(3, first),
                    "AddSecurityGroupIds": some(5, group(e)), "AddRouteTableIds": some(7, table(f)),
                });
            }
            19 => {
                return json!({"Action": "DeleteVpcEndpoints", "VpcEndpointIds": [endpoint]});
            }
            20 => {
                let vpcs: Vec<&Vpc> = self.state.all().collect();
                let peer = vpcs[usize::from(b) % vpcs.len()];
                return json!({
                    "Action": "CreateVpcPeeringConnection", "VpcId": vpc(a),
                    "PeerVpcId": peer.vpc_id, "PeerOwnerId": peer.owner_id,
                });
            }
            21 => "Accept",
            22 => "Reject",
            _ => "Delete",
        };
        json!({
            "Action": format!("{verb}VpcPeeringConnection"),
            "VpcPeeringConnectionId": self.pick(Kind::Peering, "pcx", a),
        })
    }

    fn interfaces(&self) -> Value {
        let [a, b, c, d, e, _] = self.step.picks;
        let interface = self.interface();
        let group = |number| self.pick(Kind::SecurityGroup, "sg", number);
        match self.step.what {
            24 => json!({
                "Action": "CreateNetworkInterface", "ClientToken": self.token(),
                "SubnetId": self.pick(Kind::Subnet, "subnet", a),
                "PrivateIpAddress": c.is_multiple_of(4).then_some(self.address()),
                "SecondaryPrivateIpAddressCount": d % 6,
                "Groups": Vec::from_iter(e.is_multiple_of(4).then(|| group(b))),
            }),
            25 => json!({"Action": "DeleteNetworkInterface", "NetworkInterfaceId": interface}),
            26 => json!({
                "Action": "ModifyNetworkInterfaceAttribute", "NetworkInterfaceId": interface,
                "Groups": [group(a), group(c)],
            }),
            27 => json!({
                "Action": "AssignPrivateIpAddresses", "NetworkInterfaceId": interface,
                "PrivateIpAddresses": [self.address()], "AllowReassignment": c.is_multiple_of(2),
            }),
            28 => json!({
                "Action": "UnassignPrivateIpAddresses", "NetworkInterfaceId": interface,
                "PrivateIpAddresses": [self.last_address(&interface)],
            }),
            _ => json!({
                "Action": "CreateFlowLogs", "ResourceIds": [interface],
                "ResourceType": "NetworkInterface", "TrafficType": "ALL", "LogGroupName": "g",
                "DeliverLogsPermissionArn": "arn:aws:iam::111111111111:role/r",
            }),
        }
    }

    /// An id of a kind: of a resource of the caller's, unless there is none or it is to be
    /// another one.
    fn pick(&self, kind: Kind, prefix: &str, number: u16) -> String {
        let any = number.is_multiple_of(16);
        let sees = |record: &&Record| match record {
            Record::Peering(peering) => peering.accepter_vpc.owner_id == self.caller,
            _ => any || record.account() == self.caller,
        };
        let records = self
            .state
            .records()
            .filter(|record| record.key().kind == kind);
        let mut ids: Vec<String> = records.filter(sees).map(|record| record.key().id).collect();
        if ids.is_empty() || any {
            ids.push(id(prefix, 99));
        }
        ids[usize::from(number / 16) % ids.len()].clone()
    }

    /// An interface, most often one of the caller's own.
    fn interface(&self) -> String {
        let [_, b, .., e, _] = self.step.picks;
        let customers =
            |one: &&Interface| one.interface_type == "interface" && one.owner_id == self.caller;
        let own: Vec<_> = self.state.all::<Interface>().filter(customers).collect();
        match own.get(usize::from(b) % own.len().max(1)) {
            Some(interface) if e % 4 != 1 => interface.network_interface_id.to_string(),
            _ => self.pick(Kind::Interface, "eni", b),
        }
    }

    fn last_address(&self, interface: &str) -> Ipv4Addr {
        let interface = self.state.get::<Interface>(interface);
        let last = interface.and_then(|interface| addresses_of(interface).last());
        last.unwrap_or_else(|| self.address())
    }

    /// An address that may be of a subnet of VPC 1.
    fn address(&self) -> Ipv4Addr {
        let [.., e, f] = self.step.picks;
        Ipv4Addr::new(10, 0, 1 + (e / 4 % 3) as u8, (f % 24) as u8)
    }

    /// The association of an elastic address with an interface of a type.
    fn association(&self, number: u16, interface_type: &str) -> String {
        let is_of_type = |address: &&Address| {
            let interface = address.network_interface_id.as_ref();
            let interface = interface.and_then(|id| self.state.get::<Interface>(id.as_str()));
            interface
                .is_some_and(|one| one.interface_type == interface_type || number.is_multiple_of(8))
        };
        let associated: Vec<_> = self.state.all::<Address>().filter(is_of_type).collect();
        let one = associated.get(usize::from(number / 8) % associated.len().max(1));
        let one = one.and_then(|address| address.association_id.as_ref());
        one.map_or_else(|| id("eipassoc", 99), |id| id.to_string())
    }

    /// A NAT gateway, most often one of that kind that is available.
    fn nat_gateway(&self, kind: &str) -> String {
        let [a, _, c, ..] = self.step.picks;
        let fits = |one: &&NatGateway| {
            one.connectivity_type == kind && one.state == NatGatewayState::Available
        };
        let gateways: Vec<_> = self.state.all::<NatGateway>().filter(fits).collect();
        match gateways.get(usize::from(a) % gateways.len().max(1)) {
            Some(gateway) if c % 4 != 1 => gateway.nat_gateway_id.to_string(),
            _ => self.pick(Kind::NatGateway, "nat", a),
        }
    }

    fn token(&self) -> Option<String> {
        let [.., f] = self.step.picks;
        f.is_multiple_of(8).then(|| format!("token-{}", f % 16))
    }
}
