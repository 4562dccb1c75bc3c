//! Dates.

use proptest::prelude::*;

use crate::control::{Time, iam::date};

#[test]
fn dates_are_read() {
    let table: &[(&str, Option<f64>)] = &[
        ("1970-01-01", Some(0.0)),
        ("1969-12-31T23:59:59Z", Some(-1.0)),
        ("2000-03-01", Some(951_868_800.0)),
        ("2026-11-25T22:45Z", Some(1_795_646_700.0)),
        ("2026-11-25T22:45:14.5Z", Some(1_795_646_714.5)),
        ("2026-11-25T23:45:14+01:00", Some(1_795_646_714.0)),
        ("2026-11-25T17:15:14-0530", Some(1_795_646_714.0)),
        ("1795646714", Some(1_795_646_714.0)),
        ("-5", Some(-5.0)),
        ("2026-02-29", None),
        ("2024-02-29", Some(1_709_164_800.0)),
        ("2026-13-01", None),
        ("2026-00-01", None),
        ("2026-01-00", None),
        ("2026-1-1", None),
        ("2026-11-25T22:45", None),
        ("2026-11-25T24:00Z", None),
        ("2026-11-25T22:60Z", None),
        ("2026-11-25T22:45:14.Z", None),
        ("2026-11-25T22:45Z+", None),
        ("2026-11-25T22:45+1", None),
        ("2026-11-25T", None),
        ("tomorrow", None),
        ("", None),
    ];
    for (text, expected) in table {
        assert_eq!(date::parse(text), *expected, "{text}");
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(seconds in 0_u64..253_402_300_800) {
        let text = date::iso(Time(seconds * 1_000 + 999));
        prop_assert_eq!(date::parse(&text), Some(seconds as f64), "{}", text);
    }

    #[test]
    fn nothing_is_a_panic(text in "[-0-9TZ:.+é]{0,24}", milliseconds: u64) {
        let _ = date::parse(&text);
        let _ = date::iso(Time(milliseconds));
    }
}
