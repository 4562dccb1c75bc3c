//! What the agent-written tables hold, in memory. The agent is their only writer,
//! so after one reading at start the mirror is the truth, and neither an attach
//! nor a plan has to read a table.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use aya::maps::MapError;
use vpc_common::layout::{
    Eni, EniKey, EniRef, Environment, Group, InForce, Link, Name, NameKey, Uplink,
};

use super::{
    hook::{self, Why},
    images::Image,
    names,
    peer::PreparedPeer,
    tables::{Tables, Values},
};
use crate::model::{Hook, HookWish};

/// Kind of a [`NameKey`] that remembers an environment's prepared far end.
pub const ENVIRONMENT_PEER: u32 = NameKey::ENVIRONMENT_PEER;
/// Kind of a [`NameKey`] that remembers an uplink's prepared far end.
pub const UPLINK_PEER: u32 = NameKey::UPLINK_PEER;

/// A table entry and what it is called.
#[derive(Clone, PartialEq, Debug)]
pub struct Named<T> {
    /// What people call it.
    pub name: String,
    /// The entry.
    pub value: T,
}

/// An attached environment.
#[derive(Clone, PartialEq, Debug)]
pub struct Attached {
    /// What people call it.
    pub name: String,
    /// Name of its interface, as far as it was looked up.
    pub interface: String,
    /// The entry.
    pub value: Environment,
    /// Its far end, if that was prepared here.
    pub peer: Option<PreparedPeer>,
    /// The namespace of a veth's far end when its flags were decided, by this one's
    /// number; `None` if it is the same or there is none.
    pub peer_netns_id: Option<i32>,
    /// Why it has the hook it has.
    pub why: Why,
}

impl Attached {
    /// Where its packets are handled.
    pub fn hook(&self) -> Hook {
        if self.value.has_xdp() {
            Hook::Xdp
        } else {
            Hook::Tc
        }
    }

    /// What was asked for.
    pub fn hook_wanted(&self) -> HookWish {
        hook::environment_wish(self.value.flags)
    }
}

/// Environments by everything they are looked up by.
#[derive(Default, Debug)]
pub struct Environments {
    entries: BTreeMap<u32, Attached>,
    by_name: HashMap<String, u32>,
    by_ifindex: HashMap<u32, u32>,
    generations: Vec<u32>,
    /// The lowest index that was never used.
    fresh: u32,
    /// Indices that were given back, longest ago first.
    returned: VecDeque<u32>,
}

impl Environments {
    /// From the generations of all indices, of which those above 0 have been used, and those
    /// that are attached.
    pub fn new(generations: Vec<u32>, attached: BTreeMap<u32, Attached>) -> Self {
        let fresh = generations
            .iter()
            .rposition(|generation| *generation != 0)
            .map_or(0, |at| at + 1);
        let fresh = fresh as u32;
        let is_returned = |index: &u32| !attached.contains_key(index);
        let name = |(index, one): (&u32, &Attached)| (one.name.clone(), *index);
        let ifindex = |(index, one): (&u32, &Attached)| (one.value.ifindex, *index);
        Self {
            returned: (0..fresh).filter(is_returned).collect(),
            by_name: attached.iter().map(name).collect(),
            by_ifindex: attached.iter().map(ifindex).collect(),
            entries: attached,
            generations,
            fresh,
        }
    }

    /// Takes note of what the interfaces are called, which the tables do not tell.
    pub fn name_interfaces(&mut self, name: impl Fn(u32) -> String) {
        for attached in self.entries.values_mut() {
            attached.interface = name(attached.value.ifindex);
        }
    }

    /// Takes note of an attached environment.
    pub fn insert(&mut self, index: u32, attached: Attached) {
        if index == self.fresh {
            self.fresh += 1;
        } else if let Some(at) = self.returned.iter().position(|other| *other == index) {
            // Which is the first, unless somebody chose another.
            self.returned.remove(at);
        }
        self.generations[index as usize] = attached.value.generation;
        self.by_name.insert(attached.name.clone(), index);
        self.by_ifindex.insert(attached.value.ifindex, index);
        self.entries.insert(index, attached);
    }

