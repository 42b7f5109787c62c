//! Stage two: one sync for all that is written, the answers, and the commit watermark.

use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::handover::Written;
use super::{Farewell, KeepWatermark, Shared};
use crate::error::AppendError;
use crate::group::Waiting;
use crate::watermark::Watermark;

/// Whoever holds it syncs and answers; nobody else may meanwhile, so answers keep their order.
pub(super) struct Syncer {
    keeper: Box<dyn KeepWatermark>,
    every: Duration,
    /// The sequence in the watermark that was kept last, and when that was.
    kept: u64,
    kept_at: Instant,
    /// The last durable one.
    sequence: u64,
}

impl Syncer {
    /// As `kept` was kept.
    pub(super) fn new(keeper: Box<dyn KeepWatermark>, every: Duration, kept: u64) -> Self {
        Self { keeper, every, kept, kept_at: Instant::now(), sequence: kept }
    }

    pub(super) const fn is_behind(&self) -> bool {
        self.sequence > self.kept
    }

    /// Makes durable what was written before, then answers. `false`: the log is over.
    pub(super) fn sync(&mut self, shared: &Shared, written: Vec<Written>) -> bool {
        let started = Instant::now();
        let failure = shared.failure().or_else(|| {
            let synced = shared.catalog.store.sync();
            synced.err().map(|error| shared.fail("a sync failed", &error.to_string()))
        });
        if let Some(error) = failure {
            fail(written, &error);
            return false;
        }
        let (mut batches, mut bytes) = (0, 0);
        for group in &written {
            self.sequence = group.sequence;
            batches += group.batches;
            bytes += group.bytes;
            for (partition, end) in &group.ends {
                shared.catalog.set_durable(*partition, *end);
            }
        }
        shared.catalog.metrics.synced(self.sequence, started.elapsed());
        shared.queue.answered(batches, bytes);
        written.into_iter().flat_map(|group| group.waiting).for_each(Waiting::durable);
        true
    }

    /// Makes durable what was acknowledged before. `false`: the log is over.
    pub(super) fn sync_acknowledged(&mut self, shared: &Shared) -> bool {
        let started = Instant::now();
        // What is acknowledged is written, and what is written before a sync is durable after it.
        let (sequence, ends) = (shared.catalog.store.sequence(), shared.catalog.acknowledged());
        if shared.failure().is_some() {
            return false;
        }
        if let Err(error) = shared.catalog.store.sync() {
            shared.fail("a sync failed", &error.to_string());
            return false;
        }
        self.sequence = sequence;
        for (partition, end) in shared.catalog.count().partitions().zip(ends) {
            shared.catalog.set_durable(partition, end);
        }
        shared.catalog.metrics.synced(sequence, started.elapsed());
        true
    }

    /// Keeps the watermark if it is time. `false`: the log is over.
    pub(super) fn keep_if_due(&mut self, shared: &Shared) -> bool {
        !(self.is_behind() && self.kept_at.elapsed() >= self.every) || self.keep(shared, false)
    }

    fn keep(&mut self, shared: &Shared, clean: bool) -> bool {
        if shared.failure().is_some() {
            return false;
        }
        let durable = shared.catalog.durable();
        let relaxed = shared.durability.is_relaxed();
        let watermark = Watermark { clean, relaxed, term: shared.term, sequence: self.sequence, durable };
        if let Err(cause) = self.keeper.keep(&watermark) {
            shared.fail("the commit watermark could not be written", &cause);
            return false;
        }
        shared.catalog.metrics.watermark();
        (self.kept, self.kept_at) = (self.sequence, Instant::now());
        true
    }

    /// When the watermark has to be kept, if it has to be.
    fn patience(&self) -> Option<Duration> {
        self.is_behind().then(|| self.every.saturating_sub(self.kept_at.elapsed()))
    }
}

pub(super) fn lock(shared: &Shared) -> MutexGuard<'_, Syncer> {
    shared.syncer.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Everybody learns that the outcome is unknown.
fn fail(written: Vec<Written>, error: &AppendError) {
    written.into_iter().flat_map(|group| group.waiting).for_each(|waiting| waiting.failed(error.clone()));
}

/// The syncing thread.
pub(super) fn sync_loop(shared: &Shared) {
    let _farewell = Farewell { shared, thread: "the syncing thread" };
    loop {
        let patience = lock(shared).patience();
        shared.handover.wait(patience, || shared.queue.appended());
        let mut syncer = lock(shared);
        let (written, finished) = shared.handover.take();
        let good = (written.is_empty() || syncer.sync(shared, written))
            && if finished { syncer.keep(shared, true) } else { syncer.keep_if_due(shared) };
        if finished {
            return;
        }
        if !good {
            break;
        }
    }
    fail_the_rest(shared);
}

/// The syncing thread where acknowledgements do not wait for it: it syncs `every` so long, or only in the end.
pub(super) fn relaxed_sync_loop(shared: &Shared, every: Option<Duration>) {
    let _farewell = Farewell { shared, thread: "the syncing thread" };
    loop {
        let patience = lock(shared).patience();
        let (due, finished) = shared.handover.wait_for_sync(every, patience);
        let mut syncer = lock(shared);
        let good = (!due || syncer.sync_acknowledged(shared))
            && if finished { syncer.keep(shared, true) } else { syncer.keep_if_due(shared) };
        if finished || !good {
            return;
        }
    }
}

/// After a failure: also those whose groups are still on their way here.
fn fail_the_rest(shared: &Shared) {
    let error = shared.failure().unwrap_or(AppendError::Closed);
    loop {
        shared.handover.wait(None, || 0);
        let (written, finished) = shared.handover.take();
        fail(written, &error);
        if finished {
            return;
        }
    }
}
