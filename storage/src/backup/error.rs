//! Why a backup was not made, not believed or not restored.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::error::OpenError;

/// Damaged files that are named; the rest are only counted.
pub(super) const DAMAGES_NAMED: usize = 100;

/// Fits "failed to back up: …". Nothing that was there before is changed by any of them.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BackupError {
    /// The log itself cannot be read as a whole.
    #[error("the log cannot be backed up: {0}")]
    Log(#[from] OpenError),
    /// Try again when the other one is done.
    #[error("another backup of this log, or into {}, is being made: try again when it is done", path.display())]
    Busy { path: PathBuf },
    #[error("{} is there already and is never overwritten: name another place", path.display())]
    Exists { path: PathBuf },
    #[error(
        "{} has {free} bytes of free space, but {needed} are needed: make room, or name a place on another disk",
        path.display()
    )]
    NoSpace { path: PathBuf, needed: u64, free: u64 },
    #[error("{} is not a backup of headwater: {what}", path.display())]
    NotABackup { path: PathBuf, what: String },
    #[error(
        "{} was made in backup format {found}, which needs headwater {needs} or later; this is headwater {}",
        path.display(),
        env!("CARGO_PKG_VERSION")
    )]
    NewerFormat { path: PathBuf, found: u32, needs: String },
    /// It holds something that no backup of headwater holds: somebody made or changed it with another program.
    #[error("{} is refused, nothing of it was used: {what}", path.display())]
    Refused { path: PathBuf, what: String },
    /// What is there is not what was written. `damages` has at most 100 sentences of `count`.
    #[error("{} is damaged in {count} places and nothing of it was used: {}", path.display(), damages.join("; "))]
    Damaged { path: PathBuf, damages: Vec<String>, count: u64 },
    #[error("{}: {what}", path.display())]
    Io { path: PathBuf, what: String },
}

pub(super) fn io_at(path: &Path) -> impl Fn(io::Error) -> BackupError {
    move |error| BackupError::Io { path: path.to_owned(), what: error.to_string() }
}

/// Damages as they are found.
#[derive(Debug, Default)]
pub(super) struct Damages {
    named: Vec<String>,
    count: u64,
}

impl Damages {
    pub(super) fn add(&mut self, what: String) {
        self.count += 1;
        if self.named.len() < DAMAGES_NAMED {
            self.named.push(what);
        }
    }

    /// `Err` when there were any in the backup at `path`.
    pub(super) fn none(self, path: &Path) -> Result<(), BackupError> {
        if self.count == 0 {
            return Ok(());
        }
        Err(BackupError::Damaged { path: path.to_owned(), damages: self.named, count: self.count })
    }
}
