//! Checksums of blocks, by CRC-32. Parquet's own are optional, and neither footers nor the
//! headers of pages have any; here every byte is under one.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::{Buf, Bytes, buf};
use parquet::{
    errors::{ParquetError, Result},
    file::reader::{ChunkReader, Length},
};

/// Bytes under one checksum: what is read from the disk at least.
const BLOCK: usize = if cfg!(test) { 512 } else { 32 * 1_024 };

/// Sums what passes through.
pub(super) struct Summing<W> {
    inner: W,
    block: crc32fast::Hasher,
    /// Bytes in the block that is under way.
    filled: usize,
    sums: Vec<u32>,
}

impl<W: Write> Summing<W> {
    pub(super) fn new(inner: W) -> Self {
        Self {
            inner,
            block: crc32fast::Hasher::new(),
            filled: 0,
            sums: Vec::new(),
        }
    }

    /// The sums of all that has passed, the last of a block that may be short.
    pub(super) fn sums(&self) -> Vec<u32> {
        let mut sums = self.sums.clone();
        if self.filled != 0 {
            sums.push(self.block.clone().finalize());
        }
        sums
    }

    pub(super) fn inner(&self) -> &W {
        &self.inner
    }
}

impl<W: Write> Write for Summing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = bytes.len().min(BLOCK - self.filled);
        let written = self.inner.write(&bytes[..room])?;
        self.block.update(&bytes[..written]);
        self.filled += written;
        if self.filled == BLOCK {
            let block = std::mem::take(&mut self.block);
            self.sums.push(block.finalize());
            self.filled = 0;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// The part of a file that is under sums, read.
#[derive(Debug)]
pub(super) struct Summed {
    file: Arc<File>,
    length: u64,
    sums: Arc<[u32]>,
    /// The block that was read last, for the page that begins in it.
    last: Mutex<Option<(usize, Bytes)>>,
}

impl Summed {
    /// `length`: bytes from the beginning of the file that are under sums.
    pub(super) fn new(file: Arc<File>, length: u64, sums: Arc<[u32]>) -> Self {
        Self {
            file,
            length,
            sums,
            last: Mutex::new(None),
        }
    }

    fn read(&self, start: u64, length: usize) -> io::Result<Bytes> {
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "its checksum is wrong");
        let end = start.checked_add(to_u64(length)?);
        let end = end.filter(|end| *end <= self.length).ok_or_else(damaged)?;
        if length == 0 {
            return Ok(Bytes::new());
        }
        let first = to_usize(start)? / BLOCK;
        let last = (to_usize(end)? - 1) / BLOCK;
        let skip = to_usize(start)? - first * BLOCK;
        let mut kept = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((block, bytes)) = &*kept
            && (*block, *block) == (first, last)
        {
            return Ok(bytes.slice(skip..skip + length));
        }
        let stop = ((last + 1) * BLOCK).min(to_usize(self.length)?);
        let mut bytes = vec![0; stop - first * BLOCK];
        self.file
            .read_exact_at(&mut bytes, to_u64(first * BLOCK)?)?;
        let sums = self.sums.get(first..=last).ok_or_else(damaged)?;
        for (block, sum) in bytes.chunks(BLOCK).zip(sums) {
            if crc32fast::hash(block) != *sum {
                return Err(damaged());
            }
        }
        let bytes = Bytes::from(bytes);
        *kept = Some((last, bytes.slice((last - first) * BLOCK..)));
        Ok(bytes.slice(skip..skip + length))
    }
}

fn to_usize(number: u64) -> io::Result<usize> {
    usize::try_from(number).map_err(io::Error::other)
}

fn to_u64(number: usize) -> io::Result<u64> {
    u64::try_from(number).map_err(io::Error::other)
}

impl Length for Summed {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for Summed {
    type T = buf::Reader<Bytes>;

    /// Never called: the length of every page is known from the index.
    fn get_read(&self, start: u64) -> Result<Self::T> {
        let length = usize::try_from(self.length.saturating_sub(start))?;
        Ok(self.get_bytes(start, length)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        self.read(start, length)
            .map_err(|error| ParquetError::External(Box::new(error)))
    }
}

/// Sums as text.
pub(super) fn encode(sums: &[u32]) -> String {
    use std::fmt::Write;
    sums.iter().fold(String::new(), |mut text, sum| {
        // A `String` takes everything.
        let _ = write!(text, "{sum:08x}");
        text
    })
}

/// Sums from text.
pub(super) fn decode(text: &str) -> Option<Arc<[u32]>> {
    text.as_bytes()
        .chunks(8)
        .map(|digits| u32::from_str_radix(str::from_utf8(digits).ok()?, 16).ok())
        .collect()
}
