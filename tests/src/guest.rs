//! A virtual machine as an environment: QEMU with a virtio network card whose back
//! end is a tap of a namespace, offloads on, as a microVM has it. What it boots is
//! fetched by `cargo xtask setup`; it runs busybox and nothing else. Or a machine of its
//! own with another kernel, for programs that are put into it.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddrV4,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::Duration,
};

use nix::sys::{prctl::set_pdeathsig, signal::Signal};

use crate::{
    netns::Namespace,
    topology::{Station, mac_text},
};

mod accel;
mod files;
mod offloads;

pub use accel::Accel;
use files::Files;
pub use files::Kernel;
pub use offloads::Offloads;

const QEMU: &str = "qemu-system-x86_64";
/// What a guest has that only talks.
const SMALL: Size = Size {
    processors: 1,
    megabytes: 256,
};
/// A file in that memory, for what is downloaded and uploaded.
const DATA: &str = "/tmp/data";
/// How long a guest may take for its start or a command; an emulated one on a busy
/// machine is slow.
const PATIENCE: Duration = Duration::from_secs(120);
/// Precedes the status of a command, or `up` at the start.
const END: &str = "=== ";

/// How large a machine is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Its processors.
    pub processors: usize,
    /// Its memory.
    pub megabytes: u32,
}

/// A virtual machine, gone when dropped.
#[derive(Debug)]
pub struct Guest {
    child: Child,
    commands: ChildStdin,
    lines: Receiver<String>,
    files: Files,
}

impl Guest {
    /// Makes a tap inside `host` as a microVM's is made: with room for the header
    /// that carries offloads.
    pub fn make_tap(host: &Namespace, tap: &str, station: &Station) {
        host.ip_batch(&format!(
            "tuntap add dev {tap} mode tap vnet_hdr\nlink set {tap} mtu {} up\n",
            station.mtu
        ));
    }

