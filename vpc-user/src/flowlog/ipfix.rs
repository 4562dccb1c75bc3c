//! The NAT's events for a collector: IPFIX (RFC 7011) with the templates of RFC 8158.
//!
//! What a NAT of many has to log (RFC 6888 REQ-12), so that an address, a port and a moment
//! name an environment.
//! [`Encoder`] makes messages and knows neither clock nor socket; [`Exporter`] sends them.
//!
//! Addresses alone name nobody here: clones all have the same one inside, and tenants' VPCs
//! overlap outside. RFC 8158 has two elements for that. `internalAddressRealm` (464) is the
//! environment's name, `externalAddressRealm` (465) the ENI's id. Both are octets "of some
//! unique identifier", so that a name needs no number that a collector would have to be told
//! of, as `ingressVRFID` would; and names of interfaces or applications would say something
//! else of the flow.

mod encoder;
mod exporter;
mod template;

#[cfg(test)]
mod tests;

use std::{net::Ipv4Addr, sync::Arc};

pub use encoder::{Encoder, MIN_MESSAGE, MessageSizeError, Refresh};
pub use exporter::{Collector, ExportError, Exporter, Protocol};
pub use template::REALM;

use serde::{Deserialize, Serialize};

use super::{Environment, Place};

/// Something that happened in the NAT.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Event {
    /// When, Unix milliseconds.
    pub time: u64,
    /// What.
    pub what: NatEvent,
}

/// What happened (RFC 8158 section 4.3). All but the first two may come with every packet:
/// RFC 8158 wants them limited in rate, which is up to the caller.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum NatEvent {
    /// A flow was opened: `NAT44 session create`, 4.
    SessionCreate(Session),
    /// It has ended: `NAT44 session delete`, 5.
    SessionDelete(Session),
    /// No ENI of a group has a port left: `NAT Addresses exhausted`, 3.
    AddressesExhausted {
        /// Index of the group: `natPoolId`.
        pool: u32,
    },
    /// An ENI has no port left for a protocol: `NAT ports exhausted`, 12.
    PortsExhausted {
        /// The ENI.
        place: Arc<Place>,
        /// IP protocol number.
        protocol: u8,
    },
    /// The host has as many flows as it may have: `Quota Exceeded`, 13, of `Maximum session
    /// entries`, 1.
    SessionsExceeded {
        /// How many.
        limit: u32,
    },
    /// An environment has as many flows as it may have: `Quota Exceeded`, 13, of `Maximum
    /// entries per user`, 3.
    UserEntriesExceeded {
        /// The environment.
        environment: Arc<Environment>,
        /// How many.
        limit: u32,
    },
}

/// A flow, as it is on both sides of the NAT. The other end is the same on both.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Session {
    /// IP protocol number.
    pub protocol: u8,
    /// The environment.
    pub environment: Arc<Environment>,
    /// The environment's own port.
    pub inside_port: u16,
    /// The ENI.
    pub place: Arc<Place>,
    /// The port on the ENI.
    pub outside_port: u16,
    /// The other end.
    pub remote: Ipv4Addr,
    /// The other end's port.
    pub remote_port: u16,
}
