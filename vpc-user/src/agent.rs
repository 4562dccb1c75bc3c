//! The agent: one thread that owns the data plane, the threads that serve the
//! kernel programs, and the socket by which it is asked.

use std::{
    io,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

mod control;
mod flow_logs;
mod reload;
mod resources;
mod who;

pub use self::reload::{ConfigFile, Fixed, ReloadError};
use self::{control::ControlPlane, flow_logs::FlowLogs, who::Who};
pub use crate::dataplane::{Plan, TeardownError, dry_run, teardown};
use crate::{
    api,
    dataplane::{
        Applied, AttachError, Dataplane, Discard, FlowSink, HighWater, LinkChange, LinkMonitor,
        Workers, warn_of_high_water,
    },
    flowlog::{Directory, Outcome},
    model::{Config, EnvironmentInfo, Request, Response},
};

/// How often the whole configuration is compared with the tables.
const RECONCILE_PERIOD: Duration = Duration::from_secs(30);
/// How soon after a change of an uplink: long enough for a burst of changes to be
/// answered once.
const RECONCILE_DELAY: Duration = Duration::from_millis(50);

/// Why there are no functions.
const NO_STORE: &str = "this agent keeps no resources: put [control] into its configuration and \
                        restart it";

/// How the agent runs.
#[derive(Clone, Copy, Default, Debug)]
pub struct AgentOptions {
    /// Remove everything at the end, instead of leaving the data path running.
    pub teardown: bool,
}

/// Asks the agent. Cloneable; every clone asks the same agent.
#[derive(Clone)]
pub struct AgentHandle {
    commands: mpsc::Sender<Command>,
    /// What is answered without the owner of the data plane.
    who: Arc<Who>,
}

enum Command {
    Ask(Request, oneshot::Sender<Response>),
    Link(LinkChange),
    /// An ENI is nearly full.
    HighWater(String),
    /// What deliveries of a flow log have come to.
    Delivery(String, Outcome),
    Stop,
}

impl AgentHandle {
    /// The answer to a request.
    pub async fn handle(&self, request: Request) -> Response {
        match request {
            Request::Flows => self.look(|who| Response::Flows(who.flows())).await,
            Request::Who(asked) => {
                let answer = move |who: &Who| match who.ask(&asked) {
                    Ok(found) => Response::Bindings(found),
                    Err(error) => Response::Error {
                        message: error.to_string(),
                    },
                };
                self.look(answer).await
            }
            request => self.ask(request).await,
        }
    }

    /// Looks at flows where nobody has to wait for it.
    async fn look(&self, look: impl FnOnce(&Who) -> Response + Send + 'static) -> Response {
        let who = Arc::clone(&self.who);
        let looked = tokio::task::spawn_blocking(move || look(&who)).await;
        looked.unwrap_or_else(|error| Response::Error {
            message: format!("flows cannot be listed ({error}): see the agent's log"),
        })
    }

    async fn ask(&self, request: Request) -> Response {
        let (sender, receiver) = oneshot::channel();
        let gone = || Response::Error {
            message: "the agent is stopping: try again once it has been started".to_owned(),
        };
        if self.commands.send(Command::Ask(request, sender)).is_err() {
            return gone();
        }
        receiver.await.unwrap_or_else(|_| gone())
    }
}

impl api::Handler for AgentHandle {
    async fn handle(&self, request: Request) -> Response {
        Self::handle(self, request).await
    }
}

/// Runs the agent until SIGTERM or SIGINT. `config` is what `file` says now; a reload
/// reads it again.
pub async fn run(file: ConfigFile, config: Config, options: AgentOptions) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let (commands, inbox) = mpsc::channel();
    let (ready, started) = oneshot::channel();
    let (ended, end) = oneshot::channel();
    let socket = config.socket.clone();
    let runtime = tokio::runtime::Handle::current();
    std::thread::Builder::new()
        .name("vpc-dataplane".to_owned())
        .spawn({
            let commands = commands.clone();
            move || {
                let host = Host {
                    file,
                    config,
                    options,
                    runtime,
                };
                let result = own(host, commands, &inbox, ready);
                // Nobody listens any more if the agent failed elsewhere.
                let _ = ended.send(result);
            }
        })
        .context("start the data plane's thread")?;
    let Ok(who) = started.await else {
        // The thread ended before it was ready: its error is the answer.
        return end.await.context("the data plane's thread panicked")?;
    };
    let handle = AgentHandle {
        commands: commands.clone(),
        who,
    };
    reload_on_hangup(handle.clone())?;
    let served = match api::bind(&socket) {
        Ok(listener) => tokio::select! {
            () = api::serve(listener, handle) => Ok(()),
            _ = terminate.recv() => Ok(()),
            _ = interrupt.recv() => Ok(()),
        },
        Err(error) => Err(error.into()),
    };
    tracing::info!("stopping");
    if served.is_ok() {
        // Of no use without an agent, and of no harm if it stays.
        let _ = std::fs::remove_file(&socket);
    }
    let _ = commands.send(Command::Stop);
    end.await.context("the data plane's thread panicked")??;
    served
}

