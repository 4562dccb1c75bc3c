//! What a policy is made of: the rules and routes that concern one group of ENIs, in
//! the order in which they are evaluated, without a name that is left to resolve.

use std::{fmt, net::Ipv4Addr};

use ipnet::Ipv4Net;
use vpc_common::{
    policy::icmp_port,
    state::{ICMP, TCP, UDP},
};

use crate::model::{ObjectName, Traffic};

/// Everything that decides on the packets of a group of ENIs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Source {
    /// What the security groups allow to leave; any rule that matches does.
    pub out: Vec<SgRule>,
    /// The network ACL for packets that leave, by number; the first match decides.
    pub acl_out: Vec<AclRule>,
    /// The network ACL for packets that enter, by number; the first match decides.
    pub acl_in: Vec<AclRule>,
    /// Routes, the most specific first; the first match decides.
    pub routes: Vec<RouteRule>,
    /// The own subnet, between whose addresses no network ACL stands.
    pub subnet: Ipv4Net,
    /// What neither security groups nor ACLs apply to.
    pub unfiltered: Vec<Ipv4Net>,
    /// What nothing is ever forwarded to, whatever the routes say.
    pub reserved: Vec<Ipv4Net>,
}

/// A rule of a security group, for one prefix that its peer stands for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SgRule {
    /// Protocol and ports.
    pub traffic: Traffic,
    /// Where to.
    pub cidr: Ipv4Net,
    /// The rule it is of.
    pub rule: RuleName,
}

/// An entry of a network ACL.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AclRule {
    /// Protocol and ports.
    pub traffic: Traffic,
    /// The other end.
    pub cidr: Ipv4Net,
    /// Allow or deny.
    pub allow: bool,
    /// The ACL.
    pub acl: ObjectName,
    /// The entry's number.
    pub number: u16,
}

/// A route, for one prefix that its destination stands for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RouteRule {
    /// Where to.
    pub cidr: Ipv4Net,
    /// The prefix that the route was written with, or that its list has: `cidr`, or more
    /// than that where a route leads different ways.
    pub destination: Ipv4Net,
    /// By what.
    pub hop: Hop,
    /// The route it is of.
    pub name: RouteName,
}

/// Where a route leads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Hop {
    /// Nowhere: its target is gone.
    Blackhole,
    /// Nowhere: the VPC at the other end of the peering connection has no such address,
    /// and passes nothing on to others.
    BeyondPeer,
    /// To the destination itself.
    OnLink {
        /// The uplink it is on.
        uplink: ObjectName,
    },
    /// To a router or an interface.
    Via {
        /// The uplink it is on.
        uplink: ObjectName,
        /// Its address.
        address: Ipv4Addr,
    },
}

/// An egress rule of a security group, as the configuration counts them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RuleName {
    /// The group.
    pub group: ObjectName,
    /// Which of its egress rules, from 1.
    pub number: u32,
}

/// What a route is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RouteName {
    /// The local route of a VPC.
    Local {
        /// The VPC.
        vpc: ObjectName,
    },
    /// A route of a table.
    Route {
        /// The table.
        table: ObjectName,
        /// Which of its routes, from 1.
        number: u32,
        /// The prefix list that the prefix is of.
        prefix_list: Option<ObjectName>,
    },
    /// The subnet of a group without VPC.
    Subnet,
    /// The router of a group without VPC.
    Router,
}

impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "egress rule {} of {}", self.number, self.group)
    }
}

impl fmt::Display for RouteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local { vpc } => write!(f, "local route of {vpc}"),
            Self::Route {
                table,
                number,
                prefix_list: None,
            } => write!(f, "route {number} of {table}"),
            Self::Route {
                table,
                number,
                prefix_list: Some(list),
            } => write!(f, "route {number} of {table} (prefix list {list})"),
            Self::Subnet => f.write_str("subnet of the group"),
            Self::Router => f.write_str("router of the group"),
        }
    }
}

/// The protocols that the tables of an image are for, in their order.
pub(super) const PROTOCOLS: [u8; 3] = [TCP, UDP, ICMP];

/// The first and last port of a protocol that a rule covers, as its table counts them.
pub(super) fn ports(traffic: &Traffic, protocol: u8) -> Option<(u16, u16)> {
    const ALL: (u16, u16) = (0, u16::MAX);
    let of = |wanted: u8, range: (u16, u16)| {
        (protocol == wanted && PROTOCOLS.contains(&wanted) && range.0 <= range.1).then_some(range)
    };
    match traffic {
        Traffic::All => of(protocol, ALL),
        Traffic::Tcp(range) => of(TCP, (*range.start(), *range.end())),
        Traffic::Udp(range) => of(UDP, (*range.start(), *range.end())),
        Traffic::Icmp(None, _) => of(ICMP, ALL),
        Traffic::Icmp(Some(kind), None) => of(ICMP, (icmp_port(*kind, 0), icmp_port(*kind, 255))),
        Traffic::Icmp(Some(kind), Some(code)) => {
            of(ICMP, (icmp_port(*kind, *code), icmp_port(*kind, *code)))
        }
        Traffic::Other(number) => of(*number, ALL),
    }
}
