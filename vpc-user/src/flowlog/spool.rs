//! What is to be delivered and was not yet, on disk: a file a parcel, in order. A spool that
//! is full drops its oldest parcels.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Read as _, Write},
    path::{Path, PathBuf},
};

use bytes::Bytes;

pub use super::destination::Parcel;

/// Ending of the files' names.
const ENDING: &str = ".parcel";
/// The longest name of a parcel.
const NAME_MAX: u64 = 4_096;

/// What is wrong with a spool.
#[derive(Debug, thiserror::Error)]
#[error("{path} cannot be {verb} ({source}): see whether the disk is full, and who owns it")]
pub struct SpoolError {
    path: PathBuf,
    verb: &'static str,
    source: io::Error,
}

impl SpoolError {
    /// Whoever was to do it has ended.
    pub fn gone(error: tokio::task::JoinError) -> Self {
        Self {
            path: PathBuf::new(),
            verb: "read",
            source: io::Error::other(error),
        }
    }

    fn of(path: &Path, verb: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self {
            path: path.to_owned(),
            verb,
            source,
        }
    }
}

/// Which parcel: the file of the journal that it was made after, and its number among those.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Number {
    /// The last file of the journal that is in it.
    pub journal: u64,
    /// Counts the parcels made of the same.
    pub part: u32,
}

/// A folder of parcels.
#[derive(Clone, Debug)]
pub struct Spool {
    dir: PathBuf,
    /// Bytes, at most; the newest parcel is kept whatever its size.
    limit: u64,
}

/// A parcel that is being made.
#[derive(Debug)]
pub struct Draft {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Spool {
    /// Of a folder, which is made if it is not there.
    pub fn open(dir: &Path, limit: u64) -> Result<Self, SpoolError> {
        super::make_folder(dir).map_err(SpoolError::of(dir, "made"))?;
        Ok(Self {
            dir: dir.to_owned(),
            limit,
        })
    }

    /// The names of the folders of spools under a folder.
    pub fn all(dir: &Path) -> Result<Vec<String>, SpoolError> {
        let failed = || SpoolError::of(dir, "read");
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed()(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            names.extend(entry.map_err(failed())?.file_name().into_string());
        }
        Ok(names)
    }

    fn path(&self, number: Number) -> PathBuf {
        let Number { journal, part } = number;
        self.dir.join(format!("{journal:016}-{part:08}{ENDING}"))
    }

    /// Begins a parcel.
    pub fn begin(&self, name: &str, part: u32) -> Result<Draft, SpoolError> {
        let path = self.dir.join(format!("{part:08}.draft"));
        let file = File::create(&path).map_err(SpoolError::of(&path, "made"))?;
        let mut file = BufWriter::with_capacity(1 << 16, file);
        writeln!(file, "{name}").map_err(SpoolError::of(&path, "written"))?;
        Ok(Draft { path, file })
    }

    /// Keeps a parcel. A second one of the same number takes the place of the first.
    pub fn keep(&self, draft: Draft, number: Number) -> Result<(), SpoolError> {
        let Draft { path, file } = draft;
        let failed = |error: io::IntoInnerError<_>| error.into_error();
        let flushed = file.into_inner().map_err(failed);
        let synced = flushed.and_then(|file| file.sync_all());
        synced.map_err(SpoolError::of(&path, "written"))?;
        fs::rename(&path, self.path(number)).map_err(SpoolError::of(&path, "kept"))
    }

    /// Parcels that are there, the oldest first, with their sizes.
    pub fn list(&self) -> Result<Vec<(Number, u64)>, SpoolError> {
        let failed = || SpoolError::of(&self.dir, "read");
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(failed())? {
            let entry = entry.map_err(failed())?;
            let name = entry.file_name();
            // What was delivered meanwhile is not there any more.
            if let Some(number) = name.to_str().and_then(number)
                && let Ok(metadata) = entry.metadata()
            {
                found.push((number, metadata.len()));
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// A parcel; `None` if it is not there any more.
    pub fn read(&self, number: Number) -> Result<Option<Parcel>, SpoolError> {
        let path = self.path(number);
        let failed = || SpoolError::of(&path, "read");
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed()(error)),
        };
        let mut whole = Vec::new();
        file.read_to_end(&mut whole).map_err(failed())?;
        let end = whole
            .iter()
            .take(NAME_MAX as usize)
            .position(|it| *it == b'\n');
        let name = end.and_then(|end| String::from_utf8(whole.get(..end)?.to_vec()).ok());
        let (Some(end), Some(name)) = (end, name) else {
            return Err(failed()(io::ErrorKind::InvalidData.into()));
        };
        let body = Bytes::from(whole).slice(end + 1..);
        Ok(Some(Parcel { name, body }))
    }

    /// Removes a parcel, if it is there.
    pub fn remove(&self, number: Number) -> Result<(), SpoolError> {
        let path = self.path(number);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(SpoolError::of(&path, "removed")(error))
            }
            _ => Ok(()),
        }
    }

