//! What a body sees of its step: its input, a place for chunks, and word that it is no longer wanted.

use protocol::{Failure, Task};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use std::sync::Arc;

use super::body::Said;

/// A step to run.
#[derive(Debug)]
pub struct Step {
    pub run: String,
    /// Where it stands in the workflow, such as `/do/2/draft@2`.
    pub path: String,
    /// From 1.
    pub attempt: u32,
    pub queue: String,
    pub task: String,
    pub input: Box<RawValue>,
    /// The same for every attempt of this step with this input: use it to make side effects idempotent.
    pub idempotency_key: String,
    /// Chunks are wanted; without this they are dropped.
    pub stream: bool,
    /// The attempt is given up at this log time, in milliseconds since the epoch.
    pub deadline_ms: Option<u64>,
    pub chunks: Chunks,
}

/// Where a body's chunks go: at once on the run's stream.
#[derive(Clone, Debug)]
pub struct Chunks {
    token: Arc<str>,
    wanted: bool,
    said: mpsc::Sender<Said>,
    room: Arc<Semaphore>,
    unwanted: watch::Receiver<bool>,
}

/// The step was cancelled or taken over by another attempt: end the body, nothing of it will be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the step is no longer wanted: it was cancelled, or another attempt took over")]
pub struct Unwanted;

/// How a body fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    pub failure: Box<Failure>,
    /// Try again no earlier than this.
    pub retry_after_ms: Option<u64>,
}

impl Failed {
    /// A failure that the step's retry policy decides about.
    pub fn new(message: impl Into<String>) -> Self {
        let kind = "error".to_owned();
        let message = message.into();
        let failure = Failure { message, kind, non_retryable: false, stack: None, details: None, cause: None };
        Self { failure: Box::new(failure), retry_after_ms: None }
    }

    /// The name that retry policies match, such as `rate_limited`.
    #[must_use]
    pub fn kind(mut self, kind: &str) -> Self {
        kind.clone_into(&mut self.failure.kind);
        self
    }

    /// Trying again would end the same way.
    #[must_use]
    pub fn for_good(mut self) -> Self {
        self.failure.non_retryable = true;
        self
    }

    #[must_use]
    pub fn retry_after_ms(mut self, millis: u64) -> Self {
        self.retry_after_ms = Some(millis);
        self
    }
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        Self { failure: Box::new(failure), retry_after_ms: None }
    }
}

impl From<Unwanted> for Failed {
    fn from(unwanted: Unwanted) -> Self {
        Self::new(unwanted.to_string()).kind("cancelled")
    }
}

impl Step {
    pub(super) fn new(task: Task, chunks: Chunks) -> Self {
        Self {
            run: task.run,
            path: task.path,
            attempt: task.attempt,
            queue: task.queue,
            task: task.task,
            input: task.input,
            idempotency_key: task.idempotency_key,
            stream: task.stream,
            deadline_ms: task.deadline_ms,
            chunks,
        }
    }

    /// The input as a type; a failure for good when it is another shape.
    pub fn input<T: DeserializeOwned>(&self) -> Result<T, Failed> {
        serde_json::from_str(self.input.get()).map_err(|error| {
            Failed::new(format!("the input is not what {:?} expects: {error}", self.task)).kind("bad_input").for_good()
        })
    }
}

impl Chunks {
    pub(super) fn new(
        token: Arc<str>,
        wanted: bool,
        said: mpsc::Sender<Said>,
        room: usize,
        unwanted: watch::Receiver<bool>,
    ) -> Self {
        Self { token, wanted, said, room: Arc::new(Semaphore::new(room)), unwanted }
    }

    /// Streams a chunk; waits while too many are not yet taken by the node, also while the node is down.
    pub async fn send(&self, data: &(impl Serialize + ?Sized)) -> Result<(), Unwanted> {
        let data = serde_json::value::to_raw_value(data).expect("a chunk has string keys and no failing parts");
        self.send_raw(data).await
    }

    /// The same for JSON as it stands.
    pub async fn send_raw(&self, data: Box<RawValue>) -> Result<(), Unwanted> {
        if self.is_unwanted() {
            return Err(Unwanted);
        }
        if !self.wanted {
            return Ok(());
        }
        let mut unwanted = self.unwanted.clone();
        let room: OwnedSemaphorePermit = tokio::select! {
            room = self.room.clone().acquire_owned() => room.expect("the room is never closed"),
            _ = unwanted.wait_for(|unwanted| *unwanted) => return Err(Unwanted),
        };
        let said = Said::Chunk { token: self.token.clone(), data, room };
        self.said.send(said).await.map_err(|_| Unwanted)
    }

    /// Whether the body should end.
    pub fn is_unwanted(&self) -> bool {
        *self.unwanted.borrow() || self.said.is_closed()
    }

    /// Returns when the body should end.
    pub async fn unwanted(&self) {
        let mut unwanted = self.unwanted.clone();
        // A closed channel means that the worker is gone, which is the same to a body.
        let _ = unwanted.wait_for(|unwanted| *unwanted).await;
    }
}
