//! Connects, and connects again for as long as it takes.

use protocol::Sub;
use tokio::time::sleep;

use crate::backoff::Backoff;
use crate::chance;
use crate::connection::{Connection, Lost};
use crate::endpoint::Endpoint;
use crate::error::Error;

/// How one user of connections comes by them.
#[derive(Debug)]
pub(crate) struct Dialer {
    endpoint: Endpoint,
    client: String,
    backoff: Backoff,
}

impl Dialer {
    pub(crate) fn new(endpoint: Endpoint, client: String) -> Self {
        Self { endpoint, client, backoff: Backoff::default() }
    }

    /// One try, for a caller who wants to know now that nobody is there.
    pub(crate) async fn once(&self, subs: Vec<Sub>) -> Result<Connection, Error> {
        Connection::open(&self.endpoint, &self.client, subs).await
    }

    /// Waits as the loss and the tries so far call for. An error is final: coming back would not help.
    pub(crate) async fn pause(&mut self, lost: &Lost) -> Result<(), Error> {
        if lost.for_good {
            return Err(Error::not_understood(self.endpoint.as_str(), lost.reason.as_str()));
        }
        let pause = self.backoff.next(chance::bits()).max(lost.pause.unwrap_or_default());
        tracing::debug!(reason = lost.reason, pause_ms = pause.as_millis(), "connection lost");
        sleep(pause).await;
        Ok(())
    }

    /// Where the node is.
    pub(crate) fn server(&self) -> &str {
        self.endpoint.as_str()
    }

    /// The connection has proved useful.
    pub(crate) fn settled(&mut self) {
        self.backoff.reset();
    }
}

/// A failed try seen as another loss: an unreachable node may come back, one that speaks something else will not.
pub(crate) fn as_lost(error: &Error) -> Lost {
    let for_good = match error {
        Error::Unreachable { .. } | Error::Unanswered { .. } => false,
        Error::Refused(_) | Error::Problem(_) | Error::NotUnderstood { .. } | Error::Unusable(_) => true,
    };
    Lost { for_good, ..Lost::because(error.to_string()) }
}
