//! Appends events to a user stream: all or none, once per producer sequence.

use types::{Offset, Payload, StreamName, StreamOrdinal};

use crate::command::{Answer, AppendEvents, Decision, Outcome, ProducerStamp};
use crate::event::Event;
use crate::limits;
use crate::partition::{Partition, PlantedFault};
use crate::rejection::Rejection;
use crate::stream::{Stream, StreamKey};

pub(super) fn decide(partition: &Partition, append: &AppendEvents) -> Outcome {
    if append.name.is_reserved() {
        return Err(Rejection::Reserved(append.name.clone()));
    }
    if append.producer.is_some() && append.events.is_empty() && !append.close {
        let why = "a producer's request carries events or closes the stream: nothing would remember this one";
        return Err(Rejection::Invalid(why.to_owned()));
    }
    let key = StreamKey { tenant: append.tenant.clone(), name: append.name.clone() };
    match partition.streams.get(&key) {
        Some(stream) => append_to(partition, &key, stream, append),
        None if append.create => create_and_append(partition, append),
        None => Err(Rejection::StreamNotFound(append.name.clone())),
    }
}

fn append_to(partition: &Partition, key: &StreamKey, stream: &Stream, append: &AppendEvents) -> Outcome {
    // A duplicate is answered as such even when the stream was closed since: its sender only lost the answer.
    if let Some(stamp) = &append.producer
        && let Some(duplicate) = producer_check(partition, key, stream, stamp)?
    {
        return Ok(duplicate);
    }
    if stream.closed {
        return close_again(stream, append);
    }
    if let Some(expected) = append.expected
        && expected != stream.head
    {
        return Err(Rejection::SequenceConflict { expected, actual: stream.head });
    }
    check_events(&append.name, stream.content_type.as_deref(), &append.events)?;
    let events = batch(stream.ordinal, stream.head, append);
    let end = stream.head.after(append.events.len() as u64);
    let offset = (!append.events.is_empty()).then_some(stream.head);
    Ok(Decision { events, answer: Answer::Appended { offset, end, duplicate: false, closed: append.close } })
}

/// Closing a closed stream changes nothing and is no error; appending to it is.
fn close_again(stream: &Stream, append: &AppendEvents) -> Outcome {
    if append.close && append.events.is_empty() {
        let answer = Answer::Appended { offset: None, end: stream.head, duplicate: true, closed: true };
        return Ok(Decision { events: Vec::new(), answer });
    }
    Err(Rejection::StreamClosed { name: append.name.clone(), end: stream.head })
}

fn create_and_append(partition: &Partition, append: &AppendEvents) -> Outcome {
    if let Some(stamp) = append.producer.as_ref().filter(|stamp| stamp.sequence != 0) {
        return Err(Rejection::ProducerGap { expected: 0, got: stamp.sequence });
    }
    if let Some(expected) = append.expected.filter(|expected| *expected != Offset::ZERO) {
        return Err(Rejection::SequenceConflict { expected, actual: Offset::ZERO });
    }
    let content_type = append.events.first().and_then(|event| event.content_type.clone());
    check_events(&append.name, content_type.as_deref(), &append.events)?;
    let ordinal = partition.next_ordinal;
    let (tenant, name) = (append.tenant.clone(), append.name.clone());
    let mut events = vec![Event::StreamCreated { tenant, name, ordinal, content_type }];
    events.extend(batch(ordinal, Offset::ZERO, append));
    let end = Offset::ZERO.after(append.events.len() as u64);
    let offset = (!append.events.is_empty()).then_some(Offset::ZERO);
    Ok(Decision { events, answer: Answer::Appended { offset, end, duplicate: false, closed: append.close } })
}

fn batch(stream: StreamOrdinal, head: Offset, append: &AppendEvents) -> Vec<Event> {
    let offsets = std::iter::successors(Some(head), |offset| Some(offset.next()));
    let appended = offsets.zip(&append.events).map(|(offset, payload)| Event::EventAppended {
        stream,
        offset,
        payload: payload.clone(),
        producer: append.producer.clone(),
    });
    appended.chain(append.close.then_some(Event::StreamClosed { stream })).collect()
}

/// `Some`: this request was taken before.
fn producer_check(
    partition: &Partition,
    key: &StreamKey,
    stream: &Stream,
    stamp: &ProducerStamp,
) -> Result<Option<Decision>, Rejection> {
    let known = partition.producers.get(&(key.clone(), stamp.id.clone()));
    let Some(window) = known.filter(|window| window.ordinal == stream.ordinal) else {
        return first_of_epoch(stamp);
    };
    if stamp.epoch < window.epoch {
        return Err(Rejection::ProducerFenced { current: window.epoch, got: stamp.epoch });
    }
    if stamp.epoch > window.epoch {
        return first_of_epoch(stamp);
    }
    let forgotten = partition.config.planted_fault == Some(PlantedFault::ForgottenProducer);
    if stamp.sequence <= window.sequence && !forgotten {
        let offset = (stamp.sequence == window.sequence).then_some(window.offset);
        let answer = Answer::Appended { offset, end: stream.head, duplicate: true, closed: stream.closed };
        return Ok(Some(Decision { events: Vec::new(), answer }));
    }
    let expected = window.sequence + 1;
    if stamp.sequence > expected { Err(Rejection::ProducerGap { expected, got: stamp.sequence }) } else { Ok(None) }
}

fn first_of_epoch(stamp: &ProducerStamp) -> Result<Option<Decision>, Rejection> {
    if stamp.sequence == 0 { Ok(None) } else { Err(Rejection::ProducerGap { expected: 0, got: stamp.sequence }) }
}

/// Sizes, and that every event is of the stream's kind.
pub(super) fn check_events(name: &StreamName, content_type: Option<&str>, events: &[Payload]) -> Result<(), Rejection> {
    let (bytes, limit) = (events.len(), limits::EVENTS_PER_APPEND);
    if bytes > limit {
        return Err(Rejection::Invalid(format!("{bytes} events in one request, the limit is {limit}")));
    }
    for event in events {
        if event.content_type.as_deref() != content_type {
            let called = |kind: Option<&str>| kind.unwrap_or("application/json").to_owned();
            let (expected, got) = (called(content_type), called(event.content_type.as_deref()));
            return Err(Rejection::ContentType { name: name.clone(), expected, got });
        }
        if content_type.is_none() { super::json("the event", event)? } else { super::fits("the event", event)? }
    }
    Ok(())
}
