//! The world whose agent is killed.

use std::{
    collections::BTreeMap,
    iter::Cycle,
    net::UdpSocket,
    ops::Range,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::json;
use tests::{
    agent,
    echo::{UdpEcho, udp_exchange, udp_socket},
    functions::Functions,
    rules::Dice,
    topology::{GATEWAY, GATEWAY_MAC, INSIDE, RESOURCE, pin_neighbour},
    wait::{PATIENCE, eventually},
    world::ECHO,
};
use vpc_common::drop::DropReason;
use vpc_user::model::{HookWish, Request, Response};

use crate::{
    audit, host,
    model::{
        self, ALLOWED, DENIED, ENVIRONMENTS, Model, Rules, TENANTS, Wish, declared,
        environment_name, tenant_of,
    },
    talk::{Talk, Teller},
};

/// Connections of each environment that is left alone.
const TALKS: usize = 2;

/// A world, what it should hold, and who watches.
pub struct Rig {
    functions: Functions,
    /// What there is, as the store said it last.
    model: Model,
    dice: Dice,
    talks: Vec<Talk>,
    _tellers: Vec<Teller>,
    _echoes: Vec<UdpEcho>,
    /// Ports that the kernel gives to no socket by itself, one after the other.
    ports: Cycle<Range<u16>>,
    /// How long a kind of operation takes.
    usual: BTreeMap<&'static str, Duration>,
    /// How long a start takes.
    start: Duration,
    /// Kills so far.
    pub kills: u64,
    /// Of them, by what was under way; and how many of these were acknowledged.
    counts: BTreeMap<&'static str, (u64, u64)>,
}

impl Rig {
    /// A world with its functions, an environment of each tenant attached and talking.
    pub fn start(seed: u64) -> Self {
        // Flows of an ENI that its function has left hold it up no longer.
        let keys = "drain_secs = 1\n";
        let functions = Functions::start_as(&TENANTS, ENVIRONMENTS, keys, |plan| {
            plan.flows = 65_536;
            plan.environment_limit = 64;
            plan.eni_limit = 32;
        });
        for index in 0..functions.world.environments().len() {
            // Of one that nobody answers for a while the kernel forgets what waits for it.
            pin_neighbour(functions.world.env(index), GATEWAY, GATEWAY_MAC);
        }
        let (mut tellers, mut echoes, mut talks) = (Vec::new(), Vec::new(), Vec::new());
        for (number, tenant) in TENANTS.into_iter().enumerate() {
            functions.apply(&declared(tenant, Rules::default()));
            functions.await_active(tenant);
            let first = number * ENVIRONMENTS;
            functions.attach(first, tenant);
            let there = functions.world.tenant(number);
            tellers.push(Teller::start(there, tenant));
            echoes.extend([ALLOWED, DENIED].map(|port| UdpEcho::start(there, port, tenant)));
            for talk in 0..TALKS {
                let name = format!("{tenant} {talk}");
                talks.push(Talk::start(functions.world.env(first), tenant, &name));
            }
        }
        Self {
            model: Model::observe(&functions),
            functions,
            dice: Dice::new(seed),
            talks,
            _tellers: tellers,
            _echoes: echoes,
            ports: (10_000..32_000).cycle(),
            usual: BTreeMap::new(),
            start: Duration::ZERO,
            kills: 0,
            counts: BTreeMap::new(),
        }
    }

    /// Does everything thrice without a kill, and notes how long it takes at most.
    pub fn measure(&mut self) {
        for yes in [true, false, true] {
            let rules = Rules {
                allows: yes,
                denies: yes,
            };
            for wish in [
                Wish::Create("blue", 0),
                Wish::Attach(1, "blue-0".to_owned()),
                Wish::Hook("blue-1".to_owned(), HookWish::Xdp),
                Wish::Hook("blue-1".to_owned(), HookWish::Auto),
                Wish::Update("blue-0".to_owned(), 1),
                Wish::Allow("blue", yes),
                Wish::Deny("blue", yes),
                Wish::Apply("green", rules),
                Wish::Detach("blue-1".to_owned()),
                Wish::Delete("blue-0".to_owned()),
            ] {
                let request = model::request(&self.functions, &wish);
                let begun = Instant::now();
                model::is_done(self.functions.world.request(&request)).expect("done");
                let usual = self.usual.entry(wish.kind()).or_default();
                *usual = begun.elapsed().max(*usual);
                self.model = self.model.after(&wish);
                self.settle();
            }
        }
        assert_eq!(Model::observe(&self.functions), self.model);
        self.functions.world.stop_agent(Signal::SIGKILL);
        let begun = Instant::now();
        self.functions.world.start_agent();
        self.start = begun.elapsed();
        self.audit();
        eprintln!("usually: start {:?}, {:?}", self.start, self.usual);
    }

    /// Asks for something, kills the agent meanwhile, perhaps kills the next ones while they
    /// start, and looks what has become of it.
    pub fn round(&mut self) {
        let wish = self.model.draw(&mut self.dice);
        let outcome = self.ask_and_kill(&wish);
        self.nobody_is_missed();
        while self.dice.one_in(2) {
            self.kill_a_start();
        }
        self.functions.world.start_agent();
        self.settle();
        let found = Model::observe(&self.functions);
        let (before, after) = (self.model.clone(), self.model.after(&wish));
        match &outcome {
            Some(Ok(())) => assert_eq!(found, after, "{wish:?} was acknowledged"),
            Some(Err(error)) => panic!("{wish:?} was refused: {error}"),
            None => assert!(
                found == before || found == after,
                "{wish:?} is there by half: {found:?}, not {before:?} or {after:?}"
            ),
        }
        self.model = found;
        self.look();
    }

    /// What was answered before the kill, if anything.
    fn ask_and_kill(&mut self, wish: &Wish) -> Option<Result<(), String>> {
        let request = model::request(&self.functions, wish);
        let socket = self.functions.world.socket();
        let delay = self.delay(self.usual[wish.kind()]);
        // For the answer, and not a moment longer.
        let waits = self.dice.one_in(4);
        let (sender, begins) = mpsc::channel();
        let answer = thread::scope(|scope| {
            let asking = scope.spawn(|| {
                sender.send(Instant::now()).expect("somebody waits for it");
                agent::request(&socket, &request).ok()
            });
            let begun = begins.recv().expect("it begins");
            if waits {
                while !asking.is_finished() {
                    thread::yield_now();
                }
            } else {
                wait_until(begun + delay);
            }
            self.functions.world.stop_agent(Signal::SIGKILL);
            asking.join().expect("asks")
        });
        let outcome = answer.map(model::is_done);
        self.count(wish.kind(), outcome.is_some());
        outcome
    }

    /// At any moment, or at one of the last, in which links are adopted: most of a start is the
    /// verifier's.
    fn kill_a_start(&mut self) {
        const LAST: Duration = Duration::from_millis(80);
        let delay = match self.dice.one_in(2) {
            true => self.delay(self.start),
            false => self.start.saturating_sub(LAST) + self.delay(LAST),
        };
        let (begun, ups) = (Instant::now(), self.ups());
        let agent = self.functions.world.spawn_agent(&[]);
        wait_until(begun + delay);
        agent.stop(Signal::SIGKILL);
        let is_up = self.ups() > ups;
        self.count("start", is_up);
        self.nobody_is_missed();
    }

    /// Starts that came to their end so far.
    fn ups(&self) -> usize {
        let log = self.functions.world.log_tail(usize::MAX);
        log.matches("the data path is up").count()
    }

    fn count(&mut self, kind: &'static str, acknowledged: bool) {
        self.kills += 1;
        let (kills, answers) = self.counts.entry(kind).or_default();
        *kills += 1;
        *answers += u64::from(acknowledged);
    }

    /// Uniform over what something takes and a third more, in microseconds.
    fn delay(&mut self, usual: Duration) -> Duration {
        let most = usual.as_micros() * 13 / 10;
        Duration::from_micros(self.dice.between(0, most as usize) as u64)
    }

    /// Without an agent: no process stays, and what is attached goes on.
    fn nobody_is_missed(&mut self) {
        host::assert_nobody_runs(&self.functions.world.config());
        for (number, tenant) in TENANTS.into_iter().enumerate() {
            self.assert_passes(number * ENVIRONMENTS, tenant);
        }
    }

    /// Waits until nothing is on its way any more.
    fn settle(&self) {
        let settled = || {
            let functions = self.functions.get("function");
            functions.iter().all(|function| {
                let configuration = &function.resource["Configuration"];
                configuration["State"] == "Active"
                    && configuration["LastUpdateStatus"] == "Successful"
            })
        };
        assert!(
            eventually(PATIENCE, settled),
            "{:?}",
            self.functions.get("function")
        );
        let mut plan = Response::Error {
            message: String::new(),
        };
        let empty = Response::Plan {
            steps: Vec::new(),
            problems: Vec::new(),
        };
        let is_empty = eventually(PATIENCE, || {
            plan = self.functions.world.request(&Request::Plan);
            plan == empty
        });
        assert!(is_empty, "{plan:?}\n{}", self.functions.world.log_tail(40));
    }

    /// The look after every start.
    fn look(&mut self) {
        let world = &self.functions.world;
        let pid = host::assert_one_runs(&world.config());
        host::assert_holds(pid, &world.pins());
        host::assert_holds(pid, &world.socket().with_file_name("state.redb"));
        assert!(world.status().adopted);
        let listed: Vec<String> = world.list().into_iter().map(|one| one.name).collect();
        let mut listed: Vec<&String> = listed.iter().collect();
        listed.sort();
        let known: Vec<&String> = self.model.environments.keys().collect();
        assert_eq!(listed, known, "attached, and in the store");
        self.assert_reach();
        for (number, tenant) in TENANTS.into_iter().enumerate() {
            let rules = self.model.rules[tenant];
            let index = number * ENVIRONMENTS;
            self.assert_rule(index, ALLOWED, rules.allows, DropReason::SgEgress);
            self.assert_rule(index, DENIED, !rules.denies, DropReason::NaclOut);
        }
        self.talks.iter_mut().for_each(Talk::assert_goes_on);
    }

    /// What is attached reaches its tenant and nobody else does.
    fn assert_reach(&self) {
        let (mut cut_off, world) = (Vec::new(), &self.functions.world);
        let all = 0..world.environments().len();
        for index in all.clone() {
            let name = environment_name(index);
            if !self.model.environments.contains_key(&name) {
                let socket = world.env(index).run(|| udp_socket(ECHO)).expect("a socket");
                socket.set_nonblocking(true).expect("not blocking");
                // Refused at once or never answered.
                let _ = socket.send(b"is anybody there?");
                cut_off.push((name, socket));
            }
        }
        for index in all {
            let name = environment_name(index);
            if self.model.environments.contains_key(&name) {
                self.assert_passes(index, tenant_of(&name));
            }
        }
        for (name, socket) in cut_off {
            let answer = socket.recv(&mut [0; 64]);
            assert!(answer.is_err(), "{name} is detached and was answered");
        }
    }

    fn assert_passes(&self, index: usize, tenant: &str) {
        let env = self.functions.world.env(index);
        let socket = env.run(|| udp_socket(ECHO)).expect("a socket");
        let seen = udp_exchange(&socket, b"whose is this?");
        let name = environment_name(index);
        let seen = seen.unwrap_or_else(|error| panic!("{name}: {error}\n{}", self.tell_of(index)));
        assert_eq!(seen.tenant, tenant, "{name}");
    }

    /// What there is to know of an environment that is not answered.
    fn tell_of(&self, index: usize) -> String {
        let (world, name) = (&self.functions.world, environment_name(index));
        let neighbours = world.env(index).says("ip", &["neigh", "show"]);
        let mut told = format!("{:?}\nneighbours: {neighbours}", self.model);
        for tenant in world.tenants() {
            told += &format!(
                "{}: {}",
                tenant.name,
                tenant.netns.says("ip", &["neigh", "show"])
            );
        }
        if let Ok(Response::Flows(flows)) = agent::request(&world.socket(), &Request::Flows) {
            for flow in flows.iter().filter(|flow| flow.environment == name) {
                told += &format!("{flow:?}\n");
            }
        }
        told + &world.log_tail(40)
    }

    /// What a rule says is what becomes of a packet: an answer, or one more in the counter. Of
    /// a new flow, whose port has had none: one that is open outlives the rule of a security
    /// group.
    fn assert_rule(&mut self, index: usize, port: u16, allowed: bool, reason: DropReason) {
        let from = self.ports.next().expect("there is no end of them");
        let (world, name) = (&self.functions.world, environment_name(index));
        let refused = || -> u64 {
            let drops = world.drops().into_iter();
            let own = drops.filter(|drop| drop.owner == name && drop.reason == reason.label());
            own.map(|drop| drop.packets).sum()
        };
        let before = refused();
        let socket = world.env(index).run(|| UdpSocket::bind((INSIDE, from)));
        let socket = socket.expect("a socket");
        socket.connect((RESOURCE, port)).expect("connected");
        socket.set_nonblocking(true).expect("not blocking");
        socket.send(b"may I?").expect("sent");
        let mut passed = None;
        eventually(PATIENCE, || {
            if socket.recv(&mut [0; 64]).is_ok() {
                passed = Some(true);
            } else if refused() != before {
                passed = Some(false);
            }
            passed.is_some()
        });
        assert_eq!(
            passed,
            Some(allowed),
            "{name} to port {port}: {}",
            self.tell_of(index)
        );
    }

    /// Looks at everything.
    pub fn audit(&self) {
        audit::assert_sound(&self.functions);
    }

    /// Takes everything away; nothing is left.
    pub fn end(mut self) {
        eprintln!(
            "{} kills (of them acknowledged): {:?}",
            self.kills, self.counts
        );
        let answers: u64 = self.talks.drain(..).map(Talk::end).sum();
        eprintln!("{answers} answers on {} connections", TALKS * TENANTS.len());
        let functions = &self.functions;
        for name in self.model.environments.keys() {
            functions.world.detach(name).expect("detached");
        }
        for function in functions.get("function") {
            let name = function.name.expect("a name");
            let done = functions.call("lambda", "DeleteFunction", json!({ "FunctionName": name }));
            done.expect("deleted");
        }
        let gone = || functions.enis().is_empty();
        assert!(eventually(PATIENCE * 3, gone), "{:?}", functions.enis());
        functions.try_apply("", true).expect("everything goes");
        self.settle();
        assert_eq!(functions.get("vpc"), []);
        audit::assert_sound(functions);
        audit::assert_empty(functions);
    }
}

/// To the microsecond, as far as the kernel lets a thread run.
fn wait_until(moment: Instant) {
    const COARSE: Duration = Duration::from_millis(1);
    let left = moment.saturating_duration_since(Instant::now());
    thread::sleep(left.saturating_sub(COARSE));
    while Instant::now() < moment {
        std::hint::spin_loop();
    }
}
