//! An event with the numbers of its new place. Only stream ordinals change: steps, offsets, times and payloads stay.

use engine::{Event, RetentionEvent, RunEvent};
use types::StreamOrdinal;

/// The stream ordinal that an event names in its body or header; run events name their run's in the record.
pub(super) fn with_ordinal(event: Event, ordinal: StreamOrdinal) -> Event {
    match event {
        Event::WorkflowRegistered(definition) => Event::WorkflowRegistered(definition),
        Event::StreamCreated { tenant, name, content_type, .. } => {
            Event::StreamCreated { tenant, name, ordinal, content_type }
        }
        Event::EventAppended { offset, payload, producer, .. } => {
            Event::EventAppended { stream: ordinal, offset, payload, producer }
        }
        Event::StreamSequenced { sequence, .. } => Event::StreamSequenced { stream: ordinal, sequence },
        Event::Retention(event) => Event::Retention(retention(event, ordinal)),
        Event::StreamClosed { .. } => Event::StreamClosed { stream: ordinal },
        Event::StreamDeleted { .. } => Event::StreamDeleted { stream: ordinal },
        Event::Run { run, event: RunEvent::Started(mut started) } => {
            started.ordinal = ordinal;
            Event::Run { run, event: RunEvent::Started(started) }
        }
        Event::Run { run, event } => Event::Run { run, event },
    }
}

fn retention(event: RetentionEvent, stream: StreamOrdinal) -> RetentionEvent {
    match event {
        RetentionEvent::StreamTrimmed { low, .. } => RetentionEvent::StreamTrimmed { stream, low },
        RetentionEvent::ProducersForgotten { producers, .. } => {
            RetentionEvent::ProducersForgotten { stream, producers }
        }
        RetentionEvent::KeepSet { keep, .. } => RetentionEvent::KeepSet { stream, keep },
        RetentionEvent::ReaderPinned { reader, pin, .. } => RetentionEvent::ReaderPinned { stream, reader, pin },
        RetentionEvent::ReaderUnpinned { reader, .. } => RetentionEvent::ReaderUnpinned { stream, reader },
        RetentionEvent::RunForgotten { run, start, .. } => RetentionEvent::RunForgotten { run, stream, start },
    }
}

/// The stream that an event names in its body: of a user, or of a run that is forgotten.
pub(super) const fn named(event: &Event) -> Option<StreamOrdinal> {
    match event {
        Event::StreamCreated { ordinal, .. } => Some(*ordinal),
        Event::Retention(RetentionEvent::RunForgotten { stream, .. }) => Some(*stream),
        Event::StreamSequenced { .. }
        | Event::StreamClosed { .. }
        | Event::StreamDeleted { .. }
        | Event::Retention(_) => event.touches(),
        Event::WorkflowRegistered(_) | Event::EventAppended { .. } | Event::Run { .. } => None,
    }
}
