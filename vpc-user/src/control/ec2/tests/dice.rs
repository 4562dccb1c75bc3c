//! Commands that are made from random numbers: mostly about what there is, sometimes
//! about nothing.

use serde_json::{Value, json};

use super::world::World;
use crate::control::{
    Kind,
    desired::tests::UPLINKS,
    ec2::lookup::{FORMS, Form},
    resource::*,
};

/// Numbers from which a command is made: which, and of what.
pub(super) type Dice = [u16; 6];
/// Of what.
type Rest = [u16; 5];

/// The command that dice make: its action and its members.
pub(super) fn command(world: &World, dice: Dice) -> (&'static str, Value) {
    let [which, rest @ ..] = dice;
    let of_kind = which / 5;
    match which % 5 {
        0 => of_vpcs(world, of_kind, rest),
        1 => of_groups(world, of_kind, rest),
        2 => of_acls(world, of_kind, rest),
        3 => of_tables(world, of_kind, rest),
        _ => of_others(world, of_kind, rest),
    }
}

fn of_vpcs(world: &World, which: u16, [a, b, c, ..]: Rest) -> (&'static str, Value) {
    let vpc = id(world, Kind::Vpc, a);
    match which % 9 {
        0 => ("CreateVpc", json!({ "CidrBlock": cidr(a) })),
        1 => ("CreateVpc", json!({ "CidrBlock": cidr(a % 2) })),
        // Rarely: it takes all work with it.
        2 => (
            pick(&["CreateRouteTable", "DeleteVpc"], b),
            json!({ "VpcId": vpc }),
        ),
        3 => {
            let attribute = pick(
                &["EnableDnsSupport", "EnableDnsHostnames", "OnLink", "Uplink"],
                b,
            );
            let value = match attribute {
                "Uplink" => {
                    json!({ "Value": pick(&[None, Some(UPLINKS[0]), Some(UPLINKS[1])], c) })
                }
                _ => json!({ "Value": c % 2 == 0 }),
            };
            (
                "ModifyVpcAttribute",
                json!({ "VpcId": vpc, attribute: value }),
            )
        }
        4 => (
            "AssociateVpcCidrBlock",
            json!({ "VpcId": vpc, "CidrBlock": cidr(b) }),
        ),
        5 => {
            let association = association(world, Kind::Vpc, a);
            (
                "DisassociateVpcCidrBlock",
                json!({ "AssociationId": association }),
            )
        }
        6 => (
            "CreateSubnet",
            json!({ "VpcId": vpc, "CidrBlock": cidr(b) }),
        ),
        7 => (
            "CreateSubnet",
            json!({ "VpcId": vpc, "CidrBlock": cidr(2 + b % 5) }),
        ),
        _ => (
            "DeleteSubnet",
            json!({ "SubnetId": id(world, Kind::Subnet, a) }),
        ),
    }
}

fn of_groups(world: &World, which: u16, [a, b, c, d, e]: Rest) -> (&'static str, Value) {
    let group = id(world, Kind::SecurityGroup, a);
    let permissions = json!([permission(world, [b, c, d])]);
    let rules = json!({ "GroupId": group, "IpPermissions": permissions });
    match which % 5 {
        0 => {
            let vpc = id(world, Kind::Vpc, a);
            let name = pick(&["a", "B", "b ", "default", "sg-x", ""], b);
            let members = json!({ "VpcId": vpc, "GroupName": name, "Description": "d" });
            ("CreateSecurityGroup", members)
        }
        1 => ("DeleteSecurityGroup", json!({ "GroupId": group })),
        2 if e % 2 == 0 => ("AuthorizeSecurityGroupIngress", rules),
        2 => ("AuthorizeSecurityGroupEgress", rules),
        3 => {
            let rule = rule_of(world, &group, b);
            let ids = json!({ "GroupId": group, "SecurityGroupRuleIds": [rule] });
            let action = pick(
                &["RevokeSecurityGroupIngress", "RevokeSecurityGroupEgress"],
                e,
            );
            (action, if c % 4 == 0 { rules } else { ids })
        }
        _ => {
            let port = pick(&[80, 90], c);
            let rule = json!({
                "IpProtocol": "tcp", "FromPort": port, "ToPort": port, "CidrIpv4": cidr(d),
            });
            let id = rule_of(world, &group, b);
            let update = json!({ "SecurityGroupRuleId": id, "SecurityGroupRule": rule });
            let members = json!({ "GroupId": group, "SecurityGroupRules": [update] });
            ("ModifySecurityGroupRules", members)
        }
    }
}

