//! One of each, with every option taken somewhere: what the golden fixtures hold. Never changed, only added to.

use std::collections::{BTreeMap, BTreeSet};

use types::{
    IdempotencyKey, Incarnation, Offset, Payload, Position, ProducerId, StreamName, StreamOrdinal, TenantId, Timestamp,
    WorkflowHash,
};
use workflow::{Growth, Jitter, RetryPolicy, WorkflowError};

use super::{RUN, STREAM};
use crate::command::ProducerStamp;
use crate::definition::{Definition, DefinitionName};
use crate::event::{Event, Next, RunEvent, Started, TimerSet};
use crate::retention::{Keep, Pin, RetentionEvent};
use crate::row::{RowImage, RowName, Scalars, StartKey, StartRecord};
use crate::run::{Run, RunStatus};
use crate::scope::{Activity, Scope, ScopeKind};
use crate::signal::Signal;
use crate::step::{Failure, Function, Step, StepStatus};
use crate::stored::Place;
use crate::stream::{ProducerWindow, Stream, StreamKey};
use crate::timer::{Purpose, Timer};

pub(super) struct EventSample {
    /// The event's name, then perhaps `-` and what is special.
    pub(super) name: &'static str,
    pub(super) event: Event,
    pub(super) place: Place,
}

pub(super) struct RowSample {
    pub(super) label: &'static str,
    pub(super) name: RowName,
    pub(super) image: RowImage,
}

pub(super) fn events() -> Vec<EventSample> {
    let shown = Place { stream: STREAM, offset: Offset::new(9) };
    let run = |(name, event)| EventSample { name, event: Event::Run { run: RUN, event }, place: shown };
    let mut samples = partition_events();
    samples.extend(retention_events());
    samples.extend(life_events().into_iter().chain(scope_events()).chain(step_events()).chain(other_events()).map(run));
    samples
}

fn partition_events() -> Vec<EventSample> {
    let nowhere = Place { stream: StreamOrdinal::NONE, offset: Offset::ZERO };
    let (stream, offset) = (StreamOrdinal::new(300), Offset::new(70_000));
    let producer = ProducerStamp { id: producer_id(), epoch: 3, sequence: 1_000 };
    let user = |name, payload, producer| {
        let event = Event::EventAppended { stream, offset, payload, producer };
        EventSample { name, event, place: Place { stream, offset } }
    };
    let kernel = |name, event| EventSample { name, event, place: nowhere };
    let StreamKey { tenant, name } = stream_key();
    let content_type = Some("text/plain".to_owned());
    vec![
        kernel("WorkflowRegistered", Event::WorkflowRegistered(definition())),
        kernel("StreamCreated", Event::StreamCreated { tenant, name, ordinal: stream, content_type }),
        kernel("StreamClosed", Event::StreamClosed { stream }),
        kernel("StreamDeleted", Event::StreamDeleted { stream }),
        kernel("StreamSequenced", Event::StreamSequenced { stream, sequence: "2026-11-24T08:00".to_owned() }),
        user("EventAppended", json(), Some(producer.clone())),
        user("EventAppended-bare", json(), None),
        user("EventAppended-typed", typed(), Some(producer)),
    ]
}

fn retention_events() -> Vec<EventSample> {
    let place = Place { stream: StreamOrdinal::NONE, offset: Offset::ZERO };
    let sample = |name, event| EventSample { name, event: Event::Retention(event), place };
    let stream = StreamOrdinal::new(300);
    let (reader, producers) = ("indexer".to_owned(), vec![producer_id()]);
    let pin = Pin { at: Offset::new(69_000), max_lag: 5_000 };
    let keep = Keep { age_ms: Some(3_600_000), events: Some(1_000) };
    let forgotten = |start| RetentionEvent::RunForgotten { run: RUN, stream: STREAM, start };
    vec![
        sample("StreamTrimmed", RetentionEvent::StreamTrimmed { stream, low: Offset::new(70_000) }),
        sample("ProducersForgotten", RetentionEvent::ProducersForgotten { stream, producers }),
        sample("KeepSet", RetentionEvent::KeepSet { stream, keep }),
        sample("KeepSet-bare", RetentionEvent::KeepSet { stream, keep: Keep::default() }),
        sample("ReaderPinned", RetentionEvent::ReaderPinned { stream, reader: reader.clone(), pin }),
        sample("ReaderUnpinned", RetentionEvent::ReaderUnpinned { stream, reader }),
        sample("RunForgotten", forgotten(Some(start_key()))),
        sample("RunForgotten-bare", forgotten(None)),
    ]
}

