//! Tools that AWS's users have: `pyarrow`, and `flowlogs-reader`, whose own reader of
//! Parquet is an old one.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
};

use super::*;
use crate::flowlog::python;

/// By reader and file: what its records say, by column.
type Shown = BTreeMap<String, Vec<HashMap<String, String>>>;

/// What the readers show of both files.
fn shown(format: &LogFormat, records: &[Record]) -> Shown {
    let folder = tempfile::tempdir().unwrap();
    let [lines, columns] = ["text", "parquet"].map(|name| folder.path().join(name));
    fs::write(&lines, text(format, records)).unwrap();
    fs::write(&columns, parquet(format, records)).unwrap();
    let script = include_str!("readers.py");
    let key = "AWSLogs/123456789010/vpcflowlogs/us-east-1/2021/05/04/\
               123456789010_vpcflowlogs_us-east-1_fl-1234abcd_20210504T1500Z_fe123456";
    let arguments = [lines.as_os_str(), columns.as_os_str(), key.as_ref()];
    parse(&python::says(script, &arguments))
}

fn parse(text: &str) -> Shown {
    let mut shown = Shown::new();
    for line in text.lines() {
        let mut words = line.split(' ');
        let reader = format!("{} {}", words.next().unwrap(), words.next().unwrap());
        let columns = words.map(|word| {
            let (name, value) = word.split_once('=').unwrap();
            (name.to_owned(), value.to_owned())
        });
        shown.entry(reader).or_default().push(columns.collect());
    }
    shown
}

/// Asserts that every reader sees what a line of each record says.
fn assert_shown(format: &LogFormat, records: &[Record]) {
    let mut shown = shown(format, records);
    for schema in shown.remove("pyarrow schema").unwrap() {
        assert_eq!(schema.len(), format.fields().len());
        for field in format.fields() {
            let expected = match field.column_type() {
                Type::Text => "string",
                Type::Int => "int32",
                Type::Long => "int64",
            };
            assert_eq!(schema[&column(*field)], expected);
        }
    }
    let readers: Vec<_> = shown.keys().map(String::as_str).collect();
    assert_eq!(
        readers,
        [
            "flowlogs-reader parquet",
            "flowlogs-reader text",
            "pyarrow parquet"
        ]
    );
    for (reader, rows) in &shown {
        assert_eq!(rows.len(), records.len(), "{reader}");
        for (row, record) in rows.iter().zip(records) {
            for (field, word) in format.fields().iter().zip(words(format, record)) {
                // `flowlogs-reader` knows the fields up to version 5.
                if reader.starts_with("pyarrow") || (2..=5).contains(&field.version()) {
                    assert_eq!(row[&column(*field)], word, "{reader} {}", field.name());
                }
            }
        }
    }
}

fn column(field: Field) -> String {
    field.name().replace('-', "_")
}

#[test]
fn others_see_every_field_of_every_kind_of_record() {
    assert_shown(&everything(), &golden::examples());
}

#[test]
fn others_read_files_of_several_pages_and_row_groups() {
    let examples = golden::examples();
    let records = (0..66_000)
        .zip(examples.iter().cycle())
        .map(|(at, record)| {
            let mut record = record.clone();
            record.end += at;
            if let What::Flow(flow) = &mut record.what {
                flow.bytes += at * 7_919;
            }
            record
        });
    let format = of(&[Field::End, Field::Bytes, Field::Action]);
    assert_shown(&format, &records.collect::<Vec<_>>());
}
