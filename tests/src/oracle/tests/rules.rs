//! Security groups and network ACLs.

use super::*;

const HTTPS: Carried = Carried::Tcp(443);

#[test]
fn without_an_egress_rule_nothing_leaves() {
    let config = world();
    let forward = oracle(&config).forward(ip("10.0.2.20"), HTTPS);
    assert_eq!(forward, Err(Refusal::SgEgress));
}

#[test]
fn rules_of_all_groups_of_an_eni_are_pooled() {
    let mut config = world();
    config.groups[0].security_groups.push(name("red-other"));
    egress(&mut config, "red-app").push(rule(Traffic::Tcp(80..=80), cidr("0.0.0.0/0")));
    egress(&mut config, "red-other").push(rule(Traffic::Tcp(443..=443), cidr("0.0.0.0/0")));
    assert!(sg_allows(&config, "10.0.2.20", Carried::Tcp(80)));
    assert!(sg_allows(&config, "10.0.2.20", HTTPS));
    assert!(!sg_allows(&config, "10.0.2.20", Carried::Tcp(22)));
}

#[test]
fn the_order_of_rules_is_of_no_meaning() {
    let mut config = world();
    let rules = egress(&mut config, "red-app");
    rules.push(rule(Traffic::Tcp(1..=100), cidr("10.0.0.0/8")));
    rules.push(rule(Traffic::Udp(53..=53), cidr("0.0.0.0/0")));
    let mut reversed = config.clone();
    egress(&mut reversed, "red-app").reverse();
    for carried in [Carried::Tcp(100), Carried::Udp(53), Carried::Tcp(53), HTTPS] {
        let allows = |config| sg_allows(config, "10.9.9.9", carried);
        assert_eq!(allows(&config), allows(&reversed), "{carried}");
    }
}

#[test]
fn every_rule_that_allows_is_named() {
    let mut config = world();
    let rules = egress(&mut config, "red-app");
    rules.push(rule(Traffic::Udp(0..=65_535), cidr("0.0.0.0/0")));
    rules.push(rule(Traffic::All, cidr("10.0.0.0/8")));
    rules.push(rule(Traffic::Tcp(443..=443), cidr("10.0.2.20/32")));
    let SgDecision::Rules(rules) = oracle(&config).security_groups(ip("10.0.2.20"), HTTPS) else {
        panic!("the rules are asked");
    };
    assert_eq!(
        rules.iter().map(|rule| rule.index).collect::<Vec<_>>(),
        [1, 2]
    );
}

#[test]
fn ingress_rules_are_of_no_meaning_to_what_leaves() {
    let mut config = world();
    let groups = &mut config.network.security_groups;
    groups[0]
        .ingress
        .push(rule(Traffic::All, cidr("0.0.0.0/0")));
    assert!(!sg_allows(&config, "10.0.2.20", HTTPS));
}

#[test]
fn a_port_range_includes_both_its_ends() {
    let mut config = world();
    egress(&mut config, "red-app").push(rule(Traffic::Tcp(1_024..=65_535), cidr("0.0.0.0/0")));
    egress(&mut config, "red-app").push(rule(Traffic::Udp(0..=1_023), cidr("0.0.0.0/0")));
    let tcp =
        [0, 1_023, 1_024, 65_535].map(|port| sg_allows(&config, "1.1.1.1", Carried::Tcp(port)));
    let udp =
        [0, 1_023, 1_024, 65_535].map(|port| sg_allows(&config, "1.1.1.1", Carried::Udp(port)));
    assert_eq!(tcp, [false, false, true, true]);
    assert_eq!(udp, [true, true, false, false]);
}

#[test]
fn a_prefix_includes_its_first_and_its_last_address() {
    let mut config = world();
    egress(&mut config, "red-app").push(rule(Traffic::All, cidr("203.0.113.128/25")));
    let edges = [
        "203.0.113.127",
        "203.0.113.128",
        "203.0.113.255",
        "203.0.114.0",
    ];
    let allowed = edges.map(|address| sg_allows(&config, address, HTTPS));
    assert_eq!(allowed, [false, true, true, false]);
}

#[test]
fn icmp_is_matched_by_type_and_code_and_all_types_where_none_is_given() {
    let mut config = world();
    let peers = ["192.0.2.1/32", "192.0.2.2/32", "192.0.2.3/32"];
    let kinds = [(None, None), (Some(3), None), (Some(3), Some(4))];
    for (peer, (kind, code)) in peers.iter().zip(kinds) {
        egress(&mut config, "red-app").push(rule(Traffic::Icmp(kind, code), cidr(peer)));
    }
    let allowed = |address| {
        [(8, 0), (3, 0), (3, 4)]
            .map(|(kind, code)| sg_allows(&config, address, Carried::Icmp(kind, code)))
    };
    assert_eq!(allowed("192.0.2.1"), [true, true, true]);
    assert_eq!(allowed("192.0.2.2"), [false, true, true]);
    assert_eq!(allowed("192.0.2.3"), [false, false, true]);
    assert!(!sg_allows(&config, "192.0.2.1", Carried::Tcp(8)));
}

