//! Passes damage by: what cannot be read is named, and what lies behind it is still shown.

use gateway::operator::DamagedRange;
use storage::{Log, ReadError};
use types::{PartitionId, Position};

/// What a read at `from` could not give, and where to go on. An error that is not damage is given back.
pub(super) fn passed(
    log: &dyn Log,
    partition: PartitionId,
    from: Position,
    error: ReadError,
) -> Result<DamagedRange, ReadError> {
    let what = error.to_string();
    let until = match error {
        ReadError::Quarantined { next, .. } => next,
        ReadError::Corrupt { .. } => behind(log, partition, from)?,
        ReadError::Trimmed { .. }
        | ReadError::Dropped { .. }
        | ReadError::EventsQuarantined { .. }
        | ReadError::Io { .. } => return Err(error),
    };
    Ok(DamagedRange { from, until: until.max(from.next()), what })
}

/// Where the next segment of either chain begins: which of the two is damaged is not known.
fn behind(log: &dyn Log, partition: PartitionId, from: Position) -> Result<Position, ReadError> {
    let segments = log.segments(partition)?;
    let ends = segments.iter().filter(|segment| segment.sealed).map(|segment| segment.next);
    Ok(ends.filter(|end| *end > from).min().unwrap_or_else(|| log.bounds(partition).end))
}
