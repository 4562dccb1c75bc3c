//! The generator keeps what validation promises, and reaches what there is to see.

use std::collections::{BTreeMap, BTreeSet};

use vpc_user::model::{Config, Destination, LocalDelivery, Peer, Target, Traffic};

use super::*;
use crate::oracle::{
    AclDecision, By, Oracle, Refusal, RuleId, SgDecision, Waived, broadcast, contains, network,
    overlap,
};

const CONFIGURATIONS: u64 = 300;

#[test]
fn generated_configurations_refer_to_nothing_that_is_missing() {
    for seed in 0..CONFIGURATIONS {
        assert!(is_closed(&config(seed, Size::Usual)), "seed {seed}");
    }
    assert!(is_closed(&config(1, Size::Large)));
}

#[test]
fn generated_subnets_and_addresses_are_valid() {
    for seed in 0..CONFIGURATIONS {
        let made = config(seed, Size::Usual).network;
        for (index, subnet) in made.subnets.iter().enumerate() {
            let vpc = made.vpcs.iter().find(|vpc| vpc.name == subnet.vpc).unwrap();
            let covers = |cidr: &ipnet::Ipv4Net| {
                contains(*cidr, subnet.cidr.addr()) && cidr.prefix_len() <= subnet.cidr.prefix_len()
            };
            assert!(vpc.cidrs.iter().any(covers), "seed {seed}");
            assert!((16..=28).contains(&subnet.cidr.prefix_len()));
            let others = made.subnets[..index].iter().filter(|s| s.vpc == subnet.vpc);
            assert!(
                others
                    .clone()
                    .all(|other| !overlap(other.cidr, subnet.cidr))
            );
            for interface in made.interfaces.iter().filter(|i| i.subnet == subnet.name) {
                let address = u32::from(interface.address);
                let (first, last) = (network(subnet.cidr), broadcast(subnet.cidr));
                assert!(address >= first + 4 && address < last, "seed {seed}");
                assert_ne!(subnet.router, Some(interface.address), "seed {seed}");
            }
        }
    }
}

#[test]
fn generated_rules_are_valid() {
    for seed in 0..CONFIGURATIONS {
        let made = config(seed, Size::Usual).network;
        let rules = made.security_groups.iter().flat_map(|g| &g.egress);
        for rule in rules {
            if let Traffic::Tcp(ports) | Traffic::Udp(ports) = &rule.traffic {
                assert!(ports.start() <= ports.end());
            }
        }
        for acl in &made.network_acls {
            for entries in [&acl.ingress, &acl.egress] {
                assert!(entries.is_sorted_by(|a, b| a.number < b.number));
                assert!(entries.iter().all(|e| (1..=32_766).contains(&e.number)));
                assert!(entries.iter().all(|e| e.cidr == e.cidr.trunc()));
            }
        }
    }
}

#[test]
fn generated_routes_are_valid() {
    for seed in 0..CONFIGURATIONS {
        let made = config(seed, Size::Usual).network;
        for table in &made.route_tables {
            let vpc = made.vpcs.iter().find(|vpc| vpc.name == table.vpc).unwrap();
            for route in &table.routes {
                let Destination::Cidr(destination) = route.destination else {
                    continue;
                };
                let is_inside = vpc.cidrs.iter().any(|cidr| {
                    contains(*cidr, destination.addr())
                        && cidr.prefix_len() <= destination.prefix_len()
                });
                let is_subnet = made
                    .subnets
                    .iter()
                    .any(|s| s.vpc == vpc.name && s.cidr == destination);
                let by_interface = matches!(route.target, Target::Interface(_));
                assert!(!is_inside || is_subnet && by_interface, "seed {seed}");
            }
            for subnet in made.subnets.iter().filter(|s| s.route_table == table.name) {
                let by_interface =
                    |route: &vpc_user::model::Route| matches!(route.target, Target::Interface(_));
                let needs_router =
                    vpc.local == LocalDelivery::Router && table.routes.iter().any(by_interface);
                assert!(!needs_router || subnet.router.is_some(), "seed {seed}");
            }
        }
    }
}

