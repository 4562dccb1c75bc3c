//! The binary `vpc` against an agent of canned answers: what it prints where, and
//! its exit codes. No kernel program is loaded and nothing outside a temporary
//! folder is touched.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_types, reason = "it runs the program under test")]

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _},
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;
use tokio::runtime::Runtime;
use vpc_user::{
    api,
    model::{
        Denial, DropInfo, EnvironmentInfo, ExplainRequest, Explanation, FlowInfo, Hook, HookWish,
        RefusalDirection, RefusalInfo, Request, Response, Stage, StageDecision, StatusInfo,
    },
};

struct Agent {
    folder: TempDir,
    runtime: Runtime,
}

impl Agent {
    fn start() -> Self {
        Self::start_with(answer)
    }

    fn start_with(answer: fn(&Request) -> Response) -> Self {
        let agent = Self {
            folder: TempDir::new().unwrap(),
            runtime: Runtime::new().unwrap(),
        };
        let listener = {
            let _guard = agent.runtime.enter();
            api::bind(&agent.socket()).unwrap()
        };
        agent.runtime.spawn(api::serve(listener, move |request| {
            std::future::ready(answer(&request))
        }));
        agent
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("agent.sock")
    }

    fn command(&self, line: &str) -> Command {
        let mut command = vpc(line);
        command.env("VPC_SOCKET", self.socket());
        command
    }

    fn run(&self, line: &str) -> (i32, String, String) {
        outcome(self.command(line).output().unwrap())
    }
}

fn vpc(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vpc"));
    command
        .args(line.split_whitespace())
        .env_remove("VPC_SOCKET")
        .env_remove("VPC_LOG");
    command
}

fn run(line: &str) -> (i32, String, String) {
    outcome(vpc(line).output().unwrap())
}

