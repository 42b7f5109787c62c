//! The simulated log: the same blocks, checks, recovery and reads as the real one, over a simulated disk that crashes,
//! tears, flips and fails on demand. Runs on the caller's thread, so that one seed replays it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use types::{History, PartitionCount, PartitionId, Position, StreamOrdinal, Timestamp};

use crate::catalog::Catalog;
use crate::check::Checked;
use crate::codec::Damage;
use crate::error::{AppendError, OpenError, ReadError};
use crate::group::{Pending, Waiting, Writer};
use crate::keys::{Family, LogKey};
use crate::limits;
use crate::log::{AppendBatch, Log, OnDurable, PartitionBounds, RETENTION_CLASSES, StreamRead};
use crate::metrics::Metrics;
use crate::partition_log::Policy;
use crate::quarantine::Quarantined;
use crate::read::read;
use crate::read_stream::{is_recent, read_stream};
use crate::record::StoredRecord;
use crate::recovery::{initial, recover};
use crate::retention::{self, DropError, Dropped, SegmentFacts, SegmentId, StreamExtent};
use crate::rows::{Met, Row, RowKey, RowKind, Rows};
use crate::salvage::Salvage;
use crate::simulated_disk::SimulatedDisk;
use crate::store::Store;
use crate::watermark::Watermark;
use crate::{row_store, row_walk};

/// What a crash leaves of the writes that were not yet synced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Survives {
    /// So many whole batches, oldest first.
    pub batches: usize,
    /// And so many bytes of the log blocks of the next one: a torn write.
    pub torn_bytes: usize,
}

/// How the simulated log behaves. The defaults make segments and checkpoints small, so that short tests meet them.
#[derive(Clone, Copy, Debug)]
pub struct MemoryOptions {
    /// Each append is durable, and its callback has run, before `append` returns.
    pub automatic: bool,
    pub segment_bytes: u64,
    pub segment_ms: u64,
    /// Bytes of blocks between two checkpoints of a partition.
    pub checkpoint_bytes: u64,
    /// Bytes of recent blocks kept for live readers.
    pub tail_bytes: usize,
}

impl Default for MemoryOptions {
    fn default() -> Self {
        Self {
            automatic: false,
            segment_bytes: 64 * 1024,
            segment_ms: limits::SEGMENT_MS,
            checkpoint_bytes: 8 * 1024,
            tail_bytes: 64 * 1024,
        }
    }
}

/// A log in memory. Appends are written at once and durable when `sync` is called, or at once in automatic mode.
/// Clones are the same log.
#[derive(Clone)]
pub struct MemoryLog {
    machine: Arc<Machine>,
    catalog: Arc<Catalog>,
    state: Arc<Mutex<State>>,
    options: MemoryOptions,
}

/// What outlives a crash.
#[derive(Debug)]
struct Machine {
    disk: Arc<SimulatedDisk>,
    watermark: Mutex<Watermark>,
}

struct State {
    writer: Writer,
    waiting: Vec<Waiting>,
    ends: Vec<(PartitionId, Position)>,
    /// Why nothing can be written any more.
    dead: Option<AppendError>,
}

