//! Every event and row there can be, small.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use types::{
    IdempotencyKey, Incarnation, Offset, Payload, Position, ProducerId, RoutingHash, RunId, StreamName, StreamOrdinal,
    TenantId, Timestamp, WorkflowHash,
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

fn text() -> impl Strategy<Value = String> {
    "\\PC{0,8}"
}

fn maybe_text() -> impl Strategy<Value = Option<String>> {
    option::of(text())
}

fn pairs() -> impl Strategy<Value = Vec<(String, String)>> {
    vec((text(), text()), 0..3)
}

fn payload() -> impl Strategy<Value = Payload> {
    let data = || vec(any::<u8>(), 0..24);
    prop_oneof![
        data().prop_map(Payload::json),
        (data(), maybe_text(), pairs()).prop_map(|(data, content_type, meta)| Payload {
            data: data.into(),
            content_type,
            meta
        }),
        // Long enough that a row holds it once, and likely to be met twice.
        any::<bool>().prop_map(|which| Payload::json(vec![u8::from(which); 100])),
    ]
}

fn maybe_payload() -> impl Strategy<Value = Option<Payload>> {
    option::of(payload())
}

fn time() -> impl Strategy<Value = Timestamp> {
    any::<u64>().prop_map(Timestamp::from_millis)
}

fn offset() -> impl Strategy<Value = Offset> {
    any::<u64>().prop_map(Offset::new)
}

fn ordinal() -> impl Strategy<Value = StreamOrdinal> {
    (1..u64::MAX).prop_map(StreamOrdinal::new)
}

fn incarnation() -> impl Strategy<Value = Incarnation> {
    any::<u64>().prop_map(|position| Incarnation::at(Position::new(position)))
}

fn run_id() -> impl Strategy<Value = RunId> {
    (any::<u32>(), any::<u128>()).prop_map(|(hash, ulid)| RunId::new(RoutingHash::from_bits(hash), ulid))
}

fn hash() -> impl Strategy<Value = WorkflowHash> {
    any::<[u8; 32]>().prop_map(WorkflowHash::from_bytes)
}

fn tenant() -> impl Strategy<Value = TenantId> {
    "[a-zA-Z0-9][-a-zA-Z0-9_.]{0,9}".prop_map(|name| TenantId::new(&name).expect("a plain name"))
}

fn stream_name() -> impl Strategy<Value = StreamName> {
    "[a-z0-9]{1,9}(/[-a-z0-9_~:@+=]{1,9}){0,2}".prop_filter_map("of no run", |name| StreamName::new(&name).ok())
}

fn idempotency_key() -> impl Strategy<Value = IdempotencyKey> {
    "[!-~]{1,20}".prop_map(|key| IdempotencyKey::new(&key).expect("visible ASCII"))
}

fn producer_id() -> impl Strategy<Value = ProducerId> {
    "[!-~]{1,20}".prop_map(|id| ProducerId::new(&id).expect("visible ASCII"))
}

fn definition_name() -> impl Strategy<Value = DefinitionName> {
    ("[a-z][-a-z0-9]{0,9}", "[a-z][-a-z0-9]{0,9}", "[0-9]\\.[0-9]\\.[0-9](-[a-z]{1,4})?")
        .prop_map(|(namespace, name, version)| DefinitionName { namespace, name, version })
}

fn definition() -> impl Strategy<Value = Definition> {
    (tenant(), definition_name(), hash(), text(), time()).prop_map(|(tenant, name, hash, source, registered)| {
        Definition { tenant, name, hash, source: source.into(), registered }
    })
}

fn error() -> impl Strategy<Value = WorkflowError> {
    (text(), any::<u16>(), maybe_text(), maybe_text(), maybe_text())
        .prop_map(|(type_, status, title, detail, instance)| WorkflowError { type_, status, title, detail, instance })
}

fn failure() -> impl Strategy<Value = Failure> {
    let one = (text(), text(), maybe_text(), maybe_text(), any::<bool>(), maybe_payload());
    vec(one, 1..4).prop_map(|chain| {
        let nest = |cause: Option<Failure>, (message, kind, source, stack, non_retryable, details)| {
            Some(Failure { message, kind, source, stack, non_retryable, details, cause: cause.map(Box::new) })
        };
        chain.into_iter().fold(None, nest).expect("at least one")
    })
}

