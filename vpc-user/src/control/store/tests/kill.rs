//! A process that is killed while it commits.

use std::{
    env,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
};

use super::{
    fast_folder,
    model::{below, next_commit},
};
use crate::control::{
    Entropy, State,
    store::{RedbStore, Revision, Store},
};

/// Says to this program that it is the one that is killed, and which file is meant.
const FILE: &str = "VPC_TEST_STORE";
/// The seed of the commits.
const SEED: &str = "VPC_TEST_SEED";
const ROUNDS: usize = 200;

/// Makes the commit that leads from a revision to the next: always the same.
fn advance(state: &mut State, seed: u64, revision: Revision) -> Vec<crate::control::Change> {
    let mut entropy = Entropy::new(u128::from(seed) << 64 | u128::from(revision.0));
    next_commit(state, &mut entropy)
}

/// Runs in a process of its own: commits and says so, until it is killed.
#[test]
fn child() {
    let (Ok(file), Ok(seed)) = (env::var(FILE), env::var(SEED)) else {
        return;
    };
    let seed: u64 = seed.parse().unwrap();
    let store = RedbStore::open(file).unwrap();
    let (mut state, mut revision) = store.load().unwrap();
    loop {
        let changes = advance(&mut state, seed, revision);
        revision = store.commit(revision, &changes).unwrap();
        // Standard output of its own, past the test harness.
        writeln!(std::io::stdout(), "\nacknowledged {revision}").unwrap();
    }
}

/// Kills a process after some commits and a moment; the last one that it acknowledged.
fn round(file: &Path, seed: u64, commits: u64, moment: u64) -> Option<Revision> {
    let mut child = Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "control::store::tests::kill::child",
            "--nocapture",
        ])
        .env(FILE, file)
        .env(SEED, seed.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acknowledged = lines.map_while(Result::ok).filter_map(|line| {
        let number = line.strip_prefix("acknowledged ")?;
        number.parse().ok().map(Revision)
    });
    let mut last = None;
    for _ in 0..commits {
        last = acknowledged.next();
    }
    for _ in 0..moment {
        std::hint::spin_loop();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    acknowledged.last().or(last)
}

#[test]
fn a_killed_process_leaves_what_it_acknowledged() {
    let seed = env::var(SEED).map_or_else(
        |_| u64::from(std::process::id()),
        |seed| seed.parse().unwrap(),
    );
    println!("seed {seed}: to run it again, set {SEED}");
    let folder = fast_folder();
    let file = folder.path().join("state.redb");
    let mut entropy = Entropy::new(seed.into());
    let (mut state, mut revision) = (State::default(), Revision(0));
    for number in 0..ROUNDS {
        let commits = below(&mut entropy, 6);
        let moment = below(&mut entropy, 1 << 20);
        let acknowledged = round(&file, seed, commits, moment).unwrap_or(revision);
        let (found, at) = RedbStore::open(&file).unwrap().load().unwrap();
        assert!(
            at == acknowledged || at == acknowledged.next(),
            "round {number}: at {at}, but {acknowledged} was acknowledged"
        );
        while revision < at {
            advance(&mut state, seed, revision);
            revision = revision.next();
        }
        assert_eq!(found, state, "round {number}: half a commit at {at}");
    }
    println!("{ROUNDS} kills, {revision} commits");
}
