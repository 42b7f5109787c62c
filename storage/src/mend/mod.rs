//! Takes damaged tables out of the store, so that no compaction comes to them: one that did would end every write.
//! What can still be read is copied beside, segments that lost something are quarantined, indexes are made again from
//! their blocks, and the damaged file is kept for a person in `quarantined/`.
//!
//! A sorted table is replaced while all is served (`replace`): its copy is taken in above it, then it is given up, so
//! that at each moment, and after a stop at each moment, all that can be read is there. The others are left out of a
//! copy of the store, at the next start (`anew`).

mod anew;
mod aside;
mod note;
mod parts;
mod progress;
mod replace;
mod state;

use std::path::Path;

use crate::error::OpenError;
use crate::format::DataDirectory;
use crate::keys::Family;
use crate::recovery::store_error;
use crate::retention::SegmentId;
use crate::rocks::{RocksStore, Table, named_table};
use crate::segment::Segment;
use crate::store::StoreError;

pub(crate) use anew::{finish_swap, mend_noted};
use note::note;
pub(crate) use replace::{Use, replace};

/// Why a table is still there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MendError {
    /// Something is lost in a segment that still takes records: it must be sealed first.
    Active(SegmentId),
    Store(StoreError),
    /// What is known of the segments cannot be read.
    Unreadable(String),
}

impl std::fmt::Display for MendError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Active(segment) => write!(f, "segment {} still takes records", segment.number),
            Self::Store(error) => error.fmt(f),
            Self::Unreadable(what) => f.write_str(what),
        }
    }
}

impl From<StoreError> for MendError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<OpenError> for MendError {
    fn from(error: OpenError) -> Self {
        Self::Unreadable(error.to_string())
    }
}

impl From<std::io::Error> for MendError {
    fn from(error: std::io::Error) -> Self {
        Self::Store(StoreError::Io(error.to_string()))
    }
}

impl MendError {
    /// As the reason why a directory is not opened.
    fn refusal(self, place: &str) -> OpenError {
        match self {
            Self::Store(error) => store_error(place)(error),
            Self::Active(_) | Self::Unreadable(_) => {
                OpenError::Damaged { place: place.to_owned(), what: self.to_string() }
            }
        }
    }
}

/// What is damaged among a segment's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Met {
    Nothing,
    /// A table that can be replaced while all is served.
    Sorted(Table),
    /// Another one, or nobody knows which: a sentence for the next start.
    ForTheNextStart(String),
}

/// Looks for damage among the keys of a segment.
pub(crate) fn meet(store: &RocksStore, family: Family, segment: &Segment) -> Result<Met, StoreError> {
    let (from, until) = if family == Family::Index { segment.index_range() } else { segment.log_range() };
    let Some(what) = parts::damage_in(store, family, (&from, &until))? else { return Ok(Met::Nothing) };
    let table = match named_table(&what) {
        Some(name) => store.tables(family)?.into_iter().find(|table| table.name == name),
        None => None,
    };
    Ok(table.filter(Table::is_replaceable).map_or(Met::ForTheNextStart(what), Met::Sorted))
}

/// Refuses when the disk has less than `needed` bytes for a copy.
fn room(path: &Path, needed: u64) -> Result<(), StoreError> {
    let found = rustix::fs::statvfs(path).map_err(|error| StoreError::Io(error.to_string()))?;
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    if free < needed {
        let (needed, free, path) = (in_mib(needed), in_mib(free), path.display());
        let what = format!(
            "a damaged table cannot be taken out: a copy of what can be read needs {needed} MiB, and {free} MiB are free in \
             {path}; make room there, then start again. Nothing was changed"
        );
        return Err(StoreError::Io(what));
    }
    Ok(())
}

/// Rounded up.
const fn in_mib(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

/// Asks for the mend of a damaged table at the next start.
pub(crate) fn ask_next_start(directory: &DataDirectory, what: &str) {
    match note(directory, what) {
        Ok(()) => tracing::error!(what, "a table is damaged; the next start takes it out of the log"),
        Err(error) => {
            tracing::error!(what, %error, "a table is damaged, and that could not be noted for the next start");
        }
    }
}

/// The last operation of a test that stops a mend there; a mend of a node has none.
pub(crate) type Stop<'a> = &'a mut dyn FnMut(&'static str) -> Result<(), StoreError>;

#[cfg(test)]
mod tests;
