//! Readers beside a writer.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    thread,
};

use super::*;

#[test]
fn readers_miss_nothing_while_files_are_appended_and_merged() {
    let folder = tempfile::tempdir().unwrap();
    let index = Index::open(folder.path(), ALL).unwrap();
    let (appended, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    let read = |reader: &Reader| {
        while !is_over.load(SeqCst) {
            let before = appended.load(SeqCst);
            let found = reader.find(&everything()).unwrap();
            let after = appended.load(SeqCst) + 1;
            assert_eq!(found.skipped, Vec::<String>::new());
            let count = u64::try_from(found.bindings.len()).unwrap();
            // Whole batches, each once.
            assert_eq!(count % 10, 0);
            assert!(
                (before * 10..=after * 10).contains(&count),
                "{before} {count} {after}"
            );
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| read(index.reader()));
        scope.spawn(|| read(&Reader::new(folder.path())));
        scope.spawn(|| {
            while !is_over.load(SeqCst) {
                index.compact().unwrap();
            }
        });
        for batch in 1..=300 {
            index.append(batch, minute(batch, 10)).unwrap();
            appended.store(batch, SeqCst);
        }
        is_over.store(true, SeqCst);
    });
    assert_eq!(held(folder.path()).len(), 3_000);
}
