//! Formats, lines and sums.

use std::{net::Ipv4Addr, sync::Arc};

use proptest::prelude::*;
use vpc_common::drop::DropReason;

use super::*;

const ENI: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 10);
const DATABASE: Ipv4Addr = Ipv4Addr::new(10, 0, 3, 7);

/// An ENI.
pub(super) fn place() -> Arc<Place> {
    Arc::new(Place {
        account_id: "123456789010".to_owned(),
        interface_id: "eni-1235b8ca123456789".to_owned(),
        address: ENI,
        vpc_id: "vpc-abcdefab012345678".to_owned(),
        subnet_id: "subnet-aaaaaaaa012345678".to_owned(),
        region: "us-east-1".to_owned(),
        az_id: "use1-az1".to_owned(),
    })
}

/// A query of a database: two records.
fn flow(direction: FlowDirection) -> Flow {
    Flow {
        direction,
        protocol: 6,
        remote: DATABASE,
        remote_port: 5_432,
        local_port: 40_213,
        packets: 14,
        bytes: 15_044,
        action: Action::Accept,
        tcp_flags: match direction {
            FlowDirection::Egress => 3,
            FlowDirection::Ingress => 19,
        },
        traffic_path: (direction == FlowDirection::Egress).then_some(1),
        inside: Some(Inside {
            of: Arc::new(Environment {
                name: "vm-17".into(),
                function: Some("arn:aws:lambda:us-east-1:123456789010:function:orders:7".into()),
                address: Ipv4Addr::new(169, 254, 100, 2),
            }),
            port: Some(51_000),
        }),
    }
}

fn record(what: What) -> Record {
    Record {
        place: place(),
        start: 1_620_140_661,
        end: 1_620_140_721,
        what,
    }
}

fn line(format: &str, what: What) -> String {
    record(what).line(&LogFormat::parse(format).unwrap())
}

#[test]
fn the_default_format_is_version_2_in_awss_order() {
    let format = LogFormat::default();
    assert_eq!(
        format.header(),
        "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes \
         start end action log-status"
    );
    let out = record(What::Flow(flow(FlowDirection::Egress))).line(&format);
    assert_eq!(
        out,
        "2 123456789010 eni-1235b8ca123456789 10.0.1.10 10.0.3.7 40213 5432 6 14 15044 1620140661 \
         1620140721 ACCEPT OK"
    );
    let back = record(What::Flow(flow(FlowDirection::Ingress))).line(&format);
    assert_eq!(
        back,
        "2 123456789010 eni-1235b8ca123456789 10.0.3.7 10.0.1.10 5432 40213 6 14 15044 1620140661 \
         1620140721 ACCEPT OK"
    );
}

#[test]
fn nothing_and_what_was_skipped_have_times_and_a_status_alone() {
    for (what, status) in [(What::NoData, "NODATA"), (What::SkipData(7), "SKIPDATA")] {
        let line = record(what).line(&LogFormat::default());
        let expected = format!(
            "2 123456789010 eni-1235b8ca123456789 - - - - - - - 1620140661 1620140721 - {status}"
        );
        assert_eq!(line, expected);
    }
}

#[test]
fn an_end_eni_shows_its_own_address_in_the_packet_too() {
    let format = "${version} ${instance-id} ${type} ${pkt-srcaddr} ${pkt-dstaddr} ${tcp-flags} \
                  ${flow-direction} ${traffic-path} ${region} ${az-id} ${vpc-id} ${subnet-id} \
                  ${reject-reason} ${interface-type} ${ecs-task-id} ${encryption-status}";
    assert_eq!(
        line(format, What::Flow(flow(FlowDirection::Egress))),
        "11 - IPv4 10.0.1.10 10.0.3.7 3 egress 1 us-east-1 use1-az1 vpc-abcdefab012345678 \
         subnet-aaaaaaaa012345678 - - - -"
    );
    assert_eq!(
        line(format, What::Flow(flow(FlowDirection::Ingress))),
        "11 - IPv4 10.0.3.7 10.0.1.10 19 ingress - us-east-1 use1-az1 vpc-abcdefab012345678 \
         subnet-aaaaaaaa012345678 - - - -"
    );
}

#[test]
fn our_own_fields_say_who_was_behind_it() {
    let format = "${x-function-arn} ${x-function-version} ${x-environment-id} ${x-inside-addr} \
                  ${x-inside-port} ${x-outside-port} ${x-drop-reason} ${version}";
    let arn = "arn:aws:lambda:us-east-1:123456789010:function:orders";
    assert_eq!(
        line(format, What::Flow(flow(FlowDirection::Egress))),
        format!("{arn} 7 vm-17 169.254.100.2 51000 40213 - 2")
    );
    let refused = Flow {
        action: Action::Reject(DropReason::SgEgress),
        local_port: 51_000,
        ..flow(FlowDirection::Egress)
    };
    assert_eq!(
        line(format, What::Flow(refused)),
        format!("{arn} 7 vm-17 169.254.100.2 51000 - sg_egress 2")
    );
    let unknown = Flow {
        inside: None,
        ..flow(FlowDirection::Ingress)
    };
    assert_eq!(line(format, What::Flow(unknown)), "- - - - - 40213 - 2");
}

#[test]
fn what_is_no_format_is_refused_by_name() {
    for (text, sentence) in [
        ("", "LogFormat must be fields as ${field}, one space apart."),
        (
            "version",
            "LogFormat must be fields as ${field}, one space apart.",
        ),
        (
            "${version}  ${start}",
            "LogFormat must be fields as ${field}, one space apart.",
        ),
        ("${colour}", "Unknown field 'colour' in LogFormat."),
        ("${start} ${start}", "Duplicate field 'start' in LogFormat."),
    ] {
        let error = LogFormat::parse(text).expect_err("refused");
        assert_eq!(error.to_string(), sentence, "{text:?}");
    }
}

#[test]
fn names_are_unique_and_ours_are_told_from_awss() {
    for field in Field::ALL {
        assert_eq!(Field::named(field.name()), Some(*field));
        assert_eq!(field.name().starts_with("x-"), field.version() == 0);
    }
}

proptest! {
    #[test]
    fn a_format_survives_its_text(picks in prop::collection::vec(0..Field::ALL.len(), 1..12)) {
        let mut names: Vec<String> = Vec::new();
        for pick in picks {
            let name = format!("${{{}}}", Field::ALL[pick].name());
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let text = names.join(" ");
        let format = LogFormat::parse(&text).unwrap();
        prop_assert_eq!(format.to_string(), text);
        let line = record(What::Flow(flow(FlowDirection::Egress))).line(&format);
        prop_assert_eq!(line.split(' ').count(), format.fields().len());
    }
}
