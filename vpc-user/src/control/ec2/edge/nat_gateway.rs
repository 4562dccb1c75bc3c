//! NAT gateways.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/vpc-nat-gateway.html>
//!
//! What is wrong with a request by itself is refused; what the VPC lacks for it makes a
//! gateway that is `pending` and then `failed`, as on AWS.

mod addresses;
mod life;

use std::{collections::BTreeSet, net::Ipv4Addr};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Act, Answer, TagSpecification,
    addresses::available_count,
    interface::{New, addresses_of, wanted},
    internet_gateway::attached_to,
    lookup::own,
    request::{client_token, invalid_parameter, made_before, present, tag_list, tags},
};
use crate::control::{
    ApiError, Context, IdKind, Settings, State, Tags, Transaction,
    resource::{Address, NatGateway, NatGatewayAddress, NatGatewayState, Subnet},
};

pub use addresses::{
    AssignPrivateNatGatewayAddress, AssociateNatGatewayAddress, DisassociateNatGatewayAddress,
    UnassignPrivateNatGatewayAddress,
};
pub(super) use life::{next_tick, tick};

/// Makes a NAT gateway.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateNatGateway {
    /// Its subnet.
    pub subnet_id: String,
    /// `public`, unless said otherwise, or `private`.
    pub connectivity_type: Option<String>,
    /// `zonal`, the only one there is.
    pub availability_mode: Option<String>,
    /// The elastic address of a public one.
    pub allocation_id: Option<String>,
    /// Its address in the subnet; one is drawn if none is named.
    pub private_ip_address: Option<Ipv4Addr>,
    /// Further elastic addresses of a public one.
    #[serde(default)]
    pub secondary_allocation_ids: Vec<String>,
    /// Further addresses in the subnet.
    #[serde(default)]
    pub secondary_private_ip_addresses: Vec<Ipv4Addr>,
    /// How many further addresses of a private one are drawn.
    pub secondary_private_ip_address_count: Option<u32>,
    /// Makes it idempotent.
    pub client_token: Option<String>,
    /// Its tags, of `natgateway`.
    #[serde(default)]
    pub tag_specifications: Vec<TagSpecification>,
}

/// Removes a NAT gateway; routes by it become blackholes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteNatGateway {
    /// The gateway.
    pub nat_gateway_id: String,
}

/// What a NAT gateway translates to: an elastic address, if it is public, and an address
/// of the subnet, drawn if none is named.
struct Wish {
    elastic: Option<String>,
    private: Option<Ipv4Addr>,
}

/// Addresses in the subnet of one gateway.
const PRIVATE_ADDRESSES: usize = 8;

impl Act for CreateNatGateway {
    fn act(&self, transaction: &mut Transaction<'_>, context: &mut Context) -> Answer {
        let account = context.caller.account;
        let token = client_token(self.client_token.as_deref(), self)?;
        if let Some(made) = made_before::<NatGateway>(transaction, account, token.as_ref())?.first()
        {
            return Ok(self.answer(made));
        }
        let subnet: Subnet = own(transaction, account, &self.subnet_id)?;
        let is_public = self.is_public()?;
        let wishes = self.wishes(is_public)?;
        check_addresses(wishes.len(), is_public, &context.settings)?;
        check_zone(transaction, &subnet, &context.settings)?;
        let tags = tags(&self.tag_specifications, "natgateway", &context.settings)?;
        let failure = failure(transaction, &subnet, &wishes);
        let (failure_code, failure_message) = failure.unzip();
        let mut gateway = NatGateway {
            nat_gateway_id: IdKind::NAT_GATEWAY.fresh(&mut context.entropy),
            owner_id: account,
            vpc_id: subnet.vpc_id.clone(),
            subnet_id: subnet.subnet_id.clone(),
            connectivity_type: if is_public { "public" } else { "private" }.to_owned(),
            state: NatGatewayState::Pending,
            create_time: context.now,
            delete_time: None,
            failure_code: failure_code.map(str::to_owned),
            failure_message,
            nat_gateway_addresses: Vec::new(),
            client_token: token,
            tags,
        };
        if gateway.failure_code.is_none() {
            Self::furnish(transaction, context, &mut gateway, &subnet, &wishes)?;
        }
        let answer = self.answer(&gateway);
        transaction.put(gateway);
        Ok(answer)
    }
}

