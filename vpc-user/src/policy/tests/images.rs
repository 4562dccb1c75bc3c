//! The shape of images, and how large they get.

use std::collections::{HashMap, HashSet};

use vpc_common::{
    policy::{EGRESS_WORDS, ROW_WORDS},
    state::{ICMP, TCP, UDP},
};

use super::{super::*, build::*};
use crate::model::Traffic;

/// The words of the table that a word describes.
fn table(words: &[u64], described: u64) -> &[u64] {
    let first = described as u32 as usize;
    &words[first..first + (described >> 32) as usize]
}

/// Fails if anything in an image is there twice, unused or divisible.
pub fn assert_minimal(words: &[u64]) {
    let addresses = table(words, words[0]);
    assert_eq!(addresses[0] >> 32, 0);
    for pair in addresses.windows(2) {
        assert!(pair[0] >> 32 < pair[1] >> 32);
        assert_ne!(pair[0] as u32, pair[1] as u32, "neighbours share a row");
    }
    let rows: HashSet<usize> = addresses
        .iter()
        .map(|&entry| entry as u32 as usize)
        .collect();
    let of = |row: &usize| &words[*row..*row + ROW_WORDS as usize];
    let contents: HashSet<&[u64]> = rows.iter().map(of).collect();
    assert_eq!(rows.len(), contents.len(), "two rows are equal");
    let mut tables = HashMap::new();
    let mut egresses = HashMap::new();
    for row in rows.iter().map(of) {
        if row[0] != 0 {
            let record = table(words, row[0] | u64::from(EGRESS_WORDS) << 32);
            assert_eq!(*egresses.entry(record).or_insert(row[0]), row[0]);
        }
        for &described in &row[1..] {
            let ports = table(words, described);
            assert_eq!(*tables.entry(ports).or_insert(described), described);
            assert_eq!(ports[0] >> 32, 0);
            for pair in ports.windows(2) {
                assert!(pair[0] >> 32 < pair[1] >> 32);
                assert_ne!(pair[0] as u32, pair[1] as u32, "neighbours share a verdict");
            }
        }
    }
    let used = 1
        + addresses.len()
        + rows.len() * ROW_WORDS as usize
        + egresses.len() * EGRESS_WORDS as usize
        + tables.keys().map(|ports| ports.len()).sum::<usize>();
    assert_eq!(used, words.len(), "something is not used");
}

#[test]
fn a_source_without_rules_or_routes_denies_everything() {
    let words = image(&closed());
    assert_minimal(&words);
    for remote in [[0, 0, 0, 0], [8, 8, 8, 8], [255, 255, 255, 255]] {
        for protocol in [TCP, UDP, ICMP] {
            let decision = evaluate(&words, remote.into(), protocol, 443);
            assert_eq!(decision.denials, Verdict::SG_DENIES | Verdict::ACL_DENIES);
            assert_eq!(decision.egress, Egress::NOWHERE);
            assert_eq!(
                evaluate_in(&words, remote.into(), protocol, 443),
                Verdict::ACL_DENIES
            );
        }
    }
    // Everywhere but in the own subnet, where there is no ACL.
    let decision = evaluate(&words, [10, 0, 0, 9].into(), TCP, 443);
    assert_eq!(decision.denials, Verdict::SG_DENIES);
    assert_eq!(evaluate_in(&words, [10, 0, 0, 9].into(), TCP, 443), 0);
}

#[test]
fn no_words_deny() {
    let decision = evaluate(&[], [8, 8, 8, 8].into(), TCP, 443);
    assert_eq!(decision.denials, Verdict::SG_DENIES | Verdict::ACL_DENIES);
    assert_eq!(decision.egress, Egress::NOWHERE);
    assert_eq!(
        evaluate_in(&[], [8, 8, 8, 8].into(), TCP, 443),
        Verdict::ACL_DENIES
    );
}

#[test]
fn rules_that_say_the_same_become_one_range() {
    let quarter = |n: u32| ipnet::Ipv4Net::new((0x0a01_0000 + n * 64).into(), 26).unwrap();
    let mut source = closed();
    source.out = (0..256)
        .map(|n| sg(Traffic::Tcp(443..=443), quarter(n)))
        .collect();
    let one = Source {
        out: vec![sg(Traffic::Tcp(443..=443), net("10.1.0.0/18"))],
        ..closed()
    };
    assert_eq!(image(&source), image(&one));
}

#[test]
fn ports_that_touch_become_one_range() {
    let anywhere = net("0.0.0.0/0");
    let tcp = |first, last| sg(Traffic::Tcp(first..=last), anywhere);
    let mut split = closed();
    split.out = vec![tcp(80, 89), tcp(100, 200), tcp(90, 99), tcp(85, 150)];
    let mut whole = closed();
    whole.out = vec![tcp(80, 200)];
    assert_eq!(image(&split), image(&whole));
}

#[test]
fn a_policy_at_all_limits_compiles() {
    let mut source = closed();
    source.out = (0..1000_u32)
        .map(|n| sg(Traffic::Tcp(n as u16 * 3..=n as u16 * 3 + 1), host(n)))
        .collect();
    let entries = |offset: u32| {
        (0..40_u32)
            .map(|n| {
                let traffic = Traffic::Tcp(n as u16..=n as u16 * 1000);
                acl(n as u16 + 1, traffic, host(n * 7 + offset), n % 2 == 0)
            })
            .collect()
    };
    source.acl_out = entries(0);
    source.acl_in = entries(3);
    source.routes = (0..1000)
        .map(|n| route(host(n * 5), via(n as u8)))
        .collect();
    let words = image(&source);
    assert_minimal(&words);
    assert!(words.len() < 1 << 16, "{} words", words.len());
}

fn host(n: u32) -> ipnet::Ipv4Net {
    std::net::Ipv4Addr::from(0x0b00_0000 + n * 3).into()
}

#[test]
fn a_policy_that_is_too_large_is_refused() {
    let mut source = closed();
    let anywhere = net("0.0.0.0/0");
    source.out = (0..2000_u16)
        .map(|n| sg(Traffic::Tcp(n * 3..=n * 3), anywhere))
        .chain((0..2000_u16).map(|n| sg(Traffic::Tcp(n * 3 + 1..=n * 3 + 1), host(n.into()))))
        .collect();
    let error = compile(&source, &index).unwrap_err();
    assert!(error.words > IMAGE_WORDS_MAX);
    assert!(error.to_string().contains("combine prefixes"), "{error}");
}

#[test]
fn an_uplink_without_index_is_no_route() {
    let mut source = closed();
    let hop = Hop::OnLink {
        uplink: name("gone"),
    };
    source.routes = vec![route(net("0.0.0.0/0"), hop)];
    let decision = evaluate(&image(&source), [8, 8, 8, 8].into(), TCP, 443);
    assert_eq!(decision.egress, Egress::NOWHERE);
}
