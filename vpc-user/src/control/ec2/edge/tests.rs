//! A small world that the tests of the edge share: two accounts, VPCs that overlap and
//! that do not, and the commands as they arrive, in JSON.

mod errors;
mod interfaces;
mod life;
mod property;
mod shown;

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::{
    super::{Action, decide},
    shown,
};
use crate::control::{
    Account, ApiError, Caller, Context, Entropy, Id, Key, Settings, State, Tags, Time, Transaction,
    record::Typed, resource::*,
};

/// The account whose network this is.
const OURS: &str = "111111111111";
/// Another one.
const THEIRS: &str = "222222222222";

/// An id with a number for its digits.
fn id(prefix: &str, number: u32) -> String {
    format!("{prefix}-{number:017x}")
}

fn name(text: &str) -> Id {
    Id::new(text).unwrap()
}

fn account(digits: &str) -> Account {
    Account::new(digits).unwrap()
}

/// The state, and what a command needs besides.
#[derive(Clone)]
struct World {
    state: State,
    context: Context,
}

impl World {
    /// VPC 1 (two zones, names) and 2 (no names) of ours, 3 of ours overlaps 1, 4 is theirs.
    /// Subnets: 11, 12 (small) in zone a and 13 in zone b of VPC 1; 21 of 2, 41 of 4.
    /// Security groups: `n0` is the default one of VPC n; 11 to 16 are further ones of 1.
    /// Route tables: 11, 12 and 21. Interfaces of functions: 91 in use, 92 released.
    fn new() -> Self {
        let context = Context {
            now: Time(1_800_000_000_000),
            caller: Caller::root(account(OURS)),
            entropy: Entropy::new(7),
            settings: Settings::default(),
        };
        let mut world = Self {
            state: State::default(),
            context,
        };
        for (number, owner, cidr, names) in [
            (1, OURS, "10.0.0.0/16", true),
            (2, OURS, "10.1.0.0/16", false),
            (3, OURS, "10.0.128.0/17", true),
            (4, THEIRS, "10.4.0.0/16", true),
        ] {
            world.vpc(number, owner, cidr, names);
        }
        for (number, vpc, cidr, zone) in [
            (11, 1, "10.0.1.0/24", "us-east-1a"),
            (12, 1, "10.0.2.0/28", "us-east-1a"),
            (13, 1, "10.0.3.0/24", "us-east-1b"),
            (21, 2, "10.1.1.0/24", "us-east-1a"),
            (41, 4, "10.4.1.0/24", "us-east-1a"),
        ] {
            world.subnet(number, vpc, cidr, zone);
        }
        for number in 11..=16 {
            world.group(number, 1, &format!("group-{number}"));
        }
        for (number, vpc) in [(11, 1), (12, 1), (21, 2)] {
            world.route_table(number, vpc);
        }
        world.lambda_interface(91, Ipv4Addr::new(10, 0, 1, 91), InterfaceStatus::InUse);
        world.lambda_interface(92, Ipv4Addr::new(10, 0, 1, 92), InterfaceStatus::Available);
        world
    }

    fn put(&mut self, record: impl Into<crate::control::Record>) {
        let record = record.into();
        self.state.replace(&record.key(), Some(record));
    }

    fn owner_of_vpc(&self, number: u32) -> Account {
        self.state.get::<Vpc>(&id("vpc", number)).unwrap().owner_id
    }

    fn vpc(&mut self, number: u32, owner: &str, cidr: &str, names: bool) {
        let vpc_id = name(&id("vpc", number));
        self.put(Vpc {
            vpc_id: vpc_id.clone(),
            owner_id: account(owner),
            cidr_block_association_set: vec![CidrAssociation {
                association_id: name(&id("vpc-cidr-assoc", number)),
                cidr_block: cidr.parse().unwrap(),
            }],
            dhcp_options_id: None,
            instance_tenancy: "default".to_owned(),
            is_default: false,
            enable_dns_support: true,
            enable_dns_hostnames: names,
            uplink: None,
            on_link: false,
            tags: Tags::new(),
        });
        self.put(NetworkAcl {
            network_acl_id: name(&id("acl", number)),
            owner_id: account(owner),
            vpc_id,
            is_default: true,
            entries: Vec::new(),
            tags: Tags::new(),
        });
        self.group(number * 10, number, "default");
    }

