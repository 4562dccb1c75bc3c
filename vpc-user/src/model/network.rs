//! A tenant's network as AWS has it: VPCs, subnets, security groups, network ACLs,
//! route tables, prefix lists, interfaces and peering connections. Validated values:
//! every name that is referred to exists, every prefix is canonical. Nothing in here
//! evaluates a rule.

use std::{fmt, net::Ipv4Addr, ops::RangeInclusive};

use ipnet::Ipv4Net;

use super::ObjectName;

/// Everything of the configuration that rules and routes are made of.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Network {
    /// VPCs.
    pub vpcs: Vec<Vpc>,
    /// Managed prefix lists.
    pub prefix_lists: Vec<PrefixList>,
    /// Security groups.
    pub security_groups: Vec<SecurityGroup>,
    /// Network ACLs.
    pub network_acls: Vec<NetworkAcl>,
    /// Route tables.
    pub route_tables: Vec<RouteTable>,
    /// Subnets.
    pub subnets: Vec<Subnet>,
    /// Network interfaces of others than this host.
    pub interfaces: Vec<NetworkInterface>,
    /// Peering connections.
    pub peerings: Vec<Peering>,
    /// How many of each there may be.
    pub quotas: Quotas,
}

/// A VPC.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Vpc {
    /// Its name, unique among VPCs.
    pub name: ObjectName,
    /// Its CIDR blocks, the primary one first; disjoint.
    pub cidrs: Vec<Ipv4Net>,
    /// The uplink on which it is reachable.
    pub uplink: ObjectName,
    /// How the `local` target reaches other subnets of the VPC.
    pub local: LocalDelivery,
}

/// How packets get to another subnet of the same VPC.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LocalDelivery {
    /// By the router of the subnet they come from.
    #[default]
    Router,
    /// Every address of the VPC is a neighbour on the uplink.
    OnLink,
}

/// A subnet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subnet {
    /// Its name, unique among subnets.
    pub name: ObjectName,
    /// Its VPC.
    pub vpc: ObjectName,
    /// Its addresses; disjoint from the VPC's other subnets.
    pub cidr: Ipv4Net,
    /// The router that delivers to other subnets; none where all is on the link.
    pub router: Option<Ipv4Addr>,
    /// Its route table: its own, or the main one of its VPC.
    pub route_table: ObjectName,
    /// Its network ACL: its own, or the default one of its VPC.
    pub network_acl: ObjectName,
}

/// A security group: what it allows, and nothing that it denies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SecurityGroup {
    /// Its name, unique among security groups of all VPCs.
    pub name: ObjectName,
    /// Its VPC.
    pub vpc: ObjectName,
    /// What may come in. V2N has no use for it; kept as it is.
    pub ingress: Vec<SecurityRule>,
    /// What may go out.
    pub egress: Vec<SecurityRule>,
}

/// A rule of a security group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SecurityRule {
    /// Protocol and ports.
    pub traffic: Traffic,
    /// The other end.
    pub peer: Peer,
}

/// The other end of a rule of a security group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Peer {
    /// Every address of a prefix.
    Cidr(Ipv4Net),
    /// The addresses of the interfaces that carry a security group.
    Group(ObjectName),
    /// Every address of a prefix list.
    PrefixList(ObjectName),
}

/// Protocol, and ports or ICMP type and code.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Traffic {
    /// Every protocol, every port.
    All,
    /// TCP to these ports.
    Tcp(RangeInclusive<u16>),
    /// UDP to these ports.
    Udp(RangeInclusive<u16>),
    /// ICMP; `None` = all. A type of `None` has a code of `None`.
    Icmp(Option<u8>, Option<u8>),
    /// Another protocol by its number, all of it.
    Other(u8),
}

/// A network ACL.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NetworkAcl {
    /// Its name, unique among ACLs of all VPCs.
    pub name: ObjectName,
    /// Its VPC.
    pub vpc: ObjectName,
    /// For packets that enter a subnet, by ascending number.
    pub ingress: Vec<AclEntry>,
    /// For packets that leave a subnet, by ascending number.
    pub egress: Vec<AclEntry>,
}

/// An entry of a network ACL.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AclEntry {
    /// 1 to 32,766, unique in its direction.
    pub number: u16,
    /// Allow or deny.
    pub allow: bool,
    /// Protocol and destination ports.
    pub traffic: Traffic,
    /// Source of packets that enter, destination of packets that leave.
    pub cidr: Ipv4Net,
}

