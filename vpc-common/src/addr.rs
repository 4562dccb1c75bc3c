//! Addresses and ports with their byte order in the type.
//!
//! Everything here holds the bytes as they stand on the wire, so that a header
//! field is compared and stored without a swap; swapping happens only where a
//! number is shown or counted.

use core::fmt;

/// An IPv4 address, network byte order.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct V4(u32);

impl V4 {
    /// `0.0.0.0`: "no address" where a field is optional.
    pub const UNSPECIFIED: Self = Self(0);

    /// From the four octets in wire order.
    pub const fn new(octets: [u8; 4]) -> Self {
        Self(u32::from_ne_bytes(octets))
    }

    /// From a 32-bit word that was read from the wire without swapping.
    pub const fn from_wire(word: u32) -> Self {
        Self(word)
    }

    /// The word as it stands on the wire.
    pub const fn to_wire(self) -> u32 {
        self.0
    }

    /// The four octets in wire order.
    pub const fn octets(self) -> [u8; 4] {
        self.0.to_ne_bytes()
    }

    /// Whether a flow may be opened to this address: neither "this network"
    /// (RFC 1122 §3.2.1.3), loopback, multicast (RFC 5771), class E nor
    /// broadcast.
    pub const fn is_unicast(self) -> bool {
        let first = (u32::from_be(self.0) >> 24) as u8;
        first != 0 && first != 127 && first < 224
    }
}

impl fmt::Display for V4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d] = self.octets();
        write!(f, "{a}.{b}.{c}.{d}")
    }
}

impl fmt::Debug for V4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An IPv4 or IPv6 address in 16 bytes, network byte order; IPv4 in its
/// IPv4-mapped form (RFC 4291 §2.5.5.2). What map keys and values hold, so that
/// IPv6 adds a parser and not a second set of tables.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Addr([u32; 4]);

impl Addr {
    /// `::`: "no address" where a field is optional.
    pub const UNSPECIFIED: Self = Self([0; 4]);

    /// The IPv4-mapped form.
    pub const fn from_v4(v4: V4) -> Self {
        Self([0, 0, 0xffff_u32.to_be(), v4.0])
    }

    /// The last four bytes: the IPv4 address of a mapped one.
    pub const fn v4(self) -> V4 {
        V4(self.0[3])
    }

    /// In two words, which fit into registers; [`Addr::from_halves`] takes them back.
    #[inline(always)]
    pub const fn halves(self) -> [u64; 2] {
        let [a, b, c, d] = self.0;
        [a as u64 | (b as u64) << 32, c as u64 | (d as u64) << 32]
    }

    /// The inverse of [`Addr::halves`].
    #[inline(always)]
    pub const fn from_halves([one, other]: [u64; 2]) -> Self {
        Self([
            one as u32,
            (one >> 32) as u32,
            other as u32,
            (other >> 32) as u32,
        ])
    }

    /// From sixteen octets in wire order.
    pub const fn new(octets: [u8; 16]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = octets;
        Self([
            u32::from_ne_bytes([a, b, c, d]),
            u32::from_ne_bytes([e, f, g, h]),
            u32::from_ne_bytes([i, j, k, l]),
            u32::from_ne_bytes([m, n, o, p]),
        ])
    }

    /// The sixteen octets in wire order.
    pub const fn octets(self) -> [u8; 16] {
        let ([a, b, c, d], [e, f, g, h], [i, j, k, l], [m, n, o, p]) = (
            self.0[0].to_ne_bytes(),
            self.0[1].to_ne_bytes(),
            self.0[2].to_ne_bytes(),
            self.0[3].to_ne_bytes(),
        );
        [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
    }

    /// From four words in wire order.
    #[inline(always)]
    pub const fn from_words(words: [u32; 4]) -> Self {
        Self(words)
    }

    /// Four words in wire order.
    #[inline(always)]
    pub const fn words(self) -> [u32; 4] {
        self.0
    }

    /// Whether no address is set.
    pub const fn is_unspecified(self) -> bool {
        self.0[0] == 0 && self.0[1] == 0 && self.0[2] == 0 && self.0[3] == 0
    }
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let v6 = core::net::Ipv6Addr::from(self.octets());
        match v6.to_ipv4_mapped() {
            Some(v4) => fmt::Display::fmt(&v4, f),
            None => fmt::Display::fmt(&v6, f),
        }
    }
}

