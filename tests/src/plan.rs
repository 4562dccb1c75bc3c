//! What a [`World`](crate::world::World) is made of, and the agent's
//! configuration for it.

use std::{fmt::Write as _, path::Path};

use vpc_user::model::{HookWish, TcAttachment};

use crate::topology::{Medium, SUBNET, eni};

/// A tenant: an uplink, a group of ENIs and a namespace with the resource.
#[derive(Clone, Debug)]
pub struct TenantPlan {
    /// Name of the tenant, its uplink and its group.
    pub name: String,
    /// ENIs of the group; without any there is no group.
    pub enis: u8,
    /// MTU of the uplink.
    pub mtu: u32,
    /// Idle timeouts by phase label, seconds; the profile's where not given.
    pub timeouts: Vec<(&'static str, u32)>,
    /// Connections per ENI, if fewer than the most.
    pub connections: Option<u32>,
    /// Hook of the uplink.
    pub hook: HookWish,
    /// What the uplink is.
    pub medium: Medium,
    /// The `[[subnet]]` of the plan's network that its group is in; none: a prefix on
    /// the uplink, without rules.
    pub subnet: Option<String>,
    /// Security groups of its group, if not the default one.
    pub security_groups: Vec<String>,
}

impl TenantPlan {
    /// A tenant with one ENI.
    pub fn new(name: &str) -> Self {
        let name = name.to_owned();
        Self {
            name,
            enis: 1,
            mtu: 1500,
            timeouts: Vec::new(),
            connections: None,
            hook: hook(),
            medium: Medium::Veth,
            subnet: None,
            security_groups: Vec::new(),
        }
    }

    /// Its group of ENIs, as the configuration has it.
    fn group(&self) -> String {
        let addresses: Vec<_> = (0..self.enis).map(|n| eni(n).to_string()).collect();
        let mut text = format!("\n[[group]]\nname = {:?}\neni = {addresses:?}\n", self.name);
        let _ = match &self.subnet {
            Some(subnet) => writeln!(text, "subnet = {subnet:?}"),
            None => writeln!(text, "subnet = {SUBNET:?}\nuplink = {:?}", self.name),
        };
        if !self.security_groups.is_empty() {
            let _ = writeln!(text, "security_groups = {:?}", self.security_groups);
        }
        if let Some(connections) = self.connections {
            let _ = writeln!(text, "connections = {connections}");
        }
        if !self.timeouts.is_empty() {
            text.push_str("\n[group.timeouts]\n");
        }
        for (phase, seconds) in &self.timeouts {
            let _ = writeln!(text, "{phase} = {seconds}");
        }
        text
    }
}

/// An environment, attached when the world starts.
#[derive(Clone, Debug)]
pub struct EnvironmentPlan {
    /// Its name.
    pub name: String,
    /// Index of its tenant.
    pub tenant: usize,
    /// Open flows it may have.
    pub flow_quota: u32,
    /// New flows per second; 0 = unlimited.
    pub flow_rate: u32,
    /// New flows at once.
    pub flow_burst: u32,
    /// Hook of its link.
    pub hook: HookWish,
}

/// Tenants and environments.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Tenants, each with the same subnet.
    pub tenants: Vec<TenantPlan>,
    /// Environments, each with the same address and MAC.
    pub environments: Vec<EnvironmentPlan>,
    /// Size of the flow table.
    pub flows: u32,
    /// Tuples that are remembered as refused; the agent's default where not given.
    pub refusals: Option<u32>,
    /// How TC programs are attached.
    pub tc: TcAttachment,
    /// VPCs, subnets, rules and routes, as text of the configuration.
    pub network: String,
    /// Environments that the tables have room for.
    pub environment_limit: u32,
    /// ENIs that the tables have room for.
    pub eni_limit: u32,
    /// Uplinks that the tables have room for.
    pub uplink_limit: u32,
    /// Keys of `[control]`, if resources are kept in a store.
    pub control: Option<String>,
    /// Keys and tables of `[flow_logs]`, if flow logs are kept.
    pub flow_logs: Option<String>,
}

