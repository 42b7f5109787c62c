//! What a run owes the world, and what an event newly added to that.

use std::collections::BTreeMap;

use crate::effect::{Effect, Offer};
use crate::partition::PartitionConfig;
use crate::run::Run;
use crate::step::{Step, StepStatus};
use crate::token::Token;

/// Whose move it is outside, by step: the attempt, and whether its holder was told to stop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Owed {
    steps: BTreeMap<u32, (u32, bool)>,
    carry_on: bool,
}

impl Run {
    pub(crate) fn owed(&self) -> Owed {
        let step = |(&number, step): (&u32, &Step)| match step.status {
            StepStatus::Owed => Some((number, (step.attempt, false))),
            StepStatus::Cancelling => Some((number, (step.attempt, true))),
            StepStatus::Retrying { .. } => None,
        };
        Owed { steps: self.steps.iter().filter_map(step).collect(), carry_on: self.continue_owed }
    }

    /// Adds what is owed now and was not `before`, and what is not owed any more.
    pub(crate) fn fresh_effects(&self, config: &PartitionConfig, before: &Owed, fresh: &mut Vec<Effect>) {
        let now = self.owed();
        for (&step, &(attempt, _)) in &before.steps {
            if now.steps.get(&step).is_none_or(|(current, _)| *current != attempt) {
                fresh.push(Effect::Withdraw { run: self.id, step, attempt });
            }
        }
        for (&step, &(attempt, cancelling)) in &now.steps {
            if before.steps.get(&step) == Some(&(attempt, cancelling)) {
                continue;
            }
            fresh.push(if cancelling {
                Effect::CancelStep { run: self.id, step, attempt }
            } else {
                Effect::Dispatch(Box::new(self.offer(config, step)))
            });
        }
        if now.carry_on && !before.carry_on {
            fresh.push(Effect::Continue { run: self.id });
        }
    }

    fn offer(&self, config: &PartitionConfig, number: u32) -> Offer {
        let step = &self.steps[&number];
        let function = &self.functions[step.function as usize];
        Offer {
            tenant: self.tenant.clone(),
            run: self.id,
            step: number,
            attempt: step.attempt,
            path: step.path.clone(),
            queue: function.queue.clone(),
            task: function.task.clone(),
            input: step.input.clone(),
            stream: function.stream,
            token: Token::new(&config.token_key, self.id, number, step.attempt, &step.path),
            idempotency_key: self.step_key(step),
            heartbeat_ms: function.heartbeat_ms,
            start_to_close_ms: function.start_to_close_ms,
            schedule_to_start_ms: function.schedule_to_start_ms,
            next_sequence: step.next_sequence,
        }
    }

    /// The same for every attempt of a step with the same input; another for an edited input or a later visit.
    fn step_key(&self, step: &Step) -> String {
        let mut hasher = blake3::Hasher::new();
        for part in [self.tenant.as_str().as_bytes(), self.id.to_string().as_bytes(), step.path.as_bytes()] {
            hasher.update(part);
            hasher.update(&[0]);
        }
        hasher.update(&step.input.data);
        hasher.finalize().to_hex()[..32].to_owned()
    }
}