fn life_events() -> Vec<(&'static str, RunEvent)> {
    let started = Started {
        tenant: tenant(),
        ordinal: STREAM,
        definition: definition_name(),
        hash: hash(),
        key: Some("agent-42".to_owned()),
        idempotency_key: Some(idempotency_key()),
        input: json(),
        data: Some(json()),
        seed: 0x0123_4567_89ab_cdef,
        tags: vec![("team".to_owned(), "search".to_owned())],
    };
    let bare = Started { key: None, idempotency_key: None, data: None, tags: Vec::new(), ..started.clone() };
    vec![
        ("Started", RunEvent::Started(Box::new(started))),
        ("Started-bare", RunEvent::Started(Box::new(bare))),
        ("Completed", RunEvent::Completed { output: Some(json()) }),
        ("Completed-bare", RunEvent::Completed { output: None }),
        ("Failed", RunEvent::Failed { error: error() }),
        ("CancelRequested", RunEvent::CancelRequested { reason: "enough".to_owned(), timer: 4, due: due() }),
        ("Cancelled", RunEvent::Cancelled),
        ("Terminated", RunEvent::Terminated { reason: "its steps did not answer".to_owned() }),
        ("ContinueOwed", RunEvent::ContinueOwed),
        ("Continued", RunEvent::Continued),
    ]
}

fn scope_events() -> Vec<(&'static str, RunEvent)> {
    let path = || "/do/2/review".to_owned();
    let opened = |kind, data| RunEvent::ScopeOpened { scope: 5, parent: 0, path: path(), kind, data };
    let items = [json(), typed(), Payload::null()].into_iter().collect();
    let exited =
        |path, skipped, output, context, next| RunEvent::TaskExited { scope: 5, path, skipped, output, context, next };
    vec![
        ("ScopeOpened", opened(ScopeKind::Do, None)),
        ("ScopeOpened-root", opened(ScopeKind::Root, Some(typed()))),
        ("ScopeOpened-for", opened(ScopeKind::For { items, iteration: 0 }, Some(json()))),
        ("ScopeOpened-try", opened(ScopeKind::Try { attempt: 1, first: due() }, None)),
        ("ScopeOpened-catch", opened(ScopeKind::Catch { error: Box::new(error()) }, None)),
        ("IterationStarted", RunEvent::IterationStarted { scope: 5, iteration: 1_000 }),
        ("ScopeClosed", RunEvent::ScopeClosed { scope: 5 }),
        ("TaskExited", exited(Some(path()), false, Some(json()), Some(json()), Next::Index(3))),
        ("TaskExited-exit", exited(None, false, None, None, Next::Exit)),
        ("TaskExited-end", exited(Some(path()), true, None, None, Next::End)),
        ("ErrorRaised", RunEvent::ErrorRaised { scope: 5, path: path(), error: error() }),
        ("ErrorCaught", RunEvent::ErrorCaught { scope: 5, error: error(), retry: Some(timer_set()) }),
        ("ErrorCaught-bare", RunEvent::ErrorCaught { scope: 5, error: error(), retry: None }),
    ]
}

fn step_events() -> Vec<(&'static str, RunEvent)> {
    let (step, scope, function, attempt) = (7, 5, 1, 2);
    let path = || "/do/2/review/do/0/callModel@2".to_owned();
    let bound = |definition| RunEvent::FunctionBound { function, definition: Box::new(definition) };
    let scheduled =
        |input, task_input| RunEvent::StepScheduled { step, scope, path: path(), function, input, task_input };
    let other_policy = RetryPolicy {
        growth: Growth::Linear,
        jitter: Jitter::Between { from_ms: 5, to_ms: 500 },
        max_duration_ms: None,
        ..retry_policy()
    };
    let still = RetryPolicy { growth: Growth::Constant, jitter: Jitter::None, ..retry_policy() };
    vec![
        ("FunctionBound", bound(called(retry_policy()))),
        ("FunctionBound-linear", bound(Function { schedule_to_start_ms: None, ..called(other_policy) })),
        ("FunctionBound-constant", bound(Function { heartbeat_ms: None, ..called(still) })),
        ("StepScheduled", scheduled(Some(json()), Some(typed()))),
        ("StepScheduled-bare", scheduled(None, None)),
        ("AttemptFailed", RunEvent::AttemptFailed { step, attempt, failure: failure(), retry: timer_set() }),
        ("StepCompleted", RunEvent::StepCompleted { step, attempt, output: json(), worker: "worker-1".to_owned() }),
        ("StepFailed", RunEvent::StepFailed { step, attempt, failure: failure(), error: error() }),
        ("StepCancelRequested", RunEvent::StepCancelRequested { step }),
        ("StepCancelled", RunEvent::StepCancelled { step, attempt }),
        ("ChunkAppended", RunEvent::ChunkAppended { step, attempt, sequence: 1 << 40, data: json() }),
        ("ChunkAppended-typed", RunEvent::ChunkAppended { step, attempt, sequence: 0, data: typed() }),
        ("AttemptSuperseded", RunEvent::AttemptSuperseded { step, attempt }),
    ]
}

