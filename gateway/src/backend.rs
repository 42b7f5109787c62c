//! What a gateway asks of a node: plain values in, plain values out, so that a gateway can run apart from the engine.
//! The tenant is always the caller's own, from its credential; no request carries one.

use std::future::Future;

/// The wire's own shapes that pass through, so that a node needs nothing but this port.
pub use protocol::{CHUNK, ChunkSource, EVENT, Event, Failure, HeldStatus, Holding, QueueSlots, Task};
use serde::{Deserialize, Serialize};
use types::{
    Cursor, Durability, History, IdempotencyKey, Incarnation, Offset, Payload, ProducerId, Refusal, RunId, StreamName,
    TenantId, Timestamp, WorkflowHash,
};

/// A node, near or far. A request is taken when the method is called, not when its future is first polled, so requests
/// of one caller reach a stream in the order of the calls. Every answer, also a refusal or a read, was derived from
/// state that is durable, as `durability` says, by the time it arrives. Dropping a future gives up the answer, never the
/// request; only a poll is over with it, and what it had not answered goes to others.
pub trait Backend: Clone + Send + Sync + 'static {
    fn create_stream(&self, tenant: &TenantId, request: CreateStream) -> impl Answer<StreamCreated>;
    fn append(&self, tenant: &TenantId, request: Append) -> impl Answer<Appended>;
    fn delete_stream(&self, tenant: &TenantId, stream: StreamName) -> impl Answer<()>;
    fn stream(&self, tenant: &TenantId, stream: StreamName) -> impl Answer<StreamInfo>;
    fn read(&self, tenant: &TenantId, request: Read) -> impl Answer<ReadReply>;
    fn pin(&self, tenant: &TenantId, request: Pin) -> impl Answer<()>;
    fn unpin(&self, tenant: &TenantId, stream: StreamName, reader: String) -> impl Answer<()>;

    fn register_workflow(&self, tenant: &TenantId, request: RegisterWorkflow) -> impl Answer<WorkflowRegistered>;
    fn workflows(&self, tenant: &TenantId) -> impl Answer<Vec<WorkflowInfo>>;
    fn workflow(&self, tenant: &TenantId, workflow: WorkflowRef) -> impl Answer<WorkflowSource>;

    fn start_run(&self, tenant: &TenantId, request: StartRun) -> impl Answer<RunAccepted>;
    fn signal_run(&self, tenant: &TenantId, request: SignalRun) -> impl Answer<SignalAccepted>;
    fn cancel_run(&self, tenant: &TenantId, request: CancelRun) -> impl Answer<()>;
    fn run(&self, tenant: &TenantId, run: RunId) -> impl Answer<RunInfo>;
    fn runs(&self, tenant: &TenantId, filter: ListRuns) -> impl Answer<RunPage>;

    /// Makes a worker known, or changes its queues, and settles what it holds. The same `worker` id again replaces.
    /// The gateway has checked names and numbers.
    fn attach_worker(&self, tenant: &TenantId, request: AttachWorker) -> impl Answer<Vec<(String, HeldStatus)>>;
    /// Tasks and cancellations for a worker, as many as its free slots allow; waits up to `wait_ms` for the first.
    /// Counts as a sign of life. A worker is given nothing while none of its polls waits.
    fn poll_worker(&self, tenant: &TenantId, request: PollWorker) -> impl Answer<Vec<WorkerPush>>;
    /// Tasks that a poll was answered with, but that could not be told to the worker: they go to others.
    fn return_tasks(&self, tenant: &TenantId, worker: String, tokens: Vec<String>);
    /// The worker's connection is gone. What it holds is kept for it for the reclaim time, then given up.
    fn detach_worker(&self, tenant: &TenantId, worker: String);
    fn chunk(&self, tenant: &TenantId, request: Chunk) -> impl Answer<ChunkTaken>;
    fn result(&self, tenant: &TenantId, request: StepResult) -> impl Answer<()>;
    fn beat(&self, tenant: &TenantId, worker: String, token: String) -> impl Answer<()>;

    /// Whether the node takes work; `Err` says why not (starting, draining).
    fn ready(&self) -> Result<(), Refusal>;

    /// What its acknowledgements promise; the same as long as it runs.
    fn durability(&self) -> Durability;

    /// What is damaged on disk and not served. The node lives on without it.
    fn damage(&self) -> Damage;
}

