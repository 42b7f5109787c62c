//! What is known of segments from outside: their sums, and which streams have events in one.

use types::{Offset, PartitionId, Position, StreamOrdinal, Timestamp};

use crate::catalog::Catalog;
use crate::check::{Checked, check_segment};
use crate::checkpoint::Checkpoint;
use crate::error::ReadError;
use crate::keys::{Family, IndexKey, MetaKey};
use crate::log::RETENTION_CLASSES;
use crate::quarantine::{self, Quarantined};
use crate::read::Place;
use crate::record::RetentionClass;
use crate::row_store;
use crate::rows::{RowKey, RowKind};
use crate::segment::{ChainId, Segment, SegmentState};
use crate::store::Store;
use crate::stream_index::decode_entries;

/// Which segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SegmentId {
    pub partition: PartitionId,
    pub class: RetentionClass,
    pub number: u32,
}

/// What is known of a segment that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentFacts {
    pub id: SegmentId,
    /// Nothing is added to it any more.
    pub sealed: bool,
    /// Something in it is damaged. It is not dropped by itself: somebody may still save the rest of it.
    pub quarantined: bool,
    /// No record of its chain before this position is in it, and none at or after it in an earlier one.
    pub base: Position,
    /// One past its last record.
    pub next: Position,
    pub records: u64,
    /// Of blocks.
    pub bytes: u64,
    pub first_time: Timestamp,
    pub last_time: Timestamp,
    /// Recovery of the partition folds from here: earlier records it does without.
    pub floor: Position,
}

/// A stream that has events in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamExtent {
    pub stream: StreamOrdinal,
    /// One past its last event there. Exact for a stream that is in this chain alone, as users' streams are; a run's
    /// reaches at least so far.
    pub end: Offset,
    /// How many events it has there.
    pub events: u64,
}

/// The position that the row of a partition's scalars reflects: recovery folds from there.
pub(crate) fn floor(catalog: &Catalog, partition: PartitionId) -> Result<Position, ReadError> {
    let key = RowKey { kind: RowKind::Partition, id: bytes::Bytes::new() };
    Ok(row_store::get(catalog, partition, &key)?.map_or(Position::ZERO, |row| row.position))
}

/// All segments of a partition that are kept, of both chains, the oldest of each first. An active one is told as it was
/// at the last checkpoint.
pub(crate) fn facts(catalog: &Catalog, partition: PartitionId) -> Result<Vec<SegmentFacts>, ReadError> {
    let floor = floor(catalog, partition)?;
    let place = Place { partition, position: floor };
    let active = checkpoint(&*catalog.store, place)?.active;
    let marks = quarantine::of_partition(&*catalog.store, partition).map_err(place.store())?;
    let mut facts = Vec::new();
    for class in RETENTION_CLASSES {
        for stored in all(&*catalog.store, place, class)? {
            let saved = &active[class.index()];
            let segment = if saved.number == stored.number && !is_sealed(&stored) { saved } else { &stored };
            if segment.state.is_kept() {
                let facts_of = of(segment, floor);
                let quarantined = marks.iter().any(|mark| mark.segment == facts_of.id);
                facts.push(SegmentFacts { quarantined, ..facts_of });
            }
        }
    }
    Ok(facts)
}

fn is_sealed(segment: &Segment) -> bool {
    segment.state == SegmentState::Sealed
}

fn of(segment: &Segment, floor: Position) -> SegmentFacts {
    let ChainId { partition, class } = segment.chain;
    SegmentFacts {
        id: SegmentId { partition, class, number: segment.number },
        sealed: is_sealed(segment),
        quarantined: false,
        base: segment.base,
        next: segment.next,
        records: segment.records,
        bytes: segment.bytes,
        first_time: segment.first_time,
        last_time: segment.last_time,
        floor,
    }
}

