//! What is written is read back: by hand, by the `parquet` crate, and by tools of others.

mod golden;
mod readers;

use std::{io::Read, net::Ipv4Addr, sync::Arc};

use ::parquet::{
    basic::{Compression, ConvertedType, Encoding, Repetition, Type as PhysicalType},
    file::reader::{FileReader, SerializedFileReader},
    record::Field as Cell,
};
use bytes::Bytes;
use flate2::read::GzDecoder;
use proptest::prelude::*;
use vpc_common::drop::DropReason;

use super::*;
use crate::flowlog::{Action, Environment, Field, Flow, FlowDirection, Inside, Place, Type, What};

fn text(format: &LogFormat, records: &[Record]) -> Vec<u8> {
    write(format, records, false)
}

fn parquet(format: &LogFormat, records: &[Record]) -> Vec<u8> {
    write(format, records, true)
}

fn write(format: &LogFormat, records: &[Record], parquet: bool) -> Vec<u8> {
    let mut file = FileWriter::new(Vec::new(), format.clone(), parquet).unwrap();
    for record in records {
        file.write(record).unwrap();
    }
    file.finish().unwrap()
}

/// A format of all fields.
fn everything() -> LogFormat {
    of(Field::ALL)
}

fn of(fields: &[Field]) -> LogFormat {
    let words = fields.iter().map(|field| format!("${{{}}}", field.name()));
    LogFormat::parse(&words.collect::<Vec<_>>().join(" ")).unwrap()
}

/// What the lines of a text file say, by the names in its first.
fn read_text(file: &[u8]) -> (Vec<String>, Vec<Vec<String>>) {
    let mut text = String::new();
    let mut gzip = GzDecoder::new(file);
    gzip.read_to_string(&mut text).unwrap();
    assert!(gzip.into_inner().is_empty(), "one member of gzip");
    assert!(text.ends_with('\n'));
    let mut lines = text.lines();
    let split = |line: &str| line.split(' ').map(str::to_owned).collect();
    let names = split(lines.next().unwrap());
    (names, lines.map(split).collect())
}

/// What the rows of a Parquet file say, as lines would say it.
fn read_parquet(file: Vec<u8>) -> (Vec<String>, Vec<Vec<String>>) {
    let file = SerializedFileReader::new(Bytes::from(file)).unwrap();
    let schema = file.metadata().file_metadata().schema_descr_ptr();
    let names = schema
        .columns()
        .iter()
        .map(|column| column.name().to_owned());
    let rows = file.get_row_iter(None).unwrap().map(|row| {
        let row = row.unwrap();
        let cells = row.get_column_iter().map(|(_, cell)| match cell {
            Cell::Null => "-".to_owned(),
            Cell::Int(number) => number.to_string(),
            Cell::Long(number) => number.to_string(),
            Cell::Str(text) => text.clone(),
            other => panic!("{other:?}"),
        });
        cells.collect()
    });
    (names.collect(), rows.collect())
}

fn words(format: &LogFormat, record: &Record) -> Vec<String> {
    record.line(format).split(' ').map(str::to_owned).collect()
}

fn name() -> impl Strategy<Value = String> {
    "[!-,.-~]{1,40}"
}

fn address() -> impl Strategy<Value = Ipv4Addr> {
    any::<u32>().prop_map(Ipv4Addr::from)
}

fn place() -> impl Strategy<Value = Arc<Place>> {
    let names = (name(), name(), name(), name(), name(), name());
    (names, address()).prop_map(
        |((account_id, interface_id, vpc_id, subnet_id, region, az_id), address)| {
            Arc::new(Place {
                account_id,
                interface_id,
                address,
                vpc_id,
                subnet_id,
                region,
                az_id,
            })
        },
    )
}

fn inside() -> impl Strategy<Value = Inside> {
    let function = proptest::option::of("arn:[a-zA-Z0-9:_-]{1,140}:[0-9]{1,5}");
    (name(), function, address(), any::<Option<u16>>()).prop_map(
        |(name, function, address, port)| Inside {
            of: Arc::new(Environment {
                name: name.into(),
                function: function.map(Into::into),
                address,
            }),
            port,
        },
    )
}