impl fmt::Debug for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<core::net::IpAddr> for Addr {
    fn from(ip: core::net::IpAddr) -> Self {
        match ip {
            core::net::IpAddr::V4(v4) => Self::from_v4(V4::new(v4.octets())),
            core::net::IpAddr::V6(v6) => Self::new(v6.octets()),
        }
    }
}

impl From<Addr> for core::net::IpAddr {
    fn from(addr: Addr) -> Self {
        let v6 = core::net::Ipv6Addr::from(addr.octets());
        match v6.to_ipv4_mapped() {
            Some(v4) => Self::V4(v4),
            None => Self::V6(v6),
        }
    }
}

/// A TCP or UDP port, network byte order.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Port(u16);

impl Port {
    /// From the number as people write it.
    pub const fn new(number: u16) -> Self {
        Self(number.to_be())
    }

    /// From a 16-bit word that was read from the wire without swapping.
    pub const fn from_wire(word: u16) -> Self {
        Self(word)
    }

    /// The word as it stands on the wire.
    pub const fn to_wire(self) -> u16 {
        self.0
    }

    /// The number as people write it.
    pub const fn number(self) -> u16 {
        u16::from_be(self.0)
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number().fmt(f)
    }
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number().fmt(f)
    }
}

/// An Ethernet address: three words as read from the wire.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Mac(pub [u16; 3]);

impl Mac {
    /// All zero: "not known".
    pub const UNKNOWN: Self = Self([0; 3]);
    /// `ff:ff:ff:ff:ff:ff`.
    pub const BROADCAST: Self = Self([0xffff; 3]);
    /// The one address by which every environment knows its gateway. Locally
    /// administered, and the same on every host, so that a clone that was
    /// snapshotted with it in its ARP cache goes on working anywhere.
    pub const GATEWAY: Self = Self::new([0x02, 0x76, 0x70, 0x63, 0x00, 0x01]);

    /// From the six octets in wire order.
    pub const fn new(octets: [u8; 6]) -> Self {
        let [a, b, c, d, e, f] = octets;
        Self([
            u16::from_ne_bytes([a, b]),
            u16::from_ne_bytes([c, d]),
            u16::from_ne_bytes([e, f]),
        ])
    }

    /// The six octets in wire order.
    pub const fn octets(self) -> [u8; 6] {
        let ([a, b], [c, d], [e, f]) = (
            self.0[0].to_ne_bytes(),
            self.0[1].to_ne_bytes(),
            self.0[2].to_ne_bytes(),
        );
        [a, b, c, d, e, f]
    }

    /// In the low 48 bits of one word, so that a map can hold an address that is
    /// replaced in one store.
    pub const fn to_word(self) -> u64 {
        self.0[0] as u64 | (self.0[1] as u64) << 16 | (self.0[2] as u64) << 32
    }

    /// The inverse of [`Mac::to_word`].
    pub const fn from_word(word: u64) -> Self {
        Self([word as u16, (word >> 16) as u16, (word >> 32) as u16])
    }

    /// Whether it can be the sender of a frame: known, and not a group address.
    pub const fn is_unicast(self) -> bool {
        self.to_word() != 0 && self.octets()[0] & 1 == 0
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, f] = self.octets();
        write!(out, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_show_as_people_write_them() {
        assert_eq!(V4::new([10, 0, 255, 1]).to_string(), "10.0.255.1");
        assert_eq!(
            Addr::from_v4(V4::new([10, 0, 0, 1])).to_string(),
            "10.0.0.1"
        );
        assert_eq!(
            Addr::new([0xfd; 16]).to_string(),
            "fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd"
        );
        assert_eq!(Mac::GATEWAY.to_string(), "02:76:70:63:00:01");
        assert_eq!(Port::new(443).to_string(), "443");
    }

    #[test]
    fn a_mac_survives_the_trip_through_a_word() {
        let mac = Mac::new([1, 2, 3, 4, 5, 6]);
        assert_eq!(Mac::from_word(mac.to_word()), mac);
    }

    #[test]
    fn only_unicast_destinations_open_flows() {
        for octets in [
            [0, 1, 2, 3],
            [127, 0, 0, 1],
            [224, 0, 0, 1],
            [240, 0, 0, 1],
            [255; 4],
        ] {
            assert!(!V4::new(octets).is_unicast(), "{octets:?}");
        }
        assert!(V4::new([10, 0, 0, 1]).is_unicast());
        assert!(V4::new([223, 255, 255, 255]).is_unicast());
    }
}
