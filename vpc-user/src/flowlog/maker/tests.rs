//! What is made of the journal, once, however often the maker is killed.

use std::{collections::BTreeMap, net::Ipv4Addr};

use tempfile::TempDir;
use vpc_common::{
    addr::{Addr, Port, V4},
    drop::DropReason,
    layout::{FlowKey, FlowRecord, RefusalKey},
    time::Tick,
};

use super::*;
use crate::{
    dataplane::{Exhaustion, RefusalRecord},
    flowlog::{
        Directory, Form, LogFormat, Place, Scope, Target, TrafficType,
        bindings::Query,
        ipfix::{Event, NatEvent},
        journal::Journal,
    },
};

const START: u64 = 1_700_000_040;
const KEPT: Retention = Retention {
    age_secs: u64::MAX,
    bytes: u64::MAX,
};

/// A record of an ENI: 0 is in `vpc-a`, 1 in `vpc-b`.
fn record(eni: u16, port: u16, packets: u32, ended: bool) -> FlowRecord {
    let remote = Addr::from_v4(V4::new([10, 0, 3, 7]));
    FlowRecord {
        state: 0,
        forward_bytes: u64::from(packets) * 100,
        reply_bytes: 0,
        forward_packets: packets,
        reply_packets: 0,
        key: FlowKey::new(5, 17, 9, remote, Port::new(port), Port::new(53)),
        eni,
        outside_port: Port::new(port),
        created: 1,
        last: 2,
        ended: ended.into(),
        tcp_flags: 0,
        flags: 0,
    }
}

fn directory() -> Directory {
    let directory = Directory::default();
    for (index, vpc) in [(0, "vpc-a"), (1, "vpc-b")] {
        let (name, address) = (format!("eni-{index}"), Ipv4Addr::new(10, 0, 1, 10));
        directory.set_place(Place {
            interface_id: name.clone(),
            address,
            vpc_id: vpc.to_owned(),
            ..Place::unknown()
        });
        directory.eni(index, &name, address, Tick(1));
    }
    directory.set_function(
        "vm-5",
        "arn:aws:lambda:us-east-1:123456789010:function:orders:7",
    );
    directory.environment(5, 9, "vm-5", Ipv4Addr::new(169, 254, 0, 2), Tick(1));
    directory
}

fn log(id: &str, scope: Scope, periods: u64) -> Log {
    let format = "${interface-id} ${srcport} ${packets} ${start} ${end} ${log-status} \
                  ${x-environment-id} ${x-skipped-packets}";
    Log {
        id: id.to_owned(),
        scope,
        traffic: TrafficType::All,
        periods,
        format: LogFormat::parse(format).unwrap(),
        form: Form::Lines,
        target: Target::Stdout,
    }
}

/// A host whose clock is set by hand.
struct Host {
    dir: TempDir,
    journal: Journal,
    directory: Directory,
    now: u64,
    unrecorded: u64,
}

impl Host {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let journal = Folders::new(dir.path()).journal();
        let mut journal = Journal::open(&journal, Period::new(60), START).unwrap();
        journal.resume("ring");
        Self {
            dir,
            journal,
            directory: directory(),
            now: START,
            unrecorded: 0,
        }
    }

    fn maker(&self) -> Maker {
        let folders = Folders::new(self.dir.path());
        Maker::open(folders, Period::new(60), 1 << 20, KEPT).unwrap()
    }

    /// A period passes, with what crossed in it.
    fn period(&mut self, records: &[FlowRecord]) {
        let times = (self.now * 1_000_000_000, self.now * 1_000 + 500);
        let journal = &mut self.journal;
        self.now += 60;
        let now = self.now;
        self.directory.read(|names| {
            journal.flows(records, times, names, 1).unwrap();
            let enis = names.enis().map(|(_, place)| (place, self.unrecorded));
            journal.roll(now, enis).unwrap();
        });
    }

    /// The lines that wait for delivery, by flow log.
    fn lines(&self, maker: &Maker, log: &str) -> Vec<String> {
        let (spool, before) = maker.ready(log).unwrap();
        let mut lines = Vec::new();
        for (number, _) in spool.list().unwrap() {
            assert!(number.journal < before);
            let parcel = spool.read(number).unwrap().unwrap();
            let body = String::from_utf8(parcel.body.to_vec()).unwrap();
            lines.extend(body.lines().map(str::to_owned));
        }
        lines.sort();
        lines
    }
}

