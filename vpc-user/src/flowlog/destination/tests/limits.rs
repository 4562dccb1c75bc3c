//! Batches of events, whatever the lines are.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};

use super::super::batch::{Batch, Event, of_body};

const DAY: u64 = 86_400_000;

type Streams = BTreeMap<String, Vec<(u64, String)>>;

/// What the service accepts.
fn is_within_limits(batch: &Batch<'_>) -> bool {
    let bytes: usize = batch.events.iter().map(|event| event.text.len() + 26).sum();
    let (first, last) = (batch.events.first().unwrap(), batch.events.last().unwrap());
    bytes <= 1_048_576
        && batch.events.len() <= 10_000
        && batch.events.is_sorted_by_key(|event| event.timestamp)
        && last.timestamp - first.timestamp <= DAY
}

/// All events, by stream, as they are sent.
fn streams(batches: &[Batch<'_>]) -> Streams {
    let mut streams = Streams::new();
    for batch in batches {
        let events = batch.events.iter();
        let stream = streams.entry(batch.stream.to_owned()).or_default();
        stream.extend(events.map(|event| (event.timestamp, event.text.to_owned())));
    }
    streams
}

fn line() -> impl Strategy<Value = (u64, String, String)> {
    let timestamp = prop_oneof![0..10_u64, 0..5 * DAY, any::<u64>().prop_map(|at| at >> 1)];
    let length = prop_oneof![20 => 1..40_usize, 1 => Just(400_000)];
    let text = length.prop_flat_map(|length| "[ -~ü]".prop_map(move |c| c.repeat(length)));
    (timestamp, "eni-[0-2]-all", text)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_event_is_in_one_batch_that_the_service_accepts(lines in vec(line(), 0..60)) {
        let mut body = String::new();
        let mut expected = Streams::new();
        for (timestamp, stream, text) in &lines {
            body += &format!("{timestamp} {stream} {text}\n");
            let events = expected.entry(stream.clone()).or_default();
            events.push((*timestamp, text.clone()));
        }
        expected.values_mut().for_each(|events| events.sort_by_key(|event| event.0));
        let found = of_body(body.as_bytes());
        prop_assert_eq!(found.refused, 0);
        prop_assert!(found.batches.iter().all(is_within_limits));
        prop_assert!(streams(&found.batches) == expected);
        prop_assert!(of_body(body.as_bytes()) == found);
    }

    #[test]
    fn no_bytes_are_too_strange(body in vec(prop_oneof![any::<u8>(), Just(b' '), Just(b'\n'), Just(b'1')], 0..400)) {
        let found = of_body(&body);
        let events: usize = found.batches.iter().map(|batch| batch.events.len()).sum();
        let lines = body.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        prop_assert_eq!(events + found.refused, lines.count());
    }
}

#[test]
fn a_batch_is_full_at_ten_thousand_events() {
    let lines = |count: usize| "7 s t\n".repeat(count);
    let sizes = |count| -> Vec<usize> {
        let body = lines(count);
        let batches = of_body(body.as_bytes()).batches;
        batches.iter().map(|batch| batch.events.len()).collect()
    };
    assert_eq!(sizes(10_000), [10_000]);
    assert_eq!(sizes(20_001), [10_000, 10_000, 1]);
}

#[test]
fn a_batch_is_full_at_its_bytes() {
    // Two events of half a batch, and one byte more.
    let half = "x".repeat(1_048_576 / 2 - 26);
    let fits = format!("1 s {half}\n2 s {half}\n");
    assert_eq!(of_body(fits.as_bytes()).batches.len(), 1);
    let more = format!("1 s {half}\n2 s {half}y\n");
    assert_eq!(of_body(more.as_bytes()).batches.len(), 2);
    let whole = format!("1 s {}\n", "x".repeat(1_048_576 - 26));
    assert_eq!(of_body(whole.as_bytes()).refused, 0);
    let longer = format!("1 s {}\n", "x".repeat(1_048_576 - 25));
    assert_eq!(of_body(longer.as_bytes()).refused, 1);
}

#[test]
fn a_batch_spans_a_day_and_no_more() {
    let body = format!("0 s a\n{DAY} s b\n{} s c\n", DAY + 1);
    let batches = of_body(body.as_bytes()).batches;
    let texts: Vec<Vec<&str>> = batches
        .iter()
        .map(|batch| batch.events.iter().map(|event| event.text).collect())
        .collect();
    assert_eq!(texts, [vec!["a", "b"], vec!["c"]]);
}

#[test]
fn lines_that_are_no_events_are_counted() {
    let long_name = "n".repeat(513);
    for line in [
        "no",
        "1",
        "1 s",
        "1 s ",
        "-1 s t",
        "x s t",
        "1  t",
        "1 a:b t",
        "1 a*b t",
        "9223372036854775808 s t",
        &format!("1 {long_name} t"),
    ] {
        assert_eq!(of_body(line.as_bytes()).refused, 1, "{line:?}");
    }
    let body = b"\n\n1 s two words\n\xff 1 s t\n";
    let found = of_body(body);
    let event = Event {
        timestamp: 1,
        text: "two words",
    };
    assert_eq!(
        (found.refused, found.batches[0].events.as_slice()),
        (1, &[event][..])
    );
}
