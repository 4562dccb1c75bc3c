//! VPC endpoints.
//! <https://docs.aws.amazon.com/vpc/latest/privatelink/concepts.html>

mod check;
mod life;

use std::{collections::BTreeMap, net::Ipv4Addr};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Act, Answer, TagSpecification,
    interface::{New, group_list, remove},
    lookup::{default_group, own},
    names::{endpoint_name, private_dns_name},
    request::{
        client_token, incorrect_state, invalid_parameter, made_before, present, tag_list, tags,
    },
};
use crate::control::{
    ApiError, Context, Id, IdKind, State, Tags, Transaction,
    record::Typed,
    resource::{Endpoint, EndpointType, Interface, RouteTable, SecurityGroup, Subnet, Vpc},
};

pub use life::DeleteVpcEndpoints;
pub(super) use life::{next_tick, tick};

/// States of an endpoint, as the API spells them.
mod state {
    pub const PENDING: &str = "pending";
    pub const AVAILABLE: &str = "available";
    pub const DELETING: &str = "deleting";
    pub const DELETED: &str = "deleted";
}

/// What an endpoint restricts unless said otherwise: nothing.
pub(super) const OPEN_POLICY: &str =
    r#"{"Statement":[{"Action":"*","Effect":"Allow","Principal":"*","Resource":"*"}]}"#;

/// Makes an endpoint.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateVpcEndpoint {
    /// Its VPC.
    pub vpc_id: String,
    /// `com.amazonaws.<region>.<service>`.
    pub service_name: String,
    /// `Gateway`, unless said otherwise, or `Interface`.
    pub vpc_endpoint_type: Option<String>,
    /// What it restricts; nothing unless said otherwise.
    pub policy_document: Option<String>,
    /// Route tables of a gateway endpoint.
    #[serde(default)]
    pub route_table_ids: Vec<String>,
    /// Subnets of an interface endpoint, one of a zone.
    #[serde(default)]
    pub subnet_ids: Vec<String>,
    /// Addresses in these subnets.
    #[serde(default)]
    pub subnet_configurations: Vec<SubnetConfiguration>,
    /// Security groups of an interface endpoint; the VPC's default one if none is named.
    #[serde(default)]
    pub security_group_ids: Vec<String>,
    /// `ipv4`, the only one there is.
    pub ip_address_type: Option<String>,
    /// Whether the service's public name leads to it: so of an interface endpoint, unless
    /// said otherwise.
    pub private_dns_enabled: Option<bool>,
    /// Makes it idempotent.
    pub client_token: Option<String>,
    /// Its tags, of `vpc-endpoint`.
    #[serde(default)]
    pub tag_specifications: Vec<TagSpecification>,
}

/// The address of an interface endpoint in one of its subnets.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct SubnetConfiguration {
    /// The subnet.
    pub subnet_id: String,
    /// The address; one is drawn if none is named.
    pub ipv4: Option<Ipv4Addr>,
}

/// Changes an endpoint.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ModifyVpcEndpoint {
    /// The endpoint.
    pub vpc_endpoint_id: String,
    /// Whether it restricts nothing from now on.
    #[serde(default)]
    pub reset_policy: bool,
    /// What it restricts from now on.
    pub policy_document: Option<String>,
    /// Further route tables.
    #[serde(default)]
    pub add_route_table_ids: Vec<String>,
    /// Route tables that it leaves.
    #[serde(default)]
    pub remove_route_table_ids: Vec<String>,
    /// Further subnets.
    #[serde(default)]
    pub add_subnet_ids: Vec<String>,
    /// Subnets that it leaves.
    #[serde(default)]
    pub remove_subnet_ids: Vec<String>,
    /// Further security groups.
    #[serde(default)]
    pub add_security_group_ids: Vec<String>,
    /// Security groups that it no longer carries.
    #[serde(default)]
    pub remove_security_group_ids: Vec<String>,
    /// Whether the service's public name leads to it.
    pub private_dns_enabled: Option<bool>,
}

