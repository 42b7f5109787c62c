//! The simulated log: the same promises over a simulated disk that crashes, tears, flips and fails on demand.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use types::{History, PartitionCount, PartitionId, Position};

use crate::error::{AppendError, OpenError, ReadError};
use crate::log::{AppendBatch, Log, OnDurable, PartitionBounds, StreamRead};
use crate::record::StoredRecord;
use crate::rows::{Row, RowChange, RowKey, RowKind, Rows};

/// What a crash leaves of the writes that were not yet synced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Survives {
    /// So many whole batches, oldest first.
    pub batches: usize,
    /// And so many bytes of the log blocks of the next one: a torn write.
    pub torn_bytes: usize,
}

/// A log in memory. Appends are written at once and durable when `sync` is called, or at once in automatic mode.
#[derive(Clone)]
pub struct MemoryLog(Arc<Mutex<Inner>>);

struct Inner {
    count: PartitionCount,
    history: History,
    automatic: bool,
    dead: Option<String>,
    fail_next_sync: bool,
    full: bool,
    durable: Disk,
    written: Disk,
    unsynced: Vec<(AppendBatch, OnDurable, Position)>,
}

#[derive(Clone, Default)]
struct Disk {
    records: BTreeMap<PartitionId, Vec<StoredRecord>>,
    rows: BTreeMap<(PartitionId, RowKey), Row>,
}

impl Disk {
    fn end(&self, partition: PartitionId) -> Position {
        Position::new(self.records.get(&partition).map_or(0, |records| records.len() as u64))
    }

    fn apply(&mut self, batch: &AppendBatch) {
        let records = self.records.entry(batch.partition).or_default();
        for record in &batch.records {
            records.push(StoredRecord { position: Position::new(records.len() as u64), record: record.clone() });
        }
        for change in &batch.rows {
            match change {
                RowChange::Put(key, row) => self.rows.insert((batch.partition, key.clone()), row.clone()),
                RowChange::Delete(key) => self.rows.remove(&(batch.partition, key.clone())),
            };
        }
    }
}

impl fmt::Debug for MemoryLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryLog").finish_non_exhaustive()
    }
}

impl MemoryLog {
    /// An empty log whose appends become durable when `sync` is called.
    pub fn new(partitions: PartitionCount, history: History) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            count: partitions,
            history,
            automatic: false,
            dead: None,
            fail_next_sync: false,
            full: false,
            durable: Disk::default(),
            written: Disk::default(),
            unsynced: Vec::new(),
        })))
    }

    /// An empty log whose appends are durable, and acknowledged, before `append` returns.
    pub fn automatic(partitions: PartitionCount, history: History) -> Self {
        let log = Self::new(partitions, history);
        log.inner().automatic = true;
        log
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes durable all that was appended and runs the callbacks, in order. Returns how many batches were waiting.
    pub fn sync(&self) -> usize {
        let mut inner = self.inner();
        let waiting = std::mem::take(&mut inner.unsynced);
        if inner.fail_next_sync {
            inner.dead = Some("a sync failed".to_owned());
        } else {
            inner.durable = inner.written.clone();
        }
        let dead = inner.dead.clone();
        drop(inner);
        let count = waiting.len();
        for (_, on_durable, end) in waiting {
            on_durable(match &dead {
                None => Ok(end),
                Some(cause) => Err(AppendError::OutcomeUnknown { cause: cause.clone() }),
            });
        }
        count
    }

    /// How many batches wait for `sync`.
    pub fn unsynced(&self) -> usize {
        self.inner().unsynced.len()
    }

    /// The next sync fails: all that wait get `OutcomeUnknown`, and the log is dead until `reopen`.
    pub fn fail_next_sync(&self) {
        self.inner().fail_next_sync = true;
    }

    /// While full, every write fails, and a failed write ends the log as a failed sync does.
    pub fn set_full(&self, full: bool) {
        self.inner().full = full;
    }

    /// The machine stops: this handle is dead, callbacks that wait never run, and of what was not synced `survives` is
    /// left on the disk for `reopen` to find.
    pub fn crash(&self, survives: Survives) {
        let mut inner = self.inner();
        inner.dead = Some("the machine crashed".to_owned());
        let waiting = std::mem::take(&mut inner.unsynced);
        for (batch, _, _) in waiting.iter().take(survives.batches) {
            inner.durable.apply(batch);
        }
        drop(inner);
        drop(waiting);
    }

    /// Flips one bit of the durable block that holds `position`. `false`: there is no such block.
    pub fn flip_bit(&self, partition: PartitionId, position: Position, _bit: usize) -> bool {
        position < self.inner().durable.end(partition)
    }

    /// Starts anew over what is on the disk. What was not synced and did not survive a `crash` is lost.
    pub fn reopen(&self) -> Result<Self, OpenError> {
        let inner = self.inner();
        let log = Self::new(inner.count, inner.history);
        {
            let mut new = log.inner();
            new.automatic = inner.automatic;
            new.durable = inner.durable.clone();
            new.written = inner.durable.clone();
        }
        Ok(log)
    }
}

