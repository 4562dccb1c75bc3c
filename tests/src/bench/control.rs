//! What the control plane takes: a real agent with a store on disk, asked over its socket.

use std::{
    fmt::Write as _,
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    net::UdpSocket,
    os::unix::{fs::FileExt as _, net::UnixStream},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::json;
use vpc_user::model::{FunctionAttachRequest, ObjectName, Request, Response};

use super::{Figures, figures::median};
use crate::{
    burst,
    echo::{udp_exchange, udp_socket},
    functions::{Functions, network, tenant},
    rules::Dice,
    sequence,
    topology::RESOURCE,
    world::ECHO,
};

/// Flows that are open while the agent starts anew.
const FLOWS: usize = 100_000;
/// How long there is traffic before and after.
const BESIDE: Duration = Duration::from_millis(500);
const SEQUENCE: u16 = 9_991;
/// Environments that are attached.
const ENVIRONMENTS: usize = 10_000;
/// Of those the first and the last that are compared.
const ENDS: usize = 500;
/// Tenants of the large state, functions and ENIs of each.
const TENANTS: usize = 1_000;
const ENIS_PER_TENANT: usize = 4;

/// One sample of each figure.
pub fn measure(figures: &mut Figures) {
    first_packet(figures);
    restart(figures);
    large_state(figures);
}

/// From the command that needs a new ENI to the first answer through it.
fn first_packet(figures: &mut Figures) {
    let functions = Functions::start(&["blue"], 1, "");
    functions.apply(&network("blue"));
    let id = |kind, name| functions.one(kind, name).id;
    let members = json!({
        "FunctionName": "blue",
        "Role": id("role", "blue"),
        "VpcConfig": {
            "SubnetIds": [id("subnet", "blue-a")],
            "SecurityGroupIds": [id("security-group", "blue-web")],
        },
    });
    let env = functions.world.env(0);
    let socket = env
        .run(|| udp_socket((RESOURCE, ECHO.port())))
        .expect("socket");
    let start = Instant::now();
    functions
        .call("lambda", "CreateFunction", members)
        .expect("created");
    while functions.function("blue")["State"] != "Active" {}
    functions.attach(0, "blue");
    udp_exchange(&socket, b"the first").expect("an answer");
    figures.sample(
        "control.new_eni_first_packet_ms",
        milliseconds(start.elapsed()),
    );
}

/// From the end of one agent to the first answer of the next, with open flows and traffic.
fn restart(figures: &mut Figures) {
    let mut functions = burst::world(FLOWS);
    let (inside, outside) = ends_of_sequence(&functions);
    let took = burst::open(&functions, FLOWS, u32::MAX);
    figures.sample("control.burst_per_s", FLOWS as f64 / took.as_secs_f64());
    let open = functions.world.status().flows;
    assert!(open >= FLOWS as u64, "{open} flows are open");
    let stop = AtomicBool::new(false);
    let arrived = thread::scope(|scope| {
        let sequence = scope.spawn(|| sequence::run(&inside, &outside, &stop));
        thread::sleep(BESIDE);
        let start = Instant::now();
        functions.world.stop_agent(Signal::SIGTERM);
        functions.world.start_agent();
        figures.sample("control.restart_ms", milliseconds(start.elapsed()));
        thread::sleep(BESIDE);
        stop.store(true, Ordering::Relaxed);
        sequence.join().expect("the sequence")
    });
    assert_eq!(functions.world.status().flows, open, "flows of before");
    figures.sample("control.restart_lost", arrived.missing.len() as f64);
}

/// Sockets of an environment and of the VPC that a flow is open between.
fn ends_of_sequence(functions: &Functions) -> (UdpSocket, UdpSocket) {
    let outside = functions.world.tenant(0);
    let outside = outside.run(|| UdpSocket::bind((RESOURCE, SEQUENCE)));
    let outside = outside.expect("a socket in the VPC");
    let inside = functions.world.env(0);
    let inside = inside.run(|| udp_socket((RESOURCE, SEQUENCE)));
    let inside = inside.expect("a socket in the environment");
    inside.send(b"the first").expect("sent");
    outside.recv(&mut [0; 16]).expect("received");
    (inside, outside)
}

/// Attaching to a large state, and keeping the tables as it has them.
fn large_state(figures: &mut Figures) {
    let functions = large();
    functions.apply(&tenant("blue"));
    for tenants in (0..TENANTS).collect::<Vec<_>>().chunks(100) {
        let text: String = tenants.iter().map(|number| small_tenant(*number)).collect();
        functions.apply(&text);
    }
    functions.await_active("blue");
    make_links(&functions, 'e', 'f', ENVIRONMENTS);
    let mut connection = Connection::open(&functions);
    let begun = Instant::now();
    let mut taken = Vec::with_capacity(ENVIRONMENTS);
    for number in 0..ENVIRONMENTS {
        let request = attach_request(number);
        let start = Instant::now();
        let answer = connection.ask(&request);
        taken.push(microseconds(start.elapsed()));
        assert!(matches!(answer, Response::Environment(_)), "{answer:?}");
    }
    figures.sample("control.attach_10k_s", begun.elapsed().as_secs_f64());
    let (first, last) = (&taken[..ENDS], &taken[ENVIRONMENTS - ENDS..]);
    figures.sample("control.last_over_first", median(last) / median(first));
    taken.sort_by(f64::total_cmp);
    figures.sample("control.attach_p99_us", taken[ENVIRONMENTS * 99 / 100]);
    let start = Instant::now();
    functions.world.reload().expect("reloaded");
    figures.sample("control.full_reconcile_ms", milliseconds(start.elapsed()));
    let group = functions.one("security-group", "t7-web").id;
    let rule = json!({
        "GroupId": group,
        "IpPermissions": [{
            "IpProtocol": "tcp", "FromPort": 443, "ToPort": 443,
            "IpRanges": [{ "CidrIp": "192.0.2.0/24" }],
        }],
    });
    let start = Instant::now();
    functions
        .call("ec2", "AuthorizeSecurityGroupEgress", rule)
        .expect("authorized");
    figures.sample("control.one_change_ms", milliseconds(start.elapsed()));
    figures.sample("control.grace_ms", grace_period());
    let file = functions.world.socket().with_file_name("disk");
    let disk = disk_p99(&file).expect("the disk of the store can be written");
    figures.sample("control.disk_p99_us", disk);
}

/// The longest but for one in a hundred that the disk takes to have as much on it as an attach
/// writes, microseconds: none is acknowledged before.
fn disk_p99(path: &Path) -> std::io::Result<f64> {
    const COMMITS: usize = 2_000;
    const PAGES: u64 = 7;
    const PAGE: u64 = 4_096;
    const FILE: u64 = 1_024 * PAGE;
    let file = File::create(path)?;
    file.set_len(FILE)?;
    let mut dice = Dice::new(7);
    let mut taken = Vec::with_capacity(COMMITS);
    for _ in 0..COMMITS {
        let start = Instant::now();
        for _ in 0..PAGES {
            let page = dice.roll((FILE / PAGE) as usize) as u64;
            file.write_all_at(&[7; PAGE as usize], page * PAGE)?;
        }
        file.sync_data()?;
        taken.push(microseconds(start.elapsed()));
    }
    taken.sort_by(f64::total_cmp);
    Ok(taken[COMMITS * 99 / 100])
}

/// How long the kernel takes to know that every program has ended that ran when it was
/// asked, milliseconds: no change is acknowledged before.
fn grace_period() -> f64 {
    const GLOBAL: libc::c_int = 1;
    let wait = || {
        let start = Instant::now();
        // SAFETY: this command has no arguments and touches no memory.
        let waited = unsafe { libc::syscall(libc::SYS_membarrier, GLOBAL, 0, 0) };
        assert_eq!(
            waited,
            0,
            "the kernel waits: {}",
            std::io::Error::last_os_error()
        );
        milliseconds(start.elapsed())
    };
    median(&std::array::from_fn::<_, 9, _>(|_| wait()))
}

/// A world with an uplink for each of the tenants, and room for all that follows.
fn large() -> Functions {
    let mut plan = Functions::plan(&["blue"], 0, &large_quotas());
    plan.environment_limit = ENVIRONMENTS as u32 + 16;
    plan.eni_limit = (TENANTS * ENIS_PER_TENANT) as u32 + 16;
    plan.uplink_limit = TENANTS as u32 + 16;
    for number in 0..TENANTS {
        let _ = writeln!(
            plan.network,
            "[[uplink]]\nname = \"t{number}\"\ninterface = \"u{number}\"\nhook = \"tc\""
        );
    }
    let mut functions = Functions::build(plan);
    make_links(&functions, 'u', 'w', TENANTS);
    functions.world.start_agent();
    functions
}

/// Quotas that let a single account have a thousand tenants.
fn large_quotas() -> String {
    "vpcs = 2000\nhyperplane_enis_per_vpc = 1000\ninterfaces_per_zone = 10000\n\
     [quotas]\nsecurity_groups = 10000\n"
        .to_owned()
}

/// A VPC with four subnets and a function in each.
fn small_tenant(number: usize) -> String {
    let (high, low) = (number / 256, number % 256);
    let mut text = format!(
        "[[vpc]]\nname = \"t{number}\"\ncidr = [\"172.{}.{low}.0/24\"]\nuplink = \"t{number}\"\n\
         local = \"on-link\"\n\
         [[security_group]]\nname = \"t{number}-web\"\nvpc = \"t{number}\"\n\
         [[role]]\nname = \"t{number}\"\nmanaged = [\"AWSLambdaVPCAccessExecutionRole\"]\n",
        16 + high
    );
    for part in 0..ENIS_PER_TENANT {
        let _ = write!(
            text,
            "[[subnet]]\nname = \"t{number}-{part}\"\nvpc = \"t{number}\"\n\
             cidr = \"172.{}.{low}.{}/28\"\n\
             [[function]]\nname = \"t{number}-{part}\"\nrole = \"t{number}\"\n\
             subnets = [\"t{number}-{part}\"]\nsecurity_groups = [\"t{number}-web\"]\n",
            16 + high,
            part * 16
        );
    }
    text
}

/// Veth pairs, both ends on the host; the far ones lie idle.
fn make_links(functions: &Functions, near: char, far: char, count: usize) {
    for numbers in (0..count).collect::<Vec<_>>().chunks(1_000) {
        let mut lines = String::new();
        for number in numbers {
            let _ = writeln!(
                lines,
                "link add {near}{number} type veth peer name {far}{number}"
            );
            let _ = writeln!(lines, "link set {near}{number} up");
            let _ = writeln!(lines, "link set {far}{number} up");
        }
        functions.world.host().ip_batch(&lines);
    }
}

fn attach_request(number: usize) -> Request {
    let request = json!({
        "name": ObjectName::new(format!("e{number}")).expect("a name"),
        "function": "blue",
        "interface": format!("e{number}"),
        "mac": "02:00:00:00:00:02",
    });
    let request: FunctionAttachRequest = serde_json::from_value(request).expect("a request");
    Request::AttachFunction(request)
}

/// A connection to the agent that stays open.
struct Connection {
    reader: BufReader<UnixStream>,
}

impl Connection {
    fn open(functions: &Functions) -> Self {
        let stream = UnixStream::connect(functions.world.socket()).expect("connect");
        Self {
            reader: BufReader::new(stream),
        }
    }

    fn ask(&mut self, request: &Request) -> Response {
        let mut line = serde_json::to_vec(request).expect("JSON");
        line.push(b'\n');
        self.reader.get_mut().write_all(&line).expect("ask");
        let mut answer = String::new();
        self.reader.read_line(&mut answer).expect("an answer");
        serde_json::from_str(&answer).expect("a response")
    }
}

fn milliseconds(elapsed: Duration) -> f64 {
    elapsed.as_secs_f64() * 1e3
}

fn microseconds(elapsed: Duration) -> f64 {
    elapsed.as_secs_f64() * 1e6
}
