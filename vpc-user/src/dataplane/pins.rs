//! Names of what is pinned in the folder of links: one file for each program on an
//! interface. A file of an XDP or TCX link is the link itself. A filter has none, so
//! its file is its program, and the name says where the filter is.

use std::{fs, path::Path};

use crate::model::Hook;

/// What a link of the data path is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum LinkKind {
    /// An environment's interface.
    Environment,
    /// An uplink's interface.
    Uplink,
}

impl LinkKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Environment, Self::Uplink];

    const fn word(self) -> &'static str {
        match self {
            Self::Environment => "environment",
            Self::Uplink => "uplink",
        }
    }
}

/// How a program is on its interface.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Attachment {
    /// By an XDP link.
    Xdp,
    /// By a TCX link.
    Tcx,
    /// By a filter of the ingress qdisc.
    Filter(Filter),
}

/// Where a filter is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Filter {
    /// Its interface.
    pub ifindex: u32,
    /// The qdisc was added for it.
    pub qdisc: bool,
    /// Its program is about to take the place of another.
    pub next: bool,
}

/// A file in the folder of links.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Pin {
    /// What the link is.
    pub kind: LinkKind,
    /// Index into the table of that kind.
    pub index: u32,
    /// How the program is there.
    pub attachment: Attachment,
}

impl Pin {
    /// Whose program it is.
    pub const fn hook(&self) -> Hook {
        match self.attachment {
            Attachment::Xdp => Hook::Xdp,
            Attachment::Tcx | Attachment::Filter(_) => Hook::Tc,
        }
    }

    /// Name of the file.
    pub fn name(&self) -> String {
        let link = format!("{}-{}", self.kind.word(), self.index);
        match self.attachment {
            Attachment::Xdp => format!("{link}-xdp"),
            Attachment::Tcx => format!("{link}-tcx"),
            Attachment::Filter(filter) => {
                let qdisc = if filter.qdisc { "-qdisc" } else { "" };
                let next = if filter.next { "-next" } else { "" };
                format!("{link}-filter-{}{qdisc}{next}", filter.ifindex)
            }
        }
    }

    /// The inverse of [`Pin::name`].
    pub fn parse(name: &str) -> Option<Self> {
        let mut words = name.split('-');
        let kind = words.next()?;
        let kind = LinkKind::ALL.into_iter().find(|of| of.word() == kind)?;
        let index = words.next()?.parse().ok()?;
        let attachment = match words.next()? {
            "xdp" => Attachment::Xdp,
            "tcx" => Attachment::Tcx,
            "filter" => {
                let ifindex = words.next()?.parse().ok()?;
                let rest: Vec<&str> = words.by_ref().collect();
                let (qdisc, next) = match rest[..] {
                    [] => (false, false),
                    ["qdisc"] => (true, false),
                    ["next"] => (false, true),
                    ["qdisc", "next"] => (true, true),
                    _ => return None,
                };
                Attachment::Filter(Filter {
                    ifindex,
                    qdisc,
                    next,
                })
            }
            _ => return None,
        };
        words.next().is_none().then_some(Self {
            kind,
            index,
            attachment,
        })
    }
}

/// Names of the files in a folder.
pub fn names(folder: &Path) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_they_are() {
        let filter = |qdisc, next| {
            Attachment::Filter(Filter {
                ifindex: 12,
                qdisc,
                next,
            })
        };
        let attachments = [
            (Attachment::Xdp, "xdp"),
            (Attachment::Tcx, "tcx"),
            (filter(false, false), "filter-12"),
            (filter(true, false), "filter-12-qdisc"),
            (filter(false, true), "filter-12-next"),
            (filter(true, true), "filter-12-qdisc-next"),
        ];
        for (attachment, end) in attachments {
            for (kind, index) in [(LinkKind::Environment, 0), (LinkKind::Uplink, 65_535)] {
                let pin = Pin {
                    kind,
                    index,
                    attachment,
                };
                assert_eq!(pin.name(), format!("{}-{index}-{end}", kind.word()));
                assert_eq!(Pin::parse(&pin.name()), Some(pin));
            }
        }
    }

    #[test]
    fn other_names_are_nobodys() {
        // The second is what layout 1 called its links.
        for name in [
            "",
            "uplink-3",
            "uplink--tcx",
            "other-1-xdp",
            "uplink-3-xdp-1",
        ] {
            assert_eq!(Pin::parse(name), None, "{name}");
        }
        assert_eq!(Pin::parse("uplink-3-filter-4-next-qdisc"), None);
    }
}
