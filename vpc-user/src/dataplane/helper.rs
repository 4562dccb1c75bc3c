//! What takes more capabilities than the agent keeps: looking into other network
//! namespaces, and names of programs of others. A process of its own does it, one question
//! after the other, and nothing else. What it hands over is a file that stands for a
//! namespace, a socket of rtnetlink in one, or a name: it changes nothing itself.
//!
//! It is forked, not started, so that there is no program that anybody else could run. It
//! ends with the agent, whatever ends that: the socket between them closes. A process
//! without a helper (tests, the bench) does all of it itself.

use std::{
    ffi::OsStr,
    fs::{File, OpenOptions},
    io::{self, IoSlice, IoSliceMut},
    os::{
        fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
        unix::{ffi::OsStrExt as _, fs::OpenOptionsExt as _},
    },
    path::Path,
    sync::{Mutex, OnceLock, PoisonError},
};

use nix::{
    errno::Errno,
    sys::{
        prctl,
        signal::{SigHandler, Signal, signal},
        socket::{
            AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType,
            recvmsg, sendmsg, socketpair,
        },
    },
    unistd::{ForkResult, dup2_stderr, dup2_stdin, dup2_stdout, fork},
};

use super::{bpf, netlink::Netlink, netns};

static HELPER: OnceLock<Helper> = OnceLock::new();

/// Bytes of a message: a path, and what kind of question it is.
const MESSAGE: usize = 1 + libc::PATH_MAX as usize;

struct Helper {
    /// Held from a question to its answer.
    socket: Mutex<OwnedFd>,
}

