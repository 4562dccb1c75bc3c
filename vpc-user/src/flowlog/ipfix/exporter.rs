//! Sending messages over UDP and TCP (RFC 7011 sections 10.3 and 10.4).

use std::{
    fmt, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpStream, UdpSocket},
    time,
};

use super::{Encoder, Event, MessageSizeError, Refresh};

/// How messages travel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// A datagram a message. What is lost is lost: a collector sees by the sequence numbers
    /// how much that is.
    Udp,
    /// A stream.
    Tcp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
        })
    }
}

/// A collector, and how to talk to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Collector {
    /// Where it listens: port 4739, as a rule.
    pub address: SocketAddr,
    /// How.
    pub protocol: Protocol,
    /// The observation domain: what tells this NAT from others of the same host.
    pub domain: u32,
    /// Octets of a message, at most.
    pub message_size: u16,
    /// When templates are sent again.
    pub refresh: Refresh,
    /// How long a connection may take, and how long each message.
    pub timeout: Duration,
}

impl Collector {
    /// With what suits the protocol: over UDP, messages of 1,400 octets, which are never
    /// fragmented on the way, and templates again after 20 of them or a minute.
    pub const fn new(address: SocketAddr, protocol: Protocol, timeout: Duration) -> Self {
        let (message_size, refresh) = match protocol {
            Protocol::Udp => {
                let refresh = Refresh::After {
                    messages: 20,
                    secs: 60,
                };
                (1_400, refresh)
            }
            Protocol::Tcp => (u16::MAX, Refresh::Never),
        };
        Self {
            address,
            protocol,
            domain: 0,
            message_size,
            refresh,
            timeout,
        }
    }
}

/// Why events were not sent.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// There is no way to the collector.
    #[error(
        "the IPFIX collector {address} cannot be reached over {protocol} ({source}): see whether \
         it runs and listens there"
    )]
    Connect {
        /// The collector.
        address: SocketAddr,
        /// How.
        protocol: Protocol,
        /// Why not.
        source: io::Error,
    },
    /// It went away.
    #[error(
        "the IPFIX collector {address} does not take messages over {protocol} ({source}): send \
         them again when it runs"
    )]
    Send {
        /// The collector.
        address: SocketAddr,
        /// How.
        protocol: Protocol,
        /// Why not.
        source: io::Error,
    },
    /// Messages would be too short.
    #[error(transparent)]
    MessageSize(#[from] MessageSizeError),
}

/// Sends events to a collector.
#[derive(Debug)]
pub struct Exporter {
    collector: Collector,
    /// None after an error: the next events open another.
    session: Option<Session>,
    /// The message under way.
    message: Vec<u8>,
}

/// A transport session (RFC 7011 section 2): its sequence numbers and templates end with it.
#[derive(Debug)]
struct Session {
    socket: Socket,
    encoder: Encoder,
}

#[derive(Debug)]
enum Socket {
    Udp(UdpSocket),
    Tcp(TcpStream),
}

impl Exporter {
    /// Opens the way to a collector. Over UDP that says nothing of whether one is there.
    pub async fn connect(collector: Collector) -> Result<Self, ExportError> {
        Ok(Self {
            session: Some(open(&collector).await?),
            collector,
            message: Vec::new(),
        })
    }

    /// Sends all events, or fails. After an error some may have arrived, in whole messages:
    /// events that are sent again may so be there twice, and are told by being equal. The
    /// next call opens a new session, whose first message has the templates.
    ///
    /// That the events are sent means that the kernel has them. IPFIX has no acknowledgement:
    /// what a TCP collector that dies had not read is lost, and so is any datagram. A UDP
    /// port that nobody listens on is an error of the send *after* the one that found out,
    /// if its ICMP message comes back (`ECONNREFUSED`).
    ///
    /// May be cancelled: that is an error like others.
    pub async fn send(&mut self, events: &[Event]) -> Result<(), ExportError> {
        // Taken out, so that whatever happens in between, a stream that broke off within a
        // message is not gone on with.
        let mut session = match self.session.take().filter(Session::is_open) {
            Some(session) => session,
            None => open(&self.collector).await?,
        };
        let mut rest = events;
        while !rest.is_empty() {
            let count = session.encoder.message(rest, now(), &mut self.message);
            let sent = session.socket.send(&self.message);
            let sent = within(self.collector.timeout, sent).await;
            sent.map_err(|source| ExportError::Send {
                address: self.collector.address,
                protocol: self.collector.protocol,
                source,
            })?;
            rest = rest.get(count..).unwrap_or_default();
        }
        self.session = Some(session);
        Ok(())
    }
}

async fn open(collector: &Collector) -> Result<Session, ExportError> {
    let Collector {
        address, protocol, ..
    } = *collector;
    let encoder = Encoder::new(collector.domain, collector.message_size, collector.refresh)?;
    let socket = within(collector.timeout, Socket::connect(address, protocol)).await;
    let socket = socket.map_err(|source| ExportError::Connect {
        address,
        protocol,
        source,
    })?;
    Ok(Session { socket, encoder })
}

impl Session {
    /// Whether the collector has not ended it, as far as is known.
    fn is_open(&self) -> bool {
        match &self.socket {
            Socket::Udp(_) => true,
            Socket::Tcp(stream) => match stream.try_read(&mut [0; 64]) {
                // What a collector says, if it ever says anything, means nothing.
                Ok(octets) => octets != 0,
                Err(error) => error.kind() == io::ErrorKind::WouldBlock,
            },
        }
    }
}

impl Socket {
    async fn connect(address: SocketAddr, protocol: Protocol) -> io::Result<Self> {
        if protocol == Protocol::Tcp {
            return Ok(Self::Tcp(TcpStream::connect(address).await?));
        }
        let any = match address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        let socket = UdpSocket::bind(any).await?;
        socket.connect(address).await?;
        Ok(Self::Udp(socket))
    }

    async fn send(&mut self, message: &[u8]) -> io::Result<()> {
        match self {
            Self::Udp(socket) => socket.send(message).await.map(drop),
            Self::Tcp(stream) => stream.write_all(message).await,
        }
    }
}

async fn within<T>(timeout: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let done = time::timeout(timeout, work).await;
    done.unwrap_or_else(|_| {
        let text = format!("nothing within {timeout:?}");
        Err(io::Error::new(io::ErrorKind::TimedOut, text))
    })
}

/// Unix seconds, which wrap in 2106 (RFC 7011 section 3.1).
fn now() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs() as u32
}
