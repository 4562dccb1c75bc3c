//! One case on one machine: sends frames, knows what a rewritten one must look
//! like, and holds every counter against what the step says.

mod conn;
mod counters;
mod failure;
mod flows;

use std::collections::BTreeMap;

pub use conn::Conn;
use counters::Snapshot;
pub use counters::{Counter, Moves};

use super::{
    Action, Handed, In, Machine, Ran,
    world::{self, *},
};
use crate::{
    addr::Port,
    drop::DropReason,
    expiry::SweepOptions,
    layout::{Event, FlowKey, FlowRecord, Owner, Slot, Stat, SweepResult},
    state::Phase,
    time::{Tick, ticks_from_secs},
    verdict::{self, Awaited},
};

/// What one frame brought about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// Where it came in.
    pub link: In,
    /// The frame.
    pub input: Vec<u8>,
    /// What was done with it.
    pub action: Action,
    /// The frame afterwards.
    pub output: Vec<u8>,
    /// Counters that moved, and by how much.
    pub moved: BTreeMap<Counter, i64>,
}

/// A case in progress.
pub struct Run<'m> {
    machine: &'m mut dyn Machine,
    /// What the agent decided; [`Run::configure`] after a change.
    pub world: World,
    name: &'static str,
    before: Snapshot,
    log: Vec<Outcome>,
    events: Vec<Event>,
    records: Vec<FlowRecord>,
    handed: Vec<Handed>,
}

impl<'m> Run<'m> {
    /// On an emptied machine.
    pub fn new(machine: &'m mut dyn Machine, name: &'static str) -> Self {
        machine.clear();
        let world = World::new(machine);
        machine.configure(&world);
        world::fill(machine);
        world::prime(machine, &world);
        machine.told();
        Self::over(machine, name)
    }

    /// On a machine as it is, which must have the world as every case finds it.
    pub fn over(machine: &'m mut dyn Machine, name: &'static str) -> Self {
        let world = World::new(machine);
        let mut run = Self {
            machine,
            world,
            name,
            before: Snapshot::default(),
            log: Vec::new(),
            events: Vec::new(),
            records: Vec::new(),
            handed: Vec::new(),
        };
        run.before = run.snapshot();
        run
    }

    /// What happened so far.
    pub fn into_log(mut self) -> Vec<Outcome> {
        std::mem::take(&mut self.log)
    }

    /// The machine.
    pub fn machine(&mut self) -> &mut dyn Machine {
        self.machine
    }

    /// Writes a changed [`Run::world`].
    pub fn configure(&mut self) {
        self.machine.configure(&self.world);
    }

    /// See [`world::restrict`].
    pub fn restrict(&mut self, eni: u32, protocol: u8, ports: &[u16]) {
        let pool = crate::flow::pool_index(eni, protocol);
        world::restrict(self.machine, pool, ports);
        self.before = self.snapshot();
    }

    /// Gives an environment's index to another one.
    pub fn recycle(&mut self, environment: usize) {
        self.world.environments[environment].generation += 1;
        self.machine.seen().environment_states[environment]
            .flows
            .store(0);
        self.configure();
        self.before = self.snapshot();
    }

    /// Lets time pass: everything is older afterwards.
    pub fn age(&mut self, seconds: u32) {
        let ticks = ticks_from_secs(seconds);
        for slot in self.machine.seen().slots {
            for stamp in [&slot.forward_last, &slot.reply_last, &slot.created] {
                stamp.store(stamp.load().wrapping_sub(ticks));
            }
        }
        self.machine.age_fragments(ticks);
        self.before = self.snapshot();
    }

    /// Lets no time have passed for the notes of fragments since an earlier look: on a slow
    /// machine frames that belong together may be longer apart than notes are kept. Now.
    pub fn hold_time(&mut self, since: Tick) -> Tick {
        let now = self.machine.now();
        let passed = now.since(since);
        if passed != 0 {
            self.machine.age_fragments(0_u32.wrapping_sub(passed));
        }
        now
    }

    /// Now.
    pub fn now(&self) -> Tick {
        self.machine.now()
    }

    /// Sweeps, and holds the counters against the movements named.
    pub fn sweep(&mut self, options: u64, moves: &Moves) -> SweepResult {
        let result = self.machine.sweep(SweepOptions(options));
        let moved = self.settle();
        self.expect_moves(&moved, moves);
        result
    }

    /// Takes the events told so far.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Takes the flow records handed over so far.
    pub fn take_records(&mut self) -> Vec<FlowRecord> {
        std::mem::take(&mut self.records)
    }

    // Sending.

