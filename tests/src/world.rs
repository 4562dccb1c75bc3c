//! A host with its agent, tenants and environments, all in namespaces of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::SocketAddrV4,
    path::PathBuf,
    process::ExitStatus,
};

use nix::sys::signal::Signal;
use vpc_common::drop::DropReason;
use vpc_user::model::{
    AttachRequest, DropInfo, EnvironmentInfo, FlowInfo, HookWish, ObjectName, Request, Response,
    StatusInfo,
};

use crate::{
    agent::{self, Agent},
    echo::{TcpHold, UdpEcho},
    folder::Folder,
    frame::Ends,
    http::HttpServer,
    netns::Namespace,
    plan::{EnvironmentPlan, Plan, TenantPlan, environment_interface, uplink_interface},
    topology::{
        GATEWAY, GATEWAY_MAC, INSIDE, INSIDE_MAC, RESOURCE, RESOURCE_MAC, Station, eni, mac_of,
    },
    wait::{self, PATIENCE},
};

/// The HTTP server of every tenant.
pub const HTTP: SocketAddrV4 = SocketAddrV4::new(RESOURCE, 80);
/// The UDP and the TCP echo of every tenant.
pub const ECHO: SocketAddrV4 = SocketAddrV4::new(RESOURCE, 7);

/// A tenant's resource and its servers.
#[derive(Debug)]
pub struct Tenant {
    /// Its name.
    pub name: String,
    /// Where the resource lives.
    pub netns: Namespace,
    /// Its TCP echo.
    pub echo: TcpHold,
    _http: HttpServer,
    _udp: UdpEcho,
}

impl Tenant {
    fn new(plan: &TenantPlan, host: &Namespace) -> Self {
        let name = &plan.name;
        let netns = Namespace::new(name);
        let interface = uplink_interface(name);
        Station::resource(plan.mtu).connect_over(plan.medium, host, &interface, &netns);
        Self {
            name: name.to_owned(),
            echo: TcpHold::echo(&netns, ECHO.port()),
            _http: HttpServer::start(&netns, HTTP.port(), name),
            _udp: UdpEcho::start(&netns, ECHO.port(), name),
            netns,
        }
    }
}

/// An environment's namespace.
#[derive(Debug)]
pub struct Environment {
    /// Its name.
    pub name: String,
    /// Index of its tenant.
    pub tenant: usize,
    /// Its end of the link.
    pub netns: Namespace,
    /// The host's end of the link.
    pub interface: String,
}

/// What became of a configuration that was read again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reloaded {
    /// Steps that were performed.
    pub steps: usize,
    /// What is not as the file says.
    pub problems: Vec<String>,
}

/// Everything a test needs; nothing of it is left when it is dropped.
#[derive(Debug)]
pub struct World {
    agent: Option<Agent>,
    // Sockets go before their namespaces.
    tenants: Vec<Tenant>,
    environments: Vec<Environment>,
    host: Namespace,
    plan: Plan,
    folder: Folder,
    /// Variables in the environment of agents.
    variables: Vec<(String, String)>,
}

impl World {
    /// Builds the topology, starts the agent and attaches the environments.
    pub fn start(plan: Plan) -> Self {
        let mut world = Self::build(plan);
        world.start_agent();
        for index in 0..world.environments.len() {
            let request = world.attach_request(index);
            world
                .attach(request)
                .unwrap_or_else(|error| panic!("attach: {error}"));
        }
        world
    }

    /// Builds the topology only.
    pub fn build(plan: Plan) -> Self {
        let host = Namespace::new("host");
        let folder = Folder::make();
        let tenants: Vec<_> = plan
            .tenants
            .iter()
            .map(|tenant| Tenant::new(tenant, &host))
            .collect();
        let mut world = Self {
            agent: None,
            tenants,
            environments: Vec::new(),
            host,
            plan,
            folder,
            variables: Vec::new(),
        };
        world.write_config();
        for environment in world.plan.environments.clone() {
            world.add_environment(&environment);
        }
        world
    }

    /// Makes an environment that is not attached yet.
    pub fn add_environment(&mut self, plan: &EnvironmentPlan) -> usize {
        let index = self.environments.len();
        let netns = Namespace::new(&format!("env{index}"));
        let interface = environment_interface(index);
        Station::environment().connect(&self.host, &interface, &netns);
        let (name, tenant) = (plan.name.clone(), plan.tenant);
        if self.plan.environments.len() == index {
            self.plan.environments.push(plan.clone());
        }
        self.environments.push(Environment {
            name,
            tenant,
            netns,
            interface,
        });
        index
    }

