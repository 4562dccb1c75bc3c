//! A story of the data path, told by bytes: frames of both directions, some of them
//! damaged, and between them time that passes, sweeps, and changes of what the agent
//! decides.

use vpc_common::{
    expiry::SweepOptions,
    layout::{Environment, FlowRecord, Uplink},
    packet_table::{
        Action, CASES, Case, Conn, Counter, Host, In, Machine, Ran, Run, XDP_CASES,
        build::{Built, Sum, arp, payload},
        fits_a_tc_run,
        world::*,
    },
    policy::Verdict,
    state::{TCP, UDP},
};

use super::{bytes::Bytes, sums};

/// Steps of a story at most: more tell nothing new, and cost a fuzzer its speed.
const STEPS_MAX: usize = 40;
/// Bytes of a frame at most: both hooks take as many in a test run.
const FRAME_MAX: usize = 2_000;
/// Seconds that pass at once. No sum of a few of them comes near a timeout: of the two
/// clocks, the kernel's goes on by itself.
const AGES: [u32; 3] = [3, 53, 1_000];
/// How often time passes at most.
const AGES_MAX: usize = 6;
/// Ports of each pool where chance is to play no part.
const PORT: u16 = 50_000;

/// One frame, and what became of it.
pub struct Sent<'s> {
    /// Where it came in.
    pub link: In,
    /// The frame.
    pub frame: &'s [u8],
    /// What was done with it.
    pub ran: &'s Ran,
    /// Counters that moved, and by how much.
    pub moved: &'s std::collections::BTreeMap<Counter, i64>,
    /// Records that were handed over meanwhile, and in sweeps before it.
    pub records: Vec<FlowRecord>,
}

/// How a story begins.
pub struct Opening {
    /// The hook is TC.
    pub tc: bool,
    /// Each pool has one port, so that chance in the allocator plays no part.
    pub restricted: bool,
}

impl Opening {
    /// Read from the first byte.
    pub fn of(bytes: &mut Bytes<'_>) -> Self {
        let byte = bytes.u8();
        Self {
            tc: byte & 1 != 0,
            restricted: byte & 2 != 0,
        }
    }

    fn byte(&self) -> u8 {
        u8::from(self.tc) | u8::from(self.restricted) << 1
    }
}

/// Plays the story on a machine and lets somebody look at every frame.
pub fn play(
    machine: &mut dyn Machine,
    opening: &Opening,
    mut bytes: Bytes<'_>,
    mut look: impl FnMut(&mut Run<'_>, &Sent<'_>),
) -> Vec<vpc_common::packet_table::Outcome> {
    let mut run = Run::new(machine, "fuzz");
    if opening.restricted {
        for (eni, protocol) in (0..3).flat_map(|eni| [(eni, TCP), (eni, UDP)]) {
            run.restrict(eni, protocol, &[PORT]);
        }
    }
    let mut ages = AGES_MAX;
    for _ in 0..STEPS_MAX {
        if bytes.is_empty() {
            break;
        }
        let (link, frame) = match bytes.u8() % 16 {
            0 => raw(&mut bytes),
            1 => {
                let age = bytes.pick(&AGES);
                if ages > 0 {
                    ages -= 1;
                    run.age(age);
                }
                continue;
            }
            2 => {
                let options = u64::from(bytes.u8()) & (SweepOptions::EXPORT | SweepOptions::PURGE);
                run.machine().sweep(SweepOptions(options));
                continue;
            }
            3 => {
                change(&mut run, &mut bytes);
                continue;
            }
            _ => built(&run, &mut bytes),
        };
        // Both hooks get the same frames.
        if !fits_a_tc_run(&frame) {
            continue;
        }
        let (ran, moved) = run.send(link, &frame);
        let records = run.take_records();
        let sent = Sent {
            link,
            frame: &frame,
            ran: &ran,
            moved: &moved,
            records,
        };
        look(&mut run, &sent);
    }
    run.into_log()
}