    /// Takes note of a change of one that is attached.
    pub fn replace(&mut self, index: u32, attached: Attached) {
        if let Some(generation) = self.generations.get_mut(index as usize) {
            *generation = attached.value.generation;
        }
        if let Some(entry) = self.entries.get_mut(&index) {
            *entry = attached;
        }
    }

    /// Takes note of a detached one, whose index now has another generation.
    pub fn remove(&mut self, index: u32, generation: u32) -> Option<Attached> {
        let attached = self.entries.remove(&index)?;
        self.by_name.remove(&attached.name);
        self.by_ifindex.remove(&attached.value.ifindex);
        self.generations[index as usize] = generation;
        self.returned.push_back(index);
        Some(attached)
    }

    /// The index to use next, and its generation so far: one that was never used,
    /// or else the one given back longest ago.
    pub fn free_index(&self) -> Option<(u32, u32)> {
        let fresh = ((self.fresh as usize) < self.generations.len()).then_some(self.fresh);
        let index = fresh.or_else(|| self.returned.front().copied())?;
        Some((index, self.generations[index as usize]))
    }

    /// By index.
    pub fn get(&self, index: u32) -> Option<&Attached> {
        self.entries.get(&index)
    }

    /// By name.
    pub fn by_name(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    /// By interface.
    pub fn by_ifindex(&self, ifindex: u32) -> Option<u32> {
        self.by_ifindex.get(&ifindex).copied()
    }

    /// All of them, by index.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Attached)> {
        self.entries
            .iter()
            .map(|(index, attached)| (*index, attached))
    }

    /// How many are attached.
    pub fn len(&self) -> usize {
        self.entries.len()
    }
}

/// The tables behind the configuration.
#[derive(Clone, Default, Debug)]
pub struct Mirror {
    /// By index.
    pub uplinks: BTreeMap<u32, Named<Uplink>>,
    /// By index.
    pub groups: BTreeMap<u32, Named<Group>>,
    /// By index.
    pub enis: BTreeMap<u32, Named<Eni>>,
    /// By ENI index.
    pub generations: Vec<u64>,
    /// By an ENI's address on an uplink.
    pub eni_by_address: HashMap<EniKey, EniRef>,
    /// By ENI index: the policy in force.
    pub policies: BTreeMap<u32, Image>,
    /// What each interface is.
    pub links: HashMap<u32, Link>,
    /// Uplinks on which the TC program runs.
    pub attached_uplinks: BTreeSet<u32>,
    /// Why XDP was refused where the agent chose to try it, by interface.
    pub xdp_refusals: BTreeMap<u32, String>,
    /// Far ends of uplinks that were prepared here.
    pub uplink_peers: BTreeMap<u32, PreparedPeer>,
    /// How many environments belong to each group.
    pub members: BTreeMap<u32, u32>,
}

impl Mirror {
    /// Index of a group by name.
    pub fn group(&self, name: &str) -> Option<u32> {
        find(&self.groups, name)
    }

    /// Index of an uplink by name.
    pub fn uplink(&self, name: &str) -> Option<u32> {
        find(&self.uplinks, name)
    }
}

fn find<T>(named: &BTreeMap<u32, Named<T>>, name: &str) -> Option<u32> {
    named
        .iter()
        .find(|(_, entry)| entry.name == name)
        .map(|(index, _)| *index)
}

/// What is named, by kind and index.
type Known = HashMap<(u32, u32), Name>;

/// Reads every table that the agent writes. Environments are those with an
/// interface; everything else is what has a name.
pub fn read(tables: &Tables) -> Result<(Mirror, Environments), MapError> {
    let mut known = Known::new();
    for entry in tables.names.iter() {
        let (key, name) = entry?;
        known.insert((key.kind, key.index), name);
    }
    let mut mirror = Mirror {
        uplinks: read_named(&tables.uplinks, &known, NameKey::UPLINK)?,
        groups: read_named(&tables.groups, &known, NameKey::GROUP)?,
        enis: read_named(&tables.enis, &known, NameKey::ENI)?,
        generations: tables
            .shared
            .policies
            .iter()
            .map(|word| InForce(word.load()).generation().into())
            .collect(),
        eni_by_address: tables.eni_by_address.iter().collect::<Result<_, _>>()?,
        links: tables.links.iter().collect::<Result<_, _>>()?,
        ..Default::default()
    };
    for ((kind, index), peer) in &known {
        if *kind == UPLINK_PEER {
            mirror
                .uplink_peers
                .insert(*index, PreparedPeer::decode(peer));
        }
    }
    let environments = read_environments(tables, &known)?;
    for (_, attached) in environments.iter() {
        *mirror.members.entry(attached.value.group).or_default() += 1;
    }
    Ok((mirror, environments))
}

