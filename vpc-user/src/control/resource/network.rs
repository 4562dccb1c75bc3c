//! VPCs, subnets, and what decides inside them.

use std::{collections::BTreeSet, net::Ipv4Addr};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::control::{Account, Id, Key, Resource, Tags};

/// A VPC.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_Vpc.html>
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Vpc {
    /// `vpc-…`.
    pub vpc_id: Id,
    /// Its account.
    pub owner_id: Account,
    /// Its CIDR blocks, the primary one first.
    pub cidr_block_association_set: Vec<CidrAssociation>,
    /// Its DHCP options; `None`: `default`, which is no set.
    pub dhcp_options_id: Option<Id>,
    /// `default` or `dedicated`; Lambda takes no dedicated one.
    pub instance_tenancy: String,
    /// Whether it is the account's default VPC.
    pub is_default: bool,
    /// Whether the resolver answers.
    pub enable_dns_support: bool,
    /// Whether public addresses have names.
    pub enable_dns_hostnames: bool,
    /// Ours: the uplink of this host on which it is reachable.
    pub uplink: Option<Id>,
    /// Ours: whether every address of the VPC is a neighbour on that uplink.
    pub on_link: bool,
    /// Its tags.
    pub tags: Tags,
}

/// A CIDR block of a VPC.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CidrAssociation {
    /// `vpc-cidr-assoc-…`.
    pub association_id: Id,
    /// The block.
    pub cidr_block: Ipv4Net,
}

impl Vpc {
    /// Its CIDR blocks, the primary one first.
    pub fn cidrs(&self) -> impl Iterator<Item = Ipv4Net> {
        self.cidr_block_association_set
            .iter()
            .map(|one| one.cidr_block)
    }
}

impl Resource for Vpc {
    fn id(&self) -> String {
        self.vpc_id.to_string()
    }
    fn account(&self) -> Account {
        self.owner_id
    }
    fn references(&self) -> Vec<Key> {
        self.dhcp_options_id
            .iter()
            .map(|id| Key::of::<DhcpOptions>(id.as_str()))
            .collect()
    }
}

/// A subnet.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_Subnet.html>
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Subnet {
    /// `subnet-…`.
    pub subnet_id: Id,
    /// Its account.
    pub owner_id: Account,
    /// Its VPC.
    pub vpc_id: Id,
    /// Its addresses; the first four and the last are reserved.
    pub cidr_block: Ipv4Net,
    /// Its availability zone.
    pub availability_zone: String,
    /// Whether instances get a public address.
    pub map_public_ip_on_launch: bool,
    /// Its network ACL.
    pub network_acl_id: Id,
    /// `aclassoc-…`: the association with that ACL.
    pub network_acl_association_id: Id,
    /// Ours: the router that delivers to other subnets; `None`: the first host address,
    /// or nobody where all is on the link.
    pub router: Option<Ipv4Addr>,
    /// Its tags.
    pub tags: Tags,
}

impl Resource for Subnet {
    fn id(&self) -> String {
        self.subnet_id.to_string()
    }
    fn account(&self) -> Account {
        self.owner_id
    }
    fn references(&self) -> Vec<Key> {
        vec![
            Key::of::<Vpc>(self.vpc_id.as_str()),
            Key::of::<NetworkAcl>(self.network_acl_id.as_str()),
        ]
    }
}

/// A security group.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_SecurityGroup.html>
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SecurityGroup {
    /// `sg-…`.
    pub group_id: Id,
    /// Its account.
    pub owner_id: Account,
    /// Its VPC.
    pub vpc_id: Id,
    /// Its name, unique in the VPC, letter case aside.
    pub group_name: String,
    /// What it is for.
    pub description: String,
    /// Its rules, both ways.
    pub rules: Vec<SecurityGroupRule>,
    /// Its tags.
    pub tags: Tags,
}

/// A rule of a security group: one peer each.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_SecurityGroupRule.html>
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SecurityGroupRule {
    /// `sgr-…`.
    pub security_group_rule_id: Id,
    /// Of packets that leave.
    pub is_egress: bool,
    /// Protocol and ports.
    #[serde(flatten)]
    pub traffic: RuleTraffic,
    /// The other end.
    #[serde(flatten)]
    pub peer: RulePeer,
    /// At most 255 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its tags.
    #[serde(default, skip_serializing_if = "Tags::is_empty")]
    pub tags: Tags,
}

