//! Follows a stream in the background: connects, checks, delivers, tops up credit, and starts again when it must.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use protocol::{ClientFrame, Credit as CreditFrame, EndStatus, Filter, ServerFrame, Sub};
use tokio::sync::mpsc;
use types::{Code, Cursor, Refusal, StreamName};

use super::chain::{Broken, Chain, Verdict};
use super::credit::Credit;
use super::{Counts, Delivery, Item, SubscribeOptions};
use crate::connection::{Connection, Incoming, Lost};
use crate::dialer::{Dialer, as_lost};
use crate::error::Error;

/// The one subscription of its connection.
const ID: u32 = 1;

pub(super) struct Follower {
    dialer: Dialer,
    stream: StreamName,
    types: Vec<String>,
    chain: Chain,
    items: mpsc::Sender<Item>,
    credit: Arc<Credit>,
    counts: Arc<Counts>,
    opened: bool,
}

/// Why a connection is no longer followed.
enum Stop {
    /// Try again from the own position.
    Again(Lost),
    /// Everything was said.
    Finished,
    /// It cannot go on.
    Failed(Error),
}

impl From<Lost> for Stop {
    fn from(lost: Lost) -> Self {
        Self::Again(lost)
    }
}

impl Follower {
    pub(super) fn new(
        dialer: Dialer,
        stream: StreamName,
        options: SubscribeOptions,
        items: mpsc::Sender<Item>,
        credit: Arc<Credit>,
        counts: Arc<Counts>,
    ) -> Self {
        let chain = Chain::new(options.from, !options.types.is_empty());
        Self { dialer, stream, types: options.types, chain, items, credit, counts, opened: false }
    }

    pub(super) async fn connect(&self) -> Result<Connection, Error> {
        let waiting = self.items.max_capacity() - self.items.capacity();
        let filter = (!self.types.is_empty()).then(|| Filter { types: self.types.clone() });
        let credit = self.credit.fresh(waiting);
        let sub = Sub { id: ID, stream: self.stream.clone(), from: self.chain.from(), filter, credit };
        self.dialer.once(vec![sub]).await
    }

    pub(super) async fn run(mut self, first: Connection) {
        let mut connection = first;
        loop {
            let lost = match self.follow(connection).await {
                Stop::Again(lost) => lost,
                Stop::Finished => return,
                Stop::Failed(error) => return self.fail(error).await,
            };
            self.deliver(Ok(Delivery::Lost { reason: lost.reason.clone() }), None, 0).await;
            connection = match self.reconnect(lost).await {
                Ok(Some(connection)) => connection,
                Ok(None) => return,
                Err(error) => return self.fail(error).await,
            };
        }
    }

    /// Tries until it works; `None` when nobody listens any more.
    async fn reconnect(&mut self, mut lost: Lost) -> Result<Option<Connection>, Error> {
        self.chain.disconnected();
        self.counts.reconnects.fetch_add(1, Ordering::Relaxed);
        loop {
            tokio::select! {
                paused = self.dialer.pause(&lost) => paused?,
                () = self.items.closed() => return Ok(None),
            }
            match self.connect().await {
                Ok(connection) => return Ok(Some(connection)),
                Err(error) => lost = as_lost(&error),
            }
        }
    }

    async fn follow(&mut self, mut connection: Connection) -> Stop {
        loop {
            let step = tokio::select! {
                incoming = connection.next() => match incoming {
                    Ok(incoming) => self.take(incoming).await,
                    Err(lost) => Err(Stop::Again(lost)),
                },
                () = self.credit.worth_telling() => self.top_up(&connection).await,
                () = self.items.closed() => Err(Stop::Finished),
            };
            if let Err(stop) = step {
                return stop;
            }
        }
    }

    async fn top_up(&self, connection: &Connection) -> Result<(), Stop> {
        let outgoing = connection.outgoing();
        let permit = outgoing.reserve().await?;
        if let Some(amount) = self.credit.take() {
            let frame = CreditFrame { id: ID, events: amount.events, bytes: amount.bytes };
            permit.send(ClientFrame::Credit(frame).encode());
        }
        Ok(())
    }

