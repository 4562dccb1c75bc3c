//! Reading a file of the journal.

use std::{
    fs::File,
    io::{BufReader, Read as _},
    path::Path,
};

use vpc_common::layout::RefusalKey;

use super::{
    ExhaustedEntry, FlowEntry, JournalError, RefusalEntry, Told,
    block::{self, Bytes as _, tag},
};
use crate::flowlog::{Environment, Place};

/// An ENI that is there, and how many of its packets no record told of so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EniEntry {
    /// Its number in this file.
    pub eni: u32,
    /// Packets.
    pub unrecorded: u64,
}

/// One entry.
#[derive(Clone, PartialEq, Debug)]
pub enum Entry {
    /// The file begins, Unix seconds.
    Begun(u64),
    /// The file ended, Unix seconds.
    Ended(u64),
    /// An ENI's place gets a number in this file.
    EniName(u32, Box<Place>),
    /// An environment gets a number in this file.
    EnvironmentName(u32, Box<Environment>),
    /// An ENI is there.
    Eni(EniEntry),
    /// A flow carried something.
    Flow(FlowEntry),
    /// Something was refused.
    Refusal(RefusalEntry),
    /// Something was used up.
    Exhausted(ExhaustedEntry),
    /// What was told of a refusal so far.
    Told(RefusalKey, Told),
    /// A refusal is out of the table.
    Taken(RefusalKey),
    /// Everything before a position of a ring is kept.
    Position(String, u64),
}

/// What a file has.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Summary {
    /// When it began, Unix seconds.
    pub begun: u64,
    /// When it ended; `None`: it is not closed.
    pub ended: Option<u64>,
    /// Bytes of whole blocks.
    pub good: u64,
    /// Bytes in all.
    pub len: u64,
}

impl Summary {
    /// Whether something is behind the last whole block.
    pub const fn is_cut(&self) -> bool {
        self.good != self.len
    }
}

/// Reads a file up to its last whole block, one block in memory at a time.
pub fn read(path: &Path, mut visit: impl FnMut(Entry)) -> Result<Summary, JournalError> {
    let failed = || JournalError::io(path, "read");
    let file = File::open(path).map_err(failed())?;
    let mut summary = Summary {
        len: file.metadata().map_err(failed())?.len(),
        ..Summary::default()
    };
    let mut file = BufReader::with_capacity(1 << 20, file);
    let mut buffer = Vec::new();
    while summary.good < summary.len {
        let left = summary.len - summary.good;
        let Some(entries) = next_block(&mut file, left, &mut buffer).map_err(failed())? else {
            return Ok(summary);
        };
        let mut entries = entries;
        while !entries.is_empty() {
            // A block whose checksum is right was written like that.
            let entry = entry(&mut entries).ok_or_else(|| JournalError::Damaged {
                path: path.to_owned(),
                at: summary.good,
            })?;
            match &entry {
                Entry::Begun(at) => summary.begun = *at,
                Entry::Ended(at) => summary.ended = Some(*at),
                _ => {}
            }
            visit(entry);
        }
        summary.good += buffer.len() as u64;
    }
    Ok(summary)
}

/// When a file began: it is the first thing in it. 0: there is nothing in it.
pub fn begun(path: &Path) -> Result<u64, JournalError> {
    let failed = || JournalError::io(path, "read");
    let file = File::open(path).map_err(failed())?;
    let len = file.metadata().map_err(failed())?.len();
    let mut buffer = Vec::new();
    let mut file = BufReader::new(file);
    let first = next_block(&mut file, len, &mut buffer).map_err(failed())?;
    match first.and_then(|mut entries| entry(&mut entries)) {
        Some(Entry::Begun(at)) => Ok(at),
        _ => Ok(0),
    }
}

/// The entries of the next block, or `None` if there is no whole one.
fn next_block<'a>(
    file: &mut BufReader<File>,
    left: u64,
    buffer: &'a mut Vec<u8>,
) -> std::io::Result<Option<&'a [u8]>> {
    if left < block::HEAD as u64 {
        return Ok(None);
    }
    buffer.resize(block::HEAD, 0);
    file.read_exact(buffer)?;
    let len = buffer
        .first_chunk()
        .map_or(0, |len| u32::from_le_bytes(*len)) as usize;
    if len > block::BLOCK_MAX || (block::HEAD + len) as u64 > left {
        return Ok(None);
    }
    buffer.resize(block::HEAD + len, 0);
    file.read_exact(&mut buffer[block::HEAD..])?;
    Ok(block::split(buffer).map(|(entries, _)| entries))
}

fn entry(bytes: &mut &[u8]) -> Option<Entry> {
    Some(match u8::take(bytes)? {
        tag::BEGUN => Entry::Begun(u64::take(bytes)?),
        tag::ENDED => Entry::Ended(u64::take(bytes)?),
        tag::ENI_NAME => {
            let (number, text) = (u32::take(bytes)?, String::take(bytes)?);
            Entry::EniName(number, serde_json::from_str(&text).ok()?)
        }
        tag::ENVIRONMENT_NAME => {
            let (number, text) = (u32::take(bytes)?, String::take(bytes)?);
            Entry::EnvironmentName(number, serde_json::from_str(&text).ok()?)
        }
        tag::ENI => Entry::Eni(EniEntry {
            eni: u32::take(bytes)?,
            unrecorded: u64::take(bytes)?,
        }),
        tag::FLOW => Entry::Flow(FlowEntry::read(bytes)?),
        tag::REFUSAL => Entry::Refusal(RefusalEntry::read(bytes)?),
        tag::EXHAUSTED => Entry::Exhausted(ExhaustedEntry::read(bytes)?),
        tag::TOLD => Entry::Told(RefusalKey::take(bytes)?, Told::take(bytes)?),
        tag::TAKEN => Entry::Taken(RefusalKey::take(bytes)?),
        tag::POSITION => Entry::Position(String::take(bytes)?, u64::take(bytes)?),
        _ => return None,
    })
}
