//! The simulated node: the real kernel, lanes and gates over the simulated log, driven by the caller's thread in
//! whatever order chance gives. It stops when its log fails, crashes on demand, and comes back by recovery.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use engine::{Answer, Command, Partition, PartitionConfig, Rejection, StreamKey, Token};
use node::partition::{Lane, LaneLimits, Leaving, Programs};
use storage::{AppendBatch, AppendError, Log, MemoryLog, MemoryOptions, OpenError, Survives};
use types::{History, Incarnation, Offset, PartitionCount, PartitionId, Position, RunId, StreamOrdinal, Timestamp};
use types::{TenantId, WorkflowHash};
use workflow::Program;

use crate::chance::Chance;
use crate::definitions;
use crate::rows::LaggingRows;

/// What an asker asks.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "a history has few of them on their way, and most are commands")]
pub(crate) enum Ask {
    Command(Command),
    Stream(StreamKey),
    Run(RunId),
    /// Does this attempt still hold? Asked by a worker that comes back.
    Attempt(Token),
}

/// A request on its way; id 0 is the node's own.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) id: u64,
    pub(crate) ask: Ask,
}

/// What an asker is sent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Heard {
    Outcome(Result<Answer, Rejection>),
    Stream(Option<StreamView>),
    /// Whether it is closed, and the head of its stream.
    Run(Option<(bool, Offset)>),
    Attempt(Option<u64>),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StreamView {
    pub(crate) ordinal: StreamOrdinal,
    pub(crate) incarnation: Incarnation,
    pub(crate) head: Offset,
    pub(crate) closed: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) partition: PartitionId,
    pub(crate) request: Request,
    /// The end of the state that it was derived from.
    pub(crate) derived_at: Position,
    pub(crate) heard: Heard,
}

/// What the node does wrong on purpose, so that the model can be seen to notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plant {
    /// Answers do not wait at the gate.
    AnswerBeforeSync,
    /// Rejections do not wait at the gate.
    EarlyRejection,
    /// The kernel forgets what a producer sent.
    ForgottenProducer,
    /// The kernel forgets which run a key started.
    ForgottenStart,
}

#[derive(Debug, Default)]
struct Catalogue(BTreeSet<WorkflowHash>);

impl Programs for Catalogue {
    fn program(&self, hash: WorkflowHash) -> Option<Arc<Program>> {
        let published = self.0.contains(&hash);
        let known = definitions::all().iter().find(|known| published && known.hash == hash)?;
        Some(known.program.clone())
    }
}

/// With the position of the rows, where a batch has any.
type Durable = Arc<Mutex<Vec<(PartitionId, Result<Position, AppendError>, Option<Position>)>>>;

#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) log: MemoryLog,
    rows: LaggingRows,
    lag: bool,
    pub(crate) config: PartitionConfig,
    limits: LaneLimits,
    plant: Option<Plant>,
    pub(crate) lanes: Vec<Lane<Reply>>,
    mailboxes: Vec<VecDeque<Request>>,
    catalogue: Catalogue,
    durable: Durable,
    /// Replies that did not wait, of a node that is wrong on purpose.
    early: Vec<Reply>,
    /// The log has failed: the node stops.
    pub(crate) failed: bool,
}

impl Machine {
    pub(crate) fn new(partitions: u32, config: PartitionConfig, chance: &mut Chance, plant: Option<Plant>) -> Self {
        let count = PartitionCount::new(partitions).expect("a small number");
        let options = MemoryOptions {
            segment_bytes: chance.between(2, 32) * 1024,
            checkpoint_bytes: chance.between(1, 8) * 1024,
            tail_bytes: 16 * 1024,
            ..MemoryOptions::default()
        };
        let log = MemoryLog::with_options(count, History::new(7), options);
        let lag = chance.one_in(2);
        // Small, so that short histories meet checkpoints, evictions and several batches in one turn.
        let limits = LaneLimits {
            bytes_per_checkpoint: 16 * 1024,
            records_per_checkpoint: usize::try_from(chance.between(20, 200)).expect("small"),
            rows_kept: chance.index(4),
            batch_bytes: usize::try_from(chance.between(256, 8192)).expect("small"),
            closed_bytes: usize::try_from(chance.between(1_024, 65_536)).expect("small"),
            open_bytes: usize::try_from(chance.between(0, 8_192)).expect("small"),
        };
        let mut machine = Self {
            rows: LaggingRows::new(log.clone(), lag),
            log,
            lag,
            config,
            limits,
            plant,
            lanes: Vec::new(),
            mailboxes: Vec::new(),
            catalogue: Catalogue::default(),
            durable: Durable::default(),
            early: Vec::new(),
            failed: false,
        };
        machine.recover();
        machine
    }

