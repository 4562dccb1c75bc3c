//! Every field, of every kind of record.

use super::*;

/// What each field says of each record.
const GOLDEN: &[(&str, &str)] = &[
    ("version", "2 2 2 2 2"),
    (
        "account-id",
        "123456789010 123456789010 123456789010 123456789010 123456789010",
    ),
    (
        "interface-id",
        "eni-1235b8ca123456789 eni-1235b8ca123456789 eni-1235b8ca123456789 eni-1235b8ca123456789 eni-1235b8ca123456789",
    ),
    ("srcaddr", "10.0.1.10 10.0.3.7 10.0.1.10 - -"),
    ("dstaddr", "10.0.3.7 10.0.1.10 10.0.3.7 - -"),
    ("srcport", "40213 5432 51000 - -"),
    ("dstport", "5432 40213 5432 - -"),
    ("protocol", "6 6 6 - -"),
    ("packets", "14 11 1 - -"),
    ("bytes", "6000000000 15044 60 - -"),
    (
        "start",
        "1620140661 1620140661 1620140661 1620140661 1620140661",
    ),
    (
        "end",
        "1620140721 1620140721 1620140721 1620140721 1620140721",
    ),
    ("action", "ACCEPT ACCEPT REJECT - -"),
    ("log-status", "OK OK OK NODATA SKIPDATA"),
    (
        "vpc-id",
        "vpc-abcdefab012345678 vpc-abcdefab012345678 vpc-abcdefab012345678 vpc-abcdefab012345678 vpc-abcdefab012345678",
    ),
    (
        "subnet-id",
        "subnet-aaaaaaaa012345678 subnet-aaaaaaaa012345678 subnet-aaaaaaaa012345678 subnet-aaaaaaaa012345678 subnet-aaaaaaaa012345678",
    ),
    ("instance-id", "- - - - -"),
    ("tcp-flags", "3 19 2 - -"),
    ("type", "IPv4 IPv4 IPv4 - -"),
    ("pkt-srcaddr", "10.0.1.10 10.0.3.7 10.0.1.10 - -"),
    ("pkt-dstaddr", "10.0.3.7 10.0.1.10 10.0.3.7 - -"),
    (
        "region",
        "us-east-1 us-east-1 us-east-1 us-east-1 us-east-1",
    ),
    ("az-id", "use1-az1 use1-az1 use1-az1 use1-az1 use1-az1"),
    ("sublocation-type", "- - - - -"),
    ("sublocation-id", "- - - - -"),
    ("pkt-src-aws-service", "- - - - -"),
    ("pkt-dst-aws-service", "- - - - -"),
    ("flow-direction", "egress ingress egress - -"),
    ("traffic-path", "1 - - - -"),
    ("ecs-cluster-arn", "- - - - -"),
    ("ecs-cluster-name", "- - - - -"),
    ("ecs-container-instance-arn", "- - - - -"),
    ("ecs-container-instance-id", "- - - - -"),
    ("ecs-container-id", "- - - - -"),
    ("ecs-second-container-id", "- - - - -"),
    ("ecs-service-name", "- - - - -"),
    ("ecs-task-definition-arn", "- - - - -"),
    ("ecs-task-arn", "- - - - -"),
    ("ecs-task-id", "- - - - -"),
    ("reject-reason", "- - - - -"),
    ("resource-id", "- - - - -"),
    ("encryption-status", "- - - - -"),
    ("instance-tag", "- - - - -"),
    ("instance-tag-2", "- - - - -"),
    ("interface-tag", "- - - - -"),
    ("interface-tag-2", "- - - - -"),
    ("asg-tag", "- - - - -"),
    ("asg-tag-2", "- - - - -"),
    ("interface-type", "- - - - -"),
    ("next-hop-interface-id", "- - - - -"),
    ("next-hop-subnet-id", "- - - - -"),
    ("next-hop-az-id", "- - - - -"),
    ("next-hop-vpc-id", "- - - - -"),
    ("next-hop-interface-type", "- - - - -"),
    (
        "x-function-arn",
        "arn:aws:lambda:us-east-1:123456789010:function:orders arn:aws:lambda:us-east-1:123456789010:function:orders arn:aws:lambda:us-east-1:123456789010:function:orders - -",
    ),
    ("x-function-version", "7 7 7 - -"),
    ("x-environment-id", "vm-17 vm-17 vm-17 - -"),
    (
        "x-inside-addr",
        "169.254.100.2 169.254.100.2 169.254.100.2 - -",
    ),
    ("x-inside-port", "51000 51000 51000 - -"),
    ("x-outside-port", "40213 40213 - - -"),
    ("x-drop-reason", "- - sg_egress - -"),
    ("x-skipped-packets", "- - - - 7"),
];

#[test]
fn every_field_of_every_kind_of_record_says_what_it_said() {
    assert_eq!(GOLDEN.len(), Field::ALL.len());
    for (name, expected) in GOLDEN {
        let format = of(&[Field::named(name).unwrap()]);
        let (names, lines) = read_text(&text(&format, &examples()));
        assert_eq!(
            (names, lines.concat().join(" ")),
            (vec![(*name).to_owned()], (*expected).to_owned())
        );
        let (names, rows) = read_parquet(parquet(&format, &examples()));
        assert_eq!(
            (names, rows.concat().join(" ")),
            (vec![name.replace('-', "_")], (*expected).to_owned())
        );
    }
}

/// Accepted out and back, refused, and the two without traffic.
pub(super) fn examples() -> [Record; 5] {
    let place = crate::flowlog::tests::place();
    let out = Flow {
        direction: FlowDirection::Egress,
        protocol: 6,
        remote: Ipv4Addr::new(10, 0, 3, 7),
        remote_port: 5_432,
        local_port: 40_213,
        packets: 14,
        bytes: 6_000_000_000,
        action: Action::Accept,
        tcp_flags: 3,
        traffic_path: Some(1),
        inside: Some(Inside {
            of: Arc::new(Environment {
                name: "vm-17".into(),
                function: Some("arn:aws:lambda:us-east-1:123456789010:function:orders:7".into()),
                address: Ipv4Addr::new(169, 254, 100, 2),
            }),
            port: Some(51_000),
        }),
    };
    let back = Flow {
        direction: FlowDirection::Ingress,
        packets: 11,
        bytes: 15_044,
        tcp_flags: 19,
        traffic_path: None,
        ..out.clone()
    };
    let refused = Flow {
        local_port: 51_000,
        packets: 1,
        bytes: 60,
        action: Action::Reject(DropReason::SgEgress),
        tcp_flags: 2,
        traffic_path: None,
        ..out.clone()
    };
    let [out, back, refused] = [out, back, refused].map(What::Flow);
    [out, back, refused, What::NoData, What::SkipData(7)].map(|what| Record {
        place: Arc::clone(&place),
        start: 1_620_140_661,
        end: 1_620_140_721,
        what,
    })
}
