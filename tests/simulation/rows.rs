//! Rows that may be read as they were before the last sync: the port promises neither the old nor the new.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use storage::{AppendBatch, MemoryLog, ReadError, Row, RowChange, RowKey, RowKind, Rows};
use types::PartitionId;

/// Rows by partition and key; `None` where there was none.
type Kept = BTreeMap<(PartitionId, RowKey), Option<Row>>;

#[derive(Debug)]
pub(crate) struct LaggingRows {
    log: MemoryLog,
    /// What rows of unsynced batches held before; `None` when they lag not at all.
    before: Option<Mutex<Kept>>,
}

impl LaggingRows {
    pub(crate) fn new(log: MemoryLog, lag: bool) -> Self {
        Self { log, before: lag.then(Mutex::default) }
    }

    fn before(&self) -> Option<MutexGuard<'_, Kept>> {
        self.before.as_ref().map(|before| before.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A batch is about to be appended.
    pub(crate) fn remember(&self, batch: &AppendBatch) {
        let Some(mut before) = self.before() else { return };
        for change in &batch.rows {
            let keys = match change {
                RowChange::Put(key, _) | RowChange::Delete(key) => vec![key.clone()],
                RowChange::DeleteAll(key) => {
                    let all =
                        self.log.scan(batch.partition, key.kind, None, usize::MAX).expect("nothing is damaged yet");
                    let ids = all.into_iter().map(|(id, _)| id).filter(|id| id.starts_with(&key.id));
                    ids.map(|id| RowKey { kind: key.kind, id }).collect()
                }
            };
            for key in keys {
                let held = self.log.get(batch.partition, &key).expect("nothing is damaged yet");
                before.entry((batch.partition, key)).or_insert(held);
            }
        }
    }

    /// All that was appended is durable.
    pub(crate) fn synced(&self) {
        if let Some(mut before) = self.before() {
            before.clear();
        }
    }
}

impl Rows for LaggingRows {
    fn get(&self, partition: PartitionId, key: &RowKey) -> Result<Option<Row>, ReadError> {
        let old = self.before().and_then(|before| before.get(&(partition, key.clone())).cloned());
        old.map_or_else(|| self.log.get(partition, key), Ok)
    }

    fn scan(
        &self,
        partition: PartitionId,
        kind: RowKind,
        after: Option<&Bytes>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Row)>, ReadError> {
        self.log.scan(partition, kind, after, limit)
    }
}
