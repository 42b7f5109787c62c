//! A "no" that a person or a program can act on: a stable code, a sentence, and when to try again.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What kind of "no". The text form (snake case) is stable: clients match on it, docs/protocol.md lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    // The request itself is wrong: 400, 403, 404, 409, 410, 413, 415, 421, 422.
    BadRequest,
    BadMessage,
    InvalidName,
    InvalidCursor,
    InvalidDefinition,
    InvalidInput,
    UnsupportedMediaType,
    TooLarge,
    WorkflowNotFound,
    RunNotFound,
    StreamNotFound,
    NotFound,
    ReservedName,
    /// A web page of another site, which the node's configuration does not list.
    OriginNotAllowed,
    /// The request came by a name that is not the node's.
    HostNotAllowed,
    StreamExists,
    StreamClosed,
    WorkflowExists,
    RunClosed,
    IdempotencyConflict,
    /// The cursor belongs to another history of this node's data (restore, repair).
    OtherHistory,
    /// The cursor belongs to another stream, or to an earlier stream of the same name.
    OtherStream,
    /// The cursor's events are no longer kept.
    Trimmed,
    /// The cursor lies beyond the end of the stream: what it counted on was cut off, or never was.
    LogTruncated,
    /// What is asked for is damaged on disk; it is not served.
    Damaged,
    /// The run's state is lost: it takes nothing but being given up, by cancelling it.
    RunDamaged,
    ProducerFenced,
    ProducerGap,
    SequenceConflict,
    // A worker's answer that is not taken.
    StaleAttempt,
    ForgedToken,
    ChunkGap,
    // The node cannot take it now: 429, 503, 507.
    QueueFull,
    TooManyRequests,
    Draining,
    Unavailable,
    /// The node's disk has too little room left: nothing is written until there is more, and then by itself again.
    DiskFull,
    /// The log failed while this was in flight: it may or may not have happened. Ask before trying again.
    OutcomeUnknown,
    Internal,
}

impl Code {
    /// The stable text form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::BadMessage => "bad_message",
            Self::InvalidName => "invalid_name",
            Self::InvalidCursor => "invalid_cursor",
            Self::InvalidDefinition => "invalid_definition",
            Self::InvalidInput => "invalid_input",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::TooLarge => "too_large",
            Self::WorkflowNotFound => "workflow_not_found",
            Self::RunNotFound => "run_not_found",
            Self::StreamNotFound => "stream_not_found",
            Self::NotFound => "not_found",
            Self::ReservedName => "reserved_name",
            Self::OriginNotAllowed => "origin_not_allowed",
            Self::HostNotAllowed => "host_not_allowed",
            Self::StreamExists => "stream_exists",
            Self::StreamClosed => "stream_closed",
            Self::WorkflowExists => "workflow_exists",
            Self::RunClosed => "run_closed",
            Self::IdempotencyConflict => "idempotency_conflict",
            Self::OtherHistory => "other_history",
            Self::OtherStream => "other_stream",
            Self::Trimmed => "trimmed",
            Self::LogTruncated => "log_truncated",
            Self::Damaged => "damaged",
            Self::RunDamaged => "run_damaged",
            Self::ProducerFenced => "producer_fenced",
            Self::ProducerGap => "producer_gap",
            Self::SequenceConflict => "sequence_conflict",
            Self::StaleAttempt => "stale_attempt",
            Self::ForgedToken => "forged_token",
            Self::ChunkGap => "chunk_gap",
            Self::QueueFull => "queue_full",
            Self::TooManyRequests => "too_many_requests",
            Self::Draining => "draining",
            Self::Unavailable => "unavailable",
            Self::DiskFull => "disk_full",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A request that was not carried out, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    pub code: Code,
    /// A sentence for the one who must act: what was wrong, where, what to do.
    pub message: String,
    /// When trying again makes sense, in milliseconds from now.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub retry_after_ms: Option<u64>,
    /// What a program may need to go on: an expected sequence, a line and column, the kept range.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub details: Vec<(String, String)>,
}

impl Refusal {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after_ms: None, details: Vec::new() }
    }

    #[must_use]
    pub fn retry_after_ms(mut self, millis: u64) -> Self {
        self.retry_after_ms = Some(millis);
        self
    }

    #[must_use]
    pub fn detail(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.details.push((name.to_owned(), value.to_string()));
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl std::error::Error for Refusal {}
