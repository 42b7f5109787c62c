//! Memory for what clients have begun to send and the node has not finished with: messages and bodies on their way in.
//! One budget for all connections, so that many unfinished uploads together cost no more than one node can give.
//!
//! Who finds no room waits, and is not read from meanwhile. Since those that wait may hold some of it already, there is a
//! last place besides: whoever has it takes what it needs, so that always one of them can finish. And what comes slowly
//! gives back what it holds as soon as somebody waits for it.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use crate::limits::Limits;
use crate::metrics::IntGauge;

/// What each connection may have on its way in without asking, in bytes: nearly every message fits.
const FREE_BYTES: usize = 16 * 1024;
/// The budget is given out in pieces of so many bytes.
const PIECE_BYTES: usize = 4 * 1024;
/// One connection, which may carry many requests, has at most this part of the budget.
const CONNECTIONS: usize = 8;
/// Requests of one connection that wait for room at a time. What is not read of them uses up what their connection may
/// send: with two of them there is room for the others, which go on.
const WAITING_OF_CONNECTION: usize = 2;

/// The budget of a node.
#[derive(Clone, Debug)]
pub(crate) struct Inbound {
    pieces: Arc<Semaphore>,
    last_place: Arc<Semaphore>,
    /// Of one connection, in pieces.
    share: usize,
    patience: Duration,
    /// How many wait for room.
    waiting: Arc<AtomicUsize>,
    pace_bytes: usize,
    pace_time: Duration,
    /// Shows what is held of it.
    gauge: IntGauge,
}

/// What one connection may have of it.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    inbound: Inbound,
    share: Arc<Semaphore>,
    turns: Arc<Semaphore>,
}

/// Nothing more is taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoRoom {
    /// The budget was used up for as long as one waits.
    Node,
    /// The connection's own share is used up, or as many of its requests wait for room as may.
    Connection,
    /// Others wait for what it held, and it came too slowly.
    Slow,
}

/// One that waits for room, as long as it does.
struct Waits(Arc<AtomicUsize>);

impl Waits {
    fn new(waiting: &Arc<AtomicUsize>) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(waiting))
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How fast something comes, looked at again and again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    since: Instant,
    brought: usize,
    least: usize,
    time: Duration,
}

impl Pace {
    /// When it is looked at.
    pub(crate) fn over(&self) -> Instant {
        self.since + self.time
    }

    pub(crate) fn brought(&mut self, bytes: usize) {
        self.brought = self.brought.saturating_add(bytes);
    }

    /// It was not read for so long.
    pub(crate) fn paused(&mut self, time: Duration) {
        self.since += time;
    }

    /// Whether too little came since the last look.
    pub(crate) fn look(&mut self, now: Instant) -> bool {
        let slow = self.brought < self.least;
        (self.since, self.brought) = (now, 0);
        slow
    }
}

/// What one message, or one request, holds of it. Dropping it gives all of that back.
#[derive(Debug)]
pub(crate) struct Held {
    of: Connection,
    /// Of the connection's share.
    share: Option<OwnedSemaphorePermit>,
    pieces: Option<OwnedSemaphorePermit>,
    /// With it no more pieces are needed.
    last_place: Option<OwnedSemaphorePermit>,
    bytes: usize,
    /// What the gauge shows of it.
    shown: usize,
    /// How long it may still wait for room, in all.
    patience: Duration,
}

impl Inbound {
    /// The gauge shows what is held.
    pub(crate) fn of(limits: &Limits, gauge: IntGauge) -> Self {
        let largest = limits.request_bytes.max(limits.message_bytes);
        let Limits { pace_bytes, pace_time, .. } = *limits;
        Self { pace_bytes, pace_time, ..Self::new(limits.inbound_bytes, largest, limits.room_time, gauge) }
    }

    /// So many bytes, `largest` of them for whoever has the last place; one waits so long.
    fn new(bytes: usize, largest: usize, patience: Duration, gauge: IntGauge) -> Self {
        let pieces = bytes.saturating_sub(largest) / PIECE_BYTES;
        let share = (bytes / CONNECTIONS).max(largest) / PIECE_BYTES;
        Self {
            pieces: Arc::new(Semaphore::new(pieces)),
            last_place: Arc::new(Semaphore::new(1)),
            share,
            patience,
            waiting: Arc::default(),
            pace_bytes: 0,
            pace_time: patience,
            gauge,
        }
    }

    pub(crate) fn connection(&self) -> Connection {
        let turns = Arc::new(Semaphore::new(WAITING_OF_CONNECTION));
        Connection { inbound: self.clone(), share: Arc::new(Semaphore::new(self.share)), turns }
    }
}

