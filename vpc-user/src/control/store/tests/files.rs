//! Files: who may read them, who has them open, and what is in them.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use redb::{Database, TableDefinition};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::model::{acl, random_state, vpc};
use crate::control::{
    Record, State,
    store::{
        LAYOUT, RedbStore, Revision, Store, StoreError,
        file::of_file,
        layout::{Migration, RawRecords},
        restore,
    },
};

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const RECORDS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("records");

/// A folder with a store of one VPC.
fn one_vpc() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let mut state = State::default();
    let record = Record::from(vpc(1, None));
    state.replace(&record.key(), Some(record));
    restore(&RedbStore::open(&path).unwrap(), &state, false).unwrap();
    (folder, path)
}

/// Changes a file behind the store's back.
fn tamper(
    path: &Path,
    change: impl FnOnce(&mut redb::Table<'_, &str, u64>, &mut redb::Table<'_, &str, &[u8]>),
) {
    let database = Database::open(path).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let mut meta = transaction.open_table(META).unwrap();
        let mut records = transaction.open_table(RECORDS).unwrap();
        change(&mut meta, &mut records);
    }
    transaction.commit().unwrap();
}

/// The sentence of an error: of opening, or of loading.
fn sentence(path: &Path) -> String {
    let failed = RedbStore::open(path).and_then(|store| store.load());
    failed.unwrap_err().to_string()
}

#[test]
fn the_file_and_its_folders_are_for_their_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b/state.redb");
    let store = RedbStore::open(&path).unwrap();
    assert_eq!(store.path(), path);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    assert_eq!(
        store.status().unwrap().bytes,
        fs::metadata(&path).unwrap().len()
    );
    let names = fs::read_dir(path.parent().unwrap()).unwrap().count();
    assert_eq!(names, 1, "nothing else is left in the folder");
}

#[test]
fn a_file_half_made_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    fs::write(folder.path().join("state.redb.new"), "half").unwrap();
    RedbStore::open(&path).unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn the_state_outlives_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let state = random_state(3, 30);
    restore(&RedbStore::open(&path).unwrap(), &state, false).unwrap();
    let again = RedbStore::open(&path).unwrap();
    assert_eq!(again.load().unwrap(), (state, Revision(1)));
}

#[test]
fn one_process_has_it_open() {
    let (_folder, path) = one_vpc();
    let store = RedbStore::open(&path).unwrap();
    let error = sentence(&path);
    let path = path.display();
    let expected = format!(
        "{path}: another process has it open; stop that one first (`fuser {path}` shows it), or \
         name another file"
    );
    assert_eq!(error, expected);
    assert_eq!(store.load().unwrap().1, Revision(1));
}

#[test]
fn what_is_no_state_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    for content in ["", "text", &"long text ".repeat(200_000)] {
        fs::write(&path, content).unwrap();
        let error = sentence(&path);
        assert!(
            error.contains("state.redb: ") && error.contains("import an export"),
            "{error}"
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
    }
    fs::remove_file(&path).unwrap();
    let foreign = Database::create(&path).unwrap();
    let transaction = foreign.begin_write().unwrap();
    transaction
        .open_table(TableDefinition::<u8, u8>::new("theirs"))
        .unwrap();
    transaction.commit().unwrap();
    drop(foreign);
    let error = sentence(&path);
    assert!(error.contains("a database of another program"), "{error}");
}

#[test]
fn a_record_without_what_it_refers_to_is_named() {
    let (_folder, path) = one_vpc();
    let acl = Record::from(acl(1, 1));
    let (vpc, acl_path) = (
        "vpc/vpc-00000000000000001",
        "network-acl/acl-00000000000000001",
    );
    let json = acl.encode().unwrap();
    tamper(&path, |_, records| {
        records.insert(acl_path, json.as_slice()).unwrap();
    });
    let (state, _) = RedbStore::open(&path).unwrap().load().unwrap();
    assert_eq!(state.len(), 2);
    tamper(&path, |_, records| {
        records.remove(vpc).unwrap();
    });
    let expected = format!(
        "{acl_path} in {}: it refers to vpc vpc-00000000000000001, which is not there; move the \
         file away and put back a backup, or import an export into a new file",
        path.display()
    );
    assert_eq!(sentence(&path), expected);
}

