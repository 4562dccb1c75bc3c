//! Why the agent cannot start on a folder of pins.

use std::{io, path::PathBuf};

use vpc_common::layout::LAYOUT;

use super::{cause::Cause, spec::Shape};

/// Why the agent cannot start on a folder of pins. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No BPF filesystem.
    #[error(
        "{dir} is not on a BPF filesystem: run `mount -t bpf bpf /sys/fs/bpf`, or set `pin_dir` \
         to a folder of one"
    )]
    NotBpffs {
        /// The folder.
        dir: PathBuf,
    },
    /// Made by another release.
    #[error(
        "the tables under {dir} have layout {found} and this agent has layout {LAYOUT}: run the \
         release that made them, or end their flows with `vpc teardown` and start again"
    )]
    Layout {
        /// The folder.
        dir: PathBuf,
        /// The layout found.
        found: String,
    },
    /// Made for other limits.
    #[error(
        "the tables under {dir} were made with {differences}: restore these limits in the \
         configuration, or end their flows with `vpc teardown` and start again"
    )]
    Limits {
        /// The folder.
        dir: PathBuf,
        /// The limits that differ.
        differences: String,
    },
    /// A table that is not what its name says.
    #[error(
        "the table {path} is {found} and this agent needs {needed}: end its flows with \
         `vpc teardown` and start again"
    )]
    Table {
        /// The pin.
        path: PathBuf,
        /// What it is.
        found: String,
        /// What is needed.
        needed: Shape,
    },
    /// Links without tables.
    #[error(
        "{dir} holds links of programs but no complete tables: remove them with `vpc teardown` \
         and start again"
    )]
    LinksWithoutTables {
        /// The folder.
        dir: PathBuf,
    },
    /// The kernel refused the object.
    #[error(
        "the kernel refused the programs ({}): Linux 6.1 or later with BTF is needed, and root",
        Cause(.source)
    )]
    Load {
        /// Why.
        source: Box<aya::EbpfError>,
    },
    /// The kernel does not describe its types.
    #[error(
        "{path} cannot be read ({source}): run a kernel built with CONFIG_DEBUG_INFO_BTF=y, as \
         distributions' are"
    )]
    NoBtf {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kernel's packets are not laid out as the programs can read them.
    #[error(
        "{path} describes no `struct sk_buff` that this release can read: run Linux 6.1 \
         or later, or a newer release of the agent"
    )]
    Skb {
        /// The file.
        path: PathBuf,
    },
    /// A table could not be read or written.
    #[error("the table {table} cannot be used ({}): run the agent as root", Cause(.source.as_ref()))]
    Map {
        /// Its name.
        table: &'static str,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file operation failed.
    #[error("{path} cannot be used ({source}): run the agent as root on a mounted bpffs")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}
