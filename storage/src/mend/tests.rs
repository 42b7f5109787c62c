//! Tables of which a byte is flipped: each step of their mend is the last one once, and all is there afterwards.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use bytes::Bytes;
use types::{Offset, PartitionCount, PartitionId, StreamOrdinal, Timestamp};

use super::*;
use crate::record::{EventClass, OutputHeader, Record};
use crate::{AppendBatch, Log, Options, ReadError, RocksLog, StreamRead};

const PARTITIONS: u32 = 2;
const ROUNDS: u64 = 12;
const EVENTS_A_ROUND: u64 = 20;
const PAYLOAD_BYTES: usize = 3_000;

fn options() -> Options {
    Options {
        partitions: PartitionCount::new(PARTITIONS).expect("in range"),
        segment_bytes: 50_000,
        unsaved_bytes: 20_000,
        tail_bytes: 0,
        ..Options::default()
    }
}

/// Bytes that do not compress.
fn noise(seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..PAYLOAD_BYTES).map(|_| byte()).collect()
}

fn record(partition: u32, n: u64) -> Record {
    Record {
        schema: 2,
        class: EventClass::Output,
        cause: false,
        time: Timestamp::from_millis(1_700_000_000_000 + n),
        stream: StreamOrdinal::new(1),
        offset: Offset::new(n),
        output: Some(OutputHeader { step: 1, attempt: 1, sequence: n }),
        key: Bytes::new(),
        headers: Vec::new(),
        payload: noise(u64::from(partition) << 32 | n),
    }
}

fn append_round(log: &RocksLog, round: u64) {
    for n in round * EVENTS_A_ROUND..(round + 1) * EVENTS_A_ROUND {
        for number in 0..PARTITIONS {
            let partition = PartitionId::new(number);
            let (answer, answered) = mpsc::channel();
            let expected = log.bounds(partition).end;
            let batch = AppendBatch { partition, expected, records: vec![record(number, n)], rows: Vec::new() };
            log.append(batch, Box::new(move |outcome| answer.send(outcome).expect("it is waited for")));
            answered.recv().expect("it is answered").expect("it is durable");
        }
    }
}

/// Opens, appends, and closes, which writes tables.
fn rounds(path: &Path, rounds: std::ops::Range<u64>) {
    for round in rounds {
        let (log, _) = RocksLog::open(path, &options()).expect("it opens");
        append_round(&log, round);
        log.close().expect("it closes");
    }
}

/// Until compaction has sorted what there is.
fn sort(path: &Path) {
    let (log, _) = RocksLog::open(path, &options()).expect("it opens");
    let began = Instant::now();
    while log.store_figures().families[0].level0_files >= 8 || log.store_figures().families[1].level0_files >= 4 {
        assert!(began.elapsed() < Duration::from_mins(1), "the store never moved its files");
        std::thread::sleep(Duration::from_millis(10));
    }
    log.close().expect("it closes");
}

/// The offsets that a stream serves, whole, and how many places it says are damaged.
fn served(log: &RocksLog, number: u32, end: u64) -> (Vec<u64>, usize) {
    let (found, holes, next) = served_to_its_end(log, number);
    assert_eq!(next, end, "partition {number} ends early");
    (found, holes)
}

/// With the offset at which nothing more is served: what is lost at the end is known to the state alone.
fn served_to_its_end(log: &RocksLog, number: u32) -> (Vec<u64>, usize, u64) {
    let (mut found, mut next, mut holes) = (Vec::new(), 0, 0);
    loop {
        let read = StreamRead {
            partition: PartitionId::new(number),
            stream: StreamOrdinal::new(1),
            from: Offset::new(next),
            until: Offset::new(u64::MAX),
            max_events: 100,
            max_bytes: 1 << 30,
        };
        match log.read_stream(read) {
            Ok(events) if events.is_empty() => return (found, holes, next),
            Ok(events) => {
                for event in &events {
                    let offset = event.record.offset.value();
                    assert_eq!(event.record, record(number, offset));
                    found.push(offset);
                    next = offset + 1;
                }
            }
            Err(ReadError::EventsQuarantined { low }) => (next, holes) = (low.value(), holes + 1),
            Err(error) => panic!("partition {number} at {next}: {error}"),
        }
    }
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("writable");
    for entry in fs::read_dir(from).expect("readable") {
        let entry = entry.expect("readable");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("readable").is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copied");
        }
    }
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).expect("readable");
    bytes[at] ^= 0x10;
    fs::write(path, bytes).expect("writable");
}

