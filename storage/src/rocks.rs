//! The store on RocksDB: the only file that names it. All iterators live here, because one over a damaged file just
//! ends: its status is asked whenever it is no longer valid.

mod damaged_block;
mod tables;

use std::fmt;
use std::path::Path;

use bytes::Bytes;
use rocksdb::checkpoint::Checkpoint;
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType, DBRawIterator,
    DBRecoveryMode, Error, ErrorKind, FlushOptions, InfoLogger, LogLevel, Options, ReadOptions, WriteBatch,
    WriteOptions,
};

use crate::keys::Family;
use crate::open_files;

use crate::store::{Batch, Change, DoubtedBlock, Entry, Scan, Store, StoreError};

pub(crate) use tables::{Table, TableWriter, is_damaged_table, make_table, named_table};

/// A full memtable becomes a file. Together with `MAX_WAL_BYTES` it bounds how much an opening has to read back, at
/// about 5 ms a MiB.
const MEMTABLE_BYTES: usize = 16 * 1024 * 1024;
const MAX_WAL_BYTES: u64 = 48 * 1024 * 1024;
/// All memtables of all families, so that a slow disk cannot fill the memory.
const ALL_MEMTABLES_BYTES: usize = 96 * 1024 * 1024;
/// Files of the write-ahead log kept for use again: a sync of blocks that were written before is faster by a third.
const RECYCLED_WALS: usize = 8;
/// Blocks of files and their indexes, for all families. Scans do not fill it.
const CACHE_BYTES: usize = 32 * 1024 * 1024;
/// Another file begins where partition, class or segment change, which are the first 9 bytes of a key: then a segment's
/// files hold nothing else, and damage in one is damage of one segment. ADR 0062, 0064.
const CUT_AT_SEGMENTS: &str = "sst_partitioner_factory={id=SstPartitionerFixedPrefixFactory;length=9}";
/// With more partitions than this a compaction would write many small files instead.
const CUT_UP_TO_PARTITIONS: usize = 64;
const READAHEAD_BYTES: usize = 2 * 1024 * 1024;
const READAHEAD_FROM_BYTES: usize = 64 * 1024;
/// Protects each key in memory and in cached blocks with 8 bytes of its own. The crate has no setters for these.
const PROTECTION: &str = "memtable_protection_bytes_per_key=8;block_protection_bytes_per_key=8";

pub(crate) struct RocksStore {
    database: DB,
    write: WriteOptions,
}

impl fmt::Debug for RocksStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RocksStore").field("path", &self.database.path()).finish_non_exhaustive()
    }
}

/// How RocksDB is doing, all families together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Health {
    /// How often it slowed down or stopped writes since it was opened.
    pub(crate) stalls: u64,
    /// 1 while it stops them.
    pub(crate) stopped: u64,
    /// What compaction has still to rewrite, an estimate.
    pub(crate) debt_bytes: u64,
    pub(crate) compactions: u64,
    pub(crate) flushes: u64,
    pub(crate) memtable_bytes: u64,
    /// Of all files but the write-ahead log.
    pub(crate) file_bytes: u64,
}

/// `total-delays: 1, total-stops: 2` among other counts.
fn stalls_in(text: &str) -> u64 {
    let count = |name: &str| {
        let rest = text.split_once(name)?.1.trim_start_matches([':', ' ']);
        let digits = rest.find(|digit: char| !digit.is_ascii_digit()).map_or(rest, |end| &rest[..end]);
        digits.parse::<u64>().ok()
    };
    ["total-delays", "total-stops"].into_iter().filter_map(count).sum()
}

fn store_error(error: &Error) -> StoreError {
    let what = error.to_string();
    #[expect(clippy::wildcard_enum_match_arm, reason = "a foreign enum: all but one kind are the disk's or ours")]
    match error.kind() {
        ErrorKind::Corruption => StoreError::Corrupt(what),
        _ => StoreError::Io(what),
    }
}

/// Of an opening: a file that is gone, or says that there is no database, is damage too.
fn open_error(error: &Error) -> StoreError {
    let what = error.to_string();
    #[expect(clippy::wildcard_enum_match_arm, reason = "a foreign enum: the other kinds are the disk's or ours")]
    match error.kind() {
        ErrorKind::Corruption | ErrorKind::InvalidArgument | ErrorKind::NotFound => StoreError::Corrupt(what),
        ErrorKind::IOError if what.contains("No such file or directory") => StoreError::Corrupt(what),
        _ => StoreError::Io(what),
    }
}

