//! Numbered datagrams at a steady pace: which of them did not arrive.

use std::{
    collections::BTreeSet,
    net::UdpSocket,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use socket2::SockRef;

/// Between one datagram and the next.
const PACE: Duration = Duration::from_micros(500);
/// How long the last ones may take.
const LAST: Duration = Duration::from_millis(500);

/// What became of a sequence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Arrived {
    /// Datagrams sent.
    pub sent: u64,
    /// Numbers of those that did not arrive.
    pub missing: BTreeSet<u64>,
}

/// Sends from one connected socket what another is to receive, until told to stop.
pub fn run(from: &UdpSocket, to: &UdpSocket, stop: &AtomicBool) -> Arrived {
    // Room for a receiver that does not run for a while.
    let room = SockRef::from(to).set_recv_buffer_size(8 << 20);
    room.expect("a larger receive buffer");
    to.set_read_timeout(Some(LAST)).expect("set a timeout");
    thread::scope(|scope| {
        let receiving = scope.spawn(|| receive(to, stop));
        let mut sent = 0_u64;
        while !stop.load(Ordering::Relaxed) {
            // A device that refuses for a moment is a loss like any other.
            let _ = from.send(&sent.to_be_bytes());
            sent += 1;
            thread::sleep(PACE);
        }
        let seen = receiving
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let missing = (0..sent).filter(|number| !seen.contains(number)).collect();
        Arrived { sent, missing }
    })
}

fn receive(to: &UdpSocket, stop: &AtomicBool) -> BTreeSet<u64> {
    let (mut seen, mut buffer) = (BTreeSet::new(), [0; 8]);
    loop {
        match to.recv(&mut buffer) {
            Ok(8) => drop(seen.insert(u64::from_be_bytes(buffer))),
            Err(_) if stop.load(Ordering::Relaxed) => return seen,
            Ok(_) | Err(_) => {}
        }
    }
}
