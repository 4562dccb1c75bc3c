//! Entries as bytes: little endian, each with a tag before it.

use std::net::Ipv4Addr;

use vpc_common::layout::RefusalKey;

use super::Told;

/// Tags of entries.
pub mod tag {
    /// The file begins: Unix seconds.
    pub const BEGUN: u8 = b'B';
    /// The file ended: Unix seconds.
    pub const ENDED: u8 = b'Z';
    /// An ENI's place gets a number in this file.
    pub const ENI_NAME: u8 = b'N';
    /// An environment gets a number in this file.
    pub const ENVIRONMENT_NAME: u8 = b'M';
    /// An ENI is there, and how many of its packets no record told of so far.
    pub const ENI: u8 = b'E';
    /// A flow carried something.
    pub const FLOW: u8 = b'F';
    /// Something was refused.
    pub const REFUSAL: u8 = b'R';
    /// What was told of a refusal so far.
    pub const TOLD: u8 = b'T';
    /// A refusal is out of the table: nothing was told of the next of its key.
    pub const TAKEN: u8 = b'K';
    /// Something was used up.
    pub const EXHAUSTED: u8 = b'X';
    /// Everything before a position of a ring is kept.
    pub const POSITION: u8 = b'P';
}

/// The number of nobody: who it was is not known.
pub const NOBODY: u32 = u32::MAX;

/// What a flow carried, both ways, since the entry before. Times are Unix milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "as in `FlowRecord`")]
pub struct FlowEntry {
    /// Number of the ENI in this file.
    pub eni: u32,
    /// Number of the environment in this file.
    pub environment: u32,
    pub remote: Ipv4Addr,
    pub protocol: u8,
    pub is_first: bool,
    pub is_last: bool,
    pub is_peered: bool,
    /// Those that are new, into the VPC << 8 | back.
    pub tcp_flags: u16,
    pub remote_port: u16,
    pub inside_port: u16,
    pub outside_port: u16,
    pub forward_packets: u32,
    pub reply_packets: u32,
    pub forward_bytes: u64,
    pub reply_bytes: u64,
    pub created: u64,
    pub last: u64,
    /// When it was told of: of the last entry, the end of the flow.
    pub told: u64,
}

/// Packets that were refused since the entry before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RefusalEntry {
    /// Number of the ENI in this file.
    pub eni: u32,
    /// Number of the environment in this file.
    pub environment: u32,
    /// Of the kernel's table.
    pub key: RefusalKey,
    /// Packets.
    pub packets: u64,
    /// Bytes of IP packets.
    pub bytes: u64,
    /// When the first came, Unix milliseconds.
    pub first: u64,
    /// When the last came, Unix milliseconds.
    pub last: u64,
    /// What was told with this one.
    pub told: Told,
}

/// An environment, or an ENI, that had nothing left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExhaustedEntry {
    /// Number of the environment in this file.
    pub environment: u32,
    /// Number of the ENI that has no port left, in this file, or nobody's.
    pub eni: u32,
    /// IP protocol number of what that ENI has no port left for.
    pub protocol: u8,
    /// Index of the group of ENIs.
    pub group: u32,
    /// The open flows that the environment, or the host, may have.
    pub limit: u32,
    /// A [`DropReason`](vpc_common::drop::DropReason), by number.
    pub reason: u32,
    /// Packets that were dropped for it.
    pub packets: u64,
    /// When it was noticed, Unix milliseconds.
    pub at: u64,
}

macro_rules! entry {
    ($name:ident: $($field:ident $(: $convert:ident)?),+ $(,)?) => {
        impl $name {
            /// Appends it.
            pub fn write(&self, out: &mut Vec<u8>) {
                $(Bytes::put(&self.$field, out);)+
            }

            /// Reads one; `None` if there are too few bytes.
            pub fn read(bytes: &mut &[u8]) -> Option<Self> {
                Some(Self { $($field: Bytes::take(bytes)?,)+ })
            }
        }
    };
}

