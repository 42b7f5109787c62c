//! What is done about a segment that is damaged.

use types::{PartitionId, Position};

use super::drop::{DropError, id};
use super::segments::{SegmentId, all};
use crate::block::Block;
use crate::catalog::{Catalog, SegmentStart};
use crate::check::read_index;
use crate::error::ReadError;
use crate::index_anew::index_anew;
use crate::keys::{Family, LogKey};
use crate::log::RETENTION_CLASSES;
use crate::quarantine::Quarantined;
use crate::read::Place;
use crate::segment::{ChainId, Segment, SegmentState};
use crate::store::{Batch, Store, StoreError};

const SCAN_BYTES: usize = 1024 * 1024;

/// A segment to which nothing is added any more.
pub(crate) fn sealed(catalog: &Catalog, wanted: SegmentId) -> Result<Segment, DropError> {
    let place = Place { partition: wanted.partition, position: Position::ZERO };
    let segments = all(&*catalog.store, place, wanted.class)?;
    let refused = |what| Err(DropError::Refused { segment: wanted, what });
    match segments.into_iter().find(|segment| id(segment) == wanted) {
        Some(segment) if segment.state == SegmentState::Sealed => Ok(segment),
        Some(segment) if segment.state == SegmentState::Active => refused("records are still added to it"),
        Some(_) | None => refused("it is not there any more"),
    }
}

/// The segments of a partition that take records and in which a reader would meet damage: a block that was acknowledged, or
/// the stream index as of the checkpoint.
pub(crate) fn active_damaged(catalog: &Catalog, partition: PartitionId) -> Result<Vec<Quarantined>, ReadError> {
    let view = catalog.view(partition);
    let end = view.acknowledged();
    let place = Place { partition, position: end };
    let active = view.read().segments.each_ref().map(|chain| chain.last().copied());
    let mut found = Vec::new();
    for (class, active) in RETENTION_CLASSES.into_iter().zip(active) {
        let Some(active) = active.filter(SegmentStart::is_readable) else { continue };
        let segment = SegmentId { partition, class, number: active.number };
        let (position, what) = match first_damage(&*catalog.store, segment, active.base, end).map_err(place.store())? {
            Some(met) => met,
            None => match read_index(&*catalog.store, ChainId { partition, class }, active.number) {
                Ok(_) => continue,
                Err(what) => (active.base, what),
            },
        };
        found.push(Quarantined { segment, position, what });
    }
    Ok(found)
}

/// The first damage among the blocks of a segment that begin before `end`: behind which position, and what.
fn first_damage(
    store: &dyn Store,
    segment: SegmentId,
    base: Position,
    end: Position,
) -> Result<Option<(Position, String)>, StoreError> {
    let SegmentId { partition, class, number } = segment;
    let key = |base| LogKey { partition, class, segment: number, base }.encode();
    let mut scan = store.scan(Family::Log, &key(Position::ZERO), &key(end), SCAN_BYTES);
    let (mut position, mut before) = (base, None);
    loop {
        let (key, value) = match scan.next() {
            Ok(Some(entry)) => entry,
            Ok(None) => return Ok(None),
            Err(StoreError::Corrupt(what)) => return Ok(Some((position, what))),
            Err(error @ StoreError::Io(_)) => return Err(error),
        };
        match LogKey::decode(&key).and_then(|key| Block::decode(&key, value)) {
            Ok(block) if before.is_some_and(|crc| crc != block.header.previous_crc) => {
                return Ok(Some((position, "the block before this one in its chain is missing".to_owned())));
            }
            Ok(block) => (position, before) = (block.header.key.base, Some(block.header.crc)),
            Err(damage) => return Ok(Some((position, damage.to_string()))),
        }
    }
}

/// Marks a sealed segment as damaged, synced. Nothing of it is read from then on.
pub(crate) fn quarantine(catalog: &Catalog, found: &Quarantined) -> Result<(), DropError> {
    let next = sealed(catalog, found.segment)?.next;
    let mut batch = Batch::default();
    batch.put(Family::Meta, &found.key().encode(), found.value());
    write(catalog, &batch)?;
    catalog.publish_quarantine(found.segment, next);
    Ok(())
}

/// Makes a sealed segment's stream index anew from its blocks, synced.
pub(crate) fn rebuild_index(catalog: &Catalog, wanted: SegmentId) -> Result<(), DropError> {
    let segment = sealed(catalog, wanted)?;
    let place = Place { partition: wanted.partition, position: segment.base };
    let batch = index_anew(&*catalog.store, &segment, segment.next).map_err(place.store())?;
    write(catalog, &batch.map_err(|what| place.corrupt(&what))?)
}

fn write(catalog: &Catalog, batch: &Batch) -> Result<(), DropError> {
    let written = catalog.store.write(batch).and_then(|()| catalog.store.sync());
    written.map_err(|error: StoreError| DropError::Failed { cause: error.to_string() })
}