fn other_events() -> Vec<(&'static str, RunEvent)> {
    let started = |purpose, task_input| RunEvent::TimerStarted {
        timer: timer_set(),
        purpose,
        path: "/do/3/wait".to_owned(),
        task_input,
    };
    let fired = |purpose| RunEvent::TimerFired { timer: 4, purpose };
    let signal = |id| RunEvent::SignalReceived { name: "approve".to_owned(), id, payload: json() };
    vec![
        ("TimerStarted", started(Purpose::Wait { scope: 5 }, Some(json()))),
        ("TimerStarted-bare", started(Purpose::TryAgain { scope: 5 }, None)),
        ("TimerFired", fired(Purpose::Wait { scope: 5 })),
        ("TimerFired-retry", fired(Purpose::Retry { step: 7 })),
        ("TimerFired-grace", fired(Purpose::CancelGrace)),
        ("SignalReceived", signal(Some("message-1".to_owned()))),
        ("SignalReceived-bare", signal(None)),
    ]
}

pub(super) fn rows() -> Vec<RowSample> {
    let row = |label, name, image| RowSample { label, name, image };
    let run = |label, name, run| RowSample { label, name, image: RowImage::Run(Box::new(run)) };
    let ordinal = StreamOrdinal::new(300);
    let stream = Stream {
        ordinal,
        incarnation: incarnation(),
        low: Offset::new(12),
        head: Offset::new(70_001),
        closed: true,
        content_type: Some("text/plain".to_owned()),
        sequence: None,
        keep: Keep::default(),
        pins: BTreeMap::new(),
    };
    let sequenced = Stream { sequence: Some("2026-11-24T08:00".to_owned()), ..stream.clone() };
    let keep = Keep { age_ms: Some(3_600_000), events: Some(1_000) };
    let pins = BTreeMap::from([("indexer".to_owned(), Pin { at: Offset::new(69_000), max_lag: 5_000 })]);
    let kept = Stream { keep, pins, ..stream.clone() };
    let kept_and_sequenced = Stream { sequence: Some("2026".to_owned()), ..kept.clone() };
    let bare = Stream { closed: false, content_type: None, ..stream.clone() };
    let window = ProducerWindow { ordinal, epoch: 3, sequence: 1_000, offset: Offset::new(70_000) };
    let start = start_key();
    let record = StartRecord { run: RUN, input_hash: [9; 32], started: due() };
    let definition = definition();
    let definition_row = RowName::Definition(definition.hash, definition.tenant.clone(), definition.name.clone());
    let other_stream = StreamKey { name: StreamName::of_run(RUN), ..stream_key() };
    vec![
        row("Partition", RowName::Partition, RowImage::Partition(Scalars { next_ordinal: ordinal, time: due() })),
        run("OpenRun", RowName::OpenRun(RUN), open_run()),
        run("OpenRun-lean", RowName::OpenRun(RUN), lean_run()),
        run("ClosedRun-lean", RowName::ClosedRun(RUN), closed_lean_run()),
        run("ClosedRun", RowName::ClosedRun(RUN), closed_run(RunStatus::Completed)),
        run("ClosedRun-failed", RowName::ClosedRun(RUN), closed_run(RunStatus::Failed)),
        run("ClosedRun-cancelled", RowName::ClosedRun(RUN), closed_run(RunStatus::Cancelled)),
        run("ClosedRun-terminated", RowName::ClosedRun(RUN), closed_run(RunStatus::Terminated)),
        row("Stream", RowName::Stream(stream_key()), RowImage::Stream(stream)),
        row("Stream-sequenced", RowName::Stream(stream_key()), RowImage::Stream(sequenced)),
        row("Stream-bare", RowName::Stream(other_stream), RowImage::Stream(bare)),
        row("Stream-kept", RowName::Stream(stream_key()), RowImage::Stream(kept)),
        row("Stream-kept-sequenced", RowName::Stream(stream_key()), RowImage::Stream(kept_and_sequenced)),
        row("RunOfStream", RowName::RunOfStream(STREAM), RowImage::RunOfStream(RUN)),
        row("StreamName", RowName::StreamName(ordinal), RowImage::StreamName(stream_key())),
        row("Producer", RowName::Producer(stream_key(), producer_id()), RowImage::Producer(window)),
        row("Start", RowName::Start(start.clone()), RowImage::Start(record.clone())),
        row("Start-bare", RowName::Start(StartKey { key: None, ..start }), RowImage::Start(record)),
        row("Definition", definition_row, RowImage::Definition(definition)),
    ]
}

