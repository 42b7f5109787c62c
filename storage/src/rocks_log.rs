//! The log on RocksDB: opens a data directory, holds it to what was acknowledged, and serves it.

mod mending;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use types::{Durability, PartitionCount, PartitionId, Position, StreamOrdinal, Timestamp};

use crate::backup::{BackupError, BackupOptions, BackupReport, OnStep, back_up_running};
use crate::catalog::Catalog;
use crate::check::Checked;
use crate::commit::{CommitOptions, Committer, KeepWatermark, OnFatal};
use crate::error::{AppendError, OpenError, ReadError};
use crate::figures::{SegmentFigures, StoreFigures, segment_figures, store_figures};
use crate::format::{DataDirectory, DirectoryLock, Found, io_error};
use crate::group::{Pending, Writer};
use crate::keys::Family;
use crate::limits;
use crate::log::{AppendBatch, Log, OnDurable, PartitionBounds, StreamRead};
use crate::mend::{ask_next_start, finish_swap, mend_noted};
use crate::metrics::gauges::Gauges;
use crate::metrics::{Metrics, Registry};
use crate::partition_log::Policy;
use crate::quarantine::Quarantined;
use crate::queue::QueueBounds;
use crate::read::read;
use crate::read_stream::{is_recent, read_stream};
use crate::record::StoredRecord;
use crate::recovery::{Recovered, history, initial, recover, store_error, unopened};
use crate::retention::{self, DropError, Dropped, SegmentFacts, SegmentId, StreamExtent};
use crate::rocks::{RocksStore, is_damaged_table};
use crate::rows::{Met, Row, RowKey, RowKind, Rows};
use crate::salvage::Salvage;
use crate::space::{Reserve, Space};
use crate::store::Store;
use crate::upgrade::upgrade;
use crate::watermark::{self, Watermark, WatermarkFile};
use crate::{row_store, row_walk};

/// How to open a log. The defaults are meant for a node; tests make them small.
#[derive(Clone)]
pub struct Options {
    /// Of a directory that is made now; an existing one keeps its number.
    pub partitions: PartitionCount,
    /// A random number, from which histories are drawn, where new ones begin.
    pub history_seed: u32,
    /// When an append is acknowledged.
    pub durability: Durability,
    pub segment_bytes: u64,
    pub segment_ms: u64,
    /// Bytes of blocks, over all partitions, that one opening may have to read back.
    pub unsaved_bytes: u64,
    /// Recent blocks kept in memory for live readers, over all partitions.
    pub tail_bytes: usize,
    /// Files of the database open at once; it needs some 50 besides.
    pub open_files: u32,
    /// Appends that may wait or be in flight, and their bytes: beyond it `append` blocks.
    pub queue_batches: usize,
    pub queue_bytes: usize,
    /// At most this long after it became durable is a record covered by the commit watermark.
    pub watermark_ms: u64,
    /// Room on the disk that is kept back.
    pub reserve: Reserve,
    /// Told once when a write or sync failed: the node must stop.
    pub on_fatal: Option<OnFatal>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            partitions: PartitionCount::default(),
            history_seed: 0,
            durability: Durability::Commit,
            segment_bytes: limits::SEGMENT_BYTES,
            segment_ms: limits::SEGMENT_MS,
            unsaved_bytes: limits::UNSAVED_BYTES,
            tail_bytes: limits::TAIL_BYTES,
            open_files: limits::OPEN_FILES,
            queue_batches: limits::QUEUE_BATCHES,
            queue_bytes: limits::QUEUE_BYTES,
            watermark_ms: limits::WATERMARK_MS,
            reserve: Reserve::default(),
            on_fatal: None,
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").field("partitions", &self.partitions).finish_non_exhaustive()
    }
}

