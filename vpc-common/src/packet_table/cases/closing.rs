//! TCP connections that close, are reset, or were never there.

use crate::{
    drop::DropReason,
    layout::Owner,
    packet_table::{
        Conn,
        build::{Built, segment},
        world::*,
    },
    state::{CREDIBLE_WINDOW, Phase},
};

/// The RST that the environment gets in the name of the remote.
fn reset(conn: &Conn, flags: &str, sequence: u32, ack: u32) -> Vec<u8> {
    let mut header = segment(conn.remote_port, conn.inside_port, flags, sequence, ack);
    header.window_size = 0;
    let mut packet = Built::new(GATEWAY_MAC, INSIDE_MAC, conn.remote, INSIDE).tcp(header, b"");
    packet.ip.identification = 0;
    packet.frame()
}

/// Closes a connection from the environment's side.
fn close(run: &mut crate::packet_table::Run<'_>, conn: &Conn) {
    run.forwards(conn, &conn.tcp("FA", 1_001, 5_001, b""), &[]);
    assert_eq!(run.phase(conn), Some(Phase::TcpFinOut));
    run.replies(conn, &conn.tcp_back(run, "FA", 5_001, 1_002, b""), &[]);
    assert_eq!(run.phase(conn), Some(Phase::TcpFinBoth));
    run.forwards(conn, &conn.tcp("A", 1_002, 5_002, b""), &[]);
    assert_eq!(run.phase(conn), Some(Phase::TcpClosed));
}

