//! What is refused at once (§1.6), and what an update makes of what is stored.

use serde_json::{Value, json};

use super::world::{BARE_ROLE, POLICY, ROLE, World, assert_error, vpc};
use crate::control::{Account, Caller, lambda::vpc::keys, resource::*};

const INVALID: &str = "InvalidParameterValueException";
/// A role that Lambda may not assume.
const STRANGER: &str = "arn:aws:iam::000000000001:role/stranger";

fn create(world: &mut World, vpc: Value) -> Result<Value, crate::control::ApiError> {
    let members = json!({ "FunctionName": "f", "Role": ROLE, "VpcConfig": vpc });
    world.lambda("CreateFunction", members)
}

/// §1.6, of what is asked for.
#[test]
fn each_configuration_is_checked_at_once() {
    let malformed = |list: &str, member: &str, pattern: &str| {
        format!(
            "1 validation error detected: Value '{list}' at 'vpcConfig.{member}' failed to \
             satisfy constraint: Member must satisfy constraint: [Member must have length less \
             than or equal to 1024, Member must have length greater than or equal to 0, Member \
             must satisfy regular expression pattern: {pattern}]"
        )
    };
    let too_many: Vec<String> = (0..17).map(|n| format!("subnet-{n}")).collect();
    let coexist = "SubnetIds and SecurityIds must coexist or be both empty list.";
    let table = [
        (
            json!({ "SubnetIds": ["subnet-a"] }),
            INVALID,
            coexist.to_owned(),
        ),
        (
            json!({ "SecurityGroupIds": ["sg-1"] }),
            INVALID,
            coexist.to_owned(),
        ),
        (vpc(&["a"], &[]), INVALID, coexist.to_owned()),
        (
            json!({ "SubnetIds": ["x"], "SecurityGroupIds": ["sg-1"] }),
            "ValidationException",
            malformed("[x]", "subnetIds", "subnet-[0-9a-z]*"),
        ),
        (
            json!({ "SubnetIds": ["subnet-a"], "SecurityGroupIds": ["sg-1", "sg_2"] }),
            "ValidationException",
            malformed("[sg-1, sg_2]", "securityGroupIds", "sg-[0-9a-zA-Z]*"),
        ),
        (
            json!({ "SubnetIds": ["subnet-A"], "SecurityGroupIds": ["sg-1"] }),
            "ValidationException",
            malformed("[subnet-A]", "subnetIds", "subnet-[0-9a-z]*"),
        ),
        (
            json!({ "SubnetIds": too_many, "SecurityGroupIds": ["sg-1"] }),
            "ValidationException",
            format!(
                "1 validation error detected: Value '[{}]' at 'vpcConfig.subnetIds' failed to \
                 satisfy constraint: Member must have length less than or equal to 16",
                too_many.join(", ")
            ),
        ),
        (
            vpc(&["a"], &["1", "2", "3", "4", "5", "6"]),
            "ValidationException",
            "1 validation error detected: Value '[sg-1, sg-2, sg-3, sg-4, sg-5, sg-6]' at \
             'vpcConfig.securityGroupIds' failed to satisfy constraint: Member must have length \
             less than or equal to 5"
                .to_owned(),
        ),
        (
            vpc(&["a", "none"], &["1"]),
            INVALID,
            "Error occurred while DescribeSubnets. EC2 Error Code: InvalidSubnetID.NotFound. EC2 \
             Error Message: The subnet ID 'subnet-none' does not exist"
                .to_owned(),
        ),
        (
            vpc(&["a"], &["NONE"]),
            INVALID,
            "Error occurred while DescribeSecurityGroups. EC2 Error Code: InvalidGroup.NotFound. \
             EC2 Error Message: The security group 'sg-NONE' does not exist"
                .to_owned(),
        ),
        (
            vpc(&["a", "z"], &["1"]),
            INVALID,
            "Subnets are required to be in the same VPC".to_owned(),
        ),
        (
            vpc(&["a"], &["1", "9"]),
            INVALID,
            "Security Groups are required to be in the same VPC".to_owned(),
        ),
        (
            vpc(&["d"], &["8"]),
            INVALID,
            "Lambda functions cannot be attached to a VPC with dedicated tenancy: vpc-d".to_owned(),
        ),
        (
            json!({
                "SubnetIds": ["subnet-a"],
                "SecurityGroupIds": ["sg-1"],
                "Ipv6AllowedForDualStack": true,
            }),
            INVALID,
            "Ipv6AllowedForDualStack requires an IPv4 and an IPv6 CIDR block in every subnet."
                .to_owned(),
        ),
    ];
    let mut world = World::new();
    for (config, code, message) in table {
        assert_error(create(&mut world, config), 400, code, &message);
    }
}

