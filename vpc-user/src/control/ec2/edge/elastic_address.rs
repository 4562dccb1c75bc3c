//! Elastic addresses.
//! <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/elastic-ip-addresses-eip.html>

use std::{collections::BTreeSet, net::Ipv4Addr};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Act, Answer, TagSpecification,
    interface::{addresses_of, customers_own},
    internet_gateway::attached_to,
    lookup::own,
    request::{done, present, tag_list, tags},
};
use crate::control::{
    Account, ApiError, Context, Entropy, Id, IdKind, Key, State, Transaction,
    resource::{Address, Interface},
};

/// Where elastic addresses are drawn from, the first address and how many: networks for
/// documentation and for measurements, which are nobody's (RFC 5737, RFC 2544).
const POOLS: [(Ipv4Addr, u32); 3] = [
    (Ipv4Addr::new(198, 51, 100, 1), 254),
    (Ipv4Addr::new(203, 0, 113, 1), 254),
    (Ipv4Addr::new(198, 18, 0, 1), 131_070),
];

/// Draws an elastic address for the account.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct AllocateAddress {
    /// `vpc`, the only one there is.
    pub domain: Option<String>,
    /// Its tags, of `elastic-ip`.
    #[serde(default)]
    pub tag_specifications: Vec<TagSpecification>,
}

/// Associates an elastic address with an address of an interface.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct AssociateAddress {
    /// The elastic address.
    pub allocation_id: String,
    /// The interface.
    pub network_interface_id: String,
    /// Which of its addresses; the primary one if none is named.
    pub private_ip_address: Option<Ipv4Addr>,
    /// Whether what is associated already may be so anew.
    #[serde(default)]
    pub allow_reassociation: bool,
}

/// Ends an association.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DisassociateAddress {
    /// `eipassoc-…`.
    pub association_id: String,
}

/// Gives an elastic address back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ReleaseAddress {
    /// `eipalloc-…`.
    pub allocation_id: String,
}

impl Act for AllocateAddress {
    fn act(&self, transaction: &mut Transaction<'_>, context: &mut Context) -> Answer {
        let account = context.caller.account;
        if self.domain.as_deref().is_some_and(|domain| domain != "vpc") {
            let message = "Invalid value for domain: only 'vpc' is supported";
            return Err(ApiError::invalid(message));
        }
        let tags = tags(&self.tag_specifications, "elastic-ip", &context.settings)?;
        let have = transaction.of_account::<Address>(account).count();
        if have as u64 >= u64::from(context.settings.addresses) {
            let message = "The maximum number of addresses has been reached.";
            return Err(ApiError::new("AddressLimitExceeded", message));
        }
        let address = Address {
            allocation_id: IdKind::ADDRESS.fresh(&mut context.entropy),
            owner_id: account,
            public_ip: draw(transaction, &mut context.entropy)?,
            association_id: None,
            network_interface_id: None,
            private_ip_address: None,
            tags,
        };
        let answer = json!({
            "AllocationId": address.allocation_id,
            "Domain": "vpc",
            "NetworkBorderGroup": context.settings.region,
            "PublicIp": address.public_ip,
            "PublicIpv4Pool": "amazon",
        });
        transaction.put(address);
        Ok(answer)
    }
}

impl Act for AssociateAddress {
    fn act(&self, transaction: &mut Transaction<'_>, context: &mut Context) -> Answer {
        let account = context.caller.account;
        let address: Address = own(transaction, account, &self.allocation_id)?;
        let interface: Interface = own(transaction, account, &self.network_interface_id)?;
        customers_own(&interface)?;
        let vpc = interface.vpc_id.as_str();
        if attached_to(transaction, vpc).is_none() {
            let message = format!("Network {vpc} is not attached to any internet gateway");
            return Err(ApiError::new("Gateway.NotAttached", message));
        }
        let private = self
            .private_ip_address
            .unwrap_or(interface.private_ip_address);
        if !addresses_of(&interface).any(|one| one == private) {
            let id = &interface.network_interface_id;
            let message = format!("The address {private} is not assigned to interface {id}");
            return Err(ApiError::invalid(message));
        }
        self.vacate(
            transaction,
            account,
            &address,
            &interface.network_interface_id,
            private,
        )?;
        let association = associate(
            transaction,
            &mut context.entropy,
            &address.allocation_id,
            &interface.network_interface_id,
            private,
        );
        Ok(json!({ "AssociationId": association }))
    }
}

