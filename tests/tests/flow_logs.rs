//! Flow logs: every packet is in exactly one record, whatever happens to the agent.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _},
    net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket},
    path::Path,
    process::Stdio,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, SystemTime},
};

use nix::sys::signal::{Signal, kill};
use tests::{
    agent, burst,
    echo::{allow_many_sockets, tcp_exchange, udp_exchange, udp_socket},
    flow_logs::{FORMAT, Line, export, lines, number, sums},
    functions::{Functions, tenant},
    http,
    netns::Entrance,
    plan::Plan,
    topology::{GATEWAY, GATEWAY_MAC, INTERFACE, eni, mac_of, pin_neighbour},
    vpc::{Rules, Vpc},
    wait::{PATIENCE, eventually},
    world::{ECHO, World},
};
use vpc_user::model::{BindingInfo, Bindings};

/// What the sender of datagrams knows of each flow, by environment, port and direction.
type Known = Mutex<BTreeMap<(String, u16, String), (u64, u64)>>;

/// Opens flows, uses them and leaves them, until told to stop.
fn churn(name: &str, seed: u64, stop: &AtomicBool, known: &Known) {
    let mut dice = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut roll = |most: u64| {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        dice % most
    };
    while !stop.load(Ordering::Relaxed) {
        if roll(3) == 0 {
            let mut stream = http::connect(ECHO).expect("connect");
            for _ in 0..=roll(4) {
                let payload = vec![1; 1 + roll(4_000) as usize];
                tcp_exchange(&mut stream, &payload).expect("echo");
            }
        } else {
            let socket = udp_socket(ECHO).expect("socket");
            datagrams(name, &socket, 1 + roll(5), roll(900) as usize, known);
        }
        thread::sleep(Duration::from_millis(roll(250)));
    }
}

fn datagrams(name: &str, socket: &UdpSocket, count: u64, len: usize, known: &Known) {
    let port = socket.local_addr().expect("an address").port();
    let payload = vec![7; len];
    let (mut out, mut back) = (0, 0);
    for _ in 0..count {
        let seen = udp_exchange(socket, &payload).expect("echo");
        out += 28 + len as u64;
        back += 28 + format!("{} {}\n", seen.tenant, seen.peer).len() as u64 + len as u64;
    }
    let mut known = known.lock().expect("not poisoned");
    for (direction, bytes) in [("egress", out), ("ingress", back)] {
        let flow = (name.to_owned(), port, direction.to_owned());
        let sum = known.entry(flow).or_default();
        *sum = (sum.0 + count, sum.1 + bytes);
    }
}

