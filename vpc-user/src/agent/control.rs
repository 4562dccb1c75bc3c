//! The control plane as the agent runs it: one command at a time, each kept by the store
//! before it is acknowledged, and the data plane brought after it. What the data plane
//! then reports is a command in turn, until nothing moves any more.

mod committer;
mod concerned;
mod entries;
mod environments;
mod flow_logs;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read as _,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use serde_json::Value;

use self::{
    committer::Committer,
    concerned::{Concerned, is_unsettled},
};
use crate::{
    control::{
        self, Account, ApiError, Caller, Change, Command, Context, Desired, Entropy, Id, Record,
        Settings, State, Time, Transaction,
        life::Event,
        resource::{EniPhase, Environment, Function, Interface},
        store::{RedbStore, Revision, Store, StoreError},
    },
    dataplane::{Applied, AttachError, Dataplane, Move},
    flowlog::Directory,
    model::{Config, ControlConfig},
};

/// Commands that one command may lead to, one after the other.
const ROUNDS: usize = 16;
/// How soon after a change it is looked what becomes due by time.
const DUE_PERIOD: Duration = Duration::from_secs(1);
/// The shortest time between two ticks.
const TICK_PERIOD: Duration = Duration::from_millis(50);
/// How often it is looked whether an ENI has come or gone, while one has to.
const SETTLING_PERIOD: Duration = Duration::from_secs(1);
/// Full passes that an ENI beside another has carried nothing at until it goes.
const IDLE_PASSES: u32 = 2;

