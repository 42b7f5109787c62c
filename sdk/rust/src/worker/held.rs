//! What is kept of one task until the node has it: chunks not yet taken, the result, and what to send next. Knows no
//! sockets.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use protocol::{Beat, ChunkFrame, ClientFrame, Failure, HeldStatus, Holding, ResultFrame};
use serde_json::value::RawValue;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use types::{Code, Refusal};

use super::step::Failed;
use crate::limits::{GAP_PAUSE, RETRY_PAUSE};

#[derive(Debug)]
pub(super) struct Held {
    token: Arc<str>,
    /// Chunks that the node has not taken; the first has `chunks_from`.
    chunks: VecDeque<Chunk>,
    chunks_from: u64,
    /// The next chunk to send on this connection.
    send_from: u64,
    outcome: Option<Result<Box<RawValue>, Failed>>,
    outcome_sent: bool,
    /// On this connection the node knows that this worker holds the task.
    settled: bool,
    paused_until: Option<Instant>,
    beat_every: Option<Duration>,
    beat_at: Option<Instant>,
}

#[derive(Debug)]
struct Chunk {
    data: Box<RawValue>,
    /// Given back when the chunk is taken.
    _room: Option<OwnedSemaphorePermit>,
}

/// What becomes of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Kept,
    /// The node has its result.
    Taken,
    /// Nothing of it will be taken.
    Dropped,
}

impl Held {
    pub(super) fn new(token: Arc<str>, heartbeat_ms: Option<u64>, now: Instant) -> Self {
        // Three beats in the time in which one is due: two may be late.
        let beat_every = heartbeat_ms.map(|millis| Duration::from_millis((millis / 3).max(1)));
        Self {
            token,
            chunks: VecDeque::new(),
            chunks_from: 0,
            send_from: 0,
            outcome: None,
            outcome_sent: false,
            settled: true,
            paused_until: None,
            beat_every,
            beat_at: beat_every.map(|every| now + every),
        }
    }

    pub(super) fn chunk(&mut self, data: Box<RawValue>, room: Option<OwnedSemaphorePermit>) {
        self.chunks.push_back(Chunk { data, _room: room });
    }

    pub(super) fn finish(&mut self, outcome: Result<Box<RawValue>, Failed>) {
        // A chunk that the node refused for good has ended it already.
        self.outcome.get_or_insert(outcome);
        self.beat_at = None;
    }

    fn chunks_end(&self) -> u64 {
        self.chunks_from + self.chunks.len() as u64
    }

    /// The next frame, if there is one to send now.
    pub(super) fn next_frame(&mut self, now: Instant) -> Option<ClientFrame> {
        if !self.settled || self.paused_until.is_some_and(|until| now < until) {
            return None;
        }
        self.paused_until = None;
        if self.beat_at.is_some_and(|due| due <= now) {
            self.beat_at = self.beat_every.map(|every| now + every);
            return Some(ClientFrame::Beat(Beat { token: self.token.to_string() }));
        }
        self.next_chunk().or_else(|| self.result())
    }

    fn next_chunk(&mut self) -> Option<ClientFrame> {
        let at = usize::try_from(self.send_from.checked_sub(self.chunks_from)?).ok()?;
        let data = self.chunks.get(at)?.data.clone();
        let seq = self.send_from;
        self.send_from += 1;
        Some(ClientFrame::Chunk(ChunkFrame { token: self.token.to_string(), seq, data }))
    }

    fn result(&mut self) -> Option<ClientFrame> {
        let outcome = self.outcome.as_ref().filter(|_| !self.outcome_sent)?;
        let token = self.token.to_string();
        let frame = match outcome {
            Ok(output) => ResultFrame { token, output: Some(output.clone()), failure: None, retry_after_ms: None },
            Err(failed) => ResultFrame {
                token,
                output: None,
                failure: Some((*failed.failure).clone()),
                retry_after_ms: failed.retry_after_ms,
            },
        };
        self.outcome_sent = true;
        Some(ClientFrame::Result(frame))
    }

    /// When it has something to send that it has not now: a beat, or what a pause holds back.
    pub(super) fn next_wake(&self) -> Option<Instant> {
        if !self.settled {
            return None;
        }
        match self.paused_until {
            Some(until) => Some(until),
            None => self.beat_at,
        }
    }