/// A frame as it is.
fn raw(bytes: &mut Bytes<'_>) -> (In, Vec<u8>) {
    let link = bytes.pick(&In::ALL);
    let len = usize::from(bytes.u16()).min(FRAME_MAX);
    (link, bytes.take(len).to_vec())
}

/// What the agent decides becomes something else.
fn change(run: &mut Run<'_>, bytes: &mut Bytes<'_>) {
    let (what, which) = (bytes.u8() % 12, bytes.below(3));
    let rules = |run: &mut Run<'_>, change: &dyn Fn(&mut Rules)| {
        change(&mut run.world.rules[which]);
        run.world.generations[which] += 1;
    };
    let denials = [
        0,
        Verdict::SG_DENIES,
        Verdict::ACL_DENIES,
        Verdict::SG_DENIES | Verdict::ACL_DENIES,
    ];
    match what {
        0 => return run.recycle(which),
        1 => run.world.environments[which].flags ^= Environment::XDP,
        2 => run.world.uplinks[which % 2].flags ^= Uplink::XDP,
        3 => run.world.uplinks[which % 2].flags ^= Uplink::PARTIAL_CHECKSUMS,
        4 => {
            let (denied, from) = (bytes.pick(&denials), bytes.u16());
            rules(run, &|rules| rules.out = ports(from, denied));
        }
        5 => {
            let (denied, from) = (bytes.pick(&denials), bytes.u16());
            rules(run, &|rules| rules.into = ports(from, denied));
        }
        6 => {
            let denied = [bytes.pick(&denials), bytes.pick(&denials)];
            rules(run, &|rules| rules.errors = denied);
        }
        7 => rules(run, &|rules| rules.blackhole ^= true),
        8 => rules(run, &|rules| rules.unset ^= true),
        9 => {
            let group = &mut run.world.groups[0];
            group.enis[1] = 1;
            group.count = 3 - group.count;
        }
        10 => {
            let quota = u32::from(bytes.u8() % 4);
            run.world.environments[which].flow_quota = if quota == 3 { 2_000 } else { quota };
        }
        _ => rules(run, &|rules| {
            rules.peered = match rules.peered {
                None => Some(1 - rules.uplink),
                Some(_) => None,
            };
        }),
    }
    run.configure();
}

/// Denials from a port on.
fn ports(from: u16, denied: u32) -> Vec<(u16, u32)> {
    match from {
        0 => vec![(0, denied)],
        from => vec![(0, 0), (from, denied)],
    }
}

/// A frame of a kind that there is, perhaps damaged.
fn built(run: &Run<'_>, bytes: &mut Bytes<'_>) -> (In, Vec<u8>) {
    let environment = bytes.below(3);
    let is_tcp = bytes.bit();
    let inside_port = 40_000 + u16::from(bytes.u8() % 4);
    let conn = match is_tcp {
        true => Conn::new_tcp(environment, inside_port),
        false => Conn::new_udp(environment, inside_port),
    };
    let usual = conn.remote;
    let remotes = [
        usual,
        usual,
        usual,
        FAR,
        SILENT,
        UNHEARD,
        GATEWAY,
        ENI[0],
        [224, 0, 0, 1],
        [10, 0, 1, 255],
    ];
    let conn = conn.to(bytes.pick(&remotes));
    let (link, mut frame) = match bytes.u8() % 8 {
        0 => return arp_of(&conn, bytes),
        1..=4 => (conn.link(), dress(leaving(&conn, bytes), bytes).frame()),
        _ => (
            conn.uplink(),
            dress(arriving(run, &conn, bytes), bytes).frame(),
        ),
    };
    let link = match bytes.u8() {
        255 => bytes.pick(&In::ALL),
        _ => link,
    };
    damage(&mut frame, bytes);
    (link, frame)
}

