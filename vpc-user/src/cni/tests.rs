//! The plugin as a runtime sees it, as far as that needs neither kernel nor agent.

use proptest::prelude::*;
use vpc_common::addr::Mac;

use super::{
    config::{ValidAttachment, Whose},
    invocation::Arguments,
    link::Route,
    result::{self, End, Previous},
    *,
};
use crate::{control::Account, model::HookWish};

const CONTAINER: [(&str, &str); 4] = [
    ("CNI_COMMAND", "ADD"),
    ("CNI_CONTAINERID", "4f3a"),
    ("CNI_NETNS", "/run/netns/4f3a"),
    ("CNI_IFNAME", "eth0"),
];

fn parse(config: Value) -> Result<NetworkConfig, CniError> {
    let version = Version::of(&config)?;
    NetworkConfig::parse(config, version)
}

fn with(more: Value) -> Value {
    let mut config = json!({ "cniVersion": "1.1.0", "name": "blue", "type": "vpc-cni" });
    for (key, value) in more.as_object().expect("an object") {
        config[key] = value.clone();
    }
    config
}

/// The error that a runtime gets.
fn refusal(variables: &[(&str, &str)], input: &[u8]) -> Value {
    let variable = |name: &str| {
        let found = variables.iter().find(|(key, _)| *key == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    let (output, code) = answer(&variable, input);
    assert_eq!(code, ExitCode::FAILURE, "{output:?}");
    output.expect("an error")
}

#[test]
fn what_is_not_said_has_the_defaults_of_an_attach() {
    let config = parse(with(json!({}))).expect("valid");
    let json = r#"{"name":"a","interface":"tap0","function":"f"}"#;
    let request: crate::model::FunctionAttachRequest =
        serde_json::from_str(json).expect("a request");
    assert_eq!(config.socket.to_str(), Some("/run/vpc/agent.sock"));
    assert_eq!(
        (config.address, config.gateway),
        (request.address, request.gateway)
    );
    assert_eq!((config.hook, config.zone), (request.hook, request.zone));
    assert_eq!(config.flow_quota, request.flow_quota);
    assert_eq!(
        (config.flow_rate, config.flow_burst),
        (request.flow_rate, request.flow_burst)
    );
    assert_eq!(
        (config.mtu, config.device, config.owner),
        (None, Device::Veth, 0)
    );
    assert_eq!(
        (config.dns, config.previous, config.valid),
        (None, None, None)
    );
}

#[test]
fn every_member_is_read() {
    let config = parse(with(json!({
        "socket": "/run/a.sock", "function": "f:live", "account": "000000000002",
        "zone": "a-1", "hook": "tc", "address": "10.0.0.2", "gateway": "10.0.0.1",
        "mtu": 1400, "flowQuota": 1, "flowRate": 2, "flowBurst": 3,
        "device": "tap", "owner": 1000, "dns": { "nameservers": ["10.0.0.53"] },
        "args": { "cni": { "function": "f:live", "labels": [] }, "other": 1 },
        "prevResult": {}, "capabilities": { "ips": true }, "runtimeConfig": {},
        "ipam": {}, "ipMasq": false, "cni.dev/attachments": null,
        "cni.dev/valid-attachments": [{ "containerID": "c", "ifname": "eth0" }],
    })));
    let config = config.expect("valid");
    let whose = |function: Option<&str>, account: Option<&str>| Whose {
        function: function.map(str::to_owned),
        account: account.map(str::to_owned),
    };
    assert_eq!(config.socket.to_str(), Some("/run/a.sock"));
    assert_eq!(config.whose, whose(Some("f:live"), Some("000000000002")));
    assert_eq!(config.argument, whose(Some("f:live"), None));
    assert_eq!(config.zone.as_deref(), Some("a-1"));
    assert_eq!(config.hook, HookWish::Tc);
    assert_eq!(config.address.to_string(), "10.0.0.2");
    assert_eq!(config.gateway.to_string(), "10.0.0.1");
    assert_eq!(config.mtu, Some(1400));
    assert_eq!(
        (config.flow_quota, config.flow_rate, config.flow_burst),
        (1, 2, 3)
    );
    assert_eq!((config.device, config.owner), (Device::Tap, 1000));
    assert_eq!(config.previous, Some(json!({})));
    let valid = ValidAttachment {
        container: "c".into(),
        interface: "eth0".into(),
    };
    assert_eq!(config.valid, Some(vec![valid]));
}

#[test]
fn an_empty_list_of_valid_attachments_may_be_null_and_is_not_a_missing_one() {
    let config = parse(with(json!({ "cni.dev/valid-attachments": null }))).expect("valid");
    assert_eq!(config.valid, Some(vec![]));
}

#[test]
fn what_cannot_be_is_refused_with_the_code_for_it() {
    let cases = [
        (
            json!({ "subnet": "10.0.0.0/8" }),
            2,
            r#""subnet" with the value "10.0.0.0/8""#,
        ),
        (
            json!({ "flow_quota": 3 }),
            2,
            r#""flow_quota" with the value 3"#,
        ),
        (
            json!({ "ipam": { "type": "host-local" } }),
            2,
            r#""ipam" with the value"#,
        ),
        (
            json!({ "ipMasq": true }),
            2,
            r#""ipMasq" with the value true"#,
        ),
        (json!({ "cniVersion": "0.3.1" }), 1, r#"version "0.3.1""#),
        (json!({ "cniVersion": null }), 1, r#"version "0.1.0""#),
        (json!({ "cniVersion": 1 }), 6, "cniVersion is 1"),
        (json!({ "name": "" }), 7, r#""" cannot be the "name""#),
        (json!({ "name": "-a" }), 7, r#""-a" cannot be the "name""#),
        (json!({ "name": "a b" }), 7, r#""a b" cannot be the "name""#),
        (json!({ "type": null }), 7, r#"no "type""#),
        (json!({ "socket": "agent.sock" }), 7, "absolute path"),
        (json!({ "address": "10.0.0.0/8" }), 7, "not valid"),
        (json!({ "hook": "ebpf" }), 7, "unknown variant `ebpf`"),
        (json!({ "mtu": -1 }), 7, "not valid"),
        (json!({ "device": "bridge" }), 7, "unknown variant `bridge`"),
        (json!({ "owner": 0 }), 7, r#"add "device": "tap""#),
        (json!({}), 7, "no function to attach"),
        (
            json!({ "function": "f", "account": "1" }),
            7,
            "twelve digits",
        ),
        (
            json!({ "function": "f", "args": { "cni": { "function": "g" } } }),
            7,
            r#""g" is asked"#,
        ),
    ];
    for (more, code, sentence) in cases {
        let config = with(more.clone());
        let error = refusal(&CONTAINER, config.to_string().as_bytes());
        assert_eq!(error["code"], json!(code), "{more}: {error}");
        let message = error["msg"].as_str().expect("a sentence");
        assert!(message.contains(sentence), "{more}: {message}");
        assert_eq!(error["cniVersion"], json!("1.1.0"));
    }
    assert_eq!(refusal(&CONTAINER, b"{")["code"], json!(6));
    assert_eq!(refusal(&CONTAINER, b"")["code"], json!(1));
    assert_eq!(refusal(&CONTAINER, b"[]")["code"], json!(1));
}

#[test]
fn an_error_is_of_the_version_of_the_configuration() {
    let config = json!({ "cniVersion": "0.4.0", "name": "blue", "type": "vpc-cni" });
    assert_eq!(
        refusal(&CONTAINER, config.to_string().as_bytes()),
        json!({
            "cniVersion": "0.4.0",
            "code": 7,
            "msg": "no function to attach: name it with \"function\" in the network \
                    configuration, VPC_FUNCTION in CNI_ARGS, or \"function\" in args.cni",
        })
    );
}

#[test]
fn wrong_variables_are_named() {
    let config = with(json!({ "function": "f" })).to_string();
    let cases: [(&[(&str, &str)], &str); 5] = [
        (&[], "CNI_COMMAND is \"\""),
        (&[("CNI_COMMAND", "add")], "CNI_COMMAND is \"add\""),
        (
            &[("CNI_COMMAND", "ADD")],
            "CNI_CONTAINERID is missing; CNI_NETNS is missing; CNI_IFNAME is missing",
        ),
        (
            &[
                ("CNI_COMMAND", "CHECK"),
                ("CNI_CONTAINERID", "_a"),
                ("CNI_NETNS", "blue"),
                ("CNI_IFNAME", "an-interface-too-long"),
            ],
            "CNI_CONTAINERID cannot be \"_a\"; CNI_NETNS cannot be \"blue\"; CNI_IFNAME cannot \
             be \"an-interface-too-long\"",
        ),
        (
            &[("CNI_COMMAND", "DEL"), ("CNI_CONTAINERID", "a")],
            "CNI_IFNAME is missing",
        ),
    ];
    for (variables, sentence) in cases {
        let error = refusal(variables, config.as_bytes());
        assert_eq!(error["code"], json!(4), "{error}");
        let message = error["msg"].as_str().expect("a sentence");
        assert!(message.starts_with(sentence), "{message}");
    }
}

#[test]
fn the_versions_are_told_whatever_is_asked() {
    let variable = |name: &str| (name == "CNI_COMMAND").then(|| "VERSION".to_owned());
    for (input, version) in [
        (r#"{"cniVersion":"1.0.0"}"#, "1.0.0"),
        (r#"{"cniVersion":"9.9.9"}"#, "9.9.9"),
        ("{}", "1.1.0"),
        ("", "1.1.0"),
    ] {
        let (output, code) = answer(&variable, input.as_bytes());
        assert_eq!(code, ExitCode::SUCCESS);
        let versions = json!(["0.4.0", "1.0.0", "1.1.0"]);
        let expected = json!({ "cniVersion": version, "supportedVersions": versions });
        assert_eq!(output, Some(expected), "{input}");
    }
}

#[test]
fn gc_and_status_are_of_1_1_0() {
    let config = json!({ "cniVersion": "1.0.0", "name": "blue", "type": "vpc-cni" }).to_string();
    for verb in ["GC", "STATUS"] {
        let error = refusal(&[("CNI_COMMAND", verb)], config.as_bytes());
        assert_eq!(error["code"], json!(1), "{error}");
    }
    let error = refusal(
        &[("CNI_COMMAND", "GC")],
        with(json!({})).to_string().as_bytes(),
    );
    assert_eq!(error["code"], json!(7), "{error}");
}

#[test]
fn nobody_listening_is_a_plugin_that_is_not_available() {
    let config = with(json!({ "socket": "/nonexistent/agent.sock" })).to_string();
    let error = refusal(&[("CNI_COMMAND", "STATUS")], config.as_bytes());
    assert_eq!(error["code"], json!(50), "{error}");
}

fn ends() -> [End; 2] {
    let end = |name: &str, mac: u8, sandbox: Option<&str>| End {
        name: name.to_owned(),
        mac: Some(Mac::new([2, 0, 0, 0, 0, mac])),
        mtu: 1500,
        sandbox: sandbox.map(str::to_owned),
    };
    [
        end("vpc0123456789ab", 1, None),
        end("eth0", 2, Some("/run/netns/4f3a")),
    ]
}

fn result_of(version: &str, more: Value) -> Value {
    let mut config = with(more);
    config["cniVersion"] = json!(version);
    let [host, inside] = ends();
    result::document(&parse(config).expect("valid"), &host, &inside).expect("a result")
}

#[test]
fn a_result_is_as_its_version_has_it() {
    assert_eq!(
        result_of("0.4.0", json!({})),
        json!({
            "cniVersion": "0.4.0",
            "interfaces": [
                { "name": "vpc0123456789ab", "mac": "02:00:00:00:00:01" },
                { "name": "eth0", "mac": "02:00:00:00:00:02", "sandbox": "/run/netns/4f3a" },
            ],
            "ips": [{
                "version": "4",
                "interface": 1,
                "address": "169.254.100.2/32",
                "gateway": "169.254.100.1",
            }],
            "routes": [{ "dst": "0.0.0.0/0", "gw": "169.254.100.1" }],
        })
    );
    assert_eq!(
        result_of(
            "1.0.0",
            json!({ "address": "10.0.0.2", "gateway": "10.9.0.1" })
        ),
        json!({
            "cniVersion": "1.0.0",
            "interfaces": [
                { "name": "vpc0123456789ab", "mac": "02:00:00:00:00:01" },
                { "name": "eth0", "mac": "02:00:00:00:00:02", "sandbox": "/run/netns/4f3a" },
            ],
            "ips": [{ "interface": 1, "address": "10.0.0.2/32", "gateway": "10.9.0.1" }],
            "routes": [{ "dst": "0.0.0.0/0", "gw": "10.9.0.1" }],
        })
    );
    assert_eq!(
        result_of("1.1.0", json!({ "dns": { "nameservers": ["10.0.0.53"] } })),
        json!({
            "cniVersion": "1.1.0",
            "interfaces": [
                { "name": "vpc0123456789ab", "mac": "02:00:00:00:00:01", "mtu": 1500 },
                {
                    "name": "eth0",
                    "mac": "02:00:00:00:00:02",
                    "mtu": 1500,
                    "sandbox": "/run/netns/4f3a",
                },
            ],
            "ips": [{ "interface": 1, "address": "169.254.100.2/32", "gateway": "169.254.100.1" }],
            "routes": [{ "dst": "0.0.0.0/0", "gw": "169.254.100.1" }],
            "dns": { "nameservers": ["10.0.0.53"] },
        })
    );
}

#[test]
fn a_result_comes_after_that_of_the_plugins_before() {
    let before = json!({
        "cniVersion": "1.0.0",
        "interfaces": [{ "name": "cni0" }, { "name": "net0", "sandbox": "/run/netns/4f3a" }],
        "ips": [{ "interface": 1, "address": "10.1.0.2/24" }],
        "routes": null,
        "other": 1,
    });
    let result = result_of("1.0.0", json!({ "prevResult": before }));
    assert_eq!(result["interfaces"][0], json!({ "name": "cni0" }));
    assert_eq!(result["interfaces"][3]["name"], json!("eth0"));
    assert_eq!(
        result["ips"][0],
        json!({ "interface": 1, "address": "10.1.0.2/24" })
    );
    assert_eq!(result["ips"][1]["interface"], json!(3));
    assert_eq!(result["routes"].as_array().map(Vec::len), Some(1));
    assert_eq!(result["other"], json!(1));

    let [host, inside] = ends();
    for wrong in [json!(1), json!({ "ips": {} })] {
        let config = parse(with(json!({ "prevResult": wrong }))).expect("valid");
        let error = result::document(&config, &host, &inside).expect_err("no result");
        assert_eq!(error.code, Code::Decode);
    }
}

#[test]
fn a_check_reads_what_add_answered() {
    for version in Version::ALL {
        let result = result_of(version.as_str(), json!({}));
        let config = parse(with(json!({ "prevResult": result }))).expect("valid");
        let previous = Previous::of(&config).expect("a result");
        assert_eq!(previous.interface("vpc0123456789ab", None), Some(0));
        assert_eq!(previous.interface("eth0", Some("/run/netns/4f3a")), Some(1));
        assert_eq!(previous.interface("eth0", Some("/run/netns/other")), None);
        assert_eq!(previous.interface("eth0", None), None);
        let addresses: Vec<String> = previous.addresses(1).map(|one| one.to_string()).collect();
        assert_eq!(addresses, ["169.254.100.2/32"]);
        assert_eq!(previous.addresses(0).count(), 0);
        assert!(previous.has_route(Route::by_gateway(config.gateway)));
        assert!(!previous.has_route(Route::to_gateway(config.gateway)));
    }
    let error = Previous::of(&parse(with(json!({}))).expect("valid")).expect_err("no result");
    assert_eq!(error.code, Code::Configuration);
}

fn function(config: Value, arguments: &str) -> Result<(String, Account), CniError> {
    let invocation = Invocation {
        arguments: Arguments::parse(arguments)?,
        ..Invocation::default()
    };
    parse(with(config))?.function(&invocation)
}

#[test]
fn arguments_complete_the_configuration_and_do_not_contradict_it() {
    let two = Account::new("000000000002").expect("an account");
    let cases = [
        (json!({ "function": "f" }), "", Ok(("f", Account::DEFAULT))),
        (
            json!({}),
            "VPC_FUNCTION=f:live",
            Ok(("f:live", Account::DEFAULT)),
        ),
        (
            json!({ "function": "f" }),
            "VPC_ACCOUNT=000000000002;VPC_FUNCTION=f",
            Ok(("f", two)),
        ),
        (
            json!({ "args": { "cni": { "function": "f", "account": "000000000002" } } }),
            "IgnoreUnknown=1;K8S_POD_NAME=a=b;",
            Ok(("f", two)),
        ),
        (
            json!({}),
            "VPC_FUNCTION=arn:aws:lambda:a:000000000002:function:f",
            Ok(("arn:aws:lambda:a:000000000002:function:f", Account::DEFAULT)),
        ),
        (
            json!({ "function": "f" }),
            "VPC_FUNCTION=g",
            Err(Code::Configuration),
        ),
        (
            json!({ "function": "f", "account": "000000000001" }),
            "VPC_ACCOUNT=000000000002",
            Err(Code::Configuration),
        ),
        (
            json!({ "args": { "cni": { "function": "f" } } }),
            "VPC_FUNCTION=g",
            Err(Code::Configuration),
        ),
        (
            json!({ "function": "f" }),
            "K8S_POD_NAME=a",
            Err(Code::Variables),
        ),
        (
            json!({ "function": "f" }),
            "IgnoreUnknown=0;A=b",
            Err(Code::Variables),
        ),
        (
            json!({ "function": "f" }),
            "IgnoreUnknown",
            Err(Code::Variables),
        ),
    ];
    for (config, arguments, expected) in cases {
        let found = function(config.clone(), arguments).map_err(|error| error.code);
        let expected = expected.map(|(name, account)| (name.to_owned(), account));
        assert_eq!(found, expected, "{config} {arguments:?}");
    }
}

proptest! {
    #[test]
    fn no_input_breaks_the_plugin(
        input in any::<Vec<u8>>(),
        verb in "ADD|DEL|CHECK|GC|STATUS|VERSION|[a-z]*",
        values in prop::collection::vec(".*", 4),
    ) {
        let names = ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS"];
        let variable = |name: &str| match name {
            "CNI_COMMAND" => Some(verb.clone()),
            _ => Some(values[names.iter().position(|one| *one == name)?].clone()),
        };
        let (output, code) = answer(&variable, &input);
        let is_error = output.is_some_and(|output| output["code"].is_number());
        prop_assert_eq!(is_error, code == ExitCode::FAILURE);
    }

    #[test]
    fn any_member_of_any_kind_is_read_or_refused(
        key in "[a-zA-Z./-]{0,12}|function|account|zone|hook|address|gateway|mtu|device|owner|\
                args|ipam|prevResult|dns|cni.dev/valid-attachments",
        value in prop::sample::select(vec![
            json!(null), json!(1), json!(-1), json!(1e300), json!("a"), json!(["a"]),
            json!({ "cni": 1 }), json!({ "cni": null }), json!(true),
        ]),
    ) {
        let mut config = with(json!({}));
        config[&key] = value;
        // Either answer is right; a panic is not.
        let _ = parse(config);
    }
}
