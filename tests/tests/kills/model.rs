//! What a tenant has, as the store says it, and what an operation makes of it. An operation
//! is there whole or not at all, and so what is found is one of two models.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tests::{functions::Functions, rules::Dice};
use vpc_user::{
    config::RawConfig,
    control::{Account, Command},
    model::{HookWish, ObjectName, Request, ResourceInfo, Response},
};

/// The tenants.
pub const TENANTS: [&str; 2] = ["blue", "green"];
/// Environments of each; the first one is left alone.
pub const ENVIRONMENTS: usize = 4;
/// What functions that come and go are attached to, each first to that of its number: subnet
/// and security groups. The function that stays has the key (`a`, `web`).
pub const KEYS: [(&str, &[&str]); 3] = [("b", &["web"]), ("a", &["web", "more"]), ("b", &["more"])];
/// The port that a security group allows, or not.
pub const ALLOWED: u16 = 9;
/// The port that a network ACL denies, or not.
pub const DENIED: u16 = 11;

/// Rules that are changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rules {
    /// Of the security group `web`: port [`ALLOWED`] is.
    pub allows: bool,
    /// Of the network ACL: port [`DENIED`] is.
    pub denies: bool,
}

/// What there is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Model {
    /// Function by environment.
    pub environments: BTreeMap<String, String>,
    /// Environments whose hook is to be XDP.
    pub xdp: BTreeSet<String>,
    /// Functions that come and go, and which of [`KEYS`] they have.
    pub functions: BTreeMap<String, usize>,
    /// Rules by tenant.
    pub rules: BTreeMap<String, Rules>,
}

/// Something that is asked of the agent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wish {
    /// An environment, by index of the world, for a function.
    Attach(usize, String),
    /// An environment.
    Detach(String),
    /// An environment: XDP in front, and the far end of its veth made ready; or away again.
    Hook(String, HookWish),
    /// A function of a tenant and key: a new ENI.
    Create(&'static str, usize),
    /// A function: another ENI, to which its environments go.
    Update(String, usize),
    /// A function: its ENI goes, and its environments with it.
    Delete(String),
    /// The security group of a tenant, by a call.
    Allow(&'static str, bool),
    /// The network ACL of a tenant, by a call.
    Deny(&'static str, bool),
    /// Both, by a file.
    Apply(&'static str, Rules),
}

impl Wish {
    /// What kind it is, for durations.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Attach(..) => "attach",
            Self::Detach(_) => "detach",
            Self::Hook(_, HookWish::Xdp) => "raise",
            Self::Hook(..) => "lower",
            Self::Create(..) => "create",
            Self::Update(..) => "update",
            Self::Delete(_) => "delete",
            Self::Allow(..) => "allow",
            Self::Deny(..) => "deny",
            Self::Apply(..) => "apply",
        }
    }
}

/// Name of a function that comes and goes.
pub fn function_of(tenant: &str, key: usize) -> String {
    format!("{tenant}-{key}")
}

/// The tenant of an environment or function.
pub fn tenant_of(name: &str) -> &'static str {
    let tenant = TENANTS.iter().find(|tenant| name.starts_with(**tenant));
    tenant.expect("names begin with their tenant")
}

/// What a tenant declares. What is asked is in none of its subnets, so that network ACLs have
/// something to say.
pub fn declared(tenant: &str, rules: Rules) -> String {
    let all = "cidr = \"0.0.0.0/0\"";
    let mut egress = format!("{{ protocol = \"tcp\", ports = \"1-1023\", {all} }}");
    let mut ports = vec![7, DENIED];
    if rules.allows {
        ports.push(ALLOWED);
    }
    for port in ports {
        egress += &format!(", {{ protocol = \"udp\", ports = \"{port}\", {all} }}");
    }
    let any = format!("{{ number = 100, action = \"allow\", protocol = \"all\", {all} }}");
    let denied = match rules.denies {
        true => format!(
            "{{ number = 50, action = \"deny\", protocol = \"udp\", ports = \"{DENIED}\", {all} }}, "
        ),
        false => String::new(),
    };
    format!(
        "[[vpc]]\nname = \"{tenant}\"\ncidr = [\"10.0.0.0/16\"]\nuplink = \"{tenant}\"\n\
         local = \"on-link\"\n\
         [[network_acl]]\nname = \"{tenant}\"\nvpc = \"{tenant}\"\ningress = [{any}]\n\
         egress = [{denied}{any}]\n\
         [[subnet]]\nname = \"{tenant}-a\"\nvpc = \"{tenant}\"\ncidr = \"10.0.1.0/25\"\n\
         network_acl = \"{tenant}\"\n\
         [[subnet]]\nname = \"{tenant}-b\"\nvpc = \"{tenant}\"\ncidr = \"10.0.1.128/25\"\n\
         network_acl = \"{tenant}\"\n\
         [[security_group]]\nname = \"{tenant}-web\"\nvpc = \"{tenant}\"\negress = [{egress}]\n\
         [[security_group]]\nname = \"{tenant}-more\"\nvpc = \"{tenant}\"\n\
         [[role]]\nname = \"{tenant}\"\nmanaged = [\"AWSLambdaVPCAccessExecutionRole\"]\n\
         [[function]]\nname = \"{tenant}\"\nrole = \"{tenant}\"\nsubnets = [\"{tenant}-a\"]\n\
         security_groups = [\"{tenant}-web\"]\n"
    )
}