/// The port and address that a flow has in the VPC, or could have.
fn outside(run: &Run<'_>, conn: &Conn) -> ([u8; 4], u16) {
    match run.slot(conn) {
        Some(_) => run.outside(conn),
        None => (ENI[conn.default_eni()], PORT),
    }
}

/// A packet of an environment's.
fn leaving(conn: &Conn, bytes: &mut Bytes<'_>) -> Built {
    let out = Built::new(INSIDE_MAC, GATEWAY_MAC, INSIDE, conn.remote);
    let ends = (conn.inside_port, conn.remote_port);
    match bytes.u8() % 8 {
        0 => icmp(out, bytes, |bytes| {
            let reply = Built::new(GATEWAY_MAC, INSIDE_MAC, conn.remote, INSIDE);
            carried(reply, conn, (ends.1, ends.0), bytes)
        }),
        1 => out.raw(bytes.u8(), bytes.take(40)),
        _ => carried(out, conn, ends, bytes),
    }
}

/// A packet from the VPC.
fn arriving(run: &Run<'_>, conn: &Conn, bytes: &mut Bytes<'_>) -> Built {
    let uplink = UPLINK_MAC[usize::from(conn.environment == 2)];
    let (address, port) = outside(run, conn);
    let back = Built::new(SERVER_MAC, uplink, conn.remote, address);
    let ends = (conn.remote_port, port);
    match bytes.u8() % 8 {
        0 => icmp(back, bytes, |bytes| {
            let sent = Built::new(uplink, SERVER_MAC, address, conn.remote);
            carried(sent, conn, (ends.1, ends.0), bytes)
        }),
        1 => back.raw(bytes.u8(), bytes.take(40)),
        _ => carried(back, conn, ends, bytes),
    }
}

/// A segment or datagram of a flow.
fn carried(packet: Built, conn: &Conn, ends: (u16, u16), bytes: &mut Bytes<'_>) -> Built {
    const NUMBERS: [u32; 6] = [1_001, 1_000, 5_001, 5_000, 0, u32::MAX];
    let lens = [0, 1, 7, 100, 600, 1_300, 1_372, 1_400, 1_472];
    if conn.protocol != TCP {
        let data = payload(bytes.pick(&lens));
        return packet.udp(ends.0, ends.1, &data);
    }
    let flags = bytes.u8();
    let letters: String = "FSRPA"
        .chars()
        .enumerate()
        .filter(|(bit, _)| flags >> bit & 1 == 1)
        .map(|(_, letter)| letter)
        .collect();
    let (sequence, ack) = (bytes.pick(&NUMBERS), bytes.pick(&NUMBERS));
    let mut header =
        vpc_common::packet_table::build::segment(ends.0, ends.1, &letters, sequence, ack);
    let options = bytes.take(usize::from(flags >> 5) * 4);
    // Words only, so that what is behind the last one is no option.
    let whole = options.len() / 4 * 4;
    header
        .set_options_raw(&options[..whole])
        .expect("at most 28 bytes, in words");
    packet.tcp(header, &payload(bytes.pick(&lens)))
}

