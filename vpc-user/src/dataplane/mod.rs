//! The data plane as the agent holds it: tables, programs, links, and the
//! threads that serve them. Nothing in here knows of sockets or command lines.
//!
//! [`Dataplane`] has one owner, a thread of its own. The sweep, the packets that
//! the kernel hands over and the records it sends have threads beside it, which
//! share with it only mapped tables, handles on programs and counters.

mod apply;
mod bpf;
mod cause;
mod clock;
mod counters;
mod environments;
mod ethtool;
mod events;
mod holding;
mod listing;
mod lock;
mod mapped;
mod mirror;
mod names;
mod neighbours;
mod netlink;
mod netns;
mod object;
mod packet;
mod peer;
mod plan;
mod port;
mod programs;
mod punt;
mod spec;
mod sweep;
mod tables;

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Instant,
};

use vpc_common::layout::{Limits, Link, program};

pub use self::{
    apply::Applied,
    counters::Counters,
    environments::AttachError,
    events::{FlowSink, Totals},
    lock::{LockError, PinLock},
    netlink::{LinkChange, LinkMonitor},
    object::StartError,
    peer::PeerError,
    plan::{Plan, Problem, Step},
    port::PortError,
    programs::ProgramsError,
};
use self::{
    cause::Cause,
    environments::restore_peer,
    mirror::{Environments, Mirror},
    netlink::Netlink,
    packet::FrameSocket,
    programs::{Hook, Programs},
    tables::Tables,
};
use crate::model::Config;

