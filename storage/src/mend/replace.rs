//! Replaces one sorted table by a copy of what can be read of it, while all else goes on.
//!
//! 1. A copy of all readable keys in its range is written beside, synced.
//! 2. Segments that lost blocks are marked, synced.
//! 3. The copy is taken in above the table.
//! 4. Indexes that lost something are written anew, synced.
//! 5. The table gets a second name in `quarantined/`, and is given up.
//!
//! The copy's range is a little larger than the table's, so that giving up what lies within the table's leaves it. After
//! a stop before the last step the table is still there, and is met and replaced again.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use super::parts::{self, Part};
use super::{MendError, Stop, aside, room};
use crate::format::DataDirectory;
use crate::keys::Family;
use crate::quarantine::Quarantined;
use crate::rocks::{RocksStore, Table, make_table};
use crate::store::{Batch, Store, StoreError};

/// Whether anything else uses the store meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// All is served: a segment that takes records must be sealed first.
    Serving,
    /// Nobody else does: an index may be made anew whatever takes records.
    Alone,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Replaced {
    /// Segments that were marked; with `Alone` also such as take records, which the start seals.
    pub(crate) quarantined: u64,
    /// Indexes that were made anew.
    pub(crate) indexes: u64,
}

/// Where a copy is made.
pub(super) fn beside(directory: &DataDirectory) -> PathBuf {
    directory.path.join("mending")
}

pub(super) fn clear_beside(directory: &DataDirectory) -> std::io::Result<()> {
    match fs::remove_dir_all(beside(directory)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Replaces `table`, of the log or the index. Nothing may compact its family or drop segments meanwhile. `mark` makes a
/// quarantine durable.
pub(crate) fn replace(
    directory: &DataDirectory,
    store: &RocksStore,
    table: &Table,
    using: Use,
    mark: &mut dyn FnMut(&Quarantined) -> Result<(), MendError>,
    stop: Stop<'_>,
) -> Result<Replaced, MendError> {
    let parts = within(table, parts::all(store, table.family)?);
    bury_gaps(store, table, &parts)?;
    stop("buried")?;
    clear_beside(directory)?;
    let of_family = store.tables(table.family)?;
    let overlaps = |other: &&Table| other.first <= table.last && table.first <= other.last;
    room(&directory.path, of_family.iter().filter(overlaps).map(|table| table.bytes).sum())?;
    fs::create_dir(beside(directory))?;
    let path = beside(directory).join("copy.sst");
    let mut lost = Vec::new();
    make_table(table.family, &path, |copy| {
        for part in &parts {
            let (from, until) = clip(table, part);
            let lacks = parts::copy_part(store, table.family, (&from, &until), copy)?;
            lost.extend(lacks.damage.map(|what| (part, what)));
        }
        copy.nothing_at(&behind(&table.last))
    })?;
    let lost = really_lost(store, table.family, lost)?;
    if let Some((part, _)) = lost.iter().find(|(part, _)| part.is_active() && using == Use::Serving) {
        return Err(MendError::Active(part.id()));
    }
    stop("copied")?;
    let (mut replaced, mut anew) = (Replaced::default(), Vec::new());
    for (part, what) in lost.into_iter().filter(|(part, _)| !part.is_marked || table.family == Family::Index) {
        if table.family == Family::Index {
            match parts::index_of(store, part)? {
                Ok(batch) => anew.push(batch),
                Err(what) => mark_part(part, &what, mark, &mut replaced)?,
            }
        } else {
            mark_part(part, &what, mark, &mut replaced)?;
        }
    }
    stop("marked")?;
    store.take_in(table.family, &[path])?;
    stop("taken in")?;
    replaced.indexes = anew.len() as u64;
    for batch in anew {
        store.write(&batch)?;
    }
    store.sync()?;
    stop("indexed")?;
    let goes = store.tables(table.family)?.into_iter().filter(|other| is_given_up_with(table, other));
    aside::keep(directory, &goes.map(|table| table.name).collect::<Vec<_>>())?;
    stop("kept aside")?;
    store.give_up(table.family, &table.first, &table.last)?;
    clear_beside(directory)?;
    Ok(replaced)
}

/// Of the parts beside which damage was met, those that lack something.
fn really_lost<'a>(
    store: &RocksStore,
    family: Family,
    met: Vec<(&'a Part, String)>,
) -> Result<Vec<(&'a Part, String)>, StoreError> {
    let mut lost = Vec::new();
    for (part, what) in met {
        if part.is_marked || !parts::is_whole(store, family, part)? {
            lost.push((part, what));
        }
    }
    Ok(lost)
}

fn mark_part(
    part: &Part,
    what: &str,
    mark: &mut dyn FnMut(&Quarantined) -> Result<(), MendError>,
    replaced: &mut Replaced,
) -> Result<(), MendError> {
    replaced.quarantined += 1;
    mark(&part.mark(what))
}

/// Those that have keys in it.
fn within(table: &Table, parts: Vec<Part>) -> Vec<Part> {
    parts.into_iter().filter(|part| part.from <= table.last && part.until > table.first).collect()
}

fn is_given_up_with(table: &Table, other: &Table) -> bool {
    other.is_sorted() && table.first <= other.first && other.last <= table.last
}

/// The first key behind another one.
fn behind(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

/// A part's keys in the range of the table.
fn clip(table: &Table, part: &Part) -> (Vec<u8>, Vec<u8>) {
    let (from, until) = (&part.from, &part.until);
    (from.max(&table.first).clone(), until.min(&behind(&table.last)).clone())
}

/// Deletes what is of no segment that is kept: deletions that the table holds go with it, and what they hide, deeper
/// down, must not come back.
fn bury_gaps(store: &RocksStore, table: &Table, parts: &[Part]) -> Result<(), StoreError> {
    let (mut batch, mut from) = (Batch::default(), table.first.clone());
    let end = behind(&table.last);
    for part in parts {
        let (first, until) = clip(table, part);
        if from < first {
            batch.delete_range(table.family, &from, &first);
        }
        from = from.max(until);
    }
    if from < end {
        batch.delete_range(table.family, &from, &end);
    }
    if batch.is_empty() {
        return Ok(());
    }
    store.write(&batch)?;
    store.sync()
}