    /// What is asked for to attach an environment.
    pub fn attach_request(&self, index: usize) -> AttachRequest {
        let (environment, plan) = (&self.environments[index], &self.plan.environments[index]);
        AttachRequest {
            name: object(&plan.name),
            interface: environment.interface.clone(),
            group: object(&self.plan.tenants[plan.tenant].name),
            address: INSIDE,
            gateway: GATEWAY,
            mac: None,
            netns: Some(environment.netns.name().to_owned()),
            hook: plan.hook,
            flow_quota: plan.flow_quota,
            flow_rate: plan.flow_rate,
            flow_burst: plan.flow_burst,
        }
    }

    /// An environment's namespace.
    pub fn env(&self, index: usize) -> &Namespace {
        &self.environments[index].netns
    }

    /// Every environment.
    pub fn environments(&self) -> &[Environment] {
        &self.environments
    }

    /// A tenant's namespace.
    pub fn tenant(&self, index: usize) -> &Namespace {
        &self.tenants[index].netns
    }

    /// Every tenant.
    pub fn tenants(&self) -> &[Tenant] {
        &self.tenants
    }

    /// Where the agent runs.
    pub const fn host(&self) -> &Namespace {
        &self.host
    }

    /// The plan as it is now; what is changed holds for the next attach.
    pub const fn plan_mut(&mut self) -> &mut Plan {
        &mut self.plan
    }

    /// The agent's configuration file.
    pub fn config(&self) -> PathBuf {
        self.folder.config()
    }

    /// The agent's folder of bpffs.
    pub fn pins(&self) -> PathBuf {
        self.folder.pins()
    }

