//! Open flows, read from the mapped slots by whoever asks: the owner of the data plane is
//! not waited for, and waits for nobody.

use std::sync::Arc;

use vpc_common::{
    addr::{Addr, Port},
    layout::{BLOCK_PORTS, Slot},
    time::{TICK_NS, Tick},
};

use super::{
    Dataplane, clock,
    listing::{protocol_label, seconds, socket_address},
    tables::SharedTables,
};
use crate::{
    flowlog::{Directory, View, bindings::Binding},
    model::FlowInfo,
};

/// Open flows.
#[derive(Clone)]
pub struct LiveFlows {
    shared: Arc<SharedTables>,
    directory: Directory,
}

impl Dataplane {
    /// A view of the open flows.
    pub fn live_flows(&self) -> LiveFlows {
        LiveFlows {
            shared: Arc::clone(&self.tables.shared),
            directory: self.directory.clone(),
        }
    }
}

impl LiveFlows {
    /// Every open flow. Costs no system call.
    pub fn list(&self) -> Vec<FlowInfo> {
        let now = clock::now_tick();
        self.each(|names, index, slot| info(names, index, slot, now))
    }

    /// Those that are asked for, as bindings that end now.
    pub fn bindings(&self, is_asked_for: impl Fn(&Binding) -> bool) -> Vec<Binding> {
        let zero = clock::zero();
        let now = clock::unix_ms();
        self.each(|names, _, slot| {
            binding(names, slot, zero, now).filter(|binding| is_asked_for(binding))
        })
    }

    /// What `read` makes of each slot. The directory is not locked for longer than a block
    /// of slots takes.
    fn each<T>(&self, mut read: impl FnMut(&View<'_>, u32, &Slot) -> Option<T>) -> Vec<T> {
        let mut found = Vec::new();
        for block in self.shared.blocks_in_use() {
            let first = block * BLOCK_PORTS;
            self.directory.read(|names| {
                for index in first..first + BLOCK_PORTS {
                    if let Some(slot) = self.shared.slots.get(index as usize) {
                        found.extend(read(names, index, slot));
                    }
                }
            });
        }
        found
    }
}

/// A slot as a listing shows it; `None` unless its flow is open, and stayed the same one
/// while it was read.
fn info(names: &View<'_>, index: u32, slot: &Slot, now: Tick) -> Option<FlowInfo> {
    let state = slot.state();
    if !state.is_open() {
        return None;
    }
    let environment = u32::from(slot.environment());
    let created = Tick(slot.created.load());
    let attached = names.environment(environment, slot.generation.load());
    let eni = names.eni(slot.eni().into(), created);
    let at = |address: Option<std::net::Ipv4Addr>, port: Port| {
        let unspecified = std::net::Ipv4Addr::UNSPECIFIED;
        (address.unwrap_or(unspecified), port.number()).into()
    };
    let info = FlowInfo {
        environment: attached.map_or_else(|| environment.to_string(), |it| it.name.to_string()),
        function: attached.and_then(|it| it.function.as_deref().map(str::to_owned)),
        protocol: protocol_label(state.protocol()),
        inside: at(attached.map(|it| it.address), slot.inside_port()),
        outside: at(eni.map(|it| it.address), slot.outside_port()),
        remote: socket_address(slot.remote(), slot.remote_port()),
        state: state.phase().label().to_owned(),
        forward_packets: slot.forward_packets.load(),
        forward_bytes: slot.forward_bytes.load(),
        reply_packets: slot.reply_packets.load(),
        reply_bytes: slot.reply_bytes.load(),
        age_secs: seconds(now.since(created)),
        idle_secs: seconds(now.since(slot.last())),
        slot: index,
        epoch: state.epoch(),
    };
    (slot.state().epoch() == state.epoch()).then_some(info)
}

/// The same as a binding; times in Unix milliseconds.
fn binding(names: &View<'_>, slot: &Slot, zero: u64, now: u64) -> Option<Binding> {
    let state = slot.state();
    if !state.is_open() {
        return None;
    }
    let created = slot.created.load();
    let eni = names.eni(slot.eni().into(), Tick(created))?;
    let environment = names.environment(slot.environment().into(), slot.generation.load());
    let remote: Addr = slot.remote();
    let binding = Binding {
        start: zero.saturating_add(u64::from(created) * TICK_NS) / 1_000_000,
        end: now,
        vpc_id: eni.vpc_id.as_str().into(),
        interface_id: eni.interface_id.as_str().into(),
        address: eni.address,
        port: slot.outside_port().number(),
        protocol: state.protocol(),
        remote: remote.v4().octets().into(),
        remote_port: slot.remote_port().number(),
        environment: environment.map_or_else(|| "-".into(), |it| Arc::clone(&it.name)),
        function: environment.and_then(|it| it.function.clone()),
        inside: environment.map_or(std::net::Ipv4Addr::UNSPECIFIED, |it| it.address),
        inside_port: slot.inside_port().number(),
    };
    (slot.state().epoch() == state.epoch()).then_some(binding)
}
