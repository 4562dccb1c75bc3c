//! The CNI plugin, started as a runtime starts it, between namespaces of the kernel and an
//! agent that only keeps a list.

use std::{
    io::Write as _,
    path::Path,
    process::{Output, Stdio},
    sync::{Arc, Mutex, MutexGuard},
};

use serde_json::{Value, json};
use tests::{agent, folder::Folder, netns::Namespace, topology::mac_of};
use tokio::runtime::Runtime;
use vpc_user::{
    api,
    cni::{Attachment, Network},
    model::{Denial, EnvironmentInfo, FunctionAttachRequest, Hook, Request, Response},
};

/// What the agent knows, and how it is to answer.
#[derive(Default)]
struct Records {
    attached: Vec<EnvironmentInfo>,
    requests: Vec<FunctionAttachRequest>,
    refusal: Option<Response>,
}

impl Records {
    fn answer(&mut self, request: Request) -> Response {
        match request {
            Request::AttachFunction(request) => {
                self.requests.push(request.clone());
                if let Some(refusal) = &self.refusal {
                    return refusal.clone();
                }
                let info = environment(&request);
                self.attached.push(info.clone());
                Response::Environment(info)
            }
            Request::Detach { name } => {
                let found = self
                    .attached
                    .iter()
                    .position(|one| one.name == name.as_str());
                match found {
                    Some(found) => Response::Environment(self.attached.remove(found)),
                    None => Response::Error {
                        message: format!("{name} is not attached"),
                    },
                }
            }
            Request::Environments => Response::Environments(self.attached.clone()),
            Request::Status => self.refusal.clone().unwrap_or_else(status),
            other => panic!("the plugin asks for {other:?}"),
        }
    }
}

fn environment(request: &FunctionAttachRequest) -> EnvironmentInfo {
    EnvironmentInfo {
        name: request.name.to_string(),
        index: 0,
        generation: 1,
        interface: request.interface.clone(),
        ifindex: 1,
        hook: Hook::Tc,
        hook_wanted: request.hook,
        hook_why: "asked for".to_owned(),
        group: "blue".to_owned(),
        address: request.address,
        gateway: request.gateway,
        mac: None,
        flows: 0,
        flow_quota: request.flow_quota,
        refused_replies: 0,
    }
}

fn status() -> Response {
    let status = json!({
        "version": "0", "layout": 1, "pid": 1, "uptime_secs": 1.0, "adopted": false,
        "uplinks": [], "enis": [], "environments": 0, "flows": 0, "flow_capacity": 0,
        "policy_words": 0, "policy_word_capacity": 0, "counters": {},
    });
    Response::Status(serde_json::from_value(status).expect("a status"))
}

/// A host with an agent on its socket, and a container's namespace.
struct Bed {
    host: Namespace,
    pod: Namespace,
    folder: Folder,
    records: Arc<Mutex<Records>>,
    agent: Option<Runtime>,
}

impl Bed {
    fn new() -> Self {
        let mut bed = Self {
            host: Namespace::new("host"),
            pod: Namespace::new("pod"),
            folder: Folder::make(),
            records: Arc::default(),
            agent: None,
        };
        bed.start_agent();
        bed
    }

    fn start_agent(&mut self) {
        let runtime = Runtime::new().expect("a runtime");
        let listener = {
            let _guard = runtime.enter();
            api::bind(&self.folder.socket()).expect("bound")
        };
        let records = Arc::clone(&self.records);
        runtime.spawn(api::serve(listener, move |request| {
            let answer = records.lock().expect("not poisoned").answer(request);
            async move { answer }
        }));
        self.agent = Some(runtime);
    }

    fn stop_agent(&mut self) {
        self.agent = None;
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().expect("not poisoned")
    }

    fn config(&self, more: Value) -> Value {
        let mut config = json!({
            "cniVersion": "1.1.0",
            "name": "blue",
            "type": "vpc-cni",
            "socket": self.folder.socket(),
            "function": "fn-1:live",
        });
        for (key, value) in more.as_object().expect("an object") {
            config[key] = value.clone();
        }
        config
    }

