//! What a killed agent may leave on the host: processes and locks.

use std::{collections::BTreeSet, fs, os::unix::fs::MetadataExt as _, path::Path};

use tests::wait::{PATIENCE, eventually};

/// Processes of the agents of a configuration: themselves and their helpers.
fn processes(config: &Path) -> Vec<(u32, String)> {
    let named = config.to_string_lossy();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_string_lossy().parse().ok());
    let mut found: Vec<(u32, String)> = pids
        .filter(|pid: &u32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let mut words = line.split(|byte| *byte == 0);
            words.any(|word| word == named.as_bytes())
        })
        .map(|pid| {
            (
                pid,
                fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default(),
            )
        })
        .map(|(pid, name)| (pid, name.trim().to_owned()))
        .collect();
    found.sort();
    found
}

/// Asserts that no process of a killed agent stays.
pub fn assert_nobody_runs(config: &Path) {
    let nobody = eventually(PATIENCE, || processes(config).is_empty());
    assert!(nobody, "somebody stays: {:?}", processes(config));
}

/// Asserts that an agent runs, one, and its helper; returns the agent's number.
pub fn assert_one_runs(config: &Path) -> u32 {
    let is_helper = |name: &str| name == "vpc-helper";
    let one = || {
        let found = processes(config);
        let helpers = found.iter().filter(|(_, name)| is_helper(name)).count();
        (found.len() == 2 && helpers == 1).then_some(found)
    };
    let found = tests::wait::find(PATIENCE, one);
    let found = found.unwrap_or_else(|| panic!("an agent and its helper: {:?}", processes(config)));
    let agent = found.iter().find(|(_, name)| !is_helper(name));
    agent.expect("one is no helper").0
}

/// Asserts that a process, and nobody else, holds the lock on a file.
pub fn assert_holds(pid: u32, path: &Path) {
    let file = fs::metadata(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let (major, minor) = (libc::major(file.dev()), libc::minor(file.dev()));
    let inode = format!("{major:02x}:{minor:02x}:{}", file.ino());
    let locks = fs::read_to_string("/proc/locks").expect("the locks");
    let of_file = |line: &&str| line.split_whitespace().any(|word| word == inode);
    // A list that changes while it is read has lines twice.
    let holders: BTreeSet<u32> = locks
        .lines()
        .filter(of_file)
        .filter_map(|line| line.split_whitespace().nth(4)?.parse().ok())
        .collect();
    assert_eq!(
        holders,
        BTreeSet::from([pid]),
        "who has locked {path:?}:\n{locks}"
    );
}
