//! ARP frames and the socket that sends them.

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use vpc_common::addr::{Mac, V4};

/// Bytes of an ARP frame: Ethernet header and packet, padded to the minimum.
pub const ARP_FRAME: usize = 60;

const ETHERTYPE_ARP: [u8; 2] = [0x08, 0x06];
/// Ethernet, IPv4, 6 and 4 bytes of address.
const ARP_KIND: [u8; 6] = [0, 1, 8, 0, 6, 4];

/// An ARP request (RFC 826) from (`mac`, `source`) for `target`, sent to `to`:
/// broadcast to find a neighbour, unicast to confirm one (RFC 1122 §2.3.2.1).
pub fn arp_request(to: Mac, mac: Mac, source: V4, target: V4) -> [u8; ARP_FRAME] {
    let mut frame = [0; ARP_FRAME];
    let parts: [&[u8]; 9] = [
        &to.octets(),
        &mac.octets(),
        &ETHERTYPE_ARP,
        &ARP_KIND,
        &[0, 1],
        &mac.octets(),
        &source.octets(),
        &[0; 6],
        &target.octets(),
    ];
    let mut at = 0;
    for part in parts {
        frame[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    frame
}

/// An ARP announcement (RFC 5227 §2.3): `address` is at `mac` from now on.
pub fn arp_announcement(mac: Mac, address: V4) -> [u8; ARP_FRAME] {
    arp_request(Mac::BROADCAST, mac, address, address)
}

/// Sends whole frames on any interface.
#[derive(Debug)]
pub struct FrameSocket(OwnedFd);

impl FrameSocket {
    /// Opens the socket; it receives nothing.
    pub fn open() -> io::Result<Self> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: no pointer is passed.
        let fd = unsafe { libc::socket(libc::AF_PACKET, kind, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and nobody else's.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Sends a frame.
    pub fn send(&self, ifindex: u32, frame: &[u8]) -> io::Result<()> {
        // SAFETY: all zero is a value of this plain structure.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_ifindex = ifindex as i32;
        // SAFETY: frame and address are valid for the lengths given.
        let sent = unsafe {
            libc::sendto(
                self.0.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
                (&raw const address).cast(),
                size_of::<libc::sockaddr_ll>() as u32,
            )
        };
        if sent < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_the_bytes_of_rfc_826() {
        let (mac, to) = (Mac::new([2, 0, 0, 0, 0, 1]), Mac::BROADCAST);
        let frame = arp_request(to, mac, V4::new([10, 0, 0, 1]), V4::new([10, 0, 0, 2]));
        assert_eq!(frame[..6], [0xff; 6]);
        assert_eq!(frame[6..12], [2, 0, 0, 0, 0, 1]);
        assert_eq!(frame[12..22], [8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
        assert_eq!(frame[22..32], [2, 0, 0, 0, 0, 1, 10, 0, 0, 1]);
        assert_eq!(frame[32..42], [0, 0, 0, 0, 0, 0, 10, 0, 0, 2]);
        assert_eq!(frame[42..], [0; 18]);
    }

    #[test]
    fn an_announcement_asks_for_its_own_address() {
        let frame = arp_announcement(Mac::new([2, 0, 0, 0, 0, 1]), V4::new([10, 0, 0, 7]));
        assert_eq!(frame[28..32], frame[38..42]);
    }
}
