//! From what the kernel tells to what has crossed.

use std::{collections::HashMap, net::Ipv4Addr};

use vpc_common::{
    addr::Addr,
    layout::{FlowKey, FlowRecord},
    state::TCP,
    time::TICK_NS,
};

use super::{Delta, FlowDirection, FlowId};
use crate::dataplane::RefusalRecord;

/// Reads records of the kernel. Its counters go on from record to record, so that they are
/// differences already; its TCP flags are all of the flow so far, so that this remembers
/// which it has told of.
#[derive(Debug)]
pub struct Source {
    /// When tick 0 was, Unix nanoseconds.
    zero: u64,
    /// Flags of open TCP flows, those into the VPC << 8 | those back.
    told: HashMap<FlowKey, u32>,
}

impl Source {
    /// `zero`: what the wall clock is ahead of the monotonic one, nanoseconds.
    pub fn new(zero: u64) -> Self {
        Self {
            zero,
            told: HashMap::new(),
        }
    }

    /// The wall clock was set.
    pub const fn set_zero(&mut self, zero: u64) {
        self.zero = zero;
    }

    /// Both directions of a flow, those in which something crossed.
    pub fn flow(&mut self, record: &FlowRecord) -> impl Iterator<Item = (FlowId, Delta)> + use<> {
        let flags = self.new_flags(record);
        let (first, last) = (self.unix(record.created), self.unix(record.last));
        let id = |direction| FlowId {
            eni: record.eni.into(),
            environment: record.key.environment.into(),
            generation: record.key.generation,
            direction,
            protocol: record.key.protocol,
            remote: address(record.key.remote),
            remote_port: record.key.remote_port.number(),
            local_port: record.outside_port.number(),
            inside_port: record.key.inside_port.number(),
            reason: 0,
        };
        let delta = |packets: u32, bytes, tcp_flags: u32| Delta {
            packets: packets.into(),
            bytes,
            first,
            last,
            tcp_flags: (tcp_flags & 0xff) as u8,
        };
        let both = [
            (
                id(FlowDirection::Egress),
                delta(record.forward_packets, record.forward_bytes, flags >> 8),
            ),
            (
                id(FlowDirection::Ingress),
                delta(record.reply_packets, record.reply_bytes, flags),
            ),
        ];
        both.into_iter().filter(|(_, delta)| delta.packets != 0)
    }

    /// Packets that were refused.
    pub fn refusal(&self, record: &RefusalRecord) -> (FlowId, Delta) {
        let id = FlowId {
            eni: record.eni(),
            environment: record.environment(),
            generation: 0,
            direction: if record.is_reply() {
                FlowDirection::Ingress
            } else {
                FlowDirection::Egress
            },
            protocol: record.protocol(),
            remote: address(record.key.remote),
            remote_port: record.remote_port().number(),
            local_port: record.local_port().number(),
            inside_port: if record.is_reply() {
                0
            } else {
                record.local_port().number()
            },
            reason: record.key.reason,
        };
        let delta = Delta {
            packets: record.packets,
            bytes: record.bytes,
            first: self.unix(record.first.0),
            last: self.unix(record.last.0),
            tcp_flags: 0,
        };
        (id, delta)
    }

    /// The flags that were not told of before.
    fn new_flags(&mut self, record: &FlowRecord) -> u32 {
        if record.key.protocol != TCP {
            return 0;
        }
        let before = match record.ended {
            0 => self.told.insert(record.key, record.tcp_flags),
            _ => self.told.remove(&record.key),
        };
        record.tcp_flags & !before.unwrap_or_default()
    }

    /// A [`Tick`](vpc_common::time::Tick) in Unix seconds.
    const fn unix(&self, tick: u32) -> u64 {
        self.zero.saturating_add(tick as u64 * TICK_NS) / 1_000_000_000
    }
}

fn address(address: Addr) -> Ipv4Addr {
    address.v4().octets().into()
}
