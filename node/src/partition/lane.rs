//! One partition at work, as a value: state, gate and what is not yet handed to the log. The verbs of the driver
//! without its thread, so that the simulation runs the very same ones.
//!
//! *prefetch* the rows a command names, *decide*, *apply*, *flush* to the log, and once that is durable, *release*.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::{Answer, Command, Definition, Effect, Event, Need, Partition, Placed, Rejection, RowName, stored};
use storage::{AppendBatch, Log, ReadError, Record, Row, RowChange, RowKey, Rows};
use thiserror::Error;
use types::{Offset, PartitionId, Position, RunId, StreamOrdinal, Timestamp, WorkflowHash};
use workflow::Program;

use super::gate::Gate;
use crate::limits;
use crate::translate;

/// What leaves through the gate, all at once, when it is durable.
#[derive(Debug)]
pub struct Leaving<R> {
    pub answer: Option<R>,
    pub effects: Vec<Effect>,
    pub moved: Vec<Moved>,
    pub definitions: Vec<Definition>,
}

/// A stream that grew, closed or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    pub stream: StreamOrdinal,
    pub head: Offset,
    /// The oldest offset that is kept, as far as this change says.
    pub low: Offset,
    pub closed: bool,
    pub deleted: bool,
}

/// Where compiled definitions are found.
pub trait Programs {
    fn program(&self, hash: WorkflowHash) -> Option<Arc<Program>>;
}

/// How much a lane takes before it does something about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneLimits {
    /// Records between two checkpoints.
    pub records_per_checkpoint: usize,
    /// Streams, producers and starts that stay in memory over a checkpoint.
    pub rows_kept: usize,
    /// Bytes of records between two checkpoints.
    pub bytes_per_checkpoint: usize,
    /// Bytes of a batch.
    pub batch_bytes: usize,
    /// What closed runs may hold in memory before a checkpoint, after which they leave it.
    pub closed_bytes: usize,
    /// What open runs may hold in memory, when there is little, before idle ones among them are left to their rows.
    pub open_bytes: usize,
}

impl Default for LaneLimits {
    fn default() -> Self {
        Self {
            records_per_checkpoint: limits::RECORDS_PER_CHECKPOINT,
            bytes_per_checkpoint: limits::BYTES_PER_CHECKPOINT,
            rows_kept: limits::ROWS_KEPT,
            batch_bytes: limits::BATCH_BYTES,
            closed_bytes: limits::CLOSED_BYTES,
            open_bytes: limits::OPEN_BYTES,
        }
    }
}

/// Why a partition cannot go on. The node stops: nothing that was acknowledged is lost by that.
#[derive(Debug, Error)]
pub enum LaneError {
    #[error("partition {partition} could not be read: {source}")]
    Read { partition: PartitionId, source: ReadError },
    #[error("partition {partition}, position {position}: {what}; the log says what this version cannot fold")]
    Fold { partition: PartitionId, position: Position, what: String },
    #[error("partition {partition}: the row of {name} is damaged: {what}")]
    Row { partition: PartitionId, name: String, what: String },
    /// Sound bytes that this program is too old for.
    #[error("partition {partition}: the row of {name} cannot be read: {what}")]
    Newer { partition: PartitionId, name: String, what: String },
    #[error("partition {partition}: definition {hash} is not known, though a run uses it")]
    Program { partition: PartitionId, hash: WorkflowHash },
}

/// A partition with its gate. `R` is what an asker is sent.
#[derive(Debug)]
pub struct Lane<R> {
    id: PartitionId,
    partition: Partition,
    gate: Gate<Leaving<R>>,
    unflushed: Vec<Record>,
    unflushed_bytes: usize,
    /// Where the log ends once all flushed batches are in.
    flushed: Position,
    since_checkpoint: usize,
    bytes_since_checkpoint: usize,
    /// The position of the last checkpoint's rows.
    checkpointed: Position,
    /// Since when a closed run waits for the next checkpoint.
    closed_since: Option<Timestamp>,
    /// Runs that were fetched for what is being decided or looked at.
    fetched: Vec<RunId>,
    /// Whether memory is short, so that idle runs leave it.
    pressed: bool,
    /// What open runs held when idle ones last left, or were last about to.
    open_bytes_kept: usize,
    /// When room was last sought because it was time for that.
    sought: Timestamp,
    limits: LaneLimits,
    /// Rows that were damaged were made again and are not written yet.
    mended: bool,
    lost_definitions: Vec<String>,
}

