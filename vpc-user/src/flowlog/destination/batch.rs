//! Lines as batches of events, within the limits of PutLogEvents.
//! <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html>

use std::collections::BTreeMap;

/// Events of a batch.
const EVENTS_MAX: usize = 10_000;
/// Bytes of a batch, [`EVENT_OVERHEAD`] included.
const BYTES_MAX: usize = 1_048_576;
/// What an event counts beside its text, bytes.
const EVENT_OVERHEAD: usize = 26;
/// From the first to the last event of a batch, milliseconds.
const SPAN_MAX: u64 = 24 * 60 * 60 * 1_000;
/// Characters of a stream's name.
const STREAM_NAME_MAX: usize = 512;

/// An event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event<'a> {
    /// When it was, Unix milliseconds; at most `i64::MAX`.
    pub timestamp: u64,
    /// What it says.
    pub text: &'a str,
}

/// Events for one stream, oldest first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Batch<'a> {
    /// The stream.
    pub stream: &'a str,
    /// At least one.
    pub events: Vec<Event<'a>>,
}

/// What a body is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Batches<'a> {
    /// Always the same of the same body.
    pub batches: Vec<Batch<'a>>,
    /// Lines that are no events, or too long for one.
    pub refused: usize,
}

/// Reads lines `<Unix milliseconds> <stream> <text>`.
pub fn of_body(body: &[u8]) -> Batches<'_> {
    let mut refused = 0;
    let mut streams = BTreeMap::<&str, Vec<Event<'_>>>::new();
    for line in super::lines(body) {
        match event(line) {
            Some((stream, event)) => streams.entry(stream).or_default().push(event),
            None => refused += 1,
        }
    }
    let mut batches = Vec::new();
    for (stream, mut events) in streams {
        // Stable: events of one moment stay in order.
        events.sort_by_key(|event| event.timestamp);
        cut(stream, &events, &mut batches);
    }
    Batches { batches, refused }
}

fn event(line: &[u8]) -> Option<(&str, Event<'_>)> {
    let line = std::str::from_utf8(line).ok()?;
    let (timestamp, rest) = line.split_once(' ')?;
    let (stream, text) = rest.split_once(' ')?;
    let timestamp = timestamp.parse::<u64>().ok()?;
    let is_name = (1..=STREAM_NAME_MAX).contains(&stream.chars().count())
        && !stream.contains([':', '*'])
        && !stream.contains(char::is_control);
    let is_event = i64::try_from(timestamp).is_ok()
        && !text.is_empty()
        && text.len() <= BYTES_MAX - EVENT_OVERHEAD;
    (is_name && is_event).then_some((stream, Event { timestamp, text }))
}

/// Cuts sorted events of one stream.
fn cut<'a>(stream: &'a str, events: &[Event<'a>], batches: &mut Vec<Batch<'a>>) {
    let mut begin = 0;
    let mut bytes = 0;
    for (at, event) in events.iter().enumerate() {
        let size = event.text.len() + EVENT_OVERHEAD;
        let first = events.get(begin).unwrap_or(event);
        if at - begin == EVENTS_MAX
            || bytes + size > BYTES_MAX
            || event.timestamp - first.timestamp > SPAN_MAX
        {
            batches.push(Batch {
                stream,
                events: events[begin..at].to_vec(),
            });
            begin = at;
            bytes = 0;
        }
        bytes += size;
    }
    batches.push(Batch {
        stream,
        events: events[begin..].to_vec(),
    });
}
