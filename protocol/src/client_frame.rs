//! What a client says over the socket. One JSON object a message; `op` names the frame.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use types::{IdempotencyKey, ProducerId, RunId, StreamName, StreamStart};

use crate::worker::{Failure, Holding, QueueSlots};

/// A frame from client to node.
#[derive(Debug)]
pub enum ClientFrame {
    Hello(Hello),
    Sub(Sub),
    Unsub(Unsub),
    Credit(Credit),
    Cmd(Cmd),
    Work(Work),
    Result(ResultFrame),
    Chunk(ChunkFrame),
    Beat(Beat),
    Ping(Ping),
}

/// The first frame, due within 5 s.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// The protocol version: 1.
    pub v: u32,
    /// A name and version for people who read logs, such as `my-app/1.2`.
    pub client: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subs: Vec<Sub>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sub {
    /// The client's own number for the subscription.
    pub id: u32,
    pub stream: StreamName,
    pub from: StreamStart,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<Filter>,
    #[serde(default)]
    pub credit: CreditAmount,
}

/// Which events to send; those filtered out still move the cursor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Event types, 1 to 32 of them.
    pub types: Vec<String>,
}

/// How much more the client is ready to take. The default is 256 events and 1 MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreditAmount {
    pub events: u32,
    pub bytes: u32,
}

impl Default for CreditAmount {
    fn default() -> Self {
        Self { events: 256, bytes: 1 << 20 }
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unsub {
    pub id: u32,
}

/// Adds to what is left.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credit {
    pub id: u32,
    pub events: u32,
    pub bytes: u32,
}

/// A command; answered by `done` or `refused` with the same `n`, after the sync.
#[derive(Debug)]
pub struct Cmd {
    pub n: u64,
    pub command: Command,
}

/// What a command does; `type` names it.
#[derive(Debug)]
pub enum Command {
    Append(AppendCommand),
    Start(StartCommand),
    Signal(SignalCommand),
    Cancel(CancelCommand),
}

/// Appends one event. With `producer`, (producer, epoch, seq) is deduplicated and `seq` is dense per stream.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppendCommand {
    pub stream: StreamName,
    pub data: Box<RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub producer: Option<ProducerId>,
    #[serde(default)]
    pub epoch: u64,
    /// Given exactly when `producer` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartCommand {
    /// `name`, `namespace/name`, or either with `@version`.
    pub workflow: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<IdempotencyKey>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignalCommand {
    pub run: RunId,
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CancelCommand {
    pub run: RunId,
    #[serde(default)]
    pub reason: String,
}

/// Becomes a worker on this connection, or changes its queues; says what it still holds.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Work {
    pub queues: Vec<QueueSlots>,
    #[serde(default)]
    pub holding: Vec<Holding>,
}

/// The end of an attempt: exactly one of `output` and `failure`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResultFrame {
    pub token: String,
    /// `null` is an output like any other.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub output: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChunkFrame {
    pub token: String,
    /// Dense from 0 within the attempt.
    pub seq: u64,
    pub data: Box<RawValue>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Beat {
    pub token: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ping {
    pub ts: u64,
}

fn present<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(value).map(Some)
}
