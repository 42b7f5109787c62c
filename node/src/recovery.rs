//! Brings a partition back after a stop of any kind: its rows, then the events behind them.

mod mend;
mod scalars;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use engine::{Class, DefinitionName, Event, Need, Partition, Placed, RowImage, RowName, Wanted, stored};
use storage::{Log, Met, ReadError, RowKey, RowKind, Rows, StoredRecord};
use types::{PartitionId, Position, StreamOrdinal};

use crate::limits;
use crate::partition::LaneError;
use crate::translate;

/// What a recovery came by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Recovered {
    /// Records behind the rows.
    pub(crate) folded: usize,
    /// What their records hold.
    pub(crate) bytes: usize,
    /// Something was damaged: rows are to be written soon.
    pub(crate) mended: bool,
    /// Definitions that are lost, by name: to be registered again.
    pub(crate) lost_definitions: Vec<String>,
}

/// Takes in the scalars, open runs, and in the system partition the definitions, then the events behind them up to `end`.
/// Idle runs do not stay in memory once open ones hold `open_bytes`. Damaged rows are made again from the log, or what
/// they are of is set aside.
pub(crate) fn recover(
    id: PartitionId,
    partition: &mut Partition,
    log: &dyn Log,
    rows: &dyn Rows,
    open_bytes: usize,
    end: Position,
) -> Result<Recovered, LaneError> {
    let mut recovered = Recovered::default();
    let again = load_rows(id, partition, log, rows, open_bytes, &mut recovered)?;
    let mut folding = Folding { id, log, rows, again, unknown: BTreeSet::new(), passed: BTreeMap::new() };
    (recovered.folded, recovered.bytes) = folding.fold(partition, end)?;
    folding.tell_passed();
    recovered.mended |= again || !folding.unknown.is_empty();
    Ok(recovered)
}

/// Whether the scalars had to be made again.
fn load_rows(
    id: PartitionId,
    partition: &mut Partition,
    log: &dyn Log,
    rows: &dyn Rows,
    open_bytes: usize,
    recovered: &mut Recovered,
) -> Result<bool, LaneError> {
    let Some(found) = scalars::load(id, log, rows)? else { return Ok(false) };
    partition.admit(RowName::Partition, RowImage::Partition(found.scalars));
    partition.begin_at(found.position);
    let mut wanted = Wanted::default();
    load_kind(id, partition, rows, RowKind::OpenRun, open_bytes, &mut wanted)?;
    if id == PartitionId::SYSTEM {
        load_kind(id, partition, rows, RowKind::Definition, open_bytes, &mut wanted)?;
    }
    if !wanted.is_empty() {
        recovered.mended = true;
        for (name, what) in mend::mend(id, partition, log, rows, wanted, found.position)? {
            let row = row_text(&name);
            tracing::error!(partition = %id, row, what, "a row is damaged and cannot be made again: register it again");
            recovered.lost_definitions.push(row);
        }
    }
    Ok(found.again)
}

fn load_kind(
    id: PartitionId,
    partition: &mut Partition,
    rows: &dyn Rows,
    kind: RowKind,
    open_bytes: usize,
    wanted: &mut Wanted,
) -> Result<(), LaneError> {
    let (mut after, mut known): (Option<Bytes>, BTreeSet<RowName>) = (None, BTreeSet::new());
    let (mut unreadable, mut at_once) = (false, limits::LEAST_ROWS_PER_SCAN);
    loop {
        let page = rows.scan_past_damage(id, kind, after.as_ref(), at_once);
        let page = page.map_err(|source| LaneError::Read { partition: id, source })?;
        let Some(last) = page.last() else { break };
        after = Some(last.last().clone());
        at_once = next_page(at_once, &page);
        for met in page {
            let (key, what) = match met {
                Met::Row(key, row) => match stored::read_row(kind as u8, &key, &row.value) {
                    Ok((name, image)) => {
                        known.insert(name.clone());
                        partition.admit(name, image);
                        partition.evict_idle(open_bytes);
                        continue;
                    }
                    Err(error) if !error.is_damage() => {
                        let (name, what) = (format!("{kind:?}"), error.to_string());
                        return Err(LaneError::Newer { partition: id, name, what });
                    }
                    Err(error) => (key, error.to_string()),
                },
                Met::Damaged { id, what } => (id, what),
                Met::Unreadable { what, .. } => {
                    // There may be such a place between any two rows.
                    if !std::mem::replace(&mut unreadable, true) {
                        tracing::error!(partition = %id, ?kind, what, "rows cannot be read; the log says which they are");
                    }
                    continue;
                }
            };
            match stored::row_name(kind as u8, &key) {
                Ok(name) => {
                    tracing::error!(partition = %id, row = row_text(&name), what, "a row is damaged");
                    wanted.names.insert(name);
                }
                // Not even its name is what it was.
                Err(error) => {
                    tracing::error!(partition = %id, ?kind, what, %error, "a row is damaged; the log says which it is");
                    unreadable = true;
                }
            }
        }
    }
    if unreadable {
        wanted.all_but.get_or_insert_default().extend(known);
    }
    Ok(())
}

