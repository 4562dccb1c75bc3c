//! The files of a flow log, as AWS puts them into a bucket: lines in gzip, or Parquet.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-s3.html>
//!
//! A file is written from its first record to its last into any [`Write`]. It is whole once
//! `finish` has returned. One that failed, or was dropped before, is to be thrown away and
//! its records written again.

mod parquet;
mod text;

#[cfg(test)]
mod tests;

use std::io::{self, Write};

use ::parquet::errors::ParquetError;

pub use parquet::ParquetWriter;
pub use text::TextWriter;

use super::{LogFormat, Record};

/// How hard gzip tries. The default, 6, saves a tenth more of a text file and takes three
/// times as long, on a host whose processors are its tenants'.
const LEVEL: u32 = 3;

/// Why a file could not be written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Of lines.
    #[error("the flow log's text file cannot be written ({0}): write its records to another")]
    Text(#[from] io::Error),
    /// Of columns.
    #[error("the flow log's Parquet file cannot be written ({0}): write its records to another")]
    Parquet(#[from] ParquetError),
}

/// A file under way, of either kind.
pub enum FileWriter<W: Write + Send> {
    /// Lines.
    Text(TextWriter<W>),
    /// Columns.
    Parquet(ParquetWriter<W>),
}

impl<W: Write + Send> FileWriter<W> {
    /// Begins a file.
    pub fn new(out: W, format: LogFormat, parquet: bool) -> Result<Self, FileError> {
        Ok(if parquet {
            Self::Parquet(ParquetWriter::new(out, format)?)
        } else {
            Self::Text(TextWriter::new(out, format))
        })
    }

    /// Adds a record.
    pub fn write(&mut self, record: &Record) -> Result<(), FileError> {
        match self {
            Self::Text(text) => text.write(record)?,
            Self::Parquet(parquet) => parquet.write(record)?,
        }
        Ok(())
    }

    /// Ends the file.
    pub fn finish(self) -> Result<W, FileError> {
        Ok(match self {
            Self::Text(text) => text.finish()?,
            Self::Parquet(parquet) => parquet.finish()?,
        })
    }
}
