//! Who was behind an ENI's address and port at a time: an index of ended flows, for asking
//! long after.
//!
//! The index is a folder of Parquet files that never change. A file holds the bindings of a
//! run of batches, sorted by address, port, protocol and start, and its name says which
//! batches. [`Index::append`] makes a file of one batch; [`Index::compact`] makes one of
//! several neighbours, whose files are then redundant: where one file's batches are among
//! those of another, only the larger one counts. So a folder needs no list of its files that
//! could disagree with it, and a crash at any moment leaves at most files that are in nobody's
//! way. Whatever is read is held against a checksum before it is used.
//!
//! Flows that lived for more than an hour have row groups of their own. A few of them would
//! otherwise stretch the times of every row group so far that none could be passed over.
//!
//! One process writes. Any number of processes and threads read, each by a [`Reader`].

mod append;
mod columns;
mod compact;
mod file;
mod find;
mod folder;
#[doc(hidden)]
pub mod generate;
mod index;
mod merge;
mod reader;
mod scan;
mod sums;

#[cfg(test)]
mod tests;

use std::{io, net::Ipv4Addr, ops::RangeInclusive, path::PathBuf, sync::Arc};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

pub use index::{Index, Removed};
pub use reader::Reader;

/// A flow that has ended, and who was behind it.
///
/// Times are Unix milliseconds; the index keeps them up to `i64::MAX`, and takes a later one
/// for that.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Binding {
    /// When it began.
    pub start: u64,
    /// When it was taken down: up to then the port was its own.
    pub end: u64,
    /// The ENI's VPC: addresses are unique in a VPC only.
    pub vpc_id: Arc<str>,
    /// The ENI.
    pub interface_id: Arc<str>,
    /// The ENI's address.
    pub address: Ipv4Addr,
    /// The port on the ENI.
    pub port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// The other end.
    pub remote: Ipv4Addr,
    /// The other end's port.
    pub remote_port: u16,
    /// The environment.
    pub environment: Arc<str>,
    /// The version of a function that it ran, by its qualified ARN. The index takes an empty
    /// name for none.
    pub function: Option<Arc<str>>,
    /// The environment's own address.
    pub inside: Ipv4Addr,
    /// The environment's own port.
    pub inside_port: u16,
}

/// How much is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retention {
    /// Seconds since the end of a flow. A file goes when all its flows have, so that some stay
    /// for up to a tenth of this, or a day, longer.
    pub age_secs: u64,
    /// Bytes of all files.
    pub bytes: u64,
}

/// A question. What is `None` may be anything.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Query {
    /// The ENI's address.
    pub address: Option<Ipv4Addr>,
    /// Ports on the ENI.
    pub ports: Option<RangeInclusive<u16>>,
    /// IP protocol number.
    pub protocol: Option<u8>,
    /// Where the other end is.
    pub remote: Option<Ipv4Net>,
    /// The other end's port.
    pub remote_port: Option<u16>,
    /// The environment.
    pub environment: Option<String>,
    /// The function: its qualified ARN, its ARN without the version, or its name.
    pub function: Option<String>,
    /// A flow counts if it was open at some moment from here, Unix milliseconds,
    pub from: u64,
    /// to here, inclusive.
    pub to: u64,
    /// The most bindings of the answer.
    pub limit: usize,
}

impl Default for Query {
    /// Everything at any time, a thousand bindings of it.
    fn default() -> Self {
        Self {
            address: None,
            ports: None,
            protocol: None,
            remote: None,
            remote_port: None,
            environment: None,
            function: None,
            from: 0,
            to: u64::MAX,
            limit: 1_000,
        }
    }
}

impl Query {
    /// Whether it asks for a flow.
    pub fn has(&self, binding: &Binding) -> bool {
        fn is<T: PartialEq>(asked: Option<&T>, value: &T) -> bool {
            asked.is_none_or(|asked| asked == value)
        }
        let in_time = binding.start <= self.to && binding.end >= self.from;
        in_time
            && is(self.address.as_ref(), &binding.address)
            && self
                .ports
                .as_ref()
                .is_none_or(|ports| ports.contains(&binding.port))
            && is(self.protocol.as_ref(), &binding.protocol)
            && self.remote.is_none_or(|net| net.contains(&binding.remote))
            && is(self.remote_port.as_ref(), &binding.remote_port)
            && self
                .environment
                .as_deref()
                .is_none_or(|name| name == &*binding.environment)
            && self.function.as_deref().is_none_or(|function| {
                let qualified = binding.function.as_deref();
                qualified.is_some_and(|qualified| is_function(qualified, function))
            })
    }
}

/// Whether a qualified ARN is a function's, by that, by its ARN or by its name.
pub fn is_function(qualified: &str, function: &str) -> bool {
    let arn = qualified.rsplit_once(':').map_or(qualified, |(arn, _)| arn);
    let name = arn.rsplit_once(':').map_or(arn, |(_, name)| name);
    [qualified, arn, name].contains(&function)
}

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Found {
    /// What was found, the newest end first.
    pub bindings: Vec<Binding>,
    /// Whether there is more than the limit let through.
    pub truncated: bool,
    /// Files that could not be read, a sentence each: what they held is missing here.
    pub skipped: Vec<String>,
}

/// Why the index did not do what it was asked. What is on disk is as it was.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The folder cannot be used.
    #[error("the index in {path} cannot be used ({source}): see to the folder and its disk")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        source: io::Error,
    },
    /// A second writer.
    #[error("the index in {path} is being written by another process: only one may")]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// A file could not be written.
    #[error("{path} cannot be written ({cause}): see to the disk, then try again")]
    Write {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// Files kept vanishing.
    #[error("files of the index in {path} vanish as fast as they are listed: try again later")]
    Restless {
        /// The folder.
        path: PathBuf,
    },
}
