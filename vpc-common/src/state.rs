//! The life of a flow: the slot's state word, the TCP and UDP state machines and
//! the idle timeouts (RFC 4787 REQ-5, RFC 5382 REQ-5, RFC 6146 §3.5, RFC 7857 §2).

use crate::time::ticks_from_secs;

/// IP protocol number of ICMP.
pub const ICMP: u8 = 1;
/// IP protocol number of TCP.
pub const TCP: u8 = 6;
/// IP protocol number of UDP.
pub const UDP: u8 = 17;

/// Where a slot is in its life. The order matters: everything from
/// [`Phase::UdpNew`] on is open.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
pub enum Phase {
    /// Not in use.
    Free = 0,
    /// A CPU is filling it.
    Claiming = 1,
    /// A sweep or an allocation is taking it down.
    Expiring = 2,
    /// UDP, not answered yet.
    UdpNew = 3,
    /// UDP, answered.
    UdpStream = 4,
    /// SYN sent by the environment, not answered.
    TcpSynSent = 5,
    /// SYN in both directions.
    TcpEstablished = 6,
    /// The environment sent FIN.
    TcpFinOut = 7,
    /// The remote sent FIN.
    TcpFinIn = 8,
    /// FIN in both directions, the last one not acknowledged yet.
    TcpFinBoth = 9,
    /// Closed on both sides; lingers for stray segments.
    TcpClosed = 10,
    /// A credible RST was seen.
    TcpReset = 11,
}

impl Phase {
    /// How many there are.
    pub const COUNT: usize = 12;
    /// Every phase, in the order of the numbers.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Free,
        Self::Claiming,
        Self::Expiring,
        Self::UdpNew,
        Self::UdpStream,
        Self::TcpSynSent,
        Self::TcpEstablished,
        Self::TcpFinOut,
        Self::TcpFinIn,
        Self::TcpFinBoth,
        Self::TcpClosed,
        Self::TcpReset,
    ];

    /// The name in listings and JSON.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Claiming => "claiming",
            Self::Expiring => "expiring",
            Self::UdpNew => "udp_new",
            Self::UdpStream => "udp_stream",
            Self::TcpSynSent => "syn_sent",
            Self::TcpEstablished => "established",
            Self::TcpFinOut => "fin_out",
            Self::TcpFinIn => "fin_in",
            Self::TcpFinBoth => "fin_both",
            Self::TcpClosed => "closed",
            Self::TcpReset => "reset",
        }
    }
}

/// A slot's state word: phase, protocol, and the epoch that tells one use of the
/// slot from the next.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct State(pub u64);

impl State {
    /// A state word.
    pub const fn new(phase: Phase, protocol: u8, epoch: u32) -> Self {
        Self(phase as u64 | (protocol as u64) << 8 | (epoch as u64) << 32)
    }

    /// The phase's number.
    pub const fn phase_number(self) -> u8 {
        self.0 as u8
    }

    /// The phase; a number that no phase has reads as [`Phase::Free`].
    pub const fn phase(self) -> Phase {
        match self.0 as u8 {
            1 => Phase::Claiming,
            2 => Phase::Expiring,
            3 => Phase::UdpNew,
            4 => Phase::UdpStream,
            5 => Phase::TcpSynSent,
            6 => Phase::TcpEstablished,
            7 => Phase::TcpFinOut,
            8 => Phase::TcpFinIn,
            9 => Phase::TcpFinBoth,
            10 => Phase::TcpClosed,
            11 => Phase::TcpReset,
            _ => Phase::Free,
        }
    }

    /// IP protocol number.
    pub const fn protocol(self) -> u8 {
        (self.0 >> 8) as u8
    }

    /// Counts the uses of the slot.
    pub const fn epoch(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Whether packets may pass.
    pub const fn is_open(self) -> bool {
        self.phase_number() >= Phase::UdpNew as u8
    }

    /// The same use of the slot in another phase.
    pub const fn with_phase(self, phase: Phase) -> Self {
        Self((self.0 & !0xff) | phase as u64)
    }
}

/// TCP header flags (RFC 9293 §3.1).
pub mod tcp_flags {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// The acknowledgment field is significant.
    pub const ACK: u8 = 0x10;
}

/// The way a packet goes through the NAT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// From the environment into the VPC.
    Forward,
    /// From the VPC to the environment.
    Reply,
}

