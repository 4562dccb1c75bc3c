//! Rules that change a thousand times while packets flow: what an acknowledgement
//! promises holds for every packet sent after it, and no two rules of one file are ever
//! seen apart.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::sys::socket::{setsockopt, sockopt};
use tests::{
    vpc::{EVERYTHING, FAR, FARTHER, Rules, Vpc},
    wait::{PATIENCE, eventually},
    world::World,
};
use vpc_common::drop::DropReason;

const FLIPS: usize = 1_000;
/// The two hosts of which one is allowed and the other denied, then the reverse.
const HOSTS: [Ipv4Addr; 2] = [FAR, FARTHER];
/// Ports of the receivers of the senders, each of which has a flow to either host.
const FLOWS: [u16; 4] = [9_001, 9_002, 9_003, 9_004];
/// Port of the receivers of new flows.
const NEW: u16 = 9_005;
/// Between one packet of a sender and the next.
const PACE: Duration = Duration::from_micros(200);
/// At least so many packets of every sender lie between one change and the next.
const ENOUGH: u64 = 3;

/// Numbered packets of one sender to one host, and which of them came.
struct Lane {
    host: usize,
    port: u16,
    /// The number of the packet that is sent next; raised before it is sent.
    next: AtomicU64,
    arrived: Mutex<BTreeSet<u64>>,
    /// Where the packets arrive.
    receiver: UdpSocket,
}

impl Lane {
    fn new(vpc: &Vpc, host: usize, port: u16) -> Self {
        let at = SocketAddrV4::new(HOSTS[host], port);
        let receiver = vpc.world.tenant(0).run(|| UdpSocket::bind(at));
        let receiver = receiver.expect("bind");
        // Room for a receiver that does not run for a while.
        setsockopt(&receiver, sockopt::RcvBufForce, &(32 << 20)).expect("a larger buffer");
        let patience = Some(Duration::from_millis(300));
        receiver.set_read_timeout(patience).expect("set a timeout");
        Self {
            host,
            port,
            next: AtomicU64::new(0),
            arrived: Mutex::default(),
            receiver,
        }
    }

    /// Sends the next packet.
    fn send(&self, socket: &UdpSocket) {
        let number = self.next.fetch_add(1, Ordering::SeqCst);
        let to = SocketAddrV4::new(HOSTS[self.host], self.port);
        // A packet that is refused on the spot is a loss like any other.
        let _ = socket.send_to(&number.to_be_bytes(), to);
    }

