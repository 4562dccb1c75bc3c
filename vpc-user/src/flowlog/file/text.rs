//! Lines in gzip (RFC 1952).

use std::io::{self, Write};

use flate2::{Compression, write::GzEncoder};

use super::LEVEL;
use crate::flowlog::{LogFormat, Record};

/// Octets of lines that are compressed at a time.
const CHUNK: usize = 32 << 10;

/// A text file under way: the names of the fields, then a line a record. Memory does not
/// grow with the file.
#[derive(Debug)]
pub struct TextWriter<W: Write> {
    format: LogFormat,
    lines: String,
    gzip: GzEncoder<W>,
}

impl<W: Write> TextWriter<W> {
    /// Begins a file.
    pub fn new(out: W, format: LogFormat) -> Self {
        let mut lines = String::with_capacity(CHUNK + 1_024);
        lines += &format.header();
        lines.push('\n');
        Self {
            format,
            lines,
            gzip: GzEncoder::new(out, Compression::new(LEVEL)),
        }
    }

    /// Adds a record.
    pub fn write(&mut self, record: &Record) -> io::Result<()> {
        record.write(&self.format, &mut self.lines);
        self.lines.push('\n');
        if self.lines.len() < CHUNK {
            return Ok(());
        }
        self.compress()
    }

    /// Ends the file.
    pub fn finish(mut self) -> io::Result<W> {
        self.compress()?;
        self.gzip.finish()
    }

    fn compress(&mut self) -> io::Result<()> {
        self.gzip.write_all(self.lines.as_bytes())?;
        self.lines.clear();
        Ok(())
    }
}
