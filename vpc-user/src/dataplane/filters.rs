//! TC programs on filters, and their pins: making, adopting and removing them.

use std::{fs, os::fd::AsFd as _, path::Path};

use aya::programs::ProgramInfo;

use super::{
    ingress::{Filters, Found},
    pins::{Attachment, Filter, LinkKind, Pin},
    programs::{Programs, ProgramsError, classifier, program_of, remove, tcx_runs_there, unlink},
};
use crate::model::Hook;

impl Programs {
    /// The program is pinned before the qdisc and the filter are made, so that whoever comes
    /// after a crash knows both by it.
    pub(super) fn attach_filter(
        &mut self,
        kind: LinkKind,
        index: u32,
        ifindex: u32,
    ) -> Result<Attachment, ProgramsError> {
        let qdisc = !self.filters.has_qdisc(ifindex)?;
        // One that is not there has no filters.
        let is_taken = !qdisc && self.filters.find(ifindex)? != Found::Nothing;
        if is_taken || tcx_runs_there(ifindex) {
            return Err(ProgramsError::OtherAgent);
        }
        let attachment = Attachment::Filter(Filter {
            ifindex,
            qdisc,
            next: false,
        });
        let pin = Pin {
            kind,
            index,
            attachment,
        };
        let made = self.pin_program(pin).and_then(|()| {
            self.filters.add_qdisc(ifindex)?;
            self.put_filter(kind, ifindex)
        });
        if let Err(error) = made {
            let own = self.own.get(&kind).copied();
            remove(&mut self.filters, &self.links, &pin.name(), own)?;
            return Err(error);
        }
        Ok(attachment)
    }

    fn pin_program(&mut self, pin: Pin) -> Result<(), ProgramsError> {
        let path = self.links.join(pin.name());
        let program = classifier(&mut self.ebpf, pin.kind)?;
        program.pin(&path).map_err(|error| ProgramsError::Pin {
            path,
            source: Box::new(error),
        })
    }

    fn put_filter(&mut self, kind: LinkKind, ifindex: u32) -> Result<(), ProgramsError> {
        let program = classifier(&mut self.ebpf, kind)?;
        let fd = program.fd().map_err(Box::new)?;
        let name = program_of(kind, Hook::Tc);
        let put = self.filters.put(ifindex, fd.as_fd(), name);
        put.map_err(|error| match error.raw_os_error() {
            Some(libc::EINVAL) => ProgramsError::ForeignFilter,
            _ => error.into(),
        })
    }

    /// The new program is pinned beside the old one, takes its place in the filter,
    /// and then among the pins. A filter that somebody removed is made anew.
    pub(super) fn adopt_filter(&mut self, pins: &[(Pin, Filter)]) -> Result<(), ProgramsError> {
        let Some((pin, filter)) = pins.first().copied() else {
            return Ok(());
        };
        let ifindex = filter.ifindex;
        let running = self.filters.find(ifindex)?;
        if let Found::Program(id) = running
            && !pins.iter().any(|(pin, _)| self.is_ours(*pin, id))
        {
            return Err(ProgramsError::OtherAgent);
        }
        let qdisc = self.filters.add_qdisc(ifindex)? || pins.iter().any(|(_, filter)| filter.qdisc);
        let named = |next| Pin {
            attachment: Attachment::Filter(Filter {
                ifindex,
                qdisc,
                next,
            }),
            ..pin
        };
        let (last, next) = (named(false), named(true));
        self.settle_next(pins, running, last)?;
        unlink(&self.links.join(next.name()))?;
        self.pin_program(next)?;
        self.put_filter(pin.kind, ifindex)?;
        for (old, _) in pins {
            self.pins.remove(old);
            if *old != last && *old != next {
                unlink(&self.links.join(old.name()))?;
            }
        }
        self.rename(next, last)?;
        self.pins.insert(last);
        Ok(())
    }

    /// What an agent left that died in the middle of an adoption. Its program may be in force:
    /// then it stays pinned, or nobody would know the filter if this agent died as well.
    fn settle_next(
        &self,
        pins: &[(Pin, Filter)],
        running: Found,
        last: Pin,
    ) -> Result<(), ProgramsError> {
        for (next, _) in pins.iter().filter(|(_, filter)| filter.next) {
            if let Found::Program(id) = running
                && self.program_id(*next) == Some(id)
            {
                self.rename(*next, last)?;
            }
        }
        Ok(())
    }

    fn rename(&self, from: Pin, to: Pin) -> Result<(), ProgramsError> {
        let (from, path) = (self.links.join(from.name()), self.links.join(to.name()));
        fs::rename(from, &path).map_err(|source| ProgramsError::Pin {
            path,
            source: source.into(),
        })
    }

    /// Makes anew what somebody removed of a link: its filter, or the file of a pin, with
    /// which a link of XDP or TCX goes. `None` if nobody did.
    pub(super) fn mend(
        &mut self,
        kind: LinkKind,
        index: u32,
        ifindex: u32,
    ) -> Option<Result<(), ProgramsError>> {
        let pins = [Hook::Tc, Hook::Xdp].map(|hook| self.pins_of(kind, index, hook));
        let mended = pins.concat().into_iter().filter_map(|pin| {
            let is_pinned = self.links.join(pin.name()).exists();
            match pin.attachment {
                Attachment::Filter(filter) => match self.filters.find(filter.ifindex) {
                    Ok(Found::Program(_)) if is_pinned => None,
                    Ok(_) => Some(self.adopt_filter(&[(pin, filter)])),
                    Err(error) => Some(Err(error.into())),
                },
                Attachment::Xdp | Attachment::Tcx if is_pinned => None,
                Attachment::Xdp | Attachment::Tcx => {
                    self.pins.remove(&pin);
                    let attached = self.attach(kind, index, pin.hook(), ifindex);
                    if attached.is_err() {
                        // The next pass tries again.
                        self.pins.insert(pin);
                    }
                    Some(attached)
                }
            }
        });
        mended.reduce(|one, other| one.and(other))
    }

    fn program_id(&self, pin: Pin) -> Option<u32> {
        let info = ProgramInfo::from_pin(self.links.join(pin.name())).ok()?;
        Some(info.id())
    }

    /// Whether a program is that of a pin, whose file somebody may have removed.
    pub(super) fn is_ours(&self, pin: Pin, program: u32) -> bool {
        self.own.get(&pin.kind) == Some(&program) || self.program_id(pin) == Some(program)
    }
}

/// Only the filter that runs the pinned program: the interface may be another one by
/// now, and the filter somebody else's.
pub fn remove_filter(
    filters: &mut Filters,
    path: &Path,
    filter: Filter,
    own: Option<u32>,
) -> Result<(), ProgramsError> {
    let id = ProgramInfo::from_pin(path).ok().map(|info| info.id());
    if let Found::Program(found) = filters.find(filter.ifindex)?
        && (Some(found) == id || Some(found) == own)
    {
        filters.remove(filter.ifindex)?;
    }
    if filter.qdisc {
        filters.remove_empty_qdisc(filter.ifindex)?;
    }
    Ok(())
}
