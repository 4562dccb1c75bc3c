//! `vpc who`, and what `vpc flows` tells of flows that have ended.

use std::{
    io::Write,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    str::FromStr,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Result;
use clap::Args;
use ipnet::Ipv4Net;

use super::{
    follow::{Follower, LATE_MS},
    run::{ask, misunderstood, show},
};
use crate::{
    model::{Bindings, FlowInfo, Request, Response, WhoRequest},
    print,
};

pub(super) const HELP: &str = "\
Examples:
  Which function and environment was behind this address and port at that time?
    vpc who 10.0.1.25:40213/tcp --at 2026-11-22T09:00:03Z
  The same, if only the other end is known, or only a part:
    vpc who 10.0.1.25 --at 2026-11-22T09:00:03Z --remote 10.0.3.7:5432
    vpc who 10.0.1.25:40000-40999/udp --since 10m
  Where has a function been lately?
    vpc flows --function orders --since 1h --to 10.0.0.0/16

Without a time: now and the last minute. ENIs of different VPCs may have one address: all
of them are listed. Flows that ended are known for as long as the agent's [flow_logs] keeps
its index.";

/// How far back is looked if nothing is said.
const RECENTLY: Duration = Duration::from_secs(60);
/// How often `--follow` looks.
const FOLLOW: Duration = Duration::from_millis(500);
/// The most flows that `--follow` is told of at a time.
const FOLLOW_LIMIT: usize = 1_000_000;

/// `vpc who`.
#[derive(Clone, Debug, Args)]
pub struct WhoArgs {
    /// The ENI's address, with a port or a range of ports, and a protocol, as far as known.
    #[arg(value_name = "IP[:PORT[-PORT]][/PROTOCOL]")]
    pub outside: Outside,
    /// When.
    #[command(flatten)]
    pub period: Period,
    /// The other end: an address or prefix, with a port perhaps.
    #[arg(long, value_name = "IP[/LEN][:PORT]")]
    pub remote: Option<Remote>,
    /// The most flows to list.
    #[arg(long, default_value_t = 1_000, value_name = "N")]
    pub limit: usize,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// A time, or from when to when.
#[derive(Clone, Debug, Default, Args)]
pub struct Period {
    /// At this time, such as 2026-11-22T09:00:03Z.
    #[arg(long, value_name = "TIME", value_parser = moment, conflicts_with_all = ["since", "until"])]
    pub at: Option<SystemTime>,
    /// From then on: a time, or how long ago, such as 1h or 30m.
    #[arg(long, value_name = "TIME|AGO", value_parser = moment)]
    pub since: Option<SystemTime>,
    /// Up to then: a time, or how long ago.
    #[arg(long, value_name = "TIME|AGO", value_parser = moment)]
    pub until: Option<SystemTime>,
}

impl Period {
    /// Whether anything is said.
    pub const fn is_given(&self) -> bool {
        self.at.is_some() || self.since.is_some() || self.until.is_some()
    }

    /// In Unix milliseconds, both inclusive.
    fn range(&self, now: SystemTime) -> (u64, u64) {
        if let Some(at) = self.at {
            return (millis(at), millis(at));
        }
        let until = self.until.unwrap_or(now);
        let since = self.since.unwrap_or_else(|| match self.until {
            Some(_) => UNIX_EPOCH,
            None => now.checked_sub(RECENTLY).unwrap_or(UNIX_EPOCH),
        });
        (millis(since), millis(until))
    }
}

/// An ENI's address, ports and protocol.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outside {
    address: Ipv4Addr,
    ports: Option<(u16, u16)>,
    protocol: Option<u8>,
}

impl FromStr for Outside {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("{text:?} is no address and port: write it like 10.0.1.25:40213/tcp, or less")
        };
        let (rest, protocol) = match text.split_once('/') {
            Some((rest, word)) => (rest, Some(protocol(word).ok_or_else(wrong)?)),
            None => (text, None),
        };
        let (address, ports) = match rest.split_once(':') {
            Some((address, ports)) => (address, Some(self::ports(ports).ok_or_else(wrong)?)),
            None => (rest, None),
        };
        Ok(Self {
            address: address.parse().map_err(|_| wrong())?,
            ports,
            protocol,
        })
    }
}

fn protocol(word: &str) -> Option<u8> {
    match word {
        "tcp" => Some(6),
        "udp" => Some(17),
        number => number.parse().ok(),
    }
}

fn ports(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some((first, last))
}

/// Where the other end is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Remote {
    net: Ipv4Net,
    port: Option<u16>,
}

impl Remote {
    /// Whether it is there.
    pub fn has(self, remote: SocketAddr) -> bool {
        let SocketAddr::V4(remote) = remote else {
            return false;
        };
        let is_port = self.port.is_none_or(|port| port == remote.port());
        is_port && self.net.contains(remote.ip())
    }
}

