//! Files into one, row by row: sorted inputs make a sorted output, and of each no more than a
//! slice is in memory.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, binary_heap::PeekMut},
    ops::Range,
};

use parquet::errors::ParquetError;

use super::{
    IndexError,
    append::{FileWriter, write},
    columns::Columns,
    file::{FileError, GroupRows, OpenFile},
    folder::FileName,
    reader::Reader,
};

/// Rows of each input that are in memory.
const SLICE: usize = if cfg!(test) { 40 } else { 4_096 };

/// Why files were not merged.
#[derive(Debug)]
pub(super) enum MergeError {
    /// One of them cannot be read.
    Input(FileName, FileError),
    /// Their successor cannot be written.
    Output(IndexError),
}

impl From<IndexError> for MergeError {
    fn from(error: IndexError) -> Self {
        Self::Output(error)
    }
}

/// Makes one file of several, which are neighbours.
pub(super) fn merge(reader: &Reader, inputs: &[FileName]) -> Result<(), MergeError> {
    let first = inputs.iter().map(|name| name.first).min().unwrap_or(0);
    let last = inputs.iter().map(|name| name.last).max().unwrap_or(0);
    let open = |name: &FileName| {
        let file = reader.open(name);
        file.map_err(|error| MergeError::Input(*name, error))
    };
    let files = inputs.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    write(reader.folder(), first, last, |output| {
        let short = |file: &OpenFile| 0..file.footer.short_groups;
        let long = |file: &OpenFile| file.footer.short_groups..file.footer.summary.groups.len();
        merge_part(inputs, &files, short, output)?;
        merge_part(inputs, &files, long, output)
    })?;
    Ok(())
}

fn merge_part(
    names: &[FileName],
    files: &[OpenFile],
    groups: impl Fn(&OpenFile) -> Range<usize>,
    output: &mut FileWriter,
) -> Result<(), MergeError> {
    let failed =
        |at: usize, error: ParquetError| MergeError::Input(names[at], files[at].damaged(error));
    let mut inputs = Vec::with_capacity(files.len());
    let mut heap = BinaryHeap::with_capacity(files.len());
    for (at, file) in files.iter().enumerate() {
        let input = Input::new(file, groups(file)).map_err(|error| failed(at, error))?;
        heap.extend(input.key().map(|key| Reverse((key, at))));
        inputs.push(input);
    }
    while let Some(mut top) = heap.peek_mut() {
        let Reverse((_, at)) = *top;
        let input = &mut inputs[at];
        output.rows.push_row(&input.slice, input.at);
        output.end_full_group()?;
        input.advance().map_err(|error| failed(at, error))?;
        match input.key() {
            Some(key) => *top = Reverse((key, at)),
            None => drop(PeekMut::pop(top)),
        }
    }
    Ok(output.end_part()?)
}

/// A part of a file, read from its first row to its last.
struct Input<'a> {
    file: &'a OpenFile,
    /// Row groups that were not begun.
    groups: Range<usize>,
    /// The row group that was begun, and those of its rows that were not read.
    group: Option<(GroupRows, Range<usize>)>,
    slice: Columns,
    /// The row of the slice that is next.
    at: usize,
}

impl<'a> Input<'a> {
    fn new(file: &'a OpenFile, groups: Range<usize>) -> Result<Self, ParquetError> {
        let mut input = Self {
            file,
            groups,
            group: None,
            slice: Columns::default(),
            at: 0,
        };
        input.refill()?;
        Ok(input)
    }

    /// What the next row is sorted by; `None`: there is none.
    fn key(&self) -> Option<u128> {
        (self.at < self.slice.len()).then(|| self.slice.key(self.at))
    }

    fn advance(&mut self) -> Result<(), ParquetError> {
        self.at += 1;
        if self.at < self.slice.len() {
            return Ok(());
        }
        self.refill()
    }

    fn refill(&mut self) -> Result<(), ParquetError> {
        self.slice.clear();
        self.at = 0;
        loop {
            if let Some((group, rows)) = &mut self.group
                && rows.start < rows.end
            {
                let next = rows.start..rows.end.min(rows.start + SLICE);
                rows.start = next.end;
                return group.read(&[next], &mut self.slice);
            }
            let Some(next) = self.groups.next() else {
                return Ok(());
            };
            let rows = 0..self.file.footer.summary.groups[next].rows;
            self.group = Some((GroupRows::new(self.file, next)?, rows));
        }
    }
}