/// What an opening found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenReport {
    /// The directory was made now.
    pub created: bool,
    /// The last process that had it open stopped in order.
    pub clean: bool,
    /// How many times the directory was opened for writing, this time included.
    pub term: u32,
    /// A new history begins: the last process acknowledged under a relaxed durability and did not stop in order, so
    /// that acknowledged records may be missing. Cursors of the history before are refused.
    pub new_history: bool,
    /// What was written, never acknowledged unless the durability was relaxed, and is now gone. Blocks that were cut
    /// short are not among the records.
    pub torn_blocks: u64,
    pub torn_records: u64,
    /// Segments in which something is damaged: they are not read, the rest is.
    pub quarantined: u64,
    /// The earlier format that the directory had; it has the current one now.
    pub upgraded_from: Option<u32>,
    /// How much of the write-ahead log had to be read back.
    pub wal_bytes: u64,
    pub elapsed: Duration,
}

/// The log on RocksDB.
#[derive(Debug)]
pub struct RocksLog {
    catalog: Arc<Catalog>,
    store: Arc<RocksStore>,
    committer: Committer,
    space: Arc<Space>,
    durability: Durability,
    /// Held while segments are dropped.
    dropping: Mutex<()>,
    directory: DataDirectory,
    term: u32,
    /// One at a time.
    backing_up: Mutex<()>,
}

/// Keeps the watermark, and the lock as long as anything may be written.
struct Keeper {
    file: WatermarkFile,
    _lock: DirectoryLock,
}

impl KeepWatermark for Keeper {
    fn keep(&mut self, watermark: &Watermark) -> Result<(), String> {
        self.file.write(watermark).map_err(|error| error.to_string())
    }
}

impl RocksLog {
    /// Opens the data directory at `path`, making it if there is none. Refuses, and changes nothing that was kept,
    /// when something acknowledged is missing or damaged.
    pub fn open(path: &Path, options: &Options) -> Result<(Arc<Self>, OpenReport), OpenError> {
        let started = Instant::now();
        let directory = DataDirectory::new(path);
        directory.refuse_backup()?;
        let lock = directory.lock()?;
        let space = Arc::new(Space::new(path, options.reserve));
        space.make_room().map_err(|error| io_error(path, &error))?;
        let created = directory.look()? == Found::New;
        if created {
            create(&directory, options)?;
        }
        finish_swap(&directory).map_err(|error| io_error(path, &error))?;
        let (file, before) = open_watermark(&directory)?;
        if !before.clean {
            let io = |error| io_error(path, &error);
            // What they claim is looked at after a mend too.
            directory.keep_aside(&directory.wal_files().map_err(io)?.0).map_err(io)?;
        }
        let mending = mend_noted(&directory, &mut |_| Ok(()))?;
        let found = Existing::open(&directory, before, options.open_files)?;
        let lost = found.recovered.lost.clone();
        let report = OpenReport { created, ..found.report() };
        let upgraded_from = mending.or(upgrade(&directory)?);
        let (log, term) = found.serve(&directory, file, (lock, space), options)?;
        for lost in &lost {
            log.seal_and_quarantine(lost);
        }
        let quarantined = log.quarantined_segments();
        Ok((log, OpenReport { term, quarantined, upgraded_from, elapsed: started.elapsed(), ..report }))
    }

    /// What was counted since it was opened.
    pub fn metrics(&self) -> &Metrics {
        &self.catalog.metrics
    }

    /// The room on its disk. The log takes what it is given: its owner looks, and stops giving.
    pub fn space(&self) -> &Arc<Space> {
        &self.space
    }

    /// Shows all its figures in a registry. Fails when they are there already: one log a registry.
    pub fn register(&self, registry: &Registry) -> Result<(), String> {
        self.catalog.metrics.register(registry)?;
        let gauges = Gauges::new(&self.catalog, &self.store, self.durability);
        registry.register(Box::new(gauges)).map_err(|error| error.to_string())
    }

    /// Makes a backup of the log as it is now, while it is written to: everything that was acknowledged before the call
    /// is in it. `target` is a folder that gets one more backup, or a new file that ends in `.tar`. Takes as long as
    /// copying does; appends go on.
    pub fn back_up(
        &self,
        target: &Path,
        options: BackupOptions,
        on_step: OnStep<'_>,
    ) -> Result<BackupReport, BackupError> {
        let busy = |_| BackupError::Busy { path: target.to_owned() };
        let _one = self.backing_up.try_lock().map_err(busy)?;
        back_up_running(&self.directory, (&self.catalog, &self.store, self.term), target, options, on_step)
    }