/// How many rows to read next, by what those of this page held.
fn next_page(at_once: usize, page: &[Met]) -> usize {
    let bytes = page.iter().map(|met| if let Met::Row(_, row) = met { row.value.len() } else { 0 }).sum::<usize>();
    let next = if bytes < limits::ROW_BYTES_PER_SCAN { at_once * 2 } else { at_once / 2 };
    next.clamp(limits::LEAST_ROWS_PER_SCAN, limits::ROWS_PER_SCAN)
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
    let image = stored::decode_row(name, value).map_err(|error| {
        let (name, what) = (row_text(name), error.to_string());
        if error.is_damage() {
            LaneError::Row { partition: id, name, what }
        } else {
            LaneError::Newer { partition: id, name, what }
        }
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
        RowName::Definition(_, _, name) => definition_text(name),
    }
}

pub(crate) fn definition_text(name: &DefinitionName) -> String {
    format!("definition {name}")
}

/// Applies the events behind the rows.
struct Folding<'a> {
    id: PartitionId,
    log: &'a dyn Log,
    rows: &'a dyn Rows,
    /// The scalars were made again.
    again: bool,
    /// Streams whose rows cannot be read or made again: what happens to them is passed by, and whoever asks is refused.
    unknown: BTreeSet<StreamOrdinal>,
    /// Events of runs that are not known, passed by because a run is set aside whose stream is not known either.
    passed: BTreeMap<StreamOrdinal, u64>,
}

impl Folding<'_> {
    /// Up to `end`; says how many there were, and their bytes.
    fn fold(&mut self, partition: &mut Partition, end: Position) -> Result<(usize, usize), LaneError> {
        let (id, mut folded, mut bytes) = (self.id, 0, 0);
        while partition.next_position() < end {
            let from = partition.next_position();
            let page = self.log.read(id, from, limits::RECORDS_PER_FOLD, limits::FOLD_BYTES);
            let page = page.map_err(|source| LaneError::Read { partition: id, source })?;
            if page.is_empty() {
                let what = format!("the log ends at {from}, though {end} is durable");
                return Err(LaneError::Read {
                    partition: id,
                    source: ReadError::Corrupt { partition: id, position: from, what },
                });
            }
            for stored in &page {
                self.fold_one(partition, stored)?;
            }
            folded += page.len();
            bytes += page.iter().map(|stored| stored.record.payload.len()).sum::<usize>();
        }
        Ok((folded, bytes))
    }

    fn fold_one(&mut self, partition: &mut Partition, stored: &StoredRecord) -> Result<(), LaneError> {
        let placed = Placed { position: stored.position, time: stored.record.time };
        if !self.passes(partition, stored) {
            match fold_one(self.id, partition, self.rows, stored, !self.again) {
                Err(LaneError::Row { .. }) => self.mend(partition, stored)?,
                folded => return folded.map(drop),
            }
            if !self.passes(partition, stored) {
                return fold_one(self.id, partition, self.rows, stored, !self.again).map(drop);
            }
        }
        if let Err(stored::StoredError::UnknownRun(ordinal)) = read(partition, stored) {
            *self.passed.entry(ordinal).or_default() += 1;
        }
        partition.pass(placed);
        Ok(())
    }

    /// Once for each run, and not for more than a person reads.
    fn tell_passed(&self) {
        let partition = self.id;
        for (ordinal, events) in self.passed.iter().take(limits::PASSED_RUNS_TOLD) {
            tracing::warn!(
                %partition, stream = %ordinal, events,
                "events of a run that is not known are passed by: it is one of those that are set aside"
            );
        }
        if let Some(more @ 1..) = self.passed.len().checked_sub(limits::PASSED_RUNS_TOLD) {
            tracing::warn!(%partition, runs = more, "events of more such runs are passed by");
        }
    }

    /// Whether it only moves what is set aside, or what a checkpoint of before has taken away.
    fn passes(&self, partition: &Partition, stored: &StoredRecord) -> bool {
        let of_unknown = |ordinal: StreamOrdinal| !ordinal.is_none() && self.unknown.contains(&ordinal);
        if of_unknown(stored.record.stream) {
            return true;
        }
        if self.unknown.is_empty() && partition.all_set_aside().is_empty() && !self.again {
            return false;
        }
        match read(partition, stored) {
            Ok(Event::Run { run, .. }) => partition.all_set_aside().contains_key(&run),
            Err(stored::StoredError::UnknownRun(ordinal)) => partition.may_be_set_aside(ordinal),
            Ok(Event::StreamDeleted { stream }) if self.again => {
                let known = || partition.needs_to_fold(stream).iter().any(|need| self.is_there(need));
                of_unknown(stream) || (partition.stream_key(stream).is_none() && !known())
            }
            Ok(event) => event.touches().is_some_and(of_unknown),
            Err(_) => false,
        }
    }

    fn is_there(&self, need: &Need) -> bool {
        let Need::Row(name) = need else { return false };
        let (kind, key) = stored::row_key(name);
        let key = RowKey { kind: translate::row_kind(kind), id: key.into() };
        !matches!(self.rows.get(self.id, &key), Ok(None))
    }

    /// A row that this record needs cannot be read.
    fn mend(&mut self, partition: &mut Partition, stored: &StoredRecord) -> Result<(), LaneError> {
        let mut wanted = Wanted::default();
        let event = read(partition, stored).ok();
        let touched = event.as_ref().and_then(Event::touches);
        wanted.ordinals.extend([Some(stored.record.stream), touched].into_iter().flatten().filter(|it| !it.is_none()));
        if let Some(Event::Run { run, .. }) = event
            && partition.needs_to_move(run).is_some()
        {
            wanted.names.insert(RowName::OpenRun(run));
        }
        let (ordinals, until) = (wanted.ordinals.clone(), partition.next_position());
        for (name, what) in mend::mend(self.id, partition, self.log, self.rows, wanted, until)? {
            tracing::error!(partition = %self.id, row = row_text(&name), what, "a damaged row cannot be made again");
        }
        for ordinal in ordinals {
            let known = partition.run_of(ordinal).is_some() || self.find_stream(partition, ordinal)?;
            if !known {
                tracing::error!(partition = %self.id, %ordinal, "a stream is damaged: whoever asks for it is refused");
                self.unknown.insert(ordinal);
            }
        }
        Ok(())
    }

    /// Whether the stream is in memory, or could be fetched by looking at all of them.
    fn find_stream(&self, partition: &mut Partition, ordinal: StreamOrdinal) -> Result<bool, LaneError> {
        let is_in = |partition: &Partition| {
            let key = partition.stream_key(ordinal);
            key.and_then(|key| partition.stream(key)).is_some_and(|stream| stream.ordinal == ordinal)
        };
        if is_in(partition) {
            return Ok(true);
        }
        let mut after: Option<Bytes> = None;
        loop {
            let page = self.rows.scan_past_damage(self.id, RowKind::Stream, after.as_ref(), limits::ROWS_PER_SCAN);
            let page = page.map_err(|source| LaneError::Read { partition: self.id, source })?;
            let Some(last) = page.last() else { return Ok(false) };
            after = Some(last.last().clone());
            for met in page {
                let Met::Row(key, row) = met else { continue };
                let Ok((name, image)) = stored::read_row(RowKind::Stream as u8, &key, &row.value) else { continue };
                if let (RowName::Stream(key), RowImage::Stream(stream)) = (&name, &image)
                    && stream.ordinal == ordinal
                {
                    partition.admit_rebuilt(RowName::StreamName(ordinal), RowImage::StreamName(key.clone()));
                    partition.admit(name, image);
                    return Ok(true);
                }
            }
        }
    }
}

