//! The dispatcher gives up an attempt: its worker went away, or its time is up.

use types::{RunId, Timestamp};

use super::fail_step::verdict_event;
use crate::command::{Answer, Outcome};
use crate::partition::Partition;
use crate::rejection::Rejection;
use crate::step::Failure;

pub(super) fn decide(
    partition: &Partition,
    run: RunId,
    step: u32,
    attempt: u32,
    failure: &Failure,
    now: Timestamp,
) -> Outcome {
    let run = partition.runs.get(&run).ok_or(Rejection::StaleAttempt)?;
    let (run, state) = super::current(run, step, attempt)?;
    let cause = verdict_event(partition, run, step, state, failure, None, now);
    Ok(super::batch(partition, run, cause, now, Answer::Done))
}
