//! The row of a partition's scalars, made again when it is damaged: from where to fold, from the positions of all other
//! rows; the rest, from the log.

use bytes::Bytes;
use engine::{Event, RowImage, RowName, RunEvent, Scalars, stored};
use storage::{Log, Met, ReadError, RowKey, Rows};
use types::{PartitionId, Position, StreamOrdinal, Timestamp};

use super::row_text;
use crate::limits;
use crate::partition::LaneError;
use crate::translate;

/// The scalars, and the position that all rows reflect.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) scalars: Scalars,
    pub(super) position: Position,
    /// They were made again. Whatever only took rows away may then be folded once more.
    pub(super) again: bool,
}

/// `None`: the partition has no rows.
pub(super) fn load(id: PartitionId, log: &dyn Log, rows: &dyn Rows) -> Result<Option<Found>, LaneError> {
    let (kind, key) = stored::row_key(&RowName::Partition);
    let key = RowKey { kind: translate::row_kind(kind), id: key.into() };
    let what = match rows.get(id, &key) {
        Ok(None) => return Ok(None),
        Ok(Some(row)) => match stored::decode_row(&RowName::Partition, &row.value) {
            Ok(RowImage::Partition(scalars)) => {
                return Ok(Some(Found { scalars, position: row.position, again: false }));
            }
            Ok(_) => unreachable!("the codec pairs names and images"),
            Err(error) if error.is_damage() => error.to_string(),
            Err(error) => {
                let (name, what) = (row_text(&RowName::Partition), error.to_string());
                return Err(LaneError::Newer { partition: id, name, what });
            }
        },
        Err(ReadError::Corrupt { what, .. }) => what,
        Err(source) => return Err(LaneError::Read { partition: id, source }),
    };
    let name = row_text(&RowName::Partition);
    tracing::error!(partition = %id, what, "the row of {name} is damaged; it is made again from the other rows and the log");
    let position = newest(id, rows)?;
    let (next_ordinal, time) = counted(id, log, position)?;
    Ok(Some(Found { scalars: Scalars { next_ordinal, time }, position, again: true }))
}

/// A checkpoint writes all rows that changed since the one before, so what lies behind the newest row changed none.
fn newest(id: PartitionId, rows: &dyn Rows) -> Result<Position, LaneError> {
    let mut newest = Position::ZERO;
    for kind in translate::OWNED_ROWS {
        let mut after: Option<Bytes> = None;
        loop {
            let page = rows.scan_past_damage(id, kind, after.as_ref(), limits::ROWS_PER_SCAN);
            let page = page.map_err(|source| LaneError::Read { partition: id, source })?;
            let Some(last) = page.last() else { break };
            after = Some(last.last().clone());
            for met in &page {
                if let Met::Row(_, row) = met {
                    newest = newest.max(row.position);
                }
            }
        }
    }
    Ok(newest)
}

/// The next ordinal and the time at this position. The first one given behind it says what was next.
fn counted(id: PartitionId, log: &dyn Log, position: Position) -> Result<(StreamOrdinal, Timestamp), LaneError> {
    let (mut next, mut time, mut at) = (StreamOrdinal::FIRST, Timestamp::ZERO, Position::ZERO);
    loop {
        match log.read(id, at, limits::RECORDS_PER_FOLD, limits::FOLD_BYTES) {
            Ok(page) => {
                let Some(last) = page.last() else { return Ok((next, time)) };
                at = last.position.next();
                for stored in &page {
                    let behind = stored.position >= position;
                    if !behind {
                        time = time.max(stored.record.time);
                        next = next.max(stored.record.stream.next());
                    }
                    let event = stored::decode(&translate::encoded(&stored.record), |_| None);
                    let given = match event {
                        Ok(Event::StreamCreated { ordinal, .. }) => Some(ordinal),
                        Ok(Event::Run { event: RunEvent::Started(started), .. }) => Some(started.ordinal),
                        Ok(_) | Err(_) => None,
                    };
                    match given {
                        Some(ordinal) if behind => return Ok((ordinal, time)),
                        Some(ordinal) => next = next.max(ordinal.next()),
                        None => {}
                    }
                }
            }
            Err(ReadError::Dropped { start }) => at = start,
            Err(ReadError::Quarantined { next, .. }) => at = next,
            Err(source) => return Err(LaneError::Read { partition: id, source }),
        }
    }
}
