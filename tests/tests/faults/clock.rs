//! The wall clock is set forth and back under an agent, by a day. Only the agent's: libfaketime
//! stands between it and the machine's clock, which stays as it is.

use std::{fs, path::Path, process::Command, time::Duration};

use nix::sys::signal::Signal;
use tests::{
    echo::{tcp_exchange, udp_exchange, udp_socket},
    flow_logs::{FORMAT, Line, export, lines, number},
    functions::{Functions, tenant},
    wait::{PATIENCE, eventually},
    world::{ECHO, World},
};
use vpc_user::model::{BindingInfo, Request, Response, WhoRequest};

use crate::connect;

/// What a program must have loaded to see another clock; the program that this is told by
/// comes with it.
fn library() -> String {
    let told = Command::new("faketime")
        .args(["-f", "+0d", "printenv", "LD_PRELOAD"])
        .output();
    let told = told.expect("run `faketime`: `cargo xtask setup` installs it");
    assert!(told.status.success(), "{told:?}");
    String::from_utf8_lossy(&told.stdout).trim().to_owned()
}

/// The agent's wall clock.
struct Clock<'a>(&'a Path);

impl Clock<'_> {
    /// Its distance from the machine's, as libfaketime reads it.
    fn set(&self, distance: &str) {
        // Whoever reads it meanwhile reads the old or the new.
        let draft = self.0.with_extension("draft");
        fs::write(&draft, format!("{distance}\n")).expect("write the clock");
        fs::rename(draft, self.0).expect("set the clock");
    }

    fn give_to(&self, world: &mut World) {
        let file = self.0.display().to_string();
        for (name, value) in [
            ("LD_PRELOAD", library().as_str()),
            ("FAKETIME_TIMESTAMP_FILE", &file),
            ("FAKETIME_NO_CACHE", "1"),
            ("DONT_FAKE_MONOTONIC", "1"),
            ("NO_FAKE_STAT", "1"),
        ] {
            world.set_variable(name, value);
        }
    }
}

fn open_flows(world: &World) -> Vec<BindingInfo> {
    let asked = WhoRequest {
        address: None,
        ports: None,
        protocol: None,
        remote: None,
        remote_port: None,
        environment: Some("blue-0".to_owned()),
        function: None,
        from: 0,
        to: u64::MAX / 2,
        limit: 1_000,
    };
    match world.request(&Request::Who(asked)) {
        Response::Bindings(found) => {
            let open = found.bindings.into_iter();
            open.filter(|flow| flow.end.is_none()).collect()
        }
        other => panic!("{other:?}"),
    }
}

/// What the agent's clock says, by a record of the journal's that is made now.
fn records(folder: &Path) -> Vec<Line> {
    let lines = lines(folder).into_iter();
    lines.filter(|line| line["log-status"] == "OK").collect()
}

fn packets(records: &[Line], direction: &str) -> u64 {
    let some = records
        .iter()
        .filter(|line| line["flow-direction"] == direction);
    some.map(|line| number(line, "packets")).sum()
}

