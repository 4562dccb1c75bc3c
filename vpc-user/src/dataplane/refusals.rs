//! What rules and routes refused, by what a flow log tells of it. The kernel counts;
//! whoever shows it reads along; and what has come to rest is taken out and handed on,
//! so that the table has room for the next.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
};

use aya::maps::{MapData, MapError};
use vpc_common::{
    addr::{Addr, Port},
    drop::DropReason,
    layout::{RefusalKey, name},
    time::{Tick, ticks_from_secs},
};

use super::{
    Dataplane, bpf, clock,
    listing::{protocol_label, seconds, socket_address, v4},
    object::pinned,
    start_error::StartError,
    tables::Hash,
};
use crate::model::{RefusalDirection, RefusalInfo};

/// How long nothing of its kind was refused before an entry is handed on: the shortest
/// interval of a flow log.
const IDLE_SECS: u32 = 60;

/// A [`vpc_common::layout::Refusal`] as it is copied from the table: packets, bytes,
/// and the ticks of the first and the last in the halves of a word.
pub type Counted = [u64; 3];

/// Packets that rules or routes refused for one reason, with everything in common that a
/// flow log tells: what its REJECT records are made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RefusalRecord {
    /// Whose they were, and where to or from.
    pub key: RefusalKey,
    /// Packets.
    pub packets: u64,
    /// Bytes of IP packets.
    pub bytes: u64,
    /// When the first came.
    pub first: Tick,
    /// When the last came.
    pub last: Tick,
}

impl RefusalRecord {
    /// An entry of the table.
    pub const fn new(key: RefusalKey, counted: Counted) -> Self {
        let [packets, bytes, times] = counted;
        Self {
            key,
            packets,
            bytes,
            first: Tick(times as u32),
            last: Tick((times >> 32) as u32),
        }
    }

    /// Index of the environment.
    pub const fn environment(&self) -> u32 {
        self.key.owners >> 16
    }

    /// Index of the ENI.
    pub const fn eni(&self) -> u32 {
        self.key.owners & 0xffff
    }

    /// IP protocol number.
    pub const fn protocol(&self) -> u8 {
        self.key.protocol as u8
    }

    /// Whether the packets were on their way to the environment.
    pub const fn is_reply(&self) -> bool {
        self.key.protocol & RefusalKey::REPLY != 0
    }

    /// The ENI's port if [`RefusalRecord::is_reply`], else the environment's own: such a
    /// packet had not got a port of an ENI yet.
    pub const fn local_port(&self) -> Port {
        Port::from_wire((self.key.ports >> 16) as u16)
    }

    /// The other end's port.
    pub const fn remote_port(&self) -> Port {
        Port::from_wire(self.key.ports as u16)
    }

    /// Whether it has come to rest.
    pub fn is_idle(&self, now: Tick) -> bool {
        now.since(self.last) >= ticks_from_secs(IDLE_SECS)
    }
}

/// The table, for the thread that hands records on.
pub struct Refusals {
    table: Hash<RefusalKey, Counted>,
    /// The same once more, for a call that aya does not make.
    map: OwnedFd,
    /// Entries of the table.
    limit: usize,
}

impl Refusals {
    /// Opens the table under a folder.
    pub fn open(maps: &Path, limit: u32) -> Result<Self, StartError> {
        let table = name::REFUSALS;
        let unopened =
            |source: Box<dyn std::error::Error + Send + Sync>| StartError::Map { table, source };
        let map = MapData::from_pin(maps.join(table)).map_err(|error| unopened(Box::new(error)))?;
        let map = map.fd().as_fd().try_clone_to_owned();
        Ok(Self {
            table: pinned(maps, table)?,
            map: map.map_err(|error| unopened(Box::new(error)))?,
            limit: limit as usize,
        })
    }

    /// What is in the table. All of it, because after a removal a walk would begin again.
    pub fn read(&self) -> Result<Vec<RefusalRecord>, MapError> {
        read(&self.table, self.limit)
    }

