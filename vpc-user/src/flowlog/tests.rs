//! Formats, lines and sums.

use std::{collections::HashMap, net::Ipv4Addr, sync::Arc};

use proptest::prelude::*;
use vpc_common::{
    addr::{Addr, Port, V4},
    drop::DropReason,
    layout::{FlowKey, FlowRecord},
};

use super::*;

const ENI: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 10);
const DATABASE: Ipv4Addr = Ipv4Addr::new(10, 0, 3, 7);

fn place() -> Arc<Place> {
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
            environment: "vm-17".into(),
            function: Some("arn:aws:lambda:us-east-1:123456789010:function:orders:7".into()),
            address: Ipv4Addr::new(169, 254, 100, 2),
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
    for (what, status) in [(What::NoData, "NODATA"), (What::SkipData, "SKIPDATA")] {
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

fn id() -> impl Strategy<Value = FlowId> {
    (0..3_u32, any::<bool>(), 0..3_u16, any::<bool>()).prop_map(|(eni, out, port, refused)| {
        FlowId {
            eni,
            environment: 1,
            generation: 1,
            direction: if out {
                FlowDirection::Egress
            } else {
                FlowDirection::Ingress
            },
            protocol: 17,
            remote: DATABASE,
            remote_port: port,
            local_port: 40_000,
            inside_port: 50_000,
            reason: if refused {
                DropReason::SgEgress as u32
            } else {
                0
            },
        }
    })
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

    /// Whenever intervals end: nothing is lost, nothing counted twice, every record lies in
    /// its interval.
    #[test]
    fn sums_over_all_intervals_are_what_crossed(
        seconds in 1..70_u32,
        steps in prop::collection::vec((id(), 0..1_000_u64, 0..50_u64, 0..40_u64, 0..30_u64), 0..200),
    ) {
        let mut now = 1_700_000_000;
        let mut intervals = Intervals::new(seconds, now);
        let mut crossed: HashMap<FlowId, (u64, u64)> = HashMap::new();
        let mut told: HashMap<FlowId, (u64, u64)> = HashMap::new();
        let mut take = |intervals: &mut Intervals, now| {
            let (begun, ends) = (intervals.begun(), intervals.ends());
            let Some(sums) = intervals.close(now) else { return };
            for (id, sum) in sums {
                assert!(begun <= sum.first && sum.first <= sum.last, "{sum:?} in {begun}..{ends}");
                let told = told.entry(id).or_default();
                *told = (told.0 + sum.packets, told.1 + sum.bytes);
            }
        };
        for (id, bytes, packets, age, pause) in steps {
            let delta = Delta {
                packets,
                bytes,
                first: now - age,
                last: now,
                tcp_flags: 0,
            };
            intervals.add(id, &delta);
            let crossed = crossed.entry(id).or_default();
            *crossed = (crossed.0 + packets, crossed.1 + bytes);
            now += pause;
            take(&mut intervals, now);
        }
        take(&mut intervals, now + u64::from(seconds));
        prop_assert_eq!(crossed, told);
    }
}

/// A record of the kernel's, of a flow of environment 5 on ENI 2.
fn told(protocol: u8) -> FlowRecord {
    let remote = Addr::from_v4(V4::new(DATABASE.octets()));
    let key = FlowKey::new(5, protocol, 9, remote, Port::new(51_000), Port::new(5_432));
    FlowRecord {
        state: 0,
        forward_bytes: 100,
        reply_bytes: 50,
        forward_packets: 2,
        reply_packets: 1,
        key,
        eni: 2,
        outside_port: Port::new(40_213),
        created: 100,
        last: 200,
        ended: 0,
        tcp_flags: 0,
        reserved: 0,
    }
}

#[test]
fn a_record_of_the_kernel_is_one_of_each_direction() {
    let mut source = Source::new(1_000 * 1_000_000_000);
    let both: Vec<_> = source.flow(&told(17)).collect();
    let [(out, sent), (back, received)] = both.try_into().expect("both");
    assert_eq!(
        (out.direction, back.direction),
        (FlowDirection::Egress, FlowDirection::Ingress)
    );
    assert_eq!((out.eni, out.environment, out.generation), (2, 5, 9));
    assert_eq!(
        (out.remote, out.remote_port, out.local_port),
        (DATABASE, 5_432, 40_213)
    );
    assert_eq!((out.inside_port, out.action()), (51_000, Action::Accept));
    assert_eq!(
        FlowId {
            direction: FlowDirection::Egress,
            ..back
        },
        out
    );
    assert_eq!((sent.packets, sent.bytes), (2, 100));
    assert_eq!((received.packets, received.bytes), (1, 50));
    // A tick is 67.1 ms.
    assert_eq!((sent.first, sent.last), (1_006, 1_013));
    let silent = FlowRecord {
        reply_packets: 0,
        reply_bytes: 0,
        ..told(17)
    };
    assert_eq!(source.flow(&silent).count(), 1);
}

#[test]
fn flags_are_told_once_and_forgotten_with_their_flow() {
    let mut source = Source::new(0);
    let mut flags = |forward: u32, reply: u32, ended| {
        let record = FlowRecord {
            tcp_flags: forward << 8 | reply,
            ended,
            ..told(6)
        };
        let both = source.flow(&record).map(|(_, delta)| delta.tcp_flags);
        both.collect::<Vec<_>>()
    };
    assert_eq!(flags(0x02, 0x12, 0), [0x02, 0x12]);
    assert_eq!(flags(0x02, 0x12, 0), [0, 0]);
    assert_eq!(flags(0x03, 0x13, 1), [0x01, 0x01]);
    // Another flow of the same key.
    assert_eq!(flags(0x02, 0x12, 0), [0x02, 0x12]);
}