    /// Sends a frame whatever comes of it.
    pub fn send(&mut self, link: In, frame: &[u8]) -> (Ran, BTreeMap<Counter, i64>) {
        let ran = self.machine.run(link, frame);
        let moved = self.settle();
        self.log.push(Outcome {
            link,
            input: frame.to_vec(),
            action: ran.action,
            output: ran.frame.clone(),
            moved: moved.clone(),
        });
        (ran, moved)
    }

    fn expect(&mut self, link: In, frame: &[u8], action: Action, moves: &Moves) -> Ran {
        let (ran, moved) = self.send(link, frame);
        assert_eq!(ran.action, action, "{moved:?}");
        self.expect_moves(&moved, moves);
        ran
    }

    fn expect_moves(&self, moved: &BTreeMap<Counter, i64>, moves: &Moves) {
        let mut named = BTreeMap::new();
        for (counter, by) in moves {
            *named.entry(*counter).or_insert(0) += by;
        }
        named.retain(|_, by| *by != 0);
        assert_eq!(*moved, named, "counters that moved, and that should have");
    }

    /// The frame is dropped, and nothing else is counted.
    pub fn drops(&mut self, link: In, frame: &[u8], owner: Owner, reason: DropReason) {
        self.drops_with(link, frame, owner, reason, &[]);
    }

    /// The frame is dropped, and something else is counted.
    pub fn drops_with(
        &mut self,
        link: In,
        frame: &[u8],
        owner: Owner,
        reason: DropReason,
        moves: &Moves,
    ) {
        let moves = [&[(Counter::Drop(owner, reason), 1)], moves].concat();
        self.expect(link, frame, Action::Drop, &moves);
    }

    /// The frame goes to the host's stack as it is.
    pub fn passes(&mut self, link: In, frame: &[u8]) {
        let ran = self.expect(link, frame, Action::Pass, &[]);
        assert_frame(&ran.frame, frame);
    }

    /// The frame is turned into an answer; with a reason, it is a drop too.
    pub fn answers(
        &mut self,
        link: In,
        frame: &[u8],
        answer: &[u8],
        dropped: Option<(Owner, DropReason)>,
    ) {
        let mut moves = vec![(Counter::Stat(Stat::Answers), 1)];
        moves.extend(dropped.map(|(owner, reason)| (Counter::Drop(owner, reason), 1)));
        let ran = self.expect(link, frame, Action::Redirect, &moves);
        assert_frame(&ran.frame, answer);
    }

    /// The frame is handed to the agent as it is.
    pub fn hands_over(&mut self, link: In, frame: &[u8], owner: Owner, awaited: Awaited) {
        self.expect(
            link,
            frame,
            Action::Drop,
            &[(Counter::Stat(Stat::Punts), 1)],
        );
        let handed = Handed {
            owner,
            awaited,
            frame: frame.to_vec(),
        };
        assert_eq!(std::mem::take(&mut self.handed), [handed]);
    }

    /// The frame leaves as this one, by this port.
    pub fn leaves(
        &mut self,
        link: In,
        frame: &[u8],
        port: verdict::Port,
        expected: impl FnOnce(&Self) -> Vec<u8>,
        moves: &Moves,
    ) {
        let ran = self.expect(link, frame, Action::Redirect, moves);
        if let Some(left_by) = ran.port {
            assert_eq!(left_by, port);
        }
        assert_frame(&ran.frame, &expected(self));
    }

    // Looking.

    /// The slot of a flow, if it is open.
    pub fn slot(&self, conn: &Conn) -> Option<&Slot> {
        let flow = *self.machine.flows().get(&self.key(conn))?;
        Some(&self.machine.seen().slots[flow.slot as usize])
    }

    /// The phase of a flow, if it is open.
    pub fn phase(&self, conn: &Conn) -> Option<Phase> {
        self.slot(conn).map(|slot| slot.state().phase())
    }

    /// The port and the address by which the VPC sees a flow.
    pub fn outside(&self, conn: &Conn) -> ([u8; 4], u16) {
        let slot = self.slot(conn).expect("the flow is open");
        (ENI[usize::from(slot.eni())], slot.outside_port().number())
    }

    /// The key of a flow of the environment as it is now.
    pub fn key(&self, conn: &Conn) -> FlowKey {
        FlowKey::new(
            conn.environment as u16,
            conn.protocol,
            self.world.environments[conn.environment].generation,
            addr(conn.remote),
            Port::new(conn.inside_port),
            Port::new(conn.remote_port),
        )
    }
}

fn assert_frame(found: &[u8], expected: &[u8]) {
    let differ = found.iter().zip(expected).position(|(a, b)| a != b);
    assert!(
        found == expected,
        "frames differ from byte {differ:?} on:\n   found {found:02x?}\nexpected {expected:02x?}"
    );
}
