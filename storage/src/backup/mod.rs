//! Backups: a log as it was at one moment, in a folder or a tar archive, beside a manifest that names every file with
//! its check. Made while the node runs, from hard links; verified before anything of it is used; restored beside and
//! renamed. docs/file-format.md has the shapes.

mod archive;
mod bytes_on_disk;
mod create;
mod error;
mod extract;
mod folder;
mod frozen;
pub(crate) mod fuzz;
mod manifest;
mod names;
mod restore;
mod verify;
mod workplace;

use std::path::PathBuf;
use std::time::Duration;

use types::{History, Timestamp};

use crate::verify::VerifyReport;

pub(crate) use create::back_up_running;
pub use create::back_up_stopped;
pub use error::BackupError;
pub use restore::restore;
pub use verify::verify_backup;

/// How to make a backup.
#[derive(Clone, Copy, Debug)]
pub struct BackupOptions {
    /// The time that names it.
    pub now: Timestamp,
    /// Copy every file, also where a hard link would do: then no file is shared with the log or an earlier backup.
    pub copy: bool,
}

/// A backup that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupReport {
    pub path: PathBuf,
    pub partitions: u32,
    /// Given to records so far, over all partitions: also those of records that are no longer kept.
    pub positions: u64,
    pub files: u64,
    pub bytes: u64,
    /// What was written anew; the rest are hard links.
    pub copied_bytes: u64,
    /// Segments that are quarantined: they are not served from a restored backup either. An earlier one may have them
    /// whole.
    pub quarantined: u64,
    pub elapsed: Duration,
}

/// A backup that was found whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupVerified {
    pub path: PathBuf,
    pub made: Timestamp,
    pub files: u64,
    pub bytes: u64,
    /// What the log's own verification read.
    pub log: VerifyReport,
}

/// A data directory that was made from a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    pub backup: PathBuf,
    pub directory: PathBuf,
    pub made: Timestamp,
    /// As in the report of the backup.
    pub positions: u64,
    pub bytes: u64,
    /// Segments that are quarantined in it, as they were when the backup was made.
    pub quarantined: u64,
    /// Places in which rows of state cannot be read, as it was then.
    pub damaged_rows: u64,
    /// The new history of each partition: cursors of before are refused.
    pub histories: Vec<History>,
}

/// Where a long piece of work is, for whoever watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// The log is being frozen: hard links are made.
    Freeze,
    /// A file is about to be written or read.
    File { number: u64, of: u64, name: &'a str },
    /// The log that the files make up is being verified.
    Verify,
    /// The result is about to get its name.
    Finish,
}

/// Told before each step.
pub type OnStep<'a> = &'a mut dyn FnMut(Step<'_>);
