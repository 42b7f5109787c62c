//! Takes a message for a run, once per message id.

use types::{Payload, RunId, TenantId};

use super::bounds;
use crate::command::{Answer, Decision, Outcome};
use crate::event::{Event, RunEvent};
use crate::limits;
use crate::partition::Partition;
use crate::rejection::Rejection;

pub(super) fn decide(
    partition: &Partition,
    tenant: &TenantId,
    id: RunId,
    name: &str,
    message: Option<&str>,
    payload: &Payload,
) -> Outcome {
    let run = super::open_run(partition, tenant, id)?;
    if message.is_some_and(|message| run.signal_ids.contains(message)) {
        return Ok(Decision { events: Vec::new(), answer: Answer::Signalled { duplicate: true } });
    }
    if !(1..=256).contains(&name.len()) || message.is_some_and(|message| message.len() > 256) {
        return Err(Rejection::Invalid("a signal's name has 1 to 256 bytes, its id at most 256".to_owned()));
    }
    bounds::json("the signal", payload)?;
    let bytes: usize = run.signals.iter().map(|signal| signal.payload.len()).sum();
    if run.signals.len() >= limits::SIGNALS_PER_RUN || run.signal_ids.len() >= limits::SIGNALS_PER_RUN {
        return Err(Rejection::TooManySignals { run: id, limit: limits::SIGNALS_PER_RUN, what: "signals" });
    }
    if bytes + payload.len() > limits::SIGNAL_BYTES_PER_RUN {
        return Err(Rejection::TooManySignals {
            run: id,
            limit: limits::SIGNAL_BYTES_PER_RUN,
            what: "bytes of signals",
        });
    }
    let (name, message, payload) = (name.to_owned(), message.map(str::to_owned), payload.clone());
    let event = RunEvent::SignalReceived { name, id: message, payload };
    let events = vec![Event::Run { run: id, event }];
    Ok(Decision { events, answer: Answer::Signalled { duplicate: false } })
}
