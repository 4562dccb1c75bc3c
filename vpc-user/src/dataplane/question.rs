//! Netlink in bytes: one message, and what the kernel answers. For the parts of it
//! that the typed messages do not know (XDP features), or of which they would have
//! to understand everything that others put there (filters).

use std::io;

use rtnetlink::{
    packet_core::{NLM_F_ACK, NLM_F_REQUEST},
    sys::{Socket, SocketAddr},
};

/// Bytes of a message's head.
const HEAD: usize = 16;
/// The kernel's answer to a request that is done, or refused.
const ERROR: u16 = 2;
/// The end of a listing.
const DONE: u16 = 3;
/// Marks an attribute that holds others.
const NESTED: u16 = 1 << 15;
/// What is no part of an attribute's kind.
const FLAGS: u16 = 3 << 14;

/// A blocking netlink socket, in the namespace of the thread that opened it.
pub struct Questions {
    socket: Socket,
    sequence: u32,
}

impl Questions {
    /// Opens a socket of a netlink protocol.
    pub fn open(protocol: isize) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self {
            socket,
            sequence: 0,
        })
    }

    /// Sends a message and returns what is answered before the kernel says that
    /// this was all; a refusal is the error.
    pub fn ask(&mut self, kind: u16, flags: u16, payload: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut message = Vec::with_capacity(HEAD + payload.len());
        message.extend(((HEAD + payload.len()) as u32).to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend((NLM_F_REQUEST | NLM_F_ACK | flags).to_ne_bytes());
        message.extend(self.sequence.to_ne_bytes());
        message.extend([0; 4]);
        message.extend_from_slice(payload);
        self.socket.send(&message, 0)?;
        let mut answers = Vec::new();
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            for (head, body) in messages(&datagram) {
                if head.sequence != self.sequence {
                    continue;
                }
                match head.kind {
                    ERROR => return outcome(body).map(|()| answers),
                    DONE => return Ok(answers),
                    _ => answers.push(body.to_vec()),
                }
            }
        }
    }
}

struct MessageHead {
    kind: u16,
    sequence: u32,
}

fn messages(mut bytes: &[u8]) -> impl Iterator<Item = (MessageHead, &[u8])> {
    std::iter::from_fn(move || {
        let len = word(bytes, 0)? as usize;
        let head = MessageHead {
            kind: (word(bytes, 4)? & 0xffff) as u16,
            sequence: word(bytes, 8)?,
        };
        let body = bytes.get(HEAD..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((head, body))
    })
}

/// A refusal carries the negative number of its error.
fn outcome(body: &[u8]) -> io::Result<()> {
    match word(body, 0).map(u32::cast_signed) {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(-code)),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// An attribute, padded.
pub fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let len = 4 + value.len();
    let mut bytes = Vec::with_capacity(len.next_multiple_of(4));
    bytes.extend((len as u16).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend_from_slice(value);
    bytes.resize(len.next_multiple_of(4), 0);
    bytes
}

/// An attribute that holds attributes.
pub fn nested(kind: u16, attributes: &[Vec<u8>]) -> Vec<u8> {
    attribute(kind | NESTED, &attributes.concat())
}

/// The value of the first attribute of a kind.
pub fn find(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let head = word(attributes, 0)?;
        let (len, kind) = ((head & 0xffff) as usize, (head >> 16) as u16);
        let value = attributes.get(4..len)?;
        if kind & !FLAGS == wanted {
            return Some(value);
        }
        attributes = attributes.get(len.next_multiple_of(4)..)?;
    }
}

/// The word at an offset, in the machine's own order.
pub fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_is_found_behind_others_and_inside_another() {
        let inner = [attribute(1, b"x"), attribute(7, b"name\0")];
        let bytes = [attribute(3, &[1, 2, 3]), nested(2, &inner)].concat();
        assert_eq!(bytes.len() % 4, 0);
        assert_eq!(find(&bytes, 3), Some(&[1, 2, 3][..]));
        let options = find(&bytes, 2).expect("the nested one");
        assert_eq!(find(options, 7), Some(&b"name\0"[..]));
        assert_eq!(find(&bytes, 7), None);
    }

    #[test]
    fn lengths_of_nonsense_end_the_search() {
        assert_eq!(find(&[0; 12], 1), None);
        assert_eq!(find(&[200, 0, 1, 0, 9], 1), None);
        assert_eq!(messages(&[0; 40]).count(), 0);
        assert_eq!(messages(&[255; 40]).count(), 0);
    }
}