/// Has the configuration read again by SIGHUP, as by [`Request::Reload`]; how it went is
/// logged.
fn reload_on_hangup(handle: AgentHandle) -> anyhow::Result<()> {
    let mut hangup = signal(SignalKind::hangup()).context("listen for SIGHUP")?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            handle.handle(Request::Reload).await;
        }
    });
    Ok(())
}

/// What the data plane's thread owns.
struct Owner {
    dataplane: Dataplane,
    /// In force.
    config: Config,
    file: ConfigFile,
    /// Where resources are kept, unless in the file.
    control: Option<ControlPlane>,
    /// If they are kept.
    flow_logs: Option<FlowLogs>,
    /// What indices of the tables stand for.
    directory: Directory,
}

/// What the agent was started with.
struct Host {
    file: ConfigFile,
    config: Config,
    options: AgentOptions,
    runtime: tokio::runtime::Handle,
}

/// The thread that owns the data plane.
fn own(
    host: Host,
    commands: mpsc::Sender<Command>,
    inbox: &mpsc::Receiver<Command>,
    ready: oneshot::Sender<Arc<Who>>,
) -> anyhow::Result<()> {
    let Host {
        file,
        config,
        options,
        runtime,
    } = host;
    // Subscribed before anything is read, so that no change falls in between.
    watch_links(commands.clone()).context("subscribe to changes of interfaces")?;
    // Before the store: a second agent is told who is the first, and never makes a store
    // while that one does.
    let lock = Dataplane::lock(&config.pin_dir)?;
    let control = config.control.as_ref();
    let directory = Directory::default();
    let control = control.map(|control| ControlPlane::open(control, &config, directory.clone()));
    let control = control.transpose()?;
    if control.is_none() {
        flow_logs::enter_places(&directory, &config);
    }
    let dataplane = Dataplane::open_locked(
        &config.pin_dir,
        &config.limits,
        config.tc,
        directory.clone(),
        lock,
    )?;
    let mut owner = Owner {
        dataplane,
        config,
        file,
        control,
        flow_logs: None,
        directory,
    };
    let applied = owner.begin();
    if owner.control.is_none() && !owner.dataplane.adopted() && !applied.is_complete() {
        // Nothing of this host depends on the new tables yet: leave none behind.
        let first = applied.obstacles().next();
        owner.dataplane.teardown()?;
        anyhow::bail!(first.unwrap_or_default());
    }
    let keeper = owner.start_flow_logs(runtime, commands.clone())?;
    let sink: Box<dyn FlowSink> = match keeper {
        Some(keeper) => Box::new(keeper),
        None => Box::new(Discard),
    };
    let high_water = high_water(owner.control.is_some().then_some(commands));
    let workers = owner.dataplane.start_workers(sink, high_water)?;
    tracing::info!(adopted = owner.dataplane.adopted(), "the data path is up");
    let recorded = owner
        .config
        .flow_logs
        .as_ref()
        .map(|config| config.dir.clone());
    let who = Who::new(owner.dataplane.live_flows(), recorded);
    if ready.send(who).is_ok() {
        owner.serve(inbox);
    }
    finish(owner, workers, options)
}

/// Tells of ENIs that are nearly full: the control plane, which adds one, or whoever reads
/// the log.
fn high_water(commands: Option<mpsc::Sender<Command>>) -> HighWater {
    Box::new(move |eni, connections| match &commands {
        Some(commands) => {
            tracing::info!(eni, connections, "an ENI is nearly full");
            // Who does not listen any more is about to end.
            let _ = commands.send(Command::HighWater(eni.to_owned()));
        }
        None => warn_of_high_water(eni, connections),
    })
}

