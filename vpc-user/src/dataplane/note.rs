//! What a performed step does to the mirror, and what an unused entry looks like.

use std::collections::BTreeMap;

use vpc_common::{
    addr::{Addr, Mac},
    layout::{Eni, GROUP_ENIS, Group, NameKey, Uplink},
    state::Timeouts,
};

use super::{
    mirror::{Mirror, Named},
    step::Step,
};
use crate::model::Hook;

/// An uplink that is none.
pub const NO_UPLINK: Uplink = Uplink {
    ifindex: 0,
    mtu: 0,
    mac: Mac::UNKNOWN,
    flags: 0,
};
/// A group without ENIs.
pub const NO_GROUP: Group = Group {
    count: 0,
    reserved: 0,
    enis: [0; GROUP_ENIS],
};
/// An ENI that is none.
pub const NO_ENI: Eni = Eni {
    address: Addr::UNSPECIFIED,
    uplink: 0,
    reserved: 0,
    connection_limit: 0,
    high_water: 0,
    timeouts: Timeouts([0; 16]),
};

/// Brings the mirror up to date with a step that was performed.
pub fn note(mirror: &mut Mirror, step: &Step) {
    match step {
        Step::SetName(key, name) => note_name(mirror, *key, name),
        Step::RemoveName(_) | Step::ForgetNeighbours(_) | Step::LeasePorts(_) => {}
        Step::SetUplink(index, uplink) => {
            if let Some(entry) = mirror.uplinks.get_mut(index) {
                if entry.value.ifindex != uplink.ifindex {
                    mirror.attached_uplinks.remove(index);
                    mirror.xdp_refusals.remove(&entry.value.ifindex);
                }
                entry.value = *uplink;
            }
        }
        Step::SetLink(ifindex, link) => {
            mirror.links.insert(*ifindex, *link);
        }
        Step::RemoveLink(ifindex) => {
            mirror.links.remove(ifindex);
        }
        Step::SetEni(index, eni) => {
            if let Some(entry) = mirror.enis.get_mut(index) {
                entry.value = *eni;
            }
        }
        Step::BumpGeneration(index) => mirror.generations[*index as usize] += 1,
        Step::SetPolicy { enis, image, .. } => {
            for index in enis {
                mirror.policies.insert(*index, image.clone());
                mirror.generations[*index as usize] += 1;
            }
        }
        Step::SetAddress(key, eni) => {
            mirror.eni_by_address.insert(*key, *eni);
        }
        Step::RemoveAddress(key) => {
            mirror.eni_by_address.remove(key);
        }
        Step::ClearEni(index) => {
            mirror.policies.remove(index);
            mirror.enis.remove(index);
        }
        Step::SetGroup(index, group) => {
            if let Some(entry) = mirror.groups.get_mut(index) {
                entry.value = *group;
            }
        }
        Step::ForgetGroup(index) => {
            mirror.groups.remove(index);
        }
        Step::AttachUplink { index, .. } => {
            mirror.attached_uplinks.insert(*index);
        }
        Step::SetHook { index, hook, .. } => {
            if let Some(entry) = mirror.uplinks.get_mut(index) {
                entry.value.flags = with_hook(entry.value.flags, *hook);
            }
        }
        Step::DetachUplink(index) => {
            mirror.attached_uplinks.remove(index);
            mirror.uplinks.remove(index);
        }
        Step::Announce(_) => {}
    }
}

/// An uplink's flags when its hook is another.
pub const fn with_hook(flags: u16, hook: Hook) -> u16 {
    match hook {
        Hook::Xdp => flags | Uplink::XDP,
        Hook::Tc => flags & !Uplink::XDP,
    }
}

/// A name comes before its entry, which then is the empty one.
fn note_name(mirror: &mut Mirror, key: NameKey, name: &str) {
    fn rename<T>(entries: &mut BTreeMap<u32, Named<T>>, index: u32, name: &str, empty: T) {
        let entry = entries.entry(index);
        entry
            .or_insert(Named {
                name: String::new(),
                value: empty,
            })
            .name = name.to_owned();
    }
    match key.kind {
        NameKey::UPLINK => rename(&mut mirror.uplinks, key.index, name, NO_UPLINK),
        NameKey::ENI => rename(&mut mirror.enis, key.index, name, NO_ENI),
        NameKey::GROUP => rename(&mut mirror.groups, key.index, name, NO_GROUP),
        _ => {}
    }
}
