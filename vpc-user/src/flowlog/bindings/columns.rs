//! Bindings as columns, and what the columns of a file are.
//!
//! Encodings were chosen by measuring: see [`properties`].

use std::{collections::HashMap, net::Ipv4Addr, sync::Arc};

use parquet::{
    basic::{Compression, Encoding},
    data_type::ByteArray,
    errors::ParquetError,
    file::{
        metadata::SortingColumn,
        properties::{EnabledStatistics, WriterProperties},
    },
    schema::{
        parser::parse_message_type,
        types::{ColumnPath, TypePtr},
    },
};

use super::Binding;

/// Rows of a page: what has to be decoded for one of them. Few in tests, so that a few rows
/// make many pages and row groups.
pub(super) const PAGE_ROWS: usize = if cfg!(test) { 16 } else { 8_192 };

/// Rows of a row group: what a merge holds in memory.
pub(super) const GROUP_ROWS: usize = if cfg!(test) { 96 } else { 1 << 19 };

/// A flow that lived for longer is in a row group of long ones, milliseconds.
const LONG: i64 = 3_600_000;

/// The columns, in their order. Addresses are numbers of 32 bits, the first byte the highest,
/// so that a prefix is a range.
const SCHEMA: &str = "
message bindings {
  required int64 start (TIMESTAMP(MILLIS, true));
  required int64 end (TIMESTAMP(MILLIS, true));
  required int32 address (INTEGER(32, false));
  required int32 port (INTEGER(16, false));
  required int32 protocol (INTEGER(8, false));
  required int32 remote (INTEGER(32, false));
  required int32 remote_port (INTEGER(16, false));
  required int32 inside (INTEGER(32, false));
  required int32 inside_port (INTEGER(16, false));
  required binary vpc_id (STRING);
  required binary interface_id (STRING);
  required binary environment (STRING);
  optional binary function (STRING);
}";

/// A column of 64-bit times.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Time {
    Start,
    End,
}

/// A column of 32-bit numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Number {
    Address,
    Port,
    Protocol,
    Remote,
    RemotePort,
    Inside,
    InsidePort,
}

/// A column of texts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Text {
    Vpc,
    Interface,
    Environment,
    Function,
}

impl Time {
    pub(super) const ALL: [Self; 2] = [Self::Start, Self::End];

    /// Its place among the columns of a file.
    pub(super) const fn column(self) -> usize {
        self as usize
    }
}

impl Number {
    pub(super) const ALL: [Self; 7] = [
        Self::Address,
        Self::Port,
        Self::Protocol,
        Self::Remote,
        Self::RemotePort,
        Self::Inside,
        Self::InsidePort,
    ];

    /// Its place among the columns of a file.
    pub(super) const fn column(self) -> usize {
        Time::ALL.len() + self as usize
    }
}

impl Text {
    pub(super) const ALL: [Self; 4] = [
        Self::Vpc,
        Self::Interface,
        Self::Environment,
        Self::Function,
    ];

    /// Its place among the columns of a file.
    pub(super) const fn column(self) -> usize {
        Time::ALL.len() + Number::ALL.len() + self as usize
    }
}

/// The schema of a file.
pub(super) fn schema() -> Result<TypePtr, ParquetError> {
    parse_message_type(SCHEMA).map(Arc::new)
}

/// How a file is written.
///
/// Bytes of a binding among three million of a day: start and end 3.5 each, remote 2.4, inside
/// port 2.1, environment, function and inside address 1.3 each, interface 1.0, VPC and port 0.6
/// each, all else 0.4; 18.2 in all. Without compression that were 18.5, with LZ4 18.2, with
/// Zstandard 17.0, for a library in C. Byte stream split in place of deltas for times and the
/// inside port takes 0.3 more, a dictionary for the ports 1.7 more; deltas for the remote and
/// the inside address 2.6 more.
pub(super) fn properties() -> WriterProperties {
    let column = |name: &str| ColumnPath::from(name);
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_write_batch_size(PAGE_ROWS / 8)
        // Rows alone make a page, so that the pages of all columns end at the same rows.
        .set_data_page_size_limit(usize::MAX)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_sorting_columns(Some(sorting()));
    for name in ["start", "end"] {
        properties =
            properties.set_column_statistics_enabled(column(name), EnabledStatistics::Chunk);
    }
    for name in ["address", "port"] {
        properties =
            properties.set_column_statistics_enabled(column(name), EnabledStatistics::Page);
    }
    for name in ["start", "end", "address", "port", "inside_port"] {
        properties = properties
            .set_column_dictionary_enabled(column(name), false)
            .set_column_encoding(column(name), Encoding::DELTA_BINARY_PACKED);
    }
    properties.build()
}

fn sorting() -> Vec<SortingColumn> {
    let columns = [
        Number::Address.column(),
        Number::Port.column(),
        Number::Protocol.column(),
        Time::Start.column(),
    ];
    let ascending = |column| SortingColumn {
        column_idx: column,
        descending: false,
        nulls_first: false,
    };
    columns
        .into_iter()
        .filter_map(|column| i32::try_from(column).ok())
        .map(ascending)
        .collect()
}

