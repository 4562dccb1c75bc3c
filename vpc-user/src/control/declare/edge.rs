//! Gateways, addresses, endpoints, DHCP options and flow logs. Most of them cannot be
//! changed once they are made, as on AWS: another one takes another name.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{EC2, Work, object};
use crate::{
    config::{
        RawAddress, RawConfig, RawDhcpOptions, RawEndpoint, RawFlowLog, RawInternetGateway,
        RawNatGateway, RawVpc,
    },
    control::{
        ApiError, Id, Kind,
        resource::{DhcpOptions, Endpoint, FlowLog, InternetGateway, NatGateway, Vpc},
    },
};

/// Where flow logs may go, by the service in the destination's ARN.
const DESTINATIONS: [(&str, &str); 3] = [
    ("s3", "s3"),
    ("logs", "cloud-watch-logs"),
    ("firehose", "kinesis-data-firehose"),
];

impl Work<'_, '_, '_> {
    /// What routes may lead to, and the options of VPCs.
    pub(super) fn edge(&mut self, file: &RawConfig) -> Result<(), ApiError> {
        for options in &file.dhcp_options {
            self.dhcp_options(options)?;
        }
        for vpc in &file.vpcs {
            self.options_of(vpc)?;
            self.names_of(vpc)?;
        }
        for gateway in &file.internet_gateways {
            self.internet_gateway(gateway)?;
        }
        for address in &file.addresses {
            self.address(address)?;
        }
        for gateway in &file.nat_gateways {
            self.nat_gateway(gateway)?;
        }
        for endpoint in &file.endpoints {
            self.endpoint(endpoint)?;
        }
        for log in &file.flow_logs {
            self.flow_log(log)?;
        }
        Ok(())
    }

    fn dhcp_options(&mut self, options: &RawDhcpOptions) -> Result<(), ApiError> {
        let name = options.name.as_str();
        let wanted = options.option.iter();
        let wanted: Vec<Value> = wanted
            .map(|(key, values)| json!({ "Key": key, "Values": values }))
            .collect();
        let known = self.get::<DhcpOptions>(name);
        let Some(is) = known else {
            let members = json!({ "DhcpConfigurations": wanted });
            let path = "/DhcpOptions/DhcpOptionsId";
            return self
                .make(Kind::DhcpOptions, name, "CreateDhcpOptions", members, path)
                .map(drop);
        };
        let mut has: Vec<Value> = is.dhcp_configurations.iter().map(|it| json!(it)).collect();
        has.sort_by_key(|option| option["Key"].to_string());
        fixed(Kind::DhcpOptions, name, &[("its options", has == wanted)])
    }

    /// A VPC that names no options has AWS's, unless somebody else gave it others.
    fn options_of(&mut self, vpc: &RawVpc) -> Result<(), ApiError> {
        let name = vpc.name.as_str();
        let Some(is) = self.get::<Vpc>(name) else {
            return Ok(());
        };
        let has = is.dhcp_options_id.as_ref().map(Id::as_str);
        let wanted = match &vpc.dhcp_options {
            Some(options) => self.known(Kind::DhcpOptions, options)?,
            None => "default".to_owned(),
        };
        let declared = |id: &str| {
            let mut all = self.ids.iter();
            all.any(|((kind, _), known)| *kind == Kind::DhcpOptions && known == id)
        };
        let stays = match &vpc.dhcp_options {
            Some(_) => has == Some(wanted.as_str()),
            None => !has.is_some_and(declared),
        };
        if stays {
            return Ok(());
        }
        let members = json!({ "VpcId": is.vpc_id, "DhcpOptionsId": wanted });
        let of = object(Kind::Vpc, name);
        self.send(&of, (EC2, "AssociateDhcpOptions"), members)?;
        let words = vpc.dhcp_options.as_deref().unwrap_or("AWS's own");
        self.changed(Kind::Vpc, name, format!("DHCP options {words}"));
        Ok(())
    }

    fn names_of(&mut self, vpc: &RawVpc) -> Result<(), ApiError> {
        let name = vpc.name.as_str();
        let Some(is) = self.get::<Vpc>(name) else {
            return Ok(());
        };
        let support = (
            "EnableDnsSupport",
            is.enable_dns_support,
            vpc.dns_support.unwrap_or(true),
        );
        let hostnames = (
            "EnableDnsHostnames",
            is.enable_dns_hostnames,
            vpc.dns_hostnames.unwrap_or(false),
        );
        // Names need the resolver: it comes before them, and goes after them.
        let steps = match support.2 {
            true => [support, hostnames],
            false => [hostnames, support],
        };
        for (attribute, _, wanted) in steps.into_iter().filter(|(_, has, wanted)| has != wanted) {
            let members = json!({ "VpcId": is.vpc_id, attribute: { "Value": wanted } });
            let of = object(Kind::Vpc, name);
            self.send(&of, (EC2, "ModifyVpcAttribute"), members)?;
            self.changed(Kind::Vpc, name, format!("{attribute} {wanted}"));
        }
        Ok(())
    }

    fn internet_gateway(&mut self, gateway: &RawInternetGateway) -> Result<(), ApiError> {
        let name = gateway.name.as_str();
        let of = object(Kind::InternetGateway, name);
        if self.id(Kind::InternetGateway, name).is_none() {
            let path = "/InternetGateway/InternetGatewayId";
            let action = "CreateInternetGateway";
            self.make(Kind::InternetGateway, name, action, json!({}), path)?;
        }
        let Some(is) = self.get::<InternetGateway>(name) else {
            return Ok(());
        };
        let wanted = match &gateway.vpc {
            Some(vpc) => Some(self.known_id(Kind::Vpc, vpc)?),
            None => None,
        };
        if is.vpc_id == wanted {
            return Ok(());
        }
        let mut members = json!({ "InternetGatewayId": is.internet_gateway_id });
        if let Some(before) = &is.vpc_id {
            members["VpcId"] = json!(before);
            let action = (EC2, "DetachInternetGateway");
            self.send(&of, action, members.clone())?;
            self.changed(Kind::InternetGateway, name, format!("off {before}"));
        }
        if let (Some(id), Some(vpc)) = (wanted, &gateway.vpc) {
            members["VpcId"] = json!(id);
            self.send(&of, (EC2, "AttachInternetGateway"), members)?;
            self.changed(Kind::InternetGateway, name, format!("at VPC {vpc}"));
        }
        Ok(())
    }

    fn address(&mut self, address: &RawAddress) -> Result<(), ApiError> {
        let name = address.name.as_str();
        if self.id(Kind::Address, name).is_none() {
            let members = json!({ "Domain": "vpc" });
            self.make(
                Kind::Address,
                name,
                "AllocateAddress",
                members,
                "/AllocationId",
            )?;
        }
        Ok(())
    }

    fn nat_gateway(&mut self, gateway: &RawNatGateway) -> Result<(), ApiError> {
        let name = gateway.name.as_str();
        let subnet = self.known_id(Kind::Subnet, &gateway.subnet)?;
        let address = match &gateway.address {
            Some(address) => Some(self.known_id(Kind::Address, address)?),
            None => None,
        };
        let Some(is) = self.get::<NatGateway>(name) else {
            let connectivity = if address.is_some() {
                "public"
            } else {
                "private"
            };
            let members = json!({
                "SubnetId": subnet,
                "AllocationId": address,
                "ConnectivityType": connectivity,
            });
            let path = "/NatGateway/NatGatewayId";
            return self
                .make(Kind::NatGateway, name, "CreateNatGateway", members, path)
                .map(drop);
        };
        let primary = is.nat_gateway_addresses.iter().find(|it| it.is_primary);
        let has = primary.and_then(|it| it.allocation_id.clone());
        let same = [
            ("its subnet", is.subnet_id == subnet),
            ("its address", has == address),
        ];
        fixed(Kind::NatGateway, name, &same)
    }

    fn endpoint(&mut self, endpoint: &RawEndpoint) -> Result<(), ApiError> {
        let name = endpoint.name.as_str();
        let vpc = self.known_id(Kind::Vpc, &endpoint.vpc)?;
        let tables = self.all_known(Kind::RouteTable, &endpoint.route_tables)?;
        let subnets = self.all_known(Kind::Subnet, &endpoint.subnets)?;
        let groups = self.all_known(Kind::SecurityGroup, &endpoint.security_groups)?;
        let Some(is) = self.get::<Endpoint>(name) else {
            let kind = if subnets.is_empty() {
                "Gateway"
            } else {
                "Interface"
            };
            let members = json!({
                "VpcId": vpc,
                "ServiceName": endpoint.service,
                "VpcEndpointType": kind,
                "RouteTableIds": tables,
                "SubnetIds": subnets,
                "SecurityGroupIds": groups,
                "PrivateDnsEnabled": endpoint.private_dns,
                "PolicyDocument": endpoint.policy,
            });
            let path = "/VpcEndpoint/VpcEndpointId";
            return self
                .make(Kind::Endpoint, name, "CreateVpcEndpoint", members, path)
                .map(drop);
        };
        let same = [
            ("its VPC", is.vpc_id == vpc),
            ("its service", is.service_name == endpoint.service),
        ];
        fixed(Kind::Endpoint, name, &same)?;
        let mut members = endpoint_changes(&is, endpoint, [tables, subnets, groups]);
        let changed: Vec<String> = members
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, _)| key.clone())
            .collect();
        if changed.is_empty() {
            return Ok(());
        }
        members["VpcEndpointId"] = json!(is.vpc_endpoint_id);
        let of = object(Kind::Endpoint, name);
        self.send(&of, (EC2, "ModifyVpcEndpoint"), members)?;
        self.changed(Kind::Endpoint, name, changed.join(", "));
        Ok(())
    }

    fn flow_log(&mut self, log: &RawFlowLog) -> Result<(), ApiError> {
        let name = log.name.as_str();
        let (kind, word, subject) = subject(log)?;
        let subject = self.known_id(kind, subject)?;
        let traffic = log.traffic.as_deref().unwrap_or("ALL");
        let destination = destination_type(log)?;
        let Some(is) = self.get::<FlowLog>(name) else {
            let mut members = json!({
                "ResourceIds": [subject],
                "ResourceType": word,
                "TrafficType": traffic,
                "LogDestinationType": destination,
                "LogDestination": log.destination,
            });
            let optional = [
                (
                    "DeliverLogsPermissionArn",
                    log.role.as_ref().map(|it| json!(it)),
                ),
                ("LogFormat", log.format.as_ref().map(|it| json!(it))),
                ("MaxAggregationInterval", log.interval.map(|it| json!(it))),
            ];
            for (key, value) in optional {
                if let Some(value) = value {
                    members[key] = value;
                }
            }
            let (action, path) = ("CreateFlowLogs", "/FlowLogIds/0");
            return self
                .make(Kind::FlowLog, name, action, members, path)
                .map(drop);
        };
        let format = log.format.as_ref();
        let same = [
            ("what it is of", is.resource_id == subject),
            ("its traffic", is.traffic_type == traffic),
            (
                "its destination",
                is.log_destination.as_deref() == Some(log.destination.as_str()),
            ),
            ("its role", is.deliver_logs_permission_arn == log.role),
            (
                "its format",
                format.is_none_or(|format| is.log_format == *format),
            ),
            (
                "its interval",
                log.interval
                    .is_none_or(|it| it == is.max_aggregation_interval),
            ),
        ];
        fixed(Kind::FlowLog, name, &same)
    }

    pub(super) fn known_id(&self, kind: Kind, name: &str) -> Result<Id, ApiError> {
        let id = self.known(kind, name)?;
        Id::new(id).map_err(|error| ApiError::invalid(error.to_string()))
    }

    fn all_known(&self, kind: Kind, names: &[String]) -> Result<BTreeSet<Id>, ApiError> {
        names.iter().map(|name| self.known_id(kind, name)).collect()
    }
}