    /// Starts the plugin for a container's `eth0`.
    fn plugin(&self, verb: &str, container: &str, netns: Option<&Path>, config: &Value) -> Output {
        let mut command = self.host.command(agent::cni_binary());
        command
            .env_clear()
            .env("CNI_COMMAND", verb)
            .env("CNI_CONTAINERID", container)
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", "/opt/cni/bin")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(netns) = netns {
            command.env("CNI_NETNS", netns);
        }
        let mut child = command.spawn().expect("start `vpc-cni`");
        let mut input = child.stdin.take().expect("its input is piped");
        input
            .write_all(config.to_string().as_bytes())
            .expect("written");
        drop(input);
        child.wait_with_output().expect("wait for `vpc-cni`")
    }

    /// For the container `4f3a` in the namespace of the bed.
    fn run(&self, verb: &str, config: &Value) -> Output {
        self.plugin(verb, "4f3a", Some(&self.pod.path()), config)
    }

    fn add(&self, config: &Value) -> Value {
        let output = self.run("ADD", config);
        serde_json::from_slice(&succeeded(&output).stdout).expect("a result")
    }

    /// The configuration of a CHECK after an ADD.
    fn after(&self, mut config: Value, result: &Value) -> Value {
        config["prevResult"] = result.clone();
        config
    }

    fn has_links(&self, attachment: &Attachment) -> (bool, bool) {
        (
            has_link(&self.host, &attachment.link),
            has_link(&self.pod, "eth0"),
        )
    }
}

fn has_link(namespace: &Namespace, name: &str) -> bool {
    let dev = namespace.proc_net("dev");
    dev.lines()
        .any(|line| line.trim().starts_with(&format!("{name}:")))
}

fn attachment(network: &str, container: &str) -> Attachment {
    Network::new(network)
        .attachment(container, "eth0")
        .expect("names")
}

fn succeeded(output: &Output) -> &Output {
    let (out, errors) = (&output.stdout, String::from_utf8_lossy(&output.stderr));
    assert!(
        output.status.success(),
        "{} {errors}",
        String::from_utf8_lossy(out)
    );
    output
}

/// Success without a word.
fn silent(output: &Output) {
    assert_eq!(succeeded(output).stdout, b"");
}

/// Code and sentence of a failure.
fn failed(output: &Output) -> (u64, String) {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let error: Value = serde_json::from_slice(&output.stdout).expect("an error");
    assert_eq!(error["cniVersion"], json!("1.1.0"));
    let message = error["msg"].as_str().expect("a sentence").to_owned();
    (error["code"].as_u64().expect("a code"), message)
}

fn routes(namespace: &Namespace) -> Vec<String> {
    let text = namespace.says("ip", &["-4", "route", "show"]);
    text.lines().map(|line| line.trim().to_owned()).collect()
}

