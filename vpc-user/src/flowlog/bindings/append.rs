//! A file, written: under a temporary name until it is whole and on the disk.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use parquet::{
    data_type::{ByteArrayType, DataType, Int32Type, Int64Type},
    errors::ParquetError,
    file::{
        metadata::KeyValue,
        writer::{SerializedFileWriter, SerializedRowGroupWriter},
    },
};

use super::{
    Binding, IndexError,
    columns::{Columns, GROUP_ROWS, Names, Text, is_long, key, properties, schema},
    file::{LAYOUT, LAYOUT_KEY, SHORT_GROUPS_KEY, SUMS_KEY, checksums},
    folder::{self, FileName},
    sums::{Summing, encode},
};

/// Makes a file of a batch.
pub(super) fn append(
    folder: &Path,
    batch: u64,
    bindings: &[Binding],
) -> Result<FileName, IndexError> {
    let mut sorted: Vec<_> = bindings
        .iter()
        .map(|it| (is_long(it), key(it), it))
        .collect();
    sorted.sort_unstable_by_key(|(is_long, key, _)| (*is_long, *key));
    let (short, long) = sorted.split_at(sorted.partition_point(|(is_long, ..)| !is_long));
    write(folder, batch, batch, |file| {
        let mut names = Names::default();
        for part in [short, long] {
            for (.., binding) in part {
                file.rows.push(binding, &mut names);
                file.end_full_group()?;
            }
            file.end_part()?;
        }
        Ok(())
    })
}

/// Makes a file of batches: `fill` says of what, the parts of flows that are not long and of
/// long ones, each sorted. If it fails, there is no file.
pub(super) fn write<E: From<IndexError>>(
    folder: &Path,
    first: u64,
    last: u64,
    fill: impl FnOnce(&mut FileWriter) -> Result<(), E>,
) -> Result<FileName, E> {
    let path = folder.join(FileName::temporary(first, last));
    let written = FileWriter::new(path.clone()).map_err(E::from);
    let named = written.and_then(|mut file| {
        fill(&mut file)?;
        Ok(file.finish(folder, first, last)?)
    });
    if named.is_err() {
        // If this fails too, the next start removes it.
        let _ = folder::remove(&path);
    }
    named
}

/// A file that is being written.
pub(super) struct FileWriter {
    path: PathBuf,
    writer: SerializedFileWriter<Summing<File>>,
    /// Rows of the next row group.
    pub(super) rows: Columns,
    groups: usize,
    /// Row groups of each part that has ended, and of those before it.
    parts: Vec<usize>,
}

impl FileWriter {
    fn new(path: PathBuf) -> Result<Self, IndexError> {
        let writer = || {
            let file = Summing::new(folder::create(&path)?);
            SerializedFileWriter::new(file, schema()?, Arc::new(properties()))
        };
        let writer = writer().map_err(|cause| failed(&path, &cause))?;
        Ok(Self {
            path,
            writer,
            rows: Columns::default(),
            groups: 0,
            parts: Vec::new(),
        })
    }

    /// Writes the rows if they fill a row group.
    pub(super) fn end_full_group(&mut self) -> Result<(), IndexError> {
        if self.rows.len() < GROUP_ROWS {
            return Ok(());
        }
        self.end_group()
    }

    /// Writes the rows, and ends a part.
    pub(super) fn end_part(&mut self) -> Result<(), IndexError> {
        if !self.rows.is_empty() {
            self.end_group()?;
        }
        self.parts.push(self.groups);
        Ok(())
    }

    fn end_group(&mut self) -> Result<(), IndexError> {
        let written = self
            .writer
            .next_row_group()
            .and_then(|group| write_group(group, &self.rows));
        written.map_err(|cause| failed(&self.path, &cause))?;
        self.groups += 1;
        self.rows.clear();
        Ok(())
    }

    fn finish(mut self, folder: &Path, first: u64, last: u64) -> Result<FileName, IndexError> {
        let finished = self.try_finish(folder, first, last);
        finished.map_err(|cause| failed(&self.path, &cause))
    }

    fn try_finish(
        &mut self,
        folder: &Path,
        first: u64,
        last: u64,
    ) -> Result<FileName, ParquetError> {
        // What has to be in the footer has to be known before.
        self.writer.flush()?;
        let short_groups = self.parts.first().copied().unwrap_or_default();
        for (key, value) in [
            (LAYOUT_KEY, LAYOUT.to_owned()),
            (SHORT_GROUPS_KEY, short_groups.to_string()),
            (SUMS_KEY, encode(&self.writer.inner().sums())),
        ] {
            let pair = KeyValue::new(key.to_owned(), value);
            self.writer.append_key_value_metadata(pair);
        }
        self.writer.finish()?;
        let file = self.writer.inner().inner();
        folder::sync_file(file)?;
        let (footer, page_indexes) = checksums(file)?;
        let name = FileName {
            first,
            last,
            footer,
            page_indexes,
        };
        folder::rename(&self.path, &folder.join(name.to_string()))?;
        folder::sync(folder)?;
        Ok(name)
    }
}

fn failed(path: &Path, cause: &ParquetError) -> IndexError {
    IndexError::Write {
        path: path.to_owned(),
        cause: cause.to_string(),
    }
}

fn write_group(
    mut group: SerializedRowGroupWriter<'_, Summing<File>>,
    rows: &Columns,
) -> Result<(), ParquetError> {
    for values in &rows.times {
        write_column::<Int64Type>(&mut group, values, None)?;
    }
    for values in &rows.numbers {
        write_column::<Int32Type>(&mut group, values, None)?;
    }
    for column in Text::ALL {
        let values = rows.text(column);
        if column != Text::Function {
            write_column::<ByteArrayType>(&mut group, values, None)?;
            continue;
        }
        let levels: Vec<i16> = values.iter().map(|it| (!it.is_empty()).into()).collect();
        let present = values.iter().filter(|it| !it.is_empty()).cloned();
        let present: Vec<_> = present.collect();
        write_column::<ByteArrayType>(&mut group, &present, Some(&levels))?;
    }
    group.close()?;
    Ok(())
}

fn write_column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, Summing<File>>,
    values: &[T::T],
    levels: Option<&[i16]>,
) -> Result<(), ParquetError> {
    let column = group.next_column()?;
    let mut column = column.ok_or_else(|| ParquetError::General("no column is left".to_owned()))?;
    column.typed::<T>().write_batch(values, levels, None)?;
    column.close()
}
