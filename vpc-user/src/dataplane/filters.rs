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
            remove(&mut self.filters, &self.links, &pin.name())?;
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
        if let Found::Program(id) = running {
            let mut known = pins.iter().map(|(pin, _)| self.program_id(*pin));
            if !known.any(|known| known == Some(id)) {
                return Err(ProgramsError::OtherAgent);
            }
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

    /// Makes every filter anew that somebody removed; says of which links, and how it
    /// went.
    pub(super) fn mend_filters(&mut self) -> Vec<(LinkKind, u32, Result<(), ProgramsError>)> {
        let links: Vec<(LinkKind, u32)> =
            self.pins.iter().map(|pin| (pin.kind, pin.index)).collect();
        let mended = links.into_iter().filter_map(|(kind, index)| {
            let outcome = self.mend_filter(kind, index)?;
            Some((kind, index, outcome))
        });
        mended.collect()
    }

    /// Makes the filter of a link anew if somebody removed it; `None` if nobody did.
    pub(super) fn mend_filter(
        &mut self,
        kind: LinkKind,
        index: u32,
    ) -> Option<Result<(), ProgramsError>> {
        let pins = self.pins_of(kind, index, Hook::Tc).into_iter();
        let mut pins = pins.filter_map(|pin| match pin.attachment {
            Attachment::Filter(filter) => Some((pin, filter)),
            Attachment::Xdp | Attachment::Tcx => None,
        });
        let (pin, filter) = pins.next()?;
        match self.filters.find(filter.ifindex) {
            Ok(Found::Program(_)) => None,
            Ok(Found::Nothing) => Some(self.adopt_filter(&[(pin, filter)])),
            Err(error) => Some(Err(error.into())),
        }
    }

    fn program_id(&self, pin: Pin) -> Option<u32> {
        let info = ProgramInfo::from_pin(self.links.join(pin.name())).ok()?;
        Some(info.id())
    }
}

/// Only the filter that runs the pinned program: the interface may be another one by
/// now, and the filter somebody else's.
pub fn remove_filter(
    filters: &mut Filters,
    path: &Path,
    filter: Filter,
) -> Result<(), ProgramsError> {
    let id = ProgramInfo::from_pin(path).ok().map(|info| info.id());
    if let Found::Program(found) = filters.find(filter.ifindex)?
        && Some(found) == id
    {
        filters.remove(filter.ifindex)?;
    }
    if filter.qdisc {
        filters.remove_empty_qdisc(filter.ifindex)?;
    }
    Ok(())
}