    /// Takes one out, in one step with reading it.
    pub fn take(&self, record: &RefusalRecord) -> io::Result<Option<RefusalRecord>> {
        let counted = bpf::take_entry(&self.map, &record.key)?;
        Ok(counted.map(|counted| RefusalRecord::new(record.key, counted)))
    }
}

/// At most `limit` entries: the kernel adds some while they are read.
fn read(table: &Hash<RefusalKey, Counted>, limit: usize) -> Result<Vec<RefusalRecord>, MapError> {
    let entries = table.iter().take(limit);
    entries
        .map(|entry| entry.map(|(key, counted)| RefusalRecord::new(key, counted)))
        .collect()
}

impl Dataplane {
    /// What rules and routes refused lately, the most packets first.
    pub fn refusals(&self) -> Result<Vec<RefusalInfo>, MapError> {
        let now = clock::now_tick();
        let records = read(&self.tables.refusals, self.limits.refusals as usize)?;
        let mut listed: Vec<RefusalInfo> = records
            .iter()
            .map(|record| self.refusal_info(record, now))
            .collect();
        listed.sort_by_key(|refusal| std::cmp::Reverse(refusal.packets));
        Ok(listed)
    }

    fn refusal_info(&self, record: &RefusalRecord, now: Tick) -> RefusalInfo {
        let environment = self.environments.get(record.environment());
        let eni = self.mirror.enis.get(&record.eni());
        let reason = DropReason::from_number(record.key.reason);
        let address = eni.map_or(Addr::UNSPECIFIED, |eni| eni.value.address);
        RefusalInfo {
            environment: environment.map_or_else(
                || record.environment().to_string(),
                |found| found.name.clone(),
            ),
            eni: eni.map_or_else(|| record.eni().to_string(), |eni| eni.name.clone()),
            eni_address: v4(address),
            direction: if record.is_reply() {
                RefusalDirection::In
            } else {
                RefusalDirection::Out
            },
            protocol: protocol_label(record.protocol()),
            local_port: record.local_port().number(),
            remote: socket_address(record.key.remote, record.remote_port()),
            reason: reason.map_or("unknown", DropReason::label).to_owned(),
            packets: record.packets,
            bytes: record.bytes,
            age_secs: seconds(now.since(record.first)),
            idle_secs: seconds(now.since(record.last)),
        }
    }
}

#[cfg(test)]
mod tests {
    use vpc_common::addr::V4;

    use super::*;

    fn record(protocol: u32) -> RefusalRecord {
        let port = |number| u32::from(Port::new(number).to_wire());
        let key = RefusalKey {
            remote: Addr::from_v4(V4::new([10, 0, 3, 7])),
            owners: 5 << 16 | 2,
            ports: port(40_000) << 16 | port(443),
            protocol,
            reason: DropReason::SgEgress as u32,
        };
        RefusalRecord::new(key, [3, 180, 100 | 900 << 32])
    }

    #[test]
    fn a_record_is_read_as_the_kernel_wrote_it() {
        let record = record(6);
        assert_eq!((record.environment(), record.eni()), (5, 2));
        assert_eq!((record.protocol(), record.is_reply()), (6, false));
        assert_eq!(record.local_port().number(), 40_000);
        assert_eq!(record.remote_port().number(), 443);
        assert_eq!((record.packets, record.bytes), (3, 180));
        assert_eq!((record.first, record.last), (Tick(100), Tick(900)));
        let reply = self::record(17 | RefusalKey::REPLY);
        assert_eq!((reply.protocol(), reply.is_reply()), (17, true));
    }

    #[test]
    fn a_record_rests_after_a_minute_without_a_packet() {
        let rest = ticks_from_secs(IDLE_SECS);
        assert!(!record(6).is_idle(Tick(900 + rest - 1)));
        assert!(record(6).is_idle(Tick(900 + rest)));
        // Another CPU stored a later one.
        assert!(!record(6).is_idle(Tick(899)));
    }
}