/// The phase after a UDP packet: a flow that is answered becomes a stream.
#[inline(always)]
pub const fn after_udp(phase: Phase, direction: Direction) -> Phase {
    match direction {
        Direction::Reply => Phase::UdpStream,
        Direction::Forward => phase,
    }
}

/// The phase after a TCP segment. `credible` says that a segment which would
/// shorten the flow's life lies where the last acknowledgment expects it, so that
/// a blind RST or FIN changes nothing (RFC 7857 §2.2, RFC 5961 §3).
#[inline(always)]
pub const fn after_tcp(phase: Phase, direction: Direction, flags: u8, credible: bool) -> Phase {
    use tcp_flags::{ACK, FIN, RST, SYN};
    if flags & RST != 0 {
        return if credible { Phase::TcpReset } else { phase };
    }
    if flags & SYN != 0 {
        return match (phase, direction) {
            // The SYN/ACK of this SYN and not of one before it, or the other half of
            // a simultaneous open (RFC 5382 REQ-2).
            (Phase::TcpSynSent, Direction::Reply) if credible || flags & ACK == 0 => {
                Phase::TcpEstablished
            }
            _ => phase,
        };
    }
    if flags & FIN != 0 {
        return if credible {
            after_fin(phase, direction)
        } else {
            phase
        };
    }
    match (phase, direction) {
        // The environment speaks on: it did not believe the RST.
        (Phase::TcpReset, Direction::Forward) => Phase::TcpEstablished,
        (Phase::TcpFinBoth, _) if flags & ACK != 0 => Phase::TcpClosed,
        _ => phase,
    }
}

const fn after_fin(phase: Phase, direction: Direction) -> Phase {
    match (phase, direction) {
        (Phase::TcpEstablished | Phase::TcpSynSent, Direction::Forward) => Phase::TcpFinOut,
        (Phase::TcpEstablished | Phase::TcpSynSent, Direction::Reply) => Phase::TcpFinIn,
        (Phase::TcpFinOut, Direction::Reply) | (Phase::TcpFinIn, Direction::Forward) => {
            Phase::TcpFinBoth
        }
        _ => phase,
    }
}

/// Whether an outbound SYN on a flow in this phase opens a new connection and
/// the old one is over.
#[inline(always)]
pub const fn reopens(phase: Phase) -> bool {
    matches!(
        phase,
        Phase::TcpFinBoth | Phase::TcpClosed | Phase::TcpReset
    )
}

/// Half the width of the window of sequence numbers in which a RST or FIN is
/// believed. Wide enough for the data in flight of most connections; a segment
/// beyond it passes but changes nothing, so the cost of "too narrow" is a port
/// held until the idle timeout, and of "too wide" a better guess for an attacker.
pub const CREDIBLE_WINDOW: u32 = 1 << 18;

/// Whether `sequence` lies within [`CREDIBLE_WINDOW`] of `expected`, modulo 2^32.
#[inline(always)]
pub const fn is_credible(sequence: u32, expected: u32) -> bool {
    sequence
        .wrapping_sub(expected)
        .wrapping_add(CREDIBLE_WINDOW)
        <= 2 * CREDIBLE_WINDOW
}

/// Idle timeouts in [`Tick`](crate::time::Tick)s, indexed by [`Phase`]; the rest
/// is 0, so that four bits of a state word always index it.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts(pub [u32; 16]);

impl Timeouts {
    /// What AWS documents or its neighbours on the same platform do: TCP 350 s
    /// idle (a documented deviation from RFC 5382 REQ-5), UDP 120 s for a mapping
    /// and 180 s for a stream.
    pub const AWS: Self = Self::from_secs([0, 1, 1, 120, 180, 60, 350, 240, 240, 240, 10, 10]);

    /// What the RFCs ask of a NAT: TCP 2 h 4 min, transitory 4 min, UDP 5 min.
    pub const RFC: Self = Self::from_secs([0, 1, 1, 300, 300, 240, 7_440, 240, 240, 240, 240, 240]);

    /// From seconds, in the order of [`Phase::ALL`].
    pub const fn from_secs(seconds: [u32; Phase::COUNT]) -> Self {
        let mut ticks = [0; 16];
        let mut i = 0;
        while i < Phase::COUNT {
            ticks[i] = ticks_from_secs(seconds[i]);
            i += 1;
        }
        Self(ticks)
    }