impl AssociateAddress {
    /// Ends what either end is associated with so far, if that may be.
    fn vacate(
        &self,
        transaction: &mut Transaction<'_>,
        account: Account,
        address: &Address,
        interface: &Id,
        private: Ipv4Addr,
    ) -> Result<(), ApiError> {
        let here = associated(transaction, interface.as_str(), Some(private));
        let association = address
            .association_id
            .as_ref()
            .map(|association| (address.allocation_id.to_string(), association.to_string()));
        let there = here
            .first()
            .map(|other| (interface.to_string(), other.to_string()));
        if let Some((resource, with)) = association.or(there)
            && !self.allow_reassociation
        {
            let message = format!("resource {resource} is already associated with {with}");
            return Err(ApiError::new("Resource.AlreadyAssociated", message));
        }
        if let Some(holder) = &address.network_interface_id {
            customers_own(&own(transaction, account, holder.as_str())?)?;
        }
        for other in here {
            disassociate(transaction, other.as_str());
        }
        Ok(())
    }
}

impl Act for DisassociateAddress {
    fn act(&self, transaction: &mut Transaction<'_>, context: &mut Context) -> Answer {
        let account = context.caller.account;
        let id = &self.association_id;
        let is_it = |address: &&Address| {
            let association = address.association_id.as_ref();
            association.is_some_and(|association| association.as_str() == id)
        };
        let address = transaction.of_account::<Address>(account).find(is_it);
        let address = address.cloned().ok_or_else(|| {
            let message = format!("The association ID '{id}' does not exist");
            ApiError::new("InvalidAssociationID.NotFound", message)
        })?;
        if let Some(holder) = &address.network_interface_id {
            customers_own(&own(transaction, account, holder.as_str())?)?;
        }
        disassociate(transaction, address.allocation_id.as_str());
        Ok(done())
    }
}

impl Act for ReleaseAddress {
    fn act(&self, transaction: &mut Transaction<'_>, context: &mut Context) -> Answer {
        let id = &self.allocation_id;
        let address: Address = own(transaction, context.caller.account, id)?;
        if address.association_id.is_some() {
            let message = format!("Address {} is in use.", address.public_ip);
            return Err(ApiError::new("InvalidIPAddress.InUse", message));
        }
        transaction.remove(Key::of::<Address>(id));
        Ok(done())
    }
}

/// An address of the pools that nobody has: from a random place upwards.
fn draw(state: &State, entropy: &mut Entropy) -> Result<Ipv4Addr, ApiError> {
    let used: BTreeSet<Ipv4Addr> = state.all::<Address>().map(|one| one.public_ip).collect();
    let size = u64::from(POOLS.iter().map(|(_, count)| count).sum::<u32>());
    let start = entropy.next_u64() % size;
    let mut places = (start..size).chain(0..start).filter_map(in_pools);
    places.find(|one| !used.contains(one)).ok_or_else(|| {
        let message = "Insufficient addresses are available to satisfy the request.";
        ApiError::with_status(500, "InsufficientAddressCapacity", message)
    })
}

/// The address at a place, counted over all pools.
fn in_pools(place: u64) -> Option<Ipv4Addr> {
    let mut place = u32::try_from(place).ok()?;
    for (first, count) in POOLS {
        match place.checked_sub(count) {
            None => return u32::from(first).checked_add(place).map(Ipv4Addr::from),
            Some(rest) => place = rest,
        }
    }
    None
}

/// Associates an elastic address, whatever it was associated with before.
pub(super) fn associate(
    transaction: &mut Transaction<'_>,
    entropy: &mut Entropy,
    allocation: &Id,
    interface: &Id,
    private: Ipv4Addr,
) -> Id {
    let association = IdKind::ADDRESS_ASSOCIATION.fresh(entropy);
    transaction.update(allocation.as_str(), |address: &mut Address| {
        address.association_id = Some(association.clone());
        address.network_interface_id = Some(interface.clone());
        address.private_ip_address = Some(private);
    });
    association
}

/// Ends the association of an elastic address.
pub(super) fn disassociate(transaction: &mut Transaction<'_>, allocation: &str) {
    transaction.update(allocation, |address: &mut Address| {
        address.association_id = None;
        address.network_interface_id = None;
        address.private_ip_address = None;
    });
}

/// The elastic addresses that are associated with an interface, or with one of its
/// addresses.
pub(super) fn associated(state: &State, interface: &str, private: Option<Ipv4Addr>) -> Vec<Id> {
    let interface = Key::of::<Interface>(interface);
    let addresses = state.referring::<Address>(&interface);
    addresses
        .filter(|address| private.is_none() || address.private_ip_address == private)
        .map(|address| address.allocation_id.clone())
        .collect()
}

/// As DescribeAddresses shows it.
pub(super) fn shown(state: &State, address: &Address) -> Value {
    let interface = address.network_interface_id.as_ref();
    let interface = interface.and_then(|id| state.get::<Interface>(id.as_str()));
    present(json!({
        "AllocationId": address.allocation_id,
        "AssociationId": address.association_id,
        "Domain": "vpc",
        "NetworkInterfaceId": address.network_interface_id,
        "NetworkInterfaceOwnerId": interface.map(|interface| interface.owner_id),
        "PrivateIpAddress": address.private_ip_address,
        "PublicIp": address.public_ip,
        "PublicIpv4Pool": "amazon",
        "Tags": tag_list(&address.tags),
    }))
}