    fn arrived(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what comes until told to stop and nothing comes any more.
    fn receive(&self, stop: &AtomicBool) {
        let mut buffer = [0; 8];
        loop {
            match self.receiver.recv(&mut buffer) {
                Ok(8) => drop(self.arrived().insert(u64::from_be_bytes(buffer))),
                Err(_) if stop.load(Ordering::SeqCst) => return,
                Ok(_) | Err(_) => {}
            }
        }
    }
}

/// Which packets were sent, from the first byte to the last, while one rule set was in
/// force and acknowledged: of each lane the first number and one behind the last.
struct Phase {
    allowed: usize,
    sent: Vec<std::ops::Range<u64>>,
}

/// One host is allowed and the other denied, by the security group and by the ACL.
fn rules_for(allowed: usize) -> Rules {
    Rules::with(|rules| {
        let [yes, no] = [HOSTS[allowed], HOSTS[1 - allowed]];
        rules.acl_out = format!(
            "{{ number = 90, action = \"deny\", protocol = \"all\", cidr = \"{no}/32\" }}, {EVERYTHING}"
        );
        rules.egress = Some(format!("{{ protocol = \"all\", cidr = \"{yes}/32\" }}"));
    })
}

/// Flips the rules, and notes what was sent between an acknowledgement and the next
/// change. A number that was drawn before the change may be sent after it.
fn flip(world: &World, files: &[String; 2], lanes: &[Lane]) -> Vec<Phase> {
    let numbers = || -> Vec<u64> {
        let next = lanes.iter().map(|lane| lane.next.load(Ordering::SeqCst));
        next.collect()
    };
    let flips = (0..FLIPS).map(|round| {
        let allowed = round % 2;
        let reloaded = world.reload_text(&files[allowed]).expect("valid rules");
        assert!(reloaded.problems.is_empty(), "{reloaded:?}");
        let first = numbers();
        let mut last = first.clone();
        let end = Instant::now() + PATIENCE;
        while first
            .iter()
            .zip(&last)
            .any(|(first, last)| last - first <= ENOUGH)
        {
            assert!(Instant::now() < end, "the senders go on");
            thread::sleep(PACE);
            last = numbers();
        }
        let sent = first.into_iter().zip(last);
        let sent = sent.map(|(first, last)| first..last - 1).collect();
        Phase { allowed, sent }
    });
    flips.collect()
}

/// Every packet of a phase came if its host was allowed, and none if it was denied.
fn verify_phases(lanes: &[Lane], phases: &[Phase]) {
    let (mut passed, mut refused) = (0, 0);
    for (index, lane) in lanes.iter().enumerate() {
        let arrived = lane.arrived();
        for (round, phase) in phases.iter().enumerate() {
            let range = phase.sent[index].clone();
            let came = arrived.range(range.clone()).count() as u64;
            let (all, is_allowed) = (range.end - range.start, phase.allowed == lane.host);
            let expected = if is_allowed { all } else { 0 };
            assert_eq!(
                came, expected,
                "of {all} packets of lane {index} after acknowledgement {round}"
            );
            *(if is_allowed {
                &mut passed
            } else {
                &mut refused
            }) += all;
        }
    }
    eprintln!("{passed} packets passed after an acknowledgement, {refused} did not");
}

/// A sender's packets go to one host and the other in turn, and each tells which rules
/// were in force. They changed as often as they were changed: had both hosts been
/// allowed at a time, or both denied, they would seem to have changed back and forth.
fn verify_order(pair: &[Lane], first: &Phase, last: &Phase, index: usize) {
    let arrived: Vec<_> = pair.iter().map(Lane::arrived).collect();
    let [first, last] = [first, last].map(|phase| &phase.sent[index..index + 2]);
    let begin = first.iter().map(|range| range.start).max();
    let end = last.iter().map(|range| range.end).min();
    let numbers = begin.expect("a pair")..end.expect("a pair");
    let in_force = numbers.flat_map(|number| {
        let came = |host: usize| arrived[host].contains(&number);
        [usize::from(!came(0)), usize::from(came(1))]
    });
    let in_force: Vec<usize> = in_force.collect();
    let changes = in_force.windows(2).filter(|pair| pair[0] != pair[1]);
    assert_eq!(
        changes.count(),
        FLIPS - 1,
        "changes seen from lane {index} on"
    );
}

/// Tries new flows to both hosts in turn, each time from another port.
fn open_new(pair: &[Lane], stop: &AtomicBool) {
    while !stop.load(Ordering::SeqCst) {
        let socket = UdpSocket::bind(("0.0.0.0", 0)).expect("bind");
        for lane in pair {
            lane.send(&socket);
        }
        thread::sleep(PACE);
    }
}

/// Sends on a flow to each host in turn.
fn keep_sending(pair: &[Lane], stop: &AtomicBool) {
    let socket = UdpSocket::bind(("0.0.0.0", 0)).expect("bind");
    while !stop.load(Ordering::SeqCst) {
        for lane in pair {
            lane.send(&socket);
        }
        thread::sleep(PACE);
    }
}

/// Both files, the first of which allows the first host.
fn files(vpc: &mut Vpc) -> [String; 2] {
    let files = [0, 1].map(|allowed| {
        vpc.world.plan_mut().network = rules_for(allowed).text();
        vpc.world.config_text()
    });
    vpc.world.plan_mut().network = vpc.rules.text();
    files
}

#[test]
fn an_acknowledged_change_holds_for_every_packet_after_it_and_no_rule_set_is_torn() {
    let mut vpc = Vpc::start_as(Rules::default(), |plan| {
        // New flows are many and short.
        plan.tenants[0].timeouts = vec![("udp_new", 2)];
    });
    let files = files(&mut vpc);
    let ports = FLOWS.into_iter().chain([NEW]);
    let lanes: Vec<Lane> = ports
        .flat_map(|port| [0, 1].map(|host| Lane::new(&vpc, host, port)))
        .collect();
    let (established, new) = lanes.split_at(2 * FLOWS.len());
    let (sent, received) = (AtomicBool::new(false), AtomicBool::new(false));
    let world = &vpc.world;
    let phases = thread::scope(|scope| {
        let (sent, received) = (&sent, &received);
        let receive = |lane| scope.spawn(move || Lane::receive(lane, received));
        let receivers: Vec<_> = lanes.iter().map(receive).collect();
        let send = |pair| scope.spawn(move || world.env(0).run(|| keep_sending(pair, sent)));
        let mut senders: Vec<_> = established.chunks(2).map(send).collect();
        senders.push(scope.spawn(move || world.env(0).run(|| open_new(new, sent))));
        let all_came = || lanes.iter().all(|lane| !lane.arrived().is_empty());
        assert!(eventually(PATIENCE, all_came), "every lane is open");
        let start = Instant::now();
        let phases = flip(world, &files, &lanes);
        eprintln!("{FLIPS} changes in {:?}", start.elapsed());
        sent.store(true, Ordering::SeqCst);
        senders
            .into_iter()
            .for_each(|thread| thread.join().expect("a sender"));
        received.store(true, Ordering::SeqCst);
        receivers
            .into_iter()
            .for_each(|thread| thread.join().expect("a receiver"));
        phases
    });
    verify_phases(&lanes, &phases);
    let (first, last) = (&phases[0], &phases[FLIPS - 1]);
    for (number, pair) in lanes.chunks(2).enumerate() {
        verify_order(pair, first, last, 2 * number);
    }
    world.assert_only_dropped(&[].into(), &[DropReason::SgEgress, DropReason::NaclOut]);
}