impl<R> Lane<R> {
    /// Brings a partition back: rows, then the events behind them.
    pub fn recover(
        id: PartitionId,
        mut partition: Partition,
        log: &dyn Log,
        rows: &dyn Rows,
        limits: LaneLimits,
    ) -> Result<Self, LaneError> {
        let end = log.bounds(id).end;
        let recovered = crate::recovery::recover(id, &mut partition, log, rows, limits.open_bytes, end)?;
        Ok(Self {
            id,
            partition,
            gate: Gate::new(end),
            unflushed: Vec::new(),
            unflushed_bytes: 0,
            flushed: end,
            bytes_since_checkpoint: recovered.bytes,
            since_checkpoint: if recovered.mended { limits.records_per_checkpoint } else { recovered.folded },
            checkpointed: end,
            closed_since: None,
            fetched: Vec::new(),
            pressed: false,
            open_bytes_kept: 0,
            sought: Timestamp::ZERO,
            limits,
            mended: recovered.mended,
            lost_definitions: recovered.lost_definitions,
        })
    }

    /// Says whether memory is short.
    pub fn press(&mut self, pressed: bool) {
        self.pressed = pressed;
    }

    /// Definitions whose rows were damaged and could not be made again.
    pub fn lost_definitions(&self) -> &[String] {
        &self.lost_definitions
    }

    pub fn id(&self) -> PartitionId {
        self.id
    }

    pub fn partition(&self) -> &Partition {
        &self.partition
    }

    /// Takes one command through prefetch, decide and apply; `answer` makes what its asker is sent from the outcome
    /// and the state behind it. It waits at the gate, also when nothing happened.
    pub fn take(
        &mut self,
        command: &Command,
        now: Timestamp,
        rows: &dyn Rows,
        programs: &dyn Programs,
        answer: impl FnOnce(&Partition, Result<Answer, Rejection>) -> Option<R>,
    ) -> Result<(), LaneError> {
        self.prefetch(command, rows, programs)?;
        self.decide(command, now, answer);
        Ok(())
    }

    /// Takes a command whose rows are there.
    pub fn decide(
        &mut self,
        command: &Command,
        now: Timestamp,
        answer: impl FnOnce(&Partition, Result<Answer, Rejection>) -> Option<R>,
    ) {
        let (mut effects, mut moved, mut definitions) = (Vec::new(), BTreeMap::new(), Vec::new());
        let outcome = match self.partition.decide(command, now) {
            Ok(decision) => {
                let time = self.partition.log_time(now);
                for (index, event) in decision.events.iter().enumerate() {
                    self.take_event(event, index == 0, time, &mut effects, &mut moved);
                    if let Event::WorkflowRegistered(definition) = event {
                        definitions.push(definition.clone());
                    }
                }
                Ok(decision.answer)
            }
            Err(rejection) => Err(rejection),
        };
        let answer = answer(&self.partition, outcome);
        let leaving = Leaving { answer, effects, moved: moved.into_values().collect(), definitions };
        self.gate.hold(self.partition.next_position(), leaving);
        if self.partition.closed_bytes() > 0 {
            self.closed_since.get_or_insert(now);
        }
        self.forget_fetched();
    }

    /// Makes rows of a name present, then holds what `answer` makes of the state at the gate.
    pub fn look(
        &mut self,
        needs: &[Need],
        rows: &dyn Rows,
        answer: impl FnOnce(&Partition) -> R,
    ) -> Result<(), LaneError> {
        self.prepare(needs, rows)?;
        self.tell(answer);
        Ok(())
    }

    /// Makes rows of a name present, for `tell`.
    pub fn prepare(&mut self, needs: &[Need], rows: &dyn Rows) -> Result<(), LaneError> {
        needs.iter().try_for_each(|need| self.fetch(need, rows, &NoPrograms))
    }