impl Model {
    /// What the agent says there is.
    pub fn observe(functions: &Functions) -> Self {
        let mut model = Self::default();
        for environment in functions.get("environment") {
            let runs = text(&environment.resource["Function"]);
            let name = runs
                .split(':')
                .rev()
                .nth(1)
                .map_or(runs.clone(), str::to_owned);
            model.environments.insert(environment.id, name);
        }
        let listed = functions.world.list().into_iter();
        let xdp = listed.filter(|one| one.hook_wanted == HookWish::Xdp);
        model.xdp = xdp.map(|one| one.name).collect();
        for function in functions.get("function") {
            let name = function.name.expect("a function has a name");
            if !TENANTS.contains(&name.as_str()) {
                let key = key_of(functions, &name);
                model.functions.insert(name, key);
            }
        }
        for tenant in TENANTS {
            model
                .rules
                .insert(tenant.to_owned(), rules(functions, tenant));
        }
        model
    }

    /// The same after something was done.
    pub fn after(&self, wish: &Wish) -> Self {
        let mut after = self.clone();
        let mut change = |tenant: &str, change: &dyn Fn(&mut Rules)| {
            change(after.rules.entry(tenant.to_owned()).or_default());
        };
        match wish {
            Wish::Allow(tenant, allows) => change(tenant, &|rules| rules.allows = *allows),
            Wish::Deny(tenant, denies) => change(tenant, &|rules| rules.denies = *denies),
            Wish::Apply(tenant, all) => change(tenant, &|rules| *rules = *all),
            Wish::Attach(index, function) => {
                let name = environment_name(*index);
                after.environments.insert(name, function.clone());
            }
            Wish::Detach(name) => drop(after.environments.remove(name)),
            Wish::Hook(name, HookWish::Xdp) => drop(after.xdp.insert(name.clone())),
            Wish::Hook(name, _) => drop(after.xdp.remove(name)),
            Wish::Create(tenant, key) => {
                after.functions.insert(function_of(tenant, *key), *key);
            }
            Wish::Update(name, key) => drop(after.functions.insert(name.clone(), *key)),
            Wish::Delete(name) => {
                after.functions.remove(name);
                after.environments.retain(|_, function| function != name);
            }
        }
        let environments = &after.environments;
        after.xdp.retain(|name| environments.contains_key(name));
        after
    }

    /// Something that can be asked for.
    pub fn draw(&self, dice: &mut Dice) -> Wish {
        let tenant = *dice.pick(&TENANTS);
        let rules = self.rules[tenant];
        // Environments come and go most of all.
        match dice.roll(10) {
            0 => Wish::Allow(tenant, !rules.allows),
            1 => Wish::Deny(tenant, !rules.denies),
            2 => {
                let denies = rules.denies != dice.one_in(2);
                let allows = rules.allows != dice.one_in(2);
                Wish::Apply(tenant, Rules { allows, denies })
            }
            3..=5 => {
                let key = dice.roll(KEYS.len());
                let name = function_of(tenant, key);
                match self.functions.get(&name) {
                    None => Wish::Create(tenant, key),
                    Some(_) if dice.one_in(3) => Wish::Delete(name),
                    Some(has) => {
                        let other = (has + dice.between(1, KEYS.len() - 1)) % KEYS.len();
                        Wish::Update(name, other)
                    }
                }
            }
            _ => {
                let number = TENANTS
                    .iter()
                    .position(|one| *one == tenant)
                    .unwrap_or_default();
                let index = number * ENVIRONMENTS + dice.between(1, ENVIRONMENTS - 1);
                let name = environment_name(index);
                if self.environments.contains_key(&name) {
                    let hook = match self.xdp.contains(&name) {
                        true => HookWish::Auto,
                        false => HookWish::Xdp,
                    };
                    return match dice.one_in(2) {
                        true => Wish::Hook(name, hook),
                        false => Wish::Detach(name),
                    };
                }
                let of_tenant = self.functions.keys().filter(|one| tenant_of(one) == tenant);
                let mut runs: Vec<String> = of_tenant.cloned().collect();
                runs.push(tenant.to_owned());
                Wish::Attach(index, dice.pick(&runs).clone())
            }
        }
    }
}

