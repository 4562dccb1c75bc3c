//! The store's file, and exports: damaged, foreign, or made by somebody hostile.

use std::{fs, path::PathBuf, sync::OnceLock};

use redb::{Database, TableDefinition};
use tempfile::TempDir;
use vpc_user::control::{
    Account, Caller, Command, Context, Entropy, Settings, State, Time, Transaction, decide,
    store::{self, RedbStore, Revision, Store as _},
};

use super::{Target, bytes::Bytes, request, state};

/// A file with any bytes changed, one with any rows in its tables, and an export of any text
/// are refused with one sentence that says what helps, or are a state without a reference that
/// leads nowhere, which is read again as it was. Nothing panics, and a file that is refused
/// stays as it is.
pub const TARGET: Target = Target {
    name: "store",
    promise: "a file is refused with what helps, or holds a state that is whole",
    run,
    seeds,
    len_max: 4_096,
    in_lines: false,
    needs_kernel: false,
};

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const RECORDS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("records");

/// What an input does.
#[derive(Clone, Copy)]
enum How {
    /// Changes bytes of a file.
    Damage,
    /// Writes rows into a file's tables.
    Rows,
    /// Is an export.
    Export,
}

impl How {
    const ALL: [Self; 3] = [Self::Damage, Self::Rows, Self::Export];
}

fn run(input: &[u8]) {
    let mut bytes = Bytes::new(input);
    match bytes.pick(&How::ALL) {
        How::Damage => damage(&mut bytes),
        How::Rows => rows(&mut bytes),
        How::Export => match store::import(bytes.rest()) {
            Ok(state) => assert_usable(&state),
            Err(error) => assert!(!error.to_string().is_empty()),
        },
    }
}

/// Places in a file, and what stands there then.
fn damage(bytes: &mut Bytes<'_>) {
    let mut file = example().to_vec();
    if bytes.bit() {
        let len = bytes.u32() as usize % (file.len() + 1);
        file.truncate(len);
    }
    while !bytes.is_empty() && !file.is_empty() {
        let at = bytes.u32() as usize % file.len();
        let len = usize::from(bytes.u8()).max(1);
        let new = bytes.take(len);
        let len = new.len().min(file.len() - at);
        file[at..at + len].copy_from_slice(&new[..len]);
    }
    let folder = folder();
    let path = folder.path().join("state.redb");
    fs::write(&path, &file).expect("written");
    if let Err(refused) = load(&path) {
        let after = fs::read(&path).expect("it is there");
        assert!(
            after == file,
            "a file that was refused is another now: {refused}"
        );
    }
}

/// Keys and values, with their lengths before them.
fn rows(bytes: &mut Bytes<'_>) {
    let folder = folder();
    let path = folder.path().join("state.redb");
    fs::write(&path, example()).expect("written");
    {
        let database = Database::open(&path).expect("a good file");
        let mut transaction = database.begin_write().expect("begun");
        transaction
            .set_durability(redb::Durability::None)
            .expect("nobody waits for a disk");
        {
            let mut meta = transaction.open_table(META).expect("a table");
            if bytes.bit() {
                let layout = u64::from(bytes.u8());
                meta.insert("layout", layout).expect("written");
            }
            let mut records = transaction.open_table(RECORDS).expect("a table");
            while !bytes.is_empty() {
                let key_len = bytes.u8().into();
                let key = String::from_utf8_lossy(bytes.take(key_len)).into_owned();
                let value_len = bytes.u16().into();
                let value = bytes.take(value_len);
                if value.is_empty() {
                    records.remove(key.as_str()).expect("written");
                } else {
                    records.insert(key.as_str(), value).expect("written");
                }
            }
        }
        transaction.commit().expect("committed");
    }
    let _ = load(&path);
}

/// Opens and reads a file; the sentence if it is refused.
fn load(path: &PathBuf) -> Result<(), String> {
    let loaded = RedbStore::open(path).and_then(|store| store.load());
    match loaded {
        Ok((state, _)) => {
            assert_usable(&state);
            let again = RedbStore::open(path).and_then(|store| store.load());
            assert_eq!(
                again.map(|(state, _)| state).ok(),
                Some(state),
                "read again"
            );
            Ok(())
        }
        Err(error) => {
            let sentence = error.to_string();
            assert!(
                sentence.contains("; "),
                "{sentence:?} says nothing that helps"
            );
            Err(sentence)
        }
    }
}

/// The agent may go on with it: whole, and what the host is to hold of it can be told.
fn assert_usable(state: &State) {
    let dangling: Vec<_> = state.dangling().collect();
    assert!(dangling.is_empty(), "{dangling:?}");
    let document = store::export(state, Revision(1)).expect("a state is JSON");
    let again = store::import(document.to_string().as_bytes());
    assert_eq!(again.ok().as_ref(), Some(state), "exported and imported");
    state::assert_served(state, &state::host(), &Settings::default());
}

/// In memory where there is such a place: thousands of files a second.
fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .expect("a folder")
}

/// The bytes of a file with a small network and a function in it.
fn example() -> &'static [u8] {
    static EXAMPLE: OnceLock<Vec<u8>> = OnceLock::new();
    EXAMPLE.get_or_init(|| {
        let folder = folder();
        let path = folder.path().join("state.redb");
        let store = RedbStore::open(&path).expect("made");
        store::restore(&store, &state_of(&request::lambda()[1]), false).expect("kept");
        drop(store);
        fs::read(&path).expect("it is there")
    })
}

/// The state that commands lead to.
fn state_of(story: &[u8]) -> State {
    let mut state = State::default();
    let mut context = Context {
        now: Time(1_700_000_000_000),
        caller: Caller::root(Account::DEFAULT),
        entropy: Entropy::new(13),
        settings: Settings::default(),
    };
    for line in story.split(|byte| *byte == b'\n').take(10) {
        let Ok(mut request) = serde_json::from_slice(line) else {
            continue;
        };
        request::fill(&mut request, &state);
        let Ok(command) = serde_json::from_value::<Command>(request) else {
            continue;
        };
        let mut transaction = Transaction::new(&mut state);
        if decide(&mut transaction, &command, &mut context).is_ok() {
            transaction.commit();
        }
    }
    state
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![
        vec![0, 0, 0, 2, 0, 0, 3, b'a', b'b', b'c'],
        vec![0, 1, 0, 1, 0, 0],
    ];
    for story in [request::ec2(), request::lambda()].concat() {
        let state = state_of(&story);
        let document = store::export(&state, Revision(3)).expect("a state is JSON");
        seeds.push([vec![2], document.to_string().into_bytes()].concat());
        let mut rows = vec![1, 0];
        for record in state.records().take(6) {
            let (key, value) = (record.key(), record.encode().expect("a record is JSON"));
            let path = format!("{}/{}", key.kind.word(), key.id);
            rows.push(path.len() as u8);
            rows.extend(path.as_bytes());
            rows.extend((value.len() as u16).to_le_bytes());
            rows.extend(value);
        }
        seeds.push(rows);
    }
    seeds
}
