//! A small world: two VPCs, some roles, and whoever drives them.

use serde_json::{Value, json};

use super::invariants;
use crate::control::{
    Account, ApiError, Caller, Command, Context, Entropy, Id, Key, Record, Settings, State, Tags,
    Time, Transaction, decide, resource::*,
};

/// May do all that ENIs need.
pub const ROLE: &str = "arn:aws:iam::000000000001:role/vpc";
/// May do all that ENIs need, too.
pub const OTHER_ROLE: &str = "arn:aws:iam::000000000001:role/other";
/// May do nothing.
pub const BARE_ROLE: &str = "arn:aws:iam::000000000001:role/bare";
/// What [`ROLE`] may do.
pub const POLICY: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["ec2:CreateNetworkInterface","ec2:DeleteNetworkInterface","ec2:DescribeNetworkInterfaces"],"Resource":"*"}]}"#;

/// The state, the moment, and who asks.
pub struct World {
    pub state: State,
    pub context: Context,
}

impl World {
    /// `vpc-a` with the subnets `a`, `b` (zones `a` and `b`) and `small` (zone `c`, eleven
    /// addresses) and the groups `sg-1` to `sg-3`; `vpc-b` with the subnet `z` and `sg-9`.
    pub fn new() -> Self {
        let mut world = Self {
            state: State::default(),
            context: Context {
                now: Time(1_700_000_000_000),
                caller: Caller::root(Account::DEFAULT),
                entropy: Entropy::new(7),
                settings: Settings::default(),
            },
        };
        world.vpc("a", "default");
        world.subnet("a", "a", "10.0.1.0/24", "us-east-1a");
        world.subnet("a", "b", "10.0.2.0/24", "us-east-1b");
        world.subnet("a", "small", "10.0.3.0/28", "us-east-1c");
        world.vpc("b", "default");
        world.subnet("b", "z", "10.0.1.0/24", "us-east-1a");
        world.vpc("d", "dedicated");
        world.subnet("d", "d", "10.0.1.0/24", "us-east-1a");
        for (group, vpc) in [("1", "a"), ("2", "a"), ("3", "a"), ("9", "b"), ("8", "d")] {
            world.security_group(group, vpc);
        }
        world.role(ROLE, Some(POLICY));
        world.role(OTHER_ROLE, Some(POLICY));
        world.role(BARE_ROLE, None);
        world
    }

    pub fn put(&mut self, record: impl Into<Record>) {
        let record = record.into();
        self.state.replace(&record.key(), Some(record));
    }

    fn vpc(&mut self, name: &str, tenancy: &str) {
        let vpc_id = id(&format!("vpc-{name}"));
        self.put(NetworkAcl {
            network_acl_id: id(&format!("acl-{name}")),
            owner_id: Account::DEFAULT,
            vpc_id: vpc_id.clone(),
            is_default: true,
            entries: Vec::new(),
            tags: Tags::new(),
        });
        self.put(Vpc {
            vpc_id,
            owner_id: Account::DEFAULT,
            cidr_block_association_set: vec![CidrAssociation {
                association_id: id("vpc-cidr-assoc-1"),
                cidr_block: "10.0.0.0/16".parse().unwrap(),
            }],
            dhcp_options_id: None,
            instance_tenancy: tenancy.to_owned(),
            is_default: false,
            enable_dns_support: true,
            enable_dns_hostnames: false,
            uplink: None,
            on_link: false,
            tags: Tags::new(),
        });
    }

    fn subnet(&mut self, vpc: &str, name: &str, cidr: &str, zone: &str) {
        self.put(Subnet {
            subnet_id: id(&format!("subnet-{name}")),
            owner_id: Account::DEFAULT,
            vpc_id: id(&format!("vpc-{vpc}")),
            cidr_block: cidr.parse().unwrap(),
            availability_zone: zone.to_owned(),
            map_public_ip_on_launch: false,
            network_acl_id: id(&format!("acl-{vpc}")),
            network_acl_association_id: id(&format!("aclassoc-{name}")),
            router: None,
            tags: Tags::new(),
        });
    }

    fn security_group(&mut self, name: &str, vpc: &str) {
        self.put(SecurityGroup {
            group_id: id(&format!("sg-{name}")),
            owner_id: Account::DEFAULT,
            vpc_id: id(&format!("vpc-{vpc}")),
            group_name: name.to_owned(),
            description: String::new(),
            rules: Vec::new(),
            tags: Tags::new(),
        });
    }

    /// Makes or changes a role.
    pub fn role(&mut self, arn: &str, policy: Option<&str>) {
        let name = arn.rsplit('/').next().unwrap();
        let role = json!({
            "RoleName": name,
            "RoleId": format!("AROA{}", name.to_uppercase()),
            "OwnerId": Account::DEFAULT,
            "Path": "/",
            "MaxSessionDuration": 3_600,
            "AssumeRolePolicyDocument": TRUST,
            "Policies": policy.map(|policy| json!({ "inline": policy })).unwrap_or(json!({})),
            "AttachedPolicies": [],
            "CreateDate": 0,
            "Tags": {},
        });
        let role: Role = serde_json::from_value(role).expect("a role");
        self.put(role);
    }

    /// Makes a role that Lambda may not assume, though it allows all that ENIs need.
    pub fn stranger(&mut self, arn: &str) {
        self.role(arn, Some(POLICY));
        let mut role: Role = self.state.get::<Role>(arn).expect("a role").clone();
        role.assume_role_policy_document = TRUST.replace("lambda", "ec2");
        self.put(role);
    }

    pub fn remove<T: crate::control::record::Typed>(&mut self, id: &str) {
        self.state.replace(&Key::of::<T>(id), None);
    }