#[test]
fn a_clock_that_is_set_by_a_day_ends_no_flow_and_loses_no_packet() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = folder.path().join("clock");
    let clock = Clock(&clock);
    clock.set("+0");
    let logs = folder.path().join("logs");
    fs::create_dir(&logs).expect("make a folder");
    let mut plan = Functions::plan(&["blue"], 1, "");
    plan.flow_logs = Some(export(&logs, FORMAT));
    let mut functions = Functions::build(plan);
    clock.give_to(&mut functions.world);
    functions.world.start_agent();
    functions.apply(&tenant("blue"));
    functions.await_active("blue");
    functions.attach(0, "blue");
    let mut stream = connect(&functions.world, 0);
    let socket = functions
        .world
        .env(0)
        .run(|| udp_socket(ECHO))
        .expect("socket");
    let mut datagrams = 0;
    let before = (
        functions.get("function"),
        functions.get("interface"),
        functions.get("environment"),
    );
    let slots = |functions: &Functions| {
        let flows = functions.world.flows().into_iter();
        let mut slots: Vec<_> = flows.map(|flow| (flow.slot, flow.epoch)).collect();
        slots.sort_unstable();
        slots
    };
    udp_exchange(&socket, b"datagram").expect("echo");
    datagrams += 1;
    let open = slots(&functions);
    assert_eq!(open.len(), 2);
    for (round, distance) in ["+1d", "+0", "-1d", "+0"].into_iter().enumerate() {
        clock.set(distance);
        if round == 2 {
            // A start under another clock than the journal's.
            functions.world.stop_agent(Signal::SIGKILL);
            functions.world.start_agent();
        }
        // Some periods pass, in which there is something to tell.
        let swept = |world: &World| world.status().counters["agent_sweeps"];
        let since = swept(&functions.world);
        let mut exchange = || {
            udp_exchange(&socket, b"datagram").expect("echo");
            datagrams += 1;
            tcp_exchange(&mut stream, distance.as_bytes()).expect("the connection goes on");
            swept(&functions.world) >= since + 6
        };
        assert!(eventually(PATIENCE, &mut exchange));
        assert_eq!(slots(&functions), open, "the clock at {distance}");
        assert_eq!(
            open_flows(&functions.world).len(),
            2,
            "the clock at {distance}"
        );
        let idle = functions
            .world
            .flows()
            .into_iter()
            .map(|flow| flow.idle_secs);
        assert!(
            idle.fold(0.0, f64::max) < 60.0,
            "nobody was silent for long"
        );
        let now = (
            functions.get("function"),
            functions.get("interface"),
            functions.get("environment"),
        );
        assert_eq!(now, before, "the clock at {distance}");
    }
    let has_jumped = |records: &[Line]| {
        let ends: Vec<u64> = records.iter().map(|line| number(line, "end")).collect();
        let first = ends.iter().min().copied().unwrap_or_default();
        ends.iter().any(|end| *end > first + 80_000)
    };
    let all = || {
        let udp: Vec<Line> = records(&logs)
            .into_iter()
            .filter(|it| it["protocol"] == "17")
            .collect();
        packets(&udp, "egress") == datagrams && packets(&udp, "ingress") == datagrams
    };
    let found = eventually(PATIENCE * 2, all);
    let records = records(&logs);
    let udp: Vec<Line> = records
        .iter()
        .filter(|it| it["protocol"] == "17")
        .cloned()
        .collect();
    let told = (packets(&udp, "egress"), packets(&udp, "ingress"));
    assert!(
        found,
        "{told:?} of {datagrams}: {}",
        functions.world.log_tail(20)
    );
    assert!(has_jumped(&records), "the agent's clock was set");
    for line in &records {
        let (start, end) = (number(line, "start"), number(line, "end"));
        assert!(start <= end, "{line:?}");
    }
    assert!(
        functions.world.drop_totals().is_empty(),
        "{:?}",
        functions.world.drop_totals()
    );
}

/// Idle times are those of the kernel's clock.
#[test]
fn an_idle_flow_ends_at_its_time_though_the_clock_is_set() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = folder.path().join("clock");
    let clock = Clock(&clock);
    clock.set("+0");
    let mut world = World::build(tests::plan::Plan::blue(1).with_tenant(|tenant| {
        tenant.timeouts = vec![("udp_new", 900), ("udp_stream", 4)];
    }));
    clock.give_to(&mut world);
    world.start_agent();
    world.attach(world.attach_request(0)).expect("attach");
    let stream = connect(&world, 0);
    for distance in ["+1d", "-1d"] {
        let socket = world.env(0).run(|| udp_socket(ECHO)).expect("socket");
        udp_exchange(&socket, b"one").expect("echo");
        udp_exchange(&socket, b"two").expect("echo");
        let begun = std::time::Instant::now();
        clock.set(distance);
        let udp = || {
            world
                .flows()
                .iter()
                .filter(|it| it.protocol == "udp")
                .count()
        };
        assert_eq!(udp(), 1, "the clock at {distance}");
        assert!(eventually(PATIENCE, || udp() == 0), "{:?}", world.flows());
        assert!(
            begun.elapsed() >= Duration::from_secs(4),
            "not before its time"
        );
    }
    let flows = world.flows();
    assert!(flows.len() == 1 && flows[0].protocol == "tcp", "{flows:?}");
    drop(stream);
}
