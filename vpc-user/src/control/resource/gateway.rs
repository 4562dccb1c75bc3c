//! Gateways, endpoints and peering connections. Their data path is yet to come, that of
//! peering connections excepted.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::{ClientToken, Interface, RouteTable, SecurityGroup, Subnet, Vpc};
use crate::control::{Account, Id, Key, Resource, Tags, Time};

/// An internet gateway.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct InternetGateway {
    /// `igw-…`.
    pub internet_gateway_id: Id,
    /// Its account.
    pub owner_id: Account,
    /// The VPC it is attached to: at most one, which has at most one.
    pub vpc_id: Option<Id>,
    /// Its tags.
    pub tags: Tags,
}

impl Resource for InternetGateway {
    fn id(&self) -> String {
        self.internet_gateway_id.to_string()
    }
    fn account(&self) -> Account {
        self.owner_id
    }
    fn references(&self) -> Vec<Key> {
        self.vpc_id
            .iter()
            .map(|id| Key::of::<Vpc>(id.as_str()))
            .collect()
    }
}

/// An elastic address.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Address {
    /// `eipalloc-…`.
    pub allocation_id: Id,
    /// Its account.
    pub owner_id: Account,
    /// The address.
    pub public_ip: Ipv4Addr,
    /// `eipassoc-…`, while it is associated.
    pub association_id: Option<Id>,
    /// The interface it is associated with.
    pub network_interface_id: Option<Id>,
    /// The address of that interface it stands for.
    pub private_ip_address: Option<Ipv4Addr>,
    /// Its tags.
    pub tags: Tags,
}

impl Resource for Address {
    fn id(&self) -> String {
        self.allocation_id.to_string()
    }
    fn account(&self) -> Account {
        self.owner_id
    }
    fn references(&self) -> Vec<Key> {
        let interface = self.network_interface_id.iter();
        interface
            .map(|id| Key::of::<Interface>(id.as_str()))
            .collect()
    }
}

/// A NAT gateway.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_NatGateway.html>
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct NatGateway {
    /// `nat-…`.
    pub nat_gateway_id: Id,
    /// Its account.
    pub owner_id: Account,
    /// Its VPC.
    pub vpc_id: Id,
    /// Its subnet.
    pub subnet_id: Id,
    /// `public` or `private`.
    pub connectivity_type: String,
    /// Where it is in its life.
    pub state: NatGatewayState,
    /// When it was made.
    pub create_time: Time,
    /// When it was deleted or failed.
    pub delete_time: Option<Time>,
    /// Why it fails: decided when it is made, and shown once it has failed.
    pub failure_code: Option<String>,
    /// The same as a sentence.
    pub failure_message: Option<String>,
    /// Its addresses, the primary one first; none once it is deleted.
    pub nat_gateway_addresses: Vec<NatGatewayAddress>,
    /// Makes creation idempotent.
    pub client_token: Option<ClientToken>,
    /// Its tags.
    pub tags: Tags,
}

/// Where a NAT gateway is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NatGatewayState {
    /// It is being made.
    Pending,
    /// It could not be made.
    Failed,
    /// It can be used.
    Available,
    /// It is being deleted.
    Deleting,
    /// It is gone, and shown for a while.
    Deleted,
}

/// An address of a NAT gateway.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct NatGatewayAddress {
    /// The elastic address, if it is a public one.
    pub allocation_id: Option<Id>,
    /// Its interface.
    pub network_interface_id: Id,
    /// Its address in the subnet.
    pub private_ip: Ipv4Addr,
    /// The elastic address itself.
    pub public_ip: Option<Ipv4Addr>,
    /// `eipassoc-…` of the elastic address.
    pub association_id: Option<Id>,
    /// Whether it is the one that stays.
    pub is_primary: bool,
    /// Where it is in its life.
    pub status: NatGatewayAddressStatus,
    /// Ours: when it is released, if it is being drained.
    pub drain_ends: Option<Time>,
}

/// Where an address of a NAT gateway is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NatGatewayAddressStatus {
    /// A private one comes.
    Assigning,
    /// A private one goes, once its connections have ended.
    Unassigning,
    /// An elastic one comes.
    Associating,
    /// An elastic one goes, once its connections have ended.
    Disassociating,
    /// It is used.
    Succeeded,
}