fn number() -> impl Strategy<Value = f64> {
    any::<f64>().prop_filter("equal to itself", |number| !number.is_nan())
}

fn retry_policy() -> impl Strategy<Value = RetryPolicy> {
    let growth = prop_oneof![Just(Growth::Constant), Just(Growth::Linear), number().prop_map(Growth::Exponential)];
    let jitter = prop_oneof![
        Just(Jitter::None),
        number().prop_map(Jitter::Factor),
        any::<(u64, u64)>().prop_map(|(from_ms, to_ms)| Jitter::Between { from_ms, to_ms }),
    ];
    let times = (any::<u64>(), any::<u64>(), any::<Option<u64>>());
    (any::<u32>(), growth, jitter, times, vec(text(), 0..3)).prop_map(
        |(max_attempts, growth, jitter, (initial_ms, cap_ms, max_duration_ms), non_retryable)| RetryPolicy {
            max_attempts,
            initial_ms,
            growth,
            cap_ms,
            jitter,
            max_duration_ms,
            non_retryable,
        },
    )
}

fn function() -> impl Strategy<Value = Function> {
    let times = (any::<u64>(), any::<Option<u64>>(), any::<Option<u64>>());
    (text(), text(), text(), any::<bool>(), retry_policy(), times).prop_map(
        |(name, task, queue, stream, retry, (start_to_close_ms, schedule_to_start_ms, heartbeat_ms))| Function {
            name,
            task,
            queue,
            stream,
            retry,
            start_to_close_ms,
            schedule_to_start_ms,
            heartbeat_ms,
        },
    )
}

fn timer_set() -> impl Strategy<Value = TimerSet> {
    (any::<u32>(), time()).prop_map(|(timer, due)| TimerSet { timer, due })
}

fn purpose() -> impl Strategy<Value = Purpose> {
    prop_oneof![
        any::<u32>().prop_map(|scope| Purpose::Wait { scope }),
        any::<u32>().prop_map(|step| Purpose::Retry { step }),
        any::<u32>().prop_map(|scope| Purpose::TryAgain { scope }),
        Just(Purpose::CancelGrace),
    ]
}

fn scope_kind() -> impl Strategy<Value = ScopeKind> {
    prop_oneof![
        Just(ScopeKind::Root),
        Just(ScopeKind::Do),
        (vec(payload(), 0..4), any::<u32>())
            .prop_map(|(items, iteration)| ScopeKind::For { items: items.into_iter().collect(), iteration }),
        (any::<u32>(), time()).prop_map(|(attempt, first)| ScopeKind::Try { attempt, first }),
        error().prop_map(|error| ScopeKind::Catch { error: Box::new(error) }),
    ]
}

fn next() -> impl Strategy<Value = Next> {
    prop_oneof![any::<u32>().prop_map(Next::Index), Just(Next::Exit), Just(Next::End)]
}

fn started() -> impl Strategy<Value = Started> {
    let names = (tenant(), definition_name(), hash(), maybe_text(), option::of(idempotency_key()));
    (names, payload(), maybe_payload(), any::<u64>(), pairs()).prop_map(
        |((tenant, definition, hash, key, idempotency_key), input, data, seed, tags)| Started {
            tenant,
            ordinal: STREAM,
            definition,
            hash,
            key,
            idempotency_key,
            input,
            data,
            seed,
            tags,
        },
    )
}

