//! Entries of network ACLs.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/nacl-rules.html>

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ALL_PROTOCOLS;
use crate::control::{
    ApiError, Context, Transaction,
    ec2::{
        Act, cidr_blocks, done,
        lookup::{find, within},
    },
    resource::{IcmpTypeCode, NetworkAcl, NetworkAclEntry, PortRange, RuleAction},
};

/// The highest number; AWS keeps those above for itself.
const NUMBER_MAX: u16 = 32_766;

/// Adds an entry.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateNetworkAclEntry.html>
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateNetworkAclEntry {
    /// The ACL.
    pub network_acl_id: String,
    /// 1 to 32,766, unique in its direction.
    pub rule_number: i64,
    /// Of packets that leave.
    pub egress: bool,
    /// Allow or deny.
    pub rule_action: RuleAction,
    /// The number of a protocol, or `-1` for all.
    pub protocol: String,
    /// The other end.
    pub cidr_block: String,
    /// Destination ports, of TCP and UDP.
    #[serde(default)]
    pub port_range: Option<PortRange>,
    /// Type and code, of ICMP.
    #[serde(default)]
    pub icmp_type_code: Option<IcmpTypeCode>,
}

/// Puts an entry in the place of the one with its number.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ReplaceNetworkAclEntry.html>
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReplaceNetworkAclEntry(pub CreateNetworkAclEntry);

/// Removes an entry.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DeleteNetworkAclEntry.html>
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteNetworkAclEntry {
    /// The ACL.
    pub network_acl_id: String,
    /// Its number.
    pub rule_number: i64,
    /// Of packets that leave.
    pub egress: bool,
}

impl Act for CreateNetworkAclEntry {
    fn act(
        &self,
        transaction: &mut Transaction<'_>,
        context: &mut Context,
    ) -> Result<Value, ApiError> {
        let account = context.caller.account;
        let mut acl = find::<NetworkAcl>(transaction, account, &self.network_acl_id)?.clone();
        let entry = self.entry()?;
        if position(&acl, self.egress, self.rule_number).is_some() {
            let number = entry.rule_number;
            let message = format!("The network acl entry identified by {number} already exists.");
            return Err(ApiError::new("NetworkAclEntryAlreadyExists", message));
        }
        let of_direction = acl.entries.iter().filter(|one| one.egress == self.egress);
        let count = of_direction.count() + 1;
        let quota = context.settings.quotas.entries_per_network_acl;
        let what = "network acl entries";
        within("NetworkAclEntryLimitExceeded", what, count, quota)?;
        acl.entries.push(entry);
        acl.entries.sort_by_key(|one| (one.egress, one.rule_number));
        transaction.put(acl);
        Ok(done())
    }
}

impl Act for ReplaceNetworkAclEntry {
    fn act(
        &self,
        transaction: &mut Transaction<'_>,
        context: &mut Context,
    ) -> Result<Value, ApiError> {
        let Self(request) = self;
        let account = context.caller.account;
        let mut acl = find::<NetworkAcl>(transaction, account, &request.network_acl_id)?.clone();
        let entry = request.entry()?;
        let index = position(&acl, request.egress, request.rule_number);
        let slot = index.and_then(|index| acl.entries.get_mut(index));
        *slot.ok_or_else(|| no_entry(request.rule_number))? = entry;
        transaction.put(acl);
        Ok(done())
    }
}

impl Act for DeleteNetworkAclEntry {
    fn act(
        &self,
        transaction: &mut Transaction<'_>,
        context: &mut Context,
    ) -> Result<Value, ApiError> {
        let account = context.caller.account;
        let mut acl = find::<NetworkAcl>(transaction, account, &self.network_acl_id)?.clone();
        let index = position(&acl, self.egress, self.rule_number);
        acl.entries
            .remove(index.ok_or_else(|| no_entry(self.rule_number))?);
        transaction.put(acl);
        Ok(done())
    }
}

fn position(acl: &NetworkAcl, egress: bool, number: i64) -> Option<usize> {
    let is_it =
        |one: &NetworkAclEntry| one.egress == egress && i64::from(one.rule_number) == number;
    acl.entries.iter().position(is_it)
}

fn no_entry(number: i64) -> ApiError {
    let message = format!("The network acl entry identified by {number} does not exist.");
    ApiError::new("InvalidNetworkAclEntry.NotFound", message)
}

impl CreateNetworkAclEntry {
    fn entry(&self) -> Result<NetworkAclEntry, ApiError> {
        let number = u16::try_from(self.rule_number).ok();
        let number = number.filter(|number| (1..=NUMBER_MAX).contains(number));
        let rule_number = number.ok_or_else(|| {
            ApiError::invalid(format!(
                "Value ({}) for parameter ruleNumber is invalid. It is 1 to {NUMBER_MAX}.",
                self.rule_number
            ))
        })?;
        let protocol = protocol(&self.protocol)?;
        Ok(NetworkAclEntry {
            rule_number,
            egress: self.egress,
            rule_action: self.rule_action,
            cidr_block: cidr_blocks::prefix("cidrBlock", &self.cidr_block)?,
            port_range: match protocol.as_str() {
                "6" | "17" => Some(ports(self.port_range)?),
                _ => None,
            },
            icmp_type_code: match protocol.as_str() {
                "1" => Some(icmp(self.icmp_type_code)?),
                _ => None,
            },
            protocol,
        })
    }
}

/// The number of a protocol, as an entry has it.
fn protocol(text: &str) -> Result<String, ApiError> {
    let number = match text.to_ascii_lowercase().as_str() {
        "tcp" => Some(6),
        "udp" => Some(17),
        "icmp" => Some(1),
        ALL_PROTOCOLS | "all" => return Ok(ALL_PROTOCOLS.to_owned()),
        other => other.parse::<u8>().ok(),
    };
    let invalid = || ApiError::invalid(format!("Invalid value '{text}' for protocol"));
    Ok(number.ok_or_else(invalid)?.to_string())
}

fn ports(range: Option<PortRange>) -> Result<PortRange, ApiError> {
    let range = range.ok_or_else(|| ApiError::missing("portRange"))?;
    if range.from > range.to {
        let message = format!("Invalid value '{}-{}' for portRange", range.from, range.to);
        return Err(ApiError::invalid(message));
    }
    Ok(range)
}

fn icmp(types: Option<IcmpTypeCode>) -> Result<IcmpTypeCode, ApiError> {
    let types = types.ok_or_else(|| ApiError::missing("icmpTypeCode"))?;
    let IcmpTypeCode { r#type, code } = types;
    let range = -1..=i32::from(u8::MAX);
    if !range.contains(&r#type) || !range.contains(&code) || r#type == -1 && code != -1 {
        let message = format!("ICMP type-code pair ({}, {code}) out of range", r#type);
        return Err(ApiError::invalid(message));
    }
    Ok(types)
}