    fn subnet(&mut self, number: u32, vpc: u32, cidr: &str, zone: &str) {
        let owner_id = self.owner_of_vpc(vpc);
        self.put(Subnet {
            subnet_id: name(&id("subnet", number)),
            owner_id,
            vpc_id: name(&id("vpc", vpc)),
            cidr_block: cidr.parse().unwrap(),
            availability_zone: zone.to_owned(),
            map_public_ip_on_launch: false,
            network_acl_id: name(&id("acl", vpc)),
            network_acl_association_id: name(&id("aclassoc", number)),
            router: None,
            tags: Tags::new(),
        });
    }

    fn group(&mut self, number: u32, vpc: u32, group_name: &str) {
        let owner_id = self.owner_of_vpc(vpc);
        self.put(SecurityGroup {
            group_id: name(&id("sg", number)),
            owner_id,
            vpc_id: name(&id("vpc", vpc)),
            group_name: group_name.to_owned(),
            description: String::new(),
            rules: Vec::new(),
            tags: Tags::new(),
        });
    }

    fn route_table(&mut self, number: u32, vpc: u32) {
        let owner_id = self.owner_of_vpc(vpc);
        self.put(RouteTable {
            route_table_id: name(&id("rtb", number)),
            owner_id,
            vpc_id: name(&id("vpc", vpc)),
            main_association_id: None,
            associations: Vec::new(),
            routes: Vec::new(),
            tags: Tags::new(),
        });
    }

    /// As the life of functions makes them.
    fn lambda_interface(&mut self, number: u32, address: Ipv4Addr, status: InterfaceStatus) {
        let attachment = Attachment {
            attachment_id: name(&id("ela-attach", number)),
            instance_owner_id: "amazon-aws".to_owned(),
            device_index: 1,
            delete_on_termination: false,
            status: "attached".to_owned(),
        };
        self.put(Interface {
            network_interface_id: name(&id("eni", number)),
            owner_id: account(OURS),
            vpc_id: name(&id("vpc", 1)),
            subnet_id: name(&id("subnet", 11)),
            private_ip_address: address,
            secondary_addresses: Vec::new(),
            mac_address: "02:00:00:00:00:91".to_owned(),
            groups: vec![name(&id("sg", 11)), name(&id("sg", 12))],
            description: "AWS Lambda VPC ENI-f-00000000-0000-0000-0000-000000000000".to_owned(),
            interface_type: "lambda".to_owned(),
            requester_managed: false,
            requester_id: Some("AROAEXAMPLE:123456789012".to_owned()),
            source_dest_check: true,
            attachment: (status == InterfaceStatus::InUse).then_some(attachment),
            status,
            connection_tracking_configuration: None,
            hyperplane: None,
            client_token: None,
            tags: Tags::new(),
        });
    }

    /// Carries out an action of an account as it arrives; refused, nothing has changed.
    fn ask_as(&mut self, caller: &str, action: Value) -> Result<Value, ApiError> {
        let action: Action = serde_json::from_value(action).unwrap();
        self.context.caller = Caller::root(account(caller));
        let mut transaction = Transaction::new(&mut self.state);
        let answer = decide(&mut transaction, &action, &mut self.context)?;
        transaction.commit();
        Ok(answer)
    }

    fn ask(&mut self, action: Value) -> Result<Value, ApiError> {
        self.ask_as(OURS, action)
    }

    /// One member of the answer, as text.
    fn made(&mut self, pointer: &str, action: Value) -> String {
        let answer = self.ask(action).unwrap();
        let member = answer
            .pointer(pointer)
            .unwrap_or_else(|| panic!("{answer:#}"));
        member.as_str().unwrap().to_owned()
    }

