//! What the kernel's numbers stand for: which ENI and which environment had an index at a
//! moment. Written by the thread that owns the data plane, asked by the one that keeps the
//! journal; what is gone stays known until nothing of it can come any more.

use std::{
    collections::HashMap,
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};
use vpc_common::time::{Tick, ticks_from_secs};

use super::Place;

/// How long what is gone stays known, seconds: its last records are read within a few.
const KEPT_SECS: u32 = 600;

/// An environment, as it does not change.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Environment {
    /// Its name.
    pub name: Arc<str>,
    /// The version of a function that it runs, by its qualified ARN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<Arc<str>>,
    /// Its own address.
    pub address: Ipv4Addr,
}

impl Environment {
    /// One that nobody knows.
    pub fn unknown() -> Self {
        Self {
            name: "-".into(),
            function: None,
            address: Ipv4Addr::UNSPECIFIED,
        }
    }
}

/// Who had an index, and when.
#[derive(Debug)]
struct Tenure<T> {
    /// Tells an index' owners apart, where the kernel does.
    generation: u32,
    since: Tick,
    until: Option<Tick>,
    owner: Arc<T>,
}

/// Who had each index, the latest last.
type Tenures<T> = HashMap<u32, Vec<Tenure<T>>>;

#[derive(Default, Debug)]
struct Entries {
    enis: Tenures<Place>,
    environments: Tenures<Environment>,
    /// Where ENIs are that the data plane may come to know, by name.
    places: HashMap<String, Arc<Place>>,
    /// What environments run that may be attached, by name.
    functions: HashMap<String, Arc<str>>,
}

/// Who has which index. Clones are the same directory.
#[derive(Clone, Default, Debug)]
pub struct Directory(Arc<Mutex<Entries>>);

impl Directory {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says where an ENI is, before it is used.
    pub fn set_place(&self, place: Place) {
        let name = place.interface_id.clone();
        self.entries().places.insert(name, Arc::new(place));
    }

    /// No ENI of that name will come any more.
    pub fn remove_place(&self, name: &str) {
        self.entries().places.remove(name);
    }

    /// Says what an environment runs, before it is attached.
    pub fn set_function(&self, environment: &str, arn: &str) {
        let mut entries = self.entries();
        entries.functions.insert(environment.to_owned(), arn.into());
    }

    /// An ENI is in the tables from now on. One that is known already stays as it is.
    pub fn eni(&self, index: u32, name: &str, address: Ipv4Addr, now: Tick) {
        let mut entries = self.entries();
        let is_known = current(&entries.enis, index)
            .is_some_and(|place| *place.interface_id == *name && place.address == address);
        if is_known {
            return;
        }
        let place = entries.places.get(name).filter(|it| it.address == address);
        let place = place.cloned().unwrap_or_else(|| {
            Arc::new(Place {
                interface_id: name.to_owned(),
                address,
                ..Place::unknown()
            })
        });
        begin(&mut entries.enis, index, 0, now, place);
    }

    /// An ENI is not in the tables any more.
    pub fn eni_gone(&self, index: u32, now: Tick) {
        end(&mut self.entries().enis, index, now);
    }

    /// An environment is in the tables from now on.
    pub fn environment(
        &self,
        index: u32,
        generation: u32,
        name: &str,
        address: Ipv4Addr,
        now: Tick,
    ) {
        let mut entries = self.entries();
        let environment = Arc::new(Environment {
            name: name.into(),
            function: entries.functions.get(name).cloned(),
            address,
        });
        begin(
            &mut entries.environments,
            index,
            generation,
            now,
            environment,
        );
    }

    /// An environment is not in the tables any more.
    pub fn environment_gone(&self, index: u32, now: Tick) {
        let mut entries = self.entries();
        let name = current(&entries.environments, index).map(|it| Arc::clone(&it.name));
        end(&mut entries.environments, index, now);
        if let Some(name) = name {
            entries.functions.remove(&*name);
        }
    }

    /// Looks up, with the directory locked once for all that `read` asks.
    pub fn read<T>(&self, read: impl FnOnce(&View<'_>) -> T) -> T {
        read(&View(&self.entries()))
    }

    /// Forgets what is gone for so long that nothing of it comes any more.
    pub fn forget(&self, now: Tick) {
        fn forget<T>(tenures: &mut Tenures<T>, now: Tick) {
            let kept = ticks_from_secs(KEPT_SECS);
            for of_index in tenures.values_mut() {
                of_index.retain(|one| one.until.is_none_or(|until| now.since(until) < kept));
            }
            tenures.retain(|_, of_index| !of_index.is_empty());
        }
        let mut entries = self.entries();
        forget(&mut entries.enis, now);
        forget(&mut entries.environments, now);
    }
}

/// The directory, while it does not change.
pub struct View<'a>(&'a Entries);

impl View<'_> {
    /// Who had an ENI's index at a moment.
    pub fn eni(&self, index: u32, at: Tick) -> Option<&Arc<Place>> {
        at_moment(&self.0.enis, index, at)
    }

    /// Who has an ENI's index.
    pub fn current_eni(&self, index: u32) -> Option<&Arc<Place>> {
        current(&self.0.enis, index)
    }

    /// The environment of an index and generation.
    pub fn environment(&self, index: u32, generation: u32) -> Option<&Arc<Environment>> {
        let mut tenures = self.0.environments.get(&index)?.iter().rev();
        let found = tenures.find(|one| one.generation == generation)?;
        Some(&found.owner)
    }

    /// Who had an environment's index at a moment.
    pub fn environment_at(&self, index: u32, at: Tick) -> Option<&Arc<Environment>> {
        at_moment(&self.0.environments, index, at)
    }

    /// Every ENI that is in the tables, by index.
    pub fn enis(&self) -> impl Iterator<Item = (u32, &Arc<Place>)> {
        let indices = self.0.enis.keys();
        indices.filter_map(|index| Some((*index, current(&self.0.enis, *index)?)))
    }
}

fn current<T>(tenures: &Tenures<T>, index: u32) -> Option<&Arc<T>> {
    let last = tenures.get(&index)?.last()?;
    last.until.is_none().then_some(&last.owner)
}

fn begin<T>(tenures: &mut Tenures<T>, index: u32, generation: u32, now: Tick, owner: Arc<T>) {
    end(tenures, index, now);
    tenures.entry(index).or_default().push(Tenure {
        generation,
        since: now,
        until: None,
        owner,
    });
}

fn end<T>(tenures: &mut Tenures<T>, index: u32, now: Tick) {
    let last = tenures.get_mut(&index).and_then(|all| all.last_mut());
    if let Some(last) = last {
        last.until.get_or_insert(now);
    }
}

/// The owner that came last before a moment; of what is older than all, the first.
fn at_moment<T>(tenures: &Tenures<T>, index: u32, at: Tick) -> Option<&Arc<T>> {
    let of_index = tenures.get(&index)?;
    let is_before = |one: &&Tenure<T>| one.since.since(at) == 0;
    let found = of_index.iter().rev().find(is_before);
    found.or(of_index.first()).map(|one| &one.owner)
}
