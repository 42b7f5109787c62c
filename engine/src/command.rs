//! What the world asks of a partition, and what it is told once that is durable.

use std::sync::Arc;

use types::{
    IdempotencyKey, Offset, Payload, ProducerId, RunId, StreamName, StreamOrdinal, TenantId, Timestamp, WorkflowHash,
};

use crate::definition::DefinitionName;
use crate::event::Event;
use crate::rejection::Rejection;
use crate::retention::{Keep, Pin};
use crate::step::Failure;
use crate::stream::StreamKey;
use crate::token::Token;

/// One request to a partition. The tenant comes from the credential.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// System partition only; the source was compiled before.
    RegisterWorkflow {
        tenant: TenantId,
        name: DefinitionName,
        hash: WorkflowHash,
        source: Arc<str>,
    },
    StartRun(Box<StartRun>),
    SignalRun {
        tenant: TenantId,
        run: RunId,
        name: String,
        id: Option<String>,
        payload: Payload,
    },
    CancelRun {
        tenant: TenantId,
        run: RunId,
        reason: String,
    },
    CompleteStep {
        token: Token,
        output: Payload,
        worker: String,
    },
    FailStep {
        token: Token,
        failure: Failure,
        retry_after_ms: Option<u64>,
    },
    /// From the dispatcher, never from outside: the attempt's worker is gone or its time is up.
    LoseAttempt {
        run: RunId,
        step: u32,
        attempt: u32,
        failure: Failure,
    },
    /// From the dispatcher: nobody holds the step that was to be cancelled, or its holder let go.
    DropStep {
        run: RunId,
        step: u32,
        attempt: u32,
    },
    AppendChunk {
        token: Token,
        sequence: u64,
        data: Payload,
    },
    /// From the alarm, for a timer that is due.
    FireTimer {
        run: RunId,
        timer: u32,
    },
    /// From the driver, for a run that owes a `Continue`.
    ContinueRun {
        run: RunId,
    },
    CreateStream {
        tenant: TenantId,
        name: StreamName,
        content_type: Option<String>,
        events: Vec<Payload>,
        closed: bool,
        /// Only what the stream says itself of how long it is kept.
        keep: Keep,
    },
    AppendEvents(Box<AppendEvents>),
    DeleteStream {
        tenant: TenantId,
        name: StreamName,
    },
    /// Holds back what a reader has still to read, or moves on what it holds.
    PinReader {
        tenant: TenantId,
        name: StreamName,
        reader: String,
        pin: Pin,
    },
    UnpinReader {
        tenant: TenantId,
        name: StreamName,
        reader: String,
    },
    /// From the retention of the node, never from outside, as the next two.
    TrimStreams(Box<TrimStreams>),
    ForgetRuns {
        runs: Vec<RunId>,
        /// Their room is needed, whatever their age.
        room: bool,
    },
    ForgetProducers {
        stream: StreamOrdinal,
        producers: Vec<ProducerId>,
    },
}

/// What a sealed segment of the stream chain holds, for streams whose events in it may be too old.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrimStreams {
    /// The time of the segment's last record.
    pub newest: Timestamp,
    /// Streams with events in it, and one past the last of each.
    pub extents: Vec<(StreamOrdinal, Offset)>,
    /// Its room is needed, whatever its age.
    pub room: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct StartRun {
    pub tenant: TenantId,
    /// Fresh; carries the routing hash of this partition.
    pub run: RunId,
    pub definition: DefinitionName,
    pub hash: WorkflowHash,
    pub key: Option<String>,
    pub idempotency_key: Option<IdempotencyKey>,
    pub input: Payload,
    /// Drawn by the caller: what `uuid` and jitter derive from.
    pub seed: u64,
    pub tags: Vec<(String, String)>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct AppendEvents {
    pub tenant: TenantId,
    pub name: StreamName,
    pub events: Vec<Payload>,
    pub producer: Option<ProducerStamp>,
    pub expected: Option<Offset>,
    /// The writer's own place in its order: refused unless it is greater than the last one that the stream took.
    pub sequence: Option<String>,
    pub create: bool,
    pub close: bool,
}

/// A producer's place on a stream: `sequence` counts its requests, dense from 0 within an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerStamp {
    pub id: ProducerId,
    pub epoch: u64,
    pub sequence: u64,
}

/// What a decision came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// Cause first; empty for a duplicate.
    pub events: Vec<Event>,
    pub answer: Answer,
}

/// A decision or a rejection.
pub type Outcome = Result<Decision, Rejection>;

/// What the asker is told at the gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Registered {
        created: bool,
    },
    Started {
        run: RunId,
        duplicate: bool,
    },
    Signalled {
        duplicate: bool,
    },
    Appended {
        offset: Option<Offset>,
        end: Offset,
        duplicate: bool,
        closed: bool,
        /// The highest sequence taken of the request's producer in its epoch.
        producer_sequence: Option<u64>,
    },
    Created {
        created: bool,
    },
    /// All chunks below are taken.
    ChunkTaken {
        next_sequence: u64,
    },
    /// `cleared`: no stream keeps any of what was asked for; else it is worth asking again at `next`.
    Trimmed {
        trimmed: Vec<(StreamKey, StreamOrdinal, Offset)>,
        cleared: bool,
        next: Option<Timestamp>,
        /// All that was asked for are users' streams.
        only_streams: bool,
    },
    Done,
}