    fn tick(&mut self) {
        let mut transaction = Transaction::new(&mut self.state);
        super::tick(&mut transaction, &self.context);
        transaction.commit();
    }

    fn pass(&mut self, seconds: u64) {
        self.context.now.0 += seconds * 1_000;
        self.tick();
    }

    fn shown<T: Typed>(&self, id: &str) -> Value {
        let record = self.state.record(&Key::of::<T>(id)).unwrap();
        shown(&self.state, record)
    }

    fn internet_gateway(&mut self) -> String {
        let pointer = "/InternetGateway/InternetGatewayId";
        self.made(pointer, json!({"Action": "CreateInternetGateway"}))
    }

    fn attach(&mut self, gateway: &str, vpc: u32) -> Result<Value, ApiError> {
        self.ask(json!({
            "Action": "AttachInternetGateway",
            "InternetGatewayId": gateway,
            "VpcId": id("vpc", vpc),
        }))
    }

    /// VPC 1 with an internet gateway.
    fn with_internet() -> Self {
        let mut world = Self::new();
        let gateway = world.internet_gateway();
        world.attach(&gateway, 1).unwrap();
        world
    }

    fn elastic_address(&mut self) -> String {
        self.made("/AllocationId", json!({"Action": "AllocateAddress"}))
    }

    fn interface(&mut self, subnet: u32) -> String {
        let pointer = "/NetworkInterface/NetworkInterfaceId";
        let subnet = id("subnet", subnet);
        self.made(
            pointer,
            json!({"Action": "CreateNetworkInterface", "SubnetId": subnet}),
        )
    }

    fn associate(&mut self, elastic: &str, interface: &str) -> Result<Value, ApiError> {
        self.ask(json!({
            "Action": "AssociateAddress",
            "AllocationId": elastic,
            "NetworkInterfaceId": interface,
        }))
    }

    fn public_gateway(&mut self, elastic: &str, subnet: u32) -> Result<Value, ApiError> {
        self.ask(json!({
            "Action": "CreateNatGateway",
            "SubnetId": id("subnet", subnet),
            "AllocationId": elastic,
        }))
    }

    fn private_gateway(&mut self, subnet: u32) -> String {
        self.made(
            "/NatGateway/NatGatewayId",
            json!({
                "Action": "CreateNatGateway",
                "SubnetId": id("subnet", subnet),
                "ConnectivityType": "private",
            }),
        )
    }

    fn gateway_endpoint(&mut self, service: &str, tables: &[u32]) -> Result<Value, ApiError> {
        let tables: Vec<String> = tables.iter().map(|number| id("rtb", *number)).collect();
        self.ask(json!({
            "Action": "CreateVpcEndpoint",
            "VpcId": id("vpc", 1),
            "ServiceName": format!("com.amazonaws.us-east-1.{service}"),
            "RouteTableIds": tables,
        }))
    }

    fn interface_endpoint(&mut self, service: &str, subnets: &[u32]) -> Result<Value, ApiError> {
        let subnets: Vec<String> = subnets.iter().map(|number| id("subnet", *number)).collect();
        self.ask(json!({
            "Action": "CreateVpcEndpoint",
            "VpcId": id("vpc", 1),
            "VpcEndpointType": "Interface",
            "ServiceName": format!("com.amazonaws.us-east-1.{service}"),
            "SubnetIds": subnets,
        }))
    }

    fn peering(&mut self, from: u32, to: u32, owner: &str) -> Result<Value, ApiError> {
        self.ask(json!({
            "Action": "CreateVpcPeeringConnection",
            "VpcId": id("vpc", from),
            "PeerVpcId": id("vpc", to),
            "PeerOwnerId": owner,
        }))
    }
}

/// A member of an answer, as text.
fn text<'v>(answer: &'v Value, pointer: &str) -> &'v str {
    let member = answer
        .pointer(pointer)
        .unwrap_or_else(|| panic!("{answer:#}"));
    member.as_str().unwrap()
}
