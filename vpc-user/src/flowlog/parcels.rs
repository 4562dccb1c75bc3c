//! From the records of an interval to the parcels of a flow log.

use std::{collections::BTreeMap, fmt::Write as _, io::Write as _};

use super::{
    Form, Log, ObjectNames, Record,
    file::{FileError, FileWriter},
    ipfix::Event,
    spool::{Draft, Number, Spool, SpoolError},
};

/// Bytes of lines of one parcel, about.
const LINES_BYTES: usize = 1 << 20;

/// Why parcels were not made. They are made again.
#[derive(Debug, thiserror::Error)]
pub enum ParcelError {
    /// The spool.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
}

/// The parcels that are being made for one flow log, after a file of the journal.
pub struct Parcels<'a> {
    log: &'a Log,
    spool: &'a Spool,
    journal: u64,
    next_part: u32,
    /// By the window they are of.
    files: BTreeMap<u64, (u32, FileWriter<Draft>)>,
    lines: String,
    records: u64,
}

impl<'a> Parcels<'a> {
    /// Begins with none.
    pub fn new(log: &'a Log, spool: &'a Spool, journal: u64) -> Self {
        Self {
            log,
            spool,
            journal,
            next_part: 0,
            files: BTreeMap::new(),
            lines: String::new(),
            records: 0,
        }
    }

    /// Puts a record into one.
    pub fn add(&mut self, record: &Record) -> Result<(), ParcelError> {
        self.records += 1;
        match &self.log.form {
            Form::Files(names) => self.add_to_file(names, record),
            Form::Events => {
                let stream = self.log.stream(record);
                // A `String` takes everything.
                let _ = write!(
                    self.lines,
                    "{} {stream} ",
                    record.start.saturating_mul(1_000)
                );
                self.add_line(record)
            }
            Form::Lines => self.add_line(record),
            // It has no records.
            Form::NatEvents => Ok(()),
        }
    }

    fn add_to_file(&mut self, names: &ObjectNames, record: &Record) -> Result<(), ParcelError> {
        let window = ObjectNames::window(record.end);
        if !self.files.contains_key(&window) {
            let part = self.next_part;
            let draft = self.spool.begin(&self.key(names, window), part)?;
            let file = FileWriter::new(draft, self.log.format.clone(), names.parquet)?;
            self.files.insert(window, (part, file));
            self.next_part += 1;
        }
        if let Some((_, file)) = self.files.get_mut(&window) {
            file.write(record)?;
        }
        Ok(())
    }

    /// The same whenever it is made.
    fn key(&self, names: &ObjectNames, window: u64) -> String {
        let unique = format!("{} {} {window}", self.log.id, self.journal);
        names.key(window, crc32fast::hash(unique.as_bytes()).into())
    }

    fn add_line(&mut self, record: &Record) -> Result<(), ParcelError> {
        record.write(&self.log.format, &mut self.lines);
        self.lines.push('\n');
        if self.lines.len() < LINES_BYTES {
            return Ok(());
        }
        self.keep_lines()
    }

    /// Puts an event of the NAT into one.
    pub fn add_event(&mut self, event: &Event) -> Result<(), ParcelError> {
        let line = serde_json::to_string(event).map_err(|error| FileError::Text(error.into()))?;
        self.records += 1;
        self.lines.push_str(&line);
        self.lines.push('\n');
        if self.lines.len() < LINES_BYTES {
            return Ok(());
        }
        self.keep_lines()
    }

    fn keep_lines(&mut self) -> Result<(), ParcelError> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let part = self.next_part;
        let name = format!("{}-{:016}-{part:08}", self.log.id, self.journal);
        let mut draft = self.spool.begin(&name, part)?;
        draft
            .write_all(self.lines.as_bytes())
            .map_err(FileError::Text)?;
        self.spool.keep(draft, self.number(part))?;
        self.next_part += 1;
        self.lines.clear();
        Ok(())
    }

    const fn number(&self, part: u32) -> Number {
        Number {
            journal: self.journal,
            part,
        }
    }

    /// Completes them: how many records they have.
    pub fn finish(mut self) -> Result<u64, ParcelError> {
        self.keep_lines()?;
        for (part, file) in std::mem::take(&mut self.files).into_values() {
            self.spool.keep(file.finish()?, self.number(part))?;
        }
        Ok(self.records)
    }
}
