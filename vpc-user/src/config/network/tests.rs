use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::{
    config::parse,
    model::{
        Config, Destination, LocalDelivery, ObjectName, Peer, Quotas, SecurityRule, Target, Traffic,
    },
};

mod properties;
mod refusals;

/// Two peered VPCs, with everything that there is in the first.
const GOOD: &str = r#"
[quotas]
entries_per_network_acl = 40

[[uplink]]
name = "blue"
interface = "eth1"

[[uplink]]
name = "green"
interface = "eth2"

[[vpc]]
name = "blue"
cidr = ["10.0.0.0/16", "10.8.0.0/16"]
uplink = "blue"

[[vpc]]
name = "green"
cidr = ["10.1.0.0/16"]
uplink = "green"
local = "on-link"

[[prefix_list]]
name = "partners"
max_entries = 3
entries = ["192.0.2.0/24", "198.51.100.7/32"]

[[security_group]]
name = "app"
vpc = "blue"
egress = [
    { protocol = "tcp", ports = "443", cidr = "0.0.0.0/0" },
    { protocol = "17", ports = "53-54", security_group = "db" },
    { protocol = "icmp", icmp = "3/4", prefix_list = "partners" },
]

[[security_group]]
name = "db"
vpc = "blue"
egress = []
ingress = [{ protocol = "tcp", ports = "5432", security_group = "app" }]

[[network_acl]]
name = "edge"
vpc = "blue"
egress = [
    { number = 200, action = "deny", protocol = "47", cidr = "0.0.0.0/0" },
    { number = 100, action = "allow", protocol = "-1", cidr = "10.0.0.0/8" },
]

[[route_table]]
name = "private"
vpc = "blue"
route = [
    { destination = "0.0.0.0/0", interface = "nat" },
    { destination = "10.1.0.0/16", peering = "blue-green" },
    { destination = "10.0.2.0/24", interface = "nat" },
    { prefix_list = "partners", blackhole = true },
]

[[subnet]]
name = "app"
vpc = "blue"
cidr = "10.0.1.0/24"
router = "10.0.1.1"
route_table = "private"
network_acl = "edge"

[[subnet]]
name = "db"
vpc = "blue"
cidr = "10.0.2.0/24"

[[subnet]]
name = "public"
vpc = "blue"
cidr = "10.0.0.0/24"

[[interface]]
name = "nat"
subnet = "public"
address = "10.0.0.10"

[[interface]]
name = "database"
subnet = "db"
address = "10.0.2.10"
security_groups = ["db"]

[[peering]]
name = "blue-green"
vpcs = ["blue", "green"]
routers = { green = "10.1.0.1" }

[[group]]
name = "blue-app"
subnet = "app"
security_groups = ["blue-default", "app"]
eni = ["10.0.1.10"]
"#;

fn name(text: &str) -> ObjectName {
    ObjectName::new(text).expect("a name")
}

fn prefix(text: &str) -> Ipv4Net {
    text.parse().expect("a prefix")
}

fn good() -> Config {
    parse(GOOD).expect("valid")
}

/// [`GOOD`] with one piece replaced.
fn with(from: &str, to: &str) -> String {
    assert_eq!(GOOD.matches(from).count(), 1, "{from}");
    GOOD.replace(from, to)
}

/// The rules out of the first security group, given the traffic of its first rule.
fn traffic(words: &str) -> Traffic {
    let text = with("protocol = \"tcp\", ports = \"443\"", words);
    let config = parse(&text).expect("valid");
    config.network.security_groups[0].egress[0].traffic.clone()
}

#[test]
fn a_group_in_a_subnet_takes_uplink_prefix_and_router_from_there() {
    let config = good();
    let group = &config.groups[0];
    assert_eq!(group.uplink, name("blue"));
    assert_eq!(group.subnet_name, Some(name("app")));
    assert_eq!(
        (group.subnet, group.prefix_len),
        (Ipv4Addr::new(10, 0, 1, 0), 24)
    );
    assert_eq!(group.router, Some(Ipv4Addr::new(10, 0, 1, 1)));
    assert_eq!(group.security_groups, [name("app"), name("blue-default")]);
}

