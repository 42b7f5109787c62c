//! Reads records of a partition as they stand in the log, decoded, those that are wanted.

use engine::{RowImage, RowName, StreamKey};
use gateway::operator::{DamagedRange, LogRecord, ReadRecords, RecordPage, Wanted};
use storage::{Log, ReadError, Rows, StoredRecord};
use types::{PartitionCount, PartitionId, Position, TenantId};

use super::damage::passed;
use super::names::{Names, row};
use super::seek::{position_at, start};
use super::view::{ordinal_of, view};

/// Records looked at for one page, whether they are wanted or not: what a node spends on a question at most.
const RECORDS_PER_PAGE: usize = 16_384;
const RECORDS_PER_READ: usize = 1_024;
const BYTES_PER_READ: usize = 1024 * 1024;
/// Payload bytes of a page; one record is always given.
const PAGE_BYTES: u64 = 4 * 1024 * 1024;
/// Records of a page.
const MOST: usize = 1_000;

/// Which partitions can hold what is wanted.
pub fn partitions_of(count: PartitionCount, wanted: &Wanted) -> Vec<PartitionId> {
    match &wanted.stream {
        Some(stream) => vec![stream.routing_hash(&TenantId::default()).partition(count)],
        None => count.partitions().collect(),
    }
}

/// One page. What is damaged is passed by and named in it.
pub fn read(log: &dyn Log, rows: &dyn Rows, names: &mut Names, request: &ReadRecords) -> Result<RecordPage, ReadError> {
    let ReadRecords { partition, until, wanted, .. } = request;
    let (partition, bounds) = (*partition, log.bounds(*partition));
    let start = start(log, partition);
    let end = until.map_or(bounds.end, |until| until.min(bounds.end));
    let most = request.max.clamp(1, MOST);
    let mut next = match request.from {
        Some(from) => from.max(start),
        None => first(log, rows, partition, wanted)?.max(start),
    };
    let (mut records, mut looked, mut bytes, mut done) = (Vec::new(), 0, 0, false);
    let mut damaged: Vec<DamagedRange> = Vec::new();
    while next < end && !done && looked < RECORDS_PER_PAGE && records.len() < most && bytes < PAGE_BYTES {
        let page = match log.read(partition, next, RECORDS_PER_READ, BYTES_PER_READ) {
            Ok(page) => page,
            Err(error) => {
                let range = passed(log, partition, next, error)?;
                // Each look at damage may have cost a read from the disk.
                (next, looked) = (range.until.min(end), looked + RECORDS_PER_READ);
                join(&mut damaged, DamagedRange { until: next, ..range });
                continue;
            }
        };
        if page.is_empty() {
            // The rest up to the end is no longer kept.
            next = end;
        }
        for stored in page {
            if stored.position >= end || wanted.before.is_some_and(|before| stored.record.time >= before) {
                done = true;
                break;
            }
            if records.len() >= most || bytes >= PAGE_BYTES {
                break;
            }
            next = stored.position.next();
            looked += 1;
            if let Some(record) = record(log, rows, names, partition, &stored, wanted)? {
                bytes += record.bytes;
                records.push(record);
            }
        }
    }
    Ok(RecordPage { records, next, done: done || next >= end, start, damaged })
}

/// Ranges that touch are told as one, for the reason of the first.
fn join(damaged: &mut Vec<DamagedRange>, range: DamagedRange) {
    match damaged.last_mut().filter(|last| last.until == range.from) {
        Some(last) => last.until = range.until,
        None => damaged.push(range),
    }
}

/// Where to begin when nobody says: at the time asked for, at the stream's creation.
fn first(log: &dyn Log, rows: &dyn Rows, partition: PartitionId, wanted: &Wanted) -> Result<Position, ReadError> {
    let by_time = wanted.since.map_or(Ok(Position::ZERO), |since| position_at(log, partition, since))?;
    let Some(stream) = &wanted.stream else { return Ok(by_time) };
    let key = StreamKey { tenant: TenantId::default(), name: stream.clone() };
    let rows_of = match stream.run() {
        Some(run) => vec![RowName::OpenRun(run), RowName::ClosedRun(run)],
        None => vec![RowName::Stream(key)],
    };
    for name in rows_of {
        let created = match row(rows, partition, &name)? {
            Some(RowImage::Run(run)) => run.incarnation,
            Some(RowImage::Stream(stream)) => stream.incarnation,
            Some(_) | None => continue,
        };
        return Ok(by_time.max(Position::new(created.value())));
    }
    Ok(by_time)
}

/// The record, if it is wanted. What it says itself is looked at before its owner's name is searched for.
fn record(
    log: &dyn Log,
    rows: &dyn Rows,
    names: &mut Names,
    partition: PartitionId,
    stored: &StoredRecord,
    wanted: &Wanted,
) -> Result<Option<LogRecord>, ReadError> {
    let kind_fits = |kind: &str| wanted.kinds.is_empty() || wanted.kinds.iter().any(|wanted| wanted == kind);
    if wanted.since.is_some_and(|since| stored.record.time < since) {
        return Ok(None);
    }
    let mut seen = view(partition, stored, None);
    if let (Some(name), Some(ordinal), Some(tenant)) = (&seen.stream, seen.ordinal, &seen.tenant) {
        // It is the creation of its owner.
        names.learn(partition, ordinal, Some(StreamKey { tenant: tenant.clone(), name: name.clone() }));
    }
    if !kind_fits(&seen.kind) {
        return Ok(None);
    }
    let ordinal = seen.ordinal.or_else(|| ordinal_of(stored));
    if seen.stream.is_none()
        && let Some(ordinal) = ordinal
        && let Some(owner) = names.of(log, rows, partition, ordinal)?
    {
        (seen.stream, seen.tenant) = (Some(owner.name), Some(owner.tenant));
    }
    let stream_fits = wanted.stream.as_ref().is_none_or(|stream| seen.stream.as_ref() == Some(stream));
    Ok(stream_fits.then_some(seen))
}
