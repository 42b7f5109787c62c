//! Gives up what need not be kept: one pass after another over runs, segments and the streams in them. Thin: which
//! segments may go is `storage::retention::choose`, what that means for streams and runs the kernel decides.
//!
//! The order makes it safe: first the events that say what is given up are durable, then the log drops the segment.

mod tenants;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use engine::{Answer, Command, RowImage, RowName, StreamKey, TrimStreams, stored};
use storage::retention::{Choice, Keep, Policy, Reason, choose};
use storage::{DropError, Met, RetentionClass, RowKind, SegmentFacts, SegmentId};
use tokio::sync::oneshot;
use types::{Offset, PartitionId, Position, ProducerId, RoutingHash, RunId, StreamOrdinal, TenantId, Timestamp};

use crate::limits;
use crate::partition::{Host, Notice, Query, Request};

/// What a pass is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RetentionSettings {
    pub(crate) policy: Policy,
    /// What sealed segments may hold of the streams of single tenants, whatever its age.
    pub(crate) tenants: BTreeMap<TenantId, Keep>,
    /// Runs, since they closed.
    pub(crate) run_ms: u64,
    /// From the end of a pass to the next.
    pub(crate) every: Duration,
}

/// The thread that does it.
#[derive(Debug)]
pub(crate) struct Retention {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Retention {
    pub(crate) fn start(host: Arc<Host>, settings: RetentionSettings) -> std::io::Result<Self> {
        let (stop, stopped) = channel();
        let pass = Pass {
            host,
            settings,
            looked_at: BTreeMap::new(),
            shares: BTreeMap::new(),
            recount: BTreeMap::new(),
            held: BTreeMap::new(),
        };
        let thread = std::thread::Builder::new().name("retention".to_owned()).spawn(move || pass.run(&stopped))?;
        Ok(Self { stop, thread })
    }

    /// Ends it after what it is doing; waits for that.
    pub(crate) fn stop(self) {
        drop(self.stop);
        // It has nothing to say that was not logged.
        let _ = self.thread.join();
    }
}

/// Why a pass ended early: the next one begins anew.
#[derive(Debug)]
enum Interrupted {
    /// The partition has too much to do, or the node stops.
    NoAnswer,
    Log(String),
}

impl From<storage::ReadError> for Interrupted {
    fn from(error: storage::ReadError) -> Self {
        Self::Log(error.to_string())
    }
}

/// What was found out about the streams in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// None of them keeps any of it; `streams_only`: and there is nothing else in it.
    Cleared { streams_only: bool },
    /// Some do, until then at least.
    Until(Timestamp),
}

struct Pass {
    host: Arc<Host>,
    settings: RetentionSettings,
    looked_at: BTreeMap<SegmentId, Look>,
    /// What the tenants that have a bound of their own have in each segment.
    shares: BTreeMap<SegmentId, tenants::Shares>,
    /// Segments of which streams gave something up: they are counted again once rows know of it, which is when they
    /// reflect this position.
    recount: BTreeMap<SegmentId, Position>,
    /// Until when a segment is not asked again for a tenant's events, because pinned readers hold some of them back.
    held: BTreeMap<(SegmentId, TenantId), Timestamp>,
}

impl Pass {
    fn run(mut self, stopped: &Receiver<()>) {
        while stopped.recv_timeout(self.settings.every) == Err(RecvTimeoutError::Timeout) {
            match self.pass() {
                Ok(()) => {}
                Err(Interrupted::NoAnswer) => tracing::debug!("a pass of retention was interrupted"),
                Err(Interrupted::Log(error)) => tracing::error!(error, "retention could not go on"),
            }
        }
    }

    fn pass(&mut self) -> Result<(), Interrupted> {
        let partitions: Vec<_> = self.host.partitions().partitions().collect();
        let mut facts = Vec::new();
        for partition in partitions {
            self.forget_runs(partition)?;
            self.host.log.seal(partition, self.host.now());
            let found = self.host.log.segments(partition)?;
            // Recovery must not need what is to go: without traffic no checkpoint would come by itself.
            if found.iter().any(|segment| segment.sealed && segment.next > segment.floor) {
                self.host.mailbox(partition).notify(Notice::Checkpoint(partition));
            }
            facts.extend(found);
        }
        self.looked_at.retain(|id, _| facts.iter().any(|segment| segment.id == *id));
        self.hold_tenants(&facts)?;
        let choices = choose(&facts, &self.settings.policy, self.host.now());
        for segment in &facts {
            let chosen = choices.iter().find(|choice| choice.segment == segment.id);
            let may_go = self.may_go(segment, chosen);
            if or_pass_over(segment, may_go)?.unwrap_or(false) {
                self.let_go(segment)?;
            }
        }
        Ok(())
    }