    /// What is known of a partition's segments.
    pub fn segment_figures(&self, partition: PartitionId) -> Result<Vec<SegmentFigures>, OpenError> {
        segment_figures(&*self.store, partition)
    }

    /// What it takes on disk and in memory.
    pub fn store_figures(&self) -> StoreFigures {
        store_figures(&self.store, &self.directory)
    }

    /// How many segments are damaged and not read. Costs no look at the disk.
    pub fn quarantined_segments(&self) -> u64 {
        self.catalog.quarantined()
    }

    /// Whether no append waits or is in flight.
    pub fn is_idle(&self) -> bool {
        self.committer.is_idle()
    }
}

fn open_watermark(directory: &DataDirectory) -> Result<(WatermarkFile, Watermark), OpenError> {
    let path = directory.commit();
    let opened = WatermarkFile::open(&path).map_err(|error| io_error(&path, &error))?;
    opened.map_err(|damage| watermark::unbelievable(&path, &damage))
}

/// Makes an empty log. The directory is whole only once `finish` has renamed its `FORMAT` file.
fn create(directory: &DataDirectory, options: &Options) -> Result<(), OpenError> {
    directory.begin()?;
    let place = directory.log().display().to_string();
    let count = options.partitions.get() as usize;
    let store = RocksStore::create(&directory.log(), options.open_files, count).map_err(store_error(&place))?;
    let histories: Vec<_> =
        options.partitions.partitions().map(|partition| history(options.history_seed, partition)).collect();
    store.write(&initial(&histories)).and_then(|()| store.sync()).map_err(store_error(&place))?;
    let watermark = Watermark::initial(options.partitions, store.sequence());
    let path = directory.commit();
    WatermarkFile::create(&path, &watermark).map_err(|error| io_error(&path, &error))?;
    directory.finish()
}

/// A log that was opened and found whole, and not yet changed.
struct Existing {
    store: Arc<RocksStore>,
    watermark: Watermark,
    recovered: Recovered,
    wal_bytes: u64,
    torn_blocks: u64,
    torn_records: u64,
}

impl Existing {
    fn open(directory: &DataDirectory, watermark: Watermark, open_files: u32) -> Result<Self, OpenError> {
        let io = |error| io_error(&directory.path, &error);
        let (files, wal_bytes) = directory.wal_files().map_err(io)?;
        let salvage = if watermark.clean {
            Salvage::none(watermark.durable.len())
        } else {
            directory.keep_aside(&files).map_err(io)?;
            Salvage::scan(&directory.kept_aside().map_err(io)?, &watermark).map_err(io)?
        };
        let place = directory.log().display().to_string();
        let store = RocksStore::open(&directory.log(), open_files, watermark.durable.len());
        let store = Arc::new(store.map_err(unopened(&place))?);
        let recovered = recover(&*store, &watermark, &salvage)?;
        let end = |partition: PartitionId| recovered.views[partition.value() as usize].durable();
        let (blocks, records) = salvage.beyond(end);
        let (torn_blocks, torn_records) = (blocks + recovered.torn.blocks, records + recovered.torn.records);
        Ok(Self { store, watermark, recovered, wal_bytes, torn_blocks, torn_records })
    }

    fn report(&self) -> OpenReport {
        OpenReport {
            created: false,
            clean: self.watermark.clean,
            term: self.watermark.term,
            new_history: self.watermark.may_lack(),
            torn_blocks: self.torn_blocks,
            torn_records: self.torn_records,
            quarantined: self.recovered.quarantined.len() as u64,
            upgraded_from: None,
            wal_bytes: self.wal_bytes,
            elapsed: Duration::ZERO,
        }
    }

