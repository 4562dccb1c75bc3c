//! The kernel side: maps, packet access, and the connection of the decisions in
//! `vpc-common` to both. A branch about NAT does not belong here.

#![no_std]
#![feature(core_intrinsics)]
#![expect(
    internal_features,
    reason = "BPF atomics are reached through intrinsics only"
)]

pub mod clock;
pub mod entry;
pub mod hook;
pub mod judging;
pub mod maps;
pub mod packet;

pub mod skb;
pub mod sweep;
pub mod trace;
pub mod xdp;
