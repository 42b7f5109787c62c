//! What can go wrong between a client and its node, as sentences for the one who must act.

use thiserror::Error;
use types::{Code, Refusal};

use crate::http::Problem;

/// Why something asked of a node did not happen.
#[derive(Debug, Error)]
pub enum Error {
    /// Nothing answers there. Nothing happened; try again when it does.
    #[error("{server} cannot be reached ({cause}); is the node running there?")]
    Unreachable { server: String, cause: String },
    /// The node said no, and why. Its code says whether to try again.
    #[error("{0}")]
    Refused(Refusal),
    /// The node answered over HTTP with a problem.
    #[error("{0}")]
    Problem(Box<Problem>),
    /// The connection ended before the answer. Whether it happened is not known; ask, or repeat with the same key.
    #[error("the answer of {server} was lost ({cause}); it may have happened: ask, or repeat with the same key")]
    Unanswered { server: String, cause: String },
    /// The other side does not speak this protocol, or another version of it.
    #[error("{server} does not answer like a Headwater node: {cause}")]
    NotUnderstood { server: String, cause: String },
    /// The request itself cannot be sent.
    #[error("{0}")]
    Unusable(String),
}

impl Error {
    /// The node's stable code, where it gave one.
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Refused(refusal) => Some(refusal.code),
            Self::Problem(problem) => problem.code,
            Self::Unreachable { .. } | Self::Unanswered { .. } | Self::NotUnderstood { .. } | Self::Unusable(_) => None,
        }
    }

    pub(crate) fn not_understood(server: &str, cause: impl Into<String>) -> Self {
        Self::NotUnderstood { server: server.to_owned(), cause: cause.into() }
    }

    pub(crate) fn unreachable(server: &str, cause: impl Into<String>) -> Self {
        Self::Unreachable { server: server.to_owned(), cause: cause.into() }
    }
}
