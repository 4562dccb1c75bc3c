//! Network namespaces of the harness's own: made under a unique name, entered by
//! threads, removed on drop. Only the network namespace is ever changed: a process
//! that also left the mount namespace would lose sight of bpffs.

use std::{
    fs::{self, File},
    io,
    os::{
        fd::{AsFd as _, AsRawFd as _, RawFd},
        unix::process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use aya::programs::{ProgramInfo, SchedClassifier, TcAttachType};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, setns, unshare},
};

const FOLDER: &str = "/run/netns";
const SELF: &str = "/proc/thread-self/ns/net";

/// A number that no other namespace or folder of this process has.
pub fn serial() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Ends the test with one sentence when it may not do what it must.
pub fn require_root() {
    assert!(
        nix::unistd::geteuid().is_root(),
        "this test makes network namespaces: run it as root"
    );
}

/// A network namespace, gone when dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    file: File,
}

impl Namespace {
    /// Makes `vpc-<pid>-<n>-<role>` with its loopback up and without IPv6, so that
    /// nothing is sent that a test did not send.
    pub fn new(role: &str) -> Self {
        require_root();
        let name = format!("vpc-{}-{}-{role}", std::process::id(), serial());
        let path = Path::new(FOLDER).join(&name);
        fs::create_dir_all(FOLDER).expect("create the folder of namespaces");
        File::create(&path).expect("create the namespace's mount point");
        let mount_point = path.clone();
        thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("make a network namespace");
            mount(
                Some(SELF),
                &mount_point,
                None::<&str>,
                MsFlags::MS_BIND,
                None::<&str>,
            )
            .expect("name the network namespace");
        })
        .join()
        .expect("the thread that makes a namespace");
        let namespace = Self {
            name,
            file: File::open(&path).expect("open the namespace"),
        };
        namespace.prepare();
        namespace
    }

    fn prepare(&self) {
        self.write_sysctl("net/ipv6/conf/all/disable_ipv6", "1");
        self.write_sysctl("net/ipv6/conf/default/disable_ipv6", "1");
        self.ip(&["link", "set", "lo", "up"]);
    }

    /// Takes its name away: it lives on, and nobody can find it any more.
    pub fn hide(&self) {
        let path = self.path();
        umount2(&path, MntFlags::MNT_DETACH).expect("unmount the name of the namespace");
        fs::remove_file(&path).expect("remove the name of the namespace");
    }

    /// Its name, as `ip netns` knows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that stands for it.
    pub fn path(&self) -> PathBuf {
        Path::new(FOLDER).join(&self.name)
    }

    /// Runs a closure on a thread inside the namespace: sockets made there live
    /// there, wherever they are used later.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        enter(&self.file, work)
    }

    /// A way in for a thread that cannot borrow this.
    pub fn entrance(&self) -> Entrance {
        Entrance(self.file.try_clone().expect("share the namespace"))
    }

    /// Lets a command start inside the namespace.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        let raw: RawFd = self.file.as_raw_fd();
        let enter = move || {
            // SAFETY: setns is a plain system call; the descriptor is open across
            // the fork because `self` is borrowed until the caller spawns, and a
            // closed one would only make the call fail.
            match unsafe { libc::setns(raw, libc::CLONE_NEWNET) } {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        };
        // SAFETY: the closure makes one system call and neither allocates nor locks.
        unsafe { command.pre_exec(enter) };
        command
    }

    /// Runs `ip` inside the namespace.
    pub fn ip(&self, arguments: &[&str]) {
        self.ip_batch(&arguments.join(" "));
    }

    /// Runs many `ip` commands, one a line, inside the namespace.
    pub fn ip_batch(&self, lines: &str) {
        let mut child = self
            .command("ip")
            .args(["-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start `ip` (package iproute2)");
        let mut input = child.stdin.take().expect("its input is piped");
        io::Write::write_all(&mut input, lines.as_bytes()).expect("write to `ip`");
        drop(input);
        let output = child.wait_with_output().expect("wait for `ip`");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "`ip` in {}: {errors}\n{lines}",
            self.name
        );
    }

    /// Runs a command inside the namespace; what it says.
    pub fn says(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.command(program).args(arguments).output();
        let output = output.unwrap_or_else(|error| panic!("run `{program}`: {error}"));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{program} {arguments:?} in {}: {errors}",
            self.name
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Whether the kernel can make interfaces of a kind.
    pub fn knows(&self, kind: &str) -> bool {
        let made = self
            .command("ip")
            .args([
                "link", "add", "try0", "type", "veth", "peer", "name", "try1",
            ])
            .status();
        assert!(made.is_ok_and(|status| status.success()), "a veth pair");
        let arguments = [
            "link", "add", "link", "try0", "name", "try2", "type", kind, "id", "9",
        ];
        let tried = self
            .command("ip")
            .args(arguments)
            .stderr(Stdio::null())
            .status();
        self.ip(&["link", "del", "try0"]);
        tried.is_ok_and(|status| status.success())
    }

    /// Whether receive offload (GRO) of an interface is on.
    pub fn gro(&self, interface: &str) -> bool {
        let features = self.says("ethtool", &["-k", interface]);
        let line = features
            .lines()
            .find(|line| line.starts_with("generic-receive-offload: "));
        line.is_some_and(|line| line.contains(": on"))
    }

    /// Numbers of the programs of the ingress filters of an interface.
    pub fn filters(&self, interface: &str) -> Vec<u32> {
        let shown = self.says("tc", &["filter", "show", "dev", interface, "ingress"]);
        let programs = shown.lines().filter_map(|line| {
            let (_, id) = line.split_once("direct-action")?.1.split_once(" id ")?;
            id.split_whitespace().next()?.parse().ok()
        });
        programs.collect()
    }

    /// Numbers of the programs that run at the ingress of an interface by TCX.
    pub fn tcx(&self, interface: &str) -> Vec<u32> {
        self.run(|| {
            let found = SchedClassifier::query_tcx(interface, TcAttachType::Ingress);
            // A kernel before 6.6 has none.
            let programs = found.map_or_else(|_| Vec::new(), |(_, programs)| programs);
            programs.iter().map(ProgramInfo::id).collect()
        })
    }

    /// Sets a value under `/proc/sys`, as the namespace sees it.
    pub fn write_sysctl(&self, key: &str, value: &str) {
        let path = Path::new("/proc/sys").join(key);
        self.run(|| fs::write(&path, value))
            .unwrap_or_else(|error| panic!("{key}: {error}"));
    }

    /// Reads a file of the namespace's `/proc/net`.
    pub fn proc_net(&self, file: &str) -> String {
        let path = Path::new("/proc/thread-self/net").join(file);
        self.run(|| fs::read_to_string(&path))
            .unwrap_or_else(|error| panic!("{file}: {error}"))
    }

    /// A counter of `/proc/net/snmp` or `/proc/net/netstat`, such as
    /// `("Tcp", "InCsumErrors")`.
    pub fn counter(&self, protocol: &str, name: &str) -> u64 {
        for file in ["snmp", "netstat"] {
            let text = self.proc_net(file);
            let mut rows = text.lines().filter_map(|line| line.split_once(": "));
            while let Some((row, names)) = rows.next() {
                let Some((_, values)) = rows.next() else {
                    break;
                };
                if row != protocol {
                    continue;
                }
                let mut pairs = names.split_whitespace().zip(values.split_whitespace());
                if let Some((_, value)) = pairs.find(|(key, _)| *key == name) {
                    return value.parse().expect("a counter is a number");
                }
            }
        }
        panic!("no counter {protocol} {name}")
    }

    /// Packets and bytes (Ethernet headers included) that left through an interface.
    pub fn transmitted(&self, interface: &str) -> (u64, u64) {
        let values = self.interface_counters(interface);
        (values[9], values[8])
    }

    /// Packets and bytes (Ethernet headers included) that came in by an interface.
    pub fn received(&self, interface: &str) -> (u64, u64) {
        let values = self.interface_counters(interface);
        (values[1], values[0])
    }

    fn interface_counters(&self, interface: &str) -> Vec<u64> {
        let text = self.proc_net("dev");
        let row = text
            .lines()
            .find_map(|line| line.trim().strip_prefix(interface)?.strip_prefix(':'))
            .unwrap_or_else(|| panic!("no interface {interface} in {}", self.name));
        row.split_whitespace()
            .map(|v| v.parse().unwrap_or(0))
            .collect()
    }
}

/// A way into a namespace, as long as it is there.
#[derive(Debug)]
pub struct Entrance(File);

impl Entrance {
    /// As [`Namespace::run`].
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        enter(&self.0, work)
    }
}

fn enter<T: Send>(namespace: &File, work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let inside = scope.spawn(|| {
            setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET).expect("enter the namespace");
            work()
        });
        inside
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let path = self.path();
        // Nothing is left to do about a failure here.
        let _ = umount2(&path, MntFlags::MNT_DETACH);
        let _ = fs::remove_file(&path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_has_its_own_interfaces_and_is_gone_afterwards() {
        let namespace = Namespace::new("self");
        namespace.ip(&["link", "add", "one", "type", "veth", "peer", "name", "two"]);
        assert!(namespace.proc_net("dev").contains("two:"));
        assert_eq!(namespace.transmitted("one").0, 0);
        assert_eq!(namespace.counter("Tcp", "InCsumErrors"), 0);
        let path = namespace.path();
        assert!(path.exists());
        drop(namespace);
        assert!(!path.exists());
    }
}
