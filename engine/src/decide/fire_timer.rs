//! A timer is due.

use types::{RunId, Timestamp};

use crate::command::{Answer, Outcome};
use crate::event::RunEvent;
use crate::partition::Partition;
use crate::rejection::Rejection;

pub(super) fn decide(partition: &Partition, run: RunId, timer: u32, now: Timestamp) -> Outcome {
    let run = partition.runs.get(&run).ok_or(Rejection::NotDue)?;
    let due = run.timers.get(&timer).filter(|timer| timer.due <= now).ok_or(Rejection::NotDue)?;
    let purpose = due.purpose;
    let cause = RunEvent::TimerFired { timer, purpose };
    Ok(super::batch(partition, run, cause, now, Answer::Done))
}
