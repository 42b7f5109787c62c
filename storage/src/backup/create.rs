//! Makes a backup of a frozen log: file by file, the manifest last, its name at the very end.

use std::path::Path;
use std::time::Instant;

use super::archive::Archive;
use super::error::BackupError;
use super::folder::Folder;
use super::frozen::{Frozen, StoreFile};
use super::manifest::{Crc, FileEntry, Manifest};
use super::{BackupOptions, BackupReport, OnStep, Step, names};
use crate::catalog::Catalog;
use crate::format::{DataDirectory, FORMAT};
use crate::rocks::RocksStore;
use crate::watermark;

/// Where a backup is written to: a folder of backups, or one archive.
pub(super) trait Keep {
    /// Takes a file of the store; says how many bytes of it were written anew.
    fn file(&mut self, file: &StoreFile) -> Result<(FileEntry, u64), BackupError>;
    /// Takes a small file.
    fn bytes(&mut self, name: &str, bytes: &[u8]) -> Result<(), BackupError>;
    /// Makes all of it durable, and only then gives it its name.
    fn finish(self: Box<Self>) -> Result<std::path::PathBuf, BackupError>;
}

/// Of the log that this process has open, while it is written to.
pub(crate) fn back_up_running(
    directory: &DataDirectory,
    (catalog, store, term): (&Catalog, &RocksStore, u32),
    target: &Path,
    options: BackupOptions,
    on_step: OnStep<'_>,
) -> Result<BackupReport, BackupError> {
    let started = Instant::now();
    on_step(Step::Freeze);
    let frozen = Frozen::of_running(directory, catalog, store, term)?;
    create(&frozen, target, options, on_step, started)
}

/// Of the data directory of a stopped node. It is not changed, and no node can start on it meanwhile. `target` is a
/// folder that gets one more backup, or a new file that ends in `.tar`.
pub fn back_up_stopped(
    directory: &Path,
    target: &Path,
    options: BackupOptions,
    on_step: OnStep<'_>,
) -> Result<BackupReport, BackupError> {
    let started = Instant::now();
    on_step(Step::Freeze);
    let frozen = Frozen::of_stopped(directory)?;
    create(&frozen, target, options, on_step, started)
}

fn create(
    frozen: &Frozen,
    target: &Path,
    options: BackupOptions,
    on_step: OnStep<'_>,
    started: Instant,
) -> Result<BackupReport, BackupError> {
    let mut keep: Box<dyn Keep> = if is_archive(target) {
        Box::new(Archive::begin(target, options.now, frozen.bytes())?)
    } else {
        Box::new(Folder::begin(target, frozen, options)?)
    };
    let (mut files, mut copied_bytes) = (Vec::new(), 0);
    let small = [
        (names::FORMAT, DataDirectory::format_text().into_bytes()),
        (names::COMMIT, watermark::whole_file(&frozen.watermark)),
    ];
    let of = (small.len() + frozen.files.len()) as u64;
    for (number, (name, bytes)) in (1..).zip(small) {
        on_step(Step::File { number, of, name });
        keep.bytes(name, &bytes)?;
        let size = bytes.len() as u64;
        files.push(FileEntry { name: name.to_owned(), bytes: size, crc32: Crc(crc32fast::hash(&bytes)) });
        copied_bytes += size;
    }
    for (number, file) in (files.len() as u64 + 1..).zip(&frozen.files) {
        on_step(Step::File { number, of, name: &file.name });
        let (entry, copied) = keep.file(file)?;
        files.push(entry);
        copied_bytes += copied;
    }
    let manifest = Manifest {
        made: options.now,
        by: env!("CARGO_PKG_VERSION").to_owned(),
        data_format: FORMAT,
        partitions: frozen.marks.clone(),
        files,
    };
    on_step(Step::Finish);
    keep.bytes(names::MANIFEST, &manifest.encode())?;
    let path = keep.finish()?;
    Ok(BackupReport {
        path,
        partitions: u32::try_from(manifest.partitions.len()).unwrap_or(u32::MAX),
        positions: manifest.positions(),
        files: manifest.files.len() as u64,
        bytes: manifest.bytes(),
        copied_bytes,
        quarantined: frozen.quarantined,
        elapsed: started.elapsed(),
    })
}

/// A file rather than a folder of files.
pub(super) fn is_archive(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "tar")
}