/// Why the data plane cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The tables.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The programs.
    #[error(transparent)]
    Programs(#[from] ProgramsError),
    /// Another agent.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The tables cannot be read.
    #[error("the tables under {dir} cannot be read ({}): run the agent as root", Cause(.source))]
    Read {
        /// The folder of pins.
        dir: PathBuf,
        /// Why.
        source: aya::maps::MapError,
    },
    /// A socket cannot be opened.
    #[error("a {what} socket cannot be opened ({source}): run the agent as root")]
    Socket {
        /// Which kind.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// Tables, programs and links of one host.
pub struct Dataplane {
    pin_dir: PathBuf,
    limits: Limits,
    tables: Tables,
    programs: Programs,
    mirror: Mirror,
    environments: Environments,
    netlink: Netlink,
    frames: FrameSocket,
    counters: Arc<Counters>,
    /// Tells the sweep that an environment was detached.
    purge: Arc<AtomicBool>,
    started: Instant,
    adopted: bool,
    _lock: PinLock,
}

impl Dataplane {
    /// Makes the tables, or adopts those that are pinned together with their
    /// links: every link then runs the programs of this release.
    pub fn open(pin_dir: &Path, limits: &Limits) -> Result<Self, OpenError> {
        object::make_folders(pin_dir)?;
        let lock = PinLock::take(pin_dir)?;
        let object = object::open(pin_dir, limits)?;
        let adopted = object.adopted;
        let opened = Self::assemble(pin_dir, limits, object, lock);
        if opened.is_err() && !adopted {
            // Nothing hangs on tables that were made a moment ago.
            object::remove_pins(&pin_dir.join(object::MAPS))?;
        }
        opened
    }

    fn assemble(
        pin_dir: &Path,
        limits: &Limits,
        object: object::Object,
        lock: PinLock,
    ) -> Result<Self, OpenError> {
        let adopted = object.adopted;
        let programs = Programs::load(object.ebpf, pin_dir.join(object::LINKS))?;
        let tables = Tables::open(&pin_dir.join(object::MAPS), limits)?;
        let unreadable = |source| OpenError::Read {
            dir: pin_dir.into(),
            source,
        };
        let (mirror, environments) = mirror::read(&tables).map_err(unreadable)?;
        let socket = |what| move |source| OpenError::Socket { what, source };
        let mut dataplane = Self {
            pin_dir: pin_dir.into(),
            limits: *limits,
            tables,
            programs,
            mirror,
            environments,
            netlink: Netlink::open().map_err(socket("netlink"))?,
            frames: FrameSocket::open().map_err(socket("packet"))?,
            counters: Arc::default(),
            // Whatever was detached while no agent swept.
            purge: Arc::new(AtomicBool::new(true)),
            started: Instant::now(),
            adopted,
            _lock: lock,
        };
        dataplane.adopt_links();
        Ok(dataplane)
    }

    /// Whether the tables were found pinned.
    pub fn adopted(&self) -> bool {
        self.adopted
    }

    /// The agent's own counters.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// The uplink that an interface is, by index.
    pub fn uplink_of(&self, ifindex: u32) -> Option<u32> {
        let mut uplinks = self.mirror.uplinks.iter();
        uplinks
            .find(|(_, uplink)| uplink.value.ifindex == ifindex)
            .map(|(index, _)| *index)
    }

    /// Whether an uplink of the configuration is not up yet, so that any new
    /// interface may be the one it waits for.
    pub fn awaits_uplink(&self, config: &Config) -> bool {
        config.uplinks.iter().any(|uplink| {
            let index = self.mirror.uplink(uplink.name.as_str());
            index.is_none_or(|index| !self.mirror.attached_uplinks.contains(&index))
        })
    }

    /// Puts this release's programs into every link. An environment whose link or
    /// interface is gone, or that was attached by half, is detached; an uplink
    /// without a link is attached by the next pass.
    fn adopt_links(&mut self) {
        let pinned: BTreeSet<(Hook, u32)> = self.programs.pinned().into_iter().collect();
        let attached: Vec<u32> = self.environments.iter().map(|(index, _)| index).collect();
        for index in attached {
            let served = self.environments.get(index).is_some_and(|attached| {
                let link = Link {
                    kind: Link::ENVIRONMENT,
                    index,
                };
                self.mirror.links.get(&attached.value.ifindex) == Some(&link)
            });
            let has_link = pinned.contains(&(Hook::Environment, index));
            if served && has_link && self.adopt(Hook::Environment, index) {
                continue;
            }
            match self.detach_index(index) {
                Ok(info) => {
                    self.counters.environments_lost.one();
                    tracing::warn!(
                        environment = info.name,
                        interface = info.interface,
                        "its link did not survive; it was detached"
                    );
                }
                Err(error) => tracing::warn!(%error, "an environment without link stays for now"),
            }
        }
        for (hook, index) in &pinned {
            let known = match hook {
                Hook::Environment => self.environments.get(*index).is_some(),
                Hook::Uplink => self.mirror.uplinks.contains_key(index),
            };
            if !known {
                self.drop_link(*hook, *index);
            }
        }
        let uplinks: Vec<u32> = self.mirror.uplinks.keys().copied().collect();
        for index in uplinks {
            let hook = Hook::Uplink;
            if pinned.contains(&(hook, index)) && self.adopt(hook, index) {
                self.mirror.attached_uplinks.insert(index);
            } else {
                self.uplink_gone(index);
            }
        }
    }

    fn adopt(&mut self, hook: Hook, index: u32) -> bool {
        match self.programs.adopt(hook, index) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(?hook, index, %error, "a link cannot be adopted");
                false
            }
        }
    }

    fn drop_link(&self, hook: Hook, index: u32) {
        if let Err(error) = self.programs.detach(hook, index) {
            tracing::warn!(?hook, index, %error, "a left-over link cannot be removed");
        }
    }

    /// Starts the threads that serve the kernel programs.
    pub fn start_workers(&self, sink: Box<dyn FlowSink>) -> Result<Workers, OpenError> {
        let stop = Arc::new(AtomicBool::new(false));
        let maps = self.pin_dir.join(object::MAPS);
        let context = WorkerContext {
            stop: Arc::clone(&stop),
            shared: Arc::clone(&self.tables.shared),
            counters: Arc::clone(&self.counters),
            purge: Arc::clone(&self.purge),
        };
        let sweeper = sweep::Sweeper::new(&context, self.programs.runnable(program::SWEEP)?);
        let punts = punt::Punts::open(&context, &self.programs, &maps)?;
        let observer = events::Observer::open(&context, &maps, sink)?;
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new()
                .name(name.to_owned())
                .spawn(work)
                .map_err(|source| OpenError::Socket {
                    what: "thread, not a",
                    source,
                })
        };
        let mut workers = Workers {
            stop,
            threads: Vec::new(),
        };
        workers
            .threads
            .push(spawn("vpc-sweep", Box::new(move || sweeper.run()))?);
        workers
            .threads
            .push(spawn("vpc-punt", Box::new(move || punts.run()))?);
        workers
            .threads
            .push(spawn("vpc-events", Box::new(move || observer.run()))?);
        Ok(workers)
    }

    /// Removes everything: links, prepared far ends, tables, folders.
    pub fn teardown(self) -> Result<(), TeardownError> {
        let Self {
            pin_dir,
            mirror,
            environments,
            ..
        } = self;
        remove(&pin_dir, &mirror, &environments)
    }
}

