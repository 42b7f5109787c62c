//! Reads at the log's port, in process: all of a partition, and one stream that lies scattered in it, both from files
//! that the system does not have in memory. And what an event takes on the disk. Beside each, what the disk gives.

mod common;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{Figure, Report, median};
use storage::{AppendBatch, EventClass, Log, Options, Record, RocksLog, StreamRead};
use types::{Offset, PartitionCount, PartitionId, Position, StreamOrdinal, Timestamp};

const EVENT_BYTES: usize = 256;
const REPLAYED: u64 = 1_000_000;
const SPREAD_OVER: u64 = 10_000_000;
/// Every so manieth event is of the scattered stream.
const EVERY: u64 = 10_000;
const SCATTERED: StreamOrdinal = StreamOrdinal::new(1);
/// Other streams, one event after the other of a stream at a time, as agents write.
const OTHERS: u64 = 64;
const BURST: u64 = 16;
/// Records of an append, and appends in flight.
const BATCH: u64 = 64;
const IN_FLIGHT: usize = 64;
const ROUNDS: usize = 3;
/// What one call of `read` brings, as a recovery asks for it.
const PAGE_RECORDS: usize = 16_384;
const PAGE_BYTES: usize = 4 * 1024 * 1024;
/// The size of a block of the log: what a read of one scattered event needs of the disk.
const BLOCK_BYTES: usize = 64 * 1024;

const PARTITION: PartitionId = PartitionId::new(0);

/// Text of the kind that models stream, no two alike.
fn payload(n: u64) -> Bytes {
    const WORDS: &str = r#"{"type":"token","text":" the","index":17,"model":"m-4","logprob":-0.0312},"#;
    let mut state = n;
    let mut text: Vec<u8> = WORDS.bytes().cycle().take(EVENT_BYTES).collect();
    for byte in text.iter_mut().step_by(3) {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *byte = b'a' + u8::try_from((state >> 33) % 26).expect("26 letters");
    }
    text.into()
}

/// Which stream event `n` of the partition belongs to.
fn stream(n: u64) -> StreamOrdinal {
    if n.is_multiple_of(EVERY) { SCATTERED } else { StreamOrdinal::new(2 + n / BURST % OTHERS) }
}

fn open(path: &Path) -> Arc<RocksLog> {
    let partitions = PartitionCount::new(1).expect("in range");
    RocksLog::open(path, &Options { partitions, ..Options::default() }).expect("it opens").0
}

/// Appends so many events to one partition.
fn fill(path: &Path, count: u64) {
    let log = open(path);
    let (answered, answers) = mpsc::channel();
    let mut offsets = vec![0_u64; 2 + usize::try_from(OTHERS).expect("few")];
    let mut in_flight = 0;
    for first in (0..count).step_by(usize::try_from(BATCH).expect("few")) {
        let record = |n: u64| {
            let stream = stream(n);
            let offset = &mut offsets[usize::try_from(stream.value()).expect("few")];
            *offset += 1;
            Record {
                schema: 1,
                class: EventClass::Output,
                cause: true,
                time: Timestamp::from_millis(1_795_493_220_000 + n / 100),
                stream,
                offset: Offset::new(*offset - 1),
                output: None,
                key: Bytes::new(),
                headers: Vec::new(),
                payload: payload(n),
            }
        };
        let records = (first..count.min(first + BATCH)).map(record).collect();
        let batch = AppendBatch { partition: PARTITION, expected: Position::new(first), records, rows: Vec::new() };
        let answered = answered.clone();
        log.append(batch, Box::new(move |outcome| answered.send(outcome).expect("the bench waits")));
        in_flight += 1;
        while in_flight >= IN_FLIGHT {
            answers.recv().expect("all are answered").expect("an append succeeds");
            in_flight -= 1;
        }
    }
    log.close().expect("it closes");
}

fn files(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path).expect("readable").map(|entry| entry.expect("readable").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Has the system forget the contents of all files below `path`.
fn forget(path: &Path) {
    for file in files(path) {
        let file = File::open(file).expect("readable");
        file.sync_all().expect("it syncs");
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).expect("Linux takes the advice");
    }
}

fn read_all(log: &RocksLog, count: u64) {
    let mut from = Position::ZERO;
    while from.value() < count {
        let page = log.read(PARTITION, from, PAGE_RECORDS, PAGE_BYTES).expect("it reads");
        from = page.last().expect("there is more").position.next();
    }
}

