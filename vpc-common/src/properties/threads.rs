//! Many CPUs on the same tables.

use std::{
    collections::HashSet,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use super::{START_NS, assert_nothing_left, host, sweep_all};
use crate::{
    double::{Buffer, Double},
    drop::DropReason,
    flow::Moment,
    forward,
    layout::{BLOCK_PORTS, Stat},
    packet_table::{Conn, In, Machine as _},
    state::TCP,
    time::{TICK_NS, Tick},
    verdict::Kind,
};

/// A packet of one thread; the source port it left by.
fn thread_sends(tables: &Double, host: u32, conn: &Conn, ns: u64) -> Option<u16> {
    let packet = match conn.protocol {
        TCP => conn.tcp("S", 1, 0, b""),
        _ => conn.udp(b"out"),
    };
    let mut packet = Buffer::new(&packet.frame());
    let verdict = forward::from_environment(tables, &mut packet, host, Moment::from_ns(ns));
    match verdict.kind() {
        Kind::Send => {
            let frame = packet.frame();
            Some(u16::from_be_bytes([frame[34], frame[35]]))
        }
        Kind::Drop => {
            let reason = verdict.reason();
            let expected = [
                DropReason::FlowSetupRace,
                DropReason::PortsContended,
                DropReason::PortsExhausted,
                DropReason::SlabExhausted,
            ];
            assert!(
                reason.is_some_and(|reason| expected.contains(&reason)),
                "{verdict:?}"
            );
            None
        }
        _ => panic!("{verdict:?}"),
    }
}

#[test]
fn threads_that_open_the_same_flow_share_one() {
    const TUPLES: u16 = 1_500;
    let mut host = host();
    let ifindex = host.ifindex(In::Environment(0));
    host.tables().environments[0].flow_quota = u32::MAX;
    let tables = &*host.tables();
    let ports: Vec<Mutex<HashSet<u16>>> = (0..TUPLES).map(|_| Mutex::default()).collect();
    let barrier = std::sync::Barrier::new(4);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for (tuple, seen) in ports.iter().enumerate() {
                    if tuple % 50 == 0 {
                        barrier.wait();
                    }
                    let conn = match tuple % 2 {
                        0 => Conn::new_udp(0, 10_000 + tuple as u16),
                        _ => Conn::new_tcp(0, 10_000 + tuple as u16),
                    };
                    if let Some(port) = thread_sends(tables, ifindex, &conn, START_NS) {
                        seen.lock().expect("no thread panicked").insert(port);
                    }
                }
            });
        }
    });
    for (tuple, seen) in ports.iter().enumerate() {
        let seen = seen.lock().expect("no thread panicked");
        assert_eq!(seen.len(), 1, "tuple {tuple} left by {seen:?}");
    }
    assert_eq!(tables.stat(Stat::FlowsOpened), u64::from(TUPLES));
    assert_eq!(tables.faults(), Vec::<String>::new());
}

#[test]
fn threads_and_a_sweep_leave_the_tables_in_agreement() {
    let mut host = host();
    let links: Vec<u32> = (0..3).map(|e| host.ifindex(In::Environment(e))).collect();
    // The sweep may be slower than they are.
    for environment in &mut host.tables().environments {
        environment.flow_quota = u32::MAX;
    }
    let clock = AtomicU64::new(START_NS);
    let tables = &*host.tables();
    let stop = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..3u64)
            .map(|me| {
                let (links, clock) = (&links, &clock);
                scope.spawn(move || {
                    let mut seed = me.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                    for _ in 0..30_000 {
                        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        let roll = (seed >> 33) as usize;
                        let port = 10_000 + (roll >> 3 & 0x3ff) as u16;
                        let conn = match roll & 1 {
                            0 => Conn::new_udp(roll >> 1 & 1, port),
                            _ => Conn::new_tcp(roll >> 1 & 1, port),
                        };
                        let link = links[conn.environment];
                        thread_sends(tables, link, &conn, clock.load(Relaxed));
                    }
                })
            })
            .collect();
        let sweeper = scope.spawn(|| {
            while stop.load(Relaxed) == 0 {
                let now = clock.fetch_add(40 * 1_000_000_000, Relaxed);
                sweep_all(tables, Tick::from_ns(now), 0);
            }
        });
        // All of them first: the sweep has to end even if one panicked.
        let ended: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
        stop.store(1, Relaxed);
        for worker in ended {
            worker.expect("a worker does not panic");
        }
        sweeper.join().expect("the sweep does not panic");
    });
    assert_eq!(tables.stat(Stat::DoubleFrees), 0);
    assert_eq!(tables.stat(Stat::SlotConflicts), 0);
    assert_eq!(tables.faults(), Vec::<String>::new());
    let opened = tables.stat(Stat::FlowsOpened);
    assert!(opened > u64::from(BLOCK_PORTS), "{opened}");
    let end = Tick::from_ns(clock.load(Relaxed) + 1_000_000_000_000 + TICK_NS);
    sweep_all(tables, end, 0);
    assert_eq!(tables.stat(Stat::FlowsExpired), opened);
    assert_nothing_left(tables);
}
