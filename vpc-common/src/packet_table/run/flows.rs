//! Steps of a flow: what its packets must look like on the other side, and what
//! moves with them.

use super::{Conn, Counter, Moves, Run};
use crate::{
    layout::Stat,
    packet_table::{
        In,
        build::{Body, Built, Sum},
        world::*,
    },
    state::{Phase, TCP},
    verdict,
};

impl Run<'_> {
    /// A packet of an environment leaves, translated.
    pub fn forwards(&mut self, conn: &Conn, packet: &Built, moves: &Moves) {
        self.forwards_as(conn, packet, moves, |packet| packet);
    }

    /// The same, with another change.
    pub fn forwards_as(
        &mut self,
        conn: &Conn,
        packet: &Built,
        moves: &Moves,
        change: impl FnOnce(Built) -> Built,
    ) {
        let uplink = u32::from(conn.environment == 2);
        let frame = packet.frame();
        let id = self.next_id(conn);
        let count = [
            (Counter::ForwardPackets, 1),
            (Counter::ForwardBytes, bytes_of(&frame)),
        ];
        let link = In::Environment(conn.environment);
        let moves = [&count, moves, &id_move(conn, packet, self)].concat();
        let expected = |run: &Self| change(run.outward(conn, packet, id)).frame();
        self.leaves(
            link,
            &frame,
            verdict::Port::uplink(uplink),
            expected,
            &moves,
        );
    }

    /// A packet of an environment opens a flow and leaves, translated.
    pub fn opens(&mut self, conn: &Conn, packet: &Built, moves: &Moves) {
        let moves = [&self.opening(conn, conn.default_eni())[..], moves].concat();
        self.forwards(conn, packet, &moves);
        let expected = if conn.protocol == TCP {
            Phase::TcpSynSent
        } else {
            Phase::UdpNew
        };
        assert_eq!(self.phase(conn), Some(expected));
    }

    /// A SYN begins another connection in the place of one that is closing: by the
    /// same port, counted from zero.
    pub fn reopens(&mut self, conn: &Conn, syn: &Built) {
        let outside = self.outside(conn);
        let mut moves = self.ending(conn);
        moves.retain(|(counter, _)| {
            !matches!(
                counter,
                Counter::Flows(_) | Counter::Connections(_) | Counter::Used(_)
            )
        });
        moves.push((Counter::Stat(Stat::FlowsOpened), 1));
        self.forwards(conn, syn, &moves);
        assert_eq!(self.outside(conn), outside);
        assert_eq!(self.phase(conn), Some(Phase::TcpSynSent));
        let last = self.take_records();
        assert_eq!(last.len(), 1);
        assert_eq!(last[0].ended, 1);
    }

    /// What moves when a flow opens on an ENI.
    pub fn opening(&self, conn: &Conn, eni: usize) -> Vec<(Counter, i64)> {
        let pool = crate::flow::pool_index(eni as u32, conn.protocol) as usize;
        let mut moves = vec![
            (Counter::Stat(Stat::FlowsOpened), 1),
            (Counter::Flows(conn.environment), 1),
            (Counter::Connections(eni), 1),
            (Counter::Used(pool), 1),
        ];
        let pool = &self.machine.seen().pools[pool];
        let leased: u32 = pool
            .leased
            .iter()
            .map(|word| word.load().count_ones())
            .sum();
        let blocks = pool.blocks.load();
        // A pool starts with four blocks and grows at a half.
        let wanting = blocks < 4 || pool.used.load() >= blocks * 128;
        if wanting && blocks < u64::from(leased) {
            moves.push((Counter::Stat(Stat::BlocksGranted), 1));
        }
        moves
    }

    /// What moves when a flow of these counts ends.
    pub fn ending(&self, conn: &Conn) -> Vec<(Counter, i64)> {
        let slot = self.slot(conn).expect("the flow is open");
        let eni = usize::from(slot.eni());
        let pool = crate::flow::pool_index(eni as u32, conn.protocol) as usize;
        vec![
            (Counter::Stat(Stat::FlowsExpired), 1),
            (Counter::Flows(conn.environment), -1),
            (Counter::Connections(eni), -1),
            (Counter::Used(pool), -1),
            (
                Counter::ForwardPackets,
                -(slot.forward_packets.load() as i64),
            ),
            (Counter::ForwardBytes, -(slot.forward_bytes.load() as i64)),
            (Counter::ReplyPackets, -(slot.reply_packets.load() as i64)),
            (Counter::ReplyBytes, -(slot.reply_bytes.load() as i64)),
        ]
    }

    /// A packet from the VPC reaches the environment, translated back.
    pub fn replies(&mut self, conn: &Conn, packet: &Built, moves: &Moves) {
        self.replies_as(conn, packet, moves, |packet| packet);
    }

    /// The same, with another change.
    pub fn replies_as(
        &mut self,
        conn: &Conn,
        packet: &Built,
        moves: &Moves,
        change: impl FnOnce(Built) -> Built,
    ) {
        let frame = packet.frame();
        let count = [
            (Counter::ReplyPackets, 1),
            (Counter::ReplyBytes, bytes_of(&frame)),
        ];
        let expected = change(self.inward(conn, packet)).frame();
        let port = verdict::Port::environment(conn.environment as u32);
        let moves = [&count, moves].concat();
        self.leaves(conn.uplink(), &frame, port, |_| expected, &moves);
    }

    /// Opens a flow, by SYN or by datagram.
    pub fn open(&mut self, conn: &Conn) {
        let first = match conn.protocol {
            TCP => conn.tcp("S", 1_000, 0, b""),
            _ => conn.udp(b"first"),
        };
        self.opens(conn, &first, &[]);
    }

    /// Opens a connection and answers it; the environment's next sequence number is
    /// 1001, the remote's 5001.
    pub fn establish(&mut self, conn: &Conn) {
        self.open(conn);
        let answer = conn.tcp_back(self, "SA", 5_000, 1_001, b"");
        self.replies(conn, &answer, &[]);
        self.forwards(conn, &conn.tcp("A", 1_001, 5_001, b""), &[]);
        assert_eq!(self.phase(conn), Some(Phase::TcpEstablished));
    }

    fn next_id(&self, conn: &Conn) -> u16 {
        let eni = match self.slot(conn) {
            Some(slot) => usize::from(slot.eni()),
            None => conn.default_eni(),
        };
        // The counter is put on the wire as it stands in memory.
        u16::from_be(self.machine.seen().eni_states[eni].ip_id.load() as u16)
    }

    /// What a packet of the environment must look like in the VPC. `id` is the
    /// identification of a packet that may be fragmented.
    pub fn outward(&self, conn: &Conn, packet: &Built, id: u16) -> Built {
        let (address, port) = self.outside(conn);
        let mut packet = packet.clone();
        let uplink = usize::from(conn.environment == 2);
        packet.from = UPLINK_MAC[uplink];
        packet.to = conn.next_hop_mac();
        packet.ip.source = address;
        packet.ip.time_to_live -= 1;
        if !packet.ip.dont_fragment || packet.ip.is_fragmenting_payload() {
            packet.ip.identification = id;
        }
        match &mut packet.body {
            Body::Tcp(header, _) => header.source_port = port,
            Body::Udp(ports, _) => ports.source = port,
            Body::Icmp(..) | Body::Raw(_) => {}
        }
        complete(&mut packet);
        packet
    }

    /// What a packet from the VPC must look like to the environment.
    pub fn inward(&self, conn: &Conn, packet: &Built) -> Built {
        let mut packet = packet.clone();
        packet.from = GATEWAY_MAC;
        packet.to = INSIDE_MAC;
        packet.ip.destination = INSIDE;
        packet.ip.time_to_live -= 1;
        match &mut packet.body {
            Body::Tcp(header, _) => header.destination_port = conn.inside_port,
            Body::Udp(ports, _) => ports.destination = conn.inside_port,
            Body::Icmp(..) | Body::Raw(_) => {}
        }
        complete(&mut packet);
        packet
    }
}

/// Bytes of the IPv4 packet in a frame.
fn bytes_of(frame: &[u8]) -> i64 {
    i64::from(u16::from_be_bytes([frame[16], frame[17]]))
}

/// A half-made checksum is completed on its way.
fn complete(packet: &mut Built) {
    if packet.sum == Sum::HalfMade {
        packet.sum = Sum::Right;
    }
}

/// The identification that a packet takes if it may be fragmented.
fn id_move(conn: &Conn, packet: &Built, run: &Run<'_>) -> Vec<(Counter, i64)> {
    let eni = run
        .slot(conn)
        .map_or(conn.default_eni(), |slot| usize::from(slot.eni()));
    let takes = !packet.ip.dont_fragment || packet.ip.is_fragmenting_payload();
    let later = packet.ip.fragment_offset.value() != 0;
    Vec::from_iter((takes && !later).then_some((Counter::Id(eni), 1)))
}
