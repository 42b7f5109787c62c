//! A partition as a value: what it holds in memory, and how one event moves it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use types::{Incarnation, Offset, Position, ProducerId, RunId, StreamOrdinal, TenantId, Timestamp, WorkflowHash};
use workflow::Program;
use workflow::program::RetryPolicy;

use crate::command::{Command, Outcome};
use crate::decide;
use crate::definition::{Definition, DefinitionName};
use crate::digest::Digest;
use crate::effect::Effect;
use crate::event::{Event, RunEvent};
use crate::idle::IdleRun;
use crate::limits;
use crate::owed::Owed;
use crate::retention::KeepConfig;
use crate::row::{RowImage, RowName, Scalars, StartKey, StartRecord};
use crate::run::Run;
use crate::set_aside::SetAside;
use crate::stored::Place;
use crate::stream::{ProducerWindow, Stream, StreamKey};
use crate::token::Token;

/// What a partition is told once.
#[derive(Clone, Debug)]
pub struct PartitionConfig {
    /// Makes workers' tokens; kept by the data directory.
    pub token_key: [u8; 32],
    /// For functions that say nothing about retries.
    pub default_retry: RetryPolicy,
    pub idempotency_window_ms: u64,
    pub cancel_grace_ms: u64,
    pub keep: KeepConfig,
    /// For tests alone: what the kernel does wrong on purpose, so that they can be seen to notice. `None` in a node.
    pub planted_fault: Option<PlantedFault>,
}

/// A check that the kernel leaves out for a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlantedFault {
    /// Whether a producer's request was taken before.
    ForgottenProducer,
    /// Whether an idempotency key has started a run.
    ForgottenStart,
}

impl PartitionConfig {
    /// The defaults, with this key.
    pub fn new(token_key: [u8; 32]) -> Self {
        Self {
            token_key,
            default_retry: RetryPolicy::standard(),
            idempotency_window_ms: limits::IDEMPOTENCY_WINDOW_MS,
            cancel_grace_ms: limits::CANCEL_GRACE_MS,
            keep: KeepConfig::default(),
            planted_fault: None,
        }
    }
}

/// An event's place: where its record stands and when it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    pub position: Position,
    pub time: Timestamp,
}

/// The state machine of one partition. Maps are ordered, so that the same events give the same bytes.
#[derive(Debug)]
pub struct Partition {
    pub(crate) config: PartitionConfig,
    /// Open runs but for those in `idle`; closed ones while they are fresh or were asked for.
    pub(crate) runs: BTreeMap<RunId, Run>,
    /// Open runs that only their rows hold.
    pub(crate) idle: BTreeMap<RunId, IdleRun>,
    /// Open runs whose state is lost.
    pub(crate) aside: BTreeMap<RunId, SetAside>,
    pub(crate) run_of: BTreeMap<StreamOrdinal, RunId>,
    /// Closed runs that are not forgotten, by their stream; not all of them.
    pub(crate) closed_runs: BTreeMap<StreamOrdinal, RunId>,
    pub(crate) streams: BTreeMap<StreamKey, Stream>,
    pub(crate) stream_names: BTreeMap<StreamOrdinal, StreamKey>,
    pub(crate) producers: BTreeMap<(StreamKey, ProducerId), ProducerWindow>,
    pub(crate) starts: BTreeMap<StartKey, StartRecord>,
    pub(crate) definitions: BTreeMap<(TenantId, DefinitionName), Definition>,
    pub(crate) programs: BTreeMap<WorkflowHash, Arc<Program>>,
    pub(crate) timers: BTreeSet<(Timestamp, RunId, u32)>,
    /// Timers that stand there later than they are due, because what their run needs cannot be read.
    pub(crate) put_off: BTreeMap<RunId, Vec<(Timestamp, RunId, u32)>>,
    pub(crate) next_ordinal: StreamOrdinal,
    pub(crate) time: Timestamp,
    /// The position that the next event will have.
    pub(crate) next_position: Position,
    /// Rows that memory is ahead of.
    pub(crate) dirty: BTreeSet<RowName>,
    /// What was deleted and whose row may still be read, because its deletion is not known to be durable.
    pub(crate) gone: BTreeSet<RowName>,
    /// Streams that were deleted since the last `take_ended`: the rows of their producers, most of which are not in memory,
    /// go as well.
    pub(crate) ended: BTreeSet<StreamKey>,
    /// What open runs hold in memory.
    pub(crate) open_bytes: usize,
    /// What runs hold that closed since the last `take_dirty`.
    pub(crate) closed_bytes: usize,
}