#[test]
fn what_names_no_security_group_carries_the_default_one() {
    let text = with("security_groups = [\"blue-default\", \"app\"]\n", "");
    let config = parse(&text).expect("valid");
    assert_eq!(config.groups[0].security_groups, [name("blue-default")]);
    let nat = &config.network.interfaces[0];
    assert_eq!(nat.security_groups, [name("blue-default")]);
}

#[test]
fn a_group_in_a_prefix_has_no_vpc_and_no_rules() {
    let group = "[[group]]\nname = \"plain\"\nuplink = \"green\"\nsubnet = \"10.9.0.0/24\"\n\
                 eni = [\"10.9.0.2\"]\n";
    let config = parse(&format!("{GOOD}{group}")).expect("valid");
    assert_eq!(config.groups[1].subnet_name, None);
    assert!(config.groups[1].security_groups.is_empty());
}

#[test]
fn each_vpc_has_a_default_group_a_default_acl_and_a_main_table() {
    let network = good().network;
    let all = |peer| SecurityRule {
        traffic: Traffic::All,
        peer,
    };
    let groups: Vec<_> = network.security_groups.iter().map(|g| &g.name).collect();
    let expected = ["app", "db", "blue-default", "green-default"].map(name);
    assert_eq!(groups, expected.iter().collect::<Vec<_>>());
    let group = &network.security_groups[3];
    assert_eq!(group.vpc, name("green"));
    assert_eq!(group.ingress, [all(Peer::Group(name("green-default")))]);
    assert_eq!(group.egress, [all(Peer::Cidr(prefix("0.0.0.0/0")))]);
    let acl = &network.network_acls[1];
    assert_eq!((&acl.name, acl.egress.len()), (&name("blue-default"), 1));
    assert_eq!(acl.ingress, acl.egress);
    let entry = &acl.egress[0];
    assert_eq!((entry.number, entry.allow), (100, true));
    assert_eq!(entry.traffic, Traffic::All);
    let main = &network.route_tables[1];
    assert_eq!((&main.name, main.routes.len()), (&name("blue-main"), 0));
    let db = &network.subnets[1];
    assert_eq!(
        (&db.route_table, &db.network_acl),
        (&name("blue-main"), &name("blue-default"))
    );
}

#[test]
fn a_declared_default_is_taken_as_it_is() {
    let declared = "[[security_group]]\nname = \"green-default\"\nvpc = \"green\"\negress = []\n\
                    [[route_table]]\nname = \"green-main\"\nvpc = \"green\"\n\
                    route = [{ destination = \"10.8.0.0/16\", peering = \"blue-green\" }]\n\
                    [[network_acl]]\nname = \"green-default\"\nvpc = \"green\"\n";
    let network = parse(&format!("{GOOD}{declared}")).expect("valid").network;
    assert_eq!(network.security_groups.len(), 4);
    assert!(network.security_groups[2].egress.is_empty());
    assert!(network.network_acls[1].egress.is_empty());
    assert_eq!(network.route_tables[1].routes.len(), 1);
}

#[test]
fn the_main_table_of_a_vpc_may_be_another() {
    let text = with(
        "uplink = \"blue\"\n\n[[vpc]]",
        "uplink = \"blue\"\nmain_route_table = \"private\"\n\n[[vpc]]",
    );
    let network = parse(&text).expect("valid").network;
    assert!(
        network
            .subnets
            .iter()
            .all(|s| s.route_table == name("private"))
    );
}

#[test]
fn rules_of_a_security_group_mean_what_they_say() {
    let network = good().network;
    let [app, db, ..] = network.security_groups.as_slice() else {
        panic!("two groups");
    };
    let expected = [
        (Traffic::Tcp(443..=443), Peer::Cidr(prefix("0.0.0.0/0"))),
        (Traffic::Udp(53..=54), Peer::Group(name("db"))),
        (
            Traffic::Icmp(Some(3), Some(4)),
            Peer::PrefixList(name("partners")),
        ),
    ]
    .map(|(traffic, peer)| SecurityRule { traffic, peer });
    assert_eq!(app.egress, expected);
    assert!(app.ingress.is_empty() && db.egress.is_empty());
    assert_eq!(db.ingress.len(), 1);
}

