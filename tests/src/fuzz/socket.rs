//! The agent's Unix socket: any bytes from a client.

use std::{cell::RefCell, time::Duration};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    runtime::{Builder, Runtime},
};
use vpc_user::{
    api::{ClientLimits, bind, serve_with},
    model::{Request, Response},
};

use super::{Target, request};

/// Every line gets one answer of one line, in order, until one is too long, which gets the
/// last. A line that is no request is refused in one sentence; one that is reaches the agent
/// as it was sent, no member lost, and only such a one does.
pub const TARGET: Target = Target {
    name: "socket",
    promise: "every line gets one answer, and the agent only requests, as they were sent",
    run,
    seeds,
    len_max: 4_096,
    in_lines: true,
    needs_kernel: false,
};

const LIMITS: ClientLimits = ClientLimits {
    line_bytes: 2_048,
    // Everything is sent at once; nobody is to be told that he is slow.
    patience: Duration::from_secs(3_600),
    connections: 4,
};

/// An agent that answers with what it understood.
struct Agent {
    runtime: Runtime,
    folder: TempDir,
}

thread_local! {
    static AGENT: RefCell<Agent> = RefCell::new(Agent::start());
}

impl Agent {
    fn start() -> Self {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let folder = tempfile::tempdir().expect("a folder");
        let listener = {
            let _guard = runtime.enter();
            bind(&folder.path().join("agent.sock")).expect("bound")
        };
        let echo = async |request: Request| Response::Answer(json!(request));
        runtime.spawn(serve_with(listener, echo, LIMITS));
        Self { runtime, folder }
    }

    /// What comes back when all of it was sent and no more is to come.
    fn answers(&self, sent: &[u8]) -> Vec<u8> {
        self.runtime.block_on(async {
            let path = self.folder.path().join("agent.sock");
            let stream = UnixStream::connect(path).await.expect("connected");
            let (mut read, mut write) = stream.into_split();
            let sending = async {
                // The agent may have said its last word.
                let _ = write.write_all(sent).await;
                let _ = write.shutdown().await;
            };
            let mut received = Vec::new();
            let (_, read) = tokio::join!(sending, read.read_to_end(&mut received));
            // Whoever is cut off in the middle of a line learns it by a reset.
            if let Err(error) = read {
                assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
            }
            received
        })
    }
}

fn run(sent: &[u8]) {
    let received = AGENT.with_borrow(|agent| agent.answers(sent));
    let mut answers = received.split_inclusive(|byte| *byte == b'\n');
    let mut lines: Vec<&[u8]> = sent.split(|byte| *byte == b'\n').collect();
    // What stands behind the last end of a line is a line if there is anything.
    if lines.last().is_some_and(|last| last.is_empty()) {
        lines.pop();
    }
    for line in lines {
        let is_last = line.len() > LIMITS.line_bytes;
        match answers.next() {
            Some(answer) => assert_answers(answer, line, is_last),
            // The answer went under in the reset.
            None => assert!(is_last, "{:?} has no answer", String::from_utf8_lossy(line)),
        }
        if is_last {
            break;
        }
    }
    assert_eq!(answers.next(), None, "an answer to nothing");
}

fn assert_answers(answer: &[u8], line: &[u8], is_too_long: bool) {
    let response: Response = serde_json::from_slice(answer).expect("a response");
    match response {
        Response::Error { message } => {
            assert!(message.contains(": "), "{message:?} names no remedy");
        }
        Response::Answer(understood) if !is_too_long => assert_as_sent(&understood, line),
        other => panic!("{other:?}"),
    }
}

/// What was understood is what was sent, and understood again.
fn assert_as_sent(understood: &Value, line: &[u8]) {
    let sent: Value = serde_json::from_slice(line).expect("only JSON is understood");
    let members = sent.as_object().expect("only objects are understood");
    for (name, value) in members.iter().filter(|(_, value)| !value.is_null()) {
        assert!(understood.get(name).is_some(), "{name} = {value} was lost");
    }
    let again: Request = serde_json::from_value(understood.clone()).expect("a request");
    assert_eq!(&json!(again), understood);
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<String> = [
        r#"{"command":"attach","name":"fn-1","interface":"veth1","group":"blue-app","address":"172.16.0.2","gateway":"172.16.0.1","mac":"02:00:00:00:00:01","netns":"box","hook":"xdp","flow_quota":1,"flow_rate":2,"flow_burst":3}"#,
        r#"{"command":"attach_function","name":"fn-1","function":"work:live","interface":"tap0","zone":"us-east-1a"}"#,
        r#"{"command":"get","kind":"vpc","id":"blue","account":"000000000001"}"#,
        r#"{"command":"eni_find","eni":"10.0.1.4"}"#,
        r#"{"command":"detach","name":"fn-1"}"#,
        r#"{"command":"set_hook","name":"fn-1","hook":"tc"}"#,
        r#"{"command":"who","address":"10.0.0.10","ports":[40000,40000],"protocol":6,"remote":"10.0.0.0/8","from":0,"to":1700000000000}"#,
        r#"{"command":"explain","environment":"fn-1","to":"10.0.3.7:443/tcp","from_port":40000}"#,
        r#"{"command":"apply","account":"000000000001","file":{"vpc":[{"name":"blue","cidr":["10.0.0.0/16"],"uplink":"blue"}]},"prune":true,"dry_run":true}"#,
        "{\"command\":\"reload\"}\n{\"command\":\"status\"}\n\n{\"command\":\"plan\"}\n{\"command\":\"flows\",\"more\":1}",
        "{\"command\":\"environments\"}\r\n{\"command\":\"drops\"}\n{\"command\":\"refusals\"}\n{\"command\":\"export_state\"}\n",
    ]
    .map(str::to_owned)
    .into();
    for story in [request::ec2(), request::lambda()].concat() {
        let story = String::from_utf8_lossy(&story).into_owned();
        let commands = story.lines().filter(|line| line.starts_with('{')).take(4);
        let lines = commands.map(|line| format!("{{\"command\":\"control\",\"action\":{line}}}\n"));
        seeds.push(lines.collect());
    }
    seeds.into_iter().map(String::into_bytes).collect()
}
