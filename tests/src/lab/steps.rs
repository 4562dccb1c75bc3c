//! The demonstration.

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use vpc_common::drop::DropReason;

use super::Show;
use crate::{
    agent,
    echo::{udp_exchange, udp_socket},
    http,
    topology::{RESOURCE, eni},
    wait::{PATIENCE, eventually},
    world::{ECHO, Environment, HTTP, World},
};

/// The first port that an ENI uses.
const FIRST_PORT: u16 = 1_024;
/// How long the resource waits for an answer that must not come.
const SILENCE: Duration = Duration::from_millis(800);

/// Every step; outcomes go to the show.
pub fn demonstrate(show: &mut Show, world: &World) {
    for environment in world.environments() {
        let tenant = &world.tenants()[environment.tenant].name;
        let title = format!(
            "{} fetches http://{RESOURCE}/ of {tenant}",
            environment.name
        );
        show.step(&title, || fetch(environment, tenant));
    }
    for environment in world.environments() {
        let tenant = &world.tenants()[environment.tenant].name;
        let title = format!("{} sends UDP and is answered", environment.name);
        show.step(&title, || echo(environment, tenant));
    }
    for (index, tenant) in world.tenants().iter().enumerate() {
        let title = format!("the resource of {} connects to its ENI", tenant.name);
        show.step(&title, || intrude(world, index));
    }
    show.step("the flows of every environment are listed", || list(world));
    show.step("nothing else was dropped", || only_unsolicited(world));
}

fn fetch(environment: &Environment, tenant: &str) -> Result<((), String)> {
    let seen = environment
        .netns
        .run(|| http::whoami(HTTP))
        .context("no answer")?;
    check(tenant, &seen.tenant, seen.peer)
}

fn echo(environment: &Environment, tenant: &str) -> Result<((), String)> {
    let payload = format!("from {}", environment.name);
    let seen = environment
        .netns
        .run(|| udp_exchange(&udp_socket(ECHO)?, payload.as_bytes()))
        .context("no answer")?;
    ensure!(
        seen.payload == payload.as_bytes(),
        "expected {payload:?} back, got {:?}",
        String::from_utf8_lossy(&seen.payload)
    );
    check(tenant, &seen.tenant, seen.peer)
}

fn check(tenant: &str, seen: &str, peer: SocketAddrV4) -> Result<((), String)> {
    let address: Ipv4Addr = eni(0);
    ensure!(
        seen == tenant && *peer.ip() == address && peer.port() >= FIRST_PORT,
        "expected {tenant} to see {address}, port {FIRST_PORT} or above; {seen} saw {peer}"
    );
    Ok(((), format!("{seen} saw {peer}")))
}

fn intrude(world: &World, tenant: usize) -> Result<((), String)> {
    let before = world.drop_count(DropReason::Unsolicited);
    let to = SocketAddr::from((eni(0), 40_000));
    let outcome = world
        .tenant(tenant)
        .run(|| TcpStream::connect_timeout(&to, SILENCE));
    match outcome {
        Err(error) if error.kind() == ErrorKind::TimedOut => {}
        Err(error) => bail!("expected silence, got: {error}"),
        Ok(_) => bail!("expected silence, got a connection to {to}"),
    }
    let mut moved = 0;
    let counted = eventually(PATIENCE, || {
        moved = world.drop_count(DropReason::Unsolicited) - before;
        moved > 0
    });
    ensure!(
        counted,
        "expected the counter `unsolicited` to move, it stayed at {before}"
    );
    Ok((
        (),
        format!("silence; `unsolicited` {before} -> {}", before + moved),
    ))
}

fn list(world: &World) -> Result<((), String)> {
    let flows = world.flows();
    for environment in world.environments() {
        for protocol in ["tcp", "udp"] {
            let listed = flows
                .iter()
                .any(|flow| flow.environment == environment.name && flow.protocol == protocol);
            ensure!(
                listed,
                "expected a {protocol} flow of {}, found none",
                environment.name
            );
        }
    }
    let output = agent::command(&world.socket(), &["flows"]);
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(((), format!("{} flows\n\n{table}", flows.len())))
}

fn only_unsolicited(world: &World) -> Result<((), String)> {
    let mut totals = world.drop_totals();
    let unsolicited = totals.remove(DropReason::Unsolicited.label());
    ensure!(
        totals.is_empty(),
        "expected `unsolicited` only, also counted: {totals:?}"
    );
    Ok(((), format!("unsolicited {}", unsolicited.unwrap_or(0))))
}

/// A little traffic of one environment; run inside it. What fails is seen on the
/// screen, as a counter.
pub fn background() {
    let _ = http::download(HTTP, 20_000);
    let _ = udp_socket(ECHO).and_then(|socket| udp_exchange(&socket, b"tick"));
}