fn of_acls(world: &World, which: u16, [a, b, c, d, _]: Rest) -> (&'static str, Value) {
    let acl = id(world, Kind::NetworkAcl, a);
    match which % 6 {
        0 => (
            "CreateNetworkAcl",
            json!({ "VpcId": id(world, Kind::Vpc, a) }),
        ),
        1 => ("DeleteNetworkAcl", json!({ "NetworkAclId": acl })),
        2 => ("CreateNetworkAclEntry", acl_entry(acl, [b, c, d])),
        3 => ("ReplaceNetworkAclEntry", acl_entry(acl, [b, c, d])),
        4 => {
            let number = pick(&[100, 200], b);
            let members = json!({
                "NetworkAclId": acl, "RuleNumber": number, "Egress": c % 2 == 0,
            });
            ("DeleteNetworkAclEntry", members)
        }
        _ => {
            let association = association(world, Kind::NetworkAcl, b);
            let members = json!({ "NetworkAclId": acl, "AssociationId": association });
            ("ReplaceNetworkAclAssociation", members)
        }
    }
}

fn of_tables(world: &World, which: u16, [a, b, c, d, _]: Rest) -> (&'static str, Value) {
    let table = id(world, Kind::RouteTable, a);
    match which % 8 {
        0 => (
            "CreateRouteTable",
            json!({ "VpcId": id(world, Kind::Vpc, a) }),
        ),
        1 => ("DeleteRouteTable", json!({ "RouteTableId": table })),
        2 => ("CreateRoute", route(world, &table, [b, c, d])),
        3 => ("ReplaceRoute", route(world, &table, [b, c, d])),
        4 => {
            let mut members = destination(world, &table, b);
            members["RouteTableId"] = table.into();
            ("DeleteRoute", members)
        }
        5 => {
            let subnet = id(world, Kind::Subnet, b);
            (
                "AssociateRouteTable",
                json!({ "RouteTableId": table, "SubnetId": subnet }),
            )
        }
        6 => {
            let association = association(world, Kind::RouteTable, b);
            let members = json!({ "RouteTableId": table, "AssociationId": association });
            ("ReplaceRouteTableAssociation", members)
        }
        _ => {
            let association = association(world, Kind::RouteTable, a);
            (
                "DisassociateRouteTable",
                json!({ "AssociationId": association }),
            )
        }
    }
}

fn of_others(world: &World, which: u16, [a, b, c, d, _]: Rest) -> (&'static str, Value) {
    let list = id(world, Kind::PrefixList, a);
    let entries = json!([{ "Cidr": cidr(b) }, { "Cidr": cidr(c) }]);
    let modify = |member: &str, value: Value| {
        let members = json!({ "PrefixListId": list, member: value });
        ("ModifyManagedPrefixList", members)
    };
    match which % 8 {
        0 => {
            let members = json!({
                "PrefixListName": "l", "MaxEntries": d % 4, "AddressFamily": "IPv4",
                "Entries": entries,
            });
            ("CreateManagedPrefixList", members)
        }
        1 => modify("AddEntries", entries),
        2 => modify("RemoveEntries", json!([{ "Cidr": cidr(b) }])),
        3 => modify("MaxEntries", json!(b % 5)),
        4 => ("DeleteManagedPrefixList", json!({ "PrefixListId": list })),
        5 => {
            let set = match b % 2 {
                0 => "default".to_owned(),
                _ => id(world, Kind::DhcpOptions, b / 2),
            };
            let members = json!({ "VpcId": id(world, Kind::Vpc, a), "DhcpOptionsId": set });
            ("AssociateDhcpOptions", members)
        }
        6 => {
            let set = id(world, Kind::DhcpOptions, a);
            ("DeleteDhcpOptions", json!({ "DhcpOptionsId": set }))
        }
        _ => {
            let resource = id(world, pick(FORMS, a).kind, b);
            let tag = json!({ "Key": pick(&["a", "b", "c", "d", "aws:"], c) });
            (
                "CreateTags",
                json!({ "Resources": [resource], "Tags": [tag] }),
            )
        }
    }
}

/// One of the rules of a group.
fn rule_of(world: &World, group: &str, die: u16) -> String {
    let group = world.state.get::<SecurityGroup>(group);
    let rules = group
        .map(|group| group.rules.as_slice())
        .unwrap_or_default();
    match rules.len() {
        0 => "nonsense".to_owned(),
        count => rules[usize::from(die) % count]
            .security_group_rule_id
            .to_string(),
    }
}

/// One of several.
pub(super) fn pick<T: Copy>(from: &[T], die: u16) -> T {
    from[usize::from(die) % from.len()]
}

