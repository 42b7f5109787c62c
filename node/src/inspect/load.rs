//! How the work is spread over the partitions: records of the last hour, and how far the busiest lies above the mean.

use gateway::operator::{Load, PartitionLoad};
use storage::{Log, ReadError};
use types::{Position, Timestamp};

use super::seek::{position_at, start};

/// `now`: `None` looks at the time before the newest record, as of a node that stopped long ago.
pub fn load(log: &dyn Log, now: Option<Timestamp>, over_ms: u64) -> Result<Load, ReadError> {
    let mut partitions = Vec::new();
    for partition in log.partitions().partitions() {
        let bounds = log.bounds(partition);
        let last = match bounds.end.value().checked_sub(1) {
            None => None,
            Some(last) => log.read(partition, Position::new(last), 1, 1)?.first().map(|stored| stored.record.time),
        };
        let start = start(log, partition);
        partitions.push(PartitionLoad { partition, history: bounds.history, start, end: bounds.end, recent: 0, last });
    }
    let newest = partitions.iter().filter_map(|partition| partition.last).max().unwrap_or_default();
    let until = now.unwrap_or(newest);
    let since = Timestamp::from_millis(until.as_millis().saturating_sub(over_ms));
    for load in &mut partitions {
        if load.last.is_some_and(|last| last >= since) {
            load.recent = load.end.since(position_at(log, load.partition, since)?);
        }
    }
    let skew_percent = skew_percent(&partitions.iter().map(|load| load.recent).collect::<Vec<_>>());
    Ok(Load { until, over_ms, partitions, skew_percent })
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
    use super::*;

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