impl Act for CreateVpcEndpoint {
    fn act(&self, transaction: &mut Transaction<'_>, context: &mut Context) -> Answer {
        let account = context.caller.account;
        let token = client_token(self.client_token.as_deref(), self)?;
        if let Some(made) = made_before::<Endpoint>(transaction, account, token.as_ref())?.first() {
            return Ok(self.answer(transaction, made));
        }
        let vpc: Vpc = own(transaction, account, &self.vpc_id)?;
        if self
            .ip_address_type
            .as_deref()
            .is_some_and(|kind| kind != "ipv4")
        {
            return Err(invalid_parameter("IpAddressType must be ipv4."));
        }
        let mut endpoint = Endpoint {
            vpc_endpoint_id: IdKind::ENDPOINT.fresh(&mut context.entropy),
            owner_id: account,
            vpc_id: vpc.vpc_id,
            vpc_endpoint_type: self.kind()?,
            service_name: self.service_name.clone(),
            state: state::PENDING.to_owned(),
            creation_timestamp: context.now,
            route_table_ids: known::<RouteTable>(transaction, context, &self.route_table_ids)?,
            subnet_ids: known::<Subnet>(transaction, context, &self.subnets())?,
            group_ids: known::<SecurityGroup>(transaction, context, &self.security_group_ids)?,
            network_interface_ids: Vec::new(),
            private_dns_enabled: self
                .private_dns_enabled
                .unwrap_or(self.kind()? == EndpointType::Interface),
            policy_document: self
                .policy_document
                .clone()
                .unwrap_or_else(|| OPEN_POLICY.to_owned()),
            delete_time: None,
            client_token: token,
            tags: tags(&self.tag_specifications, "vpc-endpoint", &context.settings)?,
        };
        check::new(transaction, &endpoint, &context.settings)?;
        if endpoint.vpc_endpoint_type == EndpointType::Interface && endpoint.group_ids.is_empty() {
            endpoint.group_ids = vec![default_group(transaction, account, &endpoint.vpc_id)?];
        }
        check::whole(transaction, &endpoint, &context.settings)?;
        settle(transaction, context, &mut endpoint, &self.addresses()?)?;
        let answer = self.answer(transaction, &endpoint);
        transaction.put(endpoint);
        Ok(answer)
    }
}

impl CreateVpcEndpoint {
    fn kind(&self) -> Result<EndpointType, ApiError> {
        match self.vpc_endpoint_type.as_deref() {
            None | Some("Gateway") => Ok(EndpointType::Gateway),
            Some("Interface") => Ok(EndpointType::Interface),
            Some(other) => {
                let message = format!("VpcEndpointType {other} is not supported.");
                Err(invalid_parameter(message))
            }
        }
    }

    /// Its subnets: the configurations name them as well.
    fn subnets(&self) -> Vec<String> {
        let configured = self.subnet_configurations.iter().map(|one| &one.subnet_id);
        self.subnet_ids.iter().chain(configured).cloned().collect()
    }

    /// The addresses that are named, by subnet.
    fn addresses(&self) -> Result<BTreeMap<&str, Ipv4Addr>, ApiError> {
        let mut addresses = BTreeMap::new();
        for one in &self.subnet_configurations {
            if let Some(address) = one.ipv4
                && addresses.insert(one.subnet_id.as_str(), address).is_some()
            {
                let message = format!("Subnet {} is configured twice.", one.subnet_id);
                return Err(invalid_parameter(message));
            }
        }
        Ok(addresses)
    }

    fn answer(&self, state: &State, endpoint: &Endpoint) -> Value {
        present(json!({
            "ClientToken": self.client_token,
            "VpcEndpoint": shown(state, endpoint),
        }))
    }
}

impl Act for ModifyVpcEndpoint {
    fn act(&self, transaction: &mut Transaction<'_>, context: &mut Context) -> Answer {
        let id = &self.vpc_endpoint_id;
        let mut endpoint: Endpoint = own(transaction, context.caller.account, id)?;
        if ![state::PENDING, state::AVAILABLE].contains(&endpoint.state.as_str()) {
            let message = format!("VPC endpoint {id} is {}.", endpoint.state);
            return Err(incorrect_state(message));
        }
        let tables = known::<RouteTable>(transaction, context, &self.add_route_table_ids)?;
        change(
            &mut endpoint.route_table_ids,
            tables,
            &self.remove_route_table_ids,
        )?;
        let subnets = known::<Subnet>(transaction, context, &self.add_subnet_ids)?;
        change(&mut endpoint.subnet_ids, subnets, &self.remove_subnet_ids)?;
        let groups = known::<SecurityGroup>(transaction, context, &self.add_security_group_ids)?;
        change(
            &mut endpoint.group_ids,
            groups,
            &self.remove_security_group_ids,
        )?;
        if self.reset_policy {
            OPEN_POLICY.clone_into(&mut endpoint.policy_document);
        }
        if let Some(policy) = &self.policy_document {
            endpoint.policy_document.clone_from(policy);
        }
        endpoint.private_dns_enabled = self
            .private_dns_enabled
            .unwrap_or(endpoint.private_dns_enabled);
        check::whole(transaction, &endpoint, &context.settings)?;
        settle(transaction, context, &mut endpoint, &BTreeMap::new())?;
        transaction.put(endpoint);
        Ok(json!({ "Return": true }))
    }
}