/// What a configuration would change, without changing anything: neither tables
/// are made nor programs loaded, and a running agent is not disturbed.
pub fn dry_run(config: &Config) -> Result<Plan, OpenError> {
    let maps = config.pin_dir.join(object::MAPS);
    let (mut mirror, mut busy) = (Mirror::default(), BTreeSet::new());
    mirror.generations = vec![0; config.limits.enis as usize];
    if object::is_ready(&config.pin_dir, &config.limits)? {
        let tables = Tables::open(&maps, &config.limits)?;
        let unreadable = |source| OpenError::Read {
            dir: config.pin_dir.clone(),
            source,
        };
        mirror = mirror::read(&tables).map_err(unreadable)?.0;
        mirror.attached_uplinks = programs::pinned(&config.pin_dir.join(object::LINKS))
            .filter_map(|(hook, index)| (hook == Hook::Uplink).then_some(index))
            .collect();
        busy = tables.shared.busy_enis();
    }
    let mut netlink = Netlink::open().map_err(|source| OpenError::Socket {
        what: "netlink",
        source,
    })?;
    Ok(apply::compare(config, &mirror, &busy, &mut netlink))
}

/// What the threads share.
#[derive(Clone)]
struct WorkerContext {
    stop: Arc<AtomicBool>,
    shared: Arc<tables::SharedTables>,
    counters: Arc<Counters>,
    purge: Arc<AtomicBool>,
}

impl WorkerContext {
    fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }
}

/// The running threads. Dropping this leaves them running; see [`Workers::stop`].
pub struct Workers {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Ends the threads and waits for them: less than half a second.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Release);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the data plane had panicked");
            }
        }
    }
}

/// Why not everything was removed.
#[derive(Debug, thiserror::Error)]
pub enum TeardownError {
    /// An agent runs.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A link stays.
    #[error(transparent)]
    Programs(#[from] ProgramsError),
    /// A pin stays.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The folder stays.
    #[error("{path} cannot be removed ({source}): remove what else is in it, as root")]
    Io {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Removes what an agent left running under `pin_dir`. Fine if there is nothing.
/// Works on tables of any layout; far ends of veths are restored if the tables
/// can be read.
pub fn teardown(pin_dir: &Path) -> Result<(), TeardownError> {
    if !pin_dir.exists() {
        return Ok(());
    }
    let _lock = PinLock::take(pin_dir)?;
    let tables = match object::read_meta(pin_dir) {
        Ok(Some(meta)) => Tables::open(&pin_dir.join(object::MAPS), &meta.limits).ok(),
        _ => None,
    };
    let (mirror, environments) = tables
        .and_then(|tables| mirror::read(&tables).ok())
        .unwrap_or_default();
    remove(pin_dir, &mirror, &environments)
}

fn remove(
    pin_dir: &Path,
    mirror: &Mirror,
    environments: &Environments,
) -> Result<(), TeardownError> {
    programs::detach_all(&pin_dir.join(object::LINKS))?;
    let peers = environments
        .iter()
        .filter_map(|(_, attached)| attached.peer.as_ref());
    for peer in peers.chain(mirror.uplink_peers.values()) {
        restore_peer(peer);
    }
    object::remove_pins(&pin_dir.join(object::MAPS))?;
    for dir in [
        pin_dir.join(object::LINKS),
        pin_dir.join(object::MAPS),
        pin_dir.into(),
    ] {
        match std::fs::remove_dir(&dir) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(TeardownError::Io { path: dir, source });
            }
            _ => {}
        }
    }
    Ok(())
}

/// Name of an interface; empty if there is none of that number.
fn interface_name(ifindex: u32) -> String {
    let mut name = [0; libc::IFNAMSIZ];
    // SAFETY: the buffer has the size that the call demands.
    let found = unsafe { libc::if_indextoname(ifindex, name.as_mut_ptr()) };
    if found.is_null() {
        return String::new();
    }
    let bytes: Vec<u8> = name.iter().map(|byte| *byte as u8).collect();
    names::text(&bytes)
}
