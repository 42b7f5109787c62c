//! Whether a sealed segment's files should be made its own, so that dropping it gives its bytes back at once: with 16
//! partitions whose segments grow side by side, four ways, each on a database of its own.
//!
//! *as they lie*: nothing is done at the seal · *compacted*: exactly the segment's range, at the seal · *ingested*: its
//! blocks are written to a file of its own, the old ones deleted as a range, the file taken in · *cut*: nothing is done
//! at the seal, but whenever RocksDB compacts, it begins another file with each segment.
//!
//! Then the segment is dropped: files in the range at once, the rest as a range. What follows from it is in ADR 0062.

#![expect(clippy::cast_precision_loss, reason = "figures for people")]

mod common;

use std::path::Path;
use std::time::{Duration, Instant};

use common::{Figure, Report};
use rocksdb::{
    BlockBasedOptions, BottommostLevelCompaction, ColumnFamily, ColumnFamilyDescriptor, CompactOptions, DB,
    DBCompressionType, IngestExternalFileOptions, Options, ReadOptions, SstFileWriter, WriteBatch,
};

const PARTITIONS: u32 = 16;
/// Segments that every partition fills, one after the other.
const SEGMENTS: u32 = 4;
const SEGMENT_BYTES: u64 = 8 * 1024 * 1024;
const BLOCK_BYTES: usize = 16 * 1024;
const FAMILY: &str = "log";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    AsTheyLie,
    Compacted,
    Ingested,
    Cut,
}

/// Another file begins where partition, class or segment change: these are the first 9 bytes of a key.
const CUT: &str = "sst_partitioner_factory={id=SstPartitionerFixedPrefixFactory;length=9}";

/// As the log's family is opened, with everything smaller by the same factor as the segments: 256 MiB to 8 MiB.
fn options(way: Way) -> Options {
    let mut options = Options::default();
    if way == Way::Cut {
        options = options.get_options_from_string(CUT).expect("this RocksDB knows it");
    }
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_max_background_jobs(2);
    options.set_write_buffer_size(512 * 1024);
    options.set_level_zero_file_num_compaction_trigger(8);
    options.set_level_zero_slowdown_writes_trigger(1 << 20);
    options.set_level_zero_stop_writes_trigger(1 << 20);
    options.set_max_bytes_for_level_base(16 * 1024 * 1024);
    options.set_target_file_size_base(2 * 1024 * 1024);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_bottommost_compression_type(DBCompressionType::Zstd);
    let mut table = BlockBasedOptions::default();
    table.set_block_size(64 * 1024);
    options.set_block_based_table_factory(&table);
    options.enable_statistics();
    options
}

fn key(partition: u32, segment: u32, block: u64) -> Vec<u8> {
    let mut key = partition.to_be_bytes().to_vec();
    key.push(2);
    key.extend_from_slice(&segment.to_be_bytes());
    key.extend_from_slice(&block.to_be_bytes());
    key
}

/// Half of it is noise, so that it compresses as events do.
fn block(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = vec![b'x'; BLOCK_BYTES];
    for chunk in bytes[..BLOCK_BYTES / 2].chunks_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        chunk.copy_from_slice(&state.to_le_bytes()[..chunk.len()]);
    }
    bytes
}

struct Sealed {
    took: Duration,
    /// What the seals wrote to the disk beside the data itself.
    written: u64,
}

struct Log {
    options: Options,
    database: DB,
}

impl Log {
    fn open(path: &Path, way: Way) -> Self {
        let options = options(way);
        let family = ColumnFamilyDescriptor::new(FAMILY, options.clone());
        let database = DB::open_cf_descriptors(&options, path, [family]).expect("it opens");
        Self { options, database }
    }

    fn family(&self) -> &ColumnFamily {
        self.database.cf_handle(FAMILY).expect("it was opened")
    }

    fn table_bytes(&self) -> u64 {
        self.database
            .property_int_value_cf(self.family(), "rocksdb.total-sst-files-size")
            .expect("it is known")
            .unwrap_or(0)
    }

