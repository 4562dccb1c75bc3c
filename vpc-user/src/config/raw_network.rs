//! A tenant's network as people write it, and how a validated one is written back.
//! What each key means is said at the type it becomes; see [`crate::model::Network`].

use std::{collections::BTreeMap, net::Ipv4Addr, ops::RangeInclusive};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::model::{
    AclEntry, Destination, LocalDelivery, NetworkAcl, NetworkInterface, ObjectName, Peer, Peering,
    PrefixList, Quotas, Route, RouteTable, SecurityGroup, SecurityRule, Subnet, Target, Traffic,
    Vpc,
};

/// `[quotas]`: each as in [`Quotas`]; what is absent has AWS's default.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented at `Quotas`")]
pub struct RawQuotas {
    pub security_groups_per_interface: Option<i64>,
    pub rules_per_security_group: Option<i64>,
    pub rules_per_interface: Option<i64>,
    pub security_groups: Option<i64>,
    pub network_acls_per_vpc: Option<i64>,
    pub entries_per_network_acl: Option<i64>,
    pub route_tables_per_vpc: Option<i64>,
    pub routes_per_table: Option<i64>,
    pub subnets_per_vpc: Option<i64>,
    pub cidrs_per_vpc: Option<i64>,
    pub prefix_lists: Option<i64>,
    pub entries_per_prefix_list: Option<i64>,
}

/// One `[[vpc]]`; see [`Vpc`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented at `Vpc`")]
pub struct RawVpc {
    pub name: String,
    pub cidr: Vec<String>,
    pub uplink: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local: Option<String>,
    /// The table of the subnets that name none; written back at each subnet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub main_route_table: Option<String>,
    /// Its `[[dhcp_options]]`: for `vpc apply`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dhcp_options: Option<String>,
    /// Whether its resolver answers; absent, it does. For `vpc apply`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns_support: Option<bool>,
    /// Whether public addresses have names; absent, they have none. For `vpc apply`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns_hostnames: Option<bool>,
}

/// One `[[prefix_list]]`; see [`PrefixList`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented at `PrefixList`")]
pub struct RawPrefixList {
    pub name: String,
    pub max_entries: i64,
    #[serde(default)]
    pub entries: Vec<String>,
}

/// One `[[security_group]]`; see [`SecurityGroup`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented at `SecurityGroup`")]
pub struct RawSecurityGroup {
    pub name: String,
    pub vpc: String,
    #[serde(default)]
    pub ingress: Vec<RawRule>,
    /// Absent, it is AWS's rule of a new group: all to everywhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub egress: Option<Vec<RawRule>>,
}

/// One rule of a security group; see [`SecurityRule`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented at `SecurityRule`")]
pub struct RawRule {
    pub protocol: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ports: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icmp: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cidr: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_group: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix_list: Option<String>,
}

/// One `[[network_acl]]`; see [`NetworkAcl`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented at `NetworkAcl`")]
pub struct RawNetworkAcl {
    pub name: String,
    pub vpc: String,
    #[serde(default)]
    pub ingress: Vec<RawEntry>,
    #[serde(default)]
    pub egress: Vec<RawEntry>,
}

/// One entry of a network ACL; see [`AclEntry`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented at `AclEntry`")]
pub struct RawEntry {
    pub number: i64,
    pub action: String,
    pub protocol: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ports: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icmp: Option<String>,
    pub cidr: String,
}

/// One `[[route_table]]`; see [`RouteTable`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented at `RouteTable`")]
pub struct RawRouteTable {
    pub name: String,
    pub vpc: String,
    #[serde(default, rename = "route")]
    pub routes: Vec<RawRoute>,
}

/// One route; see [`Route`].
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented at `Route`")]
pub struct RawRoute {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix_list: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peering: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub internet_gateway: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nat_gateway: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blackhole: Option<bool>,
}

/// One `[[subnet]]`; see [`Subnet`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented at `Subnet`")]
pub struct RawSubnet {
    pub name: String,
    pub vpc: String,
    pub cidr: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub router: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route_table: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_acl: Option<String>,
}

