//! The data plane as the agent holds it: tables, programs, links, and the
//! threads that serve them. Nothing in here knows of sockets or command lines.
//!
//! [`Dataplane`] has one owner, a thread of its own. The sweep, the packets that
//! the kernel hands over and the records it sends have threads beside it, which
//! share with it only mapped tables, handles on programs and counters.

mod apply;
mod arena;
mod audit;
mod bpf;
mod cause;
pub(crate) mod clock;
mod counters;
mod departures;
mod enis;
mod entries;
mod environments;
mod ethtool;
mod events;
mod exhaustion;
mod explain;
mod features;
mod filters;
mod flow_hash;
mod front;
mod grace;
mod helper;
mod holding;
mod hook;
mod hooks;
mod images;
mod ingress;
mod listing;
mod live;
mod lock;
mod mapped;
mod mirror;
mod moves;
mod names;
mod neighbours;
pub(crate) mod netlink;
pub(crate) mod netns;
mod note;
mod object;
mod offload;
mod packet;
mod peer;
mod pins;
mod plan;
mod policies;
mod port;
mod presence;
mod programs;
mod punt;
mod question;
mod refusals;
mod request;
mod ring;
mod skb;
mod spec;
mod start_error;
mod step;
mod sweep;
mod tables;
mod teardown;
mod uplinks;
mod verify;
mod workers;

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
    time::Instant,
};

use vpc_common::layout::Limits;

pub use self::{
    apply::Applied,
    counters::Counters,
    enis::EniLoad,
    events::{Discard, FlowSink, HighWater, SinkError, warn_of_high_water},
    exhaustion::Exhaustion,
    helper::start as start_helper,
    images::Images,
    listing::protocol_label,
    live::LiveFlows,
    lock::{LockError, PinLock},
    moves::Move,
    netlink::{LinkChange, LinkMonitor},
    peer::PeerError,
    port::PortError,
    programs::ProgramsError,
    refusals::RefusalRecord,
    request::AttachError,
    ring::Batch,
    skb::skb_layout,
    start_error::StartError,
    step::{Plan, Problem, Step},
    teardown::{TeardownError, teardown},
    verify::check_programs,
    workers::Workers,
};
use self::{
    cause::Cause,
    departures::Departures,
    mirror::{Environments, Mirror},
    netlink::Netlink,
    packet::FrameSocket,
    policies::Policies,
    programs::{LinkKind, Programs},
    tables::Tables,
};
use crate::{
    flowlog::Directory,
    model::{Config, Hook, TcAttachment},
};

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

fn no_maps_of_maps(source: io::Error) -> OpenError {
    OpenError::Socket {
        what: "map of maps, not a",
        source,
    }
}

/// Tables, programs and links of one host.
pub struct Dataplane {
    pin_dir: PathBuf,
    limits: Limits,
    tables: Tables,
    programs: Programs,
    mirror: Mirror,
    policies: Policies,
    images: Images,
    environments: Environments,
    netlink: Netlink,
    frames: FrameSocket,
    counters: Arc<Counters>,
    /// Tells the sweep that an environment was detached.
    purge: Arc<AtomicBool>,
    departures: Departures,
    started: Instant,
    /// Environments whose interface went away.
    lost: Vec<String>,
    /// What indices stand for, for whoever reads records.
    directory: Directory,
    adopted: bool,
    _lock: PinLock,
}

impl Dataplane {
    /// Makes the folder of pins and keeps other agents out of it.
    pub fn lock(pin_dir: &Path) -> Result<PinLock, OpenError> {
        object::make_folders(pin_dir)?;
        Ok(PinLock::take(pin_dir)?)
    }

    /// Locks the folder of pins, and opens the data plane in it.
    pub fn open(
        pin_dir: &Path,
        limits: &Limits,
        tc: TcAttachment,
        directory: Directory,
    ) -> Result<Self, OpenError> {
        let lock = Self::lock(pin_dir)?;
        Self::open_locked(pin_dir, limits, tc, directory, lock)
    }

    /// Makes the tables, or adopts those that are pinned together with their
    /// links: every link then runs the programs of this release. New TC programs are
    /// attached as `tc` says. `directory` is told what indices stand for.
    pub fn open_locked(
        pin_dir: &Path,
        limits: &Limits,
        tc: TcAttachment,
        directory: Directory,
        lock: PinLock,
    ) -> Result<Self, OpenError> {
        let object = object::open(pin_dir, limits)?;
        let adopted = object.adopted;
        let opened = Self::assemble(pin_dir, limits, tc, directory, object, lock);
        if opened.is_err() && !adopted {
            // Nothing hangs on tables that were made a moment ago.
            object::remove_pins(&pin_dir.join(object::MAPS))?;
        }
        opened
    }