fn outcome(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

fn environment(name: &str) -> EnvironmentInfo {
    EnvironmentInfo {
        name: name.into(),
        index: 1,
        generation: 1,
        interface: "tap1".into(),
        ifindex: 9,
        hook: Hook::Tc,
        hook_wanted: HookWish::Auto,
        hook_why: "a tap".into(),
        group: "blue-app".into(),
        address: [172, 16, 0, 2].into(),
        gateway: [172, 16, 0, 1].into(),
        mac: Some("02:00:00:00:00:01".into()),
        flows: 2,
        flow_quota: 7,
        refused_replies: 0,
    }
}

fn flow(environment: &str, slot: u32) -> FlowInfo {
    FlowInfo {
        environment: environment.into(),
        function: None,
        protocol: "udp".into(),
        inside: ([172, 16, 0, 2], 5_000).into(),
        outside: ([10, 0, 0, 10], 2_000).into(),
        remote: ([10, 0, 0, 80], 53).into(),
        state: "udp_new".into(),
        forward_packets: 1,
        forward_bytes: u64::from(slot),
        reply_packets: 0,
        reply_bytes: 0,
        age_secs: 1.0,
        idle_secs: 1.0,
        slot,
        epoch: 0,
    }
}

fn explanation(request: &ExplainRequest) -> Explanation {
    Explanation {
        environment: request.environment.to_string(),
        address: [172, 16, 0, 2].into(),
        function: None,
        group: "blue-app".into(),
        to: request.to,
        eni: None,
        flow: None,
        tracked: request.from_port.is_some(),
        security_groups: Some(Stage::bare(false, StageDecision::NoRule)),
        network_acl_out: None,
        route: None,
        reply: None,
        verdict: "sg_egress".into(),
        description: "No rule.".into(),
    }
}

fn answer(request: &Request) -> Response {
    match request {
        Request::Attach(attach) if attach.interface == "tap1" => {
            Response::Environment(environment(attach.name.as_str()))
        }
        Request::Attach(attach) => Response::Error {
            message: format!(
                "there is no interface {:?}: make it first",
                attach.interface
            ),
        },
        Request::SetHook { name, hook, .. } => Response::Environment(EnvironmentInfo {
            hook_wanted: *hook,
            ..environment(name.as_str())
        }),
        // The answer to another question.
        Request::Detach { .. } => Response::Drops(Vec::new()),
        Request::Reload => Response::Reloaded {
            steps: 2,
            problems: Vec::new(),
        },
        Request::Environments => Response::Environments(vec![environment("fn-1")]),
        Request::Flows => Response::Flows(
            (0..2_000)
                .map(|n| flow(&format!("fn-{}", n % 2), n))
                .collect(),
        ),
        Request::Drops => Response::Drops(vec![DropInfo {
            owner_kind: "eni".into(),
            owner: "blue-app-0".into(),
            reason: "unsolicited".into(),
            packets: 5,
            description: "One way.".into(),
        }]),
        Request::Explain(request) if request.environment.as_str() == "fn-1" => {
            Response::Explanation(Box::new(explanation(request)))
        }
        Request::Explain(request) => Response::Error {
            message: format!(
                "{} is not attached: see `vpc ls` for what is",
                request.environment
            ),
        },
        Request::Refusals => Response::Refusals(vec![RefusalInfo {
            environment: "fn-1".into(),
            eni: "blue-app-0".into(),
            eni_address: [10, 0, 0, 10].into(),
            direction: RefusalDirection::Out,
            protocol: "tcp".into(),
            local_port: 40_000,
            remote: ([10, 0, 3, 7], 443).into(),
            reason: "sg_egress".into(),
            packets: 3,
            bytes: 180,
            age_secs: 2.0,
            idle_secs: 1.0,
        }]),
        Request::Status => Response::Status(StatusInfo {
            version: "0.1.0".into(),
            layout: 1,
            pid: 4_242,
            uptime_secs: 5.0,
            adopted: false,
            uplinks: Vec::new(),
            enis: Vec::new(),
            environments: 1,
            flows: 2_000,
            flow_capacity: 4_096,
            policy_words: 20,
            policy_word_capacity: 2_048,
            counters: BTreeMap::new(),
        }),
        other => answer_of_resources(other),
    }
}

fn answer_of_resources(request: &Request) -> Response {
    match request {
        Request::AttachFunction(attach) if attach.function == "fn-1:live" => {
            Response::Environment(environment(attach.name.as_str()))
        }
        Request::Plan => Response::Plan {
            steps: vec!["forget ENI 3".into()],
            problems: Vec::new(),
        },
        _ => Response::Denied(Denial {
            code: "ResourceConflictException".into(),
            message: "The function is currently in the following state: Pending".into(),
            status: 409,
        }),
    }
}

#[test]
fn what_aws_would_refuse_is_printed_with_its_code() {
    let agent = Agent::start();
    let (code, out, err) = agent.run("attach --function fn-2 --interface tap1");
    let sentence = "vpc: ResourceConflictException: The function is currently in the following \
                    state: Pending\n";
    assert_eq!((code, out.as_str(), err.as_str()), (1, "", sentence));
    let (code, out, _) = agent.run("attach --function fn-1:live --interface tap1");
    assert_eq!(code, 0, "{out}");
    assert!(out.starts_with("tap1 is attached: "), "{out}");
    let (code, out, _) = agent.run("plan");
    assert_eq!((code, out.as_str()), (0, "forget ENI 3\n"));
}

const ATTACH: &str = "attach fn-1 --group blue-app --address 172.16.0.2 --gateway 172.16.0.1";

#[test]
fn an_attach_prints_what_was_attached() {
    let agent = Agent::start();
    let (code, out, err) = agent.run(&format!("{ATTACH} --interface tap1"));
    assert_eq!(
        (code, out.as_str(), err.as_str()),
        (
            0,
            "fn-1 is attached: tap1, 172.16.0.2, group blue-app.\n",
            ""
        )
    );
    let (_, out, _) = agent.run(&format!("{ATTACH} --interface tap1 --json"));
    let value: EnvironmentInfo = serde_json::from_str(&out).unwrap();
    assert_eq!(value, environment("fn-1"));
}

#[test]
fn a_reload_says_what_was_done() {
    let agent = Agent::start();
    let done = "The configuration is in force: 2 steps.\n";
    assert_eq!(agent.run("reload"), (0, done.into(), String::new()));
    let (code, out, _) = agent.run("reload --json");
    let value: serde_json::Value = serde_json::from_str(&out).unwrap();
    let expected = serde_json::json!({ "steps": 2, "problems": [] });
    assert_eq!((code, value), (0, expected));
}

#[test]
fn a_reload_by_half_names_what_is_missing_and_is_code_1() {
    let agent = Agent::start_with(|_| Response::Reloaded {
        steps: 0,
        problems: vec!["uplink blue: there is no interface eth1".into()],
    });
    let (code, out, err) = agent.run("reload");
    assert_eq!(
        (code, out.as_str(), err.as_str()),
        (
            1,
            "The configuration is in force: nothing had to be changed.\n\
             Not applied: uplink blue: there is no interface eth1.\n",
            "vpc: one part of the configuration was not applied: the agent tries again\n"
        )
    );
    let (code, out, _) = agent.run("reload --json");
    assert_eq!(code, 1);
    let value: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(value["problems"].as_array().unwrap().len(), 1);
}

#[test]
fn a_refused_reload_is_one_sentence_and_code_1() {
    let agent = Agent::start_with(|_| Response::Error {
        message: "/etc/vpc.toml: profile = \"x\" is not a profile".into(),
    });
    let sentence = "vpc: /etc/vpc.toml: profile = \"x\" is not a profile\n";
    assert_eq!(agent.run("reload"), (1, String::new(), sentence.into()));
}

#[test]
fn a_refusal_is_one_sentence_and_code_1() {
    let agent = Agent::start();
    let (code, out, err) = agent.run(&format!("{ATTACH} --interface tap2"));
    assert_eq!(
        (code, out.as_str(), err.as_str()),
        (
            1,
            "",
            "vpc: there is no interface \"tap2\": make it first\n"
        )
    );
    let (code, _, err) = agent.run("detach fn-1");
    assert_eq!(code, 1);
    assert!(
        err.contains("answered with \"drops\" which was not asked for"),
        "{err}"
    );
}

#[test]
fn an_agent_that_does_not_run_is_code_1_with_the_remedy() {
    let folder = TempDir::new().unwrap();
    let socket = folder.path().join("agent.sock");
    for line in [
        "ls",
        "flows",
        "drops",
        "status",
        "reload",
        "refusals",
        "top --frames 1",
        "detach a",
    ] {
        let (code, out, err) = run(&format!("{line} --socket {}", socket.display()));
        assert_eq!((code, out.as_str()), (1, ""), "{line}");
        assert!(
            err.contains("start it with `vpc agent --config FILE`"),
            "{line}: {err}"
        );
    }
}

#[test]
fn wrong_usage_is_code_2() {
    let mac = format!("{ATTACH} --interface tap1 --mac 02:00");
    let quota = format!("{ATTACH} --interface tap1 --flow-quota 0");
    for line in [
        "",
        "fly",
        "attach UPPER",
        "explain luck",
        "agent",
        "top --frames 0",
        &mac,
        &quota,
    ] {
        let (code, out, err) = run(line);
        assert_eq!((code, out.as_str()), (2, ""), "{line}");
        assert!(!err.is_empty(), "{line}");
    }
}

#[test]
fn listings_have_a_table_and_a_json_form() {
    let agent = Agent::start();
    for (line, expected) in [
        ("ls", "fn-1"),
        ("flows", "10.0.0.10:2000"),
        ("drops", "unsolicited"),
        ("refusals", "sg_egress"),
        ("status", "pid 4242"),
    ] {
        let (code, out, err) = agent.run(line);
        assert_eq!((code, err.as_str()), (0, ""), "{line}");
        assert!(out.contains(expected), "{line}: {out}");
        let (code, out, _) = agent.run(&format!("{line} --json"));
        assert_eq!(code, 0, "{line}");
        serde_json::from_str::<serde_json::Value>(&out).unwrap();
    }
}

#[test]
fn a_packet_is_explained_as_a_story_or_as_json() {
    let agent = Agent::start();
    let line = "explain --environment fn-1 --to 10.0.3.7:443/tcp";
    let (code, out, err) = agent.run(line);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(
        out.contains("  security groups  denied: no egress rule matches\n"),
        "{out}"
    );
    assert!(
        out.ends_with("  verdict          sg_egress (a new flow): No rule.\n"),
        "{out}"
    );
    let (code, out, _) = agent.run(&format!("{line} --from-port 40000 --json"));
    let value: Explanation = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (code, value.verdict.as_str(), value.tracked),
        (0, "sg_egress", true)
    );
    let (code, _, err) = agent.run("explain --environment fn-2 --to 10.0.3.7:443/tcp");
    assert_eq!(
        (code, err.as_str()),
        (1, "vpc: fn-2 is not attached: see `vpc ls` for what is\n")
    );
}

