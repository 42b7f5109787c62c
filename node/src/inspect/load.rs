//! How the work is spread over the partitions: records of the last hour, and how far the busiest lies above the mean.

use gateway::operator::{Load, PartitionLoad};
use storage::{Log, ReadError, SegmentFacts};
use types::{Position, Timestamp};

use super::seek::{next_record, position_at, start};

/// `now`: `None` looks at the time before the newest record, as of a node that stopped long ago.
pub fn load(log: &dyn Log, now: Option<Timestamp>, over_ms: u64) -> Result<Load, ReadError> {
    let mut partitions = Vec::new();
    for partition in log.partitions().partitions() {
        let bounds = log.bounds(partition);
        let last = match bounds.end.value().checked_sub(1) {
            None => None,
            Some(last) => next_record(log, partition, Position::new(last))?.map(|stored| stored.record.time),
        };
        let start = start(log, partition);
        let (history, end) = (bounds.history, bounds.end);
        partitions.push(PartitionLoad { partition, history, start, end, recent: 0, recent_bytes: 0, last });
    }
    let newest = partitions.iter().filter_map(|partition| partition.last).max().unwrap_or_default();
    let until = now.unwrap_or(newest);
    let since = Timestamp::from_millis(until.as_millis().saturating_sub(over_ms));
    for load in &mut partitions {
        if load.last.is_some_and(|last| last >= since) {
            let from = position_at(log, load.partition, since)?;
            load.recent = load.end.since(from);
            load.recent_bytes = bytes_from(&log.segments(load.partition)?, from);
        }
    }
    let skew_percent = skew_percent(&partitions.iter().map(|load| load.recent).collect::<Vec<_>>());
    let skew_bytes_percent = self::skew_percent(&partitions.iter().map(|load| load.recent_bytes).collect::<Vec<_>>());
    Ok(Load { until, over_ms, partitions, skew_percent, skew_bytes_percent })
}

/// Bytes of blocks at and after a position; of a segment that begins before it, the share of its positions.
fn bytes_from(segments: &[SegmentFacts], from: Position) -> u64 {
    let of = |segment: &SegmentFacts| {
        let all = segment.next.since(segment.base);
        let within = segment.next.since(segment.base.max(from).min(segment.next));
        let bytes = u128::from(segment.bytes) * u128::from(within) / u128::from(all.max(1));
        u64::try_from(bytes).expect("a share is no more than the whole")
    };
    segments.iter().map(of).sum()
}

/// max / mean − 1, in percent.
#[expect(clippy::cast_precision_loss, reason = "a percentage of counts is far coarser than 2^52")]
pub fn skew_percent(counts: &[u64]) -> Option<f64> {
    let (max, sum) = (counts.iter().max().copied()?, counts.iter().sum::<u64>());
    let mean = sum as f64 / counts.len() as f64;
    (sum > 0).then(|| (max as f64 / mean - 1.0) * 100.0)
}

#[cfg(test)]
mod tests {
    use storage::{RetentionClass, SegmentId};
    use types::PartitionId;

    use super::*;

    #[test]
    fn of_a_segment_that_began_before_a_share_is_counted() {
        let segment = |number: u32, base: u64, next: u64, bytes: u64| SegmentFacts {
            id: SegmentId { partition: PartitionId::SYSTEM, class: RetentionClass::Run, number },
            sealed: true,
            quarantined: false,
            base: Position::new(base),
            next: Position::new(next),
            records: 1,
            bytes,
            first_time: Timestamp::ZERO,
            last_time: Timestamp::ZERO,
            floor: Position::ZERO,
        };
        let segments = [segment(1, 0, 100, 1_000), segment(2, 100, 200, 4_000), segment(3, 200, 200, 0)];
        let check = |from, expect| assert_eq!(bytes_from(&segments, Position::new(from)), expect, "from {from}");
        check(0, 5_000);
        check(75, 4_250);
        check(100, 4_000);
        check(150, 2_000);
        check(200, 0);
        check(900, 0);
    }

    #[test]
    fn skew_is_how_far_the_largest_lies_above_the_mean() {
        let check = |counts: &[u64], expect: Option<f64>| assert_eq!(skew_percent(counts), expect, "{counts:?}");
        check(&[], None);
        check(&[0, 0], None);
        check(&[5, 5, 5], Some(0.0));
        check(&[10, 0], Some(100.0));
        check(&[9, 6, 6, 3], Some(50.0));
    }
}
