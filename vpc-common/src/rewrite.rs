//! Applying a decision to the bytes: addresses, ports, TTL, identification, MSS
//! and every checksum over them. Nothing is decided here.

use core::mem::MaybeUninit;

use crate::{
    addr::{Mac, Port, V4},
    checksum::{self, Delta},
    drop::DropReason,
    layout::{Environment, Uplink},
    offload::Checksum,
    packet::Packet,
    state::{Direction, TCP, UDP, tcp_flags},
    transport::Transport,
    verifier::masked,
    wire::{
        Word32,
        ethernet::Ethernet,
        ipv4::{self, Ipv4},
        tcp::{self, Options, Tcp},
        udp::Udp,
    },
};

/// What becomes of a packet's headers.
#[derive(Clone, Copy, Debug)]
pub struct Rewrite {
    /// Forward replaces the source, reply the destination.
    pub direction: Direction,
    /// The address in its place.
    pub address: V4,
    /// The port in its place.
    pub port: Port,
    /// Receiver of the frame.
    pub destination_mac: Mac,
    /// Sender of the frame.
    pub source_mac: Mac,
    /// The identification from here on, as on the wire; often the packet's own.
    pub id: u16,
    /// The largest segment the way allows, for SYN segments.
    pub mss: u16,
    /// Whether the link may hand over half-made checksums.
    pub completes_checksums: bool,
}

impl Rewrite {
    /// The old value of the address that is replaced.
    #[inline(always)]
    const fn replaced_address(&self, ip: &ipv4::View) -> V4 {
        match self.direction {
            Direction::Forward => ip.source,
            Direction::Reply => ip.destination,
        }
    }
}

/// The largest segment that fits both links: the smaller MTU less the headers of
/// IPv4 and TCP without options (RFC 9293 §3.7.1).
#[inline(always)]
pub const fn largest_segment(uplink: &Uplink, environment: &Environment) -> u16 {
    let inside = environment.mtu as u32;
    let mtu = if uplink.mtu < inside {
        uplink.mtu
    } else {
        inside
    };
    mtu.wrapping_sub((ipv4::LEN + tcp::LEN) as u32) as u16
}

/// Whether a half-made checksum was completed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Completed(pub bool);

/// Rewrites a whole TCP or UDP packet, or the first fragment of a UDP datagram.
#[inline(always)]
pub fn apply<P: Packet>(
    packet: &mut P,
    ip: &ipv4::View,
    transport: &Transport,
    rewrite: &Rewrite,
) -> Result<Completed, DropReason> {
    let completed = apply_transport(packet, ip, transport, rewrite)?;
    apply_network(packet, ip, rewrite)?;
    Ok(completed)
}

/// Rewrites the Ethernet and IPv4 headers: all there is in a later fragment.
#[inline(always)]
pub fn apply_network<P: Packet>(
    packet: &mut P,
    ip: &ipv4::View,
    rewrite: &Rewrite,
) -> Result<(), DropReason> {
    let ethernet = packet
        .header_mut::<Ethernet>(0)
        .ok_or(DropReason::FrameTruncated)?;
    ethernet.destination = rewrite.destination_mac;
    ethernet.source = rewrite.source_mac;
    let header = packet
        .header_mut::<Ipv4>(ip.at)
        .ok_or(DropReason::Ipv4Malformed)?;
    let (old, new) = (
        rewrite.replaced_address(ip).to_wire(),
        rewrite.address.to_wire(),
    );
    let mut delta = Delta::NONE.word32(old, new);
    match rewrite.direction {
        Direction::Forward => header.source = Word32::from_wire(new),
        Direction::Reply => header.destination = Word32::from_wire(new),
    }
    let ttl = ip.ttl.wrapping_sub(1);
    delta = delta.word16(
        u16::from_ne_bytes([ip.ttl, ip.protocol]),
        u16::from_ne_bytes([ttl, ip.protocol]),
    );
    header.ttl_protocol = [ttl, ip.protocol];
    delta = delta.word16(ip.id, rewrite.id);
    header.id = rewrite.id;
    header.checksum = delta.apply(header.checksum);
    Ok(())
}