impl Partition {
    /// An empty one, as before its first event.
    pub fn new(config: PartitionConfig) -> Self {
        Self {
            config,
            runs: BTreeMap::new(),
            idle: BTreeMap::new(),
            aside: BTreeMap::new(),
            run_of: BTreeMap::new(),
            closed_runs: BTreeMap::new(),
            streams: BTreeMap::new(),
            stream_names: BTreeMap::new(),
            producers: BTreeMap::new(),
            starts: BTreeMap::new(),
            definitions: BTreeMap::new(),
            programs: BTreeMap::new(),
            timers: BTreeSet::new(),
            put_off: BTreeMap::new(),
            next_ordinal: StreamOrdinal::FIRST,
            time: Timestamp::ZERO,
            next_position: Position::ZERO,
            dirty: BTreeSet::new(),
            gone: BTreeSet::new(),
            ended: BTreeSet::new(),
            open_bytes: 0,
            closed_bytes: 0,
        }
    }

    /// Decides on a command at `now`, with all that `needs` named admitted. Changes nothing.
    pub fn decide(&self, command: &Command, now: Timestamp) -> Outcome {
        decide::decide(self, command, now.max(self.time))
    }

    /// The time that events decided at `now` carry: never backwards.
    pub fn log_time(&self, now: Timestamp) -> Timestamp {
        now.max(self.time)
    }

    /// Moves the state by one event and adds what the event newly owes the world to `fresh`.
    pub fn apply(&mut self, event: &Event, placed: Placed, fresh: &mut Vec<Effect>) {
        assert!(placed.position >= self.next_position, "events are applied once, in order");
        self.time = self.time.max(placed.time);
        self.next_position = placed.position.next();
        match event {
            Event::WorkflowRegistered(definition) => {
                let name = (definition.tenant.clone(), definition.name.clone());
                self.dirty.insert(RowName::Definition(definition.hash, name.0.clone(), name.1.clone()));
                self.definitions.insert(name, definition.clone());
            }
            Event::Run { run, event: RunEvent::Started(started) } => {
                let state = Run::start(*run, started, Incarnation::at(placed.position), placed.time);
                self.remember_start(&state);
                self.next_ordinal = started.ordinal.next();
                self.run_of.insert(started.ordinal, *run);
                self.dirty.insert(RowName::OpenRun(*run));
                self.open_bytes += state.held_bytes();
                self.runs.insert(*run, state);
            }
            Event::Run { run, event } => self.apply_to_run(*run, event, placed.time, fresh),
            Event::StreamCreated { .. }
            | Event::EventAppended { .. }
            | Event::StreamSequenced { .. }
            | Event::StreamClosed { .. }
            | Event::StreamDeleted { .. } => self.apply_to_stream(event, placed),
            Event::Retention(event) => self.apply_retention(event),
        }
    }

    fn apply_to_run(&mut self, id: RunId, event: &RunEvent, time: Timestamp, fresh: &mut Vec<Effect>) {
        let run = self.runs.get_mut(&id).expect("a run is in memory when it moves");
        if let RunEvent::ChunkAppended { .. } = event {
            // The bulk of all events: it moves a count and owes nobody anything.
            run.apply(event, time);
            self.dirty.insert(RowName::OpenRun(id));
            return;
        }
        let owed_before = run.owed();
        let timers_before: Vec<_> = run.timer_keys().collect();
        let held_before = run.held_bytes();
        run.apply(event, time);
        self.open_bytes -= held_before;
        for key in timers_before.into_iter().chain(self.put_off.remove(&id).unwrap_or_default()) {
            self.timers.remove(&key);
        }
        self.timers.extend(run.timer_keys());
        run.fresh_effects(&self.config, &owed_before, fresh);
        if run.status.is_closed() {
            self.run_of.remove(&run.ordinal);
            self.closed_runs.insert(run.ordinal, id);
            self.dirty.insert(RowName::RunOfStream(run.ordinal));
            self.closed_bytes += run.held_bytes();
            self.dirty.insert(RowName::ClosedRun(id));
        } else {
            self.open_bytes += run.held_bytes();
        }
        self.dirty.insert(RowName::OpenRun(id));
    }

