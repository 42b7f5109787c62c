//! Mends at a start what cannot be mended while all is served, as `DAMAGED` asks for: a damaged table that was not
//! sorted yet is left out of a copy of the store, in which its family is made anew and all others are the same files.
//! The copy takes the store's place by its name, so that a stop at each moment leaves one of the two whole.
//!
//! State (rows) and what is known of the segments (meta) are not made from anything else: with a damaged table of these
//! the start is refused.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::parts::{self, Part};
use super::replace::{Use, beside, clear_beside, replace};
use super::{MendError, Stop, aside, note, room};
use crate::error::OpenError;
use crate::format::{DataDirectory, io_error, sync_folder};
use crate::keys::Family;
use crate::quarantine::Quarantined;
use crate::recovery::unopened;
use crate::rocks::{RocksStore, Table, make_table, named_table};
use crate::store::{Batch, Store, StoreError};
use crate::upgrade::upgrade;

/// Where the copy is made, where it lies once it is whole, and where the store is that it replaces.
fn making(directory: &DataDirectory) -> PathBuf {
    directory.path.join("log.making")
}

fn made(directory: &DataDirectory) -> PathBuf {
    directory.path.join("log.made")
}

fn replaced(directory: &DataDirectory) -> PathBuf {
    directory.path.join("log.replaced")
}

fn remove(path: &Path) -> io::Result<()> {
    if path.exists() { fs::remove_dir_all(path) } else { Ok(()) }
}

/// Finishes what a stop interrupted: a copy that is whole takes the store's place, and what else is left over goes.
pub(crate) fn finish_swap(directory: &DataDirectory) -> io::Result<()> {
    if made(directory).exists() {
        if directory.log().exists() {
            remove(&replaced(directory))?;
            fs::rename(directory.log(), replaced(directory))?;
            sync_folder(&directory.path)?;
        }
        fs::rename(made(directory), directory.log())?;
        sync_folder(&directory.path)?;
    }
    remove(&making(directory))?;
    remove(&replaced(directory))?;
    clear_beside(directory)
}

/// Mends all that `DAMAGED` names. Segments that lost something are marked, also such as take records: recovery does not
/// miss what they lost, and they are to be sealed before any record is added. Gives the earlier format that the directory had.
pub(crate) fn mend_noted(directory: &DataDirectory, stop: Stop<'_>) -> Result<Option<u32>, OpenError> {
    let place = directory.log().display().to_string();
    let notes = note::read(directory).map_err(|error| io_error(&directory.path, &error))?;
    if notes.is_empty() {
        return Ok(None);
    }
    let upgraded_from = upgrade(directory)?;
    let store = RocksStore::open_still(&directory.log()).map_err(unopened(&place))?;
    for table in noted_tables(&store, &notes).map_err(|error| error.refusal(&place))? {
        tracing::warn!(table = table.name, family = table.family.name(), "a damaged table is taken out of the log");
        let place = directory.log().join(&table.name).display().to_string();
        let is_made = mend_table(directory, &store, &table, stop).map_err(|error| error.refusal(&place))?;
        if is_made {
            break;
        }
    }
    drop(store);
    // Where a copy was made tables have other names in it: what else is damaged is met again.
    let done = finish_swap(directory).and_then(|()| note::clear(directory));
    done.map(|()| upgraded_from).map_err(|error| io_error(&directory.path, &error))
}

/// The tables that are still there, of those that sentences name; where one names none, all that are damaged.
fn noted_tables(store: &RocksStore, notes: &[String]) -> Result<Vec<Table>, MendError> {
    let mut names: Vec<String> = notes.iter().filter_map(|note| named_table(note)).collect();
    let mut tables = Vec::new();
    for family in Family::ALL {
        tables.extend(store.tables(family)?);
    }
    if names.len() < notes.len() {
        for table in &tables {
            let until = [&table.last[..], &[0]].concat();
            let damage = parts::damage_in(store, table.family, (&table.first, &until))?;
            names.extend(damage.and_then(|what| named_table(&what)));
        }
    }
    tables.retain(|table| names.contains(&table.name));
    // One that needs a copy of the store comes last: the others are mended in place before.
    tables.sort_by_key(|table| !table.is_replaceable());
    Ok(tables)
}

