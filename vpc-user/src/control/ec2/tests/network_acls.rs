//! Network ACLs and their entries.

use serde_json::{Value, json};

use super::world::{World, text};
use crate::control::{Key, resource::*};

fn entry(acl: &str, number: i64, protocol: &str, more: Value) -> Value {
    let mut members = json!({
        "NetworkAclId": acl,
        "RuleNumber": number,
        "Egress": false,
        "RuleAction": "allow",
        "Protocol": protocol,
        "CidrBlock": "10.1.2.3/8",
    });
    let more = more.as_object().unwrap().clone();
    members.as_object_mut().unwrap().extend(more);
    members
}

fn ports(from: i64, to: i64) -> Value {
    json!({ "PortRange": { "From": from, "To": to } })
}

fn icmp(kind: i64, code: i64) -> Value {
    json!({ "IcmpTypeCode": { "Type": kind, "Code": code } })
}

#[test]
fn the_default_acl_allows_all_and_a_new_one_nothing() {
    let mut world = World::new();
    let vpc = world.vpc("10.0.0.0/16");
    let subnet = world.subnet(&vpc, "10.0.0.0/24");
    let default = world.state.all::<NetworkAcl>().next().unwrap();
    let shown = world.shown(&Key::of::<NetworkAcl>(default.network_acl_id.as_str()));
    assert_eq!(shown["IsDefault"], true);
    assert_eq!(shown["Associations"][0]["SubnetId"], subnet.as_str());
    let numbers = |shown: &Value| -> Vec<(bool, u64, String)> {
        let entries = shown["Entries"].as_array().unwrap().iter();
        let of = |entry: &Value| {
            let number = entry["RuleNumber"].as_u64().unwrap();
            assert_eq!(entry["Protocol"], "-1");
            assert_eq!(entry["CidrBlock"], "0.0.0.0/0");
            (entry["Egress"] == true, number, text(&entry["RuleAction"]))
        };
        entries.map(of).collect()
    };
    let allow = |egress| (egress, 100, "allow".to_owned());
    let deny = |egress| (egress, 32_767, "deny".to_owned());
    assert_eq!(
        numbers(&shown),
        [allow(true), deny(true), allow(false), deny(false)]
    );
    let acl = world.acl(&vpc);
    let shown = world.shown(&Key::of::<NetworkAcl>(acl));
    assert_eq!(numbers(&shown), [deny(true), deny(false)]);
}

#[test]
fn protocols_ports_and_numbers() {
    let none = json!({});
    let refused = Err("InvalidParameterValue");
    // Number, protocol and more → protocol as it is kept, or the code of the refusal.
    let cases: &[(i64, &str, Value, Result<&str, &str>)] = &[
        (1, "6", ports(0, 65535), Ok("6")),
        (32_766, "tcp", ports(80, 80), Ok("6")),
        (1, "17", ports(80, 90), Ok("17")),
        (1, "udp", none.clone(), Err("MissingParameter")),
        (1, "6", ports(2, 1), refused),
        (1, "1", icmp(8, 0), Ok("1")),
        (1, "icmp", icmp(-1, -1), Ok("1")),
        (1, "1", icmp(-1, 0), refused),
        (1, "1", icmp(256, 0), refused),
        (1, "1", icmp(8, -2), refused),
        (1, "1", none.clone(), Err("MissingParameter")),
        // Any other protocol ignores ports and types.
        (1, "-1", ports(80, 90), Ok("-1")),
        (1, "50", icmp(8, 0), Ok("50")),
        (1, "58", none.clone(), Ok("58")),
        (1, "256", none.clone(), refused),
        (1, "gre", none.clone(), refused),
        (0, "-1", none.clone(), refused),
        (-1, "-1", none.clone(), refused),
        (32_767, "-1", none.clone(), refused),
        (65_537, "-1", none.clone(), refused),
        (1, "-1", json!({ "CidrBlock": "ten" }), refused),
    ];
    for (number, protocol, more, expected) in cases {
        let mut world = World::new();
        let vpc = world.vpc("10.0.0.0/16");
        let acl = world.acl(&vpc);
        let members = entry(&acl, *number, protocol, more.clone());
        let answer = world.run("CreateNetworkAclEntry", members);
        let acl = world.state.get::<NetworkAcl>(&acl).unwrap();
        let got = match &answer {
            Ok(_) => Ok(acl.entries[0].protocol.as_str()),
            Err(error) => Err(error.code.as_str()),
        };
        assert_eq!(got, *expected, "{number} {protocol} {more}");
        if let Some(entry) = acl.entries.first() {
            assert_eq!(entry.cidr_block.to_string(), "10.0.0.0/8");
            assert_eq!(
                entry.port_range.is_some(),
                matches!(*protocol, "6" | "17" | "tcp")
            );
            assert_eq!(
                entry.icmp_type_code.is_some(),
                matches!(*protocol, "1" | "icmp")
            );
        }
    }
}

