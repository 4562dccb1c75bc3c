//! The agent's Unix socket: one JSON [`Request`] a line, one JSON [`Response`] a
//! line back, in order, as many as the client likes.
//!
//! Whoever can open the socket is root, but may still be a broken script: a line
//! that is too long, too slow or not a request is answered with one
//! [`Response::Error`] and never disturbs the agent or another client. What a
//! request does is the [`Handler`]'s business.

use std::{future::Future, io, sync::Arc, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::Semaphore,
    task::JoinSet,
    time::timeout,
};

use crate::model::{Request, Response};

mod bind;
mod client;
#[cfg(test)]
mod tests;

pub use bind::{BindError, bind};
pub use client::{CallError, call, call_blocking, is_live};

/// What answers requests. Implemented by the agent's handle, and by any closure
/// `Fn(Request) -> impl Future<Output = Response>`.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request. Requests of one connection come one after another,
    /// those of different connections at the same time.
    fn handle(&self, request: Request) -> impl Future<Output = Response> + Send;
}

impl<F, Answer> Handler for F
where
    F: Fn(Request) -> Answer + Send + Sync + 'static,
    Answer: Future<Output = Response> + Send,
{
    fn handle(&self, request: Request) -> impl Future<Output = Response> + Send {
        self(request)
    }
}

/// What a client may use up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClientLimits {
    /// Bytes of a line, without its end.
    pub line_bytes: usize,
    /// How long a line may take to arrive, and a piece of the answer to be taken.
    pub patience: Duration,
    /// Connections at a time.
    pub connections: usize,
}

impl ClientLimits {
    /// Room for a declarative file of thousands of resources, and for every tool of one
    /// host.
    pub const DEFAULT: Self = Self {
        line_bytes: 4 << 20,
        patience: Duration::from_secs(10),
        connections: 64,
    };
}

/// Bytes of an answer that a client takes within [`ClientLimits::patience`].
const WRITE_PIECE: usize = 64 * 1024;
/// Entries of a listing from which on it is put into text off the event loop.
const LONG_LISTING: usize = 1_000;
/// Pause after a failed `accept`, which fails again at once when descriptors
/// have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until dropped; dropping it ends every connection.
pub async fn serve(listener: UnixListener, handler: impl Handler) {
    serve_with(listener, handler, ClientLimits::DEFAULT).await;
}

/// [`serve`] with other limits.
pub async fn serve_with(listener: UnixListener, handler: impl Handler, limits: ClientLimits) {
    let handler = Arc::new(handler);
    let places = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "no connection could be accepted on the agent's socket");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a connection to the agent's socket broke down");
                }
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            refuse_connection(&stream, limits.connections);
            continue;
        };
        let handler = Arc::clone(&handler);
        connections.spawn(async move {
            let _place = place;
            if let Err(error) = converse(stream, &*handler, limits).await {
                tracing::debug!(%error, "a client left before its answer");
            }
        });
    }
}

/// One short write that a new connection's buffer always has room for.
fn refuse_connection(stream: &UnixStream, limit: usize) {
    tracing::warn!(
        limit,
        "a connection to the agent's socket was refused: too many are open"
    );
    let message = format!("{limit} connections to the agent are open: close one and try again");
    if let Ok(line) = encode(&error(message)) {
        // If it fails the client is gone already.
        let _ = stream.try_write(&line);
    }
}

/// How reading a line ended.
enum Line {
    /// A line, or what stood after the last one.
    Complete,
    /// The client has nothing more to say.
    End,
    TooLong,
    /// With the number of bytes that did arrive.
    TooSlow(usize),
}

async fn converse(
    stream: UnixStream,
    handler: &impl Handler,
    limits: ClientLimits,
) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut reader = BufReader::new(read);
    let mut line = Vec::new();
    loop {
        line.clear();
        let last_words = match read_line(&mut reader, &mut line, limits).await? {
            Line::Complete => {
                let response = match decode(&line) {
                    Ok(request) => handler.handle(request).await,
                    Err(message) => error(message),
                };
                send(&mut write, response, limits).await?;
                continue;
            }
            Line::End | Line::TooSlow(0) => return Ok(()),
            Line::TooLong => format!(
                "the line is longer than {} bytes: send one request a line",
                limits.line_bytes
            ),
            Line::TooSlow(_) => format!(
                "the line did not end within {} s: send each request at once",
                limits.patience.as_secs_f32()
            ),
        };
        // Where the next request would begin is not known: the connection ends.
        return send(&mut write, error(last_words), limits).await;
    }
}

async fn read_line(
    reader: &mut BufReader<OwnedReadHalf>,
    line: &mut Vec<u8>,
    limits: ClientLimits,
) -> io::Result<Line> {
    let reading = async {
        loop {
            let available = reader.fill_buf().await?;
            if available.is_empty() {
                return Ok(if line.is_empty() {
                    Line::End
                } else {
                    Line::Complete
                });
            }
            let newline = available.iter().position(|byte| *byte == b'\n');
            let taken = newline.unwrap_or(available.len());
            if line.len() + taken > limits.line_bytes {
                return Ok(Line::TooLong);
            }
            line.extend_from_slice(&available[..taken]);
            reader.consume(taken + usize::from(newline.is_some()));
            if newline.is_some() {
                return Ok(Line::Complete);
            }
        }
    };
    match timeout(limits.patience, reading).await {
        Ok(read) => read,
        Err(_) => Ok(Line::TooSlow(line.len())),
    }
}

async fn send(
    write: &mut OwnedWriteHalf,
    response: Response,
    limits: ClientLimits,
) -> io::Result<()> {
    let entries = match &response {
        Response::Flows(flows) => flows.len(),
        Response::Refusals(refusals) => refusals.len(),
        _ => 0,
    };
    let line = if entries >= LONG_LISTING {
        tokio::task::spawn_blocking(move || encode(&response)).await??
    } else {
        encode(&response)?
    };
    for piece in line.chunks(WRITE_PIECE) {
        timeout(limits.patience, write.write_all(piece)).await??;
    }
    Ok(())
}

fn encode(response: &Response) -> serde_json::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(response)?;
    line.push(b'\n');
    Ok(line)
}

fn error(message: String) -> Response {
    Response::Error { message }
}

/// The request a line holds, or the sentence to answer with.
fn decode(line: &[u8]) -> Result<Request, String> {
    let text = std::str::from_utf8(line)
        .map_err(|_| "the line is not UTF-8: send one JSON object a line".to_owned())?;
    let value: Value = serde_json::from_str(text)
        .map_err(|error| format!("the line is not JSON ({error}): send one JSON object a line"))?;
    if !value.is_object() {
        return Err("the line is not a JSON object: send {\"command\": …}".to_owned());
    }
    let request: Request = serde_json::from_value(value.clone())
        .map_err(|error| format!("the request is not understood ({error}): correct it"))?;
    match unknown_field(&value, &request) {
        None => Ok(request),
        Some(field) => Err(format!("the request has no field {field:?}: remove it")),
    }
}

/// A field that was sent and means nothing. Serde refuses most of them by itself,
/// but not those beside the tag of a variant without fields.
fn unknown_field(sent: &Value, request: &Request) -> Option<String> {
    let understood = serde_json::to_value(request).ok()?;
    let sent = sent.as_object()?.iter();
    sent.filter(|(_, value)| !value.is_null())
        .map(|(field, _)| field)
        .find(|field| understood.get(field).is_none())
        .cloned()
}
