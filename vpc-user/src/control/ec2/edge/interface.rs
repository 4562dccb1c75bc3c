//! Network interfaces.
//! <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/using-eni.html>

mod assign;
mod modify;
mod shown;

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    Act, Answer, TagSpecification,
    addresses::take,
    elastic_address::{associated, disassociate},
    lookup::{groups, own},
    request::{client_token, done, made_before, not_permitted, present, tags},
};
use crate::control::{
    ApiError, Context, Entropy, Id, IdKind, Key, State, Tags, Transaction, life,
    resource::{Address, Attachment, Interface, InterfaceStatus, Subnet},
};

pub use assign::{AssignPrivateIpAddresses, UnassignPrivateIpAddresses};
pub(super) use assign::{release, wanted};
pub use modify::{
    BooleanValue, ConnectionTrackingSpecification, ModifyNetworkInterfaceAttribute, TextValue,
};
pub(super) use shown::{group_list, shown};

/// Addresses of one interface at most: what the largest instance types take.
const ADDRESSES_PER_INTERFACE: usize = 50;

/// Makes an interface.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateNetworkInterface {
    /// Its subnet.
    pub subnet_id: String,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// Its primary address; one is drawn if none is named.
    pub private_ip_address: Option<Ipv4Addr>,
    /// Its addresses.
    #[serde(default)]
    pub private_ip_addresses: Vec<PrivateIpAddressSpecification>,
    /// How many further addresses are drawn.
    pub secondary_private_ip_address_count: Option<u32>,
    /// Its security groups; the VPC's default one if none is named.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Idle timeouts.
    pub connection_tracking_specification: Option<ConnectionTrackingSpecification>,
    /// Makes it idempotent.
    pub client_token: Option<String>,
    /// Its tags, of `network-interface`.
    #[serde(default)]
    pub tag_specifications: Vec<TagSpecification>,
}

/// An address of an interface that is made.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct PrivateIpAddressSpecification {
    /// Whether it is the primary one.
    #[serde(default)]
    pub primary: bool,
    /// The address.
    pub private_ip_address: Ipv4Addr,
}

/// Removes an interface that nobody uses.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteNetworkInterface {
    /// The interface.
    pub network_interface_id: String,
}

/// Detaches an interface.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DetachNetworkInterface {
    /// `ela-attach-…`.
    pub attachment_id: String,
    /// Whether the instance need not agree: nobody is asked.
    #[serde(default)]
    pub force: bool,
}

impl Act for CreateNetworkInterface {
    fn act(&self, transaction: &mut Transaction<'_>, context: &mut Context) -> Answer {
        let account = context.caller.account;
        let token = client_token(self.client_token.as_deref(), self)?;
        if let Some(made) = made_before::<Interface>(transaction, account, token.as_ref())?.first()
        {
            return Ok(self.answer(transaction, made));
        }
        let subnet: Subnet = own(transaction, account, &self.subnet_id)?;
        let tracking = self.connection_tracking_specification.as_ref();
        let wanted = self.wanted()?;
        let new = New {
            description: self.description.clone(),
            interface_type: "interface",
            groups: groups(transaction, &subnet, &self.groups, &context.settings)?,
            tags: tags(
                &self.tag_specifications,
                "network-interface",
                &context.settings,
            )?,
        };
        if self.description.chars().count() > 255 {
            let message = "The description must be at most 255 characters long.";
            return Err(ApiError::invalid(message));
        }
        let mut interface = new.interface(transaction, context, &subnet)?;
        interface.client_token = token;
        interface.connection_tracking_configuration =
            tracking.map(|given| given.over(None)).transpose()?;
        give(transaction, &subnet, &mut interface, &[], &wanted)?;
        Ok(self.answer(transaction, &interface))
    }
}