fn start_key() -> StartKey {
    StartKey {
        tenant: tenant(),
        workflow: ("agents".to_owned(), "review".to_owned()),
        key: Some("agent-42".to_owned()),
        idempotency_key: idempotency_key(),
    }
}

fn open_run() -> Run {
    let scope = |parent, kind, activity| Scope {
        parent,
        kind,
        path: "/do/2/review".to_owned(),
        index: 2,
        visits: BTreeMap::from([(0, 1), (2, 300)]),
        data: json(),
        began: None,
        task_input: Some(typed()),
        activity,
    };
    let step = |attempt, unsuperseded, status| Step {
        scope: 5,
        path: "/do/2/review/do/0/callModel".to_owned(),
        function: 0,
        input: json(),
        attempt,
        failures: attempt - 1,
        next_sequence: 12,
        unsuperseded,
        scheduled: due(),
        status,
    };
    let timer = |purpose| Timer { due: due(), purpose };
    let items = [json(), Payload::null()].into_iter().collect();
    let returned = Activity::Returned { output: json(), caught: true };
    let caught = ScopeKind::Catch { error: Box::new(error()) };
    Run {
        status: RunStatus::Cancelling,
        closed: None,
        output: None,
        error: None,
        scopes: BTreeMap::from([
            (0, scope(None, ScopeKind::Root, Activity::Child { scope: 5 })),
            (5, scope(Some(0), ScopeKind::For { items, iteration: 1 }, Activity::Step { step: 7 })),
            (6, scope(Some(5), ScopeKind::Try { attempt: 2, first: due() }, Activity::Timer { timer: 3 })),
            (7, scope(Some(6), caught, returned)),
            (8, scope(Some(7), ScopeKind::Do, Activity::Raised { error: Box::new(error()) })),
            (9, scope(Some(8), ScopeKind::Do, Activity::Ready)),
            (10, scope(Some(9), ScopeKind::Do, Activity::Exiting)),
            (11, scope(Some(10), ScopeKind::Do, Activity::Ending)),
        ]),
        steps: BTreeMap::from([
            (7, step(1, None, StepStatus::Owed)),
            (8, step(2, Some(1), StepStatus::Retrying { timer: 2 })),
            (9, step(3, None, StepStatus::Cancelling)),
        ]),
        timers: BTreeMap::from([
            (1, timer(Purpose::Wait { scope: 9 })),
            (2, timer(Purpose::Retry { step: 8 })),
            (3, timer(Purpose::TryAgain { scope: 6 })),
            (4, timer(Purpose::CancelGrace)),
        ]),
        functions: vec![called(retry_policy())],
        signals: vec![Signal { name: "approve".to_owned(), id: Some("message-1".to_owned()), payload: json() }],
        signal_ids: BTreeSet::from(["message-1".to_owned()]),
        context: Some(json()),
        continue_owed: true,
        entries: 17,
        ..closed_run(RunStatus::Cancelled)
    }
}

fn long(of: &str) -> Payload {
    Payload::json(format!("\"{}\"", of.repeat(70)))
}

/// Two values, each in several places, and tasks that know when they began.
fn lean_run() -> Run {
    let mut run = Run { input: long("a"), context: Some(long("b")), ..open_run() };
    for (scope, task_input, began) in [(0, None, Some(due())), (5, Some(long("b")), Some(due().plus_millis(300)))] {
        let scope = run.scopes.get_mut(&scope).expect("it is open");
        (scope.data, scope.task_input, scope.began) = (long("a"), task_input, began);
    }
    let caught = run.scopes.get_mut(&7).expect("it is open");
    caught.activity = Activity::Returned { output: long("b"), caught: true };
    run.steps.get_mut(&7).expect("it is open").input = long("b");
    run
}

