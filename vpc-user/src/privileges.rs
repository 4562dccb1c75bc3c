//! What the agent may do. It starts with whatever root has and gives up all but four
//! capabilities before it has a second thread (capabilities are each thread's own, and
//! threads and processes begin with those of their maker). What takes more is done by a
//! helper that does nothing else: see [`crate::dataplane::start_helper`].
//!
//! `docs/security.md` says what each capability is for.

use std::{fmt, fs, io};

use caps::{
    CapSet,
    Capability::{
        self, CAP_BPF, CAP_NET_ADMIN, CAP_NET_RAW, CAP_PERFMON, CAP_SETPCAP, CAP_SYS_ADMIN,
        CAP_SYS_PTRACE,
    },
};
use nix::sys::prctl;

use crate::dataplane;

/// What the agent keeps.
pub const AGENT: [Capability; 4] = [CAP_BPF, CAP_NET_ADMIN, CAP_NET_RAW, CAP_PERFMON];
/// What its helper keeps.
pub const HELPER: [Capability; 2] = [CAP_SYS_ADMIN, CAP_SYS_PTRACE];
/// What giving up the others takes.
pub const GIVING_UP: [Capability; 1] = [CAP_SETPCAP];

/// A program that root starts has no capability by that, and none can be handed on to it;
/// for good.
const SECURE: libc::c_int = libc::SECBIT_NOROOT
    | libc::SECBIT_NOROOT_LOCKED
    | libc::SECBIT_NO_CAP_AMBIENT_RAISE
    | libc::SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;

/// Why the agent cannot run with what it needs and no more.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// It was started with too little.
    #[error(
        "`{command}` needs {} and was started without: run it as root; in a container, add them \
         with --cap-add; in a systemd unit, name them in CapabilityBoundingSet",
        List(.missing)
    )]
    Missing {
        /// What was started.
        command: &'static str,
        /// In the order of the documentation.
        missing: Vec<Capability>,
    },
    /// The system refuses.
    #[error(
        "capabilities cannot be {doing} ({cause}): see whether a seccomp filter or a security \
         module forbids it"
    )]
    System {
        /// What was tried.
        doing: &'static str,
        /// What it said.
        cause: io::Error,
    },
}

/// Names in a sentence.
struct List<'a>(&'a [Capability]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((last, others)) = self.0.split_last() else {
            return Ok(());
        };
        for (at, capability) in others.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{capability}")?;
        }
        let and = if others.is_empty() { "" } else { " and " };
        write!(f, "{and}{last}")
    }
}

/// Gives up, for good, whatever `command` does not need, and starts the helper. To be called
/// while there is one thread.
pub fn give_up(command: &'static str) -> Result<(), PrivilegeError> {
    let failed = |doing| move |cause| PrivilegeError::System { doing, cause };
    require_one_thread().map_err(failed("given up"))?;
    let held = caps::read(None, CapSet::Permitted).map_err(io::Error::other);
    let held = held.map_err(failed("read"))?;
    let needed = || AGENT.into_iter().chain(HELPER).chain(GIVING_UP);
    let missing: Vec<_> = needed().filter(|one| !held.contains(one)).collect();
    if !missing.is_empty() {
        return Err(PrivilegeError::Missing { command, missing });
    }
    // Whoever is not root may hold them and not use them yet.
    caps::set(None, CapSet::Effective, &needed().collect())
        .map_err(io::Error::other)
        .and_then(|()| Ok(prctl::set_no_new_privs()?))
        .and_then(|()| secure())
        .map_err(failed("given up"))?;
    dataplane::start_helper(|| keep_only(&HELPER)).map_err(failed("left to a helper"))?;
    keep_only(&AGENT).map_err(failed("given up"))
}

/// Another thread would go on with everything.
fn require_one_thread() -> io::Result<()> {
    match fs::read_dir("/proc/self/task")?.count() {
        1 => Ok(()),
        threads => Err(io::Error::other(format!("there are {threads} threads"))),
    }
}

fn secure() -> io::Result<()> {
    // SAFETY: no pointer is passed.
    let bits = unsafe { libc::prctl(libc::PR_GET_SECUREBITS) };
    // SAFETY: as above.
    done(unsafe { libc::prctl(libc::PR_SET_SECUREBITS, bits | SECURE) }).map(drop)
}

