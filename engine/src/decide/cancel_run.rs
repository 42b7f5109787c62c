//! Ends a run early: its waits at once, its running steps by asking their workers, inside a grace time.

use types::{RunId, TenantId, Timestamp};

use crate::command::{Answer, Decision, Outcome};
use crate::event::RunEvent;
use crate::partition::Partition;
use crate::run::RunStatus;

pub(super) fn decide(partition: &Partition, tenant: &TenantId, id: RunId, reason: &str, now: Timestamp) -> Outcome {
    let run = super::open_run(partition, tenant, id)?;
    if run.status == RunStatus::Cancelling {
        return Ok(Decision { events: Vec::new(), answer: Answer::Done });
    }
    let reason = reason.chars().take(1_000).collect();
    let due = now.plus_millis(partition.config.cancel_grace_ms);
    let cause = RunEvent::CancelRequested { reason, timer: run.next_timer, due };
    Ok(super::batch(partition, run, cause, now, Answer::Done))
}