/// Why the control plane did not do what it was asked. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Refused, as AWS would.
    #[error(transparent)]
    Refused(#[from] ApiError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The interface or the tables.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// A state that cannot be written down.
    #[error("the state cannot be written as JSON ({0})")]
    Json(#[from] serde_json::Error),
    /// No random numbers.
    #[error("the kernel gives no random numbers ({0}): see whether /dev/urandom is there")]
    Entropy(#[from] std::io::Error),
}

/// The state, where it is kept, and what it makes of the data plane.
pub struct ControlPlane {
    state: State,
    store: Arc<dyn Store>,
    committer: Committer,
    revision: Revision,
    settings: Settings,
    desired: Desired,
    /// ENIs that the data plane has yet to learn or to forget.
    unsettled: BTreeSet<Id>,
    /// ENIs beside others that carry nothing, and at how many passes so far.
    idle: BTreeMap<Id, u32>,
    /// Something is to be taken away, which a full pass does.
    pass_due: bool,
    /// When something happens by the passing of time alone, or earlier, as of the state at
    /// a moment; looking for it is looking at every function.
    due: Option<Time>,
    due_is_old: bool,
    due_taken: Instant,
    /// Told where ENIs are and what environments run.
    directory: Directory,
    /// Flow logs were made or deleted.
    flow_logs_changed: bool,
}

impl ControlPlane {
    /// Opens the store. `host` has what does not come from it; `directory` is told where
    /// ENIs are and what environments run, before the data plane knows them.
    pub fn open(
        config: &ControlConfig,
        host: &Config,
        directory: Directory,
    ) -> anyhow::Result<Self> {
        let store: Arc<dyn Store> = Arc::new(RedbStore::open(&config.store)?);
        let committer = Committer::start(Arc::clone(&store)).context("start the store's thread")?;
        let (state, revision) = store.load()?;
        let settings = config.settings.clone();
        let unsettled = state.all::<Interface>().filter(|eni| is_unsettled(eni));
        let unsettled = unsettled.map(|eni| eni.network_interface_id.clone());
        let control = Self {
            desired: Desired::new(&state, host, settings.clone()),
            unsettled: unsettled.collect(),
            state,
            store,
            committer,
            revision,
            settings,
            idle: BTreeMap::new(),
            pass_due: true,
            due: None,
            due_is_old: true,
            due_taken: Instant::now(),
            directory,
            flow_logs_changed: false,
        };
        control.enter_all();
        Ok(control)
    }

    /// What the data plane is to hold.
    pub const fn config(&self) -> &Config {
        self.desired.config()
    }

    /// The state.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The state's revision.
    pub const fn revision(&self) -> Revision {
        self.revision
    }

    /// The version of a function that an environment runs, by its ARN.
    pub fn function_of(&self, environment: &str) -> Option<String> {
        let environment = self.state.get::<Environment>(environment)?;
        let function = self.state.get::<Function>(&environment.function)?;
        Some(function.qualified_arn())
    }

    /// Takes what does not come from the state as it is now.
    pub fn set_host(&mut self, host: &Config) {
        if let Some(control) = &host.control {
            self.settings = control.settings.clone();
        }
        self.desired = Desired::new(&self.state, host, self.settings.clone());
        self.pass_due = true;
    }

    /// Whether something is to be taken away, which a full pass does.
    pub const fn pass_due(&self) -> bool {
        self.pass_due
    }

    /// How long until the next [`ControlPlane::tick`]; `None`: nothing depends on time.
    pub fn patience(&mut self) -> Option<Duration> {
        let age = self.due_taken.elapsed();
        if self.due_is_old && age >= DUE_PERIOD {
            self.due = control::next_tick(&self.state, &self.settings);
            (self.due_taken, self.due_is_old) = (Instant::now(), false);
        }
        let look_again = self.due_is_old.then(|| DUE_PERIOD.saturating_sub(age));
        // What could not be kept is not tried again at once.
        let due = self.due.map(|due| due.since(now()).max(TICK_PERIOD));
        let settling = (!self.unsettled.is_empty()).then_some(SETTLING_PERIOD);
        [look_again, due, settling].into_iter().flatten().min()
    }

    /// Carries a command out for an account.
    pub fn carry_out(
        &mut self,
        dataplane: &mut Dataplane,
        command: &Command,
        account: Account,
    ) -> Result<Value, ControlError> {
        let (answer, changes) = self.decide(account, |transaction, context| {
            Ok(control::decide(transaction, command, context)?)
        })?;
        self.follow(dataplane, changes);
        Ok(answer?)
    }

    /// Carries several changes out as one.
    pub fn carry_out_all<T>(
        &mut self,
        dataplane: &mut Dataplane,
        account: Account,
        decide: impl FnOnce(&mut Transaction<'_>, &mut Context) -> Result<T, ControlError>,
    ) -> Result<T, ControlError> {
        let (answer, changes) = self.decide(account, decide)?;
        self.follow(dataplane, changes);
        Ok(answer)
    }

    /// What changes would be made, without making any.
    pub fn rehearse<T>(
        &mut self,
        account: Account,
        decide: impl FnOnce(&mut Transaction<'_>, &mut Context) -> Result<T, ControlError>,
    ) -> Result<T, ControlError> {
        let mut context = context(&self.settings, account)?;
        decide(&mut Transaction::new(&mut self.state), &mut context)
    }

    /// Decides, and keeps what was decided. Refused or not kept, nothing has changed.
    fn decide<T>(
        &mut self,
        account: Account,
        decide: impl FnOnce(&mut Transaction<'_>, &mut Context) -> Result<T, ControlError>,
    ) -> Result<(T, Vec<Change>), ControlError> {
        let mut context = context(&self.settings, account)?;
        let mut transaction = Transaction::new(&mut self.state);
        let answer = decide(&mut transaction, &mut context)?;
        let changes = transaction.changes();
        if !changes.is_empty() {
            self.revision = self.store.commit(self.revision, &changes)?;
            self.due_is_old |= brings_forward(&changes);
        }
        transaction.commit();
        Ok((answer, changes))
    }

    /// An ENI is nearly full.
    pub fn high_water(&mut self, dataplane: &mut Dataplane, eni: &str) {
        if let Ok(network_interface_id) = Id::new(eni) {
            let event = Event::EniHighWater {
                network_interface_id,
            };
            self.report(dataplane, vec![event]);
        }
    }

    /// Time has passed.
    pub fn tick(&mut self, dataplane: &mut Dataplane) {
        let mut loads = dataplane.eni_loads();
        let drained = loads.any(|load| load.connections == 0 && self.is_draining(load.name));
        drop(loads);
        self.pass_due |= drained;
        self.end_overdue(dataplane);
        self.due_is_old = true;
        self.report(dataplane, vec![Event::Tick]);
    }

    fn is_draining(&self, eni: &str) -> bool {
        let eni = self.state.get::<Interface>(eni);
        eni.and_then(Interface::phase) == Some(EniPhase::Draining)
    }

    /// Makes everything as desired, and takes note of what came of it.
    pub fn pass(&mut self, dataplane: &mut Dataplane) -> Applied {
        self.pass_due = false;
        self.forget_gone(dataplane);
        self.end_overdue(dataplane);
        let applied = dataplane.apply(self.desired.config());
        let moves = self.all_moves(dataplane);
        self.make_moves(dataplane, &moves);
        let mut events = self.settled(dataplane);
        events.extend(self.loads(dataplane));
        self.report(dataplane, events);
        applied
    }

    /// Flows that have kept an ENI for longer than they may end.
    fn end_overdue(&self, dataplane: &mut Dataplane) {
        let now = now();
        for id in &self.unsettled {
            let eni = self.state.get::<Interface>(id.as_str());
            let Some(hyperplane) = eni.and_then(|eni| eni.hyperplane.as_ref()) else {
                continue;
            };
            let is_draining = hyperplane.phase == EniPhase::Draining;
            if is_draining
                && now.since(hyperplane.since) >= self.settings.drain
                && let Err(error) = dataplane.end_flows(id.as_str())
            {
                tracing::warn!(eni = %id, %error, "flows of an ENI that is to go are not ended");
            }
        }
    }

    /// What the loads of ENIs tell.
    fn loads(&mut self, dataplane: &Dataplane) -> Vec<Event> {
        let mut events = Vec::new();
        let mut idle = BTreeMap::new();
        for load in dataplane.eni_loads() {
            let Some(eni) = self.state.get::<Interface>(load.name) else {
                continue;
            };
            let id = eni.network_interface_id.clone();
            let Some(hyperplane) = &eni.hyperplane else {
                continue;
            };
            let is_high = load.connections >= load.high_water.into();
            let network_interface_id = id.clone();
            match (hyperplane.high_water, is_high) {
                (false, true) => events.push(Event::EniHighWater {
                    network_interface_id,
                }),
                (true, false) => events.push(Event::EniLowWater {
                    network_interface_id,
                }),
                _ => {}
            }
            if load.connections == 0 && hyperplane.phase == EniPhase::Active {
                let passes = self.idle.get(&id).map_or(1, |passes| passes + 1);
                if passes >= IDLE_PASSES {
                    events.push(Event::EniIdle {
                        network_interface_id: id.clone(),
                    });
                }
                idle.insert(id, passes);
            }
        }
        self.idle = idle;
        events
    }

    /// What has become of the ENIs that the data plane had to learn or to forget.
    fn settled(&self, dataplane: &Dataplane) -> Vec<Event> {
        let event = |id: &Id| {
            let eni = self.state.get::<Interface>(id.as_str())?;
            let hyperplane = eni.hyperplane.as_ref()?;
            let network_interface_id = id.clone();
            match hyperplane.phase {
                EniPhase::Programming => dataplane
                    .serves(hyperplane.eni_group.as_str(), id.as_str())
                    .then_some(Event::EniProgrammed {
                        network_interface_id,
                    }),
                EniPhase::Draining => {
                    (!dataplane.knows_eni(id.as_str())).then_some(Event::EniForgotten {
                        network_interface_id,
                    })
                }
                EniPhase::Active | EniPhase::Released => None,
            }
        };
        self.unsettled.iter().filter_map(event).collect()
    }

    /// Takes note of events, and follows them.
    fn report(&mut self, dataplane: &mut Dataplane, events: Vec<Event>) {
        if let Some(changes) = self.note(events) {
            self.follow(dataplane, changes);
        }
    }

    /// Decides on events. One that is refused, or cannot be kept, is told of again by the
    /// next pass.
    fn note(&mut self, events: Vec<Event>) -> Option<Vec<Change>> {
        if events.is_empty() {
            return None;
        }
        let noted = self.decide(Account::DEFAULT, |transaction, context| {
            for event in events {
                // What happens to an environment happens to its account.
                if let Event::DetachEnvironment { environment_id } = &event
                    && let Some(of) = transaction.get::<Environment>(environment_id.as_str())
                {
                    context.caller = Caller::root(of.owner_id);
                }
                let command = Command::Life(event);
                if let Err(error) = control::decide(transaction, &command, context) {
                    tracing::debug!(?command, %error, "an event came too late");
                }
            }
            Ok(())
        });
        match noted {
            Ok(((), changes)) => Some(changes),
            Err(error) => {
                tracing::warn!(%error, "what happened is not kept yet");
                None
            }
        }
    }

    /// Brings the data plane after changes, and takes note of what comes of it.
    fn follow(&mut self, dataplane: &mut Dataplane, mut changes: Vec<Change>) {
        for _ in 0..ROUNDS {
            if changes.is_empty() {
                return;
            }
            self.desired.update(&self.state, &changes);
            self.bring(dataplane, &changes);
            let events = self.settled(dataplane);
            changes = self.note(events).unwrap_or_default();
        }
        // The next pass goes on.
        self.pass_due = true;
    }

    fn bring(&mut self, dataplane: &mut Dataplane, changes: &[Change]) {
        let mut concerned = Concerned::default();
        for change in changes {
            concerned.add(change);
        }
        self.enter(changes);
        self.flow_logs_changed |= flow_logs::have_changed(changes);
        for (id, is_unsettled) in concerned.enis {
            if is_unsettled {
                self.unsettled.insert(id);
            } else {
                self.unsettled.remove(&id);
            }
        }
        if concerned.network {
            let applied = dataplane.apply_groups(self.desired.config(), &concerned.groups);
            for obstacle in applied.obstacles() {
                tracing::warn!(%obstacle, "not applied");
            }
        }
        self.pass_due |= concerned.takes_away;
        let moves: Vec<Move> = concerned
            .moved
            .iter()
            .filter_map(|name| self.one_move(dataplane, name))
            .collect();
        self.make_moves(dataplane, &moves);
        for name in concerned.gone {
            if dataplane.group_of(name.as_str()).is_some()
                && let Err(error) = dataplane.detach(&name)
            {
                tracing::warn!(%error, "an environment stays for now");
            }
        }
    }
}

/// Whether something may be due earlier after changes: an environment that comes keeps
/// things from becoming due, if anything.
fn brings_forward(changes: &[Change]) -> bool {
    let is_attached = |change: &Change| matches!(change.after, Some(Record::Environment(_)));
    !changes.iter().all(is_attached)
}

/// Who asks, when, and with what to draw ids from.
fn context(settings: &Settings, account: Account) -> Result<Context, ControlError> {
    let mut seed = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut seed)?;
    Ok(Context {
        now: now(),
        caller: Caller::root(account),
        entropy: Entropy::new(u128::from_ne_bytes(seed)),
        settings: settings.clone(),
    })
}

/// The moment, by the host's clock.
fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Time(since.map_or(0, |since| since.as_millis() as u64))
}