/// Whether a copy of the store was made, which has to take its place.
fn mend_table(directory: &DataDirectory, store: &RocksStore, table: &Table, stop: Stop<'_>) -> Result<bool, MendError> {
    match table.family {
        Family::Meta | Family::Rows => {
            let until = [&table.last[..], &[0]].concat();
            match parts::damage_in(store, table.family, (&table.first, &until))? {
                Some(what) => Err(MendError::Unreadable(format!(
                    "it holds {}, which is made from nothing else ({what})",
                    if table.family == Family::Rows {
                        "the state of runs and streams"
                    } else {
                        "what is known of segments"
                    }
                ))),
                None => Ok(false),
            }
        }
        Family::Log | Family::Index if table.is_replaceable() => {
            replace(directory, store, table, Use::Alone, &mut |found| mark(store, found), stop)?;
            Ok(false)
        }
        Family::Log | Family::Index => {
            make(directory, store, table, stop)?;
            Ok(true)
        }
    }
}

fn mark(store: &RocksStore, found: &Quarantined) -> Result<(), MendError> {
    let mut batch = Batch::default();
    batch.put(Family::Meta, &found.key().encode(), found.value());
    store.write(&batch)?;
    Ok(store.sync()?)
}

/// Makes a copy of the store in which the family of `table` holds all that can be read without it, and what can be read
/// of it: where it is damaged it hides what other tables have between the keys before and behind the damage.
fn make(directory: &DataDirectory, store: &RocksStore, table: &Table, stop: Stop<'_>) -> Result<(), MendError> {
    let family = table.family;
    remove(&making(directory))?;
    remove(&made(directory))?;
    room(&directory.path, store.tables(family)?.iter().map(|table| table.bytes).sum())?;
    store.checkpoint(&making(directory))?;
    stop("copied")?;
    let mut copy = RocksStore::open_still(&making(directory))?;
    copy.renew(family)?;
    stop("emptied")?;
    let mut others = store.tables(family)?;
    others.retain(|other| other.name != table.name);
    clear_beside(directory)?;
    let others = store.of_tables(&beside(directory), &others)?;
    stop("set apart")?;
    let mut damaged = vec![table.name.clone()];
    for part in parts::all(store, family)? {
        let Some(what) = copy_over(directory, store, &copy, family, &part)? else { continue };
        damaged.extend(named_table(&what));
        copy_over(directory, &others, &copy, family, &part)?;
        if part.is_marked || !parts::is_whole(&copy, family, &part)? {
            keep_account(&copy, family, &part, &what)?;
        }
    }
    drop(others);
    clear_beside(directory)?;
    stop("filled")?;
    copy.sync()?;
    copy.flush()?;
    drop(copy);
    sync_folder(&making(directory))?;
    aside::keep(directory, &damaged)?;
    fs::rename(making(directory), made(directory))?;
    sync_folder(&directory.path)?;
    stop("made").map_err(MendError::from)
}

/// What the segment lost in the copy: its index, which is made anew; or blocks, so that it is quarantined.
fn keep_account(copy: &RocksStore, family: Family, part: &Part, what: &str) -> Result<(), MendError> {
    let lost = if family == Family::Index {
        match parts::index_of(copy, part)? {
            Ok(batch) => return Ok(copy.write(&batch)?),
            Err(what) => part.mark(&what),
        }
    } else {
        part.mark(what)
    };
    if part.is_marked { Ok(()) } else { mark(copy, &lost) }
}

/// Copies what can be read of a segment; the damage that was met.
fn copy_over(
    directory: &DataDirectory,
    store: &RocksStore,
    copy: &RocksStore,
    family: Family,
    part: &Part,
) -> Result<Option<String>, StoreError> {
    let io = |error: io::Error| StoreError::Io(error.to_string());
    let path = making(directory).join("part");
    let mut damage = None;
    let some = make_table(family, &path, |table| {
        damage = parts::copy_part(store, family, (&part.from, &part.until), table)?.damage;
        Ok(())
    })?;
    if some {
        copy.take_in(family, std::slice::from_ref(&path))?;
        fs::remove_file(path).map_err(io)?;
    }
    Ok(damage)
}
