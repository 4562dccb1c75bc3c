//! The agent: one thread that owns the data plane, the threads that serve the
//! kernel programs, and the socket by which it is asked.

use std::{
    io,
    sync::mpsc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

pub use crate::dataplane::{FlowSink, Plan, TeardownError, dry_run, teardown};
use crate::{
    api,
    dataplane::{Applied, Dataplane, LinkChange, LinkMonitor, Totals, Workers},
    model::{Config, Request, Response},
};

/// How often the whole configuration is compared with the tables.
const RECONCILE_PERIOD: Duration = Duration::from_secs(30);
/// How soon after a change of an uplink: long enough for a burst of changes to be
/// answered once.
const RECONCILE_DELAY: Duration = Duration::from_millis(50);

/// How the agent runs.
#[derive(Clone, Copy, Default, Debug)]
pub struct AgentOptions {
    /// Remove everything at the end, instead of leaving the data path running.
    pub teardown: bool,
}

/// Asks the agent. Cloneable; every clone asks the same agent.
#[derive(Clone, Debug)]
pub struct AgentHandle(mpsc::Sender<Command>);

enum Command {
    Ask(Request, oneshot::Sender<Response>),
    Link(LinkChange),
    Stop,
}

impl AgentHandle {
    /// The answer to a request.
    pub async fn handle(&self, request: Request) -> Response {
        let (sender, receiver) = oneshot::channel();
        let gone = || Response::Error {
            message: "the agent is stopping: try again once it has been started".to_owned(),
        };
        if self.0.send(Command::Ask(request, sender)).is_err() {
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

/// Runs the agent until SIGTERM or SIGINT.
pub async fn run(config: Config, options: AgentOptions) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    // A terminal that closes is no reason to stop serving.
    let mut hangup = signal(SignalKind::hangup()).context("listen for SIGHUP")?;
    tokio::spawn(async move { while hangup.recv().await.is_some() {} });
    let (commands, inbox) = mpsc::channel();
    let (ready, started) = oneshot::channel();
    let (ended, end) = oneshot::channel();
    let socket = config.socket.clone();
    std::thread::Builder::new()
        .name("vpc-dataplane".to_owned())
        .spawn({
            let commands = commands.clone();
            move || {
                let result = own(&config, options, commands, &inbox, ready);
                // Nobody listens any more if the agent failed elsewhere.
                let _ = ended.send(result);
            }
        })
        .context("start the data plane's thread")?;
    if started.await.is_err() {
        // The thread ended before it was ready: its error is the answer.
        return end.await.context("the data plane's thread panicked")?;
    }
    let handle = AgentHandle(commands.clone());
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

/// The thread that owns the data plane.
fn own(
    config: &Config,
    options: AgentOptions,
    commands: mpsc::Sender<Command>,
    inbox: &mpsc::Receiver<Command>,
    ready: oneshot::Sender<()>,
) -> anyhow::Result<()> {
    // Subscribed before anything is read, so that no change falls in between.
    watch_links(commands).context("subscribe to changes of interfaces")?;
    let mut dataplane = Dataplane::open(&config.pin_dir, &config.limits, config.tc)?;
    dataplane.detach_dead();
    let applied = dataplane.apply(config);
    report(&applied);
    if !dataplane.adopted() && (!applied.problems.is_empty() || !applied.failures.is_empty()) {
        // Nothing of this host depends on the new tables yet: leave none behind.
        let first = applied
            .problems
            .iter()
            .map(ToString::to_string)
            .chain(applied.failures)
            .next();
        dataplane.teardown()?;
        anyhow::bail!(first.unwrap_or_default());
    }
    let workers = dataplane.start_workers(Box::new(Totals::default()))?;
    tracing::info!(adopted = dataplane.adopted(), "the data path is up");
    if ready.send(()).is_ok() {
        serve(&mut dataplane, config, inbox);
    }
    finish(dataplane, workers, options)
}

fn finish(dataplane: Dataplane, workers: Workers, options: AgentOptions) -> anyhow::Result<()> {
    workers.stop();
    if options.teardown {
        dataplane.teardown()?;
        tracing::info!("everything was removed");
    } else {
        tracing::info!("the data path goes on without an agent");
    }
    Ok(())
}

/// Answers commands and makes a full pass now and then, until told to stop.
fn serve(dataplane: &mut Dataplane, config: &Config, inbox: &mpsc::Receiver<Command>) {
    let mut next_pass = Instant::now() + RECONCILE_PERIOD;
    loop {
        let patience = next_pass.saturating_duration_since(Instant::now());
        match inbox.recv_timeout(patience) {
            Ok(Command::Ask(request, answer)) => {
                // The client may have gone; what it asked for was done.
                let _ = answer.send(respond(dataplane, &request));
            }
            Ok(Command::Link(change)) => {
                if link_changed(dataplane, config, change) {
                    next_pass = next_pass.min(Instant::now() + RECONCILE_DELAY);
                }
            }
            Ok(Command::Stop) | Err(mpsc::RecvTimeoutError::Disconnected) => return,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                dataplane.detach_dead();
                dataplane.mend_filters();
                report(&dataplane.apply(config));
                next_pass = Instant::now() + RECONCILE_PERIOD;
            }
        }
    }
}

/// Whether a full pass is due.
fn link_changed(dataplane: &mut Dataplane, config: &Config, change: LinkChange) -> bool {
    match change {
        LinkChange::Gone(ifindex) => {
            dataplane.interface_gone(ifindex);
            let uplink = dataplane.uplink_of(ifindex);
            if let Some(index) = uplink {
                dataplane.uplink_gone(index);
            }
            // An interface that was made anew at once was announced before.
            uplink.is_some()
        }
        LinkChange::Changed(ifindex) => {
            dataplane.interface_changed(ifindex);
            dataplane.uplink_of(ifindex).is_some() || dataplane.awaits_uplink(config)
        }
        LinkChange::Missed => true,
    }
}

fn respond(dataplane: &mut Dataplane, request: &Request) -> Response {
    let result: Result<Response, String> = match request {
        Request::Attach(request) => dataplane
            .attach(request)
            .map(Response::Environment)
            .map_err(|error| error.to_string()),
        Request::Detach { name } => dataplane
            .detach(name)
            .map(Response::Environment)
            .map_err(|error| error.to_string()),
        Request::SetHook { name, hook, netns } => dataplane
            .set_hook(name, *hook, netns.as_deref())
            .map(Response::Environment)
            .map_err(|error| error.to_string()),
        Request::Environments => Ok(Response::Environments(dataplane.environments())),
        Request::Flows => Ok(Response::Flows(dataplane.flows())),
        Request::Drops => dataplane.drops().map(Response::Drops).map_err(unreadable),
        Request::Status => dataplane.status().map(Response::Status).map_err(unreadable),
    };
    result.unwrap_or_else(|message| Response::Error { message })
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
