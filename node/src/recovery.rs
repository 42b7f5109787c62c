//! Brings a partition back after a stop of any kind: its rows, then the events behind them.

use bytes::Bytes;
use engine::{Class, Need, Partition, Placed, RowName, stored};
use storage::{Log, ReadError, RowKey, RowKind, Rows, StoredRecord};
use types::{PartitionId, Position, StreamOrdinal};

use crate::limits;
use crate::partition::LaneError;
use crate::translate;

/// Takes in the scalars, open runs, and in the system partition the definitions. Idle runs do not stay in memory once
/// open ones hold `open_bytes`.
pub(crate) fn load_rows(
    id: PartitionId,
    partition: &mut Partition,
    rows: &dyn Rows,
    open_bytes: usize,
) -> Result<(), LaneError> {
    let (kind, key) = stored::row_key(&RowName::Partition);
    let key = RowKey { kind: translate::row_kind(kind), id: key.into() };
    let Some(scalars) = rows.get(id, &key).map_err(|source| LaneError::Read { partition: id, source })? else {
        return Ok(());
    };
    admit(id, partition, &RowName::Partition, &scalars.value)?;
    partition.begin_at(scalars.position);
    load_kind(id, partition, rows, RowKind::OpenRun, open_bytes)?;
    if id == PartitionId::SYSTEM {
        load_kind(id, partition, rows, RowKind::Definition, open_bytes)?;
    }
    Ok(())
}

fn load_kind(
    id: PartitionId,
    partition: &mut Partition,
    rows: &dyn Rows,
    kind: RowKind,
    open_bytes: usize,
) -> Result<(), LaneError> {
    let mut after: Option<Bytes> = None;
    loop {
        let page = rows.scan(id, kind, after.as_ref(), limits::ROWS_PER_SCAN);
        let page = page.map_err(|source| LaneError::Read { partition: id, source })?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = Some(last.clone());
        for (key, row) in page {
            let (name, image) = stored::read_row(kind as u8, &key, &row.value).map_err(|error| LaneError::Row {
                partition: id,
                name: format!("{kind:?}"),
                what: error.to_string(),
            })?;
            partition.admit(name, image);
            partition.evict_idle(open_bytes);
        }
    }
}

/// Takes in one row that is needed; absent is an answer too.
pub(crate) fn fetch_row(
    id: PartitionId,
    partition: &mut Partition,
    name: &RowName,
    rows: &dyn Rows,
) -> Result<(), LaneError> {
    let (kind, key) = stored::row_key(name);
    let key = RowKey { kind: translate::row_kind(kind), id: key.into() };
    match rows.get(id, &key).map_err(|source| row_error(id, name, source))? {
        Some(row) => admit(id, partition, name, &row.value),
        None => Ok(()),
    }
}

fn admit(id: PartitionId, partition: &mut Partition, name: &RowName, value: &[u8]) -> Result<(), LaneError> {
    let image = stored::decode_row(name, value).map_err(|error| LaneError::Row {
        partition: id,
        name: row_text(name),
        what: error.to_string(),
    })?;
    partition.admit(name.clone(), image);
    Ok(())
}

/// A damaged row is named by what it is of: it stands at no position of the log.
fn row_error(id: PartitionId, name: &RowName, source: ReadError) -> LaneError {
    match source {
        ReadError::Corrupt { what, .. } => LaneError::Row { partition: id, name: row_text(name), what },
        ReadError::Trimmed { .. }
        | ReadError::Dropped { .. }
        | ReadError::Quarantined { .. }
        | ReadError::EventsQuarantined { .. }
        | ReadError::Io { .. } => LaneError::Read { partition: id, source },
    }
}

/// What a row is of, for people.
fn row_text(name: &RowName) -> String {
    match name {
        RowName::Partition => "the partition itself".to_owned(),
        RowName::OpenRun(run) | RowName::ClosedRun(run) => format!("run {run}"),
        RowName::Stream(key) => format!("stream {}", key.name),
        RowName::RunOfStream(ordinal) => format!("the run whose stream has ordinal {ordinal}"),
        RowName::StreamName(ordinal) => format!("the stream with ordinal {ordinal}"),
        RowName::Producer(key, producer) => format!("producer {} on stream {}", producer.as_str(), key.name),
        RowName::Start(key) => format!("idempotency key {:?} of a start", key.idempotency_key.as_str()),
        RowName::Definition(_, _, name) => format!("definition {name}"),
    }
}

