//! What a stack leaves for a device to do: cutting a packet into segments (GSO) and
//! finishing its transport checksum. Both are marks beside the packet's bytes, which
//! TC sees and XDP does not.

use crate::{
    packet::Packet,
    state::{TCP, UDP},
    wire::{ethernet, ipv4},
};

/// Offset of the checksum in a TCP header.
pub const TCP_CHECKSUM: usize = 16;
/// Offset of the checksum in a UDP header.
pub const UDP_CHECKSUM: usize = 6;

/// The segments that a device will cut a packet into.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segments {
    /// Bytes of payload in each but the last; 0 = the packet is one.
    pub size: u32,
    /// How many; 0 = not counted yet, as of a packet from a guest.
    pub count: u32,
}

impl Segments {
    /// The packet leaves as it is.
    pub const NONE: Self = Self { size: 0, count: 0 };
}

/// Whether a packet is longer than a frame of its link, whose MTU is given, on a hook that
/// does not see the marks: a super-packet that was on its way when the program came and the
/// stack stopped to make them. Of such a one XDP sees the first page at most, and not where
/// it will be cut, so it is left to TC. Asked of what would be refused only, because it
/// costs a call.
#[inline(always)]
pub fn is_uncut<P: Packet>(packet: &P, mtu: u32) -> bool {
    !packet.sees_marks() && packet.len() > ethernet::LEN + mtu as usize
}

/// Where a device is to finish a checksum: from which byte of the frame on it sums,
/// and how far behind that it writes. One word, for the verifier's sake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Partial(u32);

impl Partial {
    /// No checksum is left to a device.
    pub const NONE: Self = Self(u32::MAX);

    /// `start` counts from the Ethernet header, `offset` from `start`.
    #[inline(always)]
    pub const fn new(start: u16, offset: u16) -> Self {
        Self(start as u32 | (offset as u32) << 16)
    }

    /// Whether there is none.
    #[inline(always)]
    pub const fn is_none(self) -> bool {
        self.0 == Self::NONE.0
    }

    /// As a number: start | offset << 16; all ones = none.
    #[inline(always)]
    pub const fn to_word(self) -> u32 {
        self.0
    }

    /// The inverse of [`Partial::to_word`].
    #[inline(always)]
    pub const fn from_word(word: u32) -> Self {
        Self(word)
    }
}

/// How the transport checksum of an IPv4 packet stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Checksum {
    /// In the packet, as far as the hook can tell.
    Whole,
    /// The field holds the pseudo-header's sum, not complemented, and a device sums
    /// up the rest.
    LeftToDevice,
    /// A device was told to write somewhere else: over an address or a port that has
    /// been checked and translated. Only a hostile guest asks for that.
    Misplaced,
}

impl Checksum {
    /// Judges a mark by where the checksum is.
    #[inline(always)]
    pub const fn of(partial: Partial, protocol: u8, fragment: bool, l4: usize) -> Self {
        if partial.is_none() {
            return Self::Whole;
        }
        let offset = match protocol {
            TCP => TCP_CHECKSUM,
            UDP => UDP_CHECKSUM,
            _ => return Self::Misplaced,
        };
        if fragment || partial.0 != Partial::new(l4 as u16, offset as u16).0 {
            return Self::Misplaced;
        }
        Self::LeftToDevice
    }
}

/// What a packet is on the wire, after a device has cut it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OnWire {
    /// Packets.
    pub packets: u32,
    /// Bytes of all of them, from their IP headers on.
    pub bytes: u32,
    /// Bytes of the largest.
    pub largest: u32,
}

impl OnWire {
    /// A packet that is not cut.
    #[inline(always)]
    pub const fn one(ip: &ipv4::View) -> Self {
        Self {
            packets: 1,
            bytes: ip.total_len,
            largest: ip.total_len,
        }
    }

    /// A packet whose transport header is `header_len` bytes: each segment has
    /// headers of its own.
    #[inline(always)]
    pub const fn of(segments: Segments, ip: &ipv4::View, header_len: usize) -> Self {
        let headers = ip.header_len as u32 + header_len as u32;
        let payload = ip.total_len.saturating_sub(headers);
        if segments.size == 0 || payload <= segments.size {
            return Self::one(ip);
        }
        let packets = if segments.count != 0 {
            segments.count
        } else {
            payload.div_ceil(segments.size)
        };
        Self {
            packets,
            bytes: payload.wrapping_add(packets.wrapping_mul(headers)),
            largest: headers.wrapping_add(segments.size),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::addr::V4;

    fn packet(payload: u32) -> ipv4::View {
        ipv4::View {
            at: 14,
            header_len: 20,
            total_len: 20 + 32 + payload,
            source: V4::new([10, 0, 0, 1]),
            destination: V4::new([10, 0, 0, 2]),
            protocol: TCP,
            ttl: 64,
            id: 0,
            fragment: 0,
            checksum: Checksum::Whole,
        }
    }

    proptest! {
        #[test]
        fn a_super_packet_counts_as_its_segments(
            payload in 0u32..65_000, size in 1u32..9_000, counted in any::<bool>(),
        ) {
            let ip = packet(payload);
            let pieces: Vec<u32> = (0..payload).step_by(size as usize)
                .map(|from| 52 + size.min(payload - from)).collect();
            let count = if counted { pieces.len() as u32 } else { 0 };
            let found = OnWire::of(Segments { size, count }, &ip, 32);
            if payload == 0 {
                prop_assert_eq!(found, OnWire::one(&ip));
            } else {
                prop_assert_eq!(found.packets as usize, pieces.len());
                prop_assert_eq!(found.bytes, pieces.iter().sum::<u32>());
                prop_assert_eq!(found.largest, *pieces.iter().max().expect("one"));
            }
        }
    }

    #[test]
    fn a_mark_is_believed_only_where_the_checksum_is() {
        let of = |partial, protocol, fragment| Checksum::of(partial, protocol, fragment, 34);
        let (tcp, udp) = (Partial::new(34, 16), Partial::new(34, 6));
        assert_eq!(of(Partial::NONE, TCP, false), Checksum::Whole);
        assert_eq!(of(tcp, TCP, false), Checksum::LeftToDevice);
        assert_eq!(of(udp, UDP, false), Checksum::LeftToDevice);
        for (partial, protocol, fragment) in [
            (udp, TCP, false),
            (tcp, UDP, false),
            (tcp, TCP, true),
            (Partial::new(34, 0), UDP, false),
            (Partial::new(20, 6), UDP, false),
            (udp, crate::state::ICMP, false),
        ] {
            assert_eq!(of(partial, protocol, fragment), Checksum::Misplaced);
        }
    }
}
