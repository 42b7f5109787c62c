//! Brings back what damaged rows held: from the log, where it still says so; else what they were of is set aside by name,
//! and the partition goes on without it.

use engine::{Gone, Partition, Placed, Rebuild, Rebuilt, RowName, Wanted, stored};
use storage::{Log, ReadError, RetentionClass, RowKey, Rows, StoredRecord};
use types::{PartitionId, Position};

use super::row_text;
use crate::limits;
use crate::partition::LaneError;
use crate::translate;

/// What could not be brought back and was not set aside, with the reason.
pub(super) type Lost = Vec<(RowName, String)>;

/// Makes rows again as they were when `until` was the next position, and takes them into the state.
pub(super) fn mend(
    id: PartitionId,
    partition: &mut Partition,
    log: &dyn Log,
    rows: &dyn Rows,
    wanted: Wanted,
    until: Position,
) -> Result<Lost, LaneError> {
    let asked = wanted.names.clone();
    let mut rebuild = partition.rebuild(wanted);
    read_through(id, log, until, &mut rebuild)?;
    let Rebuilt { rows: images, closed, set_aside, lost } = rebuild.finish();
    // Of what was not asked for by name only that is wanted whose row is there and cannot be read.
    let is_damaged = |name: &RowName| asked.contains(name) || !is_readable(id, rows, name);
    for (name, image) in images {
        let streams = matches!(name, RowName::Stream(_) | RowName::StreamName(_));
        if streams || is_damaged(&name) {
            tracing::error!(partition = %id, row = row_text(&name), "a damaged row was made again from the log; check the disk");
            partition.admit_rebuilt(name, image);
        }
    }
    for run in closed.into_iter().filter(|run| asked.contains(&RowName::OpenRun(*run))) {
        partition.drop_open_row(run);
    }
    for (run, aside) in set_aside {
        if is_damaged(&RowName::OpenRun(run)) {
            let what = aside.why.as_str();
            tracing::error!(partition = %id, %run, what, "a run is damaged and is set aside: restore a backup, or give it up by cancelling it");
            partition.set_aside(run, aside);
        }
    }
    Ok(lost)
}

fn is_readable(id: PartitionId, rows: &dyn Rows, name: &RowName) -> bool {
    let (kind, key) = stored::row_key(name);
    let key = RowKey { kind: translate::row_kind(kind), id: key.into() };
    match rows.get(id, &key) {
        Ok(Some(row)) => stored::decode_row(name, &row.value).is_ok(),
        Ok(None) => true,
        Err(_) => false,
    }
}

/// Gives it all events before `until` that are there, and says where some are not.
fn read_through(id: PartitionId, log: &dyn Log, until: Position, rebuild: &mut Rebuild) -> Result<(), LaneError> {
    let facts = Facts::of(id, log);
    let mut at = Position::ZERO;
    while at < until {
        match log.read(id, at, limits::RECORDS_PER_FOLD, limits::FOLD_BYTES) {
            Ok(page) if page.is_empty() => {
                rebuild.hole(at, until, facts.gone(at, until));
                return Ok(());
            }
            Ok(page) => {
                for stored in page.iter().take_while(|stored| stored.position < until) {
                    if stored.position > at {
                        rebuild.hole(at, stored.position, facts.gone(at, stored.position));
                    }
                    at = stored.position.next();
                    if let Err(what) = give(stored, rebuild) {
                        rebuild.ends_early(stored.position, &what);
                        return Ok(());
                    }
                }
                if page.last().is_some_and(|last| last.position >= until) {
                    return Ok(());
                }
            }
            Err(ReadError::Dropped { start }) => {
                rebuild.hole(at, start, Gone::Dropped);
                at = start;
            }
            // Neither chain is read there.
            Err(ReadError::Quarantined { next, .. }) => {
                rebuild.hole(at, next, Gone::Anything);
                at = next;
            }
            Err(ReadError::Corrupt { position, what, .. }) => {
                rebuild.ends_early(position, &what);
                return Ok(());
            }
            Err(source @ (ReadError::Io { .. } | ReadError::Trimmed { .. } | ReadError::EventsQuarantined { .. })) => {
                return Err(LaneError::Read { partition: id, source });
            }
        }
    }
    Ok(())
}

fn give(stored: &StoredRecord, rebuild: &mut Rebuild) -> Result<(), String> {
    let record = &stored.record;
    if record.schema == stored::USER_EVENT && !rebuild.follows(record.stream) {
        return Ok(());
    }
    match stored::decode(&translate::encoded(record), |ordinal| rebuild.run_of(ordinal)) {
        Ok(event) => {
            let placed = Placed { position: stored.position, time: record.time };
            rebuild.take(&event, placed, record.offset);
            Ok(())
        }
        // Of a run that needs no mending.
        Err(stored::StoredError::UnknownRun(_)) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// Where the run chain, in which facts are, is kept and read.
struct Facts(Vec<(Position, Position)>);

impl Facts {
    /// Where that cannot be told, it is nowhere.
    fn of(id: PartitionId, log: &dyn Log) -> Self {
        let segments = log.segments(id).unwrap_or_default();
        let of_runs = segments.iter().filter(|segment| segment.id.class == RetentionClass::Run && !segment.quarantined);
        // The active one is told as it was at the last checkpoint.
        Self(of_runs.map(|it| (it.base, if it.sealed { it.next } else { Position::new(u64::MAX) })).collect())
    }

    /// What retention dropped of these positions.
    fn gone(&self, from: Position, until: Position) -> Gone {
        if self.missing(from, until) { Gone::Dropped } else { Gone::Output }
    }

    /// Whether facts may have been among them.
    fn missing(&self, from: Position, until: Position) -> bool {
        let mut at = from;
        for &(base, next) in &self.0 {
            if base <= at && at < next {
                at = next;
            }
        }
        at < until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_missing_where_no_segment_of_the_run_chain_is() {
        let at = Position::new;
        let facts = Facts(vec![(at(0), at(10)), (at(10), at(20)), (at(40), at(u64::MAX))]);
        assert!(!facts.missing(at(3), at(20)) && !facts.missing(at(40), at(1_000)) && !facts.missing(at(5), at(5)));
        assert!(facts.missing(at(3), at(21)) && facts.missing(at(20), at(40)) && facts.missing(at(39), at(41)));
    }
}