impl Connection {
    pub(crate) fn hold(&self) -> Held {
        Held {
            of: self.clone(),
            share: None,
            pieces: None,
            last_place: None,
            bytes: 0,
            shown: 0,
            patience: self.inbound.patience,
        }
    }

    /// Something begins to come.
    pub(crate) fn pace(&self) -> Pace {
        let Inbound { pace_bytes: least, pace_time: time, .. } = self.inbound;
        Pace { since: Instant::now(), brought: 0, least, time }
    }
}

impl Held {
    /// Has room for so many bytes more; waits for it.
    pub(crate) async fn grow(&mut self, bytes: usize) -> Result<(), NoRoom> {
        self.bytes += bytes;
        let needed = self.bytes.saturating_sub(FREE_BYTES).div_ceil(PIECE_BYTES);
        let held = self.share.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        if needed <= held {
            return Ok(());
        }
        let missing = u32::try_from(needed - held).map_err(|_| NoRoom::Connection)?;
        let share = Arc::clone(&self.of.share).try_acquire_many_owned(missing).map_err(|_| NoRoom::Connection)?;
        merge(&mut self.share, share);
        if self.last_place.is_some() {
            self.show();
            return Ok(());
        }
        let Inbound { pieces, last_place, waiting, .. } = &self.of.inbound;
        if let Ok(more) = Arc::clone(pieces).try_acquire_many_owned(missing) {
            merge(&mut self.pieces, more);
            self.show();
            return Ok(());
        }
        let _turn = Arc::clone(&self.of.turns).try_acquire_owned().map_err(|_| NoRoom::Connection)?;
        let waits = Waits::new(waiting);
        let began = Instant::now();
        let waited = timeout(self.patience, async {
            tokio::select! {
                more = Arc::clone(pieces).acquire_many_owned(missing) => (more.ok(), None),
                last = Arc::clone(last_place).acquire_owned() => (None, last.ok()),
            }
        });
        let (more, last) = waited.await.map_err(|_| NoRoom::Node)?;
        drop(waits);
        self.patience = self.patience.saturating_sub(began.elapsed());
        if let Some(more) = more {
            merge(&mut self.pieces, more);
        }
        self.last_place = last;
        self.show();
        Ok(())
    }

    /// Nothing is on its way any more.
    pub(crate) fn clear(&mut self) {
        (self.share, self.pieces, self.last_place, self.bytes) = (None, None, None, 0);
        self.patience = self.of.inbound.patience;
        self.show();
    }

    fn show(&mut self) {
        let (gauge, shown) = (&self.of.inbound.gauge, if self.holds() { self.bytes } else { 0 });
        gauge.sub(i64::try_from(self.shown).unwrap_or(i64::MAX));
        gauge.add(i64::try_from(shown).unwrap_or(i64::MAX));
        self.shown = shown;
    }

