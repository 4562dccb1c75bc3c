//! The compiler against plain scans, and what it makes of a configuration.

mod build;
mod images;
mod networks;
mod properties;
