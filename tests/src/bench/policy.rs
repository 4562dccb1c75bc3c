//! What rules and routes cost: packets by the number of rules, a change of them, and
//! their compilation.

mod tenant;

use std::{collections::BTreeMap, fmt::Write as _, time::Instant};

use ipnet::Ipv4Net;
use vpc_user::{
    dataplane::Images,
    model::{AclEntry, Config, GroupConfig, Traffic},
};

use super::{
    Figures,
    figures::{Samples, median, side_by_side},
    rig::{Destination, INSIDE, Rig, Setting},
    test_run::{
        ACK, FLOWS, RANDOM, REPEAT, SYN, UP, checksum, cost, establish, net, ours, packets,
    },
};

/// Numbers of rules, and what the figures are called by them.
const COUNTS: [u32; 4] = [0, 60, 300, 1_000];
/// The rules of which the destinations are taken where there are none.
const MOST: u32 = 1_000;
/// Places in the kernel's `DESTINATIONS`.
const DESTINATIONS: u32 = 4_096;
/// New flows of a sample.
const NEW: u32 = 50_000;
/// Flows that are open while rules change.
const LIVE: u32 = 10_000;
/// Groups of ENIs that are compiled, of 300 rules each.
const ENI_GROUPS: u32 = 1_000;
/// The security group of which a rule is edited, and the rule.
const EDITED: (usize, usize) = (2_500, 30);

/// What the figures need, made once.
pub struct Policy {
    by_rules: [Config; COUNTS.len()],
    many: Config,
}

impl Policy {
    /// Makes the configurations.
    pub fn new(rig: &Rig) -> Self {
        Self {
            by_rules: COUNTS.map(|rules| tenant::with_rules(&rig.config, rules)),
            many: tenant::with_groups(&rig.config, ENI_GROUPS),
        }
    }

    /// One sample of each figure.
    pub fn measure(&mut self, rig: &mut Rig, figures: &mut Figures) {
        for (rules, config) in COUNTS.iter().zip(&self.by_rules) {
            rig.apply(config);
            rig.set_destinations(&destinations(*rules));
            established(rig, *rules, figures);
            new_flow(rig, *rules, figures);
        }
        self.change(rig, figures);
        let base = rig.config.clone();
        rig.apply(&base);
        self.compile(figures);
    }

    /// From a new configuration to its being in force, with flows open that it
    /// concerns; and that it is.
    fn change(&self, rig: &mut Rig, figures: &mut Figures) {
        let [.., open] = &self.by_rules;
        rig.apply(open);
        establish(rig, spread(UP, SYN), LIVE);
        let mut closed = open.clone();
        let denial = AclEntry {
            number: 1,
            allow: false,
            traffic: Traffic::All,
            cidr: Ipv4Net::default(),
        };
        closed.network.network_acls[0].egress.insert(0, denial);
        for (config, denied) in [(&closed, 1), (open, 0)] {
            let start = Instant::now();
            rig.apply(config);
            let elapsed = start.elapsed();
            let (before, passed) = (rig.drops("nacl_out"), packets(rig));
            rig.set(spread(0, ACK));
            cost(rig.xdp("bench_forward"), Rig::environment(), 1);
            assert_eq!(rig.drops("nacl_out") - before, denied, "by the new rule");
            assert_eq!(packets(rig) - passed, 1 - denied, "by the new rule");
            figures.sample("policy.change_to_effect_ms", milliseconds(elapsed));
        }
        rig.end_all_flows();
    }

    /// From a configuration to the words of all its groups, and again after an edit of
    /// one rule.
    fn compile(&mut self, figures: &mut Figures) {
        let mut images = Images::default();
        let elapsed = compile(&mut images, &self.many);
        figures.sample("policy.compile_ms", elapsed);
        let (group, rule) = EDITED;
        let rule = &mut self.many.network.security_groups[group].egress[rule];
        rule.traffic = match rule.traffic {
            Traffic::All => Traffic::Tcp(443..=443),
            _ => Traffic::All,
        };
        let name = self.many.groups[group / 5].name.clone();
        let image = |images: &Images| images.of(&name).map(|compiled| compiled.image.clone());
        let before = image(&images);
        let elapsed = compile(&mut images, &self.many);
        assert_ne!(image(&images), before, "the edit counts");
        figures.sample("policy.recompile_ms", elapsed);
    }
}