fn run_event() -> impl Strategy<Value = RunEvent> {
    let n = any::<u32>;
    prop_oneof![
        started().prop_map(|started| RunEvent::Started(Box::new(started))),
        maybe_payload().prop_map(|output| RunEvent::Completed { output }),
        error().prop_map(|error| RunEvent::Failed { error }),
        (text(), n(), time()).prop_map(|(reason, timer, due)| RunEvent::CancelRequested { reason, timer, due }),
        Just(RunEvent::Cancelled),
        text().prop_map(|reason| RunEvent::Terminated { reason }),
        Just(RunEvent::ContinueOwed),
        Just(RunEvent::Continued),
        (n(), n(), text(), scope_kind(), maybe_payload())
            .prop_map(|(scope, parent, path, kind, data)| RunEvent::ScopeOpened { scope, parent, path, kind, data }),
        (n(), n()).prop_map(|(scope, iteration)| RunEvent::IterationStarted { scope, iteration }),
        n().prop_map(|scope| RunEvent::ScopeClosed { scope }),
        (n(), maybe_text(), any::<bool>(), maybe_payload(), maybe_payload(), next()).prop_map(
            |(scope, path, skipped, output, context, next)| RunEvent::TaskExited {
                scope,
                path,
                skipped,
                output,
                context,
                next
            }
        ),
        (n(), text(), error()).prop_map(|(scope, path, error)| RunEvent::ErrorRaised { scope, path, error }),
        (n(), error(), option::of(timer_set())).prop_map(|(scope, error, retry)| RunEvent::ErrorCaught {
            scope,
            error,
            retry
        }),
        (n(), function())
            .prop_map(|(function, definition)| RunEvent::FunctionBound { function, definition: Box::new(definition) }),
        step_event(),
        (timer_set(), purpose(), text(), maybe_payload()).prop_map(|(timer, purpose, path, task_input)| {
            RunEvent::TimerStarted { timer, purpose, path, task_input }
        }),
        (n(), purpose()).prop_map(|(timer, purpose)| RunEvent::TimerFired { timer, purpose }),
        (text(), maybe_text(), payload()).prop_map(|(name, id, payload)| RunEvent::SignalReceived {
            name,
            id,
            payload
        }),
    ]
}

fn step_event() -> impl Strategy<Value = RunEvent> {
    let n = any::<u32>;
    prop_oneof![
        (n(), n(), text(), n(), maybe_payload(), maybe_payload()).prop_map(
            |(step, scope, path, function, input, task_input)| RunEvent::StepScheduled {
                step,
                scope,
                path,
                function,
                input,
                task_input
            }
        ),
        (n(), n(), failure(), timer_set()).prop_map(|(step, attempt, failure, retry)| RunEvent::AttemptFailed {
            step,
            attempt,
            failure,
            retry
        }),
        (n(), n(), payload(), text()).prop_map(|(step, attempt, output, worker)| RunEvent::StepCompleted {
            step,
            attempt,
            output,
            worker
        }),
        (n(), n(), failure(), error()).prop_map(|(step, attempt, failure, error)| RunEvent::StepFailed {
            step,
            attempt,
            failure,
            error
        }),
        n().prop_map(|step| RunEvent::StepCancelRequested { step }),
        (n(), n()).prop_map(|(step, attempt)| RunEvent::StepCancelled { step, attempt }),
        (n(), n(), any::<u64>(), payload()).prop_map(|(step, attempt, sequence, data)| RunEvent::ChunkAppended {
            step,
            attempt,
            sequence,
            data
        }),
        (n(), n()).prop_map(|(step, attempt)| RunEvent::AttemptSuperseded { step, attempt }),
    ]
}

/// An event, and the place that the kernel would give it.
pub(super) fn event() -> impl Strategy<Value = (Event, Place)> {
    let nowhere = Place { stream: StreamOrdinal::NONE, offset: Offset::ZERO };
    let stamp = || {
        (producer_id(), any::<(u64, u64)>()).prop_map(|(id, (epoch, sequence))| ProducerStamp { id, epoch, sequence })
    };
    prop_oneof![
        1 => definition().prop_map(move |definition| (Event::WorkflowRegistered(definition), nowhere)),
        1 => (tenant(), stream_name(), ordinal(), maybe_text()).prop_map(move |(tenant, name, ordinal, content_type)| {
            (Event::StreamCreated { tenant, name, ordinal, content_type }, nowhere)
        }),
        1 => ordinal().prop_map(move |stream| (Event::StreamClosed { stream }, nowhere)),
        1 => ordinal().prop_map(move |stream| (Event::StreamDeleted { stream }, nowhere)),
        1 => (ordinal(), text()).prop_map(move |(stream, sequence)| (Event::StreamSequenced { stream, sequence }, nowhere)),
        2 => retention_event().prop_map(move |event| (Event::Retention(event), nowhere)),
        2 => (ordinal(), offset(), payload(), option::of(stamp())).prop_map(|(stream, offset, payload, producer)| {
            (Event::EventAppended { stream, offset, payload, producer }, Place { stream, offset })
        }),
        20 => (run_event(), offset())
            .prop_map(|(event, offset)| (Event::Run { run: RUN, event }, Place { stream: STREAM, offset })),
    ]
}

