//! What it takes a real agent to collect.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::{
    bench::Figures,
    burst,
    echo::{udp_exchange, udp_socket},
    flow_logs,
    functions::Functions,
    http,
    topology::RESOURCE,
    world::ECHO,
};

/// Live flows beside the stream whose throughput is measured.
const BESIDE: usize = 50_000;
/// Seconds of a period, and of a look at the throughput: each has one collection in it. It is a
/// twelfth of what is usual.
const PERIOD: u64 = 5;
const STREAM: u16 = 9_992;
/// Flows of the large collection.
const MILLION: usize = 1_000_000;
/// Seconds in which they are opened, and collected once.
const LONG_PERIOD: u64 = 30;

/// Throughput of an open TCP stream beside many flows that carry a little, with flow logs and
/// without, in turn.
pub fn overhead(figures: &mut Figures) {
    let with = Stream::start(Some(format!("period_secs = {PERIOD}\n{}", export())));
    let without = Stream::start(None);
    // The one and the other in turn, so that a slow moment of the machine is both's.
    let (mut sums, mut rounds) = ([0.0, 0.0], 0);
    while rounds < 6 {
        let mut turn = [(0, &with), (1, &without)];
        if rounds % 2 == 1 {
            turn.reverse();
        }
        for (at, stream) in turn {
            sums[at] += stream.throughput();
        }
        rounds += 1;
    }
    let [with, without] = sums;
    figures.sample("flowlog.overhead_pct", (1.0 - with / without) * 100.0);
}

/// An export that takes every record and keeps none.
fn export() -> String {
    let folder = crate::leavings::bench_folder(std::process::id()).join("logs");
    fs::create_dir_all(&folder).expect("make a folder");
    let url = folder.display();
    format!("[[flow_logs.export]]\nname = \"all\"\nto = \"file://{url}\"\n")
}

/// A world with many live flows and one stream.
struct Stream {
    functions: Functions,
    received: Arc<AtomicU64>,
    run: Arc<AtomicBool>,
}

impl Stream {
    fn start(flow_logs: Option<String>) -> Self {
        let functions = burst::world_as(BESIDE, |plan| plan.flow_logs = flow_logs);
        let received = Arc::new(AtomicU64::new(0));
        let run = Arc::new(AtomicBool::new(false));
        let listener = functions
            .world
            .tenant(0)
            .run(|| TcpListener::bind((RESOURCE, STREAM)))
            .expect("a server");
        let counted = Arc::clone(&received);
        thread::spawn(move || {
            let Ok((mut stream, _)) = listener.accept() else {
                return;
            };
            let mut buffer = vec![0; 1 << 20];
            while let Ok(len @ 1..) = stream.read(&mut buffer) {
                counted.fetch_add(len as u64, Ordering::Relaxed);
            }
        });
        let stream = functions.world.env(0);
        let mut stream = stream
            .run(|| http::connect((RESOURCE, STREAM)))
            .expect("connect");
        let running = Arc::clone(&run);
        thread::spawn(move || {
            let payload = vec![7; 1 << 18];
            loop {
                if !running.load(Ordering::Relaxed) {
                    thread::sleep(Duration::from_millis(5));
                } else if stream.write_all(&payload).is_err() {
                    return;
                }
            }
        });
        burst::open(&functions, BESIDE, 50_000);
        Self {
            functions,
            received,
            run,
        }
    }

    /// Bytes a second, while each of the other flows carries a packet, so that there is a
    /// record of it.
    fn throughput(&self) -> f64 {
        let flows = self.functions.world.status().flows;
        assert!(flows >= BESIDE as u64, "{flows} flows are open");
        self.run.store(true, Ordering::Relaxed);
        let (begun, before) = (Instant::now(), self.received.load(Ordering::Relaxed));
        burst::open(&self.functions, BESIDE, (BESIDE as u64 / PERIOD) as u32);
        let received = self.received.load(Ordering::Relaxed) - before;
        let rate = received as f64 / begun.elapsed().as_secs_f64();
        self.run.store(false, Ordering::Relaxed);
        rate
    }
}

