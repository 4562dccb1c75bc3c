//! Security groups, network ACLs and route tables as sockets meet them: what AWS's
//! text says of traffic that an environment opens, over the loaded programs.

mod agent;
mod explain;
mod network_acls;
mod peering;
mod routes;
mod security_groups;
