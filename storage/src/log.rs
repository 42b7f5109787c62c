//! The port through which the node keeps records: append in order, read back, nothing else.
//! Two implementations: `rocks.rs` (RocksDB) and `memory.rs` (a simulated disk). One test suite holds both.

use std::fmt;

use types::{History, Incarnation, Offset, PartitionCount, PartitionId, Position, StreamOrdinal, Timestamp};

use crate::check::Checked;
use crate::error::{AppendError, ReadError};
use crate::quarantine::Quarantined;
use crate::record::{Record, RetentionClass, StoredRecord};
use crate::retention::{DropError, Dropped, SegmentFacts, SegmentId, StreamExtent};
use crate::rows::RowChange;

/// Records of one partition that become durable together or not at all, with rows that follow them in the same write.
#[derive(Debug)]
pub struct AppendBatch {
    pub partition: PartitionId,
    /// Where the caller believes the partition ends. Another value is a broken belief: the append is refused.
    pub expected: Position,
    pub records: Vec<Record>,
    /// State as of the last of `records` or of an earlier position; empty but at checkpoints.
    pub rows: Vec<RowChange>,
}

/// Called once, on a thread of the log, when the batch is durable, or when that can no longer be known; under a
/// relaxed `Durability` already when it is written. `Ok` carries the partition's end (the next position): everything
/// below it is as durable as that. Must not block.
pub type OnDurable = Box<dyn FnOnce(Result<Position, AppendError>) + Send>;

/// What storage knows of a partition after opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionBounds {
    pub history: History,
    /// The oldest position kept in each chain.
    pub start_run: Position,
    pub start_stream: Position,
    /// One past the last acknowledged record.
    pub end: Position,
    /// Some segments were dropped, so records between the starts and the end may be missing.
    pub trimmed: bool,
    /// Some segments are damaged and not read.
    pub quarantined: bool,
}

/// Which events of one stream to read.
#[derive(Clone, Copy, Debug)]
pub struct StreamRead {
    pub partition: PartitionId,
    pub stream: StreamOrdinal,
    pub from: Offset,
    /// Stop before this offset.
    pub until: Offset,
    /// At most this many events, and stop once this many payload bytes are passed (one event is always given).
    pub max_events: usize,
    pub max_bytes: usize,
}

/// An append-only, partitioned log. Everything read back is acknowledged, which means durable unless a relaxed
/// `Durability` was asked for, checked and in order.
pub trait Log: Send + Sync + fmt::Debug {
    fn partitions(&self) -> PartitionCount;

    fn bounds(&self, partition: PartitionId) -> PartitionBounds;

    /// Takes a batch and returns at once; positions are given in the order of the calls. Blocks only while the log's
    /// own bounded queue is full (that is the disk's back pressure). One sync serves all batches waiting at that time.
    fn append(&self, batch: AppendBatch, on_durable: OnDurable);

    /// Durable records of a partition, both chains merged in position order, from `from`: at most `max_records`, and
    /// no further block once `max_bytes` are passed. Empty: the durable end is reached.
    fn read(
        &self,
        partition: PartitionId,
        from: Position,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<StoredRecord>, ReadError>;

    /// Durable events of one stream in offset order without a hole. Cost grows with what is returned.
    /// Empty: there is nothing durable at `from`. An offset that is no longer kept is `ReadError::Trimmed`.
    fn read_stream(&self, read: StreamRead) -> Result<Vec<StoredRecord>, ReadError>;

    /// Whether that read is served from memory, so that who must not wait for the disk may make it on the spot. True
    /// in nearly all cases where it says so: the memory may have been given up in between.
    fn is_recent(&self, read: &StreamRead) -> bool {
        let _ = read;
        false
    }

    /// What is known of a partition's segments, of both chains, the oldest of each first.
    fn segments(&self, partition: PartitionId) -> Result<Vec<SegmentFacts>, ReadError>;

    /// Streams with events in a sealed segment, by ordinal, from the one behind `after`; at most `limit`. In the stream
    /// chain these are users' streams and runs with output, in the run chain runs.
    fn segment_streams(
        &self,
        segment: SegmentId,
        after: Option<StreamOrdinal>,
        limit: usize,
    ) -> Result<Vec<StreamExtent>, ReadError>;

    /// Seals the active segments of a partition that are too old at `now`, which an append would do too: so that
    /// nothing stays only because nothing follows it. Returns at once.
    fn seal(&self, partition: PartitionId, now: Timestamp);

    /// Drops sealed segments of one partition, for ever: durable when it returns. Refuses those that recovery needs.
    /// Whoever reads what is gone is told `ReadError::Trimmed` or `Dropped`. Waits for the disk.
    fn drop_segments(&self, partition: PartitionId, segments: &[SegmentId]) -> Result<Dropped, DropError>;

    /// Reads all of a sealed segment and holds it against what it was sealed with. `pace` is told how many bytes were
    /// read and may take its time; `false` stops. Waits for the disk.
    fn check_segment(&self, segment: SegmentId, pace: &mut dyn FnMut(usize) -> bool) -> Result<Checked, ReadError>;

    /// Seals the segments of a partition that take records and in which something cannot be read that is written already:
    /// only a sealed one can be quarantined. How many that were. Waits for the disk.
    fn seal_damaged(&self, partition: PartitionId) -> Result<usize, DropError>;

    /// Nothing of a damaged sealed segment is read any more, also after a restart: whoever comes to it is told
    /// `ReadError::Quarantined` or `EventsQuarantined`. Durable when it returns.
    fn quarantine(&self, found: &Quarantined) -> Result<(), DropError>;

    /// Makes the stream index of a sealed segment anew from its blocks. Durable when it returns; `false`: a start has to
    /// do it.
    fn rebuild_index(&self, segment: SegmentId) -> Result<bool, DropError>;

    /// All segments that are not read, and why.
    fn quarantined(&self) -> Result<Vec<Quarantined>, ReadError>;

    /// Makes everything appended so far durable, writes the commit watermark, and stops the log's threads.
    fn close(&self) -> Result<(), AppendError>;
}

/// The life of a stream created at `position`.
pub const fn incarnation(position: Position) -> Incarnation {
    Incarnation::at(position)
}

/// Both chains, for loops over them.
pub const RETENTION_CLASSES: [RetentionClass; 2] = [RetentionClass::Run, RetentionClass::Stream];