    /// Carries a command out: what is refused has changed nothing, and what must hold
    /// holds.
    pub fn run(&mut self, command: Value) -> Result<Value, ApiError> {
        let command: Command = serde_json::from_value(command).expect("a command");
        let before = self.state.clone();
        let mut transaction = Transaction::new(&mut self.state);
        let answer = match decide(&mut transaction, &command, &mut self.context) {
            Ok(answer) => {
                transaction.commit();
                answer
            }
            Err(error) => {
                drop(transaction);
                assert!(self.state == before, "{command:?} is refused, and changes");
                Err(error)
            }
        };
        invariants::check(&self.state, &self.context.settings)
            .unwrap_or_else(|broken| panic!("{command:?}: {broken}"));
        answer
    }

    /// An action of Lambda's.
    pub fn lambda(&mut self, action: &str, members: Value) -> Result<Value, ApiError> {
        self.run(with(members, "lambda", action))
    }

    /// An event.
    pub fn life(&mut self, event: &str, members: Value) -> Result<Value, ApiError> {
        self.run(with(members, "life", event))
    }

    /// An event of an ENI.
    pub fn eni(&mut self, event: &str, eni: &str) {
        let members = json!({ "NetworkInterfaceId": eni });
        self.life(event, members).expect("an ENI");
    }

    /// Creates a function in some subnets with `sg-1`.
    pub fn create(&mut self, name: &str, subnets: &[&str]) -> Value {
        let members = json!({
            "FunctionName": name,
            "Role": ROLE,
            "VpcConfig": vpc(subnets, &["1"]),
        });
        self.lambda("CreateFunction", members).expect("a function")
    }

    /// Creates one, and programs its ENIs.
    pub fn active(&mut self, name: &str, subnets: &[&str]) {
        self.create(name, subnets);
        self.program_all();
    }

    /// Moves a function.
    pub fn update(&mut self, name: &str, subnets: &[&str]) -> Result<Value, ApiError> {
        let groups: &[&str] = if subnets.is_empty() { &[] } else { &["1"] };
        let members = json!({ "FunctionName": name, "VpcConfig": vpc(subnets, groups) });
        self.lambda("UpdateFunctionConfiguration", members)
    }

    /// Attaches an environment.
    pub fn attach(&mut self, environment: &str, function: &str) -> Result<Value, ApiError> {
        self.attach_in(environment, function, Value::Null)
    }

    pub fn attach_in(
        &mut self,
        environment: &str,
        function: &str,
        zone: Value,
    ) -> Result<Value, ApiError> {
        let members = json!({
            "EnvironmentId": environment,
            "Function": function,
            "Interface": "tap0",
            "Address": "192.168.0.2",
            "AvailabilityZone": zone,
        });
        self.life("AttachEnvironment", members)
    }

    /// The kernel knows every ENI that it should.
    pub fn program_all(&mut self) {
        for eni in self.in_phase(EniPhase::Programming) {
            self.eni("EniProgrammed", &eni);
        }
    }

    /// The kernel forgets every ENI that it should.
    pub fn forget_all(&mut self) {
        for eni in self.in_phase(EniPhase::Draining) {
            self.eni("EniForgotten", &eni);
        }
    }

    /// ENIs in a phase.
    pub fn in_phase(&self, phase: EniPhase) -> Vec<String> {
        let enis = self.state.all::<Interface>();
        enis.filter(|eni| eni.phase() == Some(phase))
            .map(|eni| eni.network_interface_id.to_string())
            .collect()
    }

    /// Lets time pass.
    pub fn pass(&mut self, seconds: u64) {
        let duration = std::time::Duration::from_secs(seconds);
        self.context.now = self.context.now.after(duration);
    }

    /// A version of a function: `name` or `name:version`.
    pub fn function(&self, name: &str) -> &Function {
        let (name, version) = name.split_once(':').unwrap_or((name, LATEST));
        let id = Function::id_of(Account::DEFAULT, name, version);
        self.state.get(&id).expect("a function")
    }

    pub fn interface(&self, id: &str) -> &Interface {
        self.state.get(id).expect("an interface")
    }

    pub fn environment(&self, id: &str) -> Option<&Environment> {
        self.state.get(id)
    }

    pub fn group(&self, id: &Id) -> &EniGroup {
        self.state.get(id.as_str()).expect("a group")
    }

    /// The only group that serves a version.
    pub fn group_of(&self, name: &str) -> &EniGroup {
        let groups = &self.function(name).eni_groups;
        assert_eq!(groups.len(), 1, "{groups:?}");
        self.group(&groups[0])
    }
}

/// Lambda may assume it.
const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;

pub fn id(text: &str) -> Id {
    Id::new(text).unwrap()
}

/// A `VpcConfig` of a request.
pub fn vpc(subnets: &[&str], groups: &[&str]) -> Value {
    let ids = |prefix: &str, names: &[&str]| -> Vec<String> {
        names
            .iter()
            .map(|name| format!("{prefix}-{name}"))
            .collect()
    };
    json!({
        "SubnetIds": ids("subnet", subnets),
        "SecurityGroupIds": ids("sg", groups),
    })
}

fn with(mut members: Value, service: &str, action: &str) -> Value {
    members["Service"] = json!(service);
    members["Action"] = json!(action);
    members
}

/// Whether an answer is this error.
#[track_caller]
pub fn assert_error(answer: Result<Value, ApiError>, status: u16, code: &str, message: &str) {
    let error = answer.expect_err(message);
    assert_eq!(
        (error.status, error.code.as_str(), error.message.as_str()),
        (status, code, message)
    );
}
