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

/// The next position that can be read; at the latest where the next segment of either chain begins, since which of the
/// two is damaged is not known.
fn behind(log: &dyn Log, partition: PartitionId, from: Position) -> Result<Position, ReadError> {
    let segments = log.segments(partition)?;
    let ends = segments.iter().filter(|segment| segment.sealed).map(|segment| segment.next);
    let bound = ends.filter(|end| *end > from).min().unwrap_or_else(|| log.bounds(partition).end);
    let reads = |at: u64| log.read(partition, Position::new(at), 1, 1).is_ok();
    // What is damaged is one piece, so what follows it is found by doubling, then by halving.
    let (mut damaged, mut step) = (from.value(), 1);
    let mut good = loop {
        let at = from.value().saturating_add(step);
        if at >= bound.value() {
            break bound.value();
        }
        if reads(at) {
            break at;
        }
        (damaged, step) = (at, step.saturating_mul(2));
    };
    while good.saturating_sub(damaged) > 1 {
        let middle = u64::midpoint(damaged, good);
        if reads(middle) {
            good = middle;
        } else {
            damaged = middle;
        }
    }
    Ok(Position::new(good))
}
