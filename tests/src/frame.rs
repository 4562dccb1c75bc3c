//! Frames: built for sending, taken apart for asserting, and their checksums
//! verified by summing them up, independently of the code under test.

use std::net::{Ipv4Addr, SocketAddrV4};

use etherparse::{
    ArpEthIpv4Packet, ArpHardwareId, ArpOperation, ArpPacket, EtherType, IpFragOffset, IpHeaders,
    IpNumber, Ipv4Header, NetSlice, PacketBuilder, SlicedPacket, TcpHeader, TcpOptionElement,
    TransportSlice,
};
use vpc_common::state::tcp_flags;

/// A frame as it was captured.
#[derive(Clone, Debug)]
pub struct Frame {
    /// From the Ethernet header on.
    pub bytes: Vec<u8>,
    /// The kernel knows that the checksum of layer 4 is not filled in yet.
    pub partial: bool,
    /// Bytes of payload that a device would put into each segment; 0 = one packet.
    pub segment: u16,
}

/// An IPv4 packet taken apart.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Ethernet source.
    pub source_mac: [u8; 6],
    /// Ethernet destination.
    pub destination_mac: [u8; 6],
    /// IPv4 header.
    pub ip: Ipv4Header,
    /// What follows it.
    pub body: Body,
}

/// What an IPv4 packet carries.
#[derive(Clone, Debug)]
pub enum Body {
    /// TCP header and payload.
    Tcp(TcpHeader, Vec<u8>),
    /// UDP ports and payload.
    Udp(u16, u16, Vec<u8>),
    /// ICMP type, code, bytes 4 to 8 and the rest.
    Icmp(u8, u8, [u8; 4], Vec<u8>),
    /// A fragment, or another protocol.
    Other(Vec<u8>),
}

impl Packet {
    /// Source address.
    pub const fn source(&self) -> Ipv4Addr {
        Ipv4Addr::from_octets(self.ip.source)
    }

    /// Destination address.
    pub const fn destination(&self) -> Ipv4Addr {
        Ipv4Addr::from_octets(self.ip.destination)
    }

    /// The TCP header, if it is TCP.
    pub const fn tcp(&self) -> Option<&TcpHeader> {
        match &self.body {
            Body::Tcp(header, _) => Some(header),
            Body::Udp(..) | Body::Icmp(..) | Body::Other(_) => None,
        }
    }

    /// UDP source port, destination port and payload, if it is UDP.
    pub fn udp(&self) -> Option<(u16, u16, &[u8])> {
        match &self.body {
            Body::Udp(source, destination, payload) => Some((*source, *destination, payload)),
            Body::Tcp(..) | Body::Icmp(..) | Body::Other(_) => None,
        }
    }

    /// ICMP type and code, if it is ICMP.
    pub const fn icmp(&self) -> Option<(u8, u8)> {
        match &self.body {
            Body::Icmp(kind, code, ..) => Some((*kind, *code)),
            Body::Tcp(..) | Body::Udp(..) | Body::Other(_) => None,
        }
    }

    /// The MSS option of a SYN.
    pub fn mss(&self) -> Option<u16> {
        self.tcp()?
            .options_iterator()
            .find_map(|option| match option {
                Ok(TcpOptionElement::MaximumSegmentSize(size)) => Some(size),
                _ => None,
            })
    }
}

impl Frame {
    /// The IPv4 packet inside, if that is what it holds.
    pub fn packet(&self) -> Option<Packet> {
        let sliced = SlicedPacket::from_ethernet(&self.bytes).ok()?;
        let Some(NetSlice::Ipv4(ip)) = &sliced.net else {
            return None;
        };
        let body = match &sliced.transport {
            Some(TransportSlice::Tcp(tcp)) => Body::Tcp(tcp.to_header(), tcp.payload().to_vec()),
            Some(TransportSlice::Udp(udp)) => Body::Udp(
                udp.source_port(),
                udp.destination_port(),
                udp.payload().to_vec(),
            ),
            Some(TransportSlice::Icmpv4(icmp)) => {
                let slice = icmp.slice();
                let middle = [slice[4], slice[5], slice[6], slice[7]];
                Body::Icmp(icmp.type_u8(), icmp.code_u8(), middle, slice[8..].to_vec())
            }
            _ => Body::Other(ip.payload().payload.to_vec()),
        };
        Some(Packet {
            source_mac: self.bytes[6..12].try_into().expect("six bytes"),
            destination_mac: self.bytes[..6].try_into().expect("six bytes"),
            ip: ip.header().to_header(),
            body,
        })
    }

