use std::{
    io::{BufRead as _, BufReader as StdReader, Read as _, Write as _},
    os::unix::{fs::PermissionsExt as _, net::UnixStream as StdStream},
    path::{Path, PathBuf},
};

use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::*;
use crate::model::{AttachRequest, DropInfo, ExplainRequest, ObjectName};

/// An agent that answers with what it understood.
struct Agent {
    folder: TempDir,
    _runtime: Runtime,
}

struct Echo;

impl Handler for Echo {
    async fn handle(&self, request: Request) -> Response {
        assert_ne!(request, Request::Drops, "a handler that panics");
        error(format!("{request:?}"))
    }
}

const QUICK: ClientLimits = ClientLimits {
    line_bytes: 64 * 1024,
    patience: Duration::from_millis(300),
    ..ClientLimits::DEFAULT
};

impl Agent {
    fn start(handler: impl Handler, limits: ClientLimits) -> Self {
        let folder = TempDir::new().expect("a folder");
        let runtime = Runtime::new().expect("a runtime");
        let path = folder.path().join("run/agent.sock");
        let listener = {
            let _guard = runtime.enter();
            bind(&path).expect("bound")
        };
        runtime.spawn(serve_with(listener, handler, limits));
        Self {
            folder,
            _runtime: runtime,
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("run/agent.sock")
    }

    fn connect(&self) -> StdStream {
        let stream = StdStream::connect(self.path()).expect("connected");
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a timeout");
        stream
    }

    /// Sends bytes on a new connection and returns all that comes back until the
    /// agent closes it.
    fn send(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        stream.write_all(bytes).expect("written");
        let mut answer = String::new();
        stream
            .read_to_string(&mut answer)
            .expect("closed by the agent");
        answer
    }

    /// The sentence that answers a line, on a connection that goes on afterwards.
    fn answer(&self, line: &[u8]) -> String {
        let mut stream = self.connect();
        stream
            .write_all(&[line, b"\n{\"command\":\"status\"}\n"].concat())
            .expect("written");
        let mut lines = StdReader::new(stream).lines();
        let mut next = || lines.next().expect("a line").expect("readable");
        let first = next();
        assert_eq!(sentence(&next()), "Status", "the connection goes on");
        sentence(&first)
    }
}

fn sentence(line: &str) -> String {
    match serde_json::from_str(line.trim_end()).expect("a response") {
        Response::Error { message } => message,
        other => panic!("{other:?}"),
    }
}

fn name(text: &str) -> ObjectName {
    ObjectName::new(text).expect("a name")
}

fn attach() -> AttachRequest {
    AttachRequest {
        name: name("fn-1"),
        interface: "tap0".into(),
        group: name("blue"),
        address: [172, 16, 0, 2].into(),
        gateway: [172, 16, 0, 1].into(),
        mac: None,
        netns: None,
        hook: crate::model::HookWish::Auto,
        flow_quota: 1,
        flow_rate: 2,
        flow_burst: 3,
    }
}

#[test]
fn every_request_arrives_as_it_was_sent() {
    let agent = Agent::start(Echo, QUICK);
    let requests = [
        Request::Attach(attach()),
        Request::Detach { name: name("fn-1") },
        Request::Reload,
        Request::Explain(ExplainRequest {
            environment: name("fn-1"),
            to: "10.0.3.7:443/tcp".parse().expect("an endpoint"),
            from_port: std::num::NonZeroU16::new(40_000),
        }),
        Request::Environments,
        Request::Flows,
        Request::Refusals,
        Request::Status,
    ];
    for request in requests {
        let answer = call_blocking(&agent.path(), &request).expect("an answer");
        assert_eq!(answer, error(format!("{request:?}")));
    }
}

#[test]
fn a_closure_is_a_handler() {
    let drops = vec![DropInfo {
        owner_kind: "host".into(),
        owner: String::new(),
        reason: "no_route".into(),
        packets: u64::MAX,
        description: "…".into(),
    }];
    let answer = Response::Drops(drops);
    let copy = answer.clone();
    let agent = Agent::start(move |_| std::future::ready(copy.clone()), QUICK);
    assert_eq!(
        call_blocking(&agent.path(), &Request::Drops).expect("an answer"),
        answer
    );
}

#[test]
fn bad_lines_get_one_sentence_each_and_the_connection_goes_on() {
    let agent = Agent::start(Echo, QUICK);
    let deep = "[".repeat(10_000);
    let cases: [(&[u8], &str); 14] = [
        (b"", "the line is not JSON (EOF while parsing a value"),
        (
            b"\xff\xfe",
            "the line is not UTF-8: send one JSON object a line",
        ),
        (
            b"{\"command\":",
            "the line is not JSON (EOF while parsing a value",
        ),
        (
            deep.as_bytes(),
            "the line is not JSON (recursion limit exceeded",
        ),
        (b"[1]", "the line is not a JSON object"),
        (
            b"{}",
            "the request is not understood (missing field `command`): correct it",
        ),
        (
            b"{\"command\":\"format\"}",
            "the request is not understood (unknown variant `format`, expected one of",
        ),
        (
            b"{\"command\":\"status\",\"x\":1}",
            "the request has no field \"x\": remove it",
        ),
        (
            b"{\"command\":\"detach\",\"name\":\"a\",\"x\":1}",
            "the request is not understood (unknown field `x`",
        ),
        (
            b"{\"command\":\"explain\",\"environment\":\"a\",\"to\":\"10.0.3.7\"}",
            "the request is not understood (\"10.0.3.7\" is no address with port and protocol: \
             write it like 10.0.3.7:443/tcp)",
        ),
        (
            b"{\"command\":\"explain\",\"environment\":\"a\",\"to\":\"10.0.3.7:1/tcp\",\"from_port\":0}",
            "the request is not understood (invalid value: integer `0`",
        ),
        (
            b"{\"command\":\"reload\",\"file\":\"/etc/other.toml\"}",
            "the request has no field \"file\": remove it",
        ),
        (
            b"{\"command\":\"detach\",\"name\":\"../etc\"}",
            "the request is not understood (\"../etc\" is not a name",
        ),
        (
            b"{\"command\":\"attach\",\"name\":\"a\"}",
            "the request is not understood (missing field `interface`)",
        ),
    ];
    for (line, expected) in cases {
        let sentence = agent.answer(line);
        assert!(
            sentence.starts_with(expected),
            "{sentence:?} to {:?}",
            String::from_utf8_lossy(line)
        );
    }
}

#[test]
fn absent_and_null_options_are_the_same() {
    let agent = Agent::start(Echo, QUICK);
    let line = br#"{"command":"attach","name":"a","interface":"t","group":"g","address":"10.0.0.2","gateway":"10.0.0.1","mac":null}"#;
    assert!(agent.answer(line).starts_with("Attach("));
}

#[test]
fn a_last_line_without_an_end_is_answered() {
    let agent = Agent::start(Echo, QUICK);
    let mut stream = agent.connect();
    stream
        .write_all(b"{\"command\":\"status\"}")
        .expect("written");
    stream
        .shutdown(std::net::Shutdown::Write)
        .expect("half closed");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    assert_eq!(sentence(&answer), "Status");
}

#[test]
fn a_line_over_the_limit_ends_the_connection_with_a_sentence() {
    let agent = Agent::start(Echo, QUICK);
    let answer = agent.send(&vec![b' '; QUICK.line_bytes + 1]);
    assert_eq!(
        sentence(&answer),
        "the line is longer than 65536 bytes: send one request a line"
    );
    let longest = vec![b' '; QUICK.line_bytes];
    assert!(agent.answer(&longest).starts_with("the line is not JSON"));
}

#[test]
fn a_slow_client_is_told_and_an_idle_one_is_let_go() {
    let agent = Agent::start(Echo, QUICK);
    let answer = agent.send(b"{\"comm");
    assert_eq!(
        sentence(&answer),
        "the line did not end within 0.3 s: send each request at once"
    );
    assert_eq!(agent.send(b""), "");
}

#[test]
fn a_client_that_takes_no_answers_does_not_hold_its_connection_for_ever() {
    let big = error("x".repeat(8 << 20));
    let limits = ClientLimits {
        connections: 1,
        ..QUICK
    };
    let agent = Agent::start(move |_| std::future::ready(big.clone()), limits);
    let mut stuck = agent.connect();
    stuck
        .write_all(b"{\"command\":\"status\"}\n")
        .expect("written");
    // The connection's one place is free again as soon as its patience is over.
    let is_whole = |_| {
        std::thread::sleep(QUICK.patience);
        let answer = call_blocking(&agent.path(), &Request::Status).expect("an answer");
        matches!(answer, Response::Error { message } if message.len() == 8 << 20)
    };
    assert!(
        (0..100).any(is_whole),
        "a stuck client's place becomes free"
    );
}

#[test]
fn connections_over_the_limit_are_refused_with_a_sentence() {
    let limits = ClientLimits {
        connections: 2,
        ..ClientLimits::DEFAULT
    };
    let agent = Agent::start(Echo, limits);
    let held = [agent.connect(), agent.connect()];
    let answer = call_blocking(&agent.path(), &Request::Status).expect("an answer");
    let full = "2 connections to the agent are open: close one and try again";
    assert_eq!(answer, error(full.to_owned()));
    drop(held);
    let free = |_| {
        std::thread::sleep(Duration::from_millis(20));
        call_blocking(&agent.path(), &Request::Status).expect("an answer") != answer
    };
    assert!((0..100).any(free), "closed connections make room");
}

#[test]
fn a_handler_that_panics_ends_its_connection_and_no_other() {
    let agent = Agent::start(Echo, QUICK);
    let refused = call_blocking(&agent.path(), &Request::Drops).expect_err("closed");
    assert!(matches!(refused, CallError::Closed { .. }), "{refused}");
    call_blocking(&agent.path(), &Request::Status).expect("an answer");
}

#[test]
fn the_socket_is_roots_alone_and_its_folder_open_to_all() {
    let agent = Agent::start(Echo, QUICK);
    let mode = |path: &Path| {
        std::fs::metadata(path)
            .expect("exists")
            .permissions()
            .mode()
            & 0o7777
    };
    assert_eq!(mode(&agent.path()), 0o600);
    assert_eq!(mode(agent.path().parent().expect("a folder")), 0o755);
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("agent.sock");
    let first = bind(&path).expect("bound");
    let refused = bind(&path).expect_err("live");
    assert_eq!(
        refused.to_string(),
        format!(
            "another agent answers at {}: stop it, or give this one another `socket`",
            path.display()
        )
    );
    assert!(is_live(&path), "the first one still listens");
    drop(first);
    assert!(path.exists() && !is_live(&path), "stale");
    bind(&path).expect("replaced");
}

#[tokio::test]
async fn what_is_no_socket_is_left_alone() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("agent.sock");
    std::fs::write(&path, "precious").expect("written");
    let refused = bind(&path).expect_err("occupied");
    assert!(matches!(refused, BindError::Occupied { .. }), "{refused}");
    assert_eq!(std::fs::read(&path).expect("kept"), b"precious");
    let inside = path.join("agent.sock");
    let refused = bind(&inside).expect_err("no folder");
    assert!(
        refused
            .to_string()
            .starts_with(&format!("{} cannot be created (", path.display()))
    );
}

