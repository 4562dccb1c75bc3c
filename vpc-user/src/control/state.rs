//! The state: every resource, and who refers to whom.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Deref,
};

use super::{Account, Key, Kind, Record, record::Typed};

/// Every resource by kind and id, with an index of references. Two states with the same
/// resources are equal.
#[derive(Clone, Default, Debug)]
pub struct State {
    records: BTreeMap<Kind, BTreeMap<String, Record>>,
    /// Who refers to a resource.
    referrers: BTreeMap<Key, BTreeSet<Key>>,
}

/// A resource that came, changed or went.
#[derive(Clone, PartialEq, Debug)]
pub struct Change {
    /// Which.
    pub key: Key,
    /// As it was; `None`: it is new.
    pub before: Option<Record>,
    /// As it is; `None`: it is gone.
    pub after: Option<Record>,
}

impl State {
    /// A resource by its id.
    pub fn get<T: Typed>(&self, id: &str) -> Option<&T> {
        self.records.get(&T::KIND)?.get(id).and_then(T::of)
    }

    /// A resource by its key.
    pub fn record(&self, key: &Key) -> Option<&Record> {
        self.records.get(&key.kind)?.get(&key.id)
    }

    /// Every resource of a kind, by id.
    pub fn all<T: Typed>(&self) -> impl Iterator<Item = &T> {
        let records = self.records.get(&T::KIND);
        records
            .into_iter()
            .flat_map(BTreeMap::values)
            .filter_map(T::of)
    }

    /// Those of an account.
    pub fn of_account<T: Typed>(&self, account: Account) -> impl Iterator<Item = &T> {
        self.all::<T>().filter(move |one| one.account() == account)
    }

    /// Every resource.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.values().flat_map(BTreeMap::values)
    }

    /// The resources of one kind that refer to a resource.
    pub fn referring<T: Typed>(&self, to: &Key) -> impl Iterator<Item = &T> {
        let first = Key::of::<T>("");
        let referrers = self.referrers.get(to).into_iter();
        referrers
            .flat_map(move |keys| keys.range(first.clone()..))
            .take_while(|key| key.kind == T::KIND)
            .filter_map(|key| self.get(&key.id))
    }

    /// Who refers to a resource.
    pub fn referrers_of(&self, to: &Key) -> impl Iterator<Item = &Key> {
        self.referrers.get(to).into_iter().flatten()
    }

    /// How many resources there are.
    pub fn len(&self) -> usize {
        self.records.values().map(BTreeMap::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts or removes a resource, without asking whether it may be; returns what was
    /// there.
    pub fn replace(&mut self, key: &Key, record: Option<Record>) -> Option<Record> {
        let table = self.records.entry(key.kind).or_default();
        let references = record.as_ref().map(Record::references);
        let before = match record {
            Some(record) => table.insert(key.id.clone(), record),
            None => table.remove(&key.id),
        };
        for to in before.iter().flat_map(Record::references) {
            if let Some(referrers) = self.referrers.get_mut(&to) {
                referrers.remove(key);
                if referrers.is_empty() {
                    self.referrers.remove(&to);
                }
            }
        }
        for to in references.into_iter().flatten() {
            self.referrers.entry(to).or_default().insert(key.clone());
        }
        before
    }

    /// References that lead nowhere: none, ever.
    pub fn dangling(&self) -> impl Iterator<Item = (&Key, &BTreeSet<Key>)> {
        self.referrers
            .iter()
            .filter(|(to, _)| self.record(to).is_none())
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.records().eq(other.records())
    }
}

/// Changes of a state that hold together: all of them, or none.
///
/// Reads see what was written so far. Unless [`Transaction::commit`]ted, everything is
/// taken back when it is dropped.
#[derive(Debug)]
pub struct Transaction<'s> {
    state: &'s mut State,
    /// As it was before the first change of each.
    undo: BTreeMap<Key, Option<Record>>,
}

impl<'s> Transaction<'s> {
    /// Begins.
    pub const fn new(state: &'s mut State) -> Self {
        Self {
            state,
            undo: BTreeMap::new(),
        }
    }

    /// Puts a resource, new or changed.
    pub fn put(&mut self, resource: impl Into<Record>) {
        let record = resource.into();
        let key = record.key();
        self.replace(key, Some(record));
    }

    /// Removes a resource, if it is there.
    pub fn remove(&mut self, key: Key) {
        self.replace(key, None);
    }

    /// Changes a resource, if it is there.
    pub fn update<T: Typed + Into<Record>>(&mut self, id: &str, change: impl FnOnce(&mut T)) {
        if let Some(resource) = self.state.get::<T>(id) {
            let mut resource = resource.clone();
            change(&mut resource);
            self.put(resource);
        }
    }

    fn replace(&mut self, key: Key, record: Option<Record>) {
        let before = self.state.replace(&key, record);
        self.undo.entry(key).or_insert(before);
    }

    /// What was changed so far, in order of the keys.
    pub fn changes(&self) -> Vec<Change> {
        let changed = |(key, before): (&Key, &Option<Record>)| {
            let after = self.state.record(key);
            (before.as_ref() != after).then(|| Change {
                key: key.clone(),
                before: before.clone(),
                after: after.cloned(),
            })
        };
        self.undo.iter().filter_map(changed).collect()
    }

    /// Keeps the changes.
    pub fn commit(mut self) {
        self.undo.clear();
    }
}

impl Deref for Transaction<'_> {
    type Target = State;
    fn deref(&self) -> &State {
        self.state
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        for (key, before) in std::mem::take(&mut self.undo) {
            self.state.replace(&key, before);
        }
    }
}
