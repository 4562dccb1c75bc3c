//! Random networks with random rules, questions about them that lie at the edges of
//! their prefixes and port ranges, and what it takes to read a failure: rule sets that
//! shrink while they still fail, and their text.

mod dice;
mod network;
mod places;
mod questions;
mod show;
mod shrink;
mod traffic;

pub use dice::Dice;
pub use network::{Size, config};
pub use questions::{Question, questions};
pub use show::show;
pub use shrink::{is_closed, shrink};

#[cfg(test)]
mod tests;
