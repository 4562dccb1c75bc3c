//! Collectors that others have: `tshark` reads the datagrams of a capture, `nfcapd` listens
//! and `nfdump` shows what it took.

use std::{
    fs,
    net::UdpSocket,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use super::*;

const PATIENCE: Duration = Duration::from_secs(60);

/// `cargo xtask setup` installs it.
fn needs(tool: &str) {
    let found = Command::new(tool).arg("-h").output().is_ok();
    assert!(found, "{tool} is missing: run `cargo xtask setup`");
}

/// What the exporter sends for each batch, a datagram each.
async fn datagrams(batches: &[Vec<Event>]) -> Vec<Vec<u8>> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let collector = Collector::new(socket.local_addr().unwrap(), Protocol::Udp, PATIENCE);
    let mut exporter = Exporter::connect(collector).await.unwrap();
    let mut datagrams = Vec::new();
    for batch in batches {
        exporter.send(batch).await.unwrap();
        let mut datagram = vec![0; 2_000];
        let length = socket.recv(&mut datagram).unwrap();
        datagram.truncate(length);
        datagrams.push(datagram);
    }
    datagrams
}

/// A capture of datagrams to the port of IPFIX, without link headers.
fn capture(datagrams: &[Vec<u8>]) -> Vec<u8> {
    const RAW: u32 = 101;
    let mut pcap = Vec::new();
    for word in [0xa1b2_c3d4, 2 | 4 << 16, 0, 0, 65_535, RAW] {
        pcap.extend_from_slice(&u32::to_ne_bytes(word));
    }
    for datagram in datagrams {
        let udp = 8 + datagram.len();
        let ip = 20 + udp;
        for word in [1_620_140_662, 0, ip as u32, ip as u32] {
            pcap.extend_from_slice(&word.to_ne_bytes());
        }
        pcap.extend_from_slice(&[0x45, 0]);
        pcap.extend_from_slice(&(ip as u16).to_be_bytes());
        pcap.extend_from_slice(&[0, 0, 0, 0, 64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1]);
        for number in [40_000, 4_739, udp as u16, 0] {
            pcap.extend_from_slice(&number.to_be_bytes());
        }
        pcap.extend_from_slice(datagram);
    }
    pcap
}

