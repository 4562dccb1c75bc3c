use vpc_common::state;

use super::*;
use crate::{
    config,
    policy::{compile, source},
};

const NETWORK: &str = r#"
[[uplink]]
name = "blue"
interface = "up0"
[[vpc]]
name = "blue"
cidr = ["10.0.0.0/16"]
uplink = "blue"
[[subnet]]
name = "app"
vpc = "blue"
cidr = "10.0.1.0/24"
router = "10.0.1.1"
network_acl = "strict"
route_table = "table"
[[route_table]]
name = "table"
vpc = "blue"
route = [{ destination = "203.0.113.0/24", blackhole = true }]
[[security_group]]
name = "app"
vpc = "blue"
egress = [{ protocol = "tcp", ports = "443", cidr = "0.0.0.0/0" }]
[[network_acl]]
name = "strict"
vpc = "blue"
egress = [
    { number = 90, action = "deny", protocol = "tcp", ports = "443", cidr = "10.0.9.0/24" },
    { number = 100, action = "allow", protocol = "all", cidr = "0.0.0.0/0" },
]
ingress = [{ number = 100, action = "allow", protocol = "tcp", ports = "2000-3000", cidr = "0.0.0.0/0" }]
[[group]]
name = "blue-app"
subnet = "app"
security_groups = ["app"]
eni = ["10.0.1.10"]
"#;

/// A policy in words that other words come before, as in the tables.
struct Policy {
    source: Source,
    words: Vec<u64>,
}

const BASE: u32 = 7;

impl Policy {
    fn new() -> Self {
        let config = config::parse(NETWORK).expect("valid");
        let source = source(&config, &config.groups[0]);
        let image = compile(&source, &|_| Some(3)).expect("compiles");
        let before = std::iter::repeat_n(u64::MAX, BASE as usize);
        let words = before.chain(image).collect();
        Self { source, words }
    }

    fn question(&self, remote: [u8; 4], port: u16) -> Question<'_, &[u64]> {
        let words = self.words.as_slice();
        let row = policy::row(words, BASE, V4::new(remote)).expect("a row");
        Question {
            words,
            row,
            source: Some(&self.source),
            remote: remote.into(),
            protocol: state::TCP,
            port,
            tracked: false,
            outside_port: None,
        }
    }
}

#[test]
fn each_stage_names_who_decides() {
    let policy = Policy::new();
    let question = policy.question([10, 0, 9, 1], 443);
    let denials = question.denials();
    let stage = question.security_groups(denials);
    assert_eq!(
        (stage.allows, stage.object.as_deref(), stage.number),
        (true, Some("app"), Some(1))
    );
    let stage = question.network_acl_out(denials);
    assert_eq!(
        (stage.allows, stage.object.as_deref(), stage.number),
        (false, Some("strict"), Some(90))
    );
    let question = policy.question([10, 0, 3, 7], 80);
    let stage = question.security_groups(question.denials());
    assert_eq!(stage, Stage::bare(false, StageDecision::NoRule));
    let question = policy.question([10, 0, 1, 30], 443);
    let stage = question.network_acl_out(question.denials());
    assert_eq!(stage, Stage::bare(true, StageDecision::SameSubnet));
}

#[test]
fn a_route_is_named_with_its_destination() {
    let policy = Policy::new();
    for (remote, target, expected) in [
        (
            [10, 0, 9, 1],
            RouteTarget::Via,
            Some(("local route of blue", "10.0.0.0/16")),
        ),
        (
            [10, 0, 1, 30],
            RouteTarget::OnLink,
            Some(("local route of blue", "10.0.0.0/16")),
        ),
        (
            [203, 0, 113, 5],
            RouteTarget::Blackhole,
            Some(("route 1 of table", "203.0.113.0/24")),
        ),
        ([8, 8, 8, 8], RouteTarget::NoRoute, None),
        (
            [169, 254, 168, 1],
            RouteTarget::NoRoute,
            Some(("never forwarded", "169.254.168.0/22")),
        ),
    ] {
        let question = policy.question(remote, 443);
        let uplink = matches!(target, RouteTarget::Via | RouteTarget::OnLink).then_some("blue");
        let (route, cidr) = question.route(target, question.egress(), uplink);
        assert_eq!(
            route.as_deref().zip(cidr.as_deref()),
            expected,
            "{remote:?}"
        );
    }
}

#[test]
fn answers_are_judged_for_every_port_that_a_flow_may_get() {
    let policy = Policy::new();
    let reply = policy.question([10, 0, 3, 7], 443).reply();
    let ranges: Vec<_> = reply
        .ranges
        .iter()
        .map(|range| {
            (
                range.first,
                range.last,
                range.stage.allows,
                range.stage.number,
            )
        })
        .collect();
    assert_eq!(
        ranges,
        [
            (1_024, 1_999, false, None),
            (2_000, 3_000, true, Some(100)),
            (3_001, 65_535, false, None)
        ]
    );
    assert!(!reply.allows);
    let known = Question {
        outside_port: Some(2_500),
        ..policy.question([10, 0, 3, 7], 443)
    };
    let reply = known.reply();
    assert_eq!((reply.allows, reply.ranges.len()), (true, 1));
    assert_eq!(
        (reply.ranges[0].first, reply.ranges[0].last),
        (2_500, 2_500)
    );
}

#[test]
fn the_words_are_right_where_the_source_says_something_else() {
    let mut policy = Policy::new();
    policy.source.out.clear();
    policy.source.acl_out.clear();
    policy.source.routes.clear();
    let question = policy.question([10, 0, 3, 7], 443);
    let denials = question.denials();
    let unknown = Stage::bare(true, StageDecision::Unknown);
    assert_eq!(question.security_groups(denials), unknown);
    assert_eq!(question.network_acl_out(denials), unknown);
    let named = question.route(RouteTarget::Via, question.egress(), Some("blue"));
    assert_eq!(named, (None, None));
    let unnamed = Question {
        source: None,
        ..policy.question([10, 0, 3, 7], 80)
    };
    let stage = unnamed.security_groups(unnamed.denials());
    assert_eq!(stage, Stage::bare(false, StageDecision::Unknown));
}

#[test]
fn damaged_words_deny() {
    let policy = Policy::new();
    let words = &policy.words[..BASE as usize];
    assert_eq!(policy::row(words, BASE, V4::new([10, 0, 3, 7])), None);
    assert_eq!(words.word(BASE), None);
}
