//! By what QEMU runs a guest: the processor, or its own translator.

use std::{
    fmt,
    fs::File,
    io::{self, Write as _},
    process::{Command, Stdio},
    sync::OnceLock,
    thread,
    time::Duration,
};

use super::files::Kernel;
use crate::wait;

/// How long KVM may take to boot a kernel that stops at once, which takes a second
/// or so. In some nested machines it never does.
const TRIAL: Duration = Duration::from_secs(15);

/// By what a guest is run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Accel {
    /// The processor.
    Kvm,
    /// QEMU's translator: everywhere, and ten times slower or more.
    Tcg,
}

impl Accel {
    /// The best that works here; tried out once.
    pub fn here() -> Self {
        static HERE: OnceLock<Accel> = OnceLock::new();
        *HERE.get_or_init(|| {
            let here = if kvm_boots() { Self::Kvm } else { Self::Tcg };
            // Past the capture of tests that pass: it says how fast they can be.
            let _ = writeln!(io::stderr(), "guests are run by {here}");
            here
        })
    }

    /// How many machines of so many processors this machine runs at once without making
    /// each of them slower.
    pub fn machines_at_once(self, processors: usize) -> usize {
        let here = thread::available_parallelism().map_or(1, usize::from);
        let each = match self {
            Self::Kvm => processors,
            Self::Tcg => 1,
        };
        (here / each).max(1)
    }

    /// What QEMU calls it. Emulated processors take turns on one thread. With a thread each,
    /// QEMU 7.2 lets a kernel run into the `int3` that it puts for a moment into code that it
    /// replaces, after that moment is over. Linux replaces code each time an XDP program is
    /// attached, and dies of it within half a minute if packets pass meanwhile.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg,thread=single",
        }
    }
}

impl fmt::Display for Accel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kvm => "KVM",
            Self::Tcg => "TCG: /dev/kvm is missing or boots no kernel",
        })
    }
}

/// Whether a kernel boots by KVM. A device that opens is not enough: KVM inside a
/// virtual machine may refuse a register or run for ever. Without a root file system
/// the kernel gives up, and QEMU ends well because the machine may not restart.
fn kvm_boots() -> bool {
    let device = File::options().read(true).write(true).open("/dev/kvm");
    if device.is_err() {
        return false;
    }
    let mut qemu = Command::new(super::QEMU);
    super::machine(&mut qemu, Accel::Kvm, &Kernel::of_guests(), super::SMALL);
    qemu.args(["-append", "panic=-1"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut trial = qemu.spawn().expect("start QEMU (run `cargo xtask setup`)");
    let ended = wait::find(TRIAL, || trial.try_wait().expect("wait for QEMU"));
    // It may have ended already.
    let _ = trial.kill();
    let _ = trial.wait();
    ended.is_some_and(|status| status.success())
}
