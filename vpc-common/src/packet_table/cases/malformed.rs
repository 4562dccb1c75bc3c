//! Frames that contradict themselves: each has its own reason, and no length of a
//! frame is too short to be judged.

use crate::{
    drop::DropReason::{self, *},
    layout::Owner,
    packet_table::{
        Conn, In, Run,
        build::{Built, arp, payload},
        world::*,
    },
};

const LINK: In = In::Environment(0);
const OWNER: Owner = Owner::environment(0);

/// Sets a byte of the IPv4 header and makes its checksum right again.
fn patched(frame: &[u8], at: usize, value: u8) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[14 + at] = value;
    frame[24..26].fill(0);
    let header_len = usize::from(frame[14] & 15).max(5) * 4;
    let end = (14 + header_len).min(frame.len());
    let mut sum: u32 = frame[14..end]
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)))
        .sum();
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    frame[24..26].copy_from_slice(&(!sum as u16).to_be_bytes());
    frame
}

/// Every prefix of a frame is refused for one of two reasons; the whole is not.
fn prefixes(run: &mut Run<'_>, link: In, frame: &[u8], owner: Owner, reason: DropReason) {
    for len in 14..frame.len() {
        if run.machine().takes(&frame[..len]) {
            run.drops(link, &frame[..len], owner, reason);
        }
    }
}

/// The same packet with a total length that is as short as the frame.
fn shortened(packet: &Built, len: usize) -> Vec<u8> {
    let frame = packet.frame();
    let frame = patched(&frame[..14 + len], 2, (len >> 8) as u8);
    patched(&frame, 3, len as u8)
}

