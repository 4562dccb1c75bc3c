//! Messages are read back by a decoder that knows templates from the wire alone, and by the
//! tools of others; they are sent to collectors that come and go.

mod decoder;
mod tools;
mod transport;

use proptest::prelude::*;

use super::*;
use decoder::{Decoder, read_length};

fn environment(name: &str, address: Ipv4Addr) -> Arc<Environment> {
    Arc::new(Environment {
        name: name.into(),
        function: None,
        address,
    })
}

fn place(interface_id: &str, address: Ipv4Addr) -> Arc<Place> {
    Arc::new(Place {
        interface_id: interface_id.to_owned(),
        address,
        ..Place::unknown()
    })
}

/// An event of each kind; the number of the first is in its port.
fn examples(number: u16) -> Vec<Event> {
    let environment = environment("vm-17", Ipv4Addr::new(169, 254, 100, 2));
    let place = place("eni-1235b8ca123456789", Ipv4Addr::new(10, 0, 1, 10));
    let session = Session {
        protocol: 6,
        environment: Arc::clone(&environment),
        inside_port: number,
        place: Arc::clone(&place),
        outside_port: 40_213,
        remote: Ipv4Addr::new(10, 0, 3, 7),
        remote_port: 5_432,
    };
    let all = [
        NatEvent::SessionCreate(session.clone()),
        NatEvent::SessionDelete(session),
        NatEvent::AddressesExhausted { pool: 7 },
        NatEvent::PortsExhausted {
            place,
            protocol: 17,
        },
        NatEvent::SessionsExceeded { limit: 1_000_000 },
        NatEvent::UserEntriesExceeded {
            environment,
            limit: 4_096,
        },
    ];
    let times = (0..).map(|at| 1_620_140_661_123 + at);
    let events = times.zip(all);
    events.map(|(time, what)| Event { time, what }).collect()
}

fn address() -> impl Strategy<Value = Ipv4Addr> {
    any::<u32>().prop_map(Ipv4Addr::from_bits)
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-z0-9-]{0,40}", 1 => "\\PC{0,200}"]
}

fn any_environment() -> impl Strategy<Value = Arc<Environment>> {
    (name(), address()).prop_map(|(name, address)| environment(&name, address))
}

fn any_place() -> impl Strategy<Value = Arc<Place>> {
    (name(), address()).prop_map(|(name, address)| place(&name, address))
}

fn session() -> impl Strategy<Value = Session> {
    let numbers = any::<(u8, u16, u16, u16)>();
    (numbers, any_environment(), any_place(), address()).prop_map(
        |((protocol, inside_port, outside_port, remote_port), environment, place, remote)| {
            Session {
                protocol,
                environment,
                inside_port,
                place,
                outside_port,
                remote,
                remote_port,
            }
        },
    )
}

fn event() -> impl Strategy<Value = Event> {
    let ports = (any_place(), any::<u8>());
    let what = prop_oneof![
        3 => session().prop_map(NatEvent::SessionCreate),
        3 => session().prop_map(NatEvent::SessionDelete),
        1 => any::<u32>().prop_map(|pool| NatEvent::AddressesExhausted { pool }),
        1 => ports.prop_map(|(place, protocol)| NatEvent::PortsExhausted { place, protocol }),
        1 => any::<u32>().prop_map(|limit| NatEvent::SessionsExceeded { limit }),
        1 => (any_environment(), any::<u32>()).prop_map(|(environment, limit)| {
            NatEvent::UserEntriesExceeded { environment, limit }
        })
    ];
    (any::<u64>(), what).prop_map(|(time, what)| Event { time, what })
}

/// As a collector sees it: names are cut.
fn seen(event: &Event) -> Event {
    fn cut(name: &str) -> String {
        let octets = name.as_bytes();
        String::from_utf8_lossy(&octets[..octets.len().min(REALM)]).into_owned()
    }
    let mut event = event.clone();
    match &mut event.what {
        NatEvent::SessionCreate(session) | NatEvent::SessionDelete(session) => {
            session.environment =
                environment(&cut(&session.environment.name), session.environment.address);
            session.place = place(&cut(&session.place.interface_id), session.place.address);
        }
        NatEvent::PortsExhausted { place: at, .. } => {
            *at = place(&cut(&at.interface_id), at.address)
        }
        NatEvent::UserEntriesExceeded {
            environment: of, ..
        } => {
            *of = environment(&cut(&of.name), of.address);
        }
        NatEvent::AddressesExhausted { .. } | NatEvent::SessionsExceeded { .. } => {}
    }
    event
}

fn refresh() -> impl Strategy<Value = Refresh> {
    prop_oneof![
        Just(Refresh::Never),
        (0..5_u32, 0..100_u32).prop_map(|(messages, secs)| Refresh::After { messages, secs })
    ]
}