/// What it is asked.
#[derive(Clone, Copy)]
enum Question<'a> {
    /// A file that stands for the namespace at a path.
    Namespace(&'a Path),
    /// A socket of rtnetlink in a namespace.
    Netlink(BorrowedFd<'a>),
    /// The name of the program of a number.
    Program(u32),
}

enum Answer {
    File(OwnedFd),
    Name(String),
}

/// Opens the namespace at a path, whoever the process is that the path leads through.
pub fn open_namespace(path: &Path) -> io::Result<File> {
    match ask(Question::Namespace(path))? {
        Answer::File(file) => Ok(file.into()),
        Answer::Name(_) => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// A socket of rtnetlink in a namespace.
pub fn netlink_in(namespace: BorrowedFd<'_>) -> io::Result<Netlink> {
    match ask(Question::Netlink(namespace))? {
        Answer::File(file) => Ok(Netlink::from(file)),
        Answer::Name(_) => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// The name of a loaded program, as the kernel keeps it.
pub fn program_name(id: u32) -> io::Result<String> {
    match ask(Question::Program(id))? {
        Answer::Name(name) => Ok(name),
        Answer::File(_) => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn ask(question: Question<'_>) -> io::Result<Answer> {
    match HELPER.get() {
        Some(helper) => helper.ask(question),
        None => perform(question),
    }
}

fn perform(question: Question<'_>) -> io::Result<Answer> {
    match question {
        Question::Namespace(path) => {
            // Not waiting for whoever writes to a pipe of this name.
            let mut options = OpenOptions::new();
            let file = options.read(true).custom_flags(libc::O_NONBLOCK);
            let file = file.open(path)?;
            netns::require(&file)?;
            Ok(Answer::File(file.into()))
        }
        Question::Netlink(namespace) => {
            netns::within(namespace, Netlink::open).map(|netlink| Answer::File(netlink.into()))
        }
        Question::Program(id) => bpf::program_name(id).map(Answer::Name),
    }
}

/// Starts the helper of this process, which must have one thread. The helper begins with
/// `confine`, and the error is why it could not.
pub fn start(confine: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let (own, other) = socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )?;
    // SAFETY: there is one thread, so the child finds no lock held by one that it has not.
    match unsafe { fork() }? {
        ForkResult::Child => {
            drop(own);
            let confined = detach().and_then(|()| confine());
            let ready = confined.is_ok();
            let told = send(&other, &encode(confined.map(|()| b"".to_vec())), None);
            if ready && told.is_ok() {
                serve(&other);
            }
            // SAFETY: ends this process without what the parent registered for its end.
            unsafe { libc::_exit(0) }
        }
        ForkResult::Parent { .. } => {
            drop(other);
            let (bytes, _) = receive(&own)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            decode(&bytes)?;
            let socket = Mutex::new(own);
            let first = HELPER.set(Helper { socket });
            first.map_err(|_| io::Error::other("there is a helper already"))
        }
    }
}

/// Has nothing to do with the terminal, and outlives the signals that end the agent, which
/// has something to tidy up: it ends when the agent has.
fn detach() -> io::Result<()> {
    prctl::set_name(c"vpc-helper")?;
    let null = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    dup2_stderr(&null)?;
    for one in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        // SAFETY: no handler is installed.
        unsafe { signal(one, SigHandler::SigIgn) }?;
    }
    Ok(())
}

/// Answers until the agent is gone.
fn serve(socket: &OwnedFd) {
    while let Ok(Some((bytes, file))) = receive(socket) {
        let answer = match understand(&bytes, file.as_ref()) {
            Some(question) => perform(question),
            None => Err(io::ErrorKind::InvalidInput.into()),
        };
        let (answer, file) = match answer {
            Ok(Answer::File(file)) => (Ok(Vec::new()), Some(file)),
            Ok(Answer::Name(name)) => (Ok(name.into_bytes()), None),
            Err(error) => (Err(error), None),
        };
        let file = file.as_ref().map(AsFd::as_fd);
        if send(socket, &encode(answer), file).is_err() {
            return;
        }
    }
}

impl Helper {
    fn ask(&self, question: Question<'_>) -> io::Result<Answer> {
        let (bytes, file) = match question {
            Question::Namespace(path) => (message(b'n', path.as_os_str().as_bytes()), None),
            Question::Netlink(namespace) => (message(b'l', b""), Some(namespace)),
            Question::Program(id) => (message(b'p', &id.to_ne_bytes()), None),
        };
        if bytes.len() > MESSAGE {
            return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
        }
        // Whoever panicked had its answer, or the next question finds out.
        let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = || io::Error::other("the agent's helper process has ended: restart the agent");
        let (bytes, file) = match send(&socket, &bytes, file).and_then(|()| receive(&socket)) {
            Ok(answer) => answer.ok_or_else(gone)?,
            Err(error) if is_end(&error) => return Err(gone()),
            Err(error) => return Err(error),
        };
        let name = decode(&bytes)?;
        Ok(match file {
            Some(file) => Answer::File(file),
            None => Answer::Name(String::from_utf8_lossy(name).into_owned()),
        })
    }
}

/// Whether it says that nobody is at the other end.
fn is_end(error: &io::Error) -> bool {
    let (pipe, reset) = (io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset);
    error.kind() == pipe || error.kind() == reset
}

fn message(kind: u8, rest: &[u8]) -> Vec<u8> {
    [&[kind], rest].concat()
}

fn understand<'a>(bytes: &'a [u8], file: Option<&'a OwnedFd>) -> Option<Question<'a>> {
    let (kind, rest) = bytes.split_first()?;
    match (kind, file) {
        (b'n', None) => Some(Question::Namespace(Path::new(OsStr::from_bytes(rest)))),
        (b'l', Some(namespace)) if rest.is_empty() => Some(Question::Netlink(namespace.as_fd())),
        (b'p', None) => Some(Question::Program(u32::from_ne_bytes(rest.try_into().ok()?))),
        _ => None,
    }
}

/// The error's number, 0 for none, and what there is to say besides.
fn encode(answer: io::Result<Vec<u8>>) -> Vec<u8> {
    match answer {
        Ok(rest) => [&0_i32.to_ne_bytes(), &rest[..]].concat(),
        Err(error) => {
            let number = error.raw_os_error().unwrap_or(libc::EIO);
            number.to_ne_bytes().to_vec()
        }
    }
}

fn decode(bytes: &[u8]) -> io::Result<&[u8]> {
    let (number, rest) = bytes
        .split_first_chunk()
        .ok_or(io::ErrorKind::InvalidData)?;
    match i32::from_ne_bytes(*number) {
        0 => Ok(rest),
        number => Err(io::Error::from_raw_os_error(number)),
    }
}

fn send(socket: &OwnedFd, bytes: &[u8], file: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let files: Vec<RawFd> = file.iter().map(|file| file.as_raw_fd()).collect();
    let rights = [ControlMessage::ScmRights(&files)];
    let rights = if files.is_empty() { &[] } else { &rights[..] };
    let parts = [IoSlice::new(bytes)];
    let flags = MsgFlags::MSG_NOSIGNAL;
    sendmsg::<()>(socket.as_raw_fd(), &parts, rights, flags, None)?;
    Ok(())
}

/// A message and the file that came with it; `None` at the end.
fn receive(socket: &OwnedFd) -> io::Result<Option<(Vec<u8>, Option<OwnedFd>)>> {
    let mut bytes = vec![0; MESSAGE];
    let mut space = nix::cmsg_space!(RawFd);
    let (length, file) = loop {
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        match recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), flags) {
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
            Ok(message) => break (message.bytes, first_file(message.cmsgs()?)),
        }
    };
    bytes.truncate(length);
    // No message is empty.
    Ok((length != 0).then_some((bytes, file)))
}

fn first_file(messages: impl Iterator<Item = ControlMessageOwned>) -> Option<OwnedFd> {
    let files = messages.filter_map(|message| match message {
        ControlMessageOwned::ScmRights(files) => Some(files),
        _ => None,
    });
    // SAFETY: the kernel has made these descriptors for this message, and nobody else knows
    // them.
    let own = |file| unsafe { OwnedFd::from_raw_fd(file) };
    // All are taken, so that all but the first are closed.
    let files: Vec<OwnedFd> = files.flatten().map(own).collect();
    files.into_iter().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_question_is_not_understood() {
        let file: OwnedFd = File::open("/dev/null").expect("there is one").into();
        for bytes in [&b""[..], b"x", b"l", b"p", b"p123", b"p12345"] {
            assert!(understand(bytes, None).is_none(), "{bytes:?}");
        }
        for bytes in [&b"n/run"[..], b"lx", b"p1234"] {
            assert!(understand(bytes, Some(&file)).is_none(), "{bytes:?}");
        }
        let number = u32::from_ne_bytes(*b"1234");
        assert!(matches!(
            understand(b"p1234", None),
            Some(Question::Program(id)) if id == number
        ));
        assert!(matches!(
            understand(b"l", Some(&file)),
            Some(Question::Netlink(_))
        ));
        assert!(matches!(
            understand(b"n/run/netns/a", None),
            Some(Question::Namespace(path)) if path == Path::new("/run/netns/a")
        ));
    }

    #[test]
    fn answers_survive_the_trip() {
        let told = encode(Ok(b"name".to_vec()));
        assert_eq!(decode(&told).expect("no error"), b"name");
        let refused = encode(Err(io::Error::from_raw_os_error(libc::EPERM)));
        let error = decode(&refused).expect_err("an error");
        assert_eq!(error.raw_os_error(), Some(libc::EPERM));
        assert!(decode(b"123").is_err());
    }

    #[test]
    fn files_and_bytes_go_through_the_socket_and_its_end_is_seen() {
        let kind = SockType::SeqPacket;
        let pair = socketpair(AddressFamily::Unix, kind, None, SockFlag::SOCK_CLOEXEC);
        let (here, there) = pair.expect("a pair of sockets");
        let null = File::open("/dev/null").expect("there is one");
        send(&here, b"with", Some(null.as_fd())).expect("sent");
        send(&here, b"without", None).expect("sent");
        drop(here);
        let (bytes, file) = receive(&there).expect("received").expect("a message");
        assert!(bytes == b"with" && file.is_some());
        let (bytes, file) = receive(&there).expect("received").expect("a message");
        assert!(bytes == b"without" && file.is_none());
        assert!(receive(&there).expect("the end").is_none());
    }

    #[test]
    fn a_file_that_is_no_namespace_is_not_handed_over() {
        let refused = perform(Question::Namespace(Path::new("/etc/passwd")));
        assert!(refused.is_err());
        let own = perform(Question::Namespace(Path::new("/proc/self/ns/net")));
        assert!(matches!(own, Ok(Answer::File(_))));
        let other = perform(Question::Namespace(Path::new("/proc/self/ns/uts")));
        assert!(other.is_err(), "a namespace of another kind");
    }
}
