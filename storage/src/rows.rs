//! The second port: small rows of state beside the log, always local. Rows are a cache of the log: each carries the
//! position it reflects, written through the same WAL after the records it reflects.

use std::fmt;

use bytes::Bytes;
use types::{PartitionId, Position};

use crate::error::ReadError;

/// What a row holds; the value is the kernel's own. Numbers are stable on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RowKind {
    /// Scalars of a partition's state and the position of its last checkpoint.
    Partition = 1,
    /// A run that is not closed.
    OpenRun = 2,
    ClosedRun = 3,
    /// A stream by name.
    Stream = 4,
    /// A stream's name by ordinal.
    StreamName = 5,
    /// A producer's window on a stream.
    Producer = 6,
    /// An idempotency key's run.
    Start = 7,
    /// A workflow definition by hash.
    Definition = 8,
    /// Reserved: no version wrote one. A definition's row is found by its hash, its name and its tenant.
    DefinitionName = 9,
    /// The closed run whose stream has this ordinal.
    RunOfStream = 10,
}

/// Where a row is: kind and an id of at most 1 KiB that the kernel makes; ids sort as bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKey {
    pub kind: RowKind,
    pub id: Bytes,
}

/// A row as kept: `position` is that of the last record it reflects, plus one (the next to fold).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub position: Position,
    pub value: Bytes,
}

/// A row to write or to remove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowChange {
    Put(RowKey, Row),
    Delete(RowKey),
    /// All rows of the kind whose id begins with this one.
    DeleteAll(RowKey),
}

/// What a scan comes by when damage does not end it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Met {
    Row(Bytes, Row),
    /// The row with this id is there and its bytes are not those that were written.
    Damaged {
        id: Bytes,
        what: String,
    },
    /// Nothing can be read from `first` up to `last`, both included: how many rows there were is not known.
    Unreadable {
        first: Bytes,
        last: Bytes,
        what: String,
    },
}

impl Met {
    /// Behind which id a scan goes on.
    pub fn last(&self) -> &Bytes {
        match self {
            Self::Row(id, _) | Self::Damaged { id, .. } => id,
            Self::Unreadable { last, .. } => last,
        }
    }
}

/// Reads rows. Writes go with `Log::append`, so that a row is never durable before what it reflects.
/// A row appended but not yet durable may or may not be seen.
pub trait Rows: Send + Sync + fmt::Debug {
    fn get(&self, partition: PartitionId, key: &RowKey) -> Result<Option<Row>, ReadError>;

    /// Rows of one kind in id order, after `after` (exclusive; `None`: from the first), at most `limit`.
    fn scan(
        &self,
        partition: PartitionId,
        kind: RowKind,
        after: Option<&Bytes>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Row)>, ReadError>;

    /// As `scan`, but damage is named and passed instead of ending it: for whoever can do without a row.
    fn scan_past_damage(
        &self,
        partition: PartitionId,
        kind: RowKind,
        after: Option<&Bytes>,
        limit: usize,
    ) -> Result<Vec<Met>, ReadError> {
        let rows = self.scan(partition, kind, after, limit)?;
        Ok(rows.into_iter().map(|(id, row)| Met::Row(id, row)).collect())
    }
}
