//! Why a directory was not repartitioned. In every case the directory is as it was.

use std::io;
use std::path::{Path, PathBuf};

use storage::{OpenError, ReadError};
use thiserror::Error;
use types::{PartitionCount, PartitionId, Position};

use crate::partition::LaneError;

/// Fits "failed to repartition: …".
#[derive(Debug, Error)]
pub enum RepartitionError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("failed to read: {0}")]
    Read(#[from] ReadError),
    #[error(transparent)]
    Fold(#[from] LaneError),
    #[error("the directory has {partitions} partitions already", partitions = partitions.get())]
    AlreadySo { partitions: PartitionCount },
    /// The state of before the beginning is in rows alone, and a record cannot be given a new place among those that are
    /// gone.
    #[error(
        "partition {partition} no longer has all its records, because retention dropped some: only a whole log can be \
         spread anew; export its streams and import them into a new directory"
    )]
    Trimmed { partition: PartitionId },
    #[error(
        "the directory is damaged in {count} places ({first}); `headwater log verify` lists them, a backup mends them"
    )]
    Damaged { count: u64, first: String },
    /// A record says something that this version does not know, so it cannot be given a new place.
    #[error("partition {partition}, position {position}: {what}")]
    Record { partition: PartitionId, position: Position, what: String },
    #[error("partition {partition}: a row cannot be taken over: {what}")]
    Row { partition: PartitionId, what: String },
    #[error("the new directory cannot be written: {what}")]
    Write { what: String },
    /// A mistake of this program: nothing was exchanged.
    #[error("what was written is not what was read ({what}); the directory is as it was: please report this")]
    NotTheSame { what: String },
    #[error("{} is there already and is not the work of an earlier attempt: move it away", path.display())]
    InTheWay { path: PathBuf },
    #[error("{}: {what}", path.display())]
    Io { path: PathBuf, what: String },
}

impl RepartitionError {
    pub(super) fn io(path: &Path, error: &io::Error) -> Self {
        Self::Io { path: path.to_owned(), what: error.to_string() }
    }
}
