//! The index against a plain list, crashes at every step, and files that are not as they
//! should be.

mod crash;
mod damage;
mod differential;
mod pyarrow;
mod together;

use std::{collections::BTreeMap, path::Path};

use super::*;

const DAY: u64 = 86_400_000;

/// Keeps everything.
const ALL: Retention = Retention {
    age_secs: u64::MAX,
    bytes: u64::MAX,
};

/// Everything, whole.
fn everything() -> Query {
    Query {
        limit: usize::MAX,
        ..Query::default()
    }
}

/// How often each binding is there.
fn counted(bindings: impl IntoIterator<Item = Binding>) -> BTreeMap<Binding, usize> {
    let mut counted = BTreeMap::new();
    for binding in bindings {
        *counted.entry(binding).or_default() += 1;
    }
    counted
}

/// All that an index holds; nothing of it may have been passed over.
fn held(folder: &Path) -> BTreeMap<Binding, usize> {
    let found = Reader::new(folder).find(&everything()).unwrap();
    assert_eq!(found.skipped, Vec::<String>::new());
    counted(found.bindings)
}

/// Names in a folder, without the lock.
fn names(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name != "lock").collect();
    names.sort_unstable();
    names
}

/// Some bindings, of the minute of this number.
fn minute(number: u64, count: usize) -> Vec<Binding> {
    let from = 1_000 * DAY + number * 60_000;
    generate::Generator::new(number).batch(from, from + 60_000, count)
}