#[inline(always)]
fn apply_transport<P: Packet>(
    packet: &mut P,
    ip: &ipv4::View,
    transport: &Transport,
    rewrite: &Rewrite,
) -> Result<Completed, DropReason> {
    let mut stored = transport.checksum;
    let left_to_device = ip.checksum == Checksum::LeftToDevice;
    let has_checksum = ip.protocol == TCP || stored != 0 || left_to_device;
    let by_value = rewrite.completes_checksums && !packet.sees_marks() && has_checksum;
    let half_made = by_value && is_half_made(ip, stored);
    if half_made {
        // The field holds the pseudo-header's sum, so the sum over header and
        // data is that of the whole.
        let sum = packet
            .sum(ip.l4(), ip.payload_len())
            .ok_or(DropReason::ChecksumIncomplete)?;
        stored = !checksum::fold(sum);
    }
    let old_port = match rewrite.direction {
        Direction::Forward => transport.source,
        Direction::Reply => transport.destination,
    };
    // Of the pseudo-header, which is all a half-made checksum covers.
    let pseudo = Delta::NONE.word32(
        rewrite.replaced_address(ip).to_wire(),
        rewrite.address.to_wire(),
    );
    let mut whole = pseudo.word16(old_port.to_wire(), rewrite.port.to_wire());
    let index = matches!(rewrite.direction, Direction::Reply) as usize;
    if ip.protocol == UDP {
        let header = packet
            .header_mut::<Udp>(ip.l4())
            .ok_or(DropReason::L4Truncated)?;
        header.ports[index & 1] = rewrite.port.to_wire();
        if left_to_device {
            header.checksum = pseudo.apply_to_sum(stored);
        } else if has_checksum {
            header.checksum = nonzero(whole.apply(stored));
        }
    } else {
        if transport.segment.flags & tcp_flags::SYN != 0 && transport.header_len > tcp::LEN {
            let (at, len) = (ip.l4() + tcp::LEN, transport.header_len - tcp::LEN);
            whole = whole.and(packet.clamp_mss(at, len, rewrite.mss));
        }
        let header = packet
            .header_mut::<Tcp>(ip.l4())
            .ok_or(DropReason::L4Truncated)?;
        header.ports[index & 1] = rewrite.port.to_wire();
        header.checksum = if left_to_device {
            pseudo.apply_to_sum(stored)
        } else {
            whole.apply(stored)
        };
    }
    if !left_to_device {
        // The checksum makes up for every change but the pseudo-header's, which is
        // not among the bytes.
        packet.note_change(if has_checksum {
            pseudo.negated()
        } else {
            Delta::NONE.word16(old_port.to_wire(), rewrite.port.to_wire())
        });
    }
    Ok(Completed(half_made))
}

/// A computed UDP checksum of 0 is sent as all ones (RFC 768).
#[inline(always)]
pub const fn nonzero(checksum: u16) -> u16 {
    if checksum == 0 { 0xffff } else { checksum }
}

/// Whether only the pseudo-header's sum is in place, as a stack leaves it to a
/// device with checksum offload. A finished checksum looks the same once in
/// 65,536 intact packets, and completing it then computes what stands there.
#[inline(always)]
fn is_half_made(ip: &ipv4::View, stored: u16) -> bool {
    if ip.is_fragment() {
        return false;
    }
    let pseudo = checksum::pseudo(
        ip.source,
        ip.destination,
        ip.protocol,
        ip.payload_len() as u16,
    );
    checksum::fold(pseudo) == stored
}

/// Lowers the MSS option of a SYN (RFC 9293 §3.7.1), whose `len` bytes of options
/// start at `at`, to what the way allows; returns the change of the checksum.
#[inline(always)]
pub fn clamp_mss<P: Packet>(packet: &mut P, at: usize, len: usize, mss: u16) -> Delta {
    let mut place = MaybeUninit::uninit();
    let options = Options::none(&mut place);
    if packet.copy(at, len, &mut options.0).is_none() {
        return Delta::NONE;
    }
    let Some(offset) = tcp::mss_offset(&options.0, len) else {
        return Delta::NONE;
    };
    let Some(value) = packet.header_mut::<[u8; 2]>(at + masked::<0x3f>(offset)) else {
        return Delta::NONE;
    };
    let old = *value;
    if u16::from_be_bytes(old) <= mss {
        return Delta::NONE;
    }
    *value = mss.to_be_bytes();
    let (old, new) = (u16::from_ne_bytes(old), u16::from_ne_bytes(*value));
    // At an odd offset the bytes count in the other half of their words.
    if offset & 1 == 0 {
        Delta::NONE.word16(old, new)
    } else {
        Delta::NONE.word16(old.swap_bytes(), new.swap_bytes())
    }
}
