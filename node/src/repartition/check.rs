//! Holds the new directory against what was read from the old one: every record of every stream and run in order, every
//! row, and that folding the new log from its beginning gives the state that its rows say.

use std::path::Path;

use engine::{Partition, PartitionConfig, stored};
use storage::{Log, ReadOnlyLog, RowKind, Rows};
use types::{PartitionId, Position, StreamOrdinal};

use super::error::RepartitionError;
use super::renumber::named;
use super::rewrite::{Sums, Written};
use super::rows::Kept;
use crate::inspect::{self, NOBODY};
use crate::partition::{Lane, LaneLimits};
use crate::{limits, translate};

pub(super) fn compare(new: &Path, written: &Written, kept: &Kept) -> Result<(), RepartitionError> {
    let (log, _) = ReadOnlyLog::open(new)?;
    let different = |what: String| Err(RepartitionError::NotTheSame { what });
    let mut sums = Sums::new();
    for partition in log.partitions().partitions() {
        sum_up(&log, partition, &mut sums)?;
        let found = count_rows(&log, partition)?;
        let expected = kept.rows.get(&partition).copied().unwrap_or_default();
        if found != expected {
            return different(format!("partition {partition} has {found} rows instead of {expected}"));
        }
    }
    let plain = |sums: &Sums| sums.iter().map(|(place, sum)| (*place, sum.finish())).collect::<Vec<_>>();
    let (before, after) = (plain(&written.sums), plain(&sums));
    if before != after {
        let odd = before.iter().zip(&after).find(|(before, after)| before != after);
        return different(format!("the events of a stream differ: {odd:?}"));
    }
    folded(&log)
}

fn sum_up(log: &dyn Log, partition: PartitionId, sums: &mut Sums) -> Result<(), RepartitionError> {
    let (mut next, end) = (Position::ZERO, log.bounds(partition).end);
    while next < end {
        let page = log.read(partition, next, limits::RECORDS_PER_FOLD, limits::FOLD_BYTES)?;
        let Some(last) = page.last() else { break };
        next = last.position.next();
        for stored in &page {
            let event = stored::decode(&translate::encoded(&stored.record), |_| Some(NOBODY));
            let event = event.map_err(|error| RepartitionError::NotTheSame { what: error.to_string() })?;
            let ordinal = match inspect::ordinal_of(stored) {
                Some(ordinal) => ordinal,
                None => named(&event).unwrap_or(StreamOrdinal::NONE),
            };
            sums.entry((partition, ordinal)).or_default().add(&stored.record, &event);
        }
    }
    Ok(())
}

fn count_rows(rows: &dyn Rows, partition: PartitionId) -> Result<u64, RepartitionError> {
    let mut count = 0;
    for kind in std::iter::once(RowKind::Partition).chain(translate::OWNED_ROWS) {
        let mut after = None;
        loop {
            let page = rows.scan(partition, kind, after.as_ref(), limits::ROWS_PER_SCAN)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (id, row) in &page {
                let read = stored::read_row(kind as u8, id, &row.value);
                read.map_err(|error| RepartitionError::NotTheSame { what: error.to_string() })?;
            }
            count += page.len() as u64;
        }
    }
    Ok(count)
}

/// What a node that starts on it would hold is what its log says from the beginning.
fn folded(log: &ReadOnlyLog) -> Result<(), RepartitionError> {
    let config = PartitionConfig::new([0; 32]);
    let replayed = inspect::replay(log, &config, false, |_, _, _| {});
    let replayed = replayed.map_err(|error| RepartitionError::NotTheSame { what: error.to_string() })?;
    for replay in replayed.partitions {
        let lane: Lane<()> =
            Lane::recover(replay.partition, Partition::new(config.clone()), log, log, LaneLimits::default())?;
        if lane.partition().digest() != replay.digest {
            let what = format!("partition {} folds to another state than its rows have", replay.partition);
            return Err(RepartitionError::NotTheSame { what });
        }
    }
    Ok(())
}
