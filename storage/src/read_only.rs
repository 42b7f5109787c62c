//! A data directory that is only looked at: by the command line, of a stopped node, or of one on a full disk. Nothing
//! on the disk is changed.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use types::{PartitionCount, PartitionId, Position, StreamOrdinal, Timestamp};

use crate::catalog::Catalog;
use crate::check::Checked;
use crate::error::{AppendError, OpenError, ReadError};
use crate::figures::{SegmentFigures, StoreFigures, segment_figures, store_figures};
use crate::format::{DataDirectory, Found, io_error};
use crate::limits::TAIL_BYTES;
use crate::log::{AppendBatch, Log, OnDurable, PartitionBounds, StreamRead};
use crate::metrics::Metrics;
use crate::quarantine::Quarantined;
use crate::read::read;
use crate::read_stream::read_stream;
use crate::record::StoredRecord;
use crate::recovery::{recover, unopened};
use crate::retention::{self, DropError, Dropped, SegmentFacts, SegmentId, StreamExtent};
use crate::rocks::RocksStore;
use crate::rocks_log::OpenReport;
use crate::rows::{Met, Row, RowKey, RowKind, Rows};
use crate::salvage::Salvage;
use crate::store::Store;
use crate::watermark;
use crate::{row_store, row_walk};

/// A running node may take a file away between the moment at which its name is read and that at which it is opened.
const TRIES_WHILE_IN_USE: usize = 5;

/// A log that takes no appends.
#[derive(Debug)]
pub struct ReadOnlyLog {
    catalog: Catalog,
    store: Arc<RocksStore>,
    directory: DataDirectory,
    in_use_by: Option<String>,
}

fn open_store(path: &Path, in_use: bool) -> Result<RocksStore, OpenError> {
    let open = || RocksStore::open_read_only(path).map_err(unopened(&path.display().to_string()));
    let again = if in_use { TRIES_WHILE_IN_USE - 1 } else { 0 };
    let unreadable = |opened: &Result<_, OpenError>| matches!(opened, Err(OpenError::StoreUnreadable { .. }));
    let mut opened = open();
    for _ in 0..again {
        if !unreadable(&opened) {
            break;
        }
        opened = open();
    }
    opened
}

impl ReadOnlyLog {
    /// Opens what is there, with the same checks as a node. Of a running node it sees what was written until now.
    pub fn open(path: &Path) -> Result<(Self, OpenReport), OpenError> {
        let started = Instant::now();
        let directory = DataDirectory::new(path);
        if directory.find()? == Found::New {
            let what = "there is nothing in it".to_owned();
            return Err(OpenError::NotADataDirectory { path: path.to_owned(), what });
        }
        let in_use_by = directory.in_use_by();
        let commit = directory.commit();
        let watermark = watermark::read(&commit).map_err(|error| io_error(&commit, &error))?;
        let watermark = watermark.map_err(|damage| watermark::unbelievable(&commit, &damage))?;
        let io = |error| io_error(&directory.path, &error);
        let (mut files, wal_bytes) = directory.wal_files().map_err(io)?;
        // A running node's files change under the eye; it has been held to its claims when it was opened.
        let salvage = if watermark.clean || in_use_by.is_some() {
            Salvage::none(watermark.durable.len())
        } else {
            files.extend(directory.kept_aside().map_err(io)?);
            Salvage::scan(&files, &watermark).map_err(io)?
        };
        let log = directory.log();
        let store = open_store(&log, in_use_by.is_some())?;
        let mut recovered = recover(&store, &watermark, &salvage)?;
        recovered.close_lost();
        let end = |partition: PartitionId| recovered.views[partition.value() as usize].durable();
        let (blocks, records) = salvage.beyond(end);
        let store = Arc::new(store);
        let catalog = Catalog::new(store.clone(), Arc::new(Metrics::new()), recovered.views, TAIL_BYTES);
        let report = OpenReport {
            created: false,
            clean: watermark.clean,
            term: watermark.term,
            new_history: watermark.may_lack() && in_use_by.is_none(),
            torn_blocks: blocks + recovered.torn.blocks,
            torn_records: records + recovered.torn.records,
            quarantined: (recovered.quarantined.len() + recovered.lost.len()) as u64,
            upgraded_from: None,
            wal_bytes,
            elapsed: Duration::ZERO,
        };
        Ok((Self { catalog, store, directory, in_use_by }, OpenReport { elapsed: started.elapsed(), ..report }))
    }

    /// The store's number of the last change.
    pub(crate) fn sequence(&self) -> u64 {
        self.store.sequence()
    }

    /// What is known of a partition's segments.
    pub fn segment_figures(&self, partition: PartitionId) -> Result<Vec<SegmentFigures>, OpenError> {
        segment_figures(&*self.store, partition)
    }

    /// What it takes on disk and in memory.
    pub fn store_figures(&self) -> StoreFigures {
        store_figures(&self.store, &self.directory)
    }

    /// Who has the directory open for writing, if anybody.
    pub fn in_use_by(&self) -> Option<&str> {
        self.in_use_by.as_deref()
    }
}

impl Log for ReadOnlyLog {
    fn partitions(&self) -> PartitionCount {
        self.catalog.count()
    }

    fn bounds(&self, partition: PartitionId) -> PartitionBounds {
        self.catalog.bounds(partition)
    }

    fn append(&self, _batch: AppendBatch, on_durable: OnDurable) {
        on_durable(Err(AppendError::ReadOnly));
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

    fn seal(&self, _partition: PartitionId, _now: Timestamp) {}

    fn drop_segments(&self, _partition: PartitionId, _segments: &[SegmentId]) -> Result<Dropped, DropError> {
        Err(DropError::ReadOnly)
    }

    fn check_segment(&self, segment: SegmentId, pace: &mut dyn FnMut(usize) -> bool) -> Result<Checked, ReadError> {
        retention::check(&self.catalog, segment, pace)
    }

    fn quarantined(&self) -> Result<Vec<Quarantined>, ReadError> {
        retention::quarantined(&self.catalog)
    }

    fn seal_damaged(&self, _partition: PartitionId) -> Result<usize, DropError> {
        Err(DropError::ReadOnly)
    }

    fn quarantine(&self, _found: &Quarantined) -> Result<(), DropError> {
        Err(DropError::ReadOnly)
    }

    fn rebuild_index(&self, _segment: SegmentId) -> Result<bool, DropError> {
        Err(DropError::ReadOnly)
    }

    fn close(&self) -> Result<(), AppendError> {
        Ok(())
    }
}

impl Rows for ReadOnlyLog {
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
