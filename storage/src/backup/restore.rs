//! Makes a data directory from a backup: verified first, written beside, given a new history, and only then named.

use std::fs;
use std::path::{Path, PathBuf};

use super::bytes_on_disk::{copy_new, room_for};
use super::error::{BackupError, io_at};
use super::extract::extract;
use super::folder::read_manifest;
use super::manifest::Manifest;
use super::verify::{Place, locate, read_folder, verify_log};
use super::workplace::Workplace;
use super::{OnStep, Restored, Step};
use crate::format::{DataDirectory, sync_folder};
use crate::history;
use crate::verify::VerifyReport;

/// Restores a backup, the newest of a folder of backups, or an archive into `into`, where nothing may be, or an empty
/// folder. Begins a new history, drawn from the random number `history_seed`. Killed at any point it leaves nothing
/// under that name, and can simply be begun again.
pub fn restore(backup: &Path, into: &Path, history_seed: u32, on_step: OnStep<'_>) -> Result<Restored, BackupError> {
    refuse_existing(into)?;
    let place = locate(backup)?;
    let parent = into.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(io_at(parent))?;
    let beside = Workplace::begin(&beside(into)?)?;
    let (path, manifest) = match place {
        Place::Archive(archive) => {
            let manifest = extract(&archive, beside.path(), on_step)?;
            (archive, manifest)
        }
        Place::Folder(folder) => {
            let manifest = copy(&folder, beside.path(), on_step)?;
            (folder, manifest)
        }
    };
    on_step(Step::Verify);
    let VerifyReport { quarantined, of_rows, .. } = verify_log(&path, beside.path(), &manifest)?;
    on_step(Step::Finish);
    let histories = history::renew(&DataDirectory::new(beside.path()), history_seed)?;
    beside.finish(into)?;
    let (positions, bytes) = (manifest.positions(), manifest.bytes());
    Ok(Restored {
        backup: path,
        directory: into.to_owned(),
        made: manifest.made,
        positions,
        bytes,
        quarantined,
        damaged_rows: of_rows,
        histories,
    })
}

fn refuse_existing(into: &Path) -> Result<(), BackupError> {
    let empty = fs::read_dir(into).is_ok_and(|mut entries| entries.next().is_none());
    if fs::symlink_metadata(into).is_ok() && !empty {
        return Err(BackupError::Exists { path: into.to_owned() });
    }
    Ok(())
}

/// `data.restoring` beside `data`.
fn beside(into: &Path) -> Result<PathBuf, BackupError> {
    let Some(name) = into.file_name() else {
        let what = "it is no name of a data directory".to_owned();
        return Err(BackupError::Io { path: into.to_owned(), what });
    };
    let mut name = name.to_owned();
    name.push(".restoring");
    Ok(into.with_file_name(name))
}

fn copy(folder: &Path, into: &Path, on_step: OnStep<'_>) -> Result<Manifest, BackupError> {
    let manifest = read_manifest(folder)?;
    room_for(into, manifest.bytes())?;
    let log = into.join("log");
    fs::create_dir(&log).map_err(io_at(&log))?;
    let mut number = 0;
    read_folder(folder, &manifest, |entry, path| {
        number += 1;
        on_step(Step::File { number, of: manifest.files.len() as u64, name: &entry.name });
        copy_new(path, &into.join(&entry.name))
    })?;
    sync_folder(&log).and_then(|()| sync_folder(into)).map_err(io_at(into))?;
    Ok(manifest)
}