    /// Waits until there is nothing to compact.
    fn rest(&self) {
        let busy = |name| self.database.property_int_value(name).expect("it is known").unwrap_or(0) > 0;
        while busy("rocksdb.compaction-pending") || busy("rocksdb.num-running-compactions") {
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn table_files(&self) -> usize {
        self.database.live_files().expect("they are known").len()
    }

    fn compaction_bytes(&self) -> u64 {
        use rocksdb::statistics::Ticker;
        self.options.get_ticker_count(Ticker::CompactWriteBytes)
    }

    /// All partitions, a block of each after the other, as group commits bring them; each segment sealed when full.
    fn fill(&self, folder: &Path, way: Way) -> Sealed {
        let blocks = SEGMENT_BYTES / BLOCK_BYTES as u64;
        let mut sealed = Sealed { took: Duration::ZERO, written: 0 };
        for segment in 1..=SEGMENTS {
            for number in 0..blocks {
                let mut batch = WriteBatch::default();
                for partition in 0..PARTITIONS {
                    let seed = u64::from(partition) << 40 | u64::from(segment) << 32 | number;
                    batch.put_cf(self.family(), key(partition, segment, number), block(seed));
                }
                self.database.write(batch).expect("it writes");
            }
            for partition in 0..PARTITIONS {
                let (began, before) = (Instant::now(), self.compaction_bytes());
                let ingested = self.seal(folder, way, partition, segment);
                sealed.took += began.elapsed();
                sealed.written += ingested + if way == Way::Compacted { self.compaction_bytes() - before } else { 0 };
            }
        }
        sealed
    }

    fn seal(&self, folder: &Path, way: Way, partition: u32, segment: u32) -> u64 {
        let (from, until) = (key(partition, segment, 0), key(partition, segment + 1, 0));
        match way {
            Way::AsTheyLie | Way::Cut => 0,
            Way::Compacted => {
                let mut options = CompactOptions::default();
                options.set_exclusive_manual_compaction(false);
                options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
                self.database.compact_range_cf_opt(self.family(), Some(&from), Some(&until), &options);
                0
            }
            Way::Ingested => {
                let file = folder.join(format!("{partition}-{segment}.sst"));
                let mut writer = SstFileWriter::create(&self.options);
                writer.open(&file).expect("it opens");
                let mut read = ReadOptions::default();
                read.set_iterate_upper_bound(until.clone());
                let mut blocks = self.database.raw_iterator_cf_opt(self.family(), read);
                blocks.seek(&from);
                while let Some((key, value)) = blocks.item() {
                    writer.put(key, value).expect("in order");
                    blocks.next();
                }
                writer.finish().expect("it writes");
                let bytes = std::fs::metadata(&file).expect("it is there").len();
                drop(blocks);
                self.database.delete_range_cf(self.family(), &from, &until).expect("it writes");
                let mut options = IngestExternalFileOptions::default();
                options.set_move_files(true);
                self.database.ingest_external_file_cf_opts(self.family(), &options, vec![file]).expect("it is taken");
                bytes
            }
        }
    }

    /// Drops the oldest segment of every partition: bytes of its files that are back at once, and how long it took.
    fn drop_oldest(&self) -> (u64, Duration) {
        let (before, began) = (self.table_bytes(), Instant::now());
        for partition in 0..PARTITIONS {
            let (from, until) = (key(partition, 1, 0), key(partition, 2, 0));
            self.database.delete_file_in_range_cf(self.family(), &from, &until).expect("it deletes");
            self.database.delete_range_cf(self.family(), &from, &until).expect("it deletes");
        }
        let took = began.elapsed();
        (before.saturating_sub(self.table_bytes()), took)
    }
}

fn main() {
    let mut report = Report::new("own-files");
    let ways = [Way::AsTheyLie, Way::Compacted, Way::Ingested, Way::Cut];
    for (way, case) in ways.into_iter().zip(["as they lie", "compacted", "ingested", "cut"]) {
        let folder = tempfile::tempdir().expect("a folder");
        let log = Log::open(&folder.path().join("db"), way);
        let began = Instant::now();
        let sealed = log.fill(folder.path(), way);
        let filled = began.elapsed();
        log.database.flush_cf(log.family()).expect("it writes");
        // What is being compacted is not given back at once. The oldest segment is seldom.
        log.rest();
        let (whole, files) = (log.table_bytes(), log.table_files());
        // What one segment of every partition takes, as far as they take the same.
        let oldest = whole / u64::from(SEGMENTS);
        let (back, took) = log.drop_oldest();
        let mut add = |figure: &str, value: f64, unit| {
            let (case, figure) = (case.to_owned(), figure.to_owned());
            report.add(Figure { case, figure, value, unit, limit: None, goal: None });
        };
        let mib = |bytes: u64| bytes as f64 / 1_048_576.0;
        add("fill, seals included", filled.as_secs_f64(), "s");
        add("seals alone", sealed.took.as_secs_f64(), "s");
        add("written by the seals", mib(sealed.written), "MiB");
        add("written by all compaction", mib(log.compaction_bytes()), "MiB");
        add("bytes of all files", mib(whole), "MiB");
        #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
        add("files", files as f64, "");
        add("back at once of the oldest", 100.0 * back as f64 / oldest as f64, "%");
        add("drop of 16 segments", took.as_secs_f64() * 1_000.0, "ms");
        let began = Instant::now();
        log.database.compact_range_cf(log.family(), Some(key(0, 1, 0)), Some(key(PARTITIONS, 0, 0)));
        add("back after compaction", 100.0 * whole.saturating_sub(log.table_bytes()) as f64 / oldest as f64, "%");
        add("that compaction", began.elapsed().as_secs_f64(), "s");
    }
    report.finish();
}