    pub(crate) fn partitions(&self) -> PartitionCount {
        self.log.partitions()
    }

    fn recover(&mut self) {
        let lane = |id| {
            let partition = Partition::new(self.config.clone());
            let lane = Lane::recover(id, partition, &self.log, &self.rows, self.limits);
            let mut lane = lane.unwrap_or_else(|error| panic!("recovery failed: {error}"));
            // Memory is always short here.
            lane.press(true);
            lane
        };
        self.lanes = self.log.partitions().partitions().map(lane).collect();
        self.mailboxes = self.lanes.iter().map(|_| VecDeque::new()).collect();
        let system = self.lanes[0].partition();
        self.catalogue = Catalogue(system.definitions().map(|definition| definition.hash).collect());
    }

    /// The time of the newest record.
    pub(crate) fn last_time(&self) -> Timestamp {
        let times = self.lanes.iter().map(|lane| lane.partition().log_time(Timestamp::ZERO));
        times.max().unwrap_or_default()
    }

    pub(crate) fn is_published(&self, hash: WorkflowHash) -> bool {
        self.catalogue.0.contains(&hash)
    }

    pub(crate) fn ask(&mut self, partition: PartitionId, request: Request) {
        self.mailboxes[partition.value() as usize].push_back(request);
    }

    pub(crate) fn waiting(&self) -> usize {
        self.mailboxes.iter().map(VecDeque::len).sum()
    }

    /// Takes up to `limit` requests of a partition through the lane's verbs.
    pub(crate) fn turn(&mut self, partition: PartitionId, limit: usize, now: Timestamp) {
        for _ in 0..limit {
            let Some(request) = self.mailboxes[partition.value() as usize].pop_front() else { return };
            self.take(partition, request, now);
            if self.lane(partition).is_full() {
                self.flush(partition);
            }
        }
    }

    fn take(&mut self, partition: PartitionId, request: Request, now: Timestamp) {
        let lane = &mut self.lanes[partition.value() as usize];
        let (plant, mut early) = (self.plant, None);
        let reply = |request: Request, state: &Partition, heard| {
            let derived_at = state.next_position();
            Reply { partition, request, derived_at, heard }
        };
        let taken = match request.ask.clone() {
            Ask::Command(command) => lane.take(&command, now, &self.rows, &self.catalogue, |state, outcome| {
                let rejected = outcome.is_err();
                let reply = reply(request, state, Heard::Outcome(outcome));
                let leaks = match plant {
                    Some(Plant::AnswerBeforeSync) => !rejected,
                    Some(Plant::EarlyRejection) => rejected,
                    Some(Plant::ForgottenProducer | Plant::ForgottenStart) | None => false,
                };
                if leaks {
                    early = Some(reply);
                    return None;
                }
                Some(reply)
            }),
            Ask::Stream(key) => {
                let needs = lane.partition().needs_to_show(&key);
                lane.look(&needs, &self.rows, |state| reply(request, state, Heard::Stream(view(state, &key))))
            }
            Ask::Run(run) => {
                let key = StreamKey { tenant: TenantId::default(), name: types::StreamName::of_run(run) };
                let needs = lane.partition().needs_to_show(&key);
                lane.look(&needs, &self.rows, |state| {
                    let found = state.run(run).map(|run| (run.status.is_closed(), run.head));
                    reply(request, state, Heard::Run(found))
                })
            }
            Ask::Attempt(token) => {
                let needs = lane.partition().run_row(token.run);
                lane.look(&needs, &self.rows, |state| reply(request, state, Heard::Attempt(state.held(&token))))
            }
        };
        taken.unwrap_or_else(|error| panic!("the lane cannot go on: {error}"));
        self.early.extend(early);
    }

