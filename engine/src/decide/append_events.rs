//! Appends events to a user stream: all or none, once per producer sequence.

use types::{Offset, Payload, StreamName, StreamOrdinal};

use super::bounds;
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
    check_sequence(stream.sequence.as_deref(), append.sequence.as_deref())?;
    check_events(&append.name, stream.content_type.as_deref(), &append.events)?;
    Ok(Decision { events: batch(stream.ordinal, stream.head, append), answer: appended(stream.head, append) })
}

/// The answer to a request that is carried out.
fn appended(head: Offset, append: &AppendEvents) -> Answer {
    Answer::Appended {
        offset: (!append.events.is_empty()).then_some(head),
        end: head.after(append.events.len() as u64),
        duplicate: false,
        closed: append.close,
        producer_sequence: append.producer.as_ref().map(|stamp| stamp.sequence),
    }
}

fn check_sequence(last: Option<&str>, given: Option<&str>) -> Result<(), Rejection> {
    let Some(got) = given else { return Ok(()) };
    let limit = limits::SEQUENCE_BYTES;
    if got.len() > limit {
        return Err(Rejection::TooLarge { what: "the sequence", bytes: got.len(), limit });
    }
    match last {
        Some(last) if got <= last => Err(Rejection::SequencePassed { last: last.to_owned(), got: got.to_owned() }),
        Some(_) | None => Ok(()),
    }
}

/// Closing a closed stream changes nothing and is no error; appending to it is.
fn close_again(stream: &Stream, append: &AppendEvents) -> Outcome {
    if append.close && append.events.is_empty() {
        let answer =
            Answer::Appended { offset: None, end: stream.head, duplicate: true, closed: true, producer_sequence: None };
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
    check_sequence(None, append.sequence.as_deref())?;
    let content_type = append.events.first().and_then(|event| event.content_type.clone());
    check_events(&append.name, content_type.as_deref(), &append.events)?;
    let ordinal = partition.next_ordinal;
    let (tenant, name) = (append.tenant.clone(), append.name.clone());
    let mut events = vec![Event::StreamCreated { tenant, name, ordinal, content_type }];
    events.extend(batch(ordinal, Offset::ZERO, append));
    Ok(Decision { events, answer: appended(Offset::ZERO, append) })
}

fn batch(stream: StreamOrdinal, head: Offset, append: &AppendEvents) -> Vec<Event> {
    let offsets = std::iter::successors(Some(head), |offset| Some(offset.next()));
    let appended = offsets.zip(&append.events).map(|(offset, payload)| Event::EventAppended {
        stream,
        offset,
        payload: payload.clone(),
        producer: append.producer.clone(),
    });
    let sequenced =
        append.sequence.as_ref().map(|sequence| Event::StreamSequenced { stream, sequence: sequence.clone() });
    appended.chain(sequenced).chain(append.close.then_some(Event::StreamClosed { stream })).collect()
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
        let answer = Answer::Appended {
            offset,
            end: stream.head,
            duplicate: true,
            closed: stream.closed,
            producer_sequence: Some(window.sequence),
        };
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
        if content_type.is_none() { bounds::json("the event", event)? } else { bounds::fits("the event", event)? }
    }
    Ok(())
}
