//! A record of a stream as the event that a client reads.

use std::borrow::Cow;

use engine::{Event, Failure, Next, Purpose, RunEvent, ScopeKind, stored};
use gateway::backend::StreamInfo;
use gateway::backend::{CHUNK, ChunkSource, EVENT, Event as ClientEvent};
use serde_json::{Value, json};
use storage::StoredRecord;
use types::{Payload, RunId};

/// `run`: the run whose stream this is, if it is one.
pub(crate) fn client_event(stored: &StoredRecord, run: Option<RunId>) -> Result<ClientEvent, String> {
    let record = &stored.record;
    let encoded = super::encoded(record);
    let event = stored::decode(&encoded, |_| run).map_err(|error| error.to_string())?;
    let (kind, source, payload) = match event {
        Event::EventAppended { payload, .. } => (EVENT, None, payload),
        Event::Run { event: RunEvent::ChunkAppended { step, attempt, sequence, data }, .. } => {
            (CHUNK, Some(ChunkSource { step, attempt, seq: sequence }), data)
        }
        Event::Run { event, .. } => {
            let (kind, data) = describe(&event);
            (kind, None, Payload::json(data.to_string()))
        }
        Event::WorkflowRegistered(_)
        | Event::StreamCreated { .. }
        | Event::StreamSequenced { .. }
        | Event::StreamClosed { .. }
        | Event::StreamDeleted { .. }
        | Event::Retention(_) => return Err("a record without a stream stands in one".to_owned()),
    };
    Ok(ClientEvent { offset: record.offset, time: record.time, kind: Cow::Borrowed(kind), source, payload })
}

/// Whether it is the end of a run whose output is the value that stood there last: the log keeps a value once.
pub(crate) fn refers_to_the_last_value(stored: &StoredRecord, run: Option<RunId>) -> bool {
    let event = stored::decode(&super::encoded(&stored.record), |_| run);
    matches!(event, Ok(Event::Run { event: RunEvent::Completed { output: None }, .. }))
}

/// The event of a completed run with its output, wherever the log keeps that.
pub(crate) fn with_output(event: ClientEvent, output: &Payload) -> ClientEvent {
    ClientEvent { payload: Payload::json(json!({ "output": raw(output) }).to_string()), ..event }
}

/// The name and the members of a run's fact. docs/protocol.md lists them.
pub(crate) fn describe(event: &RunEvent) -> (&'static str, Value) {
    match event {
        RunEvent::Started(started) => (
            "run_started",
            json!({
                "workflow": {
                    "namespace": started.definition.namespace,
                    "name": started.definition.name,
                    "version": started.definition.version,
                },
                "key": started.key,
                "input": raw(&started.input),
            }),
        ),
        RunEvent::Completed { output } => ("run_completed", json!({ "output": output.as_ref().map(raw) })),
        RunEvent::Failed { error } => ("run_failed", json!({ "error": error.to_json() })),
        RunEvent::CancelRequested { reason, .. } => ("run_cancel_requested", json!({ "reason": reason })),
        RunEvent::Cancelled => ("run_cancelled", json!({})),
        RunEvent::Terminated { reason } => ("run_terminated", json!({ "reason": reason })),
        RunEvent::ContinueOwed => ("run_continue_owed", json!({})),
        RunEvent::Continued => ("run_continued", json!({})),
        RunEvent::ScopeOpened { scope, path, kind, .. } => {
            ("scope_opened", json!({ "scope": scope, "path": path, "kind": scope_kind(kind) }))
        }
        RunEvent::IterationStarted { scope, iteration } => {
            ("iteration_started", json!({ "scope": scope, "iteration": iteration }))
        }
        RunEvent::ScopeClosed { scope } => ("scope_closed", json!({ "scope": scope })),
        RunEvent::TaskExited { scope, path, skipped, output, context, next } => (
            "task_exited",
            json!({
                "scope": scope,
                "path": path,
                "skipped": skipped,
                "output": output.as_ref().map(raw),
                "context": context.as_ref().map(raw),
                "next": match next {
                    Next::Index(index) => json!(index),
                    Next::Exit => json!("exit"),
                    Next::End => json!("end"),
                },
            }),
        ),
        RunEvent::ErrorRaised { path, error, .. } => {
            ("error_raised", json!({ "path": path, "error": error.to_json() }))
        }
        RunEvent::ErrorCaught { scope, error, retry } => {
            ("error_caught", json!({ "scope": scope, "error": error.to_json(), "retry_at": retry.map(|set| set.due) }))
        }
        RunEvent::FunctionBound { function, definition } => {
            ("function_bound", json!({ "function": function, "name": definition.name }))
        }
        RunEvent::TimerStarted { timer, path, .. } => {
            ("timer_started", json!({ "timer": timer.timer, "due": timer.due, "path": path }))
        }
        RunEvent::TimerFired { timer, purpose } => {
            ("timer_fired", json!({ "timer": timer, "purpose": purpose_text(*purpose) }))
        }
        RunEvent::SignalReceived { name, id, payload } => {
            ("signal_received", json!({ "name": name, "id": id, "data": raw(payload) }))
        }
        RunEvent::StepScheduled { .. }
        | RunEvent::AttemptFailed { .. }
        | RunEvent::StepCompleted { .. }
        | RunEvent::StepFailed { .. }
        | RunEvent::StepCancelRequested { .. }
        | RunEvent::StepCancelled { .. }
        | RunEvent::ChunkAppended { .. }
        | RunEvent::AttemptSuperseded { .. } => describe_step(event),
    }
}

