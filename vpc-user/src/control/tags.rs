//! Tags.

use std::collections::BTreeMap;

use super::Record;

/// Tags of a resource. `Name` is what people, and the declarative file, call it.
pub type Tags = BTreeMap<String, String>;

/// The tag `Name`.
pub fn name_of(tags: &Tags) -> Option<&str> {
    tags.get("Name").map(String::as_str)
}

/// What people call a resource: its tag `Name`, or what its kind has instead.
pub fn record_name(record: &Record) -> Option<String> {
    let tags = match record {
        Record::Function(function) => return Some(function.function_name.clone()),
        Record::Alias(alias) => return Some(format!("{}:{}", alias.function_name, alias.name)),
        Record::Role(role) => return Some(role.role_name.clone()),
        Record::Environment(environment) => return Some(environment.environment_id.to_string()),
        Record::EniGroup(_) => return None,
        Record::Vpc(it) => &it.tags,
        Record::Subnet(it) => &it.tags,
        Record::SecurityGroup(it) => &it.tags,
        Record::NetworkAcl(it) => &it.tags,
        Record::RouteTable(it) => &it.tags,
        Record::PrefixList(it) => &it.tags,
        Record::InternetGateway(it) => &it.tags,
        Record::Address(it) => &it.tags,
        Record::NatGateway(it) => &it.tags,
        Record::Endpoint(it) => &it.tags,
        Record::Peering(it) => &it.tags,
        Record::DhcpOptions(it) => &it.tags,
        Record::Interface(it) => &it.tags,
        Record::FlowLog(it) => &it.tags,
    };
    name_of(tags).map(str::to_owned)
}