impl CreateNetworkInterface {
    /// The addresses that are asked for, the primary one first.
    fn wanted(&self) -> Result<Vec<Option<Ipv4Addr>>, ApiError> {
        let named = &self.private_ip_addresses;
        let primaries = named.iter().filter(|one| one.primary);
        let mut primaries = primaries.map(|one| one.private_ip_address);
        let primary = self.private_ip_address.or_else(|| primaries.next());
        if primaries.next().is_some() {
            let message = "Only one primary private IP address can be specified.";
            return Err(ApiError::new("InvalidParameterCombination", message));
        }
        let count = self.secondary_private_ip_address_count.unwrap_or(0);
        if count > 0 && !named.is_empty() {
            let message = "The parameter secondaryPrivateIpAddressCount cannot be used with \
                           the parameter privateIpAddresses";
            return Err(ApiError::new("InvalidParameterCombination", message));
        }
        let secondary = named.iter().filter(|one| !one.primary);
        let secondary = secondary.map(|one| Some(one.private_ip_address));
        let drawn = std::iter::repeat_n(None, count as usize);
        let all = std::iter::once(primary).chain(secondary).chain(drawn);
        // One more than there may be is enough to be refused.
        Ok(all.take(ADDRESSES_PER_INTERFACE + 1).collect())
    }

    fn answer(&self, state: &State, interface: &Interface) -> serde_json::Value {
        present(json!({
            "ClientToken": self.client_token,
            "NetworkInterface": shown(state, interface),
        }))
    }
}

impl Act for DeleteNetworkInterface {
    fn act(&self, transaction: &mut Transaction<'_>, context: &mut Context) -> Answer {
        let id = &self.network_interface_id;
        let interface: Interface = own(transaction, context.caller.account, id)?;
        if interface.requester_managed {
            let message = "You do not have permission to access the specified resource.";
            return Err(not_permitted(message));
        }
        life::may_delete_interface(transaction, &interface)?;
        remove(transaction, id);
        Ok(done())
    }
}

impl Act for DetachNetworkInterface {
    fn act(&self, transaction: &mut Transaction<'_>, context: &mut Context) -> Answer {
        let id = &self.attachment_id;
        let is_it = |one: &&Interface| {
            let attachment = one.attachment.as_ref();
            attachment.is_some_and(|one| one.attachment_id.as_str() == id)
        };
        let mut interfaces = transaction.of_account::<Interface>(context.caller.account);
        let interface = interfaces.find(is_it).cloned().ok_or_else(|| {
            let message = format!("The network interface attachment ID '{id}' does not exist");
            ApiError::new("InvalidAttachmentID.NotFound", message)
        })?;
        drop(interfaces);
        if interface
            .attachment
            .is_some_and(|one| one.instance_owner_id == SERVICE)
        {
            let message = "You are not allowed to manage 'ela-attach' attachments.";
            return Err(not_permitted(message));
        }
        let id = interface.network_interface_id;
        transaction.update(id.as_str(), |interface: &mut Interface| {
            interface.attachment = None;
            interface.status = InterfaceStatus::Available;
        });
        Ok(done())
    }
}

/// Who attaches the interfaces of a service.
const SERVICE: &str = "amazon-aws";

/// What an interface is made from.
pub(super) struct New {
    /// What it is for.
    pub description: String,
    /// `interface`, `nat_gateway`, `vpc_endpoint`.
    pub interface_type: &'static str,
    /// Its security groups.
    pub groups: Vec<Id>,
    /// Its tags.
    pub tags: Tags,
}

impl New {
    /// An interface without an address yet: see [`give`], which puts it into the state.
    fn interface(
        self,
        state: &State,
        context: &mut Context,
        subnet: &Subnet,
    ) -> Result<Interface, ApiError> {
        let zone = |id: &Id| Some(&state.get::<Subnet>(id.as_str())?.availability_zone);
        let of_zone = |one: &&Interface| zone(&one.subnet_id) == Some(&subnet.availability_zone);
        let have = state
            .of_account::<Interface>(subnet.owner_id)
            .filter(of_zone);
        if have.count() as u64 >= u64::from(context.settings.interfaces_per_zone) {
            let message = "The maximum number of network interfaces has been reached.";
            return Err(ApiError::new("NetworkInterfaceLimitExceeded", message));
        }
        Ok(Interface {
            network_interface_id: IdKind::INTERFACE.fresh(&mut context.entropy),
            owner_id: subnet.owner_id,
            vpc_id: subnet.vpc_id.clone(),
            subnet_id: subnet.subnet_id.clone(),
            private_ip_address: Ipv4Addr::UNSPECIFIED,
            secondary_addresses: Vec::new(),
            mac_address: mac_address(&mut context.entropy),
            groups: self.groups,
            description: self.description,
            interface_type: self.interface_type.to_owned(),
            requester_managed: false,
            requester_id: None,
            source_dest_check: true,
            status: InterfaceStatus::Available,
            attachment: None,
            connection_tracking_configuration: None,
            hyperplane: None,
            client_token: None,
            tags: self.tags,
        })
    }

