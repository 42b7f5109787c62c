//! What a partition gives up: how long streams and runs are kept, who holds back what, and how its state moves when
//! something goes. The log drops whole segments; these events say, stream by stream and run by run, what that means.

use std::collections::BTreeMap;

use types::{Offset, ProducerId, RunId, StreamOrdinal, TenantId, Timestamp};

use crate::limits;
use crate::partition::Partition;
use crate::row::{RowName, StartKey};
use crate::stream::StreamKey;

/// How much of a stream is kept, where it says so itself; what is `None` is as its tenant or the node has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    pub age_ms: Option<u64>,
    /// The newest so many events; the older ones go with the next segment that is looked at.
    pub events: Option<u64>,
}

/// A reader that holds events back from being dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin {
    /// It has still to read from here.
    pub at: Offset,
    /// So far behind the head it may be; further, it holds nothing back any more.
    pub max_lag: u64,
}

/// How long things are kept, unless a stream says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeepConfig {
    /// Events of streams, since they happened.
    pub stream_ms: u64,
    /// Runs and their events, since they closed.
    pub run_ms: u64,
    /// Tenants for whom streams are kept for another time.
    pub tenants: BTreeMap<TenantId, u64>,
}

impl Default for KeepConfig {
    fn default() -> Self {
        Self { stream_ms: limits::STREAM_KEPT_MS, run_ms: limits::RUN_KEPT_MS, tenants: BTreeMap::new() }
    }
}

impl KeepConfig {
    /// Of a stream, in milliseconds.
    pub(crate) fn stream_ms(&self, tenant: &TenantId, own: Keep) -> u64 {
        own.age_ms.or_else(|| self.tenants.get(tenant).copied()).unwrap_or(self.stream_ms)
    }
}

/// What was given up, or is to be held back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RetentionEvent {
    /// Events before `low` are no longer shown.
    StreamTrimmed {
        stream: StreamOrdinal,
        low: Offset,
    },
    /// These have sent nothing that is still kept: their next request is like a first one.
    ProducersForgotten {
        stream: StreamOrdinal,
        producers: Vec<ProducerId>,
    },
    KeepSet {
        stream: StreamOrdinal,
        keep: Keep,
    },
    ReaderPinned {
        stream: StreamOrdinal,
        reader: String,
        pin: Pin,
    },
    /// It let go, or fell too far behind.
    ReaderUnpinned {
        stream: StreamOrdinal,
        reader: String,
    },
    /// A run that closed, or was set aside and is given up, is no longer known; `start` is its idempotency key, which is free again.
    RunForgotten {
        run: RunId,
        stream: StreamOrdinal,
        start: Option<StartKey>,
    },
}

impl RetentionEvent {
    /// The user stream that it changes.
    pub const fn stream(&self) -> Option<StreamOrdinal> {
        match self {
            Self::StreamTrimmed { stream, .. }
            | Self::ProducersForgotten { stream, .. }
            | Self::KeepSet { stream, .. }
            | Self::ReaderPinned { stream, .. }
            | Self::ReaderUnpinned { stream, .. } => Some(*stream),
            Self::RunForgotten { .. } => None,
        }
    }
}

impl Partition {
    pub(crate) fn apply_retention(&mut self, event: &RetentionEvent) {
        match event {
            RetentionEvent::StreamTrimmed { stream, low } => {
                let (_, stream) = self.stream_mut(*stream);
                stream.low = stream.low.max(*low);
            }
            RetentionEvent::ProducersForgotten { stream, producers } => {
                let (key, _) = self.stream_mut(*stream);
                for producer in producers {
                    self.producers.remove(&(key.clone(), producer.clone()));
                    self.forget(RowName::Producer(key.clone(), producer.clone()));
                }
            }
            RetentionEvent::KeepSet { stream, keep } => self.stream_mut(*stream).1.keep = *keep,
            RetentionEvent::ReaderPinned { stream, reader, pin } => {
                self.stream_mut(*stream).1.pins.insert(reader.clone(), *pin);
            }
            RetentionEvent::ReaderUnpinned { stream, reader } => {
                self.stream_mut(*stream).1.pins.remove(reader);
            }
            RetentionEvent::RunForgotten { run, stream, start } => {
                self.give_up(*run);
                self.runs.remove(run);
                self.closed_runs.remove(stream);
                self.forget(RowName::ClosedRun(*run));
                self.forget(RowName::RunOfStream(*stream));
                if let Some(start) = start {
                    self.starts.remove(start);
                    self.forget(RowName::Start(start.clone()));
                }
            }
        }
    }

    /// A run that was set aside, or that would be open here: it was set aside when it was given up, because its row was
    /// damaged, and a replay of all events, or a row that is sound again, does not know of that.
    fn give_up(&mut self, id: RunId) {
        if let Some(run) = self.runs.get(&id).filter(|run| !run.status.is_closed()) {
            self.open_bytes -= run.held_bytes();
        } else if self.idle.remove(&id).is_none() && self.aside.remove(&id).is_none() {
            return;
        }
        self.run_of.retain(|_, run| *run != id);
        self.timers.retain(|(_, run, _)| *run != id);
        self.put_off.remove(&id);
        self.dirty.insert(RowName::OpenRun(id));
    }

    fn forget(&mut self, name: RowName) {
        self.dirty.insert(name.clone());
        self.gone.insert(name);
    }

    /// Why this cannot have happened. A run may be forgotten at any time: it closed, or it was given up.
    pub(crate) fn retention_contradiction(&self, event: &RetentionEvent) -> Option<String> {
        let ordinal = event.stream()?;
        let stream = self.stream_names.get(&ordinal).and_then(|key| self.streams.get(key));
        let Some(stream) = stream.filter(|stream| stream.ordinal == ordinal) else {
            return Some(format!("stream {ordinal} does not exist"));
        };
        match event {
            RetentionEvent::StreamTrimmed { low, .. } if *low <= stream.low || *low > stream.head => {
                Some(format!("it trims to {low} a stream that has {} to {}", stream.low, stream.head))
            }
            RetentionEvent::StreamTrimmed { .. }
            | RetentionEvent::ProducersForgotten { .. }
            | RetentionEvent::KeepSet { .. }
            | RetentionEvent::ReaderPinned { .. }
            | RetentionEvent::ReaderUnpinned { .. }
            | RetentionEvent::RunForgotten { .. } => None,
        }
    }

    /// The run with this stream, unless it is forgotten, and whether it is open. What `needs_to_tell_run` names is in
    /// memory.
    pub fn kept_run(&self, stream: StreamOrdinal) -> Option<(RunId, bool)> {
        let open = self.run_of.get(&stream).map(|run| (*run, true));
        open.or_else(|| self.closed_runs.get(&stream).map(|run| (*run, false)))
    }

    /// A stream by its ordinal, if it is in memory.
    pub(crate) fn stream_of(&self, ordinal: StreamOrdinal) -> Option<(&StreamKey, &crate::stream::Stream)> {
        let key = self.stream_names.get(&ordinal)?;
        self.streams.get(key).filter(|stream| stream.ordinal == ordinal).map(|stream| (key, stream))
    }
}

/// When something that is kept for `ms` after `since` may go.
pub(crate) const fn until(since: Timestamp, ms: u64) -> Timestamp {
    since.plus_millis(ms)
}