#[test]
fn a_container_is_attached_checked_and_detached() {
    let bed = Bed::new();
    let config = bed.config(json!({ "mtu": 1400, "flowQuota": 7, "zone": "a-1", "hook": "tc" }));
    let result = bed.add(&config);
    let one = attachment("blue", "4f3a");
    let netns = bed.pod.path().display().to_string();
    let mac = |namespace, name| {
        let octets = mac_of(namespace, name).map(|octet| format!("{octet:02x}"));
        octets.join(":")
    };
    assert_eq!(
        result,
        json!({
            "cniVersion": "1.1.0",
            "interfaces": [
                { "name": one.link, "mac": mac(&bed.host, &one.link), "mtu": 1400 },
                { "name": "eth0", "mac": mac(&bed.pod, "eth0"), "mtu": 1400, "sandbox": netns },
            ],
            "ips": [{ "interface": 1, "address": "169.254.100.2/32", "gateway": "169.254.100.1" }],
            "routes": [{ "dst": "0.0.0.0/0", "gw": "169.254.100.1" }],
        })
    );
    let expected = json!({
        "name": one.environment, "function": "fn-1:live", "interface": one.link,
        "zone": "a-1", "hook": "tc", "netns": netns, "flow_quota": 7,
    });
    let expected: FunctionAttachRequest = serde_json::from_value(expected).expect("a request");
    assert_eq!(bed.records().requests, [expected]);
    let inside = bed
        .pod
        .says("ip", &["-4", "-o", "addr", "show", "dev", "eth0"]);
    assert!(inside.contains("inet 169.254.100.2/32 "), "{inside}");
    let expected = [
        "default via 169.254.100.1 dev eth0",
        "169.254.100.1 dev eth0 scope link",
    ];
    assert_eq!(routes(&bed.pod), expected);
    for (namespace, name) in [(&bed.host, one.link.as_str()), (&bed.pod, "eth0")] {
        let link = namespace.says("ip", &["-o", "link", "show", "dev", name]);
        assert!(
            link.contains("LOWER_UP") && link.contains("mtu 1400"),
            "{link}"
        );
    }

    silent(&bed.run("CHECK", &bed.after(config.clone(), &result)));
    silent(&bed.run("DEL", &bed.after(config.clone(), &result)));
    assert_eq!(bed.has_links(&one), (false, false));
    assert_eq!(bed.records().attached, []);
    silent(&bed.run("DEL", &config));
    silent(&bed.plugin("DEL", "4f3a", None, &config));
    silent(&bed.plugin("DEL", "never-seen", Some(Path::new("/gone")), &config));
}

#[test]
fn a_check_names_what_is_missing() {
    let bed = Bed::new();
    let config = bed.config(json!({}));
    let result = bed.add(&config);
    let checked = bed.after(config.clone(), &result);
    let one = attachment("blue", "4f3a");
    let missing = |sentence: &str| {
        let (code, message) = failed(&bed.run("CHECK", &checked));
        assert_eq!((code, message.as_str()), (102, sentence));
    };
    bed.pod.ip(&["route", "del", "default"]);
    missing("eth0 has not the route to 0.0.0.0/0 by 169.254.100.1");
    bed.pod.ip(&[
        "route",
        "add",
        "default",
        "via",
        "169.254.100.1",
        "dev",
        "eth0",
    ]);
    silent(&bed.run("CHECK", &checked));

    let mut taken_over = checked.clone();
    taken_over["prevResult"]["routes"] = json!([]);
    bed.pod.ip(&["route", "del", "default"]);
    silent(&bed.run("CHECK", &taken_over));

    bed.pod.ip(&["addr", "flush", "dev", "eth0"]);
    let gone = "eth0 has not the address 169.254.100.2/32; eth0 has not the route to \
                169.254.100.1/32 on the link; eth0 has not the route to 0.0.0.0/0 by 169.254.100.1";
    bed.pod.ip(&["route", "flush", "dev", "eth0"]);
    missing(gone);
    let forgotten = std::mem::take(&mut bed.records().attached);
    let (_, message) = failed(&bed.run("CHECK", &checked));
    let nobody = format!(
        "the agent has no environment {} on {}",
        one.environment, one.link
    );
    assert!(message.ends_with(&nobody), "{message}");
    bed.records().attached = forgotten;

    bed.host.ip(&["link", "set", &one.link, "down"]);
    let (_, message) = failed(&bed.run("CHECK", &checked));
    assert!(
        message.starts_with(&format!("{} is down; ", one.link)),
        "{message}"
    );
    bed.pod
        .ip_batch("link set eth0 down\nlink set eth0 name eth9\n");
    let (_, message) = failed(&bed.run("CHECK", &checked));
    assert!(
        message.contains(&format!("the far end of {} is not eth0", one.link)),
        "{message}"
    );
    bed.host.ip(&["link", "del", &one.link]);
    missing(&format!("there is no veth {} on the host", one.link));
    let (code, _) = failed(&bed.run("CHECK", &config));
    assert_eq!(code, 7, "without a prevResult");
    let (code, _) = failed(&bed.plugin("CHECK", "other", Some(&bed.pod.path()), &checked));
    assert_eq!(code, 7, "with that of another container");
}