/// Applies one record of the log to the state; its effects are derived from the state later. `counted`: the partition's next
/// ordinal is the one that it had there.
pub(crate) fn fold_one(
    id: PartitionId,
    partition: &mut Partition,
    rows: &dyn Rows,
    stored: &StoredRecord,
    counted: bool,
) -> Result<engine::Event, LaneError> {
    fetch_stream(id, partition, stored.record.stream, rows, counted)?;
    let event = read(partition, stored).map_err(|error| unfoldable(id, stored, &error))?;
    if let engine::Event::Run { run, .. } = &event
        && let Some(Need::Row(name)) = partition.needs_to_move(*run)
    {
        fetch_row(id, partition, &name, rows)?;
    }
    if let Some(ordinal) = event.touches() {
        fetch_stream(id, partition, ordinal, rows, counted)?;
    }
    check(id, partition, stored, &event)?;
    let placed = Placed { position: stored.position, time: stored.record.time };
    partition.apply(&event, placed, &mut Vec::new());
    Ok(event)
}

/// A stream that is not in memory is found in two steps: its name, then its row. One whose ordinal was not given yet has
/// none, also where nobody can read which rows there are: the event at hand gives it.
fn fetch_stream(
    id: PartitionId,
    partition: &mut Partition,
    ordinal: StreamOrdinal,
    rows: &dyn Rows,
    counted: bool,
) -> Result<(), LaneError> {
    if counted && ordinal >= partition.next_ordinal() {
        return Ok(());
    }
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
    let event = read(partition, stored).map_err(|error| unfoldable(id, stored, &error))?;
    check(id, partition, stored, &event)?;
    Ok(event)
}

fn read(partition: &Partition, stored: &StoredRecord) -> Result<engine::Event, stored::StoredError> {
    stored::decode(&translate::encoded(&stored.record), |ordinal| partition.run_of(ordinal))
}

fn unfoldable(id: PartitionId, stored: &StoredRecord, error: &stored::StoredError) -> LaneError {
    LaneError::Fold { partition: id, position: stored.position, what: error.to_string() }
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

#[cfg(test)]
mod tests;
