//! The links of uplinks: attaching, detaching, and changing their hook.

use vpc_common::layout::{Link, NameKey, Uplink};

use super::{
    Dataplane,
    apply::{Applied, StepError},
    mirror::Named,
    note::{NO_UPLINK, with_hook},
    port::{self, PortError},
    programs::LinkKind,
    step::Step,
    tables::absent_is_fine,
};
use crate::model::Hook;

const KIND: LinkKind = LinkKind::Uplink;

impl Dataplane {
    /// Runs the TC program on an uplink's interface.
    pub(super) fn attach_uplink(&mut self, index: u32, interface: &str) -> Result<(), StepError> {
        // The links of an interface that went away still have their pins.
        self.detach_programs(index)?;
        let interface = port::find(&mut self.netlink, interface)?;
        port::check(&interface, KIND)?;
        Ok(port::attach(
            &mut self.programs,
            KIND,
            index,
            Hook::Tc,
            &interface,
        )?)
    }

    /// Puts XDP in front; its flag comes last, because from then on frames are
    /// redirected into the interface. Where the agent only `chose` to try it, a
    /// refusal is noted and no failure.
    pub(super) fn try_xdp(
        &mut self,
        index: u32,
        interface: &str,
        peer_netns: Option<&str>,
        chosen: bool,
    ) -> Result<bool, StepError> {
        if !self.mirror.attached_uplinks.contains(&index) {
            return Err(StepError::NotAttached);
        }
        let interface = port::find(&mut self.netlink, interface)?;
        let link = (KIND, index);
        match self.put_xdp_in_front(link, &interface, peer_netns) {
            Ok(Some(peer)) => {
                self.mirror.uplink_peers.insert(index, peer);
            }
            Ok(None) => {}
            Err(refusal) if chosen && !matches!(refusal, PortError::Note { .. }) => {
                let sentence = refusal.to_string();
                tracing::info!(
                    interface = interface.name,
                    sentence,
                    "XDP was refused: TC it is"
                );
                self.mirror.xdp_refusals.insert(interface.ifindex, sentence);
                return Ok(false);
            }
            Err(refusal) => return Err(refusal.into()),
        }
        self.flag_hook(index, Hook::Xdp)?;
        Ok(true)
    }

    /// Takes XDP away from the front. Its flag goes first: nothing may be redirected
    /// into an interface whose far end is not ready for it.
    pub(super) fn leave_xdp(&mut self, index: u32) -> Result<(), StepError> {
        self.flag_hook(index, Hook::Tc)?;
        let peer = self.mirror.uplink_peers.get(&index).cloned();
        self.take_xdp_away((KIND, index), peer.as_ref())?;
        self.mirror.uplink_peers.remove(&index);
        Ok(())
    }

    /// Brings an adopted uplink's flag in line with what runs on its interface: an
    /// agent may have died in the middle of a change. The next pass makes the hook
    /// what it is to be.
    pub(super) fn settle_uplink(&mut self, index: u32, runs_xdp: bool) {
        let in_force = |uplink: &Named<Uplink>| uplink.value.has_xdp();
        let is_whole = self.mirror.uplinks.get(&index).is_none_or(in_force) == runs_xdp;
        // Not one whose far end was noted, and nothing else done.
        if is_whole && (runs_xdp || !self.mirror.uplink_peers.contains_key(&index)) {
            return;
        }
        match self.leave_xdp(index) {
            Ok(()) => {
                if let Some(uplink) = self.mirror.uplinks.get_mut(&index) {
                    uplink.value.flags = with_hook(uplink.value.flags, Hook::Tc);
                }
            }
            Err(error) => tracing::warn!(index, %error, "half a change of an uplink's hook stays"),
        }
    }

    fn flag_hook(&mut self, index: u32, hook: Hook) -> Result<(), StepError> {
        if let Some(uplink) = self.mirror.uplinks.get(&index) {
            let flags = with_hook(uplink.value.flags, hook);
            let value = Uplink {
                flags,
                ..uplink.value
            };
            self.tables.uplinks.set(index, value, 0)?;
        }
        Ok(())
    }

    fn detach_programs(&mut self, index: u32) -> Result<(), StepError> {
        self.programs.detach(KIND, index, Hook::Xdp)?;
        Ok(self.programs.detach(KIND, index, Hook::Tc)?)
    }

    /// Takes the programs off an uplink's interface and frees its index.
    pub(super) fn detach_uplink(&mut self, index: u32) -> Result<(), StepError> {
        self.detach_programs(index)?;
        self.tables.uplink_ports.set(index, 0)?;
        self.tables.uplinks.set(index, NO_UPLINK, 0)?;
        let peer = self.mirror.uplink_peers.get(&index).cloned();
        self.give_peer_back((KIND, index), peer.as_ref())?;
        self.mirror.uplink_peers.remove(&index);
        let key = NameKey {
            kind: NameKey::UPLINK,
            index,
        };
        absent_is_fine(self.tables.names.remove(&key))?;
        Ok(())
    }

    /// The interface of an uplink is gone, or its link is: what is left of it must
    /// not meet an interface that gets the same number. The next pass attaches the
    /// uplink again as soon as there is an interface.
    pub fn uplink_gone(&mut self, index: u32) {
        let Some(entry) = self.mirror.uplinks.get(&index) else {
            return;
        };
        let (ifindex, name) = (entry.value.ifindex, entry.name.clone());
        let gone = Uplink {
            ifindex: 0,
            flags: with_hook(entry.value.flags, Hook::Tc),
            ..entry.value
        };
        let link = Link {
            kind: Link::UPLINK,
            index,
        };
        let mut steps = vec![Step::SetUplink(index, gone), Step::ForgetNeighbours(index)];
        if self.mirror.links.get(&ifindex) == Some(&link) {
            steps.insert(0, Step::RemoveLink(ifindex));
        }
        self.mirror.attached_uplinks.remove(&index);
        self.perform_all(&steps, &mut Applied::default());
        if let Err(error) = self.detach_programs(index) {
            tracing::warn!(uplink = name, %error, "a left-over link stays for now");
        }
        tracing::warn!(
            uplink = name,
            "the interface is gone; the uplink waits for a new one"
        );
    }
}
