//! Writes every record of the old log into its new partition, in order of time, and sums up what was written.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::sync::mpsc::{Receiver, Sender, channel};

use engine::stored::{self, Place};
use engine::{Event, RunEvent, StreamKey};
use storage::{AppendBatch, AppendError, EventClass, Log, Record, StoredRecord};
use types::{PartitionId, Position, StreamOrdinal};

use super::error::RepartitionError;
use super::merge::Merge;
use super::owners::{Owner, Owners};
use super::renumber::{named, with_ordinal};
use super::{OnStep, Step};
use crate::inspect::NOBODY;
use crate::translate;

/// A batch of one partition is handed over at this size.
const BATCH_RECORDS: usize = 1024;
const BATCH_BYTES: usize = 512 * 1024;
/// Between two reports of how far it is.
const RECORDS_PER_STEP: u64 = 16_384;

/// What a stream, a run, or the definitions came to: a sum over its records in order, ordinals aside.
#[derive(Clone, Debug, Default)]
pub(super) struct Sum {
    pub(super) records: u64,
    hasher: DefaultHasher,
}

impl Sum {
    pub(super) fn add(&mut self, record: &Record, event: &Event) {
        self.records += 1;
        self.hasher.write_u64(record.time.as_millis());
        self.hasher.write_u64(record.offset.value());
        self.hasher.write_u8(u8::from(record.cause));
        self.hasher.write_u8(match record.class {
            EventClass::Fact => 1,
            EventClass::Attempt => 2,
            EventClass::Output => 3,
        });
        let place = Place { stream: place_of(event, StreamOrdinal::FIRST), offset: record.offset };
        let plain = stored::encode(&with_ordinal(event.clone(), StreamOrdinal::FIRST), place);
        self.hasher.write(&plain.key);
        for (name, value) in &plain.headers {
            self.hasher.write(name);
            self.hasher.write(value);
        }
        self.hasher.write(&plain.payload);
    }

    pub(super) fn finish(&self) -> (u64, u64) {
        (self.records, self.hasher.finish())
    }
}

/// By new partition and ordinal; ordinal `NONE` is the definitions.
pub(super) type Sums = BTreeMap<(PartitionId, StreamOrdinal), Sum>;

/// What was written.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) records: u64,
    pub(super) sums: Sums,
}

/// The stream that an event is encoded with.
pub(super) const fn place_of(event: &Event, ordinal: StreamOrdinal) -> StreamOrdinal {
    if matches!(event, Event::EventAppended { .. } | Event::Run { .. }) { ordinal } else { StreamOrdinal::NONE }
}

/// One partition of the new log, as it is filled.
#[derive(Debug, Default)]
struct Target {
    end: Position,
    records: Vec<Record>,
    bytes: usize,
}

struct Writer<'a> {
    log: &'a dyn Log,
    targets: Vec<Target>,
    sender: Sender<Result<Position, AppendError>>,
    answers: Receiver<Result<Position, AppendError>>,
    waiting: usize,
}

impl<'a> Writer<'a> {
    fn new(log: &'a dyn Log) -> Self {
        let (sender, answers) = channel();
        let targets = log.partitions().partitions().map(|_| Target::default()).collect();
        Self { log, targets, sender, answers, waiting: 0 }
    }

    /// Where the next record of a partition will stand.
    fn end(&self, partition: PartitionId) -> Position {
        self.targets[partition.value() as usize].end
    }

    fn push(&mut self, partition: PartitionId, record: Record) -> Result<(), RepartitionError> {
        let target = &mut self.targets[partition.value() as usize];
        target.end = target.end.next();
        target.bytes += record.bytes();
        target.records.push(record);
        if target.records.len() >= BATCH_RECORDS || target.bytes >= BATCH_BYTES {
            self.flush(partition)
        } else {
            Ok(())
        }
    }

    fn flush(&mut self, partition: PartitionId) -> Result<(), RepartitionError> {
        let target = &mut self.targets[partition.value() as usize];
        let records = std::mem::take(&mut target.records);
        target.bytes = 0;
        if records.is_empty() {
            return Ok(());
        }
        let expected = Position::new(target.end.value() - records.len() as u64);
        let sender = self.sender.clone();
        // Nobody listens any more only when the work has failed already.
        let on_durable = Box::new(move |outcome| drop(sender.send(outcome)));
        self.log.append(AppendBatch { partition, expected, records, rows: Vec::new() }, on_durable);
        self.waiting += 1;
        self.take_answers(false)
    }

