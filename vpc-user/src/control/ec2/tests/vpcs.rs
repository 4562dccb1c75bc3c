//! VPCs and their blocks.

use serde_json::{Value, json};

use super::world::{World, stranger, text};
use crate::control::{Account, Caller, Key, resource::*};

/// Of another resource than there is.
const NO_VPC: &str = "vpc-00000000000000000";

/// Whoever answers on an uplink speaks for one VPC, whichever account it is of.
#[test]
fn an_uplink_is_one_vpcs() {
    let mut world = World::new();
    let members = json!({ "CidrBlock": "10.0.0.0/16", "Uplink": "wan" });
    let first = text(&world.ok("CreateVpc", members.clone())["Vpc"]["VpcId"]);
    world.context.caller = Caller::root(Account::new("000000000002").unwrap());
    let refused = world.refused("CreateVpc", members.clone());
    assert_eq!(refused, "InvalidParameterValue");
    let second = json!({ "CidrBlock": "10.0.0.0/16", "Uplink": "lan" });
    let second = text(&world.ok("CreateVpc", second)["Vpc"]["VpcId"]);
    let taken = json!({ "VpcId": second, "Uplink": { "Value": "wan" } });
    assert_eq!(
        world.refused("ModifyVpcAttribute", taken.clone()),
        "InvalidParameterValue"
    );
    world.context.caller = Caller::root(Account::DEFAULT);
    world.ok(
        "ModifyVpcAttribute",
        json!({ "VpcId": first, "Uplink": { "Value": "wan" } }),
    );
    world.ok(
        "ModifyVpcAttribute",
        json!({ "VpcId": first, "Uplink": { "Value": null } }),
    );
    world.context.caller = Caller::root(Account::new("000000000002").unwrap());
    world.ok("ModifyVpcAttribute", taken);
}

#[test]
fn a_vpc_begins_with_a_group_an_acl_a_table_and_dhcp_options() {
    let mut world = World::new();
    let tags = json!([{ "ResourceType": "vpc", "Tags": [{ "Key": "Name", "Value": "one" }] }]);
    let members = json!({
        "CidrBlock": "10.0.3.7/16",
        "Uplink": "wan",
        "OnLink": true,
        "TagSpecifications": tags,
    });
    let answer = &world.ok("CreateVpc", members)["Vpc"];
    assert_eq!(answer["State"], "pending");
    let id = text(&answer["VpcId"]);
    let shown = world.shown(&Key::of::<Vpc>(&id));
    assert_eq!(shown["State"], "available");
    assert_eq!(shown["CidrBlock"], "10.0.0.0/16");
    assert_eq!(
        shown["CidrBlockAssociationSet"][0]["CidrBlock"],
        "10.0.0.0/16"
    );
    assert_eq!(shown["InstanceTenancy"], "default");
    assert_eq!(shown["EnableDnsSupport"], true);
    assert_eq!(shown["EnableDnsHostnames"], false);
    assert_eq!(shown["Uplink"], "wan");
    assert_eq!(shown["OnLink"], true);
    assert_eq!(shown["Tags"], json!([{ "Key": "Name", "Value": "one" }]));

    let group: Vec<&SecurityGroup> = world.state.all().collect();
    let shown_group = world.shown(&Key::of::<SecurityGroup>(group[0].group_id.as_str()));
    assert_eq!(shown_group["GroupName"], "default");
    let ingress = &shown_group["IpPermissions"];
    assert_eq!(ingress[0]["IpProtocol"], "-1");
    assert_eq!(
        ingress[0]["UserIdGroupPairs"][0]["GroupId"],
        shown_group["GroupId"]
    );
    assert_eq!(ingress[0].get("FromPort"), None);
    let egress = &shown_group["IpPermissionsEgress"];
    assert_eq!(egress[0]["IpRanges"], json!([{ "CidrIp": "0.0.0.0/0" }]));

    let set: Vec<&DhcpOptions> = world.state.all().collect();
    assert_eq!(shown["DhcpOptionsId"], set[0].dhcp_options_id.as_str());
    let options = world.shown(&Key::of::<DhcpOptions>(set[0].dhcp_options_id.as_str()));
    let expected = json!([
        { "Key": "domain-name", "Values": [{ "Value": "ec2.internal" }] },
        { "Key": "domain-name-servers", "Values": [{ "Value": "AmazonProvidedDNS" }] },
    ]);
    assert_eq!(options["DhcpConfigurations"], expected);
}

