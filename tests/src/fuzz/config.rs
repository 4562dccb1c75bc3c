//! The configuration file: any text.

use vpc_user::{
    config::{self, RawConfig},
    control::{Account, Caller, Context, Entropy, Settings, State, Time, Transaction, declare},
    model::{Config, HookWish, ObjectName, UplinkConfig},
    policy,
};

use super::{Target, docs, state};
use crate::{
    differential::{Compiled, host_differs},
    rules::questions,
};

/// A text is refused with one sentence, or is a configuration: written out in full and read
/// again it is the same, and its rules and routes, compiled, say what AWS's text says. To
/// `vpc apply` it is refused and nothing changes, or all of it is made, and there is nothing
/// to do a second time.
pub const TARGET: Target = Target {
    name: "config",
    promise: "a text is refused in one sentence, or is a configuration that means what it says",
    run,
    seeds,
    len_max: 4_096,
    in_lines: false,
    needs_kernel: false,
};

/// Questions about the rules of each configuration.
const QUESTIONS: usize = 24;
/// Bytes of text to a number that decides what is asked.
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

fn run(input: &[u8]) {
    // The agent reads the file as text as well.
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    match config::parse(text) {
        Ok(config) => assert_means_what_it_says(&config, input),
        Err(error) => assert_sentence(&error.to_string()),
    }
    if let Ok(file) = RawConfig::parse(text) {
        assert_applied_once(&file);
    }
}

/// One line, that ends in a remedy.
fn assert_sentence(sentence: &str) {
    assert!(!sentence.contains(char::is_control), "{sentence:?}");
    assert!(sentence.contains(": "), "{sentence:?}");
}

fn assert_means_what_it_says(config: &Config, input: &[u8]) {
    let text = config::render(config).expect("a configuration can be written");
    let again = config::parse(&text);
    let again = again.unwrap_or_else(|error| panic!("{error}, in\n{text}"));
    assert_eq!(&again, config, "read again");
    let seed = input.iter().fold(0, |seed: u64, byte| {
        (seed ^ u64::from(*byte)).wrapping_mul(SEED)
    });
    let mut compiled: Vec<Compiled> = Vec::new();
    for question in questions(config, seed, QUESTIONS) {
        if !compiled.iter().any(|one| *one.group() == question.group) {
            if !fits(config, &question.group) {
                continue;
            }
            compiled.push(Compiled::new(config, &question.group));
        }
        let of_group = compiled.iter().find(|one| *one.group() == question.group);
        let differs = of_group.and_then(|one| host_differs(config, one, &question));
        if let Some(difference) = differs {
            panic!("{question}: {difference}, in\n{text}");
        }
    }
}

/// Whether an image can hold the rules of a group.
fn fits(config: &Config, group: &ObjectName) -> bool {
    let group = config.groups.iter().find(|one| one.name == *group);
    let source = policy::source(config, group.expect("it was asked about"));
    policy::compile(&source, &|_| Some(0)).is_ok()
}

fn assert_applied_once(file: &RawConfig) {
    let host = host_of(file);
    let settings = Settings::default();
    let mut context = Context {
        now: Time(1_700_000_000_000),
        caller: Caller::root(Account::DEFAULT),
        entropy: Entropy::new(7),
        settings: settings.clone(),
    };
    let wish = declare::Wish {
        file,
        host: &host,
        prune: true,
    };
    let mut made = State::default();
    let mut transaction = Transaction::new(&mut made);
    let applied = declare::apply(&mut transaction, &wish, &mut context);
    match applied {
        Ok(_) => transaction.commit(),
        Err(error) => {
            drop(transaction);
            state::assert_error(&error);
            return assert!(made.is_empty(), "{error}");
        }
    }
    state::assert_sound(&made, &host, &settings);
    let before = made.clone();
    let mut transaction = Transaction::new(&mut made);
    let again = declare::apply(&mut transaction, &wish, &mut context);
    assert!(
        transaction.changes().is_empty(),
        "{:?}",
        transaction.changes()
    );
    drop(transaction);
    let steps = again.expect("what was applied is applied again");
    assert!(steps.is_empty(), "{steps:?}");
    assert_eq!(made, before);
}

/// A host with the uplinks that a file is about.
fn host_of(file: &RawConfig) -> Config {
    let own = RawConfig {
        uplinks: file.uplinks.clone(),
        ..RawConfig::default()
    };
    let mut host = own.validate().unwrap_or_else(|_| state::host());
    if host.uplinks.is_empty() {
        let named = file.vpcs.iter().map(|vpc| vpc.uplink.as_str());
        let mut names: Vec<_> = named
            .filter_map(|name| ObjectName::new(name).ok())
            .collect();
        names.sort_unstable();
        names.dedup();
        host.uplinks = names.into_iter().map(uplink).collect();
    }
    host
}

/// An uplink.
pub fn uplink(name: ObjectName) -> UplinkConfig {
    UplinkConfig {
        interface: "eth0".to_owned(),
        name,
        shared: false,
        hook: HookWish::Auto,
        peer_netns: None,
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let examples = docs::examples("toml").into_iter();
    let seeds = examples.chain([DECLARED.to_owned()]);
    seeds.map(String::into_bytes).collect()
}

/// What only `vpc apply` takes.
const DECLARED: &str = r#"
[[vpc]]
name = "blue"
cidr = ["10.0.0.0/16"]
uplink = "blue"
dhcp_options = "own"

[[vpc]]
name = "green"
cidr = ["10.1.0.0/16"]
uplink = "green"

[[dhcp_options]]
name = "own"
option = { domain-name-servers = ["10.0.0.9"] }

[[security_group]]
name = "app"
vpc = "blue"
egress = [{ protocol = "tcp", ports = "443", cidr = "0.0.0.0/0" }]

[[network_acl]]
name = "open"
vpc = "blue"
egress = [{ number = 1, action = "allow", protocol = "all", cidr = "0.0.0.0/0" }]

[[subnet]]
name = "app"
vpc = "blue"
cidr = "10.0.1.0/24"
network_acl = "open"
route_table = "app"

[[interface]]
name = "db"
subnet = "app"
address = "10.0.1.9"

[[peering]]
name = "both"
vpcs = ["blue", "green"]

[[internet_gateway]]
name = "out"
vpc = "blue"

[[address]]
name = "out"

[[nat_gateway]]
name = "out"
subnet = "app"
address = "out"

[[route_table]]
name = "app"
vpc = "blue"
route = [
    { destination = "10.1.0.0/16", peering = "both" },
    { destination = "0.0.0.0/0", nat_gateway = "out" },
]

[[endpoint]]
name = "s3"
vpc = "blue"
service = "com.amazonaws.us-east-1.s3"
route_tables = ["app"]

[[flow_log]]
name = "all"
vpc = "blue"
destination = "arn:aws:s3:::flows"

[[role]]
name = "worker"
managed = ["AWSLambdaVPCAccessExecutionRole"]

[[function]]
name = "work"
role = "worker"
subnets = ["app"]
security_groups = ["app"]
alias = { live = "1" }
"#;
