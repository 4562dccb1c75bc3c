//! The kernel programs and the links that keep them running without an agent.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use aya::{
    Ebpf,
    programs::{
        LinkOrder, ProgramError, RawTracePoint, SchedClassifier, TcAttachType, Xdp, XdpMode,
        links::{FdLink, LinkError, PinnedLink},
        tc::{SchedClassifierLink, TcAttachOptions, TcError},
        xdp::XdpLink,
    },
};
use vpc_common::layout::program;

use super::{
    bpf::{self, Runnable},
    cause::Cause,
    filters::remove_filter,
    helper,
    ingress::{Filters, Found},
    pins::{self, Attachment, Filter, Pin},
};
use crate::model::{Hook, TcAttachment};

pub use super::pins::LinkKind;

/// The program that handles the packets of a link at a hook.
pub const fn program_of(kind: LinkKind, hook: Hook) -> &'static str {
    match (kind, hook) {
        (LinkKind::Environment, Hook::Xdp) => program::FROM_ENVIRONMENT,
        (LinkKind::Environment, Hook::Tc) => program::TC_FROM_ENVIRONMENT,
        (LinkKind::Uplink, Hook::Xdp) => program::FROM_UPLINK,
        (LinkKind::Uplink, Hook::Tc) => program::TC_FROM_UPLINK,
    }
}

/// Bytes of a program's name that the kernel keeps.
const NAME_KEPT: usize = 15;

/// Why a program or link could not be handled.
#[derive(Debug, thiserror::Error)]
pub enum ProgramsError {
    /// The object lacks a program.
    #[error("the kernel object has no program {0}: build agent and object together")]
    Missing(&'static str),
    /// The kernel refused a program.
    #[error(
        "the kernel refused the program {name} ({reason}): Linux 6.1 or later is needed; \
         VPC_LOG=debug shows what the verifier says"
    )]
    Load {
        /// Its name.
        name: &'static str,
        /// Why, without the verifier's thousands of lines.
        reason: String,
    },
    /// The kernel refused to attach or to replace.
    #[error("the kernel refused: {}", Cause(.0))]
    Attach(#[from] Box<ProgramError>),
    /// A link is none.
    #[error("the pinned link cannot be used: {}", Cause(.0))]
    Link(#[from] Box<LinkError>),
    /// A filter or its qdisc cannot be made, changed or removed.
    #[error("the kernel refused a filter of the ingress qdisc: {0}")]
    Filter(#[from] io::Error),
    /// There is no TCX.
    #[error("this kernel has no TCX")]
    NoTcx,
    /// Another agent's program is where this one's is to be.
    #[error("the TC program of another agent is there")]
    OtherAgent,
    /// Somebody else's filter is where this one's is to be.
    #[error("a filter of another kind has the agent's priority")]
    ForeignFilter,
    /// A pin cannot be made or removed.
    #[error("the pin {path} cannot be made or removed ({})", Cause(.source.as_ref()))]
    Pin {
        /// The pin.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl ProgramsError {
    /// The kernel's error number, if it gave one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Attach(error) => match &**error {
                ProgramError::SyscallError(error) => error.io_error.raw_os_error(),
                ProgramError::TcError(TcError::IoError(error)) => error.raw_os_error(),
                _ => None,
            },
            Self::Link(error) => match &**error {
                LinkError::SyscallError(error) => error.io_error.raw_os_error(),
                LinkError::InvalidLink | LinkError::UnknownLinkType(_) => None,
            },
            Self::Filter(error) => error.raw_os_error(),
            Self::Missing(_)
            | Self::Load { .. }
            | Self::NoTcx
            | Self::OtherAgent
            | Self::ForeignFilter
            | Self::Pin { .. } => None,
        }
    }
}

/// The loaded programs, and where they run.
pub struct Programs {
    pub(super) ebpf: Ebpf,
    /// Numbers of the TC programs, which tell this agent's filters from others'.
    pub(super) own: BTreeMap<LinkKind, u32>,
    pub(super) links: PathBuf,
    /// How new TC programs are attached.
    tc: TcAttachment,
    pub(super) filters: Filters,
    /// What is pinned: this is the only writer of the folder.
    pub(super) pins: BTreeSet<Pin>,
    /// The folder was there when it was looked for last.
    has_folder: bool,
}

