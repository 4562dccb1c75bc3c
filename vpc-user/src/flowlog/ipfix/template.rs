//! Information elements, the templates that are made of them, and the records after those.
//! All numbers are in network byte order (RFC 7011 section 6.1.1).

use bytes::BufMut;

use super::{Event, NatEvent, Session};

/// Octets of a realm's name that are sent, at most. The names of this project are shorter.
pub const REALM: usize = 128;

const _: () = assert!(REALM < 255, "a length of one octet");

/// The length, in a template, of what begins with its own length (RFC 7011 section 7).
const VARIABLE: u16 = 65_535;

/// An information element of IANA's registry: its number, and octets of a value.
/// <https://www.iana.org/assignments/ipfix/ipfix.xhtml>
type Element = (u16, u16);

const PROTOCOL_IDENTIFIER: Element = (4, 1);
const SOURCE_TRANSPORT_PORT: Element = (7, 2);
const SOURCE_IPV4_ADDRESS: Element = (8, 4);
const DESTINATION_TRANSPORT_PORT: Element = (11, 2);
const DESTINATION_IPV4_ADDRESS: Element = (12, 4);
const POST_NAT_SOURCE_IPV4_ADDRESS: Element = (225, 4);
const POST_NAT_DESTINATION_IPV4_ADDRESS: Element = (226, 4);
const POST_NAPT_SOURCE_TRANSPORT_PORT: Element = (227, 2);
const POST_NAPT_DESTINATION_TRANSPORT_PORT: Element = (228, 2);
const NAT_EVENT: Element = (230, 1);
const NAT_POOL_ID: Element = (283, 4);
const OBSERVATION_TIME_MILLISECONDS: Element = (323, 8);
const INTERNAL_ADDRESS_REALM: Element = (464, VARIABLE);
const EXTERNAL_ADDRESS_REALM: Element = (465, VARIABLE);
const NAT_QUOTA_EXCEEDED_EVENT: Element = (466, 4);
const MAX_SESSION_ENTRIES: Element = (471, 4);
const MAX_ENTRIES_PER_USER: Element = (473, 4);

/// Of the registry `NAT Quota Exceeded Event Type`.
const QUOTA_SESSIONS: u32 = 1;
const QUOTA_USER_ENTRIES: u32 = 3;

/// What the records of some events are made of, in order: what RFC 8158 section 4.6 has for
/// them, and the realms wherever an address would say too little.
pub(super) struct Template {
    /// Names it in a stream: 256 and up (RFC 7011 section 3.4.1).
    pub(super) id: u16,
    elements: &'static [Element],
}

const SESSION: Template = Template {
    id: 256,
    elements: &[
        OBSERVATION_TIME_MILLISECONDS,
        NAT_EVENT,
        PROTOCOL_IDENTIFIER,
        SOURCE_IPV4_ADDRESS,
        SOURCE_TRANSPORT_PORT,
        POST_NAT_SOURCE_IPV4_ADDRESS,
        POST_NAPT_SOURCE_TRANSPORT_PORT,
        DESTINATION_IPV4_ADDRESS,
        DESTINATION_TRANSPORT_PORT,
        POST_NAT_DESTINATION_IPV4_ADDRESS,
        POST_NAPT_DESTINATION_TRANSPORT_PORT,
        INTERNAL_ADDRESS_REALM,
        EXTERNAL_ADDRESS_REALM,
    ],
};

const ADDRESSES_EXHAUSTED: Template = Template {
    id: 257,
    elements: &[OBSERVATION_TIME_MILLISECONDS, NAT_EVENT, NAT_POOL_ID],
};

const PORTS_EXHAUSTED: Template = Template {
    id: 258,
    elements: &[
        OBSERVATION_TIME_MILLISECONDS,
        NAT_EVENT,
        POST_NAT_SOURCE_IPV4_ADDRESS,
        PROTOCOL_IDENTIFIER,
        EXTERNAL_ADDRESS_REALM,
    ],
};

const SESSIONS_EXCEEDED: Template = Template {
    id: 259,
    elements: &[
        OBSERVATION_TIME_MILLISECONDS,
        NAT_EVENT,
        NAT_QUOTA_EXCEEDED_EVENT,
        MAX_SESSION_ENTRIES,
    ],
};

