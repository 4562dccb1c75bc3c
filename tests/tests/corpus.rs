//! What fuzzing once found interesting, and what it begins with, asked again without a
//! fuzzer: a test for each target. Only `program` needs root.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use tests::fuzz::{TARGETS, Target};

fn replay(name: &str) {
    let target = Target::named(name).expect("a target");
    let corpus = target.entries().expect("the corpus can be read");
    assert!(!corpus.is_empty(), "{} is empty", target.corpus().display());
    let seeds = (target.seeds)().into_iter().enumerate();
    let seeds = seeds.map(|(number, seed)| (format!("seed {number}"), seed));
    let mut failed = Vec::new();
    for (name, input) in corpus.into_iter().chain(seeds) {
        if catch_unwind(AssertUnwindSafe(|| (target.run)(&input))).is_err() {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "{}: {failed:#?}", target.promise);
}

macro_rules! replayed {
    ($($name:ident)+) => {
        $(
            #[test]
            fn $name() {
                replay(stringify!($name));
            }
        )+

        #[test]
        fn every_target_is_replayed() {
            let replayed = [$(stringify!($name)),+];
            let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(replayed[..], names);
        }
    };
}

replayed! { packet pipeline program config ec2 lambda socket store journal cni }

/// What is committed stays small enough to be replayed with every test run.
#[test]
fn corpora_are_small() {
    let size = |target: &Target| {
        let entries = target.entries().expect("the corpus can be read");
        entries.iter().map(|(_, input)| input.len()).sum::<usize>()
    };
    let sizes: Vec<_> = TARGETS.iter().map(|one| (one.name, size(one))).collect();
    let all: usize = sizes.iter().map(|(_, size)| size).sum();
    assert!(all < 600_000, "{all} bytes: {sizes:?}");
}

/// A folder that no target has is one that nobody replays.
#[test]
fn every_corpus_has_a_target() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/corpus"));
    for entry in folder.read_dir().expect("the corpora can be read") {
        let name = entry.expect("an entry").file_name();
        let name = name.to_string_lossy();
        assert!(Target::named(&name).is_some(), "{name} is no target");
    }
}
