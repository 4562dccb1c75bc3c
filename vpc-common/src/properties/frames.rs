//! Frames of any look are rewritten rightly, and any bytes are judged.

use proptest::prelude::*;

use super::host;
use crate::{
    packet_table::{
        Action, Conn, In, Machine as _, Run,
        build::{Built, Sum},
        world::*,
    },
    state::{TCP, UDP},
};

fn ip_options() -> impl Strategy<Value = Vec<u8>> {
    (0usize..=10).prop_flat_map(|words| proptest::collection::vec(any::<u8>(), words * 4))
}

fn sums() -> impl Strategy<Value = Sum> {
    prop_oneof![Just(Sum::Right), Just(Sum::HalfMade)]
}

prop_compose! {
    /// A packet's look, but for its ends.
    fn looks()(
        data in proptest::collection::vec(any::<u8>(), 0..1_200),
        options in ip_options(),
        ttl in 2u8..,
        id in any::<u16>(),
        sum in sums(),
        padding in 0usize..20,
        (sequence, ack) in any::<(u32, u32)>(),
    ) -> Look {
        Look { data, options, ttl, id, sum, padding, sequence, ack }
    }
}

#[derive(Clone, Debug)]
struct Look {
    data: Vec<u8>,
    options: Vec<u8>,
    ttl: u8,
    id: u16,
    sum: Sum,
    padding: usize,
    sequence: u32,
    ack: u32,
}

impl Look {
    fn dress(&self, packet: Built) -> Built {
        let mut packet = packet.options(&self.options).ttl(self.ttl).sum(self.sum);
        packet.ip.identification = self.id;
        packet.padded(self.padding)
    }
}

/// Runs a frame; `None` unless it is sent on.
fn sent(run: &mut Run<'_>, link: In, frame: &[u8]) -> Option<Vec<u8>> {
    let (ran, _) = run.send(link, frame);
    (ran.action == Action::Redirect).then_some(ran.frame)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Every byte of a rewritten packet is that of one built anew, both ways, so
    /// payload and inside tuple come back as they left.
    #[test]
    fn rewriting_equals_building_anew(
        out in looks(),
        back in looks(),
        inside_port in 1u16..,
        remote_port in 1u16..,
        is_tcp in any::<bool>(),
    ) {
        let mut host = host();
        let mut run = Run::new(&mut host, "rewriting");
        let conn = Conn {
            protocol: if is_tcp { TCP } else { UDP },
            remote_port,
            ..Conn::new_udp(0, inside_port)
        };
        let packet = if is_tcp {
            conn.tcp("S", out.sequence, out.ack, &out.data)
        } else {
            conn.udp(&out.data)
        };
        let packet = out.dress(packet);
        let left = sent(&mut run, conn.link(), &packet.frame()).expect("it leaves");
        prop_assert_eq!(left, run.outward(&conn, &packet, 0).frame());
        let answer = if is_tcp {
            conn.tcp_back(&run, "SA", back.sequence, back.ack, &back.data)
        } else {
            conn.udp_back(&run, &back.data)
        };
        let answer = back.dress(answer);
        let came = sent(&mut run, conn.uplink(), &answer.frame()).expect("it arrives");
        prop_assert_eq!(came, run.inward(&conn, &answer).frame());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// The buffer panics on an access beyond its end only if the code under test
    /// does: every access is checked, and this calls all of it.
    #[test]
    fn arbitrary_bytes_are_judged_without_a_panic(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..200),
        kind in 0u8..6,
        fix in any::<bool>(),
    ) {
        let mut host = host();
        let ethertype = [[8, 0], [8, 0], [8, 0], [8, 6], [0x81, 0], [0x86, 0xdd]][usize::from(kind)];
        if bytes.len() >= 34 && fix {
            bytes[12..14].copy_from_slice(&ethertype);
            bytes[..6].copy_from_slice(&UPLINK_MAC[0]);
            let total = (bytes.len() as u16 - 14).to_be_bytes();
            let protocol = [6, 17, 1][usize::from(kind % 3)];
            bytes[14] = 0x45 + bytes[14] % 2;
            bytes[16..18].copy_from_slice(&total);
            bytes[20] &= 0x40;
            bytes[21] = 0;
            bytes[22] |= 2;
            bytes[23] = protocol;
            bytes[30..34].copy_from_slice(&ENI[0]);
            bytes[26..30].copy_from_slice(&INSIDE);
            let header_len = usize::from(bytes[14] & 15) * 4;
            if bytes.len() >= 14 + header_len {
                bytes[24..26].fill(0);
                let pairs = bytes[14..14 + header_len].chunks(2);
                let mut sum: u32 = pairs.map(|p| u32::from(p[0]) << 8 | u32::from(p[1])).sum();
                sum = (sum & 0xffff) + (sum >> 16);
                sum = (sum & 0xffff) + (sum >> 16);
                bytes[24..26].copy_from_slice(&(!sum as u16).to_be_bytes());
            }
        }
        for link in In::ALL {
            host.run(link, &bytes);
        }
        prop_assert_eq!(host.tables().faults(), Vec::<String>::new());
    }
}
