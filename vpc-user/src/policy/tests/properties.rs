//! Random sources: the image says what a scan of the source says.

use std::{collections::BTreeSet, net::Ipv4Addr};

use ipnet::Ipv4Net;
use proptest::prelude::*;
use vpc_common::{
    policy::Egress,
    state::{ICMP, TCP, UDP},
};

use super::{super::*, build::*};
use crate::model::Traffic;

/// Prefixes that nest, touch and repeat.
fn a_cidr() -> impl Strategy<Value = Ipv4Net> {
    let address = prop_oneof![
        4 => (0..4_u32, 0..4_u32).prop_map(|(c, d)| 0x0a00_0000 + c * 256 + d * 64),
        1 => (0..64_u32).prop_map(|d| 0x0a00_0000 + d),
        1 => Just(0xa9fe_a9fe_u32),
        1 => any::<u32>(),
        1 => prop_oneof![Just(0), Just(u32::MAX)],
    ];
    let prefix_len = prop_oneof![Just(0), Just(8), Just(22), 23..=27_u8, 30..=32_u8];
    (address, prefix_len)
        .prop_map(|(address, prefix_len)| Ipv4Net::new(address.into(), prefix_len).unwrap().trunc())
}

fn a_port() -> impl Strategy<Value = u16> {
    prop_oneof![
        Just(0),
        Just(u16::MAX),
        Just(1023),
        Just(1024),
        440..446_u16,
        any::<u16>()
    ]
}

fn a_range() -> impl Strategy<Value = std::ops::RangeInclusive<u16>> {
    (a_port(), a_port()).prop_map(|(a, b)| a.min(b)..=a.max(b))
}

fn a_traffic() -> impl Strategy<Value = Traffic> {
    let icmp = (prop::option::of(0..4_u8), prop::option::of(0..3_u8));
    prop_oneof![
        2 => Just(Traffic::All),
        4 => a_range().prop_map(Traffic::Tcp),
        2 => a_range().prop_map(Traffic::Udp),
        2 => icmp.prop_map(|(kind, code)| Traffic::Icmp(kind, kind.and(code))),
        1 => prop_oneof![Just(47), Just(6)].prop_map(Traffic::Other),
    ]
}

fn an_acl() -> impl Strategy<Value = Vec<AclRule>> {
    prop::collection::vec((a_traffic(), a_cidr(), any::<bool>()), 0..8).prop_map(|entries| {
        let entry = |(number, (traffic, cidr, allow))| acl(number, traffic, cidr, allow);
        (1..).zip(entries).map(entry).collect()
    })
}

fn a_hop() -> impl Strategy<Value = Hop> {
    prop_oneof![
        Just(Hop::Blackhole),
        Just(Hop::BeyondPeer),
        Just(Hop::OnLink {
            uplink: name("up0")
        }),
        Just(Hop::OnLink {
            uplink: name("gone")
        }),
        (1..4_u8).prop_map(via),
    ]
}

fn a_source() -> impl Strategy<Value = Source> {
    let rules = prop::collection::vec((a_traffic(), a_cidr()), 0..12);
    let routes = prop::collection::vec((a_cidr(), a_hop()), 0..8);
    let unfiltered = prop::collection::vec(
        a_cidr().prop_filter("no rule left", |net| net.prefix_len() > 0),
        0..3,
    );
    (rules, an_acl(), an_acl(), routes, unfiltered, a_cidr()).prop_map(
        |(rules, acl_out, acl_in, mut routes, unfiltered, subnet)| {
            routes.sort_by_key(|(cidr, _)| std::cmp::Reverse(cidr.prefix_len()));
            Source {
                out: rules
                    .into_iter()
                    .map(|(traffic, cidr)| sg(traffic, cidr))
                    .collect(),
                acl_out,
                acl_in,
                routes: routes
                    .into_iter()
                    .map(|(cidr, hop)| route(cidr, hop))
                    .collect(),
                subnet,
                unfiltered,
                ..closed()
            }
        },
    )
}

/// Addresses at and beside every bound.
fn addresses(source: &Source) -> BTreeSet<u32> {
    let cidrs = (source.out.iter().map(|rule| rule.cidr))
        .chain(source.acl_out.iter().map(|rule| rule.cidr))
        .chain(source.acl_in.iter().map(|rule| rule.cidr))
        .chain(source.routes.iter().map(|rule| rule.cidr))
        .chain(source.unfiltered.iter().copied())
        .chain(source.reserved.iter().copied())
        .chain([source.subnet]);
    cidrs
        .map(|cidr| (u32::from(cidr.network()), u32::from(cidr.broadcast())))
        .flat_map(|(first, last)| [first.wrapping_sub(1), first, last, last.wrapping_add(1)])
        .collect()
}

