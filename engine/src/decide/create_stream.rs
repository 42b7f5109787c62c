//! Creates a stream, or finds it with the same settings.

use types::{Offset, Payload, StreamName, StreamOrdinal, TenantId};

use super::append_events::check_events;
use crate::command::{Answer, Decision, Outcome};
use crate::event::Event;
use crate::partition::Partition;
use crate::rejection::Rejection;
use crate::retention::{Keep, RetentionEvent};
use crate::stream::StreamKey;

pub(super) fn decide(
    partition: &Partition,
    tenant: &TenantId,
    name: &StreamName,
    content_type: Option<&str>,
    events: &[Payload],
    closed: bool,
    keep: Keep,
) -> Outcome {
    if name.is_reserved() {
        return Err(Rejection::Reserved(name.clone()));
    }
    let key = StreamKey { tenant: tenant.clone(), name: name.clone() };
    if let Some(stream) = partition.streams.get(&key) {
        let same = stream.content_type.as_deref() == content_type && stream.closed == closed && stream.keep == keep;
        return if same {
            Ok(Decision { events: Vec::new(), answer: Answer::Created { created: false } })
        } else {
            Err(Rejection::StreamExists(name.clone()))
        };
    }
    check_events(name, content_type, events)?;
    let ordinal = partition.next_ordinal;
    let created = Event::StreamCreated {
        tenant: tenant.clone(),
        name: name.clone(),
        ordinal,
        content_type: content_type.map(str::to_owned),
    };
    let mut batch = vec![created];
    let set = Event::Retention(RetentionEvent::KeepSet { stream: ordinal, keep });
    batch.extend((keep != Keep::default()).then_some(set));
    batch.extend(first_events(ordinal, events));
    batch.extend(closed.then_some(Event::StreamClosed { stream: ordinal }));
    Ok(Decision { events: batch, answer: Answer::Created { created: true } })
}

fn first_events(stream: StreamOrdinal, events: &[Payload]) -> impl Iterator<Item = Event> {
    let offsets = std::iter::successors(Some(Offset::ZERO), |offset| Some(offset.next()));
    offsets.zip(events).map(move |(offset, payload)| Event::EventAppended {
        stream,
        offset,
        payload: payload.clone(),
        producer: None,
    })
}
