//! Lambda's actions, table by table.

mod aliases;
mod names;
mod shapes;
mod validation;
mod versions;

use crate::control::life::tests::world;
