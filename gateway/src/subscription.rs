//! One subscription: where it stands, what its client is ready to take, and what to do next. Knows no socket, no
//! backend and no clock.

use std::collections::VecDeque;
use std::sync::Arc;

use protocol::{Credit, Filter, ServerFrame, Sub};
use types::{Code, Cursor, Offset, StreamName, StreamStart, TenantId};

use crate::backend::{ReadReply, StreamInfo};
use crate::chunk::{Chunk, Room, Slice};
use crate::frames;
use crate::inbox::Address;
use crate::limits::Limits;
use crate::resume::{self, Plan};
use crate::stream_tail::TailKey;

/// A position that moved this far without an event is told at once; a smaller move may wait a moment.
const MARK_EVENTS: u64 = 256;
/// What a subscription keeps of a read that it has no credit for, in bytes.
const KEPT_BYTES: usize = 4 * 1024;

/// What a subscription does next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It moved on and wants another turn.
    Moved { events: u32 },
    /// It is behind: read from here, as much as it may send.
    Read(Cursor, Portion),
    /// It is at the tail: follow.
    Join(TailKey, Offset),
    /// All of a closed stream was sent.
    Ended,
    /// Something has to happen first. `mark`: a position is to be told, though not at once.
    Wait { mark: bool },
}

/// How much is read at a time, at most; one event more than nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Portion {
    pub(crate) events: usize,
    pub(crate) bytes: usize,
}

#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) address: Address,
    pub(crate) stream: StreamName,
    filter: Option<Filter>,
    /// The next event to look at; `None` until the stream is known.
    position: Option<Cursor>,
    /// The position that the client knows.
    told: Offset,
    /// The stream's end as last seen, and whether it stays there.
    head: Offset,
    closed: bool,
    credit_events: u64,
    credit_bytes: u64,
    /// Read for this subscription alone.
    backlog: Option<Chunk>,
    /// The credit that the next event takes, in bytes, where it was too little.
    short_of: u64,
    /// Live events, while it follows.
    feed: Option<Feed>,
    /// Following ended: whether there is more only a read can tell.
    lost: bool,
    reading: bool,
    /// A read said that nothing is kept from where it stands to here.
    gap_to: Option<(Offset, Code)>,
}

#[derive(Debug)]
struct Feed {
    key: TailKey,
    /// The first offset that it brings.
    start: Offset,
    chunks: VecDeque<Arc<Chunk>>,
}

impl Subscription {
    pub(crate) fn new(address: Address, sub: Sub) -> Self {
        Self {
            address,
            stream: sub.stream,
            filter: sub.filter,
            position: None,
            told: Offset::ZERO,
            head: Offset::ZERO,
            closed: false,
            credit_events: sub.credit.events.into(),
            credit_bytes: sub.credit.bytes.into(),
            backlog: None,
            short_of: 0,
            feed: None,
            lost: false,
            reading: false,
            gap_to: None,
        }
    }

    /// Where it stands, once that is known.
    pub(crate) fn position(&self) -> Option<Cursor> {
        self.position
    }

    /// The stream is known, for the first time: says where delivery starts, and what is missing before that.
    pub(crate) fn open(&mut self, start: StreamStart, info: &StreamInfo, out: &mut Vec<u8>) -> Plan {
        let plan = resume::plan(start, info);
        let resumed = match (start, plan) {
            (StreamStart::At(_), Plan::Live { .. } | Plan::Replay { .. }) => true,
            (StreamStart::At(_), Plan::Gap { .. }) | (StreamStart::Begin | StreamStart::Now, _) => false,
        };
        let (cursor, id) = (plan.position(), self.address.id);
        push(out, &ServerFrame::Subbed { id, cursor, head: info.head, low: info.low, resumed });
        self.stand_at(plan, info, out);
        plan
    }

