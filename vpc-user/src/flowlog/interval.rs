//! What crossed in an interval, out of the files of the journal that it consists of.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    net::Ipv4Addr,
    path::PathBuf,
    sync::Arc,
};

use vpc_common::{drop::DropReason, layout::RefusalKey};

use super::{
    Action, Environment, Flow, FlowDirection, Inside, Place, Record, What,
    journal::{self, EniEntry, Entry, ExhaustedEntry, FlowEntry, JournalError, RefusalEntry},
};

/// Flows of one part, about: what is in memory at a time.
const PART_FLOWS: u64 = 1 << 17;
/// Bytes of an entry of the journal, about.
const ENTRY_BYTES: u64 = 64;

/// What has one record in an interval: one direction of a flow, let through or refused for
/// one reason.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FlowId {
    /// Number of the ENI.
    pub eni: u32,
    /// Number of the environment; none: it is not known.
    pub environment: Option<u32>,
    /// Which way.
    pub direction: FlowDirection,
    /// IP protocol number.
    pub protocol: u8,
    /// Whether it left by the uplink of a peered VPC.
    pub is_peered: bool,
    /// The other end.
    pub remote: Ipv4Addr,
    /// The other end's port.
    pub remote_port: u16,
    /// The port on the ENI; of what was refused before it had one, the environment's own.
    pub local_port: u16,
    /// The environment's own port; 0: it is not known.
    pub inside_port: u16,
    /// Why it was refused, by number; 0: it was not.
    pub reason: u32,
}

impl FlowId {
    /// Whether it was let through.
    pub fn action(&self) -> Action {
        DropReason::from_number(self.reason).map_or(Action::Accept, Action::Reject)
    }
}

/// What has crossed. Times are Unix seconds.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Delta {
    /// Packets.
    pub packets: u64,
    /// Bytes of IP packets.
    pub bytes: u64,
    /// The first of them; the earliest that it can have been.
    pub first: u64,
    /// The last of them.
    pub last: u64,
    /// TCP flags that were not there before, as AWS folds them.
    pub tcp_flags: u8,
}

impl Delta {
    fn add(&mut self, other: &Self) {
        self.packets = self.packets.saturating_add(other.packets);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.tcp_flags |= other.tcp_flags;
    }
}

/// An ENI, and what is known of it besides its flows.
#[derive(Clone, Debug)]
pub struct Eni {
    /// Where it is.
    pub place: Arc<Place>,
    /// Whether it was there, with or without traffic.
    pub is_present: bool,
    /// Packets that no record tells of.
    pub unrecorded: u64,
}

/// Some closed files of the journal, one after the other: an interval.
#[derive(Debug)]
pub struct Interval {
    files: Vec<PathBuf>,
    /// When it began, Unix seconds.
    pub begun: u64,
    /// When it ended.
    pub ended: u64,
    /// Every ENI that is named.
    pub enis: Vec<Eni>,
    environments: Vec<Arc<Environment>>,
    /// What numbers in each file stand for.
    numbers: Vec<Numbers>,
    /// Sees to it that no sender of packets chooses their part.
    parts: RandomState,
    part_count: u64,
}

/// What numbers in a file stand for: positions in an interval's lists.
#[derive(Clone, Default, Debug)]
struct Numbers {
    enis: HashMap<u32, u32>,
    environments: HashMap<u32, u32>,
}

impl Interval {
    /// Reads the names of files, which are closed.
    pub fn open(files: Vec<PathBuf>) -> Result<Self, JournalError> {
        let mut interval = Self {
            files: Vec::new(),
            begun: u64::MAX,
            ended: 0,
            enis: Vec::new(),
            environments: Vec::new(),
            numbers: Vec::new(),
            parts: RandomState::new(),
            part_count: 1,
        };
        let (mut places, mut names) = (HashMap::new(), HashMap::new());
        let mut bytes = 0;
        for file in &files {
            let mut numbers = Numbers::default();
            let mut unrecorded: HashMap<u32, (u64, u64)> = HashMap::new();
            let found = journal::read(file, |entry| match entry {
                Entry::EniName(number, place) => {
                    let known = places.entry(place.clone());
                    let at = *known.or_insert_with(|| interval.add_eni(*place));
                    numbers.enis.insert(number, at);
                }
                Entry::EnvironmentName(number, environment) => {
                    let known = names.entry(environment.clone());
                    let at = *known.or_insert_with(|| interval.add_environment(*environment));
                    numbers.environments.insert(number, at);
                }
                Entry::Eni(entry) => interval.note(&numbers, entry, &mut unrecorded),
                _ => {}
            })?;
            if found.is_cut() {
                let bytes = found.len - found.good;
                tracing::error!(file = %file.display(), bytes, "the end of a journal is damaged");
            }
            for (at, (first, last)) in unrecorded {
                if let Some(eni) = interval.enis.get_mut(at as usize) {
                    eni.unrecorded += last.saturating_sub(first);
                }
            }
            bytes += found.good;
            interval.begun = interval.begun.min(found.begun);
            interval.ended = interval.ended.max(found.ended.unwrap_or(found.begun));
            interval.numbers.push(numbers);
        }
        interval.part_count = (bytes / ENTRY_BYTES).div_ceil(PART_FLOWS).max(1);
        interval.files = files;
        Ok(interval)
    }