fn read_named<T: aya::Pod>(
    table: &Values<T>,
    known: &Known,
    kind: u32,
) -> Result<BTreeMap<u32, Named<T>>, MapError> {
    let mut entries = BTreeMap::new();
    for ((_, index), name) in known.iter().filter(|((of, _), _)| *of == kind) {
        let (name, value) = (names::text(name), table.get(index, 0)?);
        entries.insert(*index, Named { name, value });
    }
    Ok(entries)
}

fn read_environments(tables: &Tables, known: &Known) -> Result<Environments, MapError> {
    let values: Vec<Environment> = tables.environments.iter().collect::<Result<_, _>>()?;
    let generations = values.iter().map(|value| value.generation).collect();
    let mut environments = BTreeMap::new();
    for (index, value) in (0..).zip(values) {
        if value.ifindex == 0 {
            continue;
        }
        let name = known.get(&(NameKey::ENVIRONMENT, index));
        let peer = known.get(&(ENVIRONMENT_PEER, index));
        let attached = Attached {
            name: name.map_or_else(|| index.to_string(), |name| names::text(name)),
            interface: String::new(),
            value,
            peer: peer.map(PreparedPeer::decode),
            peer_netns_id: None,
            why: Why::Asked,
        };
        environments.insert(index, attached);
    }
    Ok(Environments::new(generations, environments))
}

#[cfg(test)]
mod tests {
    use vpc_common::addr::Addr;

    use super::*;

    fn attached(name: &str, ifindex: u32, generation: u32) -> Attached {
        Attached {
            name: name.to_owned(),
            interface: format!("if{ifindex}"),
            value: Environment {
                generation,
                ifindex,
                address: Addr::UNSPECIFIED,
                gateway: Addr::UNSPECIFIED,
                group: 0,
                mtu: 1_500,
                flags: Environment::XDP,
                flow_quota: 0,
                flow_interval_ns: 0,
                flow_burst_ns: 0,
            },
            peer: None,
            peer_netns_id: None,
            why: Why::Asked,
        }
    }

    #[test]
    fn never_used_indices_come_first_then_the_longest_unused() {
        let mut environments = Environments::new(vec![0; 3], BTreeMap::new());
        for (name, ifindex) in [("a", 10), ("b", 11)] {
            let (index, generation) = environments.free_index().expect("free");
            environments.insert(index, attached(name, ifindex, generation + 1));
        }
        environments.remove(1, 2).expect("attached");
        environments.remove(0, 2).expect("attached");
        assert_eq!(environments.free_index(), Some((2, 0)));
        environments.insert(2, attached("c", 12, 1));
        assert_eq!(environments.free_index(), Some((1, 2)));
    }

    #[test]
    fn a_full_table_has_no_index() {
        let mut environments = Environments::new(vec![0], BTreeMap::new());
        environments.insert(0, attached("a", 1, 1));
        assert_eq!(environments.free_index(), None);
    }

    #[test]
    fn adoption_knows_used_and_attached_indices_apart() {
        let adopted = BTreeMap::from([(2, attached("c", 7, 5))]);
        let mut environments = Environments::new(vec![3, 0, 5, 0], adopted);
        assert_eq!(environments.by_ifindex(7), Some(2));
        assert_eq!(environments.by_name("c"), Some(2));
        assert_eq!(environments.free_index(), Some((3, 0)));
        environments.insert(3, attached("d", 8, 1));
        assert_eq!(environments.free_index(), Some((0, 3)));
    }
}
