//! Pins a stream at what a reader has still to read, moves the pin on, or lets go.

use types::{StreamName, TenantId};

use crate::command::{Answer, Decision, Outcome};
use crate::event::Event;
use crate::limits;
use crate::partition::Partition;
use crate::rejection::Rejection;
use crate::retention::{Pin, RetentionEvent};
use crate::stream::{Stream, StreamKey};

pub(super) fn pin(partition: &Partition, tenant: &TenantId, name: &StreamName, reader: &str, pin: Pin) -> Outcome {
    let stream = stream(partition, tenant, name)?;
    if pin.at < stream.low {
        return Err(Rejection::Trimmed { low: stream.low });
    }
    if pin.at > stream.head {
        return Err(Rejection::BeyondEnd { head: stream.head });
    }
    let known = stream.pins.get(reader);
    if known.is_none() && stream.pins.len() >= limits::PINS_PER_STREAM {
        return Err(Rejection::TooManyPins { name: name.clone(), limit: limits::PINS_PER_STREAM });
    }
    let event = RetentionEvent::ReaderPinned { stream: stream.ordinal, reader: reader.to_owned(), pin };
    let events = if known == Some(&pin) { Vec::new() } else { vec![Event::Retention(event)] };
    Ok(Decision { events, answer: Answer::Done })
}

pub(super) fn unpin(partition: &Partition, tenant: &TenantId, name: &StreamName, reader: &str) -> Outcome {
    let stream = stream(partition, tenant, name)?;
    let event = RetentionEvent::ReaderUnpinned { stream: stream.ordinal, reader: reader.to_owned() };
    let events = stream.pins.contains_key(reader).then_some(Event::Retention(event)).into_iter().collect();
    Ok(Decision { events, answer: Answer::Done })
}

fn stream<'p>(partition: &'p Partition, tenant: &TenantId, name: &StreamName) -> Result<&'p Stream, Rejection> {
    if name.is_reserved() {
        return Err(Rejection::Reserved(name.clone()));
    }
    let key = StreamKey { tenant: tenant.clone(), name: name.clone() };
    partition.streams.get(&key).ok_or_else(|| Rejection::StreamNotFound(name.clone()))
}
