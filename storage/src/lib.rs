//! Keeps records in order and gives them back. Knows partitions, positions and bytes; knows no run, no step, no JSON.

mod block;
mod catalog;
mod checked;
mod checkpoint;
mod codec;
mod commit;
mod error;
mod format;
#[cfg(test)]
mod golden;
mod group;
mod keys;
pub mod limits;
mod log;
mod memory;
mod metrics;
mod partition_log;
mod queue;
mod read;
mod read_only;
mod read_stream;
mod recent;
mod record;
mod recovery;
mod rocks;
mod rocks_log;
mod row_store;
mod rows;
mod salvage;
mod segment;
mod simulated_disk;
mod store;
mod stream_index;
mod tail_cut;
mod verify;
mod watermark;

pub use commit::OnFatal;
pub use error::{AppendError, OpenError, ReadError};
pub use log::{AppendBatch, Log, OnDurable, PartitionBounds, RETENTION_CLASSES, StreamRead, incarnation};
pub use memory::{MemoryLog, MemoryOptions, Survives};
pub use metrics::Metrics;
pub use read_only::ReadOnlyLog;
pub use record::{EventClass, OutputHeader, Record, RetentionClass, StoredRecord};
pub use rocks_log::{OpenReport, Options, RocksLog};
pub use rows::{Row, RowChange, RowKey, RowKind, Rows};
pub use verify::{DamageFound, VerifyReport, verify};
