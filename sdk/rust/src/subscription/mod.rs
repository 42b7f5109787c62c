//! A stream followed across any number of reconnects: each event once, in order, or a gap that says what is missing.

mod chain;
mod credit;
mod task;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use protocol::{EndStatus, Event};
use tokio::sync::mpsc;
use types::{Code, Cursor, Offset, StreamName, StreamStart};

use crate::dialer::Dialer;
use crate::error::Error;
use crate::limits::{CREDIT_EVENTS, NOTICES};

use credit::Credit;

/// What to follow. The default is every event from the oldest kept one on.
#[derive(Clone, Debug)]
pub struct SubscribeOptions {
    pub from: StreamStart,
    /// Only events of these types, 1 to 32 of them; empty means all.
    pub types: Vec<String>,
}

impl Default for SubscribeOptions {
    fn default() -> Self {
        Self { from: StreamStart::Begin, types: Vec::new() }
    }
}

/// What a subscription has to say.
#[derive(Debug)]
pub enum Delivery {
    /// Where it stands, once, before anything else.
    Opened { cursor: Cursor, head: Offset },
    /// The next event.
    Event(Event),
    /// The filter left out what lies before this cursor: a reader is here though no event says so.
    Passed { cursor: Cursor },
    /// Events that the node cannot give: it goes on at `to`.
    Gap { from: Option<Cursor>, to: Cursor, reason: Code },
    /// The connection was lost and is being made again; nothing is missing because of it.
    Lost { reason: String },
    /// It goes on from this cursor.
    Resumed { cursor: Cursor },
    /// Nothing will follow, because of this.
    End { status: EndStatus },
}

/// A subscription. Dropping it ends it; it never affects the run or stream it follows.
#[derive(Debug)]
pub struct Subscription {
    items: mpsc::Receiver<Item>,
    credit: Arc<Credit>,
    counts: Arc<Counts>,
    cursor: Option<Cursor>,
}

/// What a subscription went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubscriptionStats {
    pub reconnects: u64,
    /// Events that came again and were dropped.
    pub repeats_dropped: u64,
    /// Batches that did not follow on what is here, so that it subscribed again.
    pub broken_chains: u64,
    pub gaps: u64,
}

#[derive(Debug, Default)]
struct Counts {
    reconnects: AtomicU64,
    repeats_dropped: AtomicU64,
    broken_chains: AtomicU64,
    gaps: AtomicU64,
}

/// A delivery with the place behind it and what it cost in credit.
#[derive(Debug)]
struct Item {
    delivery: Result<Delivery, Error>,
    cursor: Option<Cursor>,
    bytes: usize,
}

impl Subscription {
    /// Connects once; after that it goes on by itself.
    pub(crate) async fn open(dialer: Dialer, stream: StreamName, options: SubscribeOptions) -> Result<Self, Error> {
        // Under a filter each event may bring along the position that it was passed at.
        let (sender, items) = mpsc::channel(2 * CREDIT_EVENTS as usize + NOTICES);
        let (credit, counts) = (Arc::new(Credit::default()), Arc::new(Counts::default()));
        let follower = task::Follower::new(dialer, stream, options, sender, credit.clone(), counts.clone());
        let connection = follower.connect().await?;
        tokio::spawn(follower.run(connection));
        Ok(Self { items, credit, counts, cursor: None })
    }

    /// What comes next; `None` after the end or an error. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Result<Delivery, Error>> {
        let item = self.items.recv().await?;
        if item.cursor.is_some() {
            self.cursor = item.cursor;
        }
        if matches!(item.delivery, Ok(Delivery::Event(_))) {
            self.credit.consumed(item.bytes);
        }
        Some(item.delivery)
    }

    /// The place behind the last delivery: subscribe from it, also from another process, to go on.
    pub fn cursor(&self) -> Option<Cursor> {
        self.cursor
    }

    pub fn stats(&self) -> SubscriptionStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SubscriptionStats {
            reconnects: read(&self.counts.reconnects),
            repeats_dropped: read(&self.counts.repeats_dropped),
            broken_chains: read(&self.counts.broken_chains),
            gaps: read(&self.counts.gaps),
        }
    }
}
