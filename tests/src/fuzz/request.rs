//! Commands as they are written down: what stands for resources, and the commands that a
//! fuzzer begins with.

use serde_json::Value;
use vpc_user::control::{Kind, State};

/// Puts what is meant in place of `@kind/n` and `@kind/n/member/…`: the id of the n-th
/// resource of a kind, or a member of it. Ids are drawn, and a corpus is to outlive a change
/// in how.
pub fn fill(request: &mut Value, state: &State) {
    match request {
        Value::String(text) => {
            if let Some(meant) = text.strip_prefix('@').and_then(|path| find(path, state)) {
                *request = meant;
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| fill(value, state)),
        Value::Object(members) => members.values_mut().for_each(|value| fill(value, state)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn find(path: &str, state: &State) -> Option<Value> {
    let mut parts = path.splitn(3, '/');
    let kind = Kind::from_word(parts.next()?)?;
    let number: usize = parts.next()?.parse().ok()?;
    let records: Vec<_> = state
        .records()
        .filter(|one| one.key().kind == kind)
        .collect();
    let record = records.get(number % records.len().max(1))?;
    match parts.next() {
        None => Some(record.key().id.into()),
        Some(member) => record
            .to_value()
            .ok()?
            .pointer(&format!("/{member}"))
            .cloned(),
    }
}

/// Each is a story, a command a line.
pub fn ec2() -> Vec<Vec<u8>> {
    of(&[
        [VPC, GROUPS].concat(),
        [VPC, ACLS].concat(),
        [VPC, ROUTES].concat(),
        [VPC, EDGE].concat(),
        [VPC, NAT].concat(),
        [VPC, PEERING].concat(),
        [VPC, INTERFACES].concat(),
        LISTS.to_owned(),
        [VPC, TAGS].concat(),
        [VPC, ENDS].concat(),
    ])
}

/// The same of functions.
pub fn lambda() -> Vec<Vec<u8>> {
    of(&[
        [VPC, FUNCTION].concat(),
        [VPC, FUNCTION, ENVIRONMENTS].concat(),
        [VPC, FUNCTION, VERSIONS].concat(),
        [VPC, FUNCTION, UPDATES].concat(),
        ROLES.to_owned(),
        [VPC, DELIVERIES].concat(),
    ])
}

fn of(stories: &[String]) -> Vec<Vec<u8>> {
    stories
        .iter()
        .map(|story| story.clone().into_bytes())
        .collect()
}

const VPC: &str = r#"{"Service":"ec2","Action":"CreateVpc","CidrBlock":"10.0.0.0/16","Uplink":"blue"}
{"Service":"ec2","Action":"CreateSubnet","VpcId":"@vpc/0","CidrBlock":"10.0.1.0/24","AvailabilityZone":"us-east-1a","Router":"10.0.1.1"}
"#;

const GROUPS: &str = r#"{"Service":"ec2","Action":"CreateSecurityGroup","GroupName":"app","Description":"what it is for","VpcId":"@vpc/0"}
{"Service":"ec2","Action":"AuthorizeSecurityGroupEgress","GroupId":"@security-group/1","IpPermissions":[{"IpProtocol":"tcp","FromPort":443,"ToPort":443,"IpRanges":[{"CidrIp":"0.0.0.0/0","Description":"the web"}]}]}
{"Service":"ec2","Action":"AuthorizeSecurityGroupIngress","GroupId":"@security-group/0","IpPermissions":[{"IpProtocol":"-1","UserIdGroupPairs":[{"GroupId":"@security-group/1"}]},{"IpProtocol":"icmp","FromPort":3,"ToPort":4,"IpRanges":[{"CidrIp":"10.0.0.0/8"}]}]}
{"Service":"ec2","Action":"ModifySecurityGroupRules","GroupId":"@security-group/0","SecurityGroupRules":[{"SecurityGroupRuleId":"@security-group/0/Rules/0/SecurityGroupRuleId","SecurityGroupRule":{"IpProtocol":"udp","FromPort":53,"ToPort":53,"CidrIpv4":"10.0.0.2/32"}}]}
{"Service":"ec2","Action":"UpdateSecurityGroupRuleDescriptionsEgress","GroupId":"@security-group/0","SecurityGroupRuleDescriptions":[{"SecurityGroupRuleId":"@security-group/0/Rules/0/SecurityGroupRuleId","Description":"all"}]}
{"Service":"ec2","Action":"RevokeSecurityGroupEgress","GroupId":"@security-group/1","SecurityGroupRuleIds":["@security-group/1/Rules/0/SecurityGroupRuleId"]}
{"Service":"ec2","Action":"RevokeSecurityGroupIngress","GroupId":"@security-group/0","IpPermissions":[{"IpProtocol":"-1","UserIdGroupPairs":[{"GroupId":"@security-group/1"}]}]}
{"Service":"ec2","Action":"DeleteSecurityGroup","GroupId":"@security-group/1"}
"#;

const ACLS: &str = r#"{"Service":"ec2","Action":"CreateNetworkAcl","VpcId":"@vpc/0"}
{"Service":"ec2","Action":"CreateNetworkAclEntry","NetworkAclId":"@network-acl/1","RuleNumber":100,"Egress":true,"RuleAction":"allow","Protocol":"6","CidrBlock":"0.0.0.0/0","PortRange":{"From":1,"To":1024}}
{"Service":"ec2","Action":"ReplaceNetworkAclEntry","NetworkAclId":"@network-acl/1","RuleNumber":100,"Egress":true,"RuleAction":"deny","Protocol":"icmp","CidrBlock":"10.0.0.0/8","IcmpTypeCode":{"Type":3,"Code":4}}
{"Service":"ec2","Action":"ReplaceNetworkAclAssociation","AssociationId":"@subnet/0/NetworkAclAssociationId","NetworkAclId":"@network-acl/1"}
{"Service":"ec2","Action":"DeleteNetworkAclEntry","NetworkAclId":"@network-acl/0","RuleNumber":100,"Egress":false}
{"Service":"ec2","Action":"DeleteNetworkAcl","NetworkAclId":"@network-acl/1"}
"#;

const ROUTES: &str = r#"{"Service":"ec2","Action":"CreateRouteTable","VpcId":"@vpc/0"}
{"Service":"ec2","Action":"AssociateRouteTable","RouteTableId":"@route-table/1","SubnetId":"@subnet/0"}
{"Service":"ec2","Action":"CreateNetworkInterface","SubnetId":"@subnet/0","PrivateIpAddress":"10.0.1.9"}
{"Service":"ec2","Action":"CreateRoute","RouteTableId":"@route-table/0","DestinationCidrBlock":"0.0.0.0/0","NetworkInterfaceId":"@interface/0"}
{"Service":"ec2","Action":"CreateRoute","RouteTableId":"@route-table/1","DestinationCidrBlock":"203.0.113.0/24","Blackhole":true}
{"Service":"ec2","Action":"ReplaceRoute","RouteTableId":"@route-table/0","DestinationCidrBlock":"0.0.0.0/0","Blackhole":true}
{"Service":"ec2","Action":"ReplaceRouteTableAssociation","AssociationId":"@route-table/0/Associations/0/RouteTableAssociationId","RouteTableId":"@route-table/1"}
{"Service":"ec2","Action":"DeleteRoute","RouteTableId":"@route-table/0","DestinationCidrBlock":"0.0.0.0/0"}
{"Service":"ec2","Action":"DisassociateRouteTable","AssociationId":"@route-table/1/Associations/0/RouteTableAssociationId"}
{"Service":"ec2","Action":"DeleteRouteTable","RouteTableId":"@route-table/1"}
"#;

const EDGE: &str = r#"{"Service":"ec2","Action":"CreateInternetGateway"}
{"Service":"ec2","Action":"AttachInternetGateway","InternetGatewayId":"@internet-gateway/0","VpcId":"@vpc/0"}
{"Service":"ec2","Action":"CreateRoute","RouteTableId":"@route-table/0","DestinationCidrBlock":"0.0.0.0/0","GatewayId":"@internet-gateway/0"}
{"Service":"ec2","Action":"CreateVpcEndpoint","VpcId":"@vpc/0","ServiceName":"com.amazonaws.us-east-1.s3","VpcEndpointType":"Gateway","RouteTableIds":["@route-table/0"]}
{"Service":"ec2","Action":"CreateVpcEndpoint","VpcId":"@vpc/0","ServiceName":"com.amazonaws.us-east-1.logs","VpcEndpointType":"Interface","SubnetIds":["@subnet/0"],"PrivateDnsEnabled":false,"PolicyDocument":"{\"Statement\":[{\"Effect\":\"Allow\",\"Action\":\"*\",\"Resource\":\"*\",\"Principal\":\"*\"}]}"}
60
{"Service":"ec2","Action":"ModifyVpcEndpoint","VpcEndpointId":"@endpoint/0","RemoveRouteTableIds":["@route-table/0"],"ResetPolicy":true}
{"Service":"ec2","Action":"CreateFlowLogs","ResourceIds":["@vpc/0"],"ResourceType":"VPC","TrafficType":"REJECT","LogDestinationType":"s3","LogDestination":"arn:aws:s3:::flows/refused","MaxAggregationInterval":60}
{"Service":"ec2","Action":"DeleteFlowLogs","FlowLogIds":["@flow-log/0"]}
{"Service":"ec2","Action":"DeleteVpcEndpoints","VpcEndpointIds":["@endpoint/0","@endpoint/1"]}
7200
{"Service":"ec2","Action":"DeleteRoute","RouteTableId":"@route-table/0","DestinationCidrBlock":"0.0.0.0/0"}
{"Service":"ec2","Action":"DetachInternetGateway","InternetGatewayId":"@internet-gateway/0","VpcId":"@vpc/0"}
{"Service":"ec2","Action":"DeleteInternetGateway","InternetGatewayId":"@internet-gateway/0"}
"#;

const NAT: &str = r#"{"Service":"ec2","Action":"CreateInternetGateway"}
{"Service":"ec2","Action":"AttachInternetGateway","InternetGatewayId":"@internet-gateway/0","VpcId":"@vpc/0"}
{"Service":"ec2","Action":"AllocateAddress","Domain":"vpc"}
{"Service":"ec2","Action":"AllocateAddress","Domain":"vpc"}
{"Service":"ec2","Action":"CreateNatGateway","SubnetId":"@subnet/0","AllocationId":"@address/0"}
{"Service":"ec2","Action":"CreateNatGateway","SubnetId":"@subnet/0","ConnectivityType":"private","SecondaryPrivateIpAddressCount":2}
{"Service":"ec2","Action":"AssociateNatGatewayAddress","NatGatewayId":"@nat-gateway/0","AllocationIds":["@address/1"]}
{"Service":"ec2","Action":"AssignPrivateNatGatewayAddress","NatGatewayId":"@nat-gateway/1","PrivateIpAddresses":["10.0.1.77"]}
{"Service":"ec2","Action":"UnassignPrivateNatGatewayAddress","NatGatewayId":"@nat-gateway/1","PrivateIpAddresses":["10.0.1.77"]}
{"Service":"ec2","Action":"DisassociateNatGatewayAddress","NatGatewayId":"@nat-gateway/0","AssociationIds":["@nat-gateway/0/NatGatewayAddresses/1/AssociationId"]}
{"Service":"ec2","Action":"CreateRoute","RouteTableId":"@route-table/0","DestinationCidrBlock":"0.0.0.0/0","NatGatewayId":"@nat-gateway/0"}
{"Service":"ec2","Action":"DeleteNatGateway","NatGatewayId":"@nat-gateway/0"}
3600
{"Service":"ec2","Action":"ReleaseAddress","AllocationId":"@address/0"}
"#;

const PEERING: &str = r#"{"Service":"ec2","Action":"CreateVpc","CidrBlock":"10.1.0.0/16","Uplink":"green","Account":1}
{"Service":"ec2","Action":"CreateVpcPeeringConnection","VpcId":"@vpc/0","PeerVpcId":"@vpc/1","PeerOwnerId":"000000000002"}
{"Service":"ec2","Action":"CreateVpcPeeringConnection","VpcId":"@vpc/1","PeerVpcId":"@vpc/0","PeerOwnerId":"000000000002"}
{"Service":"ec2","Action":"AcceptVpcPeeringConnection","VpcPeeringConnectionId":"@peering/0","Router":"10.1.0.1","Account":1}
{"Service":"ec2","Action":"CreateRoute","RouteTableId":"@route-table/0","DestinationCidrBlock":"10.1.0.0/16","VpcPeeringConnectionId":"@peering/0"}
{"Service":"ec2","Action":"RejectVpcPeeringConnection","VpcPeeringConnectionId":"@peering/0","Account":1}
{"Service":"ec2","Action":"DeleteVpcPeeringConnection","VpcPeeringConnectionId":"@peering/0"}
7200
"#;

const INTERFACES: &str = r#"{"Service":"ec2","Action":"CreateNetworkInterface","SubnetId":"@subnet/0","Description":"a database","SecondaryPrivateIpAddressCount":2,"Groups":["@security-group/0"]}
{"Service":"ec2","Action":"AssignPrivateIpAddresses","NetworkInterfaceId":"@interface/0","PrivateIpAddresses":["10.0.1.50"]}
{"Service":"ec2","Action":"ModifyNetworkInterfaceAttribute","NetworkInterfaceId":"@interface/0","SourceDestCheck":{"Value":false}}
{"Service":"ec2","Action":"ModifyNetworkInterfaceAttribute","NetworkInterfaceId":"@interface/0","ConnectionTrackingSpecification":{"TcpEstablishedTimeout":3600,"UdpTimeout":30,"UdpStreamTimeout":60}}
{"Service":"ec2","Action":"UnassignPrivateIpAddresses","NetworkInterfaceId":"@interface/0","PrivateIpAddresses":["10.0.1.50"]}
{"Service":"ec2","Action":"CreateInternetGateway"}
{"Service":"ec2","Action":"AttachInternetGateway","InternetGatewayId":"@internet-gateway/0","VpcId":"@vpc/0"}
{"Service":"ec2","Action":"AllocateAddress"}
{"Service":"ec2","Action":"AssociateAddress","AllocationId":"@address/0","NetworkInterfaceId":"@interface/0","PrivateIpAddress":"@interface/0/PrivateIpAddress"}
{"Service":"ec2","Action":"DisassociateAddress","AssociationId":"@address/0/AssociationId"}
{"Service":"ec2","Action":"DetachNetworkInterface","AttachmentId":"@interface/0/Attachment/AttachmentId","Force":true}
{"Service":"ec2","Action":"DeleteNetworkInterface","NetworkInterfaceId":"@interface/0"}
"#;

const LISTS: &str = r#"{"Service":"ec2","Action":"CreateManagedPrefixList","PrefixListName":"partners","MaxEntries":2,"AddressFamily":"IPv4","Entries":[{"Cidr":"198.51.100.0/24","Description":"one"}]}
{"Service":"ec2","Action":"ModifyManagedPrefixList","PrefixListId":"@prefix-list/0","CurrentVersion":1,"AddEntries":[{"Cidr":"203.0.113.0/24"}],"RemoveEntries":[{"Cidr":"198.51.100.0/24"}]}
{"Service":"ec2","Action":"ModifyManagedPrefixList","PrefixListId":"@prefix-list/0","MaxEntries":3}
{"Service":"ec2","Action":"CreateDhcpOptions","DhcpConfigurations":[{"Key":"domain-name-servers","Values":["10.0.0.9"]},{"Key":"domain-name","Values":["example.org"]}]}
{"Service":"ec2","Action":"CreateVpc","CidrBlock":"172.16.0.0/20","InstanceTenancy":"default"}
{"Service":"ec2","Action":"AssociateDhcpOptions","DhcpOptionsId":"@dhcp-options/0","VpcId":"@vpc/0"}
{"Service":"ec2","Action":"AssociateVpcCidrBlock","VpcId":"@vpc/0","CidrBlock":"172.17.0.0/20"}
{"Service":"ec2","Action":"DisassociateVpcCidrBlock","AssociationId":"@vpc/0/CidrBlockAssociationSet/1/AssociationId"}
{"Service":"ec2","Action":"AssociateDhcpOptions","DhcpOptionsId":"default","VpcId":"@vpc/0"}
{"Service":"ec2","Action":"DeleteDhcpOptions","DhcpOptionsId":"@dhcp-options/0"}
{"Service":"ec2","Action":"DeleteManagedPrefixList","PrefixListId":"@prefix-list/0"}
"#;

const TAGS: &str = r#"{"Service":"ec2","Action":"CreateTags","Resources":["@vpc/0","@subnet/0","@security-group/0"],"Tags":[{"Key":"Name","Value":"blue"},{"Key":"stage"}]}
{"Service":"ec2","Action":"DeleteTags","Resources":["@vpc/0"],"Tags":[{"Key":"stage"}]}
{"Service":"ec2","Action":"DeleteTags","Resources":["@subnet/0"]}
{"Service":"ec2","Action":"CreateSubnet","VpcId":"@vpc/0","CidrBlock":"10.0.2.0/24","TagSpecifications":[{"ResourceType":"subnet","Tags":[{"Key":"Name","Value":"edge"}]}]}
"#;

const ENDS: &str = r#"{"Service":"ec2","Action":"ModifyVpcAttribute","VpcId":"@vpc/0","EnableDnsHostnames":{"Value":true}}
{"Service":"ec2","Action":"ModifyVpcAttribute","VpcId":"@vpc/0","Uplink":{"Value":"green"}}
{"Service":"ec2","Action":"ModifyVpcAttribute","VpcId":"@vpc/0","OnLink":{"Value":true}}
{"Service":"ec2","Action":"ModifySubnetAttribute","SubnetId":"@subnet/0","Router":{"Value":"10.0.1.2"}}
{"Service":"ec2","Action":"DeleteVpc","VpcId":"@vpc/0"}
{"Service":"ec2","Action":"DeleteSubnet","SubnetId":"@subnet/0"}
{"Service":"ec2","Action":"DeleteVpc","VpcId":"@vpc/0","Account":1}
{"Service":"ec2","Action":"DeleteVpc","VpcId":"@vpc/0"}
"#;

const FUNCTION: &str = r#"{"Service":"iam","Action":"CreateRole","RoleName":"worker","AssumeRolePolicyDocument":"{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":{\"Service\":\"lambda.amazonaws.com\"},\"Action\":\"sts:AssumeRole\"}]}"}
{"Service":"iam","Action":"AttachRolePolicy","RoleName":"worker","PolicyArn":"arn:aws:iam::aws:policy/service-role/AWSLambdaVPCAccessExecutionRole"}
{"Service":"lambda","Action":"CreateFunction","FunctionName":"work","Role":"@role/0","VpcConfig":{"SubnetIds":["@subnet/0"],"SecurityGroupIds":["@security-group/0"]},"Runtime":"python3.13","Handler":"main.handle","MemorySize":256,"Timeout":30,"Environment":{"Variables":{"STAGE":"test"}},"Tags":{"team":"blue"}}
{"Service":"life","Action":"EniProgrammed","NetworkInterfaceId":"@interface/0"}
"#;

const ENVIRONMENTS: &str = r#"{"Service":"lambda","Action":"Invoke","FunctionName":"work","InvocationType":"Event"}
{"Service":"life","Action":"AttachEnvironment","EnvironmentId":"fn-1","Function":"work","Interface":"tap0","Address":"169.254.100.2"}
{"Service":"life","Action":"EniHighWater","NetworkInterfaceId":"@interface/0"}
{"Service":"life","Action":"EniProgrammed","NetworkInterfaceId":"@interface/1"}
{"Service":"life","Action":"EniLowWater","NetworkInterfaceId":"@interface/0"}
{"Service":"life","Action":"EniIdle","NetworkInterfaceId":"@interface/1"}
{"Service":"life","Action":"EniForgotten","NetworkInterfaceId":"@interface/1"}
{"Service":"life","Action":"DetachEnvironment","EnvironmentId":"fn-1"}
1300000
{"Service":"life","Action":"Tick"}
{"Service":"lambda","Action":"Invoke","FunctionName":"work"}
"#;

const VERSIONS: &str = r#"{"Service":"lambda","Action":"UpdateFunctionCode","FunctionName":"work","S3Bucket":"code","S3Key":"work.zip","CodeSha256":"Zm9v","CodeSize":3,"Publish":true}
{"Service":"lambda","Action":"PublishVersion","FunctionName":"work","Description":"the first"}
{"Service":"lambda","Action":"CreateAlias","FunctionName":"work","Name":"live","FunctionVersion":"1","RoutingConfig":{"AdditionalVersionWeights":{"2":0.25}}}
{"Service":"lambda","Action":"UpdateAlias","FunctionName":"work","Name":"live","FunctionVersion":"$LATEST"}
{"Service":"lambda","Action":"Invoke","FunctionName":"work:live","InvocationType":"DryRun"}
{"Service":"lambda","Action":"DeleteFunction","FunctionName":"work","Qualifier":"1"}
{"Service":"lambda","Action":"DeleteAlias","FunctionName":"work","Name":"live"}
{"Service":"lambda","Action":"TagResource","Resource":"arn:aws:lambda:us-east-1:000000000001:function:work","Tags":{"a":"b"}}
{"Service":"lambda","Action":"UntagResource","Resource":"arn:aws:lambda:us-east-1:000000000001:function:work","TagKeys":["a"]}
{"Service":"lambda","Action":"DeleteFunction","FunctionName":"work"}
"#;

const UPDATES: &str = r#"{"Service":"ec2","Action":"CreateSubnet","VpcId":"@vpc/0","CidrBlock":"10.0.2.0/24"}
{"Service":"lambda","Action":"UpdateFunctionConfiguration","FunctionName":"work","VpcConfig":{"SubnetIds":["@subnet/0","@subnet/1"]},"RevisionId":"@function/0/RevisionId"}
{"Service":"life","Action":"EniFailed","NetworkInterfaceId":"@interface/1","Code":"SubnetOutOfIPAddresses","Reason":"no address is left"}
{"Service":"lambda","Action":"UpdateFunctionConfiguration","FunctionName":"work","VpcConfig":{"SubnetIds":["@subnet/1"],"SecurityGroupIds":["@security-group/0"]}}
{"Service":"life","Action":"EniProgrammed","NetworkInterfaceId":"@interface/1"}
{"Service":"lambda","Action":"UpdateFunctionConfiguration","FunctionName":"work","VpcConfig":{"SubnetIds":[],"SecurityGroupIds":[]}}
{"Service":"life","Action":"EniForgotten","NetworkInterfaceId":"@interface/0"}
{"Service":"life","Action":"Tick"}
"#;

const ROLES: &str = r#"{"Service":"iam","Action":"CreateRole","RoleName":"worker","Path":"/team/","Description":"works","MaxSessionDuration":7200,"AssumeRolePolicyDocument":"{\"Statement\":{\"Effect\":\"Allow\",\"Principal\":{\"AWS\":[\"000000000001\",\"arn:aws:iam::000000000001:root\"]},\"Action\":\"sts:AssumeRole\",\"Condition\":{\"StringEquals\":{\"sts:ExternalId\":\"x\"}}}}","Tags":[{"Key":"a","Value":"b"}]}
{"Service":"iam","Action":"PutRolePolicy","RoleName":"worker","PolicyName":"own","PolicyDocument":"{\"Version\":\"2012-10-17\",\"Id\":\"x\",\"Statement\":[{\"Sid\":\"A\",\"Effect\":\"Deny\",\"NotAction\":[\"ec2:Create*\",\"lambda:?nvoke\"],\"Resource\":\"arn:aws:ec2:*:000000000001:subnet/${aws:username}\",\"Condition\":{\"ForAnyValue:StringLike\":{\"aws:TagKeys\":[\"a*\"]},\"DateGreaterThan\":{\"aws:CurrentTime\":\"2026-01-01T00:00:00Z\"},\"IpAddress\":{\"aws:SourceIp\":\"10.0.0.0/8\"},\"NumericLessThanEquals\":{\"s3:max-keys\":\"10\"},\"Bool\":{\"aws:SecureTransport\":\"true\"},\"Null\":{\"aws:MultiFactorAuthAge\":\"true\"}}}]}"}
{"Service":"iam","Action":"UpdateAssumeRolePolicy","RoleName":"worker","PolicyDocument":"{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":[\"sts:*\"]}]}"}
{"Service":"iam","Action":"TagRole","RoleName":"worker","Tags":[{"Key":"c","Value":"d"}]}
{"Service":"iam","Action":"UntagRole","RoleName":"worker","TagKeys":["c"]}
{"Service":"iam","Action":"AttachRolePolicy","RoleName":"worker","PolicyArn":"arn:aws:iam::aws:policy/AdministratorAccess"}
{"Service":"iam","Action":"DetachRolePolicy","RoleName":"worker","PolicyArn":"arn:aws:iam::aws:policy/AdministratorAccess"}
{"Service":"iam","Action":"DeleteRolePolicy","RoleName":"worker","PolicyName":"own"}
{"Service":"iam","Action":"DeleteRole","RoleName":"worker"}
"#;

const DELIVERIES: &str = r#"{"Service":"ec2","Action":"CreateFlowLogs","ResourceIds":["@subnet/0"],"ResourceType":"Subnet","TrafficType":"ALL","LogDestinationType":"cloud-watch-logs","LogGroupName":"flows","DeliverLogsPermissionArn":"arn:aws:iam::000000000001:role/logs","LogFormat":"${version} ${srcaddr} ${dstaddr} ${action}"}
{"Service":"life","Action":"FlowLogDelivery","FlowLogId":"@flow-log/0","Error":{"Failure":"Access error","Detail":"the bucket is not ours"}}
{"Service":"life","Action":"FlowLogDelivery","FlowLogId":"@flow-log/0","Error":null}
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_a_story_is_json() {
        for story in [ec2(), lambda()].concat() {
            let lines = story
                .split(|byte| *byte == b'\n')
                .filter(|line| !line.is_empty());
            for line in lines {
                let parsed = serde_json::from_slice::<Value>(line);
                assert!(parsed.is_ok(), "{}", String::from_utf8_lossy(line));
            }
        }
    }
}