/// §1.6, of the execution role.
#[test]
fn the_execution_role_is_checked_at_once() {
    let gone = "arn:aws:iam::000000000001:role/none";
    let attached = vpc(&["a"], &["1"]);
    let cannot = "The role defined for the function cannot be assumed by Lambda.";
    let lacks = "The provided execution role does not have permissions to call \
                 CreateNetworkInterface on EC2";
    let malformed = "1 validation error detected: Value 'vpc' at 'role' failed to satisfy \
                     constraint: Member must satisfy regular expression pattern: \
                     arn:(aws[a-zA-Z-]*)?:iam::\\d{12}:role/?[a-zA-Z_0-9+=,.@\\-_/]+";
    let foreign = "arn:aws:iam::999999999999:role/vpc";
    let cross = "Cross-account pass role is not allowed.";
    let table = [
        (gone, attached.clone(), Some((400, INVALID, cannot))),
        (gone, json!(null), Some((400, INVALID, cannot))),
        (STRANGER, json!(null), Some((400, INVALID, cannot))),
        (BARE_ROLE, attached.clone(), Some((400, INVALID, lacks))),
        (BARE_ROLE, vpc(&[], &[]), None),
        (
            "vpc",
            json!(null),
            Some((400, "ValidationException", malformed)),
        ),
        (
            foreign,
            json!(null),
            Some((403, "AccessDeniedException", cross)),
        ),
        (ROLE, attached.clone(), None),
    ];
    for (role, config, refusal) in table {
        let mut world = World::new();
        world.stranger(STRANGER);
        let members = json!({ "FunctionName": "f", "Role": role, "VpcConfig": config });
        let created = world.lambda("CreateFunction", members);
        match refusal {
            None => assert!(created.is_ok(), "{role}: {created:?}"),
            Some((status, code, text)) => assert_error(created, status, code, text),
        }
    }
    // An update is asked the same, when it changes the role or the VPC.
    let mut world = World::new();
    world.active("f", &["a"]);
    let members = json!({ "FunctionName": "f", "Role": BARE_ROLE });
    let updated = world.lambda("UpdateFunctionConfiguration", members);
    assert_error(updated, 400, INVALID, lacks);
    world.role(ROLE, None);
    let members = json!({ "FunctionName": "f", "VpcConfig": attached });
    let updated = world.lambda("UpdateFunctionConfiguration", members);
    assert_error(updated, 400, INVALID, lacks);
}

/// §1.6, of the caller: one permission less each time.
#[test]
fn the_caller_is_asked_for_permissions_in_ec2() {
    let needed = [
        ("ec2:DescribeSecurityGroups", "sg-1"),
        ("ec2:DescribeSubnets", "subnet-a"),
        ("ec2:DescribeVpcs", "the VPC of the subnets"),
        ("ec2:GetSecurityGroupsForVpc", "the VPC of the subnets"),
    ];
    let caller = "arn:aws:iam::000000000001:role/caller";
    let policy = |without: &str| {
        let actions: Vec<&str> = needed
            .iter()
            .map(|(action, _)| *action)
            .chain(["lambda:CreateFunction"])
            .filter(|action| *action != without)
            .collect();
        json!({
            "Version": "2012-10-17",
            "Statement": [{ "Effect": "Allow", "Action": actions, "Resource": "*" }],
        })
        .to_string()
    };
    for (action, resource) in needed {
        let mut world = World::new();
        world.role(caller, Some(&policy(action)));
        world.context.caller.role = Some(caller.to_owned());
        let (_, name) = action.split_once(':').unwrap();
        let text = format!(
            "Your access has been denied by EC2, please make sure your request credentials have \
             permission to {name} for {resource}. EC2 Error Code: UnauthorizedOperation. EC2 \
             Error Message: You are not authorized to perform this operation."
        );
        let created = create(&mut world, vpc(&["a"], &["1"]));
        assert_error(created, 403, "AccessDeniedException", &text);
        create(&mut world, json!(null)).expect("no VPC, no question");
    }
    let mut world = World::new();
    world.role(caller, Some(&policy("lambda:CreateFunction")));
    world.context.caller.role = Some(caller.to_owned());
    let error = create(&mut world, vpc(&["a"], &["1"])).expect_err("may not create");
    assert_eq!(
        (error.status, error.code.as_str()),
        (403, "AccessDeniedException")
    );
    world.role(caller, Some(&policy("")));
    create(&mut world, vpc(&["a"], &["1"])).expect("may do all");
}

/// §9: what policies are asked with.
#[test]
fn condition_keys_are_those_of_what_results() {
    let mut world = World::new();
    world.active("f", &["b", "a"]);
    let config = world.function("f").vpc_config.clone();
    let found = keys(config.as_ref());
    let list = |key: &str| found[key].clone();
    assert_eq!(list("lambda:VpcIds"), ["vpc-a"]);
    assert_eq!(list("lambda:SubnetIds"), ["subnet-b", "subnet-a"]);
    assert_eq!(list("lambda:SecurityGroupIds"), ["sg-1"]);
    assert!(keys(None).is_empty());
    assert!(keys(Some(&VpcConfig::default())).is_empty(), "detached");
}