fn status() -> impl Strategy<Value = RunStatus> {
    prop_oneof![
        Just(RunStatus::Running),
        Just(RunStatus::Cancelling),
        Just(RunStatus::Completed),
        Just(RunStatus::Failed),
        Just(RunStatus::Cancelled),
        Just(RunStatus::Terminated),
    ]
}

fn activity() -> impl Strategy<Value = Activity> {
    prop_oneof![
        Just(Activity::Ready),
        any::<u32>().prop_map(|step| Activity::Step { step }),
        any::<u32>().prop_map(|timer| Activity::Timer { timer }),
        any::<u32>().prop_map(|scope| Activity::Child { scope }),
        (payload(), any::<bool>()).prop_map(|(output, caught)| Activity::Returned { output, caught }),
        error().prop_map(|error| Activity::Raised { error: Box::new(error) }),
        Just(Activity::Exiting),
        Just(Activity::Ending),
    ]
}

fn scope() -> impl Strategy<Value = Scope> {
    let visits = btree_map(any::<u32>(), any::<u32>(), 0..3);
    let stand = (any::<Option<u32>>(), scope_kind(), text(), any::<u32>(), visits);
    (stand, payload(), option::of(time()), maybe_payload(), activity()).prop_map(
        |((parent, kind, path, index, visits), data, began, task_input, activity)| Scope {
            parent,
            kind,
            path,
            index,
            visits,
            data,
            began,
            task_input,
            activity,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let status = prop_oneof![
        Just(StepStatus::Owed),
        any::<u32>().prop_map(|timer| StepStatus::Retrying { timer }),
        Just(StepStatus::Cancelling),
    ];
    let counts = (any::<u32>(), any::<u32>(), any::<u64>(), any::<Option<u32>>());
    (any::<u32>(), text(), any::<u32>(), payload(), counts, time(), status).prop_map(
        |(scope, path, function, input, (attempt, failures, next_sequence, unsuperseded), scheduled, status)| Step {
            scope,
            path,
            function,
            input,
            attempt,
            failures,
            next_sequence,
            unsuperseded,
            scheduled,
            status,
        },
    )
}

fn timer() -> impl Strategy<Value = Timer> {
    (time(), purpose()).prop_map(|(due, purpose)| Timer { due, purpose })
}

fn signal() -> impl Strategy<Value = Signal> {
    (text(), maybe_text(), payload()).prop_map(|(name, id, payload)| Signal { name, id, payload })
}

fn numbered<T: std::fmt::Debug>(of: impl Strategy<Value = T>) -> impl Strategy<Value = BTreeMap<u32, T>> {
    btree_map(any::<u32>(), of, 0..3)
}

pub(super) fn run() -> impl Strategy<Value = Run> {
    let identity = (run_id(), tenant(), ordinal(), incarnation(), offset(), definition_name(), hash());
    let asked = (maybe_text(), option::of(idempotency_key()), payload(), any::<u64>(), pairs());
    let stand = (status(), time(), option::of(time()), maybe_payload(), option::of(error()), maybe_text());
    let state = (maybe_payload(), numbered(scope()), numbered(step()), numbered(timer()), vec(function(), 0..2));
    let inbound = (vec(signal(), 0..2), btree_set(text(), 0..3), any::<bool>());
    (identity, asked, stand, state, inbound, any::<[u32; 4]>()).prop_map(
        |(identity, asked, stand, state, inbound, n)| {
            let (id, tenant, ordinal, incarnation, head, definition, hash) = identity;
            let (key, idempotency_key, input, seed, tags) = asked;
            let (status, started, closed, output, error, reason) = stand;
            let (context, scopes, steps, timers, functions) = state;
            let (signals, signal_ids, continue_owed) = inbound;
            let [entries, next_scope, next_step, next_timer] = n;
            Run {
                id,
                tenant,
                ordinal,
                incarnation,
                head,
                definition,
                hash,
                key,
                idempotency_key,
                input,
                seed,
                tags,
                status,
                started,
                closed,
                output,
                error,
                reason,
                context,
                scopes,
                steps,
                timers,
                functions,
                signals,
                signal_ids,
                continue_owed,
                entries,
                next_scope,
                next_step,
                next_timer,
            }
        },
    )
}

fn stream_key() -> impl Strategy<Value = StreamKey> {
    (tenant(), stream_name()).prop_map(|(tenant, name)| StreamKey { tenant, name })
}

fn stream() -> impl Strategy<Value = Stream> {
    let pins = btree_map(text(), pin(), 0..3);
    let kept = (maybe_text(), keep(), pins);
    (ordinal(), incarnation(), offset(), offset(), any::<bool>(), maybe_text(), kept).prop_map(
        |(ordinal, incarnation, low, head, closed, content_type, (sequence, keep, pins))| Stream {
            ordinal,
            incarnation,
            low,
            head,
            closed,
            content_type,
            sequence,
            keep,
            pins,
        },
    )
}

fn keep() -> impl Strategy<Value = Keep> {
    any::<(Option<u64>, Option<u64>)>().prop_map(|(age_ms, events)| Keep { age_ms, events })
}

fn pin() -> impl Strategy<Value = Pin> {
    (offset(), any::<u64>()).prop_map(|(at, max_lag)| Pin { at, max_lag })
}

fn retention_event() -> impl Strategy<Value = RetentionEvent> {
    prop_oneof![
        (ordinal(), offset()).prop_map(|(stream, low)| RetentionEvent::StreamTrimmed { stream, low }),
        (ordinal(), vec(producer_id(), 0..3))
            .prop_map(|(stream, producers)| RetentionEvent::ProducersForgotten { stream, producers }),
        (ordinal(), keep()).prop_map(|(stream, keep)| RetentionEvent::KeepSet { stream, keep }),
        (ordinal(), text(), pin()).prop_map(|(stream, reader, pin)| RetentionEvent::ReaderPinned {
            stream,
            reader,
            pin
        }),
        (ordinal(), text()).prop_map(|(stream, reader)| RetentionEvent::ReaderUnpinned { stream, reader }),
        (run_id(), ordinal(), option::of(start_key())).prop_map(|(run, stream, start)| RetentionEvent::RunForgotten {
            run,
            stream,
            start
        }),
    ]
}

fn start_key() -> impl Strategy<Value = StartKey> {
    (tenant(), (text(), text()), maybe_text(), idempotency_key())
        .prop_map(|(tenant, workflow, key, idempotency_key)| StartKey { tenant, workflow, key, idempotency_key })
}

fn start() -> impl Strategy<Value = (RowName, RowImage)> {
    (start_key(), run_id(), any::<[u8; 32]>(), time()).prop_map(|(key, run, input_hash, started)| {
        (RowName::Start(key), RowImage::Start(StartRecord { run, input_hash, started }))
    })
}

/// A row under a name that goes with it.
pub(super) fn row() -> impl Strategy<Value = (RowName, RowImage)> {
    let window = (ordinal(), any::<(u64, u64)>(), offset()).prop_map(|(ordinal, (epoch, sequence), offset)| {
        RowImage::Producer(ProducerWindow { ordinal, epoch, sequence, offset })
    });
    prop_oneof![
        (ordinal(), time()).prop_map(|(next_ordinal, time)| {
            (RowName::Partition, RowImage::Partition(Scalars { next_ordinal, time }))
        }),
        run().prop_map(|run| {
            let closed = run.status.is_closed();
            let name = if closed { RowName::ClosedRun(run.id) } else { RowName::OpenRun(run.id) };
            (name, RowImage::Run(Box::new(run)))
        }),
        (stream_key(), stream()).prop_map(|(key, stream)| (RowName::Stream(key), RowImage::Stream(stream))),
        (ordinal(), stream_key()).prop_map(|(ordinal, key)| (RowName::StreamName(ordinal), RowImage::StreamName(key))),
        (ordinal(), run_id()).prop_map(|(ordinal, run)| (RowName::RunOfStream(ordinal), RowImage::RunOfStream(run))),
        (stream_key(), producer_id(), window).prop_map(|(key, id, image)| (RowName::Producer(key, id), image)),
        start(),
        definition().prop_map(|definition| {
            let name = RowName::Definition(definition.hash, definition.tenant.clone(), definition.name.clone());
            (name, RowImage::Definition(definition))
        }),
    ]
}
