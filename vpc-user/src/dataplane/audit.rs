//! Whether the tables still hold what the agent wrote. It is their only writer, but not
//! the only one who can be: whatever somebody else changed is noticed by a full pass, and
//! put right by its plan.

use std::collections::{BTreeMap, HashMap, hash_map::Entry};

use aya::maps::MapError;
use vpc_common::{
    atomic::Shared64,
    layout::{Environment, InForce, NameKey},
};

use super::{
    Dataplane,
    environments::WriteError,
    mirror::{self, Environments, Mirror},
    names,
    policies::Policies,
    tables::{SharedTables, absent_is_fine},
};

impl Dataplane {
    /// Reads all tables again. How many entries somebody else changed; those of
    /// environments are as they were when this returns, the rest once the next plan is
    /// performed.
    pub fn audit(&mut self) -> usize {
        let edits = self.find_edits().unwrap_or_else(|error| {
            self.counters.steps_failed.one();
            tracing::warn!(%error, "the tables cannot be read again");
            0
        });
        if edits != 0 {
            self.counters.foreign_edits.add(edits as u64);
            tracing::warn!(
                edits,
                "somebody else changed the tables: what the agent wrote is put back"
            );
        }
        edits
    }

    fn find_edits(&mut self) -> Result<usize, WriteError> {
        let (found, environments) = mirror::read(&self.tables)?;
        let mut edits = self.mend_environments(&environments)?;
        edits += self.mend_links(&found)?;
        let Mirror {
            uplinks,
            groups,
            enis,
            eni_by_address,
            ..
        } = found;
        edits += take(&mut self.mirror.uplinks, uplinks);
        edits += take(&mut self.mirror.groups, groups);
        edits += take(&mut self.mirror.enis, enis);
        edits += differing_hash(&self.mirror.eni_by_address, &eni_by_address);
        self.mirror.eni_by_address = eni_by_address;
        edits += self.policies.audit(&self.tables.shared, &mut self.mirror);
        Ok(edits)
    }

    /// Entries of environments and their names; an environment that nobody attached is
    /// nobody's.
    fn mend_environments(&mut self, found: &Environments) -> Result<usize, WriteError> {
        let mut edits = 0;
        for (index, ours) in self.environments.iter() {
            let theirs = found.get(index);
            if theirs.map(|theirs| theirs.value) != Some(ours.value) {
                self.tables.environments.set(index, ours.value, 0)?;
                edits += 1;
            }
            if !self.tables.environment_ports.are(index, ours.value.ifindex) {
                self.tables
                    .environment_ports
                    .set(index, ours.value.ifindex)?;
                edits += 1;
            }
            if theirs.is_none_or(|theirs| theirs.name != ours.name) {
                let kind = NameKey::ENVIRONMENT;
                let name = names::encode(&ours.name);
                self.tables.names.insert(NameKey { kind, index }, name, 0)?;
                edits += 1;
            }
        }
        for (index, theirs) in found.iter() {
            if self.environments.get(index).is_none() {
                let nobody = Environment {
                    ifindex: 0,
                    flags: 0,
                    ..theirs.value
                };
                self.tables.environments.set(index, nobody, 0)?;
                edits += 1;
            }
        }
        Ok(edits)
    }

    /// What each interface is: that of environments and of uplinks.
    fn mend_links(&mut self, found: &Mirror) -> Result<usize, MapError> {
        let mut edits = 0;
        for (ifindex, link) in &self.mirror.links {
            if found.links.get(ifindex) != Some(link) {
                self.tables.links.insert(ifindex, *link, 0)?;
                edits += 1;
            }
        }
        for ifindex in found.links.keys() {
            if !self.mirror.links.contains_key(ifindex) {
                absent_is_fine(self.tables.links.remove(ifindex))?;
                edits += 1;
            }
        }
        Ok(edits)
    }
}

/// Takes entries as they were found; how many are not as they were.
fn take<T: PartialEq>(ours: &mut BTreeMap<u32, T>, found: BTreeMap<u32, T>) -> usize {
    let gone = ours
        .keys()
        .filter(|index| !found.contains_key(*index))
        .count();
    let changed = found
        .iter()
        .filter(|(index, entry)| ours.get(*index) != Some(*entry));
    let edits = gone + changed.count();
    *ours = found;
    edits
}

fn differing_hash<K: Eq + std::hash::Hash, V: PartialEq>(
    ours: &HashMap<K, V>,
    found: &HashMap<K, V>,
) -> usize {
    let gone = ours.keys().filter(|key| !found.contains_key(*key)).count();
    let changed = found
        .iter()
        .filter(|(key, value)| ours.get(*key) != Some(*value));
    gone + changed.count()
}

impl Policies {
    /// Holds the words against what was written. What differs is not in force any more as
    /// far as the mirror knows, so that the next plan writes it anew.
    fn audit(&self, shared: &SharedTables, mirror: &mut Mirror) -> usize {
        let mut sound: HashMap<u32, bool> = HashMap::new();
        let mut edits = 0;
        for (eni, place) in (0..).zip(shared.policies.iter()) {
            let run = self.run_of_eni(eni);
            let begins = InForce(place.load()).begins();
            if begins.is_none() && run.is_none() {
                continue;
            }
            let is_led = run.is_some() && begins == run.map(|run| run + 1);
            let is_sound = is_led
                && run
                    .zip(mirror.policies.get(&eni))
                    .is_none_or(|(run, image)| match sound.entry(run) {
                        Entry::Occupied(known) => *known.get(),
                        Entry::Vacant(unknown) => {
                            *unknown.insert(holds(&shared.policy_words, run, image))
                        }
                    });
            if !is_sound && mirror.policies.remove(&eni).is_some() {
                edits += 1;
            }
            if run.is_none() {
                // It leads to what nobody wrote.
                place.store(InForce(place.load()).again().without().0);
                edits += 1;
            }
        }
        edits
    }
}

/// Whether a run is an image's length and its words.
fn holds(words: &[Shared64], run: u32, image: &[u64]) -> bool {
    let first = run as usize;
    let Some(found) = words.get(first..first + 1 + image.len()) else {
        return false;
    };
    let length = std::iter::once(image.len() as u64);
    let expected = length.chain(image.iter().copied());
    found.iter().map(Shared64::load).eq(expected)
}
