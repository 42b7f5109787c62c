//! A backup as one tar archive (POSIX ustar): plain files, the manifest last. For another machine or an object store.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use tar::{Builder, EntryType, Header};
use types::Timestamp;

use super::bytes_on_disk::room_for;
use super::create::Keep;
use super::error::{BackupError, io_at};
use super::frozen::StoreFile;
use super::manifest::{Crc, FileEntry};
use crate::format::sync_folder;

/// What tar adds: a header and some padding a file. A guess that is far above it.
const OVERHEAD_BYTES: u64 = 16 * 1024 * 1024;

/// An archive that is being written under another name.
pub(super) struct Archive {
    path: PathBuf,
    unfinished: PathBuf,
    folder: PathBuf,
    made: Timestamp,
    tar: Builder<File>,
}

impl Archive {
    pub(super) fn begin(path: &Path, made: Timestamp, bytes: u64) -> Result<Self, BackupError> {
        if fs::symlink_metadata(path).is_ok() {
            return Err(BackupError::Exists { path: path.to_owned() });
        }
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder.to_owned(),
            Some(_) | None => PathBuf::from("."),
        };
        fs::create_dir_all(&folder).map_err(io_at(&folder))?;
        room_for(&folder, bytes.saturating_add(OVERHEAD_BYTES))?;
        let unfinished = path.with_extension("tar.unfinished");
        let file = File::options().write(true).create(true).truncate(false).open(&unfinished);
        let file = file.map_err(io_at(&unfinished))?;
        file.try_lock().map_err(|_| BackupError::Busy { path: path.to_owned() })?;
        file.set_len(0).map_err(io_at(&unfinished))?;
        Ok(Self { path: path.to_owned(), unfinished, folder, made, tar: Builder::new(file) })
    }

    fn append(&mut self, name: &str, bytes: u64, content: impl Read) -> Result<(), BackupError> {
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Regular);
        header.set_size(bytes);
        header.set_mode(0o600);
        header.set_mtime(self.made.as_millis() / 1000);
        self.tar.append_data(&mut header, name, content).map_err(io_at(&self.unfinished))
    }
}

/// Counts and checks what goes through it.
struct Checked<R> {
    inner: R,
    bytes: u64,
    hasher: crc32fast::Hasher,
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes += read as u64;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}

impl Keep for Archive {
    fn file(&mut self, file: &StoreFile) -> Result<(FileEntry, u64), BackupError> {
        let inner = File::open(&file.path).map_err(io_at(&file.path))?;
        let mut content = Checked { inner: inner.take(file.bytes), bytes: 0, hasher: crc32fast::Hasher::new() };
        self.append(&file.name, file.bytes, &mut content)?;
        if content.bytes != file.bytes {
            let what = format!("it has {} bytes, and had {} a moment ago", content.bytes, file.bytes);
            return Err(BackupError::Io { path: file.path.clone(), what });
        }
        let entry = FileEntry { name: file.name.clone(), bytes: file.bytes, crc32: Crc(content.hasher.finalize()) };
        Ok((entry, file.bytes))
    }

    fn bytes(&mut self, name: &str, bytes: &[u8]) -> Result<(), BackupError> {
        self.append(name, bytes.len() as u64, bytes)
    }

    fn finish(self: Box<Self>) -> Result<PathBuf, BackupError> {
        let Self { path, unfinished, folder, tar, .. } = *self;
        let mut file = tar.into_inner().map_err(io_at(&unfinished))?;
        file.flush().and_then(|()| file.sync_all()).map_err(io_at(&unfinished))?;
        if fs::symlink_metadata(&path).is_ok() {
            return Err(BackupError::Exists { path });
        }
        fs::rename(&unfinished, &path).and_then(|()| sync_folder(&folder)).map_err(io_at(&path))?;
        Ok(path)
    }
}