#[test]
fn every_packet_is_in_one_record_though_the_agent_is_killed_ten_times() {
    const ENVIRONMENTS: usize = 50;
    const KILLS: u64 = 10;
    // The server keeps its ends of all connections.
    allow_many_sockets();
    let folder = tempfile::tempdir().expect("a folder");
    let mut plan = Plan::blue(ENVIRONMENTS).with_tenant(|tenant| {
        tenant.timeouts = vec![("closed", 1), ("udp_new", 2), ("udp_stream", 2)];
    });
    plan.flow_logs = Some(export(folder.path(), FORMAT));
    let mut world = World::start(plan);
    // What a stack hands over is what is on the wire if no device cuts segments.
    world
        .tenant(0)
        .says("ethtool", &["-K", INTERFACE, "tso", "off", "gro", "off"]);
    let uplink = mac_of(world.host(), "up-blue");
    pin_neighbour(world.tenant(0), eni(0), uplink);
    for index in 0..ENVIRONMENTS {
        let env = world.env(index);
        env.says("ethtool", &["-K", INTERFACE, "tso", "off", "gro", "off"]);
        pin_neighbour(env, GATEWAY, GATEWAY_MAC);
    }
    let counters = |world: &World, index: usize| {
        let env = world.env(index);
        (env.transmitted(INTERFACE), env.received(INTERFACE))
    };
    let before: Vec<_> = (0..ENVIRONMENTS)
        .map(|index| counters(&world, index))
        .collect();
    let (stop, known) = (AtomicBool::new(false), Known::default());
    let names: Vec<String> = world
        .environments()
        .iter()
        .map(|environment| environment.name.clone())
        .collect();
    let entrances: Vec<Entrance> = (0..ENVIRONMENTS)
        .map(|index| world.env(index).entrance())
        .collect();
    thread::scope(|scope| {
        let (stop, known) = (&stop, &known);
        for (seed, (name, entrance)) in (1..).zip(names.iter().zip(&entrances)) {
            scope.spawn(move || entrance.run(|| churn(name, seed, stop, known)));
        }
        for kill in 0..KILLS {
            // Some are killed while they start, some in the middle of a period.
            thread::sleep(Duration::from_millis(150 + kill * 331 % 1_400));
            world.stop_agent(Signal::SIGKILL);
            thread::sleep(Duration::from_millis(kill * 97 % 500));
            world.start_agent();
        }
        thread::sleep(Duration::from_secs(2));
        stop.store(true, Ordering::Relaxed);
    });
    let known = known.into_inner().expect("not poisoned");
    assert!(known.len() > ENVIRONMENTS * 4, "{} flows", known.len());
    // Until the last flow has ended, and what was recorded is delivered.
    let expected: u64 = known.values().map(|(packets, _)| packets).sum();
    let recorded = || -> u64 {
        let lines = lines(folder.path());
        let udp = lines.iter().filter(|line| line["protocol"] == "17");
        udp.map(|line| number(line, "packets")).sum()
    };
    eventually(PATIENCE, || {
        world.flows().is_empty() && recorded() >= expected
    });
    thread::sleep(Duration::from_secs(4));
    let lines = lines(folder.path());
    let skipped = lines.iter().filter(|line| line["log-status"] == "SKIPDATA");
    assert_eq!(skipped.count(), 0);
    let udp: Vec<Line> = lines
        .iter()
        .filter(|line| line["protocol"] == "17")
        .cloned()
        .collect();
    let of_flow = |line: &Line| {
        let port = line["x-inside-port"].parse::<u16>().expect("a port");
        let direction = line["flow-direction"].clone();
        (line["x-environment-id"].clone(), port, direction)
    };
    assert_eq!(sums(&udp, of_flow), known);
    let of_environment = |line: &Line| {
        let direction = line["flow-direction"].clone();
        (line["x-environment-id"].clone(), direction)
    };
    let recorded = sums(&lines, of_environment);
    for (index, name) in names.iter().enumerate() {
        let (sent, received) = counters(&world, index);
        let (sent_before, received_before) = before[index];
        for (direction, now, then) in [
            ("egress", sent, sent_before),
            ("ingress", received, received_before),
        ] {
            let (packets, bytes) = (now.0 - then.0, now.1 - then.1);
            let sum = recorded[&(name.clone(), direction.to_owned())];
            assert_eq!(sum, (packets, bytes - 14 * packets), "{name} {direction}");
        }
    }
}

#[test]
fn more_flows_than_the_ring_of_records_holds_are_all_recorded() {
    const FLOWS: usize = 100_000;
    let folder = tempfile::tempdir().expect("a folder");
    let format = "${srcport} ${packets} ${log-status} ${action} ${flow-direction}";
    let functions = burst::world_as(FLOWS, |plan| {
        plan.flow_logs = Some(export(folder.path(), format));
    });
    // From then on the next hop is known.
    let _first = exchange(&functions.world);
    burst::open(&functions, FLOWS, u32::MAX);
    let packets = || -> u64 {
        let lines = lines(folder.path()).into_iter();
        let out = lines.filter(|line| line["flow-direction"] == "egress");
        out.map(|line| number(&line, "packets")).sum()
    };
    assert!(
        eventually(PATIENCE, || packets() > FLOWS as u64),
        "{} packets; {:?}",
        packets(),
        functions.world.status().counters
    );
    thread::sleep(Duration::from_secs(3));
    assert_eq!(packets(), FLOWS as u64 + 1);
    let counters = functions.world.status().counters;
    assert_eq!(
        counters["records_deferred"], 0,
        "none had to wait for a period"
    );
}

