//! From closed files of the journal to parcels of flow logs and to the index of bindings.
//!
//! Everything that is made has the same name whenever it is made of the same files, and what
//! was made counts once the progress is written: whoever is killed before makes it again.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    FlowId, Form, Interval, Log, Record, What,
    bindings::{Binding, Index, IndexError, Retention},
    interval::Eni,
    journal::{self, JournalError, Period},
    nat_events::nat_events,
    parcels::{ParcelError, Parcels},
    progress::Progress,
    spool::{Spool, SpoolError},
};

#[cfg(test)]
mod tests;

/// Bindings that are put into the index at once.
const BATCH: usize = 100_000;
/// Batches of one file of the journal, as a power of two: what a period can bring.
const BATCH_BITS: u32 = 16;

/// What is wrong with making flow logs. It is tried again.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A spool.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// Parcels.
    #[error(transparent)]
    Parcel(#[from] ParcelError),
    /// The index.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// Where things are.
#[derive(Clone, Debug)]
pub struct Folders(PathBuf);

impl Folders {
    /// Under a folder.
    pub fn new(dir: &Path) -> Self {
        Self(dir.to_owned())
    }

    /// Of the journal.
    pub fn journal(&self) -> PathBuf {
        self.0.join("journal")
    }

    /// Of the index of bindings.
    pub fn index(&self) -> PathBuf {
        self.0.join("index")
    }

    /// Of the spools.
    pub fn spools(&self) -> PathBuf {
        self.0.join("spool")
    }

    /// Of one spool.
    pub fn spool(&self, log: &str) -> PathBuf {
        self.spools().join(log)
    }

    /// The first file of the journal that the index does not have.
    pub fn indexed(&self) -> u64 {
        Progress::read(&self.progress()).index
    }

    fn progress(&self) -> PathBuf {
        self.0.join("progress.json")
    }
}

/// Makes flow logs.
pub struct Maker {
    folders: Folders,
    period: Period,
    spool_bytes: u64,
    index: Index,
    progress: Progress,
    logs: BTreeMap<String, (Log, Spool)>,
    /// The number of the file of the journal that is open.
    open: u64,
}

/// What was made.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Made {
    /// Records, by flow log.
    pub records: BTreeMap<String, u64>,
    /// Parcels that a full spool had to drop, by flow log.
    pub dropped: BTreeMap<String, u64>,
}

impl Maker {
    /// Goes on where it was.
    pub fn open(
        folders: Folders,
        period: Period,
        spool_bytes: u64,
        retention: Retention,
    ) -> Result<Self, MakeError> {
        let index = Index::open(folders.index(), retention)?;
        Ok(Self {
            progress: Progress::read(&folders.progress()),
            folders,
            period,
            spool_bytes,
            index,
            logs: BTreeMap::new(),
            open: 0,
        })
    }

    /// The flow logs from now on. One that is new begins with the file that is open.
    pub fn set_logs(&mut self, logs: Vec<Log>) -> Result<(), MakeError> {
        let open = journal::list(&self.folders.journal())?;
        let open = open.last().copied().unwrap_or_default();
        let mut before = std::mem::take(&mut self.logs);
        for log in logs {
            let spool = match before.remove(&log.id) {
                Some((_, spool)) => spool,
                None => {
                    let spool = Spool::open(&self.folders.spool(&log.id), self.spool_bytes)?;
                    let next = *self.progress.logs.entry(log.id.clone()).or_insert(open);
                    // Made before a crash, and made again.
                    spool.rewind(next)?;
                    spool
                }
            };
            self.logs.insert(log.id.clone(), (log, spool));
        }
        let logs = &self.logs;
        self.progress.logs.retain(|id, _| logs.contains_key(id));
        Ok(self.keep_progress()?)
    }

    /// Removes what waits for delivery of flow logs that nobody knows any more.
    pub fn forget_others(&self) -> Result<(), MakeError> {
        for id in Spool::all(&self.folders.spools())? {
            if !self.logs.contains_key(&id) {
                tracing::warn!(flow_log = id, "its flow log is gone: what waited goes, too");
                Spool::open(&self.folders.spool(&id), 0)?.destroy()?;
            }
        }
        Ok(())
    }

