//! Protocols and ports, crowded around the edges.

use vpc_user::model::Traffic;

use super::Dice;

/// Ports where something begins or ends.
pub const PORTS: [u16; 12] = [
    0, 1, 22, 80, 443, 1_023, 1_024, 1_025, 32_768, 49_152, 65_534, 65_535,
];
/// ICMP types: echo, unreachable, time exceeded, and the ends.
pub const KINDS: [u8; 5] = [0, 3, 8, 11, 255];
/// Those of them that are errors about a packet.
pub const ERRORS: [u8; 2] = [3, 11];
/// ICMP codes.
pub const CODES: [u8; 4] = [0, 3, 4, 255];

/// A protocol with ports. `last` is where the range before it ended; adjacent ranges
/// begin there.
pub fn traffic(dice: &mut Dice, last: &mut u16) -> Traffic {
    match dice.roll(16) {
        0..=1 => Traffic::All,
        2..=7 => Traffic::Tcp(ports(dice, last)),
        8..=11 => Traffic::Udp(ports(dice, last)),
        12 => Traffic::Icmp(None, None),
        13 => Traffic::Icmp(Some(*dice.pick(&KINDS)), None),
        14 => Traffic::Icmp(Some(*dice.pick(&KINDS)), Some(*dice.pick(&CODES))),
        _ => Traffic::Other(*dice.pick(&[2, 47, 50, 255])),
    }
}

fn ports(dice: &mut Dice, last: &mut u16) -> std::ops::RangeInclusive<u16> {
    let range = match dice.roll(8) {
        0 => 0..=u16::MAX,
        1 => 1_024..=u16::MAX,
        2 => 0..=1_023,
        3 => port(dice, *last)..=u16::MAX,
        4..=5 => {
            let port = port(dice, *last);
            port..=port
        }
        _ => {
            let (one, other) = (port(dice, *last), port(dice, *last));
            one.min(other)..=one.max(other)
        }
    };
    *last = *range.end();
    range
}

fn port(dice: &mut Dice, last: u16) -> u16 {
    match dice.roll(8) {
        0 => last,
        1 => last.saturating_add(1),
        2 => dice.word() as u16,
        _ => *dice.pick(&PORTS),
    }
}
