//! The two directories and their names: the one that is served, and the one beside it. They are exchanged in one step of
//! the file system, so that at every moment a whole directory has the name.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde::{Deserialize, Serialize};
use types::{History, PartitionCount, Position};

use super::Repartitioned;
use super::error::RepartitionError;

/// In the new directory once it was verified, until all is done.
const VERIFIED: &str = "REPARTITION";

/// The names that are worked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Places {
    pub(super) directory: PathBuf,
    /// Where the new one is written, and where the old one is after the exchange.
    pub(super) beside: PathBuf,
    /// There while the one beside is being written: it is ours, and not whole.
    unfinished: PathBuf,
    parent: PathBuf,
}

/// What was found when it was verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) before: u32,
    pub(super) after: u32,
    pub(super) records: u64,
    pub(super) streams: u64,
    pub(super) runs: u64,
    /// Where each partition of the old directory ended: it must end there still.
    pub(super) ends: Vec<(History, Position)>,
}

/// What an earlier attempt left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Begun {
    Nothing,
    /// To be begun anew.
    Unfinished,
    /// Only the exchange is missing.
    Verified(Record),
    /// Only the old directory's last name is missing.
    Exchanged(Record),
}

impl Places {
    pub(super) fn of(directory: &Path) -> Result<Self, RepartitionError> {
        let directory = directory.canonicalize().map_err(|error| RepartitionError::io(directory, &error))?;
        let (Some(name), Some(parent)) = (directory.file_name(), directory.parent()) else {
            let what = "it is no name of a data directory".to_owned();
            return Err(RepartitionError::Io { path: directory, what });
        };
        let named = |ending: &str| {
            let mut name = name.to_owned();
            name.push(ending);
            directory.with_file_name(name)
        };
        let (beside, unfinished) = (named(".repartition"), named(".repartition.unfinished"));
        Ok(Self { beside, unfinished, parent: parent.to_owned(), directory })
    }

    /// The first name that no directory of before has, and the last one that one has.
    fn originals(&self) -> (PathBuf, PathBuf) {
        let name = |number: u32| {
            let mut name = self.directory.file_name().expect("`of` saw one").to_owned();
            name.push(format!(".before-{number}"));
            self.directory.with_file_name(name)
        };
        let mut free = 1;
        while fs::symlink_metadata(name(free)).is_ok() {
            free += 1;
        }
        (name(free), name((free - 1).max(1)))
    }
}

pub(super) fn begun(places: &Places) -> Result<Begun, RepartitionError> {
    if let Some(record) = read(&places.directory)? {
        return Ok(Begun::Exchanged(record));
    }
    if !places.beside.exists() {
        return Ok(Begun::Nothing);
    }
    if let Some(record) = read(&places.beside)? {
        return Ok(Begun::Verified(record));
    }
    if places.unfinished.exists() {
        return Ok(Begun::Unfinished);
    }
    Err(RepartitionError::InTheWay { path: places.beside.clone() })
}

fn read(directory: &Path) -> Result<Option<Record>, RepartitionError> {
    let path = directory.join(VERIFIED);
    match fs::read(&path) {
        Ok(bytes) => {
            let record = serde_json::from_slice(&bytes).map_err(io::Error::other);
            record.map(Some).map_err(|error| RepartitionError::io(&path, &error))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(RepartitionError::io(&path, &error)),
    }
}

/// Removes what an earlier attempt left beside.
pub(super) fn clear(places: &Places) -> Result<(), RepartitionError> {
    match fs::remove_dir_all(&places.beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(RepartitionError::io(&places.beside, &error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// From here on the folder beside is ours.
pub(super) fn begin(places: &Places) -> Result<(), RepartitionError> {
    let begun = File::create(&places.unfinished).and_then(|file| file.sync_all()).and_then(|()| sync(&places.parent));
    begun.map_err(|error| RepartitionError::io(&places.unfinished, &error))
}

/// Keeps that the new directory is whole. Written under another name first: it is there whole or not at all.
pub(super) fn verified(places: &Places, record: &Record) -> Result<(), RepartitionError> {
    let (path, beside) = (places.beside.join(VERIFIED), places.beside.join("REPARTITION.new"));
    let bytes = serde_json::to_vec(record).expect("a record has string keys");
    let kept = File::create(&beside)
        .and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&beside, &path))
        .and_then(|()| sync(&places.beside))
        .and_then(|()| fs::remove_file(&places.unfinished))
        .and_then(|()| sync(&places.parent));
    kept.map_err(|error| RepartitionError::io(&path, &error))
}

pub(super) fn exchange(places: &Places) -> Result<(), RepartitionError> {
    let exchanged = renameat_with(CWD, &places.beside, CWD, &places.directory, RenameFlags::EXCHANGE);
    exchanged
        .map_err(io::Error::from)
        .and_then(|()| sync(&places.parent))
        .map_err(|error| RepartitionError::io(&places.directory, &error))
}

/// Gives the directory of before its last name, and forgets that anything was under way.
pub(super) fn settle(places: &Places, record: &Record, resumed: bool) -> Result<Repartitioned, RepartitionError> {
    let io = |error| RepartitionError::io(&places.beside, &error);
    let (free, last) = places.originals();
    let original = if places.beside.exists() { free } else { last };
    if places.beside.exists() {
        fs::rename(&places.beside, &original).and_then(|()| sync(&places.parent)).map_err(io)?;
    }
    fs::remove_file(places.directory.join(VERIFIED)).and_then(|()| sync(&places.directory)).map_err(io)?;
    let count = |count| PartitionCount::new(count).unwrap_or_default();
    let Record { before, after, records, streams, runs, .. } = *record;
    Ok(Repartitioned { before: count(before), after: count(after), records, streams, runs, original, resumed })
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
