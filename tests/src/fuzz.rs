//! What a fuzzer asks: functions over any bytes that panic when a promise is broken.
//!
//! They are plain functions, so that what a fuzzer once found is asked again by an
//! ordinary test, without a fuzzer (`tests/corpus.rs`). `cargo xtask fuzz` lets
//! libFuzzer drive them.

mod bytes;
mod cni;
mod commands;
mod config;
mod docs;
mod journal;
pub mod lines;
mod nat;
mod packet;
mod pipeline;
mod play;
mod program;
mod request;
mod socket;
mod state;
mod store;
mod sums;

use std::{fs, io, path::PathBuf};

/// Something that is fed with bytes.
pub struct Target {
    /// What it is called: on the command line, and the folder of its corpus.
    pub name: &'static str,
    /// What it promises, in one sentence.
    pub promise: &'static str,
    /// Panics if the promise does not hold for these bytes.
    pub run: fn(&[u8]),
    /// Inputs to begin with, made from what tests and documents have anyway.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Bytes of an input at most.
    pub len_max: usize,
    /// Whether its inputs are stories, a step a line.
    pub in_lines: bool,
    /// Whether it runs programs in the kernel, as root.
    pub needs_kernel: bool,
}

/// Every target.
pub const TARGETS: &[Target] = &[
    packet::TARGET,
    pipeline::TARGET,
    program::TARGET,
    config::TARGET,
    commands::EC2,
    commands::LAMBDA,
    socket::TARGET,
    store::TARGET,
    journal::TARGET,
    cni::TARGET,
];

impl Target {
    /// The target with a name.
    pub fn named(name: &str) -> Option<&'static Self> {
        TARGETS.iter().find(|target| target.name == name)
    }

    /// The folder of its corpus.
    pub fn corpus(&self) -> PathBuf {
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/corpus")).join(self.name)
    }

    /// Its corpus: the name of each file, and what is in it, by name.
    pub fn entries(&self) -> io::Result<Vec<(String, Vec<u8>)>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(self.corpus())? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            entries.push((name, fs::read(entry.path())?));
        }
        entries.sort_unstable();
        Ok(entries)
    }
}
