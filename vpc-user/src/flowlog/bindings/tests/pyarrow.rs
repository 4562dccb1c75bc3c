//! Another reader of the files.

use super::*;
use crate::flowlog::python;

/// Prints the rows of a folder's files, a line each.
const SCRIPT: &str = r#"
import pathlib, sys
import pyarrow.parquet as parquet

for path in pathlib.Path(sys.argv[1]).glob("*.parquet"):
    file = parquet.ParquetFile(path)
    assert file.metadata.row_group(0).sorting_columns[0].column_index == 2
    assert file.schema_arrow.field("start").type.tz == "UTC"
    table = file.read()
    for name in ("start", "end"):
        at = table.schema.get_field_index(name)
        table = table.set_column(at, name, table.column(name).cast("int64"))
    for row in table.to_pylist():
        print("\t".join(str(value) for value in row.values()))
"#;

fn line(it: &Binding) -> String {
    let function = it.function.as_deref().unwrap_or("None");
    let Binding {
        start,
        end,
        port,
        protocol,
        remote_port,
        inside_port,
        ..
    } = it;
    let (address, remote, inside) = (
        it.address.to_bits(),
        it.remote.to_bits(),
        it.inside.to_bits(),
    );
    let (vpc, interface, environment) = (&it.vpc_id, &it.interface_id, &it.environment);
    format!(
        "{start}\t{end}\t{address}\t{port}\t{protocol}\t{remote}\t{remote_port}\t{inside}\t\
         {inside_port}\t{vpc}\t{interface}\t{environment}\t{function}"
    )
}

#[test]
fn pyarrow_reads_the_same_rows() {
    let folder = tempfile::tempdir().unwrap();
    let index = Index::open(folder.path(), ALL).unwrap();
    let mut lines = Vec::new();
    for batch in 1..=12 {
        let bindings = minute(batch, 500);
        lines.extend(bindings.iter().map(line));
        index.append(batch, bindings).unwrap();
    }
    assert_eq!(index.compact().unwrap(), 1);
    let said = python::says(SCRIPT, &[folder.path()]);
    let mut read: Vec<_> = said.lines().collect();
    read.sort_unstable();
    lines.sort_unstable();
    assert_eq!(read, lines);
}
