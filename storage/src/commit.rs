//! Group commit in two stages. One thread writes all that waits, for all partitions, in one batch; the other syncs
//! and answers all that was written before the sync began. While one sync runs, the next group gathers: no timer.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use types::{PartitionId, Position};

use crate::catalog::Catalog;
use crate::error::AppendError;
use crate::group::{Group, Pending, Waiting, Writer};
use crate::queue::{Queue, QueueBounds};
use crate::watermark::Watermark;

/// Told once, on a thread of the log, when a write or a sync failed. The node must stop: the log answers no more.
pub type OnFatal = Arc<dyn Fn(&str) + Send + Sync>;

/// Keeps the commit watermark.
pub(crate) trait KeepWatermark: Send {
    fn keep(&mut self, watermark: &Watermark) -> Result<(), String>;
}

/// How long a sync may be put off for a group that is being made: a bound for the odd case, a group takes far less.
const NEXT_GROUP_PATIENCE: Duration = Duration::from_micros(500);

/// A group that is written and not yet durable.
struct Written {
    waiting: Vec<Waiting>,
    ends: Vec<(PartitionId, Position)>,
    sequence: u64,
    batches: usize,
    bytes: usize,
}

/// From the writing thread to the syncing one.
#[derive(Default)]
struct Handover {
    state: Mutex<HandoverState>,
    changed: Condvar,
}

#[derive(Default)]
struct HandoverState {
    written: Vec<Written>,
    finished: bool,
}

impl Handover {
    fn state(&self) -> MutexGuard<'_, HandoverState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, written: Written) {
        self.state().written.push(written);
        self.changed.notify_one();
    }

    fn finish(&self) {
        self.state().finished = true;
        self.changed.notify_one();
    }

    /// What is written, and whether that is the last of it. Sleeps until there is something, at most `patience`. When
    /// there is something and `more` says that the next group is being made, that one is waited for: those whom the
    /// last sync answered have appended again by now, and would wait for two syncs instead of one.
    fn take(&self, patience: Option<Duration>, more: impl Fn() -> bool) -> (Vec<Written>, bool) {
        let mut state = self.state();
        while state.written.is_empty() && !state.finished {
            match patience {
                None => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(patience) => {
                    let waited = self.changed.wait_timeout(state, patience);
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                    break;
                }
            }
        }
        if !state.written.is_empty() && !state.finished && more() {
            let waited = self.changed.wait_timeout(state, NEXT_GROUP_PATIENCE);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        (std::mem::take(&mut state.written), state.finished)
    }
}

/// What both threads share.
struct Shared {
    catalog: Arc<Catalog>,
    queue: Queue,
    handover: Handover,
    failure: Mutex<Option<AppendError>>,
    on_fatal: Option<OnFatal>,
    term: u32,
}

impl Shared {
    fn failure(&self) -> Option<AppendError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The log is over. Nothing is tried again: after a failed sync the system may have dropped what was not on disk.
    fn fail(&self, what: &str, cause: &str) -> AppendError {
        let cause = format!("{what}: {cause}");
        let error = AppendError::OutcomeUnknown { cause: cause.clone() };
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(first) = &*failure {
            return first.clone();
        }
        *failure = Some(error.clone());
        drop(failure);
        tracing::error!(cause, "the log failed; the node must stop");
        for pending in self.queue.fail(error.clone()) {
            (pending.on_durable)(Err(error.clone()));
        }
        if let Some(on_fatal) = &self.on_fatal {
            on_fatal(&cause);
        }
        error
    }
}

/// Both threads.
pub(crate) struct Committer {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl fmt::Debug for Committer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Committer").field("failure", &self.shared.failure()).finish_non_exhaustive()
    }
}

/// How to commit.
pub(crate) struct CommitOptions {
    pub(crate) bounds: QueueBounds,
    pub(crate) watermark_every: Duration,
    pub(crate) on_fatal: Option<OnFatal>,
}

impl Committer {
    pub(crate) fn start(
        catalog: Arc<Catalog>,
        writer: Writer,
        watermark: &Watermark,
        keeper: Box<dyn KeepWatermark>,
        options: CommitOptions,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            catalog,
            queue: Queue::new(options.bounds),
            handover: Handover::default(),
            failure: Mutex::new(None),
            on_fatal: options.on_fatal,
            term: watermark.term,
        });
        let syncer = Syncer {
            shared: Arc::clone(&shared),
            keeper,
            every: options.watermark_every,
            kept: watermark.sequence,
            sequence: watermark.sequence,
            kept_at: Instant::now(),
        };
        let writing = Arc::clone(&shared);
        let write = thread::Builder::new().name("log-write".to_owned()).spawn(move || write_loop(&writing, writer))?;
        let sync = thread::Builder::new().name("log-sync".to_owned()).spawn(move || syncer.run())?;
        Ok(Self { shared, threads: Mutex::new(vec![write, sync]) })
    }

    pub(crate) fn append(&self, pending: Pending) {
        if let Some((on_durable, reason)) = self.shared.queue.push(pending) {
            on_durable(Err(reason));
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.shared.queue.is_idle()
    }

    /// Something else of the log failed to write or sync: the log is over, as after a failure of its own.
    pub(crate) fn fail(&self, what: &str, cause: &str) {
        self.shared.fail(what, cause);
    }

    /// Makes durable all that was appended, and ends both threads. Again: says how it went.
    pub(crate) fn close(&self) -> Result<(), AppendError> {
        self.shared.queue.close(AppendError::Closed);
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // The last handle may be dropped by a callback, on a thread of the log: that one ends by itself. A thread
            // that panicked has said so.
            if thread.thread().id() != thread::current().id() {
                let _ = thread.join();
            }
        }
        self.shared.failure().map_or(Ok(()), Err)
    }
}