    /// What it stood at is gone: says what is missing and goes on.
    pub(crate) fn reopen(&mut self, info: &StreamInfo, out: &mut Vec<u8>) -> Plan {
        let start = self.position.map_or(StreamStart::Begin, StreamStart::At);
        let (low, code) = self.gap_to.take().unwrap_or((info.low, Code::Trimmed));
        let info = StreamInfo { low: info.low.max(low.min(info.head)), ..info.clone() };
        let plan = resume::plan(start, &info).because(code);
        self.stand_at(plan, &info, out);
        plan
    }

    /// The read met a gap that ends here, for this reason: `reopen` tells it.
    pub(crate) fn gap_to(&mut self, low: Offset, reason: Code) {
        self.gap_to = Some((low, reason));
    }

    fn stand_at(&mut self, plan: Plan, info: &StreamInfo, out: &mut Vec<u8>) {
        if let Plan::Gap { from, to, reason } = plan {
            push(out, &ServerFrame::Gap { id: self.address.id, from: Some(from), to, reason, low: info.low });
        }
        self.position = Some(plan.position());
        self.told = plan.position().next;
        self.backlog = None;
        self.reading = false;
        self.see(info.head, info.closed);
    }

    fn see(&mut self, head: Offset, closed: bool) {
        self.head = head;
        self.closed = closed;
    }

    pub(crate) fn add_credit(&mut self, more: &Credit) {
        self.credit_events = self.credit_events.saturating_add(more.events.into());
        self.credit_bytes = self.credit_bytes.saturating_add(more.bytes.into());
    }

    /// The answer to a read from `from`.
    pub(crate) fn read(&mut self, from: Cursor, reply: ReadReply) {
        (self.reading, self.lost, self.short_of) = (false, false, 0);
        self.see(reply.info.head, reply.info.closed);
        self.backlog = Some(Chunk::encode(from, reply, self.filter.as_ref()));
    }

    /// The read was not answered and may be tried again.
    pub(crate) fn retry(&mut self) {
        self.reading = false;
    }

    /// It follows now, from this offset on.
    pub(crate) fn joined(&mut self, key: TailKey, start: Offset) {
        self.feed = Some(Feed { key, start, chunks: VecDeque::new() });
    }

    /// Live events came. Says how many bytes more are kept now.
    pub(crate) fn arrived(&mut self, chunk: Arc<Chunk>) -> usize {
        let life = |cursor: Cursor| (cursor.history, cursor.incarnation);
        if self.position.map(life) != Some(life(chunk.from)) {
            return 0;
        }
        let Some(feed) = &mut self.feed else { return 0 };
        let (bytes, head, closed) = (chunk.bytes().len(), chunk.head, chunk.closed);
        feed.chunks.push_back(chunk);
        self.see(head, closed);
        bytes
    }

    /// It does not follow any more, and reads again what it had not sent yet. The key is for leaving.
    pub(crate) fn lose(&mut self) -> Option<TailKey> {
        self.lost = true;
        let feed = self.feed.take()?;
        Some(feed.key)
    }

    /// Bytes of events that were read for it and that it has not sent yet.
    pub(crate) fn backlog_bytes(&self) -> usize {
        self.backlog.as_ref().map_or(0, |chunk| chunk.bytes().len())
    }

