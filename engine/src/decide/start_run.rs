//! Starts a run, once per idempotency key.

use types::Timestamp;

use super::bounds;
use crate::advance::{consequences, initial_data};
use crate::command::{Answer, Decision, Outcome, StartRun};
use crate::event::{Event, RunEvent, Started};
use crate::partition::{Partition, PlantedFault};
use crate::rejection::Rejection;
use crate::row::{StartKey, input_hash};
use crate::run::Run;

pub(super) fn decide(partition: &Partition, start: &StartRun, now: Timestamp) -> Outcome {
    bounds::names(start.key.as_ref(), &start.tags)?;
    if let Some(duplicate) = duplicate(partition, start, now)? {
        return Ok(duplicate);
    }
    if partition.runs.contains_key(&start.run) || partition.is_idle(start.run) {
        return Err(Rejection::RunExists(start.run));
    }
    bounds::json("the input", &start.input)?;
    let program = partition.programs.get(&start.hash).expect("`needs` named the program");
    let data = initial_data(program, start, now);
    let started = Started {
        tenant: start.tenant.clone(),
        ordinal: partition.next_ordinal,
        definition: start.definition.clone(),
        hash: start.hash,
        key: start.key.clone(),
        idempotency_key: start.idempotency_key.clone(),
        input: start.input.clone(),
        data: data.map_err(|error| Rejection::Invalid(format!("input.from of the definition failed: {error}")))?,
        seed: start.seed,
        tags: start.tags.clone(),
    };
    let scratch = Run::start(start.run, &started, types::Incarnation::default(), now);
    let derived = consequences(&partition.config, program, scratch, now);
    let events = std::iter::once(RunEvent::Started(Box::new(started))).chain(derived);
    let events = events.map(|event| Event::Run { run: start.run, event }).collect();
    Ok(Decision { events, answer: Answer::Started { run: start.run, duplicate: false } })
}

/// The run that this key started inside the window, if its start was the same.
fn duplicate(partition: &Partition, start: &StartRun, now: Timestamp) -> Result<Option<Decision>, Rejection> {
    let Some(key) = StartKey::of(start) else { return Ok(None) };
    if partition.config.planted_fault == Some(PlantedFault::ForgottenStart) {
        return Ok(None);
    }
    let Some(known) = partition.starts.get(&key) else { return Ok(None) };
    if now.millis_since(known.started) >= partition.config.idempotency_window_ms {
        return Ok(None);
    }
    if known.input_hash != input_hash(&start.input) {
        let key = key.idempotency_key.as_str().to_owned();
        return Err(Rejection::IdempotencyConflict { key, run: known.run });
    }
    let answer = Answer::Started { run: known.run, duplicate: true };
    Ok(Some(Decision { events: Vec::new(), answer }))
}
