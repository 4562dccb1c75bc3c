//! Writing the journal: one block at a time, whole or not at all.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File, OpenOptions},
    io, mem,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Serialize;
use vpc_common::{
    layout::{FlowRecord, RefusalKey},
    time::{TICK_NS, Tick},
};

use super::{
    Entry, ExhaustedEntry, FlowEntry, JournalError, RefusalEntry, Summary, Told,
    block::{self, Bytes as _, NOBODY, tag},
    list, path, read,
    told::AllTold,
};
use crate::{
    dataplane::{Exhaustion, RefusalRecord},
    flowlog::{Environment, Place, directory::View, make_folder},
};

/// What is being made of the next file.
const DRAFT: &str = "next.draft";
/// Bytes after which a block is written, if what comes may be in another.
const BLOCK: usize = 1 << 20;

/// Seconds of one file. Files end at multiples of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Period(u64);

impl Period {
    /// A period of no length is one of a second.
    pub fn new(seconds: u32) -> Self {
        Self(u64::from(seconds.max(1)))
    }

    /// The multiple that a moment (Unix seconds) is behind.
    pub const fn boundary(self, at: u64) -> u64 {
        at - at % self.0
    }

    /// Its length, seconds.
    pub const fn seconds(self) -> u64 {
        self.0
    }
}

/// Numbers of what has a name in the file that is open, by its address: what is held here
/// is at no other meanwhile.
#[derive(Debug)]
struct Numbers<T>(HashMap<usize, (Arc<T>, u32)>);

impl<T> Default for Numbers<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

/// The journal, of its one writer.
#[derive(Debug)]
pub struct Journal {
    dir: PathBuf,
    period: Period,
    /// The file that is open: its number, itself, the bytes that it has.
    number: u64,
    file: Option<File>,
    len: u64,
    begun: u64,
    enis: Numbers<Place>,
    environments: Numbers<Environment>,
    next_number: u32,
    block: Vec<u8>,
    ring: String,
    position: u64,
    told: AllTold,
    /// What is told of with the block that is not written yet.
    telling: Vec<(RefusalKey, Option<Told>)>,
    is_synced: bool,
    nowhere: Arc<Place>,
}

impl Journal {
    /// Goes on with the journal in a folder, or begins it. `now` is in Unix seconds.
    pub fn open(dir: &Path, period: Period, now: u64) -> Result<Self, JournalError> {
        make_folder(dir).map_err(JournalError::io(dir, "made"))?;
        let mut journal = Self {
            dir: dir.to_owned(),
            period,
            number: 0,
            file: None,
            len: 0,
            begun: now,
            enis: Numbers::default(),
            environments: Numbers::default(),
            next_number: 0,
            block: Vec::new(),
            ring: String::new(),
            position: 0,
            told: AllTold::new(),
            telling: Vec::new(),
            is_synced: true,
            nowhere: Arc::new(Place::unknown()),
        };
        block::begin(&mut journal.block);
        match list(dir)?.last() {
            Some(last) => journal.adopt(*last)?,
            None => journal.begin_file(1)?,
        }
        Ok(journal)
    }

    /// Goes on with a file: what was cut off at its end is cut off.
    fn adopt(&mut self, number: u64) -> Result<(), JournalError> {
        let path = path(&self.dir, number);
        let mut numbers = 0;
        let (ring, position, told) = (&mut self.ring, &mut self.position, &mut self.told);
        let found = read(&path, |entry| match entry {
            Entry::EniName(number, _) | Entry::EnvironmentName(number, _) => {
                numbers = numbers.max(number.saturating_add(1));
            }
            Entry::Position(of, at) => (*ring, *position) = (of, at),
            Entry::Refusal(entry) => {
                told.insert(entry.key, entry.told);
            }
            Entry::Told(key, so_far) => {
                told.insert(key, so_far);
            }
            Entry::Taken(key) => {
                told.remove(&key);
            }
            _ => {}
        });
        let found = match found {
            Ok(found) => found,
            Err(error @ JournalError::Damaged { .. }) => {
                tracing::error!(%error, "the journal of flows goes on in another file");
                return self.begin_file(number + 1);
            }
            Err(error) => return Err(error),
        };
        self.next_number = numbers;
        if found.ended.is_some() || found.good == 0 {
            if let Some(ended) = found.ended {
                // Or now, by a clock that was set back since.
                self.begun = self.begun.min(ended);
            }
            // Nothing is kept in a file without a block: it is begun anew.
            let next = if found.good == 0 { number } else { number + 1 };
            return self.begin_file(next);
        }
        self.go_on(number, &path, found)
    }

