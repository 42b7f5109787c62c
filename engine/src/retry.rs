//! Whether a failed attempt gets another, and when.

use types::Timestamp;
use workflow::program::RetryPolicy;

use crate::step::{Failure, UNCLAIMED, WORKER_LOST};

/// What follows a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Another attempt, not before this time.
    Again(Timestamp),
    /// The step has failed.
    GiveUp,
}

/// `failures` counts this one; `unit` is drawn from [0, 1) for this attempt.
pub(crate) fn verdict(
    policy: &RetryPolicy,
    failures: u32,
    first: Timestamp,
    failure: &Failure,
    retry_after_ms: Option<u64>,
    unit: f64,
    now: Timestamp,
) -> Verdict {
    if failure.kind == UNCLAIMED {
        return Verdict::Again(now);
    }
    let exhausted = policy.max_attempts != 0 && failures >= policy.max_attempts;
    let refused = failure.non_retryable || policy.non_retryable.contains(&failure.kind);
    if exhausted || refused {
        return Verdict::GiveUp;
    }
    // A worker that went away says nothing about the step: it is offered again at once.
    let delay_ms = if failure.kind == WORKER_LOST { 0 } else { policy.delay_ms(failures, unit) };
    let due = now.plus_millis(delay_ms.max(retry_after_ms.unwrap_or(0)));
    match policy.max_duration_ms {
        Some(limit_ms) if due > first.plus_millis(limit_ms) => Verdict::GiveUp,
        Some(_) | None => Verdict::Again(due),
    }
}

/// When the tasks of a `try` begin again after their `attempt`th failure; `None`: no more.
pub(crate) fn try_again(
    policy: &RetryPolicy,
    attempt: u32,
    first: Timestamp,
    unit: f64,
    now: Timestamp,
) -> Option<Timestamp> {
    match verdict(policy, attempt, first, &Failure::default(), None, unit, now) {
        Verdict::Again(due) => Some(due),
        Verdict::GiveUp => None,
    }
}

/// A number in [0, 1) that is the same for the same run, place and attempt: the jitter is drawn once.
#[expect(clippy::cast_precision_loss, reason = "53 bits fit a double exactly")]
pub(crate) fn unit(seed: u64, path: &str, attempt: u32) -> f64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.update(&attempt.to_le_bytes());
    hasher.update(path.as_bytes());
    let mut bits = [0; 8];
    bits.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    (u64::from_le_bytes(bits) >> 11) as f64 / (1_u64 << 53) as f64
}