/// One collection of a million live flows: CPU and memory of the agent.
pub fn million(figures: &mut Figures) {
    let folder = crate::leavings::bench_folder(std::process::id()).join("million");
    fs::create_dir_all(&folder).expect("make a folder");
    let text = flow_logs::export(&folder, "${interface-id} ${srcport} ${dstport} ${packets}");
    let text = text.replace(
        "period_secs = 1\n",
        &format!("period_secs = {LONG_PERIOD}\n"),
    );
    let functions = burst::world_as(MILLION, |plan| plan.flow_logs = Some(text));
    // From then on the next hop is known.
    let first = functions
        .world
        .env(0)
        .run(|| udp_socket((RESOURCE, ECHO.port())));
    udp_exchange(&first.expect("socket"), b"the first").expect("an answer");
    await_boundary(LONG_PERIOD, Duration::ZERO);
    burst::open(&functions, MILLION, u32::MAX);
    let flows = functions.world.status().flows;
    assert!(flows >= MILLION as u64, "{flows} flows are open");
    let pid = functions.world.status().pid;
    await_boundary(LONG_PERIOD, Duration::from_secs(4));
    // What the sweep takes by itself, without a collection.
    let quiet = cpu_over(pid, Duration::from_secs(3));
    let memory = anonymous(pid);
    let stop = AtomicBool::new(false);
    let (spent, peak) = thread::scope(|scope| {
        let peak = scope.spawn(|| {
            let mut peak = memory;
            while !stop.load(Ordering::Relaxed) {
                peak = peak.max(anonymous(pid));
                thread::sleep(Duration::from_millis(10));
            }
            peak
        });
        let (begun, before) = (Instant::now(), cpu(pid));
        let complete = crate::wait::eventually(Duration::from_secs(120), || {
            records(&folder) >= MILLION as u64
        });
        let elapsed = begun.elapsed();
        let spent = cpu(pid) - before - quiet * elapsed.as_secs_f64() / 3.0;
        // Whatever came of it: the watch is waited for.
        stop.store(true, Ordering::Relaxed);
        assert!(
            complete,
            "{} records\n{}",
            records(&folder),
            functions.world.log_tail(20)
        );
        (spent, peak.join().expect("the watch"))
    });
    figures.sample("flowlog.million_cpu_s", spent);
    let grown = (peak - memory) as f64 / f64::from(1 << 20);
    figures.sample("flowlog.million_memory_mib", grown);
    figures.sample("flowlog.agent_memory_mib", peak as f64 / f64::from(1 << 20));
    let _ = fs::remove_dir_all(&folder);
}

/// Sleeps until so long before the next multiple of a period.
fn await_boundary(period: u64, before: Duration) {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock");
    let period = Duration::from_secs(period);
    let into = Duration::from_nanos((now.as_nanos() % period.as_nanos()) as u64);
    let left = (period - into).checked_sub(before);
    thread::sleep(left.unwrap_or(period - into + period - before));
}

/// Records in files that are whole.
fn records(folder: &Path) -> u64 {
    flow_logs::try_lines(folder).map_or(0, |lines| lines as u64)
}

fn cpu_over(pid: u32, time: Duration) -> f64 {
    let before = cpu(pid);
    thread::sleep(time);
    cpu(pid) - before
}

/// CPU seconds of a process so far.
fn cpu(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the agent runs");
    let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
    let mut fields = after.split_whitespace().skip(11);
    let mut ticks = || {
        fields
            .next()
            .and_then(|it| it.parse::<u64>().ok())
            .unwrap_or(0)
    };
    (ticks() + ticks()) as f64 / 100.0
}

/// Bytes of a process that are nobody else's.
fn anonymous(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() * 1_024
}
