//! Prefix lists that customers manage.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/managed-prefix-lists.html>

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Act, cidr_blocks,
    lookup::{find, in_use, within},
    routes, security_groups,
    tags::{self, TagSpecification},
};
use crate::control::{
    ApiError, Context, IdKind, Key, Settings, Transaction,
    resource::{PrefixList, PrefixListEntry, RouteTable, SecurityGroup},
};

/// Characters of a name and of a description.
const TEXT_MAX: usize = 255;
/// The code for more entries than there may be.
const TOO_MANY: &str = "PrefixListMaxEntriesExceeded";

/// Makes a prefix list.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateManagedPrefixList.html>
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateManagedPrefixList {
    /// Its name.
    pub prefix_list_name: String,
    /// Entries that it may have.
    pub max_entries: u32,
    /// `IPv4`.
    pub address_family: String,
    /// Its entries.
    #[serde(default)]
    pub entries: Vec<AddPrefixListEntry>,
    /// Its tags.
    #[serde(default)]
    pub tag_specifications: Vec<TagSpecification>,
}

/// An entry that is to come.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct AddPrefixListEntry {
    /// The prefix.
    pub cidr: String,
    /// What it is.
    #[serde(default)]
    pub description: Option<String>,
}

/// An entry that is to go.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct RemovePrefixListEntry {
    /// The prefix.
    pub cidr: String,
}

/// Changes the entries, the name or the size of a prefix list.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyManagedPrefixList.html>
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ModifyManagedPrefixList {
    /// The list.
    pub prefix_list_id: String,
    /// Only if it has this version.
    #[serde(default)]
    pub current_version: Option<u64>,
    /// Its new name.
    #[serde(default)]
    pub prefix_list_name: Option<String>,
    /// Entries that come.
    #[serde(default)]
    pub add_entries: Vec<AddPrefixListEntry>,
    /// Entries that go.
    #[serde(default)]
    pub remove_entries: Vec<RemovePrefixListEntry>,
    /// Entries that it may have, from now on: not together with a change of entries.
    #[serde(default)]
    pub max_entries: Option<u32>,
}

/// Deletes a prefix list that no rule and no route names.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DeleteManagedPrefixList.html>
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteManagedPrefixList {
    /// The list.
    pub prefix_list_id: String,
}

impl Act for CreateManagedPrefixList {
    fn act(
        &self,
        transaction: &mut Transaction<'_>,
        context: &mut Context,
    ) -> Result<Value, ApiError> {
        let account = context.caller.account;
        if self.address_family != "IPv4" {
            let message = format!("Invalid address family: {}", self.address_family);
            return Err(ApiError::invalid(message));
        }
        let count = transaction.of_account::<PrefixList>(account).count() + 1;
        let quota = context.settings.quotas.prefix_lists;
        within("PrefixListLimitExceeded", "prefix lists", count, quota)?;
        let settings = &context.settings;
        let mut list = PrefixList {
            prefix_list_id: IdKind::PREFIX_LIST.fresh(&mut context.entropy),
            owner_id: account,
            prefix_list_name: name(&self.prefix_list_name)?,
            max_entries: size(self.max_entries, settings)?,
            version: 1,
            entries: Vec::new(),
            tags: tags::specified(&self.tag_specifications, "prefix-list", settings)?,
        };
        add(&mut list, &self.entries)?;
        let mut answer = shown(&list);
        answer["State"] = "create-in-progress".into();
        transaction.put(list);
        Ok(json!({ "PrefixList": answer }))
    }
}

impl Act for ModifyManagedPrefixList {
    fn act(
        &self,
        transaction: &mut Transaction<'_>,
        context: &mut Context,
    ) -> Result<Value, ApiError> {
        let id = self.prefix_list_id.as_str();
        let mut list = find::<PrefixList>(transaction, context.caller.account, id)?.clone();
        if self
            .current_version
            .is_some_and(|version| version != list.version)
        {
            let message = "The prefix list has the incorrect version number.";
            return Err(ApiError::new("PrefixListVersionMismatch", message));
        }
        let changes_entries = !self.add_entries.is_empty() || !self.remove_entries.is_empty();
        if let Some(text) = &self.prefix_list_name {
            list.prefix_list_name = name(text)?;
        }
        if let Some(max_entries) = self.max_entries {
            if changes_entries {
                let message = "The entries and the size cannot be changed in one request.";
                return Err(ApiError::new("InvalidParameterCombination", message));
            }
            list.max_entries = size(max_entries, &context.settings)?;
        }
        remove(&mut list, &self.remove_entries)?;
        add(&mut list, &self.add_entries)?;
        if changes_entries {
            list.version = list.version.saturating_add(1);
        }
        let mut answer = shown(&list);
        answer["State"] = "modify-in-progress".into();
        transaction.put(list);
        check_users(transaction, &context.settings, id)?;
        Ok(json!({ "PrefixList": answer }))
    }
}

