//! Fragments of UDP datagrams (RFC 4787 REQ-14). Only the first carries ports: it
//! leaves a note by which the others find the flow. One that comes before the
//! first waits with the agent. TCP and ICMP fragments are not carried, as on AWS.

use crate::{
    addr::Addr,
    drop::DropReason,
    layout::{FRAGMENT_SECS, Fragment, FragmentKey},
    state::{TCP, UDP},
    tables::Tables,
    time::{Tick, ticks_from_secs},
    verdict::Arrival,
    wire::ipv4,
};

/// What identifies a fragment's datagram on the link it arrives on.
#[inline(always)]
pub const fn key(arrival: &Arrival, generation: u32, ip: &ipv4::View) -> FragmentKey {
    FragmentKey {
        ifindex: arrival.ifindex,
        generation,
        source: Addr::from_v4(ip.source),
        destination: Addr::from_v4(ip.destination),
        id: ip.id,
        protocol: ip.protocol as u16,
    }
}

/// Refuses the fragments that are not carried.
#[inline(always)]
pub const fn check(ip: &ipv4::View) -> Result<(), DropReason> {
    match ip.protocol {
        _ if !ip.is_fragment() => Ok(()),
        UDP => Ok(()),
        TCP => Err(DropReason::TcpFragment),
        crate::state::ICMP => Err(DropReason::IcmpFragment),
        _ => Err(DropReason::ProtocolUnsupported),
    }
}

/// What the first fragment of a later one's datagram left behind, if it came and
/// not too long ago.
#[inline(always)]
pub fn find<T: Tables>(tables: &T, key: &FragmentKey, now: Tick) -> Option<Fragment> {
    tables
        .fragment(key)
        .filter(|found| now.since(Tick(found.created)) < ticks_from_secs(FRAGMENT_SECS))
}