#[test]
fn a_question_that_is_none_is_wrong_usage() {
    for (line, expected) in [
        ("explain", "required"),
        ("explain --environment fn-1", "--to"),
        ("explain --to 10.0.3.7:443/tcp", "--environment"),
        (
            "explain unsolicited --environment fn-1 --to 10.0.3.7:443/tcp",
            "cannot be used with",
        ),
        ("explain unsolicited --from-port 5", "--environment"),
        (
            "explain --environment fn-1 --to 10.0.3.7:443",
            "write it like 10.0.3.7:443/tcp",
        ),
        (
            "explain --environment fn-1 --to 10.0.3.7/icmp",
            "is not carried",
        ),
        (
            "explain --environment fn-1 --to 10.0.3.7:443/tcp --from-port 0",
            "from-port",
        ),
    ] {
        let (code, out, err) = run(line);
        assert_eq!((code, out.as_str()), (2, ""), "{line}: {err}");
        assert!(err.contains(expected), "{line}: {err}");
    }
    let (code, out, _) = run("explain unsolicited --json");
    let value: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &value["number"]), (0, &serde_json::json!(29)));
}

#[test]
fn flows_can_be_those_of_one_environment_sorted() {
    let agent = Agent::start();
    let (_, out, _) = agent.run("flows --json --environment fn-1 --sort bytes");
    let flows: Vec<FlowInfo> = serde_json::from_str(&out).unwrap();
    assert_eq!(flows.len(), 1_000);
    assert!(flows.iter().all(|flow| flow.environment == "fn-1"));
    assert!(
        flows
            .windows(2)
            .all(|pair| pair[0].forward_bytes > pair[1].forward_bytes)
    );
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let agent = Agent::start();
    let mut child = agent
        .command("flows --json")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::with_capacity(16, child.stdout.take().unwrap())
        .read_line(&mut first)
        .unwrap();
    let mut err = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut err)
        .unwrap();
    assert_eq!((child.wait().unwrap().code(), err.as_str()), (Some(0), ""));
}

