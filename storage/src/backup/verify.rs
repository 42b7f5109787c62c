//! Verifies a backup: nothing but what its manifest names, every check, and then the log that the files make up.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::bytes_on_disk::check_of;
use super::error::{BackupError, Damages, io_at};
use super::extract::extract;
use super::folder::{newest, read_manifest};
use super::manifest::{FileEntry, Manifest};
use super::workplace::Workplace;
use super::{BackupVerified, OnStep, Step, names};
use crate::format::DataDirectory;
use crate::verify::{VerifyReport, verify};
use crate::watermark;

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Folder(PathBuf),
    Archive(PathBuf),
}

/// A backup, or a folder of backups: then the newest.
pub(super) fn locate(path: &Path) -> Result<Place, BackupError> {
    let found = fs::metadata(path).map_err(io_at(path))?;
    if found.is_file() {
        return Ok(Place::Archive(path.to_owned()));
    }
    if path.join(names::MANIFEST).exists() {
        return Ok(Place::Folder(path.to_owned()));
    }
    let what = format!("there is no {} in it, and no backups", names::MANIFEST);
    newest(path)?.map(Place::Folder).ok_or_else(|| BackupError::NotABackup { path: path.to_owned(), what })
}

/// Reads all of a backup and compares it with what was written. `path` is a backup, a folder of backups (then the
/// newest is meant) or an archive. An archive is unpacked beside itself for as long as that takes.
pub fn verify_backup(path: &Path, on_step: OnStep<'_>) -> Result<BackupVerified, BackupError> {
    match locate(path)? {
        Place::Folder(folder) => {
            let manifest = read_manifest(&folder)?;
            let mut number = 0;
            read_folder(&folder, &manifest, |entry, path| {
                number += 1;
                on_step(Step::File { number, of: manifest.files.len() as u64, name: &entry.name });
                check_of(path)
            })?;
            on_step(Step::Verify);
            let log = verify_log(&folder, &folder, &manifest)?;
            Ok(verified(folder, &manifest, log))
        }
        Place::Archive(archive) => {
            let unpacked = Workplace::begin(&archive.with_extension("tar.verifying"))?;
            let manifest = extract(&archive, unpacked.path(), on_step)?;
            on_step(Step::Verify);
            let log = verify_log(&archive, unpacked.path(), &manifest)?;
            Ok(verified(archive, &manifest, log))
        }
    }
}

fn verified(path: PathBuf, manifest: &Manifest, log: VerifyReport) -> BackupVerified {
    let (files, bytes) = (manifest.files.len() as u64, manifest.bytes());
    BackupVerified { path, made: manifest.made, files, bytes, log }
}

/// Goes through the files of a backup; `read` gives the size and check of each. All that is wrong is named.
pub(super) fn read_folder(
    folder: &Path,
    manifest: &Manifest,
    mut read: impl FnMut(&FileEntry, &Path) -> Result<(u64, u32), BackupError>,
) -> Result<(), BackupError> {
    refuse_others(folder, manifest)?;
    let mut damages = Damages::default();
    for entry in &manifest.files {
        let path = folder.join(&entry.name);
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => damages.add(format!("{} is missing", entry.name)),
            Err(error) => return Err(io_at(&path)(error)),
            // Not read at all: a size that is wrong may be any size.
            Ok(found) if found.len() != entry.bytes => entry.compare((found.len(), 0), &mut damages),
            Ok(_) => match read(entry, &path) {
                Ok(is) => entry.compare(is, &mut damages),
                Err(BackupError::Io { path: failed, what }) if failed == path => {
                    damages.add(format!("{} cannot be read: {what}", entry.name));
                }
                Err(error) => return Err(error),
            },
        }
    }
    damages.none(folder)
}

/// Nothing may lie beside what the manifest names, and nothing may lead elsewhere.
fn refuse_others(folder: &Path, manifest: &Manifest) -> Result<(), BackupError> {
    let refused = |what: String| Err(BackupError::Refused { path: folder.to_owned(), what });
    for (place, prefix) in [(folder.to_owned(), ""), (folder.join("log"), "log/")] {
        for entry in fs::read_dir(&place).map_err(io_at(&place))? {
            let entry = entry.map_err(io_at(&place))?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            let kind = entry.file_type().map_err(io_at(&entry.path()))?;
            let named = name == names::MANIFEST || manifest.files.iter().any(|file| file.name == name);
            match (name == "log" && kind.is_dir(), named, kind.is_file()) {
                (true, ..) | (false, true, true) => {}
                (false, true, false) => return refused(format!("its {name} is no plain file")),
                (false, false, _) => {
                    return refused(format!("it holds {name:?}, which its {} does not name", names::MANIFEST));
                }
            }
        }
    }
    Ok(())
}

/// Verifies the log in `directory`, which came from the backup at `path`.
pub(super) fn verify_log(path: &Path, directory: &Path, manifest: &Manifest) -> Result<VerifyReport, BackupError> {
    let mut damages = Damages::default();
    let commit = DataDirectory::new(directory).commit();
    let ends: Vec<_> = manifest.partitions.iter().map(|mark| mark.end).collect();
    match watermark::read(&commit).map_err(io_at(&commit))? {
        Ok(watermark) if watermark.durable == ends => {}
        Ok(_) => damages.add(format!("{} and {} do not say the same", names::COMMIT, names::MANIFEST)),
        Err(damage) => damages.add(format!("{}: {damage}", names::COMMIT)),
    }
    let report = verify(directory)?;
    // What is quarantined was not served when the backup was made, and is not served from it; and its files are as they
    // were written, so rows that cannot be read could not be read then, and a node copes with them.
    let unknown = report.damages.iter().filter(|damage| !damage.quarantined && !damage.of_rows);
    let mut listed = 0;
    unknown.for_each(|damage| {
        listed += 1;
        damages.add(damage.to_string());
    });
    let more = report.damage_count - report.quarantined - report.of_rows - listed;
    if more > 0 {
        damages.add(format!("and {more} places more"));
    }
    damages.none(path)?;
    Ok(report)
}
