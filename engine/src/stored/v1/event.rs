//! The events that the kernel folds: one numbered body each. Output has a schema of its own, see `record.rs`.

use bincode::{Decode, Encode};
use bytes::Bytes;
use types::{RunId, StreamOrdinal};

use super::retention;
use super::row::Definition;
use super::shape::Shape;
use super::shapes::{
    DefinitionName, Failure, Function, MaybeValue, Next, Purpose, ScopeKind, TimerSet, Value, WorkflowError,
};
use crate::event::{Event, RunEvent, Started};
use crate::stored::envelope::{self, Opened};
use crate::stored::limits::EVENT_BYTES;
use crate::stored::{StoredError, kind_name};

const VERSION: u8 = 1;

/// What a body says by itself: the record's header says whose run it is.
pub(in crate::stored) enum Read {
    Whole(Event),
    OfRun(RunEvent),
}

/// The run's own id stands here and nowhere else: later events find it by the ordinal in their record's header.
#[derive(Encode, Decode)]
struct RunStarted {
    run: [u8; 20],
    tenant: String,
    definition: DefinitionName,
    hash: [u8; 32],
    key: Option<String>,
    idempotency_key: Option<String>,
    input: Value,
    data: MaybeValue,
    seed: u64,
    tags: Vec<(String, String)>,
}

#[derive(Encode, Decode)]
struct StreamCreated {
    tenant: String,
    name: String,
    ordinal: u64,
    content_type: Option<String>,
}

#[derive(Encode, Decode)]
struct StreamClosed {
    ordinal: u64,
}

#[derive(Encode, Decode)]
struct StreamDeleted {
    ordinal: u64,
}

#[derive(Encode, Decode)]
struct StreamSequenced {
    ordinal: u64,
    sequence: String,
}

const WORKFLOW_REGISTERED: u8 = 1;
const STREAM_CREATED: u8 = 2;
const STREAM_CLOSED: u8 = 3;
const STREAM_DELETED: u8 = 4;
const STREAM_SEQUENCED: u8 = 5;
const RUN_STARTED: u8 = 16;