fn closed_lean_run() -> Run {
    Run { input: long("a"), output: Some(long("a")), ..closed_run(RunStatus::Completed) }
}

fn closed_run(status: RunStatus) -> Run {
    Run {
        id: RUN,
        tenant: tenant(),
        ordinal: STREAM,
        incarnation: incarnation(),
        head: Offset::new(40),
        definition: definition_name(),
        hash: hash(),
        key: Some("agent-42".to_owned()),
        idempotency_key: Some(idempotency_key()),
        input: json(),
        seed: 0x0123_4567_89ab_cdef,
        tags: vec![("team".to_owned(), "search".to_owned())],
        status,
        started: due(),
        closed: Some(due().plus_millis(90_000)),
        output: (status == RunStatus::Completed).then(json),
        error: (status == RunStatus::Failed).then(error),
        reason: (status != RunStatus::Completed).then(|| "enough".to_owned()),
        context: None,
        scopes: BTreeMap::new(),
        steps: BTreeMap::new(),
        timers: BTreeMap::new(),
        functions: Vec::new(),
        signals: Vec::new(),
        signal_ids: BTreeSet::new(),
        continue_owed: false,
        entries: 0,
        next_scope: 12,
        next_step: 10,
        next_timer: 5,
    }
}

fn json() -> Payload {
    Payload::json("{\"answer\":42}")
}

fn typed() -> Payload {
    let meta = vec![("encoding".to_owned(), "raw".to_owned()), ("encoding".to_owned(), String::new())];
    Payload { data: vec![0, 159, 146, 150].into(), content_type: Some("application/octet-stream".to_owned()), meta }
}

fn tenant() -> TenantId {
    TenantId::new("acme").expect("a plain name")
}

fn stream_key() -> StreamKey {
    StreamKey { tenant: tenant(), name: StreamName::new("agent-42/tokens").expect("a plain name") }
}

fn idempotency_key() -> IdempotencyKey {
    IdempotencyKey::new("order-4711").expect("visible ASCII")
}

fn producer_id() -> ProducerId {
    ProducerId::new("agent-42.main").expect("visible ASCII")
}

fn hash() -> WorkflowHash {
    WorkflowHash::of("document: {}")
}

fn incarnation() -> Incarnation {
    Incarnation::at(Position::new(123_456_789_012))
}

fn due() -> Timestamp {
    Timestamp::from_millis(1_795_493_220_123)
}

fn timer_set() -> TimerSet {
    TimerSet { timer: 3, due: due() }
}

fn definition_name() -> DefinitionName {
    DefinitionName { namespace: "agents".to_owned(), name: "review".to_owned(), version: "1.2.3".to_owned() }
}

fn definition() -> Definition {
    Definition {
        tenant: tenant(),
        name: definition_name(),
        hash: hash(),
        source: "document: {}".into(),
        registered: due(),
    }
}

fn error() -> WorkflowError {
    WorkflowError {
        type_: "https://serverlessworkflow.io/spec/1.0.0/errors/timeout".to_owned(),
        status: 408,
        title: Some("Timeout".to_owned()),
        detail: Some("no answer within 5 s".to_owned()),
        instance: Some("/do/2/review".to_owned()),
    }
}

fn failure() -> Failure {
    let cause = Failure::new("IOError", "connection reset");
    Failure {
        source: Some("python".to_owned()),
        stack: Some("Traceback".to_owned()),
        non_retryable: true,
        details: Some(json()),
        cause: Some(Box::new(cause)),
        ..Failure::new("ModelError", "the model did not answer")
    }
}

fn retry_policy() -> RetryPolicy {
    RetryPolicy {
        max_attempts: 3,
        initial_ms: 1_000,
        growth: Growth::Exponential(2.0),
        cap_ms: 30_000,
        jitter: Jitter::Factor(0.3),
        max_duration_ms: Some(3_600_000),
        non_retryable: vec!["InvalidInput".to_owned()],
    }
}

fn called(retry: RetryPolicy) -> Function {
    Function {
        name: "callModel".to_owned(),
        task: "call-model".to_owned(),
        queue: "gpu".to_owned(),
        stream: true,
        retry,
        start_to_close_ms: 300_000,
        schedule_to_start_ms: Some(60_000),
        heartbeat_ms: Some(5_000),
    }
}
