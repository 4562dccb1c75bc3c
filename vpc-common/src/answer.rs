//! Packets that this host sends of its own: built in the buffer of the packet
//! that caused them and sent back where it came from.

use crate::{
    addr::{Mac, V4},
    checksum::{self, Delta},
    offload::{Checksum, TCP_CHECKSUM, UDP_CHECKSUM},
    packet::Packet,
    state::{ICMP, TCP, tcp_flags},
    transport::Transport,
    wire::{
        Word32,
        arp::{self, Arp},
        ethernet::{self, Ethernet},
        icmp::{self, Icmp},
        ipv4::{self, Ipv4},
        tcp::{self, Tcp},
    },
};

/// TTL of what this host sends (RFC 1122 §3.2.1.7 asks for a configurable default
/// at or above the diameter of the Internet; 64 is IANA's).
const TTL: u8 = 64;

/// Who answers.
#[derive(Clone, Copy, Debug)]
pub struct Station {
    /// Its MAC.
    pub mac: Mac,
    /// Its address.
    pub address: V4,
}

/// An ICMP error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Error {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// Next-hop MTU of "fragmentation needed" (RFC 1191 §4), else 0.
    pub mtu: u16,
}

impl Error {
    /// The time to live ran out in transit.
    pub const TIME_EXCEEDED: Self = Self {
        kind: icmp::TIME_EXCEEDED,
        code: 0,
        mtu: 0,
    };

    /// The packet is too large for the way on.
    pub const fn fragmentation_needed(mtu: u16) -> Self {
        Self {
            kind: icmp::UNREACHABLE,
            code: icmp::FRAGMENTATION_NEEDED,
            mtu,
        }
    }
}

/// Turns the frame around: to whom it came from, from `mac`.
#[inline(always)]
fn turn<P: Packet>(packet: &mut P, mac: Mac) -> Option<()> {
    let ethernet = packet.header_mut::<Ethernet>(0)?;
    ethernet.destination = ethernet.source;
    ethernet.source = mac;
    Some(())
}

/// Answers an ARP request for the station's address.
#[inline(always)]
pub fn arp_reply<P: Packet>(packet: &mut P, station: Station) -> Option<()> {
    turn(packet, station.mac)?;
    let arp = packet.header_mut::<Arp>(ethernet::LEN)?;
    let sender = (station.mac, Word32::from_v4(station.address));
    *arp = Arp::new(arp::REPLY, sender, (arp.sender_mac, arp.sender));
    Some(())
}

/// Answers an ICMP echo request to the station.
#[inline(always)]
pub fn echo_reply<P: Packet>(packet: &mut P, ip: &ipv4::View, station: Station) -> Option<()> {
    turn(packet, station.mac)?;
    let header = packet.header_mut::<Ipv4>(ip.at)?;
    // Swapping the addresses leaves the sum as it is.
    (header.source, header.destination) = (header.destination, header.source);
    let delta = Delta::NONE.word16(
        u16::from_ne_bytes([ip.ttl, ICMP]),
        u16::from_ne_bytes([TTL, ICMP]),
    );
    header.ttl_protocol = [TTL, ICMP];
    header.checksum = delta.apply(header.checksum);
    let icmp = packet.header_mut::<Icmp>(ip.l4())?;
    let (old, new) = (icmp.kind, [icmp::ECHO_REPLY, icmp.kind[1]]);
    icmp.kind = new;
    let delta = Delta::NONE.word16(u16::from_ne_bytes(old), u16::from_ne_bytes(new));
    icmp.checksum = delta.apply(icmp.checksum);
    Some(())
}

#[inline(always)]
fn ipv4_header(source: V4, destination: V4, protocol: u8, total_len: u16) -> Ipv4 {
    let mut header = Ipv4 {
        version_tos: [0x45, 0],
        total_len: total_len.to_be(),
        id: 0,
        fragment: ipv4::DONT_FRAGMENT.to_be(),
        ttl_protocol: [TTL, protocol],
        checksum: 0,
        source: Word32::from_v4(source),
        destination: Word32::from_v4(destination),
    };
    header.checksum = !checksum::fold(checksum::words_of(&header));
    header
}

/// Bytes quoted after the IP header: what a TCP header has without options.
const QUOTED: usize = tcp::LEN;

