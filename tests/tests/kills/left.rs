//! What a kill can leave of an attach or of a change of a hook, made by hand.

use std::{fs, os::unix::fs::MetadataExt as _};

use aya::maps::{DevMap, HashMap, MapData};
use nix::sys::signal::Signal;
use tests::{
    functions::{Functions, tenant},
    topology::INTERFACE,
};
use vpc_common::{
    drop::DropReason,
    layout::{DropKey, NAME_LEN, NameKey, Owner, name},
};
use vpc_user::model::EnvironmentInfo;

use crate::{audit, model::TENANTS, tables::Tables};

/// An index that nobody has.
const INDEX: u32 = 5;

/// A world of so many environments for each tenant, of which the first is attached, without its
/// agent.
fn attached_and_killed(environments: usize) -> (Functions, EnvironmentInfo) {
    let mut functions = Functions::start(&TENANTS, environments, "");
    functions.apply(&TENANTS.map(tenant).concat());
    TENANTS.iter().for_each(|name| functions.await_active(name));
    let attached = functions.attach(0, "blue");
    functions.world.stop_agent(Signal::SIGKILL);
    (functions, attached)
}

#[test]
fn what_is_left_of_an_attach_by_half_is_cleared_at_the_start() {
    let (mut functions, attached) = attached_and_killed(2);
    let world = &functions.world;
    let tables = Tables(world.pins().join("maps"));

    let mut names: HashMap<MapData, NameKey, [u8; NAME_LEN]> = tables.open(name::NAMES);
    let key = NameKey {
        kind: NameKey::ENVIRONMENT,
        index: INDEX,
    };
    let mut half = [0; NAME_LEN];
    half[..6].copy_from_slice(b"blue-1");
    names.insert(key, half, 0).expect("named");
    let interface = world.environments()[1].interface.clone();
    let ifindex = (world.host()).run(|| nix::net::if_::if_nametoindex(interface.as_str()));
    let ifindex = ifindex.expect("it is there");
    world.host().run(|| {
        for table in [name::ENVIRONMENT_PORTS, name::TC_ENVIRONMENT_PORTS] {
            let mut ports: DevMap<MapData> = tables.open(table);
            ports.set(INDEX, ifindex, None, 0).expect("entered");
        }
    });
    let mut drops: HashMap<MapData, DropKey, u64> = tables.open(name::DROPS);
    let counter = DropKey::new(Owner::environment(INDEX), DropReason::SgEgress);
    drops.insert(counter, 3, 0).expect("counted");
    let links = world.pins().join("links");
    let pin = |index, ifindex| links.join(format!("environment-{index}-filter-{ifindex}-qdisc"));
    let (from, to) = (pin(attached.index, attached.ifindex), pin(INDEX, ifindex));
    fs::hard_link(from, to).expect("pinned");
    world
        .host()
        .says("tc", &["qdisc", "add", "dev", &interface, "ingress"]);

    functions.world.start_agent();
    audit::assert_sound(&functions);
    functions.attach(1, "blue");
    audit::assert_sound(&functions);
}

/// The far end is noted and GRO is on there, and no XDP is in front.
#[test]
fn what_is_left_of_a_change_of_hook_by_half_is_given_back_at_the_start() {
    let (mut functions, attached) = attached_and_killed(1);
    let world = &functions.world;
    let environment = &world.environments()[0];
    let namespace = format!("/run/netns/{}", environment.netns.name());
    let far_end = (environment.netns).run(|| nix::net::if_::if_nametoindex(INTERFACE));
    let inode = fs::metadata(&namespace).expect("it is named").ino();

    let tables = Tables(world.pins().join("maps"));
    let mut names: HashMap<MapData, NameKey, [u8; NAME_LEN]> = tables.open(name::NAMES);
    let mut note = [0; NAME_LEN];
    note[..4].copy_from_slice(&far_end.expect("it is there").to_ne_bytes());
    note[4..8].copy_from_slice(&attached.ifindex.to_ne_bytes());
    note[8..16].copy_from_slice(&inode.to_ne_bytes());
    let key = NameKey {
        kind: NameKey::ENVIRONMENT_PEER,
        index: attached.index,
    };
    names.insert(key, note, 0).expect("noted");
    environment
        .netns
        .says("ethtool", &["-K", INTERFACE, "gro", "on"]);
    assert!(environment.netns.gro(INTERFACE));

    functions.world.start_agent();
    audit::assert_sound(&functions);
}