/// The ids of resources of the caller, none twice.
fn known<T: Typed>(
    transaction: &Transaction<'_>,
    context: &Context,
    ids: &[String],
) -> Result<Vec<Id>, ApiError> {
    let mut known: Vec<Id> = Vec::new();
    for id in ids {
        let one: T = own(transaction, context.caller.account, id)?;
        let id = Id::new(one.id()).map_err(|error| ApiError::invalid(error.to_string()))?;
        if !known.contains(&id) {
            known.push(id);
        }
    }
    Ok(known)
}

/// Adds and removes ids.
fn change(ids: &mut Vec<Id>, add: Vec<Id>, remove: &[String]) -> Result<(), ApiError> {
    for gone in remove {
        let before = ids.len();
        ids.retain(|id| id.as_str() != gone);
        if ids.len() == before {
            let message = format!("{gone} is not associated with the VPC endpoint.");
            return Err(invalid_parameter(message));
        }
    }
    let new: Vec<Id> = add.into_iter().filter(|id| !ids.contains(id)).collect();
    ids.extend(new);
    Ok(())
}

/// Makes and removes interfaces, so that there is one in each of its subnets, and each
/// carries its security groups.
fn settle(
    transaction: &mut Transaction<'_>,
    context: &mut Context,
    endpoint: &mut Endpoint,
    addresses: &BTreeMap<&str, Ipv4Addr>,
) -> Result<(), ApiError> {
    let mut without = endpoint.subnet_ids.clone();
    let mut groups = endpoint.group_ids.clone();
    groups.sort();
    for id in std::mem::take(&mut endpoint.network_interface_ids) {
        let interface: Interface = own(transaction, endpoint.owner_id, id.as_str())?;
        if !endpoint.subnet_ids.contains(&interface.subnet_id) {
            remove(transaction, id.as_str());
            continue;
        }
        without.retain(|subnet| *subnet != interface.subnet_id);
        let groups = groups.clone();
        transaction.update(id.as_str(), |interface: &mut Interface| {
            interface.groups = groups
        });
        endpoint.network_interface_ids.push(id);
    }
    for subnet in without {
        let subnet: Subnet = own(transaction, endpoint.owner_id, subnet.as_str())?;
        let new = New {
            description: format!("VPC Endpoint Interface {}", endpoint.vpc_endpoint_id),
            interface_type: "vpc_endpoint",
            groups: groups.clone(),
            tags: Tags::new(),
        };
        let wanted = addresses.get(subnet.subnet_id.as_str()).copied();
        let interface = new.for_service(transaction, context, &subnet, &[wanted])?;
        endpoint
            .network_interface_ids
            .push(interface.network_interface_id);
    }
    Ok(())
}

/// As DescribeVpcEndpoints shows it.
pub(super) fn shown(state: &State, endpoint: &Endpoint) -> Value {
    let is_interface = endpoint.vpc_endpoint_type == EndpointType::Interface;
    let record_type = if is_interface {
        "ipv4"
    } else {
        "service-defined"
    };
    json!({
        "CreationTimestamp": endpoint.creation_timestamp.to_string(),
        "DnsEntries": dns_entries(state, endpoint),
        "DnsOptions": { "DnsRecordIpType": record_type },
        "Groups": group_list(state, &endpoint.group_ids),
        "IpAddressType": "ipv4",
        "NetworkInterfaceIds": endpoint.network_interface_ids,
        "OwnerId": endpoint.owner_id,
        "PolicyDocument": endpoint.policy_document,
        "PrivateDnsEnabled": endpoint.private_dns_enabled,
        "RequesterManaged": false,
        "RouteTableIds": endpoint.route_table_ids,
        "ServiceName": endpoint.service_name,
        "State": endpoint.state,
        "SubnetIds": endpoint.subnet_ids,
        "Tags": tag_list(&endpoint.tags),
        "VpcEndpointId": endpoint.vpc_endpoint_id,
        "VpcEndpointType": endpoint.vpc_endpoint_type,
        "VpcId": endpoint.vpc_id,
    })
}

/// The names of an interface endpoint: for all of its addresses, for those of each zone,
/// and the service's public name.
fn dns_entries(state: &State, endpoint: &Endpoint) -> Vec<Value> {
    if endpoint.network_interface_ids.is_empty() {
        return Vec::new();
    }
    let id = endpoint.vpc_endpoint_id.as_str();
    let service = &endpoint.service_name;
    let label = id.get(id.len().saturating_sub(8)..).unwrap_or(id);
    let mut names: Vec<Option<String>> = vec![endpoint_name(id, label, service)];
    for subnet in &endpoint.subnet_ids {
        let subnet = state.get::<Subnet>(subnet.as_str());
        names.push(subnet.and_then(|subnet| {
            let zone = &subnet.availability_zone;
            endpoint_name(id, &format!("{label}-{zone}"), service)
        }));
    }
    if endpoint.private_dns_enabled {
        names.push(private_dns_name(service));
    }
    let names = names.into_iter().flatten();
    names.map(|name| json!({ "DnsName": name })).collect()
}
