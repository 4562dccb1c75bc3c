//! As much HTTP/1.1 as the tests need: a server on plain threads that tells whom
//! it saw, and a client. One request per connection.

use std::{
    io::{self, BufReader, Read, Write},
    net::{SocketAddr, SocketAddrV4, TcpListener, TcpStream},
    str::FromStr,
    thread,
    time::Duration,
};

use nix::sys::socket::{Shutdown, shutdown};
use std::os::fd::AsRawFd as _;

use crate::{content, netns::Namespace};

const TIMEOUT: Duration = Duration::from_secs(30);

/// Serves `GET /` (who the peer is and whose server this is), `GET /bytes?n=<n>`
/// (see [`content::Content`]) and `PUT /` (answers length and SHA-256).
#[derive(Debug)]
pub struct HttpServer {
    listener: TcpListener,
}

impl HttpServer {
    /// Listens on all addresses of the namespace.
    pub fn start(namespace: &Namespace, port: u16, tenant: &str) -> Self {
        let listener = namespace
            .run(|| TcpListener::bind(("0.0.0.0", port)))
            .expect("listen");
        let (accepting, tenant) = (
            listener.try_clone().expect("share the listener"),
            tenant.to_owned(),
        );
        thread::spawn(move || {
            for stream in accepting.incoming() {
                let Ok(stream) = stream else { break };
                let tenant = tenant.clone();
                // A client that goes away early is the client's affair.
                thread::spawn(move || drop(serve(stream, &tenant)));
            }
        });
        Self { listener }
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        // Wakes the thread that accepts; a failure means that it is gone already.
        let _ = shutdown(self.listener.as_raw_fd(), Shutdown::Both);
    }
}

fn serve(mut stream: TcpStream, tenant: &str) -> io::Result<()> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let peer = stream.peer_addr()?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let (line, length) = read_head(&mut reader)?;
    let mut words = line.split(' ');
    match (words.next(), words.next()) {
        (Some("GET"), Some("/")) => respond(&mut stream, &format!("{tenant} {peer}")),
        (Some("PUT"), Some("/")) => {
            let (total, hash) = content::digest(reader.take(length))?;
            respond(&mut stream, &format!("{total} {hash}"))
        }
        (Some("GET"), Some(path)) => match path.strip_prefix("/bytes?n=").map(u64::from_str) {
            Some(Ok(n)) => {
                write!(
                    stream,
                    "HTTP/1.1 200 OK\r\nContent-Length: {n}\r\nConnection: close\r\n\r\n"
                )?;
                io::copy(
                    &mut content::Content::new(n),
                    &mut io::BufWriter::new(&stream),
                )?;
                Ok(())
            }
            _ => stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
        },
        _ => stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
    }
}

fn respond(stream: &mut TcpStream, body: &str) -> io::Result<()> {
    let length = body.len();
    let text =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
    stream.write_all(text.as_bytes())
}

/// The first line of a message and its `Content-Length`.
fn read_head(reader: &mut impl io::BufRead) -> io::Result<(String, u64)> {
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first)?;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end();
        if line.is_empty() {
            return Ok((first.trim_end().to_owned(), length));
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value
                .trim()
                .parse()
                .map_err(|_| io::ErrorKind::InvalidData)?;
        }
    }
}

/// What `GET /` tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    /// Whose server it is.
    pub tenant: String,
    /// Whom the server saw.
    pub peer: SocketAddrV4,
}

impl FromStr for Seen {
    type Err = io::Error;

    fn from_str(text: &str) -> io::Result<Self> {
        let parts = text.split_once(' ');
        let seen = parts.and_then(|(tenant, peer)| {
            Some(Self {
                tenant: tenant.to_owned(),
                peer: peer.parse().ok()?,
            })
        });
        seen.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("{text:?}")))
    }
}

/// Opens a connection; must run inside the client's namespace.
pub fn connect(server: impl Into<SocketAddr>) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&server.into(), TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

/// `GET /`.
pub fn whoami(server: impl Into<SocketAddr>) -> io::Result<Seen> {
    whoami_on(connect(server)?)
}

/// `GET /` on a connection that is open.
pub fn whoami_on(mut stream: TcpStream) -> io::Result<Seen> {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: resource\r\nConnection: close\r\n\r\n")?;
    body(stream)?.parse()
}

/// `GET /bytes`: length and hash of what came.
pub fn download(server: impl Into<SocketAddr>, len: u64) -> io::Result<(u64, String)> {
    let mut stream = connect(server)?;
    write!(
        stream,
        "GET /bytes?n={len} HTTP/1.1\r\nHost: resource\r\nConnection: close\r\n\r\n"
    )?;
    let mut reader = BufReader::new(stream);
    let (_, length) = read_head(&mut reader)?;
    content::digest(reader.take(length))
}

/// `PUT /`: length and hash as the server saw them.
pub fn upload(server: impl Into<SocketAddr>, len: u64) -> io::Result<(u64, String)> {
    let mut stream = connect(server)?;
    write!(
        stream,
        "PUT / HTTP/1.1\r\nHost: resource\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n"
    )?;
    io::copy(
        &mut content::Content::new(len),
        &mut io::BufWriter::new(&stream),
    )?;
    let answer = body(stream)?;
    let (total, hash) = answer.split_once(' ').ok_or(io::ErrorKind::InvalidData)?;
    Ok((
        total.parse().map_err(|_| io::ErrorKind::InvalidData)?,
        hash.to_owned(),
    ))
}

fn body(stream: TcpStream) -> io::Result<String> {
    let mut reader = BufReader::new(stream);
    let (line, length) = read_head(&mut reader)?;
    if !line.contains(" 200 ") {
        return Err(io::Error::new(io::ErrorKind::InvalidData, line));
    }
    let mut text = String::new();
    reader.take(length).read_to_string(&mut text)?;
    Ok(text)
}
