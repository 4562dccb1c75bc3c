//! Prefixes as numbers and masks.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// The mask of a prefix length.
pub fn mask(length: u8) -> u32 {
    let mut mask = 0;
    for bit in 0..length {
        mask |= 1 << (31 - bit);
    }
    mask
}

/// The first address of a prefix.
pub fn network(prefix: Ipv4Net) -> u32 {
    u32::from(prefix.addr()) & mask(prefix.prefix_len())
}

/// The last address of a prefix.
pub fn broadcast(prefix: Ipv4Net) -> u32 {
    network(prefix) | !mask(prefix.prefix_len())
}

/// Whether an address is in a prefix.
pub fn contains(prefix: Ipv4Net, address: Ipv4Addr) -> bool {
    u32::from(address) & mask(prefix.prefix_len()) == network(prefix)
}

/// Whether two prefixes have an address in common.
pub fn overlap(one: Ipv4Net, other: Ipv4Net) -> bool {
    network(one) <= broadcast(other) && network(other) <= broadcast(one)
}