proptest! {
    #[test]
    fn what_is_encoded_is_read_back(
        events in prop::collection::vec(event(), 0..120),
        size in prop_oneof![MIN_MESSAGE..700, MIN_MESSAGE..=u16::MAX],
        refresh in refresh(),
        domain: u32,
        mut now: u32,
        pause in 0..30_u32,
    ) {
        let mut encoder = Encoder::new(domain, size, refresh).unwrap();
        let mut decoder = Decoder::default();
        let (mut message, mut read) = (Vec::new(), Vec::new());
        let mut rest = &events[..];
        while !rest.is_empty() {
            let count = encoder.message(rest, now, &mut message);
            prop_assert!(count > 0, "no message is in vain");
            prop_assert!(message.len() <= size.into());
            let decoded = decoder.message(&message).unwrap();
            prop_assert_eq!((decoded.domain, decoded.time), (domain, now));
            prop_assert_eq!(decoded.sequence as usize, read.len(), "records before it");
            prop_assert_eq!(decoded.events.len(), count);
            read.extend(decoded.events);
            rest = &rest[count..];
            now = now.wrapping_add(pause);
        }
        prop_assert_eq!(read, events.iter().map(seen).collect::<Vec<_>>());
    }

    /// A collector that comes late, or lost a message, knows the templates soon.
    #[test]
    fn templates_come_again(
        messages in 0..6_u32,
        secs in 1..50_u32,
        steps in prop::collection::vec(-60..60_i32, 1..60),
    ) {
        let refresh = Refresh::After { messages, secs };
        let mut encoder = Encoder::new(1, 1_400, refresh).unwrap();
        let events = examples(1);
        let mut message = Vec::new();
        let mut now = 1_700_000_000_u32;
        // Messages since the last with templates, and when that was.
        let mut last: Option<(u32, u32)> = None;
        for step in steps {
            now = now.wrapping_add_signed(step);
            encoder.message(&events, now, &mut message);
            let has_templates = Decoder::default().message(&message).is_ok();
            let is_due = last.is_none_or(|(sent, since)| {
                sent >= messages || now.abs_diff(since) >= secs
            });
            prop_assert_eq!(has_templates, is_due);
            last = match last {
                Some((sent, since)) if !is_due => Some((sent + 1, since)),
                _ => Some((1, now)),
            };
        }
    }
}

#[test]
fn a_stream_has_its_templates_once() {
    let mut encoder = Encoder::new(1, u16::MAX, Refresh::Never).unwrap();
    let mut message = Vec::new();
    encoder.message(&examples(1), 0, &mut message);
    assert!(Decoder::default().message(&message).is_ok());
    for now in [0, 1, u32::MAX] {
        encoder.message(&examples(1), now, &mut message);
        assert!(Decoder::default().message(&message).is_err());
    }
}

#[test]
fn a_sequence_number_wraps() {
    // 2^32 records, in a session's first message after as many.
    let mut encoder = Encoder::new(1, u16::MAX, Refresh::Never)
        .unwrap()
        .after(u32::MAX - 2);
    let mut message = Vec::new();
    let mut decoder = Decoder::default();
    for expected in [u32::MAX - 2, 3] {
        encoder.message(&examples(1), 0, &mut message);
        assert_eq!(decoder.message(&message).unwrap().sequence, expected);
    }
}

#[test]
fn what_does_not_hold_every_event_is_no_size() {
    assert_eq!(MIN_MESSAGE, 460);
    let error = Encoder::new(1, MIN_MESSAGE - 1, Refresh::Never).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a message of 459 octets does not hold every event: allow at least 460"
    );
}

/// Octet for octet, by hand after RFC 7011.
#[test]
fn a_message_is_what_the_rfc_says() {
    let mut encoder = Encoder::new(0x0102_0304, 1_400, Refresh::Never).unwrap();
    let mut message = Vec::new();
    encoder.message(&examples(1), 9, &mut message);
    let event = Event {
        time: 0x0000_0179_3757_0a03,
        what: NatEvent::AddressesExhausted { pool: 7 },
    };
    assert_eq!(
        encoder.message(&[event.clone(), event], 0x6091_6175, &mut message),
        2
    );
    let expected: [&[u8]; 9] = [
        &[0, 10, 0, 46],
        &[0x60, 0x91, 0x61, 0x75],
        &[0, 0, 0, 6],
        &[1, 2, 3, 4],
        &[1, 1, 0, 30],
        &[0, 0, 1, 0x79, 0x37, 0x57, 0x0a, 3, 3],
        &[0, 0, 0, 7],
        &[0, 0, 1, 0x79, 0x37, 0x57, 0x0a, 3, 3],
        &[0, 0, 0, 7],
    ];
    assert_eq!(message, expected.concat());
    assert_eq!(read_length(&message), 46);
}