#[tokio::test]
async fn two_agents_that_start_at_once_do_not_replace_each_other() {
    let folder = TempDir::new().expect("a folder");
    let lock = std::fs::File::open(folder.path()).expect("opened");
    lock.lock().expect("locked");
    let refused = bind(&folder.path().join("agent.sock")).expect_err("starting");
    assert!(matches!(refused, BindError::Starting { .. }), "{refused}");
}

#[test]
fn an_agent_that_does_not_run_is_named_with_the_remedy() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("agent.sock");
    let expected = format!(
        "the agent is not running at {}: start it with `vpc agent --config FILE`, or name its \
         socket with --socket",
        path.display()
    );
    let missing = call_blocking(&path, &Request::Status).expect_err("missing");
    assert_eq!(missing.to_string(), expected);
    drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
    let stale = call_blocking(&path, &Request::Status).expect_err("stale");
    assert_eq!(stale.to_string(), expected);
}

#[test]
fn an_answer_of_another_version_is_not_taken_for_one() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("agent.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).expect("bound");
    let server = std::thread::spawn(move || {
        for answer in ["{\"result\":\"novel\"}\n", "{\"resu"] {
            let (mut stream, _) = listener.accept().expect("accepted");
            let mut request = String::new();
            StdReader::new(&stream)
                .read_line(&mut request)
                .expect("a request");
            stream.write_all(answer.as_bytes()).expect("written");
        }
    });
    let garbled = call_blocking(&path, &Request::Status).expect_err("garbled");
    assert!(matches!(garbled, CallError::Garbled { .. }), "{garbled}");
    let closed = call_blocking(&path, &Request::Status).expect_err("closed");
    assert!(matches!(closed, CallError::Closed { .. }), "{closed}");
    server.join().expect("served");
}

proptest::proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(line in proptest::collection::vec(0u8.., 0..200)) {
        let _ = decode(&line);
    }
}
