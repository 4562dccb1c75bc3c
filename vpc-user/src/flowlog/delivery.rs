//! Delivering what is in a spool, in order, again and again until it arrives.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::timeout};

use super::{
    destination::{DeliveryFailure, Destination, DestinationError},
    spool::{Number, Parcel, Spool, SpoolError},
};

/// How long to wait after the first failure; twice as long after each further one,
const BACKOFF_MIN: Duration = Duration::from_secs(1);
/// up to this.
const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// What delivery has come to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// A parcel was delivered.
    Delivered,
    /// A parcel was not, and is tried again.
    Failed {
        /// In AWS's words.
        failure: String,
        /// In ours.
        message: String,
    },
}

/// Is told what deliveries have come to, by the flow log's id.
pub type Told = Arc<dyn Fn(&str, Outcome) + Send + Sync>;

/// Up to where parcels are ready.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ready {
    /// Parcels of files of the journal before this one.
    pub before: u64,
    /// The flow log is no more: what cannot be delivered at once is given up.
    pub is_last: bool,
}

/// Delivers the parcels of one flow log, for as long as it is told of new ones.
pub async fn deliver(
    id: String,
    spool: Spool,
    destination: Result<Destination, DestinationError>,
    mut ready: watch::Receiver<Ready>,
    told: Told,
) {
    let mut destination = destination.map_err(|error| error.to_string());
    loop {
        let Ready { before, is_last } = *ready.borrow_and_update();
        let mut backoff = BACKOFF_MIN;
        while let Some(number) = next(&id, &spool, before).await {
            match attempt(&spool, number, &mut destination).await {
                Ok(()) => {
                    backoff = BACKOFF_MIN;
                    told(&id, Outcome::Delivered);
                }
                Err((failure, message)) => {
                    let failure = failure.to_string();
                    told(&id, Outcome::Failed { failure, message });
                    if is_last || ready.borrow().is_last {
                        break;
                    }
                    // Only an end of the flow log is worth looking at earlier.
                    let ends = ready.wait_for(|ready| ready.is_last);
                    if let Ok(Err(_)) = timeout(backoff, ends).await {
                        return;
                    }
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                }
            }
        }
        if is_last {
            if let Err(error) = spool.destroy() {
                tracing::warn!(flow_log = id, %error, "the spool of a flow log stays");
            }
            return;
        }
        if ready.changed().await.is_err() {
            return;
        }
    }
}

/// The oldest parcel that is ready.
async fn next(id: &str, spool: &Spool, before: u64) -> Option<Number> {
    let listed = blocking(spool, Spool::list).await;
    match listed {
        Ok(parcels) => {
            let mut numbers = parcels.into_iter().map(|(number, _)| number);
            numbers.find(|number| number.journal < before)
        }
        Err(error) => {
            tracing::warn!(flow_log = id, %error, "what is to be delivered is not known");
            None
        }
    }
}

async fn attempt(
    spool: &Spool,
    number: Number,
    destination: &mut Result<Destination, String>,
) -> Result<(), (DeliveryFailure, String)> {
    let unknown = |error: SpoolError| (DeliveryFailure::Unknown, error.to_string());
    let parcel = blocking(spool, move |spool| spool.read(number)).await;
    // Dropped meanwhile, because the spool is full.
    let Some(parcel): Option<Parcel> = parcel.map_err(unknown)? else {
        return Ok(());
    };
    match destination {
        Ok(destination) => destination
            .deliver(&parcel)
            .await
            .map_err(|error| (error.kind(), error.to_string()))?,
        Err(message) => return Err((DeliveryFailure::AccessError, message.clone())),
    }
    blocking(spool, move |spool| spool.remove(number))
        .await
        .map_err(unknown)
}

/// Reads or writes files where nobody else has to wait for it.
async fn blocking<T: Send + 'static>(
    spool: &Spool,
    work: impl FnOnce(&Spool) -> Result<T, SpoolError> + Send + 'static,
) -> Result<T, SpoolError> {
    let spool = spool.clone();
    let work = tokio::task::spawn_blocking(move || work(&spool));
    work.await
        .unwrap_or_else(|error| Err(SpoolError::gone(error)))
}
