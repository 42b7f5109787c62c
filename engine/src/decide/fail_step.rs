//! Takes a worker's failure: another attempt later, or the end of the step.

use types::Timestamp;
use workflow::WorkflowError;
use workflow::error as error_types;

use super::bounds;
use crate::advance::task_in_progress;
use crate::command::{Answer, Outcome};
use crate::event::{RunEvent, TimerSet};
use crate::partition::Partition;
use crate::retry::{self, Verdict};
use crate::run::Run;
use crate::step::{Failure, HEARTBEAT, SCHEDULE_TO_START, START_TO_CLOSE, Step, StepStatus};
use crate::token::Token;

pub(super) fn decide(
    partition: &Partition,
    token: &Token,
    failure: &Failure,
    retry_after_ms: Option<u64>,
    now: Timestamp,
) -> Outcome {
    let (run, step) = super::held(partition, token)?;
    bounds::failure(failure)?;
    bounds::retry_after(retry_after_ms)?;
    let cause = verdict_event(partition, run, token.step, step, failure, retry_after_ms, now);
    Ok(super::batch(partition, run, cause, now, Answer::Done))
}

/// What an attempt's failure comes to.
pub(super) fn verdict_event(
    partition: &Partition,
    run: &Run,
    number: u32,
    step: &Step,
    failure: &Failure,
    retry_after_ms: Option<u64>,
    now: Timestamp,
) -> RunEvent {
    let attempt = step.attempt;
    if step.status == StepStatus::Cancelling {
        return RunEvent::StepCancelled { step: number, attempt };
    }
    let policy = &run.functions[step.function as usize].retry;
    let unit = retry::unit(run.seed, &step.path, attempt);
    let failure = failure.clone();
    match retry::verdict(policy, step.failures + 1, step.scheduled, &failure, retry_after_ms, unit, now) {
        Verdict::Again(due) => {
            let retry = TimerSet { timer: run.next_timer, due };
            RunEvent::AttemptFailed { step: number, attempt, failure, retry }
        }
        Verdict::GiveUp => {
            let program = partition.programs.get(&run.hash).expect("`needs` named the program of the run");
            let place = task_in_progress(program, run, step.scope).map(|task| task.pointer.clone());
            let error = step_error(place, &failure);
            RunEvent::StepFailed { step: number, attempt, failure, error }
        }
    }
}

/// A failure as the error that a `catch` sees. A worker may name a full error type; else the kind is the title.
fn step_error(place: Option<String>, failure: &Failure) -> WorkflowError {
    let timed_out = [START_TO_CLOSE, SCHEDULE_TO_START, HEARTBEAT].contains(&failure.kind.as_str());
    let (type_, status) = match failure.kind.contains("://") {
        true => (failure.kind.as_str(), 500),
        false if timed_out => (error_types::TIMEOUT, 408),
        false => (error_types::RUNTIME, 500),
    };
    WorkflowError {
        type_: type_.to_owned(),
        status,
        title: Some(failure.kind.clone()),
        detail: Some(failure.message.clone()),
        instance: place,
    }
}