/// A route table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RouteTable {
    /// Its name, unique among route tables of all VPCs.
    pub name: ObjectName,
    /// Its VPC.
    pub vpc: ObjectName,
    /// Routes besides the local ones, which every table has for each CIDR of its VPC.
    pub routes: Vec<Route>,
}

/// A route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// Where to.
    pub destination: Destination,
    /// What by.
    pub target: Target,
}

/// The destination of a route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Destination {
    /// A prefix: a static route.
    Cidr(Ipv4Net),
    /// Every prefix of a list; a static route of equal length goes first.
    PrefixList(ObjectName),
}

/// The target of a route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// A network interface: the packet is sent to its address.
    Interface(ObjectName),
    /// The VPC at the other end of a peering connection.
    Peering(ObjectName),
    /// An internet gateway. Nothing leads there yet: packets are dropped.
    InternetGateway(ObjectName),
    /// A NAT gateway. Nothing leads there yet: packets are dropped.
    NatGateway(ObjectName),
    /// The target is gone: packets are dropped. AWS shows the state `blackhole`.
    Blackhole,
}

/// A customer-managed prefix list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PrefixList {
    /// Its name, unique among prefix lists.
    pub name: ObjectName,
    /// Entries it may have, which is what it counts for in a group or table.
    pub max_entries: u32,
    /// Its prefixes, none twice.
    pub entries: Vec<Ipv4Net>,
}

/// An interface in a VPC that is not this host's: an instance, a database, an
/// appliance.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NetworkInterface {
    /// Its name, unique among interfaces.
    pub name: ObjectName,
    /// Its subnet.
    pub subnet: ObjectName,
    /// Its address.
    pub address: Ipv4Addr,
    /// The security groups that it carries.
    pub security_groups: Vec<ObjectName>,
}

/// A peering connection between two VPCs whose CIDRs do not overlap.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peering {
    /// Its name, unique among peering connections.
    pub name: ObjectName,
    /// Both VPCs, two different ones.
    pub vpcs: [ObjectName; 2],
    /// The router on each VPC's uplink by which the other VPC's packets reach
    /// that VPC; none where its addresses are neighbours on its uplink.
    pub routers: [Option<Ipv4Addr>; 2],
}

/// AWS's quotas.
/// <https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html>
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quotas {
    /// Security groups of an interface.
    pub security_groups_per_interface: u32,
    /// Rules of a security group in each direction.
    pub rules_per_security_group: u32,
    /// Rules that one interface carries over its groups in each direction.
    pub rules_per_interface: u32,
    /// Security groups.
    pub security_groups: u32,
    /// Network ACLs of a VPC.
    pub network_acls_per_vpc: u32,
    /// Entries of an ACL in each direction.
    pub entries_per_network_acl: u32,
    /// Route tables of a VPC.
    pub route_tables_per_vpc: u32,
    /// Routes of a table.
    pub routes_per_table: u32,
    /// Subnets of a VPC.
    pub subnets_per_vpc: u32,
    /// CIDR blocks of a VPC.
    pub cidrs_per_vpc: u32,
    /// Prefix lists.
    pub prefix_lists: u32,
    /// Entries of a prefix list.
    pub entries_per_prefix_list: u32,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            security_groups_per_interface: 5,
            rules_per_security_group: 60,
            rules_per_interface: 1_000,
            security_groups: 2_500,
            network_acls_per_vpc: 200,
            entries_per_network_acl: 20,
            route_tables_per_vpc: 200,
            routes_per_table: 500,
            subnets_per_vpc: 200,
            cidrs_per_vpc: 5,
            prefix_lists: 100,
            entries_per_prefix_list: 1_000,
        }
    }
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ports = |f: &mut fmt::Formatter<'_>, name, range: &RangeInclusive<u16>| match (
            *range.start(),
            *range.end(),
        ) {
            (0, u16::MAX) => write!(f, "{name}"),
            (first, last) if first == last => write!(f, "{name} {first}"),
            (first, last) => write!(f, "{name} {first}-{last}"),
        };
        match self {
            Self::All => f.write_str("all"),
            Self::Tcp(range) => ports(f, "tcp", range),
            Self::Udp(range) => ports(f, "udp", range),
            Self::Icmp(None, _) => f.write_str("icmp"),
            Self::Icmp(Some(kind), None) => write!(f, "icmp {kind}"),
            Self::Icmp(Some(kind), Some(code)) => write!(f, "icmp {kind}/{code}"),
            Self::Other(number) => write!(f, "{number}"),
        }
    }
}
