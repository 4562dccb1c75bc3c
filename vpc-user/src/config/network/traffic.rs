//! Protocol, ports and ICMP type of a rule: one parser for security groups and
//! network ACLs.

use std::ops::RangeInclusive;

use super::Checked;
use crate::{
    config::{Problem, error::Place},
    model::Traffic,
};

/// The keys of a rule that say which packets it is about.
pub(super) struct Words<'a> {
    pub(super) protocol: &'a str,
    pub(super) ports: Option<&'a str>,
    pub(super) icmp: Option<&'a str>,
}

/// Numbers mean what their names mean: `"6"` is TCP and takes ports.
enum Protocol {
    All,
    Tcp,
    Udp,
    Icmp,
    Other(u8),
}

impl Words<'_> {
    pub(super) fn traffic(&self, place: &Place) -> Checked<Traffic> {
        let protocol = protocol(self.protocol)
            .ok_or_else(|| place.refuse("protocol", self.protocol, Problem::NotAProtocol))?;
        if !matches!(protocol, Protocol::Tcp | Protocol::Udp) {
            unused(place, "ports", self.ports, Problem::PortsUnused)?;
        }
        if !matches!(protocol, Protocol::Icmp) {
            unused(place, "icmp", self.icmp, Problem::IcmpUnused)?;
        }
        Ok(match protocol {
            Protocol::All => Traffic::All,
            Protocol::Tcp => Traffic::Tcp(self.ports(place)?),
            Protocol::Udp => Traffic::Udp(self.ports(place)?),
            Protocol::Icmp => self.icmp(place)?,
            Protocol::Other(number) => Traffic::Other(number),
        })
    }

    fn ports(&self, place: &Place) -> Checked<RangeInclusive<u16>> {
        let Some(text) = self.ports else {
            return Err(place.refuse("protocol", self.protocol, Problem::PortsMissing));
        };
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (Some(first), Some(last)) = (number::<u16>(first), number::<u16>(last)) else {
            return Err(place.refuse("ports", text, Problem::NotPorts));
        };
        if first > last {
            return Err(place.refuse("ports", text, Problem::PortsReversed { first, last }));
        }
        Ok(first..=last)
    }

    fn icmp(&self, place: &Place) -> Checked<Traffic> {
        let Some(text) = self.icmp else {
            return Ok(Traffic::Icmp(None, None));
        };
        let parsed = match text.split_once('/') {
            None => number(text).map(|kind| (kind, None)),
            Some((kind, code)) => number(kind).zip(number(code).map(Some)),
        };
        match parsed {
            Some((kind, code)) => Ok(Traffic::Icmp(Some(kind), code)),
            None => Err(place.refuse("icmp", text, Problem::NotIcmp)),
        }
    }
}

fn unused(place: &Place, key: &str, value: Option<&str>, problem: Problem) -> Checked<()> {
    match value {
        Some(text) => Err(place.refuse(key, text, problem)),
        None => Ok(()),
    }
}

fn protocol(text: &str) -> Option<Protocol> {
    Some(match text {
        "all" | "-1" => Protocol::All,
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "icmp" => Protocol::Icmp,
        _ => match number::<u8>(text)? {
            1 => Protocol::Icmp,
            6 => Protocol::Tcp,
            17 => Protocol::Udp,
            other => Protocol::Other(other),
        },
    })
}

/// A number in digits alone: without the sign that `parse` would take.
fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}
