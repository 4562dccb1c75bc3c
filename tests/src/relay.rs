//! Two taps whose frames are carried from one to the other, as the back end of a
//! microVM's network card carries them between the host's tap and the guest.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    os::fd::{AsFd as _, AsRawFd as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use crate::{topology::End, tun};

/// The longest packet and the headers before it.
const FRAME_MAX: usize = 65_536 + 64;
/// How often a relay without frames looks whether it is still wanted, in
/// milliseconds.
const LOOK_MS: u16 = 50;

/// What a card and its driver agreed on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Card {
    /// Frames as they are on a wire.
    Plain,
    /// `vnet_hdr`, with checksums left half made and TCP segments left whole, both
    /// ways.
    Offloads,
}

/// The taps and the threads between them, gone when dropped.
#[derive(Debug)]
pub struct Relay {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Relay {
    /// Makes both taps, the first one up.
    pub fn join(card: Card, mtu: u32, near: End<'_>, far: End<'_>) -> Self {
        let [host, guest] = [near, far].map(|end| Arc::new(open(card, mtu, end)));
        near.0.ip(&["link", "set", near.1, "up"]);
        let stop = Arc::new(AtomicBool::new(false));
        let threads = [(&host, &guest), (&guest, &host)].map(|(from, to)| {
            let (from, to, stop) = (Arc::clone(from), Arc::clone(to), Arc::clone(&stop));
            thread::spawn(move || carry(&from, &to, &stop))
        });
        Self {
            stop,
            threads: threads.into(),
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A relay that panicked has said so.
            let _ = thread.join();
        }
    }
}

fn open(card: Card, mtu: u32, (namespace, name): End<'_>) -> File {
    let tap = namespace
        .run(|| match card {
            Card::Plain => tun::create(name, 0),
            Card::Offloads => {
                let tap = tun::create(name, libc::IFF_VNET_HDR)?;
                accept_offloads(&tap)?;
                Ok(tap)
            }
        })
        .unwrap_or_else(|error| panic!("tap {name}: {error}"));
    let flags = FcntlArg::F_SETFL(OFlag::O_NONBLOCK);
    fcntl(tap.as_fd(), flags).expect("a tap need not block");
    namespace.ip(&["link", "set", name, "mtu", &mtu.to_string()]);
    tap
}

/// Whoever reads the tap takes half-made checksums and whole TCP segments.
fn accept_offloads(tap: &File) -> io::Result<()> {
    let offloads = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6;
    // SAFETY: TUNSETOFFLOAD takes its argument by value.
    match unsafe { libc::ioctl(tap.as_raw_fd(), libc::TUNSETOFFLOAD, offloads) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn carry(mut from: &File, mut to: &File, stop: &AtomicBool) {
    let mut frame = vec![0; FRAME_MAX];
    while !stop.load(Ordering::Relaxed) {
        match from.read(&mut frame) {
            // As with a card, a frame to an interface that is down is lost.
            Ok(len) => drop(to.write(&frame[..len])),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut ready = [PollFd::new(from.as_fd(), PollFlags::POLLIN)];
                poll(&mut ready, PollTimeout::from(LOOK_MS)).expect("wait for a frame");
            }
            Err(error) => panic!("read a tap: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddrV4;

    use super::*;
    use crate::{
        content::expected_digest,
        http::{self, HttpServer},
        netns::Namespace,
    };

    /// With offloads a transfer is carried in far fewer frames than packets.
    #[test]
    fn a_card_with_offloads_carries_segments_whole() {
        const LEN: u64 = 3_000_000;
        for (card, whole) in [(Card::Plain, false), (Card::Offloads, true)] {
            let (host, guest) = (Namespace::new("host"), Namespace::new("guest"));
            let _relay = Relay::join(card, 1500, (&host, "tap0"), (&guest, "eth0"));
            host.ip(&["addr", "add", "192.0.2.1/24", "dev", "tap0"]);
            guest.ip_batch("link set eth0 up\naddr add 192.0.2.2/24 dev eth0\n");
            let _server = HttpServer::start(&host, 80, "host");
            let address = SocketAddrV4::new([192, 0, 2, 1].into(), 80);
            let got = guest.run(|| http::download(address, LEN));
            assert_eq!(got.expect("download"), (LEN, expected_digest(LEN)));
            let (frames, bytes) = host.transmitted("tap0");
            let mean = bytes / frames;
            assert_eq!(mean > 1514, whole, "{card:?}: {mean} bytes a frame");
        }
    }
}