    fn go_on(&mut self, number: u64, path: &Path, found: Summary) -> Result<(), JournalError> {
        let file = OpenOptions::new().write(true).open(path);
        let file = file.map_err(JournalError::io(path, "opened"))?;
        if found.is_cut() {
            let lost = found.len - found.good;
            tracing::info!(
                file = %path.display(),
                bytes = lost,
                "a block that was being written is written again"
            );
            file.set_len(found.good)
                .map_err(JournalError::io(path, "cut"))?;
        }
        (self.number, self.len, self.begun) = (number, found.good, found.begun);
        self.file = Some(file);
        Ok(())
    }

    /// Makes a file that begins where the last one ended. It is there with all that it begins
    /// with, or not at all.
    fn begin_file(&mut self, number: u64) -> Result<(), JournalError> {
        let draft = self.dir.join(DRAFT);
        let written = self.write_first(&draft);
        let (file, len) = written.map_err(JournalError::io(&draft, "written"))?;
        let path = path(&self.dir, number);
        fs::rename(&draft, &path).map_err(JournalError::io(&path, "made"))?;
        sync_folder(&self.dir)?;
        self.enis = Numbers::default();
        self.environments = Numbers::default();
        (self.number, self.len, self.next_number) = (number, len, 0);
        self.file = Some(file);
        self.is_synced = false;
        Ok(())
    }

    /// What a file begins with, and how long that is.
    fn write_first(&self, path: &Path) -> io::Result<(File, u64)> {
        let file = File::create(path)?;
        let (mut first, mut len) = (Vec::new(), 0);
        block::begin(&mut first);
        tag::BEGUN.put(&mut first);
        self.begun.put(&mut first);
        for (key, told) in &self.told {
            tag::TOLD.put(&mut first);
            key.put(&mut first);
            told.put(&mut first);
            if first.len() >= BLOCK {
                len += write_block(&file, &mut first, len)?;
            }
        }
        put_position(&self.ring, self.position, &mut first);
        len += write_block(&file, &mut first, len)?;
        Ok((file, len))
    }

    /// Where the files are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The number of the file that is open.
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// Says of which ring, and so of which tables, records are to come: the position before
    /// which everything is kept. Nothing is known of any other.
    pub fn resume(&mut self, ring: &str) -> u64 {
        if self.ring != ring {
            ring.clone_into(&mut self.ring);
            self.position = 0;
            self.told.clear();
        }
        self.position
    }

    /// Says which refusals are in the table: of those that were taken out by somebody who
    /// could not say so any more, nothing was told.
    pub fn only_told(&mut self, present: &[RefusalRecord]) -> Result<(), JournalError> {
        let present: HashSet<RefusalKey> = present.iter().map(|record| record.key).collect();
        let keys = self.told.keys().filter(|key| !present.contains(key));
        let absent: Vec<RefusalKey> = keys.copied().collect();
        self.taken(&absent)
    }

    /// Takes what flows carried. `zero` is when tick 0 was, in Unix nanoseconds, and `now` the
    /// moment, in Unix milliseconds.
    pub fn flows(
        &mut self,
        records: &[FlowRecord],
        (zero, now): (u64, u64),
        names: &View<'_>,
        position: u64,
    ) -> Result<(), JournalError> {
        for record in records {
            let key = &record.key;
            let eni = names.eni(record.eni.into(), Tick(record.created));
            let environment = names.environment(key.environment.into(), key.generation);
            let entry = FlowEntry {
                eni: self.eni(eni),
                environment: self.environment(environment),
                remote: key.remote.v4().octets().into(),
                protocol: key.protocol,
                is_last: record.ended != 0,
                is_first: record.flags & FlowRecord::FIRST != 0,
                is_peered: record.flags & FlowRecord::PEERED != 0,
                tcp_flags: record.tcp_flags as u16,
                remote_port: key.remote_port.number(),
                inside_port: key.inside_port.number(),
                outside_port: record.outside_port.number(),
                forward_packets: record.forward_packets,
                reply_packets: record.reply_packets,
                forward_bytes: record.forward_bytes,
                reply_bytes: record.reply_bytes,
                created: unix_ms(zero, record.created),
                last: unix_ms(zero, record.last),
                told: now,
            };
            tag::FLOW.put(&mut self.block);
            entry.write(&mut self.block);
        }
        put_position(&self.ring, position, &mut self.block);
        self.write()?;
        self.position = position;
        Ok(())
    }

