//! What becomes of a packet, as a story of the stages it passes.

use std::io::{self, Write};

use super::clean;
use crate::model::{
    ExplainedEni, Explanation, ReplyStage, RouteStage, RouteTarget, Stage, StageDecision,
};

/// An explanation: a line for each stage, the verdict last.
pub fn explanation(out: &mut impl Write, told: &Explanation) -> io::Result<()> {
    writeln!(
        out,
        "{} ({}, group {}) to {}:",
        clean(&told.environment),
        told.address,
        clean(if told.group.is_empty() {
            "gone"
        } else {
            &told.group
        }),
        told.to
    )?;
    if let Some(function) = &told.function {
        line(out, "function", function)?;
    }
    line(out, "ENI", &eni(told.eni.as_ref()))?;
    if let Some(flow) = &told.flow {
        let text = format!(
            "from port {}, behind port {} of the ENI: {}, slot {}, epoch {}",
            flow.inside_port, flow.outside_port, flow.state, flow.slot, flow.epoch
        );
        line(out, "open flow", &text)?;
    }
    if let Some(stage) = &told.security_groups {
        line(out, "security groups", &stage_text(stage))?;
    }
    if let Some(stage) = &told.network_acl_out {
        line(out, "network ACL out", &stage_text(stage))?;
    }
    if let Some(stage) = &told.route {
        line(out, "route", &route(stage))?;
    }
    if let Some(stage) = &told.reply {
        replies(out, stage)?;
    }
    let about = if told.tracked {
        "the flow's next packet"
    } else {
        "a new flow"
    };
    let verdict = format!("{} ({about}): {}", told.verdict, told.description);
    line(out, "verdict", &verdict)
}

fn line(out: &mut impl Write, what: &str, text: &str) -> io::Result<()> {
    writeln!(out, "  {what:<16} {}", clean(text))
}

fn eni(eni: Option<&ExplainedEni>) -> String {
    match eni {
        Some(eni) => format!("{}, {} on uplink {}", eni.name, eni.address, eni.uplink),
        None => "none of the group has room for a flow".to_owned(),
    }
}

fn stage_text(stage: &Stage) -> String {
    let verdict = if stage.allows { "allowed" } else { "denied" };
    format!("{verdict}: {}", reason(stage))
}

/// Why a stage decides as it does.
fn reason(stage: &Stage) -> String {
    let text = |part: &Option<String>| part.clone().unwrap_or_default();
    let number = stage.number.unwrap_or_default();
    let (object, traffic, cidr) = (text(&stage.object), text(&stage.traffic), text(&stage.cidr));
    match stage.decision {
        StageDecision::Rule => format!("egress rule {number} of {object} ({traffic} to {cidr})"),
        StageDecision::Entry => format!("entry {number} of {object} ({traffic}, {cidr})"),
        StageDecision::NoRule => "no egress rule matches".to_owned(),
        StageDecision::NoEntry => "no entry matches".to_owned(),
        StageDecision::Tracked => "no egress rule matches, but the flow is open".to_owned(),
        StageDecision::SameSubnet => "inside the subnet, not evaluated".to_owned(),
        StageDecision::Unfiltered => "unfiltered".to_owned(),
        StageDecision::Unknown => {
            "by rules that are not the configuration's: see the agent's log".to_owned()
        }
    }
}

fn route(stage: &RouteStage) -> String {
    let by = match (&stage.route, &stage.cidr) {
        (Some(route), Some(cidr)) => format!("{route} ({cidr})"),
        _ => String::new(),
    };
    let uplink = stage.uplink.as_deref().unwrap_or_default();
    let mac = match &stage.mac {
        Some(mac) => format!(", at {mac}"),
        None => ", whose MAC the first packet has asked for".to_owned(),
    };
    let hop = stage
        .next_hop
        .map(|hop| hop.to_string())
        .unwrap_or_default();
    match (stage.target, by.as_str()) {
        (RouteTarget::NoRoute, "") => "none matches".to_owned(),
        (RouteTarget::NoRoute, by) => format!("{by}: leads nowhere"),
        (RouteTarget::Blackhole, by) => format!("{by}: blackhole"),
        (RouteTarget::OnLink, by) => {
            format!("{by}: on the link of uplink {uplink}, to {hop}{mac}")
        }
        (RouteTarget::Via, by) => format!("{by}: by {hop} on uplink {uplink}{mac}"),
    }
    .trim_start_matches(": ")
    .to_owned()
}