    /// Cuts off what is torn, begins a new term, and starts the threads.
    fn serve(
        self,
        directory: &DataDirectory,
        mut file: WatermarkFile,
        (lock, space): (DirectoryLock, Arc<Space>),
        options: &Options,
    ) -> Result<(Arc<RocksLog>, u32), OpenError> {
        let Self { store, mut watermark, mut recovered, .. } = self;
        if watermark.may_lack() {
            recovered.begin_history(options.history_seed);
        }
        let place = directory.path.display().to_string();
        store.write(&recovered.repairs).map_err(store_error(&place))?;
        let finished = retention::finish_drops(&*store, watermark.partitions())?;
        if finished > 0 {
            tracing::info!(finished, "segments that were being dropped when the node stopped are gone now");
        }
        store.sync().map_err(store_error(&place))?;
        watermark.clean = false;
        watermark.relaxed = options.durability.is_relaxed();
        watermark.term += 1;
        watermark.sequence = store.sequence();
        watermark.durable = recovered.views.iter().map(crate::catalog::PartitionView::durable).collect();
        file.write_both(&watermark).map_err(|error| io_error(&directory.commit(), &error))?;
        directory.clear_aside().map_err(|error| io_error(&directory.salvage(), &error))?;
        directory.clear_frozen().map_err(|error| io_error(&directory.frozen(), &error))?;
        let term = watermark.term;
        let shared: Arc<dyn Store> = store.clone();
        let metrics = Arc::new(Metrics::new());
        metrics.quarantined(recovered.quarantined.len());
        for Quarantined { segment, position, what } in &recovered.quarantined {
            let SegmentId { partition, class, number } = *segment;
            tracing::error!(%partition, chain = class.name(), segment = number, %position, what,
                "a segment is quarantined: its records are damaged and not served; restore a backup");
        }
        let catalog = Arc::new(Catalog::new(shared, metrics, recovered.views, options.tail_bytes));
        let writer = Writer::new(Arc::clone(&catalog), recovered.logs, term, policy(options, catalog.count()));
        let commit = CommitOptions {
            bounds: QueueBounds { batches: options.queue_batches, bytes: options.queue_bytes },
            watermark_every: Duration::from_millis(options.watermark_ms),
            durability: options.durability,
            on_fatal: Some(noting(directory, options.on_fatal.clone())),
        };
        let keeper = Box::new(Keeper { file, _lock: lock });
        let committer = Committer::start(Arc::clone(&catalog), writer, &watermark, keeper, commit)
            .map_err(|error| io_error(&directory.path, &error))?;
        let (durability, dropping, backing_up) = (options.durability, Mutex::new(()), Mutex::new(()));
        let directory = directory.clone();
        let log = RocksLog { catalog, store, committer, space, durability, dropping, directory, term, backing_up };
        Ok((Arc::new(log), term))
    }
}

/// What ended the log is noted where the next start can mend it.
fn noting(directory: &DataDirectory, then: Option<OnFatal>) -> OnFatal {
    let directory = directory.clone();
    Arc::new(move |cause| {
        if is_damaged_table(cause) {
            ask_next_start(&directory, cause);
        }
        if let Some(then) = &then {
            then(cause);
        }
    })
}

fn policy(options: &Options, partitions: PartitionCount) -> Policy {
    let share = options.unsaved_bytes / u64::from(partitions.get());
    // A test that asks for less than the usual least gets it.
    let least = limits::UNSAVED_BYTES_MIN.min(options.unsaved_bytes);
    let unsaved_bytes = share.clamp(least, limits::UNSAVED_BYTES_MAX);
    Policy { segment_bytes: options.segment_bytes, segment_ms: options.segment_ms, unsaved_bytes }
}

impl Log for RocksLog {
    fn partitions(&self) -> PartitionCount {
        self.catalog.count()
    }

    fn bounds(&self, partition: PartitionId) -> PartitionBounds {
        self.catalog.bounds(partition)
    }

    fn append(&self, batch: AppendBatch, on_durable: OnDurable) {
        self.committer.append(Pending::now(batch, on_durable));
    }

