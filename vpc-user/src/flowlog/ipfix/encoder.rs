//! Messages (RFC 7011 section 3).

use bytes::BufMut;

use super::{
    Event,
    template::{TEMPLATES, Template},
};

/// Octets of a message that every event fits into, with all templates before it, at least.
/// That is less than the 512 octets which a packet of RFC 7011 section 10.3.3 has where
/// nothing is known of the path.
pub const MIN_MESSAGE: u16 = {
    let (mut templates, mut record, mut at) = (SET_HEADER, 0, 0);
    while at < TEMPLATES.len() {
        templates += TEMPLATES[at].octets();
        let longest = TEMPLATES[at].longest_record();
        if longest > record {
            record = longest;
        }
        at += 1;
    }
    let octets = HEADER + templates + SET_HEADER + record;
    assert!(octets <= 512 - 28, "more than a packet without its headers");
    octets as u16
};

/// Octets before the first set.
const HEADER: usize = 16;

/// Octets before the first record of a set.
const SET_HEADER: usize = 4;

/// IPFIX among the versions of NetFlow.
const VERSION: u16 = 10;

/// The set that is made of templates.
const TEMPLATE_SET: u16 = 2;

/// When templates are sent again (RFC 7011 section 8.4). The first message has them always.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refresh {
    /// Never: the stream is reliable.
    Never,
    /// In the message after so many, or after so long, whichever comes first.
    After {
        /// Messages; 0 is as 1.
        messages: u32,
        /// Seconds.
        secs: u32,
    },
}

/// A message is to be too short.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a message of {0} octets does not hold every event: allow at least {MIN_MESSAGE}")]
pub struct MessageSizeError(pub u16);

/// Makes the messages of one transport session, one after another. A copy goes on where the
/// original was.
#[derive(Clone, Copy, Debug)]
pub struct Encoder {
    domain: u32,
    size: usize,
    refresh: Refresh,
    /// Records before the next message, modulo 2^32.
    sequence: u32,
    /// Messages since templates were in one, and when that was, Unix seconds.
    templates: Option<(u32, u32)>,
}

impl Encoder {
    /// Begins a session: of an observation domain, with messages of so many octets at most.
    pub fn new(domain: u32, size: u16, refresh: Refresh) -> Result<Self, MessageSizeError> {
        if size < MIN_MESSAGE {
            return Err(MessageSizeError(size));
        }
        Ok(Self {
            domain,
            size: size.into(),
            refresh,
            sequence: 0,
            templates: None,
        })
    }

    /// Goes on as after so many records.
    #[cfg(test)]
    pub(super) const fn after(self, sequence: u32) -> Self {
        Self { sequence, ..self }
    }

    /// Makes the next message in `out`, of as many events as it holds: how many that are, one
    /// at least of any. `now` is the time of export, Unix seconds.
    pub fn message(&mut self, events: &[Event], now: u32, out: &mut Vec<u8>) -> usize {
        out.clear();
        out.put_u16(VERSION);
        // Its length, as soon as it is known.
        out.put_u16(0);
        out.put_u32(now);
        out.put_u32(self.sequence);
        out.put_u32(self.domain);
        self.put_templates(now, out);
        let count = self.put_records(events, out);
        set_length(out, 2, 0);
        // The counter wraps, as RFC 7011 section 3.1 says.
        self.sequence = self.sequence.wrapping_add(count as u32);
        count
    }

    /// Appends the templates, if it is their turn.
    fn put_templates(&mut self, now: u32, out: &mut Vec<u8>) {
        let (messages, since) = match (self.templates, self.refresh) {
            (None, _) => (0, now),
            (Some(last), Refresh::Never) => last,
            // A clock that was set back has them sent early rather than late.
            (Some((sent, since)), Refresh::After { messages, secs }) => {
                let is_due = sent >= messages || now.abs_diff(since) >= secs;
                if is_due { (0, now) } else { (sent, since) }
            }
        };
        self.templates = Some((messages.saturating_add(1), since));
        if messages != 0 {
            return;
        }
        let set = out.len();
        put_set_header(TEMPLATE_SET, out);
        for template in TEMPLATES {
            template.put(out);
        }
        set_length(out, set + 2, set);
    }

    /// Appends as many records as there is room for, in sets of one template each.
    fn put_records(&self, events: &[Event], out: &mut Vec<u8>) -> usize {
        let mut set: Option<(u16, usize)> = None;
        for (count, event) in events.iter().enumerate() {
            let before = out.len();
            let Template { id, .. } = event.template();
            let start = match set {
                Some((open, start)) if open == id => start,
                _ => {
                    put_set_header(id, out);
                    before
                }
            };
            event.put(out);
            if out.len() > self.size {
                out.truncate(before);
                return count;
            }
            set_length(out, start + 2, start);
            set = Some((id, start));
        }
        events.len()
    }
}

fn put_set_header(id: u16, out: &mut Vec<u8>) {
    out.put_u16(id);
    out.put_u16(0);
}

/// Writes, at `at`, how long all is from `start` on: less than 2^16, as every message is.
fn set_length(out: &mut [u8], at: usize, start: usize) {
    let length = (out.len() - start) as u16;
    if let Some(field) = out.get_mut(at..at + 2) {
        field.copy_from_slice(&length.to_be_bytes());
    }
}
