//! The files in which RocksDB keeps what it holds: which there are, one made of chosen keys, one given up.

use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use rocksdb::{Cache, IngestExternalFileOptions, Options, SstFileWriter};

use super::{CACHE_BYTES, RocksStore, current, family_options, store_error};
use crate::keys::Family;
use crate::store::{Entry, StoreError};

/// How long, and how often, a compaction that runs is waited for: one rewrites a few tables of 64 MiB.
const COMPACTION_PAUSE: Duration = Duration::from_millis(20);
const COMPACTION_TRIES: u32 = 30_000;

/// A file of keys and values that never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) family: Family,
    /// Of the file, such as `000012.sst`.
    pub(crate) name: String,
    /// 0 for one that was not compacted yet.
    pub(crate) level: i32,
    pub(crate) first: Vec<u8>,
    /// The last key in it.
    pub(crate) last: Vec<u8>,
    pub(crate) bytes: u64,
}

impl Table {
    /// Whether a compaction has put it in order: only such a one can be given up by itself.
    pub(crate) const fn is_sorted(&self) -> bool {
        self.level > 0
    }

    /// Whether it can be replaced in place. Damage hides what other tables have between the keys before and behind it:
    /// in the log that must be of the same segment, which is quarantined; an index is made anew.
    pub(crate) fn is_replaceable(&self) -> bool {
        self.is_sorted() && (self.family == Family::Index || self.first.get(..9) == self.last.get(..9))
    }
}

/// The table that a sentence of RocksDB's speaks of, if it names one.
pub(crate) fn named_table(text: &str) -> Option<String> {
    let (before, _) = text.split_once(".sst")?;
    let digits = before.len() - before.trim_end_matches(|byte: char| byte.is_ascii_digit()).len();
    (digits > 0).then(|| format!("{}.sst", &before[before.len() - digits..]))
}

/// Whether a failure of a write comes from a damaged table that a compaction met: RocksDB writes nothing after that.
pub(crate) fn is_damaged_table(cause: &str) -> bool {
    cause.contains("Corruption: ")
}

/// A table that is being written: keys in order.
pub(crate) struct TableWriter<'a> {
    writer: SstFileWriter<'a>,
    entries: u64,
    bytes: u64,
}

impl TableWriter<'_> {
    /// Of all keys and values that were put into it.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn put(&mut self, (key, value): &Entry) -> Result<(), StoreError> {
        self.entries += 1;
        self.bytes += (key.len() + value.len()) as u64;
        self.writer.put(key, value).map_err(|error| store_error(&error))
    }

    /// The key is in its range, and nothing is there.
    pub(crate) fn nothing_at(&mut self, key: &[u8]) -> Result<(), StoreError> {
        self.entries += 1;
        self.writer.delete(key).map_err(|error| store_error(&error))
    }
}

impl RocksStore {
    /// All tables of a family.
    pub(crate) fn tables(&self, family: Family) -> Result<Vec<Table>, StoreError> {
        let files = self.database.live_files().map_err(|error| store_error(&error))?;
        let of_family = files.into_iter().filter(|file| file.column_family_name == family.name());
        let table = |file: rocksdb::LiveFile| Table {
            family,
            name: file.name.trim_start_matches('/').to_owned(),
            level: file.level,
            first: file.start_key.unwrap_or_default(),
            last: file.end_key.unwrap_or_default(),
            bytes: file.size as u64,
        };
        Ok(of_family.map(table).collect())
    }

    /// A store at `folder`, where nothing is, of some tables of one family of this one: hard links, put together by RocksDB's
    /// own repair. That passes tables by which were taken in, since nothing in them says whose they are; so they are taken in once
    /// more, above the others: only of the log and the index are there any, whose values are held against each other anyway.
    pub(crate) fn of_tables(&self, folder: &Path, family: Family, tables: &[Table]) -> Result<Self, StoreError> {
        let io = |error: std::io::Error| StoreError::Io(error.to_string());
        std::fs::create_dir(folder).map_err(io)?;
        for table in tables {
            std::fs::hard_link(self.database.path().join(&table.name), folder.join(&table.name)).map_err(io)?;
        }
        let mut options = super::database_options(crate::limits::OPEN_FILES);
        options.create_missing_column_families(true);
        options.create_if_missing(true);
        if !tables.is_empty() {
            rocksdb::DB::repair(&options, folder).map_err(|error| store_error(&error))?;
        }
        let families = super::families_with(usize::MAX, |options| options.set_disable_auto_compactions(true));
        let opened = families.and_then(|families| rocksdb::DB::open_cf_descriptors(&options, folder, families));
        let opened = opened.map(Self::over).map_err(|error| store_error(&error))?;
        let repaired = opened.tables(family)?;
        for table in tables.iter().filter(|table| !repaired.iter().any(|other| other.name == table.name)) {
            let again = folder.join(format!("again-{}", table.name));
            std::fs::hard_link(self.database.path().join(&table.name), &again).map_err(io)?;
            if let Err(error) = opened.take_in(family, std::slice::from_ref(&again)) {
                // What is missing because of it is met where it is looked for.
                tracing::error!(table = table.name, %error, "a table cannot be read apart from the others");
            }
            std::fs::remove_file(again).map_err(io)?;
        }
        Ok(opened)
    }

