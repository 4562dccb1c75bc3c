//! The store under test: the same promises of every implementation, files that are
//! damaged or foreign, a disk that fails, a power that does, and a process that is killed.

mod contract;
mod documents;
mod faults;
mod files;
mod kill;
mod model;
mod power;

/// A folder in memory where there is one: for tests that make thousands of commits, and
/// would wait for the disk. What a process wrote outlives it on either.
fn fast_folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}
