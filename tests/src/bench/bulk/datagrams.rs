//! UDP datagrams, sent as fast as one thread can and counted where another thread
//! reads them. Each is a packet of its own from end to end: many to a system call,
//! but no segmentation offload. The sender has a CPU to itself, on which the kernel
//! also carries its datagrams to the receiver's socket.

use std::{
    io,
    net::UdpSocket,
    os::fd::AsRawFd as _,
    ptr,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::{
    Way,
    bed::Bed,
    cpus::{self, Cpu},
};

/// Time in which the first packets find their way.
const WARM_UP: Duration = Duration::from_millis(200);
/// Length of a sample.
const SAMPLE: Duration = Duration::from_millis(800);
/// How long the receiver waits when there is nothing to read.
const PAUSE: Duration = Duration::from_micros(200);
/// Ethernet, IPv4 and UDP headers of a frame.
const HEADERS: usize = 14 + 20 + 8;
/// Datagrams of a system call.
const BATCH: usize = 64;

/// What was seen, per second.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Datagrams that the receiver read.
    pub received_pps: f64,
    /// Datagrams that the sender's kernel took.
    pub sent_pps: f64,
}

/// One sample with frames of so many bytes.
pub fn flood(bed: &Bed, way: Way, frame: usize) -> Seen {
    let payload = frame - HEADERS;
    let (client, server) = bed.datagram_sockets(way);
    let (sent, received) = (AtomicU64::new(0), AtomicU64::new(0));
    let over = AtomicBool::new(false);
    let seen = thread::scope(|scope| {
        scope.spawn(|| {
            cpus::keep_to(Cpu::First);
            send(&client, payload, &sent, &over);
        });
        scope.spawn(|| {
            cpus::keep_to(Cpu::Last);
            receive(&server, payload, &received, &over);
        });
        let counts = || {
            let load = |count: &AtomicU64| count.load(Ordering::Relaxed) as f64;
            (Instant::now(), load(&sent), load(&received))
        };
        thread::sleep(WARM_UP);
        let before = counts();
        thread::sleep(SAMPLE);
        let after = counts();
        over.store(true, Ordering::Relaxed);
        let seconds = (after.0 - before.0).as_secs_f64();
        Seen {
            sent_pps: (after.1 - before.1) / seconds,
            received_pps: (after.2 - before.2) / seconds,
        }
    });
    assert!(seen.received_pps > 0.0, "{}: nothing arrived", way.label);
    seen
}

/// What `sendmmsg` and `recvmmsg` work on: each message a buffer of its own.
struct Batch {
    headers: Vec<libc::mmsghdr>,
    // What the headers point to, and what that points to.
    _vectors: Vec<libc::iovec>,
    _buffers: Vec<u8>,
}

impl Batch {
    fn new(len: usize) -> Self {
        let mut buffers = vec![0x5a; BATCH * len];
        let mut vectors: Vec<libc::iovec> = buffers
            .chunks_mut(len)
            .map(|buffer| libc::iovec {
                iov_base: buffer.as_mut_ptr().cast(),
                iov_len: len,
            })
            .collect();
        let headers = vectors
            .iter_mut()
            .map(|vector| {
                // SAFETY: zeros are a valid value of this plain structure.
                let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
                header.msg_hdr.msg_iov = vector;
                header.msg_hdr.msg_iovlen = 1;
                header
            })
            .collect();
        Self {
            headers,
            _vectors: vectors,
            _buffers: buffers,
        }
    }

    /// How many messages were sent.
    fn send(&mut self, socket: &UdpSocket) -> io::Result<u64> {
        let (fd, headers) = (socket.as_raw_fd(), self.headers.as_mut_ptr());
        // SAFETY: `headers` has BATCH entries, whose vectors and buffers live in
        // this object and are nobody else's; the socket is open.
        let count = unsafe { libc::sendmmsg(fd, headers, BATCH as u32, 0) };
        u64::try_from(count).map_err(|_| io::Error::last_os_error())
    }

    /// How many messages had come.
    fn receive(&mut self, socket: &UdpSocket) -> io::Result<u64> {
        let (fd, headers) = (socket.as_raw_fd(), self.headers.as_mut_ptr());
        let (flags, no_end) = (libc::MSG_DONTWAIT, ptr::null_mut());
        // SAFETY: as above.
        let count = unsafe { libc::recvmmsg(fd, headers, BATCH as u32, flags, no_end) };
        u64::try_from(count).map_err(|_| io::Error::last_os_error())
    }
}

fn send(socket: &UdpSocket, payload: usize, sent: &AtomicU64, over: &AtomicBool) {
    let mut batch = Batch::new(payload);
    while !over.load(Ordering::Relaxed) {
        let count = batch.send(socket).expect("the socket takes datagrams");
        sent.fetch_add(count, Ordering::Relaxed);
    }
}

/// Takes everything every now and then. A thread that slept in the call would be
/// woken for nearly every datagram, at the sender's expense, and the figure would
/// be that of the wake-ups.
fn receive(socket: &UdpSocket, payload: usize, received: &AtomicU64, over: &AtomicBool) {
    let mut batch = Batch::new(2_048);
    while !over.load(Ordering::Relaxed) {
        match batch.receive(socket) {
            Ok(count) => received.fetch_add(count, Ordering::Relaxed),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                thread::sleep(PAUSE);
                continue;
            }
            Err(error) => panic!("receive datagrams: {error}"),
        };
        assert_eq!(batch.headers[0].msg_len as usize, payload);
    }
}
