use proptest::prelude::*;

use super::*;

const ALLOWED: u32 = Verdict::JUDGED;
const SG: u32 = Verdict::JUDGED | Verdict::SG_DENIES;
const ACL: u32 = Verdict::JUDGED | Verdict::ACL_DENIES;
const BOTH: u32 = Verdict::SG_DENIES | Verdict::ACL_DENIES;

const CLOSED: V4 = V4::new([10, 0, 0, 255]);
const OPEN: V4 = V4::new([10, 0, 1, 0]);
const ROUTER: V4 = V4::new([10, 0, 0, 1]);

/// An image by hand: a row in which everything is denied and, from 10.0.1.0 up, one
/// with a router on uplink 5 and a table of three ranges for TCP out and UDP in.
fn image() -> Vec<u64> {
    let (denied, ranges) = (pack(20, 1), pack(21, 3));
    let way = Egress {
        kind: Egress::VIA,
        uplink: 5,
        next_hop: Addr::from_v4(ROUTER),
    };
    let parts: [&[u64]; 6] = [
        &[pack(1, 2), pack(3, 0), pack(10, 0x0a00_0100)],
        &[0, denied, denied, denied, denied, denied, denied],
        &[17, ranges, denied, denied, denied, ranges, denied],
        &way.words(),
        &[pack(SG | ACL, 0)],
        &[pack(SG, 0), pack(ALLOWED, 443), pack(SG | ACL, 444)],
    ];
    parts.concat()
}

/// Everything that evaluation says of an address, denials first.
fn said(words: &[u64], base: u32, remote: V4) -> (Vec<u32>, Egress) {
    let Some(row) = row(words, base, remote) else {
        return (vec![BOTH; 18], Egress::NOWHERE);
    };
    let mut denials = Vec::new();
    for protocol in [TCP, UDP, ICMP] {
        for port in [0, 443, 444] {
            denials.push(out(words, row, protocol, port));
            denials.push(into(words, row, protocol, port) | Verdict::SG_DENIES);
        }
    }
    (denials, egress(words, row, Addr::from_v4(remote)))
}

#[test]
fn a_range_holds_from_its_first_port_to_the_next_range() {
    let words = image();
    let row = row(&words[..], 0, OPEN).unwrap();
    for (port, denials) in [
        (0, Verdict::SG_DENIES),
        (442, Verdict::SG_DENIES),
        (443, 0),
        (444, BOTH),
        (u16::MAX, BOTH),
    ] {
        assert_eq!(out(&words[..], row, TCP, port), denials, "port {port}");
        let acl = denials & Verdict::ACL_DENIES;
        assert_eq!(into(&words[..], row, UDP, port), acl, "port {port}");
    }
}

#[test]
fn an_address_has_the_row_of_its_range() {
    let words = image();
    for (remote, at) in [
        ([0, 0, 0, 0], 3),
        (CLOSED.octets(), 3),
        (OPEN.octets(), 10),
        ([255; 4], 10),
    ] {
        let row = row(&words[..], 0, V4::new(remote));
        assert_eq!(row, Some(Row { base: 0, at }), "{remote:?}");
    }
}

#[test]
fn a_protocol_without_tables_is_denied() {
    let words = image();
    let row = row(&words[..], 0, OPEN).unwrap();
    for protocol in [0, 2, 41, 47, 50, 58, 132, 255] {
        assert_eq!(out(&words[..], row, protocol, 443), BOTH);
        assert_eq!(into(&words[..], row, protocol, 443), Verdict::ACL_DENIES);
    }
}

#[test]
fn the_kinds_of_egress_give_their_next_hops() {
    let remote = Addr::from_v4(OPEN);
    let router = Addr::from_v4(ROUTER);
    for (kind, uplink, next_hop) in [
        (Egress::NO_ROUTE, 0, Addr::UNSPECIFIED),
        (Egress::BLACKHOLE, 0, Addr::UNSPECIFIED),
        (Egress::ON_LINK, 5, remote),
        (Egress::VIA, 5, router),
        (4, 0, Addr::UNSPECIFIED),
    ] {
        let mut words = image();
        words[17] = pack(kind, 5);
        let row = row(&words[..], 0, OPEN).unwrap();
        let kind = if kind > Egress::VIA { 0 } else { kind };
        let expected = Egress {
            kind,
            uplink,
            next_hop,
        };
        assert_eq!(egress(&words[..], row, remote), expected);
    }
    let words = image();
    let row = row(&words[..], 0, CLOSED).unwrap();
    assert_eq!(egress(&words[..], row, remote), Egress::NOWHERE);
}