    /// Takes what was refused: of each entry of the table, what was not told of yet.
    pub fn refusals(
        &mut self,
        records: &[RefusalRecord],
        zero: u64,
        names: &View<'_>,
    ) -> Result<(), JournalError> {
        for record in records {
            let told = Told {
                packets: record.packets,
                bytes: record.bytes,
                first: record.first.0,
            };
            let (packets, bytes) = told.rest(self.told.get(&record.key).copied());
            if packets == 0 {
                continue;
            }
            let eni = self.eni(names.eni(record.eni(), record.last));
            let environment = names.environment_at(record.environment(), record.last);
            let entry = RefusalEntry {
                eni,
                environment: self.environment(environment),
                key: record.key,
                packets,
                bytes,
                first: unix_ms(zero, record.first.0),
                last: unix_ms(zero, record.last.0),
                told,
            };
            tag::REFUSAL.put(&mut self.block);
            entry.write(&mut self.block);
            self.telling.push((record.key, Some(told)));
            if self.block.len() >= BLOCK {
                self.write_refusals()?;
            }
        }
        self.write_refusals()
    }

    fn write_refusals(&mut self) -> Result<(), JournalError> {
        if !self.telling.is_empty() {
            // Whose table it was.
            put_position(&self.ring, self.position, &mut self.block);
        }
        self.write()
    }

    /// Takes note that refusals are out of the table.
    pub fn taken(&mut self, keys: &[RefusalKey]) -> Result<(), JournalError> {
        for key in keys {
            if self.told.contains_key(key) {
                tag::TAKEN.put(&mut self.block);
                key.put(&mut self.block);
                self.telling.push((*key, None));
            }
            if self.block.len() >= BLOCK {
                self.write()?;
            }
        }
        self.write()
    }

    /// Takes who had nothing left. `at` is in Unix milliseconds.
    pub fn exhausted(
        &mut self,
        found: &[Exhaustion],
        at: u64,
        names: &View<'_>,
    ) -> Result<(), JournalError> {
        for one in found {
            let environment = names.environment(one.environment, one.generation);
            let environment = self.environment(environment);
            let full = one
                .full
                .iter()
                .map(|(eni, protocol)| (Some(*eni), *protocol));
            for (eni, protocol) in std::iter::once((None, 0)).chain(full) {
                let entry = ExhaustedEntry {
                    environment,
                    eni: eni.map_or(NOBODY, |eni| self.eni(names.current_eni(eni))),
                    protocol,
                    group: one.group,
                    limit: one.limit,
                    reason: one.reason as u32,
                    packets: one.packets,
                    at,
                };
                tag::EXHAUSTED.put(&mut self.block);
                entry.write(&mut self.block);
            }
        }
        self.write()
    }

    /// Whether the file's time is over.
    pub fn is_due(&self, now: u64) -> bool {
        self.period.boundary(now) != self.period.boundary(self.begun)
    }

    /// Ends the file and begins another. `enis`: those that are there, with the packets of
    /// each that no record told of. The number of the file that ended.
    pub fn roll<'a>(
        &mut self,
        now: u64,
        enis: impl Iterator<Item = (&'a Arc<Place>, u64)>,
    ) -> Result<u64, JournalError> {
        let ended = self.number;
        let enis: Vec<_> = enis.collect();
        if self.file.is_some() {
            self.enis(&enis)?;
            tag::ENDED.put(&mut self.block);
            // A clock that was set back does not make a file end before it began; the next one
            // begins by the clock as it is, so that intervals go on to end.
            let at = self.period.boundary(now);
            at.max(self.begun).put(&mut self.block);
            self.write()?;
            self.sync()?;
            self.begun = at;
            self.file = None;
        }
        self.begin_file(ended + 1)?;
        self.enis(&enis)?;
        self.write()?;
        Ok(ended)
    }

