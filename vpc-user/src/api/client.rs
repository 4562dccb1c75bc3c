//! The other end of the socket.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::UnixStream,
    time::timeout,
};

use crate::model::{Request, Response};

/// How long the agent may take: it resolves no names and asks no other machine,
/// so only a stuck one takes this long.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody listens.
    #[error(
        "the agent is not running at {}: start it with `vpc agent --config FILE`, or name its \
         socket with --socket",
        path.display()
    )]
    NotRunning {
        /// The socket.
        path: PathBuf,
    },
    /// The socket is root's.
    #[error("the agent's socket {} may not be opened: run this as root", path.display())]
    Denied {
        /// The socket.
        path: PathBuf,
    },
    /// The agent does not answer.
    #[error(
        "the agent at {} did not answer within {} s: look at its log",
        path.display(),
        PATIENCE.as_secs()
    )]
    Silent {
        /// The socket.
        path: PathBuf,
    },
    /// The agent ended in the middle.
    #[error("the agent at {} closed the connection before it answered: look at its log", path.display())]
    Closed {
        /// The socket.
        path: PathBuf,
    },
    /// The answer makes no sense.
    #[error(
        "the answer of the agent at {} is not understood ({cause}): use the `vpc` of the agent's \
         version",
        path.display()
    )]
    Garbled {
        /// The socket.
        path: PathBuf,
        /// What is wrong with it.
        cause: serde_json::Error,
    },
    /// The system refuses.
    #[error("the agent at {} cannot be reached ({cause}): check --socket", path.display())]
    System {
        /// The socket.
        path: PathBuf,
        /// What it said.
        cause: io::Error,
    },
}

/// Asks the agent one thing. A [`Response::Error`] is an answer like any other.
pub async fn call(path: &Path, request: &Request) -> Result<Response, CallError> {
    let owned = || path.to_path_buf();
    let answer = timeout(PATIENCE, exchange(path, request))
        .await
        .map_err(|_| CallError::Silent { path: owned() })?
        .map_err(|cause| explain(path, cause))?;
    if answer.last() != Some(&b'\n') {
        return Err(CallError::Closed { path: owned() });
    }
    serde_json::from_slice(&answer).map_err(|cause| CallError::Garbled {
        path: owned(),
        cause,
    })
}

/// [`call`] for callers without a runtime.
pub fn call_blocking(path: &Path, request: &Request) -> Result<Response, CallError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|cause| CallError::System {
            path: path.to_path_buf(),
            cause,
        })?;
    runtime.block_on(call(path, request))
}

/// Whether somebody listens on a socket.
pub fn is_live(path: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(path).is_ok()
}

async fn exchange(path: &Path, request: &Request) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    let mut stream = UnixStream::connect(path).await?;
    match stream.write_all(&line).await {
        // The agent may refuse a connection without reading from it, and says why.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
        _ => {}
    }
    let mut answer = Vec::new();
    BufReader::new(stream)
        .read_until(b'\n', &mut answer)
        .await?;
    Ok(answer)
}

fn explain(path: &Path, cause: io::Error) -> CallError {
    let path = path.to_path_buf();
    match cause.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            CallError::NotRunning { path }
        }
        io::ErrorKind::PermissionDenied => CallError::Denied { path },
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => CallError::Closed { path },
        _ => CallError::System { path, cause },
    }
}
