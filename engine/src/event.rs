//! What happened. Events are facts and carry results: `Partition::apply` neither evaluates an expression nor consults
//! a definition. Only what the kernel emits today is here.

use types::{IdempotencyKey, Offset, Payload, RunId, StreamName, StreamOrdinal, TenantId, Timestamp};
use workflow::WorkflowError;

use crate::command::ProducerStamp;
use crate::definition::Definition;
use crate::retention::RetentionEvent;
use crate::scope::ScopeKind;
use crate::step::{Failure, Function};
use crate::timer::Purpose;

/// One event of a partition.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    WorkflowRegistered(Definition),
    StreamCreated {
        tenant: TenantId,
        name: StreamName,
        ordinal: StreamOrdinal,
        content_type: Option<String>,
    },
    EventAppended {
        stream: StreamOrdinal,
        offset: Offset,
        payload: Payload,
        producer: Option<ProducerStamp>,
    },
    /// A writer's own order: the next request that names a sequence has to name a greater one.
    StreamSequenced {
        stream: StreamOrdinal,
        sequence: String,
    },
    StreamClosed {
        stream: StreamOrdinal,
    },
    StreamDeleted {
        stream: StreamOrdinal,
    },
    Retention(RetentionEvent),
    Run {
        run: RunId,
        event: RunEvent,
    },
}

/// One event of a run. Numbers (`step`, `scope`, `timer`, `function`) are given by the run, dense, never reused.
#[derive(Clone, Debug, PartialEq)]
pub enum RunEvent {
    Started(Box<Started>),
    Completed {
        /// `None`: the root scope's data as it stands.
        output: Option<Payload>,
    },
    Failed {
        error: WorkflowError,
    },
    CancelRequested {
        reason: String,
        /// The timer that terminates the run when its steps do not answer.
        timer: u32,
        due: Timestamp,
    },
    Cancelled,
    Terminated {
        reason: String,
    },
    /// What follows is more than one batch should hold: go on in the next.
    ContinueOwed,
    Continued,

    ScopeOpened {
        scope: u32,
        parent: u32,
        /// The address of the task that opened it.
        path: String,
        kind: ScopeKind,
        /// `None`: the parent's data as it stands.
        data: Option<Payload>,
    },
    /// The next turn of a `for`, counted from 0.
    IterationStarted {
        scope: u32,
        iteration: u32,
    },
    /// Its result (its data as it stands) becomes the raw output of the task that opened it.
    ScopeClosed {
        scope: u32,
    },
    TaskExited {
        scope: u32,
        /// The task's address, for a task that began and ended in this one event.
        path: Option<String>,
        /// `if` was false.
        skipped: bool,
        /// `None`: the raw output as it stands; without one, the scope's data.
        output: Option<Payload>,
        context: Option<Payload>,
        next: Next,
    },
    ErrorRaised {
        scope: u32,
        path: String,
        error: WorkflowError,
    },
    /// A `try` caught what was raised inside it. With `retry` its tasks begin again when the timer fires; without,
    /// the scope goes on with the tasks of its `catch`.
    ErrorCaught {
        scope: u32,
        error: WorkflowError,
        retry: Option<TimerSet>,
    },

    /// A function is used for the first time in this run: its resolved policy is kept once, not with every step.
    FunctionBound {
        function: u32,
        definition: Box<Function>,
    },
    StepScheduled {
        step: u32,
        scope: u32,
        path: String,
        function: u32,
        /// `None`: the task's own input.
        input: Option<Payload>,
        /// The task's own input where `input.from` changed it. `None`: the scope's data as it stands.
        task_input: Option<Payload>,
    },
    AttemptFailed {
        step: u32,
        attempt: u32,
        failure: Failure,
        retry: TimerSet,
    },
    StepCompleted {
        step: u32,
        attempt: u32,
        output: Payload,
        worker: String,
    },
    StepFailed {
        step: u32,
        attempt: u32,
        failure: Failure,
        error: WorkflowError,
    },
    StepCancelRequested {
        step: u32,
    },
    StepCancelled {
        step: u32,
        attempt: u32,
    },
    ChunkAppended {
        step: u32,
        attempt: u32,
        sequence: u64,
        data: Payload,
    },
    /// Readers cut what this attempt streamed: the next one begins again.
    AttemptSuperseded {
        step: u32,
        attempt: u32,
    },