    fn remember_start(&mut self, run: &Run) {
        if let Some((key, record)) = StartRecord::of(run) {
            self.dirty.insert(RowName::Start(key.clone()));
            self.gone.remove(&RowName::Start(key.clone()));
            self.starts.insert(key, record);
        }
    }

    /// All that the world is owed: what a recovery hands to the dispatcher. Runs that only rows hold owe nothing.
    pub fn effects(&self) -> Vec<Effect> {
        let mut effects = Vec::new();
        for run in self.runs.values() {
            run.fresh_effects(&self.config, &Owed::default(), &mut effects);
        }
        effects
    }

    /// When the next timer is due.
    pub fn next_wake(&self) -> Option<Timestamp> {
        self.timers.first().map(|(due, ..)| *due)
    }

    /// Commands for timers that are due at `now`, at most `limit`, earliest first.
    pub fn due(&self, now: Timestamp, limit: usize) -> Vec<Command> {
        let due = self.timers.iter().take_while(|(due, ..)| *due <= now);
        due.take(limit).map(|&(_, run, timer)| Command::FireTimer { run, timer }).collect()
    }

    pub fn admit_program(&mut self, hash: WorkflowHash, program: Arc<Program>) {
        self.programs.insert(hash, program);
    }

    /// Takes in a row, at recovery or because `needs` named it.
    pub fn admit(&mut self, name: RowName, image: RowImage) {
        match (name, image) {
            (_, RowImage::Partition(scalars)) => {
                (self.next_ordinal, self.time) = (scalars.next_ordinal, scalars.time);
            }
            (_, RowImage::Run(run)) => {
                self.idle.remove(&run.id);
                for key in self.put_off.remove(&run.id).unwrap_or_default() {
                    self.timers.remove(&key);
                }
                if !run.status.is_closed() {
                    self.run_of.insert(run.ordinal, run.id);
                    self.timers.extend(run.timer_keys());
                    self.open_bytes += run.held_bytes();
                }
                self.runs.insert(run.id, *run);
            }
            (RowName::Stream(key), RowImage::Stream(stream)) => {
                self.stream_names.insert(stream.ordinal, key.clone());
                self.streams.insert(key, stream);
            }
            (RowName::StreamName(ordinal), RowImage::StreamName(key)) => {
                self.stream_names.insert(ordinal, key);
            }
            (RowName::RunOfStream(ordinal), RowImage::RunOfStream(run)) => {
                self.closed_runs.insert(ordinal, run);
            }
            (RowName::Producer(stream, producer), RowImage::Producer(window)) => {
                self.producers.insert((stream, producer), window);
            }
            (RowName::Start(key), RowImage::Start(record)) => {
                self.starts.insert(key, record);
            }
            (_, RowImage::Definition(definition)) => {
                self.definitions.insert((definition.tenant.clone(), definition.name.clone()), definition);
            }
            (name, image) => panic!("row {name:?} cannot hold {image:?}: the codec pairs them"),
        }
    }

    /// Says that recovery begins here: rows reflect everything below.
    pub fn begin_at(&mut self, position: Position) {
        self.next_position = position;
    }

    /// The position that the next event will have.
    pub fn next_position(&self) -> Position {
        self.next_position
    }

    /// The ordinal that the next stream or run gets: no row has it, or a higher one.
    pub const fn next_ordinal(&self) -> StreamOrdinal {
        self.next_ordinal
    }

    /// Rows that memory is ahead of: `None` means the row goes. They are clean afterwards, so the caller must write
    /// them with, or after, the events they reflect.
    pub fn take_dirty(&mut self) -> Vec<(RowName, Option<RowImage>)> {
        let dirty = std::mem::take(&mut self.dirty);
        self.closed_bytes = 0;
        let scalars = Scalars { next_ordinal: self.next_ordinal, time: self.time };
        let mut rows: Vec<_> = dirty.into_iter().map(|name| self.image(name)).collect();
        rows.push((RowName::Partition, Some(RowImage::Partition(scalars))));
        rows
    }