/// One `[[interface]]`; see [`NetworkInterface`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented at `NetworkInterface`")]
pub struct RawInterface {
    pub name: String,
    pub subnet: String,
    pub address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_groups: Option<Vec<String>>,
}

/// One `[[peering]]`; see [`Peering`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented at `Peering`")]
pub struct RawPeering {
    pub name: String,
    pub vpcs: Vec<String>,
    /// Address by VPC.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub routers: BTreeMap<String, String>,
}

impl From<&Quotas> for RawQuotas {
    fn from(quotas: &Quotas) -> Self {
        Self {
            security_groups_per_interface: Some(quotas.security_groups_per_interface.into()),
            rules_per_security_group: Some(quotas.rules_per_security_group.into()),
            rules_per_interface: Some(quotas.rules_per_interface.into()),
            security_groups: Some(quotas.security_groups.into()),
            network_acls_per_vpc: Some(quotas.network_acls_per_vpc.into()),
            entries_per_network_acl: Some(quotas.entries_per_network_acl.into()),
            route_tables_per_vpc: Some(quotas.route_tables_per_vpc.into()),
            routes_per_table: Some(quotas.routes_per_table.into()),
            subnets_per_vpc: Some(quotas.subnets_per_vpc.into()),
            cidrs_per_vpc: Some(quotas.cidrs_per_vpc.into()),
            prefix_lists: Some(quotas.prefix_lists.into()),
            entries_per_prefix_list: Some(quotas.entries_per_prefix_list.into()),
        }
    }
}

impl From<&Vpc> for RawVpc {
    fn from(vpc: &Vpc) -> Self {
        Self {
            name: vpc.name.to_string(),
            cidr: vpc.cidrs.iter().map(Ipv4Net::to_string).collect(),
            uplink: vpc.uplink.to_string(),
            local: Some(delivery_word(vpc.local).to_owned()),
            main_route_table: None,
            dhcp_options: None,
            dns_support: None,
            dns_hostnames: None,
        }
    }
}

/// What `local` is written as.
pub(super) const fn delivery_word(local: LocalDelivery) -> &'static str {
    match local {
        LocalDelivery::Router => "router",
        LocalDelivery::OnLink => "on-link",
    }
}

impl From<&PrefixList> for RawPrefixList {
    fn from(list: &PrefixList) -> Self {
        Self {
            name: list.name.to_string(),
            max_entries: list.max_entries.into(),
            entries: list.entries.iter().map(Ipv4Net::to_string).collect(),
        }
    }
}

impl From<&SecurityGroup> for RawSecurityGroup {
    fn from(group: &SecurityGroup) -> Self {
        Self {
            name: group.name.to_string(),
            vpc: group.vpc.to_string(),
            ingress: group.ingress.iter().map(RawRule::from).collect(),
            egress: Some(group.egress.iter().map(RawRule::from).collect()),
        }
    }
}

impl From<&SecurityRule> for RawRule {
    fn from(rule: &SecurityRule) -> Self {
        let TrafficWords {
            protocol,
            ports,
            icmp,
        } = TrafficWords::from(&rule.traffic);
        let (mut cidr, mut security_group, mut prefix_list) = (None, None, None);
        match &rule.peer {
            Peer::Cidr(prefix) => cidr = Some(prefix.to_string()),
            Peer::Group(name) => security_group = Some(name.to_string()),
            Peer::PrefixList(name) => prefix_list = Some(name.to_string()),
        }
        Self {
            protocol,
            ports,
            icmp,
            cidr,
            security_group,
            prefix_list,
        }
    }
}

impl From<&NetworkAcl> for RawNetworkAcl {
    fn from(acl: &NetworkAcl) -> Self {
        Self {
            name: acl.name.to_string(),
            vpc: acl.vpc.to_string(),
            ingress: acl.ingress.iter().map(RawEntry::from).collect(),
            egress: acl.egress.iter().map(RawEntry::from).collect(),
        }
    }
}