impl fmt::Debug for MemoryLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryLog").field("durable", &self.catalog.durable()).finish_non_exhaustive()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MemoryLog {
    /// An empty log, all partitions with the same history, whose appends become durable when `sync` is called.
    pub fn new(partitions: PartitionCount, history: History) -> Self {
        Self::with_options(partitions, history, MemoryOptions::default())
    }

    /// An empty log whose appends are durable, and acknowledged, before `append` returns.
    pub fn automatic(partitions: PartitionCount, history: History) -> Self {
        Self::with_options(partitions, history, MemoryOptions { automatic: true, ..MemoryOptions::default() })
    }

    pub fn with_options(partitions: PartitionCount, history: History, options: MemoryOptions) -> Self {
        let disk = SimulatedDisk::default();
        disk.write(&initial(&vec![history; partitions.get() as usize])).expect("a new disk has room");
        disk.sync().expect("a new disk syncs");
        let watermark = Mutex::new(Watermark::initial(partitions, disk.sequence()));
        let machine = Arc::new(Machine { disk: Arc::new(disk), watermark });
        Self::open(machine, options).expect("an empty log opens")
    }

    fn open(machine: Arc<Machine>, options: MemoryOptions) -> Result<Self, OpenError> {
        let mut watermark = locked(&machine.watermark);
        let recovered = recover(&*machine.disk, &watermark, &Salvage::none(watermark.durable.len()))?;
        machine.disk.write(&recovered.repairs).map_err(crate::recovery::store_error("the log"))?;
        retention::finish_drops(&*machine.disk, watermark.partitions())?;
        machine.disk.sync().map_err(crate::recovery::store_error("the log"))?;
        let store: Arc<dyn Store> = machine.disk.clone();
        let catalog = Catalog::new(store, Arc::new(Metrics::new()), recovered.views, options.tail_bytes);
        watermark.clean = false;
        watermark.term += 1;
        let policy = Policy {
            segment_bytes: options.segment_bytes,
            segment_ms: options.segment_ms,
            unsaved_bytes: options.checkpoint_bytes,
        };
        let catalog = Arc::new(catalog);
        let writer = Writer::new(Arc::clone(&catalog), recovered.logs, watermark.term, policy);
        let state = Mutex::new(State { writer, waiting: Vec::new(), ends: Vec::new(), dead: None });
        drop(watermark);
        let log = Self { machine, catalog, state: Arc::new(state), options };
        for lost in &recovered.lost {
            log.seal(lost.segment.partition, Timestamp::from_millis(u64::MAX));
            log.sync();
            let quarantined = log.quarantine(lost);
            quarantined.map_err(|error| crate::recovery::damaged("the log")(Damage(error.to_string())))?;
        }
        Ok(log)
    }

    /// Makes durable all that was appended and runs the callbacks, in order. Returns how many batches were waiting.
    pub fn sync(&self) -> usize {
        let mut state = locked(&self.state);
        let waiting = std::mem::take(&mut state.waiting);
        let ends = std::mem::take(&mut state.ends);
        if let (None, Err(error)) = (&state.dead, self.machine.disk.sync()) {
            state.dead = Some(AppendError::OutcomeUnknown { cause: error.to_string() });
        }
        let dead = state.dead.clone();
        if dead.is_none() {
            for (partition, end) in ends {
                self.catalog.set_durable(partition, end);
            }
            let mut watermark = locked(&self.machine.watermark);
            watermark.durable = self.catalog.durable();
            watermark.sequence = self.machine.disk.sequence();
        }
        // The callbacks may append again.
        drop(state);
        let count = waiting.len();
        for one in waiting {
            match &dead {
                None => one.durable(),
                Some(error) => one.failed(error.clone()),
            }
        }
        count
    }

    /// How many batches wait for `sync`.
    pub fn unsynced(&self) -> usize {
        locked(&self.state).waiting.len()
    }

    /// The next sync fails: all that wait get `OutcomeUnknown`, and the log is dead until `reopen`.
    pub fn fail_next_sync(&self) {
        self.machine.disk.fail_next_sync();
    }

    /// While full, every write fails, and a failed write ends the log as a failed sync does.
    pub fn set_full(&self, full: bool) {
        self.machine.disk.set_full(full);
    }

    /// The disk does so many more writes, syncs and removals of files; then all fail until a `crash`.
    pub fn stop_disk_after(&self, operations: usize) {
        self.machine.disk.stop_after(operations);
    }

    /// The machine stops: this handle is dead, callbacks that wait never run, and of what was not synced `survives` is
    /// left on the disk for `reopen` to find.
    pub fn crash(&self, survives: Survives) {
        let mut state = locked(&self.state);
        state.dead = Some(AppendError::OutcomeUnknown { cause: "the simulated machine crashed".to_owned() });
        let never_told = std::mem::take(&mut state.waiting);
        self.machine.disk.crash(survives);
        drop(state);
        drop(never_told);
    }

    /// Flips one bit of the durable block that holds `position`; `bit` wraps around its length. `false`: there is no
    /// such block. Live readers may still have the block in memory; a reopened log does not.
    pub fn flip_bit(&self, partition: PartitionId, position: Position, bit: usize) -> bool {
        self.key_of(partition, position).is_some_and(|key| self.machine.disk.flip_bit(Family::Log, &key.encode(), bit))
    }

    /// Flips one bit of a durable row, as `flip_bit` does. `false`: there is no such row.
    pub fn flip_row_bit(&self, partition: PartitionId, key: &RowKey, bit: usize) -> bool {
        self.machine.disk.flip_bit(Family::Rows, &crate::keys::row_key(partition, key), bit)
    }

    fn key_of(&self, partition: PartitionId, position: Position) -> Option<LogKey> {
        RETENTION_CLASSES.into_iter().find_map(|class| {
            let from = LogKey::chain_start(partition, class).encode();
            let until = LogKey::chain_end(partition, class).encode();
            let mut scan = self.machine.disk.scan(Family::Log, &from, &until, 0);
            while let Ok(Some((key, value))) = scan.next() {
                let key = LogKey::decode(&key).ok()?;
                let block = crate::block::Block::decode(&key, value).ok()?;
                let index = block.first_at(position).ok()?;
                if index < block.count() && block.position(index) == Ok(position) {
                    return Some(key);
                }
            }
            None
        })
    }

    /// Starts anew over what is on the disk: this handle is dead. What was not synced and did not survive a `crash` is
    /// lost.
    pub fn reopen(&self) -> Result<Self, OpenError> {
        if !matches!(locked(&self.state).dead, Some(AppendError::Closed)) {
            self.crash(Survives::default());
        }
        Self::open(Arc::clone(&self.machine), self.options)
    }

    /// Writes a batch, or says who is to be told at once.
    fn write(&self, pending: Pending) -> Vec<(OnDurable, AppendError)> {
        let mut state = locked(&self.state);
        if let Some(dead) = &state.dead {
            return vec![(pending.on_durable, dead.clone())];
        }
        let mut group = state.writer.group(vec![pending]);
        if let Err(error) = self.machine.disk.write(&group.batch) {
            let error = AppendError::OutcomeUnknown { cause: error.to_string() };
            state.dead = Some(error.clone());
            let waiting = state.waiting.drain(..).chain(group.waiting).map(|one| (one.into_callback(), error.clone()));
            return waiting.chain(group.refused).collect();
        }
        state.ends.extend(group.ends());
        state.waiting.append(&mut group.waiting);
        group.staged.into_iter().for_each(|staged| self.catalog.publish(staged));
        group.refused
    }
}