/// That whoever names a list may have it as it is now.
fn check_users(
    transaction: &Transaction<'_>,
    settings: &Settings,
    id: &str,
) -> Result<(), ApiError> {
    let key = Key::of::<PrefixList>(id);
    for group in transaction.referring::<SecurityGroup>(&key) {
        security_groups::within_quotas(transaction, settings, group.group_id.as_str())?;
    }
    for table in transaction.referring::<RouteTable>(&key) {
        routes::check(transaction, settings, table)?;
    }
    Ok(())
}

impl Act for DeleteManagedPrefixList {
    fn act(
        &self,
        transaction: &mut Transaction<'_>,
        context: &mut Context,
    ) -> Result<Value, ApiError> {
        let id = &self.prefix_list_id;
        let list = find::<PrefixList>(transaction, context.caller.account, id)?;
        let mut answer = shown(list);
        answer["State"] = "delete-in-progress".into();
        let key = Key::of::<PrefixList>(id);
        if transaction.referrers_of(&key).next().is_some() {
            return Err(in_use::<PrefixList>(id));
        }
        transaction.remove(key);
        Ok(json!({ "PrefixList": answer }))
    }
}

fn name(text: &str) -> Result<String, ApiError> {
    let is_name = (1..=TEXT_MAX).contains(&text.chars().count());
    if is_name && !text.starts_with("com.amazonaws") {
        return Ok(text.to_owned());
    }
    let message = format!(
        "Value ({text}) for parameter prefixListName is invalid. Use 1 to {TEXT_MAX} characters \
         that do not begin with com.amazonaws."
    );
    Err(ApiError::invalid(message))
}

fn size(max_entries: u32, settings: &Settings) -> Result<u32, ApiError> {
    let quota = settings.quotas.entries_per_prefix_list;
    if (1..=quota).contains(&max_entries) {
        return Ok(max_entries);
    }
    Err(ApiError::invalid(format!(
        "Value ({max_entries}) for parameter maxEntries is invalid. It is 1 to {quota}."
    )))
}

fn remove(list: &mut PrefixList, entries: &[RemovePrefixListEntry]) -> Result<(), ApiError> {
    for entry in entries {
        let cidr = cidr_blocks::prefix("cidr", &entry.cidr)?;
        let index = list.entries.iter().position(|one| one.cidr == cidr);
        let no_entry = || ApiError::invalid(format!("The prefix list has no entry {cidr}"));
        list.entries.remove(index.ok_or_else(no_entry)?);
    }
    Ok(())
}

fn add(list: &mut PrefixList, entries: &[AddPrefixListEntry]) -> Result<(), ApiError> {
    // Before the entries are compared with each other: a request may hold any number.
    let count = list.entries.len().saturating_add(entries.len());
    within(
        TOO_MANY,
        "entries of the prefix list",
        count,
        list.max_entries,
    )?;
    for AddPrefixListEntry { cidr, description } in entries {
        let cidr = cidr_blocks::prefix("cidr", cidr)?;
        if list.entries.iter().any(|one| one.cidr == cidr) {
            let message = format!("The prefix list has an entry {cidr} already");
            return Err(ApiError::invalid(message));
        }
        let description = description.clone().filter(|text| !text.is_empty());
        let length = description.iter().flat_map(|text| text.chars()).count();
        if length > TEXT_MAX {
            let message = format!("Descriptions have at most {TEXT_MAX} characters");
            return Err(ApiError::invalid(message));
        }
        list.entries.push(PrefixListEntry { cidr, description });
    }
    Ok(())
}

/// As DescribeManagedPrefixLists shows it, with its entries besides.
pub(super) fn shown(list: &PrefixList) -> Value {
    json!({
        "PrefixListId": list.prefix_list_id,
        "PrefixListName": list.prefix_list_name,
        "AddressFamily": "IPv4",
        "State": "create-complete",
        "MaxEntries": list.max_entries,
        "Version": list.version,
        "OwnerId": list.owner_id,
        "Entries": list.entries,
        "Tags": tags::shown(&list.tags),
    })
}
