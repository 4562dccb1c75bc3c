//! Whether the tables, the pins and the interfaces hold what the store says, and nothing
//! else. Everything is read past the agent.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    fs,
};

use tests::{
    functions::Functions,
    plan::uplink_interface,
    topology::INTERFACE,
    wait::{PATIENCE, eventually},
};
use vpc_common::layout::{
    DropKey, Eni, EniKey, EniRef, Environment, Group, InForce, Link, NAME_LEN, NameKey, OwnerKind,
    Stat, Uplink, name,
};
use vpc_user::model::{EnvironmentInfo, Hook, HookWish};

use crate::{kernel, model::TENANTS, tables::Tables};

/// What is found wrong, a sentence each.
#[derive(Debug, Default)]
pub struct Complaints(Vec<String>);

impl Complaints {
    /// Two things that should be the same.
    pub fn same<T: PartialEq + Debug>(&mut self, what: &str, found: &T, wanted: &T) {
        self.unless(found == wanted, || {
            format!("{what}: {found:?}, not {wanted:?}")
        });
    }

    /// Something that should be.
    pub fn unless(&mut self, is_so: bool, sentence: impl FnOnce() -> String) {
        if !is_so {
            self.0.push(sentence());
        }
    }
}

/// Asserts that everything is as the store says. What moves at this moment may be seen by
/// half, so that is asked again; what leaks stays.
pub fn assert_sound(functions: &Functions) {
    let mut found = Complaints::default();
    let is_sound = eventually(PATIENCE * 3, || {
        found = complaints(functions);
        found.0.is_empty()
    });
    assert!(is_sound, "{:#?}\n{}", found.0, functions.world.log_tail(40));
}

/// Indices by name of one kind.
type Names = BTreeMap<String, u32>;

struct Audit<'a> {
    functions: &'a Functions,
    tables: Tables,
    list: Vec<EnvironmentInfo>,
    /// Number of the interface by uplink.
    uplinks: BTreeMap<String, u32>,
    names: BTreeMap<u32, Names>,
    found: Complaints,
}

fn complaints(functions: &Functions) -> Complaints {
    let world = &functions.world;
    let tables = Tables(world.pins().join("maps"));
    let mut names: BTreeMap<u32, Names> = BTreeMap::new();
    for (key, name) in tables.hash::<NameKey, [u8; NAME_LEN]>(name::NAMES) {
        let text = String::from_utf8_lossy(&name)
            .trim_end_matches('\0')
            .to_owned();
        names.entry(key.kind).or_default().insert(text, key.index);
    }
    let ifindex = |interface: &str| {
        let number = world
            .host()
            .run(|| nix::net::if_::if_nametoindex(interface));
        number.expect("an uplink's interface is there")
    };
    let uplinks = TENANTS.map(|tenant| (tenant.to_owned(), ifindex(&uplink_interface(tenant))));
    let mut audit = Audit {
        functions,
        tables,
        list: world.list(),
        uplinks: uplinks.into(),
        names,
        found: Complaints::default(),
    };
    audit.environments();
    audit.uplinks();
    audit.enis();
    audit.pins();
    audit.xdp();
    audit.drops();
    kernel::complain(&audit.tables, &audit.list, &mut audit.found);
    audit.found
}