    /// A service's interface: made, attached and managed by it, with these addresses.
    pub fn for_service(
        self,
        transaction: &mut Transaction<'_>,
        context: &mut Context,
        subnet: &Subnet,
        wanted: &[Option<Ipv4Addr>],
    ) -> Result<Interface, ApiError> {
        let mut interface = self.interface(transaction, context, subnet)?;
        interface.requester_managed = true;
        interface.requester_id = Some(SERVICE.to_owned());
        // What a NAT gateway forwards is neither from nor to it.
        interface.source_dest_check = interface.interface_type != "nat_gateway";
        interface.status = InterfaceStatus::InUse;
        interface.attachment = Some(Attachment {
            attachment_id: IdKind::INTERFACE_ATTACHMENT.fresh(&mut context.entropy),
            instance_owner_id: SERVICE.to_owned(),
            device_index: 1,
            delete_on_termination: false,
            status: "attached".to_owned(),
        });
        give(transaction, subnet, &mut interface, &[], wanted)?;
        Ok(interface)
    }
}

/// Gives an interface addresses besides those that it holds, and puts it into the state;
/// returns the new ones in the order of the wishes. The first of all is the primary one.
/// Addresses that are named are taken first, so that none of them is drawn.
pub(super) fn give(
    transaction: &mut Transaction<'_>,
    subnet: &Subnet,
    interface: &mut Interface,
    held: &[Ipv4Addr],
    wanted: &[Option<Ipv4Addr>],
) -> Result<Vec<Ipv4Addr>, ApiError> {
    if held.len().saturating_add(wanted.len()) > ADDRESSES_PER_INTERFACE {
        let message = format!(
            "Number of private addresses will exceed limit: {ADDRESSES_PER_INTERFACE} of an \
             interface."
        );
        return Err(ApiError::new("PrivateIpAddressLimitExceeded", message));
    }
    let mut given: Vec<Option<Ipv4Addr>> = vec![None; wanted.len()];
    for named in [true, false] {
        for (index, wish) in wanted.iter().enumerate() {
            if wish.is_some() != named {
                continue;
            }
            let address = take(transaction, subnet, *wish)?;
            if let Some(slot) = given.get_mut(index) {
                *slot = Some(address);
            }
            let mut all = held.iter().chain(given.iter().flatten()).copied();
            interface.private_ip_address = all.next().unwrap_or(address);
            interface.secondary_addresses = all.collect();
            transaction.put(interface.clone());
        }
    }
    Ok(given.into_iter().flatten().collect())
}

/// Removes an interface, and what elastic addresses it has goes back to their owner.
pub(super) fn remove(transaction: &mut Transaction<'_>, id: &str) {
    for address in associated(transaction, id, None) {
        disassociate(transaction, address.as_str());
    }
    transaction.remove(Key::of::<Interface>(id));
}

/// Whether an interface is its owner's to change: not if it is a service's, as Hyperplane
/// ENIs are. So none of these has an elastic address: a function in a public subnet does
/// not get a public one.
pub(super) fn customers_own(interface: &Interface) -> Result<(), ApiError> {
    if interface.requester_managed || interface.interface_type == "lambda" {
        let message = "You do not have permission to access the specified resource.";
        return Err(not_permitted(message));
    }
    Ok(())
}

/// The addresses of an interface, the primary one first.
pub fn addresses_of(interface: &Interface) -> impl Iterator<Item = Ipv4Addr> {
    let secondary = interface.secondary_addresses.iter().copied();
    std::iter::once(interface.private_ip_address).chain(secondary)
}

/// The elastic address of one of its addresses.
fn elastic<'s>(state: &'s State, interface: &Interface, private: Ipv4Addr) -> Option<&'s Address> {
    let key = Key::of::<Interface>(interface.network_interface_id.as_str());
    let mut addresses = state.referring::<Address>(&key);
    addresses.find(|address| address.private_ip_address == Some(private))
}

/// An address of the data link, of those that anybody may give (bit 2 of the first byte).
fn mac_address(entropy: &mut Entropy) -> String {
    let [_, _, _, a, b, c, d, e] = entropy.next_u64().to_be_bytes();
    format!("02:{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}")
}
