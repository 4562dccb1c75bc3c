//! The VPC a function is to be attached to: what is asked for, checked at once.
//! <https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html>

use super::{VpcConfigRequest, errors};
use crate::control::{ApiError, Caller, Id, State, iam, resource::*};

/// Subnets of a function.
const SUBNETS: usize = 16;
/// Security groups of a function.
const SECURITY_GROUPS: usize = 5;

/// What a function's attachment becomes: members that are given replace those that are
/// stored, the others stay. Without subnets it is detached, or never was attached.
pub fn merged(
    state: &State,
    caller: &Caller,
    stored: Option<&VpcConfig>,
    request: Option<&VpcConfigRequest>,
) -> Result<Option<VpcConfig>, ApiError> {
    let Some(request) = request else {
        return Ok(stored.cloned());
    };
    let kept = |ids: fn(&VpcConfig) -> &[Id]| -> Vec<String> {
        let ids = stored.map(ids).unwrap_or_default();
        ids.iter().map(ToString::to_string).collect()
    };
    let subnets = request.subnet_ids.clone();
    let subnets = distinct(subnets.unwrap_or_else(|| kept(|config| &config.subnet_ids)));
    let groups = request.security_group_ids.clone();
    let groups = distinct(groups.unwrap_or_else(|| kept(|config| &config.security_group_ids)));
    check_form(&subnets, &groups)?;
    if subnets.is_empty() {
        return Ok(stored.map(|_| VpcConfig::default()));
    }
    check_permissions(state, caller, &subnets, &groups)?;
    let config = resolved(state, caller, &subnets, &groups)?;
    let ipv6 = stored.is_some_and(|stored| stored.ipv6_allowed_for_dual_stack);
    if request.ipv6_allowed_for_dual_stack.unwrap_or(ipv6) {
        return Err(errors::invalid(
            "Ipv6AllowedForDualStack requires an IPv4 and an IPv6 CIDR block in every subnet.",
        ));
    }
    Ok(Some(config))
}

/// In the order given, none twice.
fn distinct(ids: Vec<String>) -> Vec<String> {
    let mut seen = std::collections::BTreeSet::new();
    let is_new = |id: &String| seen.insert(id.clone());
    ids.into_iter().filter(is_new).collect()
}

fn check_form(subnets: &[String], groups: &[String]) -> Result<(), ApiError> {
    check_ids(subnets, "vpcConfig.subnetIds", SUBNETS, "subnet-[0-9a-z]*")?;
    let member = "vpcConfig.securityGroupIds";
    check_ids(groups, member, SECURITY_GROUPS, "sg-[0-9a-zA-Z]*")?;
    if subnets.is_empty() != groups.is_empty() {
        return Err(errors::invalid(
            "SubnetIds and SecurityIds must coexist or be both empty list.",
        ));
    }
    Ok(())
}

/// Whether ids are not too many, and of the form `<prefix>-<letters and digits>`.
fn check_ids(ids: &[String], member: &str, most: usize, pattern: &str) -> Result<(), ApiError> {
    let list = || format!("[{}]", ids.join(", "));
    if ids.len() > most {
        let constraint = format!("Member must have length less than or equal to {most}");
        return Err(errors::validation(&list(), member, &constraint));
    }
    let (prefix, digits) = pattern.split_once('[').unwrap_or((pattern, ""));
    let is_allowed = |byte: u8| match byte {
        b'A'..=b'Z' => digits.contains("A-Z"),
        _ => byte.is_ascii_lowercase() || byte.is_ascii_digit(),
    };
    let is_id = |id: &String| {
        let rest = id.strip_prefix(prefix);
        id.len() <= 1024 && rest.is_some_and(|rest| rest.bytes().all(is_allowed))
    };
    if ids.iter().all(is_id) {
        return Ok(());
    }
    let constraint = format!(
        "Member must satisfy constraint: [Member must have length less than or equal to 1024, \
         Member must have length greater than or equal to 0, Member must satisfy regular \
         expression pattern: {pattern}]"
    );
    Err(errors::validation(&list(), member, &constraint))
}

