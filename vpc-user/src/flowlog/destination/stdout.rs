//! Lines on standard output.

use std::io::{self, Write as _};

use bytes::Bytes;

use super::{DeliveryError, DeliveryFailure, Parcel, error};

/// Standard output. A parcel's body is written as it is, and an end of line if it lacks one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stdout;

impl Stdout {
    /// Delivers a parcel, see [`Destination::deliver`](super::Destination::deliver). Waits as long
    /// as the reader does not read.
    pub(super) async fn deliver(self, parcel: &Parcel) -> Result<(), DeliveryError> {
        let body = parcel.body.clone();
        let written = tokio::task::spawn_blocking(move || write(&body)).await;
        let written = written.unwrap_or_else(|error| Err(io::Error::other(error)));
        written.map_err(|cause| {
            let remedy = match cause.kind() {
                io::ErrorKind::BrokenPipe => "start what reads it again, and this with it",
                io::ErrorKind::StorageFull => "make room where it goes to",
                _ => "check where it goes to",
            };
            let why = error::innermost(&cause);
            DeliveryError::new(DeliveryFailure::Unknown, "standard output", why, remedy)
        })
    }
}

/// Nothing else gets between the lines of a parcel.
fn write(body: &Bytes) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(body)?;
    if !body.is_empty() && !body.ends_with(b"\n") {
        stdout.write_all(b"\n")?;
    }
    stdout.flush()
}
