//! A step that was to be cancelled is held by nobody any more.

use types::{RunId, Timestamp};

use crate::command::{Answer, Outcome};
use crate::event::RunEvent;
use crate::partition::Partition;
use crate::rejection::Rejection;
use crate::step::StepStatus;

pub(super) fn decide(partition: &Partition, run: RunId, step: u32, attempt: u32, now: Timestamp) -> Outcome {
    let run = partition.runs.get(&run).ok_or(Rejection::StaleAttempt)?;
    let (run, state) = super::current(run, step, attempt)?;
    if state.status != StepStatus::Cancelling {
        return Err(Rejection::StaleAttempt);
    }
    Ok(super::batch(partition, run, RunEvent::StepCancelled { step, attempt }, now, Answer::Done))
}
