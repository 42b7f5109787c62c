//! Takes a step's result: the first one of the current attempt, no other.

use types::{Payload, Timestamp};

use super::bounds;
use crate::command::{Answer, Outcome};
use crate::event::RunEvent;
use crate::partition::Partition;
use crate::step::StepStatus;
use crate::token::Token;

pub(super) fn decide(partition: &Partition, token: &Token, output: &Payload, worker: &str, now: Timestamp) -> Outcome {
    let (run, step) = super::held(partition, token)?;
    bounds::json("the output", output)?;
    let (number, attempt) = (token.step, token.attempt);
    let cause = match step.status {
        StepStatus::Cancelling => RunEvent::StepCancelled { step: number, attempt },
        StepStatus::Owed | StepStatus::Retrying { .. } => {
            let worker = worker.chars().take(128).collect();
            RunEvent::StepCompleted { step: number, attempt, output: output.clone(), worker }
        }
    };
    Ok(super::batch(partition, run, cause, now, Answer::Done))
}