impl Programs {
    /// Loads every program; links are pinned in the folder `links`.
    pub fn load(mut ebpf: Ebpf, links: PathBuf, tc: TcAttachment) -> Result<Self, ProgramsError> {
        let refused = |name| move |error| refusal(name, &error);
        let mut own = BTreeMap::new();
        for kind in LinkKind::ALL {
            let name = program_of(kind, Hook::Xdp);
            xdp(&mut ebpf, kind)?.load().map_err(refused(name))?;
            let name = program_of(kind, Hook::Tc);
            let program = classifier(&mut ebpf, kind)?;
            program.load().map_err(refused(name))?;
            own.insert(kind, program.info().map_err(refused(name))?.id());
        }
        for name in [program::SWEEP, program::COUNT_DROP] {
            let found = ebpf.program_mut(name).ok_or(ProgramsError::Missing(name))?;
            let found: &mut RawTracePoint = found.try_into().map_err(refused(name))?;
            found.load().map_err(refused(name))?;
        }
        #[cfg(feature = "trace")]
        trace(&mut ebpf);
        let pins = pinned(&links).collect();
        Ok(Self {
            ebpf,
            own,
            links,
            tc,
            filters: Filters::open()?,
            pins,
            has_folder: true,
        })
    }

    /// Whether the folder of links has gone since it was looked for last; not again until it
    /// was back.
    pub fn has_lost_folder(&mut self) -> bool {
        let had = std::mem::replace(&mut self.has_folder, self.links.exists());
        had && !self.has_folder
    }

    /// Whether the folder of links was there when it was looked for last.
    pub const fn has_folder(&self) -> bool {
        self.has_folder
    }

    /// How TC programs are attached from now on.
    pub fn attach_as(&mut self, tc: TcAttachment) {
        self.tc = tc;
    }

    /// A handle by which any thread can run a program.
    pub fn runnable(&self, name: &'static str) -> Result<Runnable, ProgramsError> {
        let refused = |error| refusal(name, &error);
        let found = self
            .ebpf
            .program(name)
            .ok_or(ProgramsError::Missing(name))?;
        Runnable::new(found.fd().map_err(refused)?)
            .map_err(|error| refused(ProgramError::IOError(error)))
    }

    /// The links that a program of a hook runs on.
    pub fn running(&self) -> BTreeSet<(LinkKind, u32, Hook)> {
        let link = |pin: &Pin| (pin.kind, pin.index, pin.hook());
        self.pins.iter().map(link).collect()
    }

    /// Runs a hook's program on an interface and pins it there. XDP runs natively; TC
    /// runs before what others attach.
    pub fn attach(
        &mut self,
        kind: LinkKind,
        index: u32,
        hook: Hook,
        ifindex: u32,
    ) -> Result<(), ProgramsError> {
        let attachment = match hook {
            Hook::Xdp => self.attach_xdp(kind, index, ifindex)?,
            Hook::Tc => self.attach_tc(kind, index, ifindex)?,
        };
        self.pins.insert(Pin {
            kind,
            index,
            attachment,
        });
        Ok(())
    }

    /// Left to the agent, the kind of link decides: the kernel makes a TCX link in 10 ms,
    /// for which it waits for every CPU with all interfaces locked, and a filter in a
    /// tenth of one. Environments come and go by the thousand; uplinks stay.
    fn attach_tc(
        &mut self,
        kind: LinkKind,
        index: u32,
        ifindex: u32,
    ) -> Result<Attachment, ProgramsError> {
        match (self.tc, kind) {
            (TcAttachment::Tcx, _) => self.attach_tcx(kind, index, ifindex),
            (TcAttachment::Filter, _) => self.attach_filter(kind, index, ifindex),
            (TcAttachment::Auto, LinkKind::Environment) => {
                match self.attach_filter(kind, index, ifindex) {
                    Err(error) if error.errno() == Some(libc::ENOENT) => {
                        // A kernel without this qdisc or kind of filter.
                        self.attach_tcx(kind, index, ifindex)
                    }
                    attached => attached,
                }
            }
            (TcAttachment::Auto, LinkKind::Uplink) => match self.attach_tcx(kind, index, ifindex) {
                Err(ProgramsError::NoTcx) => self.attach_filter(kind, index, ifindex),
                attached => attached,
            },
        }
    }

    fn attach_xdp(
        &mut self,
        kind: LinkKind,
        index: u32,
        ifindex: u32,
    ) -> Result<Attachment, ProgramsError> {
        let program = xdp(&mut self.ebpf, kind)?;
        let id = program
            .attach_to_if_index(ifindex, XdpMode::Driver)
            .map_err(Box::new)?;
        let link = program.take_link(id).map_err(Box::new)?;
        let link = FdLink::try_from(link).map_err(Box::new)?;
        self.pin_link(link, kind, index, Attachment::Xdp)
    }

