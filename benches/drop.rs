//! Drops a sealed segment of 1,000,000 events while others append: how long that takes, what of its files is back at
//! once, and how much longer than before a writer waits meanwhile.

mod common;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{Figure, Report, median};
use storage::{
    AppendBatch, EventClass, Log, Options, Record, RetentionClass, RocksLog, Row, RowChange, RowKey, RowKind, SegmentId,
};
use types::{Offset, PartitionCount, PartitionId, Position, StreamOrdinal, Timestamp};

const EVENTS: u64 = 1_000_000;
const EVENT_BYTES: usize = 256;
/// A segment of so many events is dropped so often, each of a partition of its own.
const ROUNDS: u32 = 5;
/// Each appends to a partition of its own, one event at a time, and waits for the answer.
const WRITERS: u32 = 8;
/// Longest waits are compared over this long before a drop and from its beginning.
const WINDOW: Duration = Duration::from_secs(1);
/// Records of an append while a segment is filled, and appends in flight.
const BATCH: u64 = 64;
const IN_FLIGHT: usize = 64;
const BEGAN: Timestamp = Timestamp::from_millis(1_795_493_220_000);

/// Letters of which half are noise, no two texts alike.
fn payload(n: u64) -> Bytes {
    let mut state = n;
    let mut text = vec![b'x'; EVENT_BYTES];
    for byte in text.iter_mut().step_by(2) {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *byte = b'a' + u8::try_from((state >> 33) % 26).expect("26 letters");
    }
    text.into()
}

fn record(n: u64) -> Record {
    Record {
        schema: 1,
        class: EventClass::Output,
        cause: true,
        time: BEGAN,
        stream: StreamOrdinal::FIRST,
        offset: Offset::new(n),
        output: None,
        key: Bytes::new(),
        headers: Vec::new(),
        payload: payload(n),
    }
}

fn open(path: &Path) -> Arc<RocksLog> {
    let partitions = PartitionCount::new(ROUNDS + WRITERS).expect("in range");
    // No segment is full before it has all its events.
    let options = Options { partitions, segment_bytes: 1 << 40, ..Options::default() };
    RocksLog::open(path, &options).expect("it opens").0
}

/// One sealed segment of `EVENTS` events, which recovery does without.
fn fill(log: &RocksLog, partition: PartitionId) -> SegmentId {
    let (answered, answers) = mpsc::channel();
    let mut in_flight = 0;
    let mut append = |first: u64, records: Vec<Record>, rows: Vec<RowChange>| {
        let answered = answered.clone();
        let batch = AppendBatch { partition, expected: Position::new(first), records, rows };
        log.append(batch, Box::new(move |outcome| answered.send(outcome).expect("the bench waits")));
        in_flight += 1;
        // The last of them ends the segment: all are in it before it is sealed.
        let most = if first + BATCH < EVENTS { IN_FLIGHT } else { 1 };
        while in_flight >= most {
            answers.recv().expect("all are answered").expect("an append succeeds");
            in_flight -= 1;
        }
    };
    for first in (0..EVENTS).step_by(usize::try_from(BATCH).expect("few")) {
        append(first, (first..EVENTS.min(first + BATCH)).map(record).collect(), Vec::new());
    }
    log.seal(partition, BEGAN.plus_millis(storage::limits::SEGMENT_MS));
    let row = Row { position: Position::new(EVENTS), value: Bytes::new() };
    let key = RowKey { kind: RowKind::Partition, id: Bytes::new() };
    append(EVENTS, Vec::new(), vec![RowChange::Put(key, row)]);
    let segments = log.segments(partition).expect("it reads");
    let sealed = |segment: &&storage::SegmentFacts| segment.sealed && segment.id.class == RetentionClass::Stream;
    let sealed: Vec<_> = segments.iter().filter(sealed).collect();
    assert_eq!(sealed.iter().map(|segment| segment.records).collect::<Vec<_>>(), [EVENTS]);
    sealed[0].id
}

/// When each append began, and how long its answer took.
type Waits = Vec<(Instant, Duration)>;