cases! {
    fn a_segment_mid_stream_with_ack_is_reset_at_its_acknowledgment(run) {
        let conn = Conn::new_tcp(0, 40_000);
        let dropped = Some((conn.owner(), DropReason::TcpMidStream));
        for flags in ["A", "PA", "FA", "SA"] {
            let lost = conn.tcp(flags, 7_000, 9_000, b"four").frame();
            run.answers(conn.link(), &lost, &reset(&conn, "R", 9_000, 0), dropped);
        }
    }

    fn a_segment_mid_stream_without_ack_is_reset_with_what_it_takes(run) {
        let conn = Conn::new_tcp(0, 40_000);
        let dropped = Some((conn.owner(), DropReason::TcpMidStream));
        let lost = conn.tcp("", 7_000, 0, b"four").frame();
        run.answers(conn.link(), &lost, &reset(&conn, "RA", 0, 7_004), dropped);
        let lost = conn.tcp("F", u32::MAX, 0, b"four").frame();
        run.answers(conn.link(), &lost, &reset(&conn, "RA", 0, 4), dropped);
    }

    fn a_large_segment_mid_stream_is_answered_by_a_bare_reset(run) {
        let conn = Conn::new_tcp(0, 40_000);
        let dropped = Some((conn.owner(), DropReason::TcpMidStream));
        let lost = conn.tcp("PA", 1, 2, &[5; 1_400]).options(&[1; 8]).frame();
        run.answers(conn.link(), &lost, &reset(&conn, "R", 2, 0), dropped);
    }

    fn a_reset_mid_stream_gets_no_answer(run) {
        let conn = Conn::new_tcp(0, 40_000);
        for flags in ["R", "RA", "SR"] {
            let lost = conn.tcp(flags, 7_000, 9_000, b"").frame();
            run.drops(conn.link(), &lost, conn.owner(), DropReason::TcpMidStream);
        }
    }

    fn a_connection_closes_from_inside(run) {
        let conn = Conn::new_tcp(0, 40_000);
        run.establish(&conn);
        close(run, &conn);
    }

    fn a_connection_closes_from_outside(run) {
        let conn = Conn::new_tcp(0, 40_000);
        run.establish(&conn);
        run.replies(&conn, &conn.tcp_back(run, "FA", 5_001, 1_001, b""), &[]);
        assert_eq!(run.phase(&conn), Some(Phase::TcpFinIn));
        run.forwards(&conn, &conn.tcp("FA", 1_001, 5_002, b""), &[]);
        run.replies(&conn, &conn.tcp_back(run, "A", 5_002, 1_002, b""), &[]);
        assert_eq!(run.phase(&conn), Some(Phase::TcpClosed));
    }

    fn a_closed_flow_is_opened_again_by_a_syn(run) {
        let conn = Conn::new_tcp(0, 40_000);
        run.establish(&conn);
        close(run, &conn);
        run.reopens(&conn, &conn.tcp("S", 70_000, 0, b""));
        // A late SYN/ACK of the old connection does not establish the new one.
        run.replies(&conn, &conn.tcp_back(run, "SA", 5_000, 1_001, b""), &[]);
        assert_eq!(run.phase(&conn), Some(Phase::TcpSynSent));
        run.replies(&conn, &conn.tcp_back(run, "SA", 8_000, 70_001, b""), &[]);
        assert_eq!(run.phase(&conn), Some(Phase::TcpEstablished));
    }

    fn the_answer_to_a_closed_connection_still_passes(run) {
        let conn = Conn::new_tcp(0, 40_000);
        run.establish(&conn);
        close(run, &conn);
        run.replies(&conn, &conn.tcp_back(run, "FA", 5_001, 1_002, b""), &[]);
        run.forwards(&conn, &conn.tcp("A", 1_002, 5_002, b""), &[]);
        assert_eq!(run.phase(&conn), Some(Phase::TcpClosed));
    }

    fn a_blind_reset_passes_and_changes_nothing(run) {
        let conn = Conn::new_tcp(0, 40_000);
        run.establish(&conn);
        let beyond = 5_001u32.wrapping_add(CREDIBLE_WINDOW + 1);
        for (flags, sequence) in [("R", beyond), ("RA", beyond), ("FA", beyond)] {
            let blind = conn.tcp_back(run, flags, sequence, 1_001, b"");
            run.replies(&conn, &blind, &[]);
            assert_eq!(run.phase(&conn), Some(Phase::TcpEstablished));
        }
        let before = 5_001u32.wrapping_sub(CREDIBLE_WINDOW + 1);
        run.replies(&conn, &conn.tcp_back(run, "R", before, 0, b""), &[]);
        assert_eq!(run.phase(&conn), Some(Phase::TcpEstablished));
    }

    fn a_credible_reset_closes_and_a_syn_reopens(run) {
        let conn = Conn::new_tcp(0, 40_000);
        run.establish(&conn);
        run.replies(&conn, &conn.tcp_back(run, "R", 5_001, 0, b""), &[]);
        assert_eq!(run.phase(&conn), Some(Phase::TcpReset));
        run.reopens(&conn, &conn.tcp("S", 9, 0, b""));
    }

    fn a_half_closed_flow_is_not_opened_again(run) {
        let conn = Conn::new_tcp(0, 40_000);
        run.establish(&conn);
        run.replies(&conn, &conn.tcp_back(run, "FA", 5_001, 1_001, b""), &[]);
        run.forwards(&conn, &conn.tcp("S", 70_000, 0, b""), &[]);
        assert_eq!(run.phase(&conn), Some(Phase::TcpFinIn));
    }

    fn a_syn_with_data_may_be_answered_in_part(run) {
        let conn = Conn::new_tcp(0, 40_000);
        run.opens(&conn, &conn.tcp("S", 1_000, 0, b"early data"), &[]);
        run.replies(&conn, &conn.tcp_back(run, "SA", 5_000, 1_001, b""), &[]);
        assert_eq!(run.phase(&conn), Some(Phase::TcpEstablished));
        let conn = Conn::new_tcp(0, 40_001);
        run.opens(&conn, &conn.tcp("S", 1_000, 0, b"early data"), &[]);
        run.replies(&conn, &conn.tcp_back(run, "SA", 5_000, 1_011, b""), &[]);
        assert_eq!(run.phase(&conn), Some(Phase::TcpEstablished));
    }

    fn a_connection_tried_again_from_its_port_is_established(run) {
        let conn = Conn::new_tcp(0, 40_000);
        run.open(&conn);
        // Nobody answered; the environment gave up and starts with other numbers.
        run.forwards(&conn, &conn.tcp("S", 900_000_000, 0, b""), &[]);
        run.replies(&conn, &conn.tcp_back(run, "SA", 5_000, 900_000_001, b""), &[]);
        assert_eq!(run.phase(&conn), Some(Phase::TcpEstablished));
    }

    fn an_environment_that_speaks_on_after_a_reset_keeps_its_flow(run) {
        let conn = Conn::new_tcp(0, 40_000);
        run.establish(&conn);
        run.replies(&conn, &conn.tcp_back(run, "R", 5_001, 0, b""), &[]);
        run.forwards(&conn, &conn.tcp("PA", 1_001, 5_001, b"on"), &[]);
        assert_eq!(run.phase(&conn), Some(Phase::TcpEstablished));
    }

    fn a_reset_of_the_environment_s_own_is_believed(run) {
        let conn = Conn::new_tcp(0, 40_000);
        run.establish(&conn);
        run.forwards(&conn, &conn.tcp("R", 77, 0, b""), &[]);
        assert_eq!(run.phase(&conn), Some(Phase::TcpReset));
    }

    fn a_refused_connection_is_reset_by_the_right_acknowledgment_only(run) {
        let conn = Conn::new_tcp(0, 40_000);
        run.open(&conn);
        run.replies(&conn, &conn.tcp_back(run, "RA", 0, 1_000, b""), &[]);
        assert_eq!(run.phase(&conn), Some(Phase::TcpSynSent));
        run.replies(&conn, &conn.tcp_back(run, "RA", 0, 1_001, b""), &[]);
        assert_eq!(run.phase(&conn), Some(Phase::TcpReset));
    }

    fn a_connection_begun_anew_may_carry_as_much_as_the_one_before(run) {
        let conn = Conn::new_tcp(0, 40_000);
        run.open(&conn);
        run.replies(&conn, &conn.tcp_back(run, "RA", 0, 1_001, b""), &[]);
        run.age(1);
        run.reopens(&conn, &conn.tcp("S", 90_000, 0, b""));
    }

    fn both_ends_may_open_at_once(run) {
        let conn = Conn::new_tcp(0, 40_000);
        run.open(&conn);
        run.replies(&conn, &conn.tcp_back(run, "S", 5_000, 0, b""), &[]);
        assert_eq!(run.phase(&conn), Some(Phase::TcpEstablished));
        run.forwards(&conn, &conn.tcp("SA", 1_000, 5_001, b""), &[]);
        run.replies(&conn, &conn.tcp_back(run, "A", 5_001, 1_001, b""), &[]);
    }

    fn the_flags_seen_are_in_the_record(run) {
        let conn = Conn::new_tcp(0, 40_000);
        run.establish(&conn);
        close(run, &conn);
        run.age(30);
        let moves = run.ending(&conn);
        run.sweep(0, &moves);
        let records = run.take_records();
        assert_eq!(records.len(), 1);
        // SYN and FIN out; SYN/ACK and FIN back.
        assert_eq!(records[0].tcp_flags, 0x03 << 8 | 0x13);
        assert_eq!((records[0].ended, u32::from(records[0].eni)), (1, Owner::eni(0).parts().1));
    }
}
