//! Keeps records in order and gives them back. Knows partitions, positions and bytes; knows no run, no step, no JSON.

mod block;
mod catalog;
mod checked;
mod checkpoint;
mod codec;
mod error;
mod group;
mod keys;
pub mod limits;
mod log;
mod memory;
mod metrics;
mod partition_log;
mod read;
mod read_stream;
mod recent;
mod record;
mod recovery;
mod row_store;
mod rows;
mod segment;
mod simulated_disk;
mod store;
mod stream_index;
mod tail_cut;
mod watermark;

pub use error::{AppendError, OpenError, ReadError};
pub use log::{AppendBatch, Log, OnDurable, PartitionBounds, RETENTION_CLASSES, StreamRead, incarnation};
pub use memory::{MemoryLog, MemoryOptions, Survives};
pub use metrics::Metrics;
pub use record::{EventClass, OutputHeader, Record, RetentionClass, StoredRecord};
pub use rows::{Row, RowChange, RowKey, RowKind, Rows};
