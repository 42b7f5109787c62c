//! What was taken and not yet answered, in order per stream, and what to send next. Knows no sockets.
//!
//! A stream's appends are numbered without holes, so the node refuses what follows on a refused one (`producer_gap`).
//! A number is given when an append is sent: the count of accepted ones and its place in the line. After a final refusal
//! the rest moves up by one, which is safe because the node cannot have taken any of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use protocol::{AppendCommand, ClientFrame, Cmd, Command};
use serde_json::value::RawValue;
use tokio::time::Instant;
use types::{Code, ProducerId, Refusal, StreamName};

use super::{Appended, ProducerOptions, Reply};
use crate::error::Error;
use crate::limits::RETRY_PAUSE;

/// Streams that one producer may write to; each is remembered with its count.
const STREAMS: usize = 65_536;

#[derive(Debug)]
pub(super) struct Window {
    producer: ProducerId,
    epoch: u64,
    lines: BTreeMap<StreamName, Line>,
    /// Which append a number on the connection stands for.
    sent: BTreeMap<u64, (StreamName, u64)>,
    /// Streams with something to send now.
    ready: BTreeSet<StreamName>,
    /// Streams that send again at a time.
    paused: BTreeSet<(Instant, StreamName)>,
    next_n: u64,
    next_id: u64,
}

/// The appends of one stream in order: those sent, then those that wait.
#[derive(Debug, Default)]
struct Line {
    accepted: u64,
    items: VecDeque<Item>,
    /// Where those begin that are not sent; they are the end of the line.
    waiting_from: usize,
    /// An append was refused for now: nothing is sent until all answers are in and the pause is over.
    rewind: Option<Duration>,
    /// The node's count and this one have parted for good.
    broken: Option<Refusal>,
}

#[derive(Debug)]
struct Item {
    id: u64,
    data: Box<RawValue>,
    reply: Reply,
    state: State,
    /// It was sent on a connection that ended before its answer: the node may have it.
    uncertain: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Sent { seq: u64 },
    Refused,
    Accepted(Appended),
}

impl Window {
    pub(super) fn new(options: ProducerOptions) -> Self {
        Self {
            producer: options.id,
            epoch: options.epoch,
            lines: BTreeMap::new(),
            sent: BTreeMap::new(),
            ready: BTreeSet::new(),
            paused: BTreeSet::new(),
            next_n: 0,
            next_id: 0,
        }
    }

    pub(super) fn push(&mut self, stream: StreamName, data: Box<RawValue>, reply: Reply) {
        if self.lines.len() >= STREAMS && !self.lines.contains_key(&stream) {
            let why = format!("one producer writes to at most {STREAMS} streams: use another one for {stream}");
            return reply.give(Err(Error::Unusable(why)));
        }
        let line = self.lines.entry(stream.clone()).or_default();
        if let Some(refusal) = &line.broken {
            return reply.give(Err(Error::Refused(refusal.clone())));
        }
        line.items.push_back(Item { id: self.next_id, data, reply, state: State::Waiting, uncertain: false });
        self.next_id += 1;
        if line.may_send() {
            self.ready.insert(stream);
        }
    }

    pub(super) fn has_more(&self) -> bool {
        !self.ready.is_empty()
    }

    /// When a paused stream sends again.
    pub(super) fn next_wake(&self) -> Option<Instant> {
        self.paused.first().map(|(due, _)| *due)
    }

    pub(super) fn wake(&mut self, now: Instant) {
        while let Some((due, stream)) = self.paused.pop_first() {
            if due > now {
                self.paused.insert((due, stream));
                return;
            }
            self.ready.insert(stream);
        }
    }

    /// The next command. One stream after the other gets its turn.
    pub(super) fn next(&mut self) -> Option<ClientFrame> {
        let stream = self.ready.pop_first()?;
        let line = self.lines.get_mut(&stream).expect("a ready stream has a line");
        let at = line.waiting_from;
        let seq = line.accepted + at as u64;
        line.waiting_from += 1;
        let item = &mut line.items[at];
        item.state = State::Sent { seq };
        let (n, id, data) = (self.next_n, item.id, item.data.clone());
        self.next_n += 1;
        self.sent.insert(n, (stream.clone(), id));
        if line.may_send() {
            self.ready.insert(stream.clone());
        }
        let (producer, epoch) = (Some(self.producer.clone()), self.epoch);
        let append = AppendCommand { stream, data, producer, epoch, seq: Some(seq) };
        Some(ClientFrame::Cmd(Cmd { n, command: Command::Append(append) }))
    }

    pub(super) fn done(&mut self, n: u64, appended: Appended, now: Instant) {
        let Some((stream, id)) = self.sent.remove(&n) else { return };
        let line = self.lines.get_mut(&stream).expect("what was sent has a line");
        let Some(at) = line.place_of(id) else { return };
        line.items[at].state = State::Accepted(appended);
        line.retire();
        self.settle(&stream, now);
    }

    pub(super) fn refused(&mut self, n: u64, refusal: Refusal, now: Instant) {
        let Some((stream, id)) = self.sent.remove(&n) else { return };
        let line = self.lines.get_mut(&stream).expect("what was sent has a line");
        let Some(at) = line.place_of(id) else { return };
        match line.judge(at, &refusal) {
            Judgement::Later(pause) => {
                line.items[at].state = State::Refused;
                line.rewind = Some(line.rewind.unwrap_or_default().max(pause));
            }
            Judgement::Never => {
                let item = line.items.remove(at).expect("it was found there");
                line.waiting_from -= 1;
                item.reply.give(Err(Error::Refused(refusal)));
            }
            Judgement::Broken => {
                self.ready.remove(&stream);
                line.break_off(refusal);
            }
        }
        self.settle(&stream, now);
    }