    /// From its return on nothing rewrites the family's tables, until `resume_compaction`.
    pub(crate) fn pause_compaction(&self, family: Family) -> Result<(), StoreError> {
        self.set_compaction(family, false)?;
        for _ in 0..COMPACTION_TRIES {
            let running = self.database.property_int_value("rocksdb.num-running-compactions");
            if running.map_err(|error| store_error(&error))?.unwrap_or(0) == 0 {
                return Ok(());
            }
            sleep(COMPACTION_PAUSE);
        }
        self.set_compaction(family, true)?;
        Err(StoreError::Io("a compaction did not come to its end within 10 minutes".to_owned()))
    }

    pub(crate) fn resume_compaction(&self, family: Family) -> Result<(), StoreError> {
        self.set_compaction(family, true)
    }

    fn set_compaction(&self, family: Family, on: bool) -> Result<(), StoreError> {
        let off = if on { "false" } else { "true" };
        let set = self.database.set_options_cf(self.family(family), &[("disable_auto_compactions", off)]);
        set.map_err(|error| store_error(&error))
    }

    /// Gives up sorted tables that hold nothing but keys of `first..=last`; those of level 0 stay. Durable when it
    /// returns.
    pub(crate) fn give_up(&self, family: Family, first: &[u8], last: &[u8]) -> Result<(), StoreError> {
        self.database.delete_file_in_range_cf(self.family(family), first, last).map_err(|error| store_error(&error))
    }

    /// Takes in tables that `make_table` made, above all that is there, all at once. Durable when it returns; the files
    /// stay where they are.
    pub(crate) fn take_in(&self, family: Family, tables: &[PathBuf]) -> Result<(), StoreError> {
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(false);
        let taken = self.database.ingest_external_file_cf_opts(self.family(family), &options, tables.to_vec());
        taken.map_err(|error| store_error(&error))
    }

    /// Empties a family, at once and for ever.
    pub(crate) fn renew(&mut self, family: Family) -> Result<(), StoreError> {
        let renewed = self.database.drop_cf(family.name()).and_then(|()| {
            let mut options = family_options(family, &Cache::new_lru_cache(CACHE_BYTES), usize::MAX)?;
            options.set_disable_auto_compactions(true);
            self.database.create_cf(family.name(), &options)
        });
        renewed.map_err(|error| store_error(&error))
    }

    /// The first key in `from..until` from which on all up to `until` can be read; `None` when the last cannot.
    pub(crate) fn readable_end(
        &self,
        family: Family,
        from: &[u8],
        until: &[u8],
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let mut iterator = self.database.raw_iterator_cf_opt(self.family(family), reading(from, until));
        iterator.seek_to_last();
        let mut first = None;
        loop {
            match current(&iterator) {
                Ok(Some((key, _))) => first = Some(key),
                Ok(None) | Err(StoreError::Corrupt(_)) => return Ok(first),
                Err(error @ StoreError::Io(_)) => return Err(error),
            }
            iterator.prev();
        }
    }
}

fn reading(from: &[u8], until: &[u8]) -> rocksdb::ReadOptions {
    let mut options = rocksdb::ReadOptions::default();
    options.fill_cache(false);
    options.set_verify_checksums(true);
    options.set_iterate_lower_bound(from);
    options.set_iterate_upper_bound(until);
    options
}

/// Makes a table of what `fill` puts into it, synced; `false` and no file when that is nothing.
pub(crate) fn make_table(
    family: Family,
    path: &Path,
    fill: impl FnOnce(&mut TableWriter<'_>) -> Result<(), StoreError>,
) -> Result<bool, StoreError> {
    let options: Options =
        family_options(family, &Cache::new_lru_cache(0), usize::MAX).map_err(|error| store_error(&error))?;
    let writer = SstFileWriter::create(&options);
    writer.open(path).map_err(|error| store_error(&error))?;
    let mut table = TableWriter { writer, entries: 0, bytes: 0 };
    fill(&mut table)?;
    if table.entries == 0 {
        // A table of nothing cannot be finished.
        drop(table);
        std::fs::remove_file(path).map_err(|error| StoreError::Io(error.to_string()))?;
        return Ok(false);
    }
    table.writer.finish().map_err(|error| store_error(&error))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_names_its_table() {
        let check = |text: &str, expect: Option<&str>| assert_eq!(named_table(text).as_deref(), expect, "{text}");
        check(
            "Corruption: block checksum mismatch: stored = 1 in /d/log/000012.sst offset 7 size 9",
            Some("000012.sst"),
        );
        check("Corruption: 7.sst is short", Some("7.sst"));
        check("Corruption: bad entry in block", None);
        check("x.sst", None);
    }
}