fn flow() -> impl Strategy<Value = Flow> {
    let direction = prop_oneof![Just(FlowDirection::Egress), Just(FlowDirection::Ingress)];
    let action = prop_oneof![
        Just(Action::Accept),
        proptest::sample::select(DropReason::ALL).prop_map(Action::Reject)
    ];
    let counts = (0..=i64::MAX as u64, 0..=i64::MAX as u64);
    let numbers = any::<(u8, u16, u16, u8, Option<u8>)>();
    (
        direction,
        action,
        counts,
        numbers,
        address(),
        proptest::option::of(inside()),
    )
        .prop_map(
            |(direction, action, (packets, bytes), numbers, remote, inside)| {
                let (protocol, remote_port, local_port, tcp_flags, traffic_path) = numbers;
                Flow {
                    direction,
                    protocol,
                    remote,
                    remote_port,
                    local_port,
                    packets,
                    bytes,
                    action,
                    tcp_flags,
                    traffic_path,
                    inside,
                }
            },
        )
}

fn record() -> impl Strategy<Value = Record> {
    let what = prop_oneof![
        8 => flow().prop_map(What::Flow),
        1 => Just(What::NoData),
        1 => (0..=i64::MAX as u64).prop_map(What::SkipData)
    ];
    (place(), 0..=i64::MAX as u64, 0..=i64::MAX as u64, what).prop_map(
        |(place, start, end, what)| Record {
            place,
            start,
            end,
            what,
        },
    )
}

fn log_format() -> impl Strategy<Value = LogFormat> {
    let fields = proptest::sample::subsequence(Field::ALL, 1..=Field::ALL.len());
    fields.prop_shuffle().prop_map(|fields| of(&fields))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read_back(
        format in log_format(),
        records in prop::collection::vec(record(), 0..40),
    ) {
        let expected: Vec<_> = records.iter().map(|record| words(&format, record)).collect();
        let names = format.fields().iter().map(|field| field.name());
        let (read_names, lines) = read_text(&text(&format, &records));
        prop_assert_eq!(&read_names, &names.clone().collect::<Vec<_>>());
        prop_assert_eq!(&lines, &expected);
        let (read_names, rows) = read_parquet(parquet(&format, &records));
        prop_assert_eq!(read_names, names.map(|it| it.replace('-', "_")).collect::<Vec<_>>());
        prop_assert_eq!(rows, expected);
    }

    /// Whatever the file is written into may be full at any octet.
    #[test]
    fn what_is_written_into_something_full_fails(
        records in prop::collection::vec(record(), 0..40),
        parquet: bool,
        at: prop::sample::Index,
    ) {
        let whole = write(&everything(), &records, parquet).len();
        let full = Full { left: at.index(whole) };
        let write_all = || {
            let mut file = FileWriter::new(full, everything(), parquet)?;
            records.iter().try_for_each(|record| file.write(record))?;
            file.finish()
        };
        let error = write_all().err().expect("refused").to_string();
        prop_assert!(error.contains("no space"), "{}", error);
    }

    /// A reader can tell that the end is missing.
    #[test]
    fn a_torn_file_is_none(records in prop::collection::vec(record(), 0..40), at: prop::sample::Index) {
        let file = text(&everything(), &records);
        let torn = &file[..at.index(file.len())];
        prop_assert!(GzDecoder::new(torn).read_to_end(&mut Vec::new()).is_err());
        let file = parquet(&everything(), &records);
        let torn = file[..at.index(file.len())].to_vec();
        prop_assert!(SerializedFileReader::new(Bytes::from(torn)).is_err());
    }
}

/// Takes so many octets and no more.
struct Full {
    left: usize,
}

impl Write for Full {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::Error::other("no space"));
        }
        let taken = octets.len().min(self.left);
        self.left -= taken;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn nothing(end: u64) -> Record {
    let [.., skipped] = golden::examples();
    Record { end, ..skipped }
}