fn database_options(open_files: u32) -> Options {
    let mut options = Options::default();
    options.set_atomic_flush(true);
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    options.set_recycle_log_file_num(RECYCLED_WALS);
    options.set_max_total_wal_size(MAX_WAL_BYTES);
    options.set_db_write_buffer_size(ALL_MEMTABLES_BYTES);
    options.set_paranoid_checks(true);
    options.set_max_open_files(i32::try_from(open_files).unwrap_or(i32::MAX));
    options.set_max_background_jobs(2);
    options.set_bytes_per_sync(1024 * 1024);
    options.set_keep_log_file_num(4);
    options.set_max_log_file_size(4 * 1024 * 1024);
    options
}

fn family_options(family: Family, cache: &Cache, partitions: usize) -> Result<Options, Error> {
    let mut options = Options::default().get_options_from_string(PROTECTION)?;
    if matches!(family, Family::Log) && partitions <= CUT_UP_TO_PARTITIONS {
        options = options.get_options_from_string(CUT_AT_SEGMENTS)?;
    }
    options.set_write_buffer_size(MEMTABLE_BYTES);
    options.set_max_write_buffer_number(4);
    // We hold back appends ourselves: RocksDB must not slow them down behind our back.
    options.set_level_zero_slowdown_writes_trigger(1 << 20);
    options.set_level_zero_stop_writes_trigger(1 << 20);
    options.set_soft_pending_compaction_bytes_limit(0);
    options.set_hard_pending_compaction_bytes_limit(0);
    options.set_compression_type(DBCompressionType::Lz4);
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_cache_index_and_filter_blocks(true);
    match family {
        // A value is a block of up to 64 KiB already; compaction moves it rarely and in large steps. It stays in LZ4: Zstd
        // takes a tenth less room, and more of the processor than all else of an append, or of a replay (ADR 0066).
        Family::Log => {
            options.set_level_zero_file_num_compaction_trigger(8);
            options.set_max_bytes_for_level_base(512 * 1024 * 1024);
            options.set_target_file_size_base(64 * 1024 * 1024);
            table.set_block_size(64 * 1024);
        }
        Family::Index => options.set_bottommost_compression_type(DBCompressionType::Zstd),
        Family::Meta | Family::Rows => {
            // Which a damaged block can be taken apart of (`damaged_block`); and a filter says which keys such a block never had.
            options.set_bottommost_compression_type(DBCompressionType::Lz4);
            table.set_bloom_filter(10.0, false);
        }
    }
    options.set_block_based_table_factory(&table);
    Ok(options)
}

fn families(partitions: usize) -> Result<Vec<ColumnFamilyDescriptor>, Error> {
    families_with(partitions, |_| ())
}

fn families_with(partitions: usize, change: impl Fn(&mut Options)) -> Result<Vec<ColumnFamilyDescriptor>, Error> {
    let cache = Cache::new_lru_cache(CACHE_BYTES);
    let descriptor = |family: Family| {
        let mut options = family_options(family, &cache, partitions)?;
        change(&mut options);
        Ok(ColumnFamilyDescriptor::new(family.name(), options))
    };
    Family::ALL.into_iter().map(descriptor).collect()
}

impl RocksStore {
    /// Makes a database where there is none, for a log of so many partitions.
    pub(crate) fn create(path: &Path, open_files: u32, partitions: usize) -> Result<Self, StoreError> {
        let mut options = database_options(open_files);
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_error_if_exists(true);
        Self::open_with(&options, path, partitions)
    }

    pub(crate) fn open(path: &Path, open_files: u32, partitions: usize) -> Result<Self, StoreError> {
        Self::open_with(&database_options(open_files), path, partitions)
    }

    /// To be mended: nothing is compacted, so nothing comes to what is damaged by itself.
    pub(crate) fn open_still(path: &Path) -> Result<Self, StoreError> {
        let families = families_with(usize::MAX, |options| options.set_disable_auto_compactions(true));
        let options = database_options(crate::limits::OPEN_FILES);
        let opened = families.and_then(|families| DB::open_cf_descriptors(&options, path, families));
        opened.map(Self::over).map_err(|error| open_error(&error))
    }

    fn open_with(options: &Options, path: &Path, partitions: usize) -> Result<Self, StoreError> {
        let opened = families(partitions).and_then(|families| DB::open_cf_descriptors(options, path, families));
        opened.map(Self::over).map_err(|error| open_error(&error))
    }