    /// Holds what `answer` makes of the state at the gate.
    pub fn tell(&mut self, answer: impl FnOnce(&Partition) -> R) {
        let answer = Some(answer(&self.partition));
        let leaving = Leaving { answer, effects: Vec::new(), moved: Vec::new(), definitions: Vec::new() };
        self.gate.hold(self.partition.next_position(), leaving);
        self.forget_fetched();
    }

    /// A closed or idle run is in memory for as long as it is looked at.
    fn forget_fetched(&mut self) {
        self.fetched.drain(..).for_each(|run| self.partition.put_away(run));
    }

    fn take_event(
        &mut self,
        event: &Event,
        first: bool,
        time: Timestamp,
        effects: &mut Vec<Effect>,
        moved: &mut BTreeMap<StreamOrdinal, Moved>,
    ) {
        let place = self.partition.place(event);
        // What happens to user streams is never derived: each such event is a cause of its own.
        let derived = !first && matches!(event, Event::Run { .. });
        let record = translate::record(stored::encode(event, place), !derived, time);
        let record_bytes = record.payload.len() + limits::RECORD_OVERHEAD_BYTES;
        self.unflushed_bytes += record_bytes;
        self.unflushed.push(record);
        self.since_checkpoint += 1;
        self.bytes_since_checkpoint += record_bytes;
        if let Some(change) = translate::moved(event, place, &self.partition) {
            moved.insert(change.stream, change);
        }
        let placed = Placed { position: self.partition.next_position(), time };
        self.partition.apply(event, placed, effects);
    }

    /// Makes present what a command needs, for `decide`.
    pub fn prefetch(&mut self, command: &Command, rows: &dyn Rows, programs: &dyn Programs) -> Result<(), LaneError> {
        // A row may name a program, so a second round can be needed; never a third.
        for _ in 0..2 {
            let needs = self.partition.needs(command);
            if needs.is_empty() {
                break;
            }
            for need in &needs {
                self.fetch(need, rows, programs)?;
            }
        }
        Ok(())
    }

    fn fetch(&mut self, need: &Need, rows: &dyn Rows, programs: &dyn Programs) -> Result<(), LaneError> {
        match need {
            Need::Row(name) => {
                if let RowName::ClosedRun(run) | RowName::OpenRun(run) = name {
                    self.fetched.push(*run);
                }
                crate::recovery::fetch_row(self.id, &mut self.partition, name, rows)
            }
            Need::Program(hash) => {
                let unknown = LaneError::Program { partition: self.id, hash: *hash };
                self.partition.admit_program(*hash, programs.program(*hash).ok_or(unknown)?);
                Ok(())
            }
        }
    }

    /// Whether a batch is large enough to be handed to the log before more is taken.
    pub fn is_full(&self) -> bool {
        self.unflushed_bytes >= self.limits.batch_bytes
    }

    /// What is to be appended, with the rows of a checkpoint when one is due. `None`: nothing.
    pub fn flush(&mut self) -> Option<AppendBatch> {
        let due = self.since_checkpoint >= self.limits.records_per_checkpoint
            || self.bytes_since_checkpoint >= self.limits.bytes_per_checkpoint
            || self.partition.closed_bytes() >= self.limits.closed_bytes
            || self.wants_room();
        if self.unflushed.is_empty() && !due {
            return None;
        }
        let rows = if due { self.checkpoint_rows() } else { Vec::new() };
        let records = std::mem::take(&mut self.unflushed);
        let expected = self.flushed;
        self.flushed = expected.after(records.len() as u64);
        self.unflushed_bytes = 0;
        assert_eq!(self.flushed, self.partition.next_position(), "the log and the state count alike");
        Some(AppendBatch { partition: self.id, expected, records, rows })
    }

    /// Everything that memory is ahead of, for a clean stop.
    pub fn checkpoint(&mut self) -> AppendBatch {
        self.since_checkpoint = self.limits.records_per_checkpoint;
        self.flush().expect("a checkpoint that is due is a batch")
    }

