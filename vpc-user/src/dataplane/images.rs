//! The compiled policies of all groups, as the configuration wants them. What has not
//! changed is not compiled again.

use std::{
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    model::{Config, GroupConfig, ObjectName},
    policy::{self, CompileError, Differences, Directory, Hop, Source, Sources},
};

/// The words of a policy.
pub type Image = Arc<[u64]>;

/// A group's policy, and what it was made from.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The flattened rules and routes.
    pub source: Source,
    /// The words.
    pub image: Image,
    /// Uplinks by which its routes lead, and their indices.
    pub uplinks: BTreeMap<ObjectName, Option<u32>>,
}

/// Policies by group.
#[derive(Default)]
pub struct Images {
    /// What `compiled` was made from: rules, routes and groups of the configuration that
    /// was noted last. Nothing else of it is kept up to date.
    config: Option<Config>,
    compiled: BTreeMap<ObjectName, Compiled>,
    /// What is where in `config`, once it is asked for.
    directory: OnceCell<Directory>,
    /// Groups whose source may be another one by now.
    stale: BTreeSet<ObjectName>,
}

impl Images {
    /// Takes note of a configuration, before its images are asked for.
    pub fn begin(&mut self, config: &Config) {
        let Some(before) = &mut self.config else {
            let named = config.groups.iter().map(|group| group.name.clone());
            self.stale.extend(named);
            self.config = Some(config.clone());
            return;
        };
        let differences = Differences::between(before, config);
        self.stale.extend(differences.affected(before, config));
        if !differences.same_directory(before, config) {
            self.directory.take();
        }
        differences.bring(before, config);
        if !differences.same_groups() {
            let named: BTreeSet<_> = config.groups.iter().map(|group| &group.name).collect();
            self.compiled.retain(|name, _| named.contains(name));
            self.stale.retain(|name| named.contains(name));
        }
    }

    /// Whether a group's policy has to be made anew.
    pub fn is_stale(&self, group: &ObjectName) -> bool {
        self.stale.contains(group)
    }

    /// The policies of some groups of the configuration that was noted last, with the
    /// uplinks that there are.
    pub fn compile(
        &mut self,
        groups: &[&GroupConfig],
        uplinks: &BTreeMap<String, u32>,
    ) -> Vec<(ObjectName, CompileError)> {
        let index = |name: &ObjectName| uplinks.get(name.as_str()).copied();
        let mut errors = Vec::new();
        let Some(config) = &self.config else {
            return errors;
        };
        for group in groups {
            let known = self.compiled.get(&group.name);
            let moved = |compiled: &Compiled| {
                let mut uplinks = compiled.uplinks.iter();
                uplinks.any(|(name, before)| index(name) != *before)
            };
            let is_stale = self.stale.contains(&group.name);
            if known.is_some_and(|known| !is_stale && !moved(known)) {
                continue;
            }
            let directory = self.directory.get_or_init(|| Directory::new(config));
            let source = Sources::new(config, directory).source(group);
            match policy::compile(&source, &index) {
                Ok(words) => {
                    let uplinks = uplinks_of(&source);
                    let uplinks = uplinks.map(|name| (name.clone(), index(name))).collect();
                    let compiled = Compiled {
                        image: words.into(),
                        uplinks,
                        source,
                    };
                    self.compiled.insert(group.name.clone(), compiled);
                    self.stale.remove(&group.name);
                }
                Err(error) => errors.push((group.name.clone(), error)),
            }
        }
        errors
    }

    /// A group's policy as it is to be.
    pub fn of(&self, group: &ObjectName) -> Option<&Compiled> {
        self.compiled.get(group)
    }
}

fn uplinks_of(source: &Source) -> impl Iterator<Item = &ObjectName> {
    source.routes.iter().filter_map(|route| match &route.hop {
        Hop::OnLink { uplink } | Hop::Via { uplink, .. } => Some(uplink),
        Hop::Blackhole | Hop::BeyondPeer => None,
    })
}

#[cfg(test)]
#[path = "images_tests.rs"]
mod tests;
