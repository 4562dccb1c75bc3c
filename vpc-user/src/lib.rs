//! The agent behind `vpc`: loads and keeps the kernel programs, owns the life of
//! environments and ENIs, and answers the command line.

pub mod api;
pub mod cli;
pub mod config;
pub mod model;
pub mod print;

/// The kernel object, as its build script left it.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/vpc-ebpf"));
