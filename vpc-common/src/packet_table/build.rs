//! Packets from their parts, every length and checksum computed anew: the
//! independent reference that rewritten packets are held against.

use etherparse::{IpFragOffset, IpNumber, Ipv4Header, TcpHeader, UdpHeader};

/// What is under the IPv4 header.
#[derive(Clone, Debug)]
pub enum Body {
    /// TCP header, with its options, and data.
    Tcp(TcpHeader, Vec<u8>),
    /// UDP.
    Udp(Ports, Vec<u8>),
    /// ICMP: type, code, the four bytes after the checksum, and the rest.
    Icmp(u8, u8, [u8; 4], Vec<u8>),
    /// Bytes as they are.
    Raw(Vec<u8>),
}

/// Source and destination port.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// Of the sender.
    pub source: u16,
    /// Of the receiver.
    pub destination: u16,
}

/// What stands in the transport checksum.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sum {
    /// The checksum.
    Right,
    /// The pseudo-header's sum, as a stack leaves it to a device.
    HalfMade,
    /// Zero.
    Absent,
}

/// A frame with an IPv4 packet.
#[derive(Clone, Debug)]
pub struct Built {
    /// Receiver.
    pub to: [u8; 6],
    /// Sender.
    pub from: [u8; 6],
    /// The header; its length and checksum are computed.
    pub ip: Ipv4Header,
    /// What follows it.
    pub body: Body,
    /// The transport checksum.
    pub sum: Sum,
    /// Bytes that Ethernet adds behind.
    pub padding: usize,
}

/// Without a fixed source of randomness, bytes that differ from each other.
pub fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 256 + 1) as u8).collect()
}