/// Protocol and ports as a rule of a security group has them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RuleTraffic {
    /// `tcp`, `udp`, `icmp`, the number of another protocol, or `-1` for all.
    pub ip_protocol: String,
    /// The first port, or the ICMP type; -1 = all.
    pub from_port: i32,
    /// The last port, or the ICMP code; -1 = all.
    pub to_port: i32,
}

/// The other end of a rule of a security group.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum RulePeer {
    /// The addresses of a prefix.
    CidrIpv4(Ipv4Net),
    /// The addresses of the interfaces that carry a security group.
    ReferencedGroupId(Id),
    /// The addresses of a prefix list.
    PrefixListId(Id),
}

impl Resource for SecurityGroup {
    fn id(&self) -> String {
        self.group_id.to_string()
    }
    fn account(&self) -> Account {
        self.owner_id
    }
    /// A rule that names a group keeps it only inside the VPC: one of a peered VPC may
    /// go, and leaves the rule stale.
    fn references(&self) -> Vec<Key> {
        let lists = self.rules.iter().filter_map(|rule| match &rule.peer {
            RulePeer::PrefixListId(id) => Some(Key::of::<PrefixList>(id.as_str())),
            RulePeer::CidrIpv4(_) | RulePeer::ReferencedGroupId(_) => None,
        });
        let lists: BTreeSet<Key> = lists.collect();
        let vpc = Key::of::<Vpc>(self.vpc_id.as_str());
        std::iter::once(vpc).chain(lists).collect()
    }
}

/// A network ACL.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_NetworkAcl.html>
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct NetworkAcl {
    /// `acl-…`.
    pub network_acl_id: Id,
    /// Its account.
    pub owner_id: Account,
    /// Its VPC.
    pub vpc_id: Id,
    /// Whether it is the VPC's default one.
    pub is_default: bool,
    /// Its entries, both ways, without the last one (`*`, 32767), which denies.
    pub entries: Vec<NetworkAclEntry>,
    /// Its tags.
    pub tags: Tags,
}

/// An entry of a network ACL.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_NetworkAclEntry.html>
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct NetworkAclEntry {
    /// 1 to 32,766, unique in its direction.
    pub rule_number: u16,
    /// Of packets that leave.
    pub egress: bool,
    /// `allow` or `deny`.
    pub rule_action: RuleAction,
    /// The number of a protocol; `-1` for all.
    pub protocol: String,
    /// The other end.
    pub cidr_block: Ipv4Net,
    /// Destination ports of TCP and UDP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_range: Option<PortRange>,
    /// Type and code of ICMP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icmp_type_code: Option<IcmpTypeCode>,
}

/// What an entry of a network ACL does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleAction {
    /// Lets the packet pass.
    Allow,
    /// Does not.
    Deny,
}

/// Ports.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PortRange {
    /// The first.
    pub from: u16,
    /// The last.
    pub to: u16,
}

/// ICMP type and code; -1 = all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct IcmpTypeCode {
    /// The type.
    pub r#type: i32,
    /// The code.
    pub code: i32,
}

impl Resource for NetworkAcl {
    fn id(&self) -> String {
        self.network_acl_id.to_string()
    }
    fn account(&self) -> Account {
        self.owner_id
    }
    fn references(&self) -> Vec<Key> {
        vec![Key::of::<Vpc>(self.vpc_id.as_str())]
    }
}

/// A route table.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RouteTable.html>
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RouteTable {
    /// `rtb-…`.
    pub route_table_id: Id,
    /// Its account.
    pub owner_id: Account,
    /// Its VPC.
    pub vpc_id: Id,
    /// `rtbassoc-…` of the main association, if it is the VPC's main table.
    pub main_association_id: Option<Id>,
    /// Subnets that it is associated with, each with `rtbassoc-…`.
    pub associations: Vec<RouteTableAssociation>,
    /// Its routes, without the local ones, which every table has for each CIDR of its
    /// VPC.
    pub routes: Vec<Route>,
    /// Its tags.
    pub tags: Tags,
}

