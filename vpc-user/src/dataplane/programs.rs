//! The kernel programs and the links that keep them running without an agent.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use aya::{
    Ebpf,
    programs::{
        ProgramError, RawTracePoint, Xdp, XdpMode,
        links::{FdLink, LinkError, PinnedLink},
        xdp::XdpLink,
    },
};
use vpc_common::layout::program;

use super::{
    bpf::{self, Runnable},
    cause::Cause,
};

/// Where a program runs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Hook {
    /// On an environment's interface.
    Environment,
    /// On an uplink's interface.
    Uplink,
}

impl Hook {
    const ALL: [Self; 2] = [Self::Environment, Self::Uplink];

    /// The program that runs there.
    pub const fn program(self) -> &'static str {
        match self {
            Self::Environment => program::FROM_ENVIRONMENT,
            Self::Uplink => program::FROM_UPLINK,
        }
    }

    const fn prefix(self) -> &'static str {
        match self {
            Self::Environment => "environment-",
            Self::Uplink => "uplink-",
        }
    }

    /// Name of the pin of a link.
    pub fn pin_name(self, index: u32) -> String {
        format!("{}{index}", self.prefix())
    }

    /// The inverse of [`Hook::pin_name`].
    pub fn parse(pin_name: &str) -> Option<(Self, u32)> {
        Self::ALL.into_iter().find_map(|hook| {
            let index = pin_name.strip_prefix(hook.prefix())?.parse().ok()?;
            Some((hook, index))
        })
    }
}

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
                _ => None,
            },
            Self::Link(error) => match &**error {
                LinkError::SyscallError(error) => error.io_error.raw_os_error(),
                LinkError::InvalidLink | LinkError::UnknownLinkType(_) => None,
            },
            Self::Missing(_) | Self::Load { .. } | Self::Pin { .. } => None,
        }
    }
}

/// The loaded programs.
pub struct Programs {
    ebpf: Ebpf,
    links: PathBuf,
}

impl Programs {
    /// Loads every program; links are pinned in the folder `links`.
    pub fn load(mut ebpf: Ebpf, links: PathBuf) -> Result<Self, ProgramsError> {
        let refused = |name| move |error| refusal(name, &error);
        for hook in Hook::ALL {
            xdp(&mut ebpf, hook)?
                .load()
                .map_err(refused(hook.program()))?;
        }
        for name in [program::SWEEP, program::COUNT_DROP] {
            let found = ebpf.program_mut(name).ok_or(ProgramsError::Missing(name))?;
            let found: &mut RawTracePoint = found.try_into().map_err(refused(name))?;
            found.load().map_err(refused(name))?;
        }
        #[cfg(feature = "trace")]
        trace(&mut ebpf);
        Ok(Self { ebpf, links })
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

    /// Runs a hook's program on an interface, natively, and pins the link.
    pub fn attach(&mut self, hook: Hook, index: u32, ifindex: u32) -> Result<(), ProgramsError> {
        let program = xdp(&mut self.ebpf, hook)?;
        let id = program
            .attach_to_if_index(ifindex, XdpMode::Driver)
            .map_err(Box::new)?;
        let link = program.take_link(id).map_err(Box::new)?;
        let link = FdLink::try_from(link).map_err(Box::new)?;
        let path = self.pin(hook, index);
        match link.pin(&path) {
            // The descriptor closes here; the pin keeps the link.
            Ok(_) => Ok(()),
            Err(error) => Err(ProgramsError::Pin {
                path,
                source: Box::new(error),
            }),
        }
    }

    /// Puts this object's program into a pinned link, atomically.
    pub fn adopt(&mut self, hook: Hook, index: u32) -> Result<(), ProgramsError> {
        let path = self.pin(hook, index);
        let link: FdLink = PinnedLink::from_pin(path).map_err(Box::new)?.into();
        let link = XdpLink::try_from(link).map_err(Box::new)?;
        let program = xdp(&mut self.ebpf, hook)?;
        let id = program.attach_to_link(link).map_err(Box::new)?;
        // Dropping the link closes the descriptor; the pin keeps the link.
        program
            .take_link(id)
            .map(drop)
            .map_err(|error| Box::new(error).into())
    }

    /// Takes the program off its interface, at once. Fine if it is off already.
    pub fn detach(&self, hook: Hook, index: u32) -> Result<(), ProgramsError> {
        detach_pin(&self.pin(hook, index))
    }

    /// The links that are pinned.
    pub fn pinned(&self) -> Vec<(Hook, u32)> {
        pins(&self.links)
            .filter_map(|name| Hook::parse(&name))
            .collect()
    }

    fn pin(&self, hook: Hook, index: u32) -> PathBuf {
        self.links.join(hook.pin_name(index))
    }
}

fn xdp(ebpf: &mut Ebpf, hook: Hook) -> Result<&mut Xdp, ProgramsError> {
    let name = hook.program();
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

/// The links that are pinned in a folder.
pub fn pinned(links: &Path) -> impl Iterator<Item = (Hook, u32)> {
    pins(links).filter_map(|name| Hook::parse(&name))
}

fn pins(links: &Path) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(links).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

/// Detaches and unpins every link in a folder.
pub fn detach_all(links: &Path) -> Result<(), ProgramsError> {
    pins(links).try_for_each(|name| detach_pin(&links.join(name)))
}

fn detach_pin(path: &Path) -> Result<(), ProgramsError> {
    let failed = |source: io::Error| ProgramsError::Pin {
        path: path.into(),
        source: source.into(),
    };
    match bpf::detach_link(path) {
        Ok(()) => {}
        // No pin, or no interface behind the link any more.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOLINK)) => {}
        Err(error) => return Err(failed(error)),
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pin_names_say_what_they_are() {
        assert_eq!(Hook::Environment.pin_name(7), "environment-7");
        for (hook, index) in [(Hook::Environment, 0), (Hook::Uplink, 65_535)] {
            assert_eq!(Hook::parse(&hook.pin_name(index)), Some((hook, index)));
        }
        assert_eq!(Hook::parse("uplink-"), None);
        assert_eq!(Hook::parse("other-1"), None);
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