    /// The spool of a flow log, and before which file of the journal its parcels are ready.
    pub fn ready(&self, log: &str) -> Option<(&Spool, u64)> {
        let (_, spool) = self.logs.get(log)?;
        Some((spool, *self.progress.logs.get(log)?))
    }

    /// Makes what can be made of closed files, and removes those that nobody needs any more.
    pub fn make(&mut self) -> Result<Made, MakeError> {
        let mut numbers = journal::list(&self.folders.journal())?;
        // The last one is open.
        self.open = numbers.pop().unwrap_or_default();
        self.bind(&numbers)?;
        let mut made = Made::default();
        for number in &numbers {
            self.make_up_to(*number, &numbers, &mut made)?;
        }
        self.trim(&mut made)?;
        let needed = self.progress.oldest().min(self.open);
        for number in numbers.iter().filter(|number| **number < needed) {
            let path = journal::path(&self.folders.journal(), *number);
            fs::remove_file(&path).map_err(|source| JournalError::Io {
                path,
                verb: "removed",
                source,
            })?;
        }
        Ok(made)
    }

    /// Puts flows that ended into the index.
    fn bind(&mut self, numbers: &[u64]) -> Result<(), MakeError> {
        let next = self.progress.index;
        for number in numbers.iter().filter(|number| **number >= next) {
            let path = journal::path(&self.folders.journal(), *number);
            // Many small batches: what is in memory at a time is bounded.
            let mut batch = number << BATCH_BITS;
            let mut bindings = Vec::new();
            let mut outcome = Ok(false);
            each_binding(&path, |binding| {
                bindings.push(binding);
                if bindings.len() == BATCH && outcome.is_ok() {
                    outcome = self.index.append(batch, std::mem::take(&mut bindings));
                    batch += 1;
                }
            })?;
            outcome?;
            self.index.append(batch, bindings)?;
            self.progress.index = number + 1;
            self.keep_progress()?;
        }
        Ok(())
    }

    /// Makes the parcels of those flow logs of which an interval ended with a file.
    fn make_up_to(&mut self, last: u64, numbers: &[u64], made: &mut Made) -> Result<(), MakeError> {
        // Those that need the same files, together: they are read once.
        let mut by_files: BTreeMap<u64, Vec<&(Log, Spool)>> = BTreeMap::new();
        for (id, entry) in &self.logs {
            let next = self.progress.logs.get(id).copied().unwrap_or_default();
            if next <= last && self.ends_with(&entry.0, next, last, numbers)? {
                by_files.entry(next).or_default().push(entry);
            }
        }
        let mut done = Vec::new();
        for (first, logs) in by_files {
            let of_interval = numbers.iter().filter(|it| (first..=last).contains(*it));
            let files = of_interval.map(|it| journal::path(&self.folders.journal(), *it));
            let interval = Interval::open(files.collect())?;
            for (id, records) in make(&interval, &logs, last)? {
                *made.records.entry(id.clone()).or_default() += records;
                done.push(id);
            }
        }
        if !done.is_empty() {
            for id in done {
                self.progress.logs.insert(id, last + 1);
            }
            self.keep_progress()?;
        }
        Ok(())
    }

    /// Whether an interval of a flow log ends with a file.
    fn ends_with(
        &self,
        log: &Log,
        next: u64,
        last: u64,
        numbers: &[u64],
    ) -> Result<bool, JournalError> {
        let dir = self.folders.journal();
        let first = numbers.iter().find(|number| **number >= next);
        let first = first.copied().unwrap_or(last);
        let begun = journal::begun(&journal::path(&dir, first))?;
        // A file begins when the one before it ends; the one that is open is not listed.
        let next = numbers.iter().find(|number| **number > last);
        let ended = journal::begun(&journal::path(&dir, next.copied().unwrap_or(self.open)))?;
        let seconds = self.period.seconds() * log.periods.max(1);
        Ok(begun / seconds != ended / seconds)
    }