/// Leaves this thread, and what it starts, these capabilities and no others. The bounding
/// set goes first, because that takes a capability itself.
fn keep_only(kept: &[Capability]) -> io::Result<()> {
    let set = kept.iter().copied().collect();
    bound(kept)?;
    caps::clear(None, CapSet::Ambient)
        .and_then(|()| caps::clear(None, CapSet::Inheritable))
        .and_then(|()| caps::set(None, CapSet::Effective, &set))
        .and_then(|()| caps::set(None, CapSet::Permitted, &set))
        .map_err(io::Error::other)
}

/// By number and up to the last one that this kernel knows, which may be newer than any list
/// of names.
fn bound(kept: &[Capability]) -> io::Result<()> {
    for number in 0..u64::BITS {
        // SAFETY: no pointer is passed.
        match done(unsafe { libc::prctl(libc::PR_CAPBSET_READ, number) }) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => break,
            Err(error) => return Err(error),
            Ok(0) => continue,
            Ok(_) => {}
        }
        if !kept.iter().any(|one| u32::from(one.index()) == number) {
            // SAFETY: no pointer is passed.
            done(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number) })?;
        }
    }
    Ok(())
}

fn done(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::process::CommandExt as _, process::Command};

    use super::*;

    /// What `cat` sees of itself when it is started by a process that did `first`.
    fn status_of_a_child(first: fn() -> io::Result<()>) -> String {
        let mut command = Command::new("cat");
        command.arg("/proc/self/status");
        // SAFETY: the closure runs in a process of one thread; what it allocates, the
        // allocator allows after a fork.
        let output = unsafe { command.pre_exec(first) }.output();
        let output = output.expect("run `cat`");
        String::from_utf8(output.stdout).expect("text")
    }

    fn field<'a>(status: &'a str, name: &str) -> &'a str {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.expect("a line of this name").trim()
    }

    #[test]
    fn what_a_process_of_few_capabilities_starts_has_none() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("capabilities are given up by root: not tested");
            return;
        }
        let status = status_of_a_child(|| {
            prctl::set_no_new_privs()?;
            secure()?;
            keep_only(&[CAP_NET_RAW])
        });
        for list in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
            assert_eq!(field(&status, list), "0000000000000000", "{list}");
        }
        let raw = format!("{:016x}", CAP_NET_RAW.bitmask());
        assert_eq!(field(&status, "CapBnd:"), raw);
        assert_eq!(field(&status, "NoNewPrivs:"), "1");
    }

    #[test]
    fn nothing_is_given_up_beside_another_thread() {
        let held = || caps::read(None, CapSet::Effective).expect("readable");
        // The other is the one that waits for this.
        let asked = std::thread::spawn(move || (held(), give_up("vpc agent"), held()));
        let (before, refused, after) = asked.join().expect("no panic");
        let refused = refused.expect_err("another thread").to_string();
        assert!(refused.contains("threads"), "{refused}");
        assert_eq!(after, before);
    }

    #[test]
    fn the_unit_grants_what_is_needed_and_no_more() {
        let unit = include_str!("../../docs/vpc-agent.service");
        let line = "CapabilityBoundingSet=";
        let granted = unit.lines().find_map(|text| text.strip_prefix(line));
        let granted: Vec<_> = granted.unwrap_or_default().split(' ').collect();
        let needed = AGENT.iter().chain(&HELPER).chain(&GIVING_UP);
        let needed: Vec<_> = needed.map(ToString::to_string).collect();
        assert_eq!(granted, needed);
    }

    #[test]
    fn what_is_missing_is_named_with_the_remedy() {
        let sentence = |missing: &[Capability]| {
            let command = "vpc agent";
            let missing = missing.to_vec();
            PrivilegeError::Missing { command, missing }.to_string()
        };
        let one = sentence(&[CAP_BPF]);
        assert!(
            one.starts_with("`vpc agent` needs CAP_BPF and was"),
            "{one}"
        );
        let three = sentence(&[CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON]);
        let list = "needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON and was started without: run it \
                    as root; ";
        assert!(three.contains(list), "{three}");
    }
}
