//! Flow logs: what crossed an ENI, in the records that AWS's tools read, and who was behind
//! its ports.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html>
//!
//! The kernel's records go to the [`journal`] first; flow logs and the index of bindings are
//! made from its closed files by a thread of their own, and delivered by tasks. Nothing in
//! here is waited for by the data path: what is not read stays with the kernel, what is not
//! delivered stays on disk.

mod directory;
mod field;
mod format;
mod interval;
pub mod journal;
mod keeper;
mod object;
mod record;

#[cfg(test)]
mod tests;

pub use directory::{Directory, Environment, View};
pub use field::{Field, Type};
pub use format::{FormatError, LogFormat};
pub use interval::{Delta, Eni, FlowId, Interval};
pub use keeper::{FLUSH, Keeper};
pub use object::{ObjectNames, WINDOW};
pub use record::{Action, Flow, FlowDirection, Inside, Place, Record, What};
