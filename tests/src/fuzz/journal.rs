//! Files of the journal of flow logs: damaged, or made by somebody hostile.

use std::{fs, net::Ipv4Addr, path::Path};

use tempfile::TempDir;
use vpc_user::flowlog::{
    Interval, Place, each_binding,
    journal::{self, FlowEntry, Journal, Period},
};

use super::{Target, bytes::Bytes};

/// A file of any bytes, or of whole blocks with anything in them, is read up to its last good
/// block or refused as damaged; records and bindings can be made of what was read. The agent
/// goes on with such a folder, and what was readable stays so.
pub const TARGET: Target = Target {
    name: "journal",
    promise: "a file is read up to its last good block or refused, and the agent goes on",
    run,
    seeds,
    len_max: 2_048,
    in_lines: false,
    needs_kernel: false,
};

/// Unix seconds of the tests.
const NOW: u64 = 1_700_000_000;

fn run(input: &[u8]) {
    let folder = tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .expect("a folder");
    let path = journal::path(folder.path(), 1);
    fs::write(&path, file(&mut Bytes::new(input))).expect("written");
    let read = entries(&path);
    if let Ok(interval) = Interval::open(vec![path.clone()]) {
        let each = interval.each(|id, delta| {
            let _ = interval.record(&id, &delta);
        });
        assert_eq!(each.is_ok(), read.is_some());
    }
    let _ = each_binding(&path, |_| {});
    goes_on(&folder, read);
}

/// A file as it is, or of blocks whose heads are right.
fn file(bytes: &mut Bytes<'_>) -> Vec<u8> {
    if bytes.bit() {
        return bytes.rest().to_vec();
    }
    let mut file = Vec::new();
    while !bytes.is_empty() {
        let len = bytes.u16().into();
        file.extend(block(bytes.take(len)));
    }
    file
}

fn block(entries: &[u8]) -> Vec<u8> {
    let mut block = (entries.len() as u32).to_le_bytes().to_vec();
    block.extend(crc32fast::hash(entries).to_le_bytes());
    block.extend(entries);
    block
}

/// What a file tells; `None` if it is damaged.
fn entries(path: &Path) -> Option<Vec<String>> {
    let mut entries = Vec::new();
    match journal::read(path, |entry| entries.push(format!("{entry:?}"))) {
        Ok(summary) => {
            assert!(summary.good <= summary.len);
            Some(entries)
        }
        Err(error) => {
            assert!(error.to_string().contains(": "), "{error}");
            None
        }
    }
}

/// The agent begins with the folder, and loses nothing of what was in it.
fn goes_on(folder: &TempDir, before: Option<Vec<String>>) {
    let opened = Journal::open(folder.path(), Period::new(60), NOW);
    let mut journal = match opened {
        Ok(journal) => journal,
        Err(error) => return assert!(error.to_string().contains(": "), "{error}"),
    };
    journal.sync().expect("on disk");
    drop(journal);
    let after = entries(&journal::path(folder.path(), 1));
    if let Some(before) = before {
        let after = after.expect("what could be read can be read");
        assert!(after.starts_with(&before), "{before:?} became {after:?}");
    }
}

/// A flow, who it is of, and the beginning and end of a file.
fn seeds() -> Vec<Vec<u8>> {
    let mut begun = vec![b'B'];
    begun.extend(NOW.to_le_bytes());
    let mut names = vec![b'N'];
    names.extend(1_u32.to_le_bytes());
    let place = serde_json::to_string(&Place::unknown()).expect("a place is JSON");
    names.extend((place.len() as u16).to_le_bytes());
    names.extend(place.as_bytes());
    let mut flow = vec![b'F'];
    FlowEntry {
        eni: 1,
        environment: u32::MAX,
        remote: Ipv4Addr::new(10, 0, 0, 9),
        protocol: 6,
        is_first: true,
        is_last: true,
        is_peered: false,
        tcp_flags: 0x0212,
        remote_port: 443,
        inside_port: 40_000,
        outside_port: 50_000,
        forward_packets: 3,
        reply_packets: 2,
        forward_bytes: 300,
        reply_bytes: 200,
        created: NOW * 1_000,
        last: NOW * 1_000 + 5,
        told: NOW * 1_000 + 9,
    }
    .write(&mut flow);
    let mut ended = vec![b'Z'];
    ended.extend((NOW + 60).to_le_bytes());
    let mut position = vec![b'P', 4, 0];
    position.extend(b"ring");
    position.extend(7_u64.to_le_bytes());
    let blocks = [begun, [names, flow].concat(), position, ended];
    let mut whole = vec![0];
    let mut raw = vec![1];
    for entries in &blocks {
        whole.extend((entries.len() as u16).to_le_bytes());
        whole.extend(entries);
        raw.extend(block(entries));
    }
    vec![whole, raw]
}
