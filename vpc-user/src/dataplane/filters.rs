//! TC programs on filters, and their pins: making, adopting and removing them.

use std::{fs, os::fd::AsFd as _, path::Path};

use aya::programs::ProgramInfo;

use super::{
    clsact::{Filters, Found},
    pins::{Attachment, Filter, LinkKind, Pin},
    programs::{Programs, ProgramsError, classifier, others_run_there, program_of, remove, unlink},
};
use crate::model::Hook;

impl Programs {
    /// The program is pinned before the filter is made, so that whoever comes after a
    /// crash knows the filter by it.
    pub(super) fn attach_filter(
        &mut self,
        kind: LinkKind,
        index: u32,
        ifindex: u32,
    ) -> Result<Attachment, ProgramsError> {
        if others_run_there(ifindex)? {
            return Err(ProgramsError::OtherAgent);
        }
        let attachment = Attachment::Filter(Filter {
            ifindex,
            qdisc: Filters::open()?.add_qdisc(ifindex)?,
            next: false,
        });
        let pin = Pin {
            kind,
            index,
            attachment,
        };
        let made = self
            .pin_program(pin)
            .and_then(|()| self.put_filter(kind, ifindex));
        if let Err(error) = made {
            remove(&self.links, &pin.name())?;
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
        let put = Filters::open()?.put(ifindex, fd.as_fd(), program_of(kind, Hook::Tc));
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
        let (ifindex, mut filters) = (filter.ifindex, Filters::open()?);
        let known = |id| {
            pins.iter()
                .any(|(pin, _)| self.program_id(*pin) == Some(id))
        };
        if let Found::Program(id) = filters.find(ifindex)?
            && !known(id)
        {
            return Err(ProgramsError::OtherAgent);
        }
        let qdisc = filters.add_qdisc(ifindex)? || pins.iter().any(|(_, filter)| filter.qdisc);
        let named = |next| Pin {
            attachment: Attachment::Filter(Filter {
                ifindex,
                qdisc,
                next,
            }),
            ..pin
        };
        let (last, next) = (named(false), named(true));
        // What an agent left that died in the middle of this.
        unlink(&self.links.join(next.name()))?;
        self.pin_program(next)?;
        self.put_filter(pin.kind, ifindex)?;
        for (old, _) in pins {
            self.pins.remove(old);
            if *old != last && *old != next {
                unlink(&self.links.join(old.name()))?;
            }
        }
        let (from, to) = (self.links.join(next.name()), self.links.join(last.name()));
        fs::rename(&from, &to).map_err(|source| ProgramsError::Pin {
            path: to,
            source: source.into(),
        })?;
        self.pins.insert(last);
        Ok(())
    }

    /// Makes every filter anew that somebody removed; says of which links, and how it
    /// went.
    pub(super) fn mend_filters(&mut self) -> Vec<(LinkKind, u32, Result<(), ProgramsError>)> {
        let filter_of = |pin: &Pin| match pin.attachment {
            Attachment::Filter(filter) => Some((*pin, filter)),
            Attachment::Xdp | Attachment::Tcx => None,
        };
        let pinned: Vec<(Pin, Filter)> = self.pins.iter().filter_map(filter_of).collect();
        let mut mended = Vec::new();
        for (pin, filter) in pinned {
            let found = Filters::open().and_then(|mut filters| filters.find(filter.ifindex));
            let outcome = match found {
                Ok(Found::Program(_)) => continue,
                Ok(Found::Nothing) => self.adopt_filter(&[(pin, filter)]),
                Err(error) => Err(error.into()),
            };
            mended.push((pin.kind, pin.index, outcome));
        }
        mended
    }

    fn program_id(&self, pin: Pin) -> Option<u32> {
        let info = ProgramInfo::from_pin(self.links.join(pin.name())).ok()?;
        Some(info.id())
    }
}

/// Only the filter that runs the pinned program: the interface may be another one by
/// now, and the filter somebody else's.
pub fn remove_filter(path: &Path, filter: Filter) -> Result<(), ProgramsError> {
    let mut filters = Filters::open()?;
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