    /// Streams that were deleted since the last call. All rows of producers of a stream of this name are of an earlier life
    /// of it, but for those that `take_dirty` gives together with this.
    pub fn take_ended(&mut self) -> BTreeSet<StreamKey> {
        std::mem::take(&mut self.ended)
    }

    fn image(&self, name: RowName) -> (RowName, Option<RowImage>) {
        let run = |id: &RunId, closed: bool| self.runs.get(id).filter(|run| run.status.is_closed() == closed);
        let image = match &name {
            RowName::Partition => None,
            RowName::OpenRun(id) => run(id, false).map(|run| RowImage::Run(Box::new(run.clone()))),
            RowName::ClosedRun(id) => run(id, true).map(|run| RowImage::Run(Box::new(run.clone()))),
            RowName::Stream(key) => self.streams.get(key).cloned().map(RowImage::Stream),
            RowName::StreamName(ordinal) => {
                let key = self.stream_names.get(ordinal).filter(|key| self.streams.contains_key(key));
                key.cloned().map(RowImage::StreamName)
            }
            RowName::RunOfStream(ordinal) => self.closed_runs.get(ordinal).copied().map(RowImage::RunOfStream),
            RowName::Producer(stream, id) => {
                self.producers.get(&(stream.clone(), id.clone())).cloned().map(RowImage::Producer)
            }
            RowName::Start(key) => self.starts.get(key).cloned().map(RowImage::Start),
            RowName::Definition(_, tenant, definition) => {
                self.definitions.get(&(tenant.clone(), definition.clone())).cloned().map(RowImage::Definition)
            }
        };
        (name, image)
    }

    /// Where the kernel numbers an event: its stream and offset, before it is applied.
    pub fn place(&self, event: &Event) -> Place {
        let nowhere = Place { stream: StreamOrdinal::NONE, offset: Offset::ZERO };
        match event {
            Event::EventAppended { stream, offset, .. } => Place { stream: *stream, offset: *offset },
            Event::Run { event: RunEvent::Started(started), .. } => {
                Place { stream: started.ordinal, offset: Offset::ZERO }
            }
            Event::Run { run, .. } => {
                let run = &self.runs[run];
                Place { stream: run.ordinal, offset: run.head }
            }
            Event::WorkflowRegistered(_)
            | Event::StreamCreated { .. }
            | Event::StreamSequenced { .. }
            | Event::StreamClosed { .. }
            | Event::StreamDeleted { .. }
            | Event::Retention(_) => nowhere,
        }
    }

    pub fn digest(&self) -> Digest {
        Digest::of(self)
    }

    pub fn run(&self, id: RunId) -> Option<&Run> {
        self.runs.get(&id)
    }

    /// Runs in memory: the open ones but for those that `is_idle`, and some closed ones.
    pub fn runs(&self) -> impl Iterator<Item = &Run> {
        self.runs.values()
    }

    pub fn run_of(&self, ordinal: StreamOrdinal) -> Option<RunId> {
        self.run_of.get(&ordinal).copied()
    }

    /// The next chunk sequence of the attempt that a token names, if it is genuine and current.
    pub fn held(&self, token: &Token) -> Option<u64> {
        decide::held(self, token).ok().map(|(_, step)| step.next_sequence)
    }

    pub fn stream(&self, key: &StreamKey) -> Option<&Stream> {
        self.streams.get(key)
    }

    pub fn stream_key(&self, ordinal: StreamOrdinal) -> Option<&StreamKey> {
        self.stream_names.get(&ordinal)
    }

    pub fn definitions(&self) -> impl Iterator<Item = &Definition> {
        self.definitions.values()
    }

    /// How many steps this partition's runs have not finished.
    pub fn open_steps(&self) -> usize {
        let idle: usize = self.idle.values().map(|run| run.steps).sum();
        idle + self.runs.values().map(|run| run.steps.len()).sum::<usize>()
    }
}
