//! TC programs as filters of the ingress qdisc. A filter has no owner: it stays when the
//! agent goes, and anybody may delete it. So the agent pins the program beside it, and by
//! the program's number knows which filter is its own.
//!
//! The qdisc is `ingress` and not `clsact`, which has a place for egress filters too: for
//! each place the kernel looks through a list of those of all interfaces, so that among
//! ten thousand the second one doubles what an attach costs. Where a clsact is, it serves.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use rtnetlink::{
    packet_core::{NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL},
    sys::protocols::NETLINK_ROUTE,
};

use super::question::{self, Questions, attribute, nested, word};

/// Before every filter that leaves its priority to the kernel.
const PRIORITY: u32 = 1;
/// "vp": tells it from other BPF filters of this priority.
const HANDLE: u32 = 0x7670;
/// Frames of every protocol, as the kernel's filters have it.
const ALL_PROTOCOLS: u16 = (libc::ETH_P_ALL as u16).to_be();

/// The qdisc, what it hangs on, and its two places for filters
/// (linux/pkt_sched.h).
const QDISC: u32 = 0xffff_0000;
const ON_INTERFACE: u32 = 0xffff_fff1;
const INGRESS: u32 = 0xffff_fff2;
const EGRESS: u32 = 0xffff_fff3;

const KIND: u16 = 1;
const OPTIONS: u16 = 2;
const PROGRAM: u16 = 6;
const PROGRAM_NAME: u16 = 7;
const PROGRAM_FLAGS: u16 = 8;
const PROGRAM_ID: u16 = 11;
/// The program's answer is the verdict.
const DIRECT_ACTION: u32 = 1;
/// Bytes of `struct tcmsg`.
const HEAD: usize = 20;

/// Whose filter it is, where the agent's is to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// There is none.
    Nothing,
    /// One with the program of this number.
    Program(u32),
}

/// Filters of the interfaces in the namespace of the thread that opened it.
pub struct Filters(Questions);

impl Filters {
    /// Opens a socket.
    pub fn open() -> io::Result<Self> {
        Questions::open(NETLINK_ROUTE).map(Self)
    }

    /// Whether there is the qdisc, whoever made it.
    pub fn has_qdisc(&mut self, ifindex: u32) -> io::Result<bool> {
        let question = head(ifindex, QDISC, 0, 0);
        let found = self.0.ask(libc::RTM_GETQDISC, 0, &question);
        // The kernel describes it to listeners alone, and acknowledges that it is there.
        absent_is(found.map(|_| true), false)
    }

    /// Adds the qdisc; `false` if there was one.
    pub fn add_qdisc(&mut self, ifindex: u32) -> io::Result<bool> {
        let head = head(ifindex, QDISC, ON_INTERFACE, 0);
        let message = [head, attribute(KIND, b"ingress\0")].concat();
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        match self.0.ask(libc::RTM_NEWQDISC, flags, &message) {
            Ok(_) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes the qdisc unless it has a filter.
    pub fn remove_empty_qdisc(&mut self, ifindex: u32) -> io::Result<()> {
        for place in [INGRESS, EGRESS] {
            let message = head(ifindex, 0, place, 0);
            let filters = self.0.ask(libc::RTM_GETTFILTER, NLM_F_DUMP, &message);
            if !absent_is(filters, Vec::new())?.is_empty() {
                return Ok(());
            }
        }
        let message = head(ifindex, QDISC, ON_INTERFACE, 0);
        let removed = self.0.ask(libc::RTM_DELQDISC, 0, &message);
        absent_is(removed, Vec::new()).map(drop)
    }

    /// What is where the agent's filter is to be.
    pub fn find(&mut self, ifindex: u32) -> io::Result<Found> {
        let message = [ours(ifindex), attribute(KIND, b"bpf\0")].concat();
        let answers = absent_is(self.0.ask(libc::RTM_GETTFILTER, 0, &message), Vec::new())?;
        let Some(answer) = answers.first() else {
            return Ok(Found::Nothing);
        };
        let attributes = answer.get(HEAD..).unwrap_or_default();
        let options = question::find(attributes, OPTIONS).unwrap_or_default();
        let id = question::find(options, PROGRAM_ID).and_then(|value| word(value, 0));
        Ok(Found::Program(id.unwrap_or_default()))
    }

    /// Makes the filter, or puts the program into the one that is there, in one step.
    pub fn put(&mut self, ifindex: u32, program: BorrowedFd<'_>, name: &str) -> io::Result<()> {
        let options = [
            attribute(PROGRAM, &program.as_raw_fd().to_ne_bytes()),
            attribute(PROGRAM_NAME, format!("{name}\0").as_bytes()),
            attribute(PROGRAM_FLAGS, &DIRECT_ACTION.to_ne_bytes()),
        ];
        let message = [
            ours(ifindex),
            attribute(KIND, b"bpf\0"),
            nested(OPTIONS, &options),
        ]
        .concat();
        self.0
            .ask(libc::RTM_NEWTFILTER, NLM_F_CREATE, &message)
            .map(drop)
    }

    /// Removes the filter. Fine if there is none.
    pub fn remove(&mut self, ifindex: u32) -> io::Result<()> {
        let message = [ours(ifindex), attribute(KIND, b"bpf\0")].concat();
        let removed = self.0.ask(libc::RTM_DELTFILTER, 0, &message);
        absent_is(removed, Vec::new()).map(drop)
    }
}

/// The head of a message about the agent's filter.
fn ours(ifindex: u32) -> Vec<u8> {
    head(
        ifindex,
        HANDLE,
        INGRESS,
        PRIORITY << 16 | u32::from(ALL_PROTOCOLS),
    )
}

fn head(ifindex: u32, handle: u32, parent: u32, info: u32) -> Vec<u8> {
    let words = [0, ifindex, handle, parent, info];
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// No such interface, qdisc or filter is no failure: the kernel has an error of its
/// own for each, and EINVAL for a filter whose qdisc is not there.
fn absent_is<T>(result: io::Result<T>, nothing: T) -> io::Result<T> {
    match result {
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::ENOENT | libc::ENODEV | libc::EINVAL)
            ) =>
        {
            Ok(nothing)
        }
        other => other,
    }
}