    fn assemble(
        pin_dir: &Path,
        limits: &Limits,
        tc: TcAttachment,
        directory: Directory,
        object: object::Object,
        lock: PinLock,
    ) -> Result<Self, OpenError> {
        let adopted = object.adopted;
        let programs = Programs::load(object.ebpf, pin_dir.join(object::LINKS), tc)?;
        let tables = Tables::open(&pin_dir.join(object::MAPS), limits)?;
        let unreadable = |source| OpenError::Read {
            dir: pin_dir.into(),
            source,
        };
        let (mut mirror, mut environments) = mirror::read(&tables).map_err(unreadable)?;
        environments.name_interfaces(interface_name);
        let policies = Policies::adopt(&tables.shared, &mut mirror);
        let policies = policies.map_err(no_maps_of_maps)?;
        let socket = |what| move |source| OpenError::Socket { what, source };
        let mut dataplane = Self {
            pin_dir: pin_dir.into(),
            limits: *limits,
            tables,
            programs,
            mirror,
            policies,
            images: Images::default(),
            environments,
            netlink: Netlink::open().map_err(socket("netlink"))?,
            frames: FrameSocket::open().map_err(socket("packet"))?,
            counters: Arc::default(),
            // Whatever was detached while no agent swept.
            purge: Arc::new(AtomicBool::new(true)),
            departures: Departures::default(),
            started: Instant::now(),
            lost: Vec::new(),
            directory,
            adopted,
            _lock: lock,
        };
        // Before anything is found gone: records of it may be in the ring.
        dataplane.enter_all();
        dataplane.adopt_links();
        // Nor may an environment that the agent before detached be known any more.
        dataplane.policies.wait().map_err(no_maps_of_maps)?;
        if let Err(error) = dataplane.clear_left() {
            tracing::warn!(%error, "what an agent left by half stays for now");
        }
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
        // Asked for every change of every interface: a count has to do, and one that
        // uplinks on their way out hide is found by the next full pass.
        self.mirror.attached_uplinks.len() < config.uplinks.len()
    }

    /// Puts this release's programs into every link. An environment whose TC program
    /// or interface is gone, or that was attached by half, is detached; an uplink
    /// without its TC program is attached by the next pass.
    fn adopt_links(&mut self) {
        let running = self.programs.running();
        let attached: Vec<u32> = self.environments.iter().map(|(index, _)| index).collect();
        for index in attached {
            let link = (LinkKind::Environment, index);
            // Before its filter is made anew, which would be on whatever has the number now.
            let is_there = self.is_there(LinkKind::Environment, index);
            let runs = is_there && self.is_served(index) && self.adopt(&running, link, Hook::Tc);
            if !runs {
                self.lose(index, "its link did not survive");
                continue;
            }
            let runs_xdp = self.adopt(&running, link, Hook::Xdp);
            self.settle(index, runs_xdp);
        }
        let uplinks: Vec<u32> = self.mirror.uplinks.keys().copied().collect();
        for index in uplinks {
            let link = (LinkKind::Uplink, index);
            let is_there = self.is_there(LinkKind::Uplink, index);
            if !is_there || !self.adopt(&running, link, Hook::Tc) {
                self.uplink_gone(index);
                continue;
            }
            self.mirror.attached_uplinks.insert(index);
            let runs_xdp = self.adopt(&running, link, Hook::Xdp);
            self.settle_uplink(index, runs_xdp);
        }
        for (kind, index, hook) in running {
            let known = match kind {
                LinkKind::Environment => self.environments.get(index).is_some(),
                LinkKind::Uplink => self.mirror.uplinks.contains_key(&index),
            };
            if !known && let Err(error) = self.programs.detach(kind, index, hook) {
                tracing::warn!(?kind, index, %error, "a left-over link cannot be removed");
            }
        }
    }

    /// Whether this release's program of a hook runs on a link now.
    fn adopt(
        &mut self,
        running: &BTreeSet<(LinkKind, u32, Hook)>,
        (kind, index): (LinkKind, u32),
        hook: Hook,
    ) -> bool {
        if !running.contains(&(kind, index, hook)) {
            return false;
        }
        let adopted = self.programs.adopt(kind, index, hook);
        if let Err(error) = &adopted {
            tracing::warn!(?kind, index, %hook, %error, "a link cannot be adopted");
        }
        adopted.is_ok()
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
        // What is not known to be in force shows as a step.
        let _ = Policies::adopt(&tables.shared, &mut mirror);
        mirror.attached_uplinks = programs::pinned(&config.pin_dir.join(object::LINKS))
            .filter(|pin| pin.kind == LinkKind::Uplink && pin.hook() == Hook::Tc)
            .map(|pin| pin.index)
            .collect();
        busy = tables.shared.busy_enis();
    }
    let mut netlink = Netlink::open().map_err(|source| OpenError::Socket {
        what: "netlink",
        source,
    })?;
    let mut images = Images::default();
    Ok(apply::compare(
        config,
        &mirror,
        &mut images,
        &busy,
        &mut netlink,
    ))
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
