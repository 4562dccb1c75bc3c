//! The life of functions, ENIs and environments, by example and at random.

mod eni;
mod environments;
mod invariants;
mod properties;
mod states;
pub mod world;
