//! Network interfaces, and the groups of Hyperplane ENIs.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::{ClientToken, SecurityGroup, Subnet};
use crate::control::{Account, Id, Key, Resource, Tags, Time};

/// A network interface: a Hyperplane ENI of this host, or somebody else's that rules and
/// routes refer to.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_NetworkInterface.html>
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Interface {
    /// `eni-…`.
    pub network_interface_id: Id,
    /// Its account.
    pub owner_id: Account,
    /// Its VPC.
    pub vpc_id: Id,
    /// Its subnet.
    pub subnet_id: Id,
    /// Its primary address.
    pub private_ip_address: Ipv4Addr,
    /// Further addresses.
    pub secondary_addresses: Vec<Ipv4Addr>,
    /// `aa:bb:cc:dd:ee:ff`.
    pub mac_address: String,
    /// The security groups it carries, sorted.
    pub groups: Vec<Id>,
    /// What it is for.
    pub description: String,
    /// `interface`, `lambda`, `nat_gateway`, `vpc_endpoint`.
    pub interface_type: String,
    /// Whether a service of AWS manages it and says so. Not so of Hyperplane ENIs.
    pub requester_managed: bool,
    /// Who made it, if not its owner.
    pub requester_id: Option<String>,
    /// Whether packets must be from or to its own addresses.
    pub source_dest_check: bool,
    /// Where it is in its life.
    pub status: InterfaceStatus,
    /// What it is attached to.
    pub attachment: Option<Attachment>,
    /// Idle timeouts in seconds.
    pub connection_tracking_configuration: Option<ConnectionTracking>,
    /// Ours: what a Hyperplane ENI has besides.
    pub hyperplane: Option<Hyperplane>,
    /// Makes creation idempotent.
    pub client_token: Option<ClientToken>,
    /// Its tags.
    pub tags: Tags,
}

/// Where an interface is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InterfaceStatus {
    /// It is being made: no packet leaves by it yet.
    Pending,
    /// Nobody uses it: it may be deleted.
    Available,
    /// It is used.
    InUse,
}

/// What an interface is attached to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Attachment {
    /// `ela-attach-…`.
    pub attachment_id: Id,
    /// `amazon-aws` for what a service attached.
    pub instance_owner_id: String,
    /// Which of the instance's interfaces.
    pub device_index: u32,
    /// Whether it goes with the instance.
    pub delete_on_termination: bool,
    /// `attached`.
    pub status: String,
}

/// Idle timeouts of tracked connections, seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ConnectionTracking {
    /// 60 to 432,000.
    pub tcp_established_timeout: u32,
    /// 30 to 60.
    pub udp_timeout: u32,
    /// 60 to 180.
    pub udp_stream_timeout: u32,
}

/// What a Hyperplane ENI has besides an interface.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Hyperplane {
    /// The group it serves, or served: the group may be gone.
    pub eni_group: Id,
    /// The role on whose behalf it was made, whose permission its deletion needs: an ARN.
    pub role: String,
    /// Where it is in its life.
    pub phase: EniPhase,
    /// Since when.
    pub since: Time,
    /// Whether it is nearly full: new flows would better leave by another one.
    pub high_water: bool,
    /// What it waits for, as a sentence, while it is to be deleted.
    pub waits_for: Option<String>,
}

/// Where a Hyperplane ENI is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EniPhase {
    /// The kernel does not know it yet.
    Programming,
    /// It takes new flows.
    Active,
    /// It takes no new flows; the kernel forgets it once the open ones have ended.
    Draining,
    /// The kernel has forgotten it, but nobody may delete it for the account: the role
    /// is gone or does not allow it.
    Released,
}

impl Interface {
    /// Where it is in its life, of a Hyperplane ENI.
    pub fn phase(&self) -> Option<EniPhase> {
        self.hyperplane.as_ref().map(|hyperplane| hyperplane.phase)
    }
}

impl Resource for Interface {
    fn id(&self) -> String {
        self.network_interface_id.to_string()
    }
    fn account(&self) -> Account {
        self.owner_id
    }
    fn references(&self) -> Vec<Key> {
        let groups = self
            .groups
            .iter()
            .map(|id| Key::of::<SecurityGroup>(id.as_str()));
        let subnet = Key::of::<Subnet>(self.subnet_id.as_str());
        std::iter::once(subnet).chain(groups).collect()
    }
}

/// The Hyperplane ENIs of one (account, subnet, security-group set): what environments
/// are bound to. Ours: AWS has no name for it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct EniGroup {
    /// `enigroup-…`.
    pub eni_group_id: Id,
    /// Its account.
    pub owner_id: Account,
    /// The subnet.
    pub subnet_id: Id,
    /// The security groups, sorted, none twice.
    pub security_group_ids: Vec<Id>,
    /// Its ENIs, in order of preference; those that are being deleted are not among them.
    pub network_interface_ids: Vec<Id>,
    /// Why the last attempt at a further ENI failed, if it did: a code of AWS's.
    pub failure: Option<String>,
}

impl Resource for EniGroup {
    fn id(&self) -> String {
        self.eni_group_id.to_string()
    }
    fn account(&self) -> Account {
        self.owner_id
    }
    fn references(&self) -> Vec<Key> {
        let enis = self.network_interface_ids.iter();
        let mut keys: Vec<Key> = enis.map(|id| Key::of::<Interface>(id.as_str())).collect();
        keys.push(Key::of::<Subnet>(self.subnet_id.as_str()));
        let groups = self.security_group_ids.iter();
        keys.extend(groups.map(|id| Key::of::<SecurityGroup>(id.as_str())));
        keys
    }
}
