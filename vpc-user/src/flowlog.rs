//! Flow logs: what crossed an ENI, in the records that AWS's tools read, and who was behind
//! its ports.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html>
//!
//! The kernel's records go to the [`journal`] first; flow logs and the index of bindings are
//! made from its closed files by a thread of their own, and delivered by tasks. Nothing in
//! here is waited for by the data path: what is not read stays with the kernel, what is not
//! delivered stays on disk.

pub mod bindings;
mod delivery;
pub mod destination;
mod directory;
mod field;
pub mod file;
mod format;
mod interval;
pub mod ipfix;
pub mod journal;
mod keeper;
mod log;
mod maker;
mod nat_events;
mod object;
mod parcels;
mod progress;
mod record;
mod spool;
mod target;

use std::{fs::DirBuilder, io, os::unix::fs::DirBuilderExt as _, path::Path};

#[cfg(test)]
mod python;
#[cfg(test)]
mod tests;

pub use delivery::{Outcome, Ready, Told, deliver};
pub use directory::{Directory, Environment, View};
pub use field::{Field, Type};
pub use format::{FormatError, LogFormat};
pub use interval::{Delta, Eni, FlowId, Interval};
pub use keeper::{FLUSH, Keeper};
pub use log::{Form, Log, Scope, TrafficType};
pub use maker::{Folders, Made, MakeError, Maker, each_binding};
pub use object::{ObjectNames, WINDOW};
pub use record::{Action, Flow, FlowDirection, Inside, Place, Record, Value, What};
pub use spool::{Spool, SpoolError};
pub use target::Target;

/// Makes a folder, if it is not there, for nobody else: who talks to whom is nobody else's
/// business.
pub fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}
