//! A TCP echo in a process of its own: of a connection within one machine either end counts
//! against the limit of open files of another process.

use std::{
    io::{self, Write as _},
    net::{Ipv4Addr, SocketAddrV4},
};

use clap::Parser;
use socket2::{Domain, Socket, Type};
use tests::echo::allow_many_sockets;
use tokio::{io::copy, net::TcpListener};

/// Connections that may wait until they are accepted.
const BACKLOG: i32 = 4_096;

/// Sends back whatever comes, to many at once. Writes a line once it listens and goes on
/// until it is ended.
#[derive(Parser)]
struct Args {
    /// Port of every address
    port: u16,
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let Args { port } = Args::parse();
    allow_many_sockets();
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port).into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    let listener = TcpListener::from_std(socket.into())?;
    writeln!(io::stdout(), "listening on port {port}")?;
    loop {
        let (mut stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            let (mut from, mut to) = stream.split();
            // The peer knows why its connection ended.
            let _ = copy(&mut from, &mut to).await;
        });
    }
}
