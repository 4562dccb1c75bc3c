//! A state that commands change, and what other parts put into it.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::invariants;
use crate::control::{
    Account, ApiError, Caller, Command, Context, Entropy, Id, IdKind, Key, Settings, State, Tags,
    Time, Transaction, decide, ec2::addresses, resource::*,
};

/// The state, and who asks.
pub(super) struct World {
    pub(super) state: State,
    pub(super) context: Context,
}

/// Another account than the one that asks.
pub(super) fn stranger() -> Account {
    Account::new("999999999999").unwrap()
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(Settings::default())
    }

    pub(super) fn with(settings: Settings) -> Self {
        Self {
            state: State::default(),
            context: Context {
                now: Time(1_000),
                caller: Caller::root(Account::DEFAULT),
                entropy: Entropy::new(1),
                settings,
            },
        }
    }

    /// Carries an action out.
    pub(super) fn run(&mut self, action: &str, members: Value) -> Result<Value, ApiError> {
        let mut command = members;
        command["Service"] = "ec2".into();
        command["Action"] = action.into();
        let command: Command = serde_json::from_value(command).unwrap();
        let again = serde_json::to_value(&command).unwrap();
        assert_eq!(command, serde_json::from_value(again).unwrap());
        let before = self.state.clone();
        let mut transaction = Transaction::new(&mut self.state);
        let answer = decide(&mut transaction, &command, &mut self.context);
        match answer {
            Ok(_) => transaction.commit(),
            Err(_) => drop(transaction),
        }
        if answer.is_err() {
            assert!(
                self.state == before,
                "{action} was refused and changed something"
            );
        }
        invariants::hold(&self.state, &self.context.settings);
        answer?
    }

    /// Carries an action out that is not refused.
    pub(super) fn ok(&mut self, action: &str, members: Value) -> Value {
        let shown = members.to_string();
        let answer = self.run(action, members);
        answer.unwrap_or_else(|error| panic!("{action} {shown}: {error}"))
    }

    /// The code with which an action is refused.
    pub(super) fn refused(&mut self, action: &str, members: Value) -> String {
        let shown = members.to_string();
        match self.run(action, members) {
            Ok(answer) => panic!("{action} {shown} was not refused: {answer}"),
            Err(error) => error.code.as_str().to_owned(),
        }
    }

    /// Checks the codes of a table of refusals.
    pub(super) fn all_refused(&mut self, cases: &[(&str, Value, &str)]) {
        for (action, members, code) in cases {
            let got = self.refused(action, members.clone());
            assert_eq!(got, *code, "{action} {members}");
        }
    }

    pub(super) fn vpc(&mut self, block: &str) -> String {
        let answer = self.ok("CreateVpc", json!({ "CidrBlock": block }));
        text(&answer["Vpc"]["VpcId"])
    }

    pub(super) fn subnet(&mut self, vpc: &str, block: &str) -> String {
        let answer = self.ok("CreateSubnet", json!({ "VpcId": vpc, "CidrBlock": block }));
        text(&answer["Subnet"]["SubnetId"])
    }

    pub(super) fn group(&mut self, vpc: &str, name: &str) -> String {
        let members = json!({ "VpcId": vpc, "GroupName": name, "Description": "a group" });
        text(&self.ok("CreateSecurityGroup", members)["GroupId"])
    }

    pub(super) fn acl(&mut self, vpc: &str) -> String {
        let answer = self.ok("CreateNetworkAcl", json!({ "VpcId": vpc }));
        text(&answer["NetworkAcl"]["NetworkAclId"])
    }

    pub(super) fn table(&mut self, vpc: &str) -> String {
        let answer = self.ok("CreateRouteTable", json!({ "VpcId": vpc }));
        text(&answer["RouteTable"]["RouteTableId"])
    }

    pub(super) fn list(&mut self, max_entries: u32, cidrs: &[&str]) -> String {
        let entries: Vec<Value> = cidrs.iter().map(|cidr| json!({ "Cidr": cidr })).collect();
        let members = json!({
            "PrefixListName": "list",
            "MaxEntries": max_entries,
            "AddressFamily": "IPv4",
            "Entries": entries,
        });
        let answer = self.ok("CreateManagedPrefixList", members);
        text(&answer["PrefixList"]["PrefixListId"])
    }

    /// A resource as the API shows it.
    pub(super) fn shown(&self, key: &Key) -> Value {
        let record = self.state.record(key).unwrap();
        crate::control::shown(&self.state, record)
    }

    pub(super) fn fresh(&mut self, kind: IdKind) -> Id {
        kind.fresh(&mut self.context.entropy)
    }

    /// Puts what other parts of the control plane make.
    pub(super) fn put(&mut self, record: impl Into<crate::control::Record>) {
        let record = record.into();
        self.state.replace(&record.key(), Some(record));
    }

    /// An interface in a subnet, with an address that is free.
    pub(super) fn interface(&mut self, subnet: &str, groups: &[&str]) -> Result<String, ApiError> {
        let subnet = self.state.get::<Subnet>(subnet).unwrap().clone();
        let address = addresses::take(&self.state, &subnet, None)?;
        let id = self.fresh(IdKind::INTERFACE);
        self.put(interface(&subnet, &id, address, groups));
        Ok(id.to_string())
    }

    pub(super) fn internet_gateway(&mut self, vpc: Option<&str>) -> String {
        let id = self.fresh(IdKind::INTERNET_GATEWAY);
        self.put(InternetGateway {
            internet_gateway_id: id.clone(),
            owner_id: Account::DEFAULT,
            vpc_id: vpc.map(|vpc| Id::new(vpc).unwrap()),
            tags: Tags::new(),
        });
        id.to_string()
    }

    pub(super) fn nat_gateway(&mut self, subnet: &str, state: NatGatewayState) -> String {
        let subnet = self.state.get::<Subnet>(subnet).unwrap().clone();
        let id = self.fresh(IdKind::NAT_GATEWAY);
        self.put(NatGateway {
            nat_gateway_id: id.clone(),
            owner_id: Account::DEFAULT,
            vpc_id: subnet.vpc_id,
            subnet_id: subnet.subnet_id,
            connectivity_type: "private".to_owned(),
            state,
            create_time: Time(1),
            delete_time: None,
            failure_code: None,
            failure_message: None,
            nat_gateway_addresses: Vec::new(),
            client_token: None,
            tags: Tags::new(),
        });
        id.to_string()
    }

    pub(super) fn peering(&mut self, one: &str, other: &str, status: PeeringStatus) -> String {
        let id = self.fresh(IdKind::PEERING);
        let side = |state: &State, vpc: &str| PeeringVpc {
            owner_id: state.get::<Vpc>(vpc).unwrap().owner_id,
            vpc_id: Id::new(vpc).unwrap(),
            router: None,
        };
        self.put(Peering {
            vpc_peering_connection_id: id.clone(),
            owner_id: Account::DEFAULT,
            requester_vpc: side(&self.state, one),
            accepter_vpc: side(&self.state, other),
            status,
            expiration_time: Time(u64::MAX),
            ended: None,
            deleted_by: None,
            tags: Tags::new(),
        });
        id.to_string()
    }

    pub(super) fn endpoint(&mut self, vpc: &str, kind: EndpointType) -> String {
        let id = self.fresh(IdKind::ENDPOINT);
        self.put(Endpoint {
            vpc_endpoint_id: id.clone(),
            owner_id: Account::DEFAULT,
            vpc_id: Id::new(vpc).unwrap(),
            vpc_endpoint_type: kind,
            service_name: "com.amazonaws.us-east-1.s3".to_owned(),
            state: "available".to_owned(),
            creation_timestamp: Time(1),
            route_table_ids: Vec::new(),
            subnet_ids: Vec::new(),
            group_ids: Vec::new(),
            network_interface_ids: Vec::new(),
            private_dns_enabled: false,
            policy_document: String::new(),
            delete_time: None,
            client_token: None,
            tags: Tags::new(),
        });
        id.to_string()
    }

    pub(super) fn flow_log(&mut self, subject: &str) -> String {
        let id = self.fresh(IdKind::FLOW_LOG);
        self.put(FlowLog {
            flow_log_id: id.clone(),
            owner_id: Account::DEFAULT,
            resource_id: Id::new(subject).unwrap(),
            traffic_type: "ALL".to_owned(),
            log_destination_type: "s3".to_owned(),
            log_destination: None,
            log_group_name: None,
            deliver_logs_permission_arn: None,
            log_format: String::new(),
            max_aggregation_interval: 600,
            file_format: "plain-text".to_owned(),
            hive_compatible_partitions: false,
            delivery_error: None,
            per_hour_partition: false,
            creation_time: Time(1),
            client_token: None,
            tags: Tags::new(),
        });
        id.to_string()
    }
}

fn interface(subnet: &Subnet, id: &Id, address: Ipv4Addr, groups: &[&str]) -> Interface {
    let groups = groups.iter().map(|group| Id::new(*group).unwrap());
    Interface {
        network_interface_id: id.clone(),
        owner_id: subnet.owner_id,
        vpc_id: subnet.vpc_id.clone(),
        subnet_id: subnet.subnet_id.clone(),
        private_ip_address: address,
        secondary_addresses: Vec::new(),
        mac_address: "02:00:00:00:00:01".to_owned(),
        groups: groups.collect(),
        description: String::new(),
        interface_type: "interface".to_owned(),
        requester_managed: false,
        requester_id: None,
        source_dest_check: true,
        status: InterfaceStatus::InUse,
        attachment: None,
        connection_tracking_configuration: None,
        hyperplane: None,
        client_token: None,
        tags: Tags::new(),
    }
}

/// A string of an answer.
pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