cases! {
    fn every_prefix_of_a_frame_is_refused(run) {
        let tcp = Conn::new_tcp(0, 40_000).tcp("S", 1, 0, &payload(9)).options(&[1; 4]);
        let udp = Conn::new_udp(0, 40_000).udp(&payload(9));
        let ping = Built::new(INSIDE_MAC, GATEWAY_MAC, INSIDE, GATEWAY).icmp(8, 0, [0; 4], b"abc");
        for packet in [tcp, udp, ping] {
            prefixes(run, LINK, &packet.frame(), OWNER, Ipv4Malformed);
        }
        let asks = arp([0xff; 6], INSIDE_MAC, 1, (INSIDE_MAC, INSIDE), ([0; 6], GATEWAY));
        prefixes(run, LINK, &asks, OWNER, FrameTruncated);
    }

    fn every_prefix_of_a_reply_is_refused(run) {
        let (tcp, udp) = (Conn::new_tcp(0, 40_000), Conn::new_udp(0, 40_000));
        run.open(&tcp);
        run.open(&udp);
        let error = tcp.back(run).icmp(3, 1, [0; 4], &run.outward(&tcp, &tcp.tcp("S", 1, 0, b""), 0).packet());
        for packet in [
            tcp.tcp_back(run, "SA", 1, 2, b"abc").options(&[1; 8]),
            udp.udp_back(run, b"abc"),
            error,
        ] {
            prefixes(run, In::Uplink(0), &packet.frame(), Owner::uplink(0), Ipv4Malformed);
            let other = packet.frame();
            let mut shared = other.clone();
            shared[..6].copy_from_slice(&UPLINK_MAC[1]);
            for len in 14..shared.len() {
                if run.machine().takes(&shared[..len]) {
                    run.passes(In::Uplink(1), &shared[..len]);
                }
            }
        }
    }

    fn every_shorter_packet_is_refused_for_its_transport_header(run) {
        let conn = Conn::new_tcp(0, 40_000);
        let packet = conn.tcp("S", 1, 0, b"");
        for len in 20..40 {
            run.drops(LINK, &shortened(&packet, len), OWNER, L4Truncated);
        }
        let packet = Conn::new_udp(0, 40_000).udp(b"abcd");
        for len in 20..32 {
            let reason = if len < 28 { L4Truncated } else { L4Malformed };
            run.drops(LINK, &shortened(&packet, len), OWNER, reason);
        }
        let packet = conn.out().icmp(8, 0, [0; 4], b"");
        for len in 20..28 {
            run.drops(LINK, &shortened(&packet, len), OWNER, L4Truncated);
        }
    }

    fn every_shorter_reply_is_refused_for_its_transport_header(run) {
        let conn = Conn::new_tcp(0, 40_000);
        run.open(&conn);
        let (link, owner) = (conn.uplink(), Owner::eni(0));
        let packet = conn.tcp_back(run, "SA", 1, 1_001, b"");
        for len in 20..40 {
            run.drops(link, &shortened(&packet, len), owner, L4Truncated);
        }
        let packet = conn.back(run).icmp(3, 1, [0; 4], b"");
        for len in 20..28 {
            run.drops(link, &shortened(&packet, len), owner, L4Truncated);
        }
        let inner = run.outward(&conn, &conn.tcp("S", 1, 0, b""), 0).packet();
        let packet = conn.back(run).icmp(3, 1, [0; 4], &inner[..28]);
        for len in 28..56 {
            run.drops(link, &shortened(&packet, len), owner, IcmpMalformed);
        }
    }

    fn a_bad_version_or_header_length_is_refused(run) {
        let frame = Conn::new_udp(0, 40_000).udp(b"some data").frame();
        for value in [0x05, 0x35, 0x55, 0x65, 0xf5, 0x44, 0x40, 0x43] {
            run.drops(LINK, &patched(&frame, 0, value), OWNER, Ipv4Malformed);
        }
        // A header that reaches beyond the packet.
        run.drops(LINK, &patched(&frame, 0, 0x4f), OWNER, Ipv4Malformed);
    }

    fn a_bad_total_length_is_refused(run) {
        let frame = Conn::new_udp(0, 40_000).udp(b"some data").frame();
        for total in [0u16, 1, 19, 38, 1_500, 0xffff] {
            let [high, low] = total.to_be_bytes();
            let wrong = patched(&patched(&frame, 2, high), 3, low);
            run.drops(LINK, &wrong, OWNER, Ipv4Malformed);
        }
    }

    fn a_bad_header_checksum_is_refused(run) {
        let conn = Conn::new_udp(0, 40_000);
        let frame = conn.udp(b"x").options(&[1; 4]).frame();
        for at in [15, 18, 22, 24, 25, 30, 36] {
            let mut wrong = frame.clone();
            wrong[at] ^= 0x10;
            run.drops(LINK, &wrong, OWNER, Ipv4Checksum);
        }
        run.open(&conn);
        let mut reply = conn.udp_back(run, b"x").frame();
        reply[24] ^= 1;
        run.drops(In::Uplink(0), &reply, Owner::uplink(0), Ipv4Checksum);
    }

    fn a_bad_data_offset_is_refused(run) {
        let conn = Conn::new_tcp(0, 40_000);
        let frame = conn.tcp("S", 1, 0, b"abc").frame();
        for offset in [0u8, 1, 4, 6, 15] {
            let mut wrong = frame.clone();
            wrong[14 + 20 + 12] = offset << 4;
            run.drops(LINK, &wrong, OWNER, L4Malformed);
        }
        run.open(&conn);
        let mut reply = conn.tcp_back(run, "SA", 1, 2, b"").frame();
        reply[14 + 20 + 12] = 6 << 4;
        run.drops(In::Uplink(0), &reply, Owner::eni(0), L4Malformed);
    }

    fn a_bad_udp_length_is_refused(run) {
        let conn = Conn::new_udp(0, 40_000);
        let frame = conn.udp(b"abc").frame();
        for len in [0u8, 7, 12, 255] {
            let mut wrong = frame.clone();
            wrong[14 + 20 + 5] = len;
            run.drops(LINK, &wrong, OWNER, L4Malformed);
        }
    }

    fn port_zero_is_refused(run) {
        for (inside_port, remote_port) in [(0, 53), (40_000, 0), (0, 0)] {
            let conn = Conn { remote_port, ..Conn::new_udp(0, inside_port) };
            run.drops(LINK, &conn.udp(b"x").frame(), OWNER, L4Malformed);
            let conn = Conn { remote_port, ..Conn::new_tcp(0, inside_port) };
            run.drops(LINK, &conn.tcp("S", 1, 0, b"").frame(), OWNER, L4Malformed);
        }
        let conn = Conn::new_udp(0, 40_000);
        run.open(&conn);
        for (source, destination) in [(0, run.outside(&conn).1), (53, 0)] {
            let reply = conn.back(run).udp(source, destination, b"x").frame();
            run.drops(In::Uplink(0), &reply, Owner::eni(0), L4Malformed);
        }
    }

    fn frames_of_other_kinds_are_refused(run) {
        for (kind, reason) in [
            ([0x81, 0x00], VlanTagged),
            ([0x88, 0xa8], VlanTagged),
            ([0x86, 0xdd], EthertypeUnsupported),
            ([0x88, 0x47], EthertypeUnsupported),
            ([0x00, 0x2e], EthertypeUnsupported),
        ] {
            let mut frame = Conn::new_udp(0, 40_000).udp(&payload(20)).frame();
            frame[12..14].copy_from_slice(&kind);
            run.drops(LINK, &frame, OWNER, reason);
            if run.machine().takes(&frame[..14]) {
                run.drops(LINK, &frame[..14], OWNER, reason);
            }
            run.drops(In::Uplink(0), &frame, Owner::uplink(0), reason);
            run.passes(In::Uplink(1), &frame);
        }
    }

    fn a_spoofed_source_is_refused_whatever_it_carries(run) {
        let conn = Conn::new_udp(0, 40_000);
        for source in [SERVER, ENI[0], GATEWAY, [0; 4], [127, 0, 0, 1], [169, 254, 100, 3]] {
            for mut packet in [
                conn.udp(b"x"),
                conn.udp(b"x").ttl(1),
                Conn::new_tcp(0, 40_000).tcp("A", 1, 2, b""),
                Conn::new_tcp(0, 40_000).out().raw(47, b"gre"),
                Conn::new_tcp(0, 40_000).to(GATEWAY).out().icmp(8, 0, [0; 4], b""),
            ] {
                packet.ip.source = source;
                run.drops(LINK, &packet.frame(), OWNER, SourceSpoofed);
            }
        }
    }

    fn destinations_that_are_nobody_s_are_refused(run) {
        for to in [
            [224, 0, 0, 1], [239, 1, 2, 3], [255; 4], [127, 0, 0, 1], [0; 4], [0, 1, 2, 3], [240, 0, 0, 1],
        ] {
            let udp = Conn::new_udp(0, 40_000).to(to).udp(b"x").frame();
            run.drops(LINK, &udp, OWNER, DestinationNotUnicast);
            for flags in ["S", "A"] {
                let tcp = Conn::new_tcp(0, 40_000).to(to).tcp(flags, 1, 0, b"").frame();
                run.drops(LINK, &tcp, OWNER, DestinationNotUnicast);
            }
        }
    }

    fn other_protocols_are_refused(run) {
        for protocol in [0, 2, 4, 41, 47, 50, 58, 89, 132, 255] {
            let packet = Conn::new_udp(0, 40_000).out().raw(protocol, &payload(40)).frame();
            run.drops(LINK, &packet, OWNER, ProtocolUnsupported);
            let reply = Built::new(SERVER_MAC, UPLINK_MAC[0], SERVER, ENI[0])
                .raw(protocol, &payload(40))
                .frame();
            run.drops(In::Uplink(0), &reply, Owner::eni(0), ProtocolUnsupported);
        }
    }
}