    TimerStarted {
        timer: TimerSet,
        purpose: Purpose,
        path: String,
        task_input: Option<Payload>,
    },
    TimerFired {
        timer: u32,
        /// Why it was set, so that history reads without looking back.
        purpose: Purpose,
    },
    SignalReceived {
        name: String,
        id: Option<String>,
        payload: Payload,
    },
}

/// A timer's number and when it is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerSet {
    pub timer: u32,
    pub due: Timestamp,
}

/// The first event of a run: all that was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Started {
    pub tenant: TenantId,
    pub ordinal: StreamOrdinal,
    pub definition: crate::definition::DefinitionName,
    pub hash: types::WorkflowHash,
    pub key: Option<String>,
    pub idempotency_key: Option<IdempotencyKey>,
    /// As given.
    pub input: Payload,
    /// What the first task sees, where the definition's `input.from` made it differ from `input`.
    pub data: Option<Payload>,
    pub seed: u64,
    pub tags: Vec<(String, String)>,
}

/// Where a scope goes after a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The task at this index of the same scope; one past the last ends it.
    Index(u32),
    /// Out of this scope.
    Exit,
    /// The run is over.
    End,
}

/// Which record class an event is kept as: the kernel's view of `storage`'s classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Folded and shown: it takes the next offset of its stream, where it has one.
    Fact,
    /// Folded, not shown.
    Attempt,
    /// Shown; recovery reads only its header.
    Output,
}

impl Event {
    /// The user stream that it changes without taking an offset of it.
    pub const fn touches(&self) -> Option<StreamOrdinal> {
        match self {
            Self::StreamSequenced { stream, .. } | Self::StreamClosed { stream } | Self::StreamDeleted { stream } => {
                Some(*stream)
            }
            Self::Retention(event) => event.stream(),
            Self::WorkflowRegistered(_)
            | Self::StreamCreated { .. }
            | Self::EventAppended { .. }
            | Self::Run { .. } => None,
        }
    }

    pub const fn class(&self) -> Class {
        match self {
            Self::WorkflowRegistered(_)
            | Self::StreamCreated { .. }
            | Self::StreamSequenced { .. }
            | Self::StreamClosed { .. }
            | Self::StreamDeleted { .. }
            | Self::Retention(_) => Class::Attempt,
            Self::EventAppended { .. } => Class::Output,
            Self::Run { event, .. } => event.class(),
        }
    }
}

impl RunEvent {
    /// Whether the run is over with it.
    pub const fn closes(&self) -> bool {
        matches!(self, Self::Completed { .. } | Self::Failed { .. } | Self::Cancelled | Self::Terminated { .. })
    }

    pub const fn class(&self) -> Class {
        match self {
            Self::ChunkAppended { .. } | Self::AttemptSuperseded { .. } => Class::Output,
            Self::AttemptFailed { .. }
            | Self::FunctionBound { .. }
            | Self::ContinueOwed
            | Self::Continued
            | Self::TimerFired { purpose: Purpose::Retry { .. }, .. } => Class::Attempt,
            Self::Started(_)
            | Self::Completed { .. }
            | Self::Failed { .. }
            | Self::CancelRequested { .. }
            | Self::Cancelled
            | Self::Terminated { .. }
            | Self::ScopeOpened { .. }
            | Self::IterationStarted { .. }
            | Self::ScopeClosed { .. }
            | Self::TaskExited { .. }
            | Self::ErrorRaised { .. }
            | Self::ErrorCaught { .. }
            | Self::StepScheduled { .. }
            | Self::StepCompleted { .. }
            | Self::StepFailed { .. }
            | Self::StepCancelRequested { .. }
            | Self::StepCancelled { .. }
            | Self::TimerStarted { .. }
            | Self::TimerFired { .. }
            | Self::SignalReceived { .. } => Class::Fact,
        }
    }
}