    /// Bytes of live events that it keeps.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.feed.iter().flat_map(|feed| &feed.chunks).map(|chunk| chunk.bytes().len()).sum()
    }

    /// Does one thing: sends one batch at most, or says what it needs.
    pub(crate) fn step(&mut self, tenant: &TenantId, limits: &Limits, out: &mut Vec<u8>) -> Step {
        let Some(position) = self.position else { return Step::Wait { mark: false } };
        self.drop_what_is_behind(position.next);
        if let Some(slice) = self.slice(position.next, limits) {
            if slice.next == position.next {
                self.let_go(position.next);
                return self.wait();
            }
            return self.advance(position.at(slice.next), &slice, out);
        }
        if self.closed && position.next == self.head {
            return Step::Ended;
        }
        if self.feed.as_ref().is_some_and(|feed| feed.start <= position.next) {
            return self.wait();
        }
        if self.reading || self.credit_events == 0 || self.credit_bytes < self.short_of.max(1) {
            return self.wait();
        }
        if self.lost || position.next < self.head || self.feed.is_some() {
            self.reading = true;
            return Step::Read(position, self.portion(limits));
        }
        let Cursor { history, incarnation, next } = position;
        Step::Join(TailKey { tenant: tenant.clone(), stream: self.stream.clone(), history, incarnation }, next)
    }

    /// What it may send, as far as that can be told before it is read.
    fn portion(&self, limits: &Limits) -> Portion {
        if self.filter.is_some() {
            // Most of it may be for nobody.
            return Portion { events: limits.read_events, bytes: limits.batch_bytes };
        }
        let at_most = |credit: u64, limit: usize| usize::try_from(credit).unwrap_or(limit).min(limit);
        Portion {
            events: at_most(self.credit_events, limits.read_events),
            bytes: at_most(self.credit_bytes, limits.batch_bytes),
        }
    }

    /// What there is no credit for is not kept, unless it is little: the log has it. A client that stalls costs nothing.
    fn let_go(&mut self, position: Offset) {
        let Some(chunk) = self.backlog.take_if(|chunk| chunk.bytes().len() > KEPT_BYTES) else { return };
        self.short_of = chunk.cost_of_next(position, self.filter.as_ref());
    }

    fn drop_what_is_behind(&mut self, position: Offset) {
        self.backlog.take_if(|chunk| chunk.end() <= position);
        if let Some(feed) = &mut self.feed {
            while feed.chunks.front().is_some_and(|chunk| chunk.end() <= position) {
                feed.chunks.pop_front();
            }
        }
    }

    /// What can be sent now; `None`: there is nothing at hand, sendable or not.
    fn slice(&self, position: Offset, limits: &Limits) -> Option<Slice> {
        let chunk = self.current(position)?;
        let room = Room {
            events: u32::try_from(self.credit_events.min(limits.batch_events as u64)).expect("a batch is small"),
            credit_bytes: self.credit_bytes,
            batch_bytes: limits.batch_bytes,
        };
        Some(chunk.slice(position, self.filter.as_ref(), room))
    }

    fn current(&self, position: Offset) -> Option<&Chunk> {
        let live =
            || self.feed.as_ref()?.chunks.front().filter(|chunk| chunk.from.next <= position).map(|chunk| &**chunk);
        self.backlog.as_ref().or_else(live)
    }

    fn advance(&mut self, to: Cursor, slice: &Slice, out: &mut Vec<u8>) -> Step {
        if slice.events > 0 {
            let (id, prev, n) = (self.address.id, self.told.previous(), slice.events as usize);
            push(out, &ServerFrame::Batch { id, prev, cursor: to, n });
            let chunk = self.current(to.next.previous().expect("a batch has events")).expect("the slice came from it");
            for piece in &slice.pieces {
                out.extend_from_slice(&chunk.bytes()[piece.clone()]);
            }
            self.told = to.next;
            self.credit_events -= u64::from(slice.events);
            self.credit_bytes -= slice.bytes as u64;
        }
        self.position = Some(to);
        if self.untold() >= MARK_EVENTS {
            self.mark(out);
        }
        Step::Moved { events: slice.events }
    }

    fn wait(&self) -> Step {
        Step::Wait { mark: self.untold() > 0 }
    }

    /// How far it moved on without telling.
    fn untold(&self) -> u64 {
        self.position.map_or(0, |position| position.next.since(self.told))
    }

    /// Tells a position that moved without an event.
    pub(crate) fn mark(&mut self, out: &mut Vec<u8>) {
        let Some(cursor) = self.position else { return };
        if cursor.next > self.told {
            push(out, &ServerFrame::Mark { id: self.address.id, cursor, head: self.head });
            self.told = cursor.next;
        }
    }
}

/// Appends a frame as a text message.
pub(crate) fn push(out: &mut Vec<u8>, frame: &ServerFrame) {
    frames::push_text(out, |out| frame.encode_into(out));
}