#[test]
fn what_is_refused_is_recorded_exactly_though_the_agent_is_killed() {
    let folder = tempfile::tempdir().expect("a folder");
    let rules = Rules::with(|rules| rules.egress = Some(String::new()));
    let mut vpc = Vpc::start_as(rules, |plan| {
        plan.flow_logs = Some(export(folder.path(), FORMAT));
    });
    let socket = vpc.world.env(0).run(|| udp_socket(ECHO)).expect("socket");
    let port = socket.local_addr().expect("an address").port();
    let mut sent = 0;
    for round in 0..6 {
        for _ in 0..25 {
            socket.send(&[7; 100]).expect("send");
            sent += 1;
            thread::sleep(Duration::from_millis(60));
        }
        if round % 2 == 1 {
            vpc.world.stop_agent(Signal::SIGKILL);
            vpc.world.start_agent();
        }
    }
    let refused = || -> Vec<Line> {
        let lines = lines(folder.path()).into_iter();
        lines.filter(|line| line["action"] == "REJECT").collect()
    };
    let packets = |lines: &[Line]| -> u64 { lines.iter().map(|it| number(it, "packets")).sum() };
    assert!(
        eventually(PATIENCE, || packets(&refused()) >= sent),
        "{} of {sent}",
        packets(&refused())
    );
    thread::sleep(Duration::from_secs(3));
    let refused = refused();
    assert_eq!(packets(&refused), sent);
    let bytes: u64 = refused.iter().map(|line| number(line, "bytes")).sum();
    assert_eq!(bytes, sent * 128);
    // A record in each interval that had some, not one at the end.
    assert!(refused.len() > 2, "{refused:?}");
    for line in &refused {
        let shown = [
            "flow-direction",
            "x-drop-reason",
            "x-environment-id",
            "x-outside-port",
        ];
        let shown = shown.map(|name| line[name].as_str());
        assert_eq!(shown, ["egress", "sg_egress", "blue-0", "-"]);
        assert_eq!(number(line, "srcport"), u64::from(port));
    }
}

#[test]
fn a_flow_log_of_a_vpc_goes_to_its_bucket_and_says_how_that_went() {
    let folder = tempfile::tempdir().expect("a folder");
    let bucket = folder.path().join("bucket");
    let is_at = |place: &Path| {
        let url = place.display();
        format!("period_secs = 1\n[[flow_logs.bucket]]\nname = \"flows\"\nurl = \"file://{url}\"\n")
    };
    let nowhere = folder.path().join("nowhere");
    let mut functions = Functions::start_as(&["blue"], 1, "", |plan| {
        plan.flow_logs = Some(is_at(&nowhere));
    });
    let log = "[[flow_log]]\nname = \"all\"\nvpc = \"blue\"\ninterval = 60\n\
               destination = \"arn:aws:s3:::flows/net\"\n\
               format = \"${account-id} ${vpc-id} ${subnet-id} ${interface-id} ${az-id} ${packets} \
               ${log-status} ${flow-direction} ${x-function-arn} ${x-function-version} \
               ${x-environment-id} ${x-inside-addr}\"\n";
    functions.apply(&format!("{}{log}", tenant("blue")));
    functions.await_active("blue");
    functions.attach(0, "blue");
    let seen = functions.world.env(0).run(|| {
        let socket = udp_socket(ECHO).expect("socket");
        udp_exchange(&socket, b"hello").expect("echo")
    });
    let status = |functions: &Functions| functions.one("flow-log", "all").resource;
    let is = |functions: &Functions, word: &str| status_of(&status(functions)) == word;
    // The folder is not there.
    let failed = eventually(PATIENCE, || is(&functions, "FAILED"));
    let shown = status(&functions);
    assert!(failed, "{shown}");
    assert_eq!(shown["DeliverLogsErrorMessage"], "Access error");
    let detail = shown["DeliverLogsErrorDetail"].to_string();
    assert!(detail.contains(&nowhere.display().to_string()), "{detail}");
    // The operator says where the bucket is; what waited goes there.
    std::fs::create_dir(&bucket).expect("make the folder");
    functions.world.plan_mut().flow_logs = Some(is_at(&bucket));
    functions.world.reload().expect("a valid configuration");
    let delivered = eventually(PATIENCE, || is(&functions, "SUCCESS"));
    assert!(delivered, "{}", status(&functions));
    let of_flow = || -> Vec<Line> {
        let lines = lines(&bucket.join("net/AWSLogs")).into_iter();
        lines.filter(|line| line["log-status"] == "OK").collect()
    };
    assert!(
        eventually(PATIENCE, || of_flow().len() >= 2),
        "{:?}",
        of_flow()
    );
    let (address, eni) = functions.enis().remove(0);
    assert_eq!(*seen.peer.ip(), address);
    let mut directions = Vec::new();
    for line in of_flow() {
        assert_eq!(line["interface-id"], eni.id);
        assert_eq!(line["vpc-id"], functions.one("vpc", "blue").id);
        assert_eq!(line["subnet-id"], functions.one("subnet", "blue-a").id);
        assert_eq!(line["account-id"].len(), 12);
        assert_eq!(line["x-function-version"], "$LATEST");
        assert!(
            line["x-function-arn"].ends_with(":function:blue"),
            "{line:?}"
        );
        assert_eq!(line["x-environment-id"], "blue-0");
        directions.push(line["flow-direction"].clone());
    }
    directions.sort();
    directions.dedup();
    assert_eq!(directions, ["egress", "ingress"]);
    let nothing = || {
        let lines = lines(&bucket).into_iter();
        lines.filter(|line| line["log-status"] == "NODATA").count()
    };
    assert!(eventually(PATIENCE, || nothing() > 0));
}

