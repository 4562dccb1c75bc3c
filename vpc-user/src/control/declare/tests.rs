//! What a file says is made, once; what it says no more goes.

use super::{Wish, apply};
use crate::{
    config::RawConfig,
    control::{
        Account, ApiError, Caller, Command, Context, Entropy, Settings, State, Time, Transaction,
        decide,
        desired::tests::{UPLINKS, host},
        life::Event,
        resource::*,
    },
};

/// One of every kind.
const FILE: &str = r#"
[[prefix_list]]
name = "partners"
max_entries = 4
entries = ["198.51.100.0/24"]

[[dhcp_options]]
name = "resolvers"
option = { domain-name-servers = ["10.0.0.9"], domain-name = ["example.org"] }

[[vpc]]
name = "blue"
cidr = ["10.0.0.0/16"]
uplink = "up-0"
dhcp_options = "resolvers"

[[vpc]]
name = "green"
cidr = ["10.1.0.0/16"]
uplink = "up-1"

[[security_group]]
name = "web"
vpc = "blue"
egress = [{ protocol = "tcp", ports = "443", prefix_list = "partners" }]

[[network_acl]]
name = "open"
vpc = "blue"
egress = [{ number = 100, action = "allow", protocol = "all", cidr = "0.0.0.0/0" }]
ingress = [{ number = 100, action = "allow", protocol = "all", cidr = "0.0.0.0/0" }]

[[subnet]]
name = "inside"
vpc = "blue"
cidr = "10.0.1.0/24"
network_acl = "open"
route_table = "inside"

[[subnet]]
name = "edge"
vpc = "blue"
cidr = "10.0.2.0/24"
route_table = "edge"

[[interface]]
name = "database"
subnet = "inside"
address = "10.0.1.50"
security_groups = ["web"]

[[peering]]
name = "blue-green"
vpcs = ["blue", "green"]

[[internet_gateway]]
name = "out"
vpc = "blue"

[[address]]
name = "nat"

[[nat_gateway]]
name = "nat"
subnet = "edge"
address = "nat"

[[route_table]]
name = "inside"
vpc = "blue"
route = [
    { destination = "10.1.0.0/16", peering = "blue-green" },
    { destination = "0.0.0.0/0", nat_gateway = "nat" },
]

[[route_table]]
name = "edge"
vpc = "blue"
route = [{ destination = "0.0.0.0/0", internet_gateway = "out" }]

[[endpoint]]
name = "s3"
vpc = "blue"
service = "com.amazonaws.us-east-1.s3"
route_tables = ["inside"]

[[endpoint]]
name = "logs"
vpc = "blue"
service = "com.amazonaws.us-east-1.logs"
subnets = ["inside"]
security_groups = ["web"]

[[flow_log]]
name = "refused"
vpc = "blue"
traffic = "REJECT"
destination = "arn:aws:s3:::flows/refused"

[[role]]
name = "worker"
managed = ["AWSLambdaVPCAccessExecutionRole"]

[[function]]
name = "worker"
role = "worker"
subnets = ["inside"]
security_groups = ["web"]
"#;

struct World {
    state: State,
    context: Context,
}

impl World {
    fn new() -> Self {
        Self {
            state: State::default(),
            context: Context {
                now: Time(1_700_000_000_000),
                caller: Caller::root(Account::DEFAULT),
                entropy: Entropy::new(3),
                settings: Settings::default(),
            },
        }
    }

    /// The steps of an application, `verb kind name` each.
    fn apply(&mut self, text: &str, prune: bool) -> Result<Vec<String>, ApiError> {
        let wish = Wish {
            file: &RawConfig::parse(text).expect("a file"),
            host: &host(),
            prune,
        };
        let mut transaction = Transaction::new(&mut self.state);
        let steps = apply(&mut transaction, &wish, &mut self.context)?;
        transaction.commit();
        let step = |step: &crate::model::ApplyStep| format!("{} {}", step.verb, step.object);
        Ok(steps.iter().map(step).collect())
    }

    /// Lets time pass, and the host do what it has to do.
    fn pass(&mut self) {
        self.context.now = self
            .context
            .now
            .after(std::time::Duration::from_secs(7_200));
        let enis = self.state.all::<Interface>().filter_map(|eni| {
            let network_interface_id = eni.network_interface_id.clone();
            Some(match eni.phase()? {
                EniPhase::Programming => Event::EniProgrammed {
                    network_interface_id,
                },
                EniPhase::Draining => Event::EniForgotten {
                    network_interface_id,
                },
                EniPhase::Active | EniPhase::Released => return None,
            })
        });
        let events: Vec<Event> = enis.chain([Event::Tick]).collect();
        for event in events {
            let mut transaction = Transaction::new(&mut self.state);
            decide(&mut transaction, &Command::Life(event), &mut self.context)
                .expect("an event")
                .expect("an event");
            transaction.commit();
        }
    }
}

