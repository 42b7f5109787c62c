//! Takes the state beside the log over: every row, as it is at the end of the old log, into its owner's new partition.

use std::collections::BTreeMap;
use std::sync::mpsc::channel;

use bytes::Bytes;
use engine::{Partition, PartitionConfig, RowImage, RowName, Scalars, stored};
use storage::{AppendBatch, Log, ReadOnlyLog, Row, RowChange, RowKey, RowKind, Rows};
use types::{PartitionId, Position, Timestamp};

use super::error::RepartitionError;
use super::owners::Owners;
use crate::limits;
use crate::{recovery, translate};

/// Rows that memory is ahead of, by kind and id; `None`: the row goes.
type Newer = BTreeMap<(u8, Vec<u8>), (RowName, Option<RowImage>)>;

/// A batch of rows is handed over at this size.
const BATCH_BYTES: usize = 1024 * 1024;

/// What was taken over.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) streams: u64,
    pub(super) runs: u64,
    /// By new partition: every row as it must be found there.
    pub(super) rows: BTreeMap<PartitionId, u64>,
}

pub(super) fn rewrite(old: &ReadOnlyLog, new: &dyn Log, owners: &Owners) -> Result<Kept, RepartitionError> {
    let mut kept = Kept::default();
    let mut target = Target::new(new, owners);
    for partition in old.partitions().partitions() {
        let mut state = Partition::new(PartitionConfig::new([0; 32]));
        let end = old.bounds(partition).end;
        recovery::recover(partition, &mut state, old, old, limits::OPEN_BYTES, end)?;
        let mut newer = Newer::new();
        for (name, image) in state.take_dirty() {
            newer.insert(stored::row_key(&name), (name, image));
        }
        // They follow their owner; the scalars of a partition are made anew.
        for kind in translate::OWNED_ROWS {
            each_row(old, partition, kind, &mut newer, &mut |name, image| {
                match &name {
                    RowName::Stream(_) => kept.streams += 1,
                    RowName::OpenRun(_) | RowName::ClosedRun(_) => kept.runs += 1,
                    RowName::Partition
                    | RowName::StreamName(_)
                    | RowName::RunOfStream(_)
                    | RowName::Producer(..)
                    | RowName::Start(_)
                    | RowName::Definition(..) => {}
                }
                target.take(partition, name, image)
            })?;
        }
    }
    kept.rows = target.finish()?;
    Ok(kept)
}

/// Rows of one kind: those on disk, with what came after them, and those that are not on disk yet.
fn each_row(
    old: &ReadOnlyLog,
    partition: PartitionId,
    kind: RowKind,
    newer: &mut Newer,
    take: &mut dyn FnMut(RowName, RowImage) -> Result<(), RepartitionError>,
) -> Result<(), RepartitionError> {
    let mut after: Option<Bytes> = None;
    loop {
        let page = old.scan(partition, kind, after.as_ref(), limits::ROWS_PER_SCAN)?;
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        for (id, row) in page {
            match newer.remove(&(kind as u8, id.to_vec())) {
                Some((_, None)) => {}
                Some((name, Some(image))) => take(name, image)?,
                None => {
                    let read = stored::read_row(kind as u8, &id, &row.value);
                    let (name, image) =
                        read.map_err(|error| RepartitionError::Row { partition, what: error.to_string() })?;
                    take(name, image)?;
                }
            }
        }
    }
    let of_kind: Vec<_> = newer.keys().filter(|(number, _)| *number == kind as u8).cloned().collect();
    for key in of_kind {
        if let Some((name, Some(image))) = newer.remove(&key) {
            take(name, image)?;
        }
    }
    Ok(())
}

/// The new log's rows.
struct Target<'a> {
    log: &'a dyn Log,
    owners: &'a Owners,
    batches: BTreeMap<PartitionId, (Vec<RowChange>, usize)>,
    counts: BTreeMap<PartitionId, u64>,
}

impl<'a> Target<'a> {
    fn new(log: &'a dyn Log, owners: &'a Owners) -> Self {
        Self { log, owners, batches: BTreeMap::new(), counts: BTreeMap::new() }
    }

    fn take(&mut self, old: PartitionId, name: RowName, image: RowImage) -> Result<(), RepartitionError> {
        match self.moved(old, name, image) {
            Ok(Some((partition, name, image))) => self.put(partition, &name, &image),
            Ok(None) => Ok(()),
            Err(what) => Err(RepartitionError::Row { partition: old, what }),
        }
    }

