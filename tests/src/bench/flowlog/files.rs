//! Records as lines and as files, on one core.

use std::{io, net::Ipv4Addr, sync::Arc, time::Instant};

use vpc_user::flowlog::{
    Action, Environment, Flow, FlowDirection, Inside, LogFormat, Place, Record, What,
    file::FileWriter,
};

use crate::bench::Figures;

const RECORDS: u64 = 1_000_000;

/// Different ones, as a host with thousands of flows has them.
fn records() -> Vec<Record> {
    let place = Arc::new(Place {
        account_id: "123456789012".to_owned(),
        interface_id: "eni-0123456789abcdef0".to_owned(),
        address: Ipv4Addr::new(10, 0, 1, 10),
        vpc_id: "vpc-0123456789abcdef0".to_owned(),
        subnet_id: "subnet-0123456789abcdef0".to_owned(),
        region: "eu-central-1".to_owned(),
        az_id: "euc1-az1".to_owned(),
    });
    let of = Arc::new(Environment {
        name: "vm-17".into(),
        function: Some("arn:aws:lambda:eu-central-1:123456789012:function:orders:7".into()),
        address: Ipv4Addr::new(169, 254, 100, 2),
    });
    let record = |at: u64| {
        let mixed = at.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let is_egress = at.is_multiple_of(2);
        Record {
            place: Arc::clone(&place),
            start: 1_790_000_000 + mixed % 60,
            end: 1_790_000_059,
            what: What::Flow(Flow {
                direction: if is_egress {
                    FlowDirection::Egress
                } else {
                    FlowDirection::Ingress
                },
                protocol: if at.is_multiple_of(3) { 17 } else { 6 },
                remote: Ipv4Addr::from_bits(0x0a00_0000 | (mixed >> 40) as u32 & 0xff_ffff),
                remote_port: 443,
                local_port: 1_024 + (mixed >> 20) as u16 % 64_000,
                packets: 1 + mixed % 1_000,
                bytes: 60 + mixed % 1_000_000,
                action: Action::Accept,
                tcp_flags: 3,
                traffic_path: is_egress.then_some(1),
                inside: Some(Inside {
                    of: Arc::clone(&of),
                    port: Some(40_000),
                }),
            }),
        }
    };
    (0..RECORDS).map(record).collect()
}

/// One sample of each figure.
pub fn measure(figures: &mut Figures) {
    let records = records();
    let format = LogFormat::default();
    let begun = Instant::now();
    let mut line = String::new();
    let mut bytes = 0;
    for record in &records {
        line.clear();
        record.write(&format, &mut line);
        bytes += line.len();
    }
    let per_second = |begun: Instant| RECORDS as f64 / begun.elapsed().as_secs_f64();
    figures.sample("flowlog.records_per_s", per_second(begun));
    assert!(bytes as u64 > 60 * RECORDS, "{bytes} bytes");
    for (name, parquet) in [
        ("flowlog.gzip_per_s", false),
        ("flowlog.parquet_per_s", true),
    ] {
        let begun = Instant::now();
        let mut file = FileWriter::new(io::sink(), format.clone(), parquet).expect("begins");
        for record in &records {
            file.write(record).expect("takes a record");
        }
        file.finish().expect("ends");
        figures.sample(name, per_second(begun));
    }
}
