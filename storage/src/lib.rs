//! Keeps records in order and gives them back. Knows partitions, positions and bytes; knows no run, no step, no JSON.

mod backup;
mod block;
mod catalog;
mod chain_tail;
mod check;
mod checked;
mod checkpoint;
mod codec;
mod commit;
mod damage_walk;
mod error;
mod figures;
mod format;
#[doc(hidden)]
pub mod fuzz;
#[cfg(test)]
mod golden;
mod group;
mod history;
mod holes;
mod index_anew;
mod keys;
pub mod limits;
mod log;
mod lost_rows;
mod memory;
mod mend;
mod metrics;
mod open_files;
mod partition_log;
mod quarantine;
mod queue;
mod read;
mod read_only;
mod read_stream;
mod recent;
mod record;
mod recovery;
mod repair;
pub mod retention;
mod rocks;
mod rocks_log;
mod row_store;
mod row_walk;
mod rows;
mod salvage;
mod segment;
mod simulated_disk;
mod space;
mod store;
mod stream_index;
mod tail_cut;
mod upgrade;
mod verify;
mod wal;
mod watermark;

pub use backup::{
    BackupError, BackupOptions, BackupReport, BackupVerified, OnStep, Restored, Step, back_up_stopped, restore,
    verify_backup,
};
pub use check::Checked;
pub use commit::OnFatal;
pub use error::{AppendError, OpenError, ReadError};
pub use figures::{FamilyFigures, SegmentFigures, StoreFigures};
pub use format::{HeldStill, hold_still, in_use_by};
pub use log::{AppendBatch, Log, OnDurable, PartitionBounds, RETENTION_CLASSES, StreamRead, incarnation};
pub use memory::{MemoryLog, MemoryOptions, Survives};
pub use metrics::Metrics;
pub use open_files::raise_open_files;
pub use quarantine::Quarantined;
pub use read_only::ReadOnlyLog;
pub use record::{EventClass, OutputHeader, Record, RetentionClass, StoredRecord};
pub use repair::{Loss, Repair};
pub use retention::{DropError, Dropped, SegmentFacts, SegmentId, StreamExtent};
pub use rocks_log::{OpenReport, Options, RocksLog};
pub use rows::{Met, Row, RowChange, RowKey, RowKind, Rows};
pub use space::{Change, Reserve, Space};
pub use verify::{DamageFound, VerifyReport, verify, verify_with};