#[test]
fn a_group_without_egress_lets_everything_out_and_an_empty_one_nothing() {
    let network = parse(&with("egress = []\n", "")).expect("valid").network;
    let [_, db, ..] = network.security_groups.as_slice() else {
        panic!("two groups");
    };
    let all = SecurityRule {
        traffic: Traffic::All,
        peer: Peer::Cidr(prefix("0.0.0.0/0")),
    };
    assert_eq!(db.egress, [all]);
}

#[test]
fn protocols_are_words_or_numbers() {
    for (words, expected) in [
        ("protocol = \"all\"", Traffic::All),
        ("protocol = \"-1\"", Traffic::All),
        (
            "protocol = \"6\", ports = \"0-65535\"",
            Traffic::Tcp(0..=65_535),
        ),
        ("protocol = \"udp\", ports = \"0\"", Traffic::Udp(0..=0)),
        ("protocol = \"icmp\"", Traffic::Icmp(None, None)),
        (
            "protocol = \"1\", icmp = \"8\"",
            Traffic::Icmp(Some(8), None),
        ),
        (
            "protocol = \"icmp\", icmp = \"255/255\"",
            Traffic::Icmp(Some(255), Some(255)),
        ),
        ("protocol = \"0\"", Traffic::Other(0)),
        ("protocol = \"255\"", Traffic::Other(255)),
    ] {
        assert_eq!(traffic(words), expected, "{words}");
    }
}

#[test]
fn entries_of_an_acl_are_kept_by_ascending_number() {
    let network = good().network;
    let edge = &network.network_acls[0];
    let entries: Vec<_> = edge
        .egress
        .iter()
        .map(|entry| (entry.number, entry.allow, entry.traffic.clone()))
        .collect();
    assert_eq!(
        entries,
        [(100, true, Traffic::All), (200, false, Traffic::Other(47))]
    );
    assert!(edge.ingress.is_empty());
}

#[test]
fn routes_keep_their_order_and_say_where_to() {
    let network = good().network;
    let routes: Vec<_> = network.route_tables[0]
        .routes
        .iter()
        .map(|route| (route.destination.clone(), route.target.clone()))
        .collect();
    let nat = || Target::Interface(name("nat"));
    let to = |text| Destination::Cidr(prefix(text));
    let expected = [
        (to("0.0.0.0/0"), nat()),
        (to("10.1.0.0/16"), Target::Peering(name("blue-green"))),
        (to("10.0.2.0/24"), nat()),
        (Destination::PrefixList(name("partners")), Target::Blackhole),
    ];
    assert_eq!(routes, expected);
}

#[test]
fn a_vpc_and_a_peering_mean_what_they_say() {
    let network = good().network;
    let [blue, green] = network.vpcs.as_slice() else {
        panic!("two VPCs");
    };
    assert_eq!(blue.cidrs, [prefix("10.0.0.0/16"), prefix("10.8.0.0/16")]);
    assert_eq!(
        (blue.local, green.local),
        (LocalDelivery::Router, LocalDelivery::OnLink)
    );
    let peering = &network.peerings[0];
    assert_eq!(peering.vpcs, [name("blue"), name("green")]);
    assert_eq!(peering.routers, [None, Some(Ipv4Addr::new(10, 1, 0, 1))]);
    let quotas = Quotas {
        entries_per_network_acl: 40,
        ..Quotas::default()
    };
    assert_eq!(network.quotas, quotas);
}

#[test]
fn a_larger_destination_than_a_reserved_or_local_one_is_a_route() {
    parse(&with(
        "\"0.0.0.0/0\", interface",
        "\"169.254.0.0/16\", interface",
    ))
    .expect("valid");
    parse(&with(
        "\"0.0.0.0/0\", interface",
        "\"10.0.0.0/8\", interface",
    ))
    .expect("valid");
}

