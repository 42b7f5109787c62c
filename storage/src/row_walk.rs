//! Goes through rows without being ended by damage.

use bytes::Bytes;
use types::PartitionId;

use crate::catalog::Catalog;
use crate::damage_walk::{DamageWalk, Step, behind};
use crate::error::ReadError;
use crate::keys::{Family, row_id, row_kind_end, row_kind_start};
use crate::read::Place;
use crate::row_store::decode_row;
use crate::rows::{Met, Row, RowKind};
use crate::store::Store;

/// Over rows of one partition from `from` (inclusive) until `until` (exclusive).
pub(crate) fn row_walk(store: &dyn Store, from: Vec<u8>, until: Vec<u8>, expect_bytes: usize) -> DamageWalk<'_, Row> {
    DamageWalk::new(store, (Family::Rows, |key, value| decode_row(key, value)), (from, until), expect_bytes)
}

/// Rows of one kind, as `Rows::scan_past_damage` promises.
pub(crate) fn scan_past_damage(
    catalog: &Catalog,
    partition: PartitionId,
    kind: RowKind,
    after: Option<&Bytes>,
    limit: usize,
) -> Result<Vec<Met>, ReadError> {
    const ROW_BYTES_GUESS: usize = 256;
    let view = catalog.view(partition);
    let place = Place { partition, position: view.acknowledged() };
    let mut from = row_kind_start(partition, kind);
    if let Some(after) = after {
        from.extend_from_slice(after);
        from.push(0);
    }
    let until = row_kind_end(partition, kind);
    let mut at = from.clone();
    let mut walk = row_walk(catalog.store.as_ref(), from, until.clone(), limit.saturating_mul(ROW_BYTES_GUESS));
    let id = |key: &[u8]| row_id(key).map(Bytes::copy_from_slice).map_err(place.damage());
    let mut met = Vec::new();
    while met.len() < limit {
        let step = walk.next().map_err(place.store())?;
        for lost in view.lost_rows().between(&at, step.as_ref().map_or(&until[..], Step::first)) {
            met.push(Met::Unreadable { first: id(&lost.first)?, last: id(&lost.last)?, what: lost.what });
        }
        let Some(step) = step else { break };
        at = behind(step.last());
        met.push(match step {
            Step::Good(key, row) => Met::Row(id(&key)?, row),
            Step::Damaged { key, what } => Met::Damaged { id: id(&key)?, what },
            Step::Unreadable { first, last, what } => Met::Unreadable { first: id(&first)?, last: id(&last)?, what },
        });
    }
    met.truncate(limit);
    Ok(met)
}
