//! A run that had more to derive than one batch should hold goes on.

use types::{RunId, Timestamp};

use crate::command::{Answer, Outcome};
use crate::event::RunEvent;
use crate::partition::Partition;
use crate::rejection::Rejection;

pub(super) fn decide(partition: &Partition, run: RunId, now: Timestamp) -> Outcome {
    let run = partition.runs.get(&run).filter(|run| run.continue_owed).ok_or(Rejection::NotDue)?;
    Ok(super::batch(partition, run, RunEvent::Continued, now, Answer::Done))
}
