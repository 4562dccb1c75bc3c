//! What AWS would do with a packet: an evaluator written from the text of AWS's
//! guides over the validated configuration, sentence by sentence and without any
//! thought of speed. It shares nothing with the compiler of rules but the model that
//! both read, so that where the two agree both are right.
//!
//! A packet of an environment leaves by an ENI. In AWS's order
//! (<https://docs.aws.amazon.com/vpc/latest/userguide/infrastructure-security.html>):
//! the security groups of the ENI, the network ACL of its subnet, the route table of
//! its subnet. The reply comes back through the network ACL alone: security groups
//! let replies pass by themselves.

mod network_acl;
mod prefix;
mod route;
mod security_group;

use std::{fmt, net::Ipv4Addr};

pub use network_acl::{AclDecision, Waived};
pub use prefix::{broadcast, contains, mask, network, overlap};
pub use route::{By, RouteDecision};
pub use security_group::{RuleId, SgDecision};
use vpc_user::model::{Config, GroupConfig, ObjectName, Subnet, Traffic, Vpc};

/// What rules look at in a packet besides its addresses: its protocol, and its
/// destination port or its ICMP type and code.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Carried {
    /// TCP to a port.
    Tcp(u16),
    /// UDP to a port.
    Udp(u16),
    /// ICMP of a type and code.
    Icmp(u8, u8),
    /// Any other protocol, by its number.
    Other(u8),
}

impl fmt::Display for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(port) => write!(f, "tcp {port}"),
            Self::Udp(port) => write!(f, "udp {port}"),
            Self::Icmp(kind, code) => write!(f, "icmp {kind}/{code}"),
            Self::Other(number) => write!(f, "protocol {number}"),
        }
    }
}

/// Where a packet goes: the neighbour it is sent to and on which uplink.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Hop {
    /// Name of the uplink.
    pub uplink: ObjectName,
    /// The neighbour: the destination itself or a router on the way.
    pub address: Ipv4Addr,
}

/// Why a packet goes nowhere.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Refusal {
    /// No rule of the security groups lets it out.
    SgEgress,
    /// The network ACL does not let it out of the subnet.
    NaclOut,
    /// The network ACL does not let the reply into the subnet.
    NaclIn,
    /// No route.
    NoRoute,
    /// The target of its route is gone.
    Blackhole,
}

impl Refusal {
    /// The label that the product counts it under.
    pub const fn label(self) -> &'static str {
        match self {
            Self::SgEgress => "sg_egress",
            Self::NaclOut => "nacl_out",
            Self::NaclIn => "nacl_in",
            Self::NoRoute => "no_route",
            Self::Blackhole => "blackhole",
        }
    }
}

/// The VPC and the subnet of a group of ENIs.
#[derive(Clone, Copy, Debug)]
struct Place<'c> {
    vpc: &'c Vpc,
    subnet: &'c Subnet,
}

/// The evaluator for the ENIs of one group.
#[derive(Clone, Copy, Debug)]
pub struct Oracle<'c> {
    config: &'c Config,
    group: &'c GroupConfig,
    /// `None`: the subnet is a bare prefix, and nothing of AWS's is asked.
    place: Option<Place<'c>>,
}

impl<'c> Oracle<'c> {
    /// The evaluator for a group of a configuration.
    pub fn new(config: &'c Config, group: &ObjectName) -> Self {
        let group = config.groups.iter().find(|g| g.name == *group);
        let group = group.expect("the group is in the configuration");
        let place = group.subnet_name.as_ref().map(|name| {
            let subnet = find(&config.network.subnets, |s| s.name == *name);
            let vpc = find(&config.network.vpcs, |v| v.name == subnet.vpc);
            Place { vpc, subnet }
        });
        Self {
            config,
            group,
            place,
        }
    }

