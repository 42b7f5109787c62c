//! Takes a tar archive apart. Only plain files with names that a backup has are accepted, so nothing can be written
//! outside of the folder it is meant for; the manifest at its end is held against what was found.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::Path;

use tar::{Archive, Entry, EntryType};

use super::bytes_on_disk::{pour, room_for, write_new};
use super::error::{BackupError, Damages, io_at};
use super::manifest::{Crc, FileEntry, MANIFEST_BYTES, Manifest};
use super::{OnStep, Step, names};
use crate::format::sync_folder;

/// Size and check of each file.
type Found = BTreeMap<String, (u64, u32)>;

/// Unpacks into the folder `into`, which exists; all of it is durable afterwards.
pub(super) fn extract(path: &Path, into: &Path, on_step: OnStep<'_>) -> Result<Manifest, BackupError> {
    let file = File::open(path).map_err(io_at(path))?;
    // Nothing in it is compressed, so it cannot grow by being unpacked.
    let most = file.metadata().map_err(io_at(path))?.len();
    room_for(into, most)?;
    fs::create_dir(into.join("log")).map_err(io_at(into))?;
    let manifest = unpack(BufReader::new(file), path, into, most, on_step)?;
    sync_folder(&into.join("log")).and_then(|()| sync_folder(into)).map_err(io_at(into))?;
    Ok(manifest)
}

/// Unpacks what the reader gives; `most` bounds what a file may claim.
pub(super) fn unpack(
    reader: impl Read,
    path: &Path,
    into: &Path,
    most: u64,
    on_step: OnStep<'_>,
) -> Result<Manifest, BackupError> {
    let mut archive = Archive::new(reader);
    // Raw: entries that only say something about the next one, such as a longer name or its holes, are met as they are.
    let entries = archive.entries().map_err(io_at(path))?.raw(true);
    let mut found = Found::new();
    let mut manifest = None;
    for (number, entry) in (1..).zip(entries) {
        let mut entry = entry.map_err(|error| cut(path, &found, &error))?;
        if manifest.is_some() {
            return Err(refused(path, format!("something follows its {}", names::MANIFEST)));
        }
        let name = name_of(&entry, &found, most).map_err(|what| refused(path, what))?;
        on_step(Step::File { number, of: 0, name: &name });
        if name == names::MANIFEST {
            manifest = Some(read_manifest(&mut entry, path)?);
            continue;
        }
        let place = into.join(&name);
        let size = entry.size();
        let (bytes, crc) = write_new(&place, |file| pour(&mut entry, file).map_err(|error| cut(path, &found, &error)))?;
        if bytes != size {
            return Err(cut(path, &found, &format!("{name} ends after {bytes} of {size} bytes")));
        }
        found.insert(name, (bytes, crc));
    }
    let manifest = manifest.ok_or_else(|| cut(path, &found, &format!("it ends before its {}", names::MANIFEST)))?;
    compare(path, &manifest, found)?;
    Ok(manifest)
}

fn refused(path: &Path, what: String) -> BackupError {
    BackupError::Refused { path: path.to_owned(), what }
}

/// Something that does not go on as an archive does: damage, unless nothing of it was one.
fn cut(path: &Path, found: &Found, what: &dyn std::fmt::Display) -> BackupError {
    let (path, what) = (path.to_owned(), what.to_string());
    if found.is_empty() {
        return BackupError::NotABackup { path, what };
    }
    BackupError::Damaged { path, damages: vec![what], count: 1 }
}

/// The name of an entry that may be here.
fn name_of<R: Read>(entry: &Entry<'_, R>, found: &Found, most: u64) -> Result<String, String> {
    let path = entry.path_bytes();
    let name = String::from_utf8_lossy(&path).into_owned();
    let kind = entry.header().entry_type();
    if kind != EntryType::Regular {
        return Err(format!("its entry {name:?} is no plain file, but of the type {kind:?}"));
    }
    if name != names::MANIFEST && !names::is_known(&name) {
        return Err(format!("its entry {name:?} is no file of a backup"));
    }
    if found.contains_key(&name) {
        return Err(format!("its entry {name} is there twice"));
    }
    let size = entry.size();
    if size > most || (name == names::MANIFEST && size > MANIFEST_BYTES) {
        return Err(format!("its entry {name} claims {size} bytes"));
    }
    Ok(name)
}

fn read_manifest<R: Read>(entry: &mut Entry<'_, R>, path: &Path) -> Result<Manifest, BackupError> {
    let size = entry.size();
    let mut bytes = Vec::new();
    entry.take(MANIFEST_BYTES).read_to_end(&mut bytes).map_err(io_at(path))?;
    if bytes.len() as u64 != size {
        let damages = vec![format!("{} ends after {} of {size} bytes", names::MANIFEST, bytes.len())];
        return Err(BackupError::Damaged { path: path.to_owned(), damages, count: 1 });
    }
    Manifest::decode(path, &bytes)
}

fn compare(path: &Path, manifest: &Manifest, mut found: Found) -> Result<(), BackupError> {
    let mut damages = Damages::default();
    for entry in &manifest.files {
        match found.remove(&entry.name) {
            None => damages.add(format!("{} is missing", entry.name)),
            Some(is) => entry.compare(is, &mut damages),
        }
    }
    if let Some(extra) = found.keys().next() {
        return Err(refused(path, format!("it holds {extra}, which its {} does not name", names::MANIFEST)));
    }
    damages.none(path)
}

impl FileEntry {
    /// Holds what was found to what was written.
    pub(super) fn compare(&self, (bytes, crc): (u64, u32), damages: &mut Damages) {
        let Self { name, bytes: wanted, crc32 } = self;
        if bytes != *wanted {
            damages.add(format!("{name} has {bytes} bytes instead of {wanted}"));
        } else if Crc(crc) != *crc32 {
            let (is, was) = (String::from(Crc(crc)), String::from(*crc32));
            damages.add(format!("the bytes of {name} give the check {is} instead of {was}"));
        }
    }
}
