//! Moves up where streams begin: what a segment holds of them is older than they are kept, or its room is needed. A
//! pinned reader that is not too far behind holds back what it has still to read.

use types::{Offset, Timestamp};

use crate::command::{Answer, Decision, TrimStreams};
use crate::event::Event;
use crate::partition::Partition;
use crate::retention::{RetentionEvent, until};
use crate::stream::{Stream, StreamKey};

pub(super) fn decide(partition: &Partition, trim: &TrimStreams, now: Timestamp) -> Decision {
    let (mut events, mut trimmed, mut next) = (Vec::new(), Vec::new(), None);
    let (mut cleared, mut only_streams) = (true, true);
    for (ordinal, end) in &trim.extents {
        // What is no user stream is a run, whose output goes with its class, or was deleted.
        let Some((key, stream)) = partition.stream_of(*ordinal) else {
            only_streams = false;
            continue;
        };
        let wanted = wanted(partition, key, stream, *end, trim, now);
        let (low, lost) = held_back(stream, wanted);
        let unpinned = |reader: String| RetentionEvent::ReaderUnpinned { stream: *ordinal, reader };
        events.extend(lost.into_iter().map(unpinned).map(Event::Retention));
        if low > stream.low {
            events.push(Event::Retention(RetentionEvent::StreamTrimmed { stream: *ordinal, low }));
            trimmed.push((key.clone(), *ordinal, low));
        }
        if low < *end {
            cleared = false;
            let ms = partition.config.keep.stream_ms(&key.tenant, stream.keep);
            next = Some(next.map_or(until(trim.newest, ms), |next: Timestamp| next.min(until(trim.newest, ms))));
        }
    }
    Decision { events, answer: Answer::Trimmed { trimmed, cleared, next, only_streams } }
}

/// Where the stream should begin, if nobody held it back.
fn wanted(
    partition: &Partition,
    key: &StreamKey,
    stream: &Stream,
    end: Offset,
    trim: &TrimStreams,
    now: Timestamp,
) -> Offset {
    let ms = partition.config.keep.stream_ms(&key.tenant, stream.keep);
    let old = trim.room || until(trim.newest, ms) <= now;
    let by_age = if old { end } else { stream.low };
    let by_count = stream.keep.events.and_then(|events| stream.head.value().checked_sub(events)).map(Offset::new);
    by_age.max(by_count.unwrap_or(stream.low)).max(stream.low).min(stream.head)
}

/// How far up it may go, and the readers that are too far behind to hold anything.
fn held_back(stream: &Stream, wanted: Offset) -> (Offset, Vec<String>) {
    let (mut low, mut lost) = (wanted, Vec::new());
    for (reader, pin) in &stream.pins {
        if pin.at >= wanted {
            continue;
        }
        if stream.head.since(pin.at) > pin.max_lag {
            lost.push(reader.clone());
        } else {
            low = low.min(pin.at);
        }
    }
    (low.max(stream.low), lost)
}
