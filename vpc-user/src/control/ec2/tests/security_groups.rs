//! Security groups and their rules.

use serde_json::{Value, json};

use super::world::{World, stranger, text};
use crate::control::{Account, Caller, Key, Settings, resource::*};

/// A permission with one prefix.
fn permission(protocol: &str, from: Value, to: Value, cidr: &str) -> Value {
    json!({
        "IpProtocol": protocol,
        "FromPort": from,
        "ToPort": to,
        "IpRanges": [{ "CidrIp": cidr }],
    })
}

/// TCP to one port from one prefix.
fn tcp(port: u16, cidr: &str) -> Value {
    permission("tcp", port.into(), port.into(), cidr)
}

fn rules(group: &str, permissions: &[Value]) -> Value {
    json!({ "GroupId": group, "IpPermissions": permissions })
}

#[test]
fn a_group_is_named_once_in_its_vpc() {
    let mut world = World::new();
    let vpc = world.vpc("10.0.0.0/16");
    let other = world.vpc("10.0.0.0/16");
    world.group(&vpc, "Web  ");
    world.group(&other, "web");
    let create = |name: &str, description: &str| json!({ "VpcId": vpc, "GroupName": name, "Description": description });
    let long = "x".repeat(256);
    let unknown = json!({ "VpcId": "vpc-12345678", "GroupName": "a", "Description": "a" });
    world.all_refused(&[
        (
            "CreateSecurityGroup",
            create("wEB", "d"),
            "InvalidGroup.Duplicate",
        ),
        (
            "CreateSecurityGroup",
            create("Default", "d"),
            "InvalidGroup.Reserved",
        ),
        (
            "CreateSecurityGroup",
            create("SG-1", "d"),
            "InvalidParameterValue",
        ),
        (
            "CreateSecurityGroup",
            create("sg-", "d"),
            "InvalidParameterValue",
        ),
        (
            "CreateSecurityGroup",
            create("ü", "d"),
            "InvalidParameterValue",
        ),
        (
            "CreateSecurityGroup",
            create(&long, "d"),
            "InvalidParameterValue",
        ),
        (
            "CreateSecurityGroup",
            create("a", &long),
            "InvalidParameterValue",
        ),
        ("CreateSecurityGroup", create("  ", "d"), "MissingParameter"),
        ("CreateSecurityGroup", create("a", ""), "MissingParameter"),
        ("CreateSecurityGroup", unknown, "InvalidVpcID.NotFound"),
    ]);
    world.context.settings.quotas.security_groups = 4;
    let refused = world.refused("CreateSecurityGroup", create("a", "d"));
    assert_eq!(refused, "SecurityGroupLimitExceeded");
}

#[test]
fn a_new_group_lets_everything_out_and_nothing_in() {
    let mut world = World::new();
    let vpc = world.vpc("10.0.0.0/16");
    let group = world.group(&vpc, "one");
    let shown = world.shown(&Key::of::<SecurityGroup>(&group));
    assert_eq!(shown["IpPermissions"], json!([]));
    let egress = &shown["IpPermissionsEgress"];
    assert_eq!(egress[0]["IpProtocol"], "-1");
    assert_eq!(egress[0]["IpRanges"], json!([{ "CidrIp": "0.0.0.0/0" }]));
    let all = json!({ "IpProtocol": "-1", "IpRanges": [{ "CidrIp": "0.0.0.0/0" }] });
    world.ok("RevokeSecurityGroupEgress", rules(&group, &[all]));
    let shown = world.shown(&Key::of::<SecurityGroup>(&group));
    assert_eq!(shown["IpPermissionsEgress"], json!([]));
}