    /// What becomes of a packet of a new connection to a remote address.
    pub fn forward(&self, remote: Ipv4Addr, carried: Carried) -> Result<Hop, Refusal> {
        if !self.security_groups(remote, carried).allows() {
            return Err(Refusal::SgEgress);
        }
        if !self.acl_out(remote, carried).allows() {
            return Err(Refusal::NaclOut);
        }
        self.route(remote).outcome
    }

    /// Whether the reply of a remote address comes back; `carried` is what the reply
    /// carries: its destination port is the ENI's port.
    pub fn reply(&self, remote: Ipv4Addr, carried: Carried) -> Result<(), Refusal> {
        if self.acl_in(remote, carried).allows() {
            Ok(())
        } else {
            Err(Refusal::NaclIn)
        }
    }

    /// Whether an ICMP error about a connection leaves toward a remote address.
    /// Security groups let what is related to a tracked connection pass
    /// (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/security-group-connection-tracking.html>);
    /// network ACLs remember nothing.
    pub fn error_out(&self, remote: Ipv4Addr, kind: u8, code: u8) -> bool {
        self.acl_out(remote, Carried::Icmp(kind, code)).allows()
    }

    /// Whether an ICMP error of a remote address comes in.
    pub fn error_in(&self, remote: Ipv4Addr, kind: u8, code: u8) -> bool {
        self.acl_in(remote, Carried::Icmp(kind, code)).allows()
    }

    /// Services whose traffic security groups do not filter
    /// (<https://docs.aws.amazon.com/vpc/latest/userguide/vpc-security-groups.html>),
    /// and network ACLs neither
    /// (<https://docs.aws.amazon.com/vpc/latest/userguide/vpc-network-acls.html>).
    fn unfiltered(&self, remote: Ipv4Addr) -> bool {
        let Some(Place { vpc, subnet }) = self.place else {
            return false;
        };
        let always = [
            // Amazon DNS.
            Ipv4Addr::new(169, 254, 169, 253),
            // Instance metadata.
            Ipv4Addr::new(169, 254, 169, 254),
            // Time Sync.
            Ipv4Addr::new(169, 254, 169, 123),
            // Licences of Windows instances.
            Ipv4Addr::new(169, 254, 169, 250),
            Ipv4Addr::new(169, 254, 169, 251),
            // Metadata of ECS tasks.
            Ipv4Addr::new(169, 254, 170, 2),
        ];
        let resolver = u32::from(vpc.cidrs[0].addr()).wrapping_add(2);
        let router = u32::from(subnet.cidr.addr()).wrapping_add(1);
        always.contains(&remote) || u32::from(remote) == resolver || u32::from(remote) == router
    }
}

/// Whether a rule of a security group or an entry of an ACL is about a packet's
/// protocol and ports. A protocol other than TCP, UDP and ICMP has no ports to ask for
/// (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_IpPermission.html>).
fn is_about(traffic: &Traffic, carried: Carried) -> bool {
    let within = |range: &std::ops::RangeInclusive<u16>, port: u16| {
        *range.start() <= port && port <= *range.end()
    };
    match (traffic, carried) {
        (Traffic::All, _) | (Traffic::Icmp(None, _), Carried::Icmp(..)) => true,
        (Traffic::Tcp(ports), Carried::Tcp(port)) | (Traffic::Udp(ports), Carried::Udp(port)) => {
            within(ports, port)
        }
        (Traffic::Icmp(Some(wanted), None), Carried::Icmp(kind, _)) => *wanted == kind,
        (Traffic::Icmp(Some(wanted), Some(detail)), Carried::Icmp(kind, code)) => {
            *wanted == kind && *detail == code
        }
        (Traffic::Other(wanted), Carried::Other(number)) => *wanted == number,
        (Traffic::Tcp(_) | Traffic::Udp(_) | Traffic::Icmp(..) | Traffic::Other(_), _) => false,
    }
}

/// The one that the validated configuration promises.
fn find<T>(all: &[T], is: impl Fn(&T) -> bool) -> &T {
    all.iter()
        .find(|item| is(item))
        .expect("validation leaves no dangling name")
}

#[cfg(test)]
mod tests;
