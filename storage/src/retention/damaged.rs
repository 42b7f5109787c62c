//! What is done about a sealed segment that is damaged.

use types::Position;

use super::drop::{DropError, id};
use super::segments::{SegmentId, all};
use crate::catalog::Catalog;
use crate::index_anew::index_anew;
use crate::quarantine::Quarantined;
use crate::read::Place;
use crate::segment::{Segment, SegmentState};
use crate::store::{Batch, StoreError};

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

/// Marks a sealed segment as damaged, synced. Nothing of it is read from then on.
pub(crate) fn quarantine(catalog: &Catalog, found: &Quarantined) -> Result<(), DropError> {
    let next = sealed(catalog, found.segment)?.next;
    let mut batch = Batch::default();
    batch.put(crate::keys::Family::Meta, &found.key().encode(), found.value());
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
