//! A run of events of one stream as frames, encoded once for all who take them.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use protocol::{Event, Filter};
use types::{Cursor, Offset};

use crate::backend::ReadReply;
use crate::budget::{Budget, Full, Share};
use crate::frames;

/// Events that follow each other without a hole, each as a finished text frame, in one piece of memory.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// Where they start, in which life of the stream.
    pub(crate) from: Cursor,
    /// The stream's next offset when they were read.
    pub(crate) head: Offset,
    /// Whether the stream was closed then.
    pub(crate) closed: bool,
    frames: Vec<u8>,
    events: Vec<Encoded>,
    /// What it holds of a budget, where it waits in many places.
    share: Option<Share>,
}

#[derive(Debug)]
struct Encoded {
    /// Where its frame ends.
    end: usize,
    kind: Cow<'static, str>,
}

/// Frames of a chunk that a subscriber may have now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Slice {
    /// The offset behind the last event looked at, sent or filtered out.
    pub(crate) next: Offset,
    pub(crate) events: u32,
    /// Content only, as credit counts.
    pub(crate) bytes: usize,
    /// Pieces of `Chunk::bytes`, in order.
    pub(crate) pieces: Vec<Range<usize>>,
}

/// How much a slice may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// At most so many events.
    pub(crate) events: u32,
    /// No event that does not fit into this.
    pub(crate) credit_bytes: u64,
    /// Enough is enough: the last event may pass this.
    pub(crate) batch_bytes: usize,
}

impl Chunk {
    /// Encodes what was read. Events that `only` does not name are left out but still counted.
    pub(crate) fn encode(from: Cursor, reply: ReadReply, only: Option<&Filter>) -> Self {
        let mut frames = Vec::with_capacity(reply.events.iter().map(|event| event.payload.len() + 128).sum());
        let mut events = Vec::with_capacity(reply.events.len());
        for (event, expected) in reply.events.into_iter().zip(from.next.value()..) {
            assert_eq!(event.offset.value(), expected, "a backend's events are dense from the cursor on");
            if wanted(only, &event.kind) {
                frames::push_text(&mut frames, |out| event.encode_json(out));
            }
            let Event { kind, .. } = event;
            events.push(Encoded { end: frames.len(), kind });
        }
        Self { from, head: reply.info.head, closed: reply.info.closed, frames, events, share: None }
    }

    /// The same, counted for as long as anybody keeps it.
    pub(crate) fn counted(mut self, budget: &Arc<Budget>) -> Result<Self, Full> {
        self.share = Some(budget.take(self.frames.len())?);
        Ok(self)
    }

    /// The offset behind the last event.
    pub(crate) fn end(&self) -> Offset {
        self.from.next.after(self.events.len() as u64)
    }

    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.frames
    }

    /// What a subscriber who stands at `from`, inside of this chunk, may have now.
    pub(crate) fn slice(&self, from: Offset, filter: Option<&Filter>, room: Room) -> Slice {
        let mut slice = Slice { next: from, events: 0, bytes: 0, pieces: Vec::new() };
        let skipped = usize::try_from(from.since(self.from.next)).expect("a chunk fits into memory");
        let mut start = skipped.checked_sub(1).map_or(0, |before| self.events[before].end);
        for event in &self.events[skipped..] {
            if wanted(filter, &event.kind) {
                let content = frames::content_bytes(event.end - start);
                let fits = slice.events < room.events && (slice.bytes + content) as u64 <= room.credit_bytes;
                if !fits || slice.bytes >= room.batch_bytes {
                    break;
                }
                slice.take(start..event.end, content);
            }
            start = event.end;
            slice.next = slice.next.next();
        }
        slice
    }
}

impl Chunk {
    /// The content bytes of the first event that a subscriber who stands at `from` is to get; 0: none is left.
    pub(crate) fn cost_of_next(&self, from: Offset, filter: Option<&Filter>) -> u64 {
        let skipped = usize::try_from(from.since(self.from.next)).expect("a chunk fits into memory");
        let mut start = skipped.checked_sub(1).map_or(0, |before| self.events[before].end);
        for event in &self.events[skipped..] {
            if wanted(filter, &event.kind) {
                return frames::content_bytes(event.end - start) as u64;
            }
            start = event.end;
        }
        0
    }
}

impl Slice {
    fn take(&mut self, frame: Range<usize>, content: usize) {
        self.events += 1;
        self.bytes += content;
        match self.pieces.last_mut() {
            Some(last) if last.end == frame.start => last.end = frame.end,
            Some(_) | None => self.pieces.push(frame),
        }
    }
}

fn wanted(filter: Option<&Filter>, kind: &str) -> bool {
    filter.is_none_or(|filter| filter.types.iter().any(|wanted| wanted == kind))
}

#[cfg(test)]
mod tests {
    use types::{History, Incarnation, Payload, Timestamp};

    use super::*;
    use crate::backend::StreamInfo;

    fn chunk(kinds: &[&'static str]) -> Chunk {
        let events = (10_u64..).zip(kinds).map(|(offset, kind)| Event {
            offset: Offset::new(offset),
            time: Timestamp::ZERO,
            kind: Cow::Borrowed(kind),
            source: None,
            payload: Payload::json("1"),
        });
        let info = StreamInfo {
            history: History::default(),
            incarnation: Incarnation::default(),
            low: Offset::ZERO,
            head: Offset::new(99),
            closed: false,
            content_type: None,
        };
        let from = Cursor { history: info.history, incarnation: info.incarnation, next: Offset::new(10) };
        Chunk::encode(from, ReadReply { events: events.collect(), info }, None)
    }

    const ALL: Room = Room { events: 64, credit_bytes: 1 << 20, batch_bytes: 1 << 16 };

    fn filter(kind: &str) -> Filter {
        Filter { types: vec![kind.to_owned()] }
    }

    fn check(from: u64, filter: Option<&Filter>, room: Room, expect: (u64, u32, usize)) {
        let slice = chunk(&["a", "b", "a", "a"]).slice(Offset::new(from), filter, room);
        assert_eq!((slice.next.value(), slice.events, slice.pieces.len()), expect);
    }

    #[test]
    fn unfiltered_events_are_one_piece() {
        check(10, None, ALL, (14, 4, 1));
        check(12, None, ALL, (14, 2, 1));
        check(14, None, ALL, (14, 0, 0));
    }

    #[test]
    fn a_filter_leaves_out_but_moves_on() {
        check(10, Some(&filter("a")), ALL, (14, 3, 2));
        check(10, Some(&filter("b")), ALL, (14, 1, 1));
        check(10, Some(&filter("c")), ALL, (14, 0, 0));
    }

    #[test]
    fn credit_is_never_passed() {
        check(10, None, Room { events: 2, ..ALL }, (12, 2, 1));
        check(10, None, Room { events: 0, ..ALL }, (10, 0, 0));
        let one = frames::content_bytes(chunk(&["a"]).bytes().len()) as u64;
        check(10, None, Room { credit_bytes: one * 2, ..ALL }, (12, 2, 1));
        check(10, None, Room { credit_bytes: one * 2 - 1, ..ALL }, (11, 1, 1));
        check(10, None, Room { credit_bytes: 0, ..ALL }, (10, 0, 0));
    }

    #[test]
    fn without_credit_what_is_filtered_out_still_passes() {
        check(10, Some(&filter("a")), Room { events: 1, ..ALL }, (12, 1, 1));
    }

    #[test]
    fn a_batch_ends_with_the_event_that_fills_it() {
        check(10, None, Room { batch_bytes: 1, ..ALL }, (11, 1, 1));
    }
}
