//! From the journal to events of the NAT: sessions that were made and deleted, and who had
//! nothing left.

use std::sync::Arc;

use vpc_common::drop::DropReason;

use super::{
    Environment, Interval, Place,
    ipfix::{Event, NatEvent, Session},
    journal::{ExhaustedEntry, FlowEntry, JournalError},
};

/// Every event of an interval; those of a flow in order.
pub fn nat_events(interval: &Interval, mut take: impl FnMut(Event)) -> Result<(), JournalError> {
    interval.flows(|entry, place, environment| {
        let session = || session(entry, place, environment);
        if entry.is_first {
            take(Event {
                time: entry.created,
                what: NatEvent::SessionCreate(session()),
            });
        }
        if entry.is_last {
            take(Event {
                time: entry.told,
                what: NatEvent::SessionDelete(session()),
            });
        }
    })?;
    interval.exhausted(|entry, place, environment| {
        let what = exhausted(entry, place, environment);
        if let Some(what) = what {
            let time = entry.at;
            take(Event { time, what });
        }
    })
}

/// Of a group without a port the group is told of, and each ENI that has none.
fn exhausted(
    entry: &ExhaustedEntry,
    place: Option<&Arc<Place>>,
    environment: Option<&Arc<Environment>>,
) -> Option<NatEvent> {
    let environment = || environment.map_or_else(|| Arc::new(Environment::unknown()), Arc::clone);
    Some(match (DropReason::from_number(entry.reason)?, place) {
        (DropReason::PortsExhausted, Some(place)) => NatEvent::PortsExhausted {
            place: Arc::clone(place),
            protocol: entry.protocol,
        },
        (DropReason::PortsExhausted, None) => NatEvent::AddressesExhausted { pool: entry.group },
        (DropReason::SlabExhausted, _) => NatEvent::SessionsExceeded { limit: entry.limit },
        (DropReason::EnvironmentQuota, _) => NatEvent::UserEntriesExceeded {
            environment: environment(),
            limit: entry.limit,
        },
        _ => return None,
    })
}

fn session(
    entry: &FlowEntry,
    place: &Arc<Place>,
    environment: Option<&Arc<Environment>>,
) -> Session {
    Session {
        protocol: entry.protocol,
        environment: environment.map_or_else(|| Arc::new(Environment::unknown()), Arc::clone),
        inside_port: entry.inside_port,
        place: Arc::clone(place),
        outside_port: entry.outside_port,
        remote: entry.remote,
        remote_port: entry.remote_port,
    }
}
