//! A packet socket on an interface: sends frames as they are and shows what
//! arrives, with the kernel's word on whether a checksum is still to be made.

use std::{
    io,
    mem::{MaybeUninit, size_of},
    os::fd::{AsFd as _, AsRawFd as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::{frame::Frame, netns::Namespace, topology::INTERFACE, wait::PATIENCE};

/// `struct virtio_net_hdr`, which precedes every frame of the socket.
const HEADER: usize = 10;
const NEEDS_CHECKSUM: u8 = 1;
const GSO_NONE: u8 = 0;
const BUFFER: usize = 64 << 20;

/// A packet socket.
#[derive(Debug)]
pub struct Tap {
    socket: Socket,
}

impl Tap {
    /// Opens one on the namespace's `eth0` that sees what arrives there.
    pub fn open(namespace: &Namespace) -> Self {
        Self::open_on(namespace, INTERFACE, false)
    }

    /// Opens one on an interface; `both` also shows what leaves.
    pub fn open_on(namespace: &Namespace, interface: &str, both: bool) -> Self {
        let socket = namespace
            .run(|| packet_socket(interface, both))
            .unwrap_or_else(|error| panic!("packet socket on {interface}: {error}"));
        Self { socket }
    }

    /// Sends a frame.
    pub fn send(&self, frame: &[u8]) {
        self.send_with([0; HEADER], frame);
    }

    /// Sends a frame, a checksum of which is left to a device: it sums from `start`
    /// on and writes `offset` bytes behind that.
    pub fn send_partial(&self, frame: &[u8], start: u16, offset: u16) {
        let mut header = [0; HEADER];
        header[0] = NEEDS_CHECKSUM;
        header[6..8].copy_from_slice(&start.to_ne_bytes());
        header[8..10].copy_from_slice(&offset.to_ne_bytes());
        self.send_with(header, frame);
    }

    fn send_with(&self, header: [u8; HEADER], frame: &[u8]) {
        let bytes = [&header[..], frame].concat();
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.socket.send(&bytes) {
                Ok(_) => return,
                // The interface's queue is full: it drains by itself.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    assert!(Instant::now() < deadline, "the interface takes no frame");
                    thread::yield_now();
                }
                Err(error) => panic!("send a frame: {error}"),
            }
        }
    }

    /// The next frame, unless none comes in time.
    pub fn next(&self, timeout: Duration) -> Option<Frame> {
        let timeout = timeout.max(Duration::from_millis(1));
        self.socket
            .set_read_timeout(Some(timeout))
            .expect("set a timeout");
        let mut buffer = [MaybeUninit::uninit(); HEADER + 65_536 + 64];
        let len = match self.socket.recv(&mut buffer) {
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => return None,
            Err(error) => panic!("receive a frame: {error}"),
        };
        // SAFETY: the kernel has written the first `len` bytes.
        let bytes = buffer[..len]
            .iter()
            .map(|byte| unsafe { byte.assume_init() });
        let bytes: Vec<u8> = bytes.collect();
        Some(Frame {
            partial: bytes[0] & NEEDS_CHECKSUM != 0,
            segment: match bytes[1] {
                GSO_NONE => 0,
                _ => u16::from_ne_bytes([bytes[4], bytes[5]]),
            },
            bytes: bytes[HEADER..].to_vec(),
        })
    }

    /// The first frame before the deadline of which `wanted` makes something.
    pub fn find<T>(
        &self,
        deadline: Duration,
        mut wanted: impl FnMut(&Frame) -> Option<T>,
    ) -> Option<T> {
        let end = Instant::now() + deadline;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            if let Some(found) = self.next(left).as_ref().and_then(&mut wanted) {
                return Some(found);
            }
        }
    }

    /// Like [`Self::find`], within the usual patience; panics without one.
    pub fn expect<T>(&self, what: &str, wanted: impl FnMut(&Frame) -> Option<T>) -> T {
        self.find(PATIENCE, wanted)
            .unwrap_or_else(|| panic!("no {what} arrived"))
    }

    /// Every frame that arrives within a time.
    pub fn collect(&self, time: Duration) -> Vec<Frame> {
        let mut frames = Vec::new();
        self.find(time, |frame| {
            frames.push(frame.clone());
            None::<()>
        });
        frames
    }

    /// Hands every frame to a closure on a thread, until the watch is stopped.
    pub fn watch<S: Send + 'static>(
        self,
        state: S,
        mut each: impl FnMut(&Self, &mut S, &Frame) + Send + 'static,
    ) -> Watch<S> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut state = state;
            loop {
                match self.next(Duration::from_millis(50)) {
                    Some(frame) => each(&self, &mut state, &frame),
                    None if stopped.load(Ordering::Relaxed) => return state,
                    None => {}
                }
            }
        });
        Watch { stop, thread }
    }

    /// Keeps every frame, until the watch is stopped.
    pub fn record(self) -> Watch<Vec<Frame>> {
        self.watch(Vec::new(), |_, frames, frame| frames.push(frame.clone()))
    }
}

/// A thread that looks at frames.
#[derive(Debug)]
pub struct Watch<S> {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<S>,
}

impl<S> Watch<S> {
    /// Ends once nothing has come for a moment, and hands back what was gathered.
    pub fn stop(self) -> S {
        self.stop.store(true, Ordering::Relaxed);
        self.thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn packet_socket(interface: &str, both: bool) -> io::Result<Socket> {
    let index = nix::net::if_::if_nametoindex(interface)?;
    let protocol = (libc::ETH_P_ALL as u16).to_be();
    // Protocol 0: nothing is received before the socket is bound.
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
    set_packet_option(&socket, libc::PACKET_VNET_HDR, 1)?;
    set_packet_option(&socket, libc::PACKET_IGNORE_OUTGOING, i32::from(!both))?;
    setsockopt(&socket.as_fd(), sockopt::RcvBufForce, &BUFFER)?;
    // SAFETY: the closure fills the whole of a sockaddr_ll, which a
    // sockaddr_storage has room for, and says its length.
    let (_, address) = unsafe {
        SockAddr::try_init(|storage, len| {
            let mut link: libc::sockaddr_ll = std::mem::zeroed();
            link.sll_family = libc::AF_PACKET as u16;
            link.sll_protocol = protocol;
            link.sll_ifindex = index.cast_signed();
            storage.cast::<libc::sockaddr_ll>().write(link);
            *len = size_of::<libc::sockaddr_ll>() as u32;
            Ok(())
        })?
    };
    socket.bind(&address)?;
    Ok(socket)
}

fn set_packet_option(socket: &Socket, option: i32, value: i32) -> io::Result<()> {
    let len = size_of::<i32>() as u32;
    // SAFETY: the option is an int and `value` lives across the call.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            option,
            (&raw const value).cast(),
            len,
        )
    };
    if outcome == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