    /// Boots a guest on a tap of `host` and waits until it has its address. It does
    /// not outlive the thread that calls this.
    pub fn boot(host: &Namespace, tap: &str, station: &Station) -> Self {
        let (files, kernel) = (Files::make(), Kernel::of_guests());
        let mut qemu = host.command(QEMU);
        machine(&mut qemu, Accel::here(), &kernel, SMALL);
        card(&mut qemu, tap, station.mac);
        let image = files.initramfs(&kernel, |_| ());
        Self::start(qemu, files, &image, &kernel_arguments(station))
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// Boots a kernel by itself, without a network card, with what `further` puts into the
    /// folder that becomes its root. The error is what went wrong.
    pub fn boot_alone(
        kernel: &Kernel,
        size: Size,
        further: impl FnOnce(&Path),
    ) -> Result<Self, String> {
        let files = Files::make();
        let mut qemu = Command::new(QEMU);
        machine(&mut qemu, Accel::here(), kernel, size);
        let image = files.initramfs(kernel, further);
        Self::start(qemu, files, &image, "")
    }

    fn start(
        mut qemu: Command,
        files: Files,
        image: &Path,
        arguments: &str,
    ) -> Result<Self, String> {
        let log = File::create(files.log()).expect("create QEMU's log");
        qemu.arg("-initrd")
            .arg(image)
            .args(["-append", &format!("{KERNEL_ARGUMENTS} {arguments}")])
            .arg("-serial")
            .arg(format!("file:{}", files.console().display()))
            .args(["-serial", "stdio"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log);
        die_with_us(&mut qemu);
        let mut child = qemu.spawn().expect("start QEMU (run `cargo xtask setup`)");
        let commands = child.stdin.take().expect("its input is piped");
        let lines = read_lines(child.stdout.take().expect("its output is piped"));
        let mut guest = Self {
            child,
            commands,
            lines,
            files,
        };
        let status = guest.watch("the start", PATIENCE, |_| ())?;
        assert_eq!(status, "up", "what a guest says first");
        Ok(guest)
    }

    /// Runs a line of shell inside the guest, shows each line that it writes to `look`, and
    /// returns its status. The error says that the guest is gone or was silent for too
    /// long, with the last words of its kernel.
    pub fn run_watched(
        &mut self,
        line: &str,
        patience: Duration,
        look: impl FnMut(&str),
    ) -> Result<String, String> {
        assert!(!line.contains('\n'), "one line is one command: {line:?}");
        writeln!(self.commands, "{line}").map_err(|error| format!("the guest is gone: {error}"))?;
        self.watch(line, patience, look)
    }

    /// Runs a line of shell inside the guest and returns what it wrote, without the
    /// end of its last line.
    pub fn run(&mut self, line: &str) -> String {
        let mut text = String::new();
        let gather = |said: &str| text = format!("{text}{said}\n");
        match self.run_watched(line, PATIENCE, gather) {
            Ok(status) => assert_eq!(status, "0", "status of `{line}` in the guest: {text}"),
            Err(error) => panic!("{error}\n{text}"),
        }
        text.trim_end().to_owned()
    }

    /// The offloads that the guest's driver and QEMU agreed on.
    pub fn offloads(&mut self) -> Offloads {
        Offloads::parse(&self.run("cat /sys/class/net/eth0/device/features"))
    }

    /// `GET /bytes`: length and hash of what came, as the guest sees them.
    pub fn download(&mut self, server: SocketAddrV4, len: u64) -> (u64, String) {
        self.run(&format!("wget -q -O {DATA} http://{server}/bytes?n={len}"));
        self.measure()
    }

    /// `PUT /` of random bytes: their length and hash as the guest sees them, then as the
    /// server does.
    pub fn upload(&mut self, server: SocketAddrV4, len: u64) -> [(u64, String); 2] {
        self.run(&format!(
            "dd if=/dev/urandom of={DATA} bs={len} count=1 iflag=fullblock 2>/dev/null"
        ));
        let sent = self.measure();
        let head = format!(
            r"PUT / HTTP/1.1\r\nHost: resource\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n"
        );
        // nc itself would send a kilobyte at a time.
        let talk = format!("printf '{head}'; cat {DATA}; tail -n 1 >/tmp/answer");
        let (host, port) = (server.ip(), server.port());
        let answer = self.run(&format!(
            "nc {host} {port} -e /bin/busybox sh -c \"{talk}\"; cat /tmp/answer"
        ));
        [sent, length_and_hash(&answer)]
    }

    fn measure(&mut self) -> (u64, String) {
        length_and_hash(&self.run(&format!("echo $(stat -c %s {DATA}) $(sha256sum <{DATA})")))
    }

    /// What the guest writes until it says how the command ended.
    fn watch(
        &mut self,
        command: &str,
        patience: Duration,
        mut look: impl FnMut(&str),
    ) -> Result<String, String> {
        loop {
            let why = match self.lines.recv_timeout(patience) {
                Ok(line) => match line.strip_prefix(END) {
                    Some(status) => return Ok(status.to_owned()),
                    None => {
                        look(&line);
                        continue;
                    }
                },
                Err(RecvTimeoutError::Timeout) => "does not end".to_owned(),
                // By a signal if it is QEMU that failed, and not its guest.
                Err(RecvTimeoutError::Disconnected) => match self.child.wait() {
                    Ok(status) => format!("is not answered: QEMU has ended ({status})"),
                    Err(error) => format!("is not answered: QEMU is gone ({error})"),
                },
            };
            return Err(format!(
                "`{command}` in the guest {why}\n--- guest ---\n{}",
                self.files.last_words()
            ));
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- guest ---\n{}", self.files.last_words());
        }
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What every guest has: processors, memory, a kernel, and nothing that it does not
/// need.
fn machine(qemu: &mut Command, accel: Accel, kernel: &Kernel, size: Size) {
    let (processors, megabytes) = (size.processors.to_string(), size.megabytes.to_string());
    qemu.args(["-accel", accel.name(), "-machine", "q35", "-cpu", "max"])
        .args(["-smp", &processors, "-m", &megabytes, "-no-reboot"])
        .args(["-no-user-config", "-nodefaults", "-display", "none"])
        .arg("-kernel")
        .arg(kernel.image());
}

/// A virtio card with the tap as its back end; which offloads it offers is left as it
/// is by default, which is all.
fn card(qemu: &mut Command, tap: &str, mac: [u8; 6]) {
    let back = format!("tap,id=net,ifname={tap},script=no,downscript=no,vhost=off");
    let front = format!("virtio-net-pci,netdev=net,mac={},romfile=", mac_text(mac));
    qemu.args(["-netdev", &back, "-device", &front]);
}

/// For every kernel: speak to the first serial port, and end rather than restart.
const KERNEL_ARGUMENTS: &str = "console=ttyS0 panic=-1 quiet";

/// The kernel hands what it does not know to the first process.
fn kernel_arguments(station: &Station) -> String {
    let gateway = station.gateway.expect("a guest has a gateway");
    format!(
        "ipv6.disable=1 address={}/{} gateway={gateway} mtu={}",
        station.address, station.prefix_len, station.mtu
    )
}

/// Ends the program with the thread that starts it: nothing is left even of a test
/// that is killed.
fn die_with_us(command: &mut Command) {
    let ask = || set_pdeathsig(Signal::SIGKILL).map_err(Into::into);
    // SAFETY: the closure makes one system call and neither allocates nor locks.
    unsafe { command.pre_exec(ask) };
}

fn read_lines(from: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(from).lines() {
            let Ok(line) = line else { break };
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

/// Reads `<length> <hash>`, and whatever follows.
fn length_and_hash(text: &str) -> (u64, String) {
    let mut words = text.split_whitespace();
    let length = words.next().and_then(|word| word.parse().ok());
    match (length, words.next()) {
        (Some(length), Some(hash)) => (length, hash.to_owned()),
        _ => panic!("length and hash were expected: {text:?}"),
    }
}

#[cfg(test)]
mod tests;