/// A prefix: some are blocks of VPCs, some of subnets in them, some are not canonical,
/// and some may be nothing.
fn cidr(die: u16) -> &'static str {
    let cidrs = [
        "10.0.0.0/16",
        "10.1.0.0/16",
        "10.0.1.0/24",
        "10.0.1.0/28",
        "10.0.2.0/24",
        "10.1.1.9/24",
        "10.1.1.128/28",
        "10.2.0.0/24",
        "0.0.0.0/0",
        "10.0.0.0/8",
        "169.254.169.0/24",
        "10.0.0.0/30",
        "nonsense",
    ];
    pick(&cidrs, die)
}

/// The id of a resource of a kind, or sometimes one of nothing.
pub(super) fn id(world: &World, kind: Kind, die: u16) -> String {
    let records = world.state.records().map(|record| record.key());
    let ids: Vec<String> = records
        .filter(|key| key.kind == kind)
        .map(|key| key.id)
        .collect();
    match ids.len() {
        0 => format!("{}-12345678", Form::of(kind).unwrap().id.prefix()),
        _ if die % 31 == 30 => "nonsense".to_owned(),
        count => ids[usize::from(die) % count].clone(),
    }
}

/// One of the associations that there are.
fn association(world: &World, kind: Kind, die: u16) -> String {
    let vpcs = world
        .state
        .all::<Vpc>()
        .flat_map(|vpc| &vpc.cidr_block_association_set);
    let ids: Vec<String> = match kind {
        Kind::Vpc => vpcs.map(|one| one.association_id.to_string()).collect(),
        Kind::NetworkAcl => {
            let subnets = world.state.all::<Subnet>();
            subnets
                .map(|one| one.network_acl_association_id.to_string())
                .collect()
        }
        _ => {
            let tables: Vec<&RouteTable> = world.state.all().collect();
            let main = tables
                .iter()
                .filter_map(|table| table.main_association_id.as_ref());
            let explicit = tables.iter().flat_map(|table| &table.associations);
            let explicit = explicit.map(|one| &one.route_table_association_id);
            main.chain(explicit).map(ToString::to_string).collect()
        }
    };
    match ids.len() {
        0 => "nonsense".to_owned(),
        count => ids[usize::from(die) % count].clone(),
    }
}

/// One rule's worth of a permission.
fn permission(world: &World, [kind, ports, peer]: [u16; 3]) -> Value {
    let mut permission = match kind % 3 {
        0 => json!({ "IpRanges": [{ "CidrIp": cidr(peer) }] }),
        1 => {
            let group = id(world, Kind::SecurityGroup, peer);
            json!({ "UserIdGroupPairs": [{ "GroupId": group }] })
        }
        _ => {
            let list = id(world, Kind::PrefixList, peer);
            json!({ "PrefixListIds": [{ "PrefixListId": list }] })
        }
    };
    permission["IpProtocol"] = pick(&["tcp", "udp", "-1", "icmp", "50"], ports).into();
    permission["FromPort"] = pick(&[-1, 0, 80], ports / 5).into();
    permission["ToPort"] = pick(&[-1, 80], ports / 7).into();
    permission
}

/// A destination: often one that the table has a route to.
fn destination(world: &World, table: &str, die: u16) -> Value {
    let table = world.state.get::<RouteTable>(table);
    let routes = table
        .map(|table| table.routes.as_slice())
        .unwrap_or_default();
    match (die % 4, routes.len()) {
        (0 | 1, count @ 1..) => json!(routes[usize::from(die / 4) % count].destination),
        (2, _) => json!({ "DestinationPrefixListId": id(world, Kind::PrefixList, die / 4) }),
        _ => json!({ "DestinationCidrBlock": cidr(die / 4) }),
    }
}

/// A route by some target.
fn route(world: &World, table: &str, [to, target, which]: [u16; 3]) -> Value {
    let mut members = destination(world, table, to);
    members["RouteTableId"] = table.into();
    let (member, kind) = pick(
        &[
            ("GatewayId", Kind::InternetGateway),
            ("NatGatewayId", Kind::NatGateway),
            ("NetworkInterfaceId", Kind::Interface),
            ("VpcPeeringConnectionId", Kind::Peering),
        ],
        target,
    );
    match target % 3 {
        2 => members["Blackhole"] = true.into(),
        _ => members[member] = id(world, kind, which).into(),
    }
    members
}

fn acl_entry(acl: String, [number, what, block]: [u16; 3]) -> Value {
    json!({
        "NetworkAclId": acl,
        "RuleNumber": pick(&[100, 200, 300, 400, 0], number),
        "Egress": number % 2 == 0,
        "RuleAction": pick(&["allow", "deny"], what),
        "Protocol": pick(&["-1", "6", "1"], what),
        "PortRange": { "From": 1, "To": pick(&[0, 1, 80], what / 3) },
        "IcmpTypeCode": { "Type": -1, "Code": pick(&[-1, 0], what / 9) },
        "CidrBlock": cidr(block),
    })
}