    /// Whether nobody needs a segment; in the stream chain, makes it so for streams that are kept no longer.
    fn may_go(&mut self, segment: &SegmentFacts, chosen: Option<&Choice>) -> Result<bool, Interrupted> {
        // A damaged one is there to be saved.
        if !segment.sealed || segment.quarantined || segment.next > segment.floor {
            return Ok(false);
        }
        match segment.id.class {
            RetentionClass::Run => match chosen {
                Some(choice) => self.without_runs(segment, choice.reason == Reason::Room),
                None => Ok(false),
            },
            RetentionClass::Stream => {
                let room = chosen.is_some_and(|choice| choice.reason == Reason::Room);
                let look = match self.looked_at.get(&segment.id) {
                    Some(Look::Until(time)) if !room && *time > self.host.now() => return Ok(false),
                    Some(Look::Until(_)) | None => self.trim(segment, room)?,
                    Some(look @ Look::Cleared { .. }) => *look,
                };
                self.looked_at.insert(segment.id, look);
                Ok(match look {
                    Look::Cleared { streams_only } => chosen.is_some() || streams_only,
                    Look::Until(_) => false,
                })
            }
        }
    }

    fn let_go(&mut self, segment: &SegmentFacts) -> Result<(), Interrupted> {
        let SegmentId { partition, class, number } = segment.id;
        match self.host.log.drop_segments(partition, &[segment.id]) {
            Ok(dropped) => {
                self.looked_at.remove(&segment.id);
                self.host.metrics.dropped_segments.inc();
                self.host.metrics.dropped_bytes.inc_by(dropped.bytes);
                let (records, bytes) = (dropped.records, dropped.bytes);
                tracing::info!(%partition, ?class, segment = number, records, bytes, "a segment was dropped");
                Ok(())
            }
            Err(
                error @ (DropError::Refused { .. }
                | DropError::Read(_)
                | DropError::Failed { .. }
                | DropError::ReadOnly),
            ) => Err(Interrupted::Log(error.to_string())),
        }
    }

    /// Whether all runs that have facts in the segment are forgotten; where `room` is needed, forgets the closed ones.
    fn without_runs(&self, segment: &SegmentFacts, room: bool) -> Result<bool, Interrupted> {
        let partition = segment.id.partition;
        let mut after = None;
        loop {
            let page = self.host.log.segment_streams(segment.id, after, limits::STREAMS_PER_TRIM)?;
            let Some(last) = page.last() else { return Ok(true) };
            after = Some(last.stream);
            let streams: Vec<_> = page.iter().map(|extent| extent.stream).collect();
            let mut kept = self.kept_runs(partition, streams.clone())?;
            if room && !kept.is_empty() && kept.iter().all(|(_, open)| !open) {
                let runs = kept.into_iter().map(|(run, _)| run).collect();
                self.command(partition, Command::ForgetRuns { runs, room })?;
                kept = self.kept_runs(partition, streams)?;
            }
            if !kept.is_empty() {
                return Ok(false);
            }
        }
    }

    fn kept_runs(
        &self,
        partition: PartitionId,
        streams: Vec<StreamOrdinal>,
    ) -> Result<Vec<(RunId, bool)>, Interrupted> {
        self.ask(partition, |reply| Request::Query(Query::KeptRuns { streams, reply }))
    }

    fn trim(&mut self, segment: &SegmentFacts, room: bool) -> Result<Look, Interrupted> {
        let (partition, newest) = (segment.id.partition, segment.last_time);
        let (mut after, mut until, mut streams_only) = (None, None, true);
        loop {
            let page = self.host.log.segment_streams(segment.id, after, limits::STREAMS_PER_TRIM)?;
            let Some(last) = page.last() else { break };
            after = Some(last.stream);
            let extents = page.iter().map(|extent| (extent.stream, extent.end)).collect();
            let command = Command::TrimStreams(Box::new(TrimStreams { newest, extents, room }));
            let Answer::Trimmed { trimmed, cleared, next, only_streams } = self.command(partition, command)? else {
                unreachable!("a trim is answered with what was trimmed")
            };
            streams_only &= only_streams;
            if !cleared {
                let next = next.unwrap_or(newest);
                until = Some(until.map_or(next, |until: Timestamp| until.min(next)));
            }
            if !trimmed.is_empty() {
                self.count_again(segment);
            }
            for (key, ordinal, low) in trimmed {
                self.forget_producers(partition, &key, ordinal, low)?;
            }
        }
        Ok(until.map_or(Look::Cleared { streams_only }, Look::Until))
    }