    /// Changes nothing on the disk: what the write-ahead log holds is read into memory, and no diary is kept.
    pub(crate) fn open_read_only(path: &Path) -> Result<Self, StoreError> {
        let mut options = database_options(open_files::of_a_command());
        options.set_info_logger(InfoLogger::new_callback_logger(LogLevel::Fatal, |_, _| {}));
        // It compacts nothing, so the number of partitions is of no matter.
        let families = families(usize::MAX);
        let opened = families.and_then(|families| DB::open_cf_descriptors_read_only(&options, path, families, false));
        opened.map(Self::over).map_err(|error| open_error(&error))
    }

    fn over(database: DB) -> Self {
        let mut write = WriteOptions::default();
        write.set_sync(false);
        Self { database, write }
    }

    fn family(&self, family: Family) -> &ColumnFamily {
        self.database.cf_handle(family.name()).expect("all families were opened with the database")
    }

    /// Turns memtables into files, so that the next opening has nothing to read back.
    pub(crate) fn flush(&self) -> Result<(), StoreError> {
        let families = Family::ALL.map(|family| self.family(family));
        self.database.flush_cfs_opt(&families, &FlushOptions::default()).map_err(|error| store_error(&error))
    }

    /// A figure of the store's own about one family; 0 where it tells none.
    pub(crate) fn property(&self, family: Family, name: &str) -> u64 {
        self.database.property_int_value_cf(self.family(family), name).ok().flatten().unwrap_or(0)
    }

    /// Makes a second store at `path`, where nothing is, that stays as this one is now: of hard links where it can.
    /// What is in memory is written to files first.
    pub(crate) fn checkpoint(&self, path: &Path) -> Result<(), StoreError> {
        let made = Checkpoint::new(&self.database).and_then(|checkpoint| checkpoint.create_checkpoint(path));
        made.map_err(|error| store_error(&error))
    }

    /// How RocksDB is doing. A figure that it does not tell is 0.
    pub(crate) fn health(&self) -> Health {
        let whole = |name: &str| self.database.property_int_value(name).ok().flatten().unwrap_or(0);
        let sum = |name: &str| Family::ALL.into_iter().map(|family| self.property(family, name)).sum();
        let stalls = |family| {
            let text = self.database.property_value_cf(self.family(family), "rocksdb.cf-write-stall-stats");
            text.ok().flatten().map_or(0, |text| stalls_in(&text))
        };
        Health {
            stalls: Family::ALL.into_iter().map(stalls).sum(),
            stopped: whole("rocksdb.is-write-stopped"),
            debt_bytes: sum("rocksdb.estimate-pending-compaction-bytes"),
            compactions: whole("rocksdb.num-running-compactions"),
            flushes: whole("rocksdb.num-running-flushes"),
            memtable_bytes: sum("rocksdb.cur-size-all-mem-tables"),
            file_bytes: sum("rocksdb.total-sst-files-size"),
        }
    }

    fn iterator(
        &self,
        family: Family,
        from: &[u8],
        until: Option<&[u8]>,
        expect_bytes: usize,
        checked: bool,
    ) -> RocksScan<'_> {
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        options.set_verify_checksums(checked);
        if let Some(until) = until {
            options.set_iterate_upper_bound(until);
        }
        if expect_bytes >= READAHEAD_FROM_BYTES {
            options.set_readahead_size(expect_bytes.min(READAHEAD_BYTES));
        }
        let iterator = self.database.raw_iterator_cf_opt(self.family(family), options);
        RocksScan { iterator, seek: Some(from.to_vec()) }
    }
}

impl Store for RocksStore {
    fn write(&self, batch: &Batch) -> Result<(), StoreError> {
        let families = Family::ALL.map(|family| self.family(family));
        let mut write = WriteBatch::default();
        for change in batch.changes() {
            match change {
                Change::Put(family, key, value) => write.put_cf(families[*family as usize], key, value),
                Change::Delete(family, key) => write.delete_cf(families[*family as usize], key),
                Change::DeleteRange(family, from, until) => {
                    write.delete_range_cf(families[*family as usize], from, until);
                }
            }
        }
        self.database.write_opt(write, &self.write).map_err(|error| store_error(&error))
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.database.flush_wal(true).map_err(|error| store_error(&error))
    }

