//! What operators ask of a node, apart from what clients do: plain values in, plain values out. Served on the admin
//! port only.

pub use protocol::ChunkSource;
use serde::{Deserialize, Serialize};
use types::{History, Offset, PartitionId, Position, StreamName, StreamOrdinal, TenantId, Timestamp};

use crate::backend::Answer;
pub use crate::backend::Producer;

/// A node as its operators see it. Dropping a future gives up the answer, never the request.
pub trait Operator: Clone + Send + Sync + 'static {
    /// Makes a backup of the node's log as it is now, without stopping anything. Answered when it is whole.
    fn back_up(&self, request: BackUp) -> impl Answer<BackupMade>;
    /// How the work of the last `over_ms` is spread.
    fn load(&self, over_ms: u64) -> impl Answer<Load>;
    /// The segments of a partition, or of all.
    fn segments(&self, partition: Option<PartitionId>) -> impl Answer<Vec<SegmentView>>;
    /// What the log takes, what was written for that, and what it still has to rewrite.
    fn stats(&self) -> impl Answer<LogStats>;
    /// Reads records of one partition as they stand in the log.
    fn read_records(&self, request: ReadRecords) -> impl Answer<RecordPage>;
}

/// Where to make a backup, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackUp {
    /// On the node's machine, absolute: a folder that gets one more backup, or a new file that ends in `.tar`.
    pub target: String,
    /// Copy every file, also where a hard link would do.
    #[serde(default)]
    pub copy: bool,
}

/// A backup that is whole and durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupMade {
    pub path: String,
    pub made: Timestamp,
    pub partitions: u32,
    /// Given to records so far, over all partitions: also those of records that are no longer kept.
    pub positions: u64,
    pub files: u64,
    pub bytes: u64,
    /// What was written anew; the rest are hard links.
    pub copied_bytes: u64,
    /// Segments that are damaged, and are so in the backup too.
    #[serde(default)]
    pub quarantined: u64,
    pub elapsed_ms: u64,
}

/// How the work is spread over the partitions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// The end of the time that is looked at: now, or the newest record of a stopped node.
    pub until: Timestamp,
    pub over_ms: u64,
    pub partitions: Vec<PartitionLoad>,
    /// Of the records in that time: how far the largest partition lies above the mean, in percent. `None`: there were
    /// no records.
    pub skew_percent: Option<f64>,
    /// The same of bytes of blocks. `None`: nothing of them is known to have been written.
    #[serde(default)]
    pub skew_bytes_percent: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionLoad {
    pub partition: PartitionId,
    pub history: History,
    /// The oldest position that is kept.
    pub start: Position,
    /// One past the last durable record.
    pub end: Position,
    /// Records in the time that is looked at, those no longer kept included.
    pub recent: u64,
    /// Bytes of blocks in that time, as of the last checkpoint; of a segment that began before, in proportion.
    #[serde(default)]
    pub recent_bytes: u64,
    /// Of the last record; `None` when there is none.
    pub last: Option<Timestamp>,
}

/// Which records to read of one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadRecords {
    pub partition: PartitionId,
    /// `None`: from the oldest that is kept, or that `wanted` can mean.
    pub from: Option<Position>,
    /// Before this one.
    pub until: Option<Position>,
    /// At most so many of them, 1 to 1,000.
    pub max: usize,
    #[serde(default)]
    pub wanted: Wanted,
}

/// What a record must be to be given. What is not said does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Wanted {
    /// Of this stream; of a run's stream also what the stream does not show.
    pub stream: Option<StreamName>,
    /// Of one of these kinds.
    pub kinds: Vec<String>,
    /// Not older than this.
    pub since: Option<Timestamp>,
    /// Older than this.
    pub before: Option<Timestamp>,
}

/// Some records, and where to go on. A page may be empty and yet not the last: only so much is looked at for one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordPage {
    pub records: Vec<LogRecord>,
    /// Everything before this position was looked at.
    pub next: Position,
    /// Nothing that is wanted lies at or after `next`, for now.
    pub done: bool,
    /// The oldest position that is kept.
    pub start: Position,
    /// What was passed because it is damaged, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<DamagedRange>,
}

/// Positions that were not read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamagedRange {
    pub from: Position,
    /// The first position behind it.
    pub until: Position,
    /// A sentence.
    pub what: String,
}

/// A record of the log, decoded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRecord {
    pub partition: PartitionId,
    pub position: Position,
    pub time: Timestamp,
    /// Such as `run_started`, `event`, `chunk`, `stream_created`; `unknown` for one that this version cannot read.
    pub kind: String,
    /// `fact`, `attempt` or `output`.
    pub class: String,
    /// The first record of its command.
    pub cause: bool,
    /// Its stream, or that of its run; `None` when it belongs to none or the name is no longer kept.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stream: Option<StreamName>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ordinal: Option<StreamOrdinal>,
    /// Its number in the stream, where the stream shows it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub offset: Option<Offset>,
    /// The tenant of the stream, where it is known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tenant: Option<TenantId>,
    /// Which attempt streamed it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub source: Option<ChunkSource>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub producer: Option<Producer>,
    /// Of the data, where that is not JSON.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub content_type: Option<String>,
    /// JSON; what is something else stands in `base64`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub data: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub base64: Option<String>,
    /// What its key, headers and payload take in the log.
    pub bytes: u64,
    /// Why it could not be read.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub problem: Option<String>,
}

/// A segment. An active one is told as it was at the last checkpoint of its partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentView {
    pub partition: PartitionId,
    /// `run` or `stream`.
    pub chain: String,
    pub number: u32,
    /// `active`, `sealed`, `quarantined` (damaged, not served), `deleting`, or `dropped` (gone, with the sums it had).
    pub state: String,
    pub base: Position,
    /// One past its last record.
    pub next: Position,
    pub records: u64,
    pub blocks: u64,
    pub bytes: u64,
    /// Of its first record; `None` while it is empty.
    pub first: Option<Timestamp>,
    pub last: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogStats {
    pub families: Vec<FamilyStats>,
    pub wal_files: u64,
    pub wal_bytes: u64,
    pub segments: u64,
    /// In segments, as of the last checkpoints.
    pub records: u64,
    pub block_bytes: u64,
    /// Of a running node.
    pub written: Option<Written>,
}

/// One family of keys in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FamilyStats {
    pub name: String,
    /// Of its tables.
    pub bytes: u64,
    pub memtable_bytes: u64,
    /// What compaction has still to rewrite: an estimate.
    pub debt_bytes: u64,
    pub level0_files: u64,
    /// An estimate.
    pub keys: u64,
}

/// Since the node was started. Their ratio is the write amplification, the write-ahead log included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Of blocks that the log took.
    pub block_bytes: u64,
    /// What the process had the system write to disks, for whatever purpose.
    pub disk_bytes: u64,
}
