//! What a process made outside itself goes when a signal ends it: nothing is dropped then.

use std::{
    fs,
    path::{Path, PathBuf},
    process, thread,
};

use nix::{
    mount::{MntFlags, umount2},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
    low_level::emulate_default_handler,
};

/// From now on SIGINT, SIGTERM and SIGHUP end this process only after its children have
/// ended and its namespaces and folders are gone.
pub fn remove_on_signals() {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).expect("watch for signals");
    thread::spawn(move || {
        for signal in signals.forever() {
            remove();
            // It ends this process.
            let _ = emulate_default_handler(signal);
        }
    });
}

/// The pins of the data plane that the bench of a process measures in the process itself.
pub fn bench_pins(process: u32) -> PathBuf {
    PathBuf::from(format!("/sys/fs/bpf/vpc-bench-{process}"))
}

/// The folder of what the bench of a process writes by the gigabyte.
pub fn bench_folder(process: u32) -> PathBuf {
    std::env::temp_dir().join(format!("vpc-bench-{process}"))
}

/// Nothing is left to do about what cannot be removed.
fn remove() {
    for child in children() {
        let _ = kill(child, Signal::SIGKILL);
    }
    let me = process::id();
    let _ = fs::remove_dir_all(bench_pins(me));
    let _ = fs::remove_dir_all(bench_folder(me));
    let prefix = format!("vpc-{me}-");
    for namespace in named("/run/netns", &prefix) {
        let _ = umount2(&namespace, MntFlags::MNT_DETACH);
        let _ = fs::remove_file(&namespace);
    }
    for folder in named("/run", &prefix) {
        for mounted in ["bpf", "small"] {
            let _ = umount2(&folder.join(mounted), MntFlags::MNT_DETACH);
        }
        let _ = fs::remove_dir_all(&folder);
    }
}

fn named(folder: impl AsRef<Path>, prefix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mine = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
    mine.map(|entry| entry.path()).collect()
}

fn children() -> Vec<Pid> {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten();
    let lists = threads.flatten().filter_map(|thread| {
        let list = thread.path().join("children");
        fs::read_to_string(list).ok()
    });
    let lists: Vec<String> = lists.collect();
    let children = lists.iter().flat_map(|list| list.split_whitespace());
    children
        .filter_map(|pid| pid.parse().ok().map(Pid::from_raw))
        .collect()
}
