//! Prefixes and addresses of a tenant's network.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::Checked;
use crate::{
    config::{
        Problem,
        error::Place,
        validate::{host_address, is_unicast},
    },
    model::Vpc,
};

/// Addresses at the beginning of a subnet that AWS keeps: network, router, resolver,
/// future use. <https://docs.aws.amazon.com/vpc/latest/userguide/subnet-sizing.html>
const RESERVED: u32 = 4;

/// A canonical prefix of any length.
pub(super) fn prefix(place: &Place, key: &str, text: &str) -> Checked<Ipv4Net> {
    let Ok(prefix) = text.parse::<Ipv4Net>() else {
        return Err(place.refuse(key, text, Problem::NotAPrefix));
    };
    let network = prefix.trunc();
    if network == prefix {
        return Ok(prefix);
    }
    Err(place.refuse(key, text, Problem::NotCanonical { network }))
}

/// A prefix of the size of a VPC or a subnet.
pub(super) fn block(place: &Place, key: &str, text: &str) -> Checked<Ipv4Net> {
    let block = prefix(place, key, text)?;
    if !(16..=28).contains(&block.prefix_len()) {
        Err(place.refuse(key, text, Problem::AwsPrefixLength))
    } else if !is_unicast(block.addr()) {
        Err(place.refuse(key, text, Problem::BlockNotUnicast))
    } else {
        Ok(block)
    }
}

/// A host address of a subnet that AWS gives to interfaces.
pub(in crate::config) fn assignable(
    place: &Place,
    key: &str,
    text: &str,
    subnet: Ipv4Net,
) -> Checked<Ipv4Addr> {
    let address = host_address(place, key, text, subnet)?;
    if u32::from(address) - u32::from(subnet.network()) < RESERVED {
        return Err(place.refuse(key, text, Problem::Reserved { subnet }));
    }
    Ok(address)
}

/// Whether two prefixes have addresses in common.
pub(super) fn overlap(one: Ipv4Net, other: Ipv4Net) -> bool {
    one.contains(&other) || other.contains(&one)
}

/// That something lies outside a VPC.
pub(super) fn outside(vpc: &Vpc) -> Problem {
    let cidrs: Vec<_> = vpc.cidrs.iter().map(Ipv4Net::to_string).collect();
    Problem::OutsideVpc {
        vpc: vpc.name.to_string(),
        cidrs: cidrs.join(", "),
    }
}
