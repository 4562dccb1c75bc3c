//! Connections that last through everything: a server that says whose it is, and clients
//! that ask it again and again.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    net::{SocketAddrV4, TcpListener, TcpStream},
    os::fd::AsRawFd as _,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::sys::socket::{Shutdown, shutdown};
use tests::{
    netns::Namespace,
    topology::RESOURCE,
    wait::{PATIENCE, eventually},
};

/// Where a tenant's server is.
const AT: SocketAddrV4 = SocketAddrV4::new(RESOURCE, 70);
/// Between one question and the next.
const PACE: Duration = Duration::from_millis(3);

/// Answers each line with its tenant's name and the line.
#[derive(Debug)]
pub struct Teller(TcpListener);

impl Teller {
    /// Listens in a tenant's namespace.
    pub fn start(namespace: &Namespace, tenant: &str) -> Self {
        let listener = namespace.run(|| TcpListener::bind(("0.0.0.0", AT.port())));
        let listener = listener.expect("listen");
        let accepting = listener.try_clone().expect("share the listener");
        let tenant = tenant.to_owned();
        thread::spawn(move || {
            for stream in accepting.incoming() {
                let Ok(stream) = stream else { break };
                let tenant = tenant.clone();
                thread::spawn(move || drop(answer(stream, &tenant)));
            }
        });
        Self(listener)
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        // A failure means that nobody accepts any more.
        let _ = shutdown(self.0.as_raw_fd(), Shutdown::Both);
    }
}

fn answer(mut stream: TcpStream, tenant: &str) -> io::Result<()> {
    for line in BufReader::new(stream.try_clone()?).lines() {
        stream.write_all(format!("{tenant} {}\n", line?).as_bytes())?;
    }
    Ok(())
}

/// A connection of an environment that asks its tenant's server without end.
#[derive(Debug)]
pub struct Talk {
    name: String,
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
    asking: JoinHandle<()>,
    /// Answers when it was last looked at.
    seen: u64,
}

impl Talk {
    /// Connects from an environment of a tenant.
    pub fn start(environment: &Namespace, tenant: &str, name: &str) -> Self {
        let stream = environment.run(|| TcpStream::connect(AT)).expect("connect");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let (told, count, tenant) = (Arc::clone(&stop), Arc::clone(&answers), tenant.to_owned());
        let asking = thread::spawn(move || ask(stream, &tenant, &told, &count));
        Self {
            name: name.to_owned(),
            stop,
            answers,
            asking,
            seen: 0,
        }
    }

    /// Asserts that the connection has gone on since this was asked last.
    pub fn assert_goes_on(&mut self) {
        let goes_on = || {
            let is_broken = self.asking.is_finished();
            is_broken || self.answers.load(Ordering::Relaxed) > self.seen
        };
        let goes_on = eventually(PATIENCE, goes_on) && !self.asking.is_finished();
        assert!(
            goes_on,
            "the connection {} after {} answers",
            self.name, self.seen
        );
        self.seen = self.answers.load(Ordering::Relaxed);
    }

    /// Ends it; how many answers there were, all of them right.
    pub fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.asking
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        self.answers.load(Ordering::Relaxed)
    }
}

fn ask(mut stream: TcpStream, tenant: &str, stop: &AtomicBool, answers: &AtomicU64) {
    let mut told = BufReader::new(stream.try_clone().expect("share the connection"));
    let mut line = String::new();
    while !stop.load(Ordering::Relaxed) {
        let number = answers.load(Ordering::Relaxed);
        let question = format!("{number}\n");
        stream
            .write_all(question.as_bytes())
            .expect("no connection breaks");
        line.clear();
        told.read_line(&mut line).expect("no connection breaks");
        assert_eq!(line, format!("{tenant} {number}\n"));
        answers.fetch_add(1, Ordering::Relaxed);
        thread::sleep(PACE);
    }
}
