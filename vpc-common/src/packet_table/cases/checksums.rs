//! Checksums: right ones stay right, and UDP's zero keeps its meaning.

use crate::packet_table::{
    Conn,
    build::{Built, Sum},
    world::*,
};

/// Data that makes the checksum of a datagram come out as 0.
pub(super) fn data_for_zero(of: impl Fn(&[u8]) -> Built) -> Vec<u8> {
    let sum_of = |data: &[u8]| {
        let segment = of(data).segment();
        u16::from_be_bytes([segment[6], segment[7]])
    };
    // The word that takes the checksum's place makes the sum all ones.
    let sum = sum_of(&[0, 0]);
    sum.to_be_bytes().to_vec()
}

cases! {
    fn udp_without_a_checksum_stays_without(run) {
        let conn = Conn::new_udp(0, 40_000);
        run.opens(&conn, &conn.udp(b"none").sum(Sum::Absent), &[]);
        run.replies(&conn, &conn.udp_back(run, b"none").sum(Sum::Absent), &[]);
    }

    fn a_udp_checksum_that_comes_out_as_zero_is_sent_as_all_ones(run) {
        let conn = Conn::new_udp(0, 40_000);
        run.open(&conn);
        let out = data_for_zero(|data| run.outward(&conn, &conn.udp(data), 0));
        let expected = run.outward(&conn, &conn.udp(&out), 0).segment();
        assert_eq!(expected[6..8], [0xff, 0xff]);
        run.forwards(&conn, &conn.udp(&out), &[]);
        let back = data_for_zero(|data| run.inward(&conn, &conn.udp_back(run, data)));
        run.replies(&conn, &conn.udp_back(run, &back), &[]);
    }

    fn a_udp_checksum_of_all_ones_is_updated(run) {
        let conn = Conn::new_udp(0, 40_000);
        let data = data_for_zero(|data| conn.udp(data));
        assert_eq!(conn.udp(&data).segment()[6..8], [0xff, 0xff]);
        run.opens(&conn, &conn.udp(&data), &[]);
        let data = data_for_zero(|data| conn.udp_back(run, data));
        run.replies(&conn, &conn.udp_back(run, &data), &[]);
    }

    fn an_extreme_header_keeps_its_checksum(run) {
        let conn = Conn { remote: FAR, ..Conn::new_udp(0, 65_535) };
        run.open(&conn);
        for ttl in [2, 3, 128, 255] {
            for id in [0, 1, 0xffff] {
                let mut packet = conn.udp(&[0xff; 64]).ttl(ttl);
                packet.ip.identification = id;
                run.forwards(&conn, &packet, &[]);
                let mut packet = conn.udp_back(run, &[0; 64]).ttl(ttl);
                packet.ip.identification = id;
                run.replies(&conn, &packet, &[]);
            }
        }
    }
}