    fn attach_tcx(
        &mut self,
        kind: LinkKind,
        index: u32,
        ifindex: u32,
    ) -> Result<Attachment, ProgramsError> {
        if self.filters.find(ifindex)? != Found::Nothing || tcx_runs_there(ifindex) {
            return Err(ProgramsError::OtherAgent);
        }
        let interface = super::interface_name(ifindex);
        let program = classifier(&mut self.ebpf, kind)?;
        let first = TcAttachOptions::TcxOrder(LinkOrder::first());
        let attached = program.attach_with_options(&interface, TcAttachType::Ingress, first);
        let id = match attached.map_err(|error| ProgramsError::from(Box::new(error))) {
            // Linux before 6.6 does not know this kind of link.
            Err(error) if error.errno() == Some(libc::EINVAL) => {
                return Err(ProgramsError::NoTcx);
            }
            other => other?,
        };
        let link = program.take_link(id).map_err(Box::new)?;
        let link = FdLink::try_from(link).map_err(Box::new)?;
        self.pin_link(link, kind, index, Attachment::Tcx)
    }

    fn pin_link(
        &self,
        link: FdLink,
        kind: LinkKind,
        index: u32,
        attachment: Attachment,
    ) -> Result<Attachment, ProgramsError> {
        let pin = Pin {
            kind,
            index,
            attachment,
        };
        let path = self.links.join(pin.name());
        match link.pin(&path) {
            // The descriptor closes here; the pin keeps the link.
            Ok(_) => Ok(attachment),
            Err(error) => Err(ProgramsError::Pin {
                path,
                source: Box::new(error),
            }),
        }
    }

    /// Puts this object's program where its predecessor runs, in one step.
    pub fn adopt(&mut self, kind: LinkKind, index: u32, hook: Hook) -> Result<(), ProgramsError> {
        let (mut links, mut filters) = (Vec::new(), Vec::new());
        for pin in self.pins_of(kind, index, hook) {
            match pin.attachment {
                Attachment::Xdp | Attachment::Tcx => links.push(pin),
                Attachment::Filter(filter) => filters.push((pin, filter)),
            }
        }
        for pin in links {
            self.adopt_link(pin)?;
        }
        self.adopt_filter(&filters)
    }

    fn adopt_link(&mut self, pin: Pin) -> Result<(), ProgramsError> {
        let path = self.links.join(pin.name());
        let link: FdLink = PinnedLink::from_pin(path).map_err(Box::new)?.into();
        // Dropping the link closes the descriptor; the pin keeps the link.
        let taken = match pin.hook() {
            Hook::Xdp => {
                let link = XdpLink::try_from(link).map_err(Box::new)?;
                let program = xdp(&mut self.ebpf, pin.kind)?;
                let id = program.attach_to_link(link).map_err(Box::new)?;
                program.take_link(id).map(drop)
            }
            Hook::Tc => {
                let link = SchedClassifierLink::try_from(link).map_err(Box::new)?;
                let program = classifier(&mut self.ebpf, pin.kind)?;
                let id = program.attach_to_link(link).map_err(Box::new)?;
                program.take_link(id).map(drop)
            }
        };
        taken.map_err(|error| Box::new(error).into())
    }

    /// Whether the TC program of a link runs on an interface.
    pub fn runs(&mut self, kind: LinkKind, index: u32, ifindex: u32) -> bool {
        let mut pins = self.pins_of(kind, index, Hook::Tc).into_iter();
        pins.any(|pin| match pin.attachment {
            Attachment::Filter(filter) => {
                filter.ifindex == ifindex
                    && match self.filters.find(ifindex) {
                        Ok(Found::Program(id)) => self.is_ours(pin, id),
                        Ok(Found::Nothing) | Err(_) => false,
                    }
            }
            Attachment::Tcx => tcx_runs_there(ifindex),
            Attachment::Xdp => false,
        })
    }

    /// Takes a hook's program off its interface, at once. Fine if it is off already.
    pub fn detach(&mut self, kind: LinkKind, index: u32, hook: Hook) -> Result<(), ProgramsError> {
        let own = self.own.get(&kind).copied();
        for pin in self.pins_of(kind, index, hook) {
            remove(&mut self.filters, &self.links, &pin.name(), own)?;
            self.pins.remove(&pin);
        }
        Ok(())
    }

