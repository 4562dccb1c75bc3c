//! Which CPUs run what, and how busy they were.

use std::{fs, thread, time::Duration};

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::{Pid, SysconfVar, sysconf},
};

/// How long nothing is done to see what others do.
const IDLE: Duration = Duration::from_millis(300);

/// An end of a load.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// The environment's.
    Client,
    /// The resource's.
    Server,
}

/// Keeps the calling thread to its side's half of the CPUs: with both ends free to
/// move, a sample shows mostly whether the scheduler put them together.
pub fn keep_to(side: Side) {
    let me = Pid::from_raw(0);
    let all = sched_getaffinity(me).expect("a thread has CPUs");
    let all: Vec<usize> = (0..CpuSet::count())
        .filter(|cpu| all.is_set(*cpu).unwrap_or(false))
        .collect();
    assert!(all.len() > 1, "each end of a load needs a CPU of its own");
    let (clients, servers) = all.split_at(all.len() / 2);
    let mut half = CpuSet::new();
    for cpu in match side {
        Side::Client => clients,
        Side::Server => servers,
    } {
        half.set(*cpu).expect("a CPU of the set");
    }
    sched_setaffinity(me, &half).expect("a thread may keep to some of its CPUs");
}

/// Milliseconds that all CPUs together have been busy since the machine started,
/// with a resolution of 10 or so.
pub fn busy_ms() -> f64 {
    let text = fs::read_to_string("/proc/stat").expect("the kernel says what CPUs do");
    let first = text.lines().next().expect("/proc/stat has lines");
    let ticks: Vec<f64> = first
        .split_whitespace()
        .skip(1)
        .map(|field| field.parse().expect("a count of ticks"))
        .collect();
    // user, nice, system, idle, iowait, irq, softirq, steal, guest, guest_nice.
    let busy: f64 = [0, 1, 2, 5, 6].iter().map(|field| ticks[*field]).sum();
    let per_second = sysconf(SysconfVar::CLK_TCK)
        .ok()
        .flatten()
        .expect("ticks have a length");
    busy * 1_000.0 / per_second as f64
}

/// What share of the machine others use.
pub fn busy_share_when_idle() -> f64 {
    let before = busy_ms();
    thread::sleep(IDLE);
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    (busy_ms() - before) / (IDLE.as_secs_f64() * 1_000.0 * cpus as f64)
}