#[test]
fn damaged_pages_are_an_error_and_no_panic() {
    let (_folder, path) = one_vpc();
    let whole = fs::read(&path).unwrap();
    for at in (512..whole.len()).step_by(1_024) {
        let mut damaged = whole.clone();
        for byte in damaged.iter_mut().skip(at).take(512) {
            *byte ^= 0x5a;
        }
        fs::write(&path, damaged).unwrap();
        match RedbStore::open(&path).and_then(|store| store.load()) {
            Ok((state, _)) => assert_eq!(state.len(), 1),
            Err(StoreError::Failed { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn a_record_that_is_none_is_named() {
    let vpc = "vpc/vpc-00000000000000001";
    let cases: &[(&str, &[u8], &str)] = &[
        (vpc, b"{", "it is no record: EOF"),
        (vpc, b"{}", "it is no record: missing field"),
        ("moon/1", b"{}", "there is no kind \"moon\""),
        ("moon", b"{}", "its key has no kind"),
    ];
    for (key, json, expected) in cases {
        let (_folder, path) = one_vpc();
        tamper(&path, |_, records| {
            records.insert(key, json).unwrap();
        });
        let error = sentence(&path);
        assert!(
            error.contains(&format!("{key} in {}", path.display())),
            "{error}"
        );
        assert!(error.contains(expected), "{error}");
        assert_eq!(sentence(&path), error, "it is still there");
    }
}

#[test]
fn a_newer_layout_is_refused() {
    let (_folder, path) = one_vpc();
    tamper(&path, |meta, _| {
        meta.insert("layout", LAYOUT + 6).unwrap();
    });
    let expected = format!(
        "{}: its layout is {}, and this program knows layouts up to {LAYOUT}; run the version of \
         vpc that wrote it, or a newer one",
        path.display(),
        LAYOUT + 6,
    );
    assert_eq!(sentence(&path), expected);
    tamper(&path, |meta, _| {
        meta.insert("layout", LAYOUT).unwrap();
    });
    assert_eq!(
        RedbStore::open(&path).unwrap().load().unwrap().1,
        Revision(1)
    );
}

fn rename(records: &mut RawRecords) -> Result<(), String> {
    let old = records.remove("moon/1").ok_or("there is no moon")?;
    records.insert("vpc/vpc-00000000000000002".into(), old);
    Ok(())
}

fn complete(records: &mut RawRecords) -> Result<(), String> {
    let moon = records.get_mut("vpc/vpc-00000000000000002");
    let moon = moon.ok_or("it was not renamed")?;
    *moon = serde_json::to_value(vpc(2, None)).map_err(|error| error.to_string())?;
    moon["InstanceTenancy"] = json!("dedicated");
    Ok(())
}

fn refuse(_: &mut RawRecords) -> Result<(), String> {
    Err("it cannot be".into())
}

#[test]
fn an_older_layout_is_migrated_in_one_transaction() {
    let (_folder, path) = one_vpc();
    tamper(&path, |_, records| {
        records.insert("moon/1", b"{}".as_slice()).unwrap();
    });
    let open =
        |migrations: &'static [Migration]| RedbStore::with(of_file(&path).unwrap(), migrations);
    let error = open(&[rename, complete, refuse]).unwrap_err().to_string();
    assert!(
        error.contains("layout 3 cannot be brought up to date: it cannot be"),
        "{error}"
    );
    assert!(sentence(&path).contains("moon"), "nothing was changed");
    let (state, revision) = open(&[rename, complete]).unwrap().load().unwrap();
    assert_eq!(revision, Revision(1));
    let tenancies: Vec<Value> = state
        .records()
        .map(|record| record.to_value().unwrap()["InstanceTenancy"].clone())
        .collect();
    assert_eq!(tenancies, [json!("default"), json!("dedicated")]);
    assert!(open(&[rename, complete]).is_ok(), "each runs once");
    assert!(sentence(&path).contains("its layout is 3"));
}
