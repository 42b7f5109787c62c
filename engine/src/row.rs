//! What a partition keeps beside its log: the names of its rows and what they hold. `stored` turns both into bytes.

use types::{IdempotencyKey, Payload, ProducerId, RunId, StreamOrdinal, TenantId, Timestamp, WorkflowHash};

use crate::command::StartRun;
use crate::definition::{Definition, DefinitionName};
use crate::run::Run;
use crate::stream::{ProducerWindow, Stream, StreamKey};

/// Which row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowName {
    /// The partition's scalars.
    Partition,
    OpenRun(RunId),
    ClosedRun(RunId),
    /// The closed run whose stream has this ordinal.
    RunOfStream(StreamOrdinal),
    Stream(StreamKey),
    StreamName(StreamOrdinal),
    Producer(StreamKey, ProducerId),
    Start(StartKey),
    Definition(WorkflowHash, TenantId, DefinitionName),
}

/// What an idempotency key of a start is unique within.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StartKey {
    pub tenant: TenantId,
    /// Namespace and name: the key means the same start whatever the version.
    pub workflow: (String, String),
    pub key: Option<String>,
    pub idempotency_key: IdempotencyKey,
}

/// The run that an idempotency key started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartRecord {
    pub run: RunId,
    /// blake3 over the input: the same key with another input is a conflict.
    pub input_hash: [u8; 32],
    pub started: Timestamp,
}

/// A partition's scalars.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scalars {
    pub next_ordinal: StreamOrdinal,
    /// The time of the last event.
    pub time: Timestamp,
}

/// What a row holds.
#[derive(Clone, Debug, PartialEq)]
pub enum RowImage {
    Partition(Scalars),
    Run(Box<Run>),
    Stream(Stream),
    StreamName(StreamKey),
    RunOfStream(RunId),
    Producer(ProducerWindow),
    Start(StartRecord),
    Definition(Definition),
}

impl StartKey {
    /// Of a start that brings an idempotency key.
    pub(crate) fn of(start: &StartRun) -> Option<Self> {
        Some(Self {
            tenant: start.tenant.clone(),
            workflow: (start.definition.namespace.clone(), start.definition.name.clone()),
            key: start.key.clone(),
            idempotency_key: start.idempotency_key.clone()?,
        })
    }
}

impl StartRecord {
    pub(crate) fn of(run: &Run) -> Option<(StartKey, Self)> {
        let key = StartKey {
            tenant: run.tenant.clone(),
            workflow: (run.definition.namespace.clone(), run.definition.name.clone()),
            key: run.key.clone(),
            idempotency_key: run.idempotency_key.clone()?,
        };
        Some((key, Self { run: run.id, input_hash: input_hash(&run.input), started: run.started }))
    }
}

/// What tells one input from another.
pub(crate) fn input_hash(input: &Payload) -> [u8; 32] {
    *blake3::hash(&input.data).as_bytes()
}
