//! When flows end, and what becomes of them if that fails.

use super::{
    START_NS, assert_nothing_left,
    histories::{Model, Op},
    host, sweep_all,
};
use crate::{
    drop::DropReason,
    expiry::SweepOptions,
    packet_table::{Action, Conn, Machine as _},
    state::{Phase, State, Timeouts},
    time::Tick,
};

#[test]
fn a_flow_ends_at_its_limit_and_not_before_in_every_phase() {
    for timeouts in [Timeouts::AWS, Timeouts::RFC] {
        for phase in Phase::ALL
            .into_iter()
            .filter(|phase| *phase >= Phase::UdpNew)
        {
            let conn = match phase {
                Phase::UdpNew | Phase::UdpStream => Conn::new_udp(0, 40_000),
                _ => Conn::new_tcp(0, 40_000),
            };
            let mut host = host();
            for eni in &mut host.tables().enis {
                eni.timeouts = timeouts;
            }
            let mut model = Model::on(host);
            model.out(conn);
            let flow = model.host.flows()[&model.key(&conn)];
            let slot = &model.host.tables().slots[flow.slot as usize];
            slot.state.store(slot.state().with_phase(phase).0);
            let limit = timeouts.of(State::new(phase, conn.protocol, 0));
            let start = Tick::from_ns(START_NS).0;
            for (age, ends) in [(0, 0), (limit - 1, 0), (limit, 1)] {
                let result = sweep_all(model.host.tables(), Tick(start + age), 0);
                assert_eq!(
                    result.expired, ends,
                    "{phase:?} after {age} of {limit} ticks"
                );
            }
            assert_nothing_left(model.host.tables());
        }
    }
}

#[test]
fn a_sweep_whose_record_nobody_takes_ends_nothing() {
    for options in [0, SweepOptions::PURGE] {
        let mut model = Model::new();
        model.out(Conn::new_udp(0, 40_000));
        if options == SweepOptions::PURGE {
            model.step(&Op::Recycle(0));
        } else {
            model.step(&Op::Pass(400));
        }
        model.host.tables().record_capacity = 0;
        let now = Tick::from_ns(model.now);
        assert_eq!(sweep_all(model.host.tables(), now, options).expired, 0);
        model.host.tables().record_capacity = usize::MAX;
        assert_eq!(sweep_all(model.host.tables(), now, options).expired, 1);
        model.end();
    }
}

#[test]
fn a_full_forward_table_refuses_and_leaks_nothing() {
    let mut model = Model::new();
    model.host.tables().flow_capacity = 1;
    model.out(Conn::new_udp(0, 40_000));
    let refused = Conn::new_udp(0, 40_001);
    let ran = model.host.run(refused.link(), &refused.udp(b"x").frame());
    assert_eq!(ran.action, Action::Drop);
    let drops = model.host.drops();
    assert_eq!(drops.len(), 1);
    assert!(
        drops
            .keys()
            .all(|key| key.reason == DropReason::FlowTableFull as u32)
    );
    assert_eq!(model.host.tables().faults(), Vec::<String>::new());
    model.end();
}
