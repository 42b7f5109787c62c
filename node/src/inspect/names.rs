//! Whose an ordinal is: the name of a stream, or the run whose stream it is. Found in rows, in the run's own first
//! event, or among what was created after the last checkpoint.

use std::collections::BTreeMap;

use engine::{Event, RowImage, RowName, RunEvent, StreamKey, stored};
use storage::{Log, ReadError, RowKey, Rows, StreamRead};
use types::{Offset, PartitionId, Position, RoutingHash, RunId, StreamName, StreamOrdinal};

use super::damage::passed;
use crate::limits;
use crate::translate;

/// Names at hand; beyond it all are forgotten and found again.
const NAMES_KEPT: usize = 65_536;

/// A stand-in for a run that is not known, where only the kind of its event is wanted.
pub(crate) const NOBODY: RunId = RunId::new(RoutingHash::from_bits(0), 0);

/// What was found out so far, of one log.
#[derive(Debug, Default)]
pub struct Names {
    known: BTreeMap<(PartitionId, StreamOrdinal), Option<StreamKey>>,
    /// Up to where a partition was searched for what rows do not know yet.
    searched: BTreeMap<PartitionId, Position>,
}

impl Names {
    /// The stream that an ordinal of a partition names, as far as anything still says so.
    pub(super) fn of(
        &mut self,
        log: &dyn Log,
        rows: &dyn Rows,
        partition: PartitionId,
        ordinal: StreamOrdinal,
    ) -> Result<Option<StreamKey>, ReadError> {
        if let Some(known) = self.known.get(&(partition, ordinal)) {
            return Ok(known.clone());
        }
        let found = match row(rows, partition, &RowName::StreamName(ordinal))? {
            Some(RowImage::StreamName(key)) => Some(key),
            Some(_) | None => match closed_run(rows, partition, ordinal)? {
                Some(key) => Some(key),
                None => run(log, partition, ordinal)?,
            },
        };
        if found.is_none() {
            self.search(log, rows, partition)?;
            if let Some(known) = self.known.get(&(partition, ordinal)) {
                return Ok(known.clone());
            }
        }
        self.learn(partition, ordinal, found.clone());
        Ok(found)
    }

    pub(super) fn learn(&mut self, partition: PartitionId, ordinal: StreamOrdinal, key: Option<StreamKey>) {
        if self.known.len() >= NAMES_KEPT {
            self.known.clear();
            self.searched.clear();
        }
        self.known.insert((partition, ordinal), key);
    }

    /// Looks for streams that were created after the rows were written.
    fn search(&mut self, log: &dyn Log, rows: &dyn Rows, partition: PartitionId) -> Result<(), ReadError> {
        let written = match rows.get(partition, &key(&RowName::Partition))? {
            Some(row) => row.position,
            None => super::seek::start(log, partition),
        };
        let end = log.bounds(partition).end;
        let mut from = self.searched.get(&partition).copied().unwrap_or(written).max(written);
        while from < end {
            let page = match log.read(partition, from, limits::RECORDS_PER_FOLD, limits::FOLD_BYTES) {
                Ok(page) => page,
                Err(error) => {
                    from = passed(log, partition, from, error)?.until;
                    continue;
                }
            };
            let Some(last) = page.last() else { break };
            from = last.position.next();
            for stored in &page {
                if let Ok(Event::StreamCreated { tenant, name, ordinal, .. }) =
                    stored::decode(&translate::encoded(&stored.record), |_| Some(NOBODY))
                {
                    self.learn(partition, ordinal, Some(StreamKey { tenant, name }));
                }
            }
        }
        self.searched.insert(partition, from);
        Ok(())
    }
}

/// The closed run whose stream it is, as rows have it.
fn closed_run(rows: &dyn Rows, partition: PartitionId, stream: StreamOrdinal) -> Result<Option<StreamKey>, ReadError> {
    let Some(RowImage::RunOfStream(run)) = row(rows, partition, &RowName::RunOfStream(stream))? else {
        return Ok(None);
    };
    let Some(RowImage::Run(closed)) = row(rows, partition, &RowName::ClosedRun(run))? else { return Ok(None) };
    Ok(Some(StreamKey { tenant: closed.tenant, name: StreamName::of_run(run) }))
}

/// The run whose stream it is: its first event says so.
fn run(log: &dyn Log, partition: PartitionId, stream: StreamOrdinal) -> Result<Option<StreamKey>, ReadError> {
    let first = StreamRead {
        partition,
        stream,
        from: Offset::ZERO,
        until: Offset::ZERO.next(),
        max_events: 1,
        max_bytes: usize::MAX,
    };
    let first = match log.read_stream(first) {
        Ok(first) => first,
        Err(ReadError::Trimmed { .. } | ReadError::EventsQuarantined { .. } | ReadError::Corrupt { .. }) => {
            return Ok(None);
        }
        Err(error @ (ReadError::Dropped { .. } | ReadError::Quarantined { .. } | ReadError::Io { .. })) => {
            return Err(error);
        }
    };
    let event = first.first().map(|stored| stored::decode(&translate::encoded(&stored.record), |_| Some(NOBODY)));
    Ok(match event {
        Some(Ok(Event::Run { run, event: RunEvent::Started(started) })) => {
            Some(StreamKey { tenant: started.tenant, name: StreamName::of_run(run) })
        }
        Some(_) | None => None,
    })
}

fn key(name: &RowName) -> RowKey {
    let (kind, id) = stored::row_key(name);
    RowKey { kind: translate::row_kind(kind), id: id.into() }
}

/// A row that is not there, or that this version cannot read, names nothing.
pub(super) fn row(rows: &dyn Rows, partition: PartitionId, name: &RowName) -> Result<Option<RowImage>, ReadError> {
    let found = rows.get(partition, &key(name))?;
    Ok(found.and_then(|row| stored::decode_row(name, &row.value).ok()))
}
