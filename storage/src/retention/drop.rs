//! Takes segments away. Each step leaves a directory that an opening brings to the same end:
//!
//! 1. their meta says `deleting` and the partition where it now starts: synced, so that nobody reads them any more;
//! 2. files that hold nothing else are given back, then what is left of the keys is deleted as a range;
//! 3. their meta goes, or says `dropped` where an earlier segment of the chain is kept.
//!
//! A segment in the state `deleting` is taken up again at step 2 by the next opening.

use thiserror::Error;
use types::{PartitionId, Position};

use super::segments::{SegmentId, all, floor};
use crate::catalog::Catalog;
use crate::checkpoint::PartitionMeta;
use crate::error::{OpenError, ReadError};
use crate::keys::{Family, MetaKey};
use crate::log::RETENTION_CLASSES;
use crate::quarantine;
use crate::read::Place;
use crate::recovery::{all_segments, store_error};
use crate::segment::{ChainId, Segment, SegmentState};
use crate::store::{Batch, Store, StoreError};

/// What was taken away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    pub segments: u64,
    pub records: u64,
    /// Of blocks.
    pub bytes: u64,
}

/// Why segments were not dropped.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DropError {
    /// A mistake of the caller's: nothing was changed.
    #[error("segment {} of partition {} cannot be dropped: {what}", segment.number, segment.partition)]
    Refused { segment: SegmentId, what: &'static str },
    /// What is known of the segments cannot be read: nothing was changed.
    #[error("what is known of the segments could not be read: {0}")]
    Read(#[from] ReadError),
    /// A write or a sync failed. The log is over; the next opening finishes what was begun.
    #[error("the log failed while segments were dropped: {cause}; restart the node")]
    Failed { cause: String },
    #[error("the log was opened for reading only; nothing was dropped")]
    ReadOnly,
}

/// What a drop changes, decided before anything is.
struct Plan {
    partition: PartitionId,
    meta: PartitionMeta,
    /// In the state `deleting`.
    goes: Vec<Segment>,
    records: u64,
    bytes: u64,
}

/// Drops sealed segments of one partition. Not to be called twice at the same time.
pub(crate) fn drop_segments(
    catalog: &Catalog,
    partition: PartitionId,
    wanted: &[SegmentId],
) -> Result<Dropped, DropError> {
    let plan = plan(catalog, partition, wanted)?;
    if plan.goes.is_empty() {
        return Ok(Dropped::default());
    }
    let store = &*catalog.store;
    let failed = |error: StoreError| DropError::Failed { cause: error.to_string() };
    mark(store, &plan).map_err(failed)?;
    catalog.publish_drop(partition, plan.meta, &plan.goes);
    take_away(store, &plan.goes).map_err(failed)?;
    settle(store, partition, &plan.goes)?;
    let (records, bytes) = (plan.records, plan.bytes);
    Ok(Dropped { segments: plan.goes.len() as u64, records, bytes })
}

fn plan(catalog: &Catalog, partition: PartitionId, wanted: &[SegmentId]) -> Result<Plan, DropError> {
    let floor = floor(catalog, partition)?;
    let place = Place { partition, position: floor };
    let mut meta = catalog.view(partition).read().meta;
    let (mut goes, mut records, mut bytes) = (Vec::new(), 0, 0);
    for class in RETENTION_CLASSES {
        let segments = all(&*catalog.store, place, class)?;
        let is_wanted = |segment: &Segment| wanted.contains(&id(segment));
        for segment in segments.iter().filter(|segment| is_wanted(segment)) {
            check(segment, floor)?;
            records += segment.records;
            bytes += segment.bytes;
            goes.push(segment.clone().in_state(SegmentState::Deleting));
        }
        let stays = |segment: &&Segment| segment.state.is_kept() && !is_wanted(segment);
        let first = segments.iter().find(stays).ok_or_else(|| place.corrupt(&"a chain has no active segment"))?;
        // The very first segment begins before there was anything, so a chain that lost nothing starts where it did.
        if first.number > segments.first().map_or(0, |segment| segment.number) {
            meta.start[class.index()] = first.base;
        }
    }
    let found = |segment: &SegmentId| goes.iter().any(|it| id(it) == *segment);
    if let Some(segment) = wanted.iter().copied().find(|segment| !found(segment)) {
        return Err(DropError::Refused { segment, what: "there is no such segment in this partition" });
    }
    Ok(Plan { partition, meta, goes, records, bytes })
}

pub(super) fn id(segment: &Segment) -> SegmentId {
    let ChainId { partition, class } = segment.chain;
    SegmentId { partition, class, number: segment.number }
}

fn check(segment: &Segment, floor: Position) -> Result<(), DropError> {
    let refused = |what| Err(DropError::Refused { segment: id(segment), what });
    match segment.state {
        SegmentState::Active => refused("records are still added to it"),
        SegmentState::Deleting | SegmentState::Dropped => refused("it was dropped before"),
        SegmentState::Sealed if segment.next > floor => refused("recovery needs it"),
        SegmentState::Sealed => Ok(()),
    }
}

/// Step 1. The row that the floor was read from was written before, so it is durable with this sync too.
fn mark(store: &dyn Store, plan: &Plan) -> Result<(), StoreError> {
    let mut batch = Batch::default();
    for segment in &plan.goes {
        batch.put(Family::Meta, &segment.key().encode(), segment.value());
        batch.delete(Family::Meta, &quarantine::key(id(segment)).encode());
    }
    let key = MetaKey::Partition(plan.partition).encode();
    batch.put(Family::Meta, &key, plan.meta.value(plan.partition));
    store.write(&batch)?;
    store.sync()
}

/// Step 2. Need not be synced: what comes back after a crash is taken away again.
fn take_away(store: &dyn Store, segments: &[Segment]) -> Result<(), StoreError> {
    for segment in segments {
        let mut batch = Batch::default();
        for (family, (from, until)) in [(Family::Log, segment.log_range()), (Family::Index, segment.index_range())] {
            store.drop_files(family, &from, &until)?;
            batch.delete_range(family, &from, &until);
        }
        store.write(&batch)?;
    }
    Ok(())
}

/// Step 3. In one write with nothing else: it follows the deletions in the log of writes, so it never outlives them.
fn settle(store: &dyn Store, partition: PartitionId, segments: &[Segment]) -> Result<(), DropError> {
    let mut batch = Batch::default();
    let place = Place { partition, position: Position::ZERO };
    for class in RETENTION_CLASSES {
        let mut before_all_kept = true;
        for stored in all(store, place, class)? {
            let gone = segments.iter().any(|segment| id(segment) == id(&stored));
            match stored.state {
                SegmentState::Active | SegmentState::Sealed => before_all_kept = false,
                SegmentState::Deleting | SegmentState::Dropped if before_all_kept => {
                    batch.delete(Family::Meta, &stored.key().encode());
                }
                SegmentState::Deleting if gone => {
                    let dropped = stored.in_state(SegmentState::Dropped);
                    batch.put(Family::Meta, &dropped.key().encode(), dropped.value());
                }
                SegmentState::Deleting | SegmentState::Dropped => {}
            }
        }
    }
    store.write(&batch).map_err(|error| DropError::Failed { cause: error.to_string() })
}

/// Finishes what a stop interrupted, for all partitions; says how many segments that were.
pub(crate) fn finish_drops(
    store: &dyn Store,
    partitions: impl Iterator<Item = PartitionId>,
) -> Result<usize, OpenError> {
    let mut finished = 0;
    for partition in partitions {
        let mut begun = Vec::new();
        for class in RETENTION_CLASSES {
            let segments = all_segments(store, ChainId { partition, class })?;
            begun.extend(segments.into_iter().filter(|segment| segment.state == SegmentState::Deleting));
        }
        if begun.is_empty() {
            continue;
        }
        let place = format!("partition {partition}");
        take_away(store, &begun).map_err(store_error(&place))?;
        settle(store, partition, &begun).map_err(|error| OpenError::Io { place, what: error.to_string() })?;
        finished += begun.len();
    }
    Ok(finished)
}