#[test]
fn entries_come_change_and_go_by_their_number() {
    let mut world = World::new();
    world.context.settings.quotas.entries_per_network_acl = 2;
    let vpc = world.vpc("10.0.0.0/16");
    let acl = world.acl(&vpc);
    let number = |number| entry(&acl, number, "-1", json!({}));
    let delete = |number: i64, egress: bool| json!({ "NetworkAclId": acl, "RuleNumber": number, "Egress": egress });
    world.ok("CreateNetworkAclEntry", number(200));
    world.ok("CreateNetworkAclEntry", number(100));
    world.all_refused(&[
        (
            "CreateNetworkAclEntry",
            number(100),
            "NetworkAclEntryAlreadyExists",
        ),
        (
            "CreateNetworkAclEntry",
            number(300),
            "NetworkAclEntryLimitExceeded",
        ),
        (
            "ReplaceNetworkAclEntry",
            number(300),
            "InvalidNetworkAclEntry.NotFound",
        ),
        (
            "DeleteNetworkAclEntry",
            delete(300, false),
            "InvalidNetworkAclEntry.NotFound",
        ),
        (
            "DeleteNetworkAclEntry",
            delete(100, true),
            "InvalidNetworkAclEntry.NotFound",
        ),
        (
            "CreateNetworkAclEntry",
            entry("acl-12345678", 1, "-1", json!({})),
            "InvalidNetworkAclID.NotFound",
        ),
    ]);
    let egress = entry(&acl, 100, "-1", json!({ "Egress": true }));
    world.ok("CreateNetworkAclEntry", egress);
    let deny = entry(&acl, 100, "-1", json!({ "RuleAction": "deny" }));
    world.ok("ReplaceNetworkAclEntry", deny);
    let entries = &world.state.get::<NetworkAcl>(&acl).unwrap().entries;
    assert_eq!(entries[0].rule_action, RuleAction::Deny);
    assert_eq!(entries.len(), 3);
    world.ok("DeleteNetworkAclEntry", delete(100, false));
    assert_eq!(
        world.state.get::<NetworkAcl>(&acl).unwrap().entries.len(),
        2
    );
}

#[test]
fn a_subnet_has_one_acl_which_stays_meanwhile() {
    let mut world = World::new();
    let vpc = world.vpc("10.0.0.0/16");
    let other = world.vpc("10.1.0.0/16");
    let subnet = world.subnet(&vpc, "10.0.0.0/24");
    let acl = world.acl(&vpc);
    let far = world.acl(&other);
    let association = |world: &World| {
        let subnet = world.state.get::<Subnet>(&subnet).unwrap();
        subnet.network_acl_association_id.to_string()
    };
    let old = association(&world);
    let default = world
        .state
        .get::<Subnet>(&subnet)
        .unwrap()
        .network_acl_id
        .to_string();
    let replace =
        |association: &str, acl: &str| json!({ "AssociationId": association, "NetworkAclId": acl });
    let delete = |acl: &str| json!({ "NetworkAclId": acl });
    let action = "ReplaceNetworkAclAssociation";
    world.all_refused(&[
        (action, replace(&old, &far), "InvalidParameterValue"),
        (
            action,
            replace(&old, "acl-12345678"),
            "InvalidNetworkAclID.NotFound",
        ),
        (
            action,
            replace("aclassoc-12345678", &acl),
            "InvalidAssociationID.NotFound",
        ),
        (
            "DeleteNetworkAcl",
            delete(&default),
            "InvalidParameterValue",
        ),
        (
            "DeleteNetworkAcl",
            delete("acl-12345678"),
            "InvalidNetworkAclID.NotFound",
        ),
    ]);
    let answer = world.ok(action, replace(&old, &acl));
    assert_eq!(answer["NewAssociationId"], association(&world));
    assert_ne!(association(&world), old);
    assert_eq!(
        world.refused("DeleteNetworkAcl", delete(&acl)),
        "DependencyViolation"
    );
    let new = association(&world);
    world.ok(action, replace(&new, &default));
    world.ok("DeleteNetworkAcl", delete(&acl));
    world.context.settings.quotas.network_acls_per_vpc = 2;
    world.acl(&vpc);
    let refused = world.refused("CreateNetworkAcl", json!({ "VpcId": vpc }));
    assert_eq!(refused, "NetworkAclLimitExceeded");
}
