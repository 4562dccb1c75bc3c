//! The transport header of a packet: ports, and what of TCP the NAT looks at.

use crate::{
    addr::Port,
    drop::DropReason,
    flow::Segment,
    packet::Packet,
    state::{TCP, tcp_flags},
    wire::{
        ipv4,
        tcp::{self, Tcp},
        udp::{self, Udp},
    },
};

/// What the parser found; lengths hold and no port is 0.
#[derive(Clone, Copy, Debug)]
pub struct Transport {
    /// Source port.
    pub source: Port,
    /// Destination port.
    pub destination: Port,
    /// Checksum as stored; 0 in UDP means none.
    pub checksum: u16,
    /// Bytes of header and options.
    pub header_len: usize,
    /// TCP: what moves the state machine.
    pub segment: Segment,
}

impl Transport {
    /// Whether it opens a TCP connection: SYN without ACK.
    #[inline(always)]
    pub const fn is_syn(&self) -> bool {
        self.segment.flags & (tcp_flags::SYN | tcp_flags::ACK | tcp_flags::RST) == tcp_flags::SYN
    }
}

/// Parses the TCP or UDP header after an IPv4 header that is no later fragment.
#[inline(always)]
pub fn parse<P: Packet>(packet: &P, ip: &ipv4::View) -> Result<Transport, DropReason> {
    let transport = if ip.protocol == TCP {
        tcp(packet, ip)?
    } else {
        udp(packet, ip)?
    };
    if transport.source.to_wire() == 0 || transport.destination.to_wire() == 0 {
        return Err(DropReason::L4Malformed);
    }
    Ok(transport)
}

#[inline(always)]
fn tcp<P: Packet>(packet: &P, ip: &ipv4::View) -> Result<Transport, DropReason> {
    if ip.payload_len() < tcp::LEN {
        return Err(DropReason::L4Truncated);
    }
    let header = packet
        .header::<Tcp>(ip.l4())
        .ok_or(DropReason::L4Truncated)?;
    let header_len = header.header_len();
    if header_len < tcp::LEN || header_len > ip.payload_len() {
        return Err(DropReason::L4Malformed);
    }
    let flags = header.offset_flags[1];
    // SYN and FIN take a sequence number each (RFC 9293 §3.4).
    let controls = (flags >> 1 & 1) as u32 + (flags & 1) as u32;
    let data = (ip.payload_len() - header_len) as u32;
    let sequence = header.sequence.number();
    Ok(Transport {
        source: Port::from_wire(header.ports[0]),
        destination: Port::from_wire(header.ports[1]),
        checksum: header.checksum,
        header_len,
        segment: Segment {
            flags,
            sequence,
            acknowledgment: header.acknowledgment.number(),
            end: sequence.wrapping_add(data).wrapping_add(controls),
        },
    })
}

#[inline(always)]
fn udp<P: Packet>(packet: &P, ip: &ipv4::View) -> Result<Transport, DropReason> {
    if ip.payload_len() < udp::LEN {
        return Err(DropReason::L4Truncated);
    }
    let header = packet
        .header::<Udp>(ip.l4())
        .ok_or(DropReason::L4Truncated)?;
    let len = u16::from_be(header.len) as usize;
    // The first fragment of a datagram is shorter than the datagram.
    if len < udp::LEN || (len > ip.payload_len() && !ip.is_fragment()) {
        return Err(DropReason::L4Malformed);
    }
    Ok(Transport {
        source: Port::from_wire(header.ports[0]),
        destination: Port::from_wire(header.ports[1]),
        checksum: header.checksum,
        header_len: udp::LEN,
        segment: Segment {
            flags: 0,
            sequence: 0,
            acknowledgment: 0,
            end: 0,
        },
    })
}