    /// Once every answer is in, a rewound stream pauses and then sends its refused appends again, in order.
    fn settle(&mut self, stream: &StreamName, now: Instant) {
        let line = self.lines.get_mut(stream).expect("what was sent has a line");
        let unanswered = line.items.iter().any(|item| matches!(item.state, State::Sent { .. }));
        if line.rewind.is_none() || unanswered {
            return;
        }
        let pause = line.rewind.take().expect("it was checked");
        line.wait_again();
        if line.may_send() {
            let due = now + pause;
            self.ready.remove(stream);
            self.paused.insert((due, stream.clone()));
        }
    }

    /// Everything unanswered is sent again on the next connection, under the same numbers.
    pub(super) fn disconnected(&mut self) {
        self.sent.clear();
        self.paused.clear();
        self.next_n = 0;
        for (stream, line) in &mut self.lines {
            line.rewind = None;
            line.lose_sight();
            line.wait_again();
            if line.may_send() {
                self.ready.insert(stream.clone());
            }
        }
    }

    /// Answers everything that is left: nobody knows what became of it.
    pub(super) fn give_up(self, server: &str, cause: &Error) {
        for item in self.lines.into_values().flat_map(|line| line.items) {
            item.reply.give(match item.state {
                State::Accepted(appended) => Ok(appended),
                State::Waiting | State::Sent { .. } | State::Refused => {
                    Err(Error::Unanswered { server: server.to_owned(), cause: cause.to_string() })
                }
            });
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.values().all(|line| line.items.is_empty())
    }
}

enum Judgement {
    /// Send it again after a pause.
    Later(Duration),
    /// This one is refused for good; the others may go on.
    Never,
    /// Nothing more can be appended to this stream under these numbers.
    Broken,
}

impl Line {
    fn may_send(&self) -> bool {
        self.rewind.is_none() && self.waiting_from < self.items.len()
    }

    fn place_of(&self, id: u64) -> Option<usize> {
        self.items.binary_search_by_key(&id, |item| item.id).ok()
    }

    /// Answers the accepted ones at the head of the line.
    fn retire(&mut self) {
        while let Some(State::Accepted(appended)) = self.items.front().map(|item| item.state) {
            let item = self.items.pop_front().expect("the front was looked at");
            self.accepted += 1;
            self.waiting_from -= 1;
            item.reply.give(Ok(appended));
        }
    }

    /// Sends all again. Whatever the node has taken already it will call a duplicate.
    fn wait_again(&mut self) {
        self.waiting_from = 0;
        for item in &mut self.items {
            item.state = State::Waiting;
        }
    }

    fn lose_sight(&mut self) {
        for item in &mut self.items {
            item.uncertain |= matches!(item.state, State::Sent { .. });
        }
    }

    fn judge(&self, at: usize, refusal: &Refusal) -> Judgement {
        let pause = refusal.retry_after_ms.map_or(RETRY_PAUSE, Duration::from_millis);
        match refusal.code {
            Code::ProducerGap => {
                // Its number was right when all before it are accepted: then the node counts differently.
                let due = State::Sent { seq: self.accepted };
                if at == 0 && self.items[0].state == due { Judgement::Broken } else { Judgement::Later(Duration::ZERO) }
            }
            Code::ProducerFenced | Code::Internal => Judgement::Broken,
            // The stream has changed. If the node took this one before that, the count goes on behind it; if not, at
            // it: nobody can tell.
            Code::StreamClosed | Code::StreamNotFound if self.items[at].uncertain => Judgement::Broken,
            Code::QueueFull
            | Code::TooManyRequests
            | Code::Draining
            | Code::Unavailable
            | Code::DiskFull
            | Code::OutcomeUnknown => Judgement::Later(pause),
            Code::BadRequest
            | Code::BadMessage
            | Code::InvalidName
            | Code::InvalidCursor
            | Code::InvalidDefinition
            | Code::InvalidInput
            | Code::UnsupportedMediaType
            | Code::TooLarge
            | Code::WorkflowNotFound
            | Code::RunNotFound
            | Code::StreamNotFound
            | Code::NotFound
            | Code::ReservedName
            | Code::OriginNotAllowed
            | Code::HostNotAllowed
            | Code::StreamExists
            | Code::StreamClosed
            | Code::WorkflowExists
            | Code::RunClosed
            | Code::IdempotencyConflict
            | Code::OtherHistory
            | Code::OtherStream
            | Code::Trimmed
            | Code::LogTruncated
            | Code::Damaged
            | Code::RunDamaged
            | Code::SequenceConflict
            | Code::StaleAttempt
            | Code::ForgedToken
            | Code::ChunkGap => Judgement::Never,
        }
    }

    fn break_off(&mut self, refusal: Refusal) {
        for item in self.items.drain(..) {
            item.reply.give(Err(Error::Refused(refusal.clone())));
        }
        self.waiting_from = 0;
        self.broken = Some(refusal);
    }
}

#[cfg(test)]
#[path = "window_tests.rs"]
mod tests;