/// Rows, column by column. A function that is absent is an empty text.
#[derive(Clone, Default, Debug)]
pub(super) struct Columns {
    pub(super) times: [Vec<i64>; Time::ALL.len()],
    pub(super) numbers: [Vec<i32>; Number::ALL.len()],
    pub(super) texts: [Vec<ByteArray>; Text::ALL.len()],
}

impl Columns {
    pub(super) fn len(&self) -> usize {
        self.times[0].len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn clear(&mut self) {
        self.times.iter_mut().for_each(Vec::clear);
        self.numbers.iter_mut().for_each(Vec::clear);
        self.texts.iter_mut().for_each(Vec::clear);
    }

    pub(super) fn time(&self, column: Time) -> &[i64] {
        &self.times[column as usize]
    }

    pub(super) fn number(&self, column: Number) -> &[i32] {
        &self.numbers[column as usize]
    }

    pub(super) fn text(&self, column: Text) -> &[ByteArray] {
        &self.texts[column as usize]
    }

    /// Appends a row of others.
    pub(super) fn push_row(&mut self, from: &Self, row: usize) {
        for (into, from) in self.times.iter_mut().zip(&from.times) {
            into.push(from[row]);
        }
        for (into, from) in self.numbers.iter_mut().zip(&from.numbers) {
            into.push(from[row]);
        }
        for (into, from) in self.texts.iter_mut().zip(&from.texts) {
            into.push(from[row].clone());
        }
    }

    /// Appends a binding.
    pub(super) fn push(&mut self, binding: &Binding, names: &mut Names) {
        for (into, time) in self.times.iter_mut().zip([binding.start, binding.end]) {
            into.push(millis(time));
        }
        let numbers = [
            from_address(binding.address),
            binding.port.into(),
            binding.protocol.into(),
            from_address(binding.remote),
            binding.remote_port.into(),
            from_address(binding.inside),
            binding.inside_port.into(),
        ];
        for (into, number) in self.numbers.iter_mut().zip(numbers) {
            into.push(number);
        }
        let texts = [
            &*binding.vpc_id,
            &*binding.interface_id,
            &*binding.environment,
            binding.function.as_deref().unwrap_or_default(),
        ];
        for (into, text) in self.texts.iter_mut().zip(texts) {
            into.push(names.bytes(text));
        }
    }

    /// What rows are sorted by: address, port, protocol, start.
    pub(super) fn key(&self, row: usize) -> u128 {
        let number = |column: Number| u128::from(self.number(column)[row].cast_unsigned());
        number(Number::Address) << 88
            | number(Number::Port) << 72
            | number(Number::Protocol) << 64
            | u128::from(self.time(Time::Start)[row].cast_unsigned())
    }
}

/// What a binding is sorted by: the same.
pub(super) fn key(binding: &Binding) -> u128 {
    u128::from(binding.address.to_bits()) << 88
        | u128::from(binding.port) << 72
        | u128::from(binding.protocol) << 64
        | u128::from(millis(binding.start).cast_unsigned())
}

/// Whether it is one of the long ones.
pub(super) fn is_long(binding: &Binding) -> bool {
    millis(binding.end).saturating_sub(millis(binding.start)) > LONG
}

/// A time as it is kept.
pub(super) fn millis(time: u64) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}

const fn from_address(address: Ipv4Addr) -> i32 {
    address.to_bits().cast_signed()
}

/// Texts that many rows share, each kept once.
#[derive(Default)]
pub(super) struct Names {
    bytes: HashMap<Box<str>, ByteArray>,
    shared: HashMap<Box<[u8]>, Arc<str>>,
}

impl Names {
    fn bytes(&mut self, text: &str) -> ByteArray {
        if let Some(bytes) = self.bytes.get(text) {
            return bytes.clone();
        }
        let bytes = ByteArray::from(text);
        self.bytes.insert(text.into(), bytes.clone());
        bytes
    }

    fn shared(&mut self, bytes: &[u8]) -> Option<Arc<str>> {
        if let Some(text) = self.shared.get(bytes) {
            return Some(text.clone());
        }
        let text: Arc<str> = str::from_utf8(bytes).ok()?.into();
        self.shared.insert(bytes.into(), text.clone());
        Some(text)
    }

    /// A row as a binding; `None`: it is none.
    pub(super) fn binding(&mut self, columns: &Columns, row: usize) -> Option<Binding> {
        let time = |column| u64::try_from(columns.time(column)[row]).ok();
        let number = |column| columns.number(column)[row].cast_unsigned();
        let port = |column| u16::try_from(number(column)).ok();
        let address = |column| Ipv4Addr::from_bits(number(column));
        let mut text = |column| self.shared(columns.text(column)[row].data());
        Some(Binding {
            start: time(Time::Start)?,
            end: time(Time::End)?,
            vpc_id: text(Text::Vpc)?,
            interface_id: text(Text::Interface)?,
            address: address(Number::Address),
            port: port(Number::Port)?,
            protocol: u8::try_from(number(Number::Protocol)).ok()?,
            remote: address(Number::Remote),
            remote_port: port(Number::RemotePort)?,
            environment: text(Text::Environment)?,
            function: Some(text(Text::Function)?).filter(|it| !it.is_empty()),
            inside: address(Number::Inside),
            inside_port: port(Number::InsidePort)?,
        })
    }
}
