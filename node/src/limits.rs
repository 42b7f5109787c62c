//! The node's bounds, each with its reason.

use std::time::Duration;

/// Requests that wait for one partition: above this the asker is refused with a pause, which is the back pressure.
pub const MAILBOX: usize = 8_192;
/// Values in the requests that wait for one driver, in bytes: above this whoever brings more is refused with a pause.
pub const MAILBOX_BYTES: usize = 32 * 1024 * 1024;
/// Requests of one partition taken in one turn, so that its neighbours get theirs.
pub const REQUESTS_PER_TURN: usize = 1_024;
/// Bytes of records after which a batch is handed to the log.
pub const BATCH_BYTES: usize = 512 * 1024;
/// What a record costs besides its payload, for that count.
pub const RECORD_OVERHEAD_BYTES: usize = 48;
/// Records after which the rows that changed are written: what a recovery has to fold at most, for each partition.
/// Closed runs are held in memory until then, and up to as many records more.
pub const RECORDS_PER_CHECKPOINT: usize = 2_048;
/// Bytes of records after which they are written as well: what a recovery folds of large values is held in memory.
pub const BYTES_PER_CHECKPOINT: usize = 4 * 1024 * 1024;
/// Streams, producers and starts that a node keeps in memory over a checkpoint, with about 1 KiB each: shared out to its
/// partitions, of which each has some.
pub const ROWS_KEPT: usize = 65_536;
pub const ROWS_KEPT_LEAST: usize = 256;
/// What closed runs of a partition may hold in memory before a checkpoint is taken for their sake.
pub const CLOSED_BYTES: usize = 1024 * 1024;
/// What open runs of a partition may hold before idle ones are left to their rows, where no node says otherwise.
pub const OPEN_BYTES: usize = 16 * 1024 * 1024;
/// How often room is sought where open runs hold more than their share.
pub const SEEK_ROOM_MS: u64 = 1_000;
/// How long the timers of a run whose row cannot be read are put off.
pub const UNREADABLE_PAUSE_MS: u64 = 60_000;
/// How long a closed run waits for a checkpoint in a partition where little happens.
pub const CLOSED_KEPT_MS: u64 = 5_000;
/// Runs that a recovery names whose events it passes by, each in a line of its own.
pub const PASSED_RUNS_TOLD: usize = 20;
/// What a starter is told to wait when open runs hold all memory that they may.
pub const STATE_PAUSE_MS: u64 = 1_000;
/// Continuations of long derivations in one turn of a driver, so that its other partitions get theirs.
pub const CONTINUES_PER_TURN: usize = 4;
/// How long a stop waits for drivers to make durable what they took, and for the log to close.
pub const SETTLE: std::time::Duration = std::time::Duration::from_secs(30);
/// Rows read at once when a partition is brought back.
pub const ROWS_PER_SCAN: usize = 1_024;
/// How many rows at least, and from how many bytes on fewer are read the next time: rows of runs are of any size.
pub const LEAST_ROWS_PER_SCAN: usize = 8;
pub const ROW_BYTES_PER_SCAN: usize = 1024 * 1024;
/// Rows of runs read at once for a listing.
pub const ROWS_PER_LOOK: usize = 16;
/// Rows of runs, and their bytes, that one page of a listing looks at in each partition: a driver's time.
pub const LISTED_ROWS: usize = 256;
pub const LISTED_ROW_BYTES: usize = 4 * 1024 * 1024;
/// Inputs, outputs and errors in one page of a listing.
pub const LISTED_BYTES: usize = 2 * 1024 * 1024;
/// The least of them that one partition may bring.
pub const LISTED_LEAST_BYTES: usize = 64 * 1024;
/// Listings that are put together at a time; others wait.
pub const LISTINGS_AT_ONCE: usize = 2;
/// Records read at once when a partition is brought back: each page costs a search, and what was read beyond its end.
pub const RECORDS_PER_FOLD: usize = 16_384;
/// Bytes read at once when a partition is brought back.
pub const FOLD_BYTES: usize = 4 * 1024 * 1024;
/// Timers fired in one turn of a driver.
pub const TIMERS_PER_TURN: usize = 256;
/// Streams of a segment that retention asks a partition about at once: a row or two of each are read, some
/// milliseconds in all, during which the partition does nothing else.
pub const STREAMS_PER_TRIM: usize = 128;
/// How long a tenant's events in a segment are left alone after pinned readers held some of them back: each look costs
/// rows of every stream in it.
pub const PINNED_TRIM_MS: u64 = 60_000;
/// Closed runs that are looked at at once when they may be forgotten.
pub const RUNS_PER_FORGET: usize = 128;
/// The stack of a thread that evaluates expressions.
pub const DRIVER_STACK_BYTES: usize = 64 * 1024 * 1024;
/// Reads of the log that run at once, each on a thread of its own.
pub const READS_AT_ONCE: usize = 32;
/// Files of the log open at once, at most.
pub const LOG_FILES: u32 = storage::limits::OPEN_FILES;
/// Files kept for what is neither: the write-ahead log, files being written, the watermark, the doors, the operators'
/// connections, the runtime.
pub const RESERVED_FILES: u64 = 128;
/// With fewer a node would have no room for clients.
pub const LEAST_OPEN_FILES: u64 = 256;
/// Connections that are no sockets, besides the sockets.
pub const HTTP_CONNECTIONS: usize = 1_024;
/// Connections that the system keeps for us until they are accepted; it caps this by `net.core.somaxconn`, 4,096 as
/// a rule. One that finds no room tries again after a second.
pub const CONNECTIONS_NOT_ACCEPTED: u32 = 4_096;
/// Events at the tail of a stream, still in memory, that are read without another thread: about 100 µs.
pub const EVENTS_READ_ON_THE_SPOT: u64 = 64;
/// Streams whose heads are kept at hand before those that nobody follows are forgotten.
pub const FOLLOWED_STREAMS: usize = 16_384;
/// What an asker is told to wait when a partition's queue is full.
pub const MAILBOX_PAUSE_MS: u64 = 50;
/// What a starter is told to wait when too many steps wait for workers.
pub const QUEUE_PAUSE_MS: u64 = 1_000;
/// How often the room on the disk is looked at: five times in the second within which writing has to go on.
pub const DISK_LOOKS: Duration = Duration::from_millis(200);
/// What a writer is told to wait while the disk is full.
pub const DISK_FULL_PAUSE_MS: u64 = 1_000;
/// How long a driver sleeps at most while the disk is full.
pub const DISK_FULL_PATIENCE_MS: u64 = 100;
/// Attempts that the file of what was handed to workers may name before it is written anew: 1.8 MiB.
pub const HANDED_KEPT: usize = 65_536;
/// How long a worker that holds nothing may neither poll nor beat before it is forgotten.
pub const WORKER_SILENCE_MS: u64 = 60_000;
/// Memory for what all workers say about themselves: 50,000 of them with one queue and task each.
pub const WORKERS_BYTES: usize = 96 * 1024 * 1024;
/// What a worker is told to wait when there is no memory for it.
pub const WORKERS_PAUSE_MS: u64 = 5_000;
