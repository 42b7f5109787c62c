//! What the log takes on disk and in memory, segment by segment and family by family: for operators.

use types::{PartitionId, Position, Timestamp};

use crate::error::OpenError;
use crate::format::DataDirectory;
use crate::keys::Family;
use crate::log::RETENTION_CLASSES;
use crate::quarantine;
use crate::record::RetentionClass;
use crate::recovery::{all_segments, checkpoint, store_error};
use crate::retention::SegmentId;
use crate::rocks::RocksStore;
use crate::segment::{ChainId, Segment, SegmentState};
use crate::store::Store;

/// A segment. An active one is told as it was at the last checkpoint of its partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentFigures {
    pub partition: PartitionId,
    pub class: RetentionClass,
    pub number: u32,
    /// `active` takes more, `sealed` does not change any more; `quarantined` is damaged and not read, `deleting` is being
    /// dropped, `dropped` is gone and still known, because an earlier one of its chain is kept.
    pub state: &'static str,
    /// No record of its chain before this position is in it, and none at or after it in an earlier one.
    pub base: Position,
    /// One past its last record.
    pub next: Position,
    pub blocks: u64,
    pub records: u64,
    /// Of blocks.
    pub bytes: u64,
    /// Of its first and last record; `None` while it is empty.
    pub times: Option<(Timestamp, Timestamp)>,
}

impl SegmentFigures {
    /// Its bytes are there, whether or not they can be read.
    pub fn is_kept(&self) -> bool {
        !matches!(self.state, "deleting" | "dropped")
    }
}

/// One family of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FamilyFigures {
    /// `log`, `index`, `meta` or `rows`.
    pub name: &'static str,
    /// Of its tables.
    pub bytes: u64,
    pub memtable_bytes: u64,
    /// What compaction has still to rewrite: an estimate.
    pub debt_bytes: u64,
    /// Tables that are not sorted into the others yet.
    pub level0_files: u64,
    /// An estimate.
    pub keys: u64,
}

/// The store as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreFigures {
    pub families: Vec<FamilyFigures>,
    pub wal_files: u64,
    /// Files that are used again keep their size.
    pub wal_bytes: u64,
}

/// A figure that the store does not tell is 0.
pub(crate) fn store_figures(store: &RocksStore, directory: &DataDirectory) -> StoreFigures {
    let families = Family::ALL.map(|family| FamilyFigures {
        name: family.name(),
        bytes: store.property(family, "rocksdb.total-sst-files-size"),
        memtable_bytes: store.property(family, "rocksdb.cur-size-all-mem-tables"),
        debt_bytes: store.property(family, "rocksdb.estimate-pending-compaction-bytes"),
        level0_files: store.property(family, "rocksdb.num-files-at-level0"),
        keys: store.property(family, "rocksdb.estimate-num-keys"),
    });
    // A file may go away while it is looked at.
    let (files, wal_bytes) = directory.wal_files().unwrap_or_default();
    StoreFigures { families: families.to_vec(), wal_files: files.len() as u64, wal_bytes }
}

/// All segments of a partition that are known, the run chain's first, the oldest of each first. Those that are gone have
/// the sums that they had.
pub(crate) fn segment_figures(store: &dyn Store, partition: PartitionId) -> Result<Vec<SegmentFigures>, OpenError> {
    let active = checkpoint(store, partition)?.active;
    let marks = quarantine::of_partition(store, partition).map_err(store_error(&format!("partition {partition}")))?;
    let mut figures = Vec::new();
    for class in RETENTION_CLASSES {
        let all = all_segments(store, ChainId { partition, class })?;
        for stored in all {
            let saved = &active[class.index()];
            let grows = stored.state == SegmentState::Active && saved.number == stored.number;
            let segment = SegmentId { partition, class, number: stored.number };
            let is_marked = marks.iter().any(|mark| mark.segment == segment);
            figures.push(of(if grows { saved } else { &stored }, is_marked));
        }
    }
    Ok(figures)
}

fn of(segment: &Segment, is_marked: bool) -> SegmentFigures {
    SegmentFigures {
        partition: segment.chain.partition,
        class: segment.chain.class,
        number: segment.number,
        state: match segment.state {
            SegmentState::Active => "active",
            SegmentState::Sealed if is_marked => "quarantined",
            SegmentState::Sealed => "sealed",
            SegmentState::Deleting => "deleting",
            SegmentState::Dropped => "dropped",
        },
        base: segment.base,
        next: segment.next,
        blocks: segment.blocks,
        records: segment.records,
        bytes: segment.bytes,
        times: (segment.blocks > 0).then_some((segment.first_time, segment.last_time)),
    }
}
