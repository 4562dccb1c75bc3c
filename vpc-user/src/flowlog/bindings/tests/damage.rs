//! Files that are torn, flipped, foreign or gone.

use std::fs;

use super::*;

fn folder_of_two() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let index = Index::open(folder.path(), ALL).unwrap();
    for batch in 1..=2 {
        index.append(batch, minute(batch, 30)).unwrap();
    }
    folder
}

/// The first file was damaged: what is found is true, and the file is named unless nothing
/// is missing.
fn check(folder: &Path, first: &str, what: impl std::fmt::Debug) {
    let found = Reader::new(folder).find(&everything()).unwrap();
    let whole = counted([minute(1, 30), minute(2, 30)].concat());
    let held = counted(found.bindings);
    assert!(
        held.iter().all(|it| whole.get(it.0) == Some(it.1)),
        "{what:?}"
    );
    assert!(
        minute(2, 30).iter().all(|it| held.contains_key(it)),
        "{what:?}"
    );
    match &found.skipped[..] {
        [] => assert_eq!(held, whole, "{what:?}"),
        [sentence] => assert!(sentence.contains(first), "{what:?}"),
        more => panic!("{what:?}: {more:?}"),
    }
}

#[test]
fn no_flipped_byte_of_a_file_makes_a_wrong_answer() {
    let folder = folder_of_two();
    let first = names(folder.path()).remove(0);
    let path = folder.path().join(&first);
    let whole = fs::read(&path).unwrap();
    let mut bytes = whole.clone();
    for at in (0..whole.len()).step_by(3) {
        bytes[at] ^= 1 << (at % 8);
        fs::write(&path, &bytes).unwrap();
        check(folder.path(), &first, at);
        bytes[at] = whole[at];
    }
}

#[test]
fn a_torn_file_is_named_and_passed_over() {
    let folder = folder_of_two();
    let first = names(folder.path()).remove(0);
    let path = folder.path().join(&first);
    let whole = fs::read(&path).unwrap();
    for length in (0..whole.len()).step_by(61) {
        fs::write(&path, &whole[..length]).unwrap();
        let found = Reader::new(folder.path()).find(&everything()).unwrap();
        assert_eq!(counted(found.bindings), counted(minute(2, 30)));
        assert_eq!(found.skipped.len(), 1);
        assert!(found.skipped[0].contains(&first), "{}", found.skipped[0]);
    }
}

#[test]
fn a_foreign_file_is_named_and_passed_over() {
    let folder = folder_of_two();
    let of_two = names(folder.path());
    // Bytes of one file under the name of another, and a name that is none.
    let other = of_two[0].replace("0000000000000001", "0000000000000007");
    fs::copy(folder.path().join(&of_two[1]), folder.path().join(&other)).unwrap();
    fs::write(folder.path().join("flows.parquet"), b"PAR1PAR1").unwrap();
    fs::write(folder.path().join("notes.txt"), b"").unwrap();
    fs::create_dir(folder.path().join("more.parquet")).unwrap();
    let found = Reader::new(folder.path()).find(&everything()).unwrap();
    assert_eq!(
        counted(found.bindings),
        counted([minute(1, 30), minute(2, 30)].concat())
    );
    assert_eq!(found.skipped.len(), 3);
    for (sentence, name) in found.skipped.iter().zip(["flows", "more", &other]) {
        assert!(sentence.contains(name), "{sentence}");
    }
}

#[test]
fn a_damaged_file_stays_and_the_others_are_merged() {
    let folder = tempfile::tempdir().unwrap();
    let index = Index::open(folder.path(), ALL).unwrap();
    for batch in 1..=20 {
        index.append(batch, minute(batch, 30)).unwrap();
    }
    // A page of it, which only reading its rows shows.
    let damaged = names(folder.path()).remove(9);
    let path = folder.path().join(&damaged);
    let mut bytes = fs::read(&path).unwrap();
    bytes[40] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert!(index.compact().unwrap() >= 2);
    assert!(names(folder.path()).contains(&damaged));
    assert!(names(folder.path()).len() < 6);
    let wanted = (1..=20)
        .filter(|batch| *batch != 10)
        .flat_map(|batch| minute(batch, 30));
    let found = index.find(&everything()).unwrap();
    assert_eq!(counted(found.bindings), counted(wanted));
    assert_eq!(found.skipped.len(), 1);
}

#[test]
fn a_damaged_file_goes_when_its_time_has_come() {
    let folder = folder_of_two();
    let path = folder.path().join(names(folder.path()).remove(0));
    fs::write(&path, b"").unwrap();
    let retention = Retention {
        age_secs: 3_600,
        bytes: u64::MAX,
    };
    let index = Index::open(folder.path(), retention).unwrap();
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let now = u64::try_from(now.as_millis()).unwrap();
    // The other is years old.
    let removed = index.retain(now).unwrap();
    assert_eq!((removed.files, removed.bindings), (1, 30));
    assert!(path.exists());
    index.retain(now + DAY).unwrap();
    assert!(!path.exists());
}

#[test]
fn what_is_not_there_is_empty() {
    let folder = tempfile::tempdir().unwrap();
    let reader = Reader::new(folder.path().join("none"));
    assert_eq!(reader.find(&everything()).unwrap(), Found::default());
}

#[test]
fn a_folder_that_is_a_file_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, b"").unwrap();
    for error in [
        Index::open(&path, ALL).unwrap_err(),
        Reader::new(&path).find(&everything()).unwrap_err(),
    ] {
        assert!(error.to_string().contains("file"), "{error}");
    }
}
