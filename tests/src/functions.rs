//! A world whose agent keeps resources: functions attached to VPCs, Hyperplane ENIs that
//! come and go with them, and environments of functions.

use std::net::Ipv4Addr;

use serde_json::{Value, json};
use vpc_user::{
    config::RawConfig,
    control::{Account, Command},
    model::{
        ApplyStep, EniUse, EnvironmentInfo, FunctionAttachRequest, GetRequest, HookWish,
        ObjectName, Request, ResourceInfo, Response,
    },
};

use crate::{
    plan::Plan,
    topology::{GATEWAY, INSIDE, INTERFACE},
    wait::{PATIENCE, eventually},
    world::World,
};

/// What is declared for a tenant: a VPC with two subnets, a group that lets all out, a
/// role and a function `<tenant>` in the first subnet.
pub fn tenant(name: &str) -> String {
    format!(
        "{}\n[[function]]\nname = \"{name}\"\nrole = \"{name}\"\nsubnets = [\"{name}-a\"]\n\
         security_groups = [\"{name}-web\"]\n",
        network(name)
    )
}

/// The same without the function.
pub fn network(name: &str) -> String {
    format!(
        "[[vpc]]\nname = \"{name}\"\ncidr = [\"10.0.0.0/16\"]\nuplink = \"{name}\"\n\
         local = \"on-link\"\n\
         [[subnet]]\nname = \"{name}-a\"\nvpc = \"{name}\"\ncidr = \"10.0.0.0/24\"\n\
         [[subnet]]\nname = \"{name}-b\"\nvpc = \"{name}\"\ncidr = \"10.0.1.0/24\"\n\
         [[security_group]]\nname = \"{name}-web\"\nvpc = \"{name}\"\n\
         [[role]]\nname = \"{name}\"\nmanaged = [\"AWSLambdaVPCAccessExecutionRole\"]\n"
    )
}

/// The world, with an agent that keeps resources.
#[derive(Debug)]
pub struct Functions {
    /// The world.
    pub world: World,
}

impl Functions {
    /// Starts a world of these tenants, each with so many environments that are not
    /// attached yet, and an agent with these keys of `[control]`. Nothing is declared.
    pub fn start(tenants: &[&str], environments: usize, keys: &str) -> Self {
        Self::start_as(tenants, environments, keys, |_| {})
    }

    /// Starts the world of the tenant *blue* with its function, which is active, and an
    /// environment that is attached to it.
    pub fn attached(keys: &str) -> Self {
        let functions = Self::start(&["blue"], 1, keys);
        functions.apply(&tenant("blue"));
        functions.await_active("blue");
        functions.attach(0, "blue");
        functions
    }

    /// As [`Functions::start`], with another plan.
    pub fn start_as(
        tenants: &[&str],
        environments: usize,
        keys: &str,
        change: impl FnOnce(&mut Plan),
    ) -> Self {
        let mut plan = Self::plan(tenants, environments, keys);
        change(&mut plan);
        let mut functions = Self::build(plan);
        functions.world.start_agent();
        functions
    }

    /// The same without an agent.
    pub fn build(plan: Plan) -> Self {
        let world = World::build(plan);
        for tenant in world.tenants() {
            // The VPC is one link: its other subnet is on it, too.
            tenant
                .netns
                .ip_batch(&format!("route add 10.0.1.0/24 dev {INTERFACE}\n"));
        }
        Self { world }
    }

    /// A plan of these tenants without groups of ENIs.
    pub fn plan(tenants: &[&str], environments: usize, keys: &str) -> Plan {
        let mut plan = Plan::new(tenants, environments);
        for tenant in &mut plan.tenants {
            tenant.enis = 0;
        }
        plan.control = Some(keys.to_owned());
        plan
    }

    /// Declares resources; the error is the agent's sentence.
    pub fn try_apply(&self, text: &str, prune: bool) -> Result<Vec<ApplyStep>, String> {
        let file = RawConfig::parse(text).expect("a file");
        let request = Request::Apply {
            account: Account::DEFAULT,
            file: Box::new(file),
            prune,
            dry_run: false,
        };
        match self.world.request(&request) {
            Response::Planned(steps) => Ok(steps),
            Response::Denied(denial) => Err(format!("{}: {}", denial.code, denial.message)),
            Response::Error { message } => Err(message),
            other => panic!("{other:?}"),
        }
    }

