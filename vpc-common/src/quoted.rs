//! ICMP errors: the packet they quote, found again and translated (RFC 5508
//! REQ-3 to REQ-5). They neither refresh a flow nor end it (RFC 5508 REQ-6).

use crate::{
    addr::{Port, V4},
    checksum::{self, Delta},
    drop::DropReason,
    packet::Packet,
    rewrite::{Rewrite, nonzero},
    state::{Direction, TCP, UDP},
    wire::{
        Word32,
        icmp::{self, Icmp},
        ipv4::{self, Ipv4},
    },
};

/// The quoted packet, as far as it is quoted.
#[derive(Clone, Copy, Debug)]
pub struct Quote {
    /// Offset of its IPv4 header.
    pub at: usize,
    /// Offset of its transport header.
    pub l4: usize,
    /// Its source.
    pub source: V4,
    /// Its destination.
    pub destination: V4,
    /// Its protocol: TCP or UDP.
    pub protocol: u8,
    /// Its source port.
    pub source_port: Port,
    /// Its destination port.
    pub destination_port: Port,
}

/// Parses what an ICMP error quotes: an IPv4 header and at least eight bytes.
#[inline(always)]
pub fn parse<P: Packet>(packet: &P, ip: &ipv4::View) -> Result<Quote, DropReason> {
    let malformed = DropReason::IcmpMalformed;
    let at = ip.l4() + icmp::LEN;
    let header = packet.header::<Ipv4>(at).ok_or(malformed)?;
    let version = header.version_tos[0];
    let header_len = ((version & 0x0f) as usize) * 4;
    if version >> 4 != 4 || header_len < ipv4::LEN {
        return Err(malformed);
    }
    let protocol = header.ttl_protocol[1];
    let later = u16::from_be(header.fragment) & 0x1fff != 0;
    if later || (protocol != TCP && protocol != UDP) {
        return Err(DropReason::IcmpUnmatched);
    }
    let l4 = at + header_len;
    // Within the IP packet, not merely within the frame's padding.
    if ip.payload_len() < icmp::LEN + header_len + 8 {
        return Err(malformed);
    }
    let mut sum = checksum::words_of(header);
    if header_len > ipv4::LEN {
        sum += packet
            .sum(at + ipv4::LEN, header_len - ipv4::LEN)
            .ok_or(malformed)?;
    }
    if checksum::fold(sum) != 0xffff {
        return Err(malformed);
    }
    let (source, destination) = (header.source.v4(), header.destination.v4());
    let ports = packet.header::<Ports>(l4).ok_or(malformed)?;
    Ok(Quote {
        at,
        l4,
        source,
        destination,
        protocol,
        source_port: Port::from_wire(ports.0[0]),
        destination_port: Port::from_wire(ports.0[1]),
    })
}

/// The first words of both transport headers.
#[repr(C)]
#[derive(Clone, Copy)]
struct Ports([u16; 4]);

// SAFETY: four 16-bit words.
unsafe impl crate::packet::Header for Ports {}

/// Translates the quoted packet, and the ICMP checksum with it. It went the other
/// way than the error: an error from the VPC quotes what the environment sent.
#[inline(always)]
pub fn apply<P: Packet>(
    packet: &mut P,
    ip: &ipv4::View,
    quote: &Quote,
    rewrite: &Rewrite,
) -> Result<(), DropReason> {
    let malformed = DropReason::IcmpMalformed;
    let quotes_source = matches!(rewrite.direction, Direction::Reply);
    let (old_address, old_port) = if quotes_source {
        (quote.source, quote.source_port)
    } else {
        (quote.destination, quote.destination_port)
    };
    let address = Delta::NONE.word32(old_address.to_wire(), rewrite.address.to_wire());
    let header = packet.header_mut::<Ipv4>(quote.at).ok_or(malformed)?;
    if quotes_source {
        header.source = Word32::from_v4(rewrite.address);
    } else {
        header.destination = Word32::from_v4(rewrite.address);
    }
    let (old_sum, new_sum) = (header.checksum, address.apply(header.checksum));
    header.checksum = new_sum;
    let ports = packet.header_mut::<Ports>(quote.l4).ok_or(malformed)?;
    ports.0[!quotes_source as usize & 1] = rewrite.port.to_wire();
    let inner = address.word16(old_port.to_wire(), rewrite.port.to_wire());
    let mut outer = inner.word16(old_sum, new_sum);
    if let Some((old, new)) = apply_transport_checksum(packet, ip, quote, inner) {
        outer = outer.word16(old, new);
    }
    let icmp = packet.header_mut::<Icmp>(ip.l4()).ok_or(malformed)?;
    icmp.checksum = outer.apply(icmp.checksum);
    Ok(())
}

/// Updates the quoted transport checksum, if the quote is long enough to hold it
/// and there is one: its old and new value.
#[inline(always)]
fn apply_transport_checksum<P: Packet>(
    packet: &mut P,
    ip: &ipv4::View,
    quote: &Quote,
    delta: Delta,
) -> Option<(u16, u16)> {
    let offset = if quote.protocol == TCP { 16 } else { 6 };
    let end_of_ip = ip.at + ip.total_len as usize;
    if quote.l4 + offset + 2 > end_of_ip {
        return None;
    }
    let field = packet.header_mut::<[u8; 2]>(quote.l4 + offset)?;
    let old = u16::from_ne_bytes(*field);
    if quote.protocol == UDP && old == 0 {
        return None;
    }
    let new = if quote.protocol == UDP {
        nonzero(delta.apply(old))
    } else {
        delta.apply(old)
    };
    *field = new.to_ne_bytes();
    Some((old, new))
}