    /// A row in its new place. `None`: it says something about a stream that is no more.
    fn moved(
        &self,
        old: PartitionId,
        name: RowName,
        image: RowImage,
    ) -> Result<Option<(PartitionId, RowName, RowImage)>, String> {
        let unknown = |what: &dyn std::fmt::Display| format!("{what} was never created by the log");
        Ok(Some(match (name, image) {
            (name, RowImage::Run(mut run)) => {
                let owner = self.owners.get(old, run.ordinal).ok_or_else(|| unknown(&run.id))?;
                (run.ordinal, run.incarnation) = (owner.ordinal, owner.incarnation);
                (owner.partition, name, RowImage::Run(run))
            }
            (RowName::Stream(key), RowImage::Stream(mut stream)) => {
                let owner = self.owners.get(old, stream.ordinal).ok_or_else(|| unknown(&key.name))?;
                (stream.ordinal, stream.incarnation) = (owner.ordinal, owner.incarnation);
                (owner.partition, RowName::Stream(key), RowImage::Stream(stream))
            }
            (RowName::StreamName(ordinal), RowImage::StreamName(key)) => {
                let owner = self.owners.get(old, ordinal).ok_or_else(|| unknown(&key.name))?;
                (owner.partition, RowName::StreamName(owner.ordinal), RowImage::StreamName(key))
            }
            (RowName::RunOfStream(ordinal), RowImage::RunOfStream(run)) => {
                let owner = self.owners.get(old, ordinal).ok_or_else(|| unknown(&run))?;
                (owner.partition, RowName::RunOfStream(owner.ordinal), RowImage::RunOfStream(run))
            }
            (RowName::Producer(key, id), RowImage::Producer(mut window)) => {
                // Of an earlier life of the stream it counts no more, but it is where it was.
                let Some(owner) = self.owners.get(old, window.ordinal) else { return Ok(None) };
                window.ordinal = owner.ordinal;
                (owner.partition, RowName::Producer(key, id), RowImage::Producer(window))
            }
            (RowName::Start(key), RowImage::Start(record)) => {
                (self.owners.partition_of_run(record.run), RowName::Start(key), RowImage::Start(record))
            }
            (name @ RowName::Definition(..), RowImage::Definition(definition)) => {
                (PartitionId::SYSTEM, name, RowImage::Definition(definition))
            }
            (name, _) => return Err(format!("{name:?} holds what it cannot hold")),
        }))
    }

    fn put(&mut self, partition: PartitionId, name: &RowName, image: &RowImage) -> Result<(), RepartitionError> {
        let (kind, id) = stored::row_key(name);
        let value = stored::encode_row(name, image);
        let position = self.log.bounds(partition).end;
        let (changes, bytes) = self.batches.entry(partition).or_default();
        *bytes += id.len() + value.len();
        let key = RowKey { kind: translate::row_kind(kind), id: id.into() };
        changes.push(RowChange::Put(key, Row { position, value }));
        *self.counts.entry(partition).or_default() += 1;
        if *bytes >= BATCH_BYTES { self.flush(partition) } else { Ok(()) }
    }

    fn flush(&mut self, partition: PartitionId) -> Result<(), RepartitionError> {
        let Some((rows, _)) = self.batches.remove(&partition) else { return Ok(()) };
        let (sender, answer) = channel();
        let expected = self.log.bounds(partition).end;
        let batch = AppendBatch { partition, expected, records: Vec::new(), rows };
        self.log.append(batch, Box::new(move |outcome| drop(sender.send(outcome))));
        match answer.recv() {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(RepartitionError::Write { what: error.to_string() }),
            Err(_) => Err(RepartitionError::Write { what: "the log went away".to_owned() }),
        }
    }

    /// The scalars last: recovery begins where they say.
    fn finish(mut self) -> Result<BTreeMap<PartitionId, u64>, RepartitionError> {
        for partition in self.log.partitions().partitions() {
            let end = self.log.bounds(partition).end;
            let time = match end.value().checked_sub(1) {
                None => Timestamp::ZERO,
                Some(last) => {
                    let last = self.log.read(partition, Position::new(last), 1, 1)?;
                    last.first().map_or(Timestamp::ZERO, |stored| stored.record.time)
                }
            };
            self.flush(partition)?;
            let scalars = Scalars { next_ordinal: self.owners.next(partition), time };
            self.put(partition, &RowName::Partition, &RowImage::Partition(scalars))?;
            self.flush(partition)?;
        }
        Ok(self.counts)
    }
}