impl FromStr for Remote {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("{text:?} is no address or prefix: write it like 10.0.3.7:5432 or 10.0.0.0/16")
        };
        let (net, port) = match text.split_once(':') {
            Some((net, port)) => (net, Some(port.parse().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let address = net.parse::<Ipv4Addr>().map(Ipv4Net::from);
        let net = address.or_else(|_| net.parse()).map_err(|_| wrong())?;
        Ok(Self { net, port })
    }
}

/// A time, or how long ago.
fn moment(text: &str) -> Result<SystemTime, String> {
    if let Ok(at) = humantime::parse_rfc3339_weak(text) {
        return Ok(at);
    }
    let ago = humantime::parse_duration(text).map_err(|_| {
        format!("{text:?} is no time: write it like 2026-11-22T09:00:03Z, or how long ago like 1h")
    })?;
    SystemTime::now()
        .checked_sub(ago)
        .ok_or_else(|| format!("{text:?} is too long ago"))
}

fn millis(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

pub(super) fn who(socket: &Path, args: &WhoArgs, out: &mut impl Write) -> Result<()> {
    let (from, to) = args.period.range(SystemTime::now());
    let request = WhoRequest {
        address: Some(args.outside.address),
        ports: args.outside.ports,
        protocol: args.outside.protocol,
        remote: args.remote.map(|remote| remote.net),
        remote_port: args.remote.and_then(|remote| remote.port),
        environment: None,
        function: None,
        from,
        to,
        limit: args.limit,
    };
    list(socket, request, args.json, out)
}

/// Flows of a period, open or ended.
pub(super) fn history(socket: &Path, args: &super::FlowsArgs, out: &mut impl Write) -> Result<()> {
    let range = args.period.range(SystemTime::now());
    list(socket, of_flows(args, range, args.limit), args.json, out)
}

/// The flows that are asked for, of a period.
fn of_flows(args: &super::FlowsArgs, (from, to): (u64, u64), limit: usize) -> WhoRequest {
    WhoRequest {
        address: None,
        ports: None,
        protocol: None,
        remote: args.to.map(|remote| remote.net),
        remote_port: args.to.and_then(|remote| remote.port),
        environment: args.environment.clone(),
        function: args.function.clone(),
        from,
        to,
        limit,
    }
}

fn list(socket: &Path, request: WhoRequest, json: bool, out: &mut impl Write) -> Result<()> {
    let found = bindings(socket, request)?;
    show(out, json, &found, |out| print::bindings(out, &found))
}

fn bindings(socket: &Path, request: WhoRequest) -> Result<Bindings> {
    match ask(socket, &Request::Who(request))? {
        Response::Bindings(found) => Ok(found),
        other => misunderstood(&other),
    }
}

fn live(socket: &Path, args: &super::FlowsArgs) -> Result<Vec<FlowInfo>> {
    match ask(socket, &Request::Flows)? {
        Response::Flows(mut listed) => {
            listed.retain(|flow| args.wants(flow));
            Ok(listed)
        }
        other => misunderstood(&other),
    }
}

/// Tells of each flow that opens, changes its state or ends, until interrupted.
pub(super) fn follow(socket: &Path, args: &super::FlowsArgs, out: &mut impl Write) -> Result<()> {
    let mut follower = Follower::default();
    loop {
        let now = millis(SystemTime::now());
        let request = of_flows(args, (now.saturating_sub(LATE_MS), now), FOLLOW_LIMIT);
        let mut ended = bindings(socket, request)?.bindings;
        ended.retain(|flow| flow.end.is_some());
        for (change, flow) in follower.look(live(socket, args)?, ended, now) {
            print::flow_event(out, change, &flow, args.json)?;
        }
        out.flush()?;
        thread::sleep(FOLLOW);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outside_is_as_much_as_is_known() {
        let parsed = |text: &str| {
            let it: Outside = text.parse().ok()?;
            Some((it.address.to_string(), it.ports, it.protocol))
        };
        let address = || "10.0.1.25".to_owned();
        assert_eq!(parsed("10.0.1.25"), Some((address(), None, None)));
        assert_eq!(
            parsed("10.0.1.25:40213/tcp"),
            Some((address(), Some((40_213, 40_213)), Some(6)))
        );
        assert_eq!(
            parsed("10.0.1.25:1-9/17"),
            Some((address(), Some((1, 9)), Some(17)))
        );
        for wrong in [
            "",
            "10.0.1",
            "10.0.1.25:",
            "10.0.1.25:9-1",
            "10.0.1.25:1/x",
            "::1",
        ] {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_remote_is_an_address_or_a_prefix() {
        let parsed = |text: &str| {
            let it: Remote = text.parse().ok()?;
            Some((it.net.to_string(), it.port))
        };
        assert_eq!(
            parsed("10.0.3.7:53"),
            Some(("10.0.3.7/32".to_owned(), Some(53)))
        );
        assert_eq!(
            parsed("10.0.0.0/16"),
            Some(("10.0.0.0/16".to_owned(), None))
        );
        assert_eq!(parsed("10.0.0.0/33"), None);
        assert_eq!(parsed("x"), None);
    }

    #[test]
    fn a_period_is_a_moment_or_a_range() {
        let at = |secs| UNIX_EPOCH + Duration::from_secs(secs);
        let now = at(10_000);
        let range = |period: Period| period.range(now);
        assert_eq!(range(Period::default()), (9_940_000, 10_000_000));
        let moment = Period {
            at: Some(at(5)),
            ..Period::default()
        };
        assert_eq!(range(moment), (5_000, 5_000));
        let until = Period {
            until: Some(at(7)),
            ..Period::default()
        };
        assert_eq!(range(until), (0, 7_000));
        assert!(super::moment("2026-11-22T09:00:03Z").is_ok());
        assert!(super::moment("1h").is_ok());
        assert!(super::moment("yesterday").is_err());
    }
}