#[test]
fn another_protocol_matches_by_its_number_and_never_tcp() {
    let mut config = world();
    egress(&mut config, "red-app").push(rule(Traffic::Other(47), cidr("0.0.0.0/0")));
    assert!(sg_allows(&config, "1.1.1.1", Carried::Other(47)));
    assert!(!sg_allows(&config, "1.1.1.1", Carried::Other(50)));
    assert!(!sg_allows(&config, "1.1.1.1", Carried::Tcp(47)));
}

#[test]
fn a_group_reference_is_the_addresses_that_carry_the_group_now() {
    let mut config = world();
    egress(&mut config, "red-app").push(rule(Traffic::All, Peer::Group(name("red-db"))));
    assert!(sg_allows(&config, "10.0.2.20", HTTPS));
    assert!(!sg_allows(&config, "10.0.2.21", HTTPS));
    config.network.interfaces[0].address = ip("10.0.2.21");
    assert!(!sg_allows(&config, "10.0.2.20", HTTPS));
    assert!(sg_allows(&config, "10.0.2.21", HTTPS));
    config.network.interfaces[0].security_groups = vec![name("red-other")];
    assert!(!sg_allows(&config, "10.0.2.21", HTTPS));
}

#[test]
fn a_group_reference_includes_every_address_of_the_enis_that_carry_it() {
    let mut config = world();
    egress(&mut config, "red-app").push(rule(Traffic::All, Peer::Group(name("red-app"))));
    assert!(sg_allows(&config, "10.0.1.10", HTTPS));
    assert!(sg_allows(&config, "10.0.1.11", HTTPS));
    assert!(!sg_allows(&config, "10.0.1.12", HTTPS));
}

#[test]
fn rules_of_a_referenced_group_are_not_added() {
    let mut config = world();
    egress(&mut config, "red-app").push(rule(Traffic::All, Peer::Group(name("red-db"))));
    egress(&mut config, "red-db").push(rule(Traffic::All, cidr("0.0.0.0/0")));
    assert!(!sg_allows(&config, "8.8.8.8", HTTPS));
}

#[test]
fn a_group_of_a_peered_vpc_may_be_referenced() {
    let mut config = world();
    egress(&mut config, "red-app").push(rule(Traffic::All, Peer::Group(name("green-db"))));
    assert!(sg_allows(&config, "172.16.1.20", HTTPS));
    config.network.peerings.clear();
    assert!(!sg_allows(&config, "172.16.1.20", HTTPS));
}

#[test]
fn a_group_of_a_vpc_without_peering_matches_nothing() {
    let mut config = world();
    egress(&mut config, "red-app").push(rule(Traffic::All, Peer::Group(name("blue-db"))));
    assert!(!sg_allows(&config, "10.0.2.30", HTTPS));
    config.network.peerings.push(Peering {
        name: name("green-blue"),
        vpcs: [name("green"), name("blue")],
        routers: [None, None],
    });
    assert!(
        !sg_allows(&config, "10.0.2.30", HTTPS),
        "peering is not transitive"
    );
}

#[test]
fn a_prefix_list_is_every_prefix_of_it() {
    let mut config = world();
    egress(&mut config, "red-app").push(rule(Traffic::All, Peer::PrefixList(name("offices"))));
    assert!(sg_allows(&config, "203.0.113.255", HTTPS));
    assert!(sg_allows(&config, "198.51.100.7", HTTPS));
    assert!(!sg_allows(&config, "198.51.100.8", HTTPS));
}

#[test]
fn services_of_aws_are_not_filtered() {
    let mut config = world();
    *red_acl(&mut config) = NetworkAcl {
        ingress: Vec::new(),
        egress: Vec::new(),
        ..acl("red")
    };
    let free = [
        "10.0.0.2",
        "10.0.1.1",
        "169.254.169.253",
        "169.254.169.254",
        "169.254.169.123",
        "169.254.169.250",
        "169.254.169.251",
        "169.254.170.2",
    ];
    for address in free {
        let oracle = oracle(&config);
        assert!(
            oracle.security_groups(ip(address), HTTPS).allows(),
            "{address}"
        );
        assert!(oracle.acl_out(ip(address), HTTPS).allows(), "{address}");
        assert!(oracle.acl_in(ip(address), HTTPS).allows(), "{address}");
    }
    // The resolver is that of the primary block, the router that of the own subnet.
    for address in ["10.1.0.2", "10.0.2.1", "169.254.169.252", "169.254.170.3"] {
        assert!(!sg_allows(&config, address, HTTPS), "{address}");
        assert!(
            !oracle(&config).acl_out(ip(address), HTTPS).allows(),
            "{address}"
        );
    }
}

