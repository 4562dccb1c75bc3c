//! One file, read.

use std::{
    fs::File,
    io,
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use parquet::{
    basic::Encoding,
    column::{
        page::{Page, PageReader},
        reader::ColumnReaderImpl,
    },
    data_type::{ByteArray, ByteArrayType, DataType, Int32Type, Int64Type},
    errors::ParquetError,
    file::{
        FOOTER_SIZE,
        metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData},
        page_index::column_index::ColumnIndexMetaData,
        serialized_reader::SerializedPageReader,
        statistics::Statistics,
    },
};

use super::{
    columns::{Columns, Number, Text, Time, schema},
    folder::FileName,
    sums::{Summed, decode},
};

/// The key of the layout's number, in the footer.
pub(super) const LAYOUT_KEY: &str = "vpc.bindings.layout";
/// The layout that this reads and writes.
pub(super) const LAYOUT: &str = "1";
/// The key of the number of row groups of flows that are not long; those of long ones follow.
pub(super) const SHORT_GROUPS_KEY: &str = "vpc.bindings.short-row-groups";
/// The key of the checksums of blocks.
pub(super) const SUMS_KEY: &str = "vpc.bindings.crc32";

/// The most bytes of a footer and of page indexes: theirs come to a hundredth of it.
const TAIL_MAX: u64 = 1 << 28;

/// Why a file cannot be read.
#[derive(Debug)]
pub(super) enum FileError {
    /// It is not there any more: another has replaced it, or it was too old.
    Gone,
    /// It is damaged or is not the index's: a sentence.
    Damaged(String),
}

/// What can be said of a row group without reading it. Ends are inclusive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Group {
    pub(super) rows: usize,
    pub(super) start: (i64, i64),
    pub(super) end: (i64, i64),
    pub(super) address: (u32, u32),
}

/// What can be said of a file without reading its rows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Summary {
    pub(super) groups: Vec<Group>,
    pub(super) bytes: u64,
}

impl Summary {
    pub(super) fn rows(&self) -> usize {
        self.groups.iter().map(|group| group.rows).sum()
    }

    /// The newest end of a flow.
    pub(super) fn newest(&self) -> Option<i64> {
        self.groups.iter().map(|group| group.end.1).max()
    }

    /// The oldest end of a flow.
    pub(super) fn oldest(&self) -> Option<i64> {
        self.groups.iter().map(|group| group.end.0).min()
    }
}

/// What the end of a file says, with its page indexes.
#[derive(Debug)]
pub(super) struct Footer {
    metadata: ParquetMetaData,
    pub(super) summary: Summary,
    /// Row groups of flows that are not long.
    pub(super) short_groups: usize,
    /// Bytes in front of the page indexes.
    length: u64,
    sums: Arc<[u32]>,
}

/// An open file.
#[derive(Clone, Debug)]
pub(super) struct OpenFile {
    path: PathBuf,
    file: Arc<File>,
    pub(super) footer: Arc<Footer>,
}

/// Opens a file, without its footer.
pub(super) fn open(folder: &Path, name: &FileName) -> Result<File, FileError> {
    let path = folder.join(name.to_string());
    File::open(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => FileError::Gone,
        _ => damaged(&path, error),
    })
}

fn damaged(path: &Path, cause: impl std::fmt::Display) -> FileError {
    FileError::Damaged(format!(
        "{} cannot be read ({cause}) and is passed over: restore it, or remove it",
        path.display()
    ))
}

fn invalid(cause: &'static str) -> ParquetError {
    ParquetError::General(cause.to_owned())
}

impl Footer {
    /// Reads a file's footer and page indexes.
    pub(super) fn read(folder: &Path, name: &FileName, file: &File) -> Result<Self, FileError> {
        let footer = Tail::read(name, file).and_then(Tail::footer);
        footer.map_err(|error| damaged(&folder.join(name.to_string()), error))
    }

    /// Reads a file's footer alone.
    pub(super) fn summary(
        folder: &Path,
        name: &FileName,
        file: &File,
    ) -> Result<Summary, FileError> {
        let summary = Tail::read(name, file).and_then(|tail| tail.summary());
        summary.map_err(|error| damaged(&folder.join(name.to_string()), error))
    }