/// Applies the events behind the rows, up to `end`; says how many.
pub(crate) fn fold(
    id: PartitionId,
    partition: &mut Partition,
    log: &dyn Log,
    rows: &dyn Rows,
    end: Position,
) -> Result<usize, LaneError> {
    let mut folded = 0;
    while partition.next_position() < end {
        let from = partition.next_position();
        let page = log.read(id, from, limits::RECORDS_PER_FOLD, limits::FOLD_BYTES);
        let page = page.map_err(|source| LaneError::Read { partition: id, source })?;
        if page.is_empty() {
            let what = format!("the log ends at {from}, though {end} is durable");
            return Err(LaneError::Read {
                partition: id,
                source: ReadError::Corrupt { partition: id, position: from, what },
            });
        }
        for stored in &page {
            fold_one(id, partition, rows, stored)?;
        }
        folded += page.len();
    }
    Ok(folded)
}

/// Applies one record of the log to the state; its effects are derived from the state later.
pub(crate) fn fold_one(
    id: PartitionId,
    partition: &mut Partition,
    rows: &dyn Rows,
    stored: &StoredRecord,
) -> Result<engine::Event, LaneError> {
    fetch_stream(id, partition, stored.record.stream, rows)?;
    let event = read(id, partition, stored)?;
    if let engine::Event::Run { run, .. } = &event
        && let Some(Need::Row(name)) = partition.needs_to_move(*run)
    {
        fetch_row(id, partition, &name, rows)?;
    }
    if let Some(ordinal) = event.touches() {
        fetch_stream(id, partition, ordinal, rows)?;
    }
    check(id, partition, stored, &event)?;
    let placed = Placed { position: stored.position, time: stored.record.time };
    partition.apply(&event, placed, &mut Vec::new());
    Ok(event)
}

/// A stream that is not in memory is found in two steps: its name, then its row.
fn fetch_stream(
    id: PartitionId,
    partition: &mut Partition,
    ordinal: StreamOrdinal,
    rows: &dyn Rows,
) -> Result<(), LaneError> {
    for _ in 0..2 {
        for need in partition.needs_to_fold(ordinal) {
            if let Need::Row(name) = need {
                fetch_row(id, partition, &name, rows)?;
            }
        }
    }
    Ok(())
}

/// Reads the event of a record, and holds it against the state, all of which must be in memory.
pub(crate) fn decode(
    id: PartitionId,
    partition: &Partition,
    stored: &StoredRecord,
) -> Result<engine::Event, LaneError> {
    let event = read(id, partition, stored)?;
    check(id, partition, stored, &event)?;
    Ok(event)
}

fn read(id: PartitionId, partition: &Partition, stored: &StoredRecord) -> Result<engine::Event, LaneError> {
    let fail = |what: String| LaneError::Fold { partition: id, position: stored.position, what };
    let encoded = translate::encoded(&stored.record);
    stored::decode(&encoded, |ordinal| partition.run_of(ordinal)).map_err(|error| fail(error.to_string()))
}

/// Whether the event can have happened in this state, and at this place of its stream.
fn check(
    id: PartitionId,
    partition: &Partition,
    stored: &StoredRecord,
    event: &engine::Event,
) -> Result<(), LaneError> {
    let fail = |what: String| LaneError::Fold { partition: id, position: stored.position, what };
    if let Some(what) = partition.contradiction(event) {
        return Err(fail(what));
    }
    let place = partition.place(event);
    // What no stream shows has no place in one: its record names the run otherwise.
    let shown = event.class() != Class::Attempt;
    if shown && (place.stream, place.offset) != (stored.record.stream, stored.record.offset) {
        let (logged, held) = (stored.record.offset, place.offset);
        return Err(fail(format!("its record stands at offset {logged}, the state says {held}")));
    }
    Ok(())
}
