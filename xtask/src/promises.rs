//! The promises of the documents, held against the tests that keep them: every test that a
//! document names exists, and `docs/conformance.md` claims nothing else than its rows say.
//!
//! A test is named in backticks, in a column headed `Test`, `Tests` or `Held by the test`;
//! or anywhere else if it has six words or more, which nothing but a test has.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};

use conformance::{Counts, Status};
use tables::Table;

mod conformance;
mod sources;
mod tables;
#[cfg(test)]
mod tests;

/// What a column of tests is headed.
const TEST_HEADS: [&str; 3] = ["Test", "Tests", "Held by the test"];
/// Words of a name that stands for a test wherever it stands.
const WORDS: usize = 6;
/// Every row of this document has a status.
const CONFORMANCE: &str = "docs/conformance.md";

/// Where a document promises what is not so.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Fault {
    document: String,
    /// From 1 on.
    line: usize,
    /// The row's first cell; empty outside of tables.
    row: String,
    what: What,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum What {
    /// No test has this name.
    NoTest(String),
    /// A row has more or fewer cells than its table's head.
    Cells,
    /// A table has no column of this name.
    NoColumn(&'static str),
    /// No status is called so.
    NoStatus(String),
    /// A test is owed.
    MetWithoutTest,
    /// It is tested after all.
    UntestedWithTest,
    /// A cell of tests has something else in it.
    NotTests,
    /// The counts at the head are others than those of the rows.
    Counts,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.document, self.line)?;
        if !self.row.is_empty() {
            write!(f, "row {:?}: ", self.row)?;
        }
        match &self.what {
            What::NoTest(name) => write!(f, "there is no test `{name}`: correct the name"),
            What::Cells => {
                f.write_str("its cells are not as many as the columns: add or remove one")
            }
            What::NoColumn(head) => write!(f, "the table has no column {head:?}: add it"),
            What::NoStatus(text) => {
                write!(f, "{text:?} is no status: use ")?;
                let labels = Status::ALL.map(Status::label);
                f.write_str(&labels.join(" / "))
            }
            What::MetWithoutTest => f.write_str("it is \"met\" without a test: name one"),
            What::UntestedWithTest => f.write_str("it is untested and names a test: it is \"met\""),
            What::NotTests => {
                f.write_str("the tests are not names in backticks: write them so, a comma between")
            }
            What::Counts => f.write_str(
                "the counts are not those of the rows: run `VPC_BLESS=1 cargo test -p xtask`",
            ),
        }
    }
}

/// Checks the documents of a workspace; one line for each fault.
pub fn check(root: &Path) -> Result<()> {
    let tests = tests_of(root)?;
    ensure!(!tests.is_empty(), "no test was found in {}", root.display());
    ensure!(
        root.join(CONFORMANCE).is_file(),
        "{CONFORMANCE} is missing: restore it"
    );
    let mut faults = Vec::new();
    for path in documents(root)? {
        let text = read(&path)?;
        let name = path.strip_prefix(root).unwrap_or(&path);
        faults.extend(check_document(&name.to_string_lossy(), &text, &tests));
    }
    if faults.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
    bail!("documents promise what is not so\n{}", lines.join("\n"))
}

fn check_document(document: &str, text: &str, tests: &BTreeSet<String>) -> Vec<Fault> {
    let mut faults = check_names(document, text, tests);
    if document == CONFORMANCE {
        faults.extend(check_conformance(document, text));
    }
    faults
}

