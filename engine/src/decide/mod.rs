//! One file per command: from a command and the state to events, or to a rejection. Changes nothing.

mod append_chunk;
mod append_events;
mod bounds;
mod cancel_run;
mod complete_step;
mod continue_run;
mod create_stream;
mod delete_stream;
mod drop_step;
mod fail_step;
mod fire_timer;
mod forget_producers;
mod forget_runs;
mod lose_attempt;
mod pin_reader;
mod register_workflow;
mod signal_run;
mod start_run;
mod trim_streams;

use types::{RunId, TenantId, Timestamp};

use crate::advance::consequences;
use crate::command::{Answer, Command, Decision, Outcome};
use crate::event::{Event, RunEvent};
use crate::partition::Partition;
use crate::rejection::Rejection;
use crate::run::Run;
use crate::step::Step;
use crate::stored;
use crate::token::Token;

pub(crate) use bounds::json_bytes;

/// Decides; an event that could not be read back from the log is refused here, before anybody believes in it.
pub(crate) fn decide(partition: &Partition, command: &Command, now: Timestamp) -> Outcome {
    let decision = choose(partition, command, now)?;
    // What was derived behind a run's cause was looked at when it was derived.
    let own = |(index, event): &(usize, &Event)| *index == 0 || !matches!(event, Event::Run { .. });
    for (_, event) in decision.events.iter().enumerate().filter(own) {
        stored::check(event).map_err(|error| Rejection::Invalid(error.to_string()))?;
    }
    Ok(decision)
}

fn choose(partition: &Partition, command: &Command, now: Timestamp) -> Outcome {
    if let Some(decided) = partition.decide_set_aside(command) {
        return decided;
    }
    match command {
        Command::RegisterWorkflow { tenant, name, hash, source } => {
            register_workflow::decide(partition, tenant, name, *hash, source, now)
        }
        Command::StartRun(start) => start_run::decide(partition, start, now),
        Command::SignalRun { tenant, run, name, id, payload } => {
            signal_run::decide(partition, tenant, *run, name, id.as_deref(), payload)
        }
        Command::CancelRun { tenant, run, reason } => cancel_run::decide(partition, tenant, *run, reason, now),
        Command::CompleteStep { token, output, worker } => complete_step::decide(partition, token, output, worker, now),
        Command::FailStep { token, failure, retry_after_ms } => {
            fail_step::decide(partition, token, failure, *retry_after_ms, now)
        }
        Command::LoseAttempt { run, step, attempt, failure } => {
            lose_attempt::decide(partition, *run, *step, *attempt, failure, now)
        }
        Command::DropStep { run, step, attempt } => drop_step::decide(partition, *run, *step, *attempt, now),
        Command::AppendChunk { token, sequence, data } => append_chunk::decide(partition, token, *sequence, data),
        Command::FireTimer { run, timer } => fire_timer::decide(partition, *run, *timer, now),
        Command::ContinueRun { run } => continue_run::decide(partition, *run, now),
        Command::CreateStream { tenant, name, content_type, events, closed, keep } => {
            create_stream::decide(partition, tenant, name, content_type.as_deref(), events, *closed, *keep)
        }
        Command::AppendEvents(append) => append_events::decide(partition, append),
        Command::DeleteStream { tenant, name } => delete_stream::decide(partition, tenant, name),
        Command::PinReader { tenant, name, reader, pin } => pin_reader::pin(partition, tenant, name, reader, *pin),
        Command::UnpinReader { tenant, name, reader } => pin_reader::unpin(partition, tenant, name, reader),
        Command::TrimStreams(trim) => Ok(trim_streams::decide(partition, trim, now)),
        Command::ForgetRuns { runs, room } => Ok(forget_runs::decide(partition, runs, *room, now)),
        Command::ForgetProducers { stream, producers } => Ok(forget_producers::decide(partition, *stream, producers)),
    }
}

/// The one run of a caller's tenant, open.
fn open_run<'p>(partition: &'p Partition, tenant: &TenantId, id: RunId) -> Result<&'p Run, Rejection> {
    let run = partition.runs.get(&id).filter(|run| run.tenant == *tenant);
    let run = run.ok_or(Rejection::RunNotFound(id))?;
    if run.status.is_closed() { Err(Rejection::RunClosed(id)) } else { Ok(run) }
}

/// The current attempt that a token names: genuine, not superseded, its run open.
pub(crate) fn held<'p>(partition: &'p Partition, token: &Token) -> Result<(&'p Run, &'p Step), Rejection> {
    let run = partition.runs.get(&token.run).ok_or(Rejection::StaleAttempt)?;
    // A step that is over has left no path to check the token against; it is stale whoever made it.
    let step = run.steps.get(&token.step).ok_or(Rejection::StaleAttempt)?;
    if !token.is_genuine(&partition.config.token_key, &step.path) {
        return Err(Rejection::ForgedToken);
    }
    current(run, token.step, token.attempt)
}

/// The step, if this attempt of it is the current one and a worker may hold it.
fn current(run: &Run, step: u32, attempt: u32) -> Result<(&Run, &Step), Rejection> {
    use crate::step::StepStatus;
    let step = run.steps.get(&step).ok_or(Rejection::StaleAttempt)?;
    let theirs = match step.status {
        StepStatus::Owed | StepStatus::Cancelling => step.attempt == attempt,
        StepStatus::Retrying { .. } => false,
    };
    if theirs { Ok((run, step)) } else { Err(Rejection::StaleAttempt) }
}

/// A cause and what follows from it, as one batch.
fn batch(partition: &Partition, run: &Run, cause: RunEvent, now: Timestamp, answer: Answer) -> Decision {
    let program = partition.programs.get(&run.hash).expect("`needs` named the program of the run");
    let mut scratch = run.clone();
    scratch.apply(&cause, now);
    let derived = consequences(&partition.config, program, scratch, now);
    let events = std::iter::once(cause).chain(derived);
    let events = events.map(|event| Event::Run { run: run.id, event }).collect();
    Decision { events, answer }
}
