//! The ring of flow records, read without giving up what was read: the kernel forgets a
//! record only when it is told that everything up to a position is kept. A position counts
//! the bytes since the ring was made, so that one that was written down tells later what
//! was kept before.
//!
//! The format is the kernel's (`kernel/bpf/ringbuf.c`): a page with the consumer's position,
//! one with the producer's, the data twice in a row so that no record is cut.

use std::{
    fs, io,
    num::NonZeroUsize,
    os::fd::{AsFd, BorrowedFd},
    path::Path,
    ptr::NonNull,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

use aya::maps::MapData;
use nix::{
    libc,
    poll::{PollFd, PollFlags, poll},
    sys::mman::{MapFlags, ProtFlags, mmap, munmap},
    unistd::{SysconfVar, sysconf},
};
use vpc_common::layout::{FlowRecord, name};

use super::{events::read, start_error::StartError};

/// In a record's length: it is being written.
const BUSY: u32 = 1 << 31;
/// In a record's length: it was given up.
const DISCARD: u32 = 1 << 30;
/// Bytes before each record: its length, and where its page is.
const HEADER: u64 = 8;

/// The ring of flow records.
pub struct RecordRing {
    map: MapData,
    identity: String,
    control: Mapping,
    data: Mapping,
    page: usize,
    /// Bytes of data, a power of two.
    size: u64,
}

/// What was read at once.
#[derive(Default, Debug)]
pub struct Batch {
    /// In the order in which they were written.
    pub records: Vec<FlowRecord>,
    /// Records that are none.
    pub malformed: u64,
    /// The position after them.
    pub position: u64,
}

impl RecordRing {
    /// Opens the ring under a folder of pins.
    pub fn open(maps: &Path) -> Result<Self, StartError> {
        let table = name::FLOW_RECORDS;
        let failed =
            |source: Box<dyn std::error::Error + Send + Sync>| StartError::Map { table, source };
        let map = MapData::from_pin(maps.join(table)).map_err(|error| failed(Box::new(error)))?;
        let info = map.info().map_err(|error| failed(Box::new(error)))?;
        let (size, id) = (info.max_entries(), info.id());
        Self::map(map, size, id).map_err(|error| failed(Box::new(error)))
    }

    fn map(map: MapData, size: u32, id: u32) -> io::Result<Self> {
        // No map of another boot is this one, whatever its number.
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        let page = sysconf(SysconfVar::PAGE_SIZE)?.unwrap_or(4_096) as usize;
        let data = page + 2 * size as usize;
        Ok(Self {
            control: Mapping::new(&map, page, 0, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE)?,
            data: Mapping::new(&map, data, page, ProtFlags::PROT_READ)?,
            identity: format!("{}:{id}", boot.trim()),
            map,
            page,
            size: size.into(),
        })
    }

    /// What tells the ring from any other.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// The first position that is not forgotten.
    pub fn position(&self) -> u64 {
        self.consumer().load(Ordering::Acquire)
    }

    /// Whether more than half of it is taken.
    pub fn is_half_full(&self) -> bool {
        let taken = self
            .producer()
            .load(Ordering::Acquire)
            .saturating_sub(self.position());
        taken > self.size / 2
    }

    /// Reads at most some records, and forgets none.
    pub fn read(&self, most: usize, batch: &mut Batch) {
        batch.records.clear();
        batch.malformed = 0;
        batch.position = self.position();
        let end = self.producer().load(Ordering::Acquire);
        // Never further than the ring is long, whatever stands there.
        let end = end.min(batch.position + self.size);
        while batch.position < end && batch.records.len() < most {
            let header = self.header(batch.position).load(Ordering::Acquire);
            if header & BUSY != 0 {
                return;
            }
            let len = u64::from(header & !DISCARD);
            let next = batch.position + (HEADER + len).next_multiple_of(8);
            if next > end {
                return;
            }
            if header & DISCARD == 0 {
                match read::<FlowRecord>(self.bytes(batch.position + HEADER, len as usize)) {
                    Some(record) => batch.records.push(record),
                    None => batch.malformed += 1,
                }
            }
            batch.position = next;
        }
    }

    /// Lets the kernel forget everything before a position that was read.
    pub fn release(&self, position: u64) {
        let end = self.producer().load(Ordering::Acquire);
        if (self.position()..=end).contains(&position) {
            self.consumer().store(position, Ordering::Release);
        }
    }

    fn consumer(&self) -> &AtomicU64 {
        // SAFETY: the first word of the page is the position, aligned, and only read and
        // written whole; the mapping lives as long as the borrow.
        unsafe { self.control.base.cast::<AtomicU64>().as_ref() }
    }

    fn producer(&self) -> &AtomicU64 {
        // SAFETY: as for the consumer's, in a page of its own that is only read here.
        unsafe { self.data.base.cast::<AtomicU64>().as_ref() }
    }

    fn offset(&self, position: u64) -> usize {
        self.page + (position & (self.size - 1)) as usize
    }

    fn header(&self, position: u64) -> &AtomicU32 {
        // SAFETY: positions are multiples of eight, and the masked offset is inside the
        // first copy of the data; the kernel writes the word whole.
        unsafe {
            self.data
                .base
                .byte_add(self.offset(position))
                .cast()
                .as_ref()
        }
    }

    /// Bytes of a record that is written: at most the ring's size, so that they are inside
    /// the two copies.
    fn bytes(&self, position: u64, len: usize) -> &[u8] {
        let len = len.min(self.size as usize);
        // SAFETY: the offset is inside the first copy and the length at most that of the
        // second. The kernel writes nothing here before the record is released.
        unsafe {
            std::slice::from_raw_parts(self.data.base.byte_add(self.offset(position)).as_ptr(), len)
        }
    }
}

impl AsFd for RecordRing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.map.fd().as_fd()
    }
}

/// Waits until a ring has something or time is up.
pub fn wait(rings: &[BorrowedFd<'_>], milliseconds: u16) {
    let rings = rings.iter().copied();
    let mut fds: Vec<PollFd<'_>> = rings
        .map(|ring| PollFd::new(ring, PollFlags::POLLIN))
        .collect();
    if let Err(error) = poll(&mut fds, milliseconds) {
        // Interrupted, or worse: the loop around this looks anyway.
        tracing::trace!(%error, "poll");
    }
}

/// A part of the ring, mapped.
struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: shared memory that is reached through atomics or read after the kernel has
// finished writing it; unmapping it may happen on any thread.
unsafe impl Send for Mapping {}

impl Mapping {
    fn new(map: &MapData, len: usize, offset: usize, protection: ProtFlags) -> io::Result<Self> {
        let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
        let bytes = NonZeroUsize::new(len).ok_or_else(invalid)?;
        let offset = libc::off_t::try_from(offset).map_err(|_| invalid())?;
        let fd = map.fd().as_fd();
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing; the
        // kernel refuses what is beyond the ring.
        let base = unsafe { mmap(None, bytes, protection, MapFlags::MAP_SHARED, fd, offset) }?;
        Ok(Self {
            base: base.cast(),
            len,
        })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is the one `new` mapped, and no reference outlives `self`.
        // Failing to unmap leaks address space and harms nothing.
        let _ = unsafe { munmap(self.base.cast(), self.len) };
    }
}
