//! Makes rows again from the events that they are of, when they are damaged: the log says all that a row holds. Where it
//! does not any more, because events are gone, that is said instead. Nothing is guessed.

use std::collections::{BTreeMap, BTreeSet};

use types::{Offset, Position, RunId, StreamOrdinal};

use crate::event::{Class, Event, RunEvent};
use crate::partition::{Partition, PartitionConfig, Placed};
use crate::retention::RetentionEvent;
use crate::row::{RowImage, RowName, StartRecord};
use crate::run::Run;
use crate::set_aside::SetAside;

/// Which rows are to be made again: of open runs, of definitions, and of streams with their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    pub names: BTreeSet<RowName>,
    /// Streams of which only the ordinal is known.
    pub ordinals: BTreeSet<StreamOrdinal>,
    /// Rows were met whose names cannot be read: all open runs and definitions that the log has and that are not among
    /// these are wanted too.
    pub all_but: Option<BTreeSet<RowName>>,
}

impl Wanted {
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.ordinals.is_empty() && self.all_but.is_none()
    }

    fn has(&self, name: &RowName) -> bool {
        self.names.contains(name) || self.all_but.as_ref().is_some_and(|known| !known.contains(name))
    }
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Rebuilt {
    pub rows: Vec<(RowName, RowImage)>,
    /// Runs that closed: their rows of open runs are to go.
    pub closed: Vec<RunId>,
    /// Runs that are in the log and cannot be made again.
    pub set_aside: Vec<(RunId, SetAside)>,
    /// What else was asked for by name and cannot be made again, with the reason.
    pub lost: Vec<(RowName, String)>,
}

/// What is missing where records are. A run that waits for no step and owes nothing has no output, and nothing that its
/// stream does not show, before its next fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// Of the stream chain: no facts.
    Output,
    /// Retention dropped it, and no open run had facts in it.
    Dropped,
    Anything,
}

fn is_busy(run: &Run) -> bool {
    !run.steps.is_empty() || run.continue_owed
}

/// The events of the log are given to it in order, all of them or as many as there are.
#[derive(Debug)]
pub struct Rebuild {
    wanted: Wanted,
    /// Knows what is being made again and nothing else.
    scratch: Partition,
    /// Open runs of which something may be missing, unless their next event says otherwise.
    unsure: BTreeMap<RunId, Position>,
    lost: BTreeMap<RunId, SetAside>,
    lost_streams: BTreeMap<StreamOrdinal, String>,
    closed: BTreeSet<RunId>,
    /// Why something may not have been met at all.
    missing: Option<String>,
}

impl Rebuild {
    pub(crate) fn new(wanted: Wanted, config: PartitionConfig) -> Self {
        Self {
            wanted,
            scratch: Partition::new(config),
            unsure: BTreeMap::new(),
            lost: BTreeMap::new(),
            lost_streams: BTreeMap::new(),
            closed: BTreeSet::new(),
            missing: None,
        }
    }

    /// The run with this stream, if it is one of those that are made again: what an event has to be read with.
    pub fn run_of(&self, ordinal: StreamOrdinal) -> Option<RunId> {
        self.scratch.run_of(ordinal)
    }

    /// Whether this stream is one of those that are made again.
    pub fn follows(&self, ordinal: StreamOrdinal) -> bool {
        self.scratch.stream_names.contains_key(&ordinal)
    }

    /// The next event that is there, with the offset that its record names.
    pub fn take(&mut self, event: &Event, placed: Placed, recorded: Offset) {
        match event {
            Event::WorkflowRegistered(definition) => {
                let (hash, tenant, name) = (definition.hash, definition.tenant.clone(), definition.name.clone());
                if self.wanted.has(&RowName::Definition(hash, tenant, name)) {
                    self.apply(event, placed);
                }
            }
            Event::Run { run, event: RunEvent::Started(started) } => {
                if self.wanted.has(&RowName::OpenRun(*run)) {
                    self.scratch.next_ordinal = started.ordinal;
                    self.apply(event, placed);
                }
            }
            Event::Run { run, event: run_event } => self.take_of_run(*run, run_event, event, placed, recorded),
            Event::StreamCreated { tenant, name, ordinal, .. } => {
                let key = crate::stream::StreamKey { tenant: tenant.clone(), name: name.clone() };
                if self.wanted.names.contains(&RowName::Stream(key)) || self.wanted.ordinals.contains(ordinal) {
                    self.scratch.next_ordinal = *ordinal;
                    self.apply(event, placed);
                }
            }
            Event::EventAppended { stream, .. }
            | Event::StreamSequenced { stream, .. }
            | Event::StreamClosed { stream }
            | Event::StreamDeleted { stream } => self.take_of_stream(*stream, event, placed),
            Event::Retention(RetentionEvent::RunForgotten { run, .. }) => {
                // It was given up.
                if self.scratch.runs.remove(run).is_some() || self.lost.remove(run).is_some() {
                    self.closed.insert(*run);
                }
            }
            Event::Retention(retention) => {
                if let Some(stream) = retention.stream() {
                    self.take_of_stream(stream, event, placed);
                }
            }
        }
    }

    fn take_of_run(&mut self, id: RunId, run_event: &RunEvent, event: &Event, placed: Placed, recorded: Offset) {
        if self.lost.contains_key(&id) {
            return;
        }
        let Some(run) = self.scratch.runs.get(&id) else { return };
        if run_event.class() != Class::Attempt {
            if recorded != run.head {
                let why = format!("its events from offset {} to {} are gone", run.head, recorded);
                return self.lose(id, why);
            }
            // They are dense, so nothing is missing before this one.
            self.unsure.remove(&id);
        }
        if let Some(what) = self.scratch.contradiction(event) {
            return self.lose(id, format!("its event at position {} does not follow: {what}", placed.position));
        }
        self.apply(event, placed);
        if self.scratch.runs[&id].status.is_closed() {
            self.scratch.runs.remove(&id);
            self.closed.insert(id);
        }
    }