/// The one's complement sum of big-endian words, folded.
fn ones_sum(parts: &[&[u8]]) -> u16 {
    let mut sum: u32 = parts
        .iter()
        .flat_map(|part| part.chunks(2))
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

impl Built {
    /// An IPv4 packet without fragmentation, TTL 64, identification 0x1234, DF.
    pub fn new(from: [u8; 6], to: [u8; 6], source: [u8; 4], destination: [u8; 4]) -> Self {
        let mut ip = Ipv4Header::new(0, 64, IpNumber::UDP, source, destination)
            .expect("an empty payload fits");
        ip.identification = 0x1234;
        ip.dont_fragment = true;
        Self {
            to,
            from,
            ip,
            body: Body::Raw(Vec::new()),
            sum: Sum::Right,
            padding: 0,
        }
    }

    /// With this TCP header and data.
    pub fn tcp(mut self, header: TcpHeader, data: &[u8]) -> Self {
        self.ip.protocol = IpNumber::TCP;
        self.body = Body::Tcp(header, data.to_vec());
        self
    }

    /// With these UDP ports and data.
    pub fn udp(mut self, source: u16, destination: u16, data: &[u8]) -> Self {
        self.ip.protocol = IpNumber::UDP;
        self.body = Body::Udp(
            Ports {
                source,
                destination,
            },
            data.to_vec(),
        );
        self
    }

    /// With this ICMP message.
    pub fn icmp(mut self, kind: u8, code: u8, rest: [u8; 4], data: &[u8]) -> Self {
        self.ip.protocol = IpNumber::ICMP;
        self.body = Body::Icmp(kind, code, rest, data.to_vec());
        self
    }

    /// With bytes of a protocol.
    pub fn raw(mut self, protocol: u8, data: &[u8]) -> Self {
        self.ip.protocol = IpNumber(protocol);
        self.body = Body::Raw(data.to_vec());
        self
    }

    /// With another time to live.
    pub fn ttl(mut self, ttl: u8) -> Self {
        self.ip.time_to_live = ttl;
        self
    }

    /// That may be fragmented.
    pub fn may_fragment(mut self) -> Self {
        self.ip.dont_fragment = false;
        self
    }

    /// With IP options.
    pub fn options(mut self, options: &[u8]) -> Self {
        let options = options.try_into().expect("at most 40 bytes in words");
        self.ip.options = options;
        self
    }

    /// With another transport checksum.
    pub fn sum(mut self, sum: Sum) -> Self {
        self.sum = sum;
        self
    }

    /// With bytes behind the packet.
    pub fn padded(mut self, padding: usize) -> Self {
        self.padding = padding;
        self
    }

    fn pseudo(&self, len: usize) -> [u8; 12] {
        let (s, d) = (self.ip.source, self.ip.destination);
        let [high, low] = (len as u16).to_be_bytes();
        [
            s[0],
            s[1],
            s[2],
            s[3],
            d[0],
            d[1],
            d[2],
            d[3],
            0,
            self.ip.protocol.0,
            high,
            low,
        ]
    }

    /// The bytes under the IPv4 header.
    pub fn segment(&self) -> Vec<u8> {
        let finish = |sum: u16, len: usize| match self.sum {
            Sum::Right => sum,
            Sum::HalfMade => ones_sum(&[&self.pseudo(len)]),
            Sum::Absent => 0,
        };
        match &self.body {
            Body::Tcp(header, data) => {
                let mut header = header.clone();
                let sum = header
                    .calc_checksum_ipv4(&self.ip, data)
                    .expect("the segment is not too long");
                header.checksum = finish(sum, header.header_len() + data.len());
                [&header.to_bytes()[..], data].concat()
            }
            Body::Udp(ports, data) => {
                let mut header =
                    UdpHeader::without_ipv4_checksum(ports.source, ports.destination, data.len())
                        .expect("the datagram is not too long");
                let sum = header
                    .calc_checksum_ipv4(&self.ip, data)
                    .expect("the datagram is not too long");
                header.checksum = finish(sum, 8 + data.len());
                [&header.to_bytes()[..], data].concat()
            }
            Body::Icmp(kind, code, rest, data) => {
                let sum = !ones_sum(&[&[*kind, *code], rest, data]);
                let mut message = vec![*kind, *code];
                message.extend(sum.to_be_bytes());
                message.extend(rest);
                message.extend(data);
                message
            }
            Body::Raw(bytes) => bytes.clone(),
        }
    }

    /// The IPv4 packet.
    pub fn packet(&self) -> Vec<u8> {
        let segment = self.segment();
        let mut ip = self.ip.clone();
        ip.set_payload_len(segment.len())
            .expect("it is not too long");
        ip.header_checksum = ip.calc_header_checksum();
        [&ip.to_bytes()[..], &segment].concat()
    }

    /// The frame.
    pub fn frame(&self) -> Vec<u8> {
        let mut frame = [&self.to[..], &self.from, &[8, 0], &self.packet()].concat();
        frame.extend(std::iter::repeat_n(0xee, self.padding));
        frame
    }

    /// Cut in two fragments, the first with `at` bytes of payload.
    pub fn cut(&self, at: usize) -> (Self, Self) {
        assert!(
            at.is_multiple_of(8),
            "fragments start at multiples of eight"
        );
        let (protocol, bytes) = (self.ip.protocol.0, self.segment());
        let mut first = self.clone().raw(protocol, &bytes[..at]);
        first.ip.more_fragments = true;
        let mut last = self.clone().raw(protocol, &bytes[at..]);
        last.ip.fragment_offset =
            IpFragOffset::try_new(at as u16 / 8).expect("an offset within the datagram");
        (first, last)
    }
}

/// A TCP header with flags, from their letters.
pub fn segment(source: u16, destination: u16, flags: &str, sequence: u32, ack: u32) -> TcpHeader {
    let mut header = TcpHeader::new(source, destination, sequence, 64_240);
    header.acknowledgment_number = ack;
    for flag in flags.chars() {
        match flag {
            'S' => header.syn = true,
            'A' => header.ack = true,
            'F' => header.fin = true,
            'R' => header.rst = true,
            'P' => header.psh = true,
            _ => panic!("no flag {flag}"),
        }
    }
    header
}

/// An ARP packet in a frame.
pub fn arp(
    to: [u8; 6],
    from: [u8; 6],
    operation: u16,
    sender: ([u8; 6], [u8; 4]),
    target: ([u8; 6], [u8; 4]),
) -> Vec<u8> {
    let mut frame = [&to[..], &from, &[8, 6, 0, 1, 8, 0, 6, 4]].concat();
    frame.extend(operation.to_be_bytes());
    frame.extend([&sender.0[..], &sender.1, &target.0, &target.1].concat());
    frame
}