#[test]
fn each_flow_log_has_the_records_of_its_enis_and_what_had_none_says_so() {
    let mut host = Host::new();
    let mut maker = host.maker();
    let logs = vec![
        log("fl-a", Scope::Vpc("vpc-a".to_owned()), 1),
        log("fl-all", Scope::All, 1),
    ];
    maker.set_logs(logs).unwrap();
    host.period(&[record(0, 4_000, 3, false), record(0, 4_000, 4, true)]);
    let made = maker.make().unwrap();
    let flow = "eni-0 4000 7 1700000040 1700000040 OK vm-5 -";
    assert_eq!(host.lines(&maker, "fl-a"), [flow]);
    let nothing = "eni-1 - - 1700000040 1700000100 NODATA - -";
    assert_eq!(host.lines(&maker, "fl-all"), [flow, nothing]);
    let records = BTreeMap::from([("fl-a".to_owned(), 1), ("fl-all".to_owned(), 2)]);
    assert_eq!(made.records, records);
}

#[test]
fn what_no_record_tells_of_is_counted() {
    let mut host = Host::new();
    let mut maker = host.maker();
    let log = log("fl-b", Scope::Interface("eni-1".to_owned()), 1);
    maker.set_logs(vec![log]).unwrap();
    // The counter goes on from file to file; it begins with what was there before.
    host.period(&[]);
    host.unrecorded = 7;
    host.period(&[]);
    host.period(&[]);
    maker.make().unwrap();
    assert_eq!(
        host.lines(&maker, "fl-b"),
        [
            "eni-1 - - 1700000040 1700000100 NODATA - -",
            "eni-1 - - 1700000100 1700000160 SKIPDATA - 7",
            "eni-1 - - 1700000160 1700000220 NODATA - -",
        ]
    );
}

#[test]
fn a_long_interval_is_made_of_several_files() {
    let mut host = Host::new();
    let mut maker = host.maker();
    maker.set_logs(vec![log("fl-a", Scope::All, 10)]).unwrap();
    // The first one is what is left of ten minutes: from 34 past to 40 past.
    let mut made = Vec::new();
    for _ in 0..18 {
        host.period(&[record(0, 4_000, 1, false), record(1, 4_000, 1, false)]);
        made.extend(maker.make().unwrap().records.into_values());
    }
    assert_eq!(made, [2, 2]);
    assert_eq!(
        host.lines(&maker, "fl-a"),
        [
            "eni-0 4000 10 1700000400 1700000940 OK vm-5 -",
            "eni-0 4000 6 1700000040 1700000340 OK vm-5 -",
            "eni-1 4000 10 1700000400 1700000940 OK vm-5 -",
            "eni-1 4000 6 1700000040 1700000340 OK vm-5 -",
        ]
    );
}