/// A subnet that goes by a route table of its own choice.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RouteTableAssociation {
    /// `rtbassoc-…`.
    pub route_table_association_id: Id,
    /// The subnet.
    pub subnet_id: Id,
}

/// A route. Whether it is `active` or a `blackhole` follows from whether its target is
/// there, and is not kept.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_Route.html>
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Route {
    /// Where to.
    #[serde(flatten)]
    pub destination: RouteDestination,
    /// What by.
    #[serde(flatten)]
    pub target: RouteTarget,
}

/// The destination of a route.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum RouteDestination {
    /// A prefix.
    #[serde(rename = "DestinationCidrBlock")]
    Cidr(Ipv4Net),
    /// Every prefix of a list.
    #[serde(rename = "DestinationPrefixListId")]
    PrefixList(Id),
}

/// The target of a route. It may be gone: the route stays, and shows `blackhole`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum RouteTarget {
    /// An internet gateway (`igw-…`), or a gateway endpoint (`vpce-…`).
    GatewayId(Id),
    /// A NAT gateway.
    NatGatewayId(Id),
    /// A network interface.
    NetworkInterfaceId(Id),
    /// A peering connection.
    VpcPeeringConnectionId(Id),
    /// Ours: no target, on purpose: what AWS shows once a target is gone.
    Blackhole(bool),
}

impl Resource for RouteTable {
    fn id(&self) -> String {
        self.route_table_id.to_string()
    }
    fn account(&self) -> Account {
        self.owner_id
    }
    /// Targets are not kept by a route: they go, and leave a blackhole.
    fn references(&self) -> Vec<Key> {
        let subnets = self.associations.iter();
        let subnets = subnets.map(|one| Key::of::<Subnet>(one.subnet_id.as_str()));
        let lists = self
            .routes
            .iter()
            .filter_map(|route| match &route.destination {
                RouteDestination::PrefixList(id) => Some(Key::of::<PrefixList>(id.as_str())),
                RouteDestination::Cidr(_) => None,
            });
        let vpc = Key::of::<Vpc>(self.vpc_id.as_str());
        std::iter::once(vpc).chain(subnets).chain(lists).collect()
    }
}

/// A customer-managed prefix list.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ManagedPrefixList.html>
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PrefixList {
    /// `pl-…`.
    pub prefix_list_id: Id,
    /// Its account.
    pub owner_id: Account,
    /// Its name.
    pub prefix_list_name: String,
    /// Entries it may have, which is what it counts for in a group or table.
    pub max_entries: u32,
    /// Counts its changes, from 1.
    pub version: u64,
    /// Its entries, none twice.
    pub entries: Vec<PrefixListEntry>,
    /// Its tags.
    pub tags: Tags,
}

/// An entry of a prefix list.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PrefixListEntry {
    /// The prefix.
    pub cidr: Ipv4Net,
    /// What it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

impl Resource for PrefixList {
    fn id(&self) -> String {
        self.prefix_list_id.to_string()
    }
    fn account(&self) -> Account {
        self.owner_id
    }
    fn references(&self) -> Vec<Key> {
        Vec::new()
    }
}

/// A set of DHCP options: made once, never changed.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DhcpOptions.html>
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DhcpOptions {
    /// `dopt-…`.
    pub dhcp_options_id: Id,
    /// Its account.
    pub owner_id: Account,
    /// Its options.
    pub dhcp_configurations: Vec<DhcpConfiguration>,
    /// Its tags.
    pub tags: Tags,
}

/// A DHCP option.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DhcpConfiguration {
    /// `domain-name-servers`, `domain-name`, `ntp-servers`, `netbios-name-servers`,
    /// `netbios-node-type` or `ipv6-address-preferred-lease-time`.
    pub key: String,
    /// Its values.
    pub values: Vec<String>,
}

impl Resource for DhcpOptions {
    fn id(&self) -> String {
        self.dhcp_options_id.to_string()
    }
    fn account(&self) -> Account {
        self.owner_id
    }
    fn references(&self) -> Vec<Key> {
        Vec::new()
    }
}