#[test]
fn an_image_says_the_same_wherever_it_lies() {
    let words = image();
    let mut moved = vec![u64::MAX; 1000];
    moved.extend(&words);
    for remote in [CLOSED, OPEN] {
        assert_eq!(said(&moved, 1000, remote), said(&words, 0, remote));
    }
}

#[test]
fn zeroed_words_deny() {
    let mut words = image();
    for place in 0..words.len() {
        let word = std::mem::take(&mut words[place]);
        let (denials, egress) = said(&words, 0, OPEN);
        let (before, way) = said(&image(), 0, OPEN);
        // The entry of a row goes unseen, and the row before it is as closed.
        for (now, before) in denials.iter().zip(before) {
            assert_eq!(now & before, before, "word {place}");
        }
        let next_hop = place == 18 || place == 19;
        assert!(
            next_hop || egress == way || egress.kind == Egress::NO_ROUTE,
            "word {place}"
        );
        words[place] = word;
    }
    assert_eq!(row(&[0_u64; 8][..], 0, OPEN), None);
}

#[test]
fn an_image_that_is_cut_off_denies() {
    let words = image();
    let (denials, way) = said(&words, 0, OPEN);
    for len in 0..words.len() {
        let (cut, egress) = said(&words[..len], 0, OPEN);
        for (cut, whole) in cut.iter().zip(&denials) {
            assert_eq!(cut & whole, *whole, "{len} words");
        }
        assert!(egress == way || egress.kind == Egress::NO_ROUTE);
    }
}

#[test]
fn a_table_that_does_not_begin_with_zero_gives_nothing_below() {
    let words = [pack(7, 10), pack(8, 20)];
    for (key, low) in [(9, 0), (10, 7), (19, 7), (20, 8), (u32::MAX, 8)] {
        assert_eq!(search(&words[..], 0, 2, key), low, "key {key}");
    }
}

#[test]
fn tables_out_of_bounds_give_nothing() {
    let words = [pack(7, 0); 4];
    for (first, count) in [
        (0, 0),
        (4, 1),
        (0, TABLE_ENTRIES_MAX + 1),
        (1, u32::MAX),
        (u32::MAX, 1),
        (u32::MAX, 2),
    ] {
        assert_eq!(search(&words[..], first, count, 0), 0, "{first} {count}");
    }
}

#[test]
fn the_longest_table_is_searched_to_its_last_entry() {
    let words: Vec<u64> = (0..TABLE_ENTRIES_MAX).map(|i| pack(i + 1, i)).collect();
    for key in [0, 1, 524_287, 524_288, TABLE_ENTRIES_MAX - 1] {
        assert_eq!(search(&words[..], 0, TABLE_ENTRIES_MAX, key), key + 1);
    }
}

proptest! {
    #[test]
    fn a_search_agrees_with_a_scan(
        keys in prop::collection::btree_set(any::<u32>(), 1..200),
        probes in prop::collection::vec(any::<u32>(), 50),
    ) {
        let keys: Vec<u32> = keys.into_iter().collect();
        let words: Vec<u64> = (1..).zip(&keys).map(|(n, &key)| pack(n, key)).collect();
        let beside = keys.iter().flat_map(|&key| [key.saturating_sub(1), key, key.saturating_add(1)]);
        for probe in beside.chain(probes).chain([0, u32::MAX]) {
            let scanned = keys.iter().filter(|&&key| key <= probe).count() as u32;
            prop_assert_eq!(search(&words[..], 0, words.len() as u32, probe), scanned);
        }
    }

    #[test]
    fn random_words_never_panic(
        words in prop::collection::vec(prop_oneof![any::<u64>(), (0..64_u32, 0..64_u32).prop_map(|(a, b)| pack(a, b))], 0..64),
        base in prop_oneof![0..64_u32, any::<u32>()],
        remote in any::<u32>(),
    ) {
        let (denials, egress) = said(&words, base, V4::from_wire(remote));
        prop_assert!(denials.iter().all(|bits| bits & !BOTH == 0));
        prop_assert!(egress.kind <= Egress::VIA);
    }
}
