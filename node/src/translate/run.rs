//! Runs and streams as clients see them.

use engine::{Activity, Function, Purpose, Run, RunStatus, StepStatus, Stream};
use gateway::backend::{RunInfo, StreamInfo, WorkflowInfo};
use types::{History, Offset};

use crate::catalogue::Catalogue;
use crate::dispatcher::Dispatcher;
use crate::functions::FunctionName;

pub(crate) fn run_info(run: &Run, catalogue: &Catalogue, dispatcher: &Dispatcher) -> RunInfo {
    let definition = &run.definition;
    RunInfo {
        run: run.id,
        key: run.key.clone(),
        workflow: WorkflowInfo {
            namespace: definition.namespace.clone(),
            name: definition.name.clone(),
            version: definition.version.clone(),
            hash: run.hash.to_string(),
            registered: catalogue.registered(&run.tenant, definition),
        },
        status: status_text(run).to_owned(),
        input: run.input.clone(),
        output: run.output.clone(),
        error: run.error.as_ref().map(workflow::WorkflowError::to_json),
        current: current(run, dispatcher),
        started: run.started,
        closed: run.closed,
        head: run.head,
        tags: run.tags.clone(),
    }
}

pub(crate) fn function_names(run: &Run) -> Vec<FunctionName> {
    let name = |function: &Function| FunctionName {
        name: function.name.clone(),
        task: function.task.clone(),
        queue: function.queue.clone(),
    };
    run.functions.iter().map(name).collect()
}

/// Where it stands: `waiting` when nothing but a timer can move it.
pub(crate) fn status_text(run: &Run) -> &'static str {
    match run.status {
        RunStatus::Running if is_waiting(run) => "waiting",
        RunStatus::Running => "running",
        RunStatus::Cancelling => "cancelling",
        RunStatus::Completed => "completed",
        RunStatus::Failed => "failed",
        RunStatus::Cancelled => "cancelled",
        RunStatus::Terminated => "terminated",
    }
}

fn is_waiting(run: &Run) -> bool {
    let on_timer = run.scopes.values().any(|scope| matches!(scope.activity, Activity::Timer { .. }));
    let retrying = |status| matches!(status, StepStatus::Retrying { .. });
    !run.continue_owed && (on_timer || !run.steps.is_empty()) && run.steps.values().all(|step| retrying(step.status))
}

/// Open steps and waits, for people.
fn current(run: &Run, dispatcher: &Dispatcher) -> Vec<String> {
    let steps = run.steps.iter().map(|(number, step)| {
        let what = match step.status {
            StepStatus::Owed => dispatcher.whereabouts(run.id, *number),
            StepStatus::Retrying { .. } => "waits for its next attempt".to_owned(),
            StepStatus::Cancelling => "is being cancelled".to_owned(),
        };
        format!("{} {what} (attempt {})", step.path, step.attempt)
    });
    let waits = run.timers.values().filter_map(|timer| match timer.purpose {
        Purpose::Wait { .. } => Some(format!("a wait until {}", timer.due)),
        Purpose::TryAgain { .. } => Some(format!("a try begins again at {}", timer.due)),
        Purpose::Retry { .. } | Purpose::CancelGrace => None,
    });
    steps.chain(waits).collect()
}

pub(crate) fn stream_info_of_run(run: &Run, history: History) -> StreamInfo {
    StreamInfo {
        history,
        incarnation: run.incarnation,
        low: Offset::ZERO,
        head: run.head,
        closed: run.status.is_closed(),
        content_type: None,
    }
}

pub(crate) fn stream_info_of_stream(stream: &Stream, history: History) -> StreamInfo {
    StreamInfo {
        history,
        incarnation: stream.incarnation,
        low: stream.low,
        head: stream.head,
        closed: stream.closed,
        content_type: stream.content_type.clone(),
    }
}
