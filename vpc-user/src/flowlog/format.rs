//! Which fields a flow log has, in which order.

use std::fmt::Write as _;

use super::Field;

/// The fields of a flow log's records, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogFormat {
    fields: Vec<Field>,
    version: u8,
}

/// Why a text is no format.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FormatError {
    /// It is none.
    #[error("LogFormat must be fields as ${{field}}, one space apart.")]
    NotFields,
    /// A field that nobody knows.
    #[error("Unknown field '{0}' in LogFormat.")]
    Unknown(String),
    /// A field that is named before.
    #[error("Duplicate field '{0}' in LogFormat.")]
    Twice(&'static str),
}

impl LogFormat {
    /// Reads `${field} ${field}`.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        let mut fields = Vec::new();
        for word in text.split(' ') {
            let name = word
                .strip_prefix("${")
                .and_then(|rest| rest.strip_suffix('}'))
                .ok_or(FormatError::NotFields)?;
            let field = Field::named(name).ok_or_else(|| FormatError::Unknown(name.to_owned()))?;
            if fields.contains(&field) {
                return Err(FormatError::Twice(field.name()));
            }
            fields.push(field);
        }
        Ok(Self::of(fields))
    }

    fn of(fields: Vec<Field>) -> Self {
        let version = fields.iter().map(|field| field.version()).max();
        Self {
            // AWS has nothing older.
            version: version.unwrap_or_default().max(2),
            fields,
        }
    }

    /// The fields.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// What the field `version` says: the highest version among the fields.
    pub const fn version(&self) -> u8 {
        self.version
    }

    /// The first line of a text file.
    pub fn header(&self) -> String {
        let names: Vec<&str> = self.fields.iter().map(|field| field.name()).collect();
        names.join(" ")
    }
}

impl Default for LogFormat {
    /// The fields of version 2.
    fn default() -> Self {
        let fields = Field::ALL.iter().copied();
        Self::of(fields.filter(|field| field.version() == 2).collect())
    }
}

impl std::fmt::Display for LogFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, field) in self.fields.iter().enumerate() {
            if at != 0 {
                f.write_char(' ')?;
            }
            write!(f, "${{{}}}", field.name())?;
        }
        Ok(())
    }
}
