//! The agent behind `vpc`: loads and keeps the kernel programs, owns the life of
//! environments and ENIs, and answers the command line.

#![cfg_attr(
    test,
    expect(clippy::disallowed_types, reason = "tests ask other programs")
)]

pub mod agent;
pub mod api;
pub mod cli;
pub mod cni;
pub mod config;
pub mod control;
pub mod dataplane;
pub mod flowlog;
pub mod model;
pub mod policy;
pub mod print;
pub mod privileges;

/// The kernel object, as its build script left it.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/vpc-ebpf"));

/// The programs of the bench: the data path over packets that they restore
/// themselves. Not part of the product.
#[doc(hidden)]
pub static BENCH_OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/vpc-ebpf-bench"));
