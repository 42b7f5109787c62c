//! Drives a run's program from where an event left it until it waits for the world or is over.
//! The same run, program and time give the same events: `replay --verify` holds production logs against that.

mod enter;
mod error;
mod leave;
mod raise;
mod view;

use types::{Payload, Timestamp};
use workflow::program::Variables;
use workflow::{Fuel, Moment, Program};

use self::error::TaskError;
pub(crate) use self::view::task_in_progress;
use crate::command::StartRun;
use crate::event::RunEvent;
use crate::limits;
use crate::partition::PartitionConfig;
use crate::run::{ROOT, Run, RunStatus};
use crate::scope::{Activity, ScopeKind};
use crate::step::{Step, StepStatus};
use crate::timer::Purpose;

/// A run that is being driven: a scratch copy that sees its own earlier events.
pub(crate) struct Drive<'a> {
    pub(crate) config: &'a PartitionConfig,
    pub(crate) program: &'a Program,
    pub(crate) now: Timestamp,
    pub(crate) run: Run,
    pub(crate) events: Vec<RunEvent>,
    bytes: usize,
    /// What the task at hand may still do.
    fuel: Fuel,
    /// What the tasks before it did.
    burned: u64,
}

/// What follows from the state that a cause left: at most one batch full, then the run owes a `Continue`.
pub(crate) fn consequences(config: &PartitionConfig, program: &Program, run: Run, now: Timestamp) -> Vec<RunEvent> {
    let fuel = Fuel::new(limits::FUEL_PER_TASK);
    let mut drive = Drive { config, program, now, run, events: Vec::new(), bytes: 0, fuel, burned: 0 };
    drive.settle_attempts();
    match drive.run.status {
        RunStatus::Running => drive.advance(),
        RunStatus::Cancelling => drive.cancel_steps(),
        RunStatus::Completed | RunStatus::Failed | RunStatus::Cancelled | RunStatus::Terminated => {}
    }
    drive.events
}

/// What the first task sees: the definition's `input.from` over the start's input. `None`: the input as it is.
pub(crate) fn initial_data(program: &Program, start: &StartRun, now: Timestamp) -> Result<Option<Payload>, TaskError> {
    let Some(from) = &program.input_from else { return Ok(None) };
    let input = view::value(&start.input)?;
    let mut variables = Variables::new();
    view::add_run_variables(&mut variables, program, start.run, &start.input, now, &|name| from.uses(name))?;
    let fuel = Fuel::new(limits::FUEL_PER_TASK);
    let data = from.evaluate(&input, &variables, &Moment { now, seed: start.seed }, &fuel)?;
    Ok(Some(view::payload(&data)?))
}

impl Drive<'_> {
    /// Takes an event into the scratch run and into the batch.
    pub(crate) fn derive(&mut self, event: RunEvent) {
        self.bytes += event.value_bytes();
        self.run.apply(&event, self.now);
        self.events.push(event);
    }

    /// Readers of an attempt that failed after it had streamed are told to cut.
    fn settle_attempts(&mut self) {
        let unsettled = |(&number, step): (&u32, &Step)| Some((number, step.unsuperseded?));
        let unsettled: Vec<_> = self.run.steps.iter().filter_map(unsettled).collect();
        for (step, attempt) in unsettled {
            self.derive(RunEvent::AttemptSuperseded { step, attempt });
        }
    }

    /// Asks the holders of open steps to stop; without any the run is cancelled at once.
    fn cancel_steps(&mut self) {
        let open: Vec<_> = self.run.steps.iter().map(|(&number, step)| (number, step.attempt, step.status)).collect();
        for (step, attempt, status) in open {
            match status {
                StepStatus::Owed => self.derive(RunEvent::StepCancelRequested { step }),
                StepStatus::Retrying { .. } => self.derive(RunEvent::StepCancelled { step, attempt }),
                StepStatus::Cancelling => {}
            }
        }
        let in_time = self.run.timers.values().any(|timer| timer.purpose == Purpose::CancelGrace);
        if self.run.steps.is_empty() {
            self.derive(RunEvent::Cancelled);
        } else if !in_time {
            let reason = "its steps did not stop within the grace time".to_owned();
            self.derive(RunEvent::Terminated { reason });
        }
    }

    fn advance(&mut self) {
        if self.run.continue_owed {
            return;
        }
        // A batch adds little more than its own bound, so once for each is enough.
        let too_large = self.run.state_bytes() > limits::RUN_BYTES;
        while let Some(scope) = self.runnable() {
            if too_large {
                return self.fault_too_large(scope);
            }
            if self.run.entries > limits::ENTRIES_WITHOUT_WAIT {
                return self.fault_runaway(scope);
            }
            if self.is_batch_full() {
                return self.derive(RunEvent::ContinueOwed);
            }
            self.advance_scope(scope);
            self.burned += limits::FUEL_PER_TASK - self.fuel.left();
            self.fuel = Fuel::new(limits::FUEL_PER_TASK);
        }
    }

    fn is_batch_full(&self) -> bool {
        self.events.len() >= limits::EVENTS_PER_COMMAND
            || self.bytes >= limits::BYTES_PER_COMMAND
            || self.burned >= limits::FUEL_PER_COMMAND
    }

    /// The deepest scope that can move, if the run is open.
    fn runnable(&self) -> Option<u32> {
        if self.run.status.is_closed() {
            return None;
        }
        let can_move = |activity: &Activity| match activity {
            Activity::Ready
            | Activity::Returned { .. }
            | Activity::Raised { .. }
            | Activity::Exiting
            | Activity::Ending => true,
            Activity::Step { .. } | Activity::Timer { .. } | Activity::Child { .. } => false,
        };
        self.run.scopes.iter().rev().find(|(_, scope)| can_move(&scope.activity)).map(|(&id, _)| id)
    }

    fn advance_scope(&mut self, scope: u32) {
        match self.run.scope(scope).activity.clone() {
            Activity::Ready => match self.current_task(scope) {
                Some(_) => self.enter(scope),
                None => self.end_of_list(scope),
            },
            Activity::Returned { output, caught } => self.leave(scope, &output, caught),
            Activity::Raised { error } => self.propagate(scope, &error),
            Activity::Exiting => self.close_scope(scope),
            Activity::Ending => self.complete(scope),
            Activity::Step { .. } | Activity::Timer { .. } | Activity::Child { .. } => {
                unreachable!("`runnable` gives scopes that can move")
            }
        }
    }

    /// All tasks of a list are done: the next turn of a `for`, or out.
    fn end_of_list(&mut self, scope: u32) {
        if let ScopeKind::For { items, iteration } = &self.run.scope(scope).kind {
            let next = iteration + 1;
            if (next as usize) < items.len() {
                return self.next_iteration(scope, next);
            }
        }
        self.close_scope(scope);
    }

    fn close_scope(&mut self, scope: u32) {
        if scope == ROOT { self.complete(scope) } else { self.derive(RunEvent::ScopeClosed { scope }) }
    }
}