    fn sequence(&self) -> u64 {
        self.database.latest_sequence_number()
    }

    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let value = self.database.get_cf(self.family(family), key).map_err(|error| store_error(&error))?;
        Ok(value.map(Bytes::from))
    }

    fn scan<'a>(&'a self, family: Family, from: &[u8], until: &[u8], expect_bytes: usize) -> Box<dyn Scan + 'a> {
        Box::new(self.iterator(family, from, Some(until), expect_bytes, true))
    }

    fn doubted_block(&self, what: &str) -> Option<DoubtedBlock> {
        damaged_block::entries(self.database.path(), what)
    }

    fn scan_unchecked<'a>(&'a self, family: Family, from: &[u8], until: &[u8]) -> Box<dyn Scan + 'a> {
        Box::new(self.iterator(family, from, Some(until), 0, false))
    }

    fn drop_files(&self, family: Family, from: &[u8], until: &[u8]) -> Result<(), StoreError> {
        // The library takes the last key of the range as well; `until` is a key that no value has.
        self.database.delete_file_in_range_cf(self.family(family), from, until).map_err(|error| store_error(&error))
    }

    fn last(&self, family: Family, from: &[u8], until: &[u8]) -> Result<Option<Entry>, StoreError> {
        let mut iterator = self.database.raw_iterator_cf(self.family(family));
        iterator.seek_for_prev(until);
        let found = current(&iterator)?;
        Ok(found.filter(|(key, _)| &key[..] >= from))
    }
}

struct RocksScan<'a> {
    iterator: DBRawIterator<'a>,
    /// Where to begin, until it has begun.
    seek: Option<Vec<u8>>,
}

impl Scan for RocksScan<'_> {
    fn next(&mut self) -> Result<Option<Entry>, StoreError> {
        match self.seek.take() {
            Some(from) => self.iterator.seek(from),
            None if self.iterator.valid() => self.iterator.next(),
            None => {}
        }
        current(&self.iterator)
    }
}

/// What an iterator stands on; `None` only if it truly came to an end.
fn current(iterator: &DBRawIterator<'_>) -> Result<Option<Entry>, StoreError> {
    match iterator.item() {
        Some((key, value)) => Ok(Some((key.to_vec(), Bytes::copy_from_slice(value)))),
        None => iterator.status().map(|()| None).map_err(|error| store_error(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_tells_how_it_is_doing() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = RocksStore::create(&folder.path().join("log"), 64, 1).expect("made");
        let before = store.health();
        assert!(before.memtable_bytes > 0 && before.file_bytes == 0, "{before:?}");
        let mut batch = Batch::default();
        batch.put(Family::Meta, b"key", Bytes::from_static(b"value"));
        store.write(&batch).and_then(|()| store.flush()).expect("it works");
        assert!(store.health().file_bytes > 0);
        let text = store.database.property_value_cf(store.family(Family::Log), "rocksdb.cf-write-stall-stats");
        let text = text.expect("a property").expect("this version has it");
        assert!(text.contains("total-delays: 0") && text.contains("total-stops: 0"), "{text}");
    }

    /// Two partitions whose segments grow side by side.
    #[test]
    fn the_files_of_a_segment_are_its_own_after_a_compaction() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = RocksStore::create(&folder.path().join("log"), 64, 2).expect("made");
        let key = |partition: u32, segment: u32, base: u64| {
            let class = crate::record::RetentionClass::Run;
            let key = crate::keys::LogKey {
                partition: types::PartitionId::new(partition),
                class,
                segment,
                base: types::Position::new(base),
            };
            key.encode().to_vec()
        };
        for segment in 1..=2 {
            for base in 0..50 {
                let mut batch = Batch::default();
                (0..2).for_each(|partition| batch.put_block(&key(partition, segment, base), noise(base)));
                store.write(&batch).expect("it writes");
            }
            store.flush().expect("it writes");
        }
        let family = store.family(Family::Log);
        store.database.compact_range_cf(family, None::<&[u8]>, None::<&[u8]>);
        let before = store.property(Family::Log, "rocksdb.total-sst-files-size");
        store.drop_files(Family::Log, &key(0, 1, 0), &key(0, 2, 0)).expect("it drops");
        let after = store.property(Family::Log, "rocksdb.total-sst-files-size");
        assert!(after < before * 4 / 5 && after > before * 7 / 10, "a quarter of {before} is gone: {after}");
        let kept = store.get(Family::Log, &key(1, 1, 7)).expect("it reads");
        assert_eq!((store.get(Family::Log, &key(0, 1, 7)), kept), (Ok(None), Some(noise(7))));
    }

    fn noise(seed: u64) -> Bytes {
        let mut state = seed + 1;
        let mut byte = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state.to_be_bytes()[0]
        };
        (0..2_000).map(|_| byte()).collect()
    }

    #[test]
    fn stalls_are_counted() {
        assert_eq!(stalls_in("a-delays: 3, total-delays: 12, b-stops: 1, total-stops: 5, "), 17);
        assert_eq!(stalls_in("nothing of the kind"), 0);
    }
}