#[test]
fn one_rule_a_peer() {
    let mut world = World::new();
    let vpc = world.vpc("10.0.0.0/16");
    let group = world.group(&vpc, "one");
    let list = world.list(2, &["10.7.0.0/16"]);
    let permission = json!({
        "IpProtocol": "TCP",
        "FromPort": 80,
        "ToPort": 90,
        "IpRanges": [{ "CidrIp": "10.1.2.3/16", "Description": "net" }, { "CidrIp": "0.0.0.0/0" }],
        "Ipv6Ranges": [],
        "UserIdGroupPairs": [{ "GroupId": group, "UserId": "000000000001" }],
        "PrefixListIds": [{ "PrefixListId": list }],
    });
    let tags = json!([{ "ResourceType": "security-group-rule", "Tags": [{ "Key": "k" }] }]);
    let mut members = rules(&group, std::slice::from_ref(&permission));
    members["TagSpecifications"] = tags;
    let answer = world.ok("AuthorizeSecurityGroupIngress", members);
    let new = answer["SecurityGroupRules"].as_array().unwrap().clone();
    assert_eq!(new.len(), 4);
    assert_eq!(new[0]["CidrIpv4"], "10.1.0.0/16");
    assert_eq!(new[0]["Description"], "net");
    assert_eq!(new[0]["IsEgress"], false);
    assert_eq!(new[0]["IpProtocol"], "tcp");
    assert_eq!(new[0]["Tags"], json!([{ "Key": "k", "Value": "" }]));
    assert_eq!(new[2]["ReferencedGroupInfo"]["GroupId"], group.as_str());
    assert_eq!(new[2]["ReferencedGroupInfo"]["UserId"], "000000000001");
    assert_eq!(new[3]["PrefixListId"], list.as_str());

    // What is shown can be given back to revoke it.
    let shown = world.shown(&Key::of::<SecurityGroup>(&group));
    let shown = shown["IpPermissions"].as_array().unwrap().clone();
    assert_eq!(shown.len(), 1);
    let delete = json!({ "PrefixListId": list });
    let refused = world.refused("DeleteManagedPrefixList", delete.clone());
    assert_eq!(refused, "DependencyViolation");
    let answer = world.ok("RevokeSecurityGroupIngress", rules(&group, &shown));
    assert_eq!(
        answer["RevokedSecurityGroupRules"]
            .as_array()
            .unwrap()
            .len(),
        4
    );
    world.ok("DeleteManagedPrefixList", delete);
}