/// Says that a thread is over, also when it panicked: then the log is.
struct Farewell<'a> {
    shared: &'a Shared,
    thread: &'static str,
}

impl Drop for Farewell<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.shared.fail(self.thread, "it panicked");
        }
        self.shared.handover.finish();
    }
}

/// Stage one: one batch for all that waits, written and not synced.
fn write_loop(shared: &Shared, mut writer: Writer) {
    let _farewell = Farewell { shared, thread: "the writing thread" };
    while let Some(pending) = shared.queue.take() {
        let (batches, bytes) = (pending.len(), pending.iter().map(Pending::bytes).sum());
        let group = writer.group(pending);
        if !write_group(shared, group, batches, bytes) {
            break;
        }
    }
    if shared.failure().is_none() {
        let group = writer.checkpoint();
        write_group(shared, group, 0, 0);
    }
}

/// `false`: the log is over.
fn write_group(shared: &Shared, mut group: Group, batches: usize, bytes: usize) -> bool {
    let ends = group.ends();
    let refused = std::mem::take(&mut group.refused);
    for (on_durable, error) in refused {
        on_durable(Err(error));
    }
    if !group.batch.is_empty() {
        if let Some(error) = shared.failure() {
            group.waiting.into_iter().for_each(|waiting| waiting.failed(error.clone()));
            return false;
        }
        let started = Instant::now();
        group.waiting.iter().for_each(|waiting| shared.catalog.metrics.queued(started - waiting.since));
        if let Err(error) = shared.catalog.store.write(&group.batch) {
            let error = shared.fail("a write failed", &error.to_string());
            group.waiting.into_iter().for_each(|waiting| waiting.failed(error.clone()));
            return false;
        }
        observe(shared, &group, started.elapsed());
    }
    group.staged.into_iter().for_each(|staged| shared.catalog.publish(staged));
    let sequence = shared.catalog.store.sequence();
    shared.handover.put(Written { waiting: group.waiting, ends, sequence, batches, bytes });
    true
}

fn observe(shared: &Shared, group: &Group, took: Duration) {
    let blocks = || group.staged.iter().flat_map(|staged| &staged.blocks);
    let records = blocks().map(|(_, summary)| u64::from(summary.count)).sum();
    let bytes = blocks().map(|(_, summary)| summary.bytes as u64).sum();
    let sequence = shared.catalog.store.sequence();
    shared.catalog.metrics.wrote(group.waiting.len(), records, bytes, sequence, took);
}

/// Stage two.
struct Syncer {
    shared: Arc<Shared>,
    keeper: Box<dyn KeepWatermark>,
    every: Duration,
    /// The sequence in the watermark that was kept last, and when that was.
    kept: u64,
    kept_at: Instant,
    /// The last durable one.
    sequence: u64,
}

impl Syncer {
    fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let _farewell = Farewell { shared: &shared, thread: "the syncing thread" };
        loop {
            let behind = self.sequence > self.kept;
            let patience = behind.then(|| self.every.saturating_sub(self.kept_at.elapsed()));
            let (written, finished) = self.shared.handover.take(patience, || self.shared.queue.is_being_written());
            if !written.is_empty() && !self.sync(written) {
                return;
            }
            let due = self.sequence > self.kept && self.kept_at.elapsed() >= self.every;
            if (due || finished) && !self.keep(finished) {
                return;
            }
            if finished {
                return;
            }
        }
    }

    /// Makes durable what was written before, then answers. `false`: the log is over.
    fn sync(&mut self, written: Vec<Written>) -> bool {
        let started = Instant::now();
        let failure = self.shared.failure().or_else(|| {
            let synced = self.shared.catalog.store.sync();
            synced.err().map(|error| self.shared.fail("a sync failed", &error.to_string()))
        });
        if let Some(error) = failure {
            self.fail(written, &error);
            return false;
        }
        let (mut batches, mut bytes) = (0, 0);
        for group in &written {
            self.sequence = group.sequence;
            batches += group.batches;
            bytes += group.bytes;
            for (partition, end) in &group.ends {
                self.shared.catalog.set_durable(*partition, *end);
            }
        }
        self.shared.catalog.metrics.synced(self.sequence, started.elapsed());
        self.shared.queue.answered(batches, bytes);
        written.into_iter().flat_map(|group| group.waiting).for_each(Waiting::durable);
        true
    }

    /// Everybody learns that the outcome is unknown, also those whose groups are still on their way here.
    fn fail(&self, written: Vec<Written>, error: &AppendError) {
        written.into_iter().flat_map(|group| group.waiting).for_each(|waiting| waiting.failed(error.clone()));
        loop {
            let (written, finished) = self.shared.handover.take(None, || false);
            written.into_iter().flat_map(|group| group.waiting).for_each(|waiting| waiting.failed(error.clone()));
            if finished {
                return;
            }
        }
    }

    fn keep(&mut self, clean: bool) -> bool {
        if self.shared.failure().is_some() {
            return false;
        }
        let durable = self.shared.catalog.durable();
        let watermark = Watermark { clean, term: self.shared.term, sequence: self.sequence, durable };
        if let Err(cause) = self.keeper.keep(&watermark) {
            let error = self.shared.fail("the commit watermark could not be written", &cause);
            if !clean {
                self.fail(Vec::new(), &error);
            }
            return false;
        }
        self.shared.catalog.metrics.watermark();
        (self.kept, self.kept_at) = (self.sequence, Instant::now());
        true
    }
}

#[cfg(test)]
mod tests;