fn checkpoint(store: &dyn Store, place: Place) -> Result<Checkpoint, ReadError> {
    let key = MetaKey::Checkpoint(place.partition).encode();
    let value = store.get(Family::Meta, &key).map_err(place.store())?;
    let value = value.ok_or_else(|| place.corrupt(&"its checkpoint is missing"))?;
    Checkpoint::from_value(place.partition, &value).map_err(place.damage())
}

/// All segments of a chain as they are stored, oldest first, those that are gone and still known included.
pub(crate) fn all(store: &dyn Store, place: Place, class: RetentionClass) -> Result<Vec<Segment>, ReadError> {
    let key = |number| MetaKey::Segment(place.partition, class, number).encode();
    let mut scan = store.scan(Family::Meta, &key(0), &key(u32::MAX), 1 << 16);
    let mut segments = Vec::new();
    while let Some((key, value)) = scan.next().map_err(place.store())? {
        let MetaKey::Segment(partition, class, number) = MetaKey::decode(&key).map_err(place.damage())? else {
            return Err(place.corrupt(&"among its segments is something else"));
        };
        let chain = ChainId { partition, class };
        segments.push(Segment::from_value(chain, number, &value).map_err(place.damage())?);
    }
    Ok(segments)
}

/// Streams with events in a segment whose index is on disk, by ordinal, from the one behind `after`; at most `limit`.
pub(crate) fn streams(
    catalog: &Catalog,
    segment: SegmentId,
    after: Option<StreamOrdinal>,
    limit: usize,
) -> Result<Vec<StreamExtent>, ReadError> {
    let SegmentId { partition, class, number } = segment;
    let place = Place { partition, position: Position::ZERO };
    let first = after.map_or(StreamOrdinal::NONE, StreamOrdinal::next);
    let key = |segment, stream| IndexKey { partition, class, segment, stream, base: Offset::ZERO }.encode();
    let (from, until) = (key(number, first), key(number + 1, StreamOrdinal::NONE));
    let mut scan = catalog.store.scan(Family::Index, &from, &until, 1 << 16);
    let mut found: Vec<StreamExtent> = Vec::new();
    while let Some((key, value)) = scan.next().map_err(place.store())? {
        let key = IndexKey::decode(&key).map_err(place.damage())?;
        let entries = decode_entries(&key, &value).map_err(place.damage())?;
        let Some(last) = entries.last() else { continue };
        let end = last.base.after(u64::from(last.count));
        let events = entries.iter().map(|entry| u64::from(entry.count)).sum();
        let full = found.len() == limit;
        match found.last_mut().filter(|extent| extent.stream == key.stream) {
            Some(extent) => {
                extent.end = extent.end.max(end);
                extent.events += events;
            }
            None if full => break,
            None => found.push(StreamExtent { stream: key.stream, end, events }),
        }
    }
    Ok(found)
}

/// Holds a sealed segment against what it was sealed with. One that is dropped meanwhile is not damaged.
pub(crate) fn check(
    catalog: &Catalog,
    id: SegmentId,
    pace: &mut dyn FnMut(usize) -> bool,
) -> Result<Checked, ReadError> {
    let at = Place { partition: id.partition, position: Position::ZERO };
    let find = || -> Result<Option<Segment>, ReadError> {
        let segments = all(&*catalog.store, at, id.class)?;
        Ok(segments.into_iter().find(|segment| segment.number == id.number && is_sealed(segment)))
    };
    let Some(segment) = find()? else { return Ok(Checked::Stopped) };
    let checked = check_segment(&*catalog.store, &segment, pace).map_err(at.store())?;
    let is_damaged = matches!(checked, Checked::Damaged { .. });
    Ok(if is_damaged && find()?.is_none() { Checked::Stopped } else { checked })
}

/// All marks of all partitions.
pub(crate) fn quarantined(catalog: &Catalog) -> Result<Vec<Quarantined>, ReadError> {
    let mut found = Vec::new();
    for partition in catalog.count().partitions() {
        let place = Place { partition, position: Position::ZERO };
        found.extend(quarantine::of_partition(&*catalog.store, partition).map_err(place.store())?);
    }
    Ok(found)
}