    fn read(
        &self,
        partition: PartitionId,
        from: Position,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<StoredRecord>, ReadError> {
        read(&self.catalog, partition, from, max_records, max_bytes)
    }

    fn read_stream(&self, request: StreamRead) -> Result<Vec<StoredRecord>, ReadError> {
        read_stream(&self.catalog, request)
    }

    fn is_recent(&self, request: &StreamRead) -> bool {
        is_recent(&self.catalog, request)
    }

    fn segments(&self, partition: PartitionId) -> Result<Vec<SegmentFacts>, ReadError> {
        retention::facts(&self.catalog, partition)
    }

    fn segment_streams(
        &self,
        segment: SegmentId,
        after: Option<StreamOrdinal>,
        limit: usize,
    ) -> Result<Vec<StreamExtent>, ReadError> {
        retention::streams(&self.catalog, segment, after, limit)
    }

    fn seal(&self, partition: PartitionId, now: Timestamp) {
        self.catalog.view(partition).ask_to_seal(now);
        // Another append may come first: it seals, and this one is then refused.
        let expected = self.catalog.view(partition).acknowledged();
        self.append(AppendBatch { partition, expected, records: Vec::new(), rows: Vec::new() }, Box::new(|_| ()));
    }

    fn drop_segments(&self, partition: PartitionId, segments: &[SegmentId]) -> Result<Dropped, DropError> {
        let _one_at_a_time = self.dropping.lock().unwrap_or_else(PoisonError::into_inner);
        let dropped = retention::drop_segments(&self.catalog, partition, segments);
        if let Err(DropError::Failed { cause }) = &dropped {
            self.committer.fail("segments could not be dropped", cause);
        }
        dropped
    }

    fn check_segment(&self, segment: SegmentId, pace: &mut dyn FnMut(usize) -> bool) -> Result<Checked, ReadError> {
        retention::check(&self.catalog, segment, pace)
    }

    fn quarantined(&self) -> Result<Vec<Quarantined>, ReadError> {
        retention::quarantined(&self.catalog)
    }

    fn seal_damaged(&self, partition: PartitionId) -> Result<usize, DropError> {
        self.seal_what_is_damaged(partition)
    }

    fn quarantine(&self, found: &Quarantined) -> Result<(), DropError> {
        let _one_at_a_time = self.dropping.lock().unwrap_or_else(PoisonError::into_inner);
        let marked = retention::quarantine(&self.catalog, found).and_then(|()| {
            self.take_out(Family::Log, found.segment)?;
            self.take_out(Family::Index, found.segment).map(|_| ())
        });
        if let Err(DropError::Failed { cause }) = &marked {
            self.committer.fail("a quarantine could not be written", cause);
        }
        self.catalog.metrics.quarantined(self.quarantined().map_or(0, |found| found.len()));
        marked
    }

    fn rebuild_index(&self, segment: SegmentId) -> Result<bool, DropError> {
        let _one_at_a_time = self.dropping.lock().unwrap_or_else(PoisonError::into_inner);
        let made = self.make_index(segment);
        if let Err(DropError::Failed { cause }) = &made {
            self.committer.fail("an index could not be written", cause);
        }
        made
    }

    fn close(&self) -> Result<(), AppendError> {
        self.committer.close()?;
        // Only to spare the next opening the work: all is durable already.
        if let Err(error) = self.store.flush() {
            tracing::warn!(%error, "the log could not be flushed at its close; the next start reads it back");
        }
        Ok(())
    }
}

impl Drop for RocksLog {
    fn drop(&mut self) {
        if let Err(error) = self.committer.close() {
            tracing::error!(%error, "the log could not be closed in order");
        }
    }
}

impl Rows for RocksLog {
    fn get(&self, partition: PartitionId, key: &RowKey) -> Result<Option<Row>, ReadError> {
        row_store::get(&self.catalog, partition, key)
    }

    fn scan(
        &self,
        partition: PartitionId,
        kind: RowKind,
        after: Option<&Bytes>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Row)>, ReadError> {
        row_store::scan(&self.catalog, partition, kind, after, limit)
    }

    fn scan_past_damage(
        &self,
        partition: PartitionId,
        kind: RowKind,
        after: Option<&Bytes>,
        limit: usize,
    ) -> Result<Vec<Met>, ReadError> {
        row_walk::scan_past_damage(&self.catalog, partition, kind, after, limit)
    }
}
