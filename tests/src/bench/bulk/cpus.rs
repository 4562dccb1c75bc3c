//! Which CPUs run what, and how busy they were.

use std::{fs, thread, time::Duration};

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::{Pid, SysconfVar, sysconf},
};

/// How long nothing is done to see what others do.
const LOOK: Duration = Duration::from_millis(100);
/// The share of all CPUs' time up to which a machine counts as idle.
const IDLE: f64 = 0.1;

/// An end of a load.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// The environment's.
    Client,
    /// The resource's.
    Server,
}

/// A CPU of those that the bench may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cpu {
    /// The one with the lowest number.
    First,
    /// The one with the highest.
    Last,
}

/// Keeps the calling thread to a CPU.
pub fn keep_to(cpu: Cpu) {
    let me = Pid::from_raw(0);
    let all = sched_getaffinity(me).expect("a thread has CPUs");
    let mut numbers = (0..CpuSet::count()).filter(|cpu| all.is_set(*cpu).unwrap_or(false));
    let number = match cpu {
        Cpu::First => numbers.next(),
        Cpu::Last => numbers.next_back(),
    };
    let mut one = CpuSet::new();
    one.set(number.expect("a thread has a CPU"))
        .expect("a CPU of the set");
    sched_setaffinity(me, &one).expect("a thread may keep to one of its CPUs");
}

/// What all CPUs together have done since the machine started, in milliseconds
/// with a resolution of 10 or so.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Anything but waiting.
    pub busy_ms: f64,
    /// Waiting for a hypervisor that ran something else.
    pub stolen_ms: f64,
}

impl Times {
    /// Until now.
    pub fn now() -> Self {
        let text = fs::read_to_string("/proc/stat").expect("the kernel says what CPUs do");
        let first = text.lines().next().expect("/proc/stat has lines");
        let ticks: Vec<f64> = first
            .split_whitespace()
            .skip(1)
            .map(|field| field.parse().expect("a count of ticks"))
            .collect();
        let per_second = sysconf(SysconfVar::CLK_TCK).ok().flatten();
        let tick_ms = 1_000.0 / per_second.expect("ticks have a length") as f64;
        // user, nice, system, idle, iowait, irq, softirq, steal, guest, guest_nice.
        let busy: f64 = [0, 1, 2, 5, 6].iter().map(|field| ticks[*field]).sum();
        Self {
            busy_ms: busy * tick_ms,
            stolen_ms: ticks[7] * tick_ms,
        }
    }
}

/// Looks for a moment whether anybody else uses the machine.
pub fn idle() -> bool {
    let before = Times::now();
    thread::sleep(LOOK);
    let after = Times::now();
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    let all_ms = LOOK.as_secs_f64() * 1_000.0 * cpus as f64;
    after.busy_ms - before.busy_ms <= IDLE * all_ms
}
