//! Prefix lists, DHCP options and tags.

use serde_json::{Value, json};

use super::world::{World, stranger, text};
use crate::control::{Account, Caller, Key, Tags, resource::*};

#[test]
fn entries_of_prefix_lists_come_and_go_with_a_version() {
    let mut world = World::new();
    let list = world.list(2, &["10.1.2.3/16"]);
    let modify = |members: Value| {
        let mut all = json!({ "PrefixListId": list });
        all.as_object_mut()
            .unwrap()
            .extend(members.as_object().unwrap().clone());
        all
    };
    let action = "ModifyManagedPrefixList";
    let add = json!({ "CurrentVersion": 1, "AddEntries": [{ "Cidr": "10.2.0.0/16" }] });
    let answer = world.ok(action, modify(add.clone()));
    assert_eq!(answer["PrefixList"]["Version"], 2);
    let cidr = |cidr: &str| json!([{ "Cidr": cidr }]);
    world.all_refused(&[
        (action, modify(add), "PrefixListVersionMismatch"),
        (
            action,
            modify(json!({ "AddEntries": cidr("10.3.0.0/16") })),
            "PrefixListMaxEntriesExceeded",
        ),
        (
            action,
            modify(json!({ "MaxEntries": 1 })),
            "PrefixListMaxEntriesExceeded",
        ),
        (
            action,
            modify(json!({ "MaxEntries": 0 })),
            "InvalidParameterValue",
        ),
        (
            action,
            modify(json!({ "MaxEntries": 1001 })),
            "InvalidParameterValue",
        ),
        (
            action,
            modify(json!({ "MaxEntries": 3, "AddEntries": cidr("10.3.0.0/16") })),
            "InvalidParameterCombination",
        ),
        (
            action,
            modify(json!({ "RemoveEntries": cidr("10.3.0.0/16") })),
            "InvalidParameterValue",
        ),
        (
            action,
            modify(json!({ "PrefixListName": "" })),
            "InvalidParameterValue",
        ),
        (
            action,
            json!({ "PrefixListId": "pl-12345678" }),
            "InvalidPrefixListID.NotFound",
        ),
    ]);
    let swap = json!({ "RemoveEntries": cidr("10.1.0.0/16"), "AddEntries": cidr("10.3.0.0/16") });
    world.ok(action, modify(swap));
    world.ok(action, modify(json!({ "MaxEntries": 3 })));
    let twice = json!({ "AddEntries": cidr("10.2.9.9/16") });
    assert_eq!(
        world.refused(action, modify(twice)),
        "InvalidParameterValue"
    );
    let answer = world.ok(action, modify(json!({ "PrefixListName": "other" })));
    let shown = &answer["PrefixList"];
    assert_eq!(shown["PrefixListName"], "other");
    assert_eq!(shown["Version"], 3);
    assert_eq!(shown["MaxEntries"], 3);
    assert_eq!(
        shown["Entries"],
        json!([{ "Cidr": "10.2.0.0/16" }, { "Cidr": "10.3.0.0/16" }])
    );
}

#[test]
fn refusals_of_prefix_lists() {
    let mut world = World::new();
    let create = |name: &str, max: u32, family: &str, entries: Value| {
        json!({
            "PrefixListName": name,
            "MaxEntries": max,
            "AddressFamily": family,
            "Entries": entries,
        })
    };
    let one = json!([{ "Cidr": "10.0.0.0/8" }]);
    let two = json!([{ "Cidr": "10.0.0.0/8" }, { "Cidr": "10.9.9.9/8" }]);
    let long = json!([{ "Cidr": "10.0.0.0/8", "Description": "x".repeat(256) }]);
    let action = "CreateManagedPrefixList";
    world.all_refused(&[
        (
            action,
            create("com.amazonaws.x", 1, "IPv4", one.clone()),
            "InvalidParameterValue",
        ),
        (
            action,
            create("", 1, "IPv4", one.clone()),
            "InvalidParameterValue",
        ),
        (
            action,
            create("a", 1, "IPv6", one.clone()),
            "InvalidParameterValue",
        ),
        (
            action,
            create("a", 0, "IPv4", json!([])),
            "InvalidParameterValue",
        ),
        (
            action,
            create("a", 1001, "IPv4", json!([])),
            "InvalidParameterValue",
        ),
        (
            action,
            create("a", 1, "IPv4", two.clone()),
            "PrefixListMaxEntriesExceeded",
        ),
        (action, create("a", 2, "IPv4", two), "InvalidParameterValue"),
        (
            action,
            create("a", 2, "IPv4", long),
            "InvalidParameterValue",
        ),
    ]);
    world.ok(action, create("a", 1, "IPv4", one.clone()));
    world.context.settings.quotas.prefix_lists = 1;
    let refused = world.refused(action, create("b", 1, "IPv4", one));
    assert_eq!(refused, "PrefixListLimitExceeded");
}