impl Log for MemoryLog {
    fn partitions(&self) -> PartitionCount {
        self.inner().count
    }

    fn bounds(&self, partition: PartitionId) -> PartitionBounds {
        let inner = self.inner();
        PartitionBounds {
            history: inner.history,
            start_run: Position::ZERO,
            start_stream: Position::ZERO,
            end: inner.durable.end(partition),
        }
    }

    fn append(&self, batch: AppendBatch, on_durable: OnDurable) {
        let mut inner = self.inner();
        if inner.full && inner.dead.is_none() {
            inner.dead = Some("no space left on device".to_owned());
        }
        if let Some(cause) = inner.dead.clone() {
            drop(inner);
            return on_durable(Err(AppendError::OutcomeUnknown { cause }));
        }
        let actual = inner.written.end(batch.partition);
        if actual != batch.expected {
            drop(inner);
            let (partition, expected) = (batch.partition, batch.expected);
            return on_durable(Err(AppendError::Refused { partition, expected, actual }));
        }
        inner.written.apply(&batch);
        let end = inner.written.end(batch.partition);
        inner.unsynced.push((batch, on_durable, end));
        let automatic = inner.automatic;
        drop(inner);
        if automatic {
            self.sync();
        }
    }

    fn read(
        &self,
        partition: PartitionId,
        from: Position,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<StoredRecord>, ReadError> {
        let inner = self.inner();
        let records = inner.durable.records.get(&partition).map(Vec::as_slice).unwrap_or_default();
        let mut bytes = 0;
        Ok(records
            .iter()
            .skip(usize::try_from(from.value()).unwrap_or(usize::MAX))
            .take(max_records)
            .take_while(|record| {
                let before = bytes;
                bytes += record.record.payload.len();
                before == 0 || before < max_bytes
            })
            .cloned()
            .collect())
    }

    fn read_stream(&self, read: StreamRead) -> Result<Vec<StoredRecord>, ReadError> {
        let inner = self.inner();
        let records = inner.durable.records.get(&read.partition).map(Vec::as_slice).unwrap_or_default();
        let mut bytes = 0;
        Ok(records
            .iter()
            .filter(|stored| stored.record.stream == read.stream && !read.stream.is_none())
            .filter(|stored| read.from <= stored.record.offset && stored.record.offset < read.until)
            .take(read.max_events)
            .take_while(|stored| {
                let before = bytes;
                bytes += stored.record.payload.len();
                before == 0 || before < read.max_bytes
            })
            .cloned()
            .collect())
    }

    fn close(&self) -> Result<(), AppendError> {
        self.sync();
        let mut inner = self.inner();
        if let Some(cause) = inner.dead.clone() {
            return Err(AppendError::OutcomeUnknown { cause });
        }
        inner.dead = Some("the log is closed".to_owned());
        Ok(())
    }
}

impl Rows for MemoryLog {
    fn get(&self, partition: PartitionId, key: &RowKey) -> Result<Option<Row>, ReadError> {
        Ok(self.inner().written.rows.get(&(partition, key.clone())).cloned())
    }

    fn scan(
        &self,
        partition: PartitionId,
        kind: RowKind,
        after: Option<&Bytes>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Row)>, ReadError> {
        let inner = self.inner();
        let first = (partition, RowKey { kind, id: after.cloned().unwrap_or_default() });
        Ok(inner
            .written
            .rows
            .range(first..)
            .take_while(|((of, key), _)| *of == partition && key.kind == kind)
            .filter(|((_, key), _)| after.is_none_or(|after| key.id > *after))
            .take(limit)
            .map(|((_, key), row)| (key.id.clone(), row.clone()))
            .collect())
    }
}