#[test]
fn top_without_a_terminal_prints_plain_frames() {
    let agent = Agent::start();
    let (code, out, err) = agent.run("top --frames 2");
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(out.matches("pid 4242").count(), 2, "{out}");
    assert!(!out.contains('\x1b'), "{out}");
}

#[test]
fn what_needs_no_agent_works_without_one() {
    let (code, out, _) = run("explain unsolicited");
    assert_eq!(code, 0);
    assert!(out.starts_with("unsolicited (number 29): "), "{out}");
    let (code, out, _) = run("drops --all-reasons");
    assert_eq!(code, 0);
    assert!(out.contains("ports_exhausted"), "{out}");
    let (code, out, _) = run("completions bash");
    assert_eq!(code, 0);
    assert!(out.contains("_vpc"), "{out}");
}

#[test]
fn a_configuration_is_checked_and_shown_with_its_defaults() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("vpc.toml");
    let check = |text: &str, options: &str| {
        std::fs::write(&path, text).unwrap();
        run(&format!("check-config {} {options}", path.display()))
    };
    let good = "[[uplink]]\nname = \"blue\"\ninterface = \"eth1\"\n";
    let (code, out, _) = check(good, "");
    let expected = "1 uplink, 0 groups, 0 ENIs, room for 524288 flows in 64.0 MiB of slots.\n";
    assert_eq!(code, 0);
    assert!(out.ends_with(expected), "{out}");
    let (_, effective, _) = check(good, "--effective");
    let (code, again, _) = check(&effective, "--effective");
    assert_eq!((code, again), (0, effective));
    let (code, out, err) = check("profile = \"x\"", "");
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("profile = \"x\" is not a profile"), "{err}");
    let (code, _, err) = run("check-config /nonexistent/vpc.toml");
    assert_eq!(code, 1);
    assert!(
        err.contains("/nonexistent/vpc.toml cannot be read"),
        "{err}"
    );
}

#[test]
fn a_teardown_under_a_running_agent_is_refused() {
    let agent = Agent::start();
    let (code, _, err) = agent.run("teardown --pin-dir /nonexistent/pins");
    // 2 if the tests do not run as root.
    assert!(matches!(code, 1 | 2), "{err}");
    assert!(
        err.contains("stop it before the teardown") || err.contains("run it as root"),
        "{err}"
    );
}
