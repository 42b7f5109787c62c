//! Mends at a start what cannot be mended while all is served, as `DAMAGED` asks for: a damaged table that was not
//! sorted yet is left out of a copy of the store, in which its family is made anew and all others are the same files.
//! The copy takes the store's place by its name, so that a stop at each moment leaves one of the two whole.
//!
//! State (rows) and what is known of the segments (meta) are mended in the same way, whatever the table: `state` says what
//! of them is kept. Where something is lost without which the log cannot be opened, the start is refused.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::parts::{self, Part};
use super::progress::Progress;
use super::replace::{Use, beside, clear_beside, replace};
use super::state::{self, Anew};
use super::{MendError, Stop, aside, note, room};
use crate::error::OpenError;
use crate::format::{DataDirectory, MADE_FOLDER, io_error, sync_folder};
use crate::keys::Family;
use crate::lost_rows::AllLost;
use crate::quarantine::Quarantined;
use crate::recovery::{self, unopened};
use crate::rocks::{RocksStore, Table, make_table, named_table};
use crate::store::{Batch, Store, StoreError};
use crate::upgrade::upgrade;

/// Where the copy is made, where it lies once it is whole, and where the store is that it replaces.
fn making(directory: &DataDirectory) -> PathBuf {
    directory.path.join("log.making")
}

fn made(directory: &DataDirectory) -> PathBuf {
    directory.path.join(MADE_FOLDER)
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
    // Nothing is mended without what is known of the segments. One that needs a copy of the store comes last: the others
    // are mended in place before.
    tables.sort_by_key(|table| (table.family != Family::Meta, !table.is_replaceable()));
    Ok(tables)
}

/// Whether a copy of the store was made, which has to take its place.
fn mend_table(directory: &DataDirectory, store: &RocksStore, table: &Table, stop: Stop<'_>) -> Result<bool, MendError> {
    match table.family {
        Family::Meta | Family::Rows => {
            let until = [&table.last[..], &[0]].concat();
            let damage = parts::damage_in(store, table.family, (&table.first, &until))?;
            if damage.is_some() {
                make(directory, store, table, stop)?;
            }
            Ok(damage.is_some())
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

pub(super) fn mark(store: &RocksStore, found: &Quarantined) -> Result<(), MendError> {
    let mut batch = Batch::default();
    batch.put(Family::Meta, &found.key().encode(), found.value());
    store.write(&batch)?;
    Ok(store.sync()?)
}

/// Makes a copy of the store in which the family of `table` holds all that can be read without it, and what can be read
/// of it.
fn make(directory: &DataDirectory, store: &RocksStore, table: &Table, stop: Stop<'_>) -> Result<(), MendError> {
    let family = table.family;
    remove(&making(directory))?;
    remove(&made(directory))?;
    let bytes = store.tables(family)?.iter().map(|table| table.bytes).sum();
    room(&directory.path, bytes)?;
    store.checkpoint(&making(directory))?;
    stop("copied")?;
    let mut copy = RocksStore::open_still(&making(directory))?;
    copy.renew(family)?;
    stop("emptied")?;
    let mut others = store.tables(family)?;
    others.retain(|other| other.name != table.name);
    clear_beside(directory)?;
    let others = store.of_tables(&beside(directory), family, &others)?;
    stop("set apart")?;
    let filling = Filling { directory, store, others: &others, copy: &copy, table, bytes };
    let mut damaged = vec![table.name.clone()];
    match family {
        Family::Log | Family::Index => filling.segments(&mut damaged)?,
        Family::Rows => filling.rows()?,
        Family::Meta => state::copy_meta(store, &copy)?,
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

/// A copy whose family is empty.
struct Filling<'a> {
    directory: &'a DataDirectory,
    store: &'a RocksStore,
    /// The store without the damaged table.
    others: &'a RocksStore,
    copy: &'a RocksStore,
    table: &'a Table,
    /// Of the family, before.
    bytes: u64,
}

impl Filling<'_> {
    /// Where the table is damaged it hides what other tables have between the keys before and behind the damage: that is
    /// filled in from them.
    fn segments(&self, damaged: &mut Vec<String>) -> Result<(), MendError> {
        let family = self.table.family;
        let all = parts::all(self.store, family)?;
        let mut progress = Progress::begin(self.table, "segments", all.len(), self.bytes);
        for part in all {
            let (damage, bytes) = self.part(self.store, &part)?;
            progress.step(bytes);
            let Some(what) = damage else { continue };
            damaged.extend(named_table(&what));
            self.part(self.others, &part)?;
            if part.is_marked || !parts::is_whole(self.copy, family, &part)? {
                keep_account(self.copy, family, &part, &what)?;
            }
        }
        progress.end();
        Ok(())
    }

    /// Copies what can be read of a segment; the damage that was met, and how many bytes were copied.
    fn part(&self, from: &RocksStore, part: &Part) -> Result<(Option<String>, u64), StoreError> {
        let io = |error: io::Error| StoreError::Io(error.to_string());
        let (family, path) = (self.table.family, making(self.directory).join("part"));
        let (mut damage, mut bytes) = (None, 0);
        let some = make_table(family, &path, |table| {
            damage = parts::copy_part(from, family, (&part.from, &part.until), table)?.damage;
            bytes = table.bytes();
            Ok(())
        })?;
        if some {
            self.copy.take_in(family, std::slice::from_ref(&path))?;
            fs::remove_file(path).map_err(io)?;
        }
        Ok((damage, bytes))
    }

    fn rows(&self) -> Result<(), MendError> {
        let partitions = recovery::directory(self.store)?.partitions;
        let mut progress = Progress::begin(self.table, "partitions", partitions.get() as usize, self.bytes);
        for partition in partitions.partitions() {
            let mut anew = Anew::new(self.copy, Family::Rows);
            let rescued = state::copy_rows(self.store, self.others, partition, &mut anew)?;
            progress.step(anew.bytes);
            let ranges = rescued.lost.iter().count();
            if rescued.damaged > 0 || ranges > 0 {
                let (rows, damaged) = (rescued.rows, rescued.damaged);
                tracing::error!(%partition, rows, damaged, ranges,
                    "rows of state are damaged: what is needed of them is made again from the log, or set aside by name");
            }
            if ranges > 0 {
                let mut batch = Batch::default();
                AllLost::of_partition(self.copy, partition)?.with(rescued.lost).write(partition, &mut batch);
                self.copy.write(&batch)?;
            }
        }
        progress.end();
        Ok(())
    }
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