#[test]
fn an_account_has_one_default_set_of_dhcp_options() {
    let mut world = World::new();
    world.context.settings.region = "eu-central-1".to_owned();
    world.vpc("10.0.0.0/16");
    // Of the same block: VPCs may overlap.
    world.vpc("10.0.0.0/16");
    let sets: Vec<&DhcpOptions> = world.state.all().collect();
    assert_eq!(sets.len(), 1);
    let domain = &sets[0].dhcp_configurations[0].values[0];
    assert_eq!(domain, "eu-central-1.compute.internal");
}

#[test]
fn a_vpc_takes_along_what_it_began_with_and_no_more() {
    let mut world = World::new();
    let vpc = world.vpc("10.0.0.0/16");
    let other = world.vpc("10.1.0.0/16");
    let peering = world.peering(&vpc, &other, PeeringStatus::Active);
    let log = world.flow_log(&vpc);
    let delete = json!({ "VpcId": vpc });
    // What deletes it, what makes it, and the member that names it.
    type InTheWay = (&'static str, fn(&mut World, &str) -> String, &'static str);
    let in_the_way: [InTheWay; 4] = [
        (
            "DeleteSubnet",
            |world, vpc| world.subnet(vpc, "10.0.0.0/24"),
            "SubnetId",
        ),
        (
            "DeleteSecurityGroup",
            |world, vpc| world.group(vpc, "one"),
            "GroupId",
        ),
        ("DeleteNetworkAcl", World::acl, "NetworkAclId"),
        ("DeleteRouteTable", World::table, "RouteTableId"),
    ];
    for (action, make, member) in in_the_way {
        let id = make(&mut world, &vpc);
        assert_eq!(
            world.refused("DeleteVpc", delete.clone()),
            "DependencyViolation"
        );
        world.ok(action, json!({ member: id }));
    }
    let gateway = world.internet_gateway(Some(&vpc));
    assert_eq!(
        world.refused("DeleteVpc", delete.clone()),
        "DependencyViolation"
    );
    world
        .state
        .replace(&Key::of::<InternetGateway>(gateway), None);

    let before = world.state.len();
    world.ok("DeleteVpc", delete);
    // The VPC, its group, ACL and table, and the flow log.
    assert_eq!(before - world.state.len(), 5);
    assert!(world.state.get::<FlowLog>(&log).is_none());
    let peering = world.state.get::<Peering>(&peering).unwrap();
    assert_eq!(peering.status, PeeringStatus::Deleted);
    assert_eq!(peering.ended, Some(world.context.now));
}

#[test]
fn attributes_change_one_at_a_time() {
    let mut world = World::new();
    let vpc = world.vpc("10.0.0.0/16");
    let mut modify = |member: &str, value: Value| {
        let members = json!({ "VpcId": vpc, member: { "Value": value } });
        let code = world.run("ModifyVpcAttribute", members).err();
        let shown = world.shown(&Key::of::<Vpc>(&vpc))[member].clone();
        (shown, code.map(|error| error.code.as_str().to_owned()))
    };
    let combination = Some("InvalidParameterCombination".to_owned());
    assert_eq!(
        modify("EnableDnsSupport", json!(false)),
        (json!(false), None)
    );
    assert_eq!(
        modify("EnableDnsHostnames", json!(true)),
        (json!(false), combination)
    );
    assert_eq!(modify("EnableDnsSupport", json!(true)), (json!(true), None));
    assert_eq!(
        modify("EnableDnsHostnames", json!(true)),
        (json!(true), None)
    );
    assert_eq!(modify("OnLink", json!(true)), (json!(true), None));
    assert_eq!(modify("Uplink", json!("wan")), (json!("wan"), None));
    assert_eq!(modify("Uplink", json!(null)), (json!(null), None));
    let value = json!({ "Value": true });
    world.all_refused(&[
        (
            "ModifyVpcAttribute",
            json!({ "VpcId": vpc }),
            "InvalidParameterCombination",
        ),
        (
            "ModifyVpcAttribute",
            json!({ "VpcId": vpc, "EnableDnsSupport": value, "EnableDnsHostnames": value }),
            "InvalidParameterCombination",
        ),
    ]);
}

