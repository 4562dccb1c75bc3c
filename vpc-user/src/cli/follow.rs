//! `vpc flows --follow`: what happened to flows between one look and the next.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use crate::{
    model::{BindingInfo, FlowInfo},
    print::Change,
};

/// How long after the end of a flow its record may come, milliseconds.
pub const LATE_MS: u64 = 5_000;

/// What tells a flow from others while it is open: environment, protocol, inside, outside,
/// remote.
type Key = (String, String, SocketAddr, SocketAddr, SocketAddr);

/// What was seen so far.
#[derive(Default)]
pub struct Follower {
    /// Open at the last look.
    open: BTreeMap<Key, FlowInfo>,
    /// Records of the last look; none before the first.
    ended: Option<BTreeSet<BindingInfo>>,
    /// Flows that were told of as ended before their records came, and when that was.
    missed: BTreeMap<Key, u64>,
}

impl Follower {
    /// What happened since the last look. `open`: every flow that is open; `ended`: records of
    /// those that ended lately. What opened and ended in between has its record alone. `now` is
    /// in Unix milliseconds.
    pub fn look(
        &mut self,
        open: Vec<FlowInfo>,
        ended: Vec<BindingInfo>,
        now: u64,
    ) -> Vec<(Change, FlowInfo)> {
        let open: BTreeMap<Key, FlowInfo> = open
            .into_iter()
            .map(|flow| (of_flow(&flow), flow))
            .collect();
        let ended: BTreeSet<BindingInfo> = ended.into_iter().collect();
        let mut events = Vec::new();
        if let Some(before) = &self.ended {
            for record in ended.difference(before) {
                let key = of_record(record);
                if self.missed.remove(&key).is_some() {
                    continue;
                }
                let shown = self.open.remove(&key).unwrap_or_else(|| {
                    let flow = flow_of(record, now);
                    events.push((Change::New, flow.clone()));
                    flow
                });
                events.push((Change::Destroy, shown));
            }
        }
        for (key, flow) in std::mem::take(&mut self.open) {
            if !open.contains_key(&key) {
                events.push((Change::Destroy, flow));
                self.missed.insert(key, now);
            } else {
                self.open.insert(key, flow);
            }
        }
        for (key, flow) in &open {
            match self.open.get(key) {
                None => events.push((Change::New, flow.clone())),
                Some(before) if before.state != flow.state => {
                    events.push((Change::Update, flow.clone()));
                }
                Some(_) => {}
            }
        }
        self.missed
            .retain(|_, at| now.saturating_sub(*at) < 2 * LATE_MS);
        (self.open, self.ended) = (open, Some(ended));
        events
    }
}

fn of_flow(flow: &FlowInfo) -> Key {
    let (environment, protocol) = (flow.environment.clone(), flow.protocol.clone());
    (
        environment,
        protocol,
        flow.inside,
        flow.outside,
        flow.remote,
    )
}

fn of_record(flow: &BindingInfo) -> Key {
    let (environment, protocol) = (flow.environment.clone(), flow.protocol.clone());
    (
        environment,
        protocol,
        flow.inside,
        flow.outside,
        flow.remote,
    )
}

/// A flow that was never seen open, as its record has it.
fn flow_of(flow: &BindingInfo, now: u64) -> FlowInfo {
    let seconds = |from: u64| now.saturating_sub(from) as f64 / 1_000.0;
    FlowInfo {
        environment: flow.environment.clone(),
        function: flow.function.clone(),
        protocol: flow.protocol.clone(),
        inside: flow.inside,
        outside: flow.outside,
        remote: flow.remote,
        state: "closed".to_owned(),
        forward_packets: 0,
        forward_bytes: 0,
        reply_packets: 0,
        reply_bytes: 0,
        age_secs: seconds(flow.start),
        idle_secs: seconds(flow.end.unwrap_or(now)),
        slot: 0,
        epoch: 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(port: u16, start: u64, end: u64) -> BindingInfo {
        BindingInfo {
            start,
            end: Some(end),
            environment: "fn-1".to_owned(),
            function: None,
            protocol: "udp".to_owned(),
            inside: ([172, 16, 0, 2], port).into(),
            outside: ([10, 0, 0, 10], port).into(),
            remote: ([10, 0, 0, 80], 53).into(),
            interface_id: "eni-1".to_owned(),
            vpc_id: "vpc-1".to_owned(),
        }
    }

    proptest! {
        /// Whenever it is looked, and whether a record is there before the flow is seen to be
        /// gone or after it: each flow opens once and ends once.
        #[test]
        fn each_flow_opens_once_and_ends_once(
            flows in prop::collection::vec((0..3_000_u64, 0..3_000_u64, 0..1_500_u64), 1..20),
        ) {
            const LOOK: u64 = 500;
            let mut follower = Follower::default();
            let mut seen: BTreeMap<u16, Vec<Change>> = BTreeMap::new();
            // The first look knows of nothing.
            for now in (0..10_000).step_by(LOOK as usize) {
                let (mut open, mut ended) = (Vec::new(), Vec::new());
                for (port, (from, lasts, late)) in (1_u16..).zip(&flows) {
                    let (start, end) = (1 + from, 1 + from + lasts);
                    let record = record(port, start, end);
                    if (start..end).contains(&now) {
                        open.push(flow_of(&record, now));
                    }
                    if end + late <= now && end + LATE_MS >= now {
                        ended.push(record);
                    }
                }
                for (change, flow) in follower.look(open, ended, now) {
                    seen.entry(flow.inside.port()).or_default().push(change);
                }
            }
            for (port, _) in (1_u16..).zip(&flows) {
                let changes = seen.get(&port).cloned().unwrap_or_default();
                prop_assert_eq!(changes, [Change::New, Change::Destroy], "flow {}", port);
            }
        }
    }

    #[test]
    fn what_had_ended_before_the_first_look_is_not_told_of() {
        let mut follower = Follower::default();
        assert_eq!(follower.look(Vec::new(), vec![record(1, 1, 2)], 500), []);
        assert_eq!(follower.look(Vec::new(), vec![record(1, 1, 2)], 1_000), []);
    }
}
