//! Where the pages of the database are.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use nix::fcntl::{AT_FDCWD, PosixFadviseAdvice, RenameFlags, posix_fadvise, renameat2};
use redb::{Builder, Database, DatabaseError, StorageError, backends::FileBackend};

use super::{Trouble, builder};

/// Opens a database that is there, as often as it has to be.
pub(in crate::control::store) trait Medium: Send + Sync {
    /// What errors name.
    fn object(&self) -> String;
    /// Opens it.
    fn open(&self, builder: &mut Builder) -> Result<Database, DatabaseError>;
    /// Bytes that it takes.
    fn size(&self) -> io::Result<u64>;
}

/// A file.
pub(super) struct FileMedium(PathBuf);

impl FileMedium {
    /// A file at a path; if there is none, one that `initialise` was run on. It is made
    /// under another name and appears whole: what a crash leaves half-made would not be
    /// taken for a database, nor for an empty file.
    pub(super) fn new(
        path: &Path,
        initialise: fn(&Database) -> Result<(), Trouble>,
    ) -> Result<Self, Trouble> {
        if !path.try_exists().map_err(StorageError::from)? {
            let folder = make_folder(path).map_err(StorageError::from)?;
            let mut draft = path.as_os_str().to_owned();
            draft.push(".new");
            let draft = Path::new(&draft);
            let file = create(draft).map_err(StorageError::from)?;
            let database = builder().create_with_backend(FileBackend::new(file)?)?;
            initialise(&database)?;
            database.close()?;
            publish(draft, path, &folder).map_err(StorageError::from)?;
        }
        Ok(Self(path.to_owned()))
    }
}

impl Medium for FileMedium {
    fn object(&self) -> String {
        self.0.display().to_string()
    }

    fn open(&self, builder: &mut Builder) -> Result<Database, DatabaseError> {
        let file = OpenOptions::new().read(true).write(true).open(&self.0);
        let file = file.map_err(StorageError::from)?;
        if file.metadata().map_err(StorageError::from)?.len() == 0 {
            let empty = io::Error::new(io::ErrorKind::InvalidData, "the file is empty");
            return Err(StorageError::from(empty).into());
        }
        // After a failed write the kernel may hold pages that the disk has not: what is
        // checked now is to be what a restart would find. Only a hint, so no error.
        let _ = posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
        builder.create_with_backend(FileBackend::new(file)?)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(fs::metadata(&self.0)?.len())
    }
}

/// Makes the folder of a file if there is none, for its owner alone; returns it.
fn make_folder(path: &Path) -> io::Result<PathBuf> {
    let folder = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let missing: Vec<&Path> = folder
        .ancestors()
        .take_while(|one| *one != Path::new("") && !one.exists())
        .collect();
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    for made in missing {
        sync_folder(made.parent().unwrap_or(folder))?;
    }
    Ok(folder.to_owned())
}

/// A new, empty file; one of an attempt that did not end is removed.
fn create(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600);
    options.open(path)
}

/// Gives a file its name, unless another has it by now, for good.
fn publish(draft: &Path, path: &Path, folder: &Path) -> io::Result<()> {
    match renameat2(
        AT_FDCWD,
        draft,
        AT_FDCWD,
        path,
        RenameFlags::RENAME_NOREPLACE,
    ) {
        Ok(()) => {}
        Err(nix::errno::Errno::EEXIST) => fs::remove_file(draft)?,
        Err(error) => return Err(error.into()),
    }
    sync_folder(folder)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    let folder = if folder == Path::new("") {
        Path::new(".")
    } else {
        folder
    };
    File::open(folder)?.sync_all()
}