    /// The agent's socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.socket()
    }

    /// Gives agents that are started from now on a variable.
    pub fn set_variable(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// Starts the agent and waits until it answers.
    pub fn start_agent(&mut self) {
        let mut agent = self.spawn_agent(&[]);
        if let Err(error) = agent.wait_ready(&self.folder.socket()) {
            panic!("{error}\n{}", self.log_tail(40));
        }
        self.agent = Some(agent);
    }

    /// Starts an agent with further arguments without waiting for it.
    pub fn spawn_agent(&self, arguments: &[&str]) -> Agent {
        Agent::spawn_with(
            &self.host,
            &self.folder.config(),
            &self.folder.log(),
            arguments,
            &self.variables,
        )
    }

    /// Ends the agent with a signal; its data path may go on.
    pub fn stop_agent(&mut self, signal: Signal) -> ExitStatus {
        self.agent.take().expect("the agent runs").stop(signal)
    }

    /// The end of what the agents of this world wrote.
    pub fn log_tail(&self, lines: usize) -> String {
        let text = fs::read_to_string(self.folder.log()).unwrap_or_default();
        let all: Vec<_> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// Asks the agent.
    pub fn request(&self, request: &Request) -> Response {
        agent::request(&self.folder.socket(), request).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Attaches an environment; the error is the agent's sentence.
    pub fn attach(&self, request: AttachRequest) -> Result<EnvironmentInfo, String> {
        environment(self.request(&Request::Attach(request)))
    }

    /// Changes an environment's hook; the error is the agent's sentence.
    pub fn set_hook(&self, name: &str, hook: HookWish) -> Result<EnvironmentInfo, String> {
        environment(self.request(&Request::SetHook {
            name: object(name),
            hook,
            netns: None,
        }))
    }

    /// The configuration, as the plan is now.
    pub fn config_text(&self) -> String {
        let names = self.tenants.iter().map(|tenant| tenant.netns.name());
        let peers: Vec<_> = names.map(str::to_owned).collect();
        let (pins, socket) = (self.folder.pins(), self.folder.socket());
        self.plan.config(&pins, &socket, &peers)
    }

    /// Writes the configuration anew, as the plan is now.
    pub fn write_config(&self) {
        self.write_text(&self.config_text());
    }

    fn write_text(&self, text: &str) {
        fs::write(self.folder.config(), text).expect("write the configuration");
    }

    /// Puts the plan in force as it is now; the error is the agent's sentence.
    pub fn reload(&self) -> Result<Reloaded, String> {
        self.reload_text(&self.config_text())
    }

    /// Puts another text in force as the configuration; the error is the agent's
    /// sentence.
    pub fn reload_text(&self, text: &str) -> Result<Reloaded, String> {
        self.write_text(text);
        match self.request(&Request::Reload) {
            Response::Reloaded { steps, problems } => Ok(Reloaded { steps, problems }),
            Response::Error { message } => Err(message),
            other => panic!("a reload was expected: {other:?}"),
        }
    }

    /// Detaches an environment; the error is the agent's sentence.
    pub fn detach(&self, name: &str) -> Result<EnvironmentInfo, String> {
        environment(self.request(&Request::Detach { name: object(name) }))
    }

    /// Environments that are attached.
    pub fn list(&self) -> Vec<EnvironmentInfo> {
        match self.request(&Request::Environments) {
            Response::Environments(list) => list,
            other => panic!("environments: {other:?}"),
        }
    }

    /// Live flows.
    pub fn flows(&self) -> Vec<FlowInfo> {
        match self.request(&Request::Flows) {
            Response::Flows(list) => list,
            other => panic!("flows: {other:?}"),
        }
    }

    /// Drop counters.
    pub fn drops(&self) -> Vec<DropInfo> {
        match self.request(&Request::Drops) {
            Response::Drops(list) => list,
            other => panic!("drops: {other:?}"),
        }
    }

    /// The agent at a glance.
    pub fn status(&self) -> StatusInfo {
        match self.request(&Request::Status) {
            Response::Status(status) => status,
            other => panic!("status: {other:?}"),
        }
    }

    /// Packets dropped for a reason, over all owners.
    pub fn drop_count(&self, reason: DropReason) -> u64 {
        let drops = self.drops();
        drops
            .iter()
            .filter(|drop| drop.reason == reason.label())
            .map(|drop| drop.packets)
            .sum()
    }

    /// Packets dropped so far by reason, over all owners. ARP that nobody here
    /// answers is background noise and left out.
    pub fn drop_totals(&self) -> BTreeMap<String, u64> {
        let mut totals = BTreeMap::new();
        for drop in self.drops() {
            if drop.reason != DropReason::ArpIgnored.label() {
                *totals.entry(drop.reason).or_default() += drop.packets;
            }
        }
        totals
    }

    /// Asserts that since `before` exactly these counters moved, by these amounts.
    pub fn assert_dropped(&self, before: &BTreeMap<String, u64>, moved: &[(DropReason, u64)]) {
        let expected: BTreeMap<_, _> = moved
            .iter()
            .map(|(reason, count)| (reason.label().to_owned(), *count))
            .collect();
        let mut seen = BTreeMap::new();
        wait::eventually(PATIENCE, || {
            seen = self.drop_totals();
            seen.retain(|reason, count| {
                *count -= before.get(reason).unwrap_or(&0);
                *count != 0
            });
            seen == expected
        });
        assert_eq!(seen, expected, "drop counters that moved");
    }

    /// A packet from a tenant's resource to its first ENI, as the uplink expects it.
    pub fn inbound(&self, tenant: usize, from_port: u16, to_port: u16) -> Ends {
        let interface = uplink_interface(&self.plan.tenants[tenant].name);
        Ends {
            source_mac: RESOURCE_MAC,
            destination_mac: mac_of(&self.host, &interface),
            source: SocketAddrV4::new(RESOURCE, from_port),
            destination: SocketAddrV4::new(eni(0), to_port),
        }
    }

    /// Asserts that since `before` some packets were dropped, each for one of these
    /// reasons and for each of them at least one: how many is up to TCP.
    pub fn assert_only_dropped(&self, before: &BTreeMap<String, u64>, moved: &[DropReason]) {
        let labels = moved.iter().map(|reason| reason.label().to_owned());
        let expected: BTreeSet<_> = labels.collect();
        let mut seen = BTreeSet::new();
        wait::eventually(PATIENCE, || {
            let mut totals = self.drop_totals();
            totals.retain(|reason, count| *count != before.get(reason).copied().unwrap_or(0));
            seen = totals.into_keys().collect();
            seen == expected
        });
        assert_eq!(seen, expected, "drop counters that moved");
    }

    /// Says on stderr what there is to know after a failure.
    pub fn report(&self) {
        eprintln!("--- agent ---\n{}", self.log_tail(60));
        for (what, request) in [("drops", Request::Drops), ("flows", Request::Flows)] {
            match agent::request(&self.folder.socket(), &request) {
                Ok(Response::Drops(drops)) => {
                    for drop in drops {
                        eprintln!(
                            "{} {} {}: {}",
                            drop.owner_kind, drop.owner, drop.reason, drop.packets
                        );
                    }
                }
                Ok(Response::Flows(flows)) => {
                    eprintln!("{} flows, the first:", flows.len());
                    flows.iter().take(20).for_each(|flow| eprintln!("{flow:?}"));
                }
                other => eprintln!("no {what}: {other:?}"),
            }
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.report();
        }
        self.agent = None;
    }
}

/// A packet from an environment to the resource, as its gateway expects it.
pub const fn outbound(from_port: u16, to_port: u16) -> Ends {
    Ends {
        source_mac: INSIDE_MAC,
        destination_mac: GATEWAY_MAC,
        source: SocketAddrV4::new(INSIDE, from_port),
        destination: SocketAddrV4::new(RESOURCE, to_port),
    }
}

fn environment(response: Response) -> Result<EnvironmentInfo, String> {
    match response {
        Response::Environment(info) => Ok(info),
        Response::Error { message } => Err(message),
        other => panic!("an environment was expected: {other:?}"),
    }
}

fn object(name: &str) -> ObjectName {
    ObjectName::new(name).expect("names of the plan are well formed")
}

#[cfg(test)]
mod tests;