    /// Rows of a group in pages that may have a port and an address from these to those,
    /// inclusive.
    pub(super) fn candidates(
        &self,
        group: usize,
        column: Number,
        range: (u32, u32),
    ) -> Result<Vec<Range<usize>>, ParquetError> {
        let missing = || invalid("it has no page indexes");
        let indexes = self.metadata.page_index_for_row_group(group);
        let rows = self.summary.groups[group].rows;
        let pages = indexes.page_locations(column.column());
        let pages = pages.ok_or_else(missing)?;
        let Some(ColumnIndexMetaData::INT32(bounds)) = indexes.column_index(column.column()) else {
            return Err(missing());
        };
        let mut candidates: Vec<Range<usize>> = Vec::new();
        for (page, location) in pages.iter().enumerate() {
            let (Some(min), Some(max)) =
                (bounds.min_values().get(page), bounds.max_values().get(page))
            else {
                return Err(missing());
            };
            if min.cast_unsigned() > range.1 || max.cast_unsigned() < range.0 {
                continue;
            }
            let first = usize::try_from(location.first_row_index)?;
            let next = match pages.get(page + 1) {
                Some(next) => usize::try_from(next.first_row_index)?,
                None => rows,
            };
            match candidates.last_mut() {
                Some(last) if last.end == first => last.end = next,
                _ => candidates.push(first..next),
            }
        }
        Ok(candidates)
    }
}

/// The checksums that a file's name is to have: of its footer, and of its page indexes.
pub(super) fn checksums(file: &File) -> Result<(u32, u32), ParquetError> {
    let size = file.metadata()?.len();
    let (at, footer) = footer(file, size)?;
    let metadata = ParquetMetaDataReader::decode_metadata(&footer[..footer.len() - FOOTER_SIZE])?;
    let indexes = read(file, page_indexes(&metadata).unwrap_or(at)..at)?;
    Ok((crc32fast::hash(&footer), crc32fast::hash(&indexes)))
}

/// Where a file's footer begins, and the footer.
fn footer(file: &File, size: u64) -> Result<(u64, Vec<u8>), ParquetError> {
    let short = || invalid("it is too short");
    let end = size.checked_sub(to_u64(FOOTER_SIZE)?).ok_or_else(short)?;
    let end = read(file, end..size)?;
    let length = end.first_chunk().copied().map_or(0, u32::from_le_bytes);
    let length = u64::from(length) + to_u64(FOOTER_SIZE)?;
    let at = size.checked_sub(length).ok_or_else(short)?;
    if !end.ends_with(b"PAR1") {
        return Err(invalid("its end is not that of a Parquet file"));
    }
    Ok((at, read(file, at..size)?))
}

/// The end of a file: page indexes, and the footer.
struct Tail {
    bytes: Bytes,
    metadata: ParquetMetaData,
    /// Bytes in front of the page indexes.
    length: u64,
    /// Bytes of the file.
    size: u64,
}

impl Tail {
    /// Reads it, and holds it against the checksums in the file's name.
    fn read(name: &FileName, file: &File) -> Result<Self, ParquetError> {
        let size = file.metadata()?.len();
        let (at, footer) = footer(file, size)?;
        if crc32fast::hash(&footer) != name.footer {
            return Err(invalid("it is not the file that had this name"));
        }
        let metadata = &footer[..footer.len() - FOOTER_SIZE];
        let metadata = ParquetMetaDataReader::decode_metadata(metadata)?;
        if *metadata.file_metadata().schema() != *schema()?
            || value(&metadata, LAYOUT_KEY) != Some(LAYOUT)
        {
            return Err(invalid("it is of another layout"));
        }
        let length = page_indexes(&metadata).unwrap_or(at);
        let indexes = read(file, length..at)?;
        if crc32fast::hash(&indexes) != name.page_indexes {
            return Err(invalid("the checksum of its page indexes is wrong"));
        }
        Ok(Self {
            bytes: Bytes::from([indexes, footer].concat()),
            metadata,
            length,
            size,
        })
    }

    fn summary(&self) -> Result<Summary, ParquetError> {
        let groups = self.metadata.row_groups().iter().map(summarize);
        let groups = groups.collect::<Option<_>>();
        Ok(Summary {
            groups: groups.ok_or(invalid("it has no statistics"))?,
            bytes: self.size,
        })
    }