#[test]
fn tenants_may_have_the_same_addresses() {
    let text = with("[\"10.1.0.0/16\"]", "[\"10.0.0.0/16\"]").replace(
        "    { destination = \"10.1.0.0/16\", peering = \"blue-green\" },\n",
        "",
    );
    let start = text.find("[[peering]]").expect("there");
    let end = text.find("[[group]]").expect("there");
    let twin = "[[subnet]]\nname = \"twin\"\nvpc = \"green\"\ncidr = \"10.0.1.0/24\"\n\
                [[group]]\nname = \"twin\"\nsubnet = \"twin\"\neni = [\"10.0.1.10\"]\n";
    parse(&format!("{}{}{twin}", &text[..start], &text[end..])).expect("valid");
}

#[test]
fn an_interface_in_the_subnet_itself_needs_no_router() {
    let text = with("router = \"10.0.1.1\"\n", "").replace(
        "subnet = \"public\"\naddress = \"10.0.0.10\"",
        "subnet = \"app\"\naddress = \"10.0.1.9\"",
    );
    parse(&text).expect("valid");
}

#[test]
fn an_interface_elsewhere_needs_no_router_where_all_is_on_the_link() {
    let text = with("router = \"10.0.1.1\"\n", "").replace(
        "uplink = \"blue\"\n\n[[vpc]]",
        "uplink = \"blue\"\nlocal = \"on-link\"\n\n[[vpc]]",
    );
    parse(&text).expect("valid");
}

#[test]
fn the_examples_of_the_documentation_are_valid() {
    let manual = include_str!("../../../../docs/configuration.md");
    let examples: Vec<_> = manual
        .split("```toml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert_eq!(examples.len(), 2);
    for example in examples {
        parse(example).expect(example);
    }
}

#[test]
fn a_refusal_lists_so_many_names_and_no_more() {
    let list = |index| format!("[[prefix_list]]\nname = \"list-{index}\"\nmax_entries = 1\n");
    let lists: String = (10..40).map(list).collect();
    let text = with(
        "prefix_list = \"partners\", blackhole",
        "prefix_list = \"x\", blackhole",
    );
    let refusal = parse(&format!("{text}{lists}")).expect_err("x").to_string();
    let expected = "list-29 and 11 more): correct it or add one";
    assert!(refusal.ends_with(expected), "{refusal}");
}

#[test]
fn subnets_and_names_are_told_from_prefixes() {
    // What is called like an address is a subnet all the same.
    let text = with("subnet = \"app\"", "subnet = \"10.0.0.0\"");
    let text = text.replace(
        "name = \"app\"\nvpc = \"blue\"\ncidr",
        "name = \"10.0.0.0\"\nvpc = \"blue\"\ncidr",
    );
    let config = parse(&text).expect("valid");
    assert_eq!(config.groups[0].subnet_name, Some(name("10.0.0.0")));
}

#[test]
fn a_subnet_as_large_as_a_block_of_its_vpc_stays_local() {
    let route = "destination = \"10.0.2.0/24\", interface";
    let text = with(route, "destination = \"10.8.0.0/16\", interface");
    let subnet = "[[subnet]]\nname = \"all\"\nvpc = \"blue\"\ncidr = \"10.8.0.0/16\"\n";
    let refusal = parse(&format!("{text}{subnet}")).expect_err("local");
    let expected = "route_table \"private\", route number 3: destination = \"10.8.0.0/16\" lies in \
                    10.8.0.0/16, which the VPC routes as local: ";
    assert!(refusal.to_string().starts_with(expected), "{refusal}");
}

#[test]
fn a_route_to_the_subnet_of_another_vpc_is_none_before_ones_own() {
    let twin = "[[uplink]]\nname = \"red\"\ninterface = \"eth3\"\n[[vpc]]\nname = \"red\"\n\
                cidr = [\"10.8.0.0/16\"]\nuplink = \"red\"\n\
                [[subnet]]\nname = \"red\"\nvpc = \"red\"\ncidr = \"10.8.1.0/24\"\n";
    let route = "destination = \"10.0.2.0/24\", interface";
    let text = with(route, "destination = \"10.8.1.0/24\", interface");
    let refusal = parse(&format!("{text}{twin}")).expect_err("local");
    assert!(
        refusal
            .to_string()
            .contains("which the VPC routes as local"),
        "{refusal}"
    );
}
