//! An event of a stream as clients see it, and how its JSON is laid out.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use types::{Offset, Payload, Timestamp};

/// One event. As JSON: `{"offset":17,"time":1795493220123,"type":"chunk","step":3,"attempt":1,"seq":4,"data":"Hel"}`.
/// `data` is the payload where that is JSON; otherwise `content_type` and `base64` stand in its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub offset: Offset,
    /// When it was recorded, in milliseconds of log time.
    pub time: Timestamp,
    /// `event` for what a producer appended, `chunk` for what a step streamed, else a fact of a run such as
    /// `run_started` or `step_completed`; docs/protocol.md lists them.
    pub kind: Cow<'static, str>,
    /// Which attempt of which step streamed it; chunks only.
    pub source: Option<ChunkSource>,
    pub payload: Payload,
}

/// The fence of a chunk: a reader that sees `attempt_superseded` cuts after the last good one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkSource {
    /// The step's number in its run; `step_scheduled` names its path.
    pub step: u32,
    pub attempt: u32,
    /// Dense from 0 within the attempt.
    pub seq: u64,
}

/// The kind of a producer's event.
pub const EVENT: &str = "event";
/// The kind of what a step streams.
pub const CHUNK: &str = "chunk";
