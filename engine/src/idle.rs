//! What leaves memory because rows hold it as it is: closed runs, open runs that wait for a timer or a signal, streams,
//! producers and starts.

use std::collections::BTreeSet;

use types::{RunId, Timestamp, WorkflowHash};

use crate::digest;
use crate::limits;
use crate::needs::Need;
use crate::owed::Owed;
use crate::partition::Partition;
use crate::row::RowName;
use crate::run::Run;

/// What memory keeps of an open run that only its row holds. Its stream and its timers are known to the partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IdleRun {
    /// Its part of the partition's digest.
    pub(crate) hash: u64,
    /// Its steps that wait for another attempt.
    pub(crate) steps: usize,
}

impl Partition {
    /// Forgets what rows hold and no open run needs, once there are more than `keep` of a kind. The caller knows that
    /// everything written by the last `take_dirty` can be read back.
    pub fn evict(&mut self, keep: usize) {
        let dirty = &self.dirty;
        self.gone.retain(|name| dirty.contains(name));
        self.runs.retain(|id, run| !run.status.is_closed() || dirty.contains(&RowName::ClosedRun(*id)));
        self.closed_runs.retain(|ordinal, _| dirty.contains(&RowName::RunOfStream(*ordinal)));
        if self.streams.len() > keep {
            self.streams.retain(|key, _| dirty.contains(&RowName::Stream(key.clone())));
            let streams = &self.streams;
            self.stream_names.retain(|_, key| streams.contains_key(key));
        }
        if self.producers.len() > keep {
            self.producers.retain(|(stream, id), _| dirty.contains(&RowName::Producer(stream.clone(), id.clone())));
        }
        if self.starts.len() > keep {
            self.starts.retain(|key, _| dirty.contains(&RowName::Start(key.clone())));
        }
        if self.programs.len() > limits::PROGRAMS_KEPT {
            let used: BTreeSet<WorkflowHash> = self.runs.values().map(|run| run.hash).collect();
            self.programs.retain(|hash, _| used.contains(hash));
        }
    }

    /// Forgets open runs whose rows hold them as they are and that owe the world nothing, which wait for a timer or a
    /// signal, until open runs hold at most `bytes`; by id, so the same ones in the same state. Whatever names one of
    /// them later needs its row. The caller knows what it has to know for `evict`.
    pub fn evict_idle(&mut self, bytes: usize) {
        if self.open_bytes <= bytes {
            return;
        }
        let idle: Vec<RunId> = self.runs.values().filter(|run| self.may_leave(run)).map(|run| run.id).collect();
        for id in idle {
            if self.open_bytes <= bytes {
                return;
            }
            self.leave(id);
        }
    }

    /// Takes a run out of memory that its row holds as it is: it was in memory only to be looked at.
    pub fn put_away(&mut self, id: RunId) {
        let Some(run) = self.runs.get(&id) else { return };
        if run.status.is_closed() {
            if !self.dirty.contains(&RowName::ClosedRun(id)) {
                self.runs.remove(&id);
            }
        } else if self.may_leave(run) {
            self.leave(id);
        }
    }

    fn may_leave(&self, run: &Run) -> bool {
        !run.status.is_closed() && run.owed() == Owed::default() && !self.dirty.contains(&RowName::OpenRun(run.id))
    }

    fn leave(&mut self, id: RunId) {
        let Some(run) = self.runs.remove(&id) else { return };
        self.open_bytes -= run.held_bytes();
        self.idle.insert(id, IdleRun { hash: digest::hash(&run), steps: run.steps.len() });
    }

    /// Looks at the timers of a run no earlier than this: what it needs to move cannot be read just now.
    pub fn put_off(&mut self, id: RunId, until: Timestamp) {
        let own: Vec<_> = self.timers.iter().filter(|(_, run, _)| *run == id).copied().collect();
        let mut later = Vec::with_capacity(own.len());
        for key in own {
            self.timers.remove(&key);
            later.push((key.0.max(until), id, key.2));
        }
        self.timers.extend(later.iter().copied());
        if !later.is_empty() {
            self.put_off.insert(id, later);
        }
    }

    /// Whether an open run is held by its row alone.
    pub fn is_idle(&self, id: RunId) -> bool {
        self.idle.contains_key(&id)
    }

    /// Open runs that only their rows hold, by id.
    pub fn idle_runs(&self) -> impl Iterator<Item = RunId> {
        self.idle.keys().copied()
    }

    /// What to fetch before an event of this run is folded.
    pub fn needs_to_move(&self, id: RunId) -> Option<Need> {
        self.is_idle(id).then_some(Need::Row(RowName::OpenRun(id)))
    }

    /// What its open runs hold in memory, near enough to bound it.
    pub fn open_bytes(&self) -> usize {
        self.open_bytes
    }

    /// What runs hold that no row has yet, because they closed since the last `take_dirty`.
    pub fn closed_bytes(&self) -> usize {
        self.closed_bytes
    }
}
