//! Flow logs as the agent runs them: who keeps the journal, the thread that makes parcels
//! and bindings of it, and a task for each flow log that delivers.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use tokio::{runtime::Handle, sync::watch, task::JoinHandle as Task};

use super::{Command, Owner, control::ControlPlane};
use crate::{
    control::Settings,
    dataplane::clock,
    flowlog::{
        self, Directory, Folders, Form, Keeper, Log, Maker, ObjectNames, Outcome, Place, Ready,
        Scope, Target,
        bindings::Retention,
        journal::{Journal, Period},
    },
    model::{Config, FlowLogsConfig},
};

/// How soon what failed is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// How often the index is tidied up.
const TIDY: Duration = Duration::from_secs(60);
/// Account and Region of what is the host's own.
const NOBODY: &str = "000000000000";

/// Flow logs of the host.
pub struct FlowLogs {
    config: FlowLogsConfig,
    region: String,
    notices: mpsc::Sender<Notice>,
    thread: JoinHandle<()>,
}

/// What the thread is told.
enum Notice {
    /// A file of the journal ended.
    Ended,
    /// These are the flow logs now.
    Logs(FlowLogsConfig, Vec<Log>),
    /// The agent ends.
    Stop,
}

impl FlowLogs {
    /// Opens the journal and starts the thread. Tasks run on `runtime`; `told` hears what
    /// becomes of deliveries.
    pub fn start(
        config: &FlowLogsConfig,
        region: String,
        directory: Directory,
        runtime: Handle,
        told: flowlog::Told,
    ) -> anyhow::Result<(Self, Keeper)> {
        flowlog::make_folder(&config.dir)
            .with_context(|| format!("{} cannot be made", config.dir.display()))?;
        let folders = Folders::new(&config.dir);
        let period = Period::new(config.period_secs);
        let journal = Journal::open(&folders.journal(), period, clock::unix_secs())
            .context("the journal of flows cannot be kept")?;
        let retention = Retention {
            age_secs: config.index_age_secs,
            bytes: config.index_bytes,
        };
        let maker = Maker::open(folders, period, config.spool_bytes, retention)
            .context("flow logs cannot be made")?;
        let (notices, inbox) = mpsc::channel();
        let thread = Worker {
            maker,
            runtime,
            told,
            config: config.clone(),
            region: region.clone(),
            deliveries: BTreeMap::new(),
            ending: Vec::new(),
            wanted: None,
            failing: false,
        };
        let thread = std::thread::Builder::new()
            .name("vpc-flowlog".to_owned())
            .spawn(move || thread.run(&inbox))
            .context("start the thread of flow logs")?;
        let listener = notices.clone();
        let ended = move || {
            // Who has ended finds the file when it runs again.
            let _ = listener.send(Notice::Ended);
        };
        let keeper = Keeper::new(journal, period, directory, Box::new(ended));
        let flow_logs = Self {
            config: config.clone(),
            region,
            notices,
            thread,
        };
        Ok((flow_logs, keeper))
    }

    /// The flow logs from now on, besides those of the configuration.
    pub fn set(&self, mut logs: Vec<Log>) {
        logs.extend(self.exports());
        // Who does not listen any more is about to end.
        let _ = self.notices.send(Notice::Logs(self.config.clone(), logs));
    }

    /// The configuration was read again.
    pub fn set_config(&mut self, config: &FlowLogsConfig) {
        self.config = config.clone();
    }

    /// The operator's own.
    fn exports(&self) -> impl Iterator<Item = Log> {
        self.config.exports.iter().map(|export| {
            let target = Target::of_export(&export.to);
            let id = format!("export-{}", export.name);
            let form = match &target {
                Target::Bucket(_) | Target::Store(_) => Form::Files(ObjectNames {
                    folder: String::new(),
                    account: NOBODY.to_owned(),
                    region: self.region.clone(),
                    flow_log_id: id.clone(),
                    hive_compatible: export.hive_compatible,
                    per_hour: export.per_hour,
                    parquet: export.parquet,
                }),
                Target::LogGroup(_) => Form::Events,
                Target::Ipfix(_) => Form::NatEvents,
                Target::DeliveryStream(_) | Target::Endpoint(_) | Target::Stdout => Form::Lines,
            };
            Log {
                id,
                scope: Scope::All,
                traffic: export.traffic,
                periods: 1,
                format: export.format.clone(),
                form,
                target,
            }
        })
    }

