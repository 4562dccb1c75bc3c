//! The resources, in the shapes and with the member names of AWS's APIs; what is ours
//! alone says so. Validated values: whoever puts one into the state has checked it.

mod function;
mod gateway;
mod interface;
mod logs;
mod network;
mod role;
mod token;

pub use function::*;
pub use gateway::*;
pub use interface::*;
pub use logs::*;
pub use network::*;
pub use role::*;
pub use token::*;
