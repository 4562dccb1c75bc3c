//! A flow, and the packets of both its ends.

use etherparse::TcpHeader;

use super::Run;
use crate::{
    layout::Owner,
    packet_table::{
        In,
        build::{Built, segment},
        world::*,
    },
    state::{TCP, UDP},
};

/// A flow as the environment sees it.
#[derive(Clone, Copy, Debug)]
pub struct Conn {
    /// Whose.
    pub environment: usize,
    /// TCP or UDP.
    pub protocol: u8,
    /// Source port of the environment.
    pub inside_port: u16,
    /// The other end.
    pub remote: [u8; 4],
    /// Its port.
    pub remote_port: u16,
}

impl Conn {
    /// A TCP connection to the usual server.
    pub const fn new_tcp(environment: usize, inside_port: u16) -> Self {
        Self {
            environment,
            protocol: TCP,
            inside_port,
            remote: if environment == 2 {
                OTHER_SERVER
            } else {
                SERVER
            },
            remote_port: 443,
        }
    }

    /// A UDP flow to the usual server.
    pub const fn new_udp(environment: usize, inside_port: u16) -> Self {
        let tcp = Self::new_tcp(environment, inside_port);
        Self {
            protocol: UDP,
            remote_port: 53,
            ..tcp
        }
    }

    /// To another address.
    pub const fn to(self, remote: [u8; 4]) -> Self {
        Self { remote, ..self }
    }

    /// The ENI that its group prefers.
    pub const fn default_eni(&self) -> usize {
        if self.environment == 2 { 2 } else { 0 }
    }

    /// The link of the environment.
    pub const fn link(&self) -> In {
        In::Environment(self.environment)
    }

    /// The uplink it leaves by.
    pub const fn uplink(&self) -> In {
        In::Uplink(if self.environment == 2 { 1 } else { 0 })
    }

    /// Whom drops of the environment's packets are counted for.
    pub const fn owner(&self) -> Owner {
        Owner::environment(self.environment as u32)
    }

    pub(super) fn next_hop_mac(&self) -> [u8; 6] {
        match self.remote {
            SERVER => SERVER_MAC,
            OTHER_SERVER => OTHER_SERVER_MAC,
            _ => ROUTER_MAC,
        }
    }

    /// A packet of the environment's without a body.
    pub fn out(&self) -> Built {
        Built::new(INSIDE_MAC, GATEWAY_MAC, INSIDE, self.remote)
    }

    /// A packet of the remote's without a body.
    pub fn back(&self, run: &Run<'_>) -> Built {
        let uplink = UPLINK_MAC[usize::from(self.environment == 2)];
        Built::new(
            self.next_hop_mac(),
            uplink,
            self.remote,
            run.outside(self).0,
        )
    }

    /// A segment of the environment's.
    pub fn tcp(&self, flags: &str, sequence: u32, ack: u32, data: &[u8]) -> Built {
        self.out().tcp(self.header(flags, sequence, ack), data)
    }

    /// Its TCP header.
    pub fn header(&self, flags: &str, sequence: u32, ack: u32) -> TcpHeader {
        segment(self.inside_port, self.remote_port, flags, sequence, ack)
    }

    /// A segment of the remote's.
    pub fn tcp_back(
        &self,
        run: &Run<'_>,
        flags: &str,
        sequence: u32,
        ack: u32,
        data: &[u8],
    ) -> Built {
        self.back(run)
            .tcp(self.header_back(run, flags, sequence, ack), data)
    }

    /// Its TCP header.
    pub fn header_back(&self, run: &Run<'_>, flags: &str, sequence: u32, ack: u32) -> TcpHeader {
        segment(self.remote_port, run.outside(self).1, flags, sequence, ack)
    }

    /// A datagram of the environment's.
    pub fn udp(&self, data: &[u8]) -> Built {
        self.out().udp(self.inside_port, self.remote_port, data)
    }

    /// A datagram of the remote's.
    pub fn udp_back(&self, run: &Run<'_>, data: &[u8]) -> Built {
        self.back(run)
            .udp(self.remote_port, run.outside(self).1, data)
    }
}
