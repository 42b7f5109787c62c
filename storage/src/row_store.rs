//! Rows in the store: a check, the position that the row reflects, and the kernel's own bytes.

use bytes::Bytes;
use types::{PartitionId, Position};

use crate::catalog::Catalog;
use crate::checked::{seal, unseal};
use crate::codec::Damage;
use crate::damage_walk::{Step, behind};
use crate::error::ReadError;
use crate::keys::{Family, row_id, row_key, row_kind_end, row_kind_start};
use crate::limits::ROW_ID_BYTES;
use crate::read::Place;
use crate::row_walk::row_walk;
use crate::rows::{Row, RowChange, RowKey, RowKind};
use crate::store::{Batch, StoreError};

const VERSION: u8 = 1;

pub(crate) fn encode_row(key: &[u8], row: &Row) -> Bytes {
    let mut body = row.position.value().to_le_bytes().to_vec();
    body.extend_from_slice(&row.value);
    seal(key, VERSION, &body)
}

pub(crate) fn decode_row(key: &[u8], value: &Bytes) -> Result<Row, Damage> {
    let mut reader = unseal(key, VERSION, value)?;
    let position = Position::new(reader.u64()?);
    Ok(Row { position, value: value.slice_ref(reader.rest()) })
}

pub(crate) fn put_changes(partition: PartitionId, changes: &[RowChange], batch: &mut Batch) {
    for change in changes {
        match change {
            RowChange::Put(key, row) => {
                let key = row_key(partition, key);
                batch.put(Family::Rows, &key, encode_row(&key, row));
            }
            RowChange::Delete(key) => batch.delete(Family::Rows, &row_key(partition, key)),
            RowChange::DeleteAll(key) => {
                let from = row_key(partition, key);
                batch.delete_range(Family::Rows, &from, &behind_all(&from));
            }
        }
    }
}

/// The first key that does not begin with this one. Some byte of it can be raised: a kind is a small number.
fn behind_all(prefix: &[u8]) -> Vec<u8> {
    let mut behind = prefix.to_vec();
    while behind.pop_if(|last| *last == u8::MAX).is_some() {}
    if let Some(last) = behind.last_mut() {
        *last += 1;
    }
    behind
}

/// Whether rows may be written with a batch after which the partition ends at `end`.
pub(crate) fn check_changes(changes: &[RowChange], end: Position) -> Result<(), String> {
    for change in changes {
        let (RowChange::Put(key, _) | RowChange::Delete(key) | RowChange::DeleteAll(key)) = change;
        if key.id.len() > ROW_ID_BYTES {
            return Err(format!("a row's id has {} bytes, more than {ROW_ID_BYTES}", key.id.len()));
        }
        if let RowChange::Put(_, row) = change
            && row.position > end
        {
            return Err(format!("a row reflects position {}, but the log ends at {end}", row.position));
        }
    }
    Ok(())
}

pub(crate) fn get(catalog: &Catalog, partition: PartitionId, key: &RowKey) -> Result<Option<Row>, ReadError> {
    let place = Place { partition, position: catalog.view(partition).acknowledged() };
    let key = row_key(partition, key);
    match catalog.store.get(Family::Rows, &key) {
        Ok(Some(value)) => decode_row(&key, &value).map(Some).map_err(place.damage()),
        Ok(None) => catalog.view(partition).lost_rows().at(&key).map_or(Ok(None), |what| Err(place.corrupt(&what))),
        // It may be its neighbour that is damaged.
        Err(error @ StoreError::Corrupt(_)) => match unchecked(catalog, &key) {
            Some(row) => Ok(Some(row)),
            None => Err(place.store()(error)),
        },
        Err(error @ StoreError::Io(_)) => Err(place.store()(error)),
    }
}

/// A row that its own check vouches for, though the store does not.
fn unchecked(catalog: &Catalog, key: &[u8]) -> Option<Row> {
    match row_walk(catalog.store.as_ref(), key.to_vec(), behind(key), 0).next() {
        Ok(Some(Step::Good(found, row))) if found == key => Some(row),
        _ => None,
    }
}

pub(crate) fn scan(
    catalog: &Catalog,
    partition: PartitionId,
    kind: RowKind,
    after: Option<&Bytes>,
    limit: usize,
) -> Result<Vec<(Bytes, Row)>, ReadError> {
    const ROW_BYTES_GUESS: usize = 256;
    let view = catalog.view(partition);
    let place = Place { partition, position: view.acknowledged() };
    let mut from = row_kind_start(partition, kind);
    if let Some(after) = after {
        // The smallest key behind it.
        from.extend_from_slice(after);
        from.push(0);
    }
    let until = row_kind_end(partition, kind);
    let mut scan = catalog.store.scan(Family::Rows, &from, &until, limit.saturating_mul(ROW_BYTES_GUESS));
    let (mut rows, mut at) = (Vec::new(), from);
    while rows.len() < limit {
        let next = scan.next().map_err(place.store())?;
        let lost = view.lost_rows().between(&at, next.as_ref().map_or(&until[..], |(key, _)| key));
        if let Some(lost) = lost.first() {
            return Err(place.corrupt(&lost.what));
        }
        let Some((key, value)) = next else { break };
        at = behind(&key);
        let row = decode_row(&key, &value).map_err(place.damage())?;
        rows.push((Bytes::copy_from_slice(row_id(&key).map_err(place.damage())?), row));
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::tests::any_bytes;

    proptest! {
        #[test]
        fn a_row_comes_back_under_its_key(value in any_bytes(100), position: u64) {
            let row = Row { position: Position::new(position), value };
            let bytes = encode_row(b"key", &row);
            prop_assert_eq!(decode_row(b"key", &bytes), Ok(row));
            prop_assert!(decode_row(b"other", &bytes).is_err());
        }
    }

    #[test]
    fn a_row_ahead_of_the_log_is_refused() {
        let key = RowKey { kind: RowKind::OpenRun, id: Bytes::from_static(b"r") };
        let put =
            |position| RowChange::Put(key.clone(), Row { position: Position::new(position), value: Bytes::new() });
        assert_eq!(check_changes(&[put(5)], Position::new(5)), Ok(()));
        assert!(check_changes(&[put(6)], Position::new(5)).is_err());
        let long = RowKey { kind: RowKind::OpenRun, id: vec![0; ROW_ID_BYTES + 1].into() };
        assert!(check_changes(&[RowChange::Delete(long)], Position::ZERO).is_err());
    }
}