    /// Commands for timers that are due.
    pub(crate) fn fire_timers(&mut self, now: Timestamp, limit: usize) {
        for index in 0..self.lanes.len() {
            let id = self.lanes[index].id();
            for command in self.lanes[index].partition().due(now, limit) {
                self.take(id, Request { id: 0, ask: Ask::Command(command) }, now);
            }
        }
    }

    pub(crate) fn next_wake(&self) -> Option<Timestamp> {
        self.lanes.iter().filter_map(|lane| lane.partition().next_wake()).min()
    }

    pub(crate) fn flush(&mut self, partition: PartitionId) {
        if let Some(batch) = self.lane(partition).flush() {
            self.append(batch);
        }
    }

    pub(crate) fn checkpoint(&mut self, partition: PartitionId) {
        let batch = self.lane(partition).checkpoint();
        self.append(batch);
    }

    fn append(&mut self, batch: AppendBatch) {
        self.rows.remember(&batch);
        let (partition, durable) = (batch.partition, self.durable.clone());
        let rows = (!batch.rows.is_empty()).then(|| batch.expected.after(batch.records.len() as u64));
        let tell = move |result| durable.lock().unwrap_or_else(PoisonError::into_inner).push((partition, result, rows));
        self.log.append(batch, Box::new(tell));
    }

    /// Syncs what was appended, if the disk does.
    pub(crate) fn sync(&mut self) {
        self.log.sync();
    }

    /// Takes the log's news, and gives what may leave now, oldest first within a partition.
    pub(crate) fn release(&mut self) -> Vec<(PartitionId, Leaving<Reply>)> {
        let news = std::mem::take(&mut *self.durable.lock().unwrap_or_else(PoisonError::into_inner));
        let mut written = Vec::new();
        for (partition, result, rows) in news {
            match result {
                Ok(end) => {
                    self.lane(partition).durable(end);
                    written.extend(rows.map(|position| (partition, position)));
                }
                Err(_) => self.failed = true,
            }
        }
        if !self.failed && self.log.unsynced() == 0 {
            self.rows.synced();
            for (partition, position) in written {
                self.lane(partition).rows_written(position);
            }
        }
        let mut out = Vec::new();
        for reply in std::mem::take(&mut self.early) {
            let nothing = (Vec::new(), Vec::new(), Vec::new());
            let (effects, moved, definitions) = nothing;
            out.push((reply.partition, Leaving { answer: Some(reply), effects, moved, definitions }));
        }
        for lane in &mut self.lanes {
            while let Some(leaving) = lane.release() {
                self.catalogue.0.extend(leaving.definitions.iter().map(|definition| definition.hash));
                out.push((lane.id(), leaving));
            }
        }
        out
    }

    /// Everything that the node owes its askers is given up: nobody can say what became of it.
    pub(crate) fn stop(&mut self) {
        self.lanes.iter_mut().for_each(|lane| lane.abandon().for_each(drop));
        self.lanes.clear();
        self.early.clear();
        self.durable.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The machine loses power.
    pub(crate) fn crash(&mut self, survives: Survives) {
        self.stop();
        self.log.crash(survives);
    }

    /// Stops in good order: all durable, rows written.
    pub(crate) fn close(&mut self) -> Result<(), AppendError> {
        for partition in self.partitions().partitions() {
            self.checkpoint(partition);
        }
        self.log.close()
    }

    /// Starts over what is on the disk.
    pub(crate) fn open(&mut self) -> Result<(), OpenError> {
        self.log = self.log.reopen()?;
        self.rows = LaggingRows::new(self.log.clone(), self.lag);
        self.failed = false;
        self.recover();
        Ok(())
    }

    fn lane(&mut self, partition: PartitionId) -> &mut Lane<Reply> {
        &mut self.lanes[partition.value() as usize]
    }

    /// Nothing waits anywhere.
    pub(crate) fn is_settled(&self) -> bool {
        self.waiting() == 0 && self.lanes.iter().all(Lane::is_settled)
    }
}

fn view(state: &Partition, key: &StreamKey) -> Option<StreamView> {
    let stream = state.stream(key)?;
    let (ordinal, incarnation, head, closed) = (stream.ordinal, stream.incarnation, stream.head, stream.closed);
    Some(StreamView { ordinal, incarnation, head, closed })
}