fn status_of(resource: &serde_json::Value) -> String {
    let status = resource["DeliverLogsStatus"].as_str();
    status.unwrap_or_default().to_owned()
}

fn who(world: &World, arguments: &[&str]) -> Vec<BindingInfo> {
    let output = agent::command(&world.socket(), arguments);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "vpc {arguments:?}: {errors}");
    let found: Bindings = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(found.skipped.is_empty(), "{found:?}");
    found.bindings
}

fn now() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}

/// A flow of the environment: whom the server saw.
fn exchange(world: &World) -> (SocketAddrV4, UdpSocket) {
    let socket = world.env(0).run(|| udp_socket(ECHO)).expect("socket");
    let seen = udp_exchange(&socket, b"who am I?").expect("echo");
    (seen.peer, socket)
}

#[test]
fn who_was_behind_an_address_and_port_is_known_while_it_lasts_and_after() {
    let mut plan = Functions::plan(&["blue"], 1, "");
    plan.flow_logs = Some("period_secs = 1\n".to_owned());
    let mut functions = Functions::build(plan);
    functions.world.start_agent();
    let short = tenant("blue").replace(
        "[[function]]",
        "[[interface]]\nname = \"other\"\nsubnet = \"blue-a\"\naddress = \"10.0.0.77\"\n[[function]]",
    );
    functions.apply(&short);
    functions.await_active("blue");
    functions.attach(0, "blue");
    let before = now();
    thread::sleep(Duration::from_millis(200));
    let (peer, socket) = exchange(&functions.world);
    let inside = socket.local_addr().expect("an address");
    thread::sleep(Duration::from_millis(200));
    let at = now();
    let outside = format!("{peer}/udp");
    let ask = |functions: &Functions, at: &str| {
        who(&functions.world, &["who", &outside, "--at", at, "--json"])
    };
    let open = ask(&functions, &at);
    assert_eq!(open.len(), 1, "{open:?}");
    assert_eq!(
        (open[0].environment.as_str(), open[0].inside),
        ("blue-0", inside)
    );
    assert_eq!((open[0].end, open[0].remote), (None, ECHO.into()));
    let function = open[0].function.clone().expect("a function");
    assert!(function.ends_with(":function:blue:$LATEST"), "{function}");
    assert_eq!(ask(&functions, &before), []);
    // Its environment goes, and the flow with it.
    functions.world.detach("blue-0").expect("detach");
    let ended = || {
        let found = ask(&functions, &at);
        (found.len() == 1 && found[0].end.is_some()).then(|| found[0].clone())
    };
    assert!(
        eventually(PATIENCE, || ended().is_some()),
        "{:?}",
        ask(&functions, &at)
    );
    let ended = ended().expect("it ended");
    let named = |it: &BindingInfo| (it.environment.clone(), it.function.clone(), it.inside);
    assert_eq!(named(&ended), named(&open[0]));
    // From the journal at first, then from the index; and by whoever is the agent then.
    thread::sleep(Duration::from_secs(4));
    assert_eq!(ask(&functions, &at), std::slice::from_ref(&ended));
    functions.world.stop_agent(Signal::SIGKILL);
    functions.world.start_agent();
    assert_eq!(ask(&functions, &at), std::slice::from_ref(&ended));
    let reverse = [
        "flows",
        "--function",
        "blue",
        "--since",
        "1h",
        "--to",
        "10.0.0.0/16",
        "--json",
    ];
    assert_eq!(
        who(&functions.world, &reverse),
        std::slice::from_ref(&ended)
    );
    let elsewhere = ["flows", "--since", "1h", "--to", "10.9.0.0/16", "--json"];
    assert_eq!(who(&functions.world, &elsewhere), []);
}

