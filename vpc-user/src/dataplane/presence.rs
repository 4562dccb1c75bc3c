//! Whether the interface of a link is still the one it was attached on. Its number does not
//! say so: the kernel may have given it to another interface since, and a filter that is
//! missing may have gone with the interface or been removed from it. The tables of ports
//! do: the kernel empties an entry in the moment in which its interface goes, agent or not.

use std::collections::BTreeSet;

use super::{
    Dataplane,
    programs::{LinkKind, ProgramsError},
    tables::Ports,
};
use crate::model::ObjectName;

impl Dataplane {
    /// Whether a link's interface is the one it was attached on. One whose port somebody
    /// emptied is known by the program that still runs there.
    pub(super) fn is_there(&mut self, kind: LinkKind, index: u32) -> bool {
        let Some((ports, ifindex)) = self.port(kind, index) else {
            return false;
        };
        ports.hold(index, ifindex) || self.programs.runs(kind, index, ifindex)
    }

    /// The table that a link's interface is entered in, and the interface.
    fn port(&self, kind: LinkKind, index: u32) -> Option<(&Ports, u32)> {
        let (ports, ifindex) = match kind {
            LinkKind::Environment => (
                &self.tables.environment_ports,
                self.environments.get(index)?.value.ifindex,
            ),
            LinkKind::Uplink => (
                &self.tables.uplink_ports,
                self.mirror.uplinks.get(&index)?.value.ifindex,
            ),
        };
        (ifindex != 0).then_some((ports, ifindex))
    }

    /// Makes anew what somebody removed of links: filters, which have no owner, and pins.
    pub fn mend_attachments(&mut self) {
        if self.programs.has_lost_folder() {
            self.counters.steps_failed.one();
            tracing::error!(
                pin_dir = %self.pin_dir.display(),
                "the pins are gone, so the data path will not outlive this agent: mount the BPF \
                 filesystem again and restart the agent"
            );
        }
        let running = self.programs.running();
        let links = running.into_iter().map(|(kind, index, _)| (kind, index));
        for (kind, index) in links.collect::<BTreeSet<_>>() {
            self.mend_link(kind, index);
        }
    }

    /// Somebody removed a filter of an interface.
    pub fn filter_gone(&mut self, ifindex: u32) {
        if let Some(index) = self.environments.by_ifindex(ifindex) {
            self.mend_link(LinkKind::Environment, index);
        } else if let Some(index) = self.uplink_of(ifindex) {
            self.mend_link(LinkKind::Uplink, index);
        }
    }

    /// The filters of an interface go before it does, and its number may be that of another
    /// by now, which is left alone.
    fn mend_link(&mut self, kind: LinkKind, index: u32) {
        let Some((ports, ifindex)) = self.port(kind, index) else {
            return;
        };
        let was_held = ports.hold(index, ifindex);
        if !was_held && !self.programs.runs(kind, index, ifindex) {
            return;
        }
        let Some(outcome) = self.programs.mend(kind, index, ifindex) else {
            return;
        };
        self.link_mended(kind, index, outcome);
        let is_held = self.port(kind, index);
        if was_held && !is_held.is_some_and(|(ports, ifindex)| ports.hold(index, ifindex)) {
            self.give_up(kind, index);
        }
    }

    fn link_mended(&self, kind: LinkKind, index: u32, outcome: Result<(), ProgramsError>) {
        match outcome {
            Ok(()) => {
                self.counters.filters_mended.one();
                tracing::warn!(?kind, index, "a filter or a pin was gone: it was made anew");
            }
            // It was said once.
            Err(_) if !self.programs.has_folder() => {}
            Err(error) => {
                self.counters.steps_failed.one();
                tracing::warn!(?kind, index, %error, "a filter or a pin is gone");
            }
        }
    }

    fn give_up(&mut self, kind: LinkKind, index: u32) {
        match kind {
            LinkKind::Environment => self.lose(index, "the interface is gone"),
            LinkKind::Uplink => self.uplink_gone(index),
        }
    }

    /// Gives up every link whose interface is gone, whatever has its number now.
    pub fn detach_dead(&mut self) {
        let environments = self.environments.iter();
        let environments = environments.map(|(index, _)| (LinkKind::Environment, index));
        let uplinks = self.mirror.attached_uplinks.iter();
        let uplinks = uplinks.map(|index| (LinkKind::Uplink, *index));
        for (kind, index) in environments.chain(uplinks).collect::<Vec<_>>() {
            self.give_up_if_dead(kind, index);
        }
    }

    /// Gives an environment up whose interface is gone, of which word may still be on its
    /// way: its name may be asked for again.
    pub fn detach_if_dead(&mut self, name: &ObjectName) {
        if let Some(index) = self.environments.by_name(name.as_str()) {
            self.give_up_if_dead(LinkKind::Environment, index);
        }
    }

    /// The interface of an environment is gone: so is the environment. Not if the number is
    /// that of another interface by now, which was attached in the meantime.
    pub fn interface_gone(&mut self, ifindex: u32) {
        if let Some(index) = self.environments.by_ifindex(ifindex) {
            self.give_up_if_dead(LinkKind::Environment, index);
        }
        if let Some(index) = self.uplink_of(ifindex) {
            self.give_up_if_dead(LinkKind::Uplink, index);
        }
    }

    pub(super) fn give_up_if_dead(&mut self, kind: LinkKind, index: u32) {
        if !self.is_there(kind, index) {
            self.give_up(kind, index);
        }
    }
}
