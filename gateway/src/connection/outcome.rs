//! What a socket waits for: answers of the backend, each with whom it is for.

use std::future::Future;
use std::task::{Context, Poll};

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use protocol::HeldStatus;
use tokio::task::coop::unconstrained;
use types::{Cursor, Refusal, RunId, StreamStart};

use crate::backend::{Appended, ChunkTaken, ReadReply, StreamInfo, WorkerPush};
use crate::inbox::Address;

/// An answer that has come.
#[derive(Debug)]
pub(super) enum Outcome {
    Appended {
        n: u64,
        result: Result<Appended, Refusal>,
    },
    Commanded {
        n: u64,
        result: Result<Done, Refusal>,
    },
    Opened {
        address: Address,
        start: StreamStart,
        first: bool,
        result: Result<StreamInfo, Refusal>,
    },
    Read {
        address: Address,
        from: Cursor,
        result: Result<ReadReply, Refusal>,
    },
    /// A pause is over.
    OpenAgain {
        address: Address,
        start: StreamStart,
        first: bool,
    },
    ReadAgain {
        address: Address,
    },
    PollAgain,
    Attached {
        result: Result<Vec<(String, HeldStatus)>, Refusal>,
    },
    Polled {
        result: Result<Vec<WorkerPush>, Refusal>,
    },
    Chunk {
        token: String,
        result: Result<ChunkTaken, Refusal>,
    },
    Result {
        token: String,
        result: Result<(), Refusal>,
    },
    Beat {
        token: String,
        result: Result<(), Refusal>,
    },
}

/// What a carried out command has to tell, besides that.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) run: Option<RunId>,
    pub(super) cursor: Option<Cursor>,
    pub(super) dup: bool,
}

/// Everything that is waited for. Dropping it gives up the answers, not the requests.
#[derive(Debug, Default)]
pub(super) struct Pending {
    futures: FuturesUnordered<BoxFuture<'static, Outcome>>,
    /// Something was added that has not been polled yet, so nobody would be woken for it.
    fresh: bool,
}

impl Pending {
    pub(super) fn push(&mut self, future: impl Future<Output = Outcome> + Send + 'static) {
        // How many there are is bounded, so they need no share of the task's turn of their own: with it, answers that
        // came together would go out in pieces.
        self.futures.push(Box::pin(unconstrained(future)));
        self.fresh = true;
    }

    pub(super) const fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// The next answer; once it is pending, everything has been polled.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        self.fresh = false;
        match self.futures.poll_next_unpin(cx) {
            Poll::Ready(Some(outcome)) => Poll::Ready(outcome),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}
