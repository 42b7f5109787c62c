//! What retention gave up: one numbered body each.

use bincode::{Decode, Encode};

use super::event::Taker;
use super::row::StartKey;
use super::shape::Shape;
use crate::retention::{Keep, Pin, RetentionEvent};
use crate::stored::envelope::{self, Opened};
use crate::stored::limits::EVENT_BYTES;
use crate::stored::{StoredError, kind_name};

#[derive(Encode, Decode)]
struct StreamTrimmed {
    ordinal: u64,
    low: u64,
}

#[derive(Encode, Decode)]
struct ProducersForgotten {
    ordinal: u64,
    producers: Vec<String>,
}

#[derive(Encode, Decode)]
struct KeepSet {
    ordinal: u64,
    age_ms: Option<u64>,
    events: Option<u64>,
}

#[derive(Encode, Decode)]
struct ReaderPinned {
    ordinal: u64,
    reader: String,
    at: u64,
    max_lag: u64,
}

#[derive(Encode, Decode)]
struct ReaderUnpinned {
    ordinal: u64,
    reader: String,
}

#[derive(Encode, Decode)]
struct RunForgotten {
    run: [u8; 20],
    ordinal: u64,
    start: Option<StartKey>,
}

const STREAM_TRIMMED: u8 = 6;
const PRODUCERS_FORGOTTEN: u8 = 7;
const KEEP_SET: u8 = 8;
const READER_PINNED: u8 = 9;
const READER_UNPINNED: u8 = 10;
const RUN_FORGOTTEN: u8 = 11;

pub(super) const KINDS: [(u8, &str); 6] = [
    (STREAM_TRIMMED, "StreamTrimmed"),
    (PRODUCERS_FORGOTTEN, "ProducersForgotten"),
    (KEEP_SET, "KeepSet"),
    (READER_PINNED, "ReaderPinned"),
    (READER_UNPINNED, "ReaderUnpinned"),
    (RUN_FORGOTTEN, "RunForgotten"),
];

/// Gives the event's body to be framed, or checked.
pub(super) fn give<T: Taker>(event: &RetentionEvent, taker: T) -> T::Given {
    match event {
        RetentionEvent::StreamTrimmed { stream, low } => {
            taker.take(STREAM_TRIMMED, &StreamTrimmed { ordinal: Shape::of(stream), low: Shape::of(low) })
        }
        RetentionEvent::ProducersForgotten { stream, producers } => {
            let (ordinal, producers) = (Shape::of(stream), Shape::of(producers));
            taker.take(PRODUCERS_FORGOTTEN, &ProducersForgotten { ordinal, producers })
        }
        RetentionEvent::KeepSet { stream, keep: Keep { age_ms, events } } => {
            taker.take(KEEP_SET, &KeepSet { ordinal: Shape::of(stream), age_ms: *age_ms, events: *events })
        }
        RetentionEvent::ReaderPinned { stream, reader, pin: Pin { at, max_lag } } => {
            let (ordinal, at) = (Shape::of(stream), Shape::of(at));
            taker.take(READER_PINNED, &ReaderPinned { ordinal, reader: reader.clone(), at, max_lag: *max_lag })
        }
        RetentionEvent::ReaderUnpinned { stream, reader } => {
            taker.take(READER_UNPINNED, &ReaderUnpinned { ordinal: Shape::of(stream), reader: reader.clone() })
        }
        RetentionEvent::RunForgotten { run, stream, start } => {
            let (run, ordinal, start) = (Shape::of(run), Shape::of(stream), Shape::of(start));
            taker.take(RUN_FORGOTTEN, &RunForgotten { run, ordinal, start })
        }
    }
}

/// `None`: it is an event of another kind.
pub(super) fn open(opened: &Opened<'_>) -> Result<Option<RetentionEvent>, StoredError> {
    let event = match opened.kind {
        STREAM_TRIMMED => {
            let StreamTrimmed { ordinal, low } = read(opened)?;
            RetentionEvent::StreamTrimmed { stream: ordinal.restore()?, low: low.restore()? }
        }
        PRODUCERS_FORGOTTEN => {
            let ProducersForgotten { ordinal, producers } = read(opened)?;
            RetentionEvent::ProducersForgotten { stream: ordinal.restore()?, producers: producers.restore()? }
        }
        KEEP_SET => {
            let KeepSet { ordinal, age_ms, events } = read(opened)?;
            RetentionEvent::KeepSet { stream: ordinal.restore()?, keep: Keep { age_ms, events } }
        }
        READER_PINNED => {
            let ReaderPinned { ordinal, reader, at, max_lag } = read(opened)?;
            let pin = Pin { at: at.restore()?, max_lag };
            RetentionEvent::ReaderPinned { stream: ordinal.restore()?, reader, pin }
        }
        READER_UNPINNED => {
            let ReaderUnpinned { ordinal, reader } = read(opened)?;
            RetentionEvent::ReaderUnpinned { stream: ordinal.restore()?, reader }
        }
        RUN_FORGOTTEN => {
            let RunForgotten { run, ordinal, start } = read(opened)?;
            RetentionEvent::RunForgotten { run: run.restore()?, stream: ordinal.restore()?, start: start.restore()? }
        }
        _ => return Ok(None),
    };
    Ok(Some(event))
}

fn read<T: Decode<()>>(opened: &Opened<'_>) -> Result<T, StoredError> {
    envelope::read::<T, EVENT_BYTES>(opened.body).map_err(|why| StoredError::Body { kind: kind_name(opened.kind), why })
}