    /// The ARP packet inside, if that is what it holds.
    pub fn arp(&self) -> Option<ArpEthIpv4Packet> {
        match SlicedPacket::from_ethernet(&self.bytes).ok()?.net {
            Some(NetSlice::Arp(arp)) => arp.to_packet().try_eth_ipv4().ok(),
            _ => None,
        }
    }

    /// Says which checksum is wrong, if one is. Layer 4 is looked at when the
    /// packet is whole and the kernel has filled the checksum in.
    pub fn checksum_error(&self) -> Option<String> {
        let sliced = SlicedPacket::from_ethernet(&self.bytes).ok()?;
        let Some(NetSlice::Ipv4(ip)) = &sliced.net else {
            return None;
        };
        let header = ip.header();
        if ones_sum(0, header.slice()) != 0xffff {
            return Some(format!("IPv4 header checksum of {:02x?}", self.bytes));
        }
        if self.partial || header.is_fragmenting_payload() {
            return None;
        }
        let segment = ip.payload().payload;
        let pseudo = ones_sum(0, &[header.source(), header.destination()].concat())
            + u32::from(header.protocol().0)
            + segment.len() as u32;
        let (name, sum) = match header.protocol() {
            IpNumber::TCP => ("TCP", ones_sum(pseudo, segment)),
            IpNumber::UDP if segment.get(6..8) == Some(&[0, 0]) => return None,
            IpNumber::UDP => ("UDP", ones_sum(pseudo, segment)),
            IpNumber::ICMP => ("ICMP", ones_sum(0, segment)),
            _ => return None,
        };
        (sum != 0xffff).then(|| format!("{name} checksum of {:02x?}", self.bytes))
    }
}

/// The one's complement sum of 16-bit words (RFC 1071), carried on from `start`.
fn ones_sum(start: u32, bytes: &[u8]) -> u32 {
    let mut sum = u64::from(start);
    for pair in bytes.chunks(2) {
        sum += u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u32
}

/// MACs and socket addresses of a frame to be built.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    /// Ethernet source.
    pub source_mac: [u8; 6],
    /// Ethernet destination.
    pub destination_mac: [u8; 6],
    /// IP source and port.
    pub source: SocketAddrV4,
    /// IP destination and port.
    pub destination: SocketAddrV4,
}

impl Ends {
    fn ip(&self) -> Ipv4Header {
        let (source, destination) = (self.source.ip().octets(), self.destination.ip().octets());
        let mut header = Ipv4Header::new(0, 64, IpNumber::UDP, source, destination)
            .expect("an empty payload is not too long");
        header.dont_fragment = true;
        header
    }

    /// A UDP datagram.
    pub fn udp(&self, payload: &[u8]) -> Vec<u8> {
        self.udp_with(payload, |_| {})
    }

    /// A UDP datagram whose IP header is changed before checksums are made.
    pub fn udp_with(&self, payload: &[u8], change: impl FnOnce(&mut Ipv4Header)) -> Vec<u8> {
        let mut ip = self.ip();
        change(&mut ip);
        let mut bytes = Vec::new();
        PacketBuilder::ethernet2(self.source_mac, self.destination_mac)
            .ip(IpHeaders::Ipv4(ip, Default::default()))
            .udp(self.source.port(), self.destination.port())
            .write(&mut bytes, payload)
            .expect("the datagram fits");
        bytes
    }

    /// A TCP segment; `flags` are those of [`tcp_flags`].
    pub fn tcp(&self, flags: u8, sequence: u32, acknowledgment: u32, payload: &[u8]) -> Vec<u8> {
        let mut tcp = TcpHeader::new(
            self.source.port(),
            self.destination.port(),
            sequence,
            64_000,
        );
        tcp.acknowledgment_number = acknowledgment;
        tcp.fin = flags & tcp_flags::FIN != 0;
        tcp.syn = flags & tcp_flags::SYN != 0;
        tcp.rst = flags & tcp_flags::RST != 0;
        tcp.ack = flags & tcp_flags::ACK != 0;
        let mut bytes = Vec::new();
        PacketBuilder::ethernet2(self.source_mac, self.destination_mac)
            .ip(IpHeaders::Ipv4(self.ip(), Default::default()))
            .tcp_header(tcp)
            .write(&mut bytes, payload)
            .expect("the segment fits");
        bytes
    }

