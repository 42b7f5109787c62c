//! Finds the position at a time. Time never goes backwards within a partition, so halving finds it.

use storage::{Log, ReadError};
use types::{PartitionId, Position, Timestamp};

/// The first position whose record is not older than `time`; the partition's end when all are.
pub(super) fn position_at(log: &dyn Log, partition: PartitionId, time: Timestamp) -> Result<Position, ReadError> {
    let bounds = log.bounds(partition);
    let (mut low, mut high) = (start(log, partition), bounds.end);
    while low < high {
        let middle = Position::new(u64::midpoint(low.value(), high.value()));
        // Where something is no longer kept, the next record there is stands for it.
        match log.read(partition, middle, 1, 1)?.first() {
            Some(record) if record.record.time < time => low = record.position.next(),
            Some(_) | None => high = middle,
        }
    }
    Ok(low.min(bounds.end))
}

/// The oldest position that can be asked for.
pub(super) fn start(log: &dyn Log, partition: PartitionId) -> Position {
    let bounds = log.bounds(partition);
    bounds.start_run.min(bounds.end)
}