    async fn take(&mut self, incoming: Incoming) -> Result<(), Stop> {
        let before = self.chain.position();
        match incoming {
            Incoming::Event(event, bytes) => match self.chain.event(&event) {
                Ok(Verdict::Deliver(cursor)) => {
                    self.dialer.settled();
                    self.deliver(Ok(Delivery::Event(event)), Some(cursor), bytes).await;
                    self.passed(Some(cursor)).await;
                    Ok(())
                }
                Ok(Verdict::Repeat) => {
                    self.counts.repeats_dropped.fetch_add(1, Ordering::Relaxed);
                    self.credit.consumed(bytes);
                    self.passed(before).await;
                    Ok(())
                }
                Err(broken) => Err(self.broken(broken)),
            },
            Incoming::Frame(frame) => self.take_frame(frame).await,
        }
    }

    async fn take_frame(&mut self, frame: ServerFrame) -> Result<(), Stop> {
        match frame {
            ServerFrame::Subbed { cursor, head, resumed, .. } => {
                self.chain.subbed(cursor, resumed).map_err(|broken| self.broken(broken))?;
                let position = self.chain.position().unwrap_or(cursor);
                let opened = std::mem::replace(&mut self.opened, true);
                let notice =
                    if opened { Delivery::Resumed { cursor: position } } else { Delivery::Opened { cursor, head } };
                self.deliver(Ok(notice), Some(position), 0).await;
            }
            ServerFrame::Batch { prev, cursor, n, .. } => {
                let before = self.chain.position();
                self.chain.batch(prev, cursor, n).map_err(|broken| self.broken(broken))?;
                self.passed(before).await;
            }
            ServerFrame::Mark { cursor, .. } => {
                let before = self.chain.position();
                self.chain.mark(cursor).map_err(|broken| self.broken(broken))?;
                self.passed(before).await;
            }
            ServerFrame::Gap { from, to, reason, .. } => {
                self.counts.gaps.fetch_add(1, Ordering::Relaxed);
                self.chain.moved(to);
                self.deliver(Ok(Delivery::Gap { from, to, reason }), Some(to), 0).await;
            }
            ServerFrame::End { status, cursor, .. } => return Err(self.end(status, cursor).await),
            ServerFrame::Err { code, message, id: Some(ID), retry_ms } => return Err(refused(code, message, retry_ms)),
            ServerFrame::Err { code, message, .. } => tracing::warn!(%code, message, "the node complains"),
            ServerFrame::Welcome { .. }
            | ServerFrame::Done { .. }
            | ServerFrame::Refused { .. }
            | ServerFrame::Task(_)
            | ServerFrame::Held { .. }
            | ServerFrame::Took { .. }
            | ServerFrame::Untaken { .. }
            | ServerFrame::Cancel { .. }
            | ServerFrame::Goaway { .. }
            | ServerFrame::Pong { .. } => {
                return Err(Stop::Again(Lost::because("the node sent a frame that belongs to no subscription")));
            }
        }
        Ok(())
    }

    /// Says where the filter has led to, if that is further than this.
    async fn passed(&self, before: Option<Cursor>) {
        if let Some(cursor) = self.chain.position().filter(|_| self.chain.position() != before) {
            self.deliver(Ok(Delivery::Passed { cursor }), Some(cursor), 0).await;
        }
    }

    async fn end(&mut self, status: EndStatus, cursor: Option<Cursor>) -> Stop {
        if status == EndStatus::NotFound {
            let message = format!("there is no stream {:?}: create it, or append to it, first", self.stream.as_str());
            return Stop::Failed(Error::Refused(Refusal::new(Code::StreamNotFound, message)));
        }
        self.deliver(Ok(Delivery::End { status }), cursor, 0).await;
        Stop::Finished
    }

    fn broken(&self, broken: Broken) -> Stop {
        self.counts.broken_chains.fetch_add(1, Ordering::Relaxed);
        Stop::Again(Lost::because(broken.0))
    }

    async fn fail(&self, error: Error) {
        self.deliver(Err(error), None, 0).await;
    }

    /// Waits while the application is behind; when it is gone, `items.closed()` ends the task.
    async fn deliver(&self, delivery: Result<Delivery, Error>, cursor: Option<Cursor>, bytes: usize) {
        let _ = self.items.send(Item { delivery, cursor, bytes }).await;
    }
}

/// A complaint about the subscription itself: later, where the node says when, else for good.
fn refused(code: Code, message: String, retry_ms: Option<u64>) -> Stop {
    match retry_ms {
        Some(millis) => {
            let pause = Some(std::time::Duration::from_millis(millis));
            Stop::Again(Lost { pause, ..Lost::because(format!("{message} ({code})")) })
        }
        None => Stop::Failed(Error::Refused(Refusal::new(code, message))),
    }
}
