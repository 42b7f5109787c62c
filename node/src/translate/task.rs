//! Workers' words: an offer as the task they get, their failures as the kernel keeps them.

use engine::{Failure, Offer};
use gateway::backend::Task;
use serde_json::value::RawValue;
use types::{Payload, Timestamp};

pub(crate) fn task_frame(offer: &Offer, now: Timestamp) -> Task {
    Task {
        token: offer.token.to_string(),
        run: offer.run.to_string(),
        path: offer.path.clone(),
        step: offer.step,
        attempt: offer.attempt,
        queue: offer.queue.clone(),
        task: offer.task.clone(),
        input: raw_json(&offer.input),
        idempotency_key: offer.idempotency_key.clone(),
        stream: offer.stream,
        heartbeat_ms: offer.heartbeat_ms,
        deadline_ms: Some(now.plus_millis(offer.start_to_close_ms).as_millis()),
    }
}

/// A payload that the kernel took as JSON, as raw JSON.
fn raw_json(payload: &Payload) -> Box<RawValue> {
    let text = std::str::from_utf8(&payload.data).unwrap_or("null").to_owned();
    RawValue::from_string(text).unwrap_or_default()
}

pub(crate) fn failure(failure: gateway::backend::Failure) -> Failure {
    Failure {
        message: failure.message,
        kind: failure.kind,
        source: None,
        stack: failure.stack,
        non_retryable: failure.non_retryable,
        details: failure.details.map(|details| Payload::json(details.to_string())),
        cause: failure.cause.map(|cause| Box::new(self::failure(*cause))),
    }
}