#[test]
fn a_row_group_ends_by_its_rows() {
    const ROWS: u64 = 140_000;
    let records: Vec<_> = (0..ROWS).map(nothing).collect();
    let file = parquet(&of(&[Field::End, Field::Action]), &records);
    let reader = SerializedFileReader::new(Bytes::from(file.clone())).unwrap();
    let groups = reader.metadata().row_groups().iter();
    assert_eq!(
        groups.map(|group| group.num_rows()).collect::<Vec<_>>(),
        [65_536, 65_536, 8_928]
    );
    let (_, rows) = read_parquet(file);
    let expected = (0..ROWS).map(|end| vec![end.to_string(), "-".to_owned()]);
    assert!(rows.into_iter().eq(expected));
}

#[test]
fn a_row_group_ends_by_its_octets() {
    const LONG: usize = 100_000;
    let [mut record, ..] = golden::examples();
    Arc::make_mut(&mut record.place).vpc_id = "v".repeat(LONG);
    let file = parquet(&of(&[Field::VpcId]), &vec![record; 400]);
    let reader = SerializedFileReader::new(Bytes::from(file)).unwrap();
    let groups = reader.metadata().row_groups().iter();
    let rows: Vec<_> = groups.map(|group| group.num_rows()).collect();
    assert_eq!(rows.iter().sum::<i64>(), 400);
    assert!(
        rows.iter().all(|rows| *rows <= 168),
        "16 MiB and one record: {rows:?}"
    );
}

#[test]
fn columns_are_of_the_types_that_aws_says_and_of_the_oldest_format() {
    let file = parquet(&everything(), &golden::examples());
    let reader = SerializedFileReader::new(Bytes::from(file)).unwrap();
    assert_eq!(reader.metadata().file_metadata().version(), 1);
    let group = reader.metadata().row_group(0);
    assert_eq!(group.num_columns(), Field::ALL.len());
    for (column, field) in group.columns().iter().zip(Field::ALL) {
        let types = (column.column_type(), column.column_descr().converted_type());
        let expected = match field.column_type() {
            Type::Text => (PhysicalType::BYTE_ARRAY, ConvertedType::UTF8),
            Type::Int => (PhysicalType::INT32, ConvertedType::NONE),
            Type::Long => (PhysicalType::INT64, ConvertedType::NONE),
        };
        assert_eq!(types, expected, "{}", field.name());
        let repetition = column
            .column_descr()
            .self_type()
            .get_basic_info()
            .repetition();
        assert_eq!(repetition, Repetition::OPTIONAL);
        assert!(matches!(column.compression(), Compression::GZIP(_)));
        let encodings: Vec<_> = column.encodings().collect();
        assert_eq!(encodings, [Encoding::PLAIN, Encoding::RLE]);
    }
}

#[test]
fn a_file_of_no_records_has_its_names() {
    let (names, lines) = read_text(&text(&LogFormat::default(), &[]));
    assert_eq!(names.join(" "), LogFormat::default().header());
    assert!(lines.is_empty());
    let (names, rows) = read_parquet(parquet(&LogFormat::default(), &[]));
    assert_eq!(
        names.join(" "),
        LogFormat::default().header().replace('-', "_")
    );
    assert!(rows.is_empty());
}

#[test]
fn a_number_that_is_too_large_is_the_largest() {
    let (_, rows) = read_parquet(parquet(&of(&[Field::End]), &[nothing(u64::MAX)]));
    assert_eq!(rows, [[i64::MAX.to_string()]]);
}

#[test]
fn a_place_that_is_not_known_is_null() {
    let [out, ..] = golden::examples();
    let record = Record {
        place: Arc::new(Place::unknown()),
        ..out
    };
    let format = of(&[Field::AccountId, Field::InterfaceId, Field::VpcId]);
    assert_eq!(record.line(&format), "unknown - -");
    assert_eq!(record.value(Field::VpcId, &format), None);
}
