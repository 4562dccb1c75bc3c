//! The state as one JSON document, to be kept elsewhere, read by people, or imported.

use std::io;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Revision,
    layout::{self, LAYOUT, LayoutError, MIGRATIONS, Migration, RawRecords},
};
use crate::control::{Key, Record, State};

/// The document.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Document {
    /// Of the records.
    layout: u64,
    /// Of the state that was exported; an import makes one of its own.
    revision: Revision,
    /// In the order of kinds and ids.
    records: Vec<Entry>,
}

/// A record, beside what identifies it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Entry {
    kind: String,
    id: String,
    record: Value,
}

/// Why an import was refused.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It is no export.
    #[error("this is no export of a state: {0}")]
    Document(#[from] serde_json::Error),
    /// Another program's.
    #[error("the export cannot be read: {cause}; {remedy}")]
    Layout {
        /// What is wrong.
        cause: String,
        /// What helps.
        remedy: &'static str,
    },
    /// A record is there twice.
    #[error("the export has {0} twice: remove one of them")]
    Duplicate(String),
    /// A record is none.
    #[error("{path} in the export is no record: {cause}")]
    Record {
        /// Its kind and id.
        path: String,
        /// What is wrong.
        cause: String,
    },
    /// A record refers to one that is not there.
    #[error("{referrer} in the export refers to {missing}, which is not in it")]
    Dangling {
        /// Which.
        referrer: Key,
        /// What it refers to.
        missing: Key,
    },
}

impl From<LayoutError> for ImportError {
    fn from(error: LayoutError) -> Self {
        Self::Layout {
            cause: error.to_string(),
            remedy: error.remedy(),
        }
    }
}

fn document(state: &State, revision: Revision) -> serde_json::Result<Document> {
    let entry = |record: &Record| {
        let Key { kind, id } = record.key();
        let kind = kind.word().to_owned();
        let record = record.to_value()?;
        Ok(Entry { kind, id, record })
    };
    let records = state.records().map(entry).collect::<Result<_, _>>()?;
    Ok(Document {
        layout: LAYOUT,
        revision,
        records,
    })
}

/// The state as a JSON value.
pub fn export(state: &State, revision: Revision) -> serde_json::Result<Value> {
    serde_json::to_value(document(state, revision)?)
}

/// Writes the state as JSON, with a line break at the end.
pub fn write_export(
    state: &State,
    revision: Revision,
    mut writer: impl io::Write,
) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut writer, &document(state, revision)?)?;
    writer.write_all(b"\n")
}

/// The state of an export, checked: no record twice, each of a known kind, and no
/// reference that leads nowhere.
pub fn import(reader: impl io::Read) -> Result<State, ImportError> {
    import_with(reader, MIGRATIONS)
}

pub(super) fn import_with(
    reader: impl io::Read,
    migrations: &[Migration],
) -> Result<State, ImportError> {
    let document: Document = serde_json::from_reader(reader)?;
    layout::outstanding(document.layout, migrations)?;
    let mut raw = RawRecords::new();
    for Entry { kind, id, record } in document.records {
        let path = format!("{kind}/{id}");
        if raw.insert(path.clone(), record).is_some() {
            return Err(ImportError::Duplicate(path));
        }
    }
    layout::migrate(document.layout, migrations, &mut raw)?;
    let mut state = State::default();
    for (path, value) in raw {
        let json = value.to_string();
        let record = layout::decode(&path, json.as_bytes())
            .map_err(|cause| ImportError::Record { path, cause })?;
        state.replace(&record.key(), Some(record));
    }
    match dangling(&state) {
        Some((referrer, missing)) => Err(ImportError::Dangling { referrer, missing }),
        None => Ok(state),
    }
}

/// Who refers to what is not there, if anybody does.
pub(super) fn dangling(state: &State) -> Option<(Key, Key)> {
    let (missing, referrers) = state.dangling().next()?;
    let referrer = referrers.first()?;
    Some((referrer.clone(), missing.clone()))
}
