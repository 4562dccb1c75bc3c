//! The agent behind `vpc`: loads and keeps the kernel programs, owns the life of
//! environments and ENIs, and answers the command line.

pub mod agent;
pub mod api;
pub mod cli;
pub mod config;
pub mod dataplane;
pub mod model;
pub mod print;