fn finish(owner: Owner, workers: Workers, options: AgentOptions) -> anyhow::Result<()> {
    let Owner {
        dataplane,
        flow_logs,
        ..
    } = owner;
    workers.stop();
    if let Some(flow_logs) = flow_logs {
        flow_logs.stop();
    }
    if options.teardown {
        dataplane.teardown()?;
        tracing::info!("everything was removed");
    } else {
        tracing::info!("the data path goes on without an agent");
    }
    Ok(())
}

impl Owner {
    /// The first full pass.
    fn begin(&mut self) -> Applied {
        self.dataplane.detach_dead();
        if let Some(control) = &mut self.control {
            control.reconcile_environments(&mut self.dataplane);
        }
        let applied = self.apply();
        report(&applied);
        applied
    }

    /// Makes the tables as they are to be.
    fn apply(&mut self) -> Applied {
        match &mut self.control {
            Some(control) => control.pass(&mut self.dataplane),
            None => self.dataplane.apply(&self.config),
        }
    }

    /// How long until something is due that nobody asks for.
    fn patience(&mut self, next_pass: Instant) -> Duration {
        let until = next_pass.saturating_duration_since(Instant::now());
        let tick = self.control.as_mut().and_then(ControlPlane::patience);
        tick.map_or(until, |tick| tick.min(until))
    }

    /// Answers commands and makes a full pass now and then, until told to stop.
    fn serve(&mut self, inbox: &mpsc::Receiver<Command>) {
        let mut next_pass = Instant::now() + RECONCILE_PERIOD;
        loop {
            match inbox.recv_timeout(self.patience(next_pass)) {
                Ok(Command::Ask(request, answer)) => {
                    // The client may have gone; what it asked for was done.
                    let _ = answer.send(self.respond(&request));
                }
                Ok(Command::Link(change)) => {
                    if self.link_changed(change) {
                        next_pass = next_pass.min(Instant::now() + RECONCILE_DELAY);
                    }
                }
                Ok(Command::HighWater(eni)) => {
                    if let Some(control) = &mut self.control {
                        control.high_water(&mut self.dataplane, &eni);
                    }
                }
                Ok(Command::Delivery(id, outcome)) => self.delivery(&id, &outcome),
                Ok(Command::Stop) | Err(mpsc::RecvTimeoutError::Disconnected) => return,
                Err(mpsc::RecvTimeoutError::Timeout) if Instant::now() < next_pass => {
                    if let Some(control) = &mut self.control {
                        control.tick(&mut self.dataplane);
                    }
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    self.pass();
                    next_pass = Instant::now() + RECONCILE_PERIOD;
                }
            }
            self.note_lost();
            let control = self.control.as_mut();
            if control.is_some_and(ControlPlane::take_flow_logs_changed) {
                self.set_flow_logs();
            }
            if self.control.as_ref().is_some_and(ControlPlane::pass_due) {
                next_pass = next_pass.min(Instant::now() + RECONCILE_DELAY);
            }
        }
    }

    /// Tells the control plane of environments whose interface went away.
    fn note_lost(&mut self) {
        let lost = self.dataplane.take_lost();
        if let Some(control) = &mut self.control
            && !lost.is_empty()
        {
            control.lost(&mut self.dataplane, lost);
        }
    }

    /// Compares everything with the tables, and mends what differs.
    fn pass(&mut self) {
        self.dataplane.detach_dead();
        self.dataplane.mend_attachments();
        self.dataplane.audit();
        report(&self.apply());
    }

    /// Whether a full pass is due.
    fn link_changed(&mut self, change: LinkChange) -> bool {
        let dataplane = &mut self.dataplane;
        match change {
            LinkChange::Gone(ifindex) => {
                let is_uplink = dataplane.uplink_of(ifindex).is_some();
                dataplane.interface_gone(ifindex);
                // An interface that was made anew at once was announced before.
                is_uplink
            }
            LinkChange::Changed(ifindex) => {
                dataplane.interface_changed(ifindex);
                dataplane.uplink_of(ifindex).is_some() || dataplane.awaits_uplink(&self.config)
            }
            LinkChange::FilterGone(ifindex) => {
                dataplane.filter_gone(ifindex);
                false
            }
            LinkChange::Missed => true,
        }
    }