    /// Ends the thread. What was not delivered is delivered by the next agent.
    pub fn stop(self) {
        let _ = self.notices.send(Notice::Stop);
        if self.thread.join().is_err() {
            tracing::error!("the thread of flow logs had panicked");
        }
    }
}

/// A flow log that is delivered.
struct Delivery {
    log: Log,
    /// What says where its destination is.
    config: FlowLogsConfig,
    ready: watch::Sender<Ready>,
    task: Task<()>,
}

/// The thread.
struct Worker {
    maker: Maker,
    runtime: Handle,
    told: flowlog::Told,
    config: FlowLogsConfig,
    region: String,
    deliveries: BTreeMap<String, Delivery>,
    /// Of flow logs that are no more.
    ending: Vec<Task<()>>,
    /// Flow logs that could not be set yet.
    wanted: Option<Vec<Log>>,
    failing: bool,
}

impl Worker {
    fn run(mut self, inbox: &mpsc::Receiver<Notice>) {
        let mut tidied = Instant::now();
        loop {
            self.try_all();
            if tidied.elapsed() >= TIDY {
                self.tidy();
                tidied = Instant::now();
            }
            match inbox.recv_timeout(RETRY) {
                Ok(Notice::Ended) | Err(RecvTimeoutError::Timeout) => {}
                Ok(Notice::Logs(config, logs)) => {
                    self.config = config;
                    self.wanted = Some(logs);
                }
                Ok(Notice::Stop) | Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let deliveries = self.deliveries.into_values().map(|it| it.task);
        for task in deliveries.chain(self.ending) {
            task.abort();
        }
    }

    /// Sets what is wanted and makes what can be made; tells once of what fails.
    fn try_all(&mut self) {
        let outcome = self.set_logs().and_then(|()| self.make());
        match outcome {
            Ok(()) => self.failing = false,
            Err(error) => {
                if !self.failing {
                    tracing::error!(%error, "flow logs wait: what is to be in them is kept");
                }
                self.failing = true;
            }
        }
    }

    fn set_logs(&mut self) -> Result<(), flowlog::MakeError> {
        let Some(logs) = self.wanted.clone() else {
            return Ok(());
        };
        self.maker.set_logs(logs.clone())?;
        self.wanted = None;
        if self.deliveries.is_empty() && self.ending.is_empty() {
            // Deleted while no agent ran.
            self.maker.forget_others()?;
        }
        let is_gone = |id: &&String| !logs.iter().any(|log| log.id == **id);
        let gone: Vec<String> = self.deliveries.keys().filter(is_gone).cloned().collect();
        for id in gone {
            self.end(&id);
        }
        for log in logs {
            self.begin(log);
        }
        Ok(())
    }

    /// Starts to deliver a flow log, unless it is delivered already.
    fn begin(&mut self, log: Log) {
        if let Some(delivery) = self.deliveries.get(&log.id) {
            let is_same = delivery.log == log && delivery.config == self.config;
            if is_same && !delivery.task.is_finished() {
                return;
            }
            delivery.task.abort();
        }
        let Some((spool, before)) = self.maker.ready(&log.id) else {
            return;
        };
        let (ready, receiver) = watch::channel(Ready {
            before,
            is_last: false,
        });
        // Made where it is used: it looks for the runtime.
        let _runtime = self.runtime.enter();
        let destination = log.target.destination(&self.config, Some(&self.region));
        let told = Arc::clone(&self.told);
        let task = flowlog::deliver(log.id.clone(), spool.clone(), destination, receiver, told);
        let task = self.runtime.spawn(task);
        let delivery = Delivery {
            log,
            config: self.config.clone(),
            ready,
            task,
        };
        self.deliveries.insert(delivery.log.id.clone(), delivery);
    }

    fn end(&mut self, id: &str) {
        if let Some(Delivery { ready, task, .. }) = self.deliveries.remove(id) {
            ready.send_modify(|ready| ready.is_last = true);
            self.ending.retain(|task| !task.is_finished());
            self.ending.push(task);
        }
    }

    fn make(&mut self) -> Result<(), flowlog::MakeError> {
        let made = self.maker.make()?;
        for (id, parcels) in made.dropped {
            tracing::warn!(
                flow_log = id,
                parcels,
                "the spool is full: its oldest parcels were dropped"
            );
            let message = format!(
                "{parcels} parcels were dropped because they could not be delivered for too long"
            );
            let failure = "Unknown error".to_owned();
            (self.told)(&id, Outcome::Failed { failure, message });
        }
        for (id, delivery) in &self.deliveries {
            if let Some((_, before)) = self.maker.ready(id) {
                delivery.ready.send_if_modified(|ready| {
                    std::mem::replace(&mut ready.before, before) != before
                });
            }
        }
        Ok(())
    }

    fn tidy(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |now| now.as_millis() as u64);
        if let Err(error) = self.maker.tidy(now) {
            tracing::warn!(%error, "the index of bindings is not tidied up");
        }
    }
}

/// Says where the ENIs of a configuration are, whose names are what people call them.
pub(super) fn enter_places(directory: &Directory, config: &Config) {
    let unknown = Place::unknown;
    for group in &config.groups {
        let subnet = group.subnet_name.as_ref();
        let subnet =
            subnet.and_then(|name| config.network.subnets.iter().find(|it| it.name == *name));
        for (number, eni) in group.enis.iter().enumerate() {
            directory.set_place(Place {
                interface_id: group.eni_name(number, eni),
                address: eni.address,
                vpc_id: subnet.map_or(unknown().vpc_id, |subnet| subnet.vpc.to_string()),
                subnet_id: subnet.map_or(unknown().subnet_id, |subnet| subnet.name.to_string()),
                ..unknown()
            });
        }
    }
}

impl Owner {
    /// Starts what is configured: who is to keep the journal.
    pub(super) fn start_flow_logs(
        &mut self,
        runtime: Handle,
        commands: mpsc::Sender<Command>,
    ) -> anyhow::Result<Option<Keeper>> {
        let Some(config) = &self.config.flow_logs else {
            return Ok(None);
        };
        let told = move |id: &str, outcome: Outcome| {
            // Who does not listen any more is about to end.
            let _ = commands.send(Command::Delivery(id.to_owned(), outcome));
        };
        let region = self.config.control.as_ref().map_or_else(
            || Settings::default().region,
            |control| control.settings.region.clone(),
        );
        let (flow_logs, keeper) = FlowLogs::start(
            config,
            region,
            self.directory.clone(),
            runtime,
            Arc::new(told),
        )?;
        self.flow_logs = Some(flow_logs);
        self.set_flow_logs();
        Ok(Some(keeper))
    }

    /// Tells which flow logs there are now.
    pub(super) fn set_flow_logs(&self) {
        if let Some(flow_logs) = &self.flow_logs {
            let control = self.control.as_ref();
            flow_logs.set(control.map(ControlPlane::flow_logs).unwrap_or_default());
        }
    }

    /// Takes the configuration as it is now; where things are stays as it was.
    pub(super) fn reload_flow_logs(&mut self) {
        if self.control.is_none() {
            enter_places(&self.directory, &self.config);
        }
        if let (Some(flow_logs), Some(config)) = (&mut self.flow_logs, &self.config.flow_logs) {
            flow_logs.set_config(config);
        }
        self.set_flow_logs();
    }

    /// Takes note of what deliveries have come to.
    pub(super) fn delivery(&mut self, id: &str, outcome: &Outcome) {
        if let Outcome::Failed { failure, message } = outcome {
            tracing::warn!(
                flow_log = id,
                failure,
                message,
                "not delivered: tried again"
            );
        }
        if let Some(control) = &mut self.control {
            control.delivery(&mut self.dataplane, id, outcome);
        }
    }
}