const USER_ENTRIES_EXCEEDED: Template = Template {
    id: 260,
    elements: &[
        OBSERVATION_TIME_MILLISECONDS,
        NAT_EVENT,
        NAT_QUOTA_EXCEEDED_EVENT,
        MAX_ENTRIES_PER_USER,
        SOURCE_IPV4_ADDRESS,
        INTERNAL_ADDRESS_REALM,
    ],
};

/// All of them.
pub(super) const TEMPLATES: [Template; 5] = [
    SESSION,
    ADDRESSES_EXHAUSTED,
    PORTS_EXHAUSTED,
    SESSIONS_EXCEEDED,
    USER_ENTRIES_EXCEEDED,
];

impl Template {
    /// Octets of its own record.
    pub(super) const fn octets(&self) -> usize {
        4 + 4 * self.elements.len()
    }

    /// Octets of the longest record that is made after it.
    pub(super) const fn longest_record(&self) -> usize {
        let (mut octets, mut at) = (0, 0);
        while at < self.elements.len() {
            octets += match self.elements[at] {
                (_, VARIABLE) => 1 + REALM,
                (_, fixed) => fixed as usize,
            };
            at += 1;
        }
        octets
    }

    /// Appends its own record (RFC 7011 section 3.4.1).
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.put_u16(self.id);
        // There are 473 elements and a handful in each.
        out.put_u16(self.elements.len() as u16);
        for (id, octets) in self.elements {
            out.put_u16(*id);
            out.put_u16(*octets);
        }
    }
}

impl Event {
    /// What its record is made of.
    pub(super) const fn template(&self) -> Template {
        match self.what {
            NatEvent::SessionCreate(_) | NatEvent::SessionDelete(_) => SESSION,
            NatEvent::AddressesExhausted { .. } => ADDRESSES_EXHAUSTED,
            NatEvent::PortsExhausted { .. } => PORTS_EXHAUSTED,
            NatEvent::SessionsExceeded { .. } => SESSIONS_EXCEEDED,
            NatEvent::UserEntriesExceeded { .. } => USER_ENTRIES_EXCEEDED,
        }
    }

    /// Appends its record.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.put_u64(self.time);
        out.put_u8(self.what.number());
        match &self.what {
            NatEvent::SessionCreate(session) | NatEvent::SessionDelete(session) => session.put(out),
            NatEvent::AddressesExhausted { pool } => out.put_u32(*pool),
            NatEvent::PortsExhausted { place, protocol } => {
                out.put_u32(place.address.to_bits());
                out.put_u8(*protocol);
                put_realm(&place.interface_id, out);
            }
            NatEvent::SessionsExceeded { limit } => {
                out.put_u32(QUOTA_SESSIONS);
                out.put_u32(*limit);
            }
            NatEvent::UserEntriesExceeded { environment, limit } => {
                out.put_u32(QUOTA_USER_ENTRIES);
                out.put_u32(*limit);
                out.put_u32(environment.address.to_bits());
                put_realm(&environment.name, out);
            }
        }
    }
}

impl NatEvent {
    /// Its number in the registry `NAT Event Type`.
    const fn number(&self) -> u8 {
        match self {
            Self::AddressesExhausted { .. } => 3,
            Self::SessionCreate(_) => 4,
            Self::SessionDelete(_) => 5,
            Self::PortsExhausted { .. } => 12,
            Self::SessionsExceeded { .. } | Self::UserEntriesExceeded { .. } => 13,
        }
    }
}

impl Session {
    fn put(&self, out: &mut Vec<u8>) {
        out.put_u8(self.protocol);
        out.put_u32(self.environment.address.to_bits());
        out.put_u16(self.inside_port);
        out.put_u32(self.place.address.to_bits());
        out.put_u16(self.outside_port);
        // Before the NAT, and after it: destinations are not translated.
        for _ in 0..2 {
            out.put_u32(self.remote.to_bits());
            out.put_u16(self.remote_port);
        }
        put_realm(&self.environment.name, out);
        put_realm(&self.place.interface_id, out);
    }
}

/// Appends a name behind its length. Realms are octets, so that one is cut anywhere.
fn put_realm(name: &str, out: &mut Vec<u8>) {
    let octets = &name.as_bytes()[..name.len().min(REALM)];
    out.put_u8(octets.len() as u8);
    out.put_slice(octets);
}
