//! Turns the appends that wait into one write for all partitions. Decides; writes nothing.

use std::sync::Arc;
use std::time::Instant;

use types::{PartitionId, Position};

use crate::catalog::Catalog;
use crate::error::AppendError;
use crate::limits::{RECORD_BYTES, RECORD_HEADERS};
use crate::log::{AppendBatch, OnDurable};
use crate::partition_log::{PartitionLog, Policy, Staged};
use crate::record::Record;
use crate::row_store;
use crate::store::Batch;

/// An append on its way.
pub(crate) struct Pending {
    pub(crate) batch: AppendBatch,
    pub(crate) on_durable: OnDurable,
    pub(crate) since: Instant,
    /// Of its records.
    pub(crate) bytes: usize,
}

impl Pending {
    pub(crate) fn now(batch: AppendBatch, on_durable: OnDurable) -> Self {
        let bytes = batch.records.iter().map(Record::bytes).sum();
        Self { batch, on_durable, since: Instant::now(), bytes }
    }
}

/// One who is to be told when a group is durable.
pub(crate) struct Waiting {
    on_durable: OnDurable,
    end: Position,
    pub(crate) since: Instant,
}

impl Waiting {
    pub(crate) fn durable(self) {
        (self.on_durable)(Ok(self.end));
    }

    /// Only who is to be told.
    pub(crate) fn into_callback(self) -> OnDurable {
        self.on_durable
    }

    pub(crate) fn failed(self, error: AppendError) {
        (self.on_durable)(Err(error));
    }
}

/// One write, and who waits for it.
#[derive(Default)]
pub(crate) struct Group {
    pub(crate) batch: Batch,
    pub(crate) staged: Vec<Staged>,
    pub(crate) waiting: Vec<Waiting>,
    /// Appends that break a rule: told at once, nothing of them is written.
    pub(crate) refused: Vec<(OnDurable, AppendError)>,
}

impl Group {
    /// Where each partition in it ends once it is durable.
    pub(crate) fn ends(&self) -> Vec<(PartitionId, Position)> {
        self.staged.iter().map(|staged| (staged.partition, staged.end)).collect()
    }
}

/// All partitions as the one writer sees them.
#[derive(Debug)]
pub(crate) struct Writer {
    catalog: Arc<Catalog>,
    logs: Vec<PartitionLog>,
    term: u32,
    policy: Policy,
}

impl Writer {
    /// `logs` has one entry a partition, in order.
    pub(crate) fn new(catalog: Arc<Catalog>, logs: Vec<PartitionLog>, term: u32, policy: Policy) -> Self {
        Self { catalog, logs, term, policy }
    }

    /// Takes appends in order. The group must be written and published before the next call.
    pub(crate) fn group(&mut self, pending: Vec<Pending>) -> Group {
        let mut group = Group::default();
        let mut begun = vec![false; self.logs.len()];
        for Pending { batch, on_durable, since, .. } in pending {
            match self.check(&batch) {
                Ok(()) => {
                    let end = self.add(&batch, &mut group, &mut begun);
                    group.waiting.push(Waiting { on_durable, end, since });
                }
                Err(error) => group.refused.push((on_durable, error)),
            }
        }
        for staged in &mut group.staged {
            let durable = self.catalog.view(staged.partition).durable();
            self.logs[staged.partition.value() as usize].finish(self.term, durable, &mut group.batch, staged);
        }
        group
    }

    fn check(&self, batch: &AppendBatch) -> Result<(), AppendError> {
        let partition = batch.partition;
        let invalid = |what| Err(AppendError::Invalid { partition, what });
        let Some(log) = self.logs.get(partition.value() as usize) else {
            return invalid(format!("there are only {} partitions", self.logs.len()));
        };
        let (expected, actual) = (batch.expected, log.next());
        if expected != actual {
            return Err(AppendError::Refused { partition, expected, actual });
        }
        for record in &batch.records {
            if record.bytes() > RECORD_BYTES || record.headers.len() > RECORD_HEADERS {
                let (bytes, headers) = (record.bytes(), record.headers.len());
                return invalid(format!(
                    "a record has {bytes} bytes and {headers} headers, more than {RECORD_BYTES} or {RECORD_HEADERS}"
                ));
            }
        }
        row_store::check_changes(&batch.rows, actual.after(batch.records.len() as u64)).or_else(invalid)
    }

    /// `begun` says which partitions are in the group already.
    fn add(&mut self, batch: &AppendBatch, group: &mut Group, begun: &mut [bool]) -> Position {
        let number = batch.partition.value() as usize;
        let log = &mut self.logs[number];
        let seal = self.catalog.view(batch.partition).take_seal();
        let time = batch.records.first().map(|record| record.time).max(seal);
        if let Some(now) = time {
            if !std::mem::replace(&mut begun[number], true) {
                let view = self.catalog.view(batch.partition).read();
                group.staged.push(log.begin(now, &self.policy, &view.recent.index, &mut group.batch));
            }
            batch.records.iter().for_each(|record| log.push(record));
        }
        row_store::put_changes(batch.partition, &batch.rows, &mut group.batch);
        log.next()
    }

    /// Checkpoints of all partitions that have something new, for a clean stop.
    pub(crate) fn checkpoint(&mut self) -> Group {
        let mut group = Group::default();
        for (partition, log) in self.catalog.count().partitions().zip(&mut self.logs) {
            let view = self.catalog.view(partition).read();
            group.staged.extend(log.checkpoint(&view.recent.index, &mut group.batch));
        }
        group
    }
}
