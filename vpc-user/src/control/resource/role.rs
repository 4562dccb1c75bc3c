//! IAM roles.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::control::{Account, Key, Resource, Tags, Time};

/// An IAM role.
/// <https://docs.aws.amazon.com/IAM/latest/APIReference/API_Role.html>
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Role {
    /// Its name, unique in the account, letter case aside.
    pub role_name: String,
    /// `AROA…`.
    pub role_id: String,
    /// Its account.
    pub owner_id: Account,
    /// `/`, or a path.
    pub path: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Seconds that a session may last.
    pub max_session_duration: u32,
    /// Who may assume it: a policy document.
    pub assume_role_policy_document: String,
    /// Its policies: name → document.
    pub policies: BTreeMap<String, String>,
    /// Managed policies that are attached to it, by ARN.
    pub attached_policies: Vec<String>,
    /// When it was made.
    pub create_date: Time,
    /// Its tags.
    pub tags: Tags,
}

impl Role {
    /// Its ARN.
    pub fn arn(&self) -> String {
        format!(
            "arn:aws:iam::{}:role{}{}",
            self.owner_id, self.path, self.role_name
        )
    }
}

impl Resource for Role {
    /// Its ARN.
    fn id(&self) -> String {
        self.arn()
    }
    fn account(&self) -> Account {
        self.owner_id
    }
    fn references(&self) -> Vec<Key> {
        Vec::new()
    }
}