/// The network ACL on answers: a line for each range of the ENI's ports.
fn replies(out: &mut impl Write, stage: &ReplyStage) -> io::Result<()> {
    for (index, range) in stage.ranges.iter().enumerate() {
        let what = if index == 0 { "network ACL in" } else { "" };
        let ports = if range.first == range.last {
            format!("answers to port {}", range.first)
        } else {
            format!("answers to ports {}-{}", range.first, range.last)
        };
        line(out, what, &format!("{ports} {}", stage_text(&range.stage)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ExplainedFlow, ReplyRange};

    fn entry(allows: bool, number: u32) -> Stage {
        Stage {
            allows,
            decision: StageDecision::Entry,
            object: Some("strict".into()),
            number: Some(number),
            traffic: Some("tcp 1024-65535".into()),
            cidr: Some("0.0.0.0/0".into()),
        }
    }

    fn allowed() -> Explanation {
        Explanation {
            environment: "fn-1".into(),
            address: [172, 16, 0, 2].into(),
            function: None,
            group: "blue-app".into(),
            to: "10.0.3.7:443/tcp".parse().expect("an endpoint"),
            eni: Some(ExplainedEni {
                name: "blue-app-0".into(),
                address: [10, 0, 1, 10].into(),
                uplink: "blue".into(),
            }),
            flow: None,
            tracked: false,
            security_groups: Some(Stage {
                allows: true,
                decision: StageDecision::Rule,
                object: Some("app".into()),
                number: Some(2),
                traffic: Some("tcp 443".into()),
                cidr: Some("10.0.0.0/8".into()),
            }),
            network_acl_out: Some(entry(true, 100)),
            route: Some(RouteStage {
                allows: true,
                target: RouteTarget::Via,
                route: Some("local route of blue".into()),
                cidr: Some("10.0.0.0/16".into()),
                uplink: Some("blue".into()),
                next_hop: Some([10, 0, 1, 1].into()),
                mac: None,
            }),
            reply: Some(ReplyStage {
                allows: false,
                ranges: vec![
                    ReplyRange {
                        first: 1_024,
                        last: 1_999,
                        stage: Stage::bare(false, StageDecision::NoEntry),
                    },
                    ReplyRange {
                        first: 2_000,
                        last: 65_535,
                        stage: entry(true, 110),
                    },
                ],
            }),
            verdict: Explanation::ALLOWED.into(),
            description: "The packet goes into the VPC.".into(),
        }
    }

    fn text(told: &Explanation) -> String {
        let mut out = Vec::new();
        explanation(&mut out, told).expect("written");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn every_stage_has_a_line_and_the_verdict_is_the_last() {
        let expected = "\
fn-1 (172.16.0.2, group blue-app) to 10.0.3.7:443/tcp:
  ENI              blue-app-0, 10.0.1.10 on uplink blue
  security groups  allowed: egress rule 2 of app (tcp 443 to 10.0.0.0/8)
  network ACL out  allowed: entry 100 of strict (tcp 1024-65535, 0.0.0.0/0)
  route            local route of blue (10.0.0.0/16): by 10.0.1.1 on uplink blue, whose MAC the first packet has asked for
  network ACL in   answers to ports 1024-1999 denied: no entry matches
                   answers to ports 2000-65535 allowed: entry 110 of strict (tcp 1024-65535, 0.0.0.0/0)
  verdict          allowed (a new flow): The packet goes into the VPC.
";
        assert_eq!(text(&allowed()), expected);
    }

    #[test]
    fn an_open_flow_is_told_of_with_its_slot() {
        let told = Explanation {
            flow: Some(ExplainedFlow {
                slot: 5,
                epoch: 3,
                state: "established".into(),
                inside_port: 40_000,
                outside_port: 1_029,
            }),
            tracked: true,
            security_groups: Some(Stage::bare(true, StageDecision::Tracked)),
            ..allowed()
        };
        let text = text(&told);
        for expected in [
            "open flow        from port 40000, behind port 1029 of the ENI: established, slot 5, \
             epoch 3\n",
            "security groups  allowed: no egress rule matches, but the flow is open\n",
            "allowed (the flow's next packet): ",
        ] {
            assert!(text.contains(expected), "{text}");
        }
    }

    #[test]
    fn what_does_not_reach_the_rules_has_no_stages() {
        let told = Explanation {
            eni: None,
            security_groups: None,
            network_acl_out: None,
            route: None,
            reply: None,
            verdict: "to_gateway".into(),
            description: "It offers no service.".into(),
            ..allowed()
        };
        let expected = "\
fn-1 (172.16.0.2, group blue-app) to 10.0.3.7:443/tcp:
  ENI              none of the group has room for a flow
  verdict          to_gateway (a new flow): It offers no service.
";
        assert_eq!(text(&told), expected);
    }

    #[test]
    fn json_survives_the_trip_and_has_stable_keys() {
        let told = allowed();
        let json = serde_json::to_value(&told).expect("a value");
        assert_eq!(json["to"], "10.0.3.7:443/tcp");
        assert_eq!(json["security_groups"]["decision"], "rule");
        assert_eq!(json["route"]["target"], "via");
        assert_eq!(json["reply"]["ranges"][1]["object"], "strict");
        assert_eq!(json["reply"]["ranges"][1]["first"], 2_000);
        let again: Explanation = serde_json::from_value(json).expect("an explanation");
        assert_eq!(again, told);
    }
}
