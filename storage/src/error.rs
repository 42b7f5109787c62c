//! What can go wrong, one enum per operation, each a sentence for the one who must act.

use std::path::PathBuf;

use thiserror::Error;
use types::{Offset, PartitionId, Position};

/// Why a batch is not durable, or not known to be. Fits "failed to append: …".
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AppendError {
    /// The caller's belief about the partition's end is wrong: nothing was written. Stop and read the partition again.
    #[error(
        "partition {partition} ends at position {actual}, but the append expected {expected}; nothing was written, and \
         the writer must reload the partition before it goes on"
    )]
    Refused { partition: PartitionId, expected: Position, actual: Position },
    /// The batch breaks a rule of the log: nothing was written. A mistake of the caller.
    #[error("the batch for partition {partition} was not written: {what}")]
    Invalid { partition: PartitionId, what: String },
    /// The write or the sync failed while the batch was in flight, or an earlier one did. Whether it is durable can
    /// only be learned by opening the log again. Never retried.
    #[error("the log failed and it is not known what of the last appends is durable: {cause}; restart the node")]
    OutcomeUnknown { cause: String },
    /// The log was opened to be looked at: nothing was written.
    #[error("the log was opened for reading only; nothing was written")]
    ReadOnly,
    /// The log was closed before the batch came: nothing was written.
    #[error("the log is closed; nothing was written")]
    Closed,
}

/// Why records or rows cannot be given. Fits "failed to read: …".
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReadError {
    /// The offset is no longer kept; `low` is the oldest that is.
    #[error("the stream's events before offset {low} are no longer kept")]
    Trimmed { low: Offset },
    /// The position is no longer kept; `start` is the oldest that is.
    #[error("the partition's records before position {start} are no longer kept")]
    Dropped { start: Position },
    /// The record is in a segment in which something is damaged; the next one that is not is at `next`.
    #[error(
        "partition {partition} is damaged before position {next}: the segment there is quarantined, and the rest is \
         served; `headwater log verify` says what is damaged, and a backup restores it"
    )]
    Quarantined { partition: PartitionId, next: Position },
    /// The event is in such a segment; the stream goes on at `low`.
    #[error(
        "the stream's events before offset {low} are damaged on disk and not served; `headwater log verify` says what \
         is damaged, and a backup restores it"
    )]
    EventsQuarantined { low: Offset },
    /// What is on disk is not what was written. It is never served; `headwater log verify` lists all such places.
    #[error(
        "partition {partition} is damaged at position {position}: {what}; `headwater log verify` lists all damage, and a \
         backup restores it"
    )]
    Corrupt { partition: PartitionId, position: Position, what: String },
    /// The disk or the operating system refused.
    #[error("the disk could not be read: {what}")]
    Io { what: String },
}

/// Why a data directory cannot be served. Fits "failed to open: …". Nothing is lost by a refusal.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OpenError {
    #[error(
        "{} was written in format {found}, which needs headwater {needs} or later; this is headwater {} with format \
         {supported}",
        path.display(),
        env!("CARGO_PKG_VERSION")
    )]
    NewerFormat { path: PathBuf, found: u32, supported: u32, needs: String },
    #[error("{} is already in use by {owner}; stop it first, or give this node another data directory", path.display())]
    Locked { path: PathBuf, owner: String },
    #[error("{} cannot be written ({what}); a node needs write access to its data directory", path.display())]
    NotWritable { path: PathBuf, what: String },
    #[error("{} is not a data directory of headwater: {what}", path.display())]
    NotADataDirectory { path: PathBuf, what: String },
    /// Records that were acknowledged are not there. Serving would silently shorten history, so the node refuses.
    #[error(
        "acknowledged data is missing: partition {partition} was durable up to position {durable}, but only {found} \
         is there ({what}); restore a backup with `headwater backup restore`, or accept the loss with `headwater repair \
         --accept-loss`, which starts a new history"
    )]
    AcknowledgedDataMissing { partition: PartitionId, durable: Position, found: Position, what: String },
    /// Nothing that is known to be acknowledged is missing, but what the last good record is followed by cannot be read.
    #[error(
        "acknowledged data may be missing: what follows position {found} of partition {partition} cannot be read ({what}); \
         restore a backup with `headwater backup restore`, or accept the loss with `headwater repair --accept-loss`, \
         which starts a new history"
    )]
    EndUnknown { partition: PartitionId, found: Position, what: String },
    /// The same for rows, or for writes as a whole: the disk's own count is behind what was recorded as durable.
    #[error(
        "acknowledged data is missing: write {durable} was durable, but the log ends at write {found}; restore a backup \
         with `headwater backup restore`, or accept the loss with `headwater repair --accept-loss`"
    )]
    AcknowledgedWritesMissing { durable: u64, found: u64 },
    #[error("{place} is damaged: {what}; `headwater log verify` lists all damage, and a backup restores it")]
    Damaged { place: String, what: String },
    /// A file without which RocksDB cannot say what belongs to the log: what is left cannot be told apart.
    #[error(
        "{place} cannot be opened, because a file that RocksDB needs is damaged or gone ({what}); neither `headwater log \
         verify` nor `headwater repair` can look into it: restore a backup with `headwater backup restore BACKUP --into \
         DIR`. Nothing was changed"
    )]
    StoreUnreadable { place: String, what: String },
    #[error("{place}: {what}")]
    Io { place: String, what: String },
}