#[test]
fn every_kind_is_made_once_and_goes_when_the_file_has_it_no_more() {
    assert_eq!(UPLINKS, ["up-0", "up-1"]);
    let mut world = World::new();
    let made = world.apply(FILE, true).expect("applied");
    for object in [
        "prefix-list partners",
        "dhcp-options resolvers",
        "vpc blue",
        "security-group web",
        "network-acl open",
        "route-table inside",
        "subnet edge",
        "interface database",
        "peering blue-green",
        "internet-gateway out",
        "address nat",
        "nat-gateway nat",
        "endpoint s3",
        "endpoint logs",
        "flow-log refused",
        "role worker",
        "function worker",
    ] {
        let step = format!("create {object}");
        assert!(made.contains(&step), "{step} is not in {made:#?}");
    }
    assert_eq!(
        world.apply(FILE, true).expect("again"),
        Vec::<String>::new()
    );
    world.pass();
    assert_eq!(
        world.apply(FILE, true).expect("later"),
        Vec::<String>::new()
    );
    let gateway = world.state.all::<NatGateway>().next().expect("one");
    assert_eq!(gateway.state, NatGatewayState::Available);

    // What ends at once goes at once, what takes time keeps what it uses.
    let steps = world.apply("", true).expect("pruned");
    assert!(
        steps.contains(&"delete nat-gateway nat".to_owned()),
        "{steps:#?}"
    );
    assert!(steps.contains(&"keep address nat".to_owned()), "{steps:#?}");
    for _ in 0..3 {
        world.pass();
        world.apply("", true).expect("pruned");
    }
    let left: Vec<_> = world.state.records().map(|record| record.key()).collect();
    let role = |key: &crate::control::Key| key.kind == crate::control::Kind::Role;
    let default = |key: &crate::control::Key| key.kind == crate::control::Kind::DhcpOptions;
    assert!(
        left.iter().all(|key| role(key) || default(key)),
        "{left:#?}"
    );
    assert!(
        left.iter().filter(|key| default(key)).count() == 1,
        "{left:#?}"
    );
}

#[test]
fn what_changes_in_the_file_changes_and_nothing_else() {
    let mut world = World::new();
    world.apply(FILE, true).expect("applied");
    let cases = [
        ("dhcp_options = \"resolvers\"\n\n", "\n", "change vpc blue"),
        (
            "out\"\nvpc = \"blue\"",
            "out\"\nvpc = \"green\"",
            "change internet-gateway out",
        ),
        (
            "route_tables = [\"inside\"]",
            "route_tables = [\"inside\", \"edge\"]",
            "change endpoint s3",
        ),
    ];
    for (before, after, step) in cases {
        let text = FILE.replace(before, after);
        assert_ne!(text, FILE, "{before}");
        if step.contains("gateway") {
            // An elastic address that is mapped there keeps it.
            let error = world.apply(&text, true).expect_err("refused");
            assert_eq!(error.code.as_str(), "DependencyViolation", "{error}");
            continue;
        }
        assert_eq!(
            world.apply(&text, true).expect("applied"),
            [step],
            "{after}"
        );
        assert_eq!(world.apply(FILE, true).expect("back"), [step], "{before}");
    }
}

#[test]
fn what_cannot_be_changed_is_named_and_nothing_changes() {
    let mut world = World::new();
    world.apply(FILE, true).expect("applied");
    let cases = [
        (
            "[\"example.org\"]",
            "[\"example.com\"]",
            "dhcp-options resolvers: its options",
        ),
        (
            "subnet = \"edge\"\naddress",
            "subnet = \"inside\"\naddress",
            "nat-gateway nat: its subnet",
        ),
        (
            "us-east-1.s3\"",
            "us-east-1.dynamodb\"",
            "endpoint s3: its service",
        ),
        (
            "traffic = \"REJECT\"",
            "traffic = \"ALL\"",
            "flow-log refused: its traffic",
        ),
    ];
    for (before, after, sentence) in cases {
        let text = FILE.replace(before, after);
        assert_ne!(text, FILE, "{before}");
        let kept = world.state.clone();
        let error = world.apply(&text, true).expect_err("refused");
        assert!(
            error.message.starts_with(sentence) && error.message.contains("another name"),
            "{error}"
        );
        assert!(world.state == kept);
    }
    world.context.settings.flow_logs_per_resource = 1;
    let more = format!(
        "{FILE}\n[[flow_log]]\nname = \"again\"\nvpc = \"blue\"\n\
         destination = \"arn:aws:s3:::flows/more\"\n"
    );
    let error = world.apply(&more, true).expect_err("refused");
    assert_eq!(
        error.message,
        "flow-log again: The maximum number of flow logs of the resource has been reached."
    );
    for (before, after, sentence) in [
        ("nat_gateway = \"nat\"", "nat_gateway = \"gone\"", "gone"),
        (
            "destination = \"arn:aws:s3:::flows/refused\"",
            "destination = \"somewhere\"",
            "somewhere",
        ),
        (
            "vpc = \"blue\"\ntraffic",
            "subnet = \"edge\"\nvpc = \"blue\"\ntraffic",
            "one of",
        ),
    ] {
        let text = FILE.replace(before, after);
        assert_ne!(text, FILE, "{before}");
        let error = world.apply(&text, true).expect_err("refused");
        assert!(error.message.contains(sentence), "{error}");
    }
}