/// The sum of a packet's first bytes as they will be when they arrive. A transport
/// checksum that is left to a device is finished there even in a quote; what the
/// device sums and what it writes add up to the complement of what stands in the
/// field (local checksum offload, as the kernel calls it).
#[inline(always)]
fn sum_to_be<P: Packet>(packet: &P, ip: &ipv4::View, quoted: usize) -> Option<u32> {
    if ip.checksum == Checksum::Whole {
        return packet.sum(ip.at, quoted);
    }
    let offset = if ip.protocol == TCP {
        TCP_CHECKSUM
    } else {
        UDP_CHECKSUM
    };
    let field = u16::from_ne_bytes(*packet.header::<[u8; 2]>(ip.l4() + offset)?);
    Some(packet.sum(ip.at, ip.header_len)? + !field as u32)
}

/// Reports an error about the packet to its sender, quoting its header and up to 20
/// bytes after it (RFC 792 asks for 8, RFC 1812 §4.3.2.3 for more). The packet must be
/// one about which errors are sent (RFC 1122 §3.2.2): no error, no later fragment.
#[inline(always)]
pub fn icmp_error<P: Packet>(
    packet: &mut P,
    ip: &ipv4::View,
    station: Station,
    error: Error,
) -> Option<()> {
    const ADDED: usize = ipv4::LEN + icmp::LEN;
    if ip.payload_len() < 8 || ip.at != ethernet::LEN {
        return None;
    }
    let sender = packet.header::<Ethernet>(0)?.source;
    let quoted = ip.header_len
        + if ip.payload_len() < QUOTED {
            ip.payload_len()
        } else {
            QUOTED
        };
    let sum = sum_to_be(packet, ip, quoted)?;
    packet.grow_front(ADDED)?;
    *packet.header_mut::<Ethernet>(0)? = Ethernet {
        destination: sender,
        source: station.mac,
        ethertype: ethernet::IPV4,
    };
    *packet.header_mut::<Ipv4>(ethernet::LEN)? =
        ipv4_header(station.address, ip.source, ICMP, (ADDED + quoted) as u16);
    let at = ethernet::LEN + ipv4::LEN;
    let mut header = Icmp {
        kind: [error.kind, error.code],
        checksum: 0,
        rest: [0, error.mtu.to_be()],
    };
    header.checksum = !checksum::fold(sum + checksum::words_of(&header));
    *packet.header_mut::<Icmp>(at)? = header;
    packet.truncate(ethernet::LEN + ADDED + quoted)
}

/// Resets the connection of a segment that belongs to none (RFC 9293 §3.10.7.1),
/// in the name of the one it was sent to. `None` for a segment that is a reset.
#[inline(always)]
pub fn tcp_reset<P: Packet>(
    packet: &mut P,
    ip: &ipv4::View,
    transport: &Transport,
    mac: Mac,
) -> Option<()> {
    let segment = &transport.segment;
    if segment.flags & tcp_flags::RST != 0 || ip.at != ethernet::LEN {
        return None;
    }
    // What is left to a device stays where it was marked.
    let left_to_device = ip.checksum == Checksum::LeftToDevice;
    if left_to_device && ip.header_len != ipv4::LEN {
        return None;
    }
    let (sequence, acknowledgment, flags) = if segment.flags & tcp_flags::ACK != 0 {
        (segment.acknowledgment, 0, tcp_flags::RST)
    } else {
        (0, segment.end, tcp_flags::RST | tcp_flags::ACK)
    };
    turn(packet, mac)?;
    *packet.header_mut::<Ipv4>(ethernet::LEN)? = ipv4_header(
        ip.destination,
        ip.source,
        TCP,
        (ipv4::LEN + tcp::LEN) as u16,
    );
    let mut header = Tcp {
        ports: [transport.destination.to_wire(), transport.source.to_wire()],
        sequence: Word32::from_number(sequence),
        acknowledgment: Word32::from_number(acknowledgment),
        offset_flags: [((tcp::LEN / 4) as u8) << 4, flags],
        window: 0,
        checksum: 0,
        urgent: 0,
    };
    let pseudo = checksum::pseudo(ip.destination, ip.source, TCP, tcp::LEN as u16);
    header.checksum = if left_to_device {
        checksum::fold(pseudo)
    } else {
        !checksum::fold(pseudo + checksum::words_of(&header))
    };
    *packet.header_mut::<Tcp>(ethernet::LEN + ipv4::LEN)? = header;
    packet.truncate(ethernet::LEN + ipv4::LEN + tcp::LEN)
}
