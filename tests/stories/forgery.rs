//! Changes a log as whoever can compute checksums could: what only a derivation from causes can notice.

use std::path::Path;
use std::sync::mpsc;

use bytes::Bytes;
use engine::stored::{self, Encoded, Place};
use engine::{Class, Event, RunEvent};
use storage::{AppendBatch, EventClass, Log, Options, ReadOnlyLog, Record, RocksLog, StoredRecord};
use types::{PartitionId, Payload, Position};

/// Copies a log record by record, as whoever can compute a checksum could; `change` may alter what is written.
pub(crate) fn copy(from: &Path, to: &Path, mut change: impl FnMut(PartitionId, &mut StoredRecord)) {
    let (old, _) = ReadOnlyLog::open(from).expect("a stopped node's log");
    let options = Options { partitions: old.partitions(), ..Options::default() };
    let (new, _) = RocksLog::open(to, &options).expect("a new directory");
    for partition in old.partitions().partitions() {
        let end = old.bounds(partition).end;
        let mut next = Position::new(0);
        while next < end {
            let page = old.read(partition, next, 1, 1 << 20).expect("an undamaged log");
            let mut stored = page.into_iter().next().expect("a record before the end");
            change(partition, &mut stored);
            let batch = AppendBatch { partition, expected: next, records: vec![stored.record], rows: Vec::new() };
            let (sender, durable) = mpsc::channel();
            new.append(batch, Box::new(move |outcome| drop(sender.send(outcome))));
            next = durable.recv().expect("it is answered").expect("it is durable");
        }
    }
    new.close().expect("closed");
}

/// The same, but the first event that `change` wants to be another is that one, with every checksum right. Says where.
pub(crate) fn forge(from: &Path, to: &Path, change: impl Fn(Event) -> Option<Event>) -> (PartitionId, Position) {
    let mut place = None;
    copy(from, to, |partition, stored| {
        if place.is_none()
            && let Some(payload) = changed(&stored.record, &change)
        {
            stored.record.payload = payload;
            place = Some((partition, stored.position));
        }
    });
    place.expect("such an event stands in the log")
}

/// The payload of the changed event; `None`: it stays as it is.
fn changed(record: &Record, change: impl Fn(Event) -> Option<Event>) -> Option<Bytes> {
    let encoded = Encoded {
        schema: record.schema,
        class: match record.class {
            EventClass::Fact => Class::Fact,
            EventClass::Attempt => Class::Attempt,
            EventClass::Output => Class::Output,
        },
        stream: record.stream,
        offset: record.offset,
        output: None,
        key: record.key.clone(),
        headers: record.headers.clone(),
        payload: record.payload.clone(),
    };
    // Who runs is not in the record: its stream says so.
    let run = "00000000-01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().expect("a run's id");
    let event = change(stored::decode(&encoded, |_| Some(run)).ok()?)?;
    Some(stored::encode(&event, Place { stream: record.stream, offset: record.offset }).payload)
}

/// A task's output, if it is `of` this kind, as another one.
pub(crate) fn with_output(event: Event, of: impl Fn(&[u8]) -> bool, other: &str) -> Option<Event> {
    let Event::Run { run, event: RunEvent::TaskExited { scope, path, skipped, output: Some(output), context, next } } =
        event
    else {
        return None;
    };
    if !of(&output.data) {
        return None;
    }
    let output = Some(Payload::json(other.to_owned()));
    Some(Event::Run { run, event: RunEvent::TaskExited { scope, path, skipped, output, context, next } })
}