impl From<&AclEntry> for RawEntry {
    fn from(entry: &AclEntry) -> Self {
        let TrafficWords {
            protocol,
            ports,
            icmp,
        } = TrafficWords::from(&entry.traffic);
        Self {
            number: entry.number.into(),
            action: if entry.allow { "allow" } else { "deny" }.to_owned(),
            protocol,
            ports,
            icmp,
            cidr: entry.cidr.to_string(),
        }
    }
}

impl From<&RouteTable> for RawRouteTable {
    fn from(table: &RouteTable) -> Self {
        Self {
            name: table.name.to_string(),
            vpc: table.vpc.to_string(),
            routes: table.routes.iter().map(RawRoute::from).collect(),
        }
    }
}

impl From<&Route> for RawRoute {
    fn from(route: &Route) -> Self {
        let mut raw = Self::default();
        match &route.destination {
            Destination::Cidr(prefix) => raw.destination = Some(prefix.to_string()),
            Destination::PrefixList(name) => raw.prefix_list = Some(name.to_string()),
        }
        match &route.target {
            Target::Interface(name) => raw.interface = Some(name.to_string()),
            Target::Peering(name) => raw.peering = Some(name.to_string()),
            Target::InternetGateway(name) => raw.internet_gateway = Some(name.to_string()),
            Target::NatGateway(name) => raw.nat_gateway = Some(name.to_string()),
            Target::Blackhole => raw.blackhole = Some(true),
        }
        raw
    }
}

impl From<&Subnet> for RawSubnet {
    fn from(subnet: &Subnet) -> Self {
        Self {
            name: subnet.name.to_string(),
            vpc: subnet.vpc.to_string(),
            cidr: subnet.cidr.to_string(),
            router: subnet.router.as_ref().map(Ipv4Addr::to_string),
            route_table: Some(subnet.route_table.to_string()),
            network_acl: Some(subnet.network_acl.to_string()),
        }
    }
}

impl From<&NetworkInterface> for RawInterface {
    fn from(interface: &NetworkInterface) -> Self {
        Self {
            name: interface.name.to_string(),
            subnet: interface.subnet.to_string(),
            address: interface.address.to_string(),
            security_groups: Some(texts(&interface.security_groups)),
        }
    }
}

impl From<&Peering> for RawPeering {
    fn from(peering: &Peering) -> Self {
        let ends = peering.vpcs.iter().zip(&peering.routers);
        Self {
            name: peering.name.to_string(),
            vpcs: texts(&peering.vpcs),
            routers: ends
                .filter_map(|(vpc, router)| Some((vpc.to_string(), (*router)?.to_string())))
                .collect(),
        }
    }
}

/// Names as text.
pub(super) fn texts(names: &[ObjectName]) -> Vec<String> {
    names.iter().map(ObjectName::to_string).collect()
}

/// [`Traffic`] as it is written.
struct TrafficWords {
    protocol: String,
    ports: Option<String>,
    icmp: Option<String>,
}

impl From<&Traffic> for TrafficWords {
    fn from(traffic: &Traffic) -> Self {
        let (protocol, ports, icmp) = match traffic {
            Traffic::All => ("all".to_owned(), None, None),
            Traffic::Tcp(range) => ("tcp".to_owned(), Some(ports(range)), None),
            Traffic::Udp(range) => ("udp".to_owned(), Some(ports(range)), None),
            Traffic::Icmp(None, _) => ("icmp".to_owned(), None, None),
            Traffic::Icmp(Some(kind), None) => ("icmp".to_owned(), None, Some(kind.to_string())),
            Traffic::Icmp(Some(kind), Some(code)) => {
                ("icmp".to_owned(), None, Some(format!("{kind}/{code}")))
            }
            Traffic::Other(number) => (number.to_string(), None, None),
        };
        Self {
            protocol,
            ports,
            icmp,
        }
    }
}

fn ports(range: &RangeInclusive<u16>) -> String {
    match (range.start(), range.end()) {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}-{last}"),
    }
}
