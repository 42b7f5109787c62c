//! A folder of backups: one folder each, named after its time. A table that an earlier one has is linked, not copied.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use types::Timestamp;

use super::BackupOptions;
use super::bytes_on_disk::{check_of, copy_new, room_for, write_new};
use super::create::Keep;
use super::error::{BackupError, io_at};
use super::frozen::{Frozen, StoreFile};
use super::manifest::{Crc, FileEntry, MANIFEST_BYTES, Manifest};
use super::names;
use crate::format::sync_folder;

/// Held while a backup is being made into the folder.
const LOCK: &str = "LOCK";
/// What a backup is called until it is whole.
const UNFINISHED: &str = ".unfinished";
/// How much of the end of a table tells it from another one of the same number: its index, properties and checks.
const END_BYTES: u64 = 4 * 1024;

/// A backup that is being made.
#[derive(Debug)]
pub(super) struct Folder {
    root: PathBuf,
    name: String,
    /// The newest backup before this one, where it is of the same log.
    earlier: Option<(PathBuf, Manifest)>,
    copy: bool,
    _lock: File,
}

/// `2026-11-24T08-15-00.123Z`: sorts by time, and every file system takes it.
fn name(made: Timestamp) -> String {
    made.to_string().replace(':', "-")
}

/// Whether a folder's entry has such a name.
fn is_name(name: &str) -> bool {
    let pattern = "0000-00-00T00-00-00.000Z";
    let fits = |(is, wanted): (u8, u8)| if wanted == b'0' { is.is_ascii_digit() } else { is == wanted };
    name.len() == pattern.len() && name.bytes().zip(pattern.bytes()).all(fits)
}

impl Folder {
    pub(super) fn begin(root: &Path, frozen: &Frozen, options: BackupOptions) -> Result<Self, BackupError> {
        fs::create_dir_all(root).map_err(io_at(root))?;
        let lock = lock(root)?;
        let name = name(options.now);
        if root.join(&name).exists() {
            return Err(BackupError::Exists { path: root.join(&name) });
        }
        let histories = |manifest: &Manifest| manifest.partitions.iter().map(|mark| mark.history).collect::<Vec<_>>();
        let ours: Vec<_> = frozen.marks.iter().map(|mark| mark.history).collect();
        // Numbers of files mean the same only within one life of a log.
        let earlier = newest(root)?.and_then(|path| Some((path.clone(), read_manifest(&path).ok()?)));
        let earlier = earlier.filter(|(_, manifest)| !options.copy && histories(manifest) == ours);
        let unfinished = root.join(UNFINISHED);
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).map_err(io_at(&unfinished))?;
        }
        fs::create_dir_all(unfinished.join("log")).map_err(io_at(&unfinished))?;
        let folder = Self { root: root.to_owned(), name, earlier, copy: options.copy, _lock: lock };
        room_for(root, folder.bytes_to_write(frozen))?;
        Ok(folder)
    }

    /// Links across disks are not possible, so what cannot be linked to an earlier backup may have to be copied.
    fn bytes_to_write(&self, frozen: &Frozen) -> u64 {
        let same_disk = same_disk(&self.root, &frozen.directory.path) && !self.copy;
        let written = |file: &&StoreFile| !(names::is_table(&file.name) && (same_disk || self.earlier(file).is_some()));
        frozen.files.iter().filter(written).map(|file| file.bytes).sum()
    }

    /// The same table in the earlier backup.
    fn earlier(&self, file: &StoreFile) -> Option<(PathBuf, FileEntry)> {
        let (path, manifest) = self.earlier.as_ref()?;
        let entry = manifest.files.iter().find(|entry| entry.name == file.name && entry.bytes == file.bytes)?;
        let path = path.join(&entry.name);
        let alike = end_of(&path, file.bytes).ok()? == end_of(&file.path, file.bytes).ok()?;
        alike.then(|| (path, entry.clone()))
    }

    fn place(&self, name: &str) -> PathBuf {
        self.root.join(UNFINISHED).join(name)
    }
}