#[test]
fn whoever_is_killed_before_the_progress_is_kept_makes_the_same_again() {
    let mut host = Host::new();
    let logs = || vec![log("fl-a", Scope::All, 1), log("fl-b", Scope::All, 2)];
    let mut maker = host.maker();
    maker.set_logs(logs()).unwrap();
    let progress = Folders::new(host.dir.path()).progress();
    let before = fs::read(&progress).unwrap();
    let files = |host: &Host| journal::list(host.journal.dir()).unwrap();
    for port in 1..4 {
        host.period(&[record(0, port, 1, true)]);
    }
    // What is removed once it is made is kept for making it again.
    let journal = Folders::new(host.dir.path()).journal();
    let kept: Vec<_> = files(&host)
        .iter()
        .map(|number| journal::path(&journal, *number))
        .map(|path| (fs::read(&path).unwrap(), path))
        .collect();
    maker.make().unwrap();
    let made = [host.lines(&maker, "fl-a"), host.lines(&maker, "fl-b")];
    drop(maker);
    fs::write(&progress, before).unwrap();
    for (bytes, path) in kept {
        fs::write(path, bytes).unwrap();
    }
    let mut maker = host.maker();
    maker.set_logs(logs()).unwrap();
    assert_eq!(host.lines(&maker, "fl-a"), Vec::<String>::new());
    maker.make().unwrap();
    assert_eq!(
        [host.lines(&maker, "fl-a"), host.lines(&maker, "fl-b")],
        made
    );
    let found = maker.index.find(&Query::default()).unwrap();
    let mut ports: Vec<u16> = found.bindings.iter().map(|binding| binding.port).collect();
    ports.sort_unstable();
    assert_eq!(ports, [1, 2, 3]);
    assert_eq!(&*found.bindings[0].vpc_id, "vpc-a");
    // It had its port until it was taken down, not until its last packet.
    assert_eq!(found.bindings[0].end, (START + 120) * 1_000 + 500);
}

#[test]
fn files_go_when_nobody_needs_them_any_more() {
    let mut host = Host::new();
    let mut maker = host.maker();
    maker.set_logs(vec![log("fl-a", Scope::All, 10)]).unwrap();
    let files = |host: &Host| journal::list(host.journal.dir()).unwrap().len();
    for _ in 0..3 {
        host.period(&[record(0, 1, 1, false)]);
    }
    maker.make().unwrap();
    assert_eq!(files(&host), 4);
    let spools = Folders::new(host.dir.path()).spools();
    maker.forget_others().unwrap();
    assert_eq!(Spool::all(&spools).unwrap(), ["fl-a"]);
    maker.set_logs(Vec::new()).unwrap();
    maker.forget_others().unwrap();
    assert_eq!(Spool::all(&spools).unwrap(), Vec::<String>::new());
    maker.make().unwrap();
    assert_eq!(files(&host), 1);
}

#[test]
fn files_in_a_bucket_have_the_same_key_whenever_they_are_made() {
    let mut host = Host::new();
    let names = super::super::ObjectNames {
        folder: String::new(),
        account: "123456789010".to_owned(),
        region: "us-east-1".to_owned(),
        flow_log_id: "fl-a".to_owned(),
        hive_compatible: false,
        per_hour: false,
        parquet: false,
    };
    let log = Log {
        form: Form::Files(names),
        ..log("fl-a", Scope::All, 1)
    };
    let mut maker = host.maker();
    maker.set_logs(vec![log]).unwrap();
    host.period(&[record(0, 1, 1, false)]);
    maker.make().unwrap();
    let (spool, _) = maker.ready("fl-a").unwrap();
    let (number, _) = spool.list().unwrap()[0];
    let parcel = spool.read(number).unwrap().unwrap();
    assert!(
        parcel.name.starts_with(
            "AWSLogs/123456789010/vpcflowlogs/us-east-1/2023/11/14/\
             123456789010_vpcflowlogs_us-east-1_fl-a_20231114T2210Z_"
        ),
        "{}",
        parcel.name
    );
    assert_eq!(&parcel.body[..2], [0x1f, 0x8b]);
}