    /// Drops the oldest parcels of a spool that is too large: how many that were.
    pub fn trim(&self) -> Result<u64, SpoolError> {
        let parcels = self.list()?;
        let mut size: u64 = parcels.iter().map(|(_, size)| size).sum();
        let mut dropped = 0;
        for (number, bytes) in parcels.iter().rev().skip(1).rev() {
            if size <= self.limit {
                break;
            }
            self.remove(*number)?;
            size -= bytes;
            dropped += 1;
        }
        Ok(dropped)
    }

    /// Removes what was made of files of the journal from a number on: it is made again.
    pub fn rewind(&self, journal: u64) -> Result<(), SpoolError> {
        for (number, _) in self.list()? {
            if number.journal >= journal {
                self.remove(number)?;
            }
        }
        Ok(())
    }

    /// Removes the folder with all that is in it.
    pub fn destroy(&self) -> Result<(), SpoolError> {
        match fs::remove_dir_all(&self.dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(SpoolError::of(&self.dir, "removed")(error))
            }
            _ => Ok(()),
        }
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The number in a file's name.
fn number(name: &str) -> Option<Number> {
    let (journal, part) = name.strip_suffix(ENDING)?.split_once('-')?;
    Some(Number {
        journal: journal.parse().ok()?,
        part: part.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn put(spool: &Spool, journal: u64, part: u32, body: &[u8]) {
        let mut draft = spool.begin(&format!("a/{journal}"), part).unwrap();
        draft.write_all(body).unwrap();
        spool.keep(draft, Number { journal, part }).unwrap();
    }

    fn numbers(spool: &Spool) -> Vec<(u64, u32)> {
        let parcels = spool.list().unwrap().into_iter();
        parcels.map(|(it, _)| (it.journal, it.part)).collect()
    }

    #[test]
    fn parcels_come_out_as_they_went_in_and_in_order() {
        let dir = TempDir::new().unwrap();
        let spool = Spool::open(&dir.path().join("fl-1"), 1 << 20).unwrap();
        put(&spool, 10, 0, b"x\ny\n");
        put(&spool, 9, 1, b"");
        put(&spool, 9, 0, &[0, 1, 255]);
        assert_eq!(numbers(&spool), [(9, 0), (9, 1), (10, 0)]);
        let number = Number {
            journal: 10,
            part: 0,
        };
        let parcel = spool.read(number).unwrap().unwrap();
        assert_eq!(
            (parcel.name.as_str(), &parcel.body[..]),
            ("a/10", &b"x\ny\n"[..])
        );
        // Made again.
        put(&spool, 10, 0, b"z");
        assert_eq!(&spool.read(number).unwrap().unwrap().body[..], b"z");
        spool.remove(number).unwrap();
        spool.remove(number).unwrap();
        assert_eq!(spool.read(number).unwrap(), None);
    }

    #[test]
    fn a_full_spool_drops_the_oldest_and_never_the_newest() {
        let dir = TempDir::new().unwrap();
        let spool = Spool::open(dir.path(), 250).unwrap();
        for journal in 0..5 {
            put(&spool, journal, 0, &[b'x'; 95]);
        }
        assert_eq!(spool.trim().unwrap(), 3);
        assert_eq!(numbers(&spool), [(3, 0), (4, 0)]);
        put(&spool, 5, 0, &[b'x'; 1_000]);
        assert_eq!(spool.trim().unwrap(), 2);
        assert_eq!(numbers(&spool), [(5, 0)]);
        assert_eq!(spool.trim().unwrap(), 0);
    }

    #[test]
    fn what_is_made_again_is_removed_before() {
        let dir = TempDir::new().unwrap();
        let spool = Spool::open(dir.path(), 1 << 20).unwrap();
        for journal in 1..4 {
            put(&spool, journal, 0, b"x");
        }
        fs::write(dir.path().join("nonsense.parcel"), b"x").unwrap();
        spool.rewind(2).unwrap();
        assert_eq!(numbers(&spool), [(1, 0)]);
    }

    #[test]
    fn a_parcel_without_a_name_is_an_error() {
        let dir = TempDir::new().unwrap();
        let spool = Spool::open(dir.path(), 1 << 20).unwrap();
        let number = Number {
            journal: 1,
            part: 0,
        };
        fs::write(spool.path(number), [b'x'; 10_000]).unwrap();
        let error = spool.read(number).unwrap_err().to_string();
        assert!(
            error.contains("0000000000000001-00000000.parcel"),
            "{error}"
        );
    }
}
