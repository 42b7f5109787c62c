//! Moves bytes and checks them on the way.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use super::error::{BackupError, io_at};

/// Read and written at once.
const BUFFER_BYTES: usize = 1024 * 1024;

/// Copies all that `from` gives; says how many bytes there were and their check.
pub(super) fn pour(from: &mut impl Read, to: &mut impl Write) -> io::Result<(u64, u32)> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let (mut bytes, mut hasher) = (0, crc32fast::Hasher::new());
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => return Ok((bytes, hasher.finalize())),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(&buffer[..read]);
        to.write_all(&buffer[..read])?;
        bytes += read as u64;
    }
}

/// The size and check of a file.
pub(super) fn check_of(path: &Path) -> Result<(u64, u32), BackupError> {
    let mut file = File::open(path).map_err(io_at(path))?;
    pour(&mut file, &mut io::sink()).map_err(io_at(path))
}

/// A new file that must not be there yet, synced once `content` has written it.
pub(super) fn write_new<T>(
    path: &Path,
    content: impl FnOnce(&mut File) -> Result<T, BackupError>,
) -> Result<T, BackupError> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(io_at(path))?;
    let written = content(&mut file)?;
    file.sync_all().map_err(io_at(path))?;
    Ok(written)
}

/// Copies a file to a place where none is; the size and check of what was written.
pub(super) fn copy_new(from: &Path, to: &Path) -> Result<(u64, u32), BackupError> {
    let mut source = File::open(from).map_err(io_at(from))?;
    write_new(to, |file| pour(&mut source, file).map_err(io_at(to)))
}

/// Refuses when the disk of `path`, which exists, has less than `needed` bytes for us.
pub(super) fn room_for(path: &Path, needed: u64) -> Result<(), BackupError> {
    let found = rustix::fs::statvfs(path).map_err(|error| io_at(path)(error.into()))?;
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    if free < needed {
        return Err(BackupError::NoSpace { path: path.to_owned(), needed, free });
    }
    Ok(())
}
