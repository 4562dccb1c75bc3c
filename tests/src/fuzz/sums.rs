//! Checksums of a frame, summed up anew.

use etherparse::{IpNumber, Ipv4HeaderSlice};

/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;

/// How the checksums of an IPv4 packet stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sums {
    /// Whether that of the IPv4 header is right.
    pub network: bool,
    /// That of TCP, UDP or ICMP.
    pub transport: Transport,
}

/// A transport checksum.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// Right.
    Right,
    /// Only the pseudo-header's sum is there, not complemented.
    HalfMade,
    /// Neither.
    Wrong,
    /// UDP without one, a fragment, or a packet that is none of the three or too short
    /// to have one.
    None,
}

/// The sums of a frame; `None` if no whole IPv4 packet is in it.
pub fn of(frame: &[u8]) -> Option<Sums> {
    if frame.get(12..14)? != [8, 0] {
        return None;
    }
    let packet = &frame[ETHERNET..];
    let header = Ipv4HeaderSlice::from_slice(packet).ok()?;
    let segment = packet.get(header.slice().len()..usize::from(header.total_len()))?;
    Some(Sums {
        network: ones(0, header.slice()) == 0xffff,
        transport: transport(&header, segment),
    })
}

fn transport(header: &Ipv4HeaderSlice<'_>, segment: &[u8]) -> Transport {
    if header.is_fragmenting_payload() {
        return Transport::None;
    }
    let field = |at: usize| {
        Some(u16::from_be_bytes([
            *segment.get(at)?,
            *segment.get(at + 1)?,
        ]))
    };
    let (at, covered) = match header.protocol() {
        IpNumber::ICMP if segment.len() >= 8 => {
            return when(ones(0, segment) == 0xffff, Transport::Wrong);
        }
        IpNumber::TCP if segment.len() >= 20 => (16, segment),
        IpNumber::UDP => match field(4).and_then(|len| segment.get(..usize::from(len))) {
            Some(datagram) if datagram.len() >= 8 && field(6) != Some(0) => (6, datagram),
            _ => return Transport::None,
        },
        _ => return Transport::None,
    };
    let pseudo = |len: usize| {
        let addresses = ones(0, &[header.source(), header.destination()].concat());
        ones(addresses + u32::from(header.protocol().0) + len as u32, &[])
    };
    let right = ones(pseudo(covered.len()), covered) == 0xffff;
    let half_made = field(at).map(u32::from) == Some(pseudo(segment.len()));
    when(
        right,
        if half_made {
            Transport::HalfMade
        } else {
            Transport::Wrong
        },
    )
}

const fn when(right: bool, otherwise: Transport) -> Transport {
    if right { Transport::Right } else { otherwise }
}

/// The one's complement sum of 16-bit words (RFC 1071), carried on from another.
pub fn ones(start: u32, bytes: &[u8]) -> u32 {
    let words = bytes.chunks(2);
    let words = words.map(|pair| u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0)));
    let mut sum = u64::from(start) + words.sum::<u64>();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u32
}

/// Makes the checksum of the IPv4 header at an offset right, if there is room for one.
pub fn mend_header(bytes: &mut [u8], at: usize) {
    let Some(header) = bytes.get_mut(at..) else {
        return;
    };
    let len = usize::from(header.first().copied().unwrap_or(0) & 15) * 4;
    if len < 20 || header.len() < len {
        return;
    }
    header[10..12].fill(0);
    let sum = !ones(0, &header[..len]) as u16;
    header[10..12].copy_from_slice(&sum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use vpc_common::packet_table::{
        Conn,
        build::{Sum, payload},
    };

    use super::*;

    #[test]
    fn a_flipped_bit_is_a_wrong_sum() {
        let (tcp, udp) = (Conn::new_tcp(0, 1_111), Conn::new_udp(0, 2_222));
        for built in [
            tcp.tcp("PA", 1, 2, b"odd"),
            udp.udp(&payload(40)),
            udp.out().icmp(8, 0, [0; 4], b"ping"),
        ] {
            let right = Sums {
                network: true,
                transport: Transport::Right,
            };
            let frame = built.padded(3).frame();
            assert_eq!(of(&frame), Some(right));
            let mut damaged = frame.clone();
            damaged[40] ^= 1;
            assert_eq!(of(&damaged).map(|s| s.transport), Some(Transport::Wrong));
            damaged[22] ^= 1;
            assert_eq!(of(&damaged).map(|s| s.network), Some(false));
            mend_header(&mut damaged, 14);
            assert_eq!(of(&damaged).map(|s| s.network), Some(true));
        }
        for (sum, transport) in [
            (Sum::HalfMade, Transport::HalfMade),
            (Sum::Absent, Transport::None),
        ] {
            let frame = udp.udp(b"odd").sum(sum).frame();
            assert_eq!(of(&frame).map(|s| s.transport), Some(transport));
        }
    }
}