#[test]
fn options_of_dhcp() {
    let ok: &[(&str, &[&str])] = &[
        (
            "domain-name-servers",
            &["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"],
        ),
        (
            "domain-name-servers",
            &["AmazonProvidedDNS", "10.0.0.3", "fd00::1"],
        ),
        ("domain-name", &["example.com"]),
        ("ntp-servers", &["10.0.0.2", "fd00::1"]),
        ("netbios-name-servers", &["10.0.0.2"]),
        ("netbios-node-type", &["2"]),
        ("netbios-node-type", &["8"]),
        ("ipv6-address-preferred-lease-time", &["140"]),
        ("ipv6-address-preferred-lease-time", &["2147483647"]),
    ];
    let not: &[(&str, &[&str])] = &[
        ("domain-name-servers", &[]),
        ("domain-name-servers", &["dns"]),
        (
            "domain-name-servers",
            &["1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.1.4", "1.1.1.5"],
        ),
        (
            "domain-name-servers",
            &["fd00::1", "fd00::2", "fd00::3", "fd00::4", "fd00::5"],
        ),
        ("domain-name", &[]),
        ("domain-name", &["a.com", "b.com"]),
        ("domain-name", &["a/b"]),
        ("domain-name", &[""]),
        ("ntp-servers", &["AmazonProvidedDNS"]),
        ("netbios-name-servers", &["fd00::1"]),
        ("netbios-node-type", &["3"]),
        ("netbios-node-type", &["1", "2"]),
        ("ipv6-address-preferred-lease-time", &["139"]),
        ("ipv6-address-preferred-lease-time", &["2147483648"]),
        ("router", &["10.0.0.1"]),
    ];
    let create = |key: &str, values: &[&str]| json!({ "DhcpConfigurations": [{ "Key": key, "Values": values }] });
    let mut world = World::new();
    for (key, values) in ok {
        world.ok("CreateDhcpOptions", create(key, values));
    }
    for (key, values) in not {
        let refused = world.refused("CreateDhcpOptions", create(key, values));
        assert_eq!(refused, "InvalidParameterValue", "{key} {values:?}");
    }
    let name = json!({ "Key": "domain-name", "Values": ["a"] });
    let twice = json!({ "DhcpConfigurations": [name, name] });
    world.all_refused(&[
        ("CreateDhcpOptions", twice, "InvalidParameterValue"),
        (
            "CreateDhcpOptions",
            json!({ "DhcpConfigurations": [] }),
            "MissingParameter",
        ),
    ]);
}

#[test]
fn a_vpc_has_one_set_of_dhcp_options_or_none() {
    let mut world = World::new();
    let vpc = world.vpc("10.0.0.0/16");
    let created = json!({ "DhcpConfigurations": [{ "Key": "domain-name", "Values": ["a"] }] });
    let set = text(&world.ok("CreateDhcpOptions", created)["DhcpOptions"]["DhcpOptionsId"]);
    let associate = |set: &str| json!({ "DhcpOptionsId": set, "VpcId": vpc });
    let delete = |set: &str| json!({ "DhcpOptionsId": set });
    world.ok("AssociateDhcpOptions", associate(&set));
    world.all_refused(&[
        ("DeleteDhcpOptions", delete(&set), "DependencyViolation"),
        (
            "DeleteDhcpOptions",
            delete("dopt-12345678"),
            "InvalidDhcpOptionID.NotFound",
        ),
        (
            "DeleteDhcpOptions",
            delete("default"),
            "InvalidDhcpOptionsId.Malformed",
        ),
        (
            "AssociateDhcpOptions",
            associate("dopt-12345678"),
            "InvalidDhcpOptionID.NotFound",
        ),
        (
            "AssociateDhcpOptions",
            json!({ "DhcpOptionsId": "default", "VpcId": "vpc-12345678" }),
            "InvalidVpcID.NotFound",
        ),
    ]);
    world.ok("AssociateDhcpOptions", associate("default"));
    let shown = world.shown(&Key::of::<Vpc>(&vpc));
    assert_eq!(shown["DhcpOptionsId"], "default");
    world.ok("DeleteDhcpOptions", delete(&set));
}

