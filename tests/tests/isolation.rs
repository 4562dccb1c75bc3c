//! No packet of a tenant leaves by another's uplink, and no environment sees a reply that is
//! not its own, whatever is attached, detached, moved and changed meanwhile.
//!
//! Links are used again and again for environments of changing tenants, while somebody in
//! them never stops sending. Each datagram tells which link it is of and the how manieth
//! environment of that link; whose tenant that is follows from the two numbers alone.

use std::{
    io::ErrorKind,
    net::{SocketAddr, UdpSocket},
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use tests::{
    netns::Namespace,
    plan::Plan,
    rules::Dice,
    tap::{Tap, Watch},
    topology::{INTERFACE, RESOURCE, eni},
    under_way,
    wait::PATIENCE,
    world::{ECHO, World},
};
use vpc_common::drop::DropReason;
use vpc_user::model::{HookWish, ObjectName};

const TENANTS: [&str; 3] = ["red", "green", "blue"];
/// Links of each tenant at the start.
const LINKS: usize = 2;
/// The most ENIs of a group.
const ENIS: u8 = 3;
/// Datagrams that arrived, both ways, before the test ends; `VPC_TEST_PACKETS` if set.
const PACKETS: u64 = 1_000_000;
/// Links that changed hands before it ends.
const RECYCLED: u64 = 200;
/// Sockets of an environment, each a flow.
const SOCKETS: usize = 8;
/// Datagrams between two looks for replies.
const BURST: usize = 32;
/// Between one burst and the next.
const PACE: Duration = Duration::from_millis(2);
const MAGIC: [u8; 4] = *b"tell";

/// Whose datagram it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Label {
    link: usize,
    environment: u32,
}

impl Label {
    fn bytes(self) -> [u8; 9] {
        let mut bytes = [self.link as u8; 9];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[5..].copy_from_slice(&self.environment.to_be_bytes());
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(&MAGIC)?;
        let (link, environment) = rest.split_first()?;
        Some(Self {
            link: usize::from(*link),
            environment: u32::from_be_bytes(environment.try_into().ok()?),
        })
    }

    /// The first environment of a link is the plan's; of the others chance decides.
    fn tenant(self) -> usize {
        match self.environment {
            0 => self.link / LINKS,
            number => Dice::new(self.link as u64 + (u64::from(number) << 8)).roll(TENANTS.len()),
        }
    }
}

/// A link and who is behind it now.
#[derive(Debug, Default)]
struct Link {
    /// The environment that is to be behind it.
    wanted: AtomicU32,
    /// The one that is.
    seated: AtomicU32,
}

#[derive(Debug, Default)]
struct Audit {
    links: [Link; TENANTS.len() * LINKS],
    replies: AtomicU64,
    stop: AtomicBool,
}

/// A socket of an environment: it takes from anybody, so that what is not for it is seen.
fn socket() -> UdpSocket {
    let socket = UdpSocket::bind(("0.0.0.0", 0)).expect("bind");
    socket.set_nonblocking(true).expect("do not wait");
    socket
}

impl Audit {
    /// What happens behind a link: environments that send, one after the other.
    fn live(&self, index: usize) {
        let link = &self.links[index];
        let mut label = Label {
            link: index,
            environment: 0,
        };
        let mut sockets: Vec<_> = (0..SOCKETS).map(|_| socket()).collect();
        let mut oldest = 0;
        while !self.stop.load(Ordering::Relaxed) {
            let wanted = link.wanted.load(Ordering::SeqCst);
            if wanted != label.environment {
                self.take_replies(&sockets, label);
                label.environment = wanted;
                link.seated.store(wanted, Ordering::SeqCst);
            }
            for socket in sockets.iter().cycle().take(BURST) {
                // A device that refuses for a moment is a loss like any other.
                let _ = socket.send_to(&label.bytes(), ECHO);
            }
            // The machine has others to serve.
            thread::sleep(PACE);
            self.take_replies(&sockets, label);
            oldest = (oldest + 1) % (SOCKETS * 16);
            if let Some(slot) = sockets.get_mut(oldest) {
                *slot = socket();
            }
        }
    }

