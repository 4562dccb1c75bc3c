//! UDP and TCP echo servers and a server that only holds connections, on plain
//! threads, and their clients.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket},
    os::fd::AsRawFd as _,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use nix::sys::socket::{Shutdown, shutdown};

use crate::netns::Namespace;

/// How often a server looks whether it should end.
const TURN: Duration = Duration::from_millis(100);

/// Lets this process have as many sockets as it may.
pub fn allow_many_sockets() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: both calls get a pointer to a limit that lives until they return.
    let raised = unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit)
    };
    assert_eq!(raised, 0, "raise the limit of open files");
}

/// Answers each datagram with `<tenant> <peer>\n` and the payload it got.
#[derive(Debug)]
pub struct UdpEcho {
    stop: Arc<AtomicBool>,
}

impl UdpEcho {
    /// Listens on all addresses of the namespace.
    pub fn start(namespace: &Namespace, port: u16, tenant: &str) -> Self {
        Self::start_at(
            namespace,
            SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port),
            tenant,
        )
    }

    /// Listens on one address of a namespace that has several: answers come from it.
    pub fn start_at(namespace: &Namespace, at: SocketAddrV4, tenant: &str) -> Self {
        let socket = namespace.run(|| UdpSocket::bind(at)).expect("bind");
        socket.set_read_timeout(Some(TURN)).expect("set a timeout");
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, tenant) = (Arc::clone(&stop), tenant.to_owned());
        thread::spawn(move || {
            let mut buffer = vec![0; 65_536];
            while !stopped.load(Ordering::Relaxed) {
                let Ok((len, peer)) = socket.recv_from(&mut buffer) else {
                    continue;
                };
                let mut answer = format!("{tenant} {peer}\n").into_bytes();
                answer.extend_from_slice(&buffer[..len]);
                // A peer that is unreachable by now is the peer's affair.
                let _ = socket.send_to(&answer, peer);
            }
        });
        Self { stop }
    }
}

impl Drop for UdpEcho {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// What a UDP echo tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UdpSeen {
    /// Whose server it is.
    pub tenant: String,
    /// Whom the server saw.
    pub peer: SocketAddrV4,
    /// The payload that came back.
    pub payload: Vec<u8>,
}

impl UdpSeen {
    fn parse(answer: &[u8]) -> Option<Self> {
        let end = answer.iter().position(|byte| *byte == b'\n')?;
        let (tenant, peer) = std::str::from_utf8(&answer[..end]).ok()?.split_once(' ')?;
        let payload = answer[end + 1..].to_vec();
        Some(Self {
            tenant: tenant.to_owned(),
            peer: peer.parse().ok()?,
            payload,
        })
    }
}

/// A UDP socket with a deadline for answers; must run inside the client's namespace.
pub fn udp_socket(server: impl Into<SocketAddr>) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(("0.0.0.0", 0))?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    socket.connect(server.into())?;
    Ok(socket)
}

/// Sends a datagram and waits for the echo.
pub fn udp_exchange(socket: &UdpSocket, payload: &[u8]) -> io::Result<UdpSeen> {
    socket.send(payload)?;
    let mut buffer = vec![0; 65_536];
    let len = socket.recv(&mut buffer)?;
    UdpSeen::parse(&buffer[..len]).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Holds every connection and, if it echoes, sends back what it gets.
#[derive(Debug)]
pub struct TcpHold {
    listener: TcpListener,
    held: Arc<Mutex<Vec<TcpStream>>>,
}

impl TcpHold {
    /// A server that sends everything back.
    pub fn echo(namespace: &Namespace, port: u16) -> Self {
        Self::start(namespace, port, true)
    }

    /// A server that reads nothing.
    pub fn sink(namespace: &Namespace, port: u16) -> Self {
        Self::start(namespace, port, false)
    }

    fn start(namespace: &Namespace, port: u16, echo: bool) -> Self {
        let listener = namespace
            .run(|| TcpListener::bind(("0.0.0.0", port)))
            .expect("listen");
        let held = Arc::new(Mutex::new(Vec::new()));
        let accepting = listener.try_clone().expect("share the listener");
        let keep = Arc::clone(&held);
        thread::spawn(move || {
            for stream in accepting.incoming() {
                let Ok(stream) = stream else { break };
                if echo && let Ok(stream) = stream.try_clone() {
                    thread::spawn(move || drop(send_back(stream)));
                }
                keep.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(stream);
            }
        });
        Self { listener, held }
    }

    /// Whom it holds a connection with, in the order of arrival.
    pub fn peers(&self) -> Vec<SocketAddr> {
        self.lock()
            .iter()
            .filter_map(|stream| stream.peer_addr().ok())
            .collect()
    }

    /// Resets every connection (RST rather than FIN).
    pub fn reset_all(&self) {
        for stream in self.lock().drain(..) {
            let socket = socket2::SockRef::from(&stream);
            socket.set_linger(Some(Duration::ZERO)).expect("set linger");
        }
    }

    /// The connections it holds.
    pub fn lock(&self) -> std::sync::MutexGuard<'_, Vec<TcpStream>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for TcpHold {
    fn drop(&mut self) {
        // Wakes the thread that accepts; a failure means that it is gone already.
        let _ = shutdown(self.listener.as_raw_fd(), Shutdown::Both);
        for stream in self.lock().drain(..) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }
}

fn send_back(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; 65_536];
    loop {
        match stream.read(&mut buffer)? {
            0 => return stream.shutdown(std::net::Shutdown::Write),
            len => stream.write_all(&buffer[..len])?,
        }
    }
}

/// Sends bytes to a TCP echo server and reads them back.
pub fn tcp_exchange(stream: &mut TcpStream, payload: &[u8]) -> io::Result<()> {
    stream.write_all(payload)?;
    let mut answer = vec![0; payload.len()];
    stream.read_exact(&mut answer)?;
    if answer == payload {
        Ok(())
    } else {
        Err(io::ErrorKind::InvalidData.into())
    }
}
