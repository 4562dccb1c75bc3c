//! Flow logs: what crossed an ENI, in the records that AWS's tools read. Pure: where
//! records come from and go to is not known here.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html>

mod field;
mod format;
mod interval;
mod object;
mod record;
mod source;

#[cfg(test)]
mod tests;

pub use field::{Field, Type};
pub use format::{FormatError, LogFormat};
pub use interval::{Delta, FlowId, Intervals};
pub use object::{ObjectNames, WINDOW};
pub use record::{Action, Flow, FlowDirection, Inside, Place, Record, What};
pub use source::Source;
