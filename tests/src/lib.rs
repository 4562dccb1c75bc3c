//! What the tests and the lab stand on: namespaces, topologies with an agent,
//! servers and clients, raw frames. Everything panics on failure: in a test the
//! backtrace is the report.

pub mod agent;
pub mod bench;
pub mod burst;
pub mod content;
pub mod differential;
pub mod echo;
pub mod flow_logs;
pub mod folder;
pub mod frame;
pub mod functions;
pub mod fuzz;
pub mod guest;
pub mod http;
pub mod kernel;
pub mod lab;
pub mod leavings;
pub mod netns;
pub mod oracle;
pub mod plan;
pub mod relay;
pub mod rules;
pub mod sequence;
pub mod tap;
pub mod topology;
pub mod tun;
pub mod under_way;
pub mod vm;
pub mod vpc;
pub mod wait;
pub mod world;
