//! IPv4 (RFC 791): the header and a view of it in which every length has been
//! checked once.

use super::Word32;
use crate::{
    addr::V4,
    checksum,
    drop::DropReason,
    offload::Checksum,
    packet::{Header, Packet},
    verifier::masked,
};

/// Bytes of a header without options.
pub const LEN: usize = 20;
/// Bytes of a header with as many options as there can be.
pub const LEN_MAX: usize = 60;
/// "Don't fragment" in the fragment word.
pub const DONT_FRAGMENT: u16 = 0x4000;
/// "More fragments" in the fragment word.
pub const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET_MASK: u16 = 0x1fff;

/// The header without its options.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Ipv4 {
    /// Version and header length, then the type of service.
    pub version_tos: [u8; 2],
    /// Bytes from here to the end of the packet, wire order.
    pub total_len: u16,
    /// Identification, wire order.
    pub id: u16,
    /// Flags and fragment offset, wire order.
    pub fragment: u16,
    /// Time to live, then the protocol.
    pub ttl_protocol: [u8; 2],
    /// Header checksum as stored.
    pub checksum: u16,
    /// Sender.
    pub source: Word32,
    /// Receiver.
    pub destination: Word32,
}

const _: () = assert!(size_of::<Ipv4>() == LEN);

// SAFETY: 16-bit words and bytes, no padding.
unsafe impl Header for Ipv4 {}

/// What the parser found; all lengths hold.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// Offset of the header in the packet.
    pub at: usize,
    /// Bytes of the header, 20 to 60.
    pub header_len: usize,
    /// Bytes of header and payload; more than 65,535 only of what a device will cut.
    pub total_len: u32,
    /// Sender.
    pub source: V4,
    /// Receiver.
    pub destination: V4,
    /// Protocol number.
    pub protocol: u8,
    /// Time to live.
    pub ttl: u8,
    /// Identification as on the wire.
    pub id: u16,
    /// Flags and offset as a number.
    pub fragment: u16,
    /// How the transport checksum stands.
    pub checksum: Checksum,
}

impl View {
    /// Offset of the payload.
    #[inline(always)]
    pub const fn l4(&self) -> usize {
        self.at + self.header_len
    }

    /// Bytes of the payload.
    #[inline(always)]
    pub const fn payload_len(&self) -> usize {
        // The parser refused a total length below the header's.
        (self.total_len as usize).wrapping_sub(self.header_len)
    }

    /// Whether it is a piece of a datagram.
    #[inline(always)]
    pub const fn is_fragment(&self) -> bool {
        self.fragment & (MORE_FRAGMENTS | OFFSET_MASK) != 0
    }

    /// Whether it is a piece other than the first.
    #[inline(always)]
    pub const fn is_later_fragment(&self) -> bool {
        self.fragment & OFFSET_MASK != 0
    }

    /// Whether it may not be fragmented on its way.
    #[inline(always)]
    pub const fn dont_fragment(&self) -> bool {
        self.fragment & DONT_FRAGMENT != 0
    }
}

/// Parses the header at an offset: version, lengths and checksum hold afterwards.
#[inline(always)]
pub fn parse<P: Packet>(packet: &P, at: usize) -> Result<View, DropReason> {
    let header = packet.header::<Ipv4>(at).ok_or(DropReason::Ipv4Malformed)?;
    let version = header.version_tos[0];
    // A super-packet too long for its own header says 0 (BIG TCP).
    let total_len = match u16::from_be(header.total_len) {
        0 => packet.big_len(at),
        len => len as u32,
    };
    let header_len = ((version & 0x0f) as usize) * 4;
    if version >> 4 != 4 || header_len < LEN || (total_len as usize) < header_len {
        return Err(DropReason::Ipv4Malformed);
    }
    // Ethernet pads short frames, so the frame may be longer, never shorter.
    if !packet.holds(at, total_len as usize) {
        return Err(DropReason::Ipv4Malformed);
    }
    let view = View {
        at,
        header_len: masked::<60>(header_len),
        total_len,
        source: header.source.v4(),
        destination: header.destination.v4(),
        protocol: header.ttl_protocol[1],
        ttl: header.ttl_protocol[0],
        id: header.id,
        fragment: u16::from_be(header.fragment),
        checksum: Checksum::Whole,
    };
    let mut sum = checksum::words_of(header);
    if header_len > LEN {
        sum += packet
            .sum(at + LEN, header_len - LEN)
            .ok_or(DropReason::Ipv4Malformed)?;
    }
    if checksum::fold(sum) != 0xffff {
        return Err(DropReason::Ipv4Checksum);
    }
    let fragment = view.is_fragment();
    Ok(View {
        checksum: Checksum::of(packet.partial(), view.protocol, fragment, view.l4()),
        ..view
    })
}