    fn footer(self) -> Result<Footer, ParquetError> {
        let summary = self.summary()?;
        let short_groups = value(&self.metadata, SHORT_GROUPS_KEY).and_then(|it| it.parse().ok());
        let sums = value(&self.metadata, SUMS_KEY).and_then(decode);
        let sums = sums.ok_or(invalid("it has no checksums"))?;
        let mut reader = ParquetMetaDataReader::new_with_metadata(self.metadata)
            .with_page_index_policy(PageIndexPolicy::Optional);
        reader.read_page_indexes_sized(&self.bytes, self.size)?;
        Ok(Footer {
            metadata: reader.finish()?,
            summary,
            short_groups: short_groups.ok_or(invalid("it has no row groups"))?,
            length: self.length,
            sums,
        })
    }
}

fn read(file: &File, range: Range<u64>) -> Result<Vec<u8>, ParquetError> {
    let length = range.end.checked_sub(range.start);
    let length = length.filter(|length| *length <= TAIL_MAX);
    let mut bytes = vec![0; usize::try_from(length.ok_or(invalid("its footer is too long"))?)?];
    file.read_exact_at(&mut bytes, range.start)?;
    Ok(bytes)
}

fn to_u64(number: usize) -> Result<u64, ParquetError> {
    Ok(u64::try_from(number)?)
}

fn value<'a>(metadata: &'a ParquetMetaData, key: &str) -> Option<&'a str> {
    let pairs = metadata.file_metadata().key_value_metadata()?;
    pairs.iter().find(|pair| pair.key == key)?.value.as_deref()
}

/// Where page indexes begin.
fn page_indexes(metadata: &ParquetMetaData) -> Option<u64> {
    let columns = metadata
        .row_groups()
        .iter()
        .flat_map(|group| group.columns());
    let ranges = columns.flat_map(|it| [it.column_index_range(), it.offset_index_range()]);
    ranges.flatten().map(|range| range.start).min()
}

fn summarize(group: &RowGroupMetaData) -> Option<Group> {
    let times = |column: Time| match group.columns().get(column.column())?.statistics()? {
        Statistics::Int64(it) => Some((*it.min_opt()?, *it.max_opt()?)),
        _ => None,
    };
    let address = group.columns().get(Number::Address.column())?;
    let Statistics::Int32(address) = address.statistics()? else {
        return None;
    };
    Some(Group {
        rows: usize::try_from(group.num_rows()).ok()?,
        start: times(Time::Start)?,
        end: times(Time::End)?,
        address: (
            address.min_opt()?.cast_unsigned(),
            address.max_opt()?.cast_unsigned(),
        ),
    })
}

impl OpenFile {
    pub(super) fn new(folder: &Path, name: &FileName, file: File, footer: Arc<Footer>) -> Self {
        Self {
            path: folder.join(name.to_string()),
            file: Arc::new(file),
            footer,
        }
    }

    /// That something in it is not as it should be.
    pub(super) fn damaged(&self, cause: impl std::fmt::Display) -> FileError {
        damaged(&self.path, cause)
    }

    fn pages(
        &self,
        group: usize,
        column: usize,
    ) -> Result<SerializedPageReader<Summed>, ParquetError> {
        let Footer {
            metadata,
            length,
            sums,
            ..
        } = &*self.footer;
        let group_metadata = metadata.row_group(group);
        let indexes = metadata.page_index_for_row_group(group);
        let locations = indexes.page_locations(column).cloned();
        let locations = locations.ok_or(invalid("it has no page indexes"))?;
        SerializedPageReader::new(
            Arc::new(Summed::new(self.file.clone(), *length, sums.clone())),
            group_metadata.column(column),
            usize::try_from(group_metadata.num_rows())?,
            Some(locations),
        )
    }

    fn rows<T: DataType>(
        &self,
        group: usize,
        column: usize,
        absent: T::T,
    ) -> Result<Rows<T>, ParquetError> {
        let schema = self.footer.metadata.file_metadata().schema_descr();
        let pages = Box::new(self.pages(group, column)?);
        Ok(Rows {
            reader: ColumnReaderImpl::new(schema.column(column), pages),
            at: 0,
            absent,
        })
    }

    pub(super) fn time(&self, group: usize, it: Time) -> Result<Rows<Int64Type>, ParquetError> {
        self.rows(group, it.column(), 0)
    }

    pub(super) fn number(&self, group: usize, it: Number) -> Result<Rows<Int32Type>, ParquetError> {
        self.rows(group, it.column(), 0)
    }

    pub(super) fn text(&self, group: usize, it: Text) -> Result<Rows<ByteArrayType>, ParquetError> {
        self.rows(group, it.column(), ByteArray::from(""))
    }

