//! The network configuration that a container runtime hands to the CNI plugin.

use serde_json::Value;
use vpc_user::cni::{NetworkConfig, Version};

use super::{Target, docs};

/// Any document is a network configuration, or refused with a code and a sentence in the
/// document that CNI asks for. Read again it is the same.
pub const TARGET: Target = Target {
    name: "cni",
    promise: "a document is a network configuration, or refused as CNI asks for",
    run,
    seeds,
    len_max: 4_096,
    in_lines: false,
    needs_kernel: false,
};

fn run(input: &[u8]) {
    let Ok(document) = serde_json::from_slice::<Value>(input) else {
        return;
    };
    let parsed = Version::of(&document).and_then(|version| {
        let again = NetworkConfig::parse(document.clone(), version);
        let parsed = NetworkConfig::parse(document, version);
        assert_eq!(parsed.as_ref().ok(), again.as_ref().ok());
        parsed
    });
    let Err(error) = parsed else {
        return;
    };
    let document = error.document(Version::LATEST);
    let text = |member: &str| document.get(member).and_then(Value::as_str);
    assert!(text("msg").is_some_and(|sentence| !sentence.is_empty()));
    assert!(text("cniVersion").is_some());
    assert!(document.get("code").is_some_and(Value::is_u64));
}

fn seeds() -> Vec<Vec<u8>> {
    let examples = docs::examples("json");
    let mut seeds: Vec<Vec<u8>> = examples.into_iter().map(String::into_bytes).collect();
    for version in ["0.4.0", "1.0.0", "1.1.0", "9.9.9"] {
        let document = format!(
            r#"{{"cniVersion":"{version}","name":"work","type":"vpc-cni","function":"work:live","account":"000000000001","zone":"us-east-1a","hook":"xdp","address":"169.254.100.2","gateway":"169.254.100.1","mtu":1500,"flowQuota":1,"flowRate":2,"flowBurst":3,"device":"tap","owner":1000,"dns":{{"nameservers":["10.0.0.2"]}},"args":{{"cni":{{"function":"other"}}}},"ipMasq":false,"runtimeConfig":{{}},"prevResult":{{"cniVersion":"{version}","interfaces":[{{"name":"eth0","sandbox":"/run/netns/x"}}],"ips":[{{"address":"10.0.0.1/24","interface":0}}]}},"cni.dev/valid-attachments":[{{"containerID":"c","ifname":"eth0"}}]}}"#
        );
        seeds.push(document.into_bytes());
    }
    seeds
}
