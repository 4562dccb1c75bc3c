//! The objects of one kind by name, in the order of the file.

use std::collections::BTreeMap;

use super::{
    Checked,
    gateways::{InternetGateway, NatGateway},
};
use crate::{
    config::{
        Problem,
        error::Place,
        validate::{known, name},
    },
    model::{
        NetworkAcl, NetworkInterface, ObjectName, Peering, PrefixList, RouteTable, SecurityGroup,
        Subnet, Vpc,
    },
};

/// A kind of object, by the name of its table in the file.
pub(in crate::config) trait Kind {
    /// Such as `security_group`.
    const KIND: &'static str;
}

macro_rules! kinds {
    ($($type:ident = $kind:literal),+) => {
        $(impl Kind for $type {
            const KIND: &'static str = $kind;
        })+
    };
}

kinds!(
    Vpc = "vpc",
    PrefixList = "prefix_list",
    SecurityGroup = "security_group",
    NetworkAcl = "network_acl",
    RouteTable = "route_table",
    Subnet = "subnet",
    NetworkInterface = "interface",
    Peering = "peering",
    InternetGateway = "internet_gateway",
    NatGateway = "nat_gateway"
);

/// What belongs to a VPC and only goes with objects of the same one.
pub(in crate::config) trait InVpc: Kind {
    /// Its VPC.
    fn vpc(&self) -> &ObjectName;
}

macro_rules! in_vpc {
    ($($type:ident),+) => {
        $(impl InVpc for $type {
            fn vpc(&self) -> &ObjectName {
                &self.vpc
            }
        })+
    };
}

in_vpc!(SecurityGroup, NetworkAcl, RouteTable, Subnet);

/// The objects of one kind: names are unique, and looking one up costs little.
pub(in crate::config) struct Table<T> {
    items: Vec<T>,
    index: BTreeMap<String, usize>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            index: BTreeMap::new(),
        }
    }
}

impl<T> Table<T> {
    /// The object of a name.
    pub(in crate::config) fn get(&self, name: &str) -> Option<&T> {
        self.items.get(*self.index.get(name)?)
    }

    /// Whether the file, or validation, made an object of a name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.index.contains_key(name)
    }

    /// Adds an object under a name that [`Table::name`] found free.
    pub(super) fn push(&mut self, name: &ObjectName, item: T) {
        self.index.insert(name.to_string(), self.items.len());
        self.items.push(item);
    }

    /// All objects.
    pub(in crate::config) fn items(&self) -> &[T] {
        &self.items
    }

    /// All objects, to complete them.
    pub(super) fn items_mut(&mut self) -> &mut [T] {
        &mut self.items
    }

    /// All objects, as the model has them.
    pub(super) fn into_items(self) -> Vec<T> {
        self.items
    }

    /// The names, for a refusal.
    pub(in crate::config) fn known(&self) -> String {
        known(self.index.keys().map(String::as_str))
    }
}

impl<T: Kind> Table<T> {
    /// The name of a new object; refused if it is none or is taken.
    pub(super) fn name(&self, index: usize, text: &str) -> Checked<ObjectName> {
        let name = name(T::KIND, index, text)?;
        if self.has(text) {
            let problem = Problem::NameTaken { kind: T::KIND };
            return Err(Place::numbered(T::KIND, index).refuse("name", text, problem));
        }
        Ok(name)
    }

    /// The object that a key refers to.
    pub(super) fn find(&self, place: &Place, key: &str, text: &str) -> Checked<&T> {
        self.get(text).ok_or_else(|| {
            let problem = Problem::Unknown {
                kind: T::KIND,
                known: self.known(),
            };
            place.refuse(key, text, problem)
        })
    }
}

impl<T: InVpc> Table<T> {
    /// The object that a key refers to, which must belong to a VPC.
    pub(super) fn find_in(
        &self,
        vpc: &ObjectName,
        place: &Place,
        key: &str,
        text: &str,
    ) -> Checked<&T> {
        let item = self.find(place, key, text)?;
        same_vpc(item.vpc(), vpc, place, key, text)?;
        Ok(item)
    }

    /// How many of the objects a VPC has.
    pub(super) fn count_in(&self, vpc: &ObjectName) -> u64 {
        self.items.iter().filter(|item| item.vpc() == vpc).count() as u64
    }
}

/// Refuses a reference from one VPC into another.
pub(super) fn same_vpc(
    theirs: &ObjectName,
    ours: &ObjectName,
    place: &Place,
    key: &str,
    text: &str,
) -> Checked<()> {
    if theirs == ours {
        return Ok(());
    }
    let problem = Problem::OtherVpc {
        theirs: theirs.to_string(),
        ours: ours.to_string(),
    };
    Err(place.refuse(key, text, problem))
}