/// What the agent does with a configuration that is new to it, in milliseconds.
fn compile(images: &mut Images, config: &Config) -> f64 {
    let groups: Vec<&GroupConfig> = config.groups.iter().collect();
    let uplinks = config.uplinks.iter().map(|uplink| uplink.name.to_string());
    let uplinks: BTreeMap<String, u32> = uplinks.zip(0..).collect();
    let start = Instant::now();
    images.begin(config);
    let errors = images.compile(&groups, &uplinks);
    let elapsed = start.elapsed();
    assert!(errors.is_empty(), "{errors:?}");
    milliseconds(elapsed)
}

fn milliseconds(elapsed: std::time::Duration) -> f64 {
    elapsed.as_secs_f64() * 1e3
}

/// Packets to the destinations that were set.
fn spread(mask: u32, tcp_flags: u32) -> Setting {
    Setting {
        spread: 1,
        ..ours(mask, 0, 6, tcp_flags)
    }
}

/// Destinations that so many rules allow, over all of them that are for TCP.
fn destinations(rules: u32) -> Vec<Destination> {
    let tcp = tenant::tcp_rules(if rules == 0 { MOST } else { rules });
    let to = |number: u32| {
        let rule = tenant::tcp_rule(number % tcp);
        let cidr = tenant::cidr(rule);
        let host = tenant::scatter(number) & u32::from(cidr.hostmask());
        let address = (u32::from(cidr.network()) | host).to_be_bytes();
        // Another one for each packet to the same rule.
        let port = tenant::first_port(rule) + (number / tcp) as u16;
        Destination {
            address,
            port: port.to_be(),
            checksum: checksum(INSIDE.octets(), address, 6),
        }
    };
    (0..DESTINATIONS).map(to).collect()
}

/// Random ones of the open flows.
fn established(rig: &mut Rig, rules: u32, figures: &mut Figures) {
    establish(rig, spread(UP, SYN), FLOWS);
    let before = packets(rig);
    let (program, restore) = ("bench_forward", "bench_restore_forward");
    let value = net(rig, program, restore, spread(RANDOM, ACK), REPEAT);
    let passed = packets(rig) - before;
    assert_eq!(passed, u64::from(REPEAT), "{rules} rules: all passed");
    figures.sample(&format!("policy.established_ns.{rules}"), value);
    rig.end_all_flows();
}

/// New flows into empty pools, each another tuple.
fn new_flow(rig: &mut Rig, rules: u32, figures: &mut Figures) {
    let (program, restore) = ("bench_forward", "bench_restore_forward");
    let value = net(rig, program, restore, spread(UP, SYN), NEW);
    assert_eq!(rig.flows().len(), NEW as usize, "every flow opened");
    figures.sample(&format!("policy.new_flow_ns.{rules}"), value);
    rig.end_all_flows();
}

/// What the most rules cost to what none do, run by run.
pub fn ratios(samples: &Samples) -> Samples {
    let mut ratios = Samples::new();
    for kind in ["established", "new_flow"] {
        let of = |rules: u32| samples.get(&format!("policy.{kind}_ns.{rules}"));
        if let (Some(none), Some(most)) = (of(0), of(MOST)) {
            let values = side_by_side(most, none, |most, none| most / none);
            ratios.insert(format!("policy.ratio_{kind}"), values);
        }
    }
    ratios
}

/// For people: the figures by the number of rules; nothing if nothing was measured.
pub fn table(samples: &Samples) -> String {
    let mut out = String::new();
    for rules in COUNTS {
        let of = |kind: &str| samples.get(&format!("policy.{kind}_ns.{rules}"));
        if let (Some(established), Some(new)) = (of("established"), of("new_flow")) {
            let (established, new) = (median(established), median(new));
            let _ = writeln!(out, "| {rules} | {established:.0} | {new:.0} |");
        }
    }
    if out.is_empty() {
        return out;
    }
    format!("\n| rules | open flow, ns | new flow, ns |\n| ---: | ---: | ---: |\n{out}")
}