/// What a node goes on without.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    /// Segments of its log.
    pub segments: u64,
    /// Open runs whose state is lost.
    pub runs: u64,
    /// Definitions that have to be registered again.
    pub definitions: u64,
}

/// The shape of every answer.
pub trait Answer<T>: Future<Output = Result<T, Refusal>> + Send + 'static {}
impl<T, F: Future<Output = Result<T, Refusal>> + Send + 'static> Answer<T> for F {}

/// Creates a stream, or finds it with the same settings.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CreateStream {
    pub stream: StreamName,
    /// Lower case, without parameters; `None` means JSON.
    pub content_type: Option<String>,
    /// First events, appended in the same batch.
    pub events: Vec<Payload>,
    /// Create it closed: complete with its first events.
    pub closed: bool,
    pub keep: Keep,
}

/// How much of a stream is kept, where it says so itself; the rest is as the node has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keep {
    /// Since an event happened. At least so long: events go with the segments that they are in.
    pub age_ms: Option<u64>,
    /// The newest so many.
    pub events: Option<u64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StreamCreated {
    /// False: it was there already, with the same settings.
    pub created: bool,
    pub info: StreamInfo,
}

/// Appends events to a stream in one batch: all or none.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Append {
    pub stream: StreamName,
    /// May be empty only when `close` is set.
    pub events: Vec<Payload>,
    pub producer: Option<Producer>,
    /// Refused with `sequence_conflict` unless the stream's next offset is this one.
    pub expected: Option<Offset>,
    /// The writer's own place in its order: refused with `sequence_conflict` unless it is greater, byte by byte, than
    /// the last one that the stream took.
    pub sequence: Option<String>,
    /// Where the stream does not exist: create it (JSON, unless the first event says otherwise) instead of refusing.
    pub create: bool,
    /// Close the stream behind these events.
    pub close: bool,
}

/// A producer's place in its sequence on one stream, counted in requests: `seq` is dense from 0 within an `epoch`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Producer {
    pub id: ProducerId,
    pub epoch: u64,
    pub seq: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Appended {
    /// The offset of the first event of the request; of a duplicate, where it stood, if still known.
    pub offset: Option<Offset>,
    /// The cursor behind its last event; of a duplicate, the stream's end.
    pub cursor: Cursor,
    pub duplicate: bool,
    pub closed: bool,
    /// The highest sequence taken of the request's producer in its epoch.
    pub producer_seq: Option<u64>,
}

/// What is known of a stream. `low` is the first offset kept, `head` the next to be given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamInfo {
    pub history: History,
    pub incarnation: Incarnation,
    pub low: Offset,
    pub head: Offset,
    pub closed: bool,
    pub content_type: Option<String>,
}

/// Reads events from a cursor on; waits up to `wait_ms` for the first when there is none yet. At the end of a closed
/// stream it does not wait, and closing or deleting the stream ends a wait.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Read {
    pub stream: StreamName,
    /// Refused with `other_history`, `other_stream`, `trimmed` or `log_truncated` unless it is good.
    pub from: Cursor,
    pub max_events: usize,
    /// One event is always given, however large.
    pub max_bytes: usize,
    pub wait_ms: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReadReply {
    /// Dense from the cursor's offset on.
    pub events: Vec<Event>,
    pub info: StreamInfo,
}