    fn add_eni(&mut self, place: Place) -> u32 {
        self.enis.push(Eni {
            place: Arc::new(place),
            is_present: false,
            unrecorded: 0,
        });
        self.enis.len() as u32 - 1
    }

    fn add_environment(&mut self, environment: Environment) -> u32 {
        self.environments.push(Arc::new(environment));
        self.environments.len() as u32 - 1
    }

    fn note(
        &mut self,
        numbers: &Numbers,
        entry: EniEntry,
        unrecorded: &mut HashMap<u32, (u64, u64)>,
    ) {
        let Some(at) = numbers.enis.get(&entry.eni).copied() else {
            return;
        };
        if let Some(eni) = self.enis.get_mut(at as usize) {
            eni.is_present = true;
        }
        let (first, last) = unrecorded.entry(at).or_insert((entry.unrecorded, 0));
        // Begun anew with another ENI of that index.
        *first = (*first).min(entry.unrecorded);
        *last = entry.unrecorded;
    }

    /// Into how many parts the flows are divided.
    pub const fn part_count(&self) -> u64 {
        self.part_count
    }

    /// The sums of one part of the flows; the others are not held in memory meanwhile.
    pub fn part(&self, part: u64) -> Result<HashMap<FlowId, Delta>, JournalError> {
        let mut sums: HashMap<FlowId, Delta> = HashMap::new();
        self.each(|id, delta| {
            if self.parts.hash_one(id) % self.part_count == part {
                let sum = sums.entry(id);
                sum.and_modify(|sum| sum.add(&delta)).or_insert(delta);
            }
        })?;
        Ok(sums)
    }

    /// Every entry, as it is in the files.
    pub fn each(&self, mut take: impl FnMut(FlowId, Delta)) -> Result<(), JournalError> {
        for (file, numbers) in self.files.iter().zip(&self.numbers) {
            journal::read(file, |entry| match entry {
                Entry::Flow(entry) => {
                    for (id, delta) in self.flow(numbers, &entry) {
                        take(id, delta);
                    }
                }
                Entry::Refusal(entry) => {
                    if let Some((id, delta)) = self.refusal(numbers, &entry) {
                        take(id, delta);
                    }
                }
                _ => {}
            })?;
        }
        Ok(())
    }

    /// Both directions of a flow, those in which something crossed.
    fn flow(
        &self,
        numbers: &Numbers,
        entry: &FlowEntry,
    ) -> impl Iterator<Item = (FlowId, Delta)> + use<> {
        let eni = numbers.enis.get(&entry.eni).copied();
        let id = FlowId {
            eni: eni.unwrap_or_default(),
            environment: numbers.environments.get(&entry.environment).copied(),
            direction: FlowDirection::Egress,
            protocol: entry.protocol,
            is_peered: entry.is_peered,
            remote: entry.remote,
            remote_port: entry.remote_port,
            local_port: entry.outside_port,
            inside_port: entry.inside_port,
            reason: 0,
        };
        let (first, last) = self.moments(entry.created, entry.last);
        let delta = |packets: u32, bytes, tcp_flags: u16| Delta {
            packets: packets.into(),
            bytes,
            first,
            last,
            tcp_flags: (tcp_flags & 0xff) as u8,
        };
        let [forward, reply] = [entry.tcp_flags >> 8, entry.tcp_flags];
        let both = [
            (
                id,
                delta(entry.forward_packets, entry.forward_bytes, forward),
            ),
            (
                FlowId {
                    direction: FlowDirection::Ingress,
                    ..id
                },
                delta(entry.reply_packets, entry.reply_bytes, reply),
            ),
        ];
        both.into_iter()
            .filter(move |(_, delta)| delta.packets != 0 && eni.is_some())
    }