impl Log for MemoryLog {
    fn partitions(&self) -> PartitionCount {
        self.catalog.count()
    }

    fn bounds(&self, partition: PartitionId) -> PartitionBounds {
        self.catalog.bounds(partition)
    }

    fn append(&self, batch: AppendBatch, on_durable: OnDurable) {
        let pending = Pending::now(batch, on_durable);
        for (on_durable, error) in self.write(pending) {
            on_durable(Err(error));
        }
        if self.options.automatic {
            self.sync();
        }
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
        let expected = self.catalog.view(partition).acknowledged();
        self.append(AppendBatch { partition, expected, records: Vec::new(), rows: Vec::new() }, Box::new(|_| ()));
    }

    fn drop_segments(&self, partition: PartitionId, segments: &[SegmentId]) -> Result<Dropped, DropError> {
        let mut state = locked(&self.state);
        if let Some(dead) = &state.dead {
            return Err(DropError::Failed { cause: dead.to_string() });
        }
        let dropped = retention::drop_segments(&self.catalog, partition, segments);
        if let Err(DropError::Failed { cause }) = &dropped {
            state.dead = Some(AppendError::OutcomeUnknown { cause: cause.clone() });
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
        let damaged = retention::active_damaged(&self.catalog, partition)?;
        if !damaged.is_empty() {
            self.seal(partition, Timestamp::from_millis(u64::MAX));
            self.sync();
        }
        Ok(damaged.len())
    }

    fn quarantine(&self, found: &Quarantined) -> Result<(), DropError> {
        let mut state = locked(&self.state);
        if let Some(dead) = &state.dead {
            return Err(DropError::Failed { cause: dead.to_string() });
        }
        let marked = retention::quarantine(&self.catalog, found);
        if let Err(DropError::Failed { cause }) = &marked {
            state.dead = Some(AppendError::OutcomeUnknown { cause: cause.clone() });
        }
        marked
    }

    fn rebuild_index(&self, segment: SegmentId) -> Result<bool, DropError> {
        let mut state = locked(&self.state);
        if let Some(dead) = &state.dead {
            return Err(DropError::Failed { cause: dead.to_string() });
        }
        let rebuilt = retention::rebuild_index(&self.catalog, segment);
        if let Err(DropError::Failed { cause }) = &rebuilt {
            state.dead = Some(AppendError::OutcomeUnknown { cause: cause.clone() });
        }
        rebuilt.map(|()| true)
    }

    fn close(&self) -> Result<(), AppendError> {
        self.sync();
        let mut state = locked(&self.state);
        match state.dead.clone() {
            Some(AppendError::Closed) => return Ok(()),
            Some(error) => return Err(error),
            None => {}
        }
        let group = state.writer.checkpoint();
        let written = self.machine.disk.write(&group.batch).and_then(|()| self.machine.disk.sync());
        written.map_err(|error| AppendError::OutcomeUnknown { cause: error.to_string() })?;
        group.staged.into_iter().for_each(|staged| self.catalog.publish(staged));
        let mut watermark = locked(&self.machine.watermark);
        watermark.clean = true;
        watermark.sequence = self.machine.disk.sequence();
        state.dead = Some(AppendError::Closed);
        Ok(())
    }
}

impl Rows for MemoryLog {
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