impl CreateNatGateway {
    fn is_public(&self) -> Result<bool, ApiError> {
        if self
            .availability_mode
            .as_deref()
            .is_some_and(|mode| mode != "zonal")
        {
            let message = "AvailabilityMode must be zonal.";
            return Err(ApiError::invalid(message));
        }
        match self.connectivity_type.as_deref() {
            None | Some("public") => Ok(true),
            Some("private") => Ok(false),
            Some(other) => {
                let message = format!("Invalid value '{other}' for ConnectivityType.");
                Err(ApiError::invalid(message))
            }
        }
    }

    /// What it shall translate to, the primary address first.
    fn wishes(&self, is_public: bool) -> Result<Vec<Wish>, ApiError> {
        let named = &self.secondary_private_ip_addresses;
        let count = self.secondary_private_ip_address_count;
        let elastic = &self.secondary_allocation_ids;
        let primary = Wish {
            elastic: self.allocation_id.clone(),
            private: self.private_ip_address,
        };
        let further = if is_public {
            if self.allocation_id.is_none() {
                let message = "The request must contain the parameter AllocationId";
                return Err(ApiError::new("MissingParameter", message));
            }
            if count.is_some() {
                let message = "SecondaryPrivateIpAddressCount is of private NAT gateways only.";
                return Err(invalid_parameter(message));
            }
            addresses::public_wishes(elastic, named)?
        } else {
            if self.allocation_id.is_some() || !elastic.is_empty() {
                let message = "AllocationId must not be specified for private NAT gateways.";
                return Err(invalid_parameter(message));
            }
            private_wishes(named, count)?
        };
        Ok(std::iter::once(primary).chain(further).collect())
    }

    /// Makes its interface with all its addresses.
    fn furnish(
        transaction: &mut Transaction<'_>,
        context: &mut Context,
        gateway: &mut NatGateway,
        subnet: &Subnet,
        wishes: &[Wish],
    ) -> Result<(), ApiError> {
        let new = New {
            description: format!("Interface for NAT Gateway {}", gateway.nat_gateway_id),
            interface_type: "nat_gateway",
            groups: Vec::new(),
            tags: Tags::new(),
        };
        let wanted: Vec<_> = wishes.iter().map(|wish| wish.private).collect();
        let interface = new.for_service(transaction, context, subnet, &wanted)?;
        let given: Vec<_> = addresses_of(&interface).collect();
        let id = &interface.network_interface_id;
        addresses::add(transaction, context, gateway, id, wishes, &given);
        if let Some(first) = gateway.nat_gateway_addresses.first_mut() {
            first.is_primary = true;
        }
        Ok(())
    }

    fn answer(&self, gateway: &NatGateway) -> Value {
        present(json!({
            "ClientToken": self.client_token,
            "NatGateway": shown(gateway),
        }))
    }
}

/// Addresses in the subnet that are named, or that are drawn; none of both as well.
fn private_wishes(named: &[Ipv4Addr], count: Option<u32>) -> Result<Vec<Wish>, ApiError> {
    if named.is_empty() && count.unwrap_or(0) == 0 {
        return Ok(Vec::new());
    }
    let wish = |private| Wish {
        elastic: None,
        private,
    };
    Ok(wanted(named, count)?.into_iter().map(wish).collect())
}

/// How many addresses a gateway may have.
fn check_addresses(count: usize, is_public: bool, settings: &Settings) -> Result<(), ApiError> {
    let elastic = settings.addresses_per_nat_gateway as usize;
    if is_public && count > elastic {
        let message = format!(
            "The maximum number of {elastic} elastic addresses of a NAT gateway is exceeded."
        );
        return Err(ApiError::new("AddressLimitExceeded", message));
    }
    if count > PRIVATE_ADDRESSES {
        let message = format!(
            "The maximum number of {PRIVATE_ADDRESSES} private addresses of a NAT gateway is \
             exceeded."
        );
        return Err(ApiError::new("PrivateIpAddressLimitExceeded", message));
    }
    Ok(())
}

