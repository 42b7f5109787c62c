//! Kernel events as records of the log, field by field.

use engine::stored::{Encoded, OutputPart, Place};
use engine::{Class, Event, Partition, RetentionEvent};
use storage::{EventClass, OutputHeader, Record, RowKind};
use types::{Offset, StreamOrdinal, Timestamp};

use crate::partition::Moved;

pub(crate) fn record(encoded: Encoded, cause: bool, time: Timestamp) -> Record {
    Record {
        schema: encoded.schema,
        class: match encoded.class {
            Class::Fact => EventClass::Fact,
            Class::Attempt => EventClass::Attempt,
            Class::Output => EventClass::Output,
        },
        cause,
        time,
        stream: encoded.stream,
        offset: encoded.offset,
        output: encoded.output.map(|part| OutputHeader {
            step: part.step,
            attempt: part.attempt,
            sequence: part.sequence,
        }),
        key: encoded.key,
        headers: encoded.headers,
        payload: encoded.payload,
    }
}

pub(crate) fn encoded(record: &Record) -> Encoded {
    Encoded {
        schema: record.schema,
        class: match record.class {
            EventClass::Fact => Class::Fact,
            EventClass::Attempt => Class::Attempt,
            EventClass::Output => Class::Output,
        },
        stream: record.stream,
        offset: record.offset,
        output: record.output.map(|header| OutputPart {
            step: header.step,
            attempt: header.attempt,
            sequence: header.sequence,
        }),
        key: record.key.clone(),
        headers: record.headers.clone(),
        payload: record.payload.clone(),
    }
}

/// Kinds of rows that belong to a run, a stream or a definition: all that the kernel keeps but a partition's scalars.
pub(crate) const OWNED_ROWS: [RowKind; 8] = [
    RowKind::OpenRun,
    RowKind::ClosedRun,
    RowKind::Stream,
    RowKind::StreamName,
    RowKind::Producer,
    RowKind::Start,
    RowKind::Definition,
    RowKind::RunOfStream,
];

pub(crate) fn row_kind(kind: u8) -> RowKind {
    const KINDS: [RowKind; 9] = [
        RowKind::Partition,
        RowKind::OpenRun,
        RowKind::ClosedRun,
        RowKind::Stream,
        RowKind::StreamName,
        RowKind::Producer,
        RowKind::Start,
        RowKind::Definition,
        RowKind::RunOfStream,
    ];
    *KINDS.iter().find(|known| **known as u8 == kind).expect("the kernel names rows that storage knows")
}

/// How an event that is about to be applied moves a stream.
pub(crate) fn moved(event: &Event, place: Place, partition: &Partition) -> Option<Moved> {
    let grown = |stream: StreamOrdinal, closed| {
        let (head, low) = (place.offset.next(), Offset::ZERO);
        (!stream.is_none()).then_some(Moved { stream, head, low, closed, deleted: false })
    };
    let stands = |stream: StreamOrdinal| {
        let stream = partition.stream(partition.stream_key(stream)?)?;
        Some(Moved {
            stream: stream.ordinal,
            head: stream.head,
            low: stream.low,
            closed: stream.closed,
            deleted: false,
        })
    };
    match event {
        Event::EventAppended { stream, .. } => grown(*stream, false),
        Event::Run { event, .. } if event.class() != Class::Attempt => grown(place.stream, event.closes()),
        Event::StreamClosed { stream } => Some(Moved { closed: true, ..stands(*stream)? }),
        Event::StreamDeleted { stream } => Some(Moved { deleted: true, ..stands(*stream)? }),
        Event::Retention(RetentionEvent::StreamTrimmed { stream, low }) => {
            Some(Moved { low: *low, ..stands(*stream)? })
        }
        Event::Retention(RetentionEvent::RunForgotten { run, stream, .. }) => {
            let head = partition.run(*run)?.head;
            Some(Moved { stream: *stream, head, low: head, closed: true, deleted: true })
        }
        Event::Retention(
            RetentionEvent::ProducersForgotten { .. }
            | RetentionEvent::KeepSet { .. }
            | RetentionEvent::ReaderPinned { .. }
            | RetentionEvent::ReaderUnpinned { .. },
        )
        | Event::Run { .. }
        | Event::StreamCreated { .. }
        | Event::StreamSequenced { .. }
        | Event::WorkflowRegistered(_) => None,
    }
}