    fn forget_producers(
        &self,
        partition: PartitionId,
        key: &StreamKey,
        stream: StreamOrdinal,
        low: Offset,
    ) -> Result<(), Interrupted> {
        let (_, ours_begin) = stored::producers_of(key);
        let mut after = Some(Bytes::from(ours_begin.clone()));
        loop {
            let (rows, kind) = (&self.host.rows, RowKind::Producer);
            let page = rows.scan_past_damage(partition, kind, after.as_ref(), limits::STREAMS_PER_TRIM)?;
            let full = page.len() == limits::STREAMS_PER_TRIM;
            after = page.last().map(|met| met.last().clone());
            let mut producers: Vec<ProducerId> = Vec::new();
            let mut ours = 0;
            for met in page.iter().take_while(|met| met.last().starts_with(&ours_begin)) {
                ours += 1;
                // A damaged row stays: nobody knows of which events it is.
                let Met::Row(id, row) = met else { continue };
                let read = stored::read_row(RowKind::Producer as u8, id, &row.value);
                let Ok((RowName::Producer(_, producer), RowImage::Producer(window))) = read else { continue };
                if window.offset < low || window.ordinal != stream {
                    producers.push(producer);
                }
            }
            if !producers.is_empty() {
                self.command(partition, Command::ForgetProducers { stream, producers })?;
            }
            if !full || ours < page.len() {
                return Ok(());
            }
        }
    }

    /// Closed runs stand in their rows from the newest start to the oldest: those that started before they could have
    /// been closed long enough are the last ones.
    fn forget_runs(&self, partition: PartitionId) -> Result<(), Interrupted> {
        let now = self.host.now();
        let Some(latest) = now.as_millis().checked_sub(self.settings.run_ms) else { return Ok(()) };
        let newest = RunId::new(RoutingHash::from_bits(u32::MAX), u128::from(latest) << ULID_RANDOM_BITS);
        let mut after: Option<Bytes> = Some(stored::row_key(&RowName::ClosedRun(newest)).1.into());
        loop {
            let (rows, kind) = (&self.host.rows, RowKind::ClosedRun);
            let page = rows.scan_past_damage(partition, kind, after.as_ref(), limits::RUNS_PER_FORGET)?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.last().clone());
            let mut runs = Vec::new();
            for met in &page {
                // A damaged row stays, with what it holds back; listings name it.
                let Met::Row(id, row) = met else { continue };
                let Ok((_, RowImage::Run(run))) = stored::read_row(kind as u8, id, &row.value) else { continue };
                if run.closed.is_some_and(|closed| closed.as_millis() <= latest) {
                    runs.push(run.id);
                }
            }
            if !runs.is_empty() {
                self.command(partition, Command::ForgetRuns { runs, room: false })?;
            }
        }
    }

    fn command(&self, partition: PartitionId, command: Command) -> Result<Answer, Interrupted> {
        self.ask(partition, |reply| Request::Command {
            command,
            answer: crate::partition::answer(reply, |_, answer| answer),
        })
    }

    /// Asks a partition as a client would: when it has too much to do, retention is what can wait.
    fn ask<T>(
        &self,
        partition: PartitionId,
        request: impl FnOnce(oneshot::Sender<Result<T, types::Refusal>>) -> Request,
    ) -> Result<T, Interrupted> {
        let (reply, answer) = oneshot::channel();
        self.host.mailbox(partition).request(partition, request(reply)).map_err(|_| Interrupted::NoAnswer)?;
        match answer.blocking_recv() {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(refusal)) => Err(Interrupted::Log(refusal.message)),
            Err(_) => Err(Interrupted::NoAnswer),
        }
    }
}

/// What cannot be read of one segment keeps no other from going.
fn or_pass_over<T>(segment: &SegmentFacts, outcome: Result<T, Interrupted>) -> Result<Option<T>, Interrupted> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(Interrupted::Log(error)) => {
            let SegmentId { partition, class, number } = segment.id;
            tracing::error!(%partition, ?class, segment = number, error, "retention passes over a segment");
            Ok(None)
        }
        Err(Interrupted::NoAnswer) => Err(Interrupted::NoAnswer),
    }
}

/// A ULID is a time in milliseconds and so many random bits.
const ULID_RANDOM_BITS: u32 = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_segment_that_cannot_be_read_ends_no_pass() {
        let segment = SegmentFacts {
            id: SegmentId { partition: PartitionId::SYSTEM, class: RetentionClass::Stream, number: 1 },
            sealed: true,
            quarantined: false,
            base: Position::ZERO,
            next: Position::new(100),
            records: 100,
            bytes: 1_000,
            first_time: Timestamp::ZERO,
            last_time: Timestamp::ZERO,
            floor: Position::new(1_000),
        };
        assert!(matches!(or_pass_over(&segment, Ok(true)), Ok(Some(true))));
        let damaged = or_pass_over::<bool>(&segment, Err(Interrupted::Log("its index is damaged".to_owned())));
        assert!(matches!(damaged, Ok(None)), "{damaged:?}");
        // A node that stops does end it.
        assert!(or_pass_over::<bool>(&segment, Err(Interrupted::NoAnswer)).is_err());
    }
}
