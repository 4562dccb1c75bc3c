//! SIGKILL of the agent at any instant of whatever it does, and of its start. Nothing leaks,
//! what was acknowledged is there, what was not is there whole or not at all, and what
//! nobody touches notices nothing.
//!
//! All of it takes two minutes and a half here, of which the kills take 90 seconds.
//! `VPC_TEST_KILLS` says how many there are (500 are nine minutes), `VPC_TEST_SEED` which ones.

mod audit;
mod host;
mod kernel;
mod left;
mod model;
mod race;
mod rig;
mod tables;
mod talk;

use rig::Rig;

/// Kills unless told otherwise.
const KILLS: u64 = 70;
/// Between one look at everything and the next.
const AUDIT: u64 = 25;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|error| panic!("{variable}={text}: {error}")),
    )
}

#[test]
fn whenever_the_agent_is_killed_nothing_leaks_and_what_it_acknowledged_is_there() {
    let kills = number("VPC_TEST_KILLS").unwrap_or(KILLS);
    let seed = number("VPC_TEST_SEED").unwrap_or_else(|| {
        let since = std::time::SystemTime::UNIX_EPOCH.elapsed();
        since.map_or(1, |since| since.subsec_nanos().into())
    });
    eprintln!("VPC_TEST_SEED={seed} VPC_TEST_KILLS={kills}");
    let mut rig = Rig::start(seed);
    rig.measure();
    let mut audited = 0;
    while rig.kills < kills {
        rig.round();
        if rig.kills - audited >= AUDIT {
            rig.audit();
            audited = rig.kills;
        }
    }
    rig.audit();
    rig.end();
}