    const fn holds(&self) -> bool {
        self.pieces.is_some() || self.last_place.is_some()
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Somebody waits for room, of which this holds some.
    pub(crate) fn is_in_the_way(&self) -> bool {
        self.holds() && self.of.inbound.waiting.load(Ordering::Relaxed) > 0
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.clear();
    }
}

fn merge(held: &mut Option<OwnedSemaphorePermit>, more: OwnedSemaphorePermit) {
    match held {
        Some(permit) => permit.merge(more),
        None => *held = Some(more),
    }
}

tokio::task_local! {
    /// What the HTTP request that this task answers holds; `None` while it waits for more.
    static REQUEST: RefCell<Option<Held>>;
}

/// Answers an HTTP request; what its body takes is held until it is answered, decided on and durable.
pub(crate) async fn during<T>(connection: &Connection, answering: impl Future<Output = T>) -> T {
    REQUEST.scope(RefCell::new(Some(connection.hold())), answering).await
}

/// So many bytes more of the request's body came in; none are read until there is room for these.
pub(crate) async fn body_grew(bytes: usize) -> Result<(), NoRoom> {
    let Some(mut held) = REQUEST.with(RefCell::take) else { return Err(NoRoom::Connection) };
    let grown = held.grow(bytes).await;
    REQUEST.with(|request| request.replace(Some(held)));
    grown
}

/// The request's body begins to come.
pub(crate) fn body_pace() -> Option<Pace> {
    REQUEST.with(|request| request.borrow().as_ref().map(|held| held.of.pace()))
}

/// Whether others wait for what the request's body holds.
pub(crate) fn body_is_in_the_way() -> bool {
    REQUEST.with(|request| request.borrow().as_ref().is_some_and(Held::is_in_the_way))
}

/// The request's body is thrown away.
pub(crate) fn body_dropped() {
    REQUEST.with(|request| {
        if let Some(held) = request.borrow_mut().as_mut() {
            held.clear();
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In a test it never comes.
    const NEVER: Duration = Duration::from_hours(1);
    const LARGEST: usize = FREE_BYTES + 8 * PIECE_BYTES;

    fn inbound(pieces: usize, patience: Duration) -> Inbound {
        let gauge = IntGauge::new("held", "held").expect("a name");
        Inbound::new(LARGEST + pieces * PIECE_BYTES, LARGEST, patience, gauge)
    }

    #[tokio::test]
    async fn what_is_small_is_free_and_what_is_large_is_shared_out() {
        let inbound = inbound(3, Duration::ZERO);
        let [mut small, mut large, mut last, mut late] = [(); 4].map(|()| inbound.connection().hold());
        assert_eq!(small.grow(FREE_BYTES).await, Ok(()));
        assert_eq!(large.grow(FREE_BYTES + 1).await, Ok(()));
        assert_eq!(large.grow(2 * PIECE_BYTES).await, Ok(()), "all three pieces, one of them begun");
        assert_eq!(last.grow(FREE_BYTES + 5 * PIECE_BYTES).await, Ok(()), "the last place");
        assert_eq!((late.grow(FREE_BYTES).await, late.grow(1).await), (Ok(()), Err(NoRoom::Node)));
        large.clear();
        assert_eq!(small.grow(PIECE_BYTES).await, Ok(()));
        assert!(inbound.gauge.get() > 0);
        drop((small, last, late));
        assert_eq!(inbound.gauge.get(), 0);
        assert_eq!(inbound.pieces.available_permits(), 3, "all of it came back");
        assert_eq!(inbound.last_place.available_permits(), 1);
    }

    /// Each has some of it and needs more: without a last place all would wait for ever.
    #[tokio::test]
    async fn of_many_that_hold_some_and_need_more_each_comes_to_its_end() {
        let inbound = inbound(4, NEVER);
        let mut uploads = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let mut held = inbound.connection().hold();
            uploads.spawn(async move {
                held.grow(FREE_BYTES).await.expect("free");
                for _ in 0..8 {
                    held.grow(PIECE_BYTES).await.expect("it waits");
                    tokio::task::yield_now().await;
                }
            });
        }
        uploads.join_all().await;
        assert_eq!(inbound.pieces.available_permits(), 4);
    }

    #[tokio::test]
    async fn who_waits_is_given_room_in_turn() {
        let inbound = inbound(0, NEVER);
        let mut first = inbound.connection().hold();
        first.grow(FREE_BYTES + 1).await.expect("the last place");
        let mut second = inbound.connection().hold();
        let mut waiting = std::pin::pin!(second.grow(FREE_BYTES + 1));
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        drop(first);
        assert_eq!(waiting.await, Ok(()));
    }

    #[tokio::test]
    async fn of_one_connection_only_some_wait_so_that_its_other_requests_go_on() {
        let inbound = inbound(0, NEVER);
        let mut first = inbound.connection().hold();
        first.grow(FREE_BYTES + 1).await.expect("the last place");
        let connection = inbound.connection();
        let [mut one, mut two, mut three] = [(); 3].map(|()| connection.hold());
        let mut waiting = [std::pin::pin!(one.grow(FREE_BYTES + 1)), std::pin::pin!(two.grow(FREE_BYTES + 1))];
        for waits in &mut waiting {
            assert!(futures_util::poll!(waits.as_mut()).is_pending());
        }
        assert_eq!(three.grow(FREE_BYTES + 1).await, Err(NoRoom::Connection), "refused at once");
        assert!(first.is_in_the_way());
        first.clear();
        let [one, two] = waiting;
        assert_eq!(one.await, Ok(()));
        assert!(futures_util::poll!(two).is_pending());
        assert_eq!(inbound.waiting.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn one_connection_takes_no_more_than_its_share() {
        let inbound = inbound(1_000, NEVER);
        let greedy = inbound.connection();
        let mut requests = Vec::new();
        loop {
            let mut held = greedy.hold();
            match held.grow(FREE_BYTES + 8 * PIECE_BYTES).await {
                Ok(()) => requests.push(held),
                Err(no_room) => break assert_eq!(no_room, NoRoom::Connection),
            }
        }
        assert!(inbound.pieces.available_permits() > 800, "{}", inbound.pieces.available_permits());
        assert_eq!(inbound.connection().hold().grow(FREE_BYTES + 8 * PIECE_BYTES).await, Ok(()), "others have room");
        requests.clear();
        assert_eq!(greedy.hold().grow(FREE_BYTES + 1).await, Ok(()));
    }
}
