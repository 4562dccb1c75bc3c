//! Columns: Parquet as version 1 of the format has it, which old readers know.
//! <https://parquet.apache.org/docs/file-format/>

use std::{io::Write, mem, sync::Arc};

use bytes::Bytes;
use parquet::{
    basic::{Compression, GzipLevel, LogicalType, Repetition, Type as PhysicalType},
    data_type::{ByteArray, ByteArrayType, Int32Type, Int64Type},
    errors::Result,
    file::{
        properties::{EnabledStatistics, WriterProperties, WriterVersion},
        writer::{SerializedColumnWriter, SerializedFileWriter},
    },
    schema::types::{Type as SchemaType, TypePtr},
};

use super::LEVEL;
use crate::flowlog::{Field, LogFormat, Record, Type, Value};

/// Rows of a row group, at most.
const GROUP_ROWS: usize = 1 << 16;

/// Octets of values of a row group, at most, give or take a record: what is held in memory.
const GROUP_BYTES: usize = 16 << 20;

/// A Parquet file under way: a column a field, named as the field with `_` for `-`, null
/// where a line shows `-`. Holds one row group, and of those before it what the end of the
/// file says of them.
pub struct ParquetWriter<W: Write + Send> {
    format: LogFormat,
    columns: Vec<Column>,
    rows: usize,
    bytes: usize,
    file: SerializedFileWriter<W>,
}

impl<W: Write + Send> ParquetWriter<W> {
    /// Begins a file.
    pub fn new(out: W, format: LogFormat) -> Result<Self> {
        let properties = WriterProperties::builder()
            .set_writer_version(WriterVersion::PARQUET_1_0)
            .set_compression(Compression::GZIP(GzipLevel::try_new(LEVEL)?))
            // Dictionaries would save a twentieth, and the crate marks them as the newer
            // `RLE_DICTIONARY` in either version, which old readers do not know.
            .set_dictionary_enabled(false)
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_offset_index_disabled(true)
            .build();
        Ok(Self {
            columns: format.fields().iter().map(Column::new).collect(),
            rows: 0,
            bytes: 0,
            file: SerializedFileWriter::new(out, schema(&format)?, Arc::new(properties))?,
            format,
        })
    }

    /// Adds a record.
    pub fn write(&mut self, record: &Record) -> Result<()> {
        for (column, field) in self.columns.iter_mut().zip(self.format.fields()) {
            self.bytes += column.push(record.value(*field, &self.format));
        }
        self.rows += 1;
        if self.rows < GROUP_ROWS && self.bytes < GROUP_BYTES {
            return Ok(());
        }
        self.write_group()
    }

    /// Ends the file.
    pub fn finish(mut self) -> Result<W> {
        if self.rows != 0 {
            self.write_group()?;
        }
        self.file.into_inner()
    }

    fn write_group(&mut self) -> Result<()> {
        let mut group = self.file.next_row_group()?;
        for column in &mut self.columns {
            let Some(mut writer) = group.next_column()? else {
                break;
            };
            column.write(&mut writer)?;
            writer.close()?;
        }
        group.close()?;
        (self.rows, self.bytes) = (0, 0);
        Ok(())
    }
}

fn schema(format: &LogFormat) -> Result<TypePtr> {
    let columns = format.fields().iter().map(|field| {
        let name = field.name().replace('-', "_");
        let (physical, logical) = match field.column_type() {
            // Old readers are told as well: the older mark, `UTF8`, goes with it.
            Type::Text => (PhysicalType::BYTE_ARRAY, Some(LogicalType::String)),
            Type::Int => (PhysicalType::INT32, None),
            Type::Long => (PhysicalType::INT64, None),
        };
        let column = SchemaType::primitive_type_builder(&name, physical)
            .with_repetition(Repetition::OPTIONAL)
            .with_logical_type(logical);
        column.build().map(Arc::new)
    });
    let root = SchemaType::group_type_builder("flow_log");
    let root = root.with_fields(columns.collect::<Result<_>>()?);
    root.build().map(Arc::new)
}

/// A column of the row group that is under way.
struct Column {
    /// Of every row, whether it has a value (1) or is null (0): Parquet's definition level.
    levels: Vec<i16>,
    values: Values,
}

enum Values {
    Int(Vec<i32>),
    Long(Vec<i64>),
    /// All texts, one after another, and where each ends.
    Text(String, Vec<usize>),
}

impl Column {
    fn new(field: &Field) -> Self {
        Self {
            levels: Vec::new(),
            values: match field.column_type() {
                Type::Int => Values::Int(Vec::new()),
                Type::Long => Values::Long(Vec::new()),
                Type::Text => Values::Text(String::new(), Vec::new()),
            },
        }
    }

    /// Adds a value, and says how many octets it holds. A number that is too large is the
    /// largest.
    fn push(&mut self, value: Option<Value<'_>>) -> usize {
        let octets = match (&mut self.values, value) {
            (Values::Int(values), Some(Value::Number(number))) => {
                values.push(number.try_into().unwrap_or(i32::MAX));
                mem::size_of::<i32>()
            }
            (Values::Long(values), Some(Value::Number(number))) => {
                values.push(number.try_into().unwrap_or(i64::MAX));
                mem::size_of::<i64>()
            }
            (Values::Text(text, ends), Some(value)) => {
                let start = text.len();
                value.push_to(text);
                ends.push(text.len());
                text.len() - start + mem::size_of::<usize>() + mem::size_of::<ByteArray>()
            }
            // No field of numbers has a text.
            (_, None) | (Values::Int(_) | Values::Long(_), Some(_)) => {
                self.levels.push(0);
                return mem::size_of::<i16>();
            }
        };
        self.levels.push(1);
        octets + mem::size_of::<i16>()
    }

    /// Writes all of it, and is empty again.
    fn write(&mut self, writer: &mut SerializedColumnWriter<'_>) -> Result<()> {
        let levels = Some(&self.levels[..]);
        match &mut self.values {
            Values::Int(values) => {
                writer
                    .typed::<Int32Type>()
                    .write_batch(values, levels, None)?;
                values.clear();
            }
            Values::Long(values) => {
                writer
                    .typed::<Int64Type>()
                    .write_batch(values, levels, None)?;
                values.clear();
            }
            Values::Text(text, ends) => {
                let next = String::with_capacity(text.capacity());
                let values = slices(mem::replace(text, next), ends);
                writer
                    .typed::<ByteArrayType>()
                    .write_batch(&values, levels, None)?;
                ends.clear();
            }
        }
        self.levels.clear();
        Ok(())
    }
}

/// The texts, without a copy of each.
fn slices(text: String, ends: &[usize]) -> Vec<ByteArray> {
    let text = Bytes::from(text);
    let starts = [0].into_iter().chain(ends.iter().copied());
    let ranges = starts.zip(ends.iter().copied());
    ranges
        .map(|(start, end)| text.slice(start..end).into())
        .collect()
}