/// Every test that is named exists.
fn check_names(document: &str, text: &str, tests: &BTreeSet<String>) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut check = |line, row: &str, name: &str| {
        if !tests.contains(name) {
            let what = What::NoTest(name.to_owned());
            faults.push(fault(document, line, row, what));
        }
    };
    let tables = tables::of(text);
    let mut seen = BTreeMap::new();
    for table in &tables {
        let columns: Vec<usize> = table.columns(&TEST_HEADS).collect();
        for row in &table.rows {
            let cells = columns.iter().filter_map(|column| row.cells.get(*column));
            for name in cells.flat_map(|cell| tables::code(cell)) {
                check(row.line, row.name(), name);
            }
            seen.insert(row.line, (row, !columns.is_empty()));
        }
    }
    for (line, content) in tables::outside_of_code(text) {
        let row = seen.get(&line);
        if row.is_some_and(|(_, has_tests)| *has_tests) {
            continue;
        }
        let name_of_row = row.map_or("", |(row, _)| row.name());
        for name in tables::code(content).filter(|name| is_test_like(name)) {
            check(line, name_of_row, name);
        }
    }
    faults.sort_by_key(|fault| fault.line);
    faults
}

/// Whether something in backticks can only be the name of a test.
fn is_test_like(name: &str) -> bool {
    let is_identifier = name
        .bytes()
        .all(|byte| byte == b'_' || byte.is_ascii_lowercase() || byte.is_ascii_digit());
    is_identifier && name.split('_').count() >= WORDS
}

/// Every row has a status and the tests that go with it, and the counts are right.
fn check_conformance(document: &str, text: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    for table in conformance::tables(text) {
        for head in ["Status", "Tests"] {
            if table.column(head).is_none() {
                faults.push(fault(document, table.line, "", What::NoColumn(head)));
            }
        }
        for row in &table.rows {
            let what = check_row(&table, row);
            faults.extend(what.map(|what| fault(document, row.line, row.name(), what)));
        }
    }
    let written = conformance::written_counts(text);
    if written != Some(Counts::of(text).to_string().as_str()) {
        faults.push(fault(document, 1, "", What::Counts));
    }
    faults
}

fn check_row(table: &Table, row: &tables::Row) -> Option<What> {
    if row.cells.len() != table.head.len() {
        return Some(What::Cells);
    }
    let status = table.cell(row, "Status")?;
    let Some(status) = Status::named(status) else {
        return Some(What::NoStatus(status.to_owned()));
    };
    let tests = table.cell(row, "Tests")?;
    let names: Vec<String> = tables::code(tests)
        .map(|name| format!("`{name}`"))
        .collect();
    match status {
        _ if names.join(", ") != tests => Some(What::NotTests),
        Status::Met if names.is_empty() => Some(What::MetWithoutTest),
        Status::MetUntested if !names.is_empty() => Some(What::UntestedWithTest),
        _ => None,
    }
}

fn fault(document: &str, line: usize, row: &str, what: What) -> Fault {
    Fault {
        document: document.to_owned(),
        line,
        row: row.to_owned(),
        what,
    }
}

/// The documents that promise something.
fn documents(root: &Path) -> Result<Vec<PathBuf>> {
    let mut documents = vec![root.join("ARCHITECTURE.md")];
    documents.extend(files(&root.join("docs"), "md")?);
    Ok(documents)
}

/// The names of all tests of a workspace.
fn tests_of(root: &Path) -> Result<BTreeSet<String>> {
    let mut tests = BTreeSet::new();
    for path in files(root, "rs")? {
        let found = sources::tests(&read(&path)?);
        tests.extend(found.with_context(|| format!("{} is not Rust", path.display()))?);
    }
    Ok(tests)
}

/// The files below a folder whose names end so, in order; without what is built and what is
/// hidden.
fn files(dir: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let list = || format!("cannot list {}", dir.display());
    let mut entries = fs::read_dir(dir)
        .with_context(list)?
        .collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    let mut found = Vec::new();
    for entry in entries {
        let (path, name) = (entry.path(), entry.file_name());
        if name == "target" || name.to_string_lossy().starts_with('.') {
            continue;
        }
        if entry.file_type()?.is_dir() {
            found.extend(files(&path, extension)?);
        } else if path.extension().is_some_and(|it| it == extension) {
            found.push(path);
        }
    }
    Ok(found)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