#[test]
fn who_follows_is_told_of_every_flow_that_opens_and_ends() {
    let mut plan = Plan::blue(1).with_tenant(|tenant| {
        tenant.timeouts = vec![("udp_new", 1), ("udp_stream", 1)];
    });
    plan.flow_logs = Some("period_secs = 1\n".to_owned());
    let world = World::start(plan);
    let mut follower = std::process::Command::new(agent::binary())
        .args(["flows", "--follow"])
        .env("VPC_SOCKET", world.socket())
        .stdout(Stdio::piped())
        .spawn()
        .expect("start `vpc`");
    let (sender, told) = mpsc::channel();
    let out = follower.stdout.take().expect("a pipe");
    thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    thread::sleep(Duration::from_secs(1));
    let (peer, socket) = exchange(&world);
    let inside = socket.local_addr().expect("an address");
    let mut seen = Vec::new();
    for word in ["[NEW]", "[DESTROY]"] {
        loop {
            let line = told
                .recv_timeout(PATIENCE)
                .unwrap_or_else(|_| panic!("{seen:?}"));
            seen.push(line.clone());
            let parts = [word, "blue-0", &inside.to_string(), &peer.to_string()];
            if parts.iter().all(|part| line.contains(part)) {
                break;
            }
        }
    }
    let pid = nix::unistd::Pid::from_raw(follower.id().cast_signed());
    kill(pid, Signal::SIGINT).expect("signal");
    follower.wait().expect("wait");
    let of_flow = seen
        .iter()
        .filter(|line| line.contains(&inside.to_string()));
    let news = of_flow.filter(|line| line.contains("[NEW]"));
    assert_eq!(news.count(), 1, "{seen:?}");
}

#[test]
fn sessions_and_a_quota_that_is_used_up_reach_an_ipfix_collector() {
    let mut plan = Plan::blue(1).with_tenant(|tenant| {
        tenant.timeouts = vec![("udp_new", 1), ("udp_stream", 1)];
    });
    plan.environments[0].flow_quota = 1;
    let mut world = World::build(plan);
    let collector = world
        .host()
        .run(|| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    let collector = collector.expect("a collector");
    let to = collector.local_addr().expect("an address");
    world.plan_mut().flow_logs = Some(format!(
        "period_secs = 1\n[[flow_logs.export]]\nname = \"audit\"\nto = \"ipfix+tcp://{to}\"\n"
    ));
    let (sender, messages) = mpsc::channel();
    thread::spawn(move || {
        let (mut stream, _) = collector.accept().expect("the agent connects");
        loop {
            let mut head = [0; 4];
            if stream.read_exact(&mut head).is_err() {
                return;
            }
            // RFC 7011 section 3.1: version 10, and the length of all.
            assert_eq!(head[..2], [0, 10]);
            let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
            let mut message = vec![0; len - 4];
            stream.read_exact(&mut message).expect("a whole message");
            let _ = sender.send(message);
        }
    });
    world.write_config();
    world.start_agent();
    let request = world.attach_request(0);
    world.attach(request).expect("attach");
    // The first look at counters finds what was there before.
    thread::sleep(Duration::from_secs(3));
    let (_, first) = exchange(&world);
    let second = world.env(0).run(|| udp_socket(ECHO)).expect("socket");
    second.send(b"one too many").expect("send");
    drop(first);
    // A session is made and deleted, and the environment's name is in the event about its quota.
    let mut named = 0;
    let deadline = std::time::Instant::now() + PATIENCE;
    while named < 3 {
        let left = deadline.saturating_duration_since(std::time::Instant::now());
        let message = messages.recv_timeout(left);
        let message = message.unwrap_or_else(|_| panic!("{named} events\n{}", world.log_tail(20)));
        named += message.windows(6).filter(|part| *part == b"blue-0").count();
    }
}

#[test]
fn a_refused_kind_of_destination_is_one_sentence() {
    let world = World::start(Plan::blue(1));
    for (to, part) in [
        ("ftp://x/y", "is no place for objects"),
        ("ipfix+udp://nowhere", "is no IPFIX collector"),
    ] {
        let text = format!(
            "{}\n[flow_logs]\n[[flow_logs.export]]\nname = \"x\"\nto = \"{to}\"\n",
            world.config_text()
        );
        let error = world.reload_text(&text).expect_err("refused");
        assert!(error.contains(part), "{error}");
    }
}
