//! A log that does not change while it is copied: that of a running node as hard links, that of a stopped one itself.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use types::PartitionCount;

use super::bytes_on_disk::room_for;
use super::error::{BackupError, io_at};
use super::manifest::Mark;
use super::names;
use crate::catalog::Catalog;
use crate::format::DataDirectory;
use crate::log::Log;
use crate::read_only::ReadOnlyLog;
use crate::recovery::store_error;
use crate::rocks::RocksStore;
use crate::watermark::{Watermark, WatermarkFile};

/// Freezing writes what is in memory to the disk of the log: below this much room it is not begun, because a log that
/// finds no room stops.
const ROOM_TO_FREEZE: u64 = 256 * 1024 * 1024;

/// What is copied.
#[derive(Debug)]
pub(super) struct Frozen {
    pub(super) directory: DataDirectory,
    pub(super) files: Vec<StoreFile>,
    /// Exactly where the frozen log ends.
    pub(super) watermark: Watermark,
    pub(super) marks: Vec<Mark>,
    /// Segments in which something is damaged: they are copied as they are.
    pub(super) quarantined: u64,
    _hold: Hold,
}

/// A file of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoreFile {
    /// In the backup: `log/…`.
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
}

/// What keeps it as it is.
#[derive(Debug)]
enum Hold {
    /// Links that are ours, removed at the end. Where that fails the next backup or start does it.
    Links(PathBuf),
    /// No node can start meanwhile.
    Locked(Option<File>),
}

impl Drop for Hold {
    fn drop(&mut self) {
        match self {
            Self::Links(path) => drop(fs::remove_dir_all(path)),
            Self::Locked(lock) => drop(lock.take()),
        }
    }
}

impl Frozen {
    /// Freezes the log that this process has open. What was acknowledged before the call is in it, and durable there
    /// whatever acknowledgements promise.
    pub(super) fn of_running(
        directory: &DataDirectory,
        catalog: &Catalog,
        store: &RocksStore,
        term: u32,
    ) -> Result<Self, BackupError> {
        room_for(&directory.path, ROOM_TO_FREEZE)?;
        let links = DataDirectory::new(&directory.frozen());
        directory.clear_frozen().map_err(io_at(&links.path))?;
        fs::create_dir(&links.path).map_err(io_at(&links.path))?;
        let hold = Hold::Links(links.path.clone());
        // Asked before the store: what is acknowledged now was written, so it is in what the store gives. No sync is
        // needed for that, and none is made: one that failed would have to stop the node.
        let durable = catalog.acknowledged();
        store.checkpoint(&links.log()).map_err(store_error(&links.path.display().to_string()))?;
        let claimed = Watermark { clean: false, relaxed: false, term, sequence: 0, durable };
        WatermarkFile::create(&links.commit(), &claimed).map_err(io_at(&links.commit()))?;
        links.write_format().map_err(io_at(&links.path))?;
        Self::look(links, hold)
    }

    /// Holds on to a directory that no node has open.
    pub(super) fn of_stopped(path: &Path) -> Result<Self, BackupError> {
        let directory = DataDirectory::new(path);
        let lock = directory.hold_still()?;
        Self::look(directory, Hold::Locked(lock))
    }

    /// Opens what is frozen as a node would, and so finds out where it ends and whether anything is missing.
    fn look(directory: DataDirectory, hold: Hold) -> Result<Self, BackupError> {
        let (log, report) = ReadOnlyLog::open(&directory.path)?;
        let count: PartitionCount = log.partitions();
        let bounds = || count.partitions().map(|partition| log.bounds(partition));
        let marks = bounds().map(|bounds| Mark { history: bounds.history, end: bounds.end }).collect();
        let durable = bounds().map(|bounds| bounds.end).collect();
        let (term, sequence) = (report.term, log.sequence());
        let watermark = Watermark { clean: true, relaxed: false, term, sequence, durable };
        drop(log);
        let files = store_files(&directory.log())?;
        Ok(Self { directory, files, watermark, marks, quarantined: report.quarantined, _hold: hold })
    }

    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

fn store_files(folder: &Path) -> Result<Vec<StoreFile>, BackupError> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(io_at(folder))? {
        let entry = entry.map_err(io_at(folder))?;
        if let Some(name) = entry.file_name().to_str().filter(|name| names::is_store_file(name)) {
            let bytes = entry.metadata().map_err(io_at(&entry.path()))?.len();
            files.push(StoreFile { name: names::of_store_file(name), path: entry.path(), bytes });
        }
    }
    files.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(files)
}