    /// Looks at answers that have come; `all`: waits for every one.
    fn take_answers(&mut self, all: bool) -> Result<(), RepartitionError> {
        let failed = |error: AppendError| RepartitionError::Write { what: error.to_string() };
        while self.waiting > 0 {
            let answer = if all { self.answers.recv().ok() } else { self.answers.try_recv().ok() };
            let Some(answer) = answer else { break };
            answer.map_err(failed)?;
            self.waiting -= 1;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(), RepartitionError> {
        let partitions: Vec<_> = self.log.partitions().partitions().collect();
        for partition in partitions {
            self.flush(partition)?;
        }
        self.take_answers(true)
    }
}

pub(super) fn records(
    old: &dyn Log,
    new: &dyn Log,
    owners: &mut Owners,
    on_step: OnStep<'_>,
) -> Result<Written, RepartitionError> {
    let of: u64 = old.partitions().partitions().map(|partition| old.bounds(partition).end.value()).sum();
    let (mut written, mut writer, mut merge) = (Written::default(), Writer::new(new), Merge::new(old)?);
    let mut told = 0;
    on_step(Step::Records { done: 0, of });
    while let Some((partition, command)) = merge.next()? {
        for stored in command {
            one(partition, &stored, owners, &mut writer, &mut written.sums)?;
            written.records += 1;
        }
        if written.records - told >= RECORDS_PER_STEP {
            told = written.records;
            on_step(Step::Records { done: told, of });
        }
    }
    writer.finish()?;
    Ok(written)
}

fn one(
    partition: PartitionId,
    stored: &StoredRecord,
    owners: &mut Owners,
    writer: &mut Writer<'_>,
    sums: &mut Sums,
) -> Result<(), RepartitionError> {
    let refused = |what: String| RepartitionError::Record { partition, position: stored.position, what };
    let run_of = |ordinal| owners.get(partition, ordinal).map_or(Some(NOBODY), |owner| owner.run);
    let encoded = translate::encoded(&stored.record);
    let event = stored::decode(&encoded, run_of).map_err(|error| refused(error.to_string()))?;
    let owner = owner(partition, stored, &event, owners, writer).map_err(refused)?;
    let (target, ordinal) = owner.map_or((PartitionId::SYSTEM, StreamOrdinal::NONE), |it| (it.partition, it.ordinal));
    sums.entry((target, ordinal)).or_default().add(&stored.record, &event);
    let place = Place { stream: place_of(&event, ordinal), offset: stored.record.offset };
    let encoded = stored::encode(&with_ordinal(event, ordinal), place);
    writer.push(target, translate::record(encoded, stored.record.cause, stored.record.time))
}

/// Whose event it is, made known where the event creates it. `None`: it is a definition, which all runs share.
fn owner(
    partition: PartitionId,
    stored: &StoredRecord,
    event: &Event,
    owners: &mut Owners,
    writer: &Writer<'_>,
) -> Result<Option<Owner>, String> {
    if let Event::WorkflowRegistered(_) = event {
        return Ok(None);
    }
    if let Event::StreamCreated { tenant, name, ordinal, .. } = event {
        let key = StreamKey { tenant: tenant.clone(), name: name.clone() };
        let target = owners.partition_of_stream(&key);
        return Ok(Some(owners.create((partition, *ordinal), target, writer.end(target), None)));
    }
    if let Event::Run { run, event: RunEvent::Started(started) } = event {
        let target = owners.partition_of_run(*run);
        return Ok(Some(owners.create((partition, started.ordinal), target, writer.end(target), Some(*run))));
    }
    let ordinal = named(event).or_else(|| crate::inspect::ordinal_of(stored)).unwrap_or(StreamOrdinal::NONE);
    let found = owners.get(partition, ordinal);
    found.map(Some).ok_or_else(|| format!("it belongs to stream {ordinal}, which was never created"))
}
