//! A byte there and a byte back, one exchange at a time. Both ends share a CPU: an
//! exchange between two CPUs is mostly the waking of a CPU that fell asleep, which
//! takes several times as long as all ways do, and never the same.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpStream},
    thread,
    time::Instant,
};

use super::{
    Way,
    bed::Bed,
    cpus::{self, Cpu, Side},
};

/// Exchanges before those that count.
const WARM_UP: usize = 1_000;
/// Exchanges of a sample: a hundred lie beyond the 99th percentile.
const EXCHANGES: usize = 10_000;

/// What was seen.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Microseconds of the median exchange.
    pub p50_us: f64,
    /// Microseconds that 99 of 100 exchanges stay below.
    pub p99_us: f64,
}

/// One sample, on a connection of its own.
pub fn measure(bed: &Bed, way: Way) -> Seen {
    let connection = bed.connect(way);
    between(
        connection.end(Side::Client),
        connection.end(Side::Server),
        Cpu::First,
    )
}

/// One sample on a connection whose ends keep to a CPU. The client's is shut down after it.
pub fn between(client: &TcpStream, server: &TcpStream, cpu: Cpu) -> Seen {
    for end in [client, server] {
        end.set_nodelay(true).expect("TCP has the option");
    }
    let mut times = thread::scope(|scope| {
        scope.spawn(|| {
            cpus::keep_to(cpu);
            answer(server);
        });
        let asking = scope.spawn(|| {
            cpus::keep_to(cpu);
            let times = ask(client);
            client
                .shutdown(Shutdown::Write)
                .expect("the stream still stands");
            times
        });
        asking
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    times.sort_by(f64::total_cmp);
    Seen {
        p50_us: times[EXCHANGES / 2],
        p99_us: times[EXCHANGES / 100 * 99],
    }
}

/// Microseconds of each exchange.
fn ask(mut stream: &TcpStream) -> Vec<f64> {
    let mut times = Vec::with_capacity(EXCHANGES);
    let mut byte = [0x5a];
    for number in 0..WARM_UP + EXCHANGES {
        let start = Instant::now();
        stream.write_all(&byte).expect("the stream goes on");
        stream.read_exact(&mut byte).expect("an answer");
        if number >= WARM_UP {
            times.push(start.elapsed().as_secs_f64() * 1e6);
        }
    }
    times
}

/// To the end of the stream.
fn answer(mut stream: &TcpStream) {
    let mut byte = [0];
    while stream.read(&mut byte).expect("the stream goes on") > 0 {
        stream.write_all(&byte).expect("the stream goes on");
    }
}