#[test]
fn any_resource_has_tags() {
    let mut world = World::new();
    let vpc = world.vpc("10.0.0.0/16");
    let subnet = world.subnet(&vpc, "10.0.0.0/24");
    let peer = world.vpc("10.1.0.0/16");
    let group = world.group(&vpc, "one");
    let rule = world.state.get::<SecurityGroup>(&group).unwrap().rules[0].clone();
    let acl = world
        .state
        .all::<NetworkAcl>()
        .next()
        .unwrap()
        .network_acl_id
        .to_string();
    let set = world
        .state
        .all::<DhcpOptions>()
        .next()
        .unwrap()
        .dhcp_options_id
        .to_string();
    let ids = [
        vpc.clone(),
        subnet.clone(),
        group.clone(),
        rule.security_group_rule_id.to_string(),
        acl,
        world.table(&vpc),
        world.list(1, &[]),
        set,
        world.internet_gateway(Some(&vpc)),
        world.nat_gateway(&subnet, NatGatewayState::Available),
        world.interface(&subnet, &[]).unwrap(),
        world.peering(&vpc, &peer, PeeringStatus::Active),
        world.endpoint(&vpc, EndpointType::Gateway),
        world.flow_log(&vpc),
    ];
    let tag = |tags: Value| json!({ "Resources": ids, "Tags": tags });
    world.ok(
        "CreateTags",
        tag(json!([{ "Key": "k", "Value": "1" }, { "Key": "l" }])),
    );
    world.ok("CreateTags", tag(json!([{ "Key": "k", "Value": "2" }])));
    let expected: Tags = [("k", "2"), ("l", "")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    let tagged = |world: &World| {
        let records = world.state.records();
        let tags = records.map(|record| record.to_value().unwrap()["Tags"].clone());
        tags.filter(|tags| *tags == json!(expected)).count()
    };
    // The rule has its own, inside the group's record.
    assert_eq!(tagged(&world), ids.len() - 1);
    let tags = |world: &World| {
        let group = world.state.get::<SecurityGroup>(&group).unwrap();
        group.rules[0].tags.clone()
    };
    assert_eq!(tags(&world), expected);
    world.ok(
        "DeleteTags",
        tag(json!([{ "Key": "k", "Value": "1" }, { "Key": "m" }])),
    );
    assert_eq!(tags(&world), expected);
    world.ok("DeleteTags", tag(json!([{ "Key": "k", "Value": "2" }])));
    assert_eq!(tags(&world).len(), 1);
    world.ok("DeleteTags", tag(json!([])));
    assert!(tags(&world).is_empty());
    assert_eq!(tagged(&world), 0);
}

#[test]
fn refusals_of_tags() {
    let mut world = World::new();
    world.context.settings.tags_per_resource = 2;
    let vpc = world.vpc("10.0.0.0/16");
    let table = world.table(&vpc);
    let tag = |id: &str, tags: Value| json!({ "Resources": [vpc, id], "Tags": tags });
    let key = |key: &str| json!([{ "Key": key }]);
    let value = |value: &str| json!([{ "Key": "k", "Value": value }]);
    let three = json!([{ "Key": "a" }, { "Key": "b" }, { "Key": "c" }]);
    let twice = json!([{ "Key": "a" }, { "Key": "a" }]);
    let none = json!({ "Resources": [], "Tags": key("a") });
    let create = |kind: &str, tags: Value| {
        let tags = json!([{ "ResourceType": kind, "Tags": tags }]);
        json!({ "VpcId": vpc, "TagSpecifications": tags })
    };
    let action = "CreateTags";
    world.all_refused(&[
        (action, tag(&table, json!([])), "MissingParameter"),
        (action, tag(&table, key("")), "InvalidParameterValue"),
        (
            action,
            tag(&table, key(&"x".repeat(129))),
            "InvalidParameterValue",
        ),
        (
            action,
            tag(&table, value(&"x".repeat(257))),
            "InvalidParameterValue",
        ),
        (action, tag(&table, key("aws:x")), "InvalidParameterValue"),
        (action, tag(&table, key("AWS:x")), "InvalidParameterValue"),
        (action, tag(&table, twice), "InvalidParameterValue"),
        (action, tag(&table, three), "TagLimitExceeded"),
        (action, none, "InvalidParameterValue"),
        (
            action,
            tag("rtb-12345678", key("a")),
            "InvalidRouteTableID.NotFound",
        ),
        (
            action,
            tag("sgr-12345678", key("a")),
            "InvalidSecurityGroupRuleId.NotFound",
        ),
        (action, tag("nonsense", key("a")), "InvalidID"),
        (action, tag("enigroup-12345678", key("a")), "InvalidID"),
        (
            "DeleteTags",
            tag(&table, key("aws:x")),
            "InvalidParameterValue",
        ),
        ("DeleteTags", tag("nonsense", key("a")), "InvalidID"),
        (
            "CreateRouteTable",
            create("vpc", key("a")),
            "InvalidParameterValue",
        ),
        (
            "CreateRouteTable",
            create("route-table", key("aws:")),
            "InvalidParameterValue",
        ),
    ]);
    // 128 characters, not bytes; a prefix of two bytes a character is no trouble.
    world.ok(action, tag(&table, key(&"ü".repeat(128))));
    world.ok(action, tag(&table, value(&"ü".repeat(256))));
    assert_eq!(
        world.refused(action, tag(&table, key("c"))),
        "TagLimitExceeded"
    );
    world.context.caller = Caller::root(stranger());
    let refused = world.refused(action, json!({ "Resources": [table], "Tags": key("a") }));
    assert_eq!(refused, "InvalidRouteTableID.NotFound");
    world.context.caller = Caller::root(Account::DEFAULT);
}