/// Name of an environment of the world.
pub fn environment_name(index: usize) -> String {
    format!("{}-{}", TENANTS[index / ENVIRONMENTS], index % ENVIRONMENTS)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn rules(functions: &Functions, tenant: &str) -> Rules {
    let list = |resource: &ResourceInfo, member: &str| {
        let entries = resource.resource[member].as_array().cloned();
        entries.unwrap_or_else(|| panic!("{resource:?}"))
    };
    let group = functions.one("security-group", &format!("{tenant}-web"));
    let acl = functions.one("network-acl", tenant);
    Rules {
        allows: list(&group, "IpPermissionsEgress")
            .iter()
            .any(|rule| rule["FromPort"] == ALLOWED),
        denies: list(&acl, "Entries")
            .iter()
            .any(|entry| entry["RuleNumber"] == 50),
    }
}

/// The request that asks for something.
pub fn request(functions: &Functions, wish: &Wish) -> Request {
    let id = |kind: &str, name: &str| functions.one(kind, name).id;
    match wish {
        Wish::Attach(index, function) => {
            Request::AttachFunction(functions.attach_request(*index, function))
        }
        Wish::Detach(name) => Request::Detach {
            name: ObjectName::new(name.as_str()).expect("a name"),
        },
        Wish::Hook(name, hook) => Request::SetHook {
            name: ObjectName::new(name.as_str()).expect("a name"),
            hook: *hook,
            netns: None,
        },
        Wish::Create(tenant, key) => control(json!({
            "Service": "lambda", "Action": "CreateFunction",
            "FunctionName": function_of(tenant, *key),
            "Role": id("role", tenant),
            "VpcConfig": vpc_config(functions, tenant, *key),
        })),
        Wish::Update(name, key) => control(json!({
            "Service": "lambda", "Action": "UpdateFunctionConfiguration", "FunctionName": name,
            "VpcConfig": vpc_config(functions, tenant_of(name), *key),
        })),
        Wish::Delete(name) => control(json!({
            "Service": "lambda", "Action": "DeleteFunction", "FunctionName": name,
        })),
        Wish::Allow(tenant, allows) => {
            let verb = if *allows { "Authorize" } else { "Revoke" };
            control(json!({
                "Service": "ec2", "Action": format!("{verb}SecurityGroupEgress"),
                "GroupId": id("security-group", &format!("{tenant}-web")),
                "IpPermissions": [{
                    "IpProtocol": "udp", "FromPort": ALLOWED, "ToPort": ALLOWED,
                    "IpRanges": [{ "CidrIp": "0.0.0.0/0" }],
                }],
            }))
        }
        Wish::Deny(tenant, true) => control(json!({
            "Service": "ec2", "Action": "CreateNetworkAclEntry",
            "NetworkAclId": id("network-acl", tenant), "RuleNumber": 50, "Egress": true,
            "RuleAction": "deny", "Protocol": "17", "CidrBlock": "0.0.0.0/0",
            "PortRange": { "From": DENIED, "To": DENIED },
        })),
        Wish::Deny(tenant, false) => control(json!({
            "Service": "ec2", "Action": "DeleteNetworkAclEntry",
            "NetworkAclId": id("network-acl", tenant), "RuleNumber": 50, "Egress": true,
        })),
        Wish::Apply(tenant, rules) => Request::Apply {
            account: Account::DEFAULT,
            file: Box::new(RawConfig::parse(&declared(tenant, *rules)).expect("a file")),
            prune: false,
            dry_run: false,
        },
    }
}

/// What a function with a key is attached to.
fn vpc_config(functions: &Functions, tenant: &str, key: usize) -> Value {
    let (subnet, groups) = KEYS[key];
    let groups = groups.iter().map(|group| format!("{tenant}-{group}"));
    let mut groups: Vec<String> = groups
        .map(|group| functions.one("security-group", &group).id)
        .collect();
    groups.sort();
    let subnet = functions.one("subnet", &format!("{tenant}-{subnet}")).id;
    json!({ "SubnetIds": [subnet], "SecurityGroupIds": groups })
}

/// The key that a function has.
fn key_of(functions: &Functions, name: &str) -> usize {
    let mut shown = functions.function(name)["VpcConfig"].clone();
    let groups = shown["SecurityGroupIds"].as_array_mut();
    let groups = groups.expect("a function has security groups");
    groups.sort_by_key(text);
    let members = ["SubnetIds", "SecurityGroupIds"];
    let is_it = |key: &usize| {
        let wanted = vpc_config(functions, tenant_of(name), *key);
        members.iter().all(|member| wanted[member] == shown[member])
    };
    let key = (0..KEYS.len()).find(is_it);
    key.unwrap_or_else(|| panic!("{name} is attached to {shown}"))
}

fn control(action: Value) -> Request {
    let action: Command = serde_json::from_value(action).expect("an action");
    Request::Control {
        account: Account::DEFAULT,
        action: Box::new(action),
    }
}

/// Whether an answer says that it was done; the error is the agent's sentence.
pub fn is_done(answer: Response) -> Result<(), String> {
    match answer {
        Response::Environment(_) | Response::Answer(_) | Response::Planned(_) => Ok(()),
        Response::Denied(denial) => Err(format!("{}: {}", denial.code, denial.message)),
        Response::Error { message } => Err(message),
        other => panic!("{other:?}"),
    }
}
