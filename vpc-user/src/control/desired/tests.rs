//! What is kept up to date is what would be made anew.

use std::collections::BTreeSet;

use vpc_common::layout::Limits;

use super::Desired;
use crate::{
    control::{Change, Id, Key, Record, Settings, State},
    model::{Config, HookWish, Network, TcAttachment, UplinkConfig},
};

/// The uplinks of the host.
pub const UPLINKS: [&str; 2] = ["up-0", "up-1"];

/// Follows a state step by step.
pub struct Follower {
    state: State,
    desired: Desired,
    settings: Settings,
}

impl Follower {
    /// Begins with a state.
    pub fn new(state: &State, settings: &Settings) -> Self {
        Self {
            state: state.clone(),
            desired: Desired::new(state, &host(), settings.clone()),
            settings: settings.clone(),
        }
    }

    /// Goes on to a state, and checks that nothing of the way shows.
    pub fn follow(&mut self, state: &State) {
        let changes = changes(&self.state, state);
        self.desired.update(state, &changes);
        self.state = state.clone();
        let anew = Desired::new(state, &host(), self.settings.clone());
        let (kept, made) = (sorted(self.desired.config()), sorted(anew.config()));
        assert_eq!(kept, made, "after {changes:#?}");
    }
}

/// A host with these uplinks and nothing else.
pub fn host() -> Config {
    let uplinks = UPLINKS.map(|name| UplinkConfig {
        name: Id::new(name).unwrap(),
        interface: name.to_owned(),
        shared: false,
        hook: HookWish::Auto,
        peer_netns: None,
    });
    Config {
        pin_dir: "/sys/fs/bpf/test".into(),
        socket: "/run/test.sock".into(),
        limits: Limits::DEFAULT,
        tc: TcAttachment::Auto,
        uplinks: uplinks.into(),
        groups: Vec::new(),
        network: Network::default(),
        control: None,
        flow_logs: None,
    }
}

fn changes(before: &State, after: &State) -> Vec<Change> {
    let keys = |state: &State| -> BTreeSet<Key> { state.records().map(Record::key).collect() };
    let keys = keys(before)
        .union(&keys(after))
        .cloned()
        .collect::<Vec<_>>();
    let changes = keys.into_iter().map(|key| Change {
        before: before.record(&key).cloned(),
        after: after.record(&key).cloned(),
        key,
    });
    changes
        .filter(|change| change.before != change.after)
        .collect()
}

/// The order of the lists says nothing.
fn sorted(config: &Config) -> Config {
    let mut config = config.clone();
    let Network {
        vpcs,
        prefix_lists,
        security_groups,
        network_acls,
        route_tables,
        subnets,
        interfaces,
        peerings,
        quotas: _,
    } = &mut config.network;
    vpcs.sort_by(|a, b| a.name.cmp(&b.name));
    prefix_lists.sort_by(|a, b| a.name.cmp(&b.name));
    security_groups.sort_by(|a, b| a.name.cmp(&b.name));
    network_acls.sort_by(|a, b| a.name.cmp(&b.name));
    route_tables.sort_by(|a, b| a.name.cmp(&b.name));
    subnets.sort_by(|a, b| a.name.cmp(&b.name));
    interfaces.sort_by(|a, b| a.name.cmp(&b.name));
    peerings.sort_by(|a, b| a.name.cmp(&b.name));
    config.groups.sort_by(|a, b| a.name.cmp(&b.name));
    config
}
