//! Networks under test: every command goes in as JSON, and after each the invariants
//! hold.

mod dice;
mod invariants;
mod network_acls;
mod others;
mod properties;
mod routes;
mod security_groups;
mod subnets;
mod vpcs;
mod world;
