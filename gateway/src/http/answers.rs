//! Answers on their way out are counted until the peer has taken them: a peer that takes its time costs memory, and
//! there may be many.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use types::{Code, Refusal};

use crate::budget::{Budget, Full, Share, counted, unusual};
use crate::error::Problem;

/// What a client is told to wait when there is no room for its answer.
const PAUSE_MS: u64 = 1_000;

/// Marks an answer that nothing is lost with, though it was not asked for by a read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expendable;

/// The answer, counted. Where the node holds as many answers as it may, that of a read is refused instead, and one that
/// has begun ends; what acknowledges something is said in any case.
pub(super) fn count(response: Response, reads: bool, budget: &Arc<Budget>) -> Response {
    let expendable = reads || response.extensions().get::<Expendable>().is_some();
    let exact = response.body().size_hint().exact().map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    let whole = match exact.map(unusual) {
        Some(0) => return response,
        Some(bytes) => match budget.take(bytes) {
            Ok(share) => Some(Arc::new(share)),
            Err(Full) if expendable => return no_room().into_response(),
            Err(Full) => Some(Arc::new(budget.overdraw(bytes))),
        },
        None => None,
    };
    let budget = Arc::clone(budget);
    response.map(|body| Body::new(Counted { body, budget, whole }))
}

fn no_room() -> Problem {
    let message = "clients, or this connection alone, have still to take as many answers as there is memory for: take \
                   those, or try again after the pause";
    Refusal::new(Code::Unavailable, message).retry_after_ms(PAUSE_MS).into()
}

struct Counted {
    body: Body,
    budget: Arc<Budget>,
    /// Of the whole body, where its size was known.
    whole: Option<Arc<Share>>,
}

impl Counted {
    fn count(&self, piece: Bytes) -> Result<Bytes, axum::Error> {
        if let Some(share) = &self.whole {
            return Ok(counted(piece, share));
        }
        match unusual(piece.len()) {
            0 => Ok(piece),
            bytes => {
                let no_room = |Full| axum::Error::new("there is no memory for more of this answer");
                let share = Arc::new(self.budget.take(bytes).map_err(no_room)?);
                Ok(counted(piece, &share))
            }
        }
    }
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)) else { return Poll::Ready(None) };
        Poll::Ready(Some(frame.and_then(|frame| match frame.into_data() {
            Ok(piece) => self.count(piece).map(Frame::data),
            Err(trailers) => Ok(trailers),
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