impl Keep for Folder {
    fn file(&mut self, file: &StoreFile) -> Result<(FileEntry, u64), BackupError> {
        let place = self.place(&file.name);
        let table = names::is_table(&file.name) && !self.copy;
        if table
            && let Some((earlier, entry)) = self.earlier(file)
            && fs::hard_link(&earlier, &place).is_ok()
        {
            return Ok((entry, 0));
        }
        let ((bytes, crc), copied) = if table && fs::hard_link(&file.path, &place).is_ok() {
            (check_of(&place)?, 0)
        } else {
            (copy_new(&file.path, &place)?, file.bytes)
        };
        Ok((FileEntry { name: file.name.clone(), bytes, crc32: Crc(crc) }, copied))
    }

    fn bytes(&mut self, name: &str, bytes: &[u8]) -> Result<(), BackupError> {
        let place = self.place(name);
        write_new(&place, |file| file.write_all(bytes).map_err(io_at(&place)))
    }

    fn finish(self: Box<Self>) -> Result<PathBuf, BackupError> {
        let (unfinished, path) = (self.root.join(UNFINISHED), self.root.join(&self.name));
        let named = sync_folder(&unfinished.join("log"))
            .and_then(|()| sync_folder(&unfinished))
            .and_then(|()| fs::rename(&unfinished, &path))
            .and_then(|()| sync_folder(&self.root));
        named.map_err(io_at(&path))?;
        Ok(path)
    }
}

fn lock(root: &Path) -> Result<File, BackupError> {
    let path = root.join(LOCK);
    let file = File::options().write(true).create(true).truncate(false).open(&path).map_err(io_at(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(BackupError::Busy { path: root.to_owned() }),
        Err(TryLockError::Error(error)) => Err(io_at(&path)(error)),
    }
}

fn same_disk(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let disk = |path: &Path| fs::metadata(path).map(|found| found.dev()).ok();
    disk(one).is_some() && disk(one) == disk(other)
}

fn end_of(path: &Path, bytes: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(bytes.saturating_sub(END_BYTES)))?;
    let mut end = Vec::new();
    file.take(END_BYTES).read_to_end(&mut end)?;
    Ok(end)
}

/// The newest backup in a folder of backups.
pub(super) fn newest(root: &Path) -> Result<Option<PathBuf>, BackupError> {
    let mut newest: Option<String> = None;
    for entry in fs::read_dir(root).map_err(io_at(root))? {
        let entry = entry.map_err(io_at(root))?;
        newest = newest.max(entry.file_name().to_str().filter(|name| is_name(name)).map(str::to_owned));
    }
    Ok(newest.map(|name| root.join(name)))
}

/// The manifest of the backup in a folder.
pub(super) fn read_manifest(backup: &Path) -> Result<Manifest, BackupError> {
    let path = backup.join(names::MANIFEST);
    let found = match fs::symlink_metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let what = format!("there is no {} in it", names::MANIFEST);
            return Err(BackupError::NotABackup { path: backup.to_owned(), what });
        }
        found => found.map_err(io_at(&path))?,
    };
    if !found.is_file() || found.len() > MANIFEST_BYTES {
        let what = format!("its {} is no file, or one of more than {MANIFEST_BYTES} bytes", names::MANIFEST);
        return Err(BackupError::Refused { path: backup.to_owned(), what });
    }
    Manifest::decode(backup, &fs::read(&path).map_err(io_at(&path))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_is_named_after_its_time() {
        let name = name(Timestamp::from_millis(1_795_493_220_123));
        assert_eq!(name, "2026-11-24T04-07-00.123Z");
        assert!(is_name(&name));
        assert!(!is_name("LOCK") && !is_name(UNFINISHED) && !is_name("2026-11-24T04:07:00.123Z"));
    }
}
