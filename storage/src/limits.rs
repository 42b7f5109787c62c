//! Every bound of the log, with its reason.

use std::time::Duration;

/// A block holds at most this many bytes of records, unless a single record is larger: what a cold read of one event
/// costs, and what a warm one keeps alive.
pub const BLOCK_BYTES: usize = 64 * 1024;

/// A record's key, headers and payload together. The wire allows less; this protects the 32-bit lengths on disk.
pub const RECORD_BYTES: usize = 64 * 1024 * 1024;

/// Headers of one record: they are walked one by one.
pub const RECORD_HEADERS: usize = 64;

/// A row's id, as the port promises.
pub const ROW_ID_BYTES: usize = 1024;

/// Batches that may wait or be in flight, and their bytes: beyond it `append` blocks. Two syncs' worth at full load.
pub const QUEUE_BATCHES: usize = 16 * 1024;
pub const QUEUE_BYTES: usize = 64 * 1024 * 1024;

/// One group commit takes at most so many bytes, so that one write of a large backlog does not delay the first answer.
pub const GROUP_BYTES: usize = 4 * 1024 * 1024;

/// A sync is put off for so many appends that are queued and not yet written: without it those who were just answered,
/// and append again, would wait for two syncs. More than these are enough for a sync of their own.
pub const AWAITED_APPENDS: u64 = 512;

/// How long it is put off for them at most: a bound for a very busy machine, writing them takes far less.
pub const SYNC_PATIENCE: Duration = Duration::from_micros(300);

/// Files of the database open at once, of at most 64 MiB each: a log that has more opens and closes them as it reads.
pub const OPEN_FILES: u32 = 1024;

/// Recent blocks kept for live followers, for the whole node.
pub const TAIL_BYTES: usize = 16 * 1024 * 1024;

/// A segment is sealed at this size or this age: the unit that retention drops.
pub const SEGMENT_BYTES: u64 = 256 * 1024 * 1024;
pub const SEGMENT_MS: u64 = 3_600_000;

/// What one opening may have to read back, for the whole node: the blocks since the last checkpoint of each partition.
pub const UNSAVED_BYTES: u64 = 16 * 1024 * 1024;
/// A partition's share of it, whatever the number of partitions: below, checkpoints would cost more than the blocks.
pub const UNSAVED_BYTES_MIN: u64 = 64 * 1024;
pub const UNSAVED_BYTES_MAX: u64 = 1024 * 1024;

/// How far the commit watermark may lie behind what is durable, in time. Under load each write of it costs a sync.
pub const WATERMARK_MS: u64 = 100;

/// Damaged tables that are kept for a person, at 64 MiB each: 1 GiB.
pub const TABLES_KEPT_ASIDE: usize = 16;

/// Ranges of rows in a partition that are known to be lost: they are in memory, and each is looked at when a row is not
/// there. A damaged table has one a damaged block of 4 KiB; more than these are told as fewer, larger ones.
pub const LOST_ROWS: usize = 256;

/// Free bytes at which writing stops: what is in flight (64 MiB), full memtables (96 MiB) and a compaction that runs.
pub const FLOOR_BYTES: u64 = 256 * 1024 * 1024;
/// A file that only takes room, given back when the disk is full: an opening may have to write back a write-ahead log
/// of 48 MiB.
pub const BALLAST_BYTES: u64 = 64 * 1024 * 1024;
