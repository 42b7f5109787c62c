//! Forgets runs that were closed long enough: their events may go with the segments they are in.

use types::{RunId, Timestamp};

use crate::command::{Answer, Decision};
use crate::event::Event;
use crate::partition::Partition;
use crate::retention::{RetentionEvent, until};
use crate::row::StartRecord;

pub(super) fn decide(partition: &Partition, runs: &[RunId], room: bool, now: Timestamp) -> Decision {
    let forgotten = runs.iter().filter_map(|run| forgotten(partition, *run, room, now));
    Decision { events: forgotten.map(Event::Retention).collect(), answer: Answer::Done }
}

/// Not one whose idempotency key is still remembered: a repeated start must find its run.
fn forgotten(partition: &Partition, id: RunId, room: bool, now: Timestamp) -> Option<RetentionEvent> {
    let run = partition.runs.get(&id)?;
    let closed = run.closed?;
    if !room && until(closed, partition.config.keep.run_ms) > now {
        return None;
    }
    let start = StartRecord::of(run).map(|(key, _)| key);
    if start.is_some() && until(run.started, partition.config.idempotency_window_ms) > now {
        return None;
    }
    // The key may have started another run since.
    let start = start.filter(|key| partition.starts.get(key).is_some_and(|record| record.run == id));
    Some(RetentionEvent::RunForgotten { run: id, stream: run.ordinal, start })
}