    /// The timeout of a state's phase, in ticks. By mask rather than by
    /// [`Phase`]: the verifier must see the bound.
    #[inline(always)]
    pub const fn of(&self, state: State) -> u32 {
        self.0[(state.0 & 15) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Direction::{Forward, Reply},
        Phase::*,
        tcp_flags::{ACK, FIN, RST, SYN},
        *,
    };

    fn walk(steps: &[(Direction, u8)]) -> Phase {
        steps.iter().fold(TcpSynSent, |phase, (direction, flags)| {
            after_tcp(phase, *direction, *flags, true)
        })
    }

    #[test]
    fn a_connection_opens_and_closes_from_either_side() {
        assert_eq!(walk(&[(Forward, SYN)]), TcpSynSent);
        let open = [(Reply, SYN | ACK), (Forward, ACK)];
        assert_eq!(walk(&open), TcpEstablished);
        for (first, second, half) in [(Forward, Reply, TcpFinOut), (Reply, Forward, TcpFinIn)] {
            let mut steps = open.to_vec();
            steps.push((first, FIN | ACK));
            assert_eq!(walk(&steps), half);
            steps.push((second, ACK));
            assert_eq!(walk(&steps), half);
            steps.push((second, FIN | ACK));
            assert_eq!(walk(&steps), TcpFinBoth);
            steps.push((first, ACK));
            assert_eq!(walk(&steps), TcpClosed);
        }
    }

    #[test]
    fn simultaneous_open_is_established() {
        assert_eq!(
            walk(&[(Forward, SYN), (Reply, SYN), (Forward, SYN | ACK)]),
            TcpEstablished
        );
    }

    #[test]
    fn a_blind_rst_or_fin_changes_nothing() {
        for phase in [TcpSynSent, TcpEstablished, TcpFinOut, TcpFinIn, TcpFinBoth] {
            for flags in [RST, RST | ACK, FIN | ACK] {
                assert_eq!(after_tcp(phase, Reply, flags, false), phase);
            }
        }
        assert_eq!(after_tcp(TcpEstablished, Reply, RST, true), TcpReset);
    }

    #[test]
    fn an_environment_that_speaks_on_after_a_rst_keeps_its_flow() {
        assert_eq!(after_tcp(TcpReset, Forward, ACK, true), TcpEstablished);
        assert_eq!(after_tcp(TcpReset, Reply, ACK, true), TcpReset);
    }

    #[test]
    fn credible_is_a_window_around_the_expected_number() {
        assert!(is_credible(5, 5));
        assert!(is_credible(u32::MAX, 5));
        assert!(is_credible(5 + CREDIBLE_WINDOW, 5));
        assert!(!is_credible(6 + CREDIBLE_WINDOW, 5));
        assert!(!is_credible(4u32.wrapping_sub(CREDIBLE_WINDOW), 5));
    }

    #[test]
    fn profiles_keep_the_lower_bounds_of_the_rfcs() {
        let ticks = |timeouts: Timeouts, phase| timeouts.of(State::new(phase, TCP, 0));
        // RFC 4787 REQ-5: two minutes, or better five.
        for (timeouts, bound) in [(Timeouts::AWS, 120), (Timeouts::RFC, 300)] {
            for phase in [UdpNew, UdpStream] {
                assert!(
                    ticks(timeouts, phase) >= ticks_from_secs(bound),
                    "{phase:?}"
                );
            }
        }
        // RFC 5382 REQ-5: two hours and four minutes, and four minutes.
        assert!(ticks(Timeouts::RFC, TcpEstablished) >= ticks_from_secs(7_440));
        for phase in [
            TcpSynSent, TcpFinOut, TcpFinIn, TcpFinBoth, TcpClosed, TcpReset,
        ] {
            assert!(
                ticks(Timeouts::RFC, phase) >= ticks_from_secs(240),
                "{phase:?}"
            );
        }
    }

    #[test]
    fn state_words_keep_their_parts() {
        for phase in Phase::ALL {
            let state = State::new(phase, TCP, 0xdead_beef);
            assert_eq!(
                (state.phase(), state.protocol(), state.epoch()),
                (phase, TCP, 0xdead_beef)
            );
            assert_eq!(state.is_open(), phase >= UdpNew);
            assert_eq!(
                state.with_phase(TcpClosed),
                State::new(TcpClosed, TCP, 0xdead_beef)
            );
        }
    }
}
