//! Every change to the folder may be the last that a process made.

use std::fs;

use super::{super::folder::kill, *};

/// Does something in a copy of a folder until the crash, then opens the copy again: the last
/// index, after as many steps as there are. Returns whether it was done before the crash.
fn crash_after<T>(
    steps: usize,
    folder: &Path,
    act: impl FnOnce(&Index) -> Result<T, IndexError>,
) -> bool {
    let index = Index::open(folder, ALL).unwrap();
    kill::after(steps);
    let done = act(&index);
    // Whatever is tidied on the way out is not done either.
    drop(index);
    kill::after(usize::MAX);
    done.is_ok()
}

fn copy(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for name in names(from) {
        fs::copy(from.join(&name), to.path().join(&name)).unwrap();
    }
    to
}

/// A folder with this many batches.
fn filled(batches: u64) -> (tempfile::TempDir, BTreeMap<Binding, usize>) {
    let folder = tempfile::tempdir().unwrap();
    let index = Index::open(folder.path(), ALL).unwrap();
    let mut all = Vec::new();
    for batch in 1..=batches {
        let bindings = minute(batch, 40);
        index.append(batch, bindings.clone()).unwrap();
        all.extend(bindings);
    }
    (folder, counted(all))
}

#[test]
fn an_append_is_there_whole_or_not_at_all_after_every_crash() {
    let (folder, before) = filled(3);
    let bindings = minute(4, 40);
    let mut after = before.clone();
    after.extend(counted(bindings.clone()));
    for steps in 0.. {
        let copy = copy(folder.path());
        let is_done = crash_after(steps, copy.path(), |it| it.append(4, bindings.clone()));
        let held_now = held(copy.path());
        assert!(
            held_now == after || (!is_done && held_now == before),
            "{steps} steps"
        );
        // The caller does not know, and appends it again.
        let index = Index::open(copy.path(), ALL).unwrap();
        assert!(
            names(copy.path())
                .iter()
                .all(|name| name.ends_with(".parquet"))
        );
        index.append(4, bindings.clone()).unwrap();
        assert_eq!(held(copy.path()), after, "{steps} steps");
        if is_done {
            assert!(
                steps >= 4,
                "creating, syncing, renaming and syncing are steps"
            );
            break;
        }
    }
}

#[test]
fn a_merge_loses_nothing_and_doubles_nothing_after_every_crash() {
    let (folder, all) = filled(20);
    for steps in 0.. {
        let copy = copy(folder.path());
        let is_done = crash_after(steps, copy.path(), Index::compact);
        assert_eq!(held(copy.path()), all, "{steps} steps");
        let index = Index::open(copy.path(), ALL).unwrap();
        assert_eq!(held(copy.path()), all, "{steps} steps");
        index.compact().unwrap();
        assert_eq!(held(copy.path()), all, "{steps} steps");
        assert!(names(copy.path()).len() < 8);
        assert!(!index.append(20, minute(20, 40)).unwrap());
        if is_done {
            assert!(steps >= 20, "removing each of the merged is a step");
            break;
        }
    }
}

#[test]
fn after_every_crash_of_a_removal_no_batch_can_come_twice() {
    let (folder, all) = filled(3);
    for steps in 0.. {
        let copy = copy(folder.path());
        let is_done = crash_after(steps, copy.path(), |_| {
            // The same folder, for one who keeps nothing.
            let retention = Retention {
                age_secs: 1,
                bytes: 0,
            };
            retain_as(copy.path(), retention)
        });
        let held_now = held(copy.path());
        assert!(held_now.iter().all(|it| all.get(it.0) == Some(it.1)));
        let index = Index::open(copy.path(), ALL).unwrap();
        assert!(!index.append(3, minute(3, 40)).unwrap(), "{steps} steps");
        assert_eq!(held(copy.path()), held_now);
        assert!(index.append(4, minute(4, 40)).unwrap());
        if is_done {
            assert_eq!(held_now.len(), 0);
            break;
        }
    }
}

fn retain_as(folder: &Path, retention: Retention) -> Result<Removed, IndexError> {
    let copy = folder.join("lock");
    fs::remove_file(&copy).unwrap();
    Index::open(folder, retention)?.retain(2_000 * DAY)
}

#[test]
fn of_a_merge_that_was_not_tidied_up_only_the_result_counts() {
    let (folder, all) = filled(9);
    let merged = copy(folder.path());
    let index = Index::open(merged.path(), ALL).unwrap();
    assert_eq!(index.compact().unwrap(), 1);
    drop(index);
    // Both generations, and a file that was half written.
    for name in names(merged.path()) {
        fs::copy(merged.path().join(&name), folder.path().join(&name)).unwrap();
    }
    fs::write(
        folder.path().join("0000000000000001-0000000000000009.tmp"),
        b"PAR1",
    )
    .unwrap();
    assert_eq!(held(folder.path()), all);
    drop(Index::open(folder.path(), ALL).unwrap());
    assert_eq!(names(folder.path()), names(merged.path()));
}

#[test]
fn an_empty_batch_is_remembered_beyond_a_restart() {
    let (folder, all) = filled(3);
    for batch in [4, 9] {
        let index = Index::open(folder.path(), ALL).unwrap();
        assert!(index.append(batch, Vec::new()).unwrap());
        drop(index);
        let index = Index::open(folder.path(), ALL).unwrap();
        assert!(!index.append(batch, minute(batch, 40)).unwrap());
    }
    assert_eq!(held(folder.path()), all);
    assert_eq!(names(folder.path()).len(), 4);
}

#[test]
fn a_second_writer_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let index = Index::open(folder.path(), ALL).unwrap();
    let second = Index::open(folder.path(), ALL);
    assert!(matches!(second, Err(IndexError::Locked { .. })));
    drop(index);
    Index::open(folder.path(), ALL).unwrap();
}

#[test]
fn the_oldest_go_first_when_there_is_too_much() {
    let (folder, _) = filled(6);
    let sizes: Vec<_> = names(folder.path())
        .iter()
        .map(|name| fs::metadata(folder.path().join(name)).unwrap().len())
        .collect();
    let retention = Retention {
        age_secs: u64::MAX,
        bytes: sizes[4] + sizes[5],
    };
    let index = Index::open(folder.path(), retention).unwrap();
    let removed = index.retain(0).unwrap();
    assert_eq!((removed.files, removed.bindings), (4, 160));
    assert_eq!(removed.bytes, sizes[..4].iter().sum::<u64>());
    assert_eq!(
        held(folder.path()),
        counted([minute(5, 40), minute(6, 40)].concat())
    );
}
