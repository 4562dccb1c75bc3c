//! A tenant's rules and routes, from the configuration to the words that the kernel
//! evaluates.
//!
//! Three steps, none of which makes a system call, reads a clock or touches a map:
//! [`Sources`] flattens what concerns a group of ENIs, with every name resolved;
//! [`compile`] makes an image of it, as [`vpc_common::policy`] evaluates it; the
//! attributions say which rule or route of the source decided. An image and an
//! attribution of one source always agree.

use std::net::Ipv4Addr;

use vpc_common::{
    addr::{Addr, V4},
    policy::{self, Egress, Verdict},
};

mod affected;
mod attribute;
mod compile;
mod directory;
mod image;
mod ranges;
mod source;
mod sources;
pub mod stages;

pub use affected::{Differences, affected};
pub use attribute::{
    AclDecision, Attribution, RouteDecision, SgDecision, attribute_in, attribute_out,
    attribute_route,
};
pub use compile::compile;
pub use directory::Directory;
pub use image::{CompileError, IMAGE_WORDS_MAX};
pub use source::{AclRule, Hop, RouteName, RouteRule, RuleName, SgRule, Source};
pub use sources::{Sources, source};

/// What an image says of a packet that leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decision {
    /// Who denies it: bits of [`Verdict`], 0 = nobody.
    pub denials: u32,
    /// Where it leaves by.
    pub egress: Egress,
}

/// What an image says of a packet to a remote port; `port` is
/// [`vpc_common::policy::icmp_port`] for ICMP.
pub fn evaluate(words: &[u64], remote: Ipv4Addr, protocol: u8, port: u16) -> Decision {
    let remote = V4::new(remote.octets());
    match policy::row(words, 0, remote) {
        Some(row) => Decision {
            denials: policy::out(words, row, protocol, port),
            egress: policy::egress(words, row, Addr::from_v4(remote)),
        },
        None => Decision {
            denials: Verdict::SG_DENIES | Verdict::ACL_DENIES,
            egress: Egress::NOWHERE,
        },
    }
}

/// What an image says of a packet from a remote address to a port of the ENI: bits of
/// [`Verdict`], 0 = it may enter.
pub fn evaluate_in(words: &[u64], remote: Ipv4Addr, protocol: u8, port: u16) -> u32 {
    match policy::row(words, 0, V4::new(remote.octets())) {
        Some(row) => policy::into(words, row, protocol, port),
        None => Verdict::ACL_DENIES,
    }
}

#[cfg(test)]
mod tests;