    fn refusal(&self, numbers: &Numbers, entry: &RefusalEntry) -> Option<(FlowId, Delta)> {
        let key = &entry.key;
        let is_reply = key.protocol & RefusalKey::REPLY != 0;
        let [local_port, remote_port] =
            [key.ports >> 16, key.ports].map(|port| u16::from_be(port as u16));
        let id = FlowId {
            eni: *numbers.enis.get(&entry.eni)?,
            environment: numbers.environments.get(&entry.environment).copied(),
            direction: if is_reply {
                FlowDirection::Ingress
            } else {
                FlowDirection::Egress
            },
            protocol: key.protocol as u8,
            is_peered: false,
            remote: key.remote.v4().octets().into(),
            remote_port,
            local_port,
            inside_port: if is_reply { 0 } else { local_port },
            reason: key.reason,
        };
        let (first, last) = self.moments(entry.first, entry.last);
        let delta = Delta {
            packets: entry.packets,
            bytes: entry.bytes,
            first,
            last,
            tcp_flags: 0,
        };
        Some((id, delta))
    }

    /// Unix milliseconds as seconds, inside the interval: what was earlier was told of
    /// before.
    fn moments(&self, first: u64, last: u64) -> (u64, u64) {
        let inside = |at: u64| (at / 1_000).clamp(self.begun, self.ended.max(self.begun));
        (inside(first), inside(last))
    }

    /// The record of a sum.
    pub fn record(&self, id: &FlowId, delta: &Delta) -> Option<Record> {
        let eni = self.enis.get(id.eni as usize)?;
        let environment = id.environment.and_then(|at| {
            let environment = self.environments.get(at as usize)?;
            Some(Arc::clone(environment))
        });
        let action = id.action();
        let is_egress = id.direction == FlowDirection::Egress;
        let flow = Flow {
            direction: id.direction,
            protocol: id.protocol,
            remote: id.remote,
            remote_port: id.remote_port,
            local_port: id.local_port,
            packets: delta.packets,
            bytes: delta.bytes,
            action,
            tcp_flags: delta.tcp_flags,
            // What was refused took no way.
            traffic_path: (is_egress && action == Action::Accept).then_some(if id.is_peered {
                4
            } else {
                1
            }),
            inside: environment.map(|of| Inside {
                of,
                port: (id.inside_port != 0).then_some(id.inside_port),
            }),
        };
        Some(Record {
            place: Arc::clone(&eni.place),
            start: delta.first,
            end: delta.last,
            what: What::Flow(flow),
        })
    }

    /// Who had nothing left, with the place and the environment that numbers stand for.
    pub fn exhausted(
        &self,
        mut take: impl FnMut(&ExhaustedEntry, Option<&Arc<Place>>, Option<&Arc<Environment>>),
    ) -> Result<(), JournalError> {
        for (file, numbers) in self.files.iter().zip(&self.numbers) {
            journal::read(file, |entry| {
                let Entry::Exhausted(entry) = entry else {
                    return;
                };
                let eni = numbers.enis.get(&entry.eni);
                let eni = eni.and_then(|at| self.enis.get(*at as usize));
                let environment = numbers.environments.get(&entry.environment);
                let environment = environment.and_then(|at| self.environments.get(*at as usize));
                take(&entry, eni.map(|eni| &eni.place), environment);
            })?;
        }
        Ok(())
    }

    /// What flows carried, entry by entry, with the places and environments that numbers stand
    /// for.
    pub fn flows(
        &self,
        mut take: impl FnMut(&FlowEntry, &Arc<Place>, Option<&Arc<Environment>>),
    ) -> Result<(), JournalError> {
        for (file, numbers) in self.files.iter().zip(&self.numbers) {
            journal::read(file, |entry| {
                let Entry::Flow(entry) = entry else { return };
                let eni = numbers.enis.get(&entry.eni);
                let Some(eni) = eni.and_then(|at| self.enis.get(*at as usize)) else {
                    return;
                };
                let environment = numbers.environments.get(&entry.environment);
                let environment = environment.and_then(|at| self.environments.get(*at as usize));
                take(&entry, &eni.place, environment);
            })?;
        }
        Ok(())
    }
}
