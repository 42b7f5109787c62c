//! Runs steps for a node: takes tasks up to its slots, streams chunks, and keeps chunks and results until the node has
//! them, so that no body runs twice because the node died or the line was cut.

mod body;
mod held;
mod roster;
mod step;
mod task;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::dialer::Dialer;
use crate::error::Error;

use roster::Roster;
pub use roster::{Handler, Worker};
pub use step::{Chunks, Failed, Step, Unwanted};

/// A worker at work. Dropping it ends it without waiting for its bodies; `stop` waits.
#[derive(Debug)]
pub struct RunningWorker {
    stop: watch::Sender<bool>,
    task: Option<JoinHandle<Result<(), Error>>>,
    counts: Arc<Counts>,
}

/// What a worker has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerStats {
    /// Bodies begun.
    pub bodies: u64,
    /// Results that the node has taken.
    pub taken: u64,
    /// Bodies cut short: another attempt took over, or the run was cancelled.
    pub cut_short: u64,
    pub chunks: u64,
    pub reconnects: u64,
    /// Tasks that were still held, or finished and not taken, when a connection was made again.
    pub held_over: u64,
}

#[derive(Debug, Default)]
struct Counts {
    bodies: AtomicU64,
    taken: AtomicU64,
    cut_short: AtomicU64,
    chunks: AtomicU64,
    reconnects: AtomicU64,
    held_over: AtomicU64,
}

impl RunningWorker {
    /// Connects once; after that the worker goes on by itself.
    async fn start(dialer: Dialer, roster: Roster) -> Result<Self, Error> {
        let connection = dialer.once(Vec::new()).await?;
        let (stop, stopped) = watch::channel(false);
        let counts = Arc::new(Counts::default());
        let task = tokio::spawn(task::Desk::new(dialer, roster, counts.clone(), stopped).run(connection));
        Ok(Self { stop, task: Some(task), counts })
    }

    /// Takes no more tasks, finishes those it has, and ends when the node has their results.
    pub async fn stop(mut self) -> Result<(), Error> {
        // The task may have ended by itself; then there is nobody to tell.
        let _ = self.stop.send(true);
        self.ended().await
    }

    /// Waits until the worker ends by itself, which it does only when the node refuses it for good.
    /// Dropping the future changes nothing.
    pub async fn ended(&mut self) -> Result<(), Error> {
        let Some(task) = &mut self.task else { return Ok(()) };
        let ended = task.await.expect("the worker's task neither panics nor is aborted while it is awaited");
        self.task = None;
        ended
    }

    pub fn stats(&self) -> WorkerStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        WorkerStats {
            bodies: read(&self.counts.bodies),
            taken: read(&self.counts.taken),
            cut_short: read(&self.counts.cut_short),
            chunks: read(&self.counts.chunks),
            reconnects: read(&self.counts.reconnects),
            held_over: read(&self.counts.held_over),
        }
    }
}

impl Drop for RunningWorker {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