/// How many gateways an account may have in an availability zone: those that failed or
/// are deleted do not count.
fn check_zone(state: &State, subnet: &Subnet, settings: &Settings) -> Result<(), ApiError> {
    let counts = |gateway: &&NatGateway| {
        let is_over = matches!(
            gateway.state,
            NatGatewayState::Failed | NatGatewayState::Deleted
        );
        let other = state.get::<Subnet>(gateway.subnet_id.as_str());
        let same = other.is_some_and(|other| other.availability_zone == subnet.availability_zone);
        same && !is_over
    };
    let have = state
        .of_account::<NatGateway>(subnet.owner_id)
        .filter(counts);
    if have.count() as u64 >= u64::from(settings.nat_gateways_per_zone) {
        let message = format!(
            "The maximum number of {} NAT gateways has been reached in {}.",
            settings.nat_gateways_per_zone, subnet.availability_zone
        );
        return Err(ApiError::new("NatGatewayLimitExceeded", message));
    }
    Ok(())
}

/// Why a gateway cannot be made as things are: `FailureCode` and `FailureMessage`.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_NatGateway.html>
fn failure(state: &State, subnet: &Subnet, wishes: &[Wish]) -> Option<(&'static str, String)> {
    let mut seen = BTreeSet::new();
    for id in wishes.iter().filter_map(|wish| wish.elastic.as_deref()) {
        let Ok(address) = own::<Address>(state, subnet.owner_id, id) else {
            let message =
                format!("Elastic IP address {id} could not be associated with this NAT gateway");
            return Some(("InvalidAllocationID.NotFound", message));
        };
        if address.association_id.is_some() || !seen.insert(id) {
            let message = format!("Elastic IP address {id} is already associated");
            return Some(("Resource.AlreadyAssociated", message));
        }
    }
    let vpc = subnet.vpc_id.as_str();
    if !seen.is_empty() && attached_to(state, vpc).is_none() {
        let message = format!("Network {vpc} has no Internet gateway attached");
        return Some(("Gateway.NotAttached", message));
    }
    if available_count(state, subnet) < wishes.len() {
        let message = "Subnet has insufficient free addresses to create this NAT gateway";
        return Some(("InsufficientFreeAddressesInSubnet", message.to_owned()));
    }
    None
}

/// As DescribeNatGateways shows it.
pub(super) fn shown(gateway: &NatGateway) -> Value {
    let failed = gateway.state == NatGatewayState::Failed;
    let addresses = gateway.nat_gateway_addresses.iter();
    present(json!({
        "AvailabilityMode": "zonal",
        "ConnectivityType": gateway.connectivity_type,
        "CreateTime": gateway.create_time.to_string(),
        "DeleteTime": gateway.delete_time.map(|time| time.to_string()),
        "FailureCode": gateway.failure_code.as_ref().filter(|_| failed),
        "FailureMessage": gateway.failure_message.as_ref().filter(|_| failed),
        "NatGatewayAddresses": addresses.map(shown_address).collect::<Vec<_>>(),
        "NatGatewayId": gateway.nat_gateway_id,
        "State": gateway.state,
        "SubnetId": gateway.subnet_id,
        "Tags": tag_list(&gateway.tags),
        "VpcId": gateway.vpc_id,
    }))
}

fn shown_address(address: &NatGatewayAddress) -> Value {
    present(json!({
        "AllocationId": address.allocation_id,
        "AssociationId": address.association_id,
        "IsPrimary": address.is_primary,
        "NetworkInterfaceId": address.network_interface_id,
        "PrivateIp": address.private_ip,
        "PublicIp": address.public_ip,
        "Status": address.status,
    }))
}
