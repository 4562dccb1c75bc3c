//! The layout of what is kept: records as JSON under `<kind>/<id>`, and how those of an
//! older layout become those of this one. Files and exports share it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::control::{Key, Kind, Record};

/// The layout that this program writes.
pub const LAYOUT: u64 = newest(MIGRATIONS);

/// From each layout to the next; the first is from layout 1.
pub(super) const MIGRATIONS: &[Migration] = &[];

/// Every record of a layout, by `<kind>/<id>`.
pub(super) type RawRecords = BTreeMap<String, Value>;

/// Changes the records of one layout into those of the next, or says which it cannot.
pub(super) type Migration = fn(&mut RawRecords) -> Result<(), String>;

/// Why records of some layout cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum LayoutError {
    /// A newer program wrote them.
    #[error("its layout is {layout}, and this program knows layouts up to {known}")]
    Newer { layout: u64, known: u64 },
    /// No program wrote them.
    #[error("its layout is {0}, which there never was")]
    Unknown(u64),
    /// A migration failed.
    #[error("layout {layout} cannot be brought up to date: {cause}")]
    Migration { layout: u64, cause: String },
}

impl LayoutError {
    /// What helps.
    pub(super) const fn remedy(&self) -> &'static str {
        match self {
            Self::Newer { .. } => "run the version of vpc that wrote it, or a newer one",
            Self::Unknown(_) | Self::Migration { .. } => {
                "put back a backup, or import an export into a new file"
            }
        }
    }
}

/// The layout that migrations lead to.
pub(super) const fn newest(migrations: &[Migration]) -> u64 {
    1 + migrations.len() as u64
}

/// The migrations that are still to be run on records of a layout.
pub(super) fn outstanding(
    layout: u64,
    migrations: &[Migration],
) -> Result<&[Migration], LayoutError> {
    let known = newest(migrations);
    if layout > known {
        return Err(LayoutError::Newer { layout, known });
    }
    let done = layout.checked_sub(1).and_then(|done| done.try_into().ok());
    done.and_then(|done: usize| migrations.get(done..))
        .ok_or(LayoutError::Unknown(layout))
}

/// Brings records of a layout up to date.
pub(super) fn migrate(
    layout: u64,
    migrations: &[Migration],
    records: &mut RawRecords,
) -> Result<(), LayoutError> {
    for (migration, layout) in outstanding(layout, migrations)?.iter().zip(layout..) {
        migration(records).map_err(|cause| LayoutError::Migration { layout, cause })?;
    }
    Ok(())
}

/// Where a record is kept.
pub(super) fn path_of(key: &Key) -> String {
    format!("{}/{}", key.kind.word(), key.id)
}

/// The record that is kept at a path, or what is wrong with it.
pub(super) fn decode(path: &str, json: &[u8]) -> Result<Record, String> {
    let (word, id) = path.split_once('/').ok_or("its key has no kind")?;
    let kind = Kind::from_word(word).ok_or_else(|| format!("there is no kind {word:?}"))?;
    let record = Record::decode(kind, json).map_err(|error| error.to_string())?;
    let key = record.key();
    if key.id == id {
        Ok(record)
    } else {
        Err(format!("it is the record of {}", key.id))
    }
}