/// Bodies whose fields are those of the event of the same name, in this order, under these numbers for ever.
macro_rules! run_events {
    ($($number:literal $event:ident { $($field:ident: $stored:ty),* $(,)? })+) => {
        $(#[derive(Encode, Decode)] struct $event { $($field: $stored),* })+

        /// Every kind of event, for messages and for the test that wants a golden fixture of each.
        pub(in crate::stored) const KINDS: &[(u8, &str)] = &[
            (WORKFLOW_REGISTERED, "WorkflowRegistered"),
            (STREAM_CREATED, "StreamCreated"),
            (STREAM_CLOSED, "StreamClosed"),
            (STREAM_DELETED, "StreamDeleted"),
            (STREAM_SEQUENCED, "StreamSequenced"),
            retention::KINDS[0],
            retention::KINDS[1],
            retention::KINDS[2],
            retention::KINDS[3],
            retention::KINDS[4],
            retention::KINDS[5],
            (RUN_STARTED, "Started"),
            $(($number, stringify!($event))),+
        ];

        fn give_run_event<T: Taker>(run: RunId, event: &RunEvent, taker: T) -> T::Given {
            match event {
                RunEvent::Started(started) => taker.take(RUN_STARTED, &RunStarted::of(run, started)),
                $(RunEvent::$event { $($field),* } => {
                    taker.take($number, &$event { $($field: Shape::of($field)),* })
                })+
                RunEvent::ChunkAppended { .. } | RunEvent::AttemptSuperseded { .. } => {
                    unreachable!("output has a schema of its own")
                }
            }
        }

        fn open_run_event(opened: &Opened<'_>) -> Result<RunEvent, StoredError> {
            match opened.kind {
                $($number => {
                    let $event { $($field),* } = read(opened)?;
                    Ok(RunEvent::$event { $($field: $field.restore()?),* })
                })+
                unknown => Err(StoredError::UnknownKind(unknown)),
            }
        }
    };
}

run_events! {
    17 Completed { output: MaybeValue }
    18 Failed { error: WorkflowError }
    19 CancelRequested { reason: String, timer: u32, due: u64 }
    20 Cancelled {}
    21 Terminated { reason: String }
    22 ContinueOwed {}
    23 Continued {}
    24 ScopeOpened { scope: u32, parent: u32, path: String, kind: ScopeKind, data: MaybeValue }
    25 IterationStarted { scope: u32, iteration: u32 }
    26 ScopeClosed { scope: u32 }
    27 TaskExited {
        scope: u32,
        path: Option<String>,
        skipped: bool,
        output: MaybeValue,
        context: MaybeValue,
        next: Next,
    }
    28 ErrorRaised { scope: u32, path: String, error: WorkflowError }
    29 ErrorCaught { scope: u32, error: WorkflowError, retry: Option<TimerSet> }
    30 FunctionBound { function: u32, definition: Box<Function> }
    31 StepScheduled {
        step: u32,
        scope: u32,
        path: String,
        function: u32,
        input: MaybeValue,
        task_input: MaybeValue,
    }
    32 AttemptFailed { step: u32, attempt: u32, failure: Failure, retry: TimerSet }
    33 StepCompleted { step: u32, attempt: u32, output: Value, worker: String }
    34 StepFailed { step: u32, attempt: u32, failure: Failure, error: WorkflowError }
    35 StepCancelRequested { step: u32 }
    36 StepCancelled { step: u32, attempt: u32 }
    37 TimerStarted { timer: TimerSet, purpose: Purpose, path: String, task_input: MaybeValue }
    38 TimerFired { timer: u32, purpose: Purpose }
    39 SignalReceived { name: String, id: Option<String>, payload: Value }
}

/// Frames an event. Not for output.
pub(in crate::stored) fn write(event: &Event) -> Bytes {
    give(event, Seal)
}

/// Whether `open` could read what `write` would frame. Not for output.
pub(in crate::stored) fn check(event: &Event) -> Result<(), StoredError> {
    give(event, Check)
}

fn give<T: Taker>(event: &Event, taker: T) -> T::Given {
    match event {
        Event::WorkflowRegistered(definition) => taker.take(WORKFLOW_REGISTERED, &Definition::of(definition)),
        Event::StreamCreated { tenant, name, ordinal, content_type } => {
            let (tenant, name, ordinal) = (Shape::of(tenant), Shape::of(name), Shape::of(ordinal));
            taker.take(STREAM_CREATED, &StreamCreated { tenant, name, ordinal, content_type: content_type.clone() })
        }
        Event::StreamClosed { stream } => taker.take(STREAM_CLOSED, &StreamClosed { ordinal: Shape::of(stream) }),
        Event::Retention(event) => retention::give(event, taker),
        Event::StreamDeleted { stream } => taker.take(STREAM_DELETED, &StreamDeleted { ordinal: Shape::of(stream) }),
        Event::StreamSequenced { stream, sequence } => {
            taker.take(STREAM_SEQUENCED, &StreamSequenced { ordinal: Shape::of(stream), sequence: sequence.clone() })
        }
        Event::Run { run, event } => give_run_event(*run, event, taker),
        Event::EventAppended { .. } => unreachable!("output has a schema of its own"),
    }
}

/// Reads what `write` framed; `stream` is the record's own.
pub(in crate::stored) fn open(opened: &Opened<'_>, stream: StreamOrdinal) -> Result<Read, StoredError> {
    let whole = match opened.kind {
        WORKFLOW_REGISTERED => Event::WorkflowRegistered(read::<Definition>(opened)?.restore()?),
        STREAM_CREATED => {
            let StreamCreated { tenant, name, ordinal, content_type } = read(opened)?;
            let (tenant, name) = (tenant.restore()?, name.restore()?);
            Event::StreamCreated { tenant, name, ordinal: ordinal.restore()?, content_type }
        }
        STREAM_CLOSED => Event::StreamClosed { stream: read::<StreamClosed>(opened)?.ordinal.restore()? },
        STREAM_DELETED => Event::StreamDeleted { stream: read::<StreamDeleted>(opened)?.ordinal.restore()? },
        STREAM_SEQUENCED => {
            let StreamSequenced { ordinal, sequence } = read(opened)?;
            Event::StreamSequenced { stream: ordinal.restore()?, sequence }
        }
        RUN_STARTED => read::<RunStarted>(opened)?.restore(stream)?,
        _ => match retention::open(opened)? {
            Some(event) => Event::Retention(event),
            None => return open_run_event(opened).map(Read::OfRun),
        },
    };
    Ok(Read::Whole(whole))
}

impl RunStarted {
    fn of(run: RunId, started: &Started) -> Self {
        Self {
            run: Shape::of(&run),
            tenant: Shape::of(&started.tenant),
            definition: Shape::of(&started.definition),
            hash: Shape::of(&started.hash),
            key: started.key.clone(),
            idempotency_key: Shape::of(&started.idempotency_key),
            input: Shape::of(&started.input),
            data: Shape::of(&started.data),
            seed: started.seed,
            tags: started.tags.clone(),
        }
    }

    fn restore(self, ordinal: StreamOrdinal) -> Result<Event, StoredError> {
        let started = Started {
            tenant: self.tenant.restore()?,
            ordinal,
            definition: self.definition.restore()?,
            hash: self.hash.restore()?,
            key: self.key,
            idempotency_key: self.idempotency_key.restore()?,
            input: self.input.restore()?,
            data: self.data.restore()?,
            seed: self.seed,
            tags: self.tags,
        };
        Ok(Event::Run { run: self.run.restore()?, event: RunEvent::Started(Box::new(started)) })
    }
}

/// Takes an event's body as it is stored.
pub(super) trait Taker {
    type Given;
    fn take<B: Encode + Decode<()>>(self, kind: u8, body: &B) -> Self::Given;
}

struct Seal;

impl Taker for Seal {
    type Given = Bytes;

    fn take<B: Encode + Decode<()>>(self, kind: u8, body: &B) -> Bytes {
        envelope::seal(kind, VERSION, &[], body, EVENT_BYTES)
    }
}

struct Check;

impl Taker for Check {
    type Given = Result<(), StoredError>;

    fn take<B: Encode + Decode<()>>(self, kind: u8, body: &B) -> Result<(), StoredError> {
        envelope::check::<B, EVENT_BYTES>(body).map_err(|why| StoredError::Body { kind: kind_name(kind), why })
    }
}

fn read<T: Decode<()>>(opened: &Opened<'_>) -> Result<T, StoredError> {
    envelope::read::<T, EVENT_BYTES>(opened.body).map_err(|why| StoredError::Body { kind: kind_name(opened.kind), why })
}