#[test]
fn a_refusal_leaves_nothing_behind_and_is_in_the_agents_words() {
    let mut bed = Bed::new();
    let denied = |code: &str, message: &str| {
        Response::Denied(Denial {
            code: code.to_owned(),
            message: message.to_owned(),
            status: 400,
        })
    };
    let error = |message: &str| Response::Error {
        message: message.to_owned(),
    };
    let missing = "Function not found: fn-1";
    let pending = "The operation cannot be performed at this time. The function is currently in \
                   the following state: Pending";
    let cases = [
        (denied("ResourceNotFoundException", missing), 100, missing),
        (denied("ResourceConflictException", pending), 11, pending),
        (denied("ResourceNotReadyException", "Wait."), 11, "Wait."),
        (error("there is no room"), 100, "there is no room"),
    ];
    let one = attachment("blue", "4f3a");
    for device in ["veth", "tap"] {
        let config = bed.config(json!({ "device": device }));
        for (refusal, code, sentence) in &cases {
            bed.records().refusal = Some(refusal.clone());
            let (found, message) = failed(&bed.run("ADD", &config));
            assert_eq!((found, message.as_str()), (*code, *sentence));
            assert_eq!(bed.has_links(&one), (false, false));
        }
    }
    bed.stop_agent();
    let (code, _) = failed(&bed.run("ADD", &bed.config(json!({}))));
    assert_eq!(code, 50);
    assert_eq!(bed.has_links(&one), (false, false));
}

#[test]
fn what_is_there_already_is_left_alone() {
    let bed = Bed::new();
    let config = bed.config(json!({}));
    let result = bed.add(&config);
    let (code, message) = failed(&bed.run("ADD", &config));
    assert_eq!(code, 101, "{message}");
    silent(&bed.run("CHECK", &bed.after(config.clone(), &result)));
    let (code, _) = failed(&bed.plugin("ADD", "other", Some(&bed.pod.path()), &config));
    assert_eq!(code, 101, "eth0 is taken");
    assert!(!has_link(&bed.host, &attachment("blue", "other").link));
    let (code, _) = failed(&bed.plugin("ADD", "other", Some(&bed.host.path()), &config));
    assert_eq!(code, 101, "the host's own namespace");
    let (code, _) = failed(&bed.plugin("ADD", "other", Some(Path::new("/gone")), &config));
    assert_eq!(code, 101, "no namespace");
    assert!(!has_link(&bed.host, "eth0"));
}

#[test]
fn a_microvm_has_a_tap_of_its_owner() {
    let bed = Bed::new();
    let config = bed.config(json!({ "device": "tap", "owner": 1234, "mtu": 1400 }));
    let result = bed.add(&config);
    let one = attachment("blue", "4f3a");
    assert_eq!(result["interfaces"][0]["name"], json!(one.link));
    let guest = json!({ "name": "eth0", "mtu": 1400, "sandbox": "4f3a" });
    assert_eq!(result["interfaces"][1], guest);
    assert_eq!(result["ips"][0]["interface"], json!(1));
    assert_eq!(bed.records().requests[0].netns, None);
    assert_eq!(bed.has_links(&one), (true, false));
    let link = ["-d", "-o", "link", "show", "dev", &one.link];
    let link = bed.host.says("ip", &link);
    for word in ["UP", "mtu 1400", "type tap", "persist on", "user 1234"] {
        assert!(link.contains(word), "{word}: {link}");
    }

    silent(&bed.run("CHECK", &bed.after(config.clone(), &result)));
    let (code, _) = failed(&bed.run("ADD", &config));
    assert_eq!(code, 101, "it is there already");
    silent(&bed.plugin("DEL", "4f3a", None, &config));
    assert_eq!(bed.has_links(&one), (false, false));
    let (code, message) = failed(&bed.run("CHECK", &bed.after(config, &result)));
    assert_eq!(code, 102);
    assert!(
        message.starts_with(&format!("there is no tap {}", one.link)),
        "{message}"
    );
}