    pub(super) fn pins_of(&self, kind: LinkKind, index: u32, hook: Hook) -> Vec<Pin> {
        let all = |attachment| Pin {
            kind,
            index,
            attachment,
        };
        let last = Filter {
            ifindex: u32::MAX,
            qdisc: true,
            next: true,
        };
        let range = all(Attachment::Xdp)..=all(Attachment::Filter(last));
        let pins = self.pins.range(range).copied();
        pins.filter(|pin| pin.hook() == hook).collect()
    }
}

fn xdp(ebpf: &mut Ebpf, kind: LinkKind) -> Result<&mut Xdp, ProgramsError> {
    let name = program_of(kind, Hook::Xdp);
    let found = ebpf.program_mut(name).ok_or(ProgramsError::Missing(name))?;
    found.try_into().map_err(|error| refusal(name, &error))
}

/// The TC program of a kind of link.
pub(super) fn classifier(
    ebpf: &mut Ebpf,
    kind: LinkKind,
) -> Result<&mut SchedClassifier, ProgramsError> {
    let name = program_of(kind, Hook::Tc);
    let found = ebpf.program_mut(name).ok_or(ProgramsError::Missing(name))?;
    found.try_into().map_err(|error| refusal(name, &error))
}

fn refusal(name: &'static str, error: &ProgramError) -> ProgramsError {
    let reason = match error {
        ProgramError::LoadError {
            io_error,
            verifier_log,
        } => {
            tracing::debug!(name, %verifier_log, "the verifier's reasons");
            io_error.to_string()
        }
        other => Cause(other).to_string(),
    };
    ProgramsError::Load { name, reason }
}

/// Whether an agent's TC program runs on an interface by a TCX link: two of them would see
/// each other's packets.
pub(super) fn tcx_runs_there(ifindex: u32) -> bool {
    let Ok(programs) = bpf::tcx_programs(ifindex) else {
        // There is no TCX, or no such interface: attaching will tell.
        return false;
    };
    let is_agents = |name: &str| {
        LinkKind::ALL.iter().any(|kind| {
            let whole = program_of(*kind, Hook::Tc);
            name == &whole[..whole.len().min(NAME_KEPT)]
        })
    };
    let mut names = programs.iter().map(|id| helper::program_name(*id));
    // One that is gone by now is nobody's.
    names.any(|name| name.is_ok_and(|name| is_agents(&name)))
}

/// What is pinned in a folder.
pub fn pinned(links: &Path) -> impl Iterator<Item = Pin> {
    pins::names(links).filter_map(|name| Pin::parse(&name))
}

/// Detaches and unpins whatever is in a folder, XDP before the TC behind it.
pub fn detach_all(links: &Path) -> Result<(), ProgramsError> {
    let mut names: Vec<String> = pins::names(links).collect();
    names.sort_by_key(|name| Pin::parse(name));
    let mut filters = Filters::open()?;
    let mut names = names.iter();
    names.try_for_each(|name| remove(&mut filters, links, name, None))
}

/// Takes the program of a pin off its interface, and the pin away. `own` is the program that
/// this agent puts on filters of the kind: it is known even if somebody took the pin away.
pub(super) fn remove(
    filters: &mut Filters,
    links: &Path,
    name: &str,
    own: Option<u32>,
) -> Result<(), ProgramsError> {
    let path = links.join(name);
    match Pin::parse(name).map(|pin| pin.attachment) {
        Some(Attachment::Filter(filter)) => remove_filter(filters, &path, filter, own)?,
        // Also the link of another release, whatever that calls it.
        Some(Attachment::Xdp | Attachment::Tcx) | None => match bpf::detach_link(&path) {
            Ok(()) => {}
            // No pin, or no interface behind the link any more.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOLINK)) => {}
            Err(error) => {
                return Err(ProgramsError::Pin {
                    path,
                    source: error.into(),
                });
            }
        },
    }
    unlink(&path)
}

/// Removes a pin. Fine if there is none.
pub(super) fn unlink(path: &Path) -> Result<(), ProgramsError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(ProgramsError::Pin {
            path: path.into(),
            source: error.into(),
        }),
        _ => Ok(()),
    }
}

/// Carries the programs' records into the agent's log, from a thread that ends with
/// the process.
#[cfg(feature = "trace")]
fn trace(ebpf: &mut Ebpf) {
    let mut logger = match aya_log::EbpfLogger::init(ebpf) {
        Ok(logger) => logger,
        Err(error) => {
            tracing::warn!(%error, "the programs' records cannot be read");
            return;
        }
    };
    std::thread::spawn(move || {
        loop {
            logger.flush();
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    });
}