/// As events of CloudWatch Logs: the time of each, and the stream of the ENI and the traffic.
#[test]
fn a_reply_that_an_acl_kept_out_is_a_record_for_those_who_want_it() {
    let mut host = Host::new();
    let format = "${flow-direction} ${srcport} ${dstport} ${packets} ${action} ${x-drop-reason} \
                  ${traffic-path}";
    let traffic = [TrafficType::All, TrafficType::Accept, TrafficType::Reject];
    let logs = traffic.map(|traffic| Log {
        traffic,
        format: LogFormat::parse(format).unwrap(),
        form: Form::Events,
        ..log(traffic.label(), Scope::Interface("eni-0".to_owned()), 1)
    });
    let mut maker = host.maker();
    maker.set_logs(logs.to_vec()).unwrap();
    let wire = |port: u16| u32::from(Port::new(port).to_wire());
    let key = RefusalKey {
        remote: Addr::from_v4(V4::new([10, 0, 3, 7])),
        owners: 5 << 16,
        ports: wire(40_213) << 16 | wire(53),
        protocol: 17 | RefusalKey::REPLY,
        reason: DropReason::NaclIn as u32,
    };
    let refused = [RefusalRecord::new(key, [2, 120, 1 << 32 | 1])];
    let journal = &mut host.journal;
    host.directory
        .read(|names| journal.refusals(&refused, START * 1_000_000_000, names))
        .unwrap();
    let peered = FlowRecord {
        flags: FlowRecord::PEERED,
        ..record(0, 4_001, 5, false)
    };
    host.period(&[record(0, 4_000, 3, false), peered]);
    maker.make().unwrap();
    let begin = |stream: &str| format!("1700000040000 eni-0-{stream}");
    let accepted = |stream: &str| {
        let begin = begin(stream);
        [
            format!("{begin} egress 4000 53 3 ACCEPT - 1"),
            format!("{begin} egress 4001 53 5 ACCEPT - 4"),
        ]
    };
    let kept_out = |stream: &str| {
        let begin = begin(stream);
        [format!("{begin} ingress 53 40213 2 REJECT nacl_in -")]
    };
    let lines = |log: &str| host.lines(&maker, log);
    assert_eq!(
        lines("all"),
        [&accepted("all")[..], &kept_out("all")].concat()
    );
    assert_eq!(lines("accept"), accepted("accept"));
    assert_eq!(lines("reject"), kept_out("reject"));
}

#[test]
fn sessions_and_what_is_used_up_are_events_of_the_nat() {
    let mut host = Host::new();
    let log = Log {
        form: Form::NatEvents,
        ..log("audit", Scope::All, 1)
    };
    let mut maker = host.maker();
    maker.set_logs(vec![log]).unwrap();
    let exhausted = |reason, full: &[(u32, u8)]| Exhaustion {
        environment: 5,
        generation: 9,
        group: 3,
        limit: 100,
        reason,
        packets: 2,
        full: full.to_vec(),
    };
    let found = [
        exhausted(DropReason::PortsExhausted, &[(1, 6)]),
        exhausted(DropReason::SlabExhausted, &[]),
        exhausted(DropReason::EnvironmentQuota, &[]),
    ];
    host.directory
        .read(|names| host.journal.exhausted(&found, START * 1_000, names))
        .unwrap();
    let whole = FlowRecord {
        flags: FlowRecord::FIRST,
        ..record(0, 4_000, 1, true)
    };
    // One that goes on: neither made nor deleted in this period.
    host.period(&[whole, record(0, 4_001, 1, false)]);
    maker.make().unwrap();
    let lines = host.lines(&maker, "audit");
    let events = lines.iter().map(|line| serde_json::from_str(line).unwrap());
    let mut told: Vec<String> = events
        .map(|event: Event| match event.what {
            NatEvent::SessionCreate(session) => format!(
                "create {}:{} {}",
                session.environment.name, session.inside_port, session.place.interface_id
            ),
            NatEvent::SessionDelete(session) => format!("delete {}", session.outside_port),
            NatEvent::AddressesExhausted { pool } => format!("no address in {pool}"),
            NatEvent::PortsExhausted { place, protocol } => {
                format!("no port for {protocol} on {}", place.interface_id)
            }
            NatEvent::SessionsExceeded { limit } => format!("more than {limit} sessions"),
            NatEvent::UserEntriesExceeded { environment, limit } => {
                format!("more than {limit} of {}", environment.name)
            }
        })
        .collect();
    told.sort();
    assert_eq!(
        told,
        [
            "create vm-5:4000 eni-0",
            "delete 4000",
            "more than 100 of vm-5",
            "more than 100 sessions",
            "no address in 3",
            "no port for 6 on eni-1",
        ]
    );
}
