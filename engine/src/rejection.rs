//! Why a command was not carried out. No event, no effect: only an answer.

use thiserror::Error;
use types::{Offset, RunId, StreamName};

use crate::definition::DefinitionName;

/// Every reason, with what the asker can do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Rejection {
    #[error("{0} is registered with another content: definitions never change, register a new version")]
    WorkflowExists(DefinitionName),
    #[error("this node holds its limit of {0} definitions")]
    TooManyDefinitions(usize),
    #[error("run {0} does not exist")]
    RunNotFound(RunId),
    #[error("run {0} is closed")]
    RunClosed(RunId),
    #[error(
        "run {run} is damaged and set aside: its row cannot be read and its events do not give its state back ({why}); \
         restore a backup, or give the run up by cancelling it"
    )]
    RunDamaged { run: RunId, why: String },
    #[error("a run with id {0} exists already")]
    RunExists(RunId),
    #[error("idempotency key {key:?} was used for another start: run {run} has another workflow or input")]
    IdempotencyConflict { key: String, run: RunId },
    #[error("{what} has {bytes} bytes, the limit is {limit}")]
    TooLarge { what: &'static str, bytes: usize, limit: usize },
    #[error("there are {count} {what}, the limit is {limit}")]
    TooMany { what: &'static str, count: usize, limit: usize },
    #[error("{what} is not valid JSON: {why}")]
    NotJson { what: &'static str, why: String },
    #[error("run {run} keeps {limit} {what} already: let it consume some")]
    TooManySignals { run: RunId, limit: usize, what: &'static str },
    #[error("the token was not made by this node for this step")]
    ForgedToken,
    #[error("this is not the current attempt of the step: another took over, or the step or its run is over")]
    StaleAttempt,
    #[error("chunk {got} came, {expected} is next: send again from there")]
    ChunkGap { expected: u64, got: u64 },
    #[error("step {step} does not stream: its function says `stream: false`")]
    NotStreaming { step: u32 },
    #[error("nothing is due under this number")]
    NotDue,
    #[error("stream {0} does not exist: create it first")]
    StreamNotFound(StreamName),
    #[error("stream {0} exists with other settings")]
    StreamExists(StreamName),
    #[error("stream {name} is closed at offset {end}")]
    StreamClosed { name: StreamName, end: Offset },
    #[error("{0} is reserved: streams under `runs/` and `system/` belong to the node")]
    Reserved(StreamName),
    #[error("stream {name} takes {expected}, the event is {got}")]
    ContentType { name: StreamName, expected: String, got: String },
    #[error("the stream's next offset is {actual}, not the expected {expected}")]
    SequenceConflict { expected: Offset, actual: Offset },
    #[error("the stream has taken sequence {last:?}, the next one has to be greater, and {got:?} is not")]
    SequencePassed { last: String, got: String },
    #[error("producer epoch {got} is fenced off by epoch {current}")]
    ProducerFenced { current: u64, got: u64 },
    #[error("producer sequence {got} came, {expected} is next: send again from there")]
    ProducerGap { expected: u64, got: u64 },
    #[error("the stream's events before offset {low} are no longer kept")]
    Trimmed { low: Offset },
    #[error("the stream ends at offset {head}")]
    BeyondEnd { head: Offset },
    #[error("{limit} readers pin stream {name} already: let one of them go")]
    TooManyPins { name: StreamName, limit: usize },
    #[error("{0}")]
    Invalid(String),
}
