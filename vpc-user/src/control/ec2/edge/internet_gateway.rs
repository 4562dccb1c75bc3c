//! Internet gateways.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/VPC_Internet_Gateway.html>

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Act, Answer, TagSpecification,
    lookup::own,
    request::{done, tag_list, tags},
};
use crate::control::{
    ApiError, Context, IdKind, Key, State, Transaction,
    resource::{Address, Interface, InternetGateway, Vpc},
};

/// Makes an internet gateway.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateInternetGateway {
    /// Its tags, of `internet-gateway`.
    #[serde(default)]
    pub tag_specifications: Vec<TagSpecification>,
}

/// Attaches an internet gateway to a VPC: one to one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct AttachInternetGateway {
    /// The gateway.
    pub internet_gateway_id: String,
    /// The VPC.
    pub vpc_id: String,
}

/// Detaches an internet gateway from a VPC in which no public address is left.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DetachInternetGateway {
    /// The gateway.
    pub internet_gateway_id: String,
    /// The VPC.
    pub vpc_id: String,
}

/// Removes an internet gateway that is attached to no VPC.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteInternetGateway {
    /// The gateway.
    pub internet_gateway_id: String,
}

impl Act for CreateInternetGateway {
    fn act(&self, transaction: &mut Transaction<'_>, context: &mut Context) -> Answer {
        let account = context.caller.account;
        let tags = tags(
            &self.tag_specifications,
            "internet-gateway",
            &context.settings,
        )?;
        let have = transaction.of_account::<InternetGateway>(account).count();
        if have as u64 >= u64::from(context.settings.internet_gateways) {
            let message = "The maximum number of internet gateways has been reached.";
            return Err(ApiError::new("InternetGatewayLimitExceeded", message));
        }
        let gateway = InternetGateway {
            internet_gateway_id: IdKind::INTERNET_GATEWAY.fresh(&mut context.entropy),
            owner_id: account,
            vpc_id: None,
            tags,
        };
        let answer = json!({ "InternetGateway": shown(&gateway) });
        transaction.put(gateway);
        Ok(answer)
    }
}

impl Act for AttachInternetGateway {
    fn act(&self, transaction: &mut Transaction<'_>, context: &mut Context) -> Answer {
        let account = context.caller.account;
        let id = &self.internet_gateway_id;
        let gateway: InternetGateway = own(transaction, account, id)?;
        let vpc: Vpc = own(transaction, account, &self.vpc_id)?;
        if let Some(attached) = &gateway.vpc_id {
            let message = format!("resource {id} is already attached to network {attached}");
            return Err(ApiError::new("Resource.AlreadyAssociated", message));
        }
        if attached_to(transaction, vpc.vpc_id.as_str()).is_some() {
            let vpc = &vpc.vpc_id;
            let message = format!("Network {vpc} already has an internet gateway attached");
            return Err(ApiError::invalid(message));
        }
        transaction.update(id, |gateway: &mut InternetGateway| {
            gateway.vpc_id = Some(vpc.vpc_id);
        });
        Ok(done())
    }
}

impl Act for DetachInternetGateway {
    fn act(&self, transaction: &mut Transaction<'_>, context: &mut Context) -> Answer {
        let account = context.caller.account;
        let (id, vpc) = (&self.internet_gateway_id, &self.vpc_id);
        let gateway: InternetGateway = own(transaction, account, id)?;
        own::<Vpc>(transaction, account, vpc)?;
        if gateway
            .vpc_id
            .is_none_or(|attached| attached.as_str() != vpc)
        {
            let message = format!("resource {id} is not attached to network {vpc}");
            return Err(ApiError::new("Gateway.NotAttached", message));
        }
        if has_public_address(transaction, vpc) {
            let message = format!(
                "Network {vpc} has some mapped public address(es). Please unmap those public \
                 address(es) before detaching the gateway."
            );
            return Err(ApiError::new("DependencyViolation", message));
        }
        transaction.update(id, |gateway: &mut InternetGateway| gateway.vpc_id = None);
        Ok(done())
    }
}

impl Act for DeleteInternetGateway {
    fn act(&self, transaction: &mut Transaction<'_>, context: &mut Context) -> Answer {
        let id = &self.internet_gateway_id;
        let gateway: InternetGateway = own(transaction, context.caller.account, id)?;
        if gateway.vpc_id.is_some() {
            let message =
                format!("The internetGateway '{id}' has dependencies and cannot be deleted.");
            return Err(ApiError::new("DependencyViolation", message));
        }
        transaction.remove(Key::of::<InternetGateway>(id));
        Ok(done())
    }
}

/// The internet gateway of a VPC.
pub fn attached_to<'s>(state: &'s State, vpc: &str) -> Option<&'s InternetGateway> {
    let vpc = Key::of::<Vpc>(vpc);
    state.referring::<InternetGateway>(&vpc).next()
}

/// Whether an interface in the VPC has a public address: a NAT gateway's among them.
fn has_public_address(state: &State, vpc: &str) -> bool {
    let interface = |address: &Address| {
        let id = address.network_interface_id.as_ref()?;
        state.get::<Interface>(id.as_str())
    };
    let mut interfaces = state.all::<Address>().filter_map(interface);
    interfaces.any(|interface| interface.vpc_id.as_str() == vpc)
}

/// As DescribeInternetGateways shows it.
pub(super) fn shown(gateway: &InternetGateway) -> Value {
    let attachments: Vec<Value> = gateway
        .vpc_id
        .iter()
        // EC2 says `available` of an attachment, whatever its model lists.
        .map(|vpc| json!({ "State": "available", "VpcId": vpc }))
        .collect();
    json!({
        "Attachments": attachments,
        "InternetGatewayId": gateway.internet_gateway_id,
        "OwnerId": gateway.owner_id,
        "Tags": tag_list(&gateway.tags),
    })
}
