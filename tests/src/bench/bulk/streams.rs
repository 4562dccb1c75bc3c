//! TCP streams that carry as much as they can. Where their ends run is left to the
//! scheduler, as it is for users: kept to a CPU each, one stream is no steadier, and
//! several wait for each other.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpStream},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::{
    Way,
    bed::{Bed, Connection},
    cpus::{self, Side},
};

/// Time in which a stream gets up to speed.
const WARM_UP: Duration = Duration::from_millis(300);
/// Length of a sample.
const SAMPLE: Duration = Duration::from_millis(1_000);
/// Bytes of a write and of a read.
const CHUNK: usize = 128 * 1024;

/// Which way the bytes go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

impl Direction {
    /// As figures have it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }

    const fn sender(self) -> Side {
        match self {
            Self::Up => Side::Client,
            Self::Down => Side::Server,
        }
    }

    const fn receiver(self) -> Side {
        match self {
            Self::Up => Side::Server,
            Self::Down => Side::Client,
        }
    }
}

/// What was seen.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Payload that the receivers read, in gigabits per second.
    pub gbps: f64,
    /// Milliseconds that all CPUs together were busy for a gigabit of it.
    pub cpu_ms_per_gbit: f64,
}

/// A moment of a transfer.
struct Moment {
    at: Instant,
    bytes: u64,
    busy_ms: f64,
}

impl Moment {
    fn now(received: &AtomicU64) -> Self {
        Self {
            busy_ms: cpus::Times::now().busy_ms,
            bytes: received.load(Ordering::Relaxed),
            at: Instant::now(),
        }
    }

    fn since(&self, before: &Self) -> Seen {
        let gigabits = (self.bytes - before.bytes) as f64 * 8.0 / 1e9;
        Seen {
            gbps: gigabits / (self.at - before.at).as_secs_f64(),
            cpu_ms_per_gbit: (self.busy_ms - before.busy_ms) / gigabits,
        }
    }
}

/// One sample of so many streams at once.
pub fn transfer(bed: &Bed, way: Way, streams: usize, direction: Direction) -> Seen {
    let connections: Vec<Connection> = (0..streams).map(|_| bed.connect(way)).collect();
    let received = AtomicU64::new(0);
    thread::scope(|scope| {
        for connection in &connections {
            let sender = connection.end(direction.sender());
            let receiver = connection.end(direction.receiver());
            let received = &received;
            scope.spawn(move || send(sender));
            scope.spawn(move || receive(receiver, received));
        }
        thread::sleep(WARM_UP);
        let before = Moment::now(&received);
        thread::sleep(SAMPLE);
        let seen = Moment::now(&received).since(&before);
        for connection in &connections {
            // What is still on the way is nobody's: a way that hardly carries anything
            // would take minutes for it.
            connection.reset_when_closed();
            for (side, half) in [
                (direction.sender(), Shutdown::Write),
                (direction.receiver(), Shutdown::Read),
            ] {
                let end = connection.end(side);
                end.shutdown(half).expect("the stream still stands");
            }
        }
        seen
    })
}

/// Until the stream is shut down.
fn send(mut stream: &TcpStream) {
    let chunk = vec![0x5a; CHUNK];
    while stream.write_all(&chunk).is_ok() {}
}

/// To the end of the stream.
fn receive(mut stream: &TcpStream, received: &AtomicU64) {
    let mut chunk = vec![0; CHUNK];
    loop {
        match stream.read(&mut chunk).expect("the stream goes on") {
            0 => return,
            count => received.fetch_add(count as u64, Ordering::Relaxed),
        };
    }
}
