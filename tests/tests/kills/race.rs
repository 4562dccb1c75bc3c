//! Two agents that are started at the same moment on the same pins and the same store.

use nix::sys::signal::Signal;
use tests::{
    agent::Agent,
    echo::{udp_exchange, udp_socket},
    functions::{Functions, tenant},
    wait::{PATIENCE, eventually},
    world::ECHO,
};

use crate::host;

/// How often two are started at once.
const ROUNDS: u64 = 20;

fn world() -> Functions {
    let plan = Functions::plan(&["blue"], 1, "");
    Functions::build(plan)
}

/// Starts two at once: one serves, and the other has ended with a sentence that names the
/// first.
fn start_two(functions: &Functions) -> Agent {
    let world = &functions.world;
    let begins = world.log_tail(usize::MAX).len();
    let both = [world.spawn_agent(&[]), world.spawn_agent(&[])];
    let mut ends = both.map(Some);
    let mut refused = None;
    let one_has_ended = eventually(PATIENCE, || {
        for end in &mut ends {
            if let Some(agent) = end
                && let Some(status) = agent.has_ended()
            {
                refused = Some(status);
                *end = None;
            }
        }
        ends.iter().flatten().count() < 2
    });
    let log = world.log_tail(usize::MAX);
    let log = log.get(begins..).unwrap_or_default();
    assert!(one_has_ended, "both go on:\n{log}");
    assert!(
        refused.is_some_and(|status| !status.success()),
        "{refused:?}\n{log}"
    );
    let mut winner = ends
        .into_iter()
        .flatten()
        .next()
        .unwrap_or_else(|| panic!("nobody serves:\n{log}"));
    winner
        .wait_ready(&world.socket())
        .unwrap_or_else(|error| panic!("{error}\n{log}"));
    let pid = host::assert_one_runs(&world.config());
    let named = format!("in use by the agent with process id {pid}");
    assert!(log.contains(&named), "{named}:\n{log}");
    host::assert_holds(pid, &world.pins());
    host::assert_holds(pid, &world.socket().with_file_name("state.redb"));
    winner
}

#[test]
fn of_two_agents_started_at_once_one_serves_and_the_other_names_it() {
    let functions = world();
    let mut last: Option<Agent> = None;
    for round in 0..ROUNDS {
        if let Some(killed) = last.take() {
            killed.stop(Signal::SIGKILL);
        }
        last = Some(start_two(&functions));
        if round == 0 {
            functions.apply(&tenant("blue"));
            functions.await_active("blue");
            functions.attach(0, "blue");
        }
        let env = functions.world.env(0);
        let socket = env.run(|| udp_socket(ECHO)).expect("a socket");
        let seen = udp_exchange(&socket, b"whose is this?").expect("an answer");
        assert_eq!(seen.tenant, "blue");
        assert_eq!(functions.world.list().len(), 1);
    }
}

/// Nothing is there yet: neither tables nor a store.
#[test]
fn of_two_first_agents_one_makes_tables_and_store() {
    for _ in 0..ROUNDS {
        let functions = world();
        let agent = start_two(&functions);
        assert!(!functions.world.status().adopted);
        agent.stop(Signal::SIGKILL);
        host::assert_nobody_runs(&functions.world.config());
    }
}