entry! { FlowEntry:
    eni, environment, remote, protocol, is_first, is_last, is_peered, tcp_flags, remote_port, inside_port,
    outside_port, forward_packets, reply_packets, forward_bytes, reply_bytes, created, last, told,
}
entry! { RefusalEntry: eni, environment, key, packets, bytes, first, last, told }
entry! { ExhaustedEntry: environment, eni, protocol, group, limit, reason, packets, at }
entry! { Told: packets, bytes, first }

/// What an entry is made of.
pub trait Bytes: Sized {
    /// Appends it.
    fn put(&self, out: &mut Vec<u8>);
    /// Takes it off the front; `None` if there are too few bytes.
    fn take(bytes: &mut &[u8]) -> Option<Self>;
}

macro_rules! numbers {
    ($($type:ty),+) => {
        $(impl Bytes for $type {
            #[inline]
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
            #[inline]
            fn take(bytes: &mut &[u8]) -> Option<Self> {
                let (front, rest) = bytes.split_first_chunk()?;
                *bytes = rest;
                Some(Self::from_le_bytes(*front))
            }
        })+
    };
}

numbers! { u8, u16, u32, u64 }

impl Bytes for bool {
    fn put(&self, out: &mut Vec<u8>) {
        u8::from(*self).put(out);
    }
    fn take(bytes: &mut &[u8]) -> Option<Self> {
        Some(u8::take(bytes)? != 0)
    }
}

impl Bytes for Ipv4Addr {
    fn put(&self, out: &mut Vec<u8>) {
        self.to_bits().put(out);
    }
    fn take(bytes: &mut &[u8]) -> Option<Self> {
        Some(Self::from_bits(u32::take(bytes)?))
    }
}

impl Bytes for Told {
    fn put(&self, out: &mut Vec<u8>) {
        self.write(out);
    }
    fn take(bytes: &mut &[u8]) -> Option<Self> {
        Self::read(bytes)
    }
}

impl Bytes for RefusalKey {
    fn put(&self, out: &mut Vec<u8>) {
        for word in self.remote.words() {
            word.put(out);
        }
        for word in [self.owners, self.ports, self.protocol, self.reason] {
            word.put(out);
        }
    }
    fn take(bytes: &mut &[u8]) -> Option<Self> {
        let mut word = || u32::take(bytes);
        Some(Self {
            remote: vpc_common::addr::Addr::from_words([word()?, word()?, word()?, word()?]),
            owners: word()?,
            ports: word()?,
            protocol: word()?,
            reason: word()?,
        })
    }
}

/// A text of at most 65,535 bytes.
impl Bytes for String {
    fn put(&self, out: &mut Vec<u8>) {
        let text = self.as_bytes();
        let len = u16::try_from(text.len()).unwrap_or(u16::MAX);
        len.put(out);
        out.extend_from_slice(&text[..len.into()]);
    }
    fn take(bytes: &mut &[u8]) -> Option<Self> {
        let len = u16::take(bytes)?;
        let (front, rest) = bytes.split_at_checked(len.into())?;
        *bytes = rest;
        Self::from_utf8(front.to_vec()).ok()
    }
}

/// Bytes before a block's entries: their length, and their checksum.
pub const HEAD: usize = 8;
/// The longest block: whatever says it is longer is none.
pub const BLOCK_MAX: usize = 16 << 20;

/// Begins a block in a buffer.
pub fn begin(out: &mut Vec<u8>) {
    out.clear();
    out.resize(HEAD, 0);
}

/// Completes the block in a buffer: its length and checksum.
pub fn complete(out: &mut [u8]) {
    if let Some((head, entries)) = out.split_first_chunk_mut::<HEAD>() {
        let len = u32::try_from(entries.len()).unwrap_or(u32::MAX);
        head[..4].copy_from_slice(&len.to_le_bytes());
        head[4..].copy_from_slice(&crc32fast::hash(entries).to_le_bytes());
    }
}

/// The entries of the block at the front, and what is behind it; `None` if there is no whole
/// block.
pub fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<HEAD>()?;
    let mut head = head.as_slice();
    let (len, sum) = (u32::take(&mut head)? as usize, u32::take(&mut head)?);
    let (entries, behind) = rest.split_at_checked(len)?;
    // A length of 0 is what a hole in a file reads as.
    (len != 0 && len <= BLOCK_MAX && crc32fast::hash(entries) == sum).then_some((entries, behind))
}
