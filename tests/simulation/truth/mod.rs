//! The model: what is durable, the slow and obvious way. Every durable record is kept, read and held against plain
//! rules; nothing here asks the kernel what it thinks.

mod run;
mod stream;

use std::collections::BTreeMap;

use engine::{Event, RunEvent, StreamKey, stored};
use storage::{Log, StoredRecord};
use types::{IdempotencyKey, Offset, PartitionId, Position, RunId, StreamOrdinal, Timestamp};

pub(crate) use run::{RunTruth, StepTruth};
pub(crate) use stream::StreamTruth;

/// What one partition's durable records say.
#[derive(Debug, Default)]
pub(crate) struct PartitionTruth {
    pub(crate) records: Vec<StoredRecord>,
    time: Timestamp,
    /// The next offset of every stream that has records, runs' streams included.
    heads: BTreeMap<StreamOrdinal, Offset>,
    run_of: BTreeMap<StreamOrdinal, RunId>,
    pub(crate) runs: BTreeMap<RunId, RunTruth>,
    pub(crate) streams: BTreeMap<StreamOrdinal, StreamTruth>,
    /// The living stream of a name.
    pub(crate) named: BTreeMap<StreamKey, StreamOrdinal>,
    last_ordinal: StreamOrdinal,
    /// Which run a key started, and when.
    pub(crate) keys: BTreeMap<IdempotencyKey, (RunId, Timestamp)>,
}

#[derive(Debug)]
pub(crate) struct Truth {
    pub(crate) partitions: Vec<PartitionTruth>,
    pub(crate) idempotency_window_ms: u64,
}

impl Truth {
    pub(crate) fn new(partitions: u32, idempotency_window_ms: u64) -> Self {
        let partitions = (0..partitions).map(|_| PartitionTruth::default()).collect();
        Self { partitions, idempotency_window_ms }
    }

    pub(crate) fn of(&self, partition: PartitionId) -> &PartitionTruth {
        &self.partitions[partition.value() as usize]
    }

    /// Takes in what has become durable since.
    pub(crate) fn follow(&mut self, log: &dyn Log) {
        for partition in log.partitions().partitions() {
            let end = log.bounds(partition).end;
            let known = self.of(partition).records.len() as u64;
            assert!(end.value() >= known, "partition {partition}: {known} records were durable, the log ends at {end}");
            for record in read(log, partition, Position::new(known), end) {
                let window_ms = self.idempotency_window_ms;
                self.partitions[partition.value() as usize].absorb(record, window_ms);
            }
        }
    }

    /// After a crash: everything that was durable is still there, as it was.
    pub(crate) fn hold_against(&self, log: &dyn Log) {
        for partition in log.partitions().partitions() {
            let known = &self.of(partition).records;
            let end = log.bounds(partition).end;
            assert!(
                end.value() >= known.len() as u64,
                "lost: partition {partition} had {} durable records, after the restart it has {end}",
                known.len()
            );
            let found = read(log, partition, Position::ZERO, Position::new(known.len() as u64));
            for (was, is) in known.iter().zip(&found) {
                assert_eq!(was, is, "partition {partition} changed at {}", was.position);
            }
        }
    }

    pub(crate) fn run(&self, run: RunId) -> Option<&RunTruth> {
        self.partitions.iter().find_map(|partition| partition.runs.get(&run))
    }
}

/// All records from `from` to `end`, in small pages as a driver would.
pub(crate) fn read(log: &dyn Log, partition: PartitionId, from: Position, end: Position) -> Vec<StoredRecord> {
    let (mut records, mut next) = (Vec::new(), from);
    while next < end {
        let page = log.read(partition, next, 64, 16 * 1024).unwrap_or_else(|error| panic!("{partition}: {error}"));
        assert!(!page.is_empty(), "partition {partition} is durable to {end} but reads nothing at {next}");
        for record in page.into_iter().filter(|record| record.position < end) {
            assert_eq!(record.position, next, "partition {partition} has a hole");
            next = next.next();
            records.push(record);
        }
    }
    records
}