impl Resource for NatGateway {
    fn id(&self) -> String {
        self.nat_gateway_id.to_string()
    }
    fn account(&self) -> Account {
        self.owner_id
    }
    /// One that is over keeps nothing.
    fn references(&self) -> Vec<Key> {
        if matches!(
            self.state,
            NatGatewayState::Failed | NatGatewayState::Deleted
        ) {
            return Vec::new();
        }
        let mut keys = vec![
            Key::of::<Vpc>(self.vpc_id.as_str()),
            Key::of::<Subnet>(self.subnet_id.as_str()),
        ];
        for address in &self.nat_gateway_addresses {
            keys.push(Key::of::<Interface>(address.network_interface_id.as_str()));
            let elastic = address.allocation_id.iter();
            keys.extend(elastic.map(|id| Key::of::<Address>(id.as_str())));
        }
        keys
    }
}

/// A VPC endpoint.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_VpcEndpoint.html>
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Endpoint {
    /// `vpce-…`.
    pub vpc_endpoint_id: Id,
    /// Its account.
    pub owner_id: Account,
    /// Its VPC.
    pub vpc_id: Id,
    /// `Interface` or `Gateway`.
    pub vpc_endpoint_type: EndpointType,
    /// `com.amazonaws.<region>.<service>`.
    pub service_name: String,
    /// `pending`, `available`, `deleting`, `deleted`, …
    pub state: String,
    /// When it was made.
    pub creation_timestamp: Time,
    /// Route tables of a gateway endpoint.
    pub route_table_ids: Vec<Id>,
    /// Subnets of an interface endpoint, one of a zone.
    pub subnet_ids: Vec<Id>,
    /// Security groups of an interface endpoint.
    pub group_ids: Vec<Id>,
    /// Interfaces of an interface endpoint, one of a subnet.
    pub network_interface_ids: Vec<Id>,
    /// Whether the service's public name leads to it.
    pub private_dns_enabled: bool,
    /// What it restricts.
    pub policy_document: String,
    /// Ours: when it was deleted.
    pub delete_time: Option<Time>,
    /// Makes creation idempotent.
    pub client_token: Option<ClientToken>,
    /// Its tags.
    pub tags: Tags,
}

/// The kinds of endpoints.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum EndpointType {
    /// Interfaces in subnets.
    Interface,
    /// Routes in tables.
    Gateway,
}

impl Resource for Endpoint {
    fn id(&self) -> String {
        self.vpc_endpoint_id.to_string()
    }
    fn account(&self) -> Account {
        self.owner_id
    }
    fn references(&self) -> Vec<Key> {
        if self.state == "deleted" {
            return Vec::new();
        }
        let keys = |ids: &[Id], key: fn(&Id) -> Key| ids.iter().map(key).collect::<Vec<_>>();
        let mut all = vec![Key::of::<Vpc>(self.vpc_id.as_str())];
        all.extend(keys(&self.route_table_ids, |id| {
            Key::of::<RouteTable>(id.as_str())
        }));
        all.extend(keys(&self.subnet_ids, |id| Key::of::<Subnet>(id.as_str())));
        all.extend(keys(&self.group_ids, |id| {
            Key::of::<SecurityGroup>(id.as_str())
        }));
        all.extend(keys(&self.network_interface_ids, |id| {
            Key::of::<Interface>(id.as_str())
        }));
        all
    }
}

/// A peering connection.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_VpcPeeringConnection.html>
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Peering {
    /// `pcx-…`.
    pub vpc_peering_connection_id: Id,
    /// The account that asked.
    pub owner_id: Account,
    /// Who asked.
    pub requester_vpc: PeeringVpc,
    /// Who was asked.
    pub accepter_vpc: PeeringVpc,
    /// Where it is in its life.
    pub status: PeeringStatus,
    /// When an offer ends that nobody accepts.
    pub expiration_time: Time,
    /// When it ended.
    pub ended: Option<Time>,
    /// Ours: whose account deleted it.
    pub deleted_by: Option<Account>,
    /// Its tags.
    pub tags: Tags,
}

/// One side of a peering connection.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PeeringVpc {
    /// Its account.
    pub owner_id: Account,
    /// The VPC.
    pub vpc_id: Id,
    /// Ours: the router on this VPC's uplink by which the other's packets reach it;
    /// `None`: its addresses are neighbours there.
    pub router: Option<Ipv4Addr>,
}

/// Where a peering connection is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PeeringStatus {
    /// Somebody has to accept it.
    PendingAcceptance,
    /// Routes may lead through it.
    Active,
    /// It was rejected.
    Rejected,
    /// It could not be: the other VPC is not there, or addresses overlap.
    Failed,
    /// Nobody accepted it in time.
    Expired,
    /// It was deleted.
    Deleted,
}

impl Resource for Peering {
    fn id(&self) -> String {
        self.vpc_peering_connection_id.to_string()
    }
    fn account(&self) -> Account {
        self.owner_id
    }
    /// A VPC that goes takes its peering connections along, as on AWS.
    fn references(&self) -> Vec<Key> {
        Vec::new()
    }
}
