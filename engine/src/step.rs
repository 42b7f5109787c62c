//! A step of a run: one call of a function, through all its attempts.

use types::{Payload, Timestamp};
use workflow::program::RetryPolicy;

/// A function as a run uses it: resolved once, kept once.
#[derive(Clone, Debug, PartialEq)]
pub struct Function {
    pub name: String,
    pub task: String,
    pub queue: String,
    pub stream: bool,
    pub retry: RetryPolicy,
    pub start_to_close_ms: u64,
    pub schedule_to_start_ms: Option<u64>,
    pub heartbeat_ms: Option<u64>,
}

impl Function {
    /// Equal but for the retry policy.
    pub(crate) fn is_same_call(&self, other: &Self) -> bool {
        *self == Self { retry: self.retry.clone(), ..other.clone() }
    }
}

/// A step that is not over.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub scope: u32,
    /// Where it stands, such as `/do/2/review/for/3/do/0/call@2`.
    pub path: String,
    /// Which of the run's functions.
    pub function: u32,
    pub input: Payload,
    /// From 1.
    pub attempt: u32,
    /// Attempts that failed and count against the policy.
    pub failures: u32,
    /// Chunks of the current attempt that are taken; the next sequence.
    pub next_sequence: u64,
    /// An attempt that failed after it had streamed, and whose readers are not told yet.
    pub unsuperseded: Option<u32>,
    pub scheduled: Timestamp,
    pub status: StepStatus,
}

impl Step {
    pub(crate) fn new(scope: u32, path: String, function: u32, input: Payload, scheduled: Timestamp) -> Self {
        let (attempt, failures, next_sequence, unsuperseded, status) = (1, 0, 0, None, StepStatus::Owed);
        Self { scope, path, function, input, attempt, failures, next_sequence, unsuperseded, scheduled, status }
    }
}

/// Whose move it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepStatus {
    /// A worker's: the current attempt is offered or held.
    Owed,
    /// The retry timer's.
    Retrying { timer: u32 },
    /// The holder's, who was told to stop.
    Cancelling,
}

/// Why an attempt failed, as its worker or the dispatcher says. Recursive, so that a chain of causes survives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    pub message: String,
    /// What retry policies match.
    pub kind: String,
    pub source: Option<String>,
    pub stack: Option<String>,
    pub non_retryable: bool,
    /// A JSON text.
    pub details: Option<Payload>,
    pub cause: Option<Box<Failure>>,
}

impl Failure {
    pub fn new(kind: &str, message: impl Into<String>) -> Self {
        Self { kind: kind.to_owned(), message: message.into(), ..Self::default() }
    }
}

/// The worker's connection was gone for longer than the reclaim time.
pub const WORKER_LOST: &str = "worker_lost";
/// The attempt ran past its start-to-close time.
pub const START_TO_CLOSE: &str = "start_to_close_timeout";
/// No worker took the attempt within its schedule-to-start time.
pub const SCHEDULE_TO_START: &str = "schedule_to_start_timeout";
/// The worker gave no sign of life within the heartbeat time.
pub const HEARTBEAT: &str = "heartbeat_timeout";
/// After a restart nobody said that they hold the attempt. It says nothing about the step, so it does not count.
pub const UNCLAIMED: &str = "unclaimed";