/// §1.6: members that are absent stay as they are.
#[test]
fn an_update_merges_with_what_is_stored() {
    let ids = |config: &VpcConfig| -> (Vec<String>, Vec<String>) {
        let texts = |ids: &[crate::control::Id]| ids.iter().map(ToString::to_string).collect();
        (texts(&config.subnet_ids), texts(&config.security_group_ids))
    };
    let table = [
        (json!(null), &["subnet-a"][..], &["sg-1"][..]),
        (json!({}), &["subnet-a"], &["sg-1"]),
        (
            json!({ "SecurityGroupIds": ["sg-2", "sg-1"] }),
            &["subnet-a"],
            &["sg-2", "sg-1"],
        ),
        (
            json!({ "SubnetIds": ["subnet-b"] }),
            &["subnet-b"],
            &["sg-1"],
        ),
        (vpc(&["b", "b"], &["2", "2"]), &["subnet-b"], &["sg-2"]),
        (vpc(&[], &[]), &[], &[]),
    ];
    for (config, subnets, groups) in table {
        let mut world = World::new();
        world.active("f", &["a"]);
        let members = json!({ "FunctionName": "f", "VpcConfig": config });
        world
            .lambda("UpdateFunctionConfiguration", members)
            .unwrap();
        let stored = world.function("f").vpc_config.clone().unwrap();
        let (found_subnets, found_groups) = ids(&stored);
        assert_eq!(found_subnets, subnets, "{config}");
        assert_eq!(found_groups, groups, "{config}");
        let vpc_id = if subnets.is_empty() { "" } else { "vpc-a" };
        assert_eq!(stored.vpc_id, vpc_id);
    }
    let mut world = World::new();
    world.active("f", &["a"]);
    for half in [
        json!({ "SubnetIds": [] }),
        json!({ "SecurityGroupIds": [] }),
    ] {
        let members = json!({ "FunctionName": "f", "VpcConfig": half });
        let updated = world.lambda("UpdateFunctionConfiguration", members);
        let text = "SubnetIds and SecurityIds must coexist or be both empty list.";
        assert_error(updated, 400, INVALID, text);
    }
}

#[test]
fn settings_have_the_limits_of_the_model() {
    let table = [
        (
            json!({ "MemorySize": 127 }),
            "Value '127' at 'memorySize' failed to satisfy constraint: Member must have value \
             greater than or equal to 128",
        ),
        (
            json!({ "MemorySize": 10_241 }),
            "Value '10241' at 'memorySize' failed to satisfy constraint: Member must have value \
             less than or equal to 10240",
        ),
        (
            json!({ "Timeout": 0 }),
            "Value '0' at 'timeout' failed to satisfy constraint: Member must have value greater \
             than or equal to 1",
        ),
        (
            json!({ "Architectures": ["riscv"] }),
            "Value 'riscv' at 'architectures' failed to satisfy constraint: Member must satisfy \
             enum value set: [x86_64, arm64]",
        ),
        (
            json!({ "PackageType": "Tar" }),
            "Value 'Tar' at 'packageType' failed to satisfy constraint: Member must satisfy enum \
             value set: [Zip, Image]",
        ),
    ];
    for (mut members, text) in table {
        let mut world = World::new();
        members["FunctionName"] = json!("f");
        members["Role"] = json!(ROLE);
        let text = format!("1 validation error detected: {text}");
        let created = world.lambda("CreateFunction", members);
        assert_error(created, 400, "ValidationException", &text);
    }
    let mut world = World::new();
    world.active("f", &["a"]);
    let long = "x".repeat(257);
    let big = json!({ "Variables": { "K": "v".repeat(4_096) } });
    for change in [
        json!({ "Description": long }),
        json!({ "Handler": long }),
        json!({ "Environment": big }),
    ] {
        let mut members = change;
        members["FunctionName"] = json!("f");
        assert!(
            world
                .lambda("UpdateFunctionConfiguration", members)
                .is_err()
        );
    }
}

#[test]
fn a_name_is_taken_once_in_an_account() {
    let mut world = World::new();
    world.active("f", &["a"]);
    let text = "Function already exist: f";
    let again = create(&mut world, json!(null));
    assert_error(again, 409, "ResourceConflictException", text);
    world.context.caller = Caller::root(Account::new("000000000002").unwrap());
    let members = json!({
        "FunctionName": "f",
        "Role": "arn:aws:iam::000000000002:role/r",
        "VpcConfig": vpc(&["a"], &["1"]),
    });
    let created = world.lambda("CreateFunction", members);
    let text = "Error occurred while DescribeSubnets. EC2 Error Code: InvalidSubnetID.NotFound. \
                EC2 Error Message: The subnet ID 'subnet-a' does not exist";
    assert_error(created, 400, INVALID, text);
}

#[test]
fn a_role_may_be_changed_with_the_vpc() {
    let mut world = World::new();
    let members = json!({ "FunctionName": "f", "Role": BARE_ROLE });
    world.lambda("CreateFunction", members).unwrap();
    world.role(ROLE, Some(POLICY));
    let members = json!({
        "FunctionName": "f",
        "Role": ROLE,
        "VpcConfig": vpc(&["a"], &["1"]),
    });
    world
        .lambda("UpdateFunctionConfiguration", members)
        .unwrap();
    world.program_all();
    assert_eq!(world.function("f").role, ROLE);
    assert_eq!(world.in_phase(EniPhase::Active).len(), 1);
}