/// A directory that was closed, with a byte flipped in the largest table of `family`, sorted or not.
struct Damaged {
    _folder: tempfile::TempDir,
    path: PathBuf,
    table: Table,
    rounds: u64,
}

fn damaged(family: Family, sorted: bool) -> Damaged {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("data");
    let many = if sorted { ROUNDS } else { 3 };
    rounds(&path, 0..many);
    if sorted {
        sort(&path);
    }
    let store = RocksStore::open_still(&path.join("log")).expect("it opens");
    let mut tables = store.tables(family).expect("it tells");
    tables.retain(|table| table.is_sorted() == sorted || family == Family::Meta);
    tables.sort_by_key(|table| table.name.clone());
    // The largest; or the oldest, of which recovery needs nothing.
    let found = if sorted { tables.into_iter().max_by_key(|table| table.bytes) } else { tables.into_iter().next() };
    let table = found.expect("there is one");
    drop(store);
    let at = if family == Family::Log { usize::try_from(table.bytes).expect("small") / 3 } else { 30 };
    flip(&path.join("log").join(&table.name), at);
    Damaged { _folder: folder, path, table, rounds: many }
}

/// The next start mends it, and compaction never comes to it afterwards.
fn heals(path: &Path, table: &Table, rounds_before: u64, lost: bool) {
    let directory = DataDirectory::new(path);
    note(&directory, &format!("Corruption: damage in {}", table.name)).expect("writable");
    for (round, again) in (rounds_before..).zip([false, true]) {
        let (log, report) = RocksLog::open(path, &options()).expect("it opens");
        assert_eq!(report.quarantined > 0, lost, "{report:?}");
        assert!(again || note::read(&directory).expect("readable").is_empty());
        let tables: Vec<_> = log_tables(&log, table.family);
        assert!(again || !tables.iter().any(|found| found == &table.name), "{} is still there", table.name);
        let end = round * EVENTS_A_ROUND;
        let found = [0, 1].map(|number| served(&log, number, end));
        let (records, holes) =
            found.iter().fold((0, 0), |sum, (found, holes)| (sum.0 + found.len() as u64, sum.1 + holes));
        assert_eq!((records < end * 2, holes > 0), (lost, lost), "{records} of {}", end * 2);
        append_round(&log, round);
        log.close().expect("it closes");
        assert!(path.join("quarantined").join(&table.name).exists());
    }
    rounds(path, rounds_before + 2..rounds_before + 12);
    sort(path);
}

fn log_tables(log: &Arc<RocksLog>, family: Family) -> Vec<String> {
    log.tables(family).into_iter().map(|table| table.name).collect()
}

/// Stops a mend before its `step`-th step; `false`: it has fewer.
fn stopped_at(path: &Path, table: &Table, number: usize) -> bool {
    let mut left = number;
    let mut stop = |_: &'static str| {
        left = left.checked_sub(1).ok_or_else(|| StoreError::Io("stopped".to_owned()))?;
        Ok(())
    };
    let directory = DataDirectory::new(path);
    note(&directory, &format!("Corruption: damage in {}", table.name)).expect("writable");
    match mend_noted(&directory, &mut stop) {
        Ok(_) => false,
        Err(error) => {
            assert!(error.to_string().contains("stopped"), "{error}");
            true
        }
    }
}

fn check_each_step(family: Family, sorted: bool, lost: bool, least_steps: usize) {
    let damaged = damaged(family, sorted);
    let mut step = 0;
    loop {
        let copy = damaged.path.with_extension(format!("{step}"));
        copy_folder(&damaged.path, &copy);
        let goes_on = stopped_at(&copy, &damaged.table, step);
        heals(&copy, &damaged.table, damaged.rounds, lost);
        fs::remove_dir_all(&copy).expect("it was made");
        if !goes_on {
            break;
        }
        step += 1;
    }
    assert!(step >= least_steps, "{step} steps");
}

#[test]
fn a_sorted_table_of_the_log_is_replaced_whatever_step_is_the_last() {
    check_each_step(Family::Log, true, true, 6);
}

#[test]
fn a_sorted_table_of_the_index_is_replaced_and_nothing_is_lost() {
    check_each_step(Family::Index, true, false, 6);
}

#[test]
fn an_unsorted_table_of_the_log_is_left_out_of_a_copy() {
    check_each_step(Family::Log, false, true, 4);
}