/// Whether the caller may see in EC2 what it wants to use.
fn check_permissions(
    state: &State,
    caller: &Caller,
    subnets: &[String],
    groups: &[String],
) -> Result<(), ApiError> {
    let subnets = subnets.join(", ");
    let groups = groups.join(", ");
    let vpc = "the VPC of the subnets".to_owned();
    let needed = [
        ("DescribeSecurityGroups", &groups),
        ("DescribeSubnets", &subnets),
        ("DescribeVpcs", &vpc),
        ("GetSecurityGroupsForVpc", &vpc),
    ];
    for (action, resource) in needed {
        let keys = iam::Keys::new();
        iam::authorize(state, caller, &format!("ec2:{action}"), "*", &keys).map_err(|_| {
            errors::access_denied(format!(
                "Your access has been denied by EC2, please make sure your request credentials \
                 have permission to {action} for {resource}. EC2 Error Code: \
                 UnauthorizedOperation. EC2 Error Message: You are not authorized to perform \
                 this operation."
            ))
        })?;
    }
    Ok(())
}

/// The subnets and groups that are named, all of one VPC.
fn resolved(
    state: &State,
    caller: &Caller,
    subnets: &[String],
    groups: &[String],
) -> Result<VpcConfig, ApiError> {
    let mut config = VpcConfig::default();
    for id in subnets {
        let subnet = state.get::<Subnet>(id);
        let subnet = subnet.filter(|subnet| subnet.owner_id == caller.account);
        let subnet = subnet.ok_or_else(|| {
            let message = format!("The subnet ID '{id}' does not exist");
            ec2_error("DescribeSubnets", "InvalidSubnetID.NotFound", &message)
        })?;
        if config.vpc_id.is_empty() {
            config.vpc_id = subnet.vpc_id.to_string();
        }
        if config.vpc_id != subnet.vpc_id.as_str() {
            return Err(errors::invalid(
                "Subnets are required to be in the same VPC",
            ));
        }
        config.subnet_ids.push(subnet.subnet_id.clone());
    }
    for id in groups {
        let group = state.get::<SecurityGroup>(id);
        let group = group.filter(|group| group.owner_id == caller.account);
        let group = group.ok_or_else(|| {
            let message = format!("The security group '{id}' does not exist");
            ec2_error("DescribeSecurityGroups", "InvalidGroup.NotFound", &message)
        })?;
        if config.vpc_id != group.vpc_id.as_str() {
            return Err(errors::invalid(
                "Security Groups are required to be in the same VPC",
            ));
        }
        config.security_group_ids.push(group.group_id.clone());
    }
    let vpc = state.get::<Vpc>(&config.vpc_id);
    if let Some(vpc) = vpc.filter(|vpc| vpc.instance_tenancy == "dedicated") {
        let message = format!(
            "Lambda functions cannot be attached to a VPC with dedicated tenancy: {}",
            vpc.vpc_id
        );
        return Err(errors::invalid(message));
    }
    Ok(config)
}

fn ec2_error(action: &str, code: &str, message: &str) -> ApiError {
    errors::invalid(format!(
        "Error occurred while {action}. EC2 Error Code: {code}. EC2 Error Message: {message}"
    ))
}

/// The condition keys of a function that is attached; absent if it is not.
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html#vpc-conditions>
pub fn keys(config: Option<&VpcConfig>) -> iam::Keys {
    let config = config.filter(|config| !config.subnet_ids.is_empty());
    let Some(config) = config else {
        return iam::Keys::new();
    };
    let texts = |ids: &[Id]| ids.iter().map(ToString::to_string).collect();
    iam::Keys::from([
        ("lambda:VpcIds".to_owned(), vec![config.vpc_id.clone()]),
        ("lambda:SubnetIds".to_owned(), texts(&config.subnet_ids)),
        (
            "lambda:SecurityGroupIds".to_owned(),
            texts(&config.security_group_ids),
        ),
    ])
}
