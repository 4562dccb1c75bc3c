//! A tap as a microVM has it: frames written to its descriptor are what the guest
//! sends, frames read from it are what the guest gets.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    os::fd::{AsFd as _, AsRawFd as _},
    time::{Duration, Instant},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::{frame::Frame, netns::Namespace};

/// A tap on the host, gone when dropped.
#[derive(Debug)]
pub struct Tun {
    file: File,
}

impl Tun {
    /// Makes one inside `host` and brings it up.
    pub fn open(host: &Namespace, name: &str) -> Self {
        let file = host
            .run(|| create(name, 0))
            .unwrap_or_else(|error| panic!("tap {name}: {error}"));
        host.ip(&["link", "set", name, "up"]);
        Self { file }
    }

    /// The guest sends a frame.
    pub fn send(&self, frame: &[u8]) {
        let written = (&self.file).write(frame).expect("write a frame");
        assert_eq!(written, frame.len());
    }

    /// The first frame to the guest before the deadline of which `wanted` makes
    /// something.
    pub fn find<T>(
        &self,
        deadline: Duration,
        mut wanted: impl FnMut(&Frame) -> Option<T>,
    ) -> Option<T> {
        let end = Instant::now() + deadline;
        let mut buffer = vec![0; 65_536];
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let mut ready = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
            let timeout = PollTimeout::try_from(left).expect("a deadline of seconds");
            if poll(&mut ready, timeout).expect("wait for a frame") == 0 {
                return None;
            }
            let len = (&self.file).read(&mut buffer).expect("read a frame");
            let frame = Frame {
                bytes: buffer[..len].to_vec(),
                partial: false,
                segment: 0,
            };
            if let Some(found) = wanted(&frame) {
                return Some(found);
            }
        }
    }
}

/// Makes a tap in the namespace of the calling thread, with more flags of
/// `TUNSETIFF`; it is gone when its descriptor is closed.
pub(crate) fn create(name: &str, flags: i32) -> io::Result<File> {
    let file = File::options()
        .read(true)
        .write(true)
        .open("/dev/net/tun")?;
    // SAFETY: all bytes zero is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    assert!(
        name.len() < request.ifr_name.len(),
        "{name} is too long for an interface"
    );
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI | flags) as i16;
    // SAFETY: TUNSETIFF reads and writes an ifreq, which lives across the call.
    match unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) } {
        0 => Ok(file),
        _ => Err(io::Error::last_os_error()),
    }
}