#[test]
fn an_unsorted_table_of_the_index_is_left_out_and_nothing_is_lost() {
    check_each_step(Family::Index, false, false, 4);
}

/// What the first mend took in has no mark of its family, and is read all the same.
#[test]
fn a_second_mend_loses_only_what_the_second_table_lost() {
    let first = damaged(Family::Log, false);
    let directory = DataDirectory::new(&first.path);
    note(&directory, &format!("Corruption: damage in {}", first.table.name)).expect("writable");
    rounds(&first.path, first.rounds..first.rounds + 1);
    let end = (first.rounds + 1) * EVENTS_A_ROUND;
    let serves = |path: &Path| {
        let (log, _) = RocksLog::open(path, &options()).expect("it opens");
        let found = [0, 1].map(|number| served_to_its_end(&log, number).0);
        log.close().expect("it closes");
        found
    };
    let before = serves(&first.path);
    let store = RocksStore::open_still(&first.path.join("log")).expect("it opens");
    let mut tables = store.tables(Family::Log).expect("it tells");
    drop(store);
    // Of the newest round; its keys reach from one partition to the other, so that damage in between hides old segments.
    tables.retain(|table| table.level == 0);
    let newest = tables.into_iter().max_by_key(|table| table.name.clone()).expect("there is one");
    let mut met = 0;
    for part in 1..8 {
        let copy = first.path.with_extension(format!("again-{part}"));
        copy_folder(&first.path, &copy);
        flip(&copy.join("log").join(&newest.name), usize::try_from(newest.bytes).expect("small") * part / 8);
        let directory = DataDirectory::new(&copy);
        note(&directory, &format!("Corruption: damage in {}", newest.name)).expect("writable");
        let after = serves(&copy);
        for (before, after) in before.iter().zip(&after) {
            let lost: Vec<_> = before.iter().filter(|offset| !after.contains(offset)).collect();
            // A segment has 16 such events, and the newest round began within one.
            assert!(lost.iter().all(|offset| **offset + 16 > end - EVENTS_A_ROUND), "{lost:?} of {end}");
            met += lost.len();
        }
        fs::remove_dir_all(&copy).expect("it was made");
    }
    assert!(met > 0, "no damage was met");
}

#[test]
fn a_damaged_table_of_state_refuses_the_start_and_is_named() {
    let damaged = damaged(Family::Meta, false);
    let directory = DataDirectory::new(&damaged.path);
    note(&directory, &format!("Corruption: damage in {}", damaged.table.name)).expect("writable");
    for _ in 0..2 {
        let error = RocksLog::open(&damaged.path, &options()).expect_err("it is refused");
        assert!(error.to_string().contains(&damaged.table.name), "{error}");
    }
}

/// As a mend leaves it that was stopped behind its mark: whoever looks is told, and the next start seals what is marked.
#[test]
fn a_mark_on_a_segment_that_takes_records_is_listed_and_the_next_start_seals_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("data");
    rounds(&path, 0..3);
    let store = RocksStore::open_still(&path.join("log")).expect("it opens");
    let all = parts::all(&store, Family::Log).expect("it reads");
    let part = all.into_iter().rfind(|part| part.is_active() && part.segment.blocks > 0).expect("some");
    anew::mark(&store, &part.mark("a block is gone")).expect("it is written");
    drop(store);
    let listed = |path: &Path| {
        let damages = crate::verify(path).expect("it reads").damages;
        assert!(damages.iter().all(|damage| damage.quarantined), "{damages:?}");
        damages.into_iter().map(|damage| (damage.partition, damage.chain, damage.segment)).collect::<Vec<_>>()
    };
    let SegmentId { partition, class, number } = part.id();
    let marked = vec![(Some(partition), Some(class), Some(number))];
    assert_eq!(listed(&path), marked);
    let (log, report) = RocksLog::open(&path, &options()).expect("it opens");
    assert_eq!(report.quarantined, 1);
    let facts = log.segments(partition).expect("it reads");
    assert!(facts.iter().any(|segment| segment.id == part.id() && segment.sealed && segment.quarantined));
    append_round(&log, 3);
    let (events, holes) = served(&log, partition.value(), 4 * EVENTS_A_ROUND);
    assert!(holes == 1 && events.last() == Some(&(4 * EVENTS_A_ROUND - 1)), "{events:?}");
    log.close().expect("it closes");
    drop(log);
    assert_eq!(listed(&path), marked);
}