    /// Everything that an environment has got is the echo of its own words, by a server of
    /// its tenant.
    fn take_replies(&self, sockets: &[UdpSocket], label: Label) {
        let mut buffer = [0; 2_048];
        for socket in sockets {
            loop {
                match socket.recv_from(&mut buffer) {
                    Ok((len, from)) => {
                        Self::verify_reply(label, from, &buffer[..len]);
                        self.replies.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    // An ICMP error about an earlier datagram.
                    Err(_) => {}
                }
            }
        }
    }

    fn verify_reply(label: Label, from: SocketAddr, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let end = end.unwrap_or_else(|| panic!("{label:?} got {text:?} from {from}"));
        let (server, _) = text.split_once(' ').expect("the server's name");
        let said = Label::read(&bytes[end + 1..]);
        assert_eq!(
            (said, server, from),
            (Some(label), TENANTS[label.tenant()], ECHO.into()),
            "what was said, by whose server and from where"
        );
    }
}

/// Looks at every frame that comes to a tenant.
fn watch(tenant: usize, namespace: &Namespace) -> Watch<(u64, u64)> {
    Tap::open(namespace).watch((0, 0), move |_, (frames, labelled), frame| {
        *frames += 1;
        let Some(packet) = frame.packet() else { return };
        let is_ours = (0..ENIS).any(|index| eni(index) == packet.source());
        assert!(is_ours, "not translated: {packet:?}");
        assert_eq!(packet.destination(), RESOURCE, "{packet:?}");
        assert_eq!(frame.checksum_error(), None);
        let label = packet.udp().and_then(|(_, _, bytes)| Label::read(bytes));
        // Anything else is ICMP of a resource that is asked too much.
        if let Some(label) = label {
            let home = TENANTS[label.tenant()];
            assert_eq!(TENANTS[tenant], home, "left on a foreign uplink: {label:?}");
            *labelled += 1;
        }
    })
}

/// Sends to every port of every ENI what nobody asked for.
fn forge(audit: &Audit, seed: u64) {
    let socket = UdpSocket::bind((RESOURCE, 666)).expect("bind");
    let mut dice = Dice::new(seed);
    while !audit.stop.load(Ordering::Relaxed) {
        for _ in 0..BURST {
            let to = (eni(dice.roll(usize::from(ENIS)) as u8), dice.word() as u16);
            // An address that is nobody's at the moment has no neighbour.
            let _ = socket.send_to(b"unasked", to);
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// A new environment of another tenant's, or of the same, behind a link.
fn recycle(world: &World, audit: &Audit, index: usize) {
    let (name, link) = (&world.environments()[index].name, &audit.links[index]);
    world.detach(name).expect("detach");
    // A link's queue is the link's: what it had taken in is for who was behind it.
    under_way::arrive();
    let next = link.wanted.load(Ordering::SeqCst) + 1;
    link.wanted.store(next, Ordering::SeqCst);
    let end = Instant::now() + PATIENCE;
    while link.seated.load(Ordering::SeqCst) != next {
        assert!(Instant::now() < end, "the next one is there");
        thread::yield_now();
    }
    // So is what its last one sent.
    under_way::arrive();
    let label = Label {
        link: index,
        environment: next,
    };
    let mut request = world.attach_request(index);
    request.group = ObjectName::new(TENANTS[label.tenant()]).expect("a name");
    world.attach(request.clone()).expect("attach");
    world.attach(request).expect_err("it is attached already");
}

/// Attaches, detaches and changes until enough has arrived; how often each was done.
fn change(world: &mut World, audit: &Audit, dice: &mut Dice, packets: u64) -> [u64; 3] {
    let mut done = [0; 3];
    let mut last = (0, 0);
    while last.0 < packets || done[0] < RECYCLED {
        match dice.roll(8) {
            0 => {
                let tenant = dice.roll(TENANTS.len());
                world.plan_mut().tenants[tenant].enis = dice.between(1, usize::from(ENIS)) as u8;
                let reloaded = world.reload().expect("a valid file");
                assert!(reloaded.problems.is_empty(), "{reloaded:?}");
                done[1] += 1;
            }
            1 => {
                let index = dice.roll(audit.links.len());
                let hook = *dice.pick(&[HookWish::Xdp, HookWish::Tc]);
                let name = &world.environments()[index].name;
                world.set_hook(name, hook).expect("set the hook");
                done[2] += 1;
            }
            _ => {
                recycle(world, audit, dice.roll(audit.links.len()));
                done[0] += 1;
            }
        }
        // Each reply is a datagram that came through twice.
        let arrived = 2 * audit.replies.load(Ordering::Relaxed);
        last = match last {
            (before, still) if arrived == before => (before, still + 1),
            _ => (arrived, 0),
        };
        assert!(last.1 < 1_000, "nothing arrives any more");
    }
    done
}

#[test]
fn a_million_packets_stay_with_their_tenant_while_links_change_hands() {
    let wanted = std::env::var("VPC_TEST_PACKETS").ok();
    let packets = wanted.map_or(PACKETS, |text| text.parse().expect("a number"));
    let mut plan = Plan::new(&TENANTS, LINKS);
    // Flows of a link are given up by the hundred.
    plan.tenants
        .iter_mut()
        .for_each(|tenant| tenant.timeouts = vec![("udp_new", 5), ("udp_stream", 5)]);
    let mut world = World::start(plan);
    let received = |world: &World| -> Vec<u64> {
        let tenants = world.tenants().iter();
        tenants
            .map(|tenant| tenant.netns.received(INTERFACE).0)
            .collect()
    };
    let before = received(&world);
    let watches = [0, 1, 2].map(|tenant| watch(tenant, world.tenant(tenant)));
    let (audit, mut dice) = (Audit::default(), Dice::new(7));
    let entrances: Vec<_> = (0..audit.links.len())
        .map(|index| world.env(index).entrance())
        .collect();
    let resources = [0, 1, 2].map(|tenant| world.tenant(tenant).entrance());
    let done = thread::scope(|scope| {
        let audit = &audit;
        // However this ends, nobody goes on.
        let _stop = Stop(audit);
        for (index, entrance) in entrances.iter().enumerate() {
            scope.spawn(move || entrance.run(|| audit.live(index)));
        }
        for (seed, entrance) in (0..).zip(&resources) {
            scope.spawn(move || entrance.run(|| forge(audit, seed)));
        }
        change(&mut world, audit, &mut dice, packets)
    });
    let seen = watches.map(Watch::stop);
    let came = received(&world).into_iter().zip(before);
    let came: Vec<u64> = came.map(|(after, before)| after - before).collect();
    assert_eq!(
        seen.map(|(frames, _)| frames).to_vec(),
        came,
        "every frame was looked at"
    );
    let [forward, reply] = [
        seen.iter().map(|(_, labelled)| labelled).sum::<u64>(),
        audit.replies.load(Ordering::Relaxed),
    ];
    assert!(forward + reply >= packets, "{forward} and {reply}");
    let drops = world.drop_totals();
    eprintln!(
        "{forward} packets out, {reply} replies; {done:?} links changed hands, groups their \
         ENIs, links their hook; {drops:?}"
    );
    assert!(done.iter().all(|times| *times != 0), "{done:?}");
    assert!(drops.contains_key(DropReason::Unsolicited.label()));
    assert!(drops.contains_key(DropReason::EnvironmentGone.label()));
}

/// Ends the threads of an audit.
struct Stop<'a>(&'a Audit);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}
