//! What a worker and the node say to each other, whether over a socket or over HTTP.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A queue that a worker serves, the tasks it knows there, and how many it takes at a time (its credit).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueSlots {
    pub name: String,
    pub tasks: Vec<String>,
    pub slots: u32,
}

/// What a worker says on connecting about a task it was given earlier and has not finished, or finished but not seen
/// `took` for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holding {
    pub token: String,
    /// The next chunk sequence that it would send: all below were sent.
    #[serde(default)]
    pub next_seq: u64,
    /// The body has finished; the result will be offered again.
    #[serde(default)]
    pub done: bool,
}

/// A step to run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Task {
    /// Names the attempt; comes back with everything the worker says about it. Valid after a restart of the node.
    pub token: String,
    pub run: String,
    /// Where the step stands, such as `/do/2/draft@2`.
    pub path: String,
    pub step: u32,
    pub attempt: u32,
    pub queue: String,
    pub task: String,
    pub input: Box<RawValue>,
    /// The same for every attempt of this step with this input: use it to make side effects idempotent.
    pub idempotency_key: String,
    /// Streamed output is wanted.
    pub stream: bool,
    /// A sign of life (`beat` or a chunk) is due at least this often.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub heartbeat_ms: Option<u64>,
    /// The attempt is given up at this log time, in milliseconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub deadline_ms: Option<u64>,
}

/// What became of a task that a worker said it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldStatus {
    /// Go on; the node has all chunks below this sequence: send again from here.
    NextSeq(u64),
    /// Another attempt took over, or the run is closed: stop, nothing of it will be taken.
    Superseded,
}

/// A failure as a worker reports it. Recursive, so that a chain of causes survives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    pub message: String,
    /// A name that retry policies match, such as `rate_limited`; `error` by default.
    #[serde(rename = "type", default = "default_type")]
    pub kind: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub non_retryable: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<String>,
    /// Any JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<serde_json::Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Box<Failure>>,
}

fn default_type() -> String {
    "error".to_owned()
}