#[test]
fn questions_meet_every_answer_often() {
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    let mut all = 0;
    for seed in 0..CONFIGURATIONS {
        let config = config(seed, Size::Usual);
        for question in questions(&config, seed, 100) {
            let oracle = Oracle::new(&config, &question.group);
            let forward = oracle.forward(question.remote, question.carried);
            let reply = oracle.reply(question.remote, question.reply());
            *counts
                .entry(forward.as_ref().map_or_else(|r| r.label(), |_| "ok"))
                .or_default() += 1;
            if forward.is_ok() {
                *counts
                    .entry(reply.map_or_else(Refusal::label, |()| "reply"))
                    .or_default() += 1;
            }
            all += 1;
        }
    }
    let answers: BTreeSet<_> = counts.keys().copied().collect();
    let expected = [
        "blackhole",
        "nacl_in",
        "nacl_out",
        "no_route",
        "ok",
        "reply",
        "sg_egress",
    ];
    assert_eq!(answers, BTreeSet::from(expected), "{counts:?}");
    assert!(
        counts.values().all(|count| count * 100 > all),
        "of {all}: {counts:?}"
    );
}

/// What kinds of decisions an oracle makes about a question.
fn kinds(config: &Config, question: &Question) -> Vec<&'static str> {
    let oracle = Oracle::new(config, &question.group);
    let sg = match oracle.security_groups(question.remote, question.carried) {
        SgDecision::Waived(_) => "unfiltered",
        SgDecision::Rules(rules) => match rules.first().map(|id| peer(config, id)) {
            None => "no rule",
            Some(Peer::Cidr(_)) => "rule for a prefix",
            Some(Peer::PrefixList(_)) => "rule for a list",
            Some(Peer::Group(name)) => {
                let groups = &config.network.security_groups;
                let other = groups.iter().find(|g| g.name == name).unwrap();
                let own = question.group.as_str().split('-').next().unwrap();
                if other.vpc.as_str() == own {
                    "rule for a group"
                } else {
                    "rule for a peer's group"
                }
            }
        },
    };
    let acl = match oracle.acl_in(question.remote, question.reply()) {
        AclDecision::Waived(Waived::NoVpc) => "no VPC",
        AclDecision::Waived(Waived::Unfiltered) => "unfiltered",
        AclDecision::Waived(Waived::SameSubnet) => "same subnet",
        AclDecision::Entry { allow: true, .. } => "entry that allows",
        AclDecision::Entry { allow: false, .. } => "entry that denies",
        AclDecision::Asterisk { .. } => "asterisk",
    };
    let decision = oracle.route(question.remote);
    let uplink = decision.outcome.as_ref().map(|hop| hop.uplink.as_str());
    let own = question.group.as_str().split('-').next().unwrap();
    let leaves_the_vpc = uplink.is_ok_and(|uplink| !uplink.ends_with(own));
    let route = match decision.by {
        By::NoVpc => "no VPC",
        By::NeverForwarded => "never forwarded",
        By::Local(_) => "local",
        By::Static { .. } if leaves_the_vpc => "peering",
        By::Static { .. } => "static",
        By::PrefixList { .. } => "prefix list",
        By::Nothing => "no route",
    };
    vec![sg, acl, route]
}

fn peer(config: &Config, id: &RuleId) -> Peer {
    let groups = &config.network.security_groups;
    let group = groups.iter().find(|group| group.name == id.group).unwrap();
    group.egress[id.index].peer.clone()
}

#[test]
fn questions_meet_every_kind_of_decision() {
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for seed in 0..CONFIGURATIONS {
        let config = config(seed, Size::Usual);
        for question in questions(&config, seed, 100) {
            for kind in kinds(&config, &question) {
                *counts.entry(kind).or_default() += 1;
            }
        }
    }
    eprintln!("{counts:?}");
    assert_eq!(counts.len(), 17, "{counts:?}");
    assert!(counts.values().all(|count| *count >= 30), "{counts:?}");
}

#[test]
fn the_same_number_gives_the_same_configuration() {
    assert_eq!(config(7, Size::Usual), config(7, Size::Usual));
    assert_ne!(config(7, Size::Usual), config(8, Size::Usual));
}

#[test]
fn what_is_left_of_a_failing_configuration_is_what_makes_it_fail() {
    let large = config(3, Size::Large);
    let fails = |config: &Config| {
        let rules = config
            .network
            .security_groups
            .iter()
            .flat_map(|g| &g.egress);
        rules
            .filter(|rule| matches!(rule.traffic, Traffic::Icmp(..)))
            .count()
            >= 2
    };
    assert!(fails(&large));
    let least = shrink(&large, &fails);
    let rules = least.network.security_groups.iter().flat_map(|g| &g.egress);
    assert_eq!(rules.count(), 2, "{}", show(&least));
    assert!(least.groups.is_empty() && least.network.interfaces.is_empty());
    assert_eq!(show(&least).matches("protocol = \"icmp\"").count(), 2);
}
