//! A power that fails: what was synced is there, and of what was written since, any part.

use std::{
    io,
    sync::{Arc, Mutex},
};

use proptest::prelude::*;
use redb::{Builder, Database, DatabaseError, StorageBackend};

use super::model::{below, next_commit};
use crate::control::{
    Entropy, State,
    store::{RedbStore, Revision, Store, file::Medium, layout::MIGRATIONS},
};

/// Bytes that a disk writes whole.
const SECTOR: usize = 512;

/// A write that was not synced.
#[derive(Clone, Debug)]
enum Write {
    Length(u64),
    Bytes(u64, Vec<u8>),
}

fn apply(image: &mut Vec<u8>, write: &Write) {
    match write {
        Write::Length(length) => image.resize(*length as usize, 0),
        Write::Bytes(offset, bytes) => {
            let start = *offset as usize;
            let end = start + bytes.len();
            image.resize(image.len().max(end), 0);
            image[start..end].copy_from_slice(bytes);
        }
    }
}

/// A disk with a cache that forgets.
#[derive(Default, Debug)]
struct Disk {
    /// What is there for good.
    synced: Vec<u8>,
    /// What was written since.
    cached: Vec<Write>,
    /// What reads see.
    seen: Vec<u8>,
    /// Writes and syncs until the power fails; `None`: it is off.
    left: Option<u64>,
}

impl Disk {
    /// The power is on, for so many operations.
    fn on(image: Vec<u8>, operations: u64) -> Self {
        Self {
            synced: image.clone(),
            cached: Vec::new(),
            seen: image,
            left: Some(operations),
        }
    }

    fn spend(&mut self) -> io::Result<()> {
        self.left = self.left.and_then(|left| left.checked_sub(1));
        match self.left {
            Some(_) => Ok(()),
            None => Err(io::Error::other("the power is off")),
        }
    }

    fn write(&mut self, write: Write) -> io::Result<()> {
        self.spend()?;
        apply(&mut self.seen, &write);
        self.cached.push(write);
        Ok(())
    }

    /// What is on the disk when the power is back: of each write since the last sync any
    /// sectors, or none.
    fn image(&self, entropy: &mut Entropy) -> Vec<u8> {
        let mut image = self.synced.clone();
        for write in &self.cached {
            match write {
                Write::Bytes(offset, bytes) => {
                    for (number, sector) in bytes.chunks(SECTOR).enumerate() {
                        if below(entropy, 2) == 0 {
                            let offset = offset + (number * SECTOR) as u64;
                            apply(&mut image, &Write::Bytes(offset, sector.to_vec()));
                        }
                    }
                }
                // A shorter file loses data only if it was let go before.
                Write::Length(_) if below(entropy, 2) == 0 => apply(&mut image, write),
                Write::Length(_) => {}
            }
        }
        image
    }
}

#[derive(Clone, Debug)]
struct Cache(Arc<Mutex<Disk>>);

impl StorageBackend for Cache {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().seen.len() as u64)
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let disk = self.0.lock().unwrap();
        let start = offset as usize;
        let bytes = disk.seen.get(start..start + out.len());
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.lock().unwrap().write(Write::Length(len))
    }
    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        disk.spend()?;
        disk.cached.clear();
        disk.synced = disk.seen.clone();
        Ok(())
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let write = Write::Bytes(offset, data.to_vec());
        self.0.lock().unwrap().write(write)
    }
}

impl Medium for Cache {
    fn object(&self) -> String {
        "disk".into()
    }
    fn open(&self, builder: &mut Builder) -> Result<Database, DatabaseError> {
        builder.create_with_backend(self.clone())
    }
    fn size(&self) -> io::Result<u64> {
        self.len()
    }
}

fn open(disk: &Cache) -> Option<RedbStore> {
    RedbStore::with(Box::new(disk.clone()), MIGRATIONS).ok()
}

/// The bytes of a new store.
fn new_store() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    drop(RedbStore::open(&path).unwrap());
    std::fs::read(path).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// The power fails again and again over one disk; every time all that was
    /// acknowledged is there, and nothing else but, whole, the commit under way.
    #[test]
    fn a_power_failure_takes_no_acknowledged_commit(seed: u64) {
        let mut entropy = Entropy::new(seed.into());
        let mut image = new_store();
        let (mut state, mut revision) = (State::default(), Revision(0));
        for _ in 0..8 {
            let operations = below(&mut entropy, 120);
            let disk = Cache(Arc::new(Mutex::new(Disk::on(image, operations))));
            let mut under_way = None;
            if let Some(store) = open(&disk) {
                while under_way.is_none() {
                    let mut next = state.clone();
                    let changes = next_commit(&mut next, &mut entropy);
                    match store.commit(revision, &changes) {
                        Ok(committed) => (state, revision) = (next, committed),
                        Err(_) => under_way = Some(next),
                    }
                }
            }
            image = disk.0.lock().unwrap().image(&mut entropy);
            let on = Cache(Arc::new(Mutex::new(Disk::on(image, u64::MAX))));
            let store = open(&on).expect("the disk is whole");
            let (found, at) = store.load().unwrap();
            if at == revision.next() {
                prop_assert_eq!(Some(&found), under_way.as_ref());
                (state, revision) = (found, at);
            } else {
                prop_assert_eq!((&found, at), (&state, revision));
            }
            drop(store);
            image = on.0.lock().unwrap().seen.clone();
        }
    }
}
