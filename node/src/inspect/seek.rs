//! Finds the position at a time. Time never goes backwards within a partition, so halving finds it.

use storage::{Log, ReadError, StoredRecord};
use types::{PartitionId, Position, Timestamp};

use super::damage::passed;

/// The first position whose record is not older than `time`; the partition's end when all are.
pub(super) fn position_at(log: &dyn Log, partition: PartitionId, time: Timestamp) -> Result<Position, ReadError> {
    let bounds = log.bounds(partition);
    let (mut low, mut high) = (start(log, partition), bounds.end);
    while low < high {
        let middle = Position::new(u64::midpoint(low.value(), high.value()));
        // Where something is no longer kept, or cannot be read, the next record there is stands for it.
        match next_record(log, partition, middle)? {
            Some(record) if record.record.time < time => low = record.position.next(),
            Some(_) | None => high = middle,
        }
    }
    Ok(low.min(bounds.end))
}

/// The first record at or behind `from` that can be read.
pub(super) fn next_record(
    log: &dyn Log,
    partition: PartitionId,
    mut from: Position,
) -> Result<Option<StoredRecord>, ReadError> {
    loop {
        match log.read(partition, from, 1, 1) {
            Ok(page) => return Ok(page.into_iter().next()),
            Err(error) => from = passed(log, partition, from, error)?.until,
        }
    }
}

/// The oldest position that can be asked for.
pub(super) fn start(log: &dyn Log, partition: PartitionId) -> Position {
    let bounds = log.bounds(partition);
    bounds.start_run.min(bounds.end)
}