    /// Declares resources.
    pub fn apply(&self, text: &str) -> Vec<ApplyStep> {
        let applied = self.try_apply(text, false);
        applied.unwrap_or_else(|error| panic!("{error}\n{}", self.world.log_tail(30)))
    }

    /// An action of AWS's; the error has code and sentence.
    pub fn call(&self, service: &str, action: &str, members: Value) -> Result<Value, String> {
        let mut request = members;
        request["Service"] = json!(service);
        request["Action"] = json!(action);
        let action: Command = serde_json::from_value(request).expect("an action");
        let request = Request::Control {
            account: Account::DEFAULT,
            action: Box::new(action),
        };
        match self.world.request(&request) {
            Response::Answer(answer) => Ok(answer),
            Response::Denied(denial) => Err(format!("{}: {}", denial.code, denial.message)),
            Response::Error { message } => Err(message),
            other => panic!("{other:?}"),
        }
    }

    /// Resources of a kind.
    pub fn get(&self, kind: &str) -> Vec<ResourceInfo> {
        let request = GetRequest {
            kind: Some(kind.to_owned()),
            ..GetRequest::default()
        };
        match self.world.request(&Request::Get(request)) {
            Response::Resources(listed) => listed,
            other => panic!("{other:?}"),
        }
    }

    /// A resource by kind and name.
    pub fn one(&self, kind: &str, name: &str) -> ResourceInfo {
        let mut all = self.get(kind).into_iter();
        let found = all.find(|one| one.name.as_deref() == Some(name) || one.id == name);
        found.unwrap_or_else(|| panic!("there is no {kind} {name}"))
    }

    /// The configuration of a function, as `GetFunction` shows it.
    pub fn function(&self, name: &str) -> Value {
        self.one("function", name).resource["Configuration"].clone()
    }

    /// Waits until a function is active and up to date.
    pub fn await_active(&self, name: &str) {
        let is_active = || {
            let function = self.function(name);
            function["State"] == "Active" && function["LastUpdateStatus"] == "Successful"
        };
        assert!(eventually(PATIENCE, is_active), "{}", self.function(name));
    }

    /// What is asked for to attach an environment of the world to a function.
    pub fn attach_request(&self, index: usize, function: &str) -> FunctionAttachRequest {
        let environment = &self.world.environments()[index];
        FunctionAttachRequest {
            name: ObjectName::new(environment.name.clone()).expect("a name"),
            function: function.to_owned(),
            account: Account::DEFAULT,
            interface: environment.interface.clone(),
            address: INSIDE,
            gateway: GATEWAY,
            zone: None,
            mac: None,
            netns: Some(environment.netns.name().to_owned()),
            hook: HookWish::Auto,
            flow_quota: 65_535,
            flow_rate: 0,
            flow_burst: 1,
        }
    }

    /// Attaches an environment of the world to a function; the error has code and
    /// sentence.
    pub fn try_attach(&self, index: usize, function: &str) -> Result<EnvironmentInfo, String> {
        let request = self.attach_request(index, function);
        match self.world.request(&Request::AttachFunction(request)) {
            Response::Environment(environment) => Ok(environment),
            Response::Denied(denial) => Err(format!("{}: {}", denial.code, denial.message)),
            Response::Error { message } => Err(message),
            other => panic!("{other:?}"),
        }
    }

    /// Attaches an environment of the world to a function.
    pub fn attach(&self, index: usize, function: &str) -> EnvironmentInfo {
        let attached = self.try_attach(index, function);
        attached.unwrap_or_else(|error| panic!("{error}\n{}", self.world.log_tail(30)))
    }

    /// The Hyperplane ENIs, by address.
    pub fn enis(&self) -> Vec<(Ipv4Addr, ResourceInfo)> {
        let all = self.get("interface").into_iter();
        let enis = all.filter(|one| one.resource["InterfaceType"] == "lambda");
        let address = |one: &ResourceInfo| {
            let address = one.resource["PrivateIpAddress"].as_str();
            address
                .and_then(|text| text.parse().ok())
                .expect("an address")
        };
        let mut enis: Vec<_> = enis.map(|one| (address(&one), one)).collect();
        enis.sort_by_key(|(address, _)| *address);
        enis
    }

    /// Who uses an ENI.
    pub fn eni(&self, id: &str) -> EniUse {
        let request = Request::EniFind { eni: id.to_owned() };
        match self.world.request(&request) {
            Response::EniUse(found) => *found,
            other => panic!("{other:?}"),
        }
    }
}