impl PartitionTruth {
    fn absorb(&mut self, stored: StoredRecord, window_ms: u64) {
        let record = &stored.record;
        let place = stored.position;
        assert!(record.time >= self.time, "log time went back at {place}: {} after {}", record.time, self.time);
        self.time = record.time;
        if !record.stream.is_none() {
            let head = self.heads.entry(record.stream).or_default();
            assert_eq!(record.offset, *head, "stream {} at {place}: offsets are dense", record.stream);
            *head = head.next();
        }
        let event = self.decode(&stored);
        match &event {
            Event::Run { run, event: RunEvent::Started(started) } => {
                assert!(started.ordinal > self.last_ordinal, "an ordinal is given once");
                self.last_ordinal = started.ordinal;
                self.run_of.insert(started.ordinal, *run);
                if let Some(key) = &started.idempotency_key {
                    self.key_used(key, *run, record.time, window_ms);
                }
                let before = self.runs.insert(*run, RunTruth::new(*run, started));
                assert!(before.is_none(), "run {run} started twice, again at {place}");
            }
            Event::Run { run, event } => {
                let truth = self.runs.get_mut(run).unwrap_or_else(|| panic!("{run} has not started, yet {event:?}"));
                truth.absorb(event, record.time);
            }
            Event::StreamCreated { tenant, name, ordinal, .. } => {
                assert!(*ordinal > self.last_ordinal, "an ordinal is given once");
                self.last_ordinal = *ordinal;
                let key = StreamKey { tenant: tenant.clone(), name: name.clone() };
                assert_eq!(self.named.insert(key, *ordinal), None, "stream {name} is created while it lives");
                self.streams.insert(*ordinal, StreamTruth::new(name.clone()));
            }
            Event::EventAppended { stream, offset, payload, producer } => {
                self.stream(*stream).absorb(*offset, payload, producer.as_ref());
            }
            Event::StreamSequenced { stream, sequence } => self.stream(*stream).pass(sequence),
            Event::StreamClosed { stream } => self.stream(*stream).close(),
            Event::StreamDeleted { stream } => {
                self.stream(*stream).delete();
                self.named.retain(|_, ordinal| ordinal != stream);
            }
            // The histories are shorter than anything is kept.
            Event::Retention(event) => panic!("nobody asked for {event:?}"),
            Event::WorkflowRegistered(_) => {}
        }
        self.records.push(stored);
    }

    /// Where a stream ends, a run's or a user's.
    pub(crate) fn head(&self, ordinal: StreamOrdinal) -> Offset {
        self.heads.get(&ordinal).copied().unwrap_or_default()
    }

    fn stream(&mut self, ordinal: StreamOrdinal) -> &mut StreamTruth {
        self.streams.get_mut(&ordinal).unwrap_or_else(|| panic!("stream {ordinal} was never created"))
    }

    /// Within its window a key starts one run.
    fn key_used(&mut self, key: &IdempotencyKey, run: RunId, time: Timestamp, window_ms: u64) {
        if let Some((first, at)) = self.keys.insert(key.clone(), (run, time)) {
            let apart = time.millis_since(at);
            assert!(apart >= window_ms, "key {} started {first} and, {apart} ms later, {run}", key.as_str());
        }
    }

    pub(crate) fn decode(&self, stored: &StoredRecord) -> Event {
        decode(stored, |ordinal| self.run_of.get(&ordinal).copied())
    }
}

/// The event of a record, as the kernel would read it back.
pub(crate) fn decode(stored: &StoredRecord, run_of: impl Fn(StreamOrdinal) -> Option<RunId>) -> Event {
    let record = &stored.record;
    let encoded = stored::Encoded {
        schema: record.schema,
        class: match record.class {
            storage::EventClass::Fact => engine::Class::Fact,
            storage::EventClass::Attempt => engine::Class::Attempt,
            storage::EventClass::Output => engine::Class::Output,
        },
        stream: record.stream,
        offset: record.offset,
        output: record.output.map(|part| stored::OutputPart {
            step: part.step,
            attempt: part.attempt,
            sequence: part.sequence,
        }),
        key: record.key.clone(),
        headers: record.headers.clone(),
        payload: record.payload.clone(),
    };
    stored::decode(&encoded, run_of).unwrap_or_else(|error| panic!("{}: {error}", stored.position))
}
