//! Accounts.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An AWS account id: twelve digits. Nobody sees another account's resources.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Account(u64);

impl Account {
    /// The account that is meant where none is named.
    pub const DEFAULT: Self = Self(1);
    const DIGITS: usize = 12;

    /// From twelve digits.
    pub fn new(text: &str) -> Option<Self> {
        let is_account = text.len() == Self::DIGITS && text.bytes().all(|b| b.is_ascii_digit());
        is_account.then(|| text.parse().ok().map(Self)).flatten()
    }
}

impl Default for Account {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012}", self.0)
    }
}

impl TryFrom<String> for Account {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::new(&text).ok_or_else(|| format!("{text:?} is no account: write twelve digits"))
    }
}

impl From<Account> for String {
    fn from(account: Account) -> Self {
        account.to_string()
    }
}