    fn trim(&self, made: &mut Made) -> Result<(), MakeError> {
        for (id, (_, spool)) in &self.logs {
            let dropped = spool.trim()?;
            if dropped != 0 {
                made.dropped.insert(id.clone(), dropped);
            }
        }
        Ok(())
    }

    fn keep_progress(&self) -> Result<(), JournalError> {
        self.progress.write(&self.folders.progress())
    }

    /// Tidies the index up, in between.
    pub fn tidy(&self, now_ms: u64) -> Result<(), MakeError> {
        self.index.compact()?;
        self.index.retain(now_ms)?;
        Ok(())
    }
}

/// The flows that ended in a file of the journal.
pub fn each_binding(path: &Path, mut take: impl FnMut(Binding)) -> Result<(), JournalError> {
    let mut names: BTreeMap<String, Arc<str>> = BTreeMap::new();
    let mut shared = |text: &str| -> Arc<str> {
        if let Some(known) = names.get(text) {
            return Arc::clone(known);
        }
        let name: Arc<str> = text.into();
        names.insert(text.to_owned(), Arc::clone(&name));
        name
    };
    Interval::open(vec![path.to_owned()])?.flows(|entry, place, environment| {
        if !entry.is_last {
            return;
        }
        take(Binding {
            start: entry.created,
            // Its port was its own until then.
            end: entry.told,
            vpc_id: shared(&place.vpc_id),
            interface_id: shared(&place.interface_id),
            address: place.address,
            port: entry.outside_port,
            protocol: entry.protocol,
            remote: entry.remote,
            remote_port: entry.remote_port,
            environment: environment.map_or_else(|| shared("-"), |it| Arc::clone(&it.name)),
            function: environment.and_then(|it| it.function.clone()),
            inside: environment.map_or(std::net::Ipv4Addr::UNSPECIFIED, |it| it.address),
            inside_port: entry.inside_port,
        });
    })
}

/// Makes the parcels of an interval: how many records each flow log has got.
fn make(
    interval: &Interval,
    logs: &[&(Log, Spool)],
    last: u64,
) -> Result<Vec<(String, u64)>, MakeError> {
    let mut parcels: Vec<(&Log, Parcels<'_>, Vec<bool>)> = logs
        .iter()
        .map(|(log, spool)| {
            let told = vec![false; interval.enis.len()];
            (log, Parcels::new(log, spool, last), told)
        })
        .collect();
    for part in 0..interval.part_count() {
        for (id, delta) in interval.part(part)? {
            let Some(record) = interval.record(&id, &delta) else {
                continue;
            };
            for (log, parcels, told) in &mut parcels {
                if log.form != Form::NatEvents && log.has(&id, &record) {
                    parcels.add(&record)?;
                    tell(told, &id);
                }
            }
        }
    }
    let mut made = Vec::new();
    for (log, mut parcels, told) in parcels {
        if log.form == Form::NatEvents {
            let mut outcome = Ok(());
            nat_events(interval, |event| {
                if outcome.is_ok() {
                    outcome = parcels.add_event(&event);
                }
            })?;
            outcome?;
            made.push((log.id.clone(), parcels.finish()?));
            continue;
        }
        for (eni, told) in interval.enis.iter().zip(told) {
            for what in besides(eni, told) {
                if log.scope.has(&eni.place) {
                    parcels.add(&Record {
                        place: Arc::clone(&eni.place),
                        start: interval.begun,
                        end: interval.ended,
                        what,
                    })?;
                }
            }
        }
        made.push((log.id.clone(), parcels.finish()?));
    }
    Ok(made)
}

fn tell(told: &mut [bool], id: &FlowId) {
    if let Some(told) = told.get_mut(id.eni as usize) {
        *told = true;
    }
}

/// What is told of an ENI besides its flows.
fn besides(eni: &Eni, told: bool) -> impl Iterator<Item = What> {
    let skipped = (eni.unrecorded != 0).then_some(What::SkipData(eni.unrecorded));
    let nothing = (!told && skipped.is_none() && eni.is_present).then_some(What::NoData);
    skipped.into_iter().chain(nothing)
}