impl Audit<'_> {
    fn names(&self, kind: u32) -> Names {
        self.names.get(&kind).cloned().unwrap_or_default()
    }

    /// Index → interface of what is attached.
    fn attached(&self) -> BTreeMap<u32, u32> {
        let list = self.list.iter();
        list.map(|one| (one.index, one.ifindex)).collect()
    }

    fn environments(&mut self) {
        let attached = self.attached();
        let entries: Vec<Environment> = self.tables.array(name::ENVIRONMENTS);
        let found: BTreeMap<u32, (u32, u32)> = (0..)
            .zip(&entries)
            .filter(|(_, entry)| entry.ifindex != 0)
            .map(|(index, entry)| (index, (entry.ifindex, entry.generation)))
            .collect();
        let list = self.list.iter();
        let wanted = list
            .map(|one| (one.index, (one.ifindex, one.generation)))
            .collect();
        self.found.same("environments", &found, &wanted);
        let names = self.names(NameKey::ENVIRONMENT);
        let list = self.list.iter();
        let wanted = list.map(|one| (one.name.clone(), one.index)).collect();
        self.found.same("names of environments", &names, &wanted);
        for table in [name::ENVIRONMENT_PORTS, name::TC_ENVIRONMENT_PORTS] {
            let ports = self.tables.ports(table);
            self.found.same(table, &ports, &attached);
        }
        let kept = self.functions.get("environment").into_iter();
        let kept = kept.map(|one| (one.id, one.resource["EniGroup"].as_str().map(str::to_owned)));
        let list = self.list.iter();
        let listed = list.map(|one| (one.name.clone(), Some(one.group.clone())));
        let (kept, listed): (BTreeMap<_, _>, BTreeMap<_, _>) = (kept.collect(), listed.collect());
        self.found.same("groups of environments", &listed, &kept);
    }

    fn uplinks(&mut self) {
        let names = self.names(NameKey::UPLINK);
        let wanted: BTreeMap<u32, u32> = names
            .iter()
            .filter_map(|(name, index)| Some((*index, *self.uplinks.get(name)?)))
            .collect();
        self.found
            .same("uplinks", &names.len(), &self.uplinks.len());
        let entries: Vec<Uplink> = self.tables.array(name::UPLINKS);
        let found = (0..)
            .zip(entries)
            .map(|(index, entry)| (index, entry.ifindex));
        let found: BTreeMap<u32, u32> = found.filter(|(_, ifindex)| *ifindex != 0).collect();
        self.found.same("interfaces of uplinks", &found, &wanted);
        for table in [name::UPLINK_PORTS, name::TC_UPLINK_PORTS] {
            let ports = self.tables.ports(table);
            self.found.same(table, &ports, &wanted);
        }
        let links: BTreeMap<u32, (u32, u32)> = self
            .tables
            .hash::<u32, Link>(name::LINK_BY_IFINDEX)
            .into_iter()
            .map(|(ifindex, link)| (ifindex, (link.kind, link.index)))
            .collect();
        let of_kind = |kind: u32| move |(index, ifindex)| (ifindex, (kind, index));
        let wanted = self
            .attached()
            .into_iter()
            .map(of_kind(Link::ENVIRONMENT))
            .chain(wanted.into_iter().map(of_kind(Link::UPLINK)));
        self.found.same("links", &links, &wanted.collect());
    }

    fn enis(&mut self) {
        let interfaces = self.functions.enis();
        let waiting = interfaces
            .iter()
            .filter(|(_, one)| one.resource["Status"] != "in-use");
        self.found
            .same("ENIs that come or go", &waiting.count(), &0);
        let names = self.names(NameKey::ENI);
        let found: BTreeSet<String> = names.keys().cloned().collect();
        let wanted = interfaces.iter().map(|(_, one)| one.id.clone()).collect();
        self.found.same("names of ENIs", &found, &wanted);
        let enis: Vec<Eni> = self.tables.array(name::ENIS);
        let used = |index: &u32| !enis[*index as usize].address.is_unspecified();
        let indices: BTreeSet<u32> = names.values().copied().collect();
        let found = (0..enis.len() as u32).filter(used).collect();
        self.found.same("ENIs", &found, &indices);
        let policies: Vec<u64> = self.tables.array(name::POLICIES);
        let in_force = (0..)
            .zip(policies)
            .filter(|(_, word)| InForce(*word).begins().is_some());
        let found = in_force.map(|(index, _)| index).collect();
        self.found.same("policies", &found, &indices);
        let addresses = self.tables.hash::<EniKey, EniRef>(name::ENI_BY_ADDRESS);
        let leads = |(key, to): &(EniKey, EniRef)| {
            let eni = &enis[to.index() as usize];
            (eni.uplink, eni.address) == (key.uplink, key.address)
        };
        self.found.unless(addresses.iter().all(leads), || {
            format!("addresses: {addresses:?}")
        });
        let found = addresses.iter().map(|(_, to)| to.index()).collect();
        self.found.same("addresses", &found, &indices);
        self.groups(&indices);
    }

    fn groups(&mut self, enis: &BTreeSet<u32>) {
        let names = self.names(NameKey::GROUP);
        let groups: Vec<Group> = self.tables.array(name::GROUPS);
        let used = (0..).zip(&groups).filter(|(_, group)| group.count != 0);
        let found: BTreeSet<u32> = used.map(|(index, _)| index).collect();
        self.found
            .same("groups", &found, &names.values().copied().collect());
        let members = groups
            .iter()
            .flat_map(|group| &group.enis[..group.count as usize]);
        let members: Vec<u32> = members.copied().collect();
        self.found
            .same("members of groups", &members.len(), &enis.len());
        self.found
            .same("ENIs in groups", &members.into_iter().collect(), enis);
        let kept = self
            .functions
            .get("eni-group")
            .into_iter()
            .map(|one| one.id);
        self.found.same(
            "names of groups",
            &names.into_keys().collect(),
            &kept.collect::<BTreeSet<_>>(),
        );
    }

    /// XDP where it is to be and nowhere else: in front, in force, and the far end made ready,
    /// which is noted.
    fn xdp(&mut self) {
        let wanted = |one: &&EnvironmentInfo| one.hook_wanted == HookWish::Xdp;
        let wanted: Vec<_> = self.list.iter().filter(wanted).cloned().collect();
        let noted = self.names(NameKey::ENVIRONMENT_PEER).into_values();
        let indices: BTreeSet<u32> = wanted.iter().map(|one| one.index).collect();
        self.found.same("far ends", &noted.collect(), &indices);
        let all: BTreeSet<&str> = wanted.iter().map(|one| one.interface.as_str()).collect();
        for one in &wanted {
            self.found.same(&one.name, &one.hook, &Hook::Xdp);
        }
        let world = &self.functions.world;
        let runs = |interface: &str| {
            let link = world.host().says("ip", &["link", "show", "dev", interface]);
            link.contains("xdp")
        };
        for environment in world.environments() {
            let interface = environment.interface.as_str();
            let is = (runs(interface), environment.netns.gro(INTERFACE));
            let wanted = all.contains(interface);
            self.found.same(
                &format!("XDP at {interface}, GRO behind it"),
                &is,
                &(wanted, wanted),
            );
        }
        for uplink in self.uplinks.keys() {
            let is = runs(&uplink_interface(uplink));
            self.found.same(&format!("XDP at {uplink}"), &is, &false);
        }
    }

    /// A pin for each link, the filter or TCX link behind it, and nothing on the others.
    fn pins(&mut self) {
        let world = &self.functions.world;
        let entries = fs::read_dir(world.pins().join("links")).expect("the folder of links");
        let names = entries.map(|entry| entry.expect("a pin").file_name().into_string());
        let pins: BTreeSet<String> = names.collect::<Result<_, _>>().expect("a name");
        let filters = self
            .attached()
            .into_iter()
            .map(|(index, ifindex)| format!("environment-{index}-filter-{ifindex}-qdisc"));
        let uplinks = self.names(NameKey::UPLINK).into_values();
        let raised = self.list.iter().filter(|one| one.hook == Hook::Xdp);
        let wanted = filters
            .chain(raised.map(|one| format!("environment-{}-xdp", one.index)))
            .chain(uplinks.map(|index| format!("uplink-{index}-tcx")));
        self.found.same("pins", &pins, &wanted.collect());
        let attached: BTreeSet<&str> = self.list.iter().map(|one| one.interface.as_str()).collect();
        for environment in world.environments() {
            let interface = environment.interface.as_str();
            let is_attached = attached.contains(interface);
            let filters = world.host().filters(interface).len();
            self.found.same(
                &format!("filters of {interface}"),
                &filters,
                &is_attached.into(),
            );
            let qdiscs = world
                .host()
                .says("tc", &["qdisc", "show", "dev", interface]);
            let has_one = qdiscs.contains("ingress") || qdiscs.contains("clsact");
            self.found
                .same(&format!("a qdisc at {interface}"), &has_one, &is_attached);
        }
        for uplink in self.uplinks.keys() {
            let running = world.host().tcx(&uplink_interface(uplink));
            self.found
                .same(&format!("programs of uplink {uplink}"), &running.len(), &1);
        }
    }

    /// Counters are of what is there.
    fn drops(&mut self) {
        let attached = self.attached();
        for (key, _) in self.tables.hash::<DropKey, u64>(name::DROPS) {
            if let (OwnerKind::Environment, index) = key.owner.parts() {
                let is_there = attached.contains_key(&index);
                self.found
                    .unless(is_there, || format!("a counter of nobody: {key:?}"));
            }
        }
    }
}

/// Asserts that nothing is left but what the configuration names: the uplinks.
pub fn assert_empty(functions: &Functions) {
    let tables = Tables(functions.world.pins().join("maps"));
    assert_eq!(functions.world.list(), []);
    let names = tables.hash::<NameKey, [u8; NAME_LEN]>(name::NAMES);
    assert!(
        names.iter().all(|(key, _)| key.kind == NameKey::UPLINK),
        "{names:?}"
    );
    let left = kernel::flows(&tables);
    assert_eq!(left, 0, "flows");
    let status = functions.world.status();
    assert_eq!(status.enis, []);
    for stat in [Stat::DoubleFrees, Stat::SlotConflicts] {
        let counts: Vec<u64> = tables.counts(stat as u32);
        assert!(
            counts.iter().all(|count| *count == 0),
            "{stat:?}: {counts:?}"
        );
    }
}