#[test]
fn refusals_of_vpcs() {
    let mut world = World::new();
    let block = |block: &str| json!({ "CidrBlock": block });
    let tenancy = json!({ "CidrBlock": "10.0.0.0/16", "InstanceTenancy": "host" });
    world.all_refused(&[
        ("CreateVpc", block("ten"), "InvalidParameterValue"),
        ("CreateVpc", block("10.0.0.0"), "InvalidParameterValue"),
        ("CreateVpc", block("10.0.0.0/15"), "InvalidVpc.Range"),
        ("CreateVpc", block("10.0.0.0/29"), "InvalidVpc.Range"),
        ("CreateVpc", block("127.0.0.0/16"), "InvalidVpc.Range"),
        ("CreateVpc", block("224.0.0.0/16"), "InvalidVpc.Range"),
        ("CreateVpc", block("169.254.0.0/16"), "InvalidVpc.Range"),
        ("CreateVpc", tenancy, "InvalidParameterValue"),
        (
            "DeleteVpc",
            json!({ "VpcId": NO_VPC }),
            "InvalidVpcID.NotFound",
        ),
        (
            "DeleteVpc",
            json!({ "VpcId": "vpc-x" }),
            "InvalidVpcID.Malformed",
        ),
        (
            "DeleteVpc",
            json!({ "VpcId": "subnet-12345678" }),
            "InvalidVpcID.Malformed",
        ),
    ]);
    for _ in 0..5 {
        world.vpc("10.0.0.0/16");
    }
    assert_eq!(
        world.refused("CreateVpc", block("10.0.0.0/16")),
        "VpcLimitExceeded"
    );
}

#[test]
fn another_account_has_no_such_vpc() {
    let mut world = World::new();
    let vpc = world.vpc("10.0.0.0/16");
    world.context.caller = Caller::root(stranger());
    let members = json!({ "VpcId": vpc });
    assert_eq!(world.refused("DeleteVpc", members), "InvalidVpcID.NotFound");
    // Nor does it count against that account's quota.
    world.context.settings.vpcs = 1;
    world.vpc("10.0.0.0/16");
    world.context.caller = Caller::root(Account::DEFAULT);
    world.ok("DeleteVpc", json!({ "VpcId": vpc }));
}

#[test]
fn blocks_come_and_go_with_their_subnets() {
    let mut world = World::new();
    let vpc = world.vpc("10.0.0.0/16");
    let add = |block: &str| json!({ "VpcId": vpc, "CidrBlock": block });
    let answer = world.ok("AssociateVpcCidrBlock", add("10.1.9.9/24"));
    let association = answer["CidrBlockAssociation"].clone();
    assert_eq!(association["CidrBlock"], "10.1.9.0/24");
    assert_eq!(association["CidrBlockState"]["State"], "associating");
    let remove = json!({ "AssociationId": association["AssociationId"] });
    let subnet = world.subnet(&vpc, "10.1.9.0/28");
    let refused = world.refused("DisassociateVpcCidrBlock", remove.clone());
    assert_eq!(refused, "DependencyViolation");
    world.ok("DeleteSubnet", json!({ "SubnetId": subnet }));
    world.ok("DisassociateVpcCidrBlock", remove);
    let primary = world.shown(&Key::of::<Vpc>(&vpc))["CidrBlockAssociationSet"][0].clone();
    world.all_refused(&[
        (
            "DisassociateVpcCidrBlock",
            json!({ "AssociationId": primary["AssociationId"] }),
            "OperationNotPermitted",
        ),
        (
            "DisassociateVpcCidrBlock",
            json!({ "AssociationId": "vpc-cidr-assoc-12345678" }),
            "InvalidVpcCidrBlockAssociationIdError.NotFound",
        ),
    ]);
}

#[test]
fn a_block_overlaps_nothing_in_reach() {
    let mut world = World::new();
    let vpc = world.vpc("10.0.0.0/16");
    let peer = world.vpc("10.1.0.0/16");
    let rejected = world.vpc("10.2.0.0/16");
    world.peering(&peer, &vpc, PeeringStatus::PendingAcceptance);
    world.peering(&vpc, &rejected, PeeringStatus::Rejected);
    let table = world.table(&vpc);
    let route = json!({
        "RouteTableId": table,
        "DestinationCidrBlock": "10.3.1.0/24",
        "Blackhole": true,
    });
    world.ok("CreateRoute", route);
    let add = |block: &str| json!({ "VpcId": vpc, "CidrBlock": block });
    world.all_refused(&[
        ("AssociateVpcCidrBlock", add("10.0.1.0/24"), "CidrConflict"),
        ("AssociateVpcCidrBlock", add("10.1.1.0/24"), "CidrConflict"),
        ("AssociateVpcCidrBlock", add("10.3.0.0/16"), "CidrConflict"),
        (
            "AssociateVpcCidrBlock",
            add("10.0.0.0/8"),
            "InvalidVpc.Range",
        ),
    ]);
    world.ok("AssociateVpcCidrBlock", add("10.2.0.0/16"));
    // A larger destination may stay: the local route is more specific.
    world.ok("AssociateVpcCidrBlock", add("10.3.1.0/28"));
    for third in [4, 5] {
        world.ok("AssociateVpcCidrBlock", add(&format!("10.{third}.0.0/16")));
    }
    let refused = world.refused("AssociateVpcCidrBlock", add("10.6.0.0/16"));
    assert_eq!(refused, "CidrLimitExceeded");
}
