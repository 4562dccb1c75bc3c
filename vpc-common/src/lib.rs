//! The data path's decisions, as plain functions.
//!
//! The same code is compiled into the kernel programs and into host tests:
//! header views, checksum arithmetic, keys and values of the maps, port-pool
//! arithmetic, connection state machines and the NAT decision itself, all over
//! the [`tables::Tables`] and [`packet::Packet`] traits. Nothing in here reads a
//! clock, draws a random number, owns a map, allocates or panics.

#![cfg_attr(not(any(test, feature = "double")), no_std)]
#![cfg_attr(target_arch = "bpf", feature(core_intrinsics, asm_experimental_arch))]
#![cfg_attr(
    target_arch = "bpf",
    expect(
        internal_features,
        reason = "BPF has no stable atomic read-modify-write: see `atomic`"
    )
)]
#![warn(missing_docs)]

pub mod addr;
pub mod answer;
pub mod atomic;
#[cfg(any(test, feature = "double"))]
pub mod audit;
pub mod checksum;
#[cfg(any(test, feature = "double"))]
pub mod double;
pub mod drop;
pub mod expiry;
pub mod flow;
pub mod flow_index;
pub mod forward;
pub mod fragment;
pub mod judge;
pub mod layout;
pub mod offload;
pub mod packet;
#[cfg(any(test, feature = "double"))]
pub mod packet_table;
pub mod policy;
pub mod pool;
#[cfg(test)]
mod properties;
pub mod quoted;
pub mod reply;
pub mod rewrite;
pub mod state;
pub mod tables;
pub mod time;
pub mod transport;
pub mod verdict;
pub mod verifier;
pub mod wire;
