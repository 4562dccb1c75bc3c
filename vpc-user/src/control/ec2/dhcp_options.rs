//! Sets of DHCP options: made once, never changed, replaced by another set.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/DHCPOptionSetConcepts.html>

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Act, done,
    lookup::{find, in_use},
    tags::{self, TagSpecification},
};
use crate::control::{
    ApiError, Context, Id, IdKind, Key, Transaction,
    resource::{DhcpConfiguration, DhcpOptions, Vpc},
};

/// The word for a VPC without a set.
pub const NO_SET: &str = "default";
/// The resolver of the VPC, among domain name servers.
const AMAZON_DNS: &str = "AmazonProvidedDNS";
/// Addresses of one family in an option.
const ADDRESSES_MAX: usize = 4;
/// Characters of a domain name.
const NAME_MAX: usize = 253;

/// Makes a set of DHCP options.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateDhcpOptions.html>
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateDhcpOptions {
    /// The options.
    pub dhcp_configurations: Vec<DhcpConfiguration>,
    /// Tags of the set.
    #[serde(default)]
    pub tag_specifications: Vec<TagSpecification>,
}

/// Gives a VPC another set, or none.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_AssociateDhcpOptions.html>
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct AssociateDhcpOptions {
    /// The set; `default`: none.
    pub dhcp_options_id: String,
    /// The VPC.
    pub vpc_id: String,
}

/// Deletes a set that no VPC uses.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DeleteDhcpOptions.html>
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteDhcpOptions {
    /// The set.
    pub dhcp_options_id: String,
}

impl Act for CreateDhcpOptions {
    fn act(
        &self,
        transaction: &mut Transaction<'_>,
        context: &mut Context,
    ) -> Result<Value, ApiError> {
        check(&self.dhcp_configurations)?;
        let set = DhcpOptions {
            dhcp_options_id: IdKind::DHCP_OPTIONS.fresh(&mut context.entropy),
            owner_id: context.caller.account,
            dhcp_configurations: self.dhcp_configurations.clone(),
            tags: tags::specified(&self.tag_specifications, "dhcp-options", &context.settings)?,
        };
        let answer = json!({ "DhcpOptions": shown(&set) });
        transaction.put(set);
        Ok(answer)
    }
}

impl Act for AssociateDhcpOptions {
    fn act(
        &self,
        transaction: &mut Transaction<'_>,
        context: &mut Context,
    ) -> Result<Value, ApiError> {
        let account = context.caller.account;
        let vpc = find::<Vpc>(transaction, account, &self.vpc_id)?;
        let set = match self.dhcp_options_id.as_str() {
            NO_SET => None,
            id => Some(find::<DhcpOptions>(transaction, account, id)?),
        };
        let set = set.map(|set| set.dhcp_options_id.clone());
        let vpc = Vpc {
            dhcp_options_id: set,
            ..vpc.clone()
        };
        transaction.put(vpc);
        Ok(done())
    }
}

impl Act for DeleteDhcpOptions {
    fn act(
        &self,
        transaction: &mut Transaction<'_>,
        context: &mut Context,
    ) -> Result<Value, ApiError> {
        let id = &self.dhcp_options_id;
        find::<DhcpOptions>(transaction, context.caller.account, id)?;
        let key = Key::of::<DhcpOptions>(id);
        if transaction.referrers_of(&key).next().is_some() {
            return Err(in_use::<DhcpOptions>(id));
        }
        transaction.remove(key);
        Ok(done())
    }
}

/// The set that new VPCs of the account get: AWS's own options, made when first needed.
pub(super) fn default_set(transaction: &mut Transaction<'_>, context: &mut Context) -> Id {
    let region = &context.settings.region;
    let domain = match region.as_str() {
        "us-east-1" => "ec2.internal".to_owned(),
        region => format!("{region}.compute.internal"),
    };
    let options = [
        ("domain-name", domain),
        ("domain-name-servers", AMAZON_DNS.to_owned()),
    ];
    let options = options.map(|(key, value)| DhcpConfiguration {
        key: key.to_owned(),
        values: vec![value],
    });
    let account = context.caller.account;
    let existing = transaction
        .of_account::<DhcpOptions>(account)
        .find(|set| set.dhcp_configurations == options);
    if let Some(set) = existing {
        return set.dhcp_options_id.clone();
    }
    let id = IdKind::DHCP_OPTIONS.fresh(&mut context.entropy);
    transaction.put(DhcpOptions {
        dhcp_options_id: id.clone(),
        owner_id: account,
        dhcp_configurations: options.to_vec(),
        tags: Default::default(),
    });
    id
}

fn check(options: &[DhcpConfiguration]) -> Result<(), ApiError> {
    if options.is_empty() {
        return Err(ApiError::missing("dhcpConfigurations"));
    }
    for (index, DhcpConfiguration { key, values }) in options.iter().enumerate() {
        if options.iter().take(index).any(|other| other.key == *key) {
            let message = format!("The option {key} is given more than once.");
            return Err(ApiError::invalid(message));
        }
        if !is_option(key, values) {
            let message = format!(
                "Value ({}) for parameter {key} is invalid.",
                values.join(", ")
            );
            return Err(ApiError::invalid(message));
        }
    }
    Ok(())
}

/// Whether an option may have these values.
fn is_option(key: &str, values: &[String]) -> bool {
    let one = match values {
        [one] => Some(one.as_str()),
        _ => None,
    };
    let number = one.and_then(|text| text.parse::<u32>().ok());
    match key {
        "domain-name-servers" => are_addresses(values, true, true),
        "ntp-servers" => are_addresses(values, false, true),
        "netbios-name-servers" => are_addresses(values, false, false),
        "domain-name" => one.is_some_and(is_domain_name),
        "netbios-node-type" => matches!(number, Some(1 | 2 | 4 | 8)),
        "ipv6-address-preferred-lease-time" => {
            number.is_some_and(|seconds| (140..=i32::MAX as u32).contains(&seconds))
        }
        _ => false,
    }
}

/// Whether there are 1 to 4 IPv4 addresses, the resolver of the VPC among them, and at
/// most 4 of IPv6.
fn are_addresses(values: &[String], or_amazon: bool, or_ipv6: bool) -> bool {
    let is_v4 = |text: &&String| {
        text.parse::<Ipv4Addr>().is_ok() || or_amazon && text.as_str() == AMAZON_DNS
    };
    let is_v6 = |text: &&String| or_ipv6 && text.parse::<Ipv6Addr>().is_ok();
    let v4 = values.iter().filter(is_v4).count();
    let v6 = values.iter().filter(is_v6).count();
    !values.is_empty() && v4 + v6 == values.len() && v4 <= ADDRESSES_MAX && v6 <= ADDRESSES_MAX
}

/// A name, or several with spaces between, as some systems read it.
fn is_domain_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || ".-_ ".contains(c);
    !text.trim().is_empty() && text.len() <= NAME_MAX && text.chars().all(allowed)
}

/// As DescribeDhcpOptions shows it.
pub(super) fn shown(set: &DhcpOptions) -> Value {
    let option = |one: &DhcpConfiguration| {
        let values = one.values.iter().map(|value| json!({ "Value": value }));
        json!({ "Key": one.key, "Values": values.collect::<Vec<_>>() })
    };
    let options = set.dhcp_configurations.iter().map(option);
    json!({
        "DhcpOptionsId": set.dhcp_options_id,
        "OwnerId": set.owner_id,
        "DhcpConfigurations": options.collect::<Vec<_>>(),
        "Tags": tags::shown(&set.tags),
    })
}