fn describe_step(event: &RunEvent) -> (&'static str, Value) {
    match event {
        RunEvent::StepScheduled { step, path, function, input, task_input, .. } => {
            let input = input.as_ref().or(task_input.as_ref()).map(raw);
            ("step_scheduled", json!({ "step": step, "path": path, "function": function, "input": input }))
        }
        RunEvent::AttemptFailed { step, attempt, failure, retry } => (
            "attempt_failed",
            json!({ "step": step, "attempt": attempt, "failure": failure_json(failure), "retry_at": retry.due }),
        ),
        RunEvent::StepCompleted { step, attempt, output, worker } => {
            ("step_completed", json!({ "step": step, "attempt": attempt, "output": raw(output), "worker": worker }))
        }
        RunEvent::StepFailed { step, attempt, failure, error } => (
            "step_failed",
            json!({ "step": step, "attempt": attempt, "failure": failure_json(failure), "error": error.to_json() }),
        ),
        RunEvent::StepCancelRequested { step } => ("step_cancel_requested", json!({ "step": step })),
        RunEvent::StepCancelled { step, attempt } => ("step_cancelled", json!({ "step": step, "attempt": attempt })),
        RunEvent::ChunkAppended { step, attempt, sequence, data } => {
            (CHUNK, json!({ "step": step, "attempt": attempt, "seq": sequence, "data": raw(data) }))
        }
        RunEvent::AttemptSuperseded { step, attempt } => {
            ("attempt_superseded", json!({ "step": step, "attempt": attempt, "keep": 0 }))
        }
        RunEvent::Started(_)
        | RunEvent::Completed { .. }
        | RunEvent::Failed { .. }
        | RunEvent::CancelRequested { .. }
        | RunEvent::Cancelled
        | RunEvent::Terminated { .. }
        | RunEvent::ContinueOwed
        | RunEvent::Continued
        | RunEvent::ScopeOpened { .. }
        | RunEvent::IterationStarted { .. }
        | RunEvent::ScopeClosed { .. }
        | RunEvent::TaskExited { .. }
        | RunEvent::ErrorRaised { .. }
        | RunEvent::ErrorCaught { .. }
        | RunEvent::FunctionBound { .. }
        | RunEvent::TimerStarted { .. }
        | RunEvent::TimerFired { .. }
        | RunEvent::SignalReceived { .. } => unreachable!("`describe` sends step events only"),
    }
}

fn scope_kind(kind: &ScopeKind) -> Value {
    match kind {
        ScopeKind::Root | ScopeKind::Do => json!("do"),
        ScopeKind::For { items, .. } => json!({ "for": items.len() }),
        ScopeKind::Try { .. } => json!("try"),
        ScopeKind::Catch { .. } => json!("catch"),
    }
}

fn purpose_text(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Wait { .. } => "wait",
        Purpose::Retry { .. } => "retry",
        Purpose::TryAgain { .. } => "try_again",
        Purpose::CancelGrace => "cancel_grace",
    }
}

fn failure_json(failure: &Failure) -> Value {
    json!({
        "type": failure.kind,
        "message": failure.message,
        "non_retryable": failure.non_retryable,
        "stack": failure.stack,
        "details": failure.details.as_ref().map(raw),
        "cause": failure.cause.as_deref().map(failure_json),
    })
}

/// A JSON payload as a value. It was checked when it was taken; one that an earlier version took and that cannot be
/// read is shown as what it is, never as nothing.
fn raw(payload: &Payload) -> Value {
    serde_json::from_slice(&payload.data).unwrap_or_else(
        |error| json!({ "unreadable": error.to_string(), "text": String::from_utf8_lossy(&payload.data) }),
    )
}

/// A stream as it stands is what its cursor counts from.
pub(crate) fn cursor(info: &StreamInfo, next: types::Offset) -> types::Cursor {
    types::Cursor { history: info.history, incarnation: info.incarnation, next }
}
