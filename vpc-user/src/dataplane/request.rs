//! What is asked when an environment is attached: checking it, refusing it, and
//! turning it into a table entry. Looks at nothing but the request.

use std::net::Ipv4Addr;

use vpc_common::{
    addr::{Addr, Mac, V4},
    layout::Environment,
};

use super::{cause::Cause, netlink::Interface, port::PortError};
use crate::model::{AttachRequest, ObjectName, parse_mac};

/// Why an environment was not attached or detached. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The name is taken.
    #[error(
        "{name} is attached already, on interface {interface}: detach it first, or choose \
         another name"
    )]
    NameTaken {
        /// The name.
        name: ObjectName,
        /// Where it is.
        interface: String,
    },
    /// The interface is taken.
    #[error(
        "{interface} is attached already, as {holder}: detach that first, or name another interface"
    )]
    InterfaceTaken {
        /// The interface.
        interface: String,
        /// Who has it.
        holder: String,
    },
    /// No such group.
    #[error(
        "there is no group {group} to attach {interface} to: use one of the configuration's \
         groups, or add it there"
    )]
    UnknownGroup {
        /// The group.
        group: ObjectName,
        /// The interface.
        interface: String,
    },
    /// Not an address.
    #[error(
        "{address} cannot be the {role} of {interface}: give a unicast address, and different \
         ones as address and gateway"
    )]
    BadAddress {
        /// The interface.
        interface: String,
        /// The address.
        address: Ipv4Addr,
        /// `address` or `gateway`.
        role: &'static str,
    },
    /// Not a MAC.
    #[error(
        "{mac:?} cannot be the MAC of {interface}: write a unicast MAC as 02:00:00:00:00:01, or \
         leave it out to have it learnt"
    )]
    BadMac {
        /// The interface.
        interface: String,
        /// What was given.
        mac: String,
    },
    /// A quota or rate of nonsense.
    #[error("a flow quota or burst of 0 would leave {interface} without a flow: give at least 1")]
    ZeroQuota {
        /// The interface.
        interface: String,
    },
    /// Every index is in use.
    #[error(
        "there is no room for {interface}: all {limit} environments are attached; detach one, or \
         raise `limits.environments`"
    )]
    Full {
        /// The interface.
        interface: String,
        /// The limit.
        limit: u32,
    },
    /// The interface cannot carry the program.
    #[error(transparent)]
    Port(#[from] PortError),
    /// Not attached.
    #[error("{name} is not attached: see `vpc ls` for what is")]
    Unknown {
        /// The name.
        name: ObjectName,
    },
    /// A program may still know who was there before.
    #[error(
        "it is not known whether every packet of the environment whose place {interface} would \
         take has been dealt with ({source}), so it was not attached: try again"
    )]
    Programs {
        /// The interface.
        interface: String,
        /// Why.
        source: std::io::Error,
    },
    /// A table refused.
    #[error(
        "the tables refused an entry for {name} ({}): try again, and see the agent's log",
        Cause(.source.as_ref())
    )]
    Table {
        /// The environment.
        name: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Checks what can be checked without looking at the host; returns the MAC.
pub fn check_request(request: &AttachRequest) -> Result<Mac, AttachError> {
    let interface = || request.interface.clone();
    let bad = |address, role| AttachError::BadAddress {
        interface: interface(),
        address,
        role,
    };
    if !V4::new(request.address.octets()).is_unicast() {
        return Err(bad(request.address, "address"));
    }
    let gateway = V4::new(request.gateway.octets());
    if !gateway.is_unicast() || request.gateway == request.address {
        return Err(bad(request.gateway, "gateway"));
    }
    if request.flow_quota == 0 || (request.flow_rate != 0 && request.flow_burst == 0) {
        return Err(AttachError::ZeroQuota {
            interface: interface(),
        });
    }
    let Some(text) = &request.mac else {
        return Ok(Mac::UNKNOWN);
    };
    parse_mac(text)
        .filter(|mac| mac.is_unicast())
        .ok_or_else(|| AttachError::BadMac {
            interface: interface(),
            mac: text.clone(),
        })
}

/// The table entry of an environment.
pub fn entry(
    request: &AttachRequest,
    interface: &Interface,
    group: u32,
    generation: u32,
    flags: u16,
) -> Environment {
    let flow_interval_ns = match request.flow_rate {
        0 => 0,
        rate => (1_000_000_000 / rate).max(1),
    };
    Environment {
        generation,
        ifindex: interface.ifindex,
        address: Addr::from_v4(V4::new(request.address.octets())),
        gateway: Addr::from_v4(V4::new(request.gateway.octets())),
        group,
        mtu: u16::try_from(interface.mtu).unwrap_or(u16::MAX),
        flags,
        flow_quota: request.flow_quota,
        flow_interval_ns,
        flow_burst_ns: u64::from(request.flow_burst) * u64::from(flow_interval_ns),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::HookWish;

    fn request() -> AttachRequest {
        AttachRequest {
            name: ObjectName::new("e1").expect("a name"),
            interface: "tap1".to_owned(),
            group: ObjectName::new("web").expect("a name"),
            address: Ipv4Addr::new(169, 254, 0, 21),
            gateway: Ipv4Addr::new(169, 254, 0, 22),
            mac: None,
            netns: None,
            hook: HookWish::Auto,
            flow_quota: 10,
            flow_rate: 1_000,
            flow_burst: 50,
        }
    }

    fn refusal(change: impl Fn(&mut AttachRequest)) -> String {
        let mut request = request();
        change(&mut request);
        check_request(&request).expect_err("refused").to_string()
    }

    #[test]
    fn bad_requests_get_one_sentence_with_interface_and_remedy() {
        let sentences = [
            refusal(|r| r.address = Ipv4Addr::BROADCAST),
            refusal(|r| r.gateway = Ipv4Addr::new(224, 0, 0, 1)),
            refusal(|r| r.gateway = r.address),
            refusal(|r| r.mac = Some("01:00:00:00:00:01".to_owned())),
            refusal(|r| r.mac = Some("nonsense".to_owned())),
            refusal(|r| r.flow_quota = 0),
        ];
        for sentence in sentences {
            assert!(
                sentence.contains("tap1") && sentence.contains(": "),
                "{sentence}"
            );
            assert!(
                !sentence.ends_with('.') && !sentence.contains(". "),
                "{sentence}"
            );
        }
    }

    #[test]
    fn a_mac_is_optional_and_read_as_written() {
        assert_eq!(check_request(&request()).expect("good"), Mac::UNKNOWN);
        let with = AttachRequest {
            mac: Some("02:00:00:00:00:0a".to_owned()),
            ..request()
        };
        assert_eq!(
            check_request(&with).expect("good"),
            Mac::new([2, 0, 0, 0, 0, 10])
        );
    }

    #[test]
    fn a_rate_becomes_an_interval_and_a_burst_of_intervals() {
        let interface = Interface {
            ifindex: 3,
            name: "tap1".to_owned(),
            kind: crate::dataplane::netlink::InterfaceKind::Tap,
            mac: Mac::UNKNOWN,
            mtu: 1_500,
            peer_ifindex: None,
            peer_netns_id: None,
            xdp: None,
            xdp_features: None,
        };
        let made = entry(&request(), &interface, 4, 9, Environment::PEER);
        assert_eq!((made.mtu, made.flags), (1_500, Environment::PEER));
        assert_eq!(
            (made.flow_interval_ns, made.flow_burst_ns),
            (1_000_000, 50_000_000)
        );
        let unlimited = AttachRequest {
            flow_rate: 0,
            ..request()
        };
        assert_eq!(entry(&unlimited, &interface, 4, 9, 0).flow_interval_ns, 0);
    }
}