/// An address that no other test has a port of.
const OWN: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A collector of nfdump's, in a folder of its own.
struct Nfcapd {
    child: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Nfcapd {
    /// Starts one, and waits until it listens.
    fn start() -> Self {
        let free = UdpSocket::bind((OWN, 0)).unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new("nfcapd")
            .args(["-b", &OWN.to_string(), "-p", &port.to_string(), "-w"])
            .arg(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        while waiting(port).is_none() {
            assert_eq!(child.try_wait().unwrap(), None, "it runs");
            thread::sleep(Duration::from_millis(10));
        }
        Self {
            child,
            port,
            folder,
        }
    }

    /// Lets it read all that has come, ends it, and shows what it kept. The last datagram may
    /// not be there: it may end between reading and keeping one.
    fn end(&mut self) -> String {
        while waiting(self.port) != Some(0) {
            thread::sleep(Duration::from_millis(10));
        }
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").arg(pid).status().unwrap().success());
        self.child.wait().unwrap();
        let shown = Command::new("nfdump")
            .args(["-o", "json", "-R"])
            .arg(self.folder.path())
            .env("TZ", "UTC")
            .output()
            .unwrap();
        String::from_utf8(shown.stdout).unwrap()
    }
}

impl Drop for Nfcapd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Octets that wait for the reader of a UDP port of [`OWN`]; nothing: it has none.
fn waiting(port: u16) -> Option<u64> {
    let table = fs::read_to_string("/proc/net/udp").unwrap();
    let local = format!("{:08X}:{port:04X}", u32::from_ne_bytes(OWN.octets()));
    let mut sockets = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    let socket = sockets.find(|columns| columns.get(1) == Some(&&*local))?;
    let (_, received) = socket.get(4)?.split_once(':')?;
    u64::from_str_radix(received, 16).ok()
}

/// What [`examples`] are in nfdump's JSON, member by member.
const NFDUMP: [&[(&str, &str)]; 6] = [
    &[
        ("nat_event_id", "4"),
        ("nat_event", "NAT44 session create"),
        ("t_event", "2021-05-04T15:04:21.123"),
        ("proto", "6"),
        ("src4_addr", "169.254.100.2"),
        ("src_port", "51000"),
        ("src4_xlt_ip", "10.0.1.10"),
        ("src_xlt_port", "40213"),
        ("dst4_addr", "10.0.3.7"),
        ("dst_port", "5432"),
        ("dst4_xlt_ip", "10.0.3.7"),
        ("dst_xlt_port", "5432"),
    ],
    &[
        ("nat_event_id", "5"),
        ("nat_event", "NAT44 session delete"),
        ("t_event", "2021-05-04T15:04:21.124"),
        ("src_port", "51000"),
        ("src_xlt_port", "40213"),
        ("dst_port", "5432"),
    ],
    &[
        ("nat_event_id", "3"),
        ("nat_event", "NAT Addresses exhausted"),
        ("t_event", "2021-05-04T15:04:21.125"),
    ],
    &[
        ("nat_event_id", "12"),
        ("nat_event", "NAT ports exhausted"),
        ("t_event", "2021-05-04T15:04:21.126"),
        ("proto", "17"),
        ("src4_xlt_ip", "10.0.1.10"),
    ],
    &[
        ("nat_event_id", "13"),
        ("nat_event", "Quota Exceeded"),
        ("t_event", "2021-05-04T15:04:21.127"),
    ],
    &[
        ("nat_event_id", "13"),
        ("nat_event", "Quota Exceeded"),
        ("t_event", "2021-05-04T15:04:21.128"),
        ("src4_addr", "169.254.100.2"),
    ],
];

#[tokio::test]
async fn nfdump_shows_the_tuples_and_the_names_of_the_events() {
    needs("nfcapd");
    let mut nfcapd = Nfcapd::start();
    let address = (OWN, nfcapd.port).into();
    let collector = Collector::new(address, Protocol::Udp, PATIENCE);
    let mut exporter = Exporter::connect(collector).await.unwrap();
    exporter.send(&examples(51_000)).await.unwrap();
    exporter.send(&examples(51_001)).await.unwrap();
    let shown = nfcapd.end();
    let objects: Vec<_> = shown.split('{').skip(1).take(6).collect();
    assert_eq!(objects.len(), 6, "{shown}");
    for (object, members) in objects.into_iter().zip(NFDUMP) {
        let plain = object.replace(['"', ','], "");
        let lines: Vec<_> = plain.lines().map(str::trim).collect();
        for (name, value) in members {
            let line = format!("{name} : {value}");
            assert!(lines.contains(&&*line), "{line} is not in {object}");
        }
    }
}

/// What [`examples`] are to tshark, line by line.
const TSHARK: [&[&str]; 6] = [
    &[
        "Observation Time Milliseconds: May  4, 2021 15:04:21.123000000 UTC",
        "Nat Event: NAT44 session create (4)",
        "Protocol: TCP (6)",
        "SrcAddr: 169.254.100.2",
        "SrcPort: 51000 (51000)",
        "Post NAT Source IPv4 Address: 10.0.1.10",
        "Post NAPT Source Transport Port: 40213",
        "DstAddr: 10.0.3.7",
        "DstPort: 5432 (5432)",
        "Post NAT Destination IPv4 Address: 10.0.3.7",
        "Post NAPT Destination Transport Port: 5432",
        "Internal Address Realm: vm-17",
        "External Address Realm: eni-1235b8ca123456789",
    ],
    &[
        "Observation Time Milliseconds: May  4, 2021 15:04:21.124000000 UTC",
        "Nat Event: NAT44 session delete (5)",
        "Protocol: TCP (6)",
        "SrcAddr: 169.254.100.2",
        "SrcPort: 51000 (51000)",
        "Post NAT Source IPv4 Address: 10.0.1.10",
        "Post NAPT Source Transport Port: 40213",
        "DstAddr: 10.0.3.7",
        "DstPort: 5432 (5432)",
        "Post NAT Destination IPv4 Address: 10.0.3.7",
        "Post NAPT Destination Transport Port: 5432",
        "Internal Address Realm: vm-17",
        "External Address Realm: eni-1235b8ca123456789",
    ],
    &[
        "Observation Time Milliseconds: May  4, 2021 15:04:21.125000000 UTC",
        "Nat Event: NAT Addresses exhausted (3)",
        "Nat Pool Id: 7",
    ],
    &[
        "Observation Time Milliseconds: May  4, 2021 15:04:21.126000000 UTC",
        "Nat Event: NAT ports exhausted (12)",
        "Post NAT Source IPv4 Address: 10.0.1.10",
        "Protocol: UDP (17)",
        "External Address Realm: eni-1235b8ca123456789",
    ],
    &[
        "Observation Time Milliseconds: May  4, 2021 15:04:21.127000000 UTC",
        "Nat Event: Quota Exceeded (13)",
        "NAT Quota Exceeded Event: Maximum session entries (1)",
        "Max Session Entries: 1000000",
    ],
    &[
        "Observation Time Milliseconds: May  4, 2021 15:04:21.128000000 UTC",
        "Nat Event: Quota Exceeded (13)",
        "NAT Quota Exceeded Event: Maximum entries per user (3)",
        "Max Entries Per User: 4096",
        "SrcAddr: 169.254.100.2",
        "Internal Address Realm: vm-17",
    ],
];

/// The octets that tshark shows in hexadecimal, as text.
fn realm(line: &str) -> String {
    let Some((label, hex)) = line.split_once(" Address Realm: ") else {
        return line.to_owned();
    };
    let octets = (0..hex.len()).step_by(2);
    let octets = octets.map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
    let name = String::from_utf8(octets.collect()).unwrap();
    format!("{label} Address Realm: {name}")
}

#[tokio::test]
async fn tshark_shows_every_element_of_every_event() {
    needs("tshark");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ipfix.pcap");
    // The second datagram has no templates: those of the first go on.
    let batches = [examples(51_000), examples(51_000)];
    fs::write(&path, capture(&datagrams(&batches).await)).unwrap();
    let output = Command::new("tshark")
        .args(["-d", "udp.port==4739,cflow", "-V", "-r"])
        .arg(&path)
        .env("TZ", "UTC")
        .output()
        .unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(
        !shown.contains("Malformed") && !shown.contains("Expert Info"),
        "{shown}"
    );
    let flows: Vec<Vec<_>> = shown
        .split("Flow ")
        .filter(|part| part.contains("Nat Event"))
        .map(|part| {
            let lines = part
                .lines()
                .skip(1)
                .map(str::trim)
                .take_while(|line| !line.is_empty());
            let lines = lines.take_while(|line| !line.starts_with("Set "));
            // How long a realm is has a line of its own.
            let lines = lines.filter(|line| !line.starts_with("String_len"));
            lines.map(realm).collect()
        })
        .collect();
    assert_eq!(flows.len(), 12, "{shown}");
    for (flow, expected) in flows.iter().zip(TSHARK.iter().cycle()) {
        assert_eq!(flow, expected);
    }
}
