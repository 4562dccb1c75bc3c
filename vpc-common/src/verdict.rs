//! What becomes of a packet: the one thing an entry point turns into an action.
//!
//! Verdicts are packed into one word rather than an enum with payloads: where LLVM
//! merges the paths of an enum, it leaves the payload of the other variants
//! undefined and shifts whatever register is at hand, and the verifier refuses
//! that when it is a pointer ("pointer arithmetic with >>= operator prohibited").

use crate::{
    addr::Addr,
    drop::DropReason,
    flow::Moment,
    layout::{FragmentKey, NextHopKey, Owner},
};

/// An interface this host sends on, by index into its table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Port(u32);

impl Port {
    const UPLINK: u32 = 1 << 31;

    /// An environment's.
    #[inline(always)]
    pub const fn environment(index: u32) -> Self {
        Self(index & !Self::UPLINK)
    }

    /// An uplink.
    #[inline(always)]
    pub const fn uplink(index: u32) -> Self {
        Self(index | Self::UPLINK)
    }

    /// Whether it is an uplink.
    #[inline(always)]
    pub const fn is_uplink(self) -> bool {
        self.0 & Self::UPLINK != 0
    }

    /// Index into the table of its kind.
    #[inline(always)]
    pub const fn index(self) -> u32 {
        self.0 & !Self::UPLINK
    }
}

impl core::fmt::Debug for Port {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let kind = if self.is_uplink() {
            "uplink"
        } else {
            "environment"
        };
        write!(f, "{kind} {}", self.index())
    }
}

/// What a packet waits for that only the agent can bring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Awaited {
    /// The MAC of a neighbour; to be asked for from an ENI's address.
    NextHop(NextHopKey, Addr),
    /// The first fragment of its datagram.
    Fragment(FragmentKey),
}

/// What becomes of a packet, in one word: a [`Kind`], a reason, and a port or an
/// owner.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Verdict(u64);

/// The kinds of a verdict.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// To the host's own stack, unchanged.
    Pass = 0,
    /// Out by the port; rewritten.
    Send = 1,
    /// Turned into an answer that goes out by the interface it came in. If the
    /// packet itself is dropped thereby, there is a reason.
    Answer = 2,
    /// With the agent, unchanged; it comes back when what it waits for is there.
    HandedOver = 3,
    /// Gone, for the reason.
    Drop = 4,
    /// Within the data path only: the packet's flow is to be opened or judged, or was.
    Open = 5,
    /// Within the data path only: see [`crate::forward::Aside`] and
    /// [`crate::reply::Aside`].
    Aside = 6,
}

impl Verdict {
    /// To the host's own stack.
    pub const PASS: Self = Self(Kind::Pass as u64);
    /// With the agent.
    pub const HANDED_OVER: Self = Self(Kind::HandedOver as u64);
    /// See [`Kind::Open`].
    pub(crate) const OPEN: Self = Self(Kind::Open as u64);

    /// Out by a port.
    #[inline(always)]
    pub const fn send(port: Port) -> Self {
        Self(Kind::Send as u64 | (port.0 as u64) << 32)
    }

    /// Dropped, for the reason with a number.
    #[inline(always)]
    pub(crate) const fn drop_number(reason: u32) -> Self {
        Self(Kind::Drop as u64 | (reason as u64 & 0xff) << 8)
    }

    /// Refused by rules or routes, on an ENI for an environment: of the two, the one
    /// that is not the [`Verdict::owner`].
    #[inline(always)]
    pub(crate) const fn refused(reason: u32, other: u32) -> Self {
        Self(Self::drop_number(reason).0 | ((other as u64 + 1) & 0xffff) << 16)
    }

    /// Whom a refusal concerns besides its owner: an environment's packet an ENI, a
    /// reply an environment.
    #[inline(always)]
    pub const fn other(self) -> Option<u32> {
        match (self.0 >> 16) as u32 & 0xffff {
            0 => None,
            other => Some(other - 1),
        }
    }

    /// A step beside the straight way; 56 bits of it.
    #[inline(always)]
    pub(crate) const fn aside(step: u64) -> Self {
        Self(Kind::Aside as u64 | step << 8)
    }

    /// The step of an [`Kind::Aside`].
    #[inline(always)]
    pub(crate) const fn step(self) -> u64 {
        self.0 >> 8
    }

    /// The verdict of an answer that could, or could not, be built; with the reason
    /// if the packet that caused it is dropped.
    #[inline(always)]
    pub(crate) fn answered(built: Option<()>, dropped: Option<DropReason>) -> Self {
        let reason = match dropped {
            Some(reason) => reason as u64,
            None => 0,
        };
        match (built, reason) {
            (Some(()), reason) => Self(Kind::Answer as u64 | reason << 8),
            (None, 0) => DropReason::AnswerFailed.into(),
            (None, reason) => Self::drop_number(reason as u32),
        }
    }

    /// The same, if it drops the packet, for somebody.
    #[inline(always)]
    pub(crate) const fn of(self, owner: Owner) -> Self {
        match self.kind() {
            Kind::Drop | Kind::Answer => Self(self.0 & 0xffff_ffff | (owner.0 as u64) << 32),
            _ => self,
        }
    }

    /// As a word, and back: how a function of the kernel returns it.
    #[inline(always)]
    pub const fn to_word(self) -> u64 {
        self.0
    }

    /// See [`Verdict::to_word`].
    #[inline(always)]
    pub const fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// Its kind.
    #[inline(always)]
    pub const fn kind(self) -> Kind {
        match self.0 as u8 {
            0 => Kind::Pass,
            1 => Kind::Send,
            2 => Kind::Answer,
            3 => Kind::HandedOver,
            5 => Kind::Open,
            6 => Kind::Aside,
            _ => Kind::Drop,
        }
    }

    /// The number of its [`DropReason`]; 0 = none.
    #[inline(always)]
    pub const fn reason_number(self) -> u32 {
        (self.0 >> 8) as u32 & 0xff
    }

    /// Its reason.
    pub const fn reason(self) -> Option<DropReason> {
        DropReason::from_number(self.reason_number())
    }

    /// Its port; only of [`Kind::Send`].
    #[inline(always)]
    pub const fn port(self) -> Port {
        Port((self.0 >> 32) as u32)
    }

    /// Whom the drop is counted for; only of [`Kind::Drop`] and [`Kind::Answer`].
    #[inline(always)]
    pub const fn owner(self) -> Owner {
        Owner((self.0 >> 32) as u32)
    }
}

impl core::fmt::Debug for Verdict {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match (self.kind(), self.reason()) {
            (Kind::Send, _) => write!(f, "Send by {:?}", self.port()),
            (kind, Some(reason)) => write!(f, "{kind:?}, {reason:?} of {:?}", self.owner().parts()),
            (kind, None) => write!(f, "{kind:?}"),
        }
    }
}

impl From<DropReason> for Verdict {
    #[inline(always)]
    fn from(reason: DropReason) -> Self {
        Self::drop_number(reason as u32)
    }
}

/// What a step of a pipeline ends in when it ends the packet's way.
pub type Step<T> = Result<T, Verdict>;

/// Where and when a packet came in.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// Interface.
    pub ifindex: u32,
    /// Index of the interface in its table.
    pub index: u32,
    /// When.
    pub moment: Moment,
}
