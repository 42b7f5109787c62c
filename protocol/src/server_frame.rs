//! What the node says over the socket. One JSON object a message; `op` names the frame. After a `batch`, the next `n`
//! messages are the events themselves, identical for every receiver.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use types::{Code, Cursor, Durability, Offset, RunId};

use crate::worker::{HeldStatus, Task};

/// A frame from node to client.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum ServerFrame {
    Welcome {
        session: String,
        heartbeat_ms: u64,
        limits: Limits,
        node: String,
        /// What an acknowledgement of this node promises.
        #[serde(default)]
        durability: Durability,
    },
    /// The position first, before any event. `resumed`: the given cursor was good and nothing is missing.
    Subbed {
        id: u32,
        cursor: Cursor,
        head: Offset,
        low: Offset,
        resumed: bool,
    },
    /// `prev` is the last offset sent before on this subscription (or skipped by its filter); accept a batch only if
    /// that is the last you have. `cursor` is where you stand after its `n` events.
    Batch {
        id: u32,
        prev: Option<Offset>,
        cursor: Cursor,
        n: usize,
    },
    /// Nothing matched the filter, but the position moved.
    Mark {
        id: u32,
        cursor: Cursor,
        head: Offset,
    },
    /// Events that cannot be given: go on at `to`.
    Gap {
        id: u32,
        from: Option<Cursor>,
        to: Cursor,
        reason: Code,
        low: Offset,
    },
    /// The stream is closed and all of it was sent, or the subscription cannot go on.
    End {
        id: u32,
        cursor: Option<Cursor>,
        status: EndStatus,
    },
    Done {
        n: u64,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        offset: Option<Offset>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        run: Option<RunId>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        cursor: Option<Cursor>,
        #[serde(skip_serializing_if = "std::ops::Not::not", default)]
        dup: bool,
        #[serde(skip_serializing_if = "is_commit", default)]
        durability: Durability,
    },
    Refused {
        n: u64,
        code: Code,
        message: String,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        retry_after_ms: Option<u64>,
        /// What a program needs to go on, such as the `expected` sequence of a producer.
        #[serde(flatten)]
        details: Map<String, Value>,
    },
    Task(Box<TaskFrame>),
    Held {
        token: String,
        status: HeldStatus,
    },
    /// Durable: forget it. `seq`: all chunks below; `result`: the result was taken.
    Took {
        token: String,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        seq: Option<u64>,
        #[serde(skip_serializing_if = "std::ops::Not::not", default)]
        result: bool,
        #[serde(skip_serializing_if = "is_commit", default)]
        durability: Durability,
    },
    /// A worker's chunk or result that is not taken: drop the task (`stale_attempt`, `forged_token`), or send again
    /// from `next_seq` (`chunk_gap`), or later (`retry_after_ms`).
    Untaken {
        token: String,
        code: Code,
        message: String,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        next_seq: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        retry_after_ms: Option<u64>,
    },
    Cancel {
        token: String,
    },
    /// Something the client sent was wrong, and the connection goes on; `id` names the subscription it was about.
    Err {
        code: Code,
        message: String,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        id: Option<u32>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        retry_ms: Option<u64>,
    },
    Goaway {
        reconnect_in_ms: u64,
        reason: String,
    },
    Pong {
        ts: u64,
    },
}

impl ServerFrame {
    /// A refusal of which the code and the sentence say all.
    pub fn refused(n: u64, code: Code, message: String) -> Self {
        Self::Refused { n, code, message, retry_after_ms: None, details: Map::new() }
    }
}

/// The usual level goes without saying.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_commit(durability: &Durability) -> bool {
    *durability == Durability::Commit
}

/// A task frame is the task's own fields.
pub type TaskFrame = Task;

/// What a connection may do; every bound has a code that answers when it is passed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    pub message_bytes: usize,
    pub event_bytes: usize,
    pub subscriptions: usize,
    pub commands_in_flight: usize,
}

/// Why a subscription ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndStatus {
    /// The stream is closed: do not come back.
    Closed,
    /// The client asked.
    Unsubscribed,
    /// The stream was deleted.
    Deleted,
    /// No such stream.
    NotFound,
}