#[test]
fn gc_releases_what_is_not_listed_of_its_own_network() {
    let bed = Bed::new();
    let tap = bed.config(json!({ "device": "tap" }));
    let other = bed.config(json!({ "device": "tap", "name": "green" }));
    for container in ["stays", "goes", "forgotten"] {
        succeeded(&bed.plugin("ADD", container, Some(&bed.pod.path()), &tap));
    }
    succeeded(&bed.plugin("ADD", "goes", Some(&bed.pod.path()), &other));
    let forgotten = attachment("blue", "forgotten");
    bed.records()
        .attached
        .retain(|one| one.name != forgotten.environment.as_str());
    bed.host.ip(&[
        "link",
        "add",
        "bystander",
        "type",
        "veth",
        "peer",
        "name",
        "far",
    ]);

    let (code, _) = failed(&bed.run("GC", &tap));
    assert_eq!(code, 7, "nobody said what is to stay");
    let valid = |list: Value| bed.config(json!({ "cni.dev/valid-attachments": list }));
    let one = json!([{ "containerID": "stays", "ifname": "eth0" }]);
    silent(&bed.plugin("GC", "", None, &valid(one)));
    let names = |bed: &Bed| -> Vec<String> {
        bed.records()
            .attached
            .iter()
            .map(|one| one.name.clone())
            .collect()
    };
    let (stays, elsewhere) = (attachment("blue", "stays"), attachment("green", "goes"));
    assert_eq!(
        names(&bed),
        [stays.environment.as_str(), elsewhere.environment.as_str()]
    );
    for (link, is_there) in [
        (&stays.link, true),
        (&elsewhere.link, true),
        (&attachment("blue", "goes").link, false),
        (&forgotten.link, false),
    ] {
        assert_eq!(has_link(&bed.host, link), is_there, "{link}");
    }
    silent(&bed.plugin("GC", "", None, &valid(json!([]))));
    assert_eq!(names(&bed), [elsewhere.environment.as_str()]);
    assert!(has_link(&bed.host, "bystander"));
}

#[test]
fn without_an_agent_links_go_and_nothing_is_added() {
    let mut bed = Bed::new();
    let config = bed.config(json!({}));
    bed.add(&config);
    silent(&bed.plugin("STATUS", "", None, &config));
    bed.records().refusal = Some(Response::Error {
        message: "starting".to_owned(),
    });
    assert_eq!(
        failed(&bed.run("STATUS", &config)),
        (50, "starting".to_owned())
    );
    bed.stop_agent();
    assert_eq!(failed(&bed.run("STATUS", &config)).0, 50);
    let valid = bed.config(json!({ "cni.dev/valid-attachments": [] }));
    assert_eq!(failed(&bed.run("GC", &valid)).0, 50);
    let one = attachment("blue", "4f3a");
    assert_eq!(bed.has_links(&one), (true, true));
    silent(&bed.run("DEL", &config));
    assert_eq!(bed.has_links(&one), (false, false));
    bed.start_agent();
    silent(&bed.run("DEL", &config));
    assert_eq!(bed.records().attached, []);
}

#[test]
fn versions_are_told_without_an_agent() {
    let mut bed = Bed::new();
    bed.stop_agent();
    let output = bed.plugin("VERSION", "", None, &json!({ "cniVersion": "1.0.0" }));
    let versions: Value = serde_json::from_slice(&succeeded(&output).stdout).expect("JSON");
    assert_eq!(
        versions["supportedVersions"],
        json!(["0.4.0", "1.0.0", "1.1.0"])
    );
}