#[test]
fn protocols_and_ports() {
    let null = Value::Null;
    let anywhere = "0.0.0.0/0";
    // Protocol, from, to → as it is kept, or the code of the refusal.
    type Kept = Result<(&'static str, i32, i32), &'static str>;
    let cases: &[(&str, Value, Value, Kept)] = &[
        ("tcp", json!(0), json!(65535), Ok(("tcp", 0, 65535))),
        ("6", json!(22), json!(22), Ok(("tcp", 22, 22))),
        ("17", json!(53), json!(53), Ok(("udp", 53, 53))),
        ("udp", json!(1), json!(2), Ok(("udp", 1, 2))),
        ("tcp", json!(2), json!(1), Err("InvalidParameterValue")),
        ("tcp", json!(-1), json!(-1), Err("InvalidParameterValue")),
        ("tcp", json!(0), json!(65536), Err("InvalidParameterValue")),
        ("tcp", json!(80), null.clone(), Err("InvalidParameterValue")),
        (
            "udp",
            null.clone(),
            null.clone(),
            Err("InvalidParameterValue"),
        ),
        ("icmp", json!(8), json!(0), Ok(("icmp", 8, 0))),
        ("1", json!(8), json!(-1), Ok(("icmp", 8, -1))),
        ("icmp", json!(-1), json!(-1), Ok(("icmp", -1, -1))),
        ("icmp", json!(-1), json!(0), Err("InvalidParameterValue")),
        ("icmp", json!(256), json!(0), Err("InvalidParameterValue")),
        ("icmp", json!(8), json!(256), Err("InvalidParameterValue")),
        (
            "icmp",
            null.clone(),
            null.clone(),
            Err("InvalidParameterValue"),
        ),
        ("-1", json!(80), json!(90), Ok(("-1", -1, -1))),
        ("-1", null.clone(), null.clone(), Ok(("-1", -1, -1))),
        ("50", json!(80), json!(90), Ok(("50", -1, -1))),
        ("50", null.clone(), null.clone(), Ok(("50", -1, -1))),
        ("icmpv6", null.clone(), null.clone(), Ok(("58", -1, -1))),
        (
            "256",
            null.clone(),
            null.clone(),
            Err("InvalidParameterValue"),
        ),
        (
            "050",
            null.clone(),
            null.clone(),
            Err("InvalidParameterValue"),
        ),
        (
            "gre",
            null.clone(),
            null.clone(),
            Err("InvalidParameterValue"),
        ),
        ("", null.clone(), null.clone(), Err("InvalidParameterValue")),
    ];
    for (protocol, from, to, kept) in cases {
        let mut world = World::new();
        let vpc = world.vpc("10.0.0.0/16");
        let group = world.group(&vpc, "one");
        let permission = permission(protocol, from.clone(), to.clone(), anywhere);
        let members = rules(&group, &[permission]);
        let answer = world.run("AuthorizeSecurityGroupIngress", members);
        let got = answer.map(|answer| {
            let rule = &answer["SecurityGroupRules"][0];
            let member = |name: &str| rule[name].as_i64().unwrap() as i32;
            (
                text(&rule["IpProtocol"]),
                member("FromPort"),
                member("ToPort"),
            )
        });
        let got = got.map_err(|error| error.code.as_str().to_owned());
        let kept = kept.map(|(protocol, from, to)| (protocol.to_owned(), from, to));
        assert_eq!(got, kept.map_err(str::to_owned), "{protocol} {from} {to}");
    }
}

#[test]
fn refusals_of_rules() {
    let mut world = World::new();
    let vpc = world.vpc("10.0.0.0/16");
    let unconnected = world.vpc("10.1.0.0/16");
    let group = world.group(&vpc, "one");
    let far = world.group(&unconnected, "far");
    let authorize = "AuthorizeSecurityGroupIngress";
    let revoke = "RevokeSecurityGroupIngress";
    let ssh = tcp(22, "10.0.0.0/8");
    let answer = world.ok(authorize, rules(&group, std::slice::from_ref(&ssh)));
    let rule = answer["SecurityGroupRules"][0]["SecurityGroupRuleId"].clone();
    let peers =
        |member: &str, peers: Value| rules(&group, &[json!({ "IpProtocol": "-1", member: peers })]);
    let pairs = |id: &str| peers("UserIdGroupPairs", json!([{ "GroupId": id }]));
    let lists = |id: &str| peers("PrefixListIds", json!([{ "PrefixListId": id }]));
    let ids = |ids: Value| json!({ "GroupId": group, "SecurityGroupRuleIds": ids });
    let long = "x".repeat(256);
    let described = json!([{ "CidrIp": "10.0.0.0/8", "Description": long }]);
    let mut both = rules(&group, std::slice::from_ref(&ssh));
    both["SecurityGroupRuleIds"] = json!([rule]);
    world.all_refused(&[
        // Whether or not the prefix was written canonically.
        (
            authorize,
            rules(&group, &[tcp(22, "10.9.9.9/8")]),
            "InvalidPermission.Duplicate",
        ),
        (
            authorize,
            rules(&group, &[tcp(1, "::/0")]),
            "InvalidParameterValue",
        ),
        (
            authorize,
            rules(&group, &[tcp(1, "10.0.0.0/8"), tcp(1, "10.0.0.0/8")]),
            "InvalidPermission.Duplicate",
        ),
        (authorize, rules(&group, &[]), "MissingParameter"),
        (
            authorize,
            rules(&group, &[json!({ "IpProtocol": "-1" })]),
            "MissingParameter",
        ),
        (
            authorize,
            peers("IpRanges", described),
            "InvalidParameterValue",
        ),
        (
            authorize,
            peers("Ipv6Ranges", json!([{ "CidrIpv6": "::/0" }])),
            "InvalidParameterValue",
        ),
        (authorize, pairs("sg-12345678"), "InvalidGroup.NotFound"),
        (authorize, pairs("sg-x"), "InvalidGroupId.Malformed"),
        (authorize, pairs(&far), "InvalidGroup.NotFound"),
        (
            authorize,
            lists("pl-12345678"),
            "InvalidPrefixListID.NotFound",
        ),
        (authorize, lists("list"), "InvalidPrefixListId.Malformed"),
        (
            authorize,
            rules("sg-12345678", std::slice::from_ref(&ssh)),
            "InvalidGroup.NotFound",
        ),
        (
            revoke,
            rules(&group, &[tcp(23, "10.0.0.0/8")]),
            "InvalidPermission.NotFound",
        ),
        (
            revoke,
            rules(&group, &[ssh.clone(), ssh.clone()]),
            "InvalidPermission.NotFound",
        ),
        (
            revoke,
            ids(json!(["sgr-12345678"])),
            "InvalidSecurityGroupRuleId.NotFound",
        ),
        (
            revoke,
            ids(json!([rule, rule])),
            "InvalidSecurityGroupRuleId.NotFound",
        ),
        (revoke, ids(json!([])), "MissingParameter"),
        (revoke, both, "InvalidParameterCombination"),
        // A rule of the other direction.
        (
            "RevokeSecurityGroupEgress",
            ids(json!([rule])),
            "InvalidSecurityGroupRuleId.NotFound",
        ),
    ]);
    world.ok(revoke, ids(json!([rule])));
}

#[test]
fn a_prefix_list_counts_for_what_it_may_hold() {
    let mut settings = Settings::default();
    settings.quotas.rules_per_security_group = 10;
    let mut world = World::with(settings);
    let vpc = world.vpc("10.0.0.0/16");
    let group = world.group(&vpc, "one");
    let list = world.list(6, &[]);
    let by_list = json!({ "IpProtocol": "-1", "PrefixListIds": [{ "PrefixListId": list }] });
    world.ok(
        "AuthorizeSecurityGroupIngress",
        rules(&group, std::slice::from_ref(&by_list)),
    );
    let ports = |ports: std::ops::Range<u16>| -> Vec<Value> {
        ports.map(|port| tcp(port, "10.0.0.0/8")).collect()
    };
    let resize = |max: u32| json!({ "PrefixListId": list, "MaxEntries": max });
    world.ok("AuthorizeSecurityGroupIngress", rules(&group, &ports(0..3)));
    let exceeded = "RulesPerSecurityGroupLimitExceeded";
    world.all_refused(&[
        (
            "AuthorizeSecurityGroupIngress",
            rules(&group, &ports(3..5)),
            exceeded,
        ),
        ("ModifyManagedPrefixList", resize(8), exceeded),
    ]);
    world.ok("ModifyManagedPrefixList", resize(7));
    let refused = world.refused("AuthorizeSecurityGroupIngress", rules(&group, &ports(3..4)));
    assert_eq!(refused, exceeded);
    // The other direction is counted by itself: it has one rule from the beginning.
    world.ok("AuthorizeSecurityGroupEgress", rules(&group, &ports(0..9)));
    let refused = world.refused("AuthorizeSecurityGroupEgress", rules(&group, &[by_list]));
    assert_eq!(refused, exceeded);
}

#[test]
fn an_interface_carries_no_more_rules_than_it_may() {
    let mut settings = Settings::default();
    settings.quotas.rules_per_security_group = 3;
    settings.quotas.rules_per_interface = 4;
    let mut world = World::with(settings);
    let vpc = world.vpc("10.0.0.0/16");
    let subnet = world.subnet(&vpc, "10.0.0.0/24");
    let groups = [world.group(&vpc, "one"), world.group(&vpc, "two")];
    world.interface(&subnet, &[&groups[0], &groups[1]]).unwrap();
    let ports = |from: u16| [tcp(from, "10.0.0.0/8"), tcp(from + 1, "10.0.0.0/8")];
    world.ok(
        "AuthorizeSecurityGroupIngress",
        rules(&groups[0], &ports(0)),
    );
    world.ok(
        "AuthorizeSecurityGroupIngress",
        rules(&groups[1], &ports(0)),
    );
    let more = rules(&groups[1], &ports(2)[..1]);
    let refused = world.refused("AuthorizeSecurityGroupIngress", more);
    assert_eq!(refused, "RulesPerSecurityGroupLimitExceeded");
}

#[test]
fn rules_change_in_place() {
    let mut world = World::new();
    let vpc = world.vpc("10.0.0.0/16");
    let group = world.group(&vpc, "one");
    let permissions = [tcp(22, "10.0.0.0/8"), tcp(80, "10.0.0.0/8")];
    let answer = world.ok("AuthorizeSecurityGroupIngress", rules(&group, &permissions));
    let id = answer["SecurityGroupRules"][0]["SecurityGroupRuleId"].clone();
    let modify = |id: &Value, rule: Value| {
        let rules = json!([{ "SecurityGroupRuleId": id, "SecurityGroupRule": rule }]);
        json!({ "GroupId": group, "SecurityGroupRules": rules })
    };
    let to_port = |port: u16| json!({ "IpProtocol": "tcp", "FromPort": port, "ToPort": port, "CidrIpv4": "10.0.0.0/8" });
    let peer = |peers: Value| {
        let mut rule = json!({ "IpProtocol": "-1" });
        rule.as_object_mut()
            .unwrap()
            .extend(peers.as_object().unwrap().clone());
        rule
    };
    let action = "ModifySecurityGroupRules";
    let unknown = json!("sgr-12345678");
    world.all_refused(&[
        (
            action,
            modify(&id, to_port(80)),
            "InvalidPermission.Duplicate",
        ),
        (
            action,
            modify(&unknown, to_port(1)),
            "InvalidSecurityGroupRuleId.NotFound",
        ),
        (
            action,
            modify(&id, peer(json!({ "ReferencedGroupId": group }))),
            "InvalidParameterValue",
        ),
        (
            action,
            modify(&id, peer(json!({}))),
            "InvalidParameterCombination",
        ),
        (
            action,
            modify(
                &id,
                peer(json!({ "CidrIpv4": "10.0.0.0/8", "PrefixListId": "pl-12345678" })),
            ),
            "InvalidParameterCombination",
        ),
        (
            action,
            json!({ "GroupId": group, "SecurityGroupRules": [] }),
            "MissingParameter",
        ),
    ]);
    world.ok(action, modify(&id, to_port(443)));
    world.ok(action, modify(&id, to_port(443)));
    let described = json!([{ "SecurityGroupRuleId": id, "Description": "by id" }]);
    let describe = "UpdateSecurityGroupRuleDescriptionsIngress";
    let by_id = json!({ "GroupId": group, "SecurityGroupRuleDescriptions": described });
    world.ok(describe, by_id.clone());
    let description = |world: &World| {
        let group = world.state.get::<SecurityGroup>(&group).unwrap();
        let rules = group.rules.iter();
        let rule = rules.clone().find(|rule| rule.traffic.from_port == 443);
        rule.unwrap().description.clone()
    };
    assert_eq!(description(&world).as_deref(), Some("by id"));
    world.ok(describe, rules(&group, &[tcp(443, "10.0.0.0/8")]));
    assert_eq!(description(&world), None);
    let other_way = "UpdateSecurityGroupRuleDescriptionsEgress";
    world.all_refused(&[
        (other_way, by_id, "InvalidSecurityGroupRuleId.NotFound"),
        (
            describe,
            rules(&group, &[tcp(1, "10.0.0.0/8")]),
            "InvalidPermission.NotFound",
        ),
        (describe, json!({ "GroupId": group }), "MissingParameter"),
    ]);
}

#[test]
fn a_group_in_use_stays() {
    let mut world = World::new();
    let vpc = world.vpc("10.0.0.0/16");
    let subnet = world.subnet(&vpc, "10.0.0.0/24");
    let group = world.group(&vpc, "one");
    let other = world.group(&vpc, "two");
    let delete = json!({ "GroupId": group });
    let by_group =
        |id: &str| json!({ "IpProtocol": "-1", "UserIdGroupPairs": [{ "GroupId": id }] });
    let from_other = rules(&other, &[by_group(&group)]);
    world.ok("AuthorizeSecurityGroupIngress", from_other.clone());
    // That it names itself is not in the way.
    world.ok(
        "AuthorizeSecurityGroupIngress",
        rules(&group, &[by_group(&group)]),
    );
    assert_eq!(
        world.refused("DeleteSecurityGroup", delete.clone()),
        "DependencyViolation"
    );
    world.ok("RevokeSecurityGroupIngress", from_other);
    let interface = world.interface(&subnet, &[&group]).unwrap();
    assert_eq!(
        world.refused("DeleteSecurityGroup", delete.clone()),
        "DependencyViolation"
    );
    world.state.replace(&Key::of::<Interface>(interface), None);
    world.ok("DeleteSecurityGroup", delete.clone());
    assert_eq!(
        world.refused("DeleteSecurityGroup", delete),
        "InvalidGroup.NotFound"
    );
    let mut groups = world.state.all::<SecurityGroup>();
    let default = groups
        .find(|group| group.is_default())
        .unwrap()
        .group_id
        .to_string();
    drop(groups);
    let refused = world.refused("DeleteSecurityGroup", json!({ "GroupId": default }));
    assert_eq!(refused, "CannotDelete");
}

#[test]
fn a_rule_may_name_a_group_of_a_peer_and_outlive_it() {
    let mut world = World::new();
    let vpc = world.vpc("10.0.0.0/16");
    let group = world.group(&vpc, "one");
    world.context.caller = Caller::root(stranger());
    let peer = world.vpc("10.1.0.0/16");
    let far = world.group(&peer, "far");
    world.context.caller = Caller::root(Account::DEFAULT);
    let pairs = json!([{ "GroupId": far, "UserId": stranger() }]);
    let by_far = rules(
        &group,
        &[json!({ "IpProtocol": "-1", "UserIdGroupPairs": pairs })],
    );
    // Not connected, another account's group does not exist.
    let refused = world.refused("AuthorizeSecurityGroupIngress", by_far.clone());
    assert_eq!(refused, "InvalidGroup.NotFound");
    world.peering(&vpc, &peer, PeeringStatus::Active);
    world.ok("AuthorizeSecurityGroupIngress", by_far.clone());
    world.context.caller = Caller::root(stranger());
    world.ok("DeleteSecurityGroup", json!({ "GroupId": far }));
    world.context.caller = Caller::root(Account::DEFAULT);
    // Stale now, and shown without its owner.
    let shown = world.shown(&Key::of::<SecurityGroup>(&group));
    let pair = &shown["IpPermissions"][0]["UserIdGroupPairs"][0];
    assert_eq!(*pair, json!({ "GroupId": far }));
    world.ok("RevokeSecurityGroupIngress", by_far);
}
