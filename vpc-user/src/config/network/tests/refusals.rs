//! Every refusal, by what it is about: one case and its exact sentence.

use super::{GOOD, with};
use crate::config::parse;

mod rules;

/// A change to the valid network, and what is said of it.
enum Case {
    /// A piece replaced by another.
    With(&'static str, &'static str, &'static str),
    /// Something added.
    Add(&'static str, &'static str),
}

use Case::{Add, With};

fn refused(cases: &[Case]) {
    for case in cases {
        let (text, sentence) = match case {
            With(from, to, sentence) => (with(from, to), sentence),
            Add(more, sentence) => (format!("{GOOD}{more}\n"), sentence),
        };
        let refusal = parse(&text).expect_err(sentence).to_string();
        assert_eq!(refusal, *sentence, "of\n{text}");
    }
}

#[test]
fn more_than_a_quota_allows_is_refused() {
    refused(QUOTAS);
}

#[test]
fn a_faulty_vpc_is_refused() {
    refused(VPCS);
}

#[test]
fn a_faulty_prefix_list_is_refused() {
    refused(PREFIX_LISTS);
}

#[test]
fn a_faulty_subnet_is_refused() {
    refused(SUBNETS);
}

#[test]
fn a_faulty_interface_is_refused() {
    refused(INTERFACES);
}

#[test]
fn a_faulty_peering_is_refused() {
    refused(PEERINGS);
}

#[test]
fn a_faulty_group_in_a_subnet_is_refused() {
    refused(GROUPS);
}

const QUOTAS: &[Case] = &[
    With(
        "entries_per_network_acl = 40",
        "entries_per_network_acl = 0",
        "quotas: entries_per_network_acl = 0 is outside 1 to 10000: choose a number in that range",
    ),
    With(
        "entries_per_network_acl = 40",
        "subnets_per_vpc = 10001",
        "quotas: subnets_per_vpc = 10001 is outside 1 to 10000: choose a number in that range",
    ),
    With(
        "entries_per_network_acl = 40",
        "entries_per_network_acl = 1",
        "quotas: entries_per_network_acl = 1 is less than the 2 egress entries of network_acl \"edge\": have fewer, or raise the quota",
    ),
    With(
        "entries_per_network_acl = 40",
        "rules_per_security_group = 4",
        "quotas: rules_per_security_group = 4 is less than the 5 egress rules (a prefix list counts its max_entries) of security_group \"app\": have fewer, or raise the quota",
    ),
    With(
        "entries_per_network_acl = 40",
        "rules_per_interface = 5",
        "quotas: rules_per_interface = 5 is less than the 6 egress rules (a prefix list counts its max_entries) of group \"blue-app\": have fewer, or raise the quota",
    ),
    With(
        "entries_per_network_acl = 40",
        "security_groups_per_interface = 1",
        "quotas: security_groups_per_interface = 1 is less than the 2 security groups of group \"blue-app\": have fewer, or raise the quota",
    ),
    With(
        "entries_per_network_acl = 40",
        "security_groups = 3",
        "quotas: security_groups = 3 is less than the 4 security groups of the file: have fewer, or raise the quota",
    ),
    With(
        "entries_per_network_acl = 40",
        "network_acls_per_vpc = 1",
        "quotas: network_acls_per_vpc = 1 is less than the 2 network ACLs of vpc \"blue\": have fewer, or raise the quota",
    ),
    With(
        "entries_per_network_acl = 40",
        "route_tables_per_vpc = 1",
        "quotas: route_tables_per_vpc = 1 is less than the 2 route tables of vpc \"blue\": have fewer, or raise the quota",
    ),
    With(
        "entries_per_network_acl = 40",
        "routes_per_table = 5",
        "quotas: routes_per_table = 5 is less than the 6 routes (a prefix list counts its max_entries) of route_table \"private\": have fewer, or raise the quota",
    ),
    With(
        "entries_per_network_acl = 40",
        "subnets_per_vpc = 2",
        "quotas: subnets_per_vpc = 2 is less than the 3 subnets of vpc \"blue\": have fewer, or raise the quota",
    ),
    With(
        "entries_per_network_acl = 40",
        "cidrs_per_vpc = 1",
        "quotas: cidrs_per_vpc = 1 is less than the 2 CIDR blocks of vpc \"blue\": have fewer, or raise the quota",
    ),
    With(
        "entries_per_network_acl = 40",
        "entries_per_prefix_list = 2",
        "prefix_list \"partners\": max_entries = 3 is outside 1 to 2: choose a number in that range",
    ),
    With(
        "entries_per_network_acl = 40\n",
        "prefix_lists = 1\n[[prefix_list]]\nname = \"more\"\nmax_entries = 1\n",
        "quotas: prefix_lists = 1 is less than the 2 prefix lists of the file: have fewer, or raise the quota",
    ),
];

const VPCS: &[Case] = &[
    Add(
        "[[vpc]]\nname = \"blue\"\ncidr = [\"10.0.0.0/16\"]\nuplink = \"blue\"",
        "vpc number 3: name = \"blue\" is the name of another vpc too: give each vpc a name of its own",
    ),
    Add(
        "[[vpc]]\nname = \"Blue\"\ncidr = [\"10.0.0.0/16\"]\nuplink = \"blue\"",
        "vpc number 3: name = \"Blue\" is not a name: use 1 to 63 characters of a-z, 0-9, '.', '_' and '-', starting with a letter or digit",
    ),
    Add(
        "[[vpc]]\nname = \"red\"\ncidr = [\"10.0.0.0/16\"]\nuplink = \"blue\"",
        "vpc \"red\": uplink = \"blue\" is the uplink of VPC \"blue\" too: give each VPC an uplink of its own",
    ),
    Add(
        "[[vpc]]\nname = \"red\"\ncidr = [\"10.0.0.0/16\"]\nuplink = \"red\"",
        "vpc \"red\": uplink = \"red\" is not the name of an uplink (there is blue, green): correct it or add an [[uplink]]",
    ),
    Add(
        "[[vpc]]\nname = \"red\"\nuplink = \"red\"",
        "line 101, column 1 is not accepted: missing field `cidr`: correct or remove it",
    ),
    Add(
        "[[vpc]]\nname = \"red\"\ncolour = \"red\"",
        "line 103, column 1 is not accepted: unknown field `colour`, expected one of `name`, `cidr`, `uplink`, `local`, `main_route_table`, `dhcp_options`, `dns_support`, `dns_hostnames`: correct or remove it",
    ),
    With(
        "name = \"green\"\ncidr",
        "name = \"a-name-of-fifty-six-characters-which-leaves-too-little-of-it\"\ncidr",
        "vpc \"a-name-of-fifty-six-characters-which-leaves-too-little-of-it\": name = \"a-name-of-fifty-six-characters-which-leaves-too-little-of-it\" leaves no room for \"-default\" behind a VPC's name: choose a shorter one",
    ),
    With(
        "[\"10.1.0.0/16\"]",
        "[]",
        "vpc \"green\": cidr = [] names no CIDR block: give the VPC at least one",
    ),
    With(
        "[\"10.1.0.0/16\"]",
        "[\"10.1.0.0/15\"]",
        "vpc \"green\": cidr = \"10.1.0.0/15\" has bits set beyond its prefix length: write \"10.0.0.0/15\"",
    ),
    With(
        "[\"10.1.0.0/16\"]",
        "[\"10.0.0.0/15\"]",
        "vpc \"green\": cidr = \"10.0.0.0/15\" has a prefix length outside /16 to /28: choose a size that AWS allows",
    ),
    With(
        "[\"10.1.0.0/16\"]",
        "[\"10.1.0.0/29\"]",
        "vpc \"green\": cidr = \"10.1.0.0/29\" has a prefix length outside /16 to /28: choose a size that AWS allows",
    ),
    With(
        "[\"10.1.0.0/16\"]",
        "[\"224.1.0.0/16\"]",
        "vpc \"green\": cidr = \"224.1.0.0/16\" is not a range of unicast addresses: choose one, such as a part of 10.0.0.0/8",
    ),
    With(
        "[\"10.1.0.0/16\"]",
        "[\"10.1.0.0\"]",
        "vpc \"green\": cidr = \"10.1.0.0\" is not an IPv4 prefix: write it like \"10.0.0.0/24\"",
    ),
    With(
        "[\"10.1.0.0/16\"]",
        "[\"10.1.0.0/16\", \"10.1.7.0/24\"]",
        "vpc \"green\": cidr = \"10.1.7.0/24\" overlaps 10.1.0.0/16 of the same VPC: give a VPC disjoint CIDR blocks",
    ),
    With(
        "\"on-link\"",
        "\"direct\"",
        "vpc \"green\": local = \"direct\" is no way of delivery: use \"router\" or \"on-link\"",
    ),
    With(
        "uplink = \"blue\"\n\n[[vpc]]",
        "uplink = \"blue\"\nmain_route_table = \"main\"\n\n[[vpc]]",
        "vpc \"blue\": main_route_table = \"main\" names no [[route_table]] (there is blue-main, green-main, private): correct it or add one",
    ),
    With(
        "uplink = \"blue\"\n\n[[vpc]]",
        "uplink = \"blue\"\nmain_route_table = \"green-main\"\n\n[[vpc]]",
        "vpc \"blue\": main_route_table = \"green-main\" is of VPC \"green\", not of \"blue\": name one of VPC \"blue\"",
    ),
    Add(
        "[[security_group]]\nname = \"green-default\"\nvpc = \"blue\"",
        "security_group \"green-default\": vpc = \"blue\" does not go with the name, which VPC \"green\" has for a [[security_group]] of its own: choose another name, or write vpc = \"green\"",
    ),
    Add(
        "[[network_acl]]\nname = \"green-default\"\nvpc = \"blue\"",
        "network_acl \"green-default\": vpc = \"blue\" does not go with the name, which VPC \"green\" has for a [[network_acl]] of its own: choose another name, or write vpc = \"green\"",
    ),
    Add(
        "[[route_table]]\nname = \"green-main\"\nvpc = \"blue\"",
        "route_table \"green-main\": vpc = \"blue\" does not go with the name, which VPC \"green\" has for a [[route_table]] of its own: choose another name, or write vpc = \"green\"",
    ),
];

const PREFIX_LISTS: &[Case] = &[
    Add(
        "[[prefix_list]]\nname = \"partners\"\nmax_entries = 1",
        "prefix_list number 2: name = \"partners\" is the name of another prefix_list too: give each prefix_list a name of its own",
    ),
    With(
        "max_entries = 3",
        "max_entries = 0",
        "prefix_list \"partners\": max_entries = 0 is outside 1 to 1000: choose a number in that range",
    ),
    With(
        "max_entries = 3",
        "max_entries = 1001",
        "prefix_list \"partners\": max_entries = 1001 is outside 1 to 1000: choose a number in that range",
    ),
    With(
        "max_entries = 3",
        "max_entries = 1",
        "prefix_list \"partners\": entries = […] holds 2 prefixes and max_entries is 1: raise max_entries or remove some",
    ),
    With(
        "\"198.51.100.7/32\"",
        "\"198.51.100.7\"",
        "prefix_list \"partners\": entries = \"198.51.100.7\" is not an IPv4 prefix: write it like \"10.0.0.0/24\"",
    ),
    With(
        "\"198.51.100.7/32\"",
        "\"198.51.100.7/31\"",
        "prefix_list \"partners\": entries = \"198.51.100.7/31\" has bits set beyond its prefix length: write \"198.51.100.6/31\"",
    ),
    With(
        "\"198.51.100.7/32\"",
        "\"192.0.2.0/24\"",
        "prefix_list \"partners\": entries = \"192.0.2.0/24\" is in the list already: remove one of the two",
    ),
];

const SUBNETS: &[Case] = &[
    Add(
        "[[subnet]]\nname = \"app\"\nvpc = \"green\"\ncidr = \"10.1.0.0/24\"",
        "subnet number 4: name = \"app\" is the name of another subnet too: give each subnet a name of its own",
    ),
    With(
        "name = \"public\"\nvpc = \"blue\"",
        "name = \"public\"\nvpc = \"red\"",
        "subnet \"public\": vpc = \"red\" names no [[vpc]] (there is blue, green): correct it or add one",
    ),
    With(
        "cidr = \"10.0.0.0/24\"",
        "cidr = \"10.0.0.0\"",
        "subnet \"public\": cidr = \"10.0.0.0\" is not an IPv4 prefix: write it like \"10.0.0.0/24\"",
    ),
    With(
        "cidr = \"10.0.0.0/24\"",
        "cidr = \"10.0.0.9/24\"",
        "subnet \"public\": cidr = \"10.0.0.9/24\" has bits set beyond its prefix length: write \"10.0.0.0/24\"",
    ),
    With(
        "cidr = \"10.0.0.0/24\"",
        "cidr = \"10.0.0.0/29\"",
        "subnet \"public\": cidr = \"10.0.0.0/29\" has a prefix length outside /16 to /28: choose a size that AWS allows",
    ),
    With(
        "cidr = \"10.0.0.0/24\"",
        "cidr = \"10.9.0.0/24\"",
        "subnet \"public\": cidr = \"10.9.0.0/24\" lies outside the CIDR blocks of VPC \"blue\" (10.0.0.0/16, 10.8.0.0/16): choose one inside",
    ),
    With(
        "cidr = \"10.0.0.0/24\"",
        "cidr = \"10.0.0.0/16\"",
        "subnet \"public\": cidr = \"10.0.0.0/16\" overlaps 10.0.1.0/24 of subnet \"app\": give a VPC disjoint subnets",
    ),
    With(
        "router = \"10.0.1.1\"",
        "router = \"10.0.0.1\"",
        "subnet \"app\": router = \"10.0.0.1\" lies outside the subnet 10.0.1.0/24: choose an address inside it",
    ),
    With(
        "router = \"10.0.1.1\"",
        "router = \"10.0.1.0\"",
        "subnet \"app\": router = \"10.0.1.0\" is the network address of 10.0.1.0/24: choose a host address of it",
    ),
    With(
        "route_table = \"private\"",
        "route_table = \"public\"",
        "subnet \"app\": route_table = \"public\" names no [[route_table]] (there is blue-main, green-main, private): correct it or add one",
    ),
    With(
        "route_table = \"private\"",
        "route_table = \"green-main\"",
        "subnet \"app\": route_table = \"green-main\" is of VPC \"green\", not of \"blue\": name one of VPC \"blue\"",
    ),
    With(
        "network_acl = \"edge\"",
        "network_acl = \"inner\"",
        "subnet \"app\": network_acl = \"inner\" names no [[network_acl]] (there is blue-default, edge, green-default): correct it or add one",
    ),
    With(
        "network_acl = \"edge\"",
        "network_acl = \"green-default\"",
        "subnet \"app\": network_acl = \"green-default\" is of VPC \"green\", not of \"blue\": name one of VPC \"blue\"",
    ),
];

const INTERFACES: &[Case] = &[
    Add(
        "[[interface]]\nname = \"nat\"\nsubnet = \"app\"\naddress = \"10.0.1.4\"",
        "interface number 3: name = \"nat\" is the name of another interface too: give each interface a name of its own",
    ),
    With(
        "subnet = \"public\"",
        "subnet = \"private\"",
        "interface \"nat\": subnet = \"private\" names no [[subnet]] (there is app, db, public): correct it or add one",
    ),
    With(
        "address = \"10.0.0.10\"",
        "address = \"nat\"",
        "interface \"nat\": address = \"nat\" is not an IPv4 address: write it like \"10.0.0.10\"",
    ),
    With(
        "address = \"10.0.0.10\"",
        "address = \"10.0.1.10\"",
        "interface \"nat\": address = \"10.0.1.10\" lies outside the subnet 10.0.0.0/24: choose an address inside it",
    ),
    With(
        "address = \"10.0.0.10\"",
        "address = \"10.0.0.3\"",
        "interface \"nat\": address = \"10.0.0.3\" is one of the first four addresses of 10.0.0.0/24, which AWS keeps: choose another",
    ),
    With(
        "address = \"10.0.0.10\"",
        "address = \"10.0.0.255\"",
        "interface \"nat\": address = \"10.0.0.255\" is the broadcast address of 10.0.0.0/24: choose a host address of it",
    ),
    Add(
        "[[interface]]\nname = \"nat-2\"\nsubnet = \"public\"\naddress = \"10.0.0.10\"",
        "interface \"nat-2\": address = \"10.0.0.10\" is the address of interface \"nat\" already: give each interface of a VPC an address that nothing else has",
    ),
    With(
        "router = \"10.0.1.1\"\n",
        "router = \"10.0.1.9\"\n\n[[interface]]\nname = \"nat-2\"\nsubnet = \"app\"\naddress = \"10.0.1.9\"\n\n[[subnet]]\nname = \"app-2\"\nvpc = \"blue\"\ncidr = \"10.0.3.0/24\"\n",
        "interface \"nat-2\": address = \"10.0.1.9\" is the router of subnet \"app\" already: give each interface of a VPC an address that nothing else has",
    ),
    With(
        "security_groups = [\"db\"]",
        "security_groups = [\"red\"]",
        "interface \"database\": security_groups = \"red\" names no [[security_group]] (there is app, blue-default, db, green-default): correct it or add one",
    ),
    With(
        "security_groups = [\"db\"]",
        "security_groups = [\"green-default\"]",
        "interface \"database\": security_groups = \"green-default\" is of VPC \"green\", not of \"blue\": name one of VPC \"blue\"",
    ),
    With(
        "security_groups = [\"db\"]",
        "security_groups = [\"db\", \"db\"]",
        "interface \"database\": security_groups = \"db\" is named twice: name each security group once",
    ),
    With(
        "security_groups = [\"db\"]",
        "security_groups = []",
        "interface \"database\": security_groups = [] names no security group: name one, or leave the key out for the default group",
    ),
];

const PEERINGS: &[Case] = &[
    Add(
        "[[peering]]\nname = \"blue-green\"\nvpcs = [\"blue\", \"green\"]",
        "peering number 2: name = \"blue-green\" is the name of another peering too: give each peering a name of its own",
    ),
    Add(
        "[[peering]]\nname = \"again\"\nvpcs = [\"green\", \"blue\"]",
        "peering \"again\": vpcs = [\"green\", \"blue\"] are peered by \"blue-green\" already: remove one of the two",
    ),
    With(
        "vpcs = [\"blue\", \"green\"]",
        "vpcs = [\"blue\"]",
        "peering \"blue-green\": vpcs = [\"blue\"] does not name two VPCs: name both ends, which are different VPCs",
    ),
    With(
        "vpcs = [\"blue\", \"green\"]",
        "vpcs = [\"blue\", \"blue\"]",
        "peering \"blue-green\": vpcs = [\"blue\", \"blue\"] does not name two VPCs: name both ends, which are different VPCs",
    ),
    With(
        "vpcs = [\"blue\", \"green\"]",
        "vpcs = [\"blue\", \"red\"]",
        "peering \"blue-green\": vpcs = \"red\" names no [[vpc]] (there is blue, green): correct it or add one",
    ),
    With(
        "[\"10.1.0.0/16\"]",
        "[\"10.2.0.0/16\", \"10.8.1.0/24\"]",
        "peering \"blue-green\": vpcs = [\"blue\", \"green\"] overlap in 10.8.0.0/16 and 10.8.1.0/24: peer VPCs whose CIDR blocks are disjoint",
    ),
    With(
        "routers = { green",
        "routers = { red",
        "peering \"blue-green\": routers.red = \"10.1.0.1\" is for neither VPC of the peering: use \"blue\" or \"green\" as the key",
    ),
    With(
        "routers = { green = \"10.1.0.1\"",
        "routers = { green = \"router\"",
        "peering \"blue-green\": routers.green = \"router\" is not an IPv4 address: write it like \"10.0.0.10\"",
    ),
    With(
        "routers = { green = \"10.1.0.1\"",
        "routers = { green = \"10.0.0.1\"",
        "peering \"blue-green\": routers.green = \"10.0.0.1\" lies outside the CIDR blocks of VPC \"green\" (10.1.0.0/16): choose one inside",
    ),
];

const GROUPS: &[Case] = &[
    With(
        "subnet = \"app\"\nsecurity_groups = [\"blue-default\", \"app\"]",
        "subnet = \"app\"\nuplink = \"blue\"",
        "group \"blue-app\": uplink = \"blue\" is known from subnet \"app\": remove the key",
    ),
    With(
        "subnet = \"app\"\nsecurity_groups = [\"blue-default\", \"app\"]",
        "subnet = \"app\"\nrouter = \"10.0.1.1\"",
        "group \"blue-app\": router = \"10.0.1.1\" is known from subnet \"app\": remove the key",
    ),
    With(
        "subnet = \"app\"\nsecurity_groups = [\"blue-default\", \"app\"]",
        "subnet = \"web\"",
        "group \"blue-app\": subnet = \"web\" is neither a [[subnet]] (there is app, db, public) nor an IPv4 prefix: correct it, add the subnet, or write a prefix like \"10.0.0.0/24\"",
    ),
    With(
        "subnet = \"app\"\nsecurity_groups = [\"blue-default\", \"app\"]",
        "subnet = \"web\"\nuplink = \"blue\"",
        "group \"blue-app\": subnet = \"web\" is neither a [[subnet]] (there is app, db, public) nor an IPv4 prefix: correct it, add the subnet, or write a prefix like \"10.0.0.0/24\"",
    ),
    With(
        "subnet = \"app\"\nsecurity_groups = [\"blue-default\", \"app\"]",
        "subnet = \"10.0.1.0/24\"",
        "group \"blue-app\": subnet = \"10.0.1.0/24\" is a prefix, and only a [[subnet]] has an uplink of its own: add the key uplink, or name a [[subnet]]",
    ),
    With(
        "subnet = \"app\"\nsecurity_groups = [\"blue-default\", \"app\"]",
        "subnet = \"10.0.1.0/24\"\nuplink = \"blue\"\nsecurity_groups = [\"app\"]",
        "group \"blue-app\": security_groups = [\"app\"] are of no use to a group whose subnet is a prefix: name a [[subnet]], or remove the key",
    ),
    With(
        "subnet = \"app\"\nsecurity_groups = [\"blue-default\", \"app\"]",
        "subnet = \"app\"\nsecurity_groups = [\"web\"]",
        "group \"blue-app\": security_groups = \"web\" names no [[security_group]] (there is app, blue-default, db, green-default): correct it or add one",
    ),
    With(
        "subnet = \"app\"\nsecurity_groups = [\"blue-default\", \"app\"]",
        "subnet = \"app\"\nsecurity_groups = [\"green-default\"]",
        "group \"blue-app\": security_groups = \"green-default\" is of VPC \"green\", not of \"blue\": name one of VPC \"blue\"",
    ),
    With(
        "subnet = \"app\"\nsecurity_groups = [\"blue-default\", \"app\"]",
        "subnet = \"app\"\nsecurity_groups = [\"app\", \"db\", \"app\"]",
        "group \"blue-app\": security_groups = \"app\" is named twice: name each security group once",
    ),
    With(
        "subnet = \"app\"\nsecurity_groups = [\"blue-default\", \"app\"]",
        "subnet = \"app\"\nsecurity_groups = []",
        "group \"blue-app\": security_groups = [] names no security group: name one, or leave the key out for the default group",
    ),
    With(
        "eni = [\"10.0.1.10\"]",
        "eni = [\"10.0.1.3\"]",
        "group \"blue-app\": eni = \"10.0.1.3\" is one of the first four addresses of 10.0.1.0/24, which AWS keeps: choose another",
    ),
    With(
        "eni = [\"10.0.1.10\"]",
        "eni = [\"10.0.1.255\"]",
        "group \"blue-app\": eni = \"10.0.1.255\" is the broadcast address of 10.0.1.0/24: choose a host address of it",
    ),
    Add(
        "[[group]]\nname = \"second\"\nsubnet = \"public\"\neni = [\"10.0.0.10\"]",
        "group \"second\": eni = \"10.0.0.10\" is the address of interface \"nat\" already: give each ENI of an uplink an address that nothing else has",
    ),
    Add(
        "[[group]]\nname = \"second\"\nsubnet = \"app\"\neni = [\"10.0.1.10\"]",
        "group \"second\": eni = \"10.0.1.10\" is an ENI of group \"blue-app\" already: give each ENI of an uplink an address that nothing else has",
    ),
    Add(
        "[[group]]\nname = \"second\"\nsubnet = \"10.0.0.0/16\"\nuplink = \"blue\"\neni = [\"10.0.0.99\"]",
        "group \"second\": subnet = \"10.0.0.0/16\" overlaps 10.0.1.0/24 of group \"blue-app\" on the same uplink: groups of one uplink have equal or disjoint subnets, so correct one of them",
    ),
    Add(
        "[[group]]\nname = \"second\"\nsubnet = \"10.0.0.0/24\"\nuplink = \"blue\"\nrouter = \"10.0.0.10\"\neni = [\"10.0.0.99\"]",
        "group \"second\": router = \"10.0.0.10\" is the address of interface \"nat\" already: give each ENI of an uplink an address that nothing else has",
    ),
    Add(
        "[[group]]\nname = \"second\"\nsubnet = \"10.0.0.0/24\"\nuplink = \"blue\"\neni = [\"10.0.0.10\"]",
        "group \"second\": eni = \"10.0.0.10\" is the address of interface \"nat\" already: give each ENI of an uplink an address that nothing else has",
    ),
    Add(
        "[[group]]\nname = \"second\"\nsubnet = \"10.1.0.0/24\"\nuplink = \"green\"\neni = [\"10.1.0.1\"]",
        "group \"second\": eni = \"10.1.0.1\" is a router of peering \"blue-green\" already: give each ENI of an uplink an address that nothing else has",
    ),
    With(
        "router = \"10.0.1.1\"",
        "router = \"10.0.1.10\"",
        "group \"blue-app\": eni = \"10.0.1.10\" is the router of subnet \"app\" already: give each ENI of an uplink an address that nothing else has",
    ),
];