    /// A new connection: what the node is told about this task. Nothing is sent before it answers.
    pub(super) fn reconnected(&mut self) -> Holding {
        self.settled = false;
        self.paused_until = None;
        self.outcome_sent = false;
        Holding { token: self.token.to_string(), next_seq: self.send_from, done: self.outcome.is_some() }
    }

    pub(super) fn held(&mut self, status: &HeldStatus, now: Instant) -> Fate {
        match status {
            HeldStatus::NextSeq(next) => {
                self.settled = true;
                self.beat_at = self.beat_every.filter(|_| self.outcome.is_none()).map(|_| now);
                self.taken_below(*next);
                self.send_from = self.chunks_from;
                Fate::Kept
            }
            HeldStatus::Superseded => Fate::Dropped,
        }
    }

    pub(super) fn took(&mut self, seq: Option<u64>, result: bool) -> Fate {
        if let Some(next) = seq {
            self.taken_below(next);
        }
        if result { Fate::Taken } else { Fate::Kept }
    }

    /// Forgets the chunks that the node has.
    fn taken_below(&mut self, next: u64) {
        let known = next.clamp(self.chunks_from, self.chunks_end());
        let count = usize::try_from(known - self.chunks_from).expect("as many as are kept");
        self.chunks.drain(..count);
        self.chunks_from = known;
        self.send_from = self.send_from.max(known);
    }

    /// Something of it was not taken: now, or for good.
    pub(super) fn untaken(&mut self, refusal: &Refusal, next_seq: Option<u64>, now: Instant) -> Fate {
        match refusal.code {
            Code::StaleAttempt | Code::ForgedToken | Code::RunClosed | Code::RunNotFound | Code::RunDamaged => {
                Fate::Dropped
            }
            Code::ChunkGap => {
                self.taken_below(next_seq.unwrap_or(self.chunks_from));
                self.again(now, GAP_PAUSE);
                Fate::Kept
            }
            Code::QueueFull
            | Code::TooManyRequests
            | Code::Draining
            | Code::Unavailable
            | Code::DiskFull
            | Code::OutcomeUnknown => {
                self.again(now, refusal.retry_after_ms.map_or(RETRY_PAUSE, Duration::from_millis));
                Fate::Kept
            }
            Code::BadRequest
            | Code::BadMessage
            | Code::InvalidName
            | Code::InvalidCursor
            | Code::InvalidDefinition
            | Code::InvalidInput
            | Code::UnsupportedMediaType
            | Code::TooLarge
            | Code::WorkflowNotFound
            | Code::StreamNotFound
            | Code::NotFound
            | Code::ReservedName
            | Code::OriginNotAllowed
            | Code::HostNotAllowed
            | Code::StreamExists
            | Code::StreamClosed
            | Code::WorkflowExists
            | Code::IdempotencyConflict
            | Code::OtherHistory
            | Code::OtherStream
            | Code::Trimmed
            | Code::LogTruncated
            | Code::Damaged
            | Code::ProducerFenced
            | Code::ProducerGap
            | Code::SequenceConflict
            | Code::Internal => self.refused_for_good(refusal),
        }
    }

    /// Everything not taken is sent again after a pause; a pause that runs already is not made longer by an echo.
    fn again(&mut self, now: Instant, pause: Duration) {
        self.send_from = self.chunks_from;
        self.outcome_sent = false;
        let until = now + pause;
        self.paused_until = Some(self.paused_until.map_or(until, |running| running.max(until)));
    }

    /// The step fails with the node's own words; should even those be refused, there is nothing left to offer.
    fn refused_for_good(&mut self, refusal: &Refusal) -> Fate {
        let said = matches!(&self.outcome, Some(Err(failed)) if failed.failure.kind == refusal.code.as_str());
        if said {
            return Fate::Dropped;
        }
        self.chunks_from = self.chunks_end();
        self.send_from = self.chunks_from;
        self.chunks.clear();
        let failure = Failure {
            message: format!("the node did not take what the step produced: {}", refusal.message),
            kind: refusal.code.as_str().to_owned(),
            non_retryable: true,
            stack: None,
            details: None,
            cause: None,
        };
        self.outcome = Some(Err(failure.into()));
        self.outcome_sent = false;
        Fate::Kept
    }

    pub(super) fn is_running(&self) -> bool {
        self.outcome.is_none()
    }
}

#[cfg(test)]
#[path = "held_tests.rs"]
mod tests;