/// Holds events back from being dropped, from `at` on, for a reader that has still to read them. Refused with the codes
/// of a read unless the cursor is good; the same reader again moves its pin.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pin {
    pub stream: StreamName,
    pub reader: String,
    pub at: Cursor,
    /// Further behind the head it holds nothing back any more; its reader is told by `trimmed`.
    pub max_lag: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RegisterWorkflow {
    /// YAML or JSON.
    pub source: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorkflowRegistered {
    pub workflow: WorkflowInfo,
    /// False: the same definition was registered before.
    pub created: bool,
    pub warnings: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkflowInfo {
    pub namespace: String,
    pub name: String,
    pub version: String,
    /// Hex of the content hash.
    pub hash: String,
    pub registered: Timestamp,
}

/// Which definition: `version: None` is the highest by semantic version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkflowRef {
    pub namespace: String,
    pub name: String,
    pub version: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorkflowSource {
    pub workflow: WorkflowInfo,
    pub source: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StartRun {
    pub workflow: WorkflowRef,
    pub input: Payload,
    /// The partition key: runs and streams of one key live and change together.
    pub key: Option<String>,
    pub idempotency_key: Option<IdempotencyKey>,
    pub tags: Vec<(String, String)>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunAccepted {
    pub run: RunId,
    /// The same idempotency key started this run before.
    pub duplicate: bool,
    /// The beginning of the run's stream.
    pub cursor: Cursor,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SignalRun {
    pub run: RunId,
    pub name: String,
    /// The sender's own id of this message: the same id again is a duplicate.
    pub id: Option<String>,
    pub payload: Payload,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SignalAccepted {
    pub duplicate: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CancelRun {
    pub run: RunId,
    pub reason: String,
}

/// A run as it stands. JSON members are raw texts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunInfo {
    pub run: RunId,
    pub key: Option<String>,
    pub workflow: WorkflowInfo,
    /// One of `RUN_STATUSES`.
    pub status: String,
    pub input: Payload,
    pub output: Option<Payload>,
    /// An error as RFC 7807 describes, when the run failed.
    pub error: Option<serde_json::Value>,
    /// Where it stands now: open steps and timers, for people.
    pub current: Vec<String>,
    pub started: Timestamp,
    pub closed: Option<Timestamp>,
    /// The next offset of its stream.
    pub head: Offset,
    pub tags: Vec<(String, String)>,
}

/// How a run may stand.
pub const RUN_STATUSES: [&str; 8] =
    ["running", "waiting", "cancelling", "completed", "failed", "cancelled", "terminated", DAMAGED];

/// Of a run whose row cannot be read: nothing else is known of it. Such runs are named whatever is asked for, since
/// they may be what is asked for.
pub const DAMAGED: &str = "damaged";

/// A run that a listing can only name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamagedRun {
    pub run: RunId,
    /// Where not even names can be read: all runs from `run` to this one, in the order of the listing, however many there
    /// are.
    pub through: Option<RunId>,
    /// It was open, and is set aside until it is given up.
    pub open: bool,
    pub what: String,
}

/// Newest first. `after` is the `next` of the page before.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ListRuns {
    pub workflow: Option<String>,
    pub status: Option<String>,
    pub after: Option<RunId>,
    /// 1 to 1,000.
    pub limit: usize,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunPage {
    pub runs: Vec<RunInfo>,
    /// Those in the page's range that are damaged, in the same order; they count as runs of the page.
    pub damaged: Vec<DamagedRun>,
    /// Pass it as `after` for the next page. A page may be short, even empty, and not the last: it is bounded in bytes and
    /// in what was looked at for it.
    pub next: Option<RunId>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AttachWorker {
    /// Chosen by the gateway for a socket, by the worker over HTTP.
    pub worker: String,
    pub queues: Vec<QueueSlots>,
    pub holding: Vec<Holding>,
    /// It holds nothing but `holding`: other attempts that it was given by this name are lost.
    pub holds_nothing_else: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PollWorker {
    pub worker: String,
    /// Tasks at most.
    pub max: usize,
    /// Bytes of tasks after which no further one is given; the last may pass this.
    pub max_bytes: usize,
    pub wait_ms: u64,
}

/// What a worker is sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum WorkerPush {
    Task(Task),
    /// Stop working on this; answer with a failure or a result, whichever comes.
    Cancel {
        token: String,
    },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Chunk {
    pub worker: String,
    pub token: String,
    pub seq: u64,
    pub data: Payload,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChunkTaken {
    /// All chunks below are durable.
    pub next_seq: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StepResult {
    pub worker: String,
    pub token: String,
    pub outcome: StepOutcome,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum StepOutcome {
    Output(Payload),
    Failed { failure: Failure, retry_after_ms: Option<u64> },
}

/// Kept here so that a hash in `WorkflowInfo` and in the kernel has one spelling.
pub fn hash_text(hash: WorkflowHash) -> String {
    hash.to_string()
}
