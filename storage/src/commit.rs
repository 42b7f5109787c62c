//! Group commit in two stages. One thread writes all that waits, for all partitions, in one batch; the other syncs
//! and answers all that was written before the sync began. While one sync runs, the next group gathers: no timer.
//! A lone append is synced by the first thread itself.
//!
//! Under a relaxed durability the first thread answers once it has written, and the other syncs when it is time.

mod handover;
mod syncer;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use types::Durability;

use crate::catalog::Catalog;
use crate::error::AppendError;
use crate::group::{Group, Pending, Waiting, Writer};
use crate::queue::{Queue, QueueBounds, Taken};
use crate::watermark::Watermark;
use handover::{Handover, Written};
use syncer::{Syncer, relaxed_sync_loop, sync_loop};

/// Told once, on a thread of the log, when a write or a sync failed. The node must stop: the log answers no more.
pub type OnFatal = Arc<dyn Fn(&str) + Send + Sync>;

/// Keeps the commit watermark.
pub(crate) trait KeepWatermark: Send {
    fn keep(&mut self, watermark: &Watermark) -> Result<(), String>;
}

/// What both threads share.
struct Shared {
    catalog: Arc<Catalog>,
    queue: Queue,
    handover: Handover,
    syncer: Mutex<Syncer>,
    failure: Mutex<Option<AppendError>>,
    on_fatal: Option<OnFatal>,
    durability: Durability,
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
    pub(crate) durability: Durability,
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
            syncer: Mutex::new(Syncer::new(keeper, options.watermark_every, watermark.sequence)),
            failure: Mutex::new(None),
            on_fatal: options.on_fatal,
            durability: options.durability,
            term: watermark.term,
        });
        let (writing, syncing) = (Arc::clone(&shared), Arc::clone(&shared));
        let write = thread::Builder::new().name("log-write".to_owned()).spawn(move || write_loop(&writing, writer))?;
        let sync = thread::Builder::new().name("log-sync".to_owned()).spawn(move || match syncing.durability {
            Durability::Commit => sync_loop(&syncing),
            Durability::Interval(ms) => relaxed_sync_loop(&syncing, Some(Duration::from_millis(u64::from(ms.get())))),
            Durability::Os => relaxed_sync_loop(&syncing, None),
        })?;
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
        // The last handle may be dropped by a callback, on a thread of the log: both end by themselves then.
        let own = threads.iter().any(|thread| thread.thread().id() == thread::current().id());
        for thread in threads.into_iter().filter(|_| !own) {
            // One that panicked has said so.
            let _ = thread.join();
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
    while let Some(Taken { appends, bytes }) = shared.queue.take() {
        let batches = appends.len();
        let group = writer.group(appends);
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
    if group.batch.is_empty() && group.waiting.is_empty() {
        shared.queue.answered(batches, bytes);
        shared.handover.pass_by(batches, false);
        return true;
    }
    if !group.batch.is_empty() {
        let started = Instant::now();
        shared.catalog.metrics.queued(group.waiting.iter().map(|waiting| started - waiting.since));
        let failure = shared.failure().or_else(|| {
            let written = shared.catalog.store.write(&group.batch);
            written.err().map(|error| shared.fail("a write failed", &error.to_string()))
        });
        if let Some(error) = failure {
            group.waiting.into_iter().for_each(|waiting| waiting.failed(error.clone()));
            return false;
        }
        observe(shared, &group, started.elapsed());
    }
    group.staged.into_iter().for_each(|staged| shared.catalog.publish(staged));
    let sequence = shared.catalog.store.sequence();
    let written = Written { waiting: group.waiting, ends, sequence, batches, bytes };
    if shared.durability.is_relaxed() {
        acknowledge(shared, written);
        return true;
    }
    pass_on(shared, written)
}

/// Answers what is written and not durable.
fn acknowledge(shared: &Shared, written: Written) {
    for (partition, end) in written.ends {
        shared.catalog.set_acknowledged(partition, end);
    }
    shared.handover.owe_sync();
    shared.queue.answered(written.batches, written.bytes);
    written.waiting.into_iter().for_each(Waiting::durable);
}

/// Hands a written group to the syncing thread, unless it is a lone append and nothing else goes on: then syncing it
/// here spares a change of threads, which is a good part of its time. With more appenders two threads do better: while
/// one answers, those who were answered fill the next group.
fn pass_on(shared: &Shared, written: Written) -> bool {
    let is_alone = written.batches <= 1 && shared.queue.waiting() == 0;
    if let Some(mut syncer) = shared.syncer.try_lock().ok().filter(|_| is_alone && shared.handover.is_empty()) {
        let (batches, was_behind) = (written.batches, syncer.is_behind());
        let good = syncer.sync(shared, vec![written]) && syncer.keep_if_due(shared);
        shared.handover.pass_by(batches, !was_behind && syncer.is_behind());
        return good;
    }
    shared.handover.put(written);
    true
}

fn observe(shared: &Shared, group: &Group, took: Duration) {
    let blocks = || group.staged.iter().flat_map(|staged| &staged.blocks);
    let records = blocks().map(|(_, summary)| u64::from(summary.count)).sum();
    let bytes = blocks().map(|(_, summary)| summary.bytes as u64).sum();
    let sequence = shared.catalog.store.sequence();
    shared.catalog.metrics.wrote(group.waiting.len(), records, bytes, sequence, took);
}

#[cfg(test)]
mod tests;
