//! Takes a piece of a step's streamed output, in order, from its current attempt only.

use types::Payload;

use super::bounds;
use crate::command::{Answer, Decision, Outcome};
use crate::event::{Event, RunEvent};
use crate::partition::Partition;
use crate::rejection::Rejection;
use crate::token::Token;

pub(super) fn decide(partition: &Partition, token: &Token, sequence: u64, data: &Payload) -> Outcome {
    let (run, step) = super::held(partition, token)?;
    let expected = step.next_sequence;
    if sequence < expected {
        let answer = Answer::ChunkTaken { next_sequence: expected };
        return Ok(Decision { events: Vec::new(), answer });
    }
    if sequence > expected {
        return Err(Rejection::ChunkGap { expected, got: sequence });
    }
    if !run.functions[step.function as usize].stream {
        return Err(Rejection::NotStreaming { step: token.step });
    }
    if data.is_json() {
        bounds::json("the chunk", data)?;
    } else {
        bounds::fits("the chunk", data)?;
    }
    let event = RunEvent::ChunkAppended { step: token.step, attempt: token.attempt, sequence, data: data.clone() };
    let events = vec![Event::Run { run: run.id, event }];
    Ok(Decision { events, answer: Answer::ChunkTaken { next_sequence: sequence + 1 } })
}
