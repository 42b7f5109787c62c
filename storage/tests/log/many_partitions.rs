//! Above 64 partitions tables are not cut at segments: a damaged one holds parts of many. The next start takes it out, and
//! only what it lost is not served.

use std::fs;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use storage::{AppendBatch, Log, Options, RocksLog, SegmentFacts, StoredRecord};
use types::PartitionCount;

use crate::damage::flip;
use crate::damaged_state::note;
use crate::damaged_tables::{all_but, noise_output, served};
use crate::harness::partition;
use crate::row_truth::tables;

const PARTITIONS: u32 = 128;
/// As many tables as make a compaction, and a few more.
const SORTED_ROUNDS: u64 = 10;

fn options() -> Options {
    Options {
        partitions: PartitionCount::new(PARTITIONS).expect("in range"),
        segment_bytes: 20_000,
        unsaved_bytes: 8_000,
        tail_bytes: 0,
        ..Options::default()
    }
}

/// An event to each partition, all waited for.
fn append(log: &RocksLog, n: u64) {
    let (answer, answers) = mpsc::channel();
    for number in 0..PARTITIONS {
        let (partition, answer) = (partition(number), answer.clone());
        let records = vec![noise_output(n, u64::from(number) << 32 | n)];
        let batch = AppendBatch { partition, expected: log.bounds(partition).end, records, rows: Vec::new() };
        log.append(batch, Box::new(move |outcome| answer.send(outcome).expect("it is waited for")));
    }
    drop(answer);
    assert!(answers.iter().all(|outcome| outcome.is_ok()), "all are durable");
}

/// Each opening makes a table of what the one before appended.
fn filled(path: &Path, rounds: u64) -> Vec<Vec<Vec<StoredRecord>>> {
    for round in 0..rounds {
        let (log, _) = RocksLog::open(path, &options()).expect("it opens");
        append(&log, round);
        log.close().expect("it closes");
    }
    let (log, _) = RocksLog::open(path, &options()).expect("it opens");
    let began = Instant::now();
    while log.store_figures().families[0].level0_files >= 8 {
        assert!(began.elapsed() < Duration::from_mins(1), "the store never sorted its tables");
        std::thread::sleep(Duration::from_millis(10));
    }
    let truth = (0..PARTITIONS).map(|number| vec![served(&log, partition(number), 1, rounds, false)]).collect();
    log.close().expect("it closes");
    truth
}

fn all(log: &RocksLog) -> Vec<SegmentFacts> {
    (0..PARTITIONS).flat_map(|number| log.segments(partition(number)).expect("it reads")).collect()
}

fn check(rounds: u64, is_sorted: bool) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("data");
    let truth = filled(&path, rounds);
    assert!(truth.iter().all(|streams| streams[0].len() as u64 == rounds), "all is served before");
    let of_level = tables(&path, "log").into_iter().filter(|table| (table.level > 0) == is_sorted);
    let table = of_level.max_by_key(|table| table.size).expect("there is one");
    let [first, last] = [&table.start_key, &table.end_key].map(|key| key.as_ref().expect("it has keys")[..4].to_vec());
    assert!(first < last, "it holds several partitions");
    flip(&path.join("log").join(table.name.trim_start_matches('/')), table.size / 2);
    note(&path, &table);
    for _ in 0..2 {
        let (log, _) = RocksLog::open(&path, &options()).expect("it opens");
        let damaged: Vec<_> = all(&log).into_iter().filter(|segment| segment.quarantined).collect();
        assert!(!damaged.is_empty() && damaged.len() < 20, "{} segments lost something", damaged.len());
        all_but(&log, &damaged, &truth, &[1], rounds);
        println!("{rounds} rounds: {} of {} segments were quarantined", damaged.len(), all(&log).len());
        log.close().expect("it closes");
    }
    assert!(!path.join("DAMAGED").exists());
    assert!(fs::read_dir(path.join("quarantined")).expect("it is kept aside").count() > 0);
}

#[test]
fn a_sorted_table_of_many_partitions_is_taken_out_and_only_what_it_lost_is_not_served() {
    check(SORTED_ROUNDS, true);
}

#[test]
fn an_unsorted_table_of_many_partitions_is_taken_out_and_only_what_it_lost_is_not_served() {
    check(4, false);
}