    fn take_of_stream(&mut self, ordinal: StreamOrdinal, event: &Event, placed: Placed) {
        if self.lost_streams.contains_key(&ordinal) {
            return;
        }
        let Some(key) = self.scratch.stream_names.get(&ordinal).cloned() else { return };
        if let (Event::EventAppended { offset, .. }, Some(stream)) = (event, self.scratch.streams.get_mut(&key)) {
            // What is missing before it was dropped, which is only done with what is trimmed.
            stream.head = stream.head.max(*offset);
        }
        if let Event::Retention(RetentionEvent::StreamTrimmed { low, .. }) = event
            && let Some(stream) = self.scratch.streams.get_mut(&key)
        {
            stream.head = stream.head.max(*low);
        }
        match self.scratch.contradiction(event) {
            Some(what) => {
                let why = format!("its event at position {} does not follow: {what}", placed.position);
                self.lost_streams.insert(ordinal, why);
            }
            None => self.apply(event, placed),
        }
    }

    fn apply(&mut self, event: &Event, placed: Placed) {
        self.scratch.apply(event, placed, &mut Vec::new());
    }

    /// Records from one position (inclusive) to another (exclusive) are not there.
    pub fn hole(&mut self, from: Position, until: Position, gone: Gone) {
        let why = format!("records of positions {from} to {until} are gone, and events of it may be among them");
        let runs: Vec<_> = self.scratch.runs.values().map(|run| (run.id, is_busy(run))).collect();
        for (id, busy) in runs {
            match (gone, busy) {
                (Gone::Output, true) | (Gone::Anything, false) => drop(self.unsure.insert(id, from)),
                (Gone::Dropped | Gone::Anything, true) => self.lose(id, why.clone()),
                (Gone::Output | Gone::Dropped, false) => {}
            }
        }
        if gone != Gone::Output {
            self.lost_streams.extend(self.scratch.stream_names.keys().map(|ordinal| (*ordinal, why.clone())));
            self.missing.get_or_insert(why);
        }
    }

    /// From this position on nothing can be read.
    pub fn ends_early(&mut self, at: Position, what: &str) {
        let why = format!("the log cannot be read from position {at} on: {what}");
        let runs: Vec<RunId> = self.scratch.runs.keys().copied().collect();
        for run in runs {
            self.lose(run, why.clone());
        }
        self.lost_streams.extend(self.scratch.stream_names.keys().map(|ordinal| (*ordinal, why.clone())));
        self.missing = Some(why);
    }

    fn lose(&mut self, id: RunId, why: String) {
        let run = self.scratch.runs.get(&id);
        let start = run.and_then(StartRecord::of).map(|(key, _)| key);
        let (ordinal, tenant) = (run.map(|run| run.ordinal), run.map(|run| run.tenant.clone()));
        self.lost.entry(id).or_insert(SetAside { why, ordinal, tenant, start });
    }

    /// All events were given.
    pub fn finish(mut self) -> Rebuilt {
        for (id, from) in std::mem::take(&mut self.unsure) {
            self.lose(id, format!("records from position {from} on are gone, and its last events may be among them"));
        }
        let missing = self.missing.take().unwrap_or_else(|| "the log has not its first event".to_owned());
        let mut rebuilt = Rebuilt { closed: self.closed.iter().copied().collect(), ..Rebuilt::default() };
        for name in &self.wanted.names {
            let found = match name {
                RowName::OpenRun(id) => self.scratch.runs.contains_key(id) || self.closed.contains(id),
                RowName::Definition(_, tenant, definition) => {
                    self.scratch.definitions.contains_key(&(tenant.clone(), definition.clone()))
                }
                RowName::Stream(key) => self.scratch.streams.contains_key(key),
                RowName::Partition
                | RowName::ClosedRun(_)
                | RowName::RunOfStream(_)
                | RowName::StreamName(_)
                | RowName::Producer(..)
                | RowName::Start(_) => true,
            };
            if found {
                continue;
            }
            if let RowName::OpenRun(id) = name {
                let unknown = SetAside { why: missing.clone(), ordinal: None, tenant: None, start: None };
                self.lost.entry(*id).or_insert(unknown);
            } else {
                rebuilt.lost.push((name.clone(), missing.clone()));
            }
        }
        for (ordinal, why) in &self.lost_streams {
            if let Some(key) = self.scratch.stream_names.remove(ordinal) {
                self.scratch.streams.remove(&key);
                rebuilt.lost.push((RowName::Stream(key), why.clone()));
            }
        }
        let lost = &self.lost;
        let runs = std::mem::take(&mut self.scratch.runs).into_iter().filter(|(id, _)| !lost.contains_key(id));
        rebuilt.rows.extend(runs.map(|(id, run)| (RowName::OpenRun(id), RowImage::Run(Box::new(run)))));
        let definitions = std::mem::take(&mut self.scratch.definitions).into_iter();
        rebuilt.rows.extend(definitions.map(|((tenant, name), definition)| {
            (RowName::Definition(definition.hash, tenant, name), RowImage::Definition(definition))
        }));
        for (key, stream) in std::mem::take(&mut self.scratch.streams) {
            rebuilt.rows.push((RowName::StreamName(stream.ordinal), RowImage::StreamName(key.clone())));
            rebuilt.rows.push((RowName::Stream(key), RowImage::Stream(stream)));
        }
        rebuilt.set_aside = self.lost.into_iter().collect();
        rebuilt
    }
}