/// The members of a request that makes an endpoint as it is to be, with these route tables,
/// subnets and security groups; none if it is.
fn endpoint_changes(is: &Endpoint, wanted: &RawEndpoint, ids: [BTreeSet<Id>; 3]) -> Value {
    let mut members = json!({});
    let lists = [
        ("RouteTableIds", &is.route_table_ids),
        ("SubnetIds", &is.subnet_ids),
        ("SecurityGroupIds", &is.group_ids),
    ];
    for ((list, has), wanted) in lists.into_iter().zip(ids) {
        // An interface endpoint without groups has its VPC's default one.
        if list == "SecurityGroupIds" && wanted.is_empty() {
            continue;
        }
        let has: BTreeSet<Id> = has.iter().cloned().collect();
        let mut put = |verb: &str, ids: Vec<&Id>| {
            if !ids.is_empty() {
                members[format!("{verb}{list}")] = json!(ids);
            }
        };
        put("Add", wanted.difference(&has).collect());
        put("Remove", has.difference(&wanted).collect());
    }
    let policy = wanted.policy.as_ref();
    if let Some(policy) = policy.filter(|policy| **policy != is.policy_document) {
        members["PolicyDocument"] = json!(policy);
    }
    if is.private_dns_enabled != wanted.private_dns {
        members["PrivateDnsEnabled"] = json!(wanted.private_dns);
    }
    members
}

