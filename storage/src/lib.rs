//! Keeps records in order and gives them back. Knows partitions, positions and bytes; knows no run, no step, no JSON.

mod error;
mod log;
mod memory;
mod record;
mod rows;

pub use error::{AppendError, OpenError, ReadError};
pub use log::{AppendBatch, Log, OnDurable, PartitionBounds, RETENTION_CLASSES, StreamRead, incarnation};
pub use memory::{MemoryLog, Survives};
pub use record::{EventClass, OutputHeader, Record, RetentionClass, StoredRecord};
pub use rows::{Row, RowChange, RowKey, RowKind, Rows};