fn read_scattered(log: &RocksLog, count: u64) {
    let events = count.div_ceil(EVERY);
    let read = StreamRead {
        partition: PARTITION,
        stream: SCATTERED,
        from: Offset::ZERO,
        until: Offset::new(events),
        max_events: usize::MAX,
        max_bytes: usize::MAX,
    };
    let found = log.read_stream(read).expect("it reads");
    assert_eq!(found.len() as u64, events, "every event of the stream");
}

/// The median time of a read by a log that was just opened, over files that the system has forgotten.
fn cold(path: &Path, read: impl Fn(&RocksLog)) -> Duration {
    let mut all: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            forget(path);
            let log = open(path);
            let began = Instant::now();
            read(&log);
            began.elapsed().as_secs_f64()
        })
        .collect();
    Duration::from_secs_f64(median(&mut all))
}

/// All bytes of the directory's files, read in order, cold.
fn sequentially(path: &Path) -> Duration {
    forget(path);
    let mut buffer = vec![0; 1024 * 1024];
    let began = Instant::now();
    for file in files(&path.join("log")) {
        let (file, mut at) = (File::open(file).expect("readable"), 0);
        loop {
            let read = file.read_at(&mut buffer, at).expect("readable");
            if read == 0 {
                break;
            }
            at += read as u64;
        }
    }
    began.elapsed()
}

/// So many reads of a block's size each, one after the other, all over the largest file, cold.
fn scattered(path: &Path, reads: u64) -> Duration {
    forget(path);
    let length = |path: &PathBuf| std::fs::metadata(path).expect("readable").len();
    let mut all = files(&path.join("log"));
    all.sort_by_key(length);
    let sizes: Vec<(File, u64)> = all.iter().map(|path| (File::open(path).expect("readable"), length(path))).collect();
    let total: u64 = sizes.iter().map(|(_, length)| length).sum();
    let mut buffer = vec![0; BLOCK_BYTES];
    let began = Instant::now();
    for read in 0..reads {
        let mut at = total / reads * read;
        let mut place = sizes.iter();
        let (file, at) = loop {
            let (file, length) = place.next().expect("it lies before the end");
            if at < *length {
                break (file, at);
            }
            at -= length;
        };
        file.read_at(&mut buffer, at).expect("readable");
    }
    began.elapsed()
}

#[expect(clippy::cast_precision_loss, reason = "counts of a few minutes")]
const fn figure(count: u64) -> f64 {
    count as f64
}

fn main() {
    let mut report = Report::new("log-read");
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("writable");
    let mut add = |case: &str, figure: &str, value, unit, limit, goal| {
        report.add(Figure { case: case.to_owned(), figure: figure.to_owned(), value, unit, limit, goal });
    };

    let path = folder.path().join("replay");
    fill(&path, REPLAYED);
    let case = format!("replay of {REPLAYED} events of {EVENT_BYTES} B");
    let took = cold(&path, |log| read_all(log, REPLAYED)).as_secs_f64();
    let least = sequentially(&path).as_secs_f64();
    add(&case, "events", figure(REPLAYED) / took, "/s", Some(figure(REPLAYED) / least), Some(2_000_000.0));
    std::fs::remove_dir_all(&path).expect("it was made");

    let path = folder.path().join("spread");
    fill(&path, SPREAD_OVER);
    let events = SPREAD_OVER.div_ceil(EVERY);
    let case = format!("a stream of {events} events in {SPREAD_OVER}");
    let took = cold(&path, |log| read_scattered(log, SPREAD_OVER));
    add(&case, "cold", took.as_secs_f64() * 1e3, "ms", Some(scattered(&path, events).as_secs_f64() * 1e3), Some(150.0));
    let log = open(&path);
    let warm = |_| {
        let began = Instant::now();
        read_scattered(&log, SPREAD_OVER);
        began.elapsed().as_secs_f64() * 1e3
    };
    let mut all: Vec<f64> = (0..=ROUNDS).map(warm).skip(1).collect();
    add(&case, "again", median(&mut all), "ms", None, None);
    drop(log);

    let case = format!("{SPREAD_OVER} events of {EVENT_BYTES} B");
    let on_disk: u64 = files(&path).iter().map(|file| std::fs::metadata(file).expect("readable").len()).sum();
    let user = figure(SPREAD_OVER * EVENT_BYTES as u64);
    add(
        &case,
        "on disk an event",
        figure(on_disk) / figure(SPREAD_OVER),
        "bytes",
        Some(figure(EVENT_BYTES as u64)),
        None,
    );
    add(&case, "on disk a user byte", figure(on_disk) / user, "", Some(1.0), None);
    for sentence in report.finish() {
        eprintln!("missed: {sentence}");
    }
}
