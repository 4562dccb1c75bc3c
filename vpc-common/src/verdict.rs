//! What becomes of a packet: the one thing an entry point turns into an action.

use crate::{
    addr::Addr,
    drop::DropReason,
    flow::Moment,
    layout::{FragmentKey, NextHopKey, Owner},
};

/// An interface this host sends on, by index into its table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Port {
    /// An environment's.
    Environment(u32),
    /// An uplink.
    Uplink(u32),
}

/// What a packet waits for that only the agent can bring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Awaited {
    /// The MAC of a neighbour; to be asked for from an ENI's address.
    NextHop(NextHopKey, Addr),
    /// The first fragment of its datagram.
    Fragment(FragmentKey),
}

/// What becomes of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// To the host's own stack, unchanged.
    Pass,
    /// Out by a port; rewritten.
    Send(Port),
    /// Turned into an answer that goes back by the port it came from. If the
    /// packet itself is dropped thereby, for this reason.
    Answer(Port, Option<DropReason>),
    /// To the agent, unchanged; it comes back when what it waits for is there.
    Punt(Awaited),
    /// Gone.
    Drop(DropReason),
}

/// A verdict, and whom it is counted for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// What becomes of the packet.
    pub verdict: Verdict,
    /// Whom a drop is counted for.
    pub owner: Owner,
}

/// What a step of a pipeline ends in when it ends the packet's way.
pub type Step<T> = Result<T, Verdict>;

impl From<DropReason> for Verdict {
    #[inline(always)]
    fn from(reason: DropReason) -> Self {
        Self::Drop(reason)
    }
}

/// The verdict of an answer that could, or could not, be built.
#[inline(always)]
pub fn answered(built: Option<()>, port: Port, dropped: Option<DropReason>) -> Verdict {
    match (built, dropped) {
        (Some(()), _) => Verdict::Answer(port, dropped),
        (None, Some(reason)) => Verdict::Drop(reason),
        (None, None) => Verdict::Drop(DropReason::AnswerFailed),
    }
}

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