    /// A checkpoint for which closed runs have waited for so long that it is worth its rows, or that lets idle ones go.
    pub fn overdue_checkpoint(&mut self, now: Timestamp) -> Option<AppendBatch> {
        let waited = self.closed_since.is_some_and(|since| now.millis_since(since) >= limits::CLOSED_KEPT_MS);
        (waited || self.mended || self.wants_room() || self.seeks_room(now)).then(|| self.checkpoint())
    }

    /// Runs become idle without a byte more being held, so what was in vain is tried again.
    fn seeks_room(&mut self, now: Timestamp) -> bool {
        let short = self.pressed && self.partition.open_bytes() >= self.limits.open_bytes;
        let seeks = short && now.millis_since(self.sought) >= limits::SEEK_ROOM_MS;
        if seeks {
            self.sought = now;
        }
        seeks
    }

    /// The timers of a run whose row cannot be read are put off.
    pub fn put_off(&mut self, run: RunId, until: Timestamp) {
        self.partition.put_off(run, until);
    }

    /// Memory is short, and open runs hold more than they may, and clearly more than when that was last looked at:
    /// where no run is idle a checkpoint for each batch would help nobody.
    fn wants_room(&self) -> bool {
        let held = self.partition.open_bytes();
        self.pressed && held >= self.limits.open_bytes && held >= self.open_bytes_kept + self.limits.open_bytes / 4
    }

    /// Learns that the rows of the checkpoint at this position can be read: what they hold may leave memory.
    pub fn rows_written(&mut self, position: Position) {
        if position == self.checkpointed {
            self.evict();
        }
    }

    fn evict(&mut self) {
        self.partition.evict(self.limits.rows_kept);
        if self.pressed {
            self.partition.evict_idle(self.limits.open_bytes / 2);
        }
        self.open_bytes_kept = self.partition.open_bytes();
    }

    fn checkpoint_rows(&mut self) -> Vec<RowChange> {
        (self.since_checkpoint, self.bytes_since_checkpoint) = (0, 0);
        (self.closed_since, self.mended) = (None, false);
        if self.gate.durable_end() > self.checkpointed {
            // A record behind the last checkpoint is durable, so its rows are too, also when they went alone: what it
            // wrote can be read back, and memory may forget it.
            self.evict();
        }
        self.open_bytes_kept = self.partition.open_bytes();
        let position = self.partition.next_position();
        self.checkpointed = position;
        // First, so that producers of a later stream of the same name stay.
        let ended = self.partition.take_ended().into_iter().map(|stream| {
            let (kind, id) = stored::producers_of(&stream);
            RowChange::DeleteAll(RowKey { kind: translate::row_kind(kind), id: id.into() })
        });
        let ended: Vec<_> = ended.collect();
        let changes = self.partition.take_dirty().into_iter().map(|(name, image)| {
            let (kind, id) = stored::row_key(&name);
            let key = RowKey { kind: translate::row_kind(kind), id: id.into() };
            match image {
                Some(image) => RowChange::Put(key, Row { position, value: stored::encode_row(&name, &image) }),
                None => RowChange::Delete(key),
            }
        });
        ended.into_iter().chain(changes).collect()
    }

    /// Nothing waits to be flushed or to become durable.
    pub fn is_settled(&self) -> bool {
        self.unflushed.is_empty() && self.gate.waiting() == 0
    }

    /// Learns how far the log is durable.
    pub fn durable(&mut self, end: Position) {
        self.gate.advance(end);
    }

    /// The next thing that may leave.
    pub fn release(&mut self) -> Option<Leaving<R>> {
        self.gate.release()
    }

    /// What waits at the gate when the log has failed: nobody can say whether it happened.
    pub fn abandon(&mut self) -> impl Iterator<Item = R> + '_ {
        self.gate.abandon().filter_map(|leaving| leaving.answer)
    }
}

/// For looking at rows, which need none.
struct NoPrograms;

impl Programs for NoPrograms {
    fn program(&self, _: WorkflowHash) -> Option<Arc<Program>> {
        None
    }
}

#[cfg(test)]
#[path = "lane_tests.rs"]
mod tests;