    /// An ICMP message.
    pub fn icmp(&self, kind: u8, code: u8, middle: [u8; 4], payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        PacketBuilder::ethernet2(self.source_mac, self.destination_mac)
            .ip(IpHeaders::Ipv4(self.ip(), Default::default()))
            .icmpv4_raw(kind, code, middle)
            .write(&mut bytes, payload)
            .expect("the message fits");
        bytes
    }

    /// One IP fragment of a packet; `offset` is in bytes.
    pub fn fragment(
        &self,
        protocol: IpNumber,
        id: u16,
        offset: usize,
        more: bool,
        part: &[u8],
    ) -> Vec<u8> {
        let mut ip = self.ip();
        ip.protocol = protocol;
        ip.identification = id;
        ip.dont_fragment = false;
        ip.more_fragments = more;
        let units = u16::try_from(offset / 8).expect("an offset fits");
        ip.fragment_offset = IpFragOffset::try_new(units).expect("an offset has 13 bits");
        ip.set_payload_len(part.len()).expect("the fragment fits");
        ip.header_checksum = ip.calc_header_checksum();
        let mut bytes = [&self.destination_mac[..], &self.source_mac, &[0x08, 0x00]].concat();
        ip.write(&mut bytes)
            .expect("writing to memory does not fail");
        bytes.extend_from_slice(part);
        bytes
    }

    /// An ARP request for the destination's address.
    pub fn arp_request(&self) -> Vec<u8> {
        self.arp(ArpOperation::REQUEST, [0; 6], [0xff; 6])
    }

    /// An ARP reply to the destination.
    pub fn arp_reply(&self) -> Vec<u8> {
        self.arp(
            ArpOperation::REPLY,
            self.destination_mac,
            self.destination_mac,
        )
    }

    fn arp(&self, operation: ArpOperation, target: [u8; 6], to: [u8; 6]) -> Vec<u8> {
        let arp = ArpPacket::new(
            ArpHardwareId::ETHERNET,
            EtherType::IPV4,
            operation,
            &self.source_mac,
            &self.source.ip().octets(),
            &target,
            &self.destination.ip().octets(),
        )
        .expect("lengths of an Ethernet ARP packet");
        let mut bytes = Vec::new();
        let builder = PacketBuilder::ethernet2(self.source_mac, to).arp(arp);
        builder
            .write(&mut bytes)
            .expect("writing to memory does not fail");
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDS: Ends = Ends {
        source_mac: [2, 0, 0, 0, 0, 1],
        destination_mac: [2, 0, 0, 0, 0, 2],
        source: SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 1111),
        destination: SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 2), 2222),
    };

    #[test]
    fn a_flipped_bit_is_a_wrong_checksum() {
        let built = [
            ENDS.udp(b"payload"),
            ENDS.tcp(tcp_flags::SYN, 1, 0, b""),
            ENDS.icmp(8, 0, [0; 4], b"ping"),
        ];
        for bytes in built {
            let mut frame = Frame {
                bytes,
                partial: false,
                segment: 0,
            };
            assert_eq!(frame.checksum_error(), None);
            let last = frame.bytes.len() - 1;
            frame.bytes[last] ^= 1;
            assert!(frame.checksum_error().is_some());
            frame.partial = true;
            assert_eq!(frame.checksum_error(), None);
            frame.bytes[22] ^= 1;
            assert!(frame.checksum_error().is_some());
        }
    }

    #[test]
    fn what_was_built_is_what_is_read() {
        let frame = Frame {
            bytes: ENDS.udp(b"payload"),
            partial: false,
            segment: 0,
        };
        let packet = frame.packet().expect("an IPv4 packet");
        assert_eq!(packet.udp(), Some((1111, 2222, &b"payload"[..])));
        assert_eq!(packet.source(), Ipv4Addr::new(10, 0, 0, 1));
        let arp = Frame {
            bytes: ENDS.arp_request(),
            partial: false,
            segment: 0,
        }
        .arp()
        .expect("ARP");
        assert_eq!(arp.target_ipv4, [10, 0, 0, 2]);
    }
}
