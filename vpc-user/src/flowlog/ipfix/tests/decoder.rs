//! A collector's half of RFC 7011. It learns from the wire which elements a record has, and
//! finds them by their numbers in IANA's registry.

use std::collections::HashMap;

use super::*;

/// What a message says.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) time: u32,
    pub(super) sequence: u32,
    pub(super) domain: u32,
    pub(super) events: Vec<Event>,
}

/// Knows the templates that came.
#[derive(Default, Debug)]
pub(super) struct Decoder {
    templates: HashMap<u16, Vec<(u16, u16)>>,
}

/// Takes octets from the front.
struct Octets<'a>(&'a [u8]);

impl<'a> Octets<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or("cut off")?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self, octets: usize) -> Result<u64, String> {
        let taken = self.take(octets)?;
        Ok(taken
            .iter()
            .fold(0, |number, octet| number << 8 | u64::from(*octet)))
    }

    fn u16(&mut self) -> Result<u16, String> {
        Ok(self.number(2)? as u16)
    }

    fn u32(&mut self) -> Result<u32, String> {
        Ok(self.number(4)? as u32)
    }
}

/// Octets of the message that a stream goes on with.
pub(super) fn read_length(header: &[u8]) -> usize {
    usize::from(header[2]) << 8 | usize::from(header[3])
}

impl Decoder {
    pub(super) fn message(&mut self, octets: &[u8]) -> Result<Message, String> {
        let mut message = Octets(octets);
        assert_eq!(message.u16()?, 10, "version");
        assert_eq!(usize::from(message.u16()?), octets.len(), "length");
        let [time, sequence, domain] = [message.u32()?, message.u32()?, message.u32()?];
        let mut events = Vec::new();
        while !message.0.is_empty() {
            let id = message.u16()?;
            let length = usize::from(message.u16()?);
            let mut set = Octets(message.take(length.checked_sub(4).ok_or("short set")?)?);
            assert!(!set.0.is_empty(), "a set has a record");
            while !set.0.is_empty() {
                match id {
                    2 => self.template(&mut set)?,
                    256.. => events.push(self.record(id, &mut set)?),
                    _ => return Err(format!("set {id}")),
                }
            }
        }
        Ok(Message {
            time,
            sequence,
            domain,
            events,
        })
    }

    fn template(&mut self, set: &mut Octets<'_>) -> Result<(), String> {
        let id = set.u16()?;
        assert!(id >= 256, "ids below are sets of other kinds");
        let count = set.u16()?;
        let fields = (0..count).map(|_| Ok((set.u16()?, set.u16()?)));
        let fields: Vec<_> = fields.collect::<Result<_, String>>()?;
        assert!(
            fields.iter().all(|(element, _)| *element < 0x8000),
            "none of an enterprise"
        );
        if let Some(before) = self.templates.insert(id, fields.clone()) {
            assert_eq!(before, fields, "one id, one template");
        }
        Ok(())
    }

    fn record(&self, id: u16, set: &mut Octets<'_>) -> Result<Event, String> {
        let template = self
            .templates
            .get(&id)
            .ok_or_else(|| format!("no template {id}"))?;
        let mut record = Record(HashMap::new());
        for (element, length) in template {
            let length = match length {
                65_535 => match set.number(1)? {
                    255 => usize::from(set.u16()?),
                    short => short as usize,
                },
                fixed => usize::from(*fixed),
            };
            let before = record.0.insert(*element, set.take(length)?);
            assert!(before.is_none(), "an element twice");
        }
        let event = record.event();
        assert!(record.0.is_empty(), "{event:?} has more: {:?}", record.0);
        Ok(event)
    }
}

/// Values by element.
#[derive(Debug)]
struct Record<'a>(HashMap<u16, &'a [u8]>);

impl Record<'_> {
    fn octets(&mut self, element: u16) -> &[u8] {
        self.0
            .remove(&element)
            .unwrap_or_else(|| panic!("element {element} is missing"))
    }

    fn u8(&mut self, element: u16) -> u8 {
        u8::from_be_bytes(self.octets(element).try_into().unwrap())
    }

    fn u16(&mut self, element: u16) -> u16 {
        u16::from_be_bytes(self.octets(element).try_into().unwrap())
    }

    fn u32(&mut self, element: u16) -> u32 {
        u32::from_be_bytes(self.octets(element).try_into().unwrap())
    }

    fn address(&mut self, element: u16) -> Ipv4Addr {
        self.u32(element).into()
    }

    fn realm(&mut self, element: u16) -> String {
        String::from_utf8_lossy(self.octets(element)).into_owned()
    }

    fn event(&mut self) -> Event {
        let time = u64::from_be_bytes(self.octets(323).try_into().unwrap());
        let what = match self.u8(230) {
            3 => NatEvent::AddressesExhausted {
                pool: self.u32(283),
            },
            4 => NatEvent::SessionCreate(self.session()),
            5 => NatEvent::SessionDelete(self.session()),
            12 => NatEvent::PortsExhausted {
                protocol: self.u8(4),
                place: place(&self.realm(465), self.address(225)),
            },
            13 => match self.u32(466) {
                1 => NatEvent::SessionsExceeded {
                    limit: self.u32(471),
                },
                3 => NatEvent::UserEntriesExceeded {
                    limit: self.u32(473),
                    environment: environment(&self.realm(464), self.address(8)),
                },
                other => panic!("quota {other}"),
            },
            other => panic!("event {other}"),
        };
        Event { time, what }
    }

    fn session(&mut self) -> Session {
        let remote = (self.address(12), self.u16(11));
        assert_eq!((self.address(226), self.u16(228)), remote, "not translated");
        Session {
            protocol: self.u8(4),
            environment: environment(&self.realm(464), self.address(8)),
            inside_port: self.u16(7),
            place: place(&self.realm(465), self.address(225)),
            outside_port: self.u16(227),
            remote: remote.0,
            remote_port: remote.1,
        }
    }
}
