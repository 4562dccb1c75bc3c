//! How a delivery fails, in AWS's three words and in one sentence.

use std::{error::Error, fmt, time::Duration};

/// Characters of what a server said that a sentence repeats.
const SAID_MAX: usize = 300;

/// Why a destination cannot be made of what was asked for.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DestinationError {
    /// Neither a URL nor an ARN.
    #[error("{0:?} is neither a URL nor an ARN ({1}): name a bucket or folder such as s3://bucket")]
    NotUrl(String, String),
    /// A URL of something else.
    #[error(
        "{0:?} is no place for objects: use s3://, gs://, az:// or file:/// or an ARN of a bucket"
    )]
    NoStore(String),
    /// An option that the kind of store does not know.
    #[error("{url} has no option {key:?}: see the keys of object_store's {kind} configuration")]
    NoSuchSetting {
        /// The destination.
        url: String,
        /// The option.
        key: String,
        /// The kind of store.
        kind: &'static str,
    },
    /// A delivery stream that is nothing here.
    #[error(
        "the delivery stream {0:?} has no endpoint on this host: add [[flow_logs.stream]] with its \
         name and URL to the agent's configuration, and reload it"
    )]
    NoStream(String),
    /// No collector.
    #[error("{0:?} is no IPFIX collector: write ipfix+udp://IP:PORT or ipfix+tcp://IP:PORT")]
    NotCollector(String),
    /// The endpoint.
    #[error("the endpoint {0:?} is no HTTP URL: write https://host or http://host")]
    NotEndpoint(String),
    /// A header cannot hold it.
    #[error("{0} has a character that no HTTP header can hold: use visible ASCII")]
    NotHeader(&'static str),
}

/// Why a delivery failed, as DescribeFlowLogs shows it in `deliverLogsErrorMessage`.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_FlowLog.html>
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeliveryFailure {
    /// Somebody has to permit it, or to make what it goes to.
    AccessError,
    /// Too much at once: later it may go.
    RateLimited,
    /// Everything else.
    Unknown,
}

impl fmt::Display for DeliveryFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AccessError => "Access error",
            Self::RateLimited => "Rate limited",
            Self::Unknown => "Unknown error",
        })
    }
}

/// A parcel that was not delivered.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct DeliveryError {
    kind: DeliveryFailure,
    message: String,
}

impl DeliveryError {
    /// What DescribeFlowLogs shows.
    pub const fn kind(&self) -> DeliveryFailure {
        self.kind
    }

    /// One sentence: what, why, and what to do.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// `what cannot be written (why): remedy`.
    pub(super) fn new(
        kind: DeliveryFailure,
        what: impl fmt::Display,
        why: impl fmt::Display,
        remedy: &str,
    ) -> Self {
        let message = format!("{what} cannot be written ({why}): {remedy}");
        Self { kind, message }
    }

    /// The server did not answer.
    pub(super) fn timeout(what: impl fmt::Display, timeout: Duration) -> Self {
        let why = format!("no answer within {} s", timeout.as_secs_f32());
        let remedy = "see whether the server is overloaded or a firewall drops its packets";
        Self::new(DeliveryFailure::Unknown, what, why, remedy)
    }

    /// No answer came, for a reason below HTTP.
    pub(super) fn transport(what: impl fmt::Display, why: &str) -> Self {
        let about_tls = ["certificate", "tls", "handshake"];
        let lower = why.to_ascii_lowercase();
        let remedy = if about_tls.iter().any(|word| lower.contains(word)) {
            "have this host trust the issuer of the server's certificate, or correct the endpoint"
        } else {
            "check the endpoint, and that this host reaches it"
        };
        Self::new(DeliveryFailure::Unknown, what, why, remedy)
    }
}

/// The innermost cause, which tells most: above it are the names of layers.
pub(super) fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    one_line(&innermost.to_string())
}

/// What a server said, fit for a sentence.
pub(super) fn one_line(said: &str) -> String {
    let mut line = String::new();
    let words = said.split(|c: char| c.is_whitespace() || c.is_control());
    for word in words.filter(|word| !word.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        line += word;
        if let Some((end, _)) = line.char_indices().nth(SAID_MAX) {
            line.truncate(end);
            line.push('…');
            break;
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_a_server_says_is_one_short_line(said in any::<String>()) {
            let line = one_line(&said);
            prop_assert!(!line.contains(char::is_control));
            prop_assert!(line.chars().count() <= SAID_MAX + 1);
            prop_assert_eq!(one_line(&line), line);
        }
    }

    #[test]
    fn kinds_are_awss_words() {
        use DeliveryFailure::{AccessError, RateLimited, Unknown};
        let words = [AccessError, RateLimited, Unknown].map(|kind| kind.to_string());
        assert_eq!(words, ["Access error", "Rate limited", "Unknown error"]);
    }
}