    fn respond(&mut self, request: &Request) -> Response {
        self.forget_dead(request);
        if let Some(response) = self.respond_of_resources(request) {
            return response;
        }
        let dataplane = &mut self.dataplane;
        let result: Result<Response, String> = match request {
            Request::Attach(request) => environment(dataplane.attach(request)),
            Request::Detach { name } => environment(dataplane.detach(name)),
            Request::SetHook { name, hook, netns } => {
                environment(dataplane.set_hook(name, *hook, netns.as_deref()))
            }
            Request::Reload => self.reload().map_err(|error| error.to_string()),
            Request::Explain(request) => dataplane
                .explain(request)
                .map(|mut told| {
                    let control = self.control.as_ref();
                    told.function = control.and_then(|it| it.function_of(&told.environment));
                    Response::Explanation(Box::new(told))
                })
                .map_err(|error| error.to_string()),
            Request::Environments => Ok(Response::Environments(dataplane.environments())),
            Request::Drops => dataplane.drops().map(Response::Drops).map_err(unreadable),
            Request::Refusals => dataplane
                .refusals()
                .map(Response::Refusals)
                .map_err(unreadable),
            Request::Status => dataplane.status().map(Response::Status).map_err(unreadable),
            // The handle answers it.
            Request::Flows | Request::Who(_) => Err("flows are not listed here".to_owned()),
            Request::AttachFunction(_)
            | Request::Control { .. }
            | Request::Apply { .. }
            | Request::Get(_)
            | Request::EniFind { .. }
            | Request::ExportState
            | Request::Plan => Err(NO_STORE.to_owned()),
        };
        result.unwrap_or_else(|message| Response::Error { message })
    }

    /// Word of an interface that went away may still be on its way when another environment
    /// asks for its name.
    fn forget_dead(&mut self, request: &Request) {
        let name = match request {
            Request::Attach(request) => &request.name,
            Request::AttachFunction(request) => &request.name,
            _ => return,
        };
        self.dataplane.detach_if_dead(name);
        self.note_lost();
    }

    /// Takes the file as it is now. Every packet goes by the new rules when this returns.
    fn reload(&mut self) -> Result<Response, ReloadError> {
        let config = self.file.reload(&self.config).inspect_err(|error| {
            tracing::warn!(%error, "the configuration was read again and is not taken");
        })?;
        self.config = config;
        if let Some(control) = &mut self.control {
            control.set_host(&self.config);
        }
        self.reload_flow_logs();
        self.dataplane.detach_dead();
        self.dataplane.mend_attachments();
        self.dataplane.audit();
        let applied = self.apply();
        report(&applied);
        let problems: Vec<String> = applied.obstacles().collect();
        tracing::info!(
            steps = applied.steps,
            problems = problems.len(),
            "the configuration was read again"
        );
        Ok(Response::Reloaded {
            steps: applied.steps,
            problems,
        })
    }
}

/// The answer to a change of an environment.
fn environment(changed: Result<EnvironmentInfo, AttachError>) -> Result<Response, String> {
    changed
        .map(Response::Environment)
        .map_err(|error| error.to_string())
}

fn unreadable(error: aya::maps::MapError) -> String {
    format!("the counters cannot be read ({error}): see the agent's log")
}

fn report(applied: &Applied) {
    for problem in &applied.problems {
        tracing::warn!(%problem, "not applied");
    }
    if applied.steps != 0 {
        tracing::info!(steps = applied.steps, "the configuration was applied");
    }
}

/// Passes changes of interfaces on, for as long as somebody listens.
fn watch_links(commands: mpsc::Sender<Command>) -> io::Result<()> {
    let monitor = LinkMonitor::open()?;
    let watch = move || {
        loop {
            let changes = match monitor.next() {
                Ok(changes) => changes,
                Err(error) => {
                    // The passes on the timer still find what changed.
                    tracing::error!(%error, "changes of interfaces are not reported any more");
                    return;
                }
            };
            for change in changes {
                if commands.send(Command::Link(change)).is_err() {
                    return;
                }
            }
        }
    };
    std::thread::Builder::new()
        .name("vpc-links".to_owned())
        .spawn(watch)
        .map(drop)
}