    fn enis(&mut self, enis: &[(&Arc<Place>, u64)]) -> Result<(), JournalError> {
        for (place, unrecorded) in enis {
            let number = self.eni(Some(place));
            tag::ENI.put(&mut self.block);
            number.put(&mut self.block);
            unrecorded.put(&mut self.block);
            if self.block.len() >= BLOCK {
                self.write()?;
            }
        }
        Ok(())
    }

    /// Sees to it that what was taken survives a crash of the host.
    pub fn sync(&mut self) -> Result<(), JournalError> {
        if let Some(file) = self.file.as_ref().filter(|_| !self.is_synced) {
            let path = path(&self.dir, self.number);
            file.sync_data()
                .map_err(JournalError::io(&path, "flushed"))?;
            self.is_synced = true;
        }
        Ok(())
    }

    fn eni(&mut self, place: Option<&Arc<Place>>) -> u32 {
        let (block, next) = (&mut self.block, &mut self.next_number);
        // What crossed is told of even if nobody knows where.
        let place = place.unwrap_or(&self.nowhere);
        number(&mut self.enis, place, tag::ENI_NAME, block, next)
    }

    fn environment(&mut self, environment: Option<&Arc<Environment>>) -> u32 {
        let (block, next) = (&mut self.block, &mut self.next_number);
        let numbers = &mut self.environments;
        environment.map_or(NOBODY, |environment| {
            number(numbers, environment, tag::ENVIRONMENT_NAME, block, next)
        })
    }

    /// Writes the block that was put together. If that fails the file is as it was, and the
    /// block is given up.
    fn write(&mut self) -> Result<(), JournalError> {
        if self.block.len() == block::HEAD {
            return Ok(());
        }
        let written = match &self.file {
            Some(file) => write_block(file, &mut self.block, self.len),
            None => Err(io::ErrorKind::NotFound.into()),
        };
        let telling = mem::take(&mut self.telling);
        block::begin(&mut self.block);
        let len = written.map_err(|source| {
            if let Some(file) = &self.file {
                // What is behind the end is not read: this only tidies up.
                let _ = file.set_len(self.len);
            }
            // The names of the block are not in the file.
            self.enis = Numbers::default();
            self.environments = Numbers::default();
            let path = path(&self.dir, self.number);
            JournalError::io(&path, "written")(source)
        })?;
        for (key, told) in telling {
            match told {
                Some(told) => self.told.insert(key, told),
                None => self.told.remove(&key),
            };
        }
        self.len += len;
        self.is_synced = false;
        Ok(())
    }
}

/// Writes the block in a buffer to a place, and begins another: how long it was.
fn write_block(file: &File, block: &mut Vec<u8>, at: u64) -> io::Result<u64> {
    block::complete(block);
    let written = file.write_all_at(block, at);
    let len = block.len() as u64;
    block::begin(block);
    written.map(|()| len)
}

/// The number of what has a name, which is defined before it is used.
fn number<T: Serialize>(
    numbers: &mut Numbers<T>,
    named: &Arc<T>,
    tag: u8,
    block: &mut Vec<u8>,
    next: &mut u32,
) -> u32 {
    let address = Arc::as_ptr(named).addr();
    if let Some((_, number)) = numbers.0.get(&address) {
        return *number;
    }
    let Ok(text) = serde_json::to_string(&**named) else {
        return NOBODY;
    };
    let number = *next;
    *next += 1;
    tag.put(block);
    number.put(block);
    text.put(block);
    numbers.0.insert(address, (Arc::clone(named), number));
    number
}

fn put_position(ring: &str, position: u64, block: &mut Vec<u8>) {
    tag::POSITION.put(block);
    ring.to_owned().put(block);
    position.put(block);
}

/// A [`Tick`] in Unix milliseconds.
const fn unix_ms(zero: u64, tick: u32) -> u64 {
    zero.saturating_add(tick as u64 * TICK_NS) / 1_000_000
}

fn sync_folder(dir: &Path) -> Result<(), JournalError> {
    File::open(dir)
        .and_then(|folder| folder.sync_all())
        .map_err(JournalError::io(dir, "flushed"))
}

/// A disk that takes nothing.
#[cfg(test)]
impl Journal {
    /// Exchanges the file.
    pub fn swap_file_for_one_that_is_read_only(&mut self) -> Option<File> {
        let file = File::open(path(&self.dir, self.number)).ok();
        mem::replace(&mut self.file, file)
    }

    /// And back.
    pub fn swap_back(&mut self, file: Option<File>) {
        self.file = file;
    }
}