/// An ICMP message, of an error with what it quotes.
fn icmp(
    packet: Built,
    bytes: &mut Bytes<'_>,
    quoted: impl FnOnce(&mut Bytes<'_>) -> Built,
) -> Built {
    let kind = bytes.pick(&[3, 11, 12, 8, 0, 5, 13]);
    let (code, rest) = (bytes.u8() % 16, bytes.u32().to_be_bytes());
    if !matches!(kind, 3 | 11 | 12) {
        return packet.icmp(kind, code, rest, b"ping");
    }
    let mut quote = quoted(bytes).packet();
    quote.truncate(20 + usize::from(bytes.u8() % 64));
    packet.icmp(kind, code, rest, &quote)
}

/// An ARP packet.
fn arp_of(conn: &Conn, bytes: &mut Bytes<'_>) -> (In, Vec<u8>) {
    let addresses = [
        GATEWAY,
        INSIDE,
        ENI[0],
        ENI[2],
        SERVER,
        SILENT,
        OTHER_SERVER,
        ROUTER,
    ];
    let operation = 1 + u16::from(bytes.u8() % 3);
    let (sender, target) = (bytes.pick(&addresses), bytes.pick(&addresses));
    let macs = [INSIDE_MAC, SERVER_MAC, OTHER_SERVER_MAC, [0; 6], [0xff; 6]];
    let (from, to) = (
        bytes.pick(&macs),
        bytes.pick(&[UPLINK_MAC[0], UPLINK_MAC[1], [0xff; 6]]),
    );
    let link = if bytes.bit() {
        conn.uplink()
    } else {
        conn.link()
    };
    let mut frame = arp(to, from, operation, (from, sender), (to, target));
    damage(&mut frame, bytes);
    (link, frame)
}

/// What a packet looks like otherwise, and which piece of it is sent.
fn dress(mut packet: Built, bytes: &mut Bytes<'_>) -> Built {
    let look = bytes.u8();
    if look == 0 {
        return packet;
    }
    packet = packet.sum(match look & 3 {
        0 | 1 => Sum::Right,
        2 => Sum::HalfMade,
        _ => Sum::Absent,
    });
    if look & 4 != 0 {
        packet = packet.may_fragment();
        packet.ip.identification = u16::from(bytes.u8() % 4);
    }
    if look & 8 != 0 {
        packet = packet.ttl(bytes.pick(&[1, 2, 0, 255]));
    }
    if look & 16 != 0 {
        let words = 4 * bytes.below(11);
        let mut options = bytes.take(words).to_vec();
        options.resize(words, 1);
        packet = packet.options(&options);
    }
    if look & 32 != 0 {
        packet = packet.padded(bytes.below(20));
    }
    if look & 64 == 0 {
        return packet;
    }
    let segment = packet.segment().len();
    let at = 8 * usize::from(bytes.u8() % 24);
    if at > segment {
        return packet;
    }
    let (first, last) = packet.cut(at);
    if bytes.bit() { last } else { first }
}

/// Changes bytes, and says whether the IPv4 checksum is made right again, so that the
/// damage is seen by what comes after it.
fn damage(frame: &mut Vec<u8>, bytes: &mut Bytes<'_>) {
    let how = bytes.u8();
    for _ in 0..how & 3 {
        let at = usize::from(bytes.u8());
        let value = bytes.u8();
        if let Some(byte) = frame.get_mut(at) {
            *byte = value;
        }
    }
    if how & 4 != 0 {
        frame.truncate(usize::from(bytes.u8()));
    }
    if how & 8 != 0 {
        sums::mend_header(frame, 14);
    }
}

/// The packet table's cases as stories, on both hooks: only the frames of each, one after
/// another. They open and close flows, and a fuzzer goes on from there.
pub fn seeds() -> Vec<Vec<u8>> {
    let cases = CASES
        .iter()
        .chain([&XDP_CASES])
        .flat_map(|cases| cases.iter());
    cases.flat_map(seeds_of).collect()
}

fn seeds_of(case: &Case) -> [Vec<u8>; 2] {
    let steps = case.check(&mut Host::new());
    [false, true].map(|tc| {
        let opening = Opening { tc, restricted: tc };
        let mut story = vec![opening.byte()];
        for step in steps.iter().take(STEPS_MAX) {
            let link = In::ALL.iter().position(|link| *link == step.link);
            let len = step.input.len().min(FRAME_MAX) as u16;
            story.extend([0, link.expect("one of all") as u8]);
            story.extend(len.to_le_bytes());
            story.extend(&step.input[..usize::from(len)]);
        }
        story
    })
}

/// Whether a frame was sent on, rather than answered.
pub fn is_sent_on(sent: &Sent<'_>) -> bool {
    let answers = Counter::Stat(vpc_common::layout::Stat::Answers);
    sent.ran.action == Action::Redirect && !sent.moved.contains_key(&answers)
}