fn write_until(log: &RocksLog, partition: PartitionId, stop: &AtomicBool) -> Waits {
    let (answered, answers) = mpsc::channel();
    let (mut waits, mut next) = (Waits::new(), 0);
    while !stop.load(Ordering::Relaxed) {
        let (began, answered) = (Instant::now(), answered.clone());
        let records = vec![record(next)];
        let batch = AppendBatch { partition, expected: Position::new(next), records, rows: Vec::new() };
        log.append(batch, Box::new(move |outcome| answered.send(outcome).expect("the bench waits")));
        answers.recv().expect("it is answered").expect("an append succeeds");
        waits.push((began, began.elapsed()));
        next += 1;
    }
    waits
}

/// The longest wait that had not ended before `from` and began within a window from then, in milliseconds.
fn longest(waits: &Waits, from: Instant) -> f64 {
    let within = waits.iter().filter(|(began, wait)| *began + *wait >= from && *began < from + WINDOW);
    within.map(|(_, wait)| wait.as_secs_f64() * 1e3).fold(0.0, f64::max)
}

fn table_bytes(log: &RocksLog) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "below a petabyte")]
    let bytes = |bytes: u64| bytes as f64;
    log.store_figures().families.iter().map(|family| bytes(family.bytes)).sum()
}

fn main() {
    let mut report = Report::new("drop");
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("writable");
    let log = open(&folder.path().join("log"));
    let segments: Vec<_> = (0..ROUNDS).map(|number| fill(&log, PartitionId::new(number))).collect();
    let stop = AtomicBool::new(false);
    let (mut quiet, mut drops, mut back) = (Vec::new(), Vec::new(), Vec::new());
    let of_a_segment = table_bytes(&log) / f64::from(ROUNDS);
    let waits: Waits = std::thread::scope(|scope| {
        let writers: Vec<_> = (ROUNDS..ROUNDS + WRITERS)
            .map(|number| (PartitionId::new(number), &log, &stop))
            .map(|(partition, log, stop)| scope.spawn(move || write_until(log, partition, stop)))
            .collect();
        for segment in &segments {
            std::thread::sleep(WINDOW);
            quiet.push(Instant::now());
            std::thread::sleep(WINDOW);
            let (bytes, began) = (table_bytes(&log), Instant::now());
            log.drop_segments(segment.partition, &[*segment]).expect("it goes");
            drops.push((began, began.elapsed()));
            back.push(100.0 * (bytes - table_bytes(&log)) / of_a_segment);
            std::thread::sleep(WINDOW);
        }
        stop.store(true, Ordering::Relaxed);
        let ended = |writer: std::thread::ScopedJoinHandle<'_, Waits>| writer.join().expect("it writes");
        writers.into_iter().flat_map(ended).collect()
    });
    let case = format!("{EVENTS} events of {EVENT_BYTES} B, {WRITERS} writers");
    let mut add = |figure: &str, value, unit, limit, goal| {
        report.add(Figure { case: case.clone(), figure: figure.to_owned(), value, unit, limit, goal });
    };
    let mut took: Vec<f64> = drops.iter().map(|(_, took)| took.as_secs_f64() * 1e3).collect();
    let mut with: Vec<f64> = drops.iter().map(|(began, _)| longest(&waits, *began)).collect();
    let mut without: Vec<f64> = quiet.iter().map(|began| longest(&waits, *began)).collect();
    let mut more: Vec<f64> = with.iter().zip(&without).map(|(with, without)| with - without).collect();
    add("drop", median(&mut took), "ms", None, Some(100.0));
    add("the longest drop", took.last().copied().unwrap_or(f64::NAN), "ms", None, None);
    add("longest wait of a writer meanwhile", median(&mut with), "ms", Some(median(&mut without)), None);
    add("more than without", median(&mut more), "ms", None, Some(20.0));
    add("bytes of tables back at once", median(&mut back), "%", None, None);
    for sentence in report.finish() {
        eprintln!("missed: {sentence}");
    }
}