#[test]
fn security_groups_come_before_the_acl_and_the_acl_before_the_route() {
    let mut config = world();
    red_acl(&mut config).egress.clear();
    let refused = |config: &Config| oracle(config).forward(ip("8.8.8.8"), HTTPS).unwrap_err();
    assert_eq!(refused(&config), Refusal::SgEgress);
    egress(&mut config, "red-app").push(rule(Traffic::All, cidr("0.0.0.0/0")));
    assert_eq!(refused(&config), Refusal::NaclOut);
    red_acl(&mut config).egress.push(allow_all(1));
    assert_eq!(refused(&config), Refusal::NoRoute);
}

#[test]
fn the_matching_entry_with_the_lowest_number_decides() {
    let mut config = world();
    // Not in their order on purpose: numbers decide.
    red_acl(&mut config).egress = vec![
        allow_all(100),
        entry(90, false, Traffic::Tcp(443..=443), "10.0.2.0/24"),
        entry(32_766, false, Traffic::All, "0.0.0.0/0"),
    ];
    let decision = oracle(&config).acl_out(ip("10.0.2.20"), HTTPS);
    let expected = AclDecision::Entry {
        acl: name("red-default"),
        number: 90,
        allow: false,
    };
    assert_eq!(decision, expected);
    assert!(oracle(&config).acl_out(ip("10.0.3.20"), HTTPS).allows());
    assert!(
        oracle(&config)
            .acl_out(ip("10.0.2.20"), Carried::Tcp(80))
            .allows()
    );
}

#[test]
fn what_no_entry_matches_is_denied() {
    let mut config = world();
    red_acl(&mut config).egress = vec![entry(1, true, Traffic::Udp(53..=53), "0.0.0.0/0")];
    let decision = oracle(&config).acl_out(ip("10.0.2.20"), HTTPS);
    let expected = AclDecision::Asterisk {
        acl: name("red-default"),
    };
    assert_eq!(decision, expected);
}

#[test]
fn an_acl_has_no_say_inside_its_subnet() {
    let mut config = world();
    red_acl(&mut config).egress.clear();
    red_acl(&mut config).ingress.clear();
    let edges = [
        "10.0.0.255",
        "10.0.1.0",
        "10.0.1.200",
        "10.0.1.255",
        "10.0.2.0",
    ];
    let out = edges.map(|address| oracle(&config).acl_out(ip(address), HTTPS).allows());
    let back = edges.map(|address| oracle(&config).acl_in(ip(address), HTTPS).allows());
    assert_eq!(out, [false, true, true, true, false]);
    assert_eq!(back, out);
    // Security groups are asked there too.
    assert!(!sg_allows(&config, "10.0.1.200", HTTPS));
}

#[test]
fn replies_need_an_entry_of_their_own_for_ephemeral_ports() {
    let mut config = world();
    red_acl(&mut config).ingress = vec![
        entry(100, true, Traffic::Tcp(32_768..=65_535), "10.0.2.0/24"),
        entry(110, true, Traffic::Tcp(443..=443), "0.0.0.0/0"),
    ];
    let reply = |port| oracle(&config).reply(ip("10.0.2.20"), Carried::Tcp(port));
    assert_eq!(reply(32_767), Err(Refusal::NaclIn));
    assert_eq!(reply(32_768), Ok(()));
    assert_eq!(reply(65_535), Ok(()));
    let elsewhere = oracle(&config).reply(ip("10.0.3.20"), Carried::Tcp(40_000));
    assert_eq!(elsewhere, Err(Refusal::NaclIn), "the source is compared");
}

#[test]
fn security_groups_let_replies_pass() {
    let config = world();
    assert!(!sg_allows(&config, "10.0.2.20", Carried::Tcp(40_000)));
    let reply = oracle(&config).reply(ip("10.0.2.20"), Carried::Tcp(40_000));
    assert_eq!(reply, Ok(()));
}

#[test]
fn icmp_errors_pass_by_the_acl_alone() {
    let mut config = world();
    red_acl(&mut config).egress = vec![entry(1, true, Traffic::Icmp(Some(3), None), "0.0.0.0/0")];
    red_acl(&mut config).ingress =
        vec![entry(1, true, Traffic::Icmp(Some(3), Some(4)), "0.0.0.0/0")];
    let oracle = oracle(&config);
    let remote = ip("10.0.2.20");
    assert!(oracle.error_out(remote, 3, 3));
    assert!(!oracle.error_out(remote, 11, 0));
    assert!(oracle.error_in(remote, 3, 4));
    assert!(!oracle.error_in(remote, 3, 3));
}

#[test]
fn a_prefix_without_a_vpc_has_no_rules() {
    let mut config = world();
    let group = &mut config.groups[0];
    group.subnet_name = None;
    group.security_groups.clear();
    let oracle = oracle(&config);
    let decision = oracle.security_groups(ip("8.8.8.8"), HTTPS);
    assert_eq!(decision, SgDecision::Waived(Waived::NoVpc));
    let by_router = oracle.forward(ip("8.8.8.8"), HTTPS).unwrap();
    assert_eq!(by_router.address, ip("10.0.1.1"));
    assert_eq!(oracle.reply(ip("8.8.8.8"), HTTPS), Ok(()));
}