impl Plan {
    /// Tenants with one ENI each and so many environments per tenant, unlimited in
    /// rate. Environments are named `<tenant>-<n>` and numbered tenant by tenant.
    pub fn new(tenants: &[&str], environments_per_tenant: usize) -> Self {
        let mut environments = Vec::new();
        for (tenant, name) in tenants.iter().enumerate() {
            for number in 0..environments_per_tenant {
                environments.push(EnvironmentPlan {
                    name: format!("{name}-{number}"),
                    tenant,
                    flow_quota: 65_535,
                    flow_rate: 0,
                    flow_burst: 1,
                    hook: hook(),
                });
            }
        }
        let tenants = tenants.iter().map(|name| TenantPlan::new(name)).collect();
        Self {
            tenants,
            environments,
            flows: 131_072,
            refusals: None,
            tc: TcAttachment::Auto,
            network: String::new(),
            environment_limit: 1_024,
            eni_limit: 256,
            uplink_limit: 256,
            control: None,
            flow_logs: None,
        }
    }

    /// One tenant, *blue*.
    pub fn blue(environments: usize) -> Self {
        Self::new(&["blue"], environments)
    }

    /// Changes the first tenant.
    pub fn with_tenant(mut self, change: impl FnOnce(&mut TenantPlan)) -> Self {
        change(&mut self.tenants[0]);
        self
    }

    /// Gives every uplink a hook, and every environment one.
    pub fn with_hooks(mut self, uplink: HookWish, environment: HookWish) -> Self {
        self.tenants
            .iter_mut()
            .for_each(|tenant| tenant.hook = uplink);
        self.environments
            .iter_mut()
            .for_each(|plan| plan.hook = environment);
        self
    }

    /// The agent's configuration file.
    pub fn config(&self, pin_dir: &Path, socket: &Path, peers: &[String]) -> String {
        let mut text = format!(
            "pin_dir = {pin_dir:?}\nsocket = {socket:?}\nprofile = \"aws\"\ntc = \"{}\"\n\n\
             [limits]\nflows = {}\nenvironments = {}\nenis = {}\nuplinks = {}\n",
            self.tc, self.flows, self.environment_limit, self.eni_limit, self.uplink_limit
        );
        if let Some(refusals) = self.refusals {
            let _ = writeln!(text, "refusals = {refusals}");
        }
        for (tenant, peer) in self.tenants.iter().zip(peers) {
            let _ = write!(
                text,
                "\n[[uplink]]\nname = {:?}\ninterface = {:?}\nhook = \"{}\"\npeer_netns = {peer:?}\n",
                tenant.name,
                uplink_interface(&tenant.name),
                tenant.hook,
            );
        }
        let with_enis = self.tenants.iter().filter(|tenant| tenant.enis != 0);
        let groups = with_enis.map(TenantPlan::group);
        text.extend(groups);
        text.push_str(&self.network);
        if let Some(keys) = &self.control {
            let store = socket.with_file_name("state.redb");
            let _ = write!(text, "\n[control]\nstore = {store:?}\n{keys}");
        }
        if let Some(keys) = &self.flow_logs {
            let dir = socket.with_file_name("flow-logs");
            let _ = write!(text, "\n[flow_logs]\ndir = {dir:?}\n{keys}");
        }
        text
    }
}

/// Hook of every link whose plan says nothing else: `VPC_TEST_HOOK`, so that all
/// tests can run over each.
fn hook() -> HookWish {
    let Ok(word) = std::env::var("VPC_TEST_HOOK") else {
        return HookWish::Auto;
    };
    HookWish::from_word(&word)
        .unwrap_or_else(|| panic!("VPC_TEST_HOOK={word}: say auto, xdp or tc"))
}

/// Name of a tenant's uplink on the host.
pub fn uplink_interface(tenant: &str) -> String {
    format!("up-{tenant}")
}

/// Name of an environment's link on the host.
pub fn environment_interface(index: usize) -> String {
    format!("env{index}")
}