/// What a flow log is of: the kind, AWS's word for it, and the name.
fn subject(log: &RawFlowLog) -> Result<(Kind, &'static str, &str), ApiError> {
    let subjects = [
        (Kind::Vpc, "VPC", &log.vpc),
        (Kind::Subnet, "Subnet", &log.subnet),
        (Kind::Interface, "NetworkInterface", &log.interface),
    ];
    let mut named = subjects
        .into_iter()
        .filter_map(|(kind, word, name)| Some((kind, word, name.as_deref()?)));
    match (named.next(), named.next()) {
        (Some(subject), None) => Ok(subject),
        _ => Err(ApiError::invalid(format!(
            "{}: name one of vpc, subnet and interface",
            object(Kind::FlowLog, &log.name)
        ))),
    }
}

/// The kind of a flow log's destination, by its ARN.
fn destination_type(log: &RawFlowLog) -> Result<&'static str, ApiError> {
    let service = log.destination.split(':').nth(2).unwrap_or_default();
    let known = DESTINATIONS.iter().find(|(of, _)| *of == service);
    known.map(|(_, kind)| *kind).ok_or_else(|| {
        ApiError::invalid(format!(
            "{}: destination {:?} is no ARN of a bucket, a log group or a delivery stream",
            object(Kind::FlowLog, &log.name),
            log.destination
        ))
    })
}

/// Refuses what cannot be changed.
fn fixed(kind: Kind, name: &str, same: &[(&str, bool)]) -> Result<(), ApiError> {
    match same.iter().find(|(_, same)| !same) {
        None => Ok(()),
        Some((what, _)) => Err(ApiError::invalid(format!(
            "{}: {what} cannot be changed once it is made: give another one another name",
            object(kind, name)
        ))),
    }
}
