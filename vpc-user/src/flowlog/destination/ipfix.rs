//! Events of the NAT for an IPFIX collector.

use super::{DeliveryError, DeliveryFailure, Parcel, lines};
use crate::flowlog::ipfix::{Collector, Event, Exporter};

/// Events that are sent at once.
const BATCH: usize = 10_000;

/// A collector. A parcel's body has an [`Event`] a line, as JSON.
#[derive(Debug)]
pub struct Ipfix {
    collector: Collector,
    exporter: Option<Exporter>,
}

impl Ipfix {
    /// The collector at an address.
    pub const fn new(collector: Collector) -> Self {
        Self {
            collector,
            exporter: None,
        }
    }

    /// Delivers a parcel, see [`Destination::deliver`](super::Destination::deliver). Over UDP
    /// nothing tells whether a message has arrived; a port on which nobody listens is noticed
    /// with the message after.
    pub(super) async fn deliver(&mut self, parcel: &Parcel) -> Result<(), DeliveryError> {
        let Collector {
            address, protocol, ..
        } = self.collector;
        let what = format!("the IPFIX collector {address} over {protocol}");
        let failed = |why: String| {
            let remedy = "see whether it runs and listens there";
            DeliveryError::new(DeliveryFailure::Unknown, &what, why, remedy)
        };
        let mut events = Vec::new();
        for line in lines(&parcel.body) {
            match serde_json::from_slice::<Event>(line) {
                Ok(event) => events.push(event),
                Err(error) => tracing::error!(parcel = parcel.name, %error, "a line is no event"),
            }
        }
        if self.exporter.is_none() {
            let connected = Exporter::connect(self.collector).await;
            self.exporter = Some(connected.map_err(|error| failed(error.to_string()))?);
        }
        let Some(exporter) = &mut self.exporter else {
            return Ok(());
        };
        for batch in events.chunks(BATCH) {
            if let Err(error) = exporter.send(batch).await {
                self.exporter = None;
                return Err(failed(error.to_string()));
            }
        }
        Ok(())
    }
}
