//! What a worker can do: its queues, their slots, and a handler for each task.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use protocol::QueueSlots;
use serde::Serialize;
use serde_json::value::RawValue;

use super::RunningWorker;
use super::step::{Failed, Step};
use crate::dialer::Dialer;
use crate::error::Error;

/// Runs one step.
pub trait Handler: Send + Sync + 'static {
    fn run(&self, step: Step) -> Pin<Box<dyn Future<Output = Result<Box<RawValue>, Failed>> + Send>>;
}

impl<F, Body, Output> Handler for F
where
    F: Fn(Step) -> Body + Send + Sync + 'static,
    Body: Future<Output = Result<Output, Failed>> + Send + 'static,
    Output: Serialize + 'static,
{
    fn run(&self, step: Step) -> Pin<Box<dyn Future<Output = Result<Box<RawValue>, Failed>> + Send>> {
        let body = self(step);
        Box::pin(async move {
            let output = body.await?;
            serde_json::value::to_raw_value(&output)
                .map_err(|error| Failed::new(format!("the output is no JSON: {error}")).kind("bad_output").for_good())
        })
    }
}

/// A worker to be: name its queues and tasks, then start it.
#[derive(Debug)]
pub struct Worker {
    dialer: Dialer,
    roster: Roster,
}

#[derive(Debug, Default)]
pub(super) struct Roster {
    queues: Vec<QueueSlots>,
    handlers: BTreeMap<(String, String), SharedHandler>,
}

#[derive(Clone)]
struct SharedHandler(Arc<dyn Handler>);

impl fmt::Debug for SharedHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a handler")
    }
}

impl Worker {
    pub(crate) fn new(dialer: Dialer) -> Self {
        Self { dialer, roster: Roster::default() }
    }

    /// Serves a queue with so many tasks at a time; the tasks named next belong to it.
    #[must_use]
    pub fn queue(mut self, name: &str, slots: u32) -> Self {
        self.roster.queues.push(QueueSlots { name: name.to_owned(), tasks: Vec::new(), slots });
        self
    }

    /// Runs this task of the last named queue (`default` with one slot where none was named).
    #[must_use]
    pub fn task(mut self, name: &str, handler: impl Handler) -> Self {
        if self.roster.queues.is_empty() {
            self = self.queue("default", 1);
        }
        let queue = self.roster.queues.last_mut().expect("there is one");
        queue.tasks.push(name.to_owned());
        self.roster.handlers.insert((queue.name.clone(), name.to_owned()), SharedHandler(Arc::new(handler)));
        self
    }

    /// Connects and begins to take tasks.
    pub async fn start(self) -> Result<RunningWorker, Error> {
        if self.roster.handlers.is_empty() {
            return Err(Error::Unusable("a worker needs at least one task".to_owned()));
        }
        RunningWorker::start(self.dialer, self.roster).await
    }
}

impl Roster {
    /// What the node is told; without slots while the worker is stopping.
    pub(super) fn queues(&self, stopping: bool) -> Vec<QueueSlots> {
        let slots = |queue: &QueueSlots| if stopping { 0 } else { queue.slots };
        self.queues.iter().map(|queue| QueueSlots { slots: slots(queue), ..queue.clone() }).collect()
    }

    /// Tasks at a time, over all queues.
    pub(super) fn slots(&self) -> usize {
        self.queues.iter().map(|queue| queue.slots as usize).sum()
    }

    pub(super) fn handler(&self, task: &protocol::Task) -> Option<Arc<dyn Handler>> {
        self.handlers.get(&(task.queue.clone(), task.task.clone())).map(|shared| shared.0.clone())
    }
}