    /// Every text of a group's column, if its dictionary has them all: then it says at once
    /// what the group has not.
    pub(super) fn dictionary(
        &self,
        group: usize,
        it: Text,
    ) -> Result<Option<Vec<Bytes>>, ParquetError> {
        let column = self.footer.metadata.row_group(group).column(it.column());
        if column.encodings().any(|it| {
            !matches!(
                it,
                Encoding::RLE | Encoding::RLE_DICTIONARY | Encoding::PLAIN
            )
        }) {
            return Ok(None);
        }
        let Some(Page::DictionaryPage { buf, .. }) =
            self.pages(group, it.column())?.get_next_page()?
        else {
            return Ok(None);
        };
        let mut texts = Vec::new();
        let mut rest = buf;
        while let Some((length, _)) = rest.split_first_chunk() {
            let end = 4 + usize::try_from(u32::from_le_bytes(*length))?;
            if end > rest.len() {
                return Err(invalid("its dictionary is cut off"));
            }
            texts.push(rest.slice(4..end));
            rest = rest.slice(end..);
        }
        Ok(Some(texts))
    }
}

/// The rows of a column of a group, from the first to the last.
pub(super) struct Rows<T: DataType> {
    reader: ColumnReaderImpl<T>,
    at: usize,
    absent: T::T,
}

impl<T: DataType> Rows<T> {
    /// Appends the values of rows, which are behind those that were read before; those that
    /// are absent as `T::T::default()`.
    pub(super) fn read(
        &mut self,
        rows: &[Range<usize>],
        values: &mut Vec<T::T>,
    ) -> Result<(), ParquetError> {
        let mut levels = Vec::new();
        for rows in rows {
            let skip = rows.start.checked_sub(self.at);
            let skip = skip.ok_or(invalid("its rows are out of order"))?;
            let first = values.len();
            levels.clear();
            if self.reader.skip_records(skip)? != skip
                || self.read_all(rows.len(), &mut levels, values)? != rows.len()
            {
                return Err(invalid("it has too few rows"));
            }
            spread(&levels, first, values, &self.absent);
            self.at = rows.end;
        }
        Ok(())
    }

    /// As many records as there are, up to `most`.
    fn read_all(
        &mut self,
        most: usize,
        levels: &mut Vec<i16>,
        values: &mut Vec<T::T>,
    ) -> Result<usize, ParquetError> {
        let mut total = 0;
        while total < most {
            let left = most - total;
            let (records, ..) = self.reader.read_records(left, Some(levels), None, values)?;
            if records == 0 {
                break;
            }
            total += records;
        }
        Ok(total)
    }
}

/// Puts the values behind `first`, which are those that are there, where their levels say. No
/// levels: all are there.
fn spread<V: Clone>(levels: &[i16], first: usize, values: &mut Vec<V>, absent: &V) {
    if levels.iter().all(|level| *level != 0) {
        return;
    }
    let mut present = values.split_off(first).into_iter();
    values.extend(levels.iter().map(|level| {
        let value = (*level != 0).then(|| present.next()).flatten();
        value.unwrap_or_else(|| absent.clone())
    }));
}

/// All columns of a group, read side by side.
pub(super) struct GroupRows {
    times: Vec<Rows<Int64Type>>,
    numbers: Vec<Rows<Int32Type>>,
    texts: Vec<Rows<ByteArrayType>>,
}

impl GroupRows {
    pub(super) fn new(file: &OpenFile, group: usize) -> Result<Self, ParquetError> {
        let times = Time::ALL.into_iter().map(|it| file.time(group, it));
        let numbers = Number::ALL.into_iter().map(|it| file.number(group, it));
        let texts = Text::ALL.into_iter().map(|it| file.text(group, it));
        Ok(Self {
            times: times.collect::<Result<_, _>>()?,
            numbers: numbers.collect::<Result<_, _>>()?,
            texts: texts.collect::<Result<_, _>>()?,
        })
    }

    /// Appends rows, which are behind those that were read before.
    pub(super) fn read(
        &mut self,
        rows: &[Range<usize>],
        columns: &mut Columns,
    ) -> Result<(), ParquetError> {
        for (column, values) in self.times.iter_mut().zip(&mut columns.times) {
            column.read(rows, values)?;
        }
        for (column, values) in self.numbers.iter_mut().zip(&mut columns.numbers) {
            column.read(rows, values)?;
        }
        for (column, values) in self.texts.iter_mut().zip(&mut columns.texts) {
            column.read(rows, values)?;
        }
        Ok(())
    }
}
