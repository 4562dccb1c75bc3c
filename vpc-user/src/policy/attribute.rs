//! Which rule or route decides on a packet: plain scans of the source, for people who
//! ask why. What they conclude is what the compiled image says.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use vpc_common::policy::Verdict;

use super::source::{AclRule, PROTOCOLS, RouteRule, SgRule, Source, ports};
use crate::model::Traffic;

/// Who decided on a packet that leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attribution<'s> {
    /// Of the security groups.
    pub security_groups: SgDecision<'s>,
    /// Of the network ACL.
    pub network_acl: AclDecision<'s>,
}

impl Attribution<'_> {
    /// Bits of [`Verdict`], 0 = nobody denies it.
    pub const fn denials(&self) -> u32 {
        let sg = if self.security_groups.allows() {
            0
        } else {
            Verdict::SG_DENIES
        };
        sg | self.network_acl.denials()
    }
}

/// What the security groups say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SgDecision<'s> {
    /// They do not apply to the address.
    Unfiltered,
    /// A rule allows it: the first that does.
    Allowed(&'s SgRule),
    /// No rule allows it.
    NoRule,
}

impl SgDecision<'_> {
    /// Whether the packet may leave.
    pub const fn allows(&self) -> bool {
        !matches!(self, Self::NoRule)
    }
}

/// What the network ACL says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AclDecision<'s> {
    /// It does not apply to the address.
    Unfiltered,
    /// The other end is in the same subnet.
    SameSubnet,
    /// The first entry that matches decides.
    Entry(&'s AclRule),
    /// No entry matches, which denies.
    NoEntry,
}

impl AclDecision<'_> {
    /// Whether the packet may pass.
    pub const fn allows(&self) -> bool {
        match self {
            Self::Unfiltered | Self::SameSubnet => true,
            Self::Entry(entry) => entry.allow,
            Self::NoEntry => false,
        }
    }

    /// Bits of [`Verdict`], 0 = it may pass.
    pub const fn denials(&self) -> u32 {
        if self.allows() {
            0
        } else {
            Verdict::ACL_DENIES
        }
    }
}

/// What the routes say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RouteDecision<'s> {
    /// Nothing is ever forwarded to the address.
    Reserved(Ipv4Net),
    /// The most specific route.
    Route(&'s RouteRule),
    /// No route matches.
    NoRoute,
}

/// Who decides on a packet to a remote port; `port` is
/// [`vpc_common::policy::icmp_port`] for ICMP.
pub fn attribute_out(
    source: &Source,
    protocol: u8,
    remote: Ipv4Addr,
    port: u16,
) -> Attribution<'_> {
    let allowing = |rule: &&SgRule| matches(&rule.traffic, rule.cidr, protocol, remote, port);
    let security_groups = if is_unfiltered(source, protocol, remote) {
        SgDecision::Unfiltered
    } else {
        match source.out.iter().find(allowing) {
            Some(rule) => SgDecision::Allowed(rule),
            None => SgDecision::NoRule,
        }
    };
    Attribution {
        security_groups,
        network_acl: judge_acl(source, &source.acl_out, protocol, remote, port),
    }
}

/// Who decides on a packet from a remote address to a port of the ENI.
pub fn attribute_in(source: &Source, protocol: u8, remote: Ipv4Addr, port: u16) -> AclDecision<'_> {
    judge_acl(source, &source.acl_in, protocol, remote, port)
}

/// Which route a packet to a remote address takes.
pub fn attribute_route(source: &Source, remote: Ipv4Addr) -> RouteDecision<'_> {
    if let Some(reserved) = source.reserved.iter().find(|net| net.contains(&remote)) {
        return RouteDecision::Reserved(*reserved);
    }
    let route = source
        .routes
        .iter()
        .find(|route| route.cidr.contains(&remote));
    route.map_or(RouteDecision::NoRoute, RouteDecision::Route)
}

fn judge_acl<'s>(
    source: &Source,
    entries: &'s [AclRule],
    protocol: u8,
    remote: Ipv4Addr,
    port: u16,
) -> AclDecision<'s> {
    if is_unfiltered(source, protocol, remote) {
        return AclDecision::Unfiltered;
    }
    if is_carried(protocol) && source.subnet.contains(&remote) {
        return AclDecision::SameSubnet;
    }
    let entry = entries
        .iter()
        .find(|entry| matches(&entry.traffic, entry.cidr, protocol, remote, port));
    entry.map_or(AclDecision::NoEntry, AclDecision::Entry)
}

fn matches(traffic: &Traffic, cidr: Ipv4Net, protocol: u8, remote: Ipv4Addr, port: u16) -> bool {
    cidr.contains(&remote)
        && ports(traffic, protocol).is_some_and(|(first, last)| (first..=last).contains(&port))
}

fn is_unfiltered(source: &Source, protocol: u8, remote: Ipv4Addr) -> bool {
    is_carried(protocol) && source.unfiltered.iter().any(|net| net.contains(&remote))
}

/// Whether the data path carries a protocol at all; nothing allows any other.
fn is_carried(protocol: u8) -> bool {
    PROTOCOLS.contains(&protocol)
}
