//! The control plane as a pure state machine: resources and rules of AWS, functions and
//! their Hyperplane ENIs. `(state, command, now) → changes | error`.
//!
//! A [`Command`] runs in a [`Transaction`] over the [`State`]. What it changes comes out
//! as a list of [`Change`]s, which the store keeps and from which the data plane is
//! brought up to date; a command that is refused has changed nothing. No clock, no
//! random number, no I/O: the moment, the entropy and the caller come in a [`Context`].

mod account;
mod command;
mod context;
pub mod declare;
mod desired;
pub mod ec2;
mod error;
pub mod iam;
mod id;
pub mod lambda;
pub mod life;
mod record;
pub mod resource;
mod state;
pub mod store;
mod tags;
mod time;

pub use account::Account;
pub use command::{Answer, Command, decide, next_tick, shown};
pub use context::{Caller, Context, Entropy, Settings};
pub use desired::Desired;
pub use error::{ApiError, ErrorCode};
pub use id::{Id, IdKind};
pub use record::{Key, Kind, Record, Resource};
pub use state::{Change, State, Transaction};
pub use tags::{Tags, name_of, record_name};
pub use time::{Time, Utc};