/// Ports at and beside every bound.
fn ports(source: &Source) -> BTreeSet<u16> {
    let traffics = (source.out.iter().map(|rule| &rule.traffic))
        .chain(source.acl_out.iter().map(|rule| &rule.traffic))
        .chain(source.acl_in.iter().map(|rule| &rule.traffic));
    let mut ports = BTreeSet::from([0, 1, 255, 256, 257, 258, 512, 768, 1023, u16::MAX]);
    for traffic in traffics {
        if let Traffic::Tcp(range) | Traffic::Udp(range) = traffic {
            let (first, last) = (*range.start(), *range.end());
            ports.extend([first.wrapping_sub(1), first, last, last.wrapping_add(1)]);
        }
    }
    ports
}

/// What the image must say of a route.
fn egress_of(decision: RouteDecision<'_>, remote: Ipv4Addr) -> Egress {
    let hop = match decision {
        RouteDecision::Reserved(_) | RouteDecision::NoRoute => return Egress::NOWHERE,
        RouteDecision::Route(route) => &route.hop,
    };
    let at = |uplink, kind, next_hop: Ipv4Addr| match index(uplink) {
        Some(uplink) => Egress {
            kind,
            uplink,
            next_hop: Addr::from_v4(V4::new(next_hop.octets())),
        },
        None => Egress::NOWHERE,
    };
    match hop {
        Hop::BeyondPeer => Egress::NOWHERE,
        Hop::Blackhole => Egress {
            kind: Egress::BLACKHOLE,
            ..Egress::NOWHERE
        },
        Hop::OnLink { uplink } => at(uplink, Egress::ON_LINK, remote),
        Hop::Via { uplink, address } => at(uplink, Egress::VIA, *address),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn an_image_agrees_with_the_attribution(source in a_source()) {
        let words = image(&source);
        let ports = ports(&source);
        for remote in addresses(&source) {
            let remote = Ipv4Addr::from(remote);
            let way = egress_of(attribute_route(&source, remote), remote);
            for protocol in [TCP, UDP, ICMP, 47] {
                for &port in &ports {
                    let decision = evaluate(&words, remote, protocol, port);
                    let out = attribute_out(&source, protocol, remote, port);
                    prop_assert_eq!(decision.denials, out.denials(), "{} {} {}", protocol, remote, port);
                    prop_assert_eq!(decision.egress, way, "{}", remote);
                    let entering = attribute_in(&source, protocol, remote, port);
                    let denials = evaluate_in(&words, remote, protocol, port);
                    prop_assert_eq!(denials, entering.denials(), "in {} {} {}", protocol, remote, port);
                }
            }
        }
    }

    #[test]
    fn equal_parts_of_an_image_are_one(source in a_source()) {
        super::images::assert_minimal(&image(&source));
    }

    #[test]
    fn a_source_has_one_image(source in a_source()) {
        prop_assert_eq!(image(&source), image(&source));
    }

    #[test]
    fn a_damaged_image_opens_nothing_by_losing_words(
        source in a_source(),
        place in any::<prop::sample::Index>(),
        remotes in prop::collection::vec(any::<u32>(), 10),
    ) {
        let whole = image(&source);
        let cut = &whole[..place.index(whole.len())];
        for remote in addresses(&source).into_iter().chain(remotes) {
            let remote = Ipv4Addr::from(remote);
            for (protocol, port) in [(TCP, 443), (UDP, 0), (ICMP, 256)] {
                let (before, after) = (
                    evaluate(&whole, remote, protocol, port),
                    evaluate(cut, remote, protocol, port),
                );
                prop_assert_eq!(after.denials & before.denials, before.denials);
                prop_assert!(after.egress == before.egress || after.egress == Egress::NOWHERE);
            }
        }
    }

    #[test]
    fn a_damaged_image_does_not_panic(
        source in a_source(),
        place in any::<prop::sample::Index>(),
        word in any::<u64>(),
        remotes in prop::collection::vec(any::<u32>(), 10),
    ) {
        let mut words = image(&source);
        let place = place.index(words.len());
        words[place] = word;
        for remote in addresses(&source).into_iter().chain(remotes) {
            let decision = evaluate(&words, remote.into(), TCP, 443);
            prop_assert!(decision.denials <= 3 && decision.egress.kind <= Egress::VIA);
            prop_assert!(matches!(evaluate_in(&words, remote.into(), UDP, 53), 0 | 2));
        }
    }
}
